"""Pushed prices of which one half, or both, end without a word while the connection stays up (rules 6.4, 8.6, 8.7)."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from tests.core.build import unprotected
from tests.scenarios.harness import Harness, World, harness

from executor.core.model.facts import Quote
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.exchange.streams.market_stream import HeardAt
from executor.paper.server.faults import FaultPlan, PushFault, RequestFault
from executor.service.price_proof import (
    CLOSE_SILENCE_S,
    REOPEN_AFTER_MS,
    REOPEN_LATEST_MS,
    SILENCE_S,
    PriceProof,
    Reopening,
)

PUSHED: Final = [World(side, "OCO", pushes=True) for side in Direction]
SOON_S: Final = 10.0
"""What software watches is sold within: two looks, the grace of rule 6.4, and the sale."""


class Halves(FaultPlan):
    """Loses what the market stream tells of `lost`: "trade", "book"; and counts questions for the price."""

    def __init__(self) -> None:
        self.lost: frozenset[str] = frozenset()
        self.asked = 0

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        half = "trade" if event.get("e") == "trade" else "book"
        return PushFault(copies=0) if kind == "market" and half in self.lost else None

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        self.asked += path.endswith("/ticker/24hr")
        return None


async def bare_leg(b: Harness) -> None:
    """The first target begins to fill: the rest of its leg has no stop on the exchange (rule 5.6)."""
    await b.enter()
    await b.move(1, qty="0.3")
    await b.move("0.5")
    assert b.position.exposure.since


@pytest.mark.parametrize("world", PUSHED, ids=str)
@pytest.mark.parametrize("lost", [{"trade"}, {"trade", "book"}], ids=lambda lost: "+".join(sorted(lost)))
async def test_a_price_past_the_stop_of_what_is_bare_is_seen_within_seconds_though_no_trade_is_told(
    tmp_path: Path, world: World, lost: set[str]
) -> None:
    halves = Halves()
    async with harness(tmp_path, world, faults=halves) as b:
        await bare_leg(b)
        halves.lost = frozenset(lost)
        since = b.clock.now_ms()
        for n in range(40):
            b.touch(b.at(str(Decimal("-1.05") - Decimal(n) / 1000)))  # the book, too, goes on
            await b.settle()
            await b.wait(0.5)
            if b.state.position is None:
                break
        assert b.state.position is None, b.story()
        assert b.clock.now_ms() - since <= SOON_S * 1000
        assert b.closed.reason is Reason.SL


@pytest.mark.parametrize("world", PUSHED, ids=str)
async def test_a_stream_that_leaves_trades_out_is_opened_anew(tmp_path: Path, world: World) -> None:
    halves = Halves()
    async with harness(tmp_path, world, faults=halves) as b:
        await bare_leg(b)
        halves.lost = frozenset({"trade"})
        b.touch(b.at("0.2"))
        await b.wait(SILENCE_S + 10)
        assert b.alerts().count("stream_dead") == 1
        (said,) = [entry for entry in b.log if entry["event"] == "stream_dead"]
        assert "no trades" in said["text"]


async def test_a_market_in_which_nothing_trades_costs_little_and_is_no_dead_stream(tmp_path: Path) -> None:
    halves = Halves()
    async with harness(tmp_path, PUSHED[0], faults=halves) as b:
        await bare_leg(b)
        halves.asked = 0
        await b.wait(60)
        assert 0 < halves.asked <= 60 / CLOSE_SILENCE_S
        assert "stream_dead" not in b.alerts()


async def test_while_trades_are_told_nothing_is_asked(tmp_path: Path) -> None:
    halves = Halves()
    async with harness(tmp_path, PUSHED[0], faults=halves) as b:
        await bare_leg(b)
        halves.asked = 0
        for n in range(40):
            await b.move(str(Decimal("0.4") + Decimal(n % 3) / 100), then=1)
        assert halves.asked == 0


async def test_a_bare_book_that_stays_off_the_stop_needs_no_question(tmp_path: Path) -> None:
    """A symbol without trades, whose makers move: nothing can have traded at the stop."""
    halves = Halves()
    async with harness(tmp_path, PUSHED[0], faults=halves) as b:
        await bare_leg(b)
        halves.lost = frozenset({"trade"})
        halves.asked = 0
        for n in range(50):
            b.touch(b.at(str(Decimal("0.5") + Decimal(n % 2) / 10)))
            await b.wait(1)
        assert halves.asked <= 3


def quote(at: int, last: str, bid: str = "100", ask: str = "101") -> Quote:
    return Quote(at, Decimal(bid), Decimal(ask), Decimal(last))


class Feed:
    def __init__(self) -> None:
        self.spoken = HeardAt()
        self.changed: tuple[str, ...] = ()
        self.told: list[tuple[str, int]] = []

    def heard(self) -> HeardAt:
        return self.spoken

    def know(self, _quote: Quote) -> tuple[str, ...]:
        return self.changed

    def dead(self, half: str, now: int) -> None:
        self.told.append((half, now))


class TestPriceProof:
    def test_each_half_has_a_time_of_its_own(self) -> None:
        proof, feed = PriceProof(), Feed()
        proof.feed = feed
        for spoken in (HeardAt(100_000, 60_000), HeardAt(60_000, 100_000), HeardAt(100_000, 0)):
            feed.spoken = spoken
            assert proof.due(100_000), spoken
        feed.spoken = HeardAt(99_000, 80_000)
        assert not proof.due(100_000)

    def test_what_was_asked_for_is_as_good_as_told(self) -> None:
        proof, feed = PriceProof(), Feed()
        proof.feed = feed
        proof.on_asked(quote(90_000, "100"))
        assert not proof.due(100_000)
        assert proof.due(90_000 + round(SILENCE_S * 1000))

    def test_what_has_changed_and_is_told_late_is_no_dead_stream(self) -> None:
        proof, feed = PriceProof(), Feed()
        proof.feed, feed.changed = feed, ("trades",)
        proof.on_asked(quote(100_000, "99"))
        proof.due(104_000)
        feed.spoken = HeardAt(104_500, 104_500)
        proof.due(106_000)
        assert feed.told == []
        proof.on_asked(quote(110_000, "98"))
        proof.due(116_000)
        proof.due(117_000)
        assert feed.told == [("trades", 116_000)]

    def test_another_connection_begins_without_suspicion(self) -> None:
        proof, feed = PriceProof(), Feed()
        proof.feed, feed.changed = feed, ("best prices",)
        proof.on_asked(quote(100_000, "99"))
        proof.on_gap()
        proof.due(110_000)
        assert feed.told == []


def test_a_stream_that_stays_dead_is_opened_anew_in_growing_pauses_and_one_that_was_sound_at_once() -> None:
    opened: list[int] = []
    now = 1_750_000_000_000
    reopening = Reopening(lambda: opened.append(now))
    begin = now
    for now in range(begin, begin + 24 * 3_600_000, 5_000):
        reopening("LTCUSDT", "trades", now)
    gaps = [after - before for before, after in pairwise(opened)]
    assert gaps[:3] == [REOPEN_AFTER_MS, 2 * REOPEN_AFTER_MS, 4 * REOPEN_AFTER_MS]
    assert gaps[-1] == max(gaps) == REOPEN_LATEST_MS
    now += 3 * REOPEN_LATEST_MS
    reopening("LTCUSDT", "trades", now)
    now += REOPEN_AFTER_MS
    reopening("LTCUSDT", "trades", now)
    assert opened[-1] - opened[-2] == REOPEN_AFTER_MS


def test_a_trade_that_ends_while_its_price_is_watched_ends_nothing_else() -> None:
    """It ended the service, whose other trades were left alone."""
    script = unprotected()
    proof = PriceProof()
    proof.on_pushed(Quote(script.now, Decimal(100), Decimal("100.1"), Decimal(100)))
    assert proof.on_position(script.position)
    assert not proof.on_position(None)
    proof.on_pushed(Quote(script.now + 1, Decimal(90), Decimal("90.1"), Decimal(90)))
    assert proof.look_s == SILENCE_S
