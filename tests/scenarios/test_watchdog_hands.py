"""Another client with the same keys reaches into an open trade, and no push tells of it: found by the watchdog within
three rounds, mended or told as its entry says, and the trade still ends flat with nothing left behind (rules 10, 12).
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import ACCOUNT, EXITS, Harness, harness
from tests.scenarios.test_watchdog import EVERY_S, POLLED, PUSHED, ROUNDS, found

from executor.core.model.events import Verb
from executor.core.model.facts import OrderReport, Why
from executor.core.model.state import End, Order, OrderPhase, Reason
from executor.core.model.values import OrderSide, OrderType
from executor.ops.watchdog.rounds import Watchdog
from executor.paper.server import Answer, PushFault, RequestFault
from executor.service.loop import Loop
from executor.service.poller import Poller


class Hands:
    """A plan of faults: `deaf`, what happens to the account is not pushed; `doubt`, the next stop is lost on its way,
    and nobody can be asked about it. `rounds`: how many the watchdog has begun.
    """

    def __init__(self) -> None:
        self.deaf = False
        self.doubt = False
        self.rounds = 0
        self._lost = False

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if not self.doubt:
            return None
        if path == "/api/v3/order" and method == "POST" and params.get("type") == "STOP_LOSS_LIMIT" and not self._lost:
            self._lost = True
            return RequestFault(execute=False, disconnect=True)
        if self._lost and (path == "order.status" or (path == "/api/v3/order" and method == "GET")):
            return RequestFault(execute=False, answer=Answer(503, b""))
        return None

    def on_push(self, kind: str, _event: Mapping[str, Any]) -> PushFault | None:
        return PushFault(copies=0) if self.deaf and kind == "user" else None


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    plan, own = Hands(), Watchdog.round

    async def counted(watchdog: Watchdog) -> None:
        plan.rounds += 1
        await own(watchdog)

    monkeypatch.setattr(Watchdog, "round", counted)
    return plan


@pytest.fixture(params=[PUSHED, POLLED], ids=str)
async def b(request: pytest.FixtureRequest, tmp_path: Path, hands: Hands) -> AsyncIterator[Harness]:
    async with harness(tmp_path, request.param, faults=hands) as bench:
        yield bench


def take(b: Harness, role: str) -> None:
    b.engine.cancel_order(ACCOUNT, b.symbol, b.clock.now_ms(), order_id=b.one(role).order_id)


def put_another(b: Harness, role: str, *, stop: Decimal | None = None, qty: str = "") -> str:
    """In an order's place another one under its id; the id."""
    order = b.one(role)
    take(b, role)
    level = order.stop_price if stop is None else stop
    b.place_by_hand(
        order.client_order_id,
        OrderSide.SELL,
        qty or str(order.orig_qty),
        type=OrderType.STOP_LOSS_LIMIT,
        price=order.price if stop is None else stop - Decimal("0.1"),
        stop_price=level,
    )
    return order.client_order_id


async def begin(b: Harness, hands: Hands) -> None:
    """A trade with its exits out; from here on pushes are lost."""
    await b.enter()
    await b.wait(5)
    hands.deaf = b.world.pushes


async def ends_clean(b: Harness, hands: Hands, *reasons: Reason, refusals: Iterable[str] = ()) -> None:
    hands.deaf = hands.doubt = False
    await b.ends(*reasons, within=120, refusals=refusals)
    await b.wait(ROUNDS * EVERY_S)
    assert b.open() == []


async def test_a_stop_that_is_lowered_under_its_own_id(b: Harness, hands: Hands) -> None:
    await begin(b, hands)
    put_another(b, "SL", stop=b.at(-1) - 2)
    assert "stands at 97" in (await found(b, "stop_lowered"))["text"]
    assert "exit_moved" in b.alerts()
    assert b.state.halted
    await b.move(-1)
    await ends_clean(b, hands, Reason.SL)


async def test_a_stop_that_is_raised_under_its_own_id(b: Harness, hands: Hands) -> None:
    await begin(b, hands)
    put_another(b, "SL", stop=b.at(-1) + Decimal("0.5"))
    await found(b, "exit_moved")
    assert b.state.halted
    assert "stop_lowered" not in b.alerts()
    await b.move(-1)
    await ends_clean(b, hands, Reason.SL)


