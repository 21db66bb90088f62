"""The cases in which the exchange or a hand does what nobody awaited, over sockets."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cases.kit import FUNDS, HERE, POLLED, WORLD, opened, trading
from tests.cases.test_cases import Wire, refilter
from tests.scenarios.harness import AFTER_TP1, EXITS, World, harness
from tests.scenarios.wire_faults import NoLists

from executor.core.model.facts import Why
from executor.core.model.state import Reason
from executor.core.model.values import OrderSide, OrderType
from executor.exchange.port import StartError
from executor.paper.engine.choices import ExchangeChoices, OcoDone
from executor.paper.server.errors import unknown_key
from executor.paper.server.faults import Answer, FaultPlan, RequestFault

both_ways = pytest.mark.parametrize("world", [WORLD, POLLED], ids=str)


async def test_algo_orders_taken(tmp_path: Path) -> None:
    """A.7: the places that are left are counted, and the signal is refused before there is anything to cover."""
    async with trading(tmp_path, "algo-orders-taken", balances={**FUNDS, "BTC": "1"}) as b:
        for n in range(3):
            b.place_by_hand(
                f"web_{n}",
                OrderSide.SELL,
                "0.1",
                type=OrderType.STOP_LOSS_LIMIT,
                price=Decimal(29000),
                stop_price=Decimal(30000),
            )
        await b.signal()
        assert b.state.position is None
        assert b.state.refused == {"exits": 1}
        assert any("MAX_NUM_ALGO_ORDERS" in str(entry.get("text", "")) for entry in b.log)
        assert b.orders() == []
        assert b.said("failsafe") == 0


@both_ways
async def test_part_sold_by_hand(tmp_path: Path, world: World) -> None:
    """A.4: a sixth is sold in the app; an alert, and what is left stays behind stops."""
    async with trading(tmp_path, "part-sold-by-hand", world=world) as b:
        await opened(b, "part-sold-by-hand")
        held = b.covered()
        sold = Decimal("0.0084")
        b.cancel_by_hand("SL")
        b.place_by_hand("app", OrderSide.SELL, str(sold), type=OrderType.MARKET)
        await b.wait(30)
        assert "part_missing" in b.alerts()
        assert b.covered() == held - sold
        assert b.roles() == EXITS["OCO"]
        await b.move(1)
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN, refusals=[Why.INSUFFICIENT_BALANCE])


@both_ways
async def test_oco_stop_jumped(tmp_path: Path, world: World) -> None:
    """A.1: the legs that rest are cancelled by themselves and sold, within SL_WATCHDOG_GRACE_SEC and some."""
    exchange = NoLists()
    async with trading(tmp_path, "oco-stop-jumped", faults=exchange, world=world) as b:
        b.engine.choices = ExchangeChoices(oco_done=OcoDone.TRIGGERED)
        await opened(b, "oco-stop-jumped")
        await b.move("-0.6")
        b.touch(b.at(-2))
        await b.wait(0.5)
        assert b.roles() == ["SL", "SL1", "SL2"]
        closed = await b.ends(Reason.SL, within=8)
        assert len(exchange.refused) == len(set(exchange.refused)), "no refused cancel is sent again"
        b.adds_up(closed)


@both_ways
async def test_tick_coarser_before_exits(tmp_path: Path, world: World) -> None:
    """A.7: a filter's refusal has the rules read anew; the exits stand on the new grid, and nothing is sold."""
    async with trading(tmp_path, "tick-coarser-before-exits", world=world) as b:
        await b.signal(stop="-0.99995", targets=["60000.05", "61000.05"])
        assert b.roles() == ["ENTRY"]
        refilter(b, "PRICE_FILTER", tickSize="0.10")
        await b.move(0, then=4)
        assert b.roles() == EXITS["OCO"], b.story()
        assert b.stops() == {Decimal("58000.0")}
        assert {b.one("TP1").price, b.one("TP2").price} == {Decimal("60000.1"), Decimal("61000.1")} or {
            b.one("TP1").price,
            b.one("TP2").price,
        } == {Decimal("60000.0"), Decimal("61000.0")}
        assert b.said("failsafe") == 0
        await b.move(-1)
        await b.ends(Reason.SL, refusals=[Why.FILTER])


