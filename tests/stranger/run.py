"""Trade on the stranger's exchange with the real daemon: `python -m tests.stranger.run --seed 1 --trades 10 --kills 3`.

What must hold is read from the stranger's own books; the daemon is asked nothing but its exit codes and its log.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.stranger.book import Book
from tests.stranger.mood import BASE, QUOTE, SYMBOL, Clock, Mood, now_ms
from tests.stranger.server import KEY, SECRET, Exchange

ENTRY, R = Decimal(100), Decimal(1)
PATHS = (
    ("0", "0.5", "1.1", "2.2", "3.0", "2.0", "1.0"),
    ("0", "0.6", "-1.2"),
    ("0", "1.2", "0.3", "-1.2"),
    ("0", "!-1.04", "-1.06"),
    ("0", "!-3", "-2.5"),
    ("0", "!2.6", "1.2", "-1"),
    ("0.2", "0.3", "1.2", "2.2", "1"),
    ("0", "0.99", "1.01", "0.99", "1.5", "-1.2"),
    ("0", "2.2", "2.9", "4.0", "!0"),
    ("1.5", "1.6", "1.4"),
)
SAME_MOST = 40
"""So often at the most the same request may be sent within ten seconds."""
WEIGHT_MOST = 3_000
"""A minute's weight of one symbol."""


