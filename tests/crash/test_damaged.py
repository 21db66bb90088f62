"""Damaged files from outside: never a traceback, never an order, never a damaged file overwritten (rule 9.2)."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from structlog.testing import capture_logs
from tests.crash.daemon import ForkServer
from tests.crash.damage import KINDS, Damage, members
from tests.scenarios.harness import EXITS, KEY, Harness, World, harness

from executor.cli import exits
from executor.config import load_settings
from executor.core.model.state import SCHEMA_VERSION, State
from executor.core.model.values import Direction
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.clock import SystemClock
from executor.service import app
from executor.service.market import Market
from executor.service.store.document import Document, state_of
from executor.service.store.lock import StateLock
from executor.service.store.state_store import Age, StateStore, seal
from executor.service.symbol_session import load_state
from executor.signals.position import SignalFileError

FILES: Final = 5_000
LONG: Final = World(Direction.LONG, "OCO", pushes=False)
SHORT: Final = World(Direction.SHORT, "PLAIN", pushes=False)


class Sound(NamedTuple):
    """Two states of one trade, one after the other, as they were on disk."""

    state: bytes
    previous: bytes


class ReachedError(Exception):
    """The start has a state, and turns to the exchange."""


class Wall:
    """In the exchange's place: whoever touches it has come past the files."""

    def __getattr__(self, name: str) -> Any:
        raise ReachedError(name)


def here(state: bytes) -> bytes:
    """The same state on an exchange called custom."""
    return seal({**members(state), "venue": "custom"}, SCHEMA_VERSION)


async def sound_states(folder: Path) -> list[Sound]:
    """States of every phase, from a trade on the paper exchange."""
    found: list[Sound] = []

    def keep(b: Harness) -> None:
        path = b.settings().state_path(b.symbol)
        assert b.loop is not None
        b.loop.engine.publish()
        found.append(Sound(*(here(each.read_bytes()) for each in (path, path.with_name(path.name + ".prev")))))

    for n, world in enumerate((LONG, SHORT)):
        (folder / str(n)).mkdir()
        async with harness(folder / str(n), world) as b:
            await b.signal()
            keep(b)
            await b.move(0, "1", then=0.2)
            keep(b)
            await b.move(0)
            keep(b)
            await b.move(1)
            keep(b)
            await b.move(2)
            keep(b)
            b.touch(b.at(-1))
            await b.until(lambda: b.state.position is None)
            keep(b)
    return found


def read(data: bytes, folder: Path, name: str) -> State | None:
    """What a sound file holds; None when it is not sound."""
    path = folder / name
    path.write_bytes(data)
    try:
        found = StateStore(path, schema_version=SCHEMA_VERSION).peek(Document)
        return state_of(found.value) if found is not None else None
    except Exception:  # noqa: BLE001  (whatever is wrong with it)
        return None
    finally:
        path.unlink()


