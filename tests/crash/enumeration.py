"""Every place where the machine can stop, one after the other, in every scenario (rules 8.1, 9.1, 9.2, 10.5).

- Each boundary of the service and the exchange: before and after each save, each request sent, each executed. Once as
  the end of the process; once as a power cut, which takes with it what the service does not wait for.
- Each operation on the disk of each save: a start from what is left finds the old state or the new.
- For the short scenarios also: a start at once, and one when nothing that was sent can arrive any more; every two
  boundaries, the second in the life that the first crash has made; every disk that an operation may leave, and life
  gone on with from each kind of them.

`make crashes` treats every scenario as a short one.
"""

import argparse
import copy
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.service.simdisk import Crashed, SimDisk
from tests.sim.disk import QuickDisk, StoreDisk
from tests.sim.scenarios import ON_MARGIN, SCENARIOS, Scenario, play
from tests.sim.shell import Dead
from tests.sim.world import LONG_DOWN, Result, World

from executor.core.model.intents import Command
from executor.core.model.state import SCHEMA_VERSION, State
from executor.paper.engine.choices import ExchangeChoices
from executor.service.store.document import Document, document_of
from executor.service.store.state_store import StateError, StateStore


class Tally(msgspec.Struct):
    """`boundaries`: by kind, without any crash; `runs`: by what was tried; `broken`: where, and what was violated."""

    scenario: str
    boundaries: dict[str, int] = {}
    runs: dict[str, int] = {}
    broken: dict[str, list[str]] = {}

    def add(self, kind: str, where: object, result: Result) -> None:
        self.runs[kind] = self.runs.get(kind, 0) + 1
        if result.broken:
            self.broken[f"{kind} at {where}"] = result.broken


class Counted(World):
    """Knows its boundaries by kind."""

    def boundary(self, where: str, state: State) -> None:
        self.kinds[where] += 1
        super().boundary(where, state)

    def _executed(self) -> None:
        self.kinds["executed"] += 1
        super()._executed()

    kinds: Counter[str]


class Marked(World):
    """Knows the boundaries (`same`) at which nothing has happened outside of the service since the one before: no time
    passed, nothing was saved, sent, executed or put off. A crash there leaves the same disk, exchange and network, so
    what follows is the same run: it is played once, and counts for both.
    """

    def boundary(self, where: str, state: State) -> None:
        self._compare(after_save=where == "persisted")
        super().boundary(where, state)

    def _executed(self) -> None:
        self._compare(after_save=True)
        super()._executed()

    def _compare(self, *, after_save: bool) -> None:
        mark = self.timeline.now, self.timeline.asked, self.crashes
        if mark == self._mark and not after_save:
            self.same.add(self.boundaries + 1)
        self._mark = mark

    _mark = (0, 0, 0)
    same: set[int]


