"""`executor flatten`: close the trade at market."""

import asyncio
import time
from typing import Annotated, Final

import typer

from executor.cli import exits
from executor.cli.context import Place, find_place, read_settings
from executor.cli.output import examples, fail
from executor.cli.recover import Trade, alone, confirm
from executor.cli.service import running, tell, wish_of
from executor.config import BinanceEnv, Settings
from executor.core.events import Commanded, Resolve, Verb
from executor.core.state import SCHEMA_VERSION, Closed
from executor.ops import logs, report, status
from executor.service import app
from executor.service.document import Document, contradiction
from executor.service.loop import Loop
from executor.service.store import StateError, StateStore
from executor.service.takeover import Wish

LOOK_EVERY_S: Final = 0.2


@examples(
    "executor pause && executor flatten",
    "executor flatten --yes --timeout 30",
)
def flatten(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: Annotated[int, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for it.")] = 60,
    which: Trade = "",
) -> None:
    """Close the open trade at market.

    Cancels its orders, sells what is held, and waits until nothing of it is left.

    Goes through the running service, which stays up and may take the next signal after its cooldown (`executor pause`
    first, if it should not). When no service runs, this command locks the state, looks up what happened meanwhile,
    closes the trade itself and ends.

    A trade that could not be rebuilt is closed too: its open orders are cancelled, and what its fills say it holds is
    sold. What will be done is shown first.
    """
    settings = read_settings(context)
    place = find_place(settings)
    service = running(place)
    if service is None:
        _alone(settings, place, which, yes=yes, timeout=timeout)
        return
    if service.position is None:
        trade = _stray(place, which, yes=yes)
        if not trade:
            return
    else:
        trade = service.position.trade
        _confirm(f"Close the {service.position.side} trade {trade} at market ({service.position.held} held)?", yes=yes)
        answer = tell(place, "flatten")
        if not answer.ok:
            fail(f"flatten refused: {answer.text}")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        service = running(place)
        if service is None:
            fail("the service has stopped before the trade was closed: run this again", exits.FAILED)
        if service.position is None or service.position.trade != trade:
            if service.last_closed is not None:
                typer.echo(f"closed: {status.told(service.last_closed)}")
            return
        time.sleep(LOOK_EVERY_S)
    fail(f"trade {trade} is still open after {timeout} s; the service goes on closing it: see `executor status`")


def _stray(place: Place, which: str, *, yes: bool) -> str:
    """Have the service close a trade that it could not rebuild; its id, empty when there is none."""
    wish = Wish(Resolve.FLATTEN, which)
    proposal = wish_of(place, "propose", wish)
    if proposal.nothing:
        typer.echo("no trade is open")
        return ""
    confirm(proposal, yes=yes)
    done = wish_of(place, "resolve", wish)
    service = running(place)
    if not done.ok or service is None:
        fail("; ".join(done.words))
    if service.position is not None:
        return service.position.trade
    if service.last_closed is not None:
        typer.echo(f"closed: {status.told(service.last_closed)}")
    return ""


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not typer.confirm(question, err=True):
        fail("nothing was done")


def _alone(settings: Settings, place: Place, which: str, *, yes: bool, timeout: int) -> None:
    try:
        loaded = StateStore(place.state, schema_version=SCHEMA_VERSION).peek(Document, unsound=contradiction)
    except StateError as error:
        fail(error)
    if loaded is None or loaded.value.position is None:
        if alone(settings, place, Wish(Resolve.FLATTEN, which), yes=yes, timeout=timeout):
            typer.echo("closed; `executor report` shows how")
        else:
            typer.echo("no trade is open")
        return
    if settings.binance_env is BinanceEnv.PAPER:
        fail(
            "no service runs, and the embedded paper exchange is there only while `executor run` is",
            exits.UNAVAILABLE,
        )
    what = f"trade {loaded.value.position.trade}"
    _confirm(f"No service runs. Close {what} at market from here?", yes=yes)
    logs.set_up(settings.log_format, settings.log_level)
    closer = _Closer(timeout)
    try:
        asyncio.run(app.run(settings, closer.attach, signals=False))
    except app.START_ERRORS as error:
        fail(error)
    if not closer.flat:
        fail(f"{what} is still open after {timeout} s; its state is kept: run this again, or `executor run`")
    typer.echo(f"closed: {status.told(report.row(closer.closed))}" if closer.closed is not None else "no trade is open")


class _Closer:
    """Sits beside a loop that takes no signals: closes the trade once it is recovered, and stops."""

    def __init__(self, timeout: int) -> None:
        self.flat = False
        self.closed: Closed | None = None
        self._timeout = timeout

    def attach(self, loop: Loop) -> None:
        async def close() -> None:
            if loop.state.position is not None:
                await loop.ask(Commanded(at=loop.now(), verb=Verb.FLATTEN))
                await loop.until(lambda state: state.position is None)
                self.closed = loop.state.last_closed
            self.flat = True
            loop.stop()

        async def give_up() -> None:
            await asyncio.sleep(self._timeout)
            loop.stop()

        loop.beside("flatten", close)
        loop.beside("time limit", give_up, at_once=True)