async def test_a_target_that_stands_elsewhere_under_its_own_id(b: Harness, hands: Hands) -> None:
    await begin(b, hands)
    order = b.one("TP1")
    take(b, "TP1")
    b.place_by_hand(order.client_order_id, OrderSide.SELL, str(order.orig_qty), price=b.at(20))
    # half a list is put back whole, as the watchdog or the trade's own looks find it first
    await b.until(lambda: not {"exit_moved", "ghost_order"}.isdisjoint(b.alerts()), within=ROUNDS * EVERY_S)
    await b.move(1)
    await b.move(-1)
    await ends_clean(b, hands, Reason.SL, Reason.BREAKEVEN, refusals=[Why.PRICE_RELATION])


async def test_exits_that_would_sell_more_than_is_held(b: Harness, hands: Hands) -> None:
    await begin(b, hands)
    put_another(b, "SL", qty="2")
    assert "open exits would sell 3.99800000, 2.997 LTC are held" in (await found(b, "sells_beyond_held"))["text"]
    assert b.state.halted
    before = b.free(b.base)
    await b.command(Verb.FLATTEN)  # as its entry advises: all are cancelled, and no more is sold than is held
    await ends_clean(b, hands, Reason.FLATTEN)
    assert b.free(b.base) > before
    assert abs(b.gained(b.base)) < Decimal("0.01")


async def test_a_stop_that_is_taken_away_unheard_is_put_back(b: Harness, hands: Hands) -> None:
    await begin(b, hands)
    take(b, "SL")
    await b.until(lambda: b.covered() == Decimal("2.997"), within=ROUNDS * EVERY_S)
    assert {"exit_missing", "exit_vanished"} & set(b.alerts())
    assert b.roles() == EXITS["OCO"]
    await b.move(-1)
    await ends_clean(b, hands, Reason.SL)


async def test_a_stop_that_goes_just_before_a_round_is_missed_by_it(tmp_path: Path, hands: Hands) -> None:
    """Before the trade's own look has come to it, so that the watchdog is the one that hands it over."""
    async with harness(tmp_path, PUSHED, faults=hands) as b:
        await begin(b, hands)
        await just_before_a_round(b, hands)
        take(b, "SL")
        await found(b, "exit_missing")
        await b.wait(5)
        assert b.roles() == EXITS["OCO"]


async def just_before_a_round(b: Harness, hands: Hands) -> None:
    rounds = hands.rounds
    await b.until(lambda: hands.rounds > rounds, within=2 * EVERY_S)
    await b.wait(EVERY_S - 2)


async def test_a_stop_that_is_renamed_just_before_a_round_is_found_by_it(tmp_path: Path, hands: Hands) -> None:
    async with harness(tmp_path, PUSHED, faults=hands) as b:
        await begin(b, hands)
        await just_before_a_round(b, hands)
        stop = b.one("SL")
        b.engine.amend_order(
            ACCOUNT,
            b.symbol,
            stop.orig_qty - Decimal("0.1"),
            b.clock.now_ms(),
            order_id=stop.order_id,
            new_client_order_id="web_1",
        )
        assert "is open under another id, web_1" in (await found(b, "exit_renamed"))["text"]
        await b.until(lambda: b.covered() == Decimal("2.997"), within=ROUNDS * EVERY_S)
        assert "foreign_order" not in b.alerts()
        assert b.roles() == EXITS["OCO"]
        await b.move(-1)
        await ends_clean(b, hands, Reason.SL)


async def test_base_that_is_sold_just_before_a_round_is_missed_by_it(tmp_path: Path, hands: Hands) -> None:
    """Its exits are gone as well: both are told, entries are halted, and what is left is covered again."""
    async with harness(tmp_path, PUSHED, faults=hands, balances={"USDT": "10000"}) as b:
        await begin(b, hands)
        await just_before_a_round(b, hands)
        b.engine.cancel_open_orders(ACCOUNT, b.symbol, b.clock.now_ms())
        b.place_by_hand("web_1", OrderSide.SELL, "2", type=OrderType.MARKET)
        told = await found(b, "balance_short")
        assert told["text"] == "the trade holds 2.997 LTC, the account has 0.997"
        assert b.state.halted
        await b.until(lambda: b.covered() == Decimal("0.997"), within=ROUNDS * EVERY_S)
        hands.deaf = False
        await b.move(-1)
        await b.until(lambda: b.state.position is None, within=EVERY_S)
        assert b.open() == []


