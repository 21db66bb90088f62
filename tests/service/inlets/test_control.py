"""The control socket: real sockets, the service as it runs behind them."""

import asyncio
import json
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from tests.scenarios.harness import AFTER_TP1, EVERY_WORLD, EXITS, Harness, World, harness
from tests.scenarios.test_bad_input import ReadOnly

from executor.core.model.events import Commanded, Verb
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.core.model.verdict import MOVED
from executor.ops import logs, status
from executor.service import committer
from executor.service.asking import Answer, ControlError, NotRunningError, Request, ask
from executor.service.inlets import control
from executor.service.inlets.control import CLIENTS_MAX, REQUEST_MAX, Control
from executor.service.store.control_socket import ADDRESS_MAX, socket_path
from executor.service.store.state_store import StateStore

WORLD: Final = World(Direction.LONG, "OCO", pushes=True)


@asynccontextmanager
async def serving(tmp_path: Path, world: World = WORLD) -> AsyncIterator[Harness]:
    async with harness(tmp_path, world) as b:
        yield b


def state_of(b: Harness) -> Path:
    return b.settings().state_path(b.symbol)


async def tell(b: Harness, verb: str, price: str | None = None) -> Answer:
    request = Request(verb, Decimal(price) if price is not None else None)
    return await asyncio.to_thread(ask, state_of(b), request)


async def raw(b: Harness, data: bytes, *, end: bool = False) -> Any:
    """What is answered to these bytes."""
    reader, writer = await asyncio.open_unix_connection(str(socket_path(state_of(b))))
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        return json.loads(await reader.readline())
    finally:
        writer.close()


