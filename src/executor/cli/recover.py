"""`executor adopt` and `executor forget`: what is to become of orders that could not be rebuilt (rule 9.3)."""

import asyncio
from decimal import Decimal
from typing import Annotated, NamedTuple

import typer

from executor.cli.amounts import read_price
from executor.cli.context import Account, Place, Which, find_place, read_chosen
from executor.cli.exchange import not_on_paper, reach
from executor.cli.fleet_store import not_in_a_fleet
from executor.cli.output import examples, fail
from executor.cli.service import ask_takeover
from executor.cli.time_limit import TimeLimit
from executor.core.absorb.takeover import judge
from executor.core.model.events import Commanded, Resolve, Verb
from executor.core.model.state import Protected, State
from executor.core.transition import empty
from executor.ops import logs
from executor.service import app
from executor.service.asking import NotRunningError, TakeoverAnswer, TakeoverRequest
from executor.service.loop import Loop
from executor.service.recovery import from_exchange
from executor.service.store.document import saved, state_of
from executor.service.takeover import answer_of, evidence, resolve

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Trade = Annotated[str, typer.Option("--trade", metavar="ID", help="Which trade, where there are several.")]
Timeout = Annotated[
    int, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for it, without a service.")
]

WithoutState = Annotated[
    bool,
    typer.Option("--without-state", help="With --yes: no state knows of these orders, and no other process has them."),
]


class Consent(NamedTuple):
    """What need not be asked: whether to do it, and whether orders without a state are nobody else's."""

    yes: bool
    without_state: bool = False


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
    without_state: WithoutState = False,
    timeout: Timeout = 60,
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Look after a trade that could not be rebuilt.

    Its orders are cancelled, and what it holds, by what its own fills say, is protected by new exits. Shows first
    what it would do, and asks. Goes through the running service; when none runs, this command does it alone and
    ends once the trade is protected: start the service then.
    """
    request = TakeoverRequest(Resolve.ADOPT, trade, read_price(stop, "--stop"), _prices(targets))
    place = find_place(read_chosen(context, account), symbol)
    _carry_out(place, request, "adopted", Consent(yes, without_state), timeout=timeout)


@examples(
    "executor forget",
    "executor forget --yes && executor status",
)
def forget(
    context: typer.Context,
    yes: Yes = False,
    without_state: WithoutState = False,
    timeout: Timeout = 60,
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Leave orders that could not be rebuilt where they are.

    Entries are taken again. Their ids are remembered, so that they halt nothing any more. Whatever these trades
    hold is yours to look after. Shows first what it would do, and asks.
    """
    _carry_out(
        find_place(read_chosen(context, account), symbol),
        TakeoverRequest(Resolve.FORGET),
        "forgotten",
        Consent(yes, without_state),
        timeout=timeout,
    )


def _carry_out(place: Place, request: TakeoverRequest, done: str, consent: Consent, *, timeout: int) -> None:
    try:
        proposal = ask_takeover(place, "propose", request)
    except NotRunningError:
        if not alone(place, request, consent, timeout=timeout):
            fail("no trade of ours has an open order or holds anything, and entries are not halted")
        typer.echo(f"{done}; start the service with `executor run`")
        return
    confirm(proposal, yes=consent.yes)
    _must(ask_takeover(place, "resolve", request))
    typer.echo(f"{done}; `executor status` shows what stands now")


def not_unseen(place: Place, consent: Consent) -> None:
    """Where no state knows of these orders, another process may look after them: that is told, and ends a command that
    is not to ask. A halted state does: it could not tell what they are.
    """
    loaded = saved(place.state)
    if consent.without_state or (loaded is not None and (loaded.value.position is not None or loaded.value.halted)):
        return
    none = place.no_state if loaded is None else f"the state at {place.state} has no trade: is STATE_FN the service's?"
    typer.echo(f"warning: {none} Another process may look after these orders.", err=True)
    if consent.yes:
        fail("nothing was done: where no other process has these orders, add --without-state to --yes")


def confirm(proposal: TakeoverAnswer, *, yes: bool) -> None:
    """Show what would be done, and ask. Ends the command when it can't be, or is not wanted."""
    _must(proposal)
    for answer in proposal.lines:
        typer.echo(answer, err=True)
    if not yes and not typer.confirm("Do this?", err=True):
        fail("nothing was done")


def _must(answer: TakeoverAnswer) -> None:
    if not answer.ok:
        fail("; ".join(answer.lines))


def alone(place: Place, request: TakeoverRequest, consent: Consent, *, timeout: int) -> bool:
    """No service runs: look, ask, and do it from here, under the state's lock. Whether there was anything to do."""
    not_in_a_fleet(place, "what becomes of a trade")
    settings = place.settings
    not_on_paper(settings)
    logs.set_up(settings.log_format, settings.log_level)
    resolver, limit = _Resolver(request), TimeLimit(timeout)
    try:
        proposal = asyncio.run(_propose(place, request))
        if proposal.nothing:
            return False
        not_unseen(place, consent)
        confirm(proposal, yes=consent.yes)
        asyncio.run(app.run(settings, limit.beside(resolver.attach), signals=False))
    except app.START_ERRORS as error:
        fail(error)
    if resolver.answer is None:
        fail(f"not done {limit.words}; the state is kept: run this again, or `executor run`")
    _must(resolver.answer)
    return True


async def _propose(place: Place, request: TakeoverRequest) -> TakeoverAnswer:
    """What would be done, from the state on disk and the exchange alone; nothing is changed."""
    loaded = saved(place.state)
    async with reach(place.settings) as (venue, exchange, policy, rules):
        if loaded is None:
            state = await from_exchange(exchange, empty(place.symbol, venue), policy, rules)
        else:
            state = state_of(loaded.value)
        if (position := state.position) is not None:
            if request.how is Resolve.FLATTEN:
                return TakeoverAnswer(
                    True, (f"close trade {position.trade} at market: cancel its orders, sell the rest",)
                )
            known = f"no service runs on {place.state}: `executor run` takes trade {position.trade} up as it is"
            return TakeoverAnswer(False, (known,))
        return answer_of(judge(state, await evidence(exchange, request), policy, rules))


class _Resolver:
    """Sits beside a loop that takes no signals: does what is asked once it is recovered, and stops.

    `answer` is None until all of it is done.
    """

    def __init__(self, request: TakeoverRequest) -> None:
        self.answer: TakeoverAnswer | None = None
        self._request = request

    def attach(self, loop: Loop) -> None:
        async def act() -> None:
            if loop.state.position is not None and self._request.how is Resolve.FLATTEN:
                await loop.ask(Commanded(at=loop.now(), verb=Verb.FLATTEN))
                answer = TakeoverAnswer(True, ())
            else:
                answer = await resolve(loop, self._request)
            if answer.ok:
                await loop.until(self._settled)
            self.answer = answer
            loop.stop()

        loop.add_task("resolve", act)

    def _settled(self, state: State) -> bool:
        position = state.position
        return position is None or (self._request.how is Resolve.ADOPT and isinstance(position.phase, Protected))


def _prices(text: str) -> tuple[Decimal, ...]:
    return tuple(read_price(part.strip(), "--targets") for part in text.split(",")) if text.strip() else ()
