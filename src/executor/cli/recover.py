"""`executor adopt` and `executor forget`: what is to become of orders that could not be rebuilt (rule 9.3)."""

import asyncio
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from executor.cli.context import Place, Which, find_place, read_settings
from executor.cli.exchange import not_on_paper, reach
from executor.cli.output import examples, fail
from executor.cli.service import wish_of
from executor.core.absorb.takeover import judge
from executor.core.model.events import Commanded, Resolve, Verb
from executor.core.model.state import Protected, State
from executor.core.transition import empty
from executor.ops import logs
from executor.service import app
from executor.service.inlets.control import NotRunningError
from executor.service.loop import Loop
from executor.service.recovery import from_exchange
from executor.service.store.document import saved, state_of
from executor.service.takeover import Wish, Word, evidence, resolve, word_of

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Trade = Annotated[str, typer.Option("--trade", metavar="ID", help="Which trade, where there are several.")]
Timeout = Annotated[
    int, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for it, without a service.")
]


@examples(
    "executor adopt --stop 99.50",
    "executor adopt --stop 99.50 --targets 101.20,103 --yes",
    "executor adopt --trade 1750000000000 --stop 99.50",
)
def adopt(
    context: typer.Context,
    stop: Annotated[str, typer.Option("--stop", metavar="PRICE", help="The stop price, in quote per base.")],
    targets: Annotated[
        str, typer.Option("--targets", metavar="PRICE,PRICE", help="Else made from entry and stop by TP_R_LIST.")
    ] = "",
    trade: Trade = "",
    yes: Yes = False,
    timeout: Timeout = 60,
    symbol: Which = None,
) -> None:
    """Look after a trade that could not be rebuilt.

    Its orders are cancelled, and what it holds, by what its own fills say, is protected by new exits. Shows first
    what it would do, and asks. Goes through the running service; when none runs, this command does it alone and
    ends once the trade is protected: start the service then.
    """
    wish = Wish(Resolve.ADOPT, trade, _price(stop, "--stop"), _prices(targets))
    _carry_out(find_place(read_settings(context), symbol), wish, "adopted", yes=yes, timeout=timeout)


@examples(
    "executor forget",
    "executor forget --yes && executor status",
)
def forget(context: typer.Context, yes: Yes = False, timeout: Timeout = 60, symbol: Which = None) -> None:
    """Leave orders that could not be rebuilt where they are.

    Entries are taken again. Their ids are remembered, so that they halt nothing any more. Whatever these trades
    hold is yours to look after. Shows first what it would do, and asks.
    """
    _carry_out(find_place(read_settings(context), symbol), Wish(Resolve.FORGET), "forgotten", yes=yes, timeout=timeout)


def _carry_out(place: Place, wish: Wish, done: str, *, yes: bool, timeout: int) -> None:
    try:
        proposal = wish_of(place, "propose", wish)
    except NotRunningError:
        if not alone(place, wish, yes=yes, timeout=timeout):
            fail("no trade of ours has an open order or holds anything, and entries are not halted")
        typer.echo(f"{done}; start the service with `executor run`")
        return
    confirm(proposal, yes=yes)
    _must(wish_of(place, "resolve", wish))
    typer.echo(f"{done}; `executor status` shows what stands now")


def confirm(proposal: Word, *, yes: bool) -> None:
    """Show what would be done, and ask. Ends the command when it can't be, or is not wished."""
    _must(proposal)
    for word in proposal.words:
        typer.echo(word, err=True)
    if not yes and not typer.confirm("Do this?", err=True):
        fail("nothing was done")


def _must(word: Word) -> None:
    if not word.ok:
        fail("; ".join(word.words))


def alone(place: Place, wish: Wish, *, yes: bool, timeout: int) -> bool:
    """No service runs: look, ask, and do it from here, under the state's lock. Whether there was anything to do."""
    settings = place.settings
    not_on_paper(settings)
    logs.set_up(settings.log_format, settings.log_level)
    resolver = _Resolver(wish, timeout)
    try:
        proposal = asyncio.run(_propose(place, wish))
        if proposal.nothing:
            return False
        confirm(proposal, yes=yes)
        asyncio.run(app.run(settings, resolver.attach, signals=False))
    except app.START_ERRORS as error:
        fail(error)
    if resolver.word is None:
        fail(f"not done after {timeout} s; the state is kept: run this again, or `executor run`")
    _must(resolver.word)
    return True


async def _propose(place: Place, wish: Wish) -> Word:
    """What would be done, from the state on disk and the exchange alone; nothing is changed."""
    loaded = saved(place.state)
    async with reach(place.settings) as (venue, exchange, policy, rules):
        if loaded is None:
            state = await from_exchange(exchange, empty(place.symbol, venue), policy, rules)
        else:
            state = state_of(loaded.value)
        if state.position is not None and wish.how is Resolve.FLATTEN:
            return Word(True, (f"close trade {state.position.trade} at market: cancel its orders, sell the rest",))
        return word_of(judge(state, await evidence(exchange, wish), policy, rules))


class _Resolver:
    """Sits beside a loop that takes no signals: does what is wished once it is recovered, and stops.

    `word` is None until all of it is done.
    """

    def __init__(self, wish: Wish, timeout: int) -> None:
        self.word: Word | None = None
        self._wish = wish
        self._timeout = timeout

    def attach(self, loop: Loop) -> None:
        async def act() -> None:
            if loop.state.position is not None and self._wish.how is Resolve.FLATTEN:
                await loop.ask(Commanded(at=loop.now(), verb=Verb.FLATTEN))
                word = Word(True, ())
            else:
                word = await resolve(loop, self._wish)
            if word.ok:
                await loop.until(self._settled)
            self.word = word
            loop.stop()

        async def give_up() -> None:
            await asyncio.sleep(self._timeout)
            loop.stop()

        loop.beside("resolve", act)
        loop.beside("time limit", give_up, at_once=True)

    def _settled(self, state: State) -> bool:
        position = state.position
        return position is None or (self._wish.how is Resolve.ADOPT and isinstance(position.phase, Protected))


def _prices(text: str) -> tuple[Decimal, ...]:
    return tuple(_price(part.strip(), "--targets") for part in text.split(",")) if text.strip() else ()


def _price(text: str, option: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal(0)
    if not price.is_finite() or price <= 0:
        raise typer.BadParameter(f"{text!r} must be a price above 0", param_hint=option)
    return price
