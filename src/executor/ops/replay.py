"""The journal told again: every event through the same transition, every state compared with the one that was saved."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from executor.core.guard import advance
from executor.core.model.events import AnyEvent
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.transition import Step
from executor.service.store.document import differs, document_of
from executor.service.store.journal import Entry, JournalReader
from executor.service.store.layouts import checksum_in
from executor.service.store.records import Began, Record, Took


class Segment(msgspec.Struct):
    """What one base record carries: a start, a change of rules, the end of a gap. `break_` says why the state before
    it is not the one it begins with, empty when it is. `epoch`, `node`: of whoever owned the account, in a fleet.
    """

    n: int
    where: str
    why: str
    version: str
    layout: int
    break_: str = ""
    events: int = 0
    states: int = 0
    mismatches: int = 0
    epoch: int = 0
    node: str = ""


class Mismatch(msgspec.Struct, frozen=True):
    """A state that did not come out as it was saved. `where`: file and line."""

    n: int
    where: str
    event: str
    text: str


class Told(msgspec.Struct, frozen=True):
    """One event of the journal, and the step it makes. `mismatch` is None when its state is the one that was saved."""

    n: int
    where: str
    event: AnyEvent
    step: Step
    mismatch: Mismatch | None


class Replay:
    """Iterate it to replay: yields each event; `segments`, `mismatches` and `cut` are complete after that. Several
    `paths` are the journals that the nodes of a fleet have of one symbol: told in the order of their epochs.

    Iterating raises JournalCorrupt or JournalError for a journal that can't be read. `skipped` counts the events at its
    beginning whose base went with a file that was rotated away.
    """

    def __init__(self, *paths: Path) -> None:
        self.segments: list[Segment] = []
        self.mismatches: list[Mismatch] = []
        self.skipped = 0
        self._readers: list[JournalReader[Record]] = [
            JournalReader(path, Record)  # type: ignore[arg-type]  # a union is no class
            for path in paths
        ]

    @property
    def cut(self) -> str:
        """What the last line lacks, empty when it is whole."""
        return "; ".join(reader.cut for reader in self._readers if reader.cut)

    @property
    def events(self) -> int:
        return sum(segment.events for segment in self.segments)

    @property
    def states(self) -> int:
        """How many saved states were made again."""
        return sum(segment.states for segment in self.segments)

    def __iter__(self) -> Iterator[Told]:
        several = len(self._readers) > 1
        return self._tell(_joined(self._readers) if several else self._readers[0], several=several)

    def _tell(self, entries: Iterable[Entry[Record]], *, several: bool) -> Iterator[Told]:
        state: State | None = None
        policy: Policy | None = None
        rules: SymbolRules | None = None
        for entry in entries:
            where = f"{entry.path if several else entry.path.name}:{entry.line}"
            match entry.record:
                case Began() as began:
                    self.segments.append(
                        Segment(
                            entry.n,
                            where,
                            began.why,
                            began.version,
                            began.layout,
                            _broken(state, began) if state else "",
                            epoch=began.epoch,
                            node=began.node,
                        )
                    )
                    state, policy, rules = began.state, began.policy, began.rules
                case Took() as took:
                    if state is None or policy is None or rules is None:
                        self.skipped += 1  # rotation has removed the base that these build on
                        continue
                    step = advance(state, took.event, policy, rules, took.now)
                    segment = self.segments[-1]
                    segment.events += 1
                    segment.states += bool(took.sum)
                    fault = _compare(step.state, took, segment.layout)
                    mismatch = None
                    if fault:
                        mismatch = Mismatch(entry.n, where, type(took.event).__name__, fault)
                        self.mismatches.append(mismatch)
                        segment.mismatches += 1
                    state = step.state
                    yield Told(entry.n, where, took.event, step, mismatch)


def _joined(readers: Sequence[Iterable[Entry[Record]]]) -> Iterator[Entry[Record]]:
    """The entries of all, each owner's time as a whole, by epoch: only one at a time wrote states. What comes before a
    journal's first base stays before everything.
    """
    waiting: list[tuple[int, int, Entry[Record], Iterator[Entry[Record]]]] = []
    for number, reader in enumerate(readers):
        entries = iter(reader)
        if (first := next(entries, None)) is not None:
            heapq.heappush(waiting, (_epoch(first, -1), number, first, entries))
    while waiting:
        epoch, number, entry, entries = heapq.heappop(waiting)
        yield entry
        for following in entries:
            later = _epoch(following, epoch)
            if later > epoch:
                heapq.heappush(waiting, (later, number, following, entries))
                break
            yield following


def _epoch(entry: Entry[Record], current: int) -> int:
    """In which it was written; an event in that of its base."""
    return entry.record.epoch if isinstance(entry.record, Began) else current


def _compare(after: State, took: Took, layout: int) -> str:
    """A step that owed nothing may have shared the save of a later one: that one's checksum speaks for both."""
    if not took.sum:
        return ""
    found = checksum_in(layout, document_of(after))
    return "" if found == took.sum else f"the saved state has checksum {took.sum[:12]}…, this one {found[:12]}…"


def _broken(before: State, began: Began) -> str:
    """A change of rules goes on from the very state; a start from what was on disk."""
    if began.why == "rules changed":
        return "" if before == began.state else "the rules changed in another state than the one before"
    if not differs(before, began.state):
        return ""
    if began.node:
        return f"{began.node} took over from a state that the journal before it does not end with (see docs/fleet.md)"
    return "begins with another state than the last one in the journal (a crash, or a state file put in its place)"
