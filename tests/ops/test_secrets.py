"""No secret leaves the program: everything is run with marked secrets, in processes of their own, and all that they say
and write is searched for the marks.

What is searched: standard output and error, every file that a run leaves behind (state, journal, trades, signals,
copies set aside), the answers of the control socket, the HTTP server and the webhook, and what other programs see of
the process (its command line).
"""

import base64
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.cli.kit import START_MS, ramp, recording, signals
from tools.ports import free_port

from executor.config.sources import SECRETS

MARKS: Final[Mapping[str, str]] = {name: f"MARK-{name.replace('_', '-')}-9f27c1" for name in SECRETS} | {
    "ALERT_WEBHOOK_URL": "http://127.0.0.1:9/MARK-ALERT-WEBHOOK-URL-9f27c1"
}
PATIENCE_S: Final = 60.0


def forms(secret: str) -> set[bytes]:
    """How a secret may show itself: as it is, or in the usual disguises."""
    data = secret.encode()
    return {
        data,
        data[: len(data) * 3 // 4],
        base64.b64encode(data).rstrip(b"="),
        data.hex().encode(),
        json.dumps(secret)[1:-1].encode(),
        hashlib.sha256(data).hexdigest().encode(),
    }


def search(where: str, content: bytes) -> list[str]:
    return [f"{name} in {where}" for name, mark in MARKS.items() for form in forms(mark) if form in content]


def search_folder(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(folder / "given")]
    assert files
    return [found for path in files for found in search(str(path.relative_to(folder)), path.read_bytes())]


def ask(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """Status, headers and body of the answer."""
    method = "GET" if body is None else "POST"
    answer = httpx.request(method, url, content=body, headers=dict(headers or {}), timeout=20, trust_env=False)
    return f"{answer.status_code} {answer.headers}".encode() + answer.content


class Run:
    """One `executor` in an empty folder, with nothing but the given settings."""

    def __init__(self, folder: Path, settings: Mapping[str, str], *command: str) -> None:
        self.folder = folder
        self.settings = dict(settings)
        self.output = folder / "output"
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **settings}
        with self.output.open("ab") as output:
            program = [sys.executable, "-m", "executor", *(command or ("run",))]
            self.process = subprocess.Popen(program, env=environ, cwd=folder, stdout=output, stderr=output)

    def said(self) -> bytes:
        return self.output.read_bytes()

    def ends(self) -> int:
        return self.process.wait(PATIENCE_S)

    def until(self, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not there():
            assert self.process.poll() is None, self.said().decode()
            assert time.monotonic() < deadline, self.said().decode()
            time.sleep(0.05)

    def answers(self, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            return False


@contextmanager
def running(folder: Path, settings: Mapping[str, str], *command: str) -> Iterator[Run]:
    run = Run(folder, settings, *command)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()


def paper(tmp_path: Path, **more: str) -> dict[str, str]:
    """A paper run with every secret that one takes."""
    return {
        "STATE_FN": str(tmp_path / "state.json"),
        "SIGNAL_FILE": str(tmp_path / "signals.jsonl"),
        "HTTP_PORT": "0",
        "LOG_LEVEL": "DEBUG",
        "PAPER_API_KEY": MARKS["PAPER_API_KEY"],
        "PAPER_API_SECRET": MARKS["PAPER_API_SECRET"],
        **more,
    }


class Telegram(BaseHTTPRequestHandler):
    """Refuses, with the address in its answer: what a careless client would log."""

    calls: Final[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.calls.append(self.path)
        self.send_response((500, 429, 401, 200)[len(self.calls) % 4])
        self.end_headers()
        self.wfile.write(json.dumps({"ok": False, "description": self.path}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's word
        """Nothing."""


@pytest.fixture
def telegram() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Telegram)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def given_files(tmp_path: Path, mode: int = 0o600) -> Path:
    folder = tmp_path / "given"
    folder.mkdir(exist_ok=True)
    for name, mark in MARKS.items():
        (folder / name).write_text(mark, "utf-8")
        (folder / name).chmod(mode)
    return folder


def short_market(folder: Path) -> dict[str, str]:
    """Three trades: targets and trail, a stop, and one that is open when the recording ends."""
    prices = ramp("100.2", "100", "103", "102", "100", "98.5", "100.2", "100", "100.4", steps=12)
    trade = {"side": "long", "price": "100", "stop": "99"}
    wanted = [{**trade, "ts": START_MS + ms, "id": str(ms)} for ms in (2_000, 200_000, 370_000)]
    return {
        "PAPER_RECORDING": str(recording(folder, prices)),
        "PAPER_SIGNALS": str(signals(folder, *wanted)),
        "COOLDOWN_SEC": "5",
    }


def test_the_search_finds_a_mark_in_every_form() -> None:
    for form in forms(MARKS["BINANCE_API_SECRET"]):
        assert search("here", b"x" + form + b"x")
    assert not search("here", b"nothing of the kind")


def test_a_whole_run_with_everything_on(tmp_path: Path, telegram: int) -> None:
    """Signals, trades, webhook, Telegram, commands, socket, HTTP: and then the end."""
    http, webhook = free_port(), free_port()
    settings = paper(
        tmp_path,
        HTTP_PORT=str(http),
        WEBHOOK_PORT=str(webhook),
        WEBHOOK_SECRET=MARKS["WEBHOOK_SECRET"],
        WEBHOOK_HMAC_SECRET=MARKS["WEBHOOK_HMAC_SECRET"],
        TELEGRAM_BOT_TOKEN=MARKS["TELEGRAM_BOT_TOKEN"],
        TELEGRAM_CHAT_ID="1",
        TELEGRAM_API_URL=f"http://127.0.0.1:{telegram}",
        PAPER_SPEED="0",
        PAPER_AT_END="hold",
        **short_market(tmp_path),
    )
    found: list[str] = []
    with running(tmp_path, settings) as run:
        run.until(lambda: run.answers(http) and run.answers(webhook))
        run.until(lambda: b"trade_opened" in run.said())
        secret = MARKS["WEBHOOK_SECRET"]
        bodies: list[Any] = [
            {"secret": secret, "id": "a", "symbol": "LTCUSDT", "side": "long", "price": 84.5},
            {"secret": secret, "id": secret, "symbol": "LTCUSDT", "side": secret, "price": secret},
            {"secret": secret + "x", "id": "b"},
            {"secret": [secret], "ticker": secret, "action": "buy"},
            secret,
        ]
        for body in bodies:
            for headers in ({}, {"X-Webhook-Secret": secret}, {"X-Webhook-Signature": MARKS["WEBHOOK_HMAC_SECRET"]}):
                answer = ask(f"http://127.0.0.1:{webhook}/signal", json.dumps(body).encode(), headers)
                if body is bodies[0] or headers:
                    found += search("an answer of the webhook", answer)
        for path in ("healthz", "readyz", "metrics", "status", secret):
            found += search(f"/{path[:8]}", ask(f"http://127.0.0.1:{http}/{path}"))
        for command in (["status"], ["status", "--format", "json"], ["check"], ["pause"], ["config"], ["doctor"]):
            Run(tmp_path, settings, *command).ends()
        found += search("the command line", Path(f"/proc/{run.process.pid}/cmdline").read_bytes())
        run.until(lambda: bool(Telegram.calls))
        run.process.send_signal(signal.SIGTERM)
        assert run.ends() == 0
    assert MARKS["TELEGRAM_BOT_TOKEN"] in Telegram.calls[0]
    assert found + search_folder(tmp_path) == []
    assert (tmp_path / "state.json").exists()


def test_secrets_from_files(tmp_path: Path) -> None:
    folder = given_files(tmp_path)
    (folder / "BINANCE_PRIVATE_KEY_PASSPHRASE").unlink()  # goes with a key file only
    settings = paper(
        tmp_path,
        SECRETS_DIR=str(folder),
        TELEGRAM_CHAT_ID="1",
        TELEGRAM_API_URL="http://127.0.0.1:9",
        **short_market(tmp_path),
    )
    del settings["PAPER_API_KEY"], settings["PAPER_API_SECRET"]
    with running(tmp_path, {**settings, "PAPER_SPEED": "0"}) as run:
        assert run.ends() == 0
    assert b"balances" in run.said()
    assert run.said().count(b"trade_closed") >= 2
    assert search_folder(tmp_path) == []


def refused_starts(tmp_path: Path) -> list[tuple[str, dict[str, str]]]:
    marks = {name: MARKS[name] for name in SECRETS}
    live = {"BINANCE_ENV": "custom", "SYMBOL": "LTCUSDT", **dict.fromkeys(("A", "B"), "")}
    nobody = "http://127.0.0.1:9"
    live |= {
        "BINANCE_REST_URL": nobody,
        "BINANCE_WS_API_URL": "ws://127.0.0.1:9",
        "BINANCE_STREAM_URL": "ws://127.0.0.1:9",
    }
    keys = {name: marks[name] for name in ("BINANCE_API_KEY", "BINANCE_API_SECRET")}
    return [
        ("not confirmed", {**live, **keys, "BINANCE_ENV": "live", "BINANCE_REST_URL": ""}),
        ("every secret in a wrong place", {**marks, "SYMBOL": marks["BINANCE_API_SECRET"][:8], "POLL_SEC": "x"}),
        ("a secret in an address", {**live, **keys, "BINANCE_REST_URL": f"http://u:{marks['BINANCE_API_SECRET']}@h:x"}),
        ("short webhook secret", {"WEBHOOK_PORT": "1", "WEBHOOK_SECRET": marks["WEBHOOK_SECRET"][:15]}),
        ("files that others can read", {**live, "SECRETS_DIR": str(given_files(tmp_path, 0o644))}),
        (
            "a key that is none",
            {**live, "BINANCE_API_KEY": marks["BINANCE_API_KEY"], "BINANCE_PRIVATE_KEY_FILE": _pem(tmp_path)},
        ),
    ]


def _pem(tmp_path: Path) -> str:
    path = tmp_path / "given" / "key.pem"
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{MARKS['BINANCE_API_SECRET']}\n-----END PRIVATE KEY-----\n", "utf-8")
    path.chmod(0o600)
    return str(path)


def test_starts_that_are_refused(tmp_path: Path) -> None:
    for name, settings in refused_starts(tmp_path):
        (tmp_path / "output").unlink(missing_ok=True)
        with running(tmp_path, {**settings, "STATE_FN": str(tmp_path / "state.json"), "HTTP_PORT": "0"}) as run:
            assert run.ends() != 0, name
        assert run.said(), name
        assert search_folder(tmp_path) == [], name


def test_a_wrong_passphrase(tmp_path: Path) -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"another"),
    )
    (tmp_path / "given").mkdir()
    path = tmp_path / "given" / "key.pem"
    path.write_bytes(pem)
    path.chmod(0o600)
    settings = {
        "BINANCE_ENV": "testnet",
        "BINANCE_REST_URL": "http://127.0.0.1:9",
        "BINANCE_WS_API_URL": "ws://127.0.0.1:9",
        "BINANCE_STREAM_URL": "ws://127.0.0.1:9",
        "SYMBOL": "LTCUSDT",
        "BINANCE_API_KEY": MARKS["BINANCE_API_KEY"],
        "BINANCE_PRIVATE_KEY_FILE": str(path),
        "BINANCE_PRIVATE_KEY_PASSPHRASE": MARKS["BINANCE_PRIVATE_KEY_PASSPHRASE"],
        "STATE_FN": str(tmp_path / "state.json"),
    }
    with running(tmp_path, settings) as run:
        assert run.ends() != 0
    assert search_folder(tmp_path) == []


def test_an_exchange_that_refuses_the_key_or_sends_it_back(tmp_path: Path) -> None:
    """Its answers quote the request, as proxies and error pages do."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = json.dumps({"code": -2015, "msg": f"{self.path} {self.headers}"}).encode()
            self.send_response(401)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's word
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"127.0.0.1:{server.server_address[1]}"
    settings = {
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": f"http://{url}",
        "BINANCE_WS_API_URL": f"ws://{url}",
        "BINANCE_STREAM_URL": f"ws://{url}",
        "SYMBOL": "LTCUSDT",
        "BINANCE_API_KEY": MARKS["BINANCE_API_KEY"],
        "BINANCE_API_SECRET": MARKS["BINANCE_API_SECRET"],
        "STATE_FN": str(tmp_path / "state.json"),
        "HTTP_PORT": "0",
        "LOG_LEVEL": "DEBUG",
    }
    try:
        with running(tmp_path, settings) as run:
            time.sleep(3)
            run.process.send_signal(signal.SIGTERM)
            run.ends()
        for command in (["doctor"], ["check"]):
            Run(tmp_path, settings, *command).ends()
    finally:
        server.shutdown()
        server.server_close()
    assert b"-2015" in run.said()
    assert re.search(rb"signature=[^*]", run.said()) is None
    assert search_folder(tmp_path) == []


CRASH = """
import sys
from executor.service import app
def crash(*args, **kwargs):
    raise RuntimeError("a defect")
setattr(sys.modules[sys.argv[1].rpartition(".")[0]] if sys.argv[1].rpartition(".")[0] in sys.modules
        else __import__(sys.argv[1].rpartition(".")[0], fromlist=["x"]), sys.argv[1].rpartition(".")[2], crash)
sys.argv = ["executor", "run"]
from executor.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "where",
    [
        "executor.service.market.credentials",
        "executor.service.app.connect_all",
        "executor.service.app.serve",
        "executor.service.symbol_session.policy_of",
        "executor.exchange.binance.open_connection",
        "executor.cli.context.load_settings",
    ],
)
def test_a_start_that_crashes_shows_a_traceback_without_them(tmp_path: Path, where: str) -> None:
    settings = {
        **MARKS,
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": "http://127.0.0.1:9",
        "BINANCE_WS_API_URL": "ws://127.0.0.1:9",
        "BINANCE_STREAM_URL": "ws://127.0.0.1:9",
        "SYMBOL": "LTCUSDT",
        "STATE_FN": str(tmp_path / "state.json"),
        "TELEGRAM_CHAT_ID": "1",
        "TELEGRAM_API_URL": "http://127.0.0.1:9",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    del settings["BINANCE_PRIVATE_KEY_PASSPHRASE"]
    if where.endswith((".serve", ".policy_of")):  # which nobody comes to without an exchange
        for name in ("BINANCE_ENV", "BINANCE_REST_URL", "BINANCE_WS_API_URL", "BINANCE_STREAM_URL", "HTTP_PORT"):
            settings[name] = ""
        settings["HTTP_PORT"] = "0"
    done = subprocess.run(
        [sys.executable, "-c", CRASH, where],
        env=settings,
        cwd=tmp_path,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    assert search("output", done.stdout + done.stderr) == []
    if where != "executor.exchange.binance.open_connection":
        assert b"RuntimeError: a defect" in done.stderr


def test_files_and_sockets_are_for_their_user_alone(tmp_path: Path) -> None:
    settings = paper(tmp_path, STATE_FN=str(tmp_path / "kept" / "state.json"), PAPER_SPEED="0", PAPER_AT_END="hold")
    settings["SIGNAL_FILE"] = str(tmp_path / "kept" / "signals.jsonl")
    with running(tmp_path, settings) as run:
        run.until(lambda: b"trade_closed" in run.said())
        kept = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "kept").iterdir()}
    assert set(kept.values()) == {0o600}
    wanted = {"state.json", "state.journal.jsonl", "state.trades.jsonl", "state.json.sock", "state.json.lock"}
    assert wanted <= kept.keys()
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
