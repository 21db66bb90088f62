"""Signals on their way in: every refusal of rule 2.5 is told with its reason and changes nothing else."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import EXITS, OCO_WORLDS, WORLDS, Harness, World, harness

from executor.core.model.events import Commanded, Verb
from executor.core.model.facts import OrderReport
from executor.core.model.signal import Signal
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.core.model.verdict import Moved
from executor.paper.server.faults import FaultPlan, RequestFault
from executor.service.inlets import intake
from executor.service.inlets.intake import SignalJudge
from executor.service.store.document import document_of
from executor.signals.follower import SignalFollower
from executor.signals.parse import Malformed, parse_signal
from executor.signals.position import Position

LONG = World(Direction.LONG, "OCO", pushes=False)
SHORT = World(Direction.SHORT, "OCO", pushes=False)
worlds = pytest.mark.parametrize("world", WORLDS, ids=str)
oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)
HOUR_MS = 3_600_000


async def refused(b: Harness, kind: str, words: str, **signal: Any) -> None:
    """The signal is refused for `kind`, once, in these `words`; nothing else has changed."""
    before, told = document_of(b.state), b.said("signal_refused")
    counted = b.state.refused.get(kind, 0)
    await b.signal(**signal)
    is_refused(b, kind, words, counted)
    assert b.said("signal_refused") > told
    after = document_of(b.state)
    for name in ("position", "last_closed", "cooldown_until", "locked_until", "paused", "halted", "day", "outbox"):
        assert getattr(after, name) == getattr(before, name), name


def is_refused(b: Harness, kind: str, words: str, counted: int = 0) -> None:
    assert b.state.refused.get(kind, 0) == counted + 1, (b.state.refused, b.log[-2:])
    texts = [str(entry.get("text")) for entry in b.log if entry["event"] == "signal_refused"]
    assert any(words in text for text in texts), texts
    assert b.on_disk() == document_of(b.state)


@pytest.mark.parametrize(
    ("kind", "words", "signal", "settings"),
    [
        ("malformed", "side", {"side": "sideways"}, {}),
        ("malformed", "price", {"price": "free"}, {}),
        ("malformed", "stop", {"sl": "99"}, {}),
        ("symbol", "BTCUSDT", {"symbol": "BTCUSDT"}, {}),
        ("too_old", "MAX_SIGNAL_AGE_SEC is 600", {"ts": 1_750_000_000_000 - HOUR_MS}, {}),
        ("future", "in the future", {"ts": 1_750_000_000_000 + HOUR_MS}, {}),
        ("plan", "out of order", {"stop": "1"}, {}),
        ("plan", "breaks the filters", {"qty": "0.001"}, {}),
        ("plan", "breaks the filters", {"qty": "1000000"}, {}),
        ("balance", "missing", {"qty": "200"}, {}),
        ("max_position", "MAX_POSITION_USD is 100", {}, {"MAX_POSITION_USD": "100"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_refused_by_itself(
    tmp_path: Path, kind: str, words: str, signal: dict[str, Any], settings: dict[str, Any]
) -> None:
    async with harness(tmp_path, LONG, **settings) as b:
        await refused(b, kind, words, **signal)
        assert b.orders() == []


async def test_a_short_where_shorts_are_off(tmp_path: Path) -> None:
    async with harness(tmp_path, SHORT, ALLOW_SHORT="false") as b:
        await refused(b, "short", "ALLOW_SHORT")
        assert b.orders() == []


async def test_a_short_without_inventory(tmp_path: Path) -> None:
    async with harness(tmp_path, SHORT, balances={"USDT": "10000"}) as b:
        await refused(b, "balance", "3 LTC missing")


async def test_plain_exits_without_spare_inventory(tmp_path: Path) -> None:
    """Rule 4.3: the two targets lock beside the stop what the trade does not hold."""
    async with harness(tmp_path, World(Direction.LONG, "PLAIN", pushes=False), balances={"USDT": "10000"}) as b:
        await refused(b, "balance", "1.998 LTC missing")


@oco_worlds
async def test_past_the_stop(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.move(-2)
        await refused(b, "past_stop", "past the stop")


@worlds
async def test_refused_by_the_moment(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, COOLDOWN_SEC="30", MAX_TRADES_PER_DAY="2", LOCK_SEC="120") as b:
        await b.signal(id="one", then=1)
        await refused(b, "trade_open", "is open", id="two")
        await refused(b, "duplicate", "seen before", id="one")
        await b.move(0)
        await b.move(-1)
        await b.ends(Reason.SL)
        await b.move(0)
        await refused(b, "cooldown", "cooldown for another", id="three")
        await b.wait(31)
        await refused(b, "lock", "locked for another", id="four")
        await b.wait(120)
        await b.enter(id="five")
        await b.move(-1)
        await b.ends(Reason.SL)
        await b.move(0)
        await b.wait(120)
        await refused(b, "daily_trades", "MAX_TRADES_PER_DAY is 2", id="six")
        await b.stop()
        await b.wait(24 * 3600)
        await b.start()
        await b.enter(id="seven")
        assert b.roles() == EXITS[world.layout]


@oco_worlds
async def test_the_days_loss(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, COOLDOWN_SEC="0", LOCK_SEC="0", MAX_DAILY_LOSS_USD="3") as b:
        await b.enter()
        await b.move(-1)
        await b.ends(Reason.SL)
        await b.move(0)
        await refused(b, "daily_loss", "MAX_DAILY_LOSS_USD is 3")


@oco_worlds
async def test_a_duplicate_is_known_after_a_restart(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.signal(id="one", stop=str(b.at(1)))  # on the wrong side: refused, and remembered
        await b.restart()
        await refused(b, "duplicate", "seen before", id="one")


def line(b: Harness, **values: Any) -> str:
    signal = {
        "ts": b.clock.now_ms(),
        "symbol": b.symbol,
        "side": str(b.world.side),
        "price": str(b.at(0)),
        "stop": str(b.at(-1)),
        "targets": [str(b.at(1)), str(b.at(2))],
        **values,
    }
    return json.dumps(signal) + "\n"


@worlds
async def test_two_signals_in_one_instant(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        b.write(line(b, id="one") + line(b, id="two"))
        await b.wait(1)
        is_refused(b, "trade_open", "is open")
        await b.move(0)
        assert b.position.signal == "one"
        assert b.roles() == EXITS[world.layout]


@oco_worlds
async def test_a_line_written_in_two_halves(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        whole = line(b, id="one")
        b.write(whole[:40])
        await b.wait(5)
        assert b.state.position is None
        assert b.state.refused == {}
        b.write(whole[40:])
        await b.wait(1)
        assert b.position.signal == "one"


@oco_worlds
async def test_rubbish_between_two_signals(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        b.write("\x00\x01 not JSON\n\n{}\n[1, 2]\n" + line(b, id="one"))
        await b.wait(1)
        assert b.state.refused == {"malformed": 3}
        assert b.position.signal == "one"


@oco_worlds
async def test_signals_written_while_the_service_was_down(tmp_path: Path, world: World) -> None:
    """Each is judged once: one is too old by then, one is not, the third finds a trade open."""
    async with harness(tmp_path, world, MAX_SIGNAL_AGE_SEC="60") as b:
        await b.stop()
        b.write(line(b, id="one"))
        await b.wait(90)
        b.write(line(b, id="two") + line(b, id="three"))
        await b.start()
        await b.wait(1)
        assert b.state.refused == {"too_old": 1, "trade_open": 1}
        assert b.position.signal == "two"


async def test_the_peak_shape(tmp_path: Path) -> None:
    async with harness(tmp_path, LONG, QTY_USD="300") as b:
        b.write(json.dumps({"ts": b.clock.now_ms(), "action": "PEAK", "kind": "long", "price": 100, "x": 1}) + "\n")
        await b.wait(1)
        await b.move(0)
        assert b.roles() == EXITS["OCO"]
        assert b.position.plan.stop == b.at("-0.2")


async def test_a_price_that_was_read_long_before_the_open_orders_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 2.6: a signal is judged by the price as it stands then, however long another read has waited for weight."""
    async with harness(tmp_path, LONG) as b:
        assert b.loop is not None
        exchange, read = b.loop.exchange, b.loop.exchange.open_orders

        async def late() -> tuple[OrderReport, ...]:
            monkeypatch.setattr(exchange, "open_orders", read)
            found = await read()
            b.clock.advance_to(b.clock.now_ms() + 20_000)
            b.touch(b.at(-2))
            return found

        monkeypatch.setattr(exchange, "open_orders", late)
        b.write(line(b, id="late"))
        await b.until(lambda: bool(b.state.refused))
        assert b.state.refused == {"past_stop": 1}


