"""Where alerts come in, and the outbox and channels that they go out by.

    the core's notes (before the step is on disk) ─┐
    log lines marked as alerts ────────────────────┼─▶ outbox on disk ─▶ one queue a channel ─▶ its sender
    the service's own words, the watchdog ─────────┘

`tell` never waits and never fails: what observes does not hold up what trades (rule 8.9).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from executor.ops.alerts import wording
from executor.ops.alerts.alert import Alert
from executor.ops.alerts.catalogue import kind_of
from executor.ops.alerts.channel import Channel
from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.noted import is_noted
from executor.ops.alerts.outbox import Before, Done, Mark, Outbox, Raised, Record
from executor.ops.alerts.queue import Key, Waiting
from executor.ops.alerts.sender import Sender

log = structlog.get_logger(__name__)

RECENT: Final = 200
"""Alerts kept in memory for whoever looks: the page, `/status`."""
SYNC_AFTER_S: Final = 0.1
TEND_EVERY_S: Final = 5.0
"""How soon a file that could not be written is tried again."""
_NOT_TOLD: Final = frozenset(
    {
        "alert",
        "event",
        "level",
        "timestamp",
        "exc_info",
        "exception",
        "logger",
        "symbol",
        "trade",
        "order",
        "text",
        "account",
    }
)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Alerts:
    """`recent`: the last alerts, oldest first. `raised`: how many, by event and severity."""

    def __init__(
        self,
        outbox: Outbox | None,
        channels: Sequence[Channel],
        *,
        now_ms: Callable[[], int] = _wall_ms,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`outbox` None: nothing outlives the process; for a run whose alerts nobody waits for."""
        self.recent: list[Alert] = []
        self.raised: dict[tuple[str, Severity], int] = {}
        self.on_alert: list[Callable[[Alert], None]] = []
        self.now_ms = now_ms
        self._outbox = outbox
        self._sleep = sleep
        self._marks: dict[str, str] = {}
        self._n = 0
        self._news = asyncio.Event()
        self.senders = {
            channel.name: Sender(channel, self._noter(channel.name), now_ms=now_ms, sleep=sleep, monotonic=monotonic)
            for channel in channels
        }
        if outbox is not None:
            self._restore(outbox)

    # --- in -------------------------------------------------------------------------------------------------------

    def tell(
        self,
        event: str,
        text: str,
        *,
        symbol: str = "",
        trade: str = "",
        orders: str = "",
        facts: dict[str, str] | None = None,
        account: str = "",
    ) -> None:
        """Raise an alert: it is on its way, and survives the process, when this returns."""
        kind = kind_of(event)
        alert = Alert(
            event=event,
            text=wording.clean(text),
            at=self.now_ms(),
            severity=kind.severity,
            symbol=wording.clean(symbol),
            trade=wording.clean(trade),
            orders=wording.clean(orders),
            facts={name: wording.clean(fact) for name, fact in (facts or {}).items()},
            account=wording.clean(account),
        )
        self._n += 1
        self._remember(alert)
        counted = event, kind.severity
        self.raised[counted] = self.raised.get(counted, 0) + 1
        wanting = {name: sender for name, sender in self.senders.items() if sender.channel.wants(kind.topic)}
        if wanting:
            self._record(Raised(n=self._n, alert=alert, to=tuple(wanting)))
        for sender in wanting.values():
            sender.queue.push(self._n, alert)
            sender.look()
        for hear in self.on_alert:
            hear(alert)

    def _remember(self, alert: Alert) -> None:
        """Where there is no room, the least grave gives way, of those the oldest: not what was grave for a storm."""
        self.recent.append(alert)
        if len(self.recent) > RECENT:
            least = min(each.severity for each in self.recent)
            del self.recent[next(n for n, each in enumerate(self.recent) if each.severity is least)]

    def overhear(self, _logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A log processor: each line that is marked as an alert is one, wherever it was written."""
        if line.get("alert") and not is_noted():
            context = {**structlog.contextvars.get_contextvars(), **line}  # the symbol, where there are several
            rest = ", ".join(f"{key} {value}" for key, value in context.items() if _shown(key, value))
            words = str(context.get("text") or "")
            self.tell(
                str(line.get("event", "")),
                f"{words} ({rest})" if words and rest else words or rest,
                symbol=str(context.get("symbol") or ""),
                trade=str(context.get("trade") or ""),
                orders=str(context.get("order") or ""),
                account=str(context.get("account") or ""),
            )
        return line

    def mark(self, name: str, value: str) -> None:
        """Remember `value` across restarts."""
        if self._marks.get(name) != value:
            self._marks[name] = value
            self._record(Mark(name, value))

    def marked(self, name: str) -> str:
        """What was remembered; empty where nothing was."""
        return self._marks.get(name, "")

    @property
    def waiting(self) -> dict[str, int]:
        """By channel, how many kinds of alerts have not gone out."""
        return {name: len(sender.queue) for name, sender in self.senders.items()}

    def unsent(self) -> dict[int, Alert]:
        """What has not gone out by every way that it is to go, by number: the newest of each kind."""
        return {item.n: item.alert for sender in self.senders.values() for item in sender.queue.waiting()}

    # --- out ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send, and keep the file in order, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name, sender in self.senders.items():
                tasks.create_task(sender.run(), name=f"alerts by {name}")
            tasks.create_task(self._tend(), name="alerts on disk")

    async def flush(self) -> None:
        """Return when every channel has taken what is due."""
        await asyncio.gather(*(sender.flush() for sender in self.senders.values()))

    def close(self) -> None:
        """Leave the file in order; what waits goes out after the next start."""
        if self._outbox is not None:
            if self._outbox.behind:
                self._outbox.rewrite(self._snapshot())
            self._outbox.close()

    async def _tend(self) -> None:
        """Sync what was written, and write anew what could not be, or has grown: out of the way of whoever tells."""
        outbox = self._outbox
        if outbox is None:
            return
        while True:
            if outbox.behind or outbox.grown:
                outbox.rewrite(self._snapshot())
            if outbox.behind:
                await self._sleep(TEND_EVERY_S)
                continue
            await self._news.wait()
            self._news.clear()
            await self._sleep(SYNC_AFTER_S)
            await asyncio.to_thread(outbox.sync)

    # --- the outbox -----------------------------------------------------------------------------------------------

    def _record(self, record: Record) -> None:
        if self._outbox is not None:
            self._outbox.append(record)
            self._news.set()

    def _noter(self, name: str) -> Callable[[Sequence[Waiting], int], None]:
        def note(items: Sequence[Waiting], at: int) -> None:
            for each in items:
                self._record(Done(name, each.n, each.count, at))

        return note

    def _restore(self, outbox: Outbox) -> None:
        """Take up what an earlier run left, by the same steps that it took."""
        keys: dict[tuple[str, int], Key] = {}
        for record in outbox.records:
            self._take_up(record, keys)
        outbox.records = []
        outbox.rewrite(self._snapshot())
        if outbox.damaged:
            kept = f"; all of it is kept as {outbox.aside}" if outbox.aside is not None else ""
            self.tell("alerts_damaged", f"{outbox.damaged} lines of {outbox.path} were left out{kept}")

    def _take_up(self, record: Record, keys: dict[tuple[str, int], Key]) -> None:
        """`keys`: what each alert waits under, by channel and number. Channels that are not set up any more are out."""
        match record:
            case Raised(n=n, to=to):
                self._n = max(self._n, n)
                for name in self.senders.keys() & set(to):
                    keys[name, n] = self._push(name, record)
            case Done(by, n, count, at) if (by, n) in keys:
                self.senders[by].queue.settle(keys[by, n], count, at)
            case Before(by, known) if by in self.senders:
                self.senders[by].queue.remember([known])
            case Mark(name, value):
                self._marks[name] = value
            case _:
                pass  # of a channel that is gone

    def _push(self, name: str, raised: Raised) -> Key:
        queue = self.senders[name].queue
        return queue.push(raised.n, raised.alert, count=raised.count, texts=raised.texts, since=raised.since).key

    def _snapshot(self) -> list[Record]:
        """Everything that still matters."""
        now = self.now_ms()
        records: list[Record] = [Mark(name, value) for name, value in self._marks.items()]
        for name, sender in self.senders.items():
            records += [Before(name, known) for known in sender.queue.known(now)]
            records += [
                Raised(n=w.n, alert=w.alert, to=(name,), count=w.count, texts=w.texts, since=w.since)
                for w in sender.queue.waiting()
            ]
        return records


def _shown(key: str, value: object) -> bool:
    return key not in _NOT_TOLD and value is not None and value != ""


def outbox_path(state: Path) -> Path:
    """Beside the state: what is to be told is worth as much as what is to be remembered."""
    return state.with_name(state.name + ".alerts")
