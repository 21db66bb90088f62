"""How long each trade stood without a stop, as the exchange saw it: from report to report, to the millisecond.

Told by what held the longest spell of a trade: nothing (no fault in the run so far, the service up), the market (it
jumped over the limit of a stop that had triggered), faults while the service was up, or a spell in which it was down.
"""

from collections import Counter
from enum import StrEnum
from typing import Final

import msgspec

EDGES_MS: Final = (0, 100, 250, 1_000, 3_000, 10_000, 30_000, 120_000)
"""Upper bounds of the histogram's columns; what is above the last has one of its own."""


class Held(StrEnum):
    """What kept a trade without a stop."""

    NOTHING = "no fault, pushed"
    POLLED = "no fault, polled"
    MARKET = "stop jumped over"
    FAULTS = "faults, service up"
    DOWN = "service down"


class Spell(msgspec.Struct, frozen=True):
    """`ms`: how long, `down`: how much of it without a service; `faults`: what happened meanwhile."""

    ms: int
    down: int
    held: Held
    faults: tuple[str, ...] = ()


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
        self._jumped = False
        self._kinds_at = 0

    def opened(self, faults_before: int) -> None:
        """A trade has had its first fill; `faults_before`: how many faults there had been when its signal was taken."""
        self.over(self._clock)  # one that nobody follows any more
        self._begin(self._clock)
        self._open = True
        self._faults_before = faults_before

    def see(self, now: int, *, bare: bool, jumped: bool, alive: bool) -> None:
        """What holds from now on. `alive`: whether there was a service until now."""
        if not self._open:
            return
        if self._bare_at is not None:
            self._down += 0 if alive else now - self._clock
            self._jumped = self._jumped or jumped
            if not bare:
                self._end(now)
        elif bare:
            self._bare_at, self._down, self._jumped, self._kinds_at = now, 0, jumped, len(self._kinds)
        self._clock = now

    def _end(self, now: int) -> None:
        if self._bare_at is None:
            return
        spell = now - self._bare_at
        self._bare_at = None
        self._total += spell
        if spell >= self._longest.ms:
            faults = tuple(self._kinds[self._kinds_at :])
            self._longest = Spell(spell, self._down, self._held(), faults if spell > EDGES_MS[-1] else ())

    def _held(self) -> Held:
        if self._down:
            return Held.DOWN
        if len(self._kinds) > self._kinds_at:
            return Held.FAULTS
        if self._jumped:
            return Held.MARKET
        return Held.FAULTS if self._kinds else self._nothing

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
        self.worst: dict[Held, tuple[int, int, Spell]] = {}

    def add(self, seed: int, trades: list[Bareness]) -> None:
        for trade in trades:
            held = trade.longest.held
            self.longest[held, _column(trade.longest.ms)] += 1
            self.totals[held, _column(trade.total)] += 1
            self.sums[held] += trade.total
            self._take(held, (trade.longest.ms, seed, trade.longest))

    def _take(self, held: Held, worst: tuple[int, int, Spell]) -> None:
        if held not in self.worst or worst[:2] > self.worst[held][:2]:
            self.worst[held] = worst

    def merge(self, other: "Exposures") -> None:
        self.longest.update(other.longest)
        self.totals.update(other.totals)
        self.sums.update(other.sums)
        for held, worst in other.worst.items():
            self._take(held, worst)

    def table(self) -> str:
        """Trades by the time without a stop: each one's longest spell, and its time in all."""
        bounds = [f"<={edge / 1000:g} s" for edge in EDGES_MS] + [f">{EDGES_MS[-1] / 1000:g} s"]
        head = f"{'':32}" + "".join(f"{bound:>9}" for bound in bounds) + f"{'mean':>10}{'most':>10}  seed"
        lines = [head]
        for held in Held:
            count = sum(n for (each, _), n in self.longest.items() if each is held)
            if not count:
                continue
            ms, seed, spell = self.worst[held]
            for name, found in (("longest spell", self.longest), ("in all", self.totals)):
                row = "".join(f"{found[held, column]:9}" for column in range(len(bounds)))
                lines.append(f"{held:19}{name:13}{row}")
            mean = self.sums[held] / count / 1000
            lines[-1] += f"{mean:8.2f} s"
            lines[-2] += f"{'':10}{ms / 1000:8.1f} s  {seed}"
            if spell.faults:
                kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(spell.faults).most_common(5))
                lines.append(f"{'':19}the most: {spell.down / 1000:.1f} s of it down; {kinds}")
        return "\n".join(lines)


def _column(ms: int) -> int:
    return next((i for i, edge in enumerate(EDGES_MS) if ms <= edge), len(EDGES_MS))
