"""A few rounds of the campaign (`make fleet-soak`), of each of which something is known to have happened."""

from pathlib import Path

import pytest
from tests.fleet.campaign import Report
from tests.fleet.cluster import needs_etcd
from tests.fleet.soak import as_text, campaign
from tests.fleet.world import TTL_S

pytestmark = needs_etcd
REPEATS = 3
"""A slow machine may miss a round's moment, or take the signal when the price is past it."""


@pytest.mark.parametrize("kind", ["pause at commit", "kill at commit"])
async def test_a_round_ends_with_books_that_are_in_order(tmp_path: Path, kind: str) -> None:
    report = Report(1, TTL_S)
    await campaign(report, tmp_path, 1, only=kind, patient=1.0, repeats=REPEATS)
    assert report.violations == [], as_text(report)
    assert report.met[kind] >= 1, as_text(report)
    assert report.rounds[kind] == 1 + report.in_vain, as_text(report)
    assert report.acknowledged == report.signals == report.rounds[kind], as_text(report)
    assert report.trades + report.refused == 3 * report.signals, as_text(report)
    assert report.orders
