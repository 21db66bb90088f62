"""`executor flatten`: close the trade at market."""

import asyncio
import time
from typing import Annotated, Final, NamedTuple

import typer

from executor.cli import exits
from executor.cli.context import Account, Everything, Place, Which, find_chosen, for_each, join, read_chosen
from executor.cli.exchange import not_on_paper
from executor.cli.fleet_store import not_in_a_fleet
from executor.cli.output import examples, fail, say
from executor.cli.recover import Consent, Trade, WithoutState, alone, confirm
from executor.cli.service import ask_takeover, running, tell
from executor.cli.time_limit import TimeLimit
from executor.core.model.events import Commanded, Resolve, Verb
from executor.core.model.state import Closed
from executor.ops import logs, report, status
from executor.service import app
from executor.service.asking import TakeoverRequest
from executor.service.loop import Loop
from executor.service.store.document import saved
from executor.service.store.state_store import StateError

LOOK_EVERY_S: Final = 0.2


class FlattenOptions(NamedTuple):
    """What was asked for; `trade`: empty where there is only one."""

    trade: str
    yes: bool
    timeout: int
    without_state: bool


@examples(
    "executor pause && executor flatten",
    "executor flatten --yes --timeout 30",
    "executor pause --all && executor flatten --all --yes",
)
def flatten(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: Annotated[int, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for it.")] = 60,
    which: Trade = "",
    without_state: WithoutState = False,
    symbol: Which = None,
    account: Account = None,
    everything: Everything = False,
) -> None:
    """Close the open trade at market.

    Cancels its orders, sells what is held, and waits until nothing of it is left.

    Goes through the running service, which stays up and may take the next signal after its cooldown (`executor pause`
    first, if it should not). When no service runs, this command locks the state, looks up what happened meanwhile,
    closes the trade itself and ends.

    A trade that could not be rebuilt is closed too: its open orders are cancelled, and what its fills say it holds is
    sold. What will be done is shown first.

    Of several symbols each is asked about, and the running service closes them at the same time.
    """
    places = find_chosen(read_chosen(context, account), symbol, everything=everything)
    if which and len(places) > 1:
        raise typer.BadParameter("a trade is of one symbol: name that with --symbol", param_hint="--trade")
    options = FlattenOptions(which, yes, timeout, without_state)
    trades: dict[str, str] = {}

    def begin(place: Place) -> None:
        if trade := _begin(place, options):
            trades[place.name] = trade

    try:
        _, code = for_each(places, begin)
    except (typer.Abort, KeyboardInterrupt):
        if not trades:
            raise
        text = f"nothing more is closed than {join(list(trades))}: that is being closed already, and waited for"
        typer.echo(f"\nexecutor: {text}", err=True)
        code = exits.FAILED
    deadline = time.monotonic() + timeout
    closing = [place for place in places if place.name in trades]
    try:
        _, late = for_each(closing, lambda place: _wait(place, trades[place.name], timeout, deadline))
    except KeyboardInterrupt:
        fail("not waited for any longer; the service goes on closing: see `executor status`")
    if code or late:
        raise typer.Exit(code or late)


def _begin(place: Place, options: FlattenOptions) -> str:
    """Have the trade closed; its id when the service is at it, empty when there is nothing to wait for."""
    service = running(place)
    if service is None:
        _alone(place, options)
        return ""
    if service.position is None:
        return _stray(place, options)
    trade, side, held = service.position.trade, service.position.side, service.position.held
    _must_be(trade, options.trade)
    _confirm(f"Close the {side} {place.symbol} trade {trade} at market ({held} held)?", yes=options.yes)
    answer = tell(place, "flatten", trade=trade)  # of this one alone: another may have taken its place meanwhile
    if not answer.ok:
        fail(f"flatten refused: {answer.text}")
    return trade


def _wait(place: Place, trade: str, timeout: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        service = running(place)
        if service is None:
            fail("the service has stopped before the trade was closed: run this again")
        if service.position is None or service.position.trade != trade:
            if service.last_closed is not None:
                say(f"closed: {status.told(service.last_closed)}")
            return
        time.sleep(LOOK_EVERY_S)
    fail(f"trade {trade} is still open after {timeout} s; the service goes on closing it: see `executor status`")


def _stray(place: Place, options: FlattenOptions) -> str:
    """Have the service close a trade that it could not rebuild; its id, empty when there is none."""
    request = TakeoverRequest(Resolve.FLATTEN, options.trade)
    proposal = ask_takeover(place, "propose", request)
    if proposal.nothing:
        say("no trade is open")
        return ""
    confirm(proposal, yes=options.yes)
    done = ask_takeover(place, "resolve", request)
    service = running(place)
    if not done.ok or service is None:
        fail("; ".join(done.lines))
    if service.position is not None:
        return service.position.trade
    if service.last_closed is not None:
        say(f"closed: {status.told(service.last_closed)}")
    return ""


def _must_be(trade: str, wanted: str) -> None:
    """Ends the command where another trade than `trade` was named."""
    if wanted not in ("", trade):
        fail(f"trade {wanted} is not open, but {trade} is; nothing was done")


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not typer.confirm(question, err=True):
        fail("nothing was done")


def _alone(place: Place, options: FlattenOptions) -> None:
    not_in_a_fleet(place, "a trade is closed")
    try:
        loaded = saved(place.state)
    except StateError as error:
        fail(error)
    if loaded is None or loaded.value.position is None:
        consent = Consent(options.yes, options.without_state)
        if alone(place, TakeoverRequest(Resolve.FLATTEN, options.trade), consent, timeout=options.timeout):
            say("closed; `executor report` shows how")
        else:
            say("no trade is open")
        return
    settings = place.settings
    not_on_paper(settings)
    trade = loaded.value.position.trade
    _must_be(trade, options.trade)
    what = f"the {place.symbol} trade {trade}"
    _confirm(f"No service runs. Close {what} at market from here?", yes=options.yes)
    logs.set_up(settings.log_format, settings.log_level)
    closer, limit = _Closer(trade), TimeLimit(options.timeout)
    try:
        asyncio.run(app.run(settings, limit.beside(closer.attach), signals=False))
    except app.START_ERRORS as error:
        fail(error)
    if not closer.flat:
        fail(f"{what} is still open {limit.words}; its state is kept: run this again, or `executor run`")
    if closer.closed is None:
        say("no trade is open")
    else:
        say(f"closed: {status.told(report.row(closer.closed))}")


class _Closer:
    """Sits beside a loop that takes no signals: closes `trade`, and no other, once it is recovered, and stops."""

    def __init__(self, trade: str) -> None:
        self._trade = trade
        self.flat = False
        self.closed: Closed | None = None

    def attach(self, loop: Loop) -> None:
        async def close() -> None:
            position = loop.state.position
            if position is not None and position.trade == self._trade:
                await loop.ask(Commanded(at=loop.now(), verb=Verb.FLATTEN))
                await loop.until(lambda state: state.position is None)
                self.closed = loop.state.last_closed
            self.flat = True
            loop.stop()

        loop.add_task("flatten", close)
