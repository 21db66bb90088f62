"""What waits to be sent over one channel, and when: the first of its kind at once, repeats together. Pure.

Two alerts are of one kind when event, account, symbol and severity are the same; so a graver one is never merged into a
lesser. The first is due at once. What repeats it is counted and due together a minute after, then five, a quarter of an
hour, an hour; a kind that has been silent for twice as long as it would have to wait begins anew. So a storm of any
length is a few messages, and nothing of it is lost: kinds and counts are all there.
"""

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from msgspec.structs import replace

from executor.decoding import Ms
from executor.ops.alerts.alert import Alert
from executor.ops.alerts.catalogue import kind_of
from executor.ops.alerts.kinds import Severity

PAUSES_MS: Final = (60_000, 300_000, 900_000, 3_600_000)
"""Between the first of a kind and its repeats, those and the next, and so on."""
AT_ONCE: Final = 0
TEXTS_KEPT: Final = 3
Many = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
"""What a count on disk can be; another is damage."""
ONCE_MAX: Final = 200
"""So many trades' news may wait one by one; what is more waits together by kind, with a count."""


class Key(msgspec.Struct, frozen=True):
    event: str
    symbol: str
    severity: Severity
    trade: str = ""
    account: str = ""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts of one kind that have not been sent: `alert` the newest, `n` its number, `texts` the last different ones,
    `count` how many, `since` when the first of them was raised (ms), `due` when they are to go (ms; 0 at once).
    """

    key: Key
    alert: Alert
    n: int
    texts: tuple[str, ...]
    count: int
    since: int
    due: int


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A kind that has been sent: last at `sent` (ms), `times` in a row; last raised at `heard`."""

    key: Key
    sent: Ms
    times: Many
    heard: Ms

    @property
    def pause(self) -> int:
        return PAUSES_MS[min(self.times, len(PAUSES_MS)) - 1]

    def forgotten(self, now: int) -> bool:
        """So long ago, or so far ahead: it was by a clock that has been set back since."""
        return abs(now - max(self.heard, self.sent)) > 2 * self.pause


class AlertQueue:
    """All times are ms of one clock, handed in. However it is set, the first of a kind goes at once, and nothing waits
    longer than the longest pause.
    """

    def __init__(self) -> None:
        self._waiting: dict[Key, Waiting] = {}
        self._known: dict[Key, Known] = {}
        self._once = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, n: int, alert: Alert, *, count: int = 1, texts: tuple[str, ...] = (), since: int = 0) -> Waiting:
        """Have `alert`, the `n`-th of all, wait; `count` and `texts` where it stands for several."""
        key, now = self._key(alert), alert.at
        texts = texts or (alert.text,)
        before = self._waiting.get(key)
        if before is None:
            waiting = Waiting(
                key=key, alert=alert, n=n, texts=texts, count=count, since=since or now, due=self._due(key, now)
            )
            self._once += bool(key.trade)
        else:
            kept = (*(t for t in before.texts if t not in texts), *texts)[-TEXTS_KEPT:]
            due = min(before.due, self._due(key, now))  # what was raised while the clock was ahead would wait till then
            waiting = replace(before, alert=alert, n=n, texts=kept, count=before.count + count, due=due)
        self._waiting[key] = waiting
        return waiting

    def due(self, now: int) -> list[Waiting]:
        """What is to go now: the gravest first, and of those what has waited longest."""
        found = [each for each in self._waiting.values() if not now < each.due <= now + PAUSES_MS[-1]]
        return sorted(found, key=lambda each: (-each.key.severity, each.since))

    def next_due(self) -> int | None:
        """When the next of them is to go; None where nothing waits."""
        return min((each.due for each in self._waiting.values()), default=None)

    def settle(self, key: Key, count: int, now: int) -> None:
        """`count` of what waits under `key` are told; what has come since they were taken from `due` waits on."""
        waiting = self._waiting.get(key)
        if waiting is None:
            return
        if not key.trade:
            known = self._known.get(key)
            times = 0 if known is None or known.forgotten(now) else known.times
            self._known[key] = Known(key=key, sent=now, times=times + 1, heard=min(waiting.alert.at, now))
        if waiting.count > count:
            rest = waiting.count - count
            self._waiting[key] = replace(waiting, count=rest, since=waiting.alert.at, due=self._due(key, now))
        else:
            del self._waiting[key]
            self._once -= bool(key.trade)

    def remember(self, known: Iterable[Known]) -> None:
        """What has been sent before, by an earlier run."""
        self._known |= {each.key: each for each in known}

    def waiting(self) -> list[Waiting]:
        return list(self._waiting.values())

    def known(self, now: int) -> list[Known]:
        """What has been sent, as far as it still matters."""
        self._known = {key: each for key, each in self._known.items() if not each.forgotten(now)}
        return list(self._known.values())

    def _due(self, key: Key, now: int) -> int:
        known = self._known.get(key)
        if known is None or known.forgotten(now):
            return AT_ONCE
        self._known[key] = replace(known, heard=now)
        return min(known.sent, now) + known.pause

    def _key(self, alert: Alert) -> Key:
        key = Key(alert.event, alert.symbol, alert.severity, account=alert.account)
        if not kind_of(alert.event).once or not alert.trade:
            return key
        own = replace(key, trade=alert.trade)
        return own if own in self._waiting or self._once < ONCE_MAX else key
