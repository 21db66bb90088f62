"""A few rounds of the campaign (`make fleet-soak`), of each of which something is known to have happened."""

from pathlib import Path

import pytest
from tests.fleet.campaign import Report
from tests.fleet.cluster import needs_etcd
from tests.fleet.soak import as_text, campaign
from tests.fleet.world import TTL_S

pytestmark = needs_etcd


@pytest.mark.parametrize("kind", ["pause at commit", "kill at commit"])
async def test_a_round_ends_with_books_that_are_in_order(tmp_path: Path, kind: str) -> None:
    report = Report(1, TTL_S)
    await campaign(report, tmp_path, 1, only=kind)
    assert report.violations == [], as_text(report)
    assert report.met[kind] == 1, as_text(report)
    assert (report.signals, report.acknowledged) == (1, 1)
    assert report.trades + report.refused == 3
    assert report.orders
