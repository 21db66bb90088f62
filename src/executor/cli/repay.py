"""`executor repay`: give back by hand what is owed on margin."""

import asyncio
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Final, NamedTuple

import typer
from msgspec.structs import replace

from executor.cli.context import Account, Place, Which, find_place, read_chosen
from executor.cli.exchange import not_on_paper, reach
from executor.cli.fleet_store import not_in_a_fleet
from executor.cli.margin import kept_beside, look
from executor.cli.output import examples, fail, say
from executor.cli.service import ask, running
from executor.cli.time_limit import TimeLimit
from executor.core.book import debt as debts
from executor.core.model import ids
from executor.core.model.events import Commanded, Verb
from executor.core.model.state import State
from executor.core.model.values import ZERO
from executor.core.model.verdict import Refusal
from executor.ops import logs, text
from executor.ops.margin_view import AssetRow, MarginView
from executor.service import app
from executor.service.asking import ControlError, Request
from executor.service.loop import Loop
from executor.service.store.control_socket import listener
from executor.service.store.document import saved, state_of
from executor.service.store.state_store import StateError

LOOK_EVERY_S: Final = 0.5


class Debt(NamedTuple):
    """`owed`: what is to be given back of `asset`: all that the account owes and this service may give back, `own` of
    it Executor's, or that alone; `free`: what there is to give back.
    """

    asset: str
    owed: Decimal
    own: Decimal
    free: Decimal


