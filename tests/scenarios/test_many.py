"""Several symbols in one process: each trades for itself, and they share what they can: connection, looks, account."""

import asyncio
import json
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.scenarios.harness import ACCOUNT, EXITS, Harness, World, harness
from tests.scenarios.harness import rows_of as plain_rows_of
from tools.ports import free_port

from executor.core.model.events import Tick, Verb
from executor.core.model.facts import OrderReport, Quote, Why
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.core.transition import Step
from executor.exchange.binance import BinanceExchange
from executor.exchange.port import ReadError, StartError
from executor.paper.server.faults import PushFault, RequestFault
from executor.paper.server.limits import Limits
from executor.paper.server.params import Params
from executor.paper.server.routes import by_path
from executor.service.poller import SAFETY_NET_S
from executor.service.state_locks import RETRY_S, StateLocks
from executor.service.store.lock import StateLock

THREE: Final = ("LTCUSDT", "ETHUSDT", "BNBUSDT")
TWENTY: Final = tuple(f"S{n:02}USDT" for n in range(20))
PUSHED: Final = World(Direction.LONG, "OCO", pushes=True)
POLLED: Final = World(Direction.LONG, "OCO", pushes=False)
BOTH: Final = pytest.mark.parametrize("world", [PUSHED, POLLED], ids=str)