@both_ways
async def test_key_refused_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """C.3: within a minute one alert, with the key's name, what the exchange says and what to check; one at the end."""
    async with trading(tmp_path, "key-refused-told", world=world) as b:
        await opened(b, "key-refused-told")
        monkeypatch.setattr(b.server._exchange.keys, "find", refuse)
        b.server.drop_connections()
        await b.wait(70)
        assert b.alerts().count("key_refused") == 1
        (told,) = [line for line in b.log if line["event"] == "key_refused"]
        assert all(word in told["text"] for word in ("BINANCE_API_KEY", "-2015", "address"))
        monkeypatch.undo()
        await b.wait(70)
        assert b.alerts().count("key_refused") == 1
        assert b.alerts().count("key_accepted_again") == 1
        await b.move(1)
        await b.wait(5)
        assert b.roles() == AFTER_TP1["OCO"], b.story()


async def test_a_key_that_is_refused_is_told_with_the_watchdog_off_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(tmp_path, "key-refused-told", WATCHDOG_EVERY_SEC="0") as b:
        await opened(b, "key-refused-told")
        monkeypatch.setattr(b.server._exchange.keys, "find", refuse)
        await b.wait(70)
        assert b.alerts().count("key_refused") == 1


def refuse(_key: object) -> None:
    raise unknown_key()


async def test_geo_451_start(tmp_path: Path) -> None:
    """C.6: the exchange's own sentence is shown."""
    wire = Wire("GET /api/v3/ping", Answer(451, (HERE / "geo-451-start.json").read_bytes()))
    wire.on = True
    async with harness(tmp_path, WORLD, faults=wire, started=False) as b:
        with pytest.raises(StartError, match=r"HTTP 451.*Service unavailable from a restricted location"):
            await b.start()


class Latin1(FaultPlan):
    """Answers the next request of each kind in bytes that are no UTF-8, whatever has become of it."""

    def __init__(self, status: int, *kinds: str) -> None:
        self.on = False
        self.answered: list[str] = []
        self._kinds = list(kinds)
        self._answer = Answer(status, (HERE / "body-not-utf8-refusal.json").read_bytes())

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        kind = path if method == "WS" else f"{method} {path}"
        if not self.on or kind not in self._kinds:
            return None
        self._kinds.remove(kind)
        self.answered.append(kind)
        return RequestFault(answer=self._answer)


@pytest.mark.parametrize("status", [502, 200])
async def test_body_not_utf8_refusal(tmp_path: Path, status: int) -> None:
    """B.2: unknown, and looked up (8.2); a read is asked again."""
    orders = ("POST /api/v3/order", "POST /api/v3/orderList/oco", "POST /api/v3/order/cancelReplace")
    reads = ("GET /api/v3/openOrders", "GET /api/v3/account", "GET /api/v3/order", "GET /api/v3/myTrades")
    exchange = Latin1(status, *orders, *reads)
    async with trading(tmp_path, "key-refused-told", faults=exchange, world=POLLED, ORDER_TRANSPORT="rest") as b:
        exchange.on = True
        await b.signal(targets=None)
        await b.wait(20)
        assert "POST /api/v3/order" in exchange.answered
        await b.move(0)
        await b.wait(40)
        assert b.roles() == EXITS["OCO"], b.story()
        assert b.covered() == sum(b.position.split)
        assert {"POST /api/v3/orderList/oco", "GET /api/v3/openOrders"} <= set(exchange.answered)
        await b.move(1)
        await b.wait(40)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("-0.2")
        await b.wait(5)
        b.adds_up(await b.ends(Reason.BREAKEVEN, refusals=list(Why)))
