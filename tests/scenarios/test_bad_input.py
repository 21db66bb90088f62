"""What is wrong from outside gets a clear error, and loses nothing."""

import errno
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.scenarios.harness import EXITS, OCO_WORLDS, World, harness
from tools.ports import free_port

from executor.config import load_settings
from executor.core.model.state import SCHEMA_VERSION, Reason
from executor.core.model.values import Direction
from executor.exchange.port import StartError
from executor.files import RealFileSystem
from executor.paper.errors import PortInUse
from executor.paper.server import Urls
from executor.service import app
from executor.service.store.lock import LockError, StateLock
from executor.service.store.state_store import StateError, StateStore

WORLD = World(Direction.LONG, "OCO", pushes=False)
oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)


async def test_a_symbol_that_is_not_there(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD, started=False) as b:
        b.symbol = "NOSUCHUSDT"
        with pytest.raises(StartError, match="does not list the symbol 'NOSUCHUSDT': check SYMBOL"):
            await b.start()
        assert not (tmp_path / "state.json").exists()


@pytest.mark.parametrize("name", ["BINANCE_API_KEY", "BINANCE_API_SECRET"])
async def test_keys_that_are_refused(tmp_path: Path, name: str) -> None:
    async with harness(tmp_path, WORLD, started=False) as b:
        with pytest.raises(StartError, match="refuses the API key") as caught:
            await b.start(**{name: "wrong"})
        assert "wrong" not in str(caught.value)
        await b.start()


