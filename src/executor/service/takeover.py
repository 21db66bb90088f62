"""The operator's decision on orders that could not be rebuilt (rule 9.3): first what it would do, then doing it."""

from collections.abc import Callable, Collection

from executor.core.absorb.takeover import Takeover, judge
from executor.core.model.events import Resolved
from executor.core.model.verdict import Ignored, Moved, Refusal
from executor.exchange.port import Exchange, ReadError
from executor.service.asking import TakeoverAnswer, TakeoverRequest
from executor.service.inbox import always
from executor.service.loop import Loop
from executor.service.recovery import read_history


def answer_of(made: Takeover | Refusal | Ignored) -> TakeoverAnswer:
    match made:
        case Takeover():
            return TakeoverAnswer(True, made.lines)
        case Refusal(why):
            return TakeoverAnswer(False, (why,))
        case Ignored(why):
            return TakeoverAnswer(False, (why,), nothing=True)


async def evidence(exchange: Exchange, request: TakeoverRequest) -> Resolved:
    """The request with what the exchange shows now. Raises ReadError."""
    shown = await read_history(exchange)
    quote = await exchange.quote()
    return Resolved(
        at=exchange.now(),
        how=request.how,
        reports=shown.reports,
        fills=shown.fills,
        quote=quote,
        trade=request.trade,
        stop=request.stop,
        targets=request.targets,
    )


async def propose(loop: Loop, request: TakeoverRequest) -> TakeoverAnswer:
    """What the service would do; nothing is changed."""
    try:
        with loop.at_work():
            event = await evidence(loop.exchange, request)
    except ReadError as error:
        return _not_asked(error)
    return answer_of(judge(loop.state, event, loop.engine.policy, loop.engine.rules))


async def resolve(
    loop: Loop, request: TakeoverRequest, takes: Collection[str] = (), wanted: Callable[[], bool] = always
) -> TakeoverAnswer:
    """Do it: the state is on disk, and the first requests are out, when this returns. `takes`: what of a fleet's store
    is consumed with it; `wanted`: as for `Loop.ask`.
    """
    try:
        with loop.at_work():
            event = await evidence(loop.exchange, request)
    except ReadError as error:
        return _not_asked(error)
    step = await loop.ask(event, takes, wanted)
    match step.verdict:
        case Moved():
            return TakeoverAnswer(True, tuple(note.text for note in step.notes[:1]))
        case Refusal() | Ignored() as verdict:
            return answer_of(verdict)


def _not_asked(error: ReadError) -> TakeoverAnswer:
    return TakeoverAnswer(False, (f"the exchange could not be asked: {error}",))