@examples(
    "executor repay",
    "executor repay USDT --yes",
)
def repay(
    context: typer.Context,
    asset: Annotated[
        str, typer.Argument(metavar="[ASSET]", help="Of which asset; else all that Executor owes.", show_default=False)
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: Annotated[int, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for it.")] = 120,
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Give back what is owed on margin.

    For a debt that was left (see the alert debt_left), or one that Executor has not made (foreign_debt), which is given
    back only when its ASSET is named. What is owed, what is free and what will be repaid is shown first.

    Goes through the running service; when none runs, this command locks the state, looks up what happened meanwhile and
    repays by itself. Refused while a trade is open: what it owes is repaid when it is over. So is a named ASSET that
    another symbol of the account owes by its state, where no service looks after both.
    """
    place = find_place(read_chosen(context, account), symbol)
    found = look(place)
    if trade := _open_trade(place):
        fail(f"repay refused: trade {trade} is open: what it owes is repaid when it is over")
    if asset and (why := _claimed_beside(place, asset.upper())):
        fail(f"repay refused: {why}")
    wanted = _wanted(found, asset.upper())
    if not wanted:
        say(f"no {asset.upper()} is owed" if asset else "Executor owes nothing")
        return
    for each in wanted:
        say(_told(each))
    if not any(each.free for each in wanted):
        fail("nothing of it is free: transfer the missing amount to the margin account first")
    if not yes and not typer.confirm("Repay?", err=True):
        fail("nothing was done")
    asked = [Commanded(at=0, verb=Verb.REPAY, asset=each.asset, own=not asset) for each in wanted]
    if running(place) is not None:
        _through_the_service(place, asked, timeout)
    else:
        logs.set_up(place.settings.log_format, place.settings.log_level)
        _alone(place, asked, timeout)
    _tell_rest(look(place), asked)


def _open_trade(place: Place) -> str:
    """Empty where none is, or no state to be read here says so."""
    if (service := running(place)) is not None:
        return service.position.trade if service.position is not None else ""
    try:
        loaded = None if place.fleet else saved(place.state)
    except StateError as error:
        fail(error)
    position = state_of(loaded.value).position if loaded is not None else None
    return position.trade if position is not None else ""


def _claimed_beside(place: Place, asset: str) -> str:
    """Which kept state of another symbol of the account owes some of `asset`, or may: whoever repays would take it for
    nobody's. Those that the same service trades are known to it, where the system tells that it is the same. Empty
    where there is none.
    """
    service = listener(place.state)
    for symbol, path, state in kept_beside(place):
        if service and listener(path) == service:
            continue
        if state is None:
            return f"{symbol} may owe some of it, but its state at {path} can't be read"
        if state.position is not None and (state.position.credit is None or state.position.credit.asset == asset):
            return f"trade {state.position.trade} of {symbol} is open by {path}: what it owes is repaid when it is over"
        if owed := debts.find(state.debts, asset).own:
            return f"{symbol} owes {text.short(owed)} of it by {path}: `executor repay` for that one first"
    return ""


def _wanted(found: MarginView, asset: str) -> list[Debt]:
    debts_found = [_debt(row, own=not asset) for row in found.assets]
    return [each for each in debts_found if each.owed and asset in ("", each.asset)]


def _debt(row: AssetRow, *, own: bool) -> Debt:
    owed = max(Decimal(row.borrowed) + Decimal(row.interest) - Decimal(row.others), ZERO)
    ours = min(Decimal(row.own), owed)
    return Debt(row.asset, ours if own else owed, ours, Decimal(row.free))


def _told(each: Debt) -> str:
    sum_of = min(each.owed, each.free)
    whose = "" if each.own == each.owed else f" ({text.short(each.owed - each.own)} of it not of Executor's making)"
    missing = f"; {text.short(each.owed - each.free)} are missing" if each.free < each.owed else ""
    return (
        f"{text.short(each.owed)} {each.asset} owed{whose}, {text.short(each.free)} free: "
        f"{text.short(sum_of)} will be repaid{missing}"
    )


def _tell_rest(found: MarginView, asked: Sequence[Commanded]) -> None:
    own = {each.asset: each.own for each in asked}
    left = [each for row in found.assets if row.asset in own and (each := _debt(row, own=own[row.asset])).owed]
    if not left:
        say("repaid: Executor owes nothing any more" if any(own.values()) else "repaid: nothing is owed any more")
        return
    fail(
        "; ".join(f"{text.short(each.owed)} {each.asset} are owed still, {text.short(each.free)} free" for each in left)
    )


def _through_the_service(place: Place, asked: Sequence[Commanded], timeout: int) -> None:
    deadline = time.monotonic() + timeout
    for each in asked:
        try:
            answer = ask(place, Request("repay", asset=each.asset, own=each.own))
        except ControlError as error:
            fail(error)
        if not answer.ok:
            fail(f"repay refused: {answer.text}")
        while True:
            status = running(place)
            if status is None or status.margin is None:
                fail("the service has stopped before it was repaid: run this again")
            if not status.margin.doing:
                break
            if time.monotonic() >= deadline:
                fail(f"not repaid after {timeout} s; the service goes on: see `executor margin`")
            time.sleep(LOOK_EVERY_S)


def _alone(place: Place, asked: Sequence[Commanded], timeout: int) -> None:
    not_on_paper(place.settings)
    not_in_a_fleet(place, "a debt is repaid")
    payer, limit = _Payer(asked), TimeLimit(timeout)
    try:
        if saved(place.state) is None and (found := asyncio.run(_our_orders(place))):
            fail(f"{place.no_state} Another process may look after {', '.join(found)}; nothing was done")
        asyncio.run(app.run(place.settings, limit.beside(payer.attach), signals=False))
    except app.START_ERRORS as error:
        fail(error)
    if payer.refused:
        fail(f"repay refused: {payer.refused}")
    if not payer.over:
        fail(f"not repaid {limit.words}; the state is kept: run this again, or `executor run`")


async def _our_orders(place: Place) -> list[str]:
    async with reach(place.settings) as (_, exchange, *_):
        return [report.id for report in await exchange.open_orders() if ids.is_ours(report.id)]


class _Payer:
    """Sits beside a loop that takes no signals: repays once it is recovered and has read the account, and stops."""

    def __init__(self, asked: Sequence[Commanded]) -> None:
        self.over = False
        self.refused = ""
        self._asked = asked

    def attach(self, loop: Loop) -> None:
        async def pay() -> None:
            await loop.until(lambda state: state.market.margin is not None)
            for each in self._asked:
                await loop.until(_known(each.asset))
                step = await loop.ask(replace(each, at=loop.now()))
                if isinstance(step.verdict, Refusal):
                    self.refused = step.verdict.why
                    break
                await loop.until(lambda state: state.repaying is None)
            self.over = True
            loop.stop()

        loop.add_task("repay", pay)


def _known(asset: str) -> Callable[[State], bool]:
    """Whether it is explained what is owed of it."""
    return lambda state: not debts.find(state.debts, asset).doubted_at
