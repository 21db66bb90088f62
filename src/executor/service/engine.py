"""One symbol's engine: takes events one at a time, and has the new state on disk before anything leaves (rule 8.1)."""

import contextlib
from collections.abc import Callable, Collection
from functools import cache
from importlib import metadata
from typing import Final

import structlog
from msgspec.structs import replace

from executor.core.absorb.clock import moment
from executor.core.decide.timers import next_timer
from executor.core.guard import judged
from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
    Answered,
    AnyEvent,
    BalancesSeen,
    KlinesSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    SignalMalformed,
    SignalSeen,
    Tick,
    TradesSeen,
)
from executor.core.model.intents import Command, Level, Notify
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closed, State
from executor.core.model.verdict import MOVED, Refusal
from executor.core.transition import Step, transition
from executor.service.store.codec import CodecError
from executor.service.store.document import differs, document_of
from executor.service.store.journal import Journal, JournalError
from executor.service.store.layouts import LAYOUT
from executor.service.store.port import StoreUnwritable, SymbolStore
from executor.service.store.records import Began, Record, Took
from executor.service.unwritable import stand_in

log = structlog.get_logger(__name__)

_TOLD_AGAIN: Final = (
    Absent
    | AllOrdersSeen
    | Answered
    | BalancesSeen
    | KlinesSeen
    | OpenOrdersSeen
    | QuoteSeen
    | ReadFailed
    | Reported
    | Tick
    | TradesSeen
)
"""What the exchange or the clock says: a restart is told it again (rule 9.1)."""