async def test_ping_and_status(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        assert await tell(b, "ping") == Answer(True, "running")
        flat = await tell(b, "status")
        assert flat.data["position"] is None
        await b.enter()
        held = await tell(b, "status")
        assert held.data["running"] is True
        assert held.data["position"]["phase"] == "protected"
        assert Decimal(held.data["position"]["unprotected"]) == 0
        assert Decimal(held.data["position"]["live_stop"]) == b.at(-1)
        assert sorted(o["role"] for o in held.data["position"]["orders"] if o["live"]) == EXITS["OCO"]


async def test_pause_holds_entries_back_and_resume_lets_them_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        assert (await tell(b, "pause")).ok
        await b.signal()
        assert b.state.position is None
        assert b.state.refused["paused"] == 1
        assert b.on_disk().paused
        assert (await tell(b, "resume")).ok
        await b.signal()
        assert b.state.position is not None


async def test_flatten(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        assert await tell(b, "flatten") == Answer(False, "no trade is open")
        await b.enter()
        assert (await tell(b, "flatten")).ok
        await b.ends(Reason.FLATTEN)


async def test_cancel_entry(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        await b.move("0.5")
        await b.signal()
        assert b.roles() == ["ENTRY"]
        assert (await tell(b, "cancel-entry")).ok
        await b.ends(Reason.ENTRY_CANCELLED)
        await b.wait(60)
        await b.enter()
        assert await tell(b, "cancel-entry") == Answer(False, "the entry is complete")


@pytest.mark.parametrize("side", Direction)
async def test_move_stop_only_towards_profit(tmp_path: Path, side: Direction) -> None:
    async with serving(tmp_path, World(side, "OCO", pushes=True)) as b:
        await b.enter()
        await b.move("0.5")
        worse = await tell(b, "move-stop", str(b.at("-1.5")))
        assert not worse.ok
        assert "not better" in worse.text
        past = await tell(b, "move-stop", str(b.at("0.8")))
        assert not past.ok
        assert "past the last price" in past.text
        assert b.stops() == {b.at(-1)}
        assert (await tell(b, "move-stop", str(b.at("-0.5")))).ok
        await b.wait(10)
        assert b.stops() == {b.at("-0.5")}


@pytest.mark.parametrize("side", Direction)
async def test_a_stop_between_two_ticks_is_told_as_what_it_becomes(tmp_path: Path, side: Direction) -> None:
    async with serving(tmp_path, World(side, "OCO", pushes=True)) as b:
        await b.enter()
        await b.move("0.5")
        better, sliver = b.at("-0.5"), side.sign * Decimal("0.004")
        moved = await tell(b, "move-stop", str(better + sliver))
        assert moved == Answer(True, f"the stop is being moved to {better} ({better + sliver} lies between two ticks)")
        await b.wait(10)
        assert b.stops() == {better}
        nothing = await tell(b, "move-stop", str(better + sliver))
        assert (nothing.ok, "is not better than the stop at" in nothing.text) == (False, True), nothing


@pytest.mark.parametrize("world", EVERY_WORLD, ids=str)
async def test_check_follows_rule_4_5(tmp_path: Path, world: World) -> None:
    async with serving(tmp_path, world) as b:

        async def exits() -> tuple[int, int]:
            answer = await tell(b, "check")
            assert answer.ok, answer
            assert answer.data["expected_exits"] == answer.data["exits"]
            assert answer.data["open"] == len(b.open())
            return answer.data["exits"], answer.data["open"]

        assert await exits() == (0, 0)
        await b.enter()
        assert await exits() == (3, len(EXITS[world.layout]))
        await b.move(1)
        assert await exits() == (2, len(AFTER_TP1[world.layout]))
        await b.move(2)
        assert await exits() == (1, 1)
        await b.move("-1")
        await b.ends(Reason.TRAIL, Reason.BREAKEVEN)
        assert await exits() == (0, 0)


async def test_check_tells_of_orders_that_somebody_else_placed(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        await b.enter()
        b.place_by_hand("EX_7_SL_1", WORLD.side.exit_side, "1", price=b.at(9))
        answer = await tell(b, "check")
        assert not answer.ok
        assert [f["order"] for f in answer.data["findings"] if f["kind"] == "foreign"] == ["EX_7_SL_1"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"\n", "not a request"),
        (b"status\n", "not a request"),
        (b"[]\n", "not a request"),
        (b'{"verb":1}\n', "not a request"),
        (b'{"verb":"status","more":1}\n', "not a request"),
        (b'{"verb":"move-stop","price":"NaN"}\n', "not a request"),
        (b'{"verb":"move-stop","price":"\\u006ean"}\n', "not a request"),
        (b'{"verb":"move-stop","price":"\\u0049nfinity"}\n', "not a request"),
        (b'{"verb":"move-stop","price":"1\\u0065999999"}\n', "not a request"),
        (b"\xff\xfe\n", "not a request"),
        (b'{"verb":"sell-all"}\n', "must be one of ping, status"),
        (b'{"verb":"move-stop","price":"81.2","price":"18.2"}\n', "'price' is given twice"),
        (b'{"verb":"status","v\\u0065rb":"flatten"}\n', "'verb' is given twice"),
        (b'{"verb":"propose","takeover":{"how":"adopt","stop":"80","stop":"8"}}\n', "'stop' is given twice"),
        (b'{"verb":"move-stop"}\n', "has a price"),
        (b'{"verb":"pause","price":"1"}\n', "has a price"),
        (b'{"verb":"move-stop","price":"-1"}\n', "must be above 0"),
        (b"x" * (REQUEST_MAX + 2) + b"\n", "longer than"),
    ],
)
async def test_what_is_no_request_is_told_so(tmp_path: Path, line: bytes, said: str) -> None:
    async with serving(tmp_path) as b:
        answer = await raw(b, line)
        assert answer["ok"] is False
        assert said in answer["text"]
        assert (await tell(b, "ping")).ok


async def test_a_fault_of_ours_costs_its_request_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 8.9: the trade that is open is looked after."""

    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError("a defect")

    async with serving(tmp_path) as b:
        await b.enter()
        monkeypatch.setattr(status, "status_of", broken)
        answer = await tell(b, "status")
        assert (answer.ok, "fault of Executor" in answer.text) == (False, True)
        assert b.said("control_failed") == 1
        assert (await tell(b, "ping")).ok
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]


async def test_a_fault_of_ours_in_judging_a_request_costs_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Request) -> None:
        raise ArithmeticError("a defect")

    async with serving(tmp_path) as b:
        with monkeypatch.context() as patch:
            patch.setattr(control, "fault_of", broken)
            assert "fault of Executor" in (await tell(b, "status")).text
        assert (await tell(b, "ping")).ok


def test_a_request_that_can_not_be_written_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="the Decimal"):
        ask(tmp_path / "state.json", Request("move-stop", Decimal("1E+999999")))


async def test_a_line_without_its_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        assert (await raw(b, b'{"verb":"flatten"}', end=True))["text"] == "the request has no end of line"


async def test_a_client_that_says_nothing_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SLOW_S", 0.05)
    async with serving(tmp_path) as b:
        assert "no request within" in (await raw(b, b'{"verb":'))["text"]
        assert (await tell(b, "ping")).ok


async def test_clients_that_never_read_their_answer_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kept its answer and a descriptor for as long as it lived, however many there were; a trade needs those."""
    monkeypatch.setattr(control, "SLOW_S", 0.2)
    monkeypatch.setattr(logs, "recent", lambda _count: ["x" * 1_000] * 1_000)
    async with serving(tmp_path) as b, AsyncExitStack() as clients:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(3 * CLIENTS_MAX):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(socket_path(state_of(b))))
            client.send(b'{"verb":"logs"}\n')
            await asyncio.sleep(0)
        async with asyncio.timeout(60):  # of this machine's time, which a market's may be far ahead of
            while len(os.listdir("/proc/self/fd")) - before > 3 * CLIENTS_MAX:  # noqa: ASYNC110, PTH208
                await asyncio.sleep(0.05)
        assert (await tell(b, "ping")).ok


async def test_many_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        answers = await asyncio.gather(*(raw(b, b'{"verb":"status"}\n') for _ in range(CLIENTS_MAX)))
        assert all(answer["ok"] for answer in answers)


async def test_too_many_at_once_are_told_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment: who has long said nothing, or takes no answer, gives way. They kept a command out for five seconds."""
    monkeypatch.setattr(control, "SILENT_S", 60.0)
    async with serving(tmp_path) as b:
        path = str(socket_path(state_of(b)))
        silent = [await asyncio.open_unix_connection(path) for _ in range(CLIENTS_MAX)]
        answer = await raw(b, b'{"verb":"ping"}\n')
        assert (answer["ok"], "at once" in answer["text"]) == (False, True)
        monkeypatch.setattr(control, "SILENT_S", 0.0)
        assert (await raw(b, b'{"verb":"ping"}\n'))["ok"]
        for _, writer in silent:
            writer.close()
        answers = [await raw(b, b'{"verb":"ping"}\n') for _ in range(20)]
        assert answers[-1]["ok"]


async def test_clients_that_vanish_harm_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        for data in (b"", b'{"verb":"status"}\n', b'{"verb":"sta'):
            _, writer = await asyncio.open_unix_connection(str(socket_path(state_of(b))))
            writer.write(data)
            writer.transport.abort()
        assert (await tell(b, "ping")).ok


@pytest.mark.skipif(sys.platform != "linux", reason="needs to know a whole end of a connection from half of one")
@pytest.mark.parametrize("verb", ["pause", "flatten"])
async def test_what_was_given_up_before_it_was_heard_is_not_carried_out(tmp_path: Path, verb: str) -> None:
    """A service that stood still (SIGSTOP, a disk that hung) did hours later what its operator had been told was not
    answered.
    """
    async with serving(tmp_path) as b:
        await b.enter()
        assert b.loop is not None
        control = Control(b.loop, tmp_path / "still.json")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(control.path))
            client.sendall(b'{"verb":"%s"}\n' % verb.encode())
        running = asyncio.create_task(control.run())
        await b.until(lambda: b.said("command_given_up") == 1)
        running.cancel()
        await asyncio.wait({running})
        assert (b.state.paused, b.roles()) == (False, EXITS["OCO"])


@pytest.mark.skipif(sys.platform != "linux", reason="needs to know a whole end of a connection from half of one")
@pytest.mark.parametrize("first", [True, False], ids=["as it is tried", "in the queue"])
async def test_nor_is_what_was_given_up_while_it_waited_for_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    """It had been heard, and its operator told that there was no answer; hours later there was room again."""
    real = StateStore.__init__
    monkeypatch.setattr(
        StateStore, "__init__", lambda self, *args, **more: real(self, *args, **{**more, "fs": ReadOnly()})
    )
    monkeypatch.setattr(committer, "DISK_RETRY_S", 0.01)
    async with serving(tmp_path) as b:
        await b.enter()
        assert b.loop is not None
        monkeypatch.setattr(ReadOnly, "full", True)
        ahead = None if first else asyncio.ensure_future(b.loop.ask(Commanded(at=b.loop.now(), verb=Verb.PAUSE)))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(socket_path(state_of(b))))
            client.sendall(b'{"verb":"flatten"}\n')
            async with asyncio.timeout(5):
                while not (b.said("operator") and b.said("state_unwritable")):  # nobody settles meanwhile
                    await b.breathe()
        monkeypatch.setattr(ReadOnly, "full", False)
        await b.until(lambda: b.said("command_given_up") == 1)
        assert ahead is None or (await ahead).verdict == MOVED
        await b.wait(3)
        assert (b.state.paused, b.roles()) == (not first, EXITS["OCO"])


async def test_who_has_said_all_and_waits_for_the_answer_is_heard(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        assert (await raw(b, b'{"verb":"pause"}\n', end=True))["ok"]
        assert b.state.paused


async def test_it_is_for_its_user_alone_and_goes_with_the_service(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        path = socket_path(state_of(b))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await b.stop()
        assert not path.exists()
        with pytest.raises(NotRunningError, match="no service runs on"):
            ask(state_of(b), Request("ping"))
        await b.start()
        assert (await tell(b, "ping")).ok


async def test_a_socket_left_over_from_a_kill_is_replaced(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD, started=False) as b:
        path = socket_path(state_of(b))
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        with pytest.raises(NotRunningError):
            ask(state_of(b), Request("ping"))
        await b.start()
        assert (await tell(b, "ping")).ok


async def test_a_path_too_long_for_an_address_serves_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with harness(deep, WORLD) as b:
        path = socket_path(state_of(b))
        assert len(os.fsencode(path)) > ADDRESS_MAX
        assert path == state_of(b).with_name("state.json.sock")
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert (await tell(b, "ping")).ok


def test_a_name_too_long_gives_way_to_its_hash(tmp_path: Path) -> None:
    one, two = tmp_path / ("n" * 120 + ".json"), tmp_path / ("n" * 121 + ".json")
    assert socket_path(one).parent == tmp_path
    assert len(socket_path(one).name) < 30
    assert socket_path(one) == socket_path(one)
    assert socket_path(one) != socket_path(two)


def test_it_follows_a_link_as_the_state_does(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert socket_path(tmp_path / "link.json") == socket_path(tmp_path / "real.json")


async def test_a_folder_that_can_hold_no_socket(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        assert b.loop is not None
        with pytest.raises(control.SocketUnusable, match="can't be made: No such file or directory"):
            Control(b.loop, tmp_path / "gone" / "state.json")


async def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    async with serving(tmp_path) as b:
        assert b.loop is not None
        state = tmp_path / "other" / "state.json"
        socket_path(state).mkdir(parents=True)
        with pytest.raises(control.SocketUnusable, match="can't be made: Is a directory"):
            Control(b.loop, state)
        assert [path.name for path in state.parent.iterdir()] == ["state.json.sock"]


@pytest.mark.parametrize(("answer", "said"), [(b"", "no answer"), (b"nonsense\n", "no answer"), (b"{}", "no answer")])
async def test_a_service_that_answers_nonsense(tmp_path: Path, answer: bytes, said: str) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    state = tmp_path / "state.json"
    server = await asyncio.start_unix_server(reply, str(socket_path(state)))
    async with server:
        with pytest.raises(ControlError, match=said):
            await asyncio.to_thread(ask, state, Request("ping"))


def test_a_service_that_hangs(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(socket_path(state)))
        silent.listen()
        with pytest.raises(ControlError, match="did not answer"):
            ask(state, Request("ping"), timeout=0.05)
