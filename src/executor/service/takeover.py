"""The operator's word on orders that could not be rebuilt (rule 9.3): first what it would do, then doing it."""

from decimal import Decimal

import msgspec

from executor.core.absorb.takeover import Takeover, judge
from executor.core.model.events import Resolve, Resolved
from executor.core.model.verdict import Ignored, Moved, Refusal
from executor.exchange.port import Exchange, ReadError
from executor.service.loop import Loop
from executor.service.recovery import look_back


class Wish(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is wanted of which trade; empty where there is only one. Prices in quote per base."""

    how: Resolve
    trade: str = ""
    stop: Decimal | None = None
    targets: tuple[Decimal, ...] = ()


class Word(msgspec.Struct, frozen=True):
    """`ok`: it can be done, `words` say what will be; else they say why not. `nothing`: it is about nothing."""

    ok: bool
    words: tuple[str, ...]
    nothing: bool = False


def word_of(made: Takeover | Refusal | Ignored) -> Word:
    match made:
        case Takeover():
            return Word(True, made.words)
        case Refusal(why):
            return Word(False, (why,))
        case Ignored(why):
            return Word(False, (why,), nothing=True)


async def evidence(exchange: Exchange, wish: Wish) -> Resolved:
    """The wish with what the exchange shows now. Raises ReadError."""
    shown = await look_back(exchange)
    quote = await exchange.quote()
    return Resolved(
        at=exchange.now(),
        how=wish.how,
        reports=shown.reports,
        fills=shown.fills,
        quote=quote,
        trade=wish.trade,
        stop=wish.stop,
        targets=wish.targets,
    )


async def propose(loop: Loop, wish: Wish) -> Word:
    """What the service would do; nothing is changed."""
    try:
        with loop.at_work():
            event = await evidence(loop.exchange, wish)
    except ReadError as error:
        return _not_asked(error)
    return word_of(judge(loop.state, event, loop.engine.policy, loop.engine.rules))


async def resolve(loop: Loop, wish: Wish) -> Word:
    """Do it: the state is on disk, and the first requests are out, when this returns."""
    try:
        with loop.at_work():
            event = await evidence(loop.exchange, wish)
    except ReadError as error:
        return _not_asked(error)
    step = await loop.ask(event)
    match step.verdict:
        case Moved():
            return Word(True, tuple(note.text for note in step.notes[:1]))
        case Refusal() | Ignored() as verdict:
            return word_of(verdict)


def _not_asked(error: ReadError) -> Word:
    return Word(False, (f"the exchange could not be asked: {error}",))
