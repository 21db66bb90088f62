"""What the watchdog can find, brought about on the exchange by another client with the same keys (rule 12)."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import ACCOUNT, EXITS, Harness, World, harness

from executor.core.model.facts import Balance, Outcome, Refused, Why
from executor.core.model.intents import Stamp
from executor.core.model.state import Reason
from executor.core.model.values import Direction, OrderSide, OrderType
from executor.exchange.transport.budget import Budget
from executor.ops.watchdog.machine import probe
from executor.ops.watchdog.rounds import Look, Watchdog
from executor.ops.watchdog.suspects import Suspect
from executor.paper.server.errors import unknown_key
from executor.service.loop import Loop

POLLED = World(Direction.LONG, "OCO", pushes=False)
PUSHED = World(Direction.LONG, "OCO", pushes=True)
SHORT = World(Direction.SHORT, "OCO", pushes=True)
EVERY_S = 60.0
ROUNDS = 3

worlds = pytest.mark.parametrize("world", [POLLED, PUSHED], ids=str)


@pytest.fixture(params=[PUSHED, POLLED], ids=str)
async def b(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    async with harness(tmp_path, request.param) as found:
        yield found


async def found(b: Harness, event: str) -> dict[str, Any]:
    """The alert of that name, within three rounds."""
    await b.until(lambda: event in b.alerts(), within=ROUNDS * EVERY_S + 10)
    return next(entry for entry in b.log if entry["event"] == event and entry.get("alert"))


def no_finding(b: Harness, *but: str) -> None:
    assert set(b.alerts()) <= set(but), b.story()


# --- no fault, no finding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [POLLED, PUSHED, SHORT], ids=str)
async def test_a_life_without_faults_has_no_findings(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, COOLDOWN_SEC="1", LOCK_SEC="0") as b:
        for last in (-1, 1, 2):
            await b.wait(EVERY_S + 5)
            await b.enter()
            await b.wait(2 * EVERY_S)
            if last > 0:
                await b.move(1)
                await b.wait(EVERY_S)
            if last > 1:
                await b.move(2)
                await b.move(3)
                await b.wait(EVERY_S)
            await b.move(-1)
            await b.until(lambda: b.state.position is None)
            await b.wait(2 * EVERY_S)
            await b.move(0)
        no_finding(b)
        assert not b.state.halted


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    async with harness(tmp_path, PUSHED, WATCHDOG_EVERY_SEC="0") as b:
        b.place_by_hand("web_1", OrderSide.BUY, "1", price=b.at(-5))
        await b.wait(5 * EVERY_S)
        no_finding(b)


async def test_a_round_is_left_out_where_trading_needs_the_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness(tmp_path, POLLED) as b:
        await b.wait(EVERY_S + 5)
        b.place_by_hand("web_1", OrderSide.BUY, "1", price=b.at(-5))
        with monkeypatch.context() as busy:
            busy.setattr(Budget, "used", property(lambda budget: budget.limit * 6 // 10))
            await b.until(lambda: b.said("watchdog_waits") > 1, within=2 * EVERY_S + 10)
            no_finding(b)
        await found(b, "foreign_order")


# --- orders -----------------------------------------------------------------------------------------------------------


async def ghost_of(b: Harness) -> str:
    """An order of a trade that has ended."""
    await b.enter()
    trade = b.position.trade
    await b.move(-1)
    await b.ends(Reason.SL)
    ghost = f"EX_{trade}_TP1_90"
    b.place_by_hand(ghost, OrderSide.SELL, "1", price=b.at(30))
    return ghost


async def test_a_ghost_of_a_finished_trade_is_cancelled_and_entries_go_on(b: Harness) -> None:
    await ghost_of(b)
    told = await found(b, "ghost_order")
    assert told["text"].endswith("cancelled")
    assert b.open() == []
    await b.wait(5)
    assert not b.state.halted


async def test_a_ghost_that_does_not_go_by_our_id_goes_by_the_exchanges(
    b: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 8.7."""
    await ghost_of(b)
    assert b.loop is not None
    cancel = b.loop.exchange.cancel

    async def by_number(name: str, stamp: Stamp | None = None, exchange_id: int = 0) -> Outcome:
        refused = Refused(Why.UNKNOWN_ORDER, -2011, "Unknown order sent.")
        return await cancel(name, stamp, exchange_id) if exchange_id else refused

    monkeypatch.setattr(b.loop.exchange, "cancel", by_number)
    assert (await found(b, "ghost_order"))["text"].endswith("cancelled")
    assert b.open() == []
    assert not b.state.halted