class Ear:
    """Hears every request; loses every user event while `deaf`."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.weight = 0
        self.deaf = False
        self._routes = by_path()

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        what = path.rpartition("/")[2]
        self.asked[what] += 1
        route = self._routes.get((method, path))
        if route is not None and not route.free:
            self.weight += route.weigh(Params(params))
        return None

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        return PushFault(copies=0) if self.deaf and kind == "user" else None

    def forget(self) -> None:
        self.asked.clear()
        self.weight = 0


@asynccontextmanager
async def many(
    folder: Path, world: World, symbols: tuple[str, ...] = THREE, ear: Ear | None = None, *, watchdog: str = "60"
) -> AsyncIterator[Harness]:
    limits, money = Limits(orders_per_10_seconds=1_000), {"USDT": "1000000"}
    async with harness(
        folder, world, symbols=symbols, balances=money, faults=ear, limits=limits, WATCHDOG_EVERY_SEC=watchdog
    ) as b:
        yield b


async def connected(b: Harness, times: int) -> None:
    """Streams come back in real time: market time goes on beside it, and must not run ahead."""
    async with asyncio.timeout(10):
        while b.said("stream_connected") < times:
            await asyncio.sleep(0.02)
            await b.wait(0.02)


async def signal_all(b: Harness) -> None:
    for symbol in b.symbols:
        b.symbol = symbol
        await b.signal(then=0)
    await b.wait(0.5)


async def enter_all(b: Harness) -> None:
    await signal_all(b)
    for symbol in b.symbols:
        b.symbol = symbol
        await b.until(
            lambda: bool(b.orders())
        )  # each signal is judged by a look of its own (2.6): the last comes later
        b.touch(b.at(0))
    await b.wait(4)


def holds(b: Harness, symbol: str) -> bool:
    return b.loops[symbol].state.position is not None


def subscribed(b: Harness) -> set[str]:
    """The symbols whose prices the exchange pushes to anybody."""
    return {topic.symbol for topic in b.server._markets._topics.values() if topic.listeners}


async def ended(b: Harness) -> None:
    """Wait until the service has ended by itself. Raises what killed it."""
    assert b._task is not None
    await b.wait(1)
    await asyncio.wait({b._task}, timeout=10)
    await b.settle()


def covered(b: Harness) -> list[str]:
    """The symbols whose exits all stand."""
    found = []
    for symbol in b.symbols:
        b.symbol = symbol
        if b.roles() == EXITS[b.world.layout]:
            found.append(symbol)
    return found


@BOTH
async def test_each_trades_for_itself(tmp_path: Path, world: World) -> None:
    async with many(tmp_path, world) as b:
        await enter_all(b)
        assert covered(b) == list(THREE)
        b.symbol = "ETHUSDT"
        await b.move(-1)
        await b.ends(Reason.SL)
        assert covered(b) == ["LTCUSDT", "BNBUSDT"]
        b.symbol = "BNBUSDT"
        await b.move(1)
        await b.move(0)
        await b.ends(Reason.TRAIL, Reason.BREAKEVEN)
        b.symbol = "LTCUSDT"
        assert b.roles() == EXITS["OCO"]
        b.is_sound()
        assert all((tmp_path / f"{s}.json").exists() for s in THREE)


async def test_a_halt_in_one_leaves_the_others_trading(tmp_path: Path) -> None:
    async with many(tmp_path, PUSHED) as b:
        b.symbol = "LTCUSDT"
        b.place_by_hand("EX_1_ENTRY_0", b.world.side.entry_side, "1", price=b.at(-3))  # rule 10.3
        await b.wait(2)
        assert b.state.halted
        await enter_all(b)
        assert covered(b) == ["ETHUSDT", "BNBUSDT"]
        b.symbol = "LTCUSDT"
        assert b.state.refused["halted"] == 1
        b.symbol = "ETHUSDT"
        assert not b.state.halted


@BOTH
async def test_a_restart_takes_all_of_them_up(tmp_path: Path, world: World) -> None:
    async with many(tmp_path, world) as b:
        await enter_all(b)
        trades = {s: b.loops[s].state.position for s in THREE}
        await b.stop()
        b.symbol = "ETHUSDT"
        b.touch(b.at(-1))  # its stop fills while nobody looks
        await b.start()
        await b.wait(3)
        assert covered(b) == ["LTCUSDT", "BNBUSDT"]
        b.symbol = "ETHUSDT"
        await b.ends(Reason.SL)
        for b.symbol in ("LTCUSDT", "BNBUSDT"):
            before = trades[b.symbol]
            assert before is not None
            assert b.position.trade == before.trade
            b.is_sound()


async def test_fills_on_two_symbols_while_the_stream_is_cut(tmp_path: Path) -> None:
    ear = Ear()
    async with many(tmp_path, PUSHED, ear=ear) as b:
        await signal_all(b)
        ear.deaf = True
        for b.symbol in ("LTCUSDT", "BNBUSDT"):
            b.touch(b.at(0))
        b.server.drop_connections()
        ear.deaf = False
        ear.forget()
        await b.until(lambda: covered(b) == ["LTCUSDT", "BNBUSDT"], within=5)
        assert b.said("stream_lost") >= 1
        b.symbol = "ETHUSDT"
        b.touch(b.at(0))
        await b.until(lambda: covered(b) == list(THREE), within=5)


@BOTH
async def test_twenty_that_fill_in_the_same_second_are_all_covered(tmp_path: Path, world: World) -> None:
    async with many(tmp_path, world, TWENTY) as b:
        await signal_all(b)
        await b.wait(2)
        assert all(holds(b, s) for s in TWENTY), b.story()
        filled = b.clock.now_ms()
        for b.symbol in TWENTY:
            b.touch(b.at("-0.01"))
        await b.until(lambda: covered(b) == list(TWENTY), within=8)
        assert b.clock.now_ms() - filled < (1_000 if world.pushes else 8_000)
        assert set(b.refusals()) == set()


async def test_prices_are_pushed_of_open_trades_only(tmp_path: Path) -> None:
    async with many(tmp_path, PUSHED) as b:

        async def followed(*symbols: str) -> None:
            async with asyncio.timeout(5):
                while subscribed(b) != set(symbols):  # noqa: ASYNC110  # nothing announces it
                    await asyncio.sleep(0.01)

        await followed()
        for symbol in ("LTCUSDT", "ETHUSDT"):
            b.symbol = symbol
            await b.enter()
        await followed("LTCUSDT", "ETHUSDT")
        await b.wait(2)
        b.touch(b.at("0.4"))
        await b.until(lambda: b.state.market.quote is not None and b.state.market.quote.last == b.at("0.4"), within=0.2)
        b.server.drop_connections()
        await connected(b, 4)
        await followed("LTCUSDT", "ETHUSDT")
        await b.move(-1)
        await b.ends(Reason.SL)
        await followed("LTCUSDT")


@BOTH
async def test_more_exits_at_once_than_the_exchange_takes_are_out_when_it_takes_them(
    tmp_path: Path, world: World
) -> None:
    """20 times 5 orders, of which the account may have 50 in 10 seconds: the rest follow in the windows that come."""
    async with harness(tmp_path, world, symbols=TWENTY, balances={"USDT": "1000000"}) as b:
        await signal_all(b)
        await b.wait(12)
        for symbol in TWENTY:
            b.symbol = symbol
            b.touch(b.at("-0.01"))
        await b.until(lambda: covered(b) == list(TWENTY), within=20)
        assert set(b.refusals()) == {Why.RATE_LIMIT}
        assert not any(loop.state.halted for loop in b.loops.values())


async def test_one_look_serves_all_when_the_safety_net_falls_due(tmp_path: Path) -> None:
    ear = Ear()
    async with many(tmp_path, PUSHED, TWENTY, ear=ear, watchdog="0") as b:  # whose looks are its own
        await enter_all(b)
        assert covered(b) == list(TWENTY)
        await b.wait(SAFETY_NET_S - b.clock.now_ms() / 1000 % SAFETY_NET_S + 1)
        ear.forget()
        await b.wait(2 * SAFETY_NET_S)
        assert ear.asked["openOrders"] == 2, ear.asked
        assert ear.weight / 2 <= 12 * 20


async def test_a_round_of_the_watchdog_looks_once_for_all(tmp_path: Path) -> None:
    """80 for the orders of all, 20 for the balances, 1 for the clock; beside the poller's own look."""
    ear = Ear()
    async with many(tmp_path, PUSHED, TWENTY, ear=ear) as b:
        await enter_all(b)
        await b.wait(SAFETY_NET_S)
        ear.forget()
        await b.wait(3 * SAFETY_NET_S)
        assert ear.asked["openOrders"] <= 7, ear.asked
        assert ear.asked["account"] <= 4
        assert not [entry for entry in b.log if entry.get("alert")]


