"""How long each trade stood without a stop, as the exchange saw it: from report to report, to the millisecond.

Told by what held the longest spell of a trade: nothing (no fault in the run so far, the service up: a request or two
must do, or a poll where there are no pushes), what the rules and the market allow, faults while the service was up, or
a spell in which it was down.
"""

from collections import Counter
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Final

import msgspec

EDGES_MS: Final = (0, 100, 250, 1_000, 3_000, 10_000, 30_000, 120_000)
"""Upper bounds of the histogram's columns; what is above the last has one of its own."""
WORST: Final = 5
BAN: Final = "a ban"


class Held(StrEnum):
    """What kept a trade without a stop."""

    NOTHING = "no fault, pushed"
    POLLED = "no fault, polled"
    GROWING = "entry filling (3.5)"
    TARGET = "target half filled (5.6)"
    MARKET = "stop jumped over (6.5)"
    EMPTY = "book empty"
    FAULTS = "faults, service up"
    DOWN = "service down"


ALLOWED: Final = (Held.EMPTY, Held.MARKET, Held.TARGET, Held.GROWING)
"""What holds a spell without a fault, the first of those that were met: a market order that finds nobody to trade with,
a stop whose limit was jumped over, a target that works without its stop, a stop that follows an entry's fills once a
second.
"""


class Spell(msgspec.Struct, frozen=True):
    """`ms`: how long, `down`: of it without a service; `faults`: of it (ms) under a ban, or after which fault."""

    ms: int
    down: int
    held: Held
    faults: tuple[tuple[str, int], ...] = ()


class Bareness(msgspec.Struct, frozen=True):
    """One trade: its time without a stop in all (ms), and its longest spell. `faulted`: a fault met it."""

    total: int
    longest: Spell
    faulted: bool


class Watch:
    """Follows one trade after the other. `kinds`: every fault of the run, as it is counted."""

    def __init__(self, kinds: list[str], *, pushed: bool) -> None:
        self.trades: list[Bareness] = []
        self._kinds = kinds
        self._nothing = Held.NOTHING if pushed else Held.POLLED
        self._open = False
        self._faults_before = 0
        self._begin(0)

    def _begin(self, now: int) -> None:
        self._total = 0
        self._longest = Spell(0, 0, self._nothing)
        self._bare_at: int | None = None
        self._clock = now
        self._down = 0
        self._met: AbstractSet[Held] = frozenset()
        self._last: AbstractSet[Held] = frozenset()
        self._working = 0  # ms of the spell in which a half filled target was at work
        self._kinds_at = 0
        self._by_fault: Counter[str] = Counter()

    def opened(self, faults_before: int) -> None:
        """A trade has had its first fill; `faults_before`: how many faults there had been when its signal was taken."""
        self.over(self._clock)  # one that nobody follows any more
        self._begin(self._clock)
        self._open = True
        self._faults_before = faults_before

    def see(self, now: int, *, bare: bool, met: AbstractSet[Held], alive: bool, banned: bool) -> None:
        """What holds from now on, and what of `ALLOWED` is `met`. `alive`: whether there was a service until now, and
        `banned`: whether it could send nothing.
        """
        if not self._open:
            return
        if self._bare_at is not None:
            passed = now - self._clock
            self._down += 0 if alive else passed
            self._by_fault[BAN if banned else self._latest()] += passed
            self._working += passed if Held.TARGET in self._last else 0
            self._met = self._met | met
            if not bare:
                self._end(now)
        elif bare:
            self._bare_at, self._down, self._met, self._kinds_at = now, 0, met, len(self._kinds)
            self._working = 0
            self._by_fault.clear()
        self._clock, self._last = now, met

    def _latest(self) -> str:
        """The latest fault that was not merely a part filled."""
        return next((kind for kind in reversed(self._kinds) if kind != "partial_fill"), "none")

    def _end(self, now: int) -> None:
        if self._bare_at is None:
            return
        spell = now - self._bare_at
        self._bare_at = None
        self._total += spell
        if spell >= self._longest.ms:
            self._longest = Spell(spell, self._down, self._held(spell), tuple(self._by_fault.most_common(3)))

    def _held(self, spell: int) -> Held:
        if self._down:
            return Held.DOWN
        if self._working * 2 > spell:
            return Held.TARGET
        if len(self._kinds) > self._kinds_at or self._by_fault[BAN]:
            return Held.FAULTS
        if self._kinds:
            return next((held for held in ALLOWED[:3] if held in self._met), Held.FAULTS)
        allowed = ALLOWED if self._nothing is Held.NOTHING else ALLOWED[:3]
        return next((held for held in allowed if held in self._met), self._nothing)

    def over(self, now: int) -> None:
        """The trade has ended, or nobody follows it any more."""
        if self._open:
            self._end(now)
            self._open = False
            faulted = len(self._kinds) > self._faults_before
            if not self._longest.ms and self._kinds:
                self._longest = Spell(0, 0, Held.FAULTS)
            self.trades.append(Bareness(self._total, self._longest, faulted))