async def test_a_signal_that_is_being_judged_when_the_service_ends_is_left_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 9.5: it is neither taken nor forgotten."""
    async with harness(tmp_path, LONG) as b:
        assert b.loop is not None
        loop, exchange, read = b.loop, b.loop.exchange, b.loop.exchange.open_orders

        async def last() -> tuple[OrderReport, ...]:
            loop.stop()
            return await read()

        monkeypatch.setattr(exchange, "open_orders", last)
        b.write(line(b, id="one") + line(b, id="two"))
        await b.until(lambda: loop.ending)
        await b.stop()
        assert loop.state.position is None
        assert (loop.state.seen, loop.state.refused) == ((), {})
        await b.start()
        await b.wait(1)
        assert b.position.signal == "one"
        assert b.state.refused == {"trade_open": 1}


class Counted(FaultPlan):
    """Counts what is asked of the exchange."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        self.seen[f"{method} {path.removeprefix('/api/v3/')}"] += 1
        return None


async def test_a_backlog_of_old_signals_costs_no_request_and_holds_up_neither_a_fresh_one_nor_another_symbols_fill(
    tmp_path: Path,
) -> None:
    """Rule 2.5: what costs nothing is judged first."""
    wire, world = Counted(), World(Direction.LONG, "OCO", pushes=False)
    async with harness(tmp_path, world, symbols=("LTCUSDT", "BNBUSDT"), faults=wire) as b:
        b.symbol = "BNBUSDT"
        await b.signal()
        assert b.roles() == ["ENTRY"]
        b.symbol = "LTCUSDT"
        old = {"ts": b.clock.now_ms() - 3_600_000, "symbol": "LTCUSDT", "side": "long", "price": "100", "stop": "99"}
        lines = [json.dumps({**old, "id": f"old {n}"}) for n in range(1_500)] + ["no signal"] * 100
        b.write("\n".join(lines) + "\n")
        wire.seen.clear()
        b.symbol = "BNBUSDT"
        b.touch(b.at(0))  # its entry fills
        b.symbol = "LTCUSDT"
        await b.signal(then=1.0)
        assert b.roles() == ["ENTRY"]
        assert b.state.refused["too_old"] == 1_500
        assert wire.seen["GET account"] <= 1
        assert wire.seen["GET ticker/24hr"] <= 10
        b.symbol = "BNBUSDT"
        assert b.roles() == ["SL", "SL1", "SL2", "TP1", "TP2"]
        await b.restart()
        b.symbol = "LTCUSDT"
        assert b.state.refused["too_old"] == 1_500, "none of them is read twice"