async def test_few_symbols_are_looked_at_by_name(tmp_path: Path) -> None:
    ear = Ear()
    async with many(tmp_path, PUSHED, ear=ear, watchdog="0") as b:
        await enter_all(b)
        await b.wait(SAFETY_NET_S - b.clock.now_ms() / 1000 % SAFETY_NET_S + 1)
        ear.forget()
        await b.wait(SAFETY_NET_S)
        assert ear.asked["openOrders"] == 3, "3 x 6 weigh less than 80"
        assert ear.weight <= 3 * 12


async def test_polling_many_starves_nobody_and_keeps_to_its_share(tmp_path: Path) -> None:
    ear = Ear()
    async with many(tmp_path, POLLED, TWENTY, ear=ear) as b:
        await enter_all(b)
        await b.wait(60 - b.clock.now_ms() / 1000 % 60)
        ear.forget()
        await b.wait(60)
        assert ear.asked["openOrders"] > 30
        assert ear.weight <= 6000 * 80 // 100
        b.symbol = TWENTY[-1]
        await b.move(-1)
        await b.ends(Reason.SL)
        for b.symbol in TWENTY[:-1]:
            quote = b.state.market.quote
            assert isinstance(quote, Quote)
            assert b.clock.now_ms() - quote.at < 5_000
        assert "rate_limit" not in {entry["event"] for entry in b.log}


