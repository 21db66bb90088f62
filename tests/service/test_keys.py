"""A key that can't be used is a wrong setting: it is named with its file, and no restart is tried (exit code 78)."""

import asyncio
import os
import re
from pathlib import Path
from typing import Final

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.cli.kit import run_here
from tests.core.build import protected
from tests.exchange.transport.test_auth import PASSPHRASE, pem

from executor.cli import exits
from executor.config import SettingsError, load_settings
from executor.core.model.state import SCHEMA_VERSION
from executor.core.transition import empty
from executor.exchange.port import StartError
from executor.service import app
from executor.service.market import credentials
from executor.service.store.document import document_of
from executor.service.store.lock import LockUnusable, StateLock
from executor.service.store.state_store import StateStore

NOWHERE: Final = {
    "BINANCE_ENV": "custom",
    "BINANCE_REST_URL": "http://127.0.0.1:1",
    "BINANCE_WS_API_URL": "ws://127.0.0.1:1",
    "BINANCE_STREAM_URL": "ws://127.0.0.1:1",
    "SYMBOL": "LTCUSDT",
    "BINANCE_API_KEY": "key",
}
FILE: Final = "BINANCE_PRIVATE_KEY_FILE"
BOTH: Final = f"{FILE} and BINANCE_PRIVATE_KEY_PASSPHRASE"


def _environ(path: Path, text: str, passphrase: str) -> dict[str, str]:
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    return {**NOWHERE, FILE: str(path), "BINANCE_PRIVATE_KEY_PASSPHRASE": passphrase}


@pytest.mark.parametrize(
    ("text", "passphrase", "name"),
    [
        ("not a key", "", FILE),
        ("\xff\xfe", "", FILE),
        ("not a key", "needless", BOTH),
        (pem(ec.generate_private_key(ec.SECP256R1())), "", FILE),
        (pem(Ed25519PrivateKey.generate(), PASSPHRASE), "", BOTH),
        (pem(Ed25519PrivateKey.generate(), PASSPHRASE), "wrong", BOTH),
        (pem(Ed25519PrivateKey.generate()), "needless", BOTH),
    ],
)
def test_a_file_that_is_no_usable_key_is_a_wrong_setting(tmp_path: Path, text: str, passphrase: str, name: str) -> None:
    environ = _environ(tmp_path / "key.pem", text, passphrase)
    with pytest.raises(SettingsError) as caught:
        credentials(load_settings(environ, None))
    (fault,) = caught.value.faults
    assert fault.name == name
    assert str(tmp_path / "key.pem") in fault.was


def test_a_file_that_can_t_be_read_now_may_be_readable_after_a_restart(tmp_path: Path) -> None:
    settings = load_settings(_environ(tmp_path / "key.pem", "", ""), None)
    (tmp_path / "key.pem").unlink()
    with pytest.raises(StartError, match=f"{FILE} .*key.pem can't be read: No such file"):
        credentials(settings)
    os.mkfifo(tmp_path / "key.pem", 0o600)  # nor is a pipe waited on
    with pytest.raises(StartError, match=f"{FILE} .*key.pem can't be read: not a regular file"):
        credentials(settings)


@pytest.mark.parametrize("text", ["", "-----BEGIN PRIVATE KEY-----\nMC4C", "\xff\xfe"])
def test_with_a_trade_open_a_file_that_is_no_key_now_may_be_one_after_a_restart(tmp_path: Path, text: str) -> None:
    """It may be in the middle of being replaced: exit code 78 would be the service's end (RestartPreventExitStatus)."""
    state = protected().state
    environ = {
        **_environ(tmp_path / "key.pem", text, ""),
        "SYMBOL": state.symbol,
        "STATE_FN": str(tmp_path / "s.json"),
        "HTTP_PORT": "0",
    }
    settings, store = load_settings(environ, None), StateStore(tmp_path / "s.json", schema_version=SCHEMA_VERSION)
    store.save(document_of(empty(state.symbol)))
    with pytest.raises(SettingsError) as wrong:
        credentials(settings)
    store.save(document_of(state))
    with pytest.raises(StartError, match=f"{FILE}: was the file .*; a trade is open") as failed:
        credentials(settings)
    assert str(wrong.value.faults[0]) in str(failed.value)
    ended = run_here(["run"], environ)
    assert (ended.exit_code, FILE in ended.stderr) == (exits.FAILED, True), ended.output


async def test_with_a_trade_open_people_are_told_that_it_can_not_be_begun(tmp_path: Path) -> None:
    """Whoever starts the service does so again every few seconds; only the log knew, for hours perhaps."""
    told: list[bytes] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"(?i)content-length: ([0-9]+)", head)
        told.append(await reader.readexactly(int(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    state = protected().state
    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        environ = {
            **_environ(tmp_path / "key.pem", "", ""),
            "SYMBOL": state.symbol,
            "STATE_FN": str(tmp_path / "s.json"),
            "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/",
        }
        settings, store = load_settings(environ, None), StateStore(tmp_path / "s.json", schema_version=SCHEMA_VERSION)
        (tmp_path / "key.pem").unlink()
        for document in (empty(state.symbol), state):
            store.save(document_of(document))
            for _ in range(2):
                with pytest.raises(StartError):
                    await app.run(settings)
    (alert,) = told
    assert b'"died"' in alert
    assert b"with a trade open: BINANCE_PRIVATE_KEY_FILE" in alert


def test_a_run_ends_with_the_exit_code_of_wrong_settings(tmp_path: Path) -> None:
    environ = {
        **_environ(tmp_path / "key.pem", "not a key", ""),
        "STATE_FN": str(tmp_path / "s.json"),
        "HTTP_PORT": "0",
    }
    for words in (["check"], ["flatten", "--yes"]):
        ended = run_here(words, environ)
        assert (ended.exit_code, FILE in ended.stderr) == (exits.BAD_SETTINGS, True), ended.output
    found = run_here(["doctor"], environ)
    assert "private key" in found.stdout


@pytest.mark.parametrize("name", ["BINANCE_API_KEY", "BINANCE_API_SECRET"])
def test_a_key_of_two_words_is_named(name: str) -> None:
    settings = load_settings({**NOWHERE, "BINANCE_API_SECRET": "word", name: "two words"}, None)
    with pytest.raises(SettingsError, match=rf"{name}: was \*\*\*; must be one word"):
        credentials(settings)


async def test_with_a_trade_open_a_lock_file_that_can_not_be_used_is_waited_for_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes no writes any more: each start ended, and only the log knew."""
    monkeypatch.setattr(app, "FIRST_PAUSE_S", 0.05)
    state = protected().state
    settings = load_settings(
        {**NOWHERE, "SYMBOL": state.symbol, "BINANCE_API_SECRET": "secret", "STATE_FN": str(tmp_path / "s.json")}, None
    )
    store, lock = StateStore(tmp_path / "s.json", schema_version=SCHEMA_VERSION), tmp_path / "s.json.lock"
    store.save(document_of(empty(state.symbol)))
    lock.mkdir()
    with pytest.raises(LockUnusable):
        await app.run(settings)
    store.save(document_of(state))
    with structlog.testing.capture_logs() as log:
        run = asyncio.create_task(app.run(settings))
        await asyncio.sleep(0.3)
        (told,) = [line for line in log if line.get("alert")]
        assert (told["event"], "nobody looks after" in told["waiting"]) == ("state_unwritable", True)
        lock.rmdir()
        async with asyncio.timeout(5):
            while not any(line["event"] == "exchange_not_reached" for line in log):  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.02)
        run.cancel()
        await asyncio.wait({run})
    with StateLock(tmp_path / "s.json"):
        pass