async def test_an_exchange_that_is_not_there(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with harness(tmp_path, WORLD, started=False) as b:
        b._urls = Urls(rest_url=f"{url}/api", ws_api_url=f"ws{url[4:]}/ws-api/v3", stream_url=f"ws{url[4:]}")
        with pytest.raises(StartError, match="can't be reached"):
            await b.start()


def paper_settings(folder: Path, **more: str) -> dict[str, str]:
    return {
        "STATE_FN": str(folder / "state.json"),
        "SIGNAL_FILE": str(folder / "signals.jsonl"),
        "PAPER_SPEED": "0",
        "HTTP_PORT": "0",
        **more,
    }


async def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = load_settings(paper_settings(tmp_path, PAPER_PORT=str(port)), None)
        with pytest.raises(PortInUse, match=f"port {port} of 127.0.0.1 is in use; choose another"):
            await app.run(settings)


async def test_a_state_file_of_another_symbol(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        await b.stop()
        before = (tmp_path / "state.json").read_bytes()
        standing = b.standing()
        b.symbol = "BTCUSDT"
        with pytest.raises(StateError, match="it is of LTCUSDT, not of BTCUSDT: check SYMBOL and STATE_FN"):
            await b.start()
        assert (tmp_path / "state.json").read_bytes() == before
        b.symbol = "LTCUSDT"
        assert b.standing() == standing
        await b.start()
        assert b.roles() == EXITS["OCO"]


async def test_a_damaged_state_file_is_set_aside_and_the_one_before_it_used(tmp_path: Path) -> None:
    """Rule 9.2."""
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        await b.stop()
        state = tmp_path / "state.json"
        state.write_bytes(state.read_bytes()[:-100])
        await b.start()
        assert "state_damaged" in b.alerts()
        assert [path for path in os.scandir(tmp_path) if "damaged-" in path.name]
        await b.wait(5)
        assert b.roles() == EXITS["OCO"]
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


async def test_no_state_file_that_can_be_used(tmp_path: Path) -> None:
    """Nothing is guessed and nothing overwritten; the exits stay where they are."""
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        await b.stop()
        store = StateStore(tmp_path / "state.json", schema_version=SCHEMA_VERSION)
        files = [path for path in (store.path, store.previous, store.write_ahead) if path.exists()]
        for path in files:
            path.write_bytes(path.read_bytes()[:-100].replace(b"EX_", b"XE_"))
        damaged = [path.read_bytes() for path in files]
        with pytest.raises(StateError, match="no usable state"):
            await b.start()
        assert [path.read_bytes() for path in files] == damaged
        assert b.roles() == EXITS["OCO"]


@pytest.mark.parametrize("name", ["state.json", "journal"])
async def test_a_folder_in_the_place_of_a_file(tmp_path: Path, name: str) -> None:
    async with harness(tmp_path, WORLD, started=False) as b:
        (tmp_path / name).mkdir()
        with pytest.raises(app.START_ERRORS, match=name):
            await b.start(JOURNAL_FN=str(tmp_path / "journal"))
        assert b.orders() == []


class ReadOnly(RealFileSystem):
    """A disk that takes nothing while it is `full`."""

    full = False

    def write_synced(self, path: Path, data: bytes) -> None:
        self._refuse(path)
        super().write_synced(path, data)

    def write(self, path: Path, data: bytes) -> None:
        self._refuse(path)
        super().write(path, data)

    def overwrite(self, path: Path, offset: int, data: bytes, *, synced: bool) -> None:
        self._refuse(path)
        super().overwrite(path, offset, data, synced=synced)

    def _refuse(self, path: Path) -> None:
        if ReadOnly.full:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


@oco_worlds
async def test_a_state_folder_that_becomes_read_only(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 8.1: what can't be written is not sent; it is told once, and life goes on when it can be written again."""
    real = StateStore.__init__
    monkeypatch.setattr(
        StateStore, "__init__", lambda self, *args, **more: real(self, *args, **{**more, "fs": ReadOnly()})
    )
    monkeypatch.setattr("executor.service.committer.DISK_RETRY_S", 0.01)
    async with harness(tmp_path, world) as b:
        await b.signal()
        sent = len(b.orders())
        monkeypatch.setattr(ReadOnly, "full", True)
        b.touch(b.at(0))
        assert b.loop is not None
        b.loop.poll_now()
        for _ in range(2_000):
            await b.breathe()
            if "state_unwritable" in b.alerts():
                break
        assert "state_unwritable" in b.alerts(), b.story()
        assert len(b.orders()) == sent
        monkeypatch.setattr(ReadOnly, "full", False)
        await b.wait(3)
        assert b.said("state_writable_again") == 1
        assert b.roles() == EXITS["OCO"]
        await b.move(-1)
        b.adds_up(await b.ends(Reason.SL))


async def test_two_services_on_one_state(tmp_path: Path) -> None:
    """Rule 9.4."""
    settings = load_settings(paper_settings(tmp_path, SYMBOL="LTCUSDT"), None)
    with StateLock(settings.state_path("LTCUSDT")), pytest.raises(LockError, match=str(os.getpid())):
        await app.run(settings)


def executor(folder: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **paper_settings(folder, **more)}
    return subprocess.run(
        [sys.executable, "-m", "executor", "run"], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"QTY": "-1", "TP_R_LIST": "2,1"}, ["QTY", "TP_R_LIST"]),
        ({"SYMBOL": "NOSUCHUSDT"}, ["SYMBOL", "NOSUCHUSDT"]),
        ({"PAPER_RECORDING": "nothing.csv"}, ["PAPER_RECORDING", "nothing.csv"]),
        ({"TICK_SIZE": "0.003"}, ["TICK_SIZE", "0.003", "0.01"]),
    ],
    ids=["out of range", "unknown symbol", "no recording", "a tick that is not the exchange's"],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, settings: dict[str, str], words: list[str]) -> None:
    done = executor(tmp_path, **settings)
    assert done.returncode != 0
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state.json").exists()


def test_a_read_only_state_folder(tmp_path: Path) -> None:
    """A file in the place of the folder cannot be written even by root."""
    (tmp_path / "closed").write_text("")
    done = executor(tmp_path, STATE_FN=str(tmp_path / "closed" / "state.json"))
    assert done.returncode != 0
    assert "closed" in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_state_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        await b.enter()
        assert b.loop is not None
        b.loop.engine.publish()
        state = tmp_path / "state.json"
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        document = json.loads(state.read_text("utf-8"))
        assert {"schema_version", "position", "orders", "last_closed", "cooldown_until"} <= set(document)
        assert {"entry", "tp1", "tp2", "sl", "qty1", "qty2", "qty3"} == set(document["orders"])
        assert document["orders"]["qty1"] == "0.999"