async def test_a_signal_goes_to_its_symbol_and_a_strange_one_to_nobody(tmp_path: Path) -> None:
    async with many(tmp_path, PUSHED) as b:
        b.symbol = "ETHUSDT"
        await b.signal()
        assert [s for s in THREE if holds(b, s)] == ["ETHUSDT"]
        told = [entry for entry in b.log if entry["event"] in {"trade_opened", "accepted"}]
        assert [entry["symbol"] for entry in told] == ["ETHUSDT"] * 2
        await b.signal(symbol="BTCUSDT")
        await b.signal(symbol=None)
        b.write("no signal\n")
        await b.wait(1)
        refused = [entry["why"] for entry in b.log if entry["event"] == "signal_refused"]
        assert refused == [
            "signal is for BTCUSDT, this trades LTCUSDT, ETHUSDT, BNBUSDT",
            "malformed: symbol is missing: it must name the symbol, e.g. BTCUSDT",
            "malformed: the line is not JSON: Expecting value at character 0",
        ]
        assert all(b.loops[s].state.refused == {} for s in THREE)


async def test_a_slow_look_for_one_signal_holds_up_no_other_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with many(tmp_path, PUSHED) as b:

        async def slow() -> None:
            await b.patient.sleep(30)

        monkeypatch.setattr(b.loops["LTCUSDT"].exchange, "quote", slow)
        b.symbol = "LTCUSDT"
        await b.signal(then=0.3)
        b.symbol = "ETHUSDT"
        await b.signal(then=0)
        await b.until(lambda: holds(b, "ETHUSDT"), within=2)
        await b.wait(0.5)
        assert not holds(b, "LTCUSDT")
        await b.stop()
        await b.start()
        await b.wait(1)
        assert holds(b, "LTCUSDT"), "its line was not behind the remembered place"
        b.symbol = "ETHUSDT"
        assert len(b.sent("ENTRY")) == 1, "its line was, or is known by its key"


async def test_a_loop_that_dies_ends_the_service_with_the_others_in_order(tmp_path: Path) -> None:
    async with many(tmp_path, PUSHED) as b:
        await enter_all(b)

        async def die() -> None:
            raise ZeroDivisionError

        states = {s: b.loops[s].state for s in THREE}
        tasks = b.loops["ETHUSDT"]._tasks
        assert tasks is not None
        dying = tasks.create_task(die())
        with pytest.raises(ExceptionGroup) as death:
            await ended(b)
        assert dying.done()
        assert death.group_contains(ZeroDivisionError)
        for b.symbol in THREE:
            position = states[b.symbol].position
            told = b.on_disk().position
            assert position is not None
            assert told is not None
            assert told.trade == position.trade
        await b.start()
        await b.wait(2)
        assert covered(b) == list(THREE)


async def test_one_word_stops_all(tmp_path: Path) -> None:
    async with many(tmp_path, PUSHED) as b:
        await enter_all(b)
        b.symbol = "BNBUSDT"
        await b.command(Verb.PAUSE)
        assert [s for s in THREE if b.loops[s].state.paused] == ["BNBUSDT"]
        await b.stop()
        assert all(order.status.name == "NEW" for order in b.engine.open_orders(ACCOUNT))
        for b.symbol in THREE:
            assert b.on_disk().paused is (b.symbol == "BNBUSDT")


async def test_a_symbol_that_is_not_listed_is_named_and_left_out(tmp_path: Path) -> None:
    async with many(tmp_path, PUSHED) as b:
        await b.stop()
        b.symbols = (*THREE, "NOSUCHUSDT")
        await b.start()
        assert set(b.loops) == set(THREE)
        (told,) = [line["error"] for line in b.log if line["event"] == "not_started"]
        assert "does not list the symbol 'NOSUCHUSDT'" in told
        await b.stop()
        b.symbols = ("NOSUCHUSDT", "NORTHISUSDT")
        with pytest.raises(StartError, match="does not list the symbol 'NOSUCHUSDT'"):
            await b.start()


async def test_a_task_that_all_share_takes_the_service_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: object) -> None:
        raise ZeroDivisionError

    async with many(tmp_path, PUSHED) as b:
        await enter_all(b)
        monkeypatch.setattr("executor.signals.follower.SignalFollower.read", fail)
        with pytest.raises(ExceptionGroup) as death:
            await ended(b)
        assert death.group_contains(ZeroDivisionError)
        for symbol in THREE:
            b.symbol = symbol
            assert b.on_disk().position is not None