class Run:
    def __init__(self, seed: int, folder: Path, *, storm: float, transport: str, layout: str) -> None:
        self.rng = random.Random(seed)
        self.mood = Mood.drawn(self.rng)
        Clock.ahead = self.mood.clock_ahead_ms
        self.folder, self.storm = folder, storm
        spare = "50" if layout == "PLAIN" else self.rng.choice(["0", "0", "50"])
        self.start = {BASE: Decimal(spare), QUOTE: Decimal(10_000), "BNB": Decimal(5)}
        self.book = Book(self.mood, self.rng, self.start, ENTRY)
        self.exchange = Exchange(self.book, self.rng)
        self.faults: list[str] = []
        self.process: asyncio.subprocess.Process | None = None
        self.lives, self.transport, self.layout = 0, transport, layout
        self.bare_since, self.bare_most = 0, 0
        self.ended = Counter[str]()
        self.short = spare == "50"
        self.is_up = asyncio.Event()

    # --- the daemon -----------------------------------------------------------------------------------------------

    async def up(self) -> None:
        self.lives += 1
        url = f"127.0.0.1:{self.exchange.port}"
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "BINANCE_ENV": "custom",
            "BINANCE_REST_URL": f"http://{url}",
            "BINANCE_WS_API_URL": f"ws://{url}/ws-api/v3",
            "BINANCE_STREAM_URL": f"ws://{url}",
            "BINANCE_API_KEY": KEY,
            "BINANCE_API_SECRET": SECRET,
            "SYMBOL": SYMBOL,
            "STATE_FN": str(self.folder / "state.json"),
            "SIGNAL_FILE": str(self.folder / "signals.jsonl"),
            "SIGNAL_START": "begin",
            "QTY": "3",
            "EXIT_LAYOUT": self.layout,
            "ALLOW_SHORT": "true",
            "HTTP_PORT": "0",
            "RECV_WINDOW": "1500",
            "POLL_SEC": "0.5",
            "POLL_IDLE_SEC": "1",
            "LIVE_ENTRY_TIMEOUT_SEC": "2",
            "EXITS_RETRY_EVERY_SEC": "0.3",
            "FAILSAFE_EXITS_GRACE_SEC": "10",
            "SL_WATCHDOG_GRACE_SEC": "0.5",
            "ABSENCE_GRACE_SEC": "1.5",
            "DOUBT_SETTLE_SEC": "2",
            "TRAIL_UPDATE_EVERY_SEC": "0.2",
            "COOLDOWN_SEC": "0",
            "COOLDOWN_ABORT_SEC": "0",
            "LOCK_SEC": "0",
            "LOG_FORMAT": "json",
            "ORDER_TRANSPORT": self.transport,
        }
        with self._log().open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "executor", "run", env=environ, cwd=self.folder, stdout=log, stderr=log
            )
        self.is_up.set()

    async def kill(self) -> None:
        self.is_up.clear()
        process, self.process = self.process, None
        assert process is not None
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
        await asyncio.sleep(self.rng.random() * 2)
        await self.up()

    # --- the market -----------------------------------------------------------------------------------------------

    def touch(self, price: Decimal) -> None:
        self.book.touch(price)
        self.exchange.traded()
        self._watch_cover()

    async def lead(self, to: str, sign: int) -> None:
        jump, target = to.startswith("!"), ENTRY + sign * Decimal(to.lstrip("!")) * R
        while not jump and abs(target - self.book.last) > Decimal("0.1"):
            self.touch(self.book.last + (Decimal("0.1") if target > self.book.last else Decimal("-0.1")))
            await asyncio.sleep(0.05)
        self.touch(target)
        for _ in range(self.rng.randrange(1, 10)):
            await asyncio.sleep(0.1)
            self.touch(target)

    def held(self) -> Decimal:
        """What the trade holds: bought less sold since the start (a short: below zero)."""
        have = self.book.free[BASE] + self.book.locked[BASE]
        return have - self.start[BASE]

    def _watch_cover(self) -> None:
        held = self.held()
        side = "SELL" if held > 0 else "BUY"
        if not self.short and held < 0:
            self.faults.append(f"sold {-held} more than was bought")
            self.start[BASE] += held
        at_work = [
            o
            for o in self.book.orders[-60:]
            if o.open and o.side == side and (o.is_stop or o.cum or o.type == "MARKET")
        ]
        entering = any(o.open and o.side != side for o in self.book.orders[-60:])
        bare = abs(held) - sum((o.left for o in at_work), Decimal(0)) - Decimal("0.07")
        now = now_ms()
        if bare > 0 and not entering:
            self.bare_since = self.bare_since or now
            self.bare_most = max(self.bare_most, now - self.bare_since)
        else:
            self.bare_since = 0

    async def trade(self, number: int, kill: bool) -> None:
        sign = -1 if self.short and self.rng.random() < 0.5 else 1
        path = self.rng.choice(PATHS)
        await self.lead("0.3", sign)
        values = {
            "ts": time.time_ns() // 1_000_000,
            "id": f"s{number}",
            "symbol": SYMBOL,
            "side": "long" if sign > 0 else "short",
            "price": str(ENTRY),
            "stop": str(ENTRY - sign * R),
            "targets": [str(ENTRY + sign * R), str(ENTRY + 2 * sign * R)],
        }
        with (self.folder / "signals.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")
        self.exchange.storm = self.storm if number % 2 else 0.0
        await asyncio.sleep(1 + self.rng.random())
        doomed = asyncio.create_task(self._strike()) if kill else None
        for to in path:
            await self.lead(to, sign)
        if doomed is not None:
            await doomed
        self.exchange.storm = 0.0
        await self._over(number, path, sign)

    async def _strike(self) -> None:
        await asyncio.sleep(self.rng.random() * 4)
        await self.kill()

    async def _over(self, number: int, path: tuple[str, ...], sign: int) -> None:
        """The market goes to and fro until the trade is over; in the calm it has to be, within a minute."""
        dust = Decimal("0.07")
        deadline = time.monotonic() + 75
        step = 0
        while time.monotonic() < deadline:
            open_ours = [o for o in self.book.orders if o.open]
            flat = abs(self.held()) <= dust and not open_ours
            if flat:
                await asyncio.sleep(1.0)
                if abs(self.held()) <= dust and not any(o.open for o in self.book.orders):
                    break
            step += 1
            await self.lead(("-1.2", "-1.3", "0", "1.2", "2.3", "1.0")[step % 6], sign)
        else:
            rows = [
                f"{o.client} {o.side} {o.type} {o.left}/{o.qty} at {o.price} stop {o.stop} {o.status}"
                for o in self.book.orders[-25:]
            ]
            self.faults.append(
                f"trade {number} {path}: not over: held {self.held()}, last {self.book.last}\n  " + "\n  ".join(rows)
            )
            self.book.orders = [o for o in self.book.orders if not o.open]
        # what is left is dust: the next trade begins from here
        self.start[BASE] = self.book.free[BASE] + self.book.locked[BASE]
        if self.book.locked[BASE] or self.book.locked[QUOTE]:
            self.faults.append(f"trade {number}: the stranger's books: {self.book.locked}")

    # --- the run --------------------------------------------------------------------------------------------------

    async def run(self, trades: int, kills: int) -> None:
        (self.folder / "signals.jsonl").touch()
        await self.exchange.start()
        await self.up()
        watching = asyncio.create_task(self.watch_over())
        await asyncio.sleep(3)
        doomed = set(self.rng.sample(range(trades), min(kills, trades)))
        for number in range(trades):
            await self.trade(number, number in doomed)
        watching.cancel()
        self.is_up.clear()
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 40)
        if code not in {0, -signal.SIGTERM}:  # the latter: it had not begun yet
            self.faults.append(f"SIGTERM at rest: ended with {code}")
        await self.exchange.stop()
        self._paces()

    async def watch_over(self) -> None:
        """As a supervisor: what ends by itself is a fault, and is started again."""
        while True:
            await self.is_up.wait()
            process = self.process
            assert process is not None
            await process.wait()
            if process is not self.process:
                continue  # it was killed
            tail = self._log().read_text(errors="replace")[-1500:]
            if not (
                process.returncode == 1 and any(word in tail for word in ("can't be reached", "executor can't run"))
            ):
                self.faults.append(f"life {self.lives} ended by itself with {process.returncode}: {tail}")
            await asyncio.sleep(0.5)
            if process is self.process:
                await self.up()

    def _log(self) -> Path:
        return self.folder / f"life-{self.lives:03d}.log"

    def _paces(self) -> None:
        seen: dict[tuple[int, str, str], int] = Counter()
        for at, what, own in self.exchange.asked:
            if own:
                seen[(at // 10_000, what, own)] += 1
        for (at, what, own), times in sorted(seen.items()):
            if times > SAME_MOST:
                self.faults.append(f"{what} {own}: {times} times in ten seconds (at {at})")
        for minute, weight in self.exchange.weights.items():
            if weight > WEIGHT_MOST:
                self.faults.append(f"weight {weight} in minute {minute}")

    def told(self) -> str:
        events = Counter[str]()
        for log in sorted(self.folder.glob("life-*.log")):
            for line in log.read_text(errors="replace").splitlines():
                if not line.startswith("{"):
                    if "Traceback" in line:
                        self.faults.append(f"{log.name}: a traceback")
                    continue
                row: dict[str, Any] = json.loads(line)
                if row.get("alert"):
                    events[row["event"]] += 1
                if row["event"] in {"closed", "trade_closed"}:
                    self.ended[str(row.get("reason", row.get("text", "")))[:40]] += 1
        return (
            f"mood {self.mood}\nlives {self.lives}, ended {dict(self.ended)}\nalerts {dict(events)}\n"
            f"wrong {dict(self.exchange.went_wrong)}\nrefused {dict(self.exchange.refused)}\n"
            f"bare at most {self.bare_most} ms; weight {dict(self.exchange.weights)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--trades", type=int, default=6)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--layout", choices=("OCO", "BRACKET", "PLAIN"))
    parser.add_argument("--storm", type=float, default=0.06)
    wanted = parser.parse_args()
    failed = False
    for seed in range(wanted.seed, wanted.seed + wanted.runs):
        rng = random.Random(seed)
        folder = Path(tempfile.mkdtemp(prefix=f"stranger-{seed}-"))
        run = Run(
            seed,
            folder,
            storm=wanted.storm,
            transport=rng.choice(["rest", "ws"]),
            layout=wanted.layout or rng.choice(["OCO", "BRACKET", "PLAIN"]),
        )
        asyncio.run(run.run(wanted.trades, wanted.kills))
        told = run.told()
        sys.stdout.write(f"seed {seed} {run.transport} {run.layout} {folder}\n{told}\nfaults {len(run.faults)}\n")
        for fault in run.faults:
            sys.stdout.write(f"  {fault}\n")
        sys.stdout.flush()
        failed = failed or bool(run.faults)
    sys.exit(failed)


if __name__ == "__main__":
    main()