async def test_while_a_backlog_is_read_others_have_a_turn_after_each_line_and_its_place_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    commit = SignalFollower.commit

    def parse(data: bytes) -> Signal | Malformed:
        order.append("line")
        asyncio.get_running_loop().call_soon(order.append, "other")
        return parse_signal(data)

    def committed(self: SignalFollower, position: Position) -> None:
        order.append("kept")
        commit(self, position)

    async with harness(tmp_path, WORLDS[0]) as b:
        monkeypatch.setattr(intake, "parse_signal", parse)
        monkeypatch.setattr(intake, "COMMIT_EVERY_S", 0.0)
        monkeypatch.setattr(SignalFollower, "commit", committed)
        b.write("no signal\n" * 500)
        await b.wait(2)
    assert [each for each in order if each != "kept"] == ["line", "other"] * 500
    assert "kept" in order[: order.index("line") + 500]


async def test_a_signal_behind_a_resume_is_judged_by_what_the_exchange_says(tmp_path: Path) -> None:
    """What may change what it is judged by waits before it: then it is not refused beforehand."""
    async with harness(tmp_path, WORLDS[0]) as b:
        await b.command(Verb.PAUSE)
        assert b.loop is not None
        b.loop.tell(Commanded(at=b.loop.now(), verb=Verb.RESUME))
        intake = SignalJudge({b.symbol: b.loop})
        told = {"ts": b.clock.now_ms(), "id": "x", "symbol": b.symbol, "side": "long", "price": "100", "stop": "99"}
        submitted = asyncio.create_task(intake.submit(parse_signal(json.dumps(told))))
        await b.until(submitted.done)
        assert isinstance(submitted.result(), Moved)
