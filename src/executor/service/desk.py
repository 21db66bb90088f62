"""One symbol's desk: takes events one at a time, and has the new state on disk before anything leaves (rule 8.1)."""

from collections.abc import Callable
from importlib import metadata

import structlog
from msgspec.structs import replace

from executor.core.events import AnyEvent
from executor.core.guard import advance
from executor.core.policy import Policy
from executor.core.rules import SymbolRules
from executor.core.state import Closed, State
from executor.core.transition import Step
from executor.core.wake import next_wake
from executor.service.document import differs, document_of
from executor.service.journal import Journal, JournalError
from executor.service.records import Began, Record, Took
from executor.service.store import StateStore

log = structlog.get_logger(__name__)


class Desk:
    """`take` and `commit` may raise StateUnwritable: then nothing has changed and nothing may be sent; the event can be
    taken again.

    `on_closed` hears of each finished trade, after it is on disk.
    """

    def __init__(
        self,
        state: State,
        policy: Policy,
        rules: SymbolRules,
        store: StateStore,
        journal: Journal,
        on_closed: Callable[[Closed], None],
    ) -> None:
        self.state = state
        self.policy = policy
        self.rules = rules
        self._store = store
        self._journal = journal
        self._journal_whole = False
        self._on_closed = on_closed
        self._unwritten: Took | None = None
        self._unheard: Closed | None = None
        self._committed = False
        self._behind = False
        """The state on disk is older than the one in memory, which owes nothing yet."""
        self._note("start")

    def take(self, event: AnyEvent) -> Step:
        """`commit`, and then `write_down`."""
        step = self.commit(event)
        self.write_down()
        return step

    def commit(self, event: AnyEvent, *, more: bool = False) -> Step:
        """The step that `event` makes, its state on disk: its requests may be sent. `write_down` is still owed.

        Where `more` events wait already, a step that owes nothing and ends nothing shares the disk's next sync with
        theirs: rule 8.1 asks for the state before a request leaves, and a restart finds out the rest anew.
        """
        self.write_down()
        before = self.state
        if event.at < before.market.now:
            # A clock that was set back: time stands still for the trade, and the journal holds what the trade saw.
            event = replace(event, at=before.market.now)
        step = advance(before, event, self.policy, self.rules)
        closed = step.state.last_closed if step.state.last_closed is not before.last_closed else None
        changed = differs(before, step.state)
        checksum = ""
        if (changed or self._behind) and not (more and not step.requests and closed is None):
            checksum = self._store.commit(document_of(step.state))
            self._committed, self._behind = True, False
        elif changed:
            self._behind = True
        self.state = step.state
        if changed or step.requests or step.notes or _market_moved(before, step.state):
            self._unwritten = Took(event=event, sum=checksum)
        self._unheard = closed
        return step

    def write_down(self) -> None:
        """What follows a step and need not be done before its requests leave: the journal, the list of trades."""
        if self._unwritten is not None:
            record, self._unwritten = self._unwritten, None
            self._record(record)
        if self._unheard is not None:
            closed, self._unheard = self._unheard, None
            self._on_closed(closed)

    def settle(self) -> None:
        """Leave the state file in order, alone and synced: for the end of a run. Raises StateUnwritable."""
        self.write_down()
        if self._committed or self._behind:
            self._store.save(document_of(self.state))
            self._committed = self._behind = False

    def change_rules(self, rules: SymbolRules) -> None:
        """The exchange changed the symbol's filters or fees."""
        self.write_down()
        self.rules = rules
        self._note("rules changed")

    def next_wake(self) -> int | None:
        return next_wake(self.state, self.policy)

    def _note(self, why: str) -> None:
        began = Began(
            version=metadata.version("executor"), why=why, policy=self.policy, rules=self.rules, state=self.state
        )
        self._journal_whole = True
        self._write(began)

    def _record(self, record: Record) -> None:
        if not self._journal_whole:
            self._note("the journal was interrupted")
            return  # the new base holds what this event did
        self._write(record)

    def _write(self, record: Record) -> None:
        try:
            self._journal.append(record)
        except JournalError as error:
            # The journal explains, the state file protects: trading goes on, and the gap is marked when it can be.
            if self._journal_whole:
                log.error("journal_interrupted", error=str(error))
            self._journal_whole = False


def _market_moved(before: State, after: State) -> bool:
    """Whether a fact of the moment, time itself aside, is another one now: later decisions may rest on it."""
    return replace(before.market, now=0) != replace(after.market, now=0)