class PowerCut(QuickDisk):
    """Keeps what the service waits for before it goes on: a state that owes the exchange a change, or holds what nobody
    would tell again. Facts are gone after a crash. `keeps_all`: there are none of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: State | None = None

    @property
    def keeps_all(self) -> bool:
        return self.current is self._kept

    def save(self, state: State) -> None:
        super().save(state)
        if self._kept is None or _own(state) != _own(self._kept) or _commands(state) - _commands(self._kept):
            self._kept = state

    def cut(self) -> None:
        self.current = self._kept


class Spared(World):
    """Notes of each crash whether a power cut at its place would have left the same."""

    def crash(self, down: int = 0) -> None:
        if self.shell.alive and isinstance(self.disk, PowerCut):
            self.spared.append(self.disk.keeps_all)
        super().crash(down)

    spared: list[bool]


class Cut(World):
    """Each crash is a power cut."""

    def crash(self, down: int = 0) -> None:
        if self.shell.alive and isinstance(self.disk, PowerCut):
            self.disk.cut()
        super().crash(down)


class Older(World):
    """Each crash leaves the state file damaged: its predecessor is used (rule 9.2)."""

    def crash(self, down: int = 0) -> None:
        if self.shell.alive:
            self._rot()
        super().crash(down)


class Lost(World):
    """Each crash takes the disk with it (rule 9.3)."""

    def crash(self, down: int = 0) -> None:
        if self.shell.alive and isinstance(self.disk, QuickDisk):
            self.disk.wipe()
            self._forget()
            down = down if self.wire.order_history() else LONG_DOWN
        super().crash(down)


def _commands(state: State) -> set[int]:
    return {owed.request.seq for owed in state.outbox if isinstance(owed.request, Command)}


def _own(state: State) -> tuple[object, ...]:
    position = state.position
    trade = (position.trade, position.manual_stop) if position is not None else None
    return (trade, state.last_closed, state.paused, state.halted, state.seen, state.refused, state.started)


class Tried(msgspec.Struct, frozen=True):
    """What came of one thing that was tried at a boundary. `down`: how long it was down, as `play` has it; `again`: the
    second crash, so many boundaries later.
    """

    kind: str
    result: Result
    down: int = 0
    again: int = 0

    def add(self, tally: Tally, at: int) -> None:
        more = (at + self.again,) if self.again else (self.down,) if self.down else ()
        tally.add(self.kind, (at, *more) if more else at, self.result)


def enumerate_all(scenario: Scenario, *, short: bool | None = None) -> Tally:
    """Everything above. `short`: whether to treat it as a short one."""
    short = scenario.short if short is None else short
    tally = Tally(scenario.name)
    kinds: Counter[str] = Counter()
    play(scenario, world=_counting(kinds))
    tally.boundaries = dict(kinds)
    quiet, same = marked(scenario)
    tally.add("no crash", "all", quiet)
    tried: list[Tried] = []
    for at in range(1, quiet.boundaries + 1):
        if at not in same:
            tried = list(_try_all(scenario, at, short=short))
        for each in tried:
            each.add(tally, at)
    disk = EveryDisk(every=short)
    tally.add("stopped while saving", "all", play(scenario, disk=disk))
    tally.runs["stopped while saving"] = disk.operations
    tally.runs["disks left"] = disk.disks
    if disk.broken:
        tally.broken["stopped while saving"] = disk.broken
    for nth, left in disk.kinds if short else ():
        tally.add(
            "lived on from a disk", (nth, sorted(path.name for path in left.names)), _live_on(scenario, nth, left)
        )
    return tally


def _try_all(scenario: Scenario, at: int, *, short: bool) -> Iterator[Tried]:
    """At one boundary; where a power cut takes nothing it is the same run as the end of the process."""
    same: set[int] = set()
    spared: list[bool] = []
    noting = type("Noting", (Marked, Spared), {"same": same, "spared": spared})
    once = play(scenario, crash_at=(at,), disk=PowerCut(), world=noting)
    yield Tried("one crash", once)
    takes_nothing = bool(spared) and all(spared)
    yield Tried("a power cut", once if takes_nothing else play(scenario, crash_at=(at,), disk=PowerCut(), world=Cut))
    if not short:
        return
    for down in (1, 2):
        yield Tried("started sooner or later", play(scenario, crash_at=(at,), down=down), down=down)
    twice = once
    for again in range(at + 1, once.boundaries + 1):
        if again not in same:
            twice = play(scenario, crash_at=(at, again))
        yield Tried("two crashes", twice, again=again - at)


def marked(scenario: Scenario, **how: Any) -> tuple[Result, set[int]]:
    """The run, and at which of its boundaries a crash leaves the same as at the one before."""
    same: set[int] = set()
    return play(scenario, world=type("Marking", (Marked,), {"same": same}), **how), same


def each_crash(scenario: Scenario, **how: Any) -> Iterator[tuple[int, Result]]:
    """Each boundary, and what came of the end of the process there."""
    result, same = marked(scenario, **how)
    for at in range(1, result.boundaries + 1):
        if at not in same:
            result = play(scenario, crash_at=(at,), **how)
        yield at, result


def under(scenario: Scenario, exchange: ExchangeChoices) -> Tally:
    """Each boundary once, on an exchange that reads the documents as `exchange` does."""
    tally = Tally(scenario.name)
    tally.add("no crash", "all", play(scenario, exchange=exchange))
    for at, once in each_crash(scenario, exchange=exchange):
        tally.add("one crash", at, once)
    return tally


def without_the_newest(scenario: Scenario, exchange: ExchangeChoices) -> Tally:
    """Each boundary once, with its state one save behind and with none in turns."""
    tally = Tally(scenario.name)
    for at in range(1, play(scenario, exchange=exchange).boundaries + 1):
        kind, world = ("one save behind", Older) if at % 2 else ("no state", Lost)
        tally.add(kind, at, play(scenario, crash_at=(at,), exchange=exchange, world=world))
    return tally


def sampled(scenario: Scenario, *, cuts: int, pairs: int) -> Tally:
    """Of a long scenario each `cuts`th boundary as a power cut, and of two crashes each `pairs`th and, in the life that
    it has made, each `pairs`th after it.
    """
    tally = Tally(scenario.name)
    quiet = play(scenario)
    tally.add("no crash", "all", quiet)
    for at in range(1, quiet.boundaries + 1, cuts):
        tally.add("a power cut", at, play(scenario, crash_at=(at,), disk=PowerCut(), world=Cut))
    for at in range(1, quiet.boundaries + 1, pairs):
        once = play(scenario, crash_at=(at,))
        for again in range(at + 1 + at % pairs, once.boundaries + 1, pairs):
            tally.add("two crashes", (at, again), play(scenario, crash_at=(at, again)))
    return tally


def _counting(kinds: Counter[str]) -> type[World]:
    return type("Counting", (Counted,), {"kinds": kinds})


class EveryDisk(StoreDisk):
    """Before each save, on copies: the same save, stopped at each of its operations, and the disks that this leaves.
    Those where nothing and where all of what was not synced survives; `every`: all of them.

    `kinds`: one of each kind of disk, and the number of the save.
    """

    def __init__(self, *, every: bool) -> None:
        super().__init__(SimDisk())
        self.operations = 0
        self.disks = 0
        self.broken: list[str] = []
        self.kinds: list[tuple[int, SimDisk]] = []
        self._every = every
        self._saves = 0
        self._last: State | None = None

    def save(self, state: State) -> None:
        self._saves += 1
        known: set[tuple[bool, str, frozenset[Path]]] = set()
        for left in self._left(state):
            self.disks += 1
            try:
                found = StateStore(self.PATH, schema_version=SCHEMA_VERSION, fs=copy.deepcopy(left)).load(Document)
            except StateError as error:
                self.broken.append(f"save {self._saves}: {error}")
                continue
            value = None if found is None else found.value
            new = value == document_of(state)
            if not new and value != (None if self._last is None else document_of(self._last)):
                self.broken.append(f"save {self._saves}: neither the old state nor the new")
            kind = (new, "" if found is None else found.source, frozenset(left.names))
            if kind not in known:
                known.add(kind)
                self.kinds.append((self._saves, left))
        super().save(state)
        self._last = state

    def _left(self, state: State) -> Iterator[SimDisk]:
        """Each once."""
        seen: set[tuple[tuple[Path, bytes], ...]] = set()
        for stop in count():
            trial = StoreDisk(copy.deepcopy(self.disk))
            trial.disk.operations_left = stop
            try:
                trial.save(state)
            except Crashed:
                self.operations += 1
            else:
                return
            for left in trial.disk.after_crash() if self._every else _extremes(trial.disk):
                shape = tuple(sorted((path, inode.content) for path, inode in left.names.items()))
                if shape not in seen:
                    seen.add(shape)
                    yield left


def _extremes(disk: SimDisk) -> Iterator[SimDisk]:
    yield next(disk.after_crash())
    disk.operations_left = None
    disk.write_out()
    yield disk


class Left(StoreDisk):
    """The real store, whose `nth` save ends with the disk as `left`."""

    def __init__(self, nth: int, left: SimDisk) -> None:
        super().__init__(SimDisk())
        self.crash: Callable[[], None] = lambda: None
        self._nth = nth
        self._left = left

    def save(self, state: State) -> None:
        self._nth -= 1
        if self._nth:
            super().save(state)
            return
        self.mount(self._left)
        self.crash()
        raise Dead


def _live_on(scenario: Scenario, nth: int, left: SimDisk) -> Result:
    disk = Left(nth, left)
    return play(scenario, disk=disk, stops=disk)


def as_text(tallies: Iterable[Tally]) -> str:
    lines, boundaries, runs, broken = [], Counter[str](), Counter[str](), 0
    for tally in tallies:
        boundaries.update(tally.boundaries)
        runs.update(tally.runs)
        broken += len(tally.broken)
        lines.append(f"{tally.scenario:40} {_words(tally.boundaries)}; {_words(tally.runs)}")
        lines += [f"    {where}: {'; '.join(what)}" for where, what in tally.broken.items()]
    lines.append(f"boundaries  {sum(boundaries.values())}: {_words(boundaries)}")
    lines.append(f"tried       {_words(runs)}")
    lines.append(f"violations  {broken}")
    return "\n".join(lines)


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items())


EVERY: Final = (*SCENARIOS, *ON_MARGIN)


def _all_of(n: int) -> Tally:
    return enumerate_all(EVERY[n], short=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Every crash of every scenario, every two of them too.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scenario", action="append", help="only those whose name begins so; may be repeated")
    wanted = parser.parse_args()
    begins = tuple(wanted.scenario or ("",))
    numbers = [n for n, scenario in enumerate(EVERY) if scenario.name.startswith(begins)]
    with multiprocessing.Pool(wanted.processes) as pool:
        tallies = pool.map(_all_of, numbers, chunksize=1)
    sys.stdout.write(as_text(tallies) + "\n")
    if any(tally.broken for tally in tallies):
        sys.exit(1)


if __name__ == "__main__":
    main()