async def test_a_quantity_whose_base_another_order_holds_stays_uncovered(tmp_path: Path, hands: Hands) -> None:
    """The stop is taken, and the base locked by an order of others, which is never touched: told, and watched."""
    money = {"USDT": "10000"}
    async with harness(tmp_path, PUSHED, faults=hands, balances=money, FAILSAFE_FLATTEN="false") as b:
        await b.enter()
        await b.wait(5)
        take(b, "SL")
        b.place_by_hand("web_1", OrderSide.SELL, "0.9", price=b.at(30))
        assert "have no stop on the exchange" in (await found(b, "uncovered"))["text"]
        assert {"unprotected", "failsafe_off"} & set(b.alerts())
        assert [o.client_order_id for o in b.engine.open_orders(ACCOUNT, b.symbol)].count("web_1") == 1
        order = next(o for o in b.engine.open_orders(ACCOUNT, b.symbol) if o.client_order_id == "web_1")
        b.engine.cancel_order(ACCOUNT, b.symbol, b.clock.now_ms(), order_id=order.order_id)
        b.server.on_quote(b.symbol)
        await b.until(lambda: b.covered() == Decimal("2.997"), within=120)
        await b.move(-1)
        await ends_clean(b, hands, Reason.SL, refusals=[Why.INSUFFICIENT_BALANCE])


async def test_a_stop_that_was_called_gone_and_stands_is_no_ghost(
    tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules 8.6, 12: the exchange has not known it for a while, and the lock on the base keeps another away: what the
    watchdog then sees first is the one stop that there is.
    """
    money = {"USDT": "10000"}
    async with harness(tmp_path, PUSHED, faults=hands, balances=money, FAILSAFE_FLATTEN="false") as b:
        await b.enter()
        await b.wait(5)
        assert b.loop is not None
        stop, exchange = b.one("SL").client_order_id, b.loop.exchange
        listed, looked_up = exchange.open_orders, exchange.order

        async def stale_list() -> tuple[OrderReport, ...]:
            return tuple(each for each in await listed() if each.id != stop)

        async def stale_look(name: str, number: int = 0) -> OrderReport | None:
            return None if name == stop else await looked_up(name, number)

        def recorded() -> Order:
            return next(each for each in b.position.orders if each.id == stop)

        with monkeypatch.context() as stale:
            stale.setattr(exchange, "open_orders", stale_list)
            stale.setattr(exchange, "order", stale_look)
            await b.until(lambda: recorded().end is End.GONE, within=EVERY_S + 60)
        monkeypatch.setattr(Poller, "poll_orders", _looks_at_nothing)
        assert "was taken for gone" in (await found(b, "order_back"))["text"]
        await b.until(lambda: recorded().live, within=5)
        assert stop in [each.client_order_id for each in b.open()]
        assert b.covered() == Decimal("2.997")
        assert not {"ghost_order", "exit_vanished"} & set(b.alerts())
        await b.move(-1)
        await ends_clean(b, hands, Reason.SL, refusals=[Why.INSUFFICIENT_BALANCE])


async def _looks_at_nothing(_poller: Poller) -> bool:
    return True


async def test_a_doubt_that_lasts_is_told_and_the_price_is_watched_meanwhile(tmp_path: Path, hands: Hands) -> None:
    async with harness(tmp_path, PUSHED, faults=hands, ORDER_TRANSPORT="rest") as b:
        hands.doubt = True
        await b.enter()
        loop = b.loop
        assert loop is not None
        await b.until(lambda: _in_doubt(loop), within=30)
        assert "has not been known for" in (await found(b, "doubt_lasts"))["text"]
        await b.move(-1)
        await b.wait(10)
        await ends_clean(b, hands, Reason.SL)


def _in_doubt(loop: Loop) -> bool:
    position = loop.state.position
    return position is not None and any(order.phase is OrderPhase.UNRESOLVED for order in position.orders)
