"""One symbol's line to an account that it shares: pushes go to whom they concern, a ban is for all, and loans take
their turns as the service has it.
"""

from collections.abc import Callable

from msgspec.structs import replace
from tests.sim.faults import Faults
from tests.sim.margin import MarginDirect
from tests.sim.setup import Setup
from tests.sim.timeline import ServiceClock, Timeline
from tests.sim.wire import Deliver, Wire

from executor.core.model.events import AnyEvent, LoansSeen, MarginSeen
from executor.core.model.facts import Done, Refused, ReplaceOutcome
from executor.core.model.intents import Command, LoanCommand, MarginRead, OrderCommand, Read
from executor.exchange.neighbours import NOT_ITS_TURN, LookBeside, Neighbours
from executor.paper.engine.model import ExecutionReport
from executor.simulate.direct import Direct


class SymbolWire(Wire):
    """`account`: the lines of all its symbols, to which this one is added; `on_done` hears what the exchange itself
    made of each request. `neighbours`: of a cross account, in this life of the process.
    """

    def __init__(
        self,
        timeline: Timeline,
        clock: ServiceClock,
        direct: Direct,
        faults: Faults,
        setup: Setup,
        account: list["SymbolWire"],
    ) -> None:
        super().__init__(timeline, clock, direct, faults, setup)
        self.account = account
        self.neighbours: Neighbours | None = None
        self.on_done: Callable[[OrderCommand, Done | Refused | ReplaceOutcome], None] = lambda _, __: None
        account.append(self)

    def deliver_pushes(self) -> None:
        now = self.timeline.now
        for wire in self.account:
            if isinstance(wire.direct, MarginDirect):
                wire.direct.engine.margin.advance(now)
                wire.direct.remember(now)
        reports = self.drained()
        for wire in self.account if reports else ():
            wire.take([report for report in reports if report.order.symbol == wire.direct.symbol])

    def take(self, reports: list[ExecutionReport]) -> None:
        """Balances are of all of them; what was traded is not."""
        if reports:
            super().take(reports)
        else:
            self.remember_balances()

    def done(self, request: OrderCommand) -> Done | Refused | ReplaceOutcome:
        outcome = super().done(request)
        self.on_done(request, outcome)
        return outcome

    def _ban(self) -> None:
        super()._ban()
        for wire in self.account:
            wire.banned_until = self.banned_until

    def _ban_heard(self) -> None:
        for wire in self.account:
            Wire._ban_heard(wire)

    # --- loans -------------------------------------------------------------------------------------------------------

    def _command(self, request: Command, deliver: Deliver, decided: int) -> None:
        if isinstance(request, LoanCommand) and self.neighbours is not None and not self.neighbours.take_turn():
            self._answer(request, NOT_ITS_TURN, self.timeline.now, deliver)
        else:
            super()._command(request, deliver, decided)

    def _read(self, request: Read, deliver: Deliver, asked_at: int, kind: str) -> None:
        if isinstance(request, MarginRead) and self.neighbours is not None:
            deliver = _beside(self.neighbours, deliver)
        super()._read(request, deliver, asked_at, kind)


def _beside(neighbours: Neighbours, deliver: Deliver) -> Deliver:
    """`deliver` with what the others have to do with it, as the adapter has it."""
    look = LookBeside(neighbours)

    def told(event: AnyEvent) -> None:
        match event:
            case MarginSeen():
                event = replace(event, account=look.over(event.account))
            case LoansSeen():
                records = neighbours.not_theirs(event.kind, event.records)
                event = replace(event, account=look.over(event.account), records=records)
            case _:
                pass
        deliver(event)

    return told
