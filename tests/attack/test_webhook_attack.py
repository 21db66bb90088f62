"""The webhook under attack, in a process of its own: ten thousand requests that must not get in, a few that must.

The attackers are bounded and on loopback; each has an address of its own there, so that the bound on one source does
not hide what stands behind it. What it costs the trading loop is measured by the service itself
(`executor_loop_lag_seconds`) and printed; `pytest -s` shows it.
"""

import asyncio
import hashlib
import hmac
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tools.ports import free_port

SECRET: Final = "attack-test-secret-0123456789"
HMAC_KEY: Final = "attack-test-hmac-0123456789"
REQUESTS: Final = 10_000
AT_ONCE: Final = 24
SLOW: Final = 48
GOOD: Final = 8
PATIENCE_S: Final = 60.0

Attack = tuple[str, bytes]


class Service:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.webhook, self.http = free_port(), free_port()
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "STATE_FN": str(folder / "state.json"),
            "SIGNAL_FILE": str(folder / "signals.jsonl"),
            "PAPER_SPEED": "1",
            "PAPER_AT_END": "hold",
            "HTTP_PORT": str(self.http),
            "WEBHOOK_PORT": str(self.webhook),
            "WEBHOOK_SECRET": SECRET,
            "WEBHOOK_HMAC_SECRET": HMAC_KEY,
            "WEBHOOK_MAX_BYTES": "2048",
            "WEBHOOK_TOTAL_PER_MIN": "120",
            "LOG_FORMAT": "json",
        }
        self.log = (folder / "log").open("wb")
        program = [sys.executable, "-m", "executor", "run"]
        self.process = subprocess.Popen(program, env=environ, cwd=folder, stderr=self.log, stdout=self.log)

    def until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "log").read_text("utf-8")
            try:
                with socket.create_connection(("127.0.0.1", self.webhook), timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the webhook does not listen")

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def written(self) -> list[str]:
        lines = (self.folder / "signals.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line).get("id", "") for line in lines]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.log.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = Service(tmp_path)
    try:
        found.until_ready()
        yield found
    finally:
        found.stop()


def request(body: bytes, *headers: str, line: str = "POST /signal HTTP/1.1") -> bytes:
    head = [line, "Host: here", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def body_of(n: int, **more: Any) -> bytes:
    told = {"id": f"attack-{n}", "symbol": "LTCUSDT", "side": "long", "price": 84.5, "stop": 83.9}
    return json.dumps(told | more).encode()


def signature(body: bytes, at: int, key: str = HMAC_KEY) -> tuple[str, str]:
    told = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"X-Webhook-Time: {at}", f"X-Webhook-Signature: {told}"


def attacks(rng: random.Random) -> list[Callable[[int], Attack]]:  # noqa: C901  a list of small ones
    now = int(time.time())
    spent = body_of(0, id="good-signed")

    def junk(n: int) -> Attack:
        return "junk instead of HTTP", rng.randbytes(rng.randrange(1, 400)) + b"\r\n\r\n"

    def unsigned(n: int) -> Attack:
        return "no secret", request(body_of(n))

    def wrong(n: int) -> Attack:
        guess = SECRET[: rng.randrange(len(SECRET))] + rng.choice(["", "x", "\x00"])
        return "wrong secret", request(body_of(n, secret=guess))

    def odd_secret(n: int) -> Attack:
        odd: Any = rng.choice([None, True, 0, [SECRET], {"secret": SECRET}, SECRET.upper(), SECRET + " "])
        return "odd secret", request(body_of(n, secret=odd))

    def broken_signature(n: int) -> Attack:
        body = body_of(n)
        time_line, sign_line = signature(body, now, rng.choice([SECRET, "", "guess"]))
        return "wrong signature", request(body, time_line, sign_line)

    def old(n: int) -> Attack:
        body = body_of(n)
        return "signed too long ago", request(body, *signature(body, now - rng.choice([120, 3600, -600])))

    def tampered(n: int) -> Attack:
        return "signed, then changed", request(body_of(n, qty=1000), *signature(body_of(n), now))

    def replayed(n: int) -> Attack:
        return "replayed", request(spent, *signature(spent, now))

    def oversized(n: int) -> Attack:
        return "too large", request(body_of(n, secret=SECRET, note="x" * rng.randrange(2048, 6000)))

    def lying(n: int) -> Attack:
        head = f"POST /signal HTTP/1.1\r\nHost: here\r\nContent-Length: {10**9}\r\n\r\n".encode()
        return "announces a gigabyte", head + body_of(n, secret=SECRET)

    def malformed(n: int) -> Attack:
        wrong_field: dict[str, Any] = rng.choice(
            [{"price": "1e999999999"}, {"price": -1}, {"side": "up"}, {"targets": [[[1]]]}, {"sl": 1}, {"ts": "soon"}]
        )
        return "the secret, but no signal", request(body_of(n, secret=SECRET, **wrong_field))

    def nested(n: int) -> Attack:
        return "nested", request(b'{"secret":' + b"[" * 1000 + b"]" * 1000 + b"}")

    def smuggled(n: int) -> Attack:
        inner = request(body_of(n, secret="no"))
        return "two lengths", request(inner, "Transfer-Encoding: chunked")

    def elsewhere(n: int) -> Attack:
        line = rng.choice(
            ["GET /signal HTTP/1.1", "POST / HTTP/1.1", "PUT /signal HTTP/1.1", "POST /signal/../x HTTP/1.1"]
        )
        return "another path or method", request(body_of(n, secret=SECRET), line=line)

    def headers(n: int) -> Attack:
        return "endless headers", request(body_of(n), *(f"X-{i}: {'y' * 200}" for i in range(200)))

    return [
        junk, unsigned, wrong, odd_secret, broken_signature, old, tampered, replayed, oversized, lying, malformed,
        nested, smuggled, elsewhere, headers,
    ]  # fmt: skip


class Attackers:
    """At most so many at once; each request from an address of its own."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.answers: Counter[tuple[str, str]] = Counter()
        self._rng = random.Random(seed)
        self._attacks = attacks(self._rng)
        self._numbers = iter(range(1, REQUESTS + 1))

    def address(self) -> str:
        return f"127.{self._rng.randrange(1, 255)}.{self._rng.randrange(256)}.{self._rng.randrange(1, 255)}"

    async def one_after_the_other(self) -> None:
        for n in self._numbers:
            name, data = self._rng.choice(self._attacks)(n)
            self.answers[name, await self.ask(data)] += 1

    async def ask(self, data: bytes) -> str:
        """The answer's status; a word where there is none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address(), 0))
        except OSError as error:
            return type(error).__name__
        try:
            writer.write(data)
            async with asyncio.timeout(20):
                line = await reader.readline()
            return line.split()[1].decode() if line.startswith(b"HTTP/1.1 ") else "cut off"
        except (OSError, TimeoutError) as error:
            return type(error).__name__
        finally:
            writer.close()

    async def slow(self) -> None:
        """A byte at a time, until the door closes."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address(), 0))
            for byte in request(body_of(-1, secret=SECRET)):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.2)
            self.answers["slow", (await reader.readline()).split()[1].decode()] += 1
        except (OSError, IndexError):
            self.answers["slow", "cut off"] += 1


async def send_good(port: int, n: int) -> str:
    """A sender that belongs here, and tries again when there is no room."""
    body = body_of(n, id=f"good-{n}", secret=SECRET)
    friend = Attackers(port, n)
    status = "not asked"
    for _ in range(300):
        status = await friend.ask(request(body))
        if status in ("200", "202", "409"):
            return status
        await asyncio.sleep(0.2)
    return status


async def test_ten_thousand_do_not_get_in_and_those_who_belong_do(service: Service) -> None:
    first = body_of(0, id="good-signed")
    headers = signature(first, int(time.time()))
    assert await Attackers(service.webhook, 0).ask(request(first, *headers)) in ("200", "409")
    calm = await asyncio.to_thread(_watch, service, 5.0)
    before, began = await asyncio.to_thread(service.metrics), time.monotonic()
    attackers = Attackers(service.webhook, seed=1)
    good: list[str] = []

    async def belong() -> None:
        for n in range(GOOD):
            good.append(await send_good(service.webhook, n))
            await asyncio.sleep(0.3)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(attackers.one_after_the_other())
        for _ in range(SLOW):
            tasks.create_task(attackers.slow())
        tasks.create_task(belong())
    took = time.monotonic() - began
    after = await asyncio.to_thread(service.metrics)
    _print(attackers.answers, calm, _lag(before, after), took)

    wrongly = {key: n for key, n in attackers.answers.items() if key[1] in ("200", "202")}
    assert wrongly == {}
    assert sum(n for (name, _), n in attackers.answers.items() if name != "slow") == REQUESTS
    assert set(good) <= {"200", "202", "409"}
    assert sorted(service.written()) == sorted(["good-signed", *(f"good-{n}" for n in range(GOOD))])
    log = (service.folder / "log").read_text("utf-8")
    assert SECRET not in log
    assert HMAC_KEY not in log
    assert "Traceback" not in log
    assert log.count("webhook_denied") < took / 5 + 3


def _watch(service: Service, seconds: float) -> str:
    before = service.metrics()
    time.sleep(seconds)
    return _lag(before, service.metrics())


def _lag(before: dict[str, float], after: dict[str, float]) -> str:
    """How long the loop was late, between two looks at its histogram."""
    name = "executor_loop_lag_seconds"
    seen = after[f"{name}_count"] - before[f"{name}_count"]
    total = after[f"{name}_sum"] - before[f"{name}_sum"]
    counted = {key: after[key] - before.get(key, 0.0) for key in after if key.startswith(f"{name}_bucket")}
    bounds = sorted((float(key.split('"')[1]), n) for key, n in counted.items())
    most, worst = (next(bound for bound, n in bounds if n >= part * seen) for part in (0.99, 1))
    mean = total / max(seen, 1)
    return (
        f"mean {1000 * mean:.2f} ms, 99% within {1000 * most:g} ms, all within {1000 * worst:g} ms ({seen:.0f} looks)"
    )


def _print(answers: Counter[tuple[str, str]], calm: str, busy: str, took: float) -> None:
    lines = [f"{REQUESTS} requests in {took:.1f} s", f"loop lag before: {calm}", f"loop lag during: {busy}"]
    lines += [f"  {name:28} {status:24} {n}" for (name, status), n in sorted(answers.items())]
    print("\n" + "\n".join(lines))  # noqa: T201  figures are what this is for