async def test_a_ghost_that_can_not_be_cancelled_halts(b: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    await ghost_of(b)
    assert b.loop is not None

    async def nothing(*_: object) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(b.loop.exchange, "cancel", nothing)
    assert "could not be cancelled" in (await found(b, "ghost_order"))["text"]
    assert b.state.halted


async def test_a_ghost_is_cancelled_with_the_stamp_of_its_look_or_not_at_all(
    b: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 8.3d: whoever was suspended after the look cancels nothing when it wakes."""
    ghost = await ghost_of(b)
    assert b.loop is not None
    exchange, sent, act, asleep = b.loop.exchange, [], Watchdog._act, [True]
    cancel = exchange.cancel

    async def noted(name: str, stamp: Stamp | None = None, exchange_id: int = 0) -> Outcome:
        sent.append((name, stamp, exchange.now()))
        return await cancel(name, stamp, exchange_id)

    async def suspended(watchdog: Watchdog, loop: Loop, look: Look, believed: list[Suspect]) -> None:
        await b.clock.sleep(4.0 if asleep and asleep.pop() else 0.0)
        await act(watchdog, loop, look, believed)

    monkeypatch.setattr(exchange, "cancel", noted)
    monkeypatch.setattr(Watchdog, "_act", suspended)
    await b.until(lambda: b.said("ghost_left") == 1, within=ROUNDS * EVERY_S)
    assert not sent
    assert len(b.open()) == 1
    await found(b, "ghost_order")
    ((cancelled, stamp, at),) = sent
    assert cancelled == ghost
    assert stamp is not None
    assert not stamp.too_old(at)
    assert b.open() == []


async def test_a_ghost_is_cancelled_however_long_the_balances_take(b: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is asked about orders makes a look old; else each round left the ghost, and nothing was said."""
    await ghost_of(b)
    assert b.loop is not None
    balances, look, now, behind = b.loop.exchange.balances, Watchdog._look, b.loop.now, [0]

    async def slowly() -> dict[str, Balance]:
        read = await balances()
        behind[0] = 0
        return read

    async def begins(watchdog: Watchdog, loop: Loop) -> Look | None:
        behind[0] = 3_000  # ms, which the balances take
        return await look(watchdog, loop)

    monkeypatch.setattr(b.loop, "now", lambda: now() - behind[0])
    monkeypatch.setattr(Watchdog, "_look", begins)
    monkeypatch.setattr(b.loop.exchange, "balances", slowly)
    assert (await found(b, "ghost_order"))["text"].endswith("cancelled")
    assert b.open() == []


async def test_a_ghost_that_three_rounds_were_too_late_for_is_told_of_and_bars_entries_no_longer_than_it_stands(
    b: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ghost_of(b)
    act, slow = Watchdog._act, [True]

    async def suspended(watchdog: Watchdog, loop: Loop, look: Look, believed: list[Suspect]) -> None:
        await b.clock.sleep(4.0 if slow[0] else 0.0)
        await act(watchdog, loop, look, believed)

    monkeypatch.setattr(Watchdog, "_act", suspended)
    await b.until(lambda: b.said("ghost_left") == 2, within=4 * EVERY_S)
    assert "ghost_order" not in b.alerts()
    told = await found(b, "ghost_order")
    assert "could not be cancelled in 3 rounds with RECV_WINDOW=5000" in told["text"]
    assert len(b.open()) == 1
    slow[0] = False
    await b.until(lambda: not b.open(), within=3 * EVERY_S)
    await b.until(lambda: not b.state.halted, within=5)


async def test_a_ghost_s_cancel_that_the_exchange_got_too_late_halts_nothing(
    b: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-1021 says nothing of the order: the next round looks anew."""
    ghost = await ghost_of(b)
    assert b.loop is not None
    exchange, sent = b.loop.exchange, []
    cancel = exchange.cancel

    async def late(name: str, stamp: Stamp | None = None, exchange_id: int = 0) -> Outcome:
        sent.append((name, exchange_id > 0))
        if len(sent) > 2:
            return await cancel(name, stamp, exchange_id)
        return Refused(Why.CLOCK, -1021, "Timestamp for this request is outside of the recvWindow.")

    monkeypatch.setattr(exchange, "cancel", late)
    assert (await found(b, "ghost_order"))["text"].endswith("cancelled")
    assert sent == [(ghost, False), (ghost, True), (ghost, False)]
    assert b.said("ghost_left") == 1
    assert b.open() == []
    assert not b.state.halted


async def test_a_ghost_is_not_tried_by_its_number_with_a_stamp_that_has_grown_old(
    b: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghost = await ghost_of(b)
    assert b.loop is not None
    exchange, sent, now, taken = b.loop.exchange, [], b.loop.now, [0]
    cancel = exchange.cancel

    async def slowly(name: str, stamp: Stamp | None = None, exchange_id: int = 0) -> Outcome:
        sent.append((name, exchange_id > 0))
        if len(sent) > 1:
            return await cancel(name, stamp, exchange_id)
        taken[0] = 4_000  # ms
        return Refused(Why.UNKNOWN_ORDER, -2011, "Unknown order sent.")

    async def begins(watchdog: Watchdog, loop: Loop) -> Look | None:
        taken[0] = 0
        return await look(watchdog, loop)

    look = Watchdog._look
    monkeypatch.setattr(b.loop, "now", lambda: now() + taken[0])
    monkeypatch.setattr(Watchdog, "_look", begins)
    monkeypatch.setattr(exchange, "cancel", slowly)
    assert (await found(b, "ghost_order"))["text"].endswith("cancelled")
    assert sent == [(ghost, False), (ghost, False)]
    assert not b.state.halted


async def test_orders_of_no_trade_here_halt_and_are_not_touched(b: Harness) -> None:
    b.place_by_hand("EX_17_TP1_1", OrderSide.SELL, "1", price=b.at(30))
    await found(b, "stray_orders")
    assert "EX_17_TP1_1" in b.state.halted
    await b.wait(2 * EVERY_S)
    assert len(b.open()) == 1
    assert b.alerts().count("stray_orders") == 1


async def test_orders_of_others_are_told_of_once_and_never_touched(b: Harness) -> None:
    await b.wait(EVERY_S + 5)
    await b.enter()
    b.place_by_hand("web_1", OrderSide.BUY, "1", price=b.at(-5))
    assert "web_1: BUY 1" in (await found(b, "foreign_order"))["text"]
    await b.wait(3 * EVERY_S)
    assert b.alerts().count("foreign_order") == 1
    assert [o.client_order_id for o in b.engine.open_orders(ACCOUNT, b.symbol)].count("web_1") == 1
    assert b.roles() == EXITS["OCO"]


async def test_orders_of_others_that_were_there_before_are_no_news(tmp_path: Path) -> None:
    async with harness(tmp_path, PUSHED, started=False) as b:
        b.place_by_hand("web_1", OrderSide.BUY, "1", price=b.at(-5))
        await b.start()
        await b.wait(4 * EVERY_S)
        no_finding(b)


async def test_a_stop_that_is_cancelled_is_put_back(b: Harness) -> None:
    await b.enter()
    b.cancel_by_hand("SL")
    await found(b, "exit_vanished")
    await b.wait(5)
    assert b.roles() == EXITS["OCO"]


async def test_an_order_of_this_trade_that_the_state_does_not_know_is_followed(b: Harness) -> None:
    await b.enter()
    b.place_by_hand(f"EX_{b.position.trade}_TP1_90", OrderSide.SELL, "1", price=b.at(30))
    await found(b, "order_adopted")


@pytest.mark.parametrize("role", ["SL", "SL1", "TP2"])
async def test_an_exit_that_is_made_smaller_by_another_hand_is_made_whole(b: Harness, role: str) -> None:
    """Under the same id, as the exchange's own amendment does; pushed as REPLACED where there are pushes."""
    await b.enter()
    before, order = b.covered(), b.one(role)
    b.engine.amend_order(
        ACCOUNT,
        b.symbol,
        Decimal("0.1"),
        b.clock.now_ms(),
        order_id=order.order_id,
        new_client_order_id=order.client_order_id,
    )
    b.server.on_quote(b.symbol)
    assert "made smaller by another hand" in (await found(b, "exit_resized"))["text"]
    await b.wait(5)
    assert b.covered() == before
    assert b.roles() == EXITS["OCO"]
    await b.move(-1)
    await b.ends(Reason.SL)


@pytest.mark.parametrize(("role", "name"), [("SL", "web_1"), ("SL1", None)], ids=["named", "left to the exchange"])
async def test_an_exit_that_is_renamed_by_another_hand_is_put_back_under_ours(
    b: Harness, role: str, name: str | None
) -> None:
    """The exchange's own amendment gives an order a new id, with a smaller quantity; pushed as REPLACED."""
    await b.enter()
    before, order = b.covered(), b.one(role)
    b.engine.amend_order(
        ACCOUNT,
        b.symbol,
        order.orig_qty - Decimal("0.1"),
        b.clock.now_ms(),
        order_id=order.order_id,
        new_client_order_id=name,
    )
    b.server.on_quote(b.symbol)
    await found(b, "exit_resized")
    await b.until(lambda: b.covered() == before, within=ROUNDS * EVERY_S)
    await b.wait(EVERY_S)
    assert b.roles() == EXITS["OCO"]
    no_finding(b, "exit_resized", "unprotected")
    assert not b.state.halted
    await b.move(-1)
    await b.ends(Reason.SL)


# --- holdings ---------------------------------------------------------------------------------------------------------


@worlds
async def test_base_that_is_sold_in_part_is_told(tmp_path: Path, world: World) -> None:
    """Of what the trade does not hold."""
    async with harness(tmp_path, world) as b:
        await b.wait(EVERY_S + 5)
        await b.enter()
        await b.wait(EVERY_S + 5)
        b.place_by_hand("web_1", OrderSide.SELL, "4", type=OrderType.MARKET)
        told = await found(b, "balance_moved")
        assert "4" in told["text"]
        assert "less" in told["text"]
        await b.wait(3 * EVERY_S)
        assert b.alerts().count("balance_moved") == 1
        assert not b.state.halted


@worlds
async def test_base_that_the_trade_holds_is_sold_elsewhere(tmp_path: Path, world: World) -> None:
    """Its exits cancelled, and part of it sold: told, and what is left is covered."""
    async with harness(tmp_path, world, balances={"USDT": "10000"}) as b:
        await b.enter()
        await b.wait(EVERY_S)
        b.engine.cancel_open_orders(ACCOUNT, b.symbol, b.clock.now_ms())
        b.place_by_hand("web_1", OrderSide.SELL, "2", type=OrderType.MARKET)
        await b.wait(ROUNDS * EVERY_S)
        assert {"exit_vanished", "part_missing", "balance_moved"} <= set(b.alerts()), b.story()
        no_finding(b, "exit_vanished", "part_missing", "balance_moved", "foreign_order")
        assert b.covered() == Decimal("0.997")
        await b.move(-1)
        await b.until(lambda: b.state.position is None, within=EVERY_S)
        assert b.open() == []


# --- what everything stands on ----------------------------------------------------------------------------------------


async def test_a_clock_that_is_off_is_set(b: Harness) -> None:
    assert b.loop is not None
    b.loop.exchange.connection.clock.offset -= 3_000  # type: ignore[attr-defined]
    assert "measured anew and set" in (await found(b, "clock_off"))["text"]
    assert abs(b.loop.exchange.connection.clock.offset) < 100  # type: ignore[attr-defined]
    await b.wait(3 * EVERY_S)
    assert b.alerts().count("clock_off") == 1


async def test_a_folder_that_can_not_be_written_is_found_while_quiet(b: Harness) -> None:
    """As when its disk goes away: the state's own folder, under the running service."""
    away = b.folder.with_name("away")
    b.folder.rename(away)
    b.folder.touch()
    assert (await found(b, "folder_unwritable"))["text"] == "Not a directory"
    await b.wait(3 * EVERY_S)
    assert b.alerts().count("folder_unwritable") == 1
    assert b.state.position is None
    b.folder.unlink()
    away.rename(b.folder)
    await b.until(lambda: b.said("folder_writable_again") == 1, within=2 * EVERY_S)
    await b.enter()


def test_a_folder_is_written_to_and_left_as_it_was(tmp_path: Path) -> None:
    assert probe(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    assert probe(tmp_path / "gone") == "No such file or directory"
    (tmp_path / "file").touch()
    assert probe(tmp_path / "file") == "Not a directory"


def silence(b: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the exchange answers nothing."""
    assert b.loop is not None

    async def nobody(*_: object, **__: object) -> None:
        await asyncio.sleep(0)
        raise OSError("no route to host")

    monkeypatch.setattr(b.loop.exchange.connection._client, "call", nobody)  # type: ignore[attr-defined]


async def test_an_exchange_that_is_away_is_told_and_its_return_too(b: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    silence(b, monkeypatch)
    assert "no route to host" in (await found(b, "exchange_away"))["text"]
    await b.wait(EVERY_S)
    assert b.alerts().count("exchange_away") == 1
    monkeypatch.undo()
    await found(b, "exchange_back")


def refuse(_key: object) -> None:
    raise unknown_key()


async def test_a_key_that_is_refused_is_one_alert(b: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(b.server._exchange.keys, "find", refuse)
    assert "-2015" in (await found(b, "key_refused"))["text"]
    await b.wait(2 * EVERY_S)
    assert b.alerts().count("key_refused") == 1
    monkeypatch.undo()
    await b.until(lambda: b.said("key_accepted_again") == 1, within=2 * EVERY_S)


async def test_a_stream_that_is_up_and_silent_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with harness(tmp_path, PUSHED) as b:
        await b.wait(EVERY_S)
        streams = b.server._exchange.user_streams
        monkeypatch.setattr(streams, "flush", lambda: False)
        await b.signal()
        b.touch(b.at(0))
        await found(b, "stream_dead")
        assert b.covered()
        monkeypatch.undo()
        async with asyncio.timeout(10):  # in real time: the network's own
            while b.said("stream_connected") < 3:  # noqa: ASYNC110  # both streams, and the one that was opened anew
                await asyncio.sleep(0.01)


async def test_a_loop_that_does_not_turn_is_told(b: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.ops.watchdog.rounds.TURN_WITHIN_S", 0.05)

    async def never() -> None:
        await asyncio.Event().wait()

    assert b.loop is not None
    monkeypatch.setattr(b.loop, "come_round", never)
    assert "not come round" in (await found(b, "state_stuck"))["text"]