async def test_5000_damaged_state_files(tmp_path: Path) -> None:
    """Each alone, with its sound predecessor, or with a damaged one: the start gives it up with a sentence that names
    the file and leaves every byte where it was, or goes on from the predecessor with the damaged file set aside.
    """
    sounds = await sound_states(tmp_path)
    folder = tmp_path / "life"
    folder.mkdir()
    settings = load_settings(
        {
            "BINANCE_ENV": "custom",
            "BINANCE_REST_URL": "http://127.0.0.1:1",
            "BINANCE_WS_API_URL": "ws://127.0.0.1:1",
            "BINANCE_STREAM_URL": "ws://127.0.0.1:1",
            "BINANCE_API_KEY": "k",
            "BINANCE_API_SECRET": "k",
            "SYMBOL": "LTCUSDT",
            "QTY": "3",
            "STATE_FN": str(folder / "state.json"),
        },
        None,
    )
    clock = SystemClock()
    place = Market("custom", Endpoints("", "", ""), Credentials.hmac("k", "k"), ("LTCUSDT",), clock, clock)
    rng = random.Random(5)
    kinds = list(KINDS)
    path, previous = folder / "state.json", folder / "state.json.prev"
    outcomes: Counter[tuple[str, str]] = Counter()
    for n in range(FILES):
        kind, sound = kinds[n % len(kinds)], rng.choice(sounds)
        damaged = KINDS[kind](rng, sound.state)
        path.write_bytes(damaged)
        predecessor = rng.choice(("none", "sound", "damaged"))
        if predecessor != "none":
            previous.write_bytes(
                sound.previous if predecessor == "sound" else KINDS[rng.choice(kinds)](rng, sound.previous)
            )
        before = contents(folder)
        story = f"file {n}: {kind}, predecessor {predecessor}"
        with capture_logs() as log:
            with pytest.raises((ReachedError, *app.START_ERRORS)) as end:
                await app.serve(settings, place, {"LTCUSDT": Wall()}, lambda _: None)  # type: ignore[dict-item]
            if end.type is not ReachedError:
                outcome = "refused"
                assert str(path) in str(end.value), story
                assert len(str(end.value)) < 2_000, story
                assert contents(folder) == before, story
            else:
                after, told = contents(folder), [entry["event"] for entry in log if entry.get("alert")]
                state, age = load_state(StateStore(path, schema_version=SCHEMA_VERSION), "LTCUSDT", "custom")
                if damaged == after.get("state.json"):
                    outcome = "the same bytes" if damaged == sound.state else "nothing wrong with it"
                    assert age is Age.UNKNOWN, story
                    assert state == read(damaged, folder, "copy"), story
                    assert kind not in ("truncated", "empty", "garbage", "newer schema"), story
                else:
                    outcome = "predecessor"
                    assert age is Age.OLD, story
                    aside = [data for name, data in after.items() if name.startswith("state.json.damaged-")]
                    assert aside == [damaged], story
                    assert after["state.json.prev"] == before["state.json.prev"], story
                    assert state == read(before["state.json.prev"], folder, "copy"), story
                    assert told == ["state_damaged"], story
        outcomes[kind, outcome] += 1
        for each in folder.iterdir():
            each.unlink()
    ends = Counter(outcome for _, outcome in outcomes.elements())
    assert ends.total() == FILES
    assert ends["refused"] > FILES / 3
    assert ends["predecessor"] > FILES / 5
    harmless = {kind for kind, outcome in outcomes if outcome == "nothing wrong with it"}
    assert harmless <= {"bits flipped", "a line lost", "a line twice", "huge numbers", "sealed nonsense"}, harmless


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def environ_of(b: Harness) -> dict[str, str]:
    """The settings of a service of its own process on the bench's exchange."""
    return {
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": b._urls.base_url,
        "BINANCE_WS_API_URL": b._urls.ws_api_url,
        "BINANCE_STREAM_URL": b._urls.stream_url,
        "BINANCE_API_KEY": KEY,
        "BINANCE_API_SECRET": KEY,
        "SYMBOL": b.symbol,
        "QTY": "3",
        "HTTP_PORT": "0",
        "STATE_FN": str(b.folder / "state.json"),
        "SIGNAL_FILE": str(b.signals),
    }


LIVES: Final = 20
"""Damaged files that the command itself is started on, as a process."""


async def test_the_command_gives_up_damaged_states_with_a_sentence_and_without_an_order(tmp_path: Path) -> None:
    rng = random.Random(6)
    kinds = [kind for kind in KINDS if kind != "sealed nonsense"]
    async with harness(tmp_path, LONG) as b, ForkServer() as fork_server:
        await b.enter()
        settings = environ_of(b)
        await b.stop()
        state = tmp_path / "state.json"
        sound, previous = state.read_bytes(), (tmp_path / "state.json.prev").read_bytes()
        orders = [(o.client_order_id, o.status) for o in b.orders()]
        for n in range(LIVES):
            kind = kinds[n % len(kinds)]
            folder = tmp_path / f"life{n}"
            folder.mkdir()
            path = folder / "state.json"
            path.write_bytes(KINDS[kind](rng, sound))
            path.with_name("state.json.prev").write_bytes(KINDS["truncated"](rng, previous))
            before = contents(folder)
            daemon = await fork_server.start({**settings, "STATE_FN": str(path)}, tmp_path / f"{n}.log")
            async with asyncio.timeout(30):
                while daemon.running:
                    await b.breathe()
            said = daemon.log.read_text("utf-8")
            assert await daemon.end() == exits.FAILED, f"{kind}: {said}"
            assert "Traceback" not in said, kind
            assert "executor can't run: " in said, kind
            assert str(path) in said, kind
            after = contents(folder)
            del after["state.json.lock"]
            assert after == before, kind
        assert [(o.client_order_id, o.status) for o in b.orders()] == orders