class Exposures:
    """Sums over many runs."""

    def __init__(self) -> None:
        self.longest: Counter[tuple[Held, int]] = Counter()
        self.totals: Counter[tuple[Held, int]] = Counter()
        self.sums: Counter[Held] = Counter()
        self.worst: dict[Held, list[tuple[int, int, Spell]]] = {}

    def add(self, seed: int, trades: list[Bareness]) -> None:
        for trade in trades:
            held = trade.longest.held
            self.longest[held, _column(trade.longest.ms)] += 1
            self.totals[held, _column(trade.total)] += 1
            self.sums[held] += trade.total
            self._take(held, (trade.longest.ms, seed, trade.longest))

    def _take(self, held: Held, worst: tuple[int, int, Spell]) -> None:
        ranked = sorted([*self.worst.get(held, []), worst], key=lambda each: each[:2], reverse=True)
        self.worst[held] = ranked[:WORST]

    def merge(self, other: "Exposures") -> None:
        self.longest.update(other.longest)
        self.totals.update(other.totals)
        self.sums.update(other.sums)
        for held, worst in other.worst.items():
            for each in worst:
                self._take(held, each)

    def table(self) -> str:
        """Trades by the time without a stop: each one's longest spell, and its time in all."""
        bounds = [f"<={edge / 1000:g} s" for edge in EDGES_MS] + [f">{EDGES_MS[-1] / 1000:g} s"]
        head = f"{'':37}" + "".join(f"{bound:>9}" for bound in bounds) + f"{'mean':>10}{'most':>10}  seed"
        lines = [head]
        for held in Held:
            count = sum(n for (each, _), n in self.longest.items() if each is held)
            if not count:
                continue
            ms, seed, _ = self.worst[held][0]
            for name, found in (("longest spell", self.longest), ("in all", self.totals)):
                row = "".join(f"{found[held, column]:9}" for column in range(len(bounds)))
                lines.append(f"{held:24}{name:13}{row}")
            mean = self.sums[held] / count / 1000
            lines[-1] += f"{mean:8.2f} s"
            lines[-2] += f"{'':10}{ms / 1000:8.1f} s  {seed}"
        for held in (Held.FAULTS, Held.DOWN):
            lines += [f"{held}: {_told(seed, spell)}" for _, seed, spell in self.worst.get(held, [])]
        return "\n".join(lines)


def _told(seed: int, spell: Spell) -> str:
    """A spell, and how long of it was under a ban or after which fault."""
    after = ", ".join(f"{ms / 1000:.1f} s {kind}" for kind, ms in spell.faults)
    return f"{spell.ms / 1000:.1f} s, {spell.down / 1000:.1f} s of it down: {after}; seed {seed}"


def _column(ms: int) -> int:
    return next((i for i, edge in enumerate(EDGES_MS) if ms <= edge), len(EDGES_MS))