async def test_what_one_has_spent_the_others_see(tmp_path: Path) -> None:
    """The account has one purse: a signal for which too little is left is refused, not failed at the exchange."""
    async with harness(tmp_path, PUSHED, symbols=THREE, balances={"USDT": "400"}) as b:
        for b.symbol in THREE:
            await b.signal(then=1)
        opened = [s for s in THREE if holds(b, s)]
        assert opened == ["LTCUSDT"]
        assert Decimal(400) - b.free("USDT") == Decimal(300)
        assert {reason for s in THREE[1:] for reason in b.loops[s].state.refused} == {"balance"}


@pytest.mark.parametrize("pause_s", [0, 1])
async def test_what_the_exits_of_one_short_will_lock_pays_for_no_other_s(tmp_path: Path, pause_s: float) -> None:
    """2.6: also where both signals come at once, and for as long as the first one's entry rests."""
    short = World(Direction.SHORT, "OCO", pushes=True)
    symbols = THREE[:2]
    async with harness(tmp_path, short, symbols=symbols, balances={"USDT": "7", "LTC": "10", "ETH": "10"}) as b:
        for b.symbol in symbols:
            await b.signal(then=pause_s)
        await b.wait(1)
        assert {s: dict(b.loops[s].state.refused) for s in symbols} == {symbols[0]: {}, symbols[1]: {"balance": 1}}
        for b.symbol in symbols:
            b.touch(b.at("-0.01"))
        await b.wait(1)
        assert covered(b) == [symbols[0]]


async def test_two_longs_may_take_all_there_is(tmp_path: Path) -> None:
    """2.5: what Plan B of the one may pay beyond its limit keeps no other's entry away."""
    symbols = THREE[:2]
    async with harness(tmp_path, PUSHED, symbols=symbols, balances={"USDT": "600"}) as b:
        for b.symbol in symbols:
            await b.signal(then=1)
        assert [b.roles() for b.symbol in symbols] == [["ENTRY"], ["ENTRY"]]


async def test_what_another_symbol_has_sold_of_the_same_base_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """6.6: a hand that then takes all exits away has not sold the position with them."""
    two = ("LTCUSDT", "LTCXUSDT")

    def rows_of(symbols: Iterable[str]) -> list[Mapping[str, Any]]:
        return [{**row, "baseAsset": "LTC"} if row["symbol"] == two[1] else row for row in plain_rows_of(symbols)]

    monkeypatch.setattr("tests.scenarios.harness.rows_of", rows_of)
    async with harness(tmp_path, PUSHED, symbols=two, balances={"USDT": "10000"}) as b:
        for b.symbol in reversed(two):
            await b.enter()
        b.symbol = two[1]
        await b.command(Verb.FLATTEN)
        await b.ends(Reason.FLATTEN)
        b.symbol = two[0]
        for role in ("SL", "TP1", "TP2"):
            b.cancel_by_hand(role)
        await b.wait(10)
        assert b.roles() == EXITS["OCO"]


async def test_status_health_and_metrics_tell_of_each(tmp_path: Path) -> None:
    port = free_port()
    async with harness(tmp_path, PUSHED, symbols=THREE, balances={"USDT": "10000"}, HTTP_PORT=str(port)) as b:
        b.symbol = "ETHUSDT"
        await b.enter()
        await b.signal(symbol="XRPUSDT")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            told = (await client.get("/status")).json()
            assert [(each["symbol"], each["position"] is not None) for each in told] == [
                ("LTCUSDT", False),
                ("ETHUSDT", True),
                ("BNBUSDT", False),
            ]
            assert (await client.get("/readyz")).json() == {"ready": True, "faults": []}
            b.loops["BNBUSDT"].poller.orders_pushed = False
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["faults"]) == (200, [])
            metrics = (await client.get("/metrics")).text
    assert 'executor_position_open{symbol="ETHUSDT"} 1.0' in metrics
    assert 'executor_position_open{symbol="LTCUSDT"} 0.0' in metrics
    assert 'executor_fill_to_covered_seconds_count{symbol="ETHUSDT"} 1.0' in metrics
    assert "executor_signals_unclaimed_total 1.0" in metrics


