"""Streams that are cut, late, doubled, out of order or dead without a word: no fill is missed (rules 5.1, 8.6)."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from tests.scenarios.harness import AFTER_TP1, EXITS, World, harness

from executor.core.model.events import Verb
from executor.core.model.facts import Quote, Why
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.exchange.thinned import EXTREME_MS, FRESH_MS, ThinnedPrices
from executor.paper.server.faults import Answer, PushFault, RequestFault
from executor.paper.server.params import Params
from executor.paper.server.routes import by_path
from executor.service.poller import SAFETY_NET_S, SUSPICION_S

PUSHED: Final = World(Direction.LONG, "OCO", pushes=True)
POLLED: Final = World(Direction.LONG, "OCO", pushes=False)
CROSSED: Final = (Why.WOULD_TRIGGER, Why.PRICE_RELATION)
NOTICED_S: Final = SUSPICION_S + 1.5


class Pushes:
    """Does to each user event what `what` says, and counts requests and their weight."""

    def __init__(self, what: Callable[[Mapping[str, Any]], PushFault | None] = lambda _: None) -> None:
        self.what = what
        self.asked: list[str] = []
        self.weight = 0
        self._routes = by_path()

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        self.asked.append(path.rpartition("/")[2])
        route = self._routes.get((method, path))
        if route is not None and not route.free:
            self.weight += route.weigh(Params(params))
        return None

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        return self.what(event) if kind == "user" else None

    def forget(self) -> None:
        self.asked.clear()
        self.weight = 0


class Unanswered(Pushes):
    """While `silent`, no look at the open orders is answered."""

    silent = False

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        super().on_request(method, path, params)
        if self.silent and path.endswith(("openOrders", "allOrders")):
            return RequestFault(execute=False, answer=Answer(503, b"{}"))
        return None


class NoSingleLook(Pushes):
    """While `silent`, no look at a single order is answered."""

    silent = False

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        super().on_request(method, path, params)
        if self.silent and method == "GET" and path.endswith("/order"):
            return RequestFault(execute=False, answer=Answer(503, b"{}"))
        return None


def of_fills(fault: PushFault) -> Callable[[Mapping[str, Any]], PushFault | None]:
    return lambda event: fault if event.get("x") == "TRADE" else None


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(lambda _: PushFault(copies=0), id="dead without a word"),
        pytest.param(of_fills(PushFault(copies=0)), id="fills lost"),
        pytest.param(lambda _: PushFault(copies=2), id="doubled"),
        pytest.param(lambda _: PushFault(delay_ms=700), id="late"),
        pytest.param(of_fills(PushFault(copies=2, delay_ms=5_000)), id="fills late and doubled"),
        pytest.param(lambda e: PushFault(delay_ms=hash(e.get("c")) % 400), id="out of order"),
    ],
)
async def test_a_whole_trade_with_a_stream_that_misbehaves(
    tmp_path: Path, what: Callable[[Mapping[str, Any]], PushFault | None]
) -> None:
    async with harness(tmp_path, PUSHED, faults=Pushes(what)) as b:
        await b.signal()
        b.touch(b.at("-0.01"))
        await b.until(lambda: b.roles() == EXITS["OCO"], within=NOTICED_S)
        await b.wait(1)
        b.touch(b.at("1.01"))
        await b.until(lambda: b.position.target_hit and b.roles() == AFTER_TP1["OCO"], within=2 * NOTICED_S)
        await b.wait(NOTICED_S)
        await b.move(-2)
        closed = await b.ends(Reason.BREAKEVEN, refusals=CROSSED)
        b.adds_up(closed)


async def test_a_fill_while_the_connection_is_cut_is_found_when_it_is_back(tmp_path: Path) -> None:
    faults = Pushes()
    async with harness(tmp_path, PUSHED, faults=faults) as b:
        await b.signal()
        faults.forget()
        b.server.drop_connections()
        b.touch(b.at("-0.01"))
        await b.until(lambda: b.roles() == EXITS["OCO"], within=NOTICED_S)
        assert {"order", "openOrders"} & set(faults.asked)
        await b.move(-2)
        b.adds_up(await b.ends(Reason.SL))


async def test_a_look_after_a_gap_that_fails_is_had_again_until_it_succeeds(tmp_path: Path) -> None:
    faults = Unanswered()
    async with harness(tmp_path, PUSHED, faults=faults) as b:
        await b.enter()
        await b.settle()
        faults.silent = True
        b.server.drop_connections()
        b.cancel_by_hand("SL1")
        await b.wait(15)
        assert not b.said("exit_vanished")
        faults.silent = False
        await b.until(lambda: b.said("exit_vanished") == 1 and b.roles() == EXITS["OCO"], within=5)


async def test_while_both_streams_are_sound_watching_costs_almost_nothing(tmp_path: Path) -> None:
    faults = Pushes()
    async with harness(tmp_path, PUSHED, faults=faults, WATCHDOG_EVERY_SEC="0") as b:
        await b.enter()
        await b.wait(SAFETY_NET_S)
        faults.forget()
        for n in range(60):
            await b.move(n % 5 / 10, then=5)
        assert b.roles() == EXITS["OCO"]
        assert 0 < faults.weight <= 5 * 12, faults.asked
        assert faults.asked.count("openOrders") <= 6
        assert "ticker/24hr" not in faults.asked


async def test_pushed_fills_bring_their_commissions_and_cost_no_request(tmp_path: Path) -> None:
    faults = Pushes()
    async with harness(tmp_path, PUSHED, faults=faults) as b:
        await b.signal()
        faults.forget()
        b.touch(b.at("-0.01"))
        await b.until(lambda: b.roles() == EXITS["OCO"])
        assert sorted(faults.asked) == ["order.place", "orderList.place.oco", "orderList.place.oco"]


async def test_without_streams_the_entry_is_looked_at_twice_as_often(tmp_path: Path) -> None:
    faults = Pushes()
    async with harness(tmp_path, POLLED, faults=faults) as b:
        await b.signal()
        faults.forget()
        await b.wait(10)
        assert 18 <= faults.asked.count("order") <= 22
        assert "openOrders" not in faults.asked
        b.touch(b.at("-0.01"))
        await b.until(lambda: b.roles() == EXITS["OCO"], within=0.6)


async def test_an_entry_that_can_not_be_looked_at_is_found_filled_by_the_list(tmp_path: Path) -> None:
    """Rule 8.7: the other way is asked at once, not after the next pause."""
    faults = NoSingleLook()
    async with harness(tmp_path, POLLED, faults=faults) as b:
        await b.signal()
        faults.silent = True
        faults.forget()
        await b.wait(10)
        assert faults.asked.count("openOrders") >= 2


async def test_late_pushes_of_a_finished_trade_cost_a_look_and_not_one_each(tmp_path: Path) -> None:
    """Rule 8.7: they are of an order that no trade has, and may be many."""
    due = count(30_000, 100)  # after the trade began
    began: list[int] = []

    def late(event: Mapping[str, Any]) -> PushFault | None:
        if event.get("x") != "NEW":
            return None
        began.append(event["E"])
        return PushFault(delay_ms=next(due) - (event["E"] - began[0]))

    faults = Pushes(late)
    async with harness(tmp_path, PUSHED, faults=faults, WATCHDOG_EVERY_SEC="0") as b:
        await b.enter()
        await b.command(Verb.FLATTEN)
        await b.ends(Reason.FLATTEN)
        faults.forget()
        await b.wait(35)
        assert len(began) >= 7
        assert 1 <= faults.asked.count("openOrders") <= 3, faults.asked


class TestThinned:
    """Pure: which prices reach a decision."""

    def quotes(self, *prices: str) -> list[Quote]:
        return [Quote(n, Decimal(p), Decimal(p), Decimal(p)) for n, p in enumerate(prices)]

    def test_the_extremes_and_the_newest_are_kept_in_their_order(self) -> None:
        thinned = ThinnedPrices()
        for quote in self.quotes("5", "9", "4", "6", "3", "8", "7"):
            thinned.take(quote)
        assert [str(quote.last) for quote in thinned.give(0)] == ["9", "3", "7"]

    def test_a_new_extreme_waits_less_than_a_price_in_between(self) -> None:
        thinned = ThinnedPrices()
        for quote in self.quotes("5", "9"):
            thinned.take(quote)
        thinned.give(1_000)
        thinned.take(self.quotes("7")[0])
        assert thinned.wait_ms(1_000) == FRESH_MS
        thinned.take(self.quotes("10")[0])
        assert thinned.wait_ms(1_000) == EXTREME_MS
        assert thinned.wait_ms(1_000 + EXTREME_MS) == 0

    def test_another_trade_begins_with_what_is_known(self) -> None:
        thinned = ThinnedPrices()
        for quote in self.quotes("5", "9", "7"):
            thinned.take(quote)
        thinned.give(1_000)
        thinned.forget()
        assert thinned.wait_ms(1_000) <= 0
        assert [str(quote.last) for quote in thinned.give(1_000)] == ["7"]