class Engine:
    """`take` and `commit` may raise StateUnwritable: then nothing has changed and nothing may be sent; the event can be
    taken again.

    `on_closed` is called with each finished trade, after it is on disk. `owner`: in a fleet the epoch and the node, for
    the journal.
    """

    def __init__(
        self,
        state: State,
        policy: Policy,
        rules: SymbolRules,
        store: SymbolStore,
        journal: Journal,
        on_closed: Callable[[Closed], None],
        *,
        owner: tuple[int, str] = (0, ""),
    ) -> None:
        self.state = state
        self._owner = owner
        self.policy = policy
        self.rules = rules
        self._store = store
        self._journal = journal
        self.journal_path = journal.path
        self._journal_whole = False
        self._journal_told = False
        """That it is interrupted has been told."""
        self._written = state
        """What the disk held last."""
        self._on_closed = on_closed
        self._unwritten: Took | None = None
        self._unproven: tuple[State, AnyEvent, SymbolRules] | None = None
        """The state before the last step, and its event, until the invariants have been looked at."""
        self._unlisted: Closed | None = None
        self.on_decided: list[Callable[[State, AnyEvent, Step], None]] = []
        """Each is called with every step that has notes, before its state is on disk: with the state before it, and its
        event.
        """
        self._told: AnyEvent | None = None
        self._behind = False
        """The state on disk is older than the one in memory, which owes nothing yet."""
        self._perishable = False
        """It is there, but a power cut would take it."""
        self._in_order = True
        """The state file holds it, alone and synced."""
        self.unpublished = False
        """The store was given something since it was last told to show what it has."""
        self._note("start")

    def take(self, event: AnyEvent) -> Step:
        """`commit`, `proven`, `write_down` and `publish`."""
        step = self.proven(self.commit(event))
        self.write_down()
        self.publish()
        return step

    def commit(self, event: AnyEvent, *, more: bool = False, now: int = 0, takes: Collection[str] = ()) -> Step:
        """The step that `event` makes, its state on disk: its requests may be sent. `proven`, `write_down` and
        `publish` follow.

        The state is durable before anything that changes an order leaves (rule 8.1), and where it holds what only we
        know. Facts that the exchange would tell again survive the process, but a power cut only together with the next
        such step; and where `more` events wait already, their write is enough. A step that can't be written at all, on
        any disk, is not made: `unwritable.stand_in` is taken instead. `now`: the exchange's clock, in ms, with which
        the requests are stamped (rule 8.3d); 0: as late as the event. `takes`: signals that are consumed with it.

        Where the store only stages what is committed, `pending` says so, and `written` is to be awaited before anything
        is sent.
        """
        self.write_down()
        if takes:
            self._store.take(takes)
            self._behind = self.unpublished = True
        try:
            return self._commit(event, more=more, now=now)
        except CodecError as error:
            return self._without(event, str(error), now)

    def _without(self, event: AnyEvent, why: str, now: int) -> Step:
        """Go back to what is written, and on from there without what can't be. What is lost of facts is heard again."""
        halted = self._written
        if not halted.halted:
            halted = replace(halted, halted=f"an event can't be written down: {why}")
            self._keep(halted)
            self._perishable, self._in_order = False, False
        self.state, self._written = halted, halted
        self._behind, self._journal_whole = False, False
        note = Notify(Level.ALERT, "event_unwritable", f"{type(event).__name__}: {why}")
        step = Step(halted, (), (), Refusal(why))
        self._tell(halted, event, replace(step, notes=(note,)))
        if (instead := stand_in(event, why)) is not None:
            with contextlib.suppress(CodecError):
                step = self._commit(instead, more=False, now=now)
        return replace(step, notes=(note, *step.notes))

    def _commit(self, event: AnyEvent, *, more: bool, now: int) -> Step:
        before, heard = self.state, event
        # A signal's time names its trade: it is its own, however far ahead.
        clock = 0 if isinstance(event, SignalSeen) else now
        if event.at != (at := moment(before.market.now, event.at, clock)):
            event = replace(event, at=at)  # the journal holds what the trade saw
        step = transition(before, event, self.policy, self.rules, now)
        if step.notes and heard is not self._told:  # once, however often its state can't be written
            self._told = heard
            self._tell(before, event, step)
        closed = step.state.last_closed if step.state.last_closed is not before.last_closed else None
        changed = bool(step.requests) or differs(before, step.state)
        lasting = _lasting(event, before, step, self.policy)
        checksum = ""
        if (lasting and (changed or self._behind or self._perishable)) or ((changed or self._behind) and not more):
            checksum = self._keep(step.state, durable=lasting)
            self._behind, self._perishable, self._in_order = False, not lasting, False
            self._written = step.state
        elif changed:
            self._behind = True
        self.state = step.state
        if changed or step.requests or step.notes or _market_moved(before, step.state):
            self._unwritten = Took(event=event, sum=checksum, now=now if step.requests else 0)
        self._unlisted = closed
        self._unproven = before, event, self.rules
        return step

    def _keep(self, state: State, *, durable: bool = True) -> str:
        self.unpublished = True
        return self._store.commit(document_of(state), durable=durable)

    def proven(self, step: Step) -> Step:
        """`step`, which `commit` gave, once the invariants have been looked at (rule 10): a broken one halts new
        entries, and is told. It would hold back no request of the step, so the requests do not wait for it: until then
        no other event is taken, and a restart looks at all of the state anew.
        """
        if self._unproven is None:
            return step
        (before, event, rules), self._unproven = self._unproven, None
        judgement = judged(before, step, self.policy, rules)
        if len(judgement.notes) > len(step.notes):
            self._tell(before, event, replace(judgement, notes=judgement.notes[len(step.notes) :]))
        if judgement.state.halted != step.state.halted:
            self.state = judgement.state
            self._halt(event)
        return judgement

    def _halt(self, event: AnyEvent) -> None:
        """Have the halt on disk and in the journal; where it can't be written now, with the next step."""
        checksum = ""
        try:
            checksum = self._keep(self.state)
        except StoreUnwritable as error:
            log.error(
                "state_unwritable", alert=True, error=str(error), waiting="the halt is written with the next step"
            )
            self._behind = True
        else:
            self._behind, self._perishable, self._in_order = False, False, False
            self._written = self.state
        took = self._unwritten or Took(event=event, sum="", now=0)
        self._unwritten = replace(took, sum=checksum)

    def _tell(self, before: State, event: AnyEvent, step: Step) -> None:
        for callback in self.on_decided:
            callback(before, event, step)

    def write_down(self) -> None:
        """What follows a step and need not be done before its requests leave: the journal, the list of trades."""
        if self._unproven is not None:
            self.proven(Step(self.state, (), (), MOVED))
        if self._unwritten is not None:
            record, self._unwritten = self._unwritten, None
            self._record(record)
        if self._unlisted is not None:
            closed, self._unlisted = self._unlisted, None
            self._on_closed(closed)

    @property
    def publish_after_s(self) -> float:
        """So much later the store shows a step that nothing was sent for."""
        return self._store.publish_after_s

    @property
    def pending(self) -> bool:
        return self._store.pending

    async def written(self) -> None:
        """Return once all that was committed is in the store. Raises Fenced, StoreUnwritable."""
        await self._store.written()

    def publish(self) -> None:
        """Have the state file show the state. May run in a thread beside everything else; raises StateUnwritable."""
        self.unpublished = False
        self._store.publish()

    def settle(self) -> None:
        """Leave the state file in order, alone and synced: for the end of a run. Raises StateUnwritable."""
        self.write_down()
        if self._behind or not self._in_order:
            try:
                self._store.save(document_of(self.state))
            except CodecError:
                self._store.save(document_of(self._written))
            self._behind, self._perishable, self._in_order = False, False, True

    def change_rules(self, rules: SymbolRules) -> None:
        """The exchange changed the symbol's filters, fees or status: the next decision is made anew."""
        self.write_down()
        self.rules = rules
        self.state = replace(self.state, market=replace(self.state.market, quiet=None))
        self._note("rules changed")

    def begin_with(self, state: State) -> None:
        """Go on from `state` instead, which is newer; no event has been taken."""
        self.state = state
        self._note("caught up")

    def next_timer(self) -> int | None:
        return next_timer(self.state, self.policy)

    def _note(self, why: str) -> None:
        began = Began(
            layout=LAYOUT,
            version=_version(),
            why=why,
            policy=self.policy,
            rules=self.rules,
            state=self.state,
            epoch=self._owner[0],
            node=self._owner[1],
        )
        self._journal_whole = self._write(began)

    def _record(self, record: Record) -> None:
        if not self._journal_whole:
            self._note("the journal was interrupted")
            return  # the new base holds what this event did
        self._journal_whole = self._write(record)

    def _write(self, record: Record) -> bool:
        """Whether it is in the journal now. The journal explains, the state file protects: where it can't be written,
        trading goes on, and the gap is marked when it can be.
        """
        try:
            self._journal.append(record)
        except (JournalError, CodecError) as error:
            if not self._journal_told:
                log.error("journal_interrupted", error=str(error))
            self._journal_told = True
            return False
        if self._journal_told:
            log.info("journal_goes_on")
        self._journal_told = False
        return True


@cache
def _version() -> str:
    return metadata.version("executor")


def _lasting(event: AnyEvent, before: State, step: Step, policy: Policy) -> bool:
    """Whether a power cut must not undo the step."""
    return (
        any(isinstance(request, Command) for request in step.requests)
        or not (isinstance(event, _TOLD_AGAIN) or _refused_again(event, policy))
        or step.state.last_closed is not before.last_closed
        or step.state.halted != before.halted
    )


def _refused_again(event: AnyEvent, policy: Policy) -> bool:
    """A signal that is refused as surely when it is read once more: nothing but its count is lost with it."""
    match event:
        case SignalMalformed():
            return True
        case SignalSeen():
            return event.at - event.signal.at > policy.max_signal_age_ms
        case _:
            return False


def _market_moved(before: State, after: State) -> bool:
    """Whether a fact of the moment, time itself aside, is another one now: later decisions may rest on it."""
    return replace(before.market, now=0) != replace(after.market, now=0)