async def test_one_whose_orders_cannot_be_looked_up_keeps_no_other_from_trading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = BinanceExchange.open_orders

    async def look(self: BinanceExchange) -> tuple[OrderReport, ...]:
        """By neither way."""
        if self.symbol == "BNBUSDT" and self.symbol in b.loops:  # not while its state catches up
            raise ReadError("HTTP 400: -1121 Invalid symbol.")
        return await looked(self)

    monkeypatch.setattr("executor.service.supervisor.LAGGARD_S", 0.2)
    async with many(tmp_path, PUSHED) as b:
        await enter_all(b)
        await connected(b, 2)
        await b.stop()
        monkeypatch.setattr(BinanceExchange, "open_orders", look)
        b._task = asyncio.create_task(b._serve(b.settings()))
        await connected(b, 4)
        async with asyncio.timeout(5):
            while not b.said("not_recovered"):  # noqa: ASYNC110  # real time
                await asyncio.sleep(0.02)
        b.symbol = "ETHUSDT"
        await b.move(-1)
        await b.ends(Reason.SL)
        late = b.loops["BNBUSDT"]
        assert not late.ready.is_set()
        monkeypatch.setattr(BinanceExchange, "open_orders", looked)
        await b.until(late.ready.is_set)
        assert late.poller.orders_pushed
        b.symbol = "BNBUSDT"
        await b.move(-1)
        await b.ends(Reason.SL)


async def test_one_whose_state_cannot_be_used_is_left_out_and_told_of(tmp_path: Path) -> None:
    async with many(tmp_path, PUSHED) as b:
        await enter_all(b)
        await b.stop()
        b.symbol = THREE[0]
        path = b.settings().state_path(b.symbol)
        files = [each for each in (path, path.with_name(f"{path.name}.prev")) if each.exists()]
        for each in files:
            each.write_bytes(b"{" * 100)
        await b.start()
        assert set(b.loops) == set(THREE[1:])
        assert "not_started" in b.alerts()
        for b.symbol in THREE[1:]:
            await b.move(-1)
            await b.ends(Reason.SL)
        assert {each.read_bytes() for each in files} == {b"{" * 100}
        assert len(b.engine.open_orders(ACCOUNT)) == 5


async def test_one_whose_state_is_in_use_is_taken_in_once_it_is_free(tmp_path: Path) -> None:
    async with many(tmp_path, PUSHED) as b:
        await enter_all(b)
        await b.stop()
        holder = StateLock(b.settings().state_path(THREE[0])).acquire()
        with StateLocks(b.settings(), THREE) as b.locks:
            b.locks.take()
            await b.start()
            assert set(b.loops) == set(THREE[1:])
            assert "trade_left_behind" not in b.alerts()
            b.symbol = THREE[0]
            await b.signal()
            refused = [entry for entry in b.log if entry["event"] == "signal_refused"][-1]["why"]
            assert refused.startswith(f"{THREE[0]} could not be started: the state is in use by process ")
            b.symbol = THREE[1]
            await b.move(-1)
            await b.ends(Reason.SL)
            holder.release()
            await b.wait(RETRY_S)
            await ended(b)
            await b.start()
            assert set(b.loops) == set(THREE)
            assert covered(b) == [THREE[0], THREE[2]]


async def test_a_signal_for_one_that_could_not_be_started_is_told_why(tmp_path: Path) -> None:
    """And what names no symbol is not for the one that is left: it may be meant for the other."""
    async with harness(tmp_path, PUSHED, symbols=THREE[:2], balances={"USDT": "10000"}) as b:
        b.symbol = THREE[0]
        await b.enter()
        await b.stop()
        path = b.settings().state_path(b.symbol)
        for each in (path, path.with_name(f"{path.name}.prev")):
            each.write_bytes(b"{" * 100)
        await b.start()
        assert set(b.loops) == {THREE[1]}
        await b.signal()
        peak = {"ts": b.clock.now_ms(), "action": "PEAK", "kind": "long", "price": str(b.at(0))}
        b.write(json.dumps(peak) + "\n")
        await b.wait(1)
        refused = [entry["why"] for entry in b.log if entry["event"] == "signal_refused"]
        assert len(refused) == 2
        assert refused[0].startswith(f"{THREE[0]} could not be started: no usable state: ")
        assert refused[1] == f"signal is for no symbol, this trades {THREE[1]}"
        assert b.alerts().count("signal_not_judged") == 1
        assert b.loops[THREE[1]].state.position is None