BESIDE: Final[Mapping[str, Damage]] = {
    "cut": lambda rng, data: data[: rng.randrange(1, len(data))],
    "bits flipped": KINDS["bits flipped"],
    "zeros": KINDS["a block of zeros"],
    "garbage": lambda rng, _: rng.randbytes(500),
    "empty": lambda _, __: b"",
    "a line lost": KINDS["a line lost"],
    "no end of line": lambda _, data: data[:-1],
    "a huge line": lambda _, data: data + b"x" * 20_000_000,
}


@pytest.mark.parametrize("damage", BESIDE)
@pytest.mark.parametrize("name", ["state.trades.jsonl", "state.journal.jsonl", "state.json.signals"])
async def test_files_beside_the_state_never_keep_an_open_trade_from_its_service(
    tmp_path: Path, name: str, damage: str
) -> None:
    async with harness(tmp_path, LONG, COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        for _ in range(2):
            await b.enter()
            b.touch(b.at(-1))
            await b.until(lambda: b.state.position is None)
            b.touch(b.at(0))
        await b.enter()
        await b.stop()
        path = tmp_path / name
        path.write_bytes(BESIDE[damage](random.Random(7), path.read_bytes()))
        await b.start()
        assert b.roles() == EXITS["OCO"]
        b.touch(b.at(-1))
        await b.until(lambda: b.state.position is None)
        assert len([o for o in b.orders() if "ENTRY" in o.client_order_id]) == 3, "no signal was taken twice"


GARBAGE: Final = {
    "garbage": b"\x80\xff\xfe garbage \n",
    "NULs": bytes(5_000) + b"\n",
    "a huge line": b"x" * 3_000_000 + b"\n",
    "a huge JSON line": b'{"a":"' + b"x" * 3_000_000 + b'"}\n',
    "deep nesting": b"[" * 100_000 + b"\n",
    "numbers": b"1e999\n-Infinity\nNaN\n" + b"9" * 100_000 + b"\n",
    "carriage returns": b"\r\r\r\n\r\n",
    "no object": b'[]\n"x"\nnull\n\n\n',
    "other types": b'{"ts":{},"side":[],"price":"x"}\n{"ts":-1e400,"side":"long","price":1}\n',
    "UTF-16": '{"ts":1}\n'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf\n",
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_in_the_signal_file_is_told_and_the_next_signal_is_taken(tmp_path: Path, kind: str) -> None:
    async with harness(tmp_path, LONG) as b:
        with b.signals.open("ab") as file:
            file.write(GARBAGE[kind])
            if kind == "UTF-16":
                file.write(b"\n")
        await b.wait(2)
        assert b.orders() == []
        await b.enter()
        assert b.roles() == EXITS["OCO"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "loop of links", "device"])
async def test_what_is_no_signal_file_is_told_and_an_open_trade_is_looked_after(tmp_path: Path, kind: str) -> None:
    async with harness(tmp_path, LONG) as b:
        await b.enter()
        await b.stop()
        b.signals.unlink()
        match kind:
            case "folder":
                b.signals.mkdir()
            case "pipe":
                os.mkfifo(b.signals)
            case "dangling link":
                b.signals.symlink_to(tmp_path / "nowhere")
            case "loop of links":
                b.signals.symlink_to(b.signals)
            case _:
                b.signals.symlink_to("/dev/zero")
        await b.start()
        await b.wait(2)
        assert ("signal_file" in b.alerts()) == (kind != "dangling link")
        assert b.roles() == EXITS["OCO"]
        b.touch(b.at(-1))
        await b.until(lambda: b.state.position is None)


async def test_without_an_open_trade_what_is_no_signal_file_ends_the_start(tmp_path: Path) -> None:
    async with harness(tmp_path, LONG, started=False) as b:
        b.signals.mkdir()
        with pytest.raises(SignalFileError, match=str(b.signals)):
            await b.start()


async def test_a_second_process_is_told_who_holds_the_state(tmp_path: Path) -> None:
    """Rule 9.4, with two processes."""
    async with harness(tmp_path, LONG, started=False) as b, ForkServer() as fork_server:
        settings = environ_of(b)
        with StateLock(b.settings().state_path(b.symbol)):
            daemon = await fork_server.start(settings, tmp_path / "second.log")
            async with asyncio.timeout(30):
                while daemon.running:
                    await b.breathe()
        said = daemon.log.read_text("utf-8")
        assert await daemon.end() == exits.FAILED
        assert f"in use by process {os.getpid()}" in said
        assert "Traceback" not in said
