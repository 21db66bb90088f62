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

from tests.stranger.book import Book
from tests.stranger.checks import OWED_MOST, Cover, books, debt, lent_and_told, loans, log_faults, paces, recorded
from tests.stranger.hands import OURS, Hands
from tests.stranger.lender import Lender, MarginMood
from tests.stranger.mood import BASE, QUOTE, SYMBOL, ZERO, Clock, Mood, Terms, now_ms
from tests.stranger.server import KEY, SECRET, Exchange

import executor

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
    ("0.2", *("0.15", "0.2") * 4, "1.2", "2.2", "-1.2"),
    ("0.25", *("0.2", "0.25") * 3, "!-1.2", "-1.3"),
)


READY_MOST_S = 25


class Run:
    def __init__(
        self, seed: int, folder: Path, *, storm: float, transport: str, layout: str, margin: bool = False
    ) -> None:
        self.rng = random.Random(seed)
        self.mood = Mood.drawn(self.rng)
        Clock.ahead = self.mood.clock_ahead_ms
        self.folder, self.storm = folder, storm
        spare = "50" if layout == "PLAIN" else self.rng.choice(["0", "0", "50"])
        start = {BASE: Decimal(spare), QUOTE: Decimal(10_000), "BNB": Decimal(5)}
        loans = MarginMood.drawn(self.rng) if margin else None
        if loans is not None:
            start |= {BASE: Decimal(self.rng.choice(["0", "0.1"])), QUOTE: Decimal(self.rng.choice(["220", "420"]))}
            if loans.isolated:
                self.mood.fee_asset = QUOTE
                del start["BNB"]
        self.book = Book(self.mood, self.rng, start, ENTRY)
        self.lender = Lender(self.book, loans, self.rng) if loans is not None else None
        self.exchange = Exchange(self.book, self.rng, self.lender)
        self.spare = spare == "50" and not margin
        self.short = spare == "50" or margin
        self.hands = Hands(self.book, self.exchange, self.rng)
        self.cover = Cover(self.book, self.exchange, layout, short=self.short)
        self.faults = self.cover.faults
        self.up_since = self.ready_since = 0.0
        self.process: asyncio.subprocess.Process | None = None
        self.lives, self.transport, self.layout = 0, transport, layout
        self.entry = self.rng.choice([*["LIMIT_THEN_MARKET"] * 4, "LIMIT_ONLY", "MARKET_ONLY"])
        self.plan_b = self.rng.choice(["MARKET", "LIMIT_IOC"])
        self.ended = Counter[str]()
        self.is_up = asyncio.Event()

    # --- the daemon -----------------------------------------------------------------------------------------------

    async def up(self) -> None:
        self.lives += 1
        url = f"127.0.0.1:{self.exchange.port}"
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(Path(executor.__file__).parents[1]),
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
            "LIVE_ENTRY_TIMEOUT_SEC": "3",
            "EXITS_RETRY_EVERY_SEC": "0.3",
            "FAILSAFE_EXITS_GRACE_SEC": "10",
            "SL_WATCHDOG_GRACE_SEC": "0.5",
            "ABSENCE_GRACE_SEC": "1.5",
            "DOUBT_SETTLE_SEC": "2",
            "TRAIL_UPDATE_EVERY_SEC": "0.2",
            "ENTRY_MODE": self.entry,
            "PLANB_ORDER": self.plan_b,
            "COOLDOWN_SEC": "0",
            "COOLDOWN_ABORT_SEC": "0",
            "LOCK_SEC": "0",
            "LOG_FORMAT": "json",
            "ORDER_TRANSPORT": self.transport,
        }
        if self.lender is not None:
            isolated = str(self.lender.mood.isolated).lower()
            environ |= {"TRADE_MODE": "margin", "MARGIN_ISOLATED": isolated, "MARGIN_FOREIGN_DEBT": "allow"}
            environ |= {"BINANCE_MARGIN_STREAM_URL": f"ws://{url}", "LIVE_ENTRY_TIMEOUT_SEC": "12"}
        with self._log().open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "executor", "run", env=environ, cwd=self.folder, stdout=log, stderr=log
            )
        self.up_since, self.ready_since = time.monotonic(), 0.0
        self.is_up.set()

    async def kill(self) -> None:
        """Ended at once, asked to end, or held up for some seconds."""
        how = self.rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
        self.exchange.went_wrong[how.name] += 1
        self.is_up.clear()
        process = self.process
        assert process is not None
        if how is signal.SIGSTOP:
            if process.returncode is None:
                process.send_signal(how)
                await asyncio.sleep(1 + self.rng.random() * 6)
                process.send_signal(signal.SIGCONT)
                self.up_since, self.ready_since = time.monotonic(), 0.0
            self.is_up.set()
            return
        self.process = None
        if process.returncode is None:
            process.send_signal(how)
        try:
            await asyncio.wait_for(process.wait(), 60)
        except TimeoutError:
            self.faults.append(f"{how.name}: not ended within a minute")
            process.kill()
            await process.wait()
        await asyncio.sleep(self.rng.random() * 2)
        await self.up()

    def _ready(self) -> bool:
        """The service has told that it is for some seconds, or has had more than enough time for it."""
        now = time.monotonic()
        if not self.is_up.is_set():
            return False
        if not self.ready_since and b'"event": "ready"' in self._log().read_bytes():
            self.ready_since = now
        return (self.ready_since and now - self.ready_since > 3) or now - self.up_since > READY_MOST_S

    async def _until_ready(self) -> None:
        for _ in range(READY_MOST_S * 20):
            if self._ready():
                return
            await asyncio.sleep(0.1)

    # --- the market -----------------------------------------------------------------------------------------------

    def touch(self, price: Decimal) -> None:
        self.book.touch(price)
        self.exchange.traded()
        if self.hands.gone:
            self.hands.gone = False
            self.cover.start += self.cover.held()
        self.cover.start, self.hands.moved = self.cover.start + self.hands.moved, ZERO
        if self.lender is not None and self.hands.touched and self.lender.by_hand:
            self.cover.dust = max(self.cover.dust, Decimal("0.11"))  # of its own base, which the hand has spent
        up = self._ready()
        rough = self.exchange.storm > 0 or self.hands.touched or self.book.terms != Terms()
        self.cover.look(up=up, rough=rough, touched=self.hands.touched)

    async def lead(self, to: str, sign: int) -> None:
        jump, target = to.startswith("!"), ENTRY + sign * Decimal(to.lstrip("!")) * R
        while not jump and abs(target - self.book.last) > Decimal("0.1"):
            self.touch(self.book.last + (Decimal("0.1") if target > self.book.last else Decimal("-0.1")))
            await asyncio.sleep(0.05)
        self.touch(target)
        for _ in range(self.rng.randrange(1, 10)):
            await asyncio.sleep(0.1)
            self.touch(target)

    async def trade(self, number: int, kill: bool) -> None:
        sign = -1 if self.short and self.rng.random() < 0.5 else 1
        path = self.rng.choice(PATHS)
        self.cover.begin(ENTRY - sign * R, sign)
        self.hands.touched = False
        self.book.made_smaller = False
        await self.lead("0.3", sign)
        await self._until_ready()
        values = {
            "ts": now_ms(),
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
        await self._entry_rests(number)
        doomed = asyncio.create_task(self._strike()) if kill else None
        drawn = [self.hands.drawn(spare=self.short) for _ in range(self.rng.choice([1, 1, 2]))]
        befalling = asyncio.gather(*map(self.hands.befall, drawn))
        for to in path:
            await self.lead(to, sign)
        if doomed is not None:
            await doomed
        await befalling
        if self.lender is not None and self.rng.random() < 0.3:
            self.lender.hour()
        await asyncio.sleep(self.rng.random() * 2)
        self.exchange.storm = 0.0
        self.hands.calm()
        await self._over(number, path, sign)

    async def _entry_rests(self, number: int) -> None:
        """Until the entry is on the book, or it takes too long; or, now and then but for the first, not at all."""
        if self.rng.random() < 0.15 and number:
            return
        until = time.monotonic() + (6 if self.lender is None else 15)
        while time.monotonic() < until:
            if any(o.open and o.client.startswith(OURS) and o.working for o in self.book.orders[-20:]):
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(self.rng.random() / 2)

    async def _strike(self) -> None:
        await asyncio.sleep(self.rng.random() * 4)
        await self.kill()

    async def _over(self, number: int, path: tuple[str, ...], sign: int) -> None:
        """The market goes to and fro until the trade is over; in the calm it has to be, within a minute."""
        deadline = time.monotonic() + 75
        step = 0
        while time.monotonic() < deadline:
            if self._flat():
                await asyncio.sleep(1.0)
                if self._flat():
                    break
            step += 1
            await self.lead(("-1.2", "-1.3", "0", "1.2", "2.3", "1.0")[step % 6], sign)
        else:
            rows = [
                f"{o.client} {o.side} {o.type} {o.left}/{o.qty} at {o.price} stop {o.stop} {o.status}"
                for o in self.book.orders[-25:]
            ]
            self.faults.append(
                f"trade {number} {path}: not over: held {self.cover.held()}, last {self.book.last}\n  "
                + "\n  ".join(rows)
            )
            self.book.orders = [o for o in self.book.orders if not o.open]
        # what is left is dust: the next trade begins from here
        self.cover.start += self.cover.held()
        if self.book.locked[BASE] or self.book.locked[QUOTE]:
            self.faults.append(f"trade {number}: the stranger's books: {self.book.locked}")

    def _flat(self) -> bool:
        if self.lender is not None and any(debt(self.lender, asset) > OWED_MOST for asset in self.book.free):
            return False
        if not recorded(self.folder, self.book):
            return False
        if self.lender is not None:
            lent, told, _ = lent_and_told(self.folder, self.lender)
            if lent != told:
                return False
        return abs(self.cover.held()) <= self.cover.dust and not any(
            o.open and o.client.startswith(OURS) for o in self.book.orders
        )

    # --- the run --------------------------------------------------------------------------------------------------

    async def run(self, trades: int, kills: int) -> None:
        (self.folder / "signals.jsonl").touch()
        await self.exchange.start()
        await self.up()
        watching = asyncio.create_task(self.watch_over())
        await self._until_ready()
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
        self.faults += paces(self.exchange) + books(self.folder, self.book)
        if self.lender is not None:
            self.faults += loans(self.folder, self.lender)

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

    def told(self) -> str:
        alerts = Counter[str]()
        for log in sorted(self.folder.glob("life-*.log")):
            faults, told, ended = log_faults(log)
            self.faults += faults
            alerts += told
            self.ended += ended
        bare = f"bare at most {self.cover.bare_most} ms, {self.cover.exposed_most} past the stop"
        owing = "" if self.lender is None else f"\n{self.lender.mood}, lent {dict(self.lender.lent)}"
        return (
            f"mood {self.mood}{owing}\nlives {self.lives}, ended {dict(self.ended)}\nalerts {dict(alerts)}\n"
            f"wrong {dict(self.exchange.went_wrong)}\nrefused {dict(self.exchange.refused)}\n"
            f"{bare}; weight {dict(self.exchange.weights)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--trades", type=int, default=6)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--margin", choices=("always", "never"))
    parser.add_argument("--layout", choices=("OCO", "BRACKET", "PLAIN"))
    parser.add_argument("--storm", type=float, help="drawn where it is not given")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # its daemon ends with it
    failed = False
    for seed in range(wanted.seed, wanted.seed + wanted.runs):
        rng = random.Random(seed)
        folder = Path(tempfile.mkdtemp(prefix=f"stranger-{seed}-"))
        transport, layout = rng.choice(["rest", "ws"]), wanted.layout or rng.choice(["OCO", "BRACKET", "PLAIN"])
        margin = rng.random() < 0.35 if wanted.margin is None else wanted.margin == "always"
        storm = rng.choice([0.05, 0.15, 0.35]) if wanted.storm is None else wanted.storm
        run = Run(seed, folder, storm=storm, transport=transport, layout="OCO" if margin else layout, margin=margin)
        try:
            asyncio.run(run.run(wanted.trades, wanted.kills))
        finally:
            if run.process is not None and run.process.returncode is None:
                os.kill(run.process.pid, signal.SIGKILL)
        told = run.told()
        kind = "spot" if run.lender is None else "isolated" if run.lender.mood.isolated else "cross"
        sys.stdout.write(
            f"seed {seed} {run.transport} {kind} {run.layout} {run.entry} {run.plan_b} {folder}\n"
            f"{told}\nfaults {len(run.faults)}\n"
        )
        for fault in run.faults:
            sys.stdout.write(f"  {fault}\n")
        sys.stdout.flush()
        failed = failed or bool(run.faults)
    sys.exit(failed)


if __name__ == "__main__":
    main()