async def test_one_that_judges_no_signal_keeps_no_other_from_judging_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = BinanceExchange.open_orders

    async def look(self: BinanceExchange) -> tuple[OrderReport, ...]:
        if self.symbol == "BNBUSDT" and self.symbol in b.loops:
            raise ReadError("HTTP 400: -1121 Invalid symbol.")
        return await looked(self)

    monkeypatch.setattr("executor.service.supervisor.LAGGARD_S", 0.2)
    monkeypatch.setattr("executor.service.inlets.intake.UNDER_WAY_MAX", 10)
    monkeypatch.setattr("executor.service.inlets.intake.STUCK_S", 0.0)
    async with many(tmp_path, PUSHED) as b:
        await connected(b, 2)
        await b.stop()
        monkeypatch.setattr(BinanceExchange, "open_orders", look)
        b._task = asyncio.create_task(b._serve(b.settings()))
        await connected(b, 4)
        old = {"ts": b.clock.now_ms() - 3_600_000, "side": "long", "price": "100", "stop": "99"}
        for number in range(30):
            for symbol in ("BNBUSDT", "ETHUSDT"):
                b.write(json.dumps({**old, "symbol": symbol, "id": f"{symbol} {number}"}) + "\n")
        await comes(b, lambda: b.loops["ETHUSDT"].state.refused.get("too_old") == 30)
        assert b.alerts().count("signals_waiting") == 1
        assert b.said("signal_refused") == 30 + 20, "of BNBUSDT the last ten wait"
        fresh = {"ts": b.clock.now_ms(), "symbol": "ETHUSDT", "side": "long", "price": "100", "stop": "99"}
        b.write(json.dumps(fresh) + "\n")
        await comes(b, lambda: b.loops["ETHUSDT"].state.position is not None)
        monkeypatch.setattr(BinanceExchange, "open_orders", looked)
        await comes(b, lambda: b.loops["BNBUSDT"].state.refused.get("too_old") == 10)


async def comes(b: Harness, condition: Callable[[], bool]) -> None:
    """Let time pass, though lines wait to be judged, which it would wait for."""
    async with asyncio.timeout(20):
        while not condition():
            b.clock.advance_to(b.clock.now_ms() + 20)
            await b.breathe()


async def test_the_supervisor_hears_of_all_and_nothing_once_one_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        monkeypatch.setattr("executor.service.systemd.ALIVE_EVERY_S", 0.0)
        words: list[str] = []

        async def hear(word: str, within: float) -> bool:
            try:
                async with asyncio.timeout(within):
                    while word not in words:
                        words.append((await asyncio.get_running_loop().sock_recv(ear, 4096)).decode())
            except TimeoutError:
                return False
            return True

        async with many(tmp_path, PUSHED) as b:
            assert await hear("READY=1", 5)
            assert await hear("WATCHDOG=1", 5)
            b.symbol = "ETHUSDT"
            await b.enter()
            await hear("", 0.5)
            assert any(w.startswith("STATUS=3 symbols, 2 without a trade; ETHUSDT: long") for w in words), words

            async def forever(*_args: object, **_more: object) -> Step:
                await asyncio.Event().wait()
                raise AssertionError

            b.loops["BNBUSDT"]._take = forever  # type: ignore[method-assign]
            b.loops["BNBUSDT"].poll_now()
            b.loops["BNBUSDT"].tell(Tick(at=b.loops["BNBUSDT"].now()))
            await hear("", 1)
            words.clear()
            assert not await hear("WATCHDOG=1", 1)
