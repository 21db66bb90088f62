"""What looks wrong, from one look at the exchange: the comparison of `executor check`, named as findings. Pure.

A suspect becomes a finding when a second look shows it again (rule 8.6).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.book import retire
from executor.core.book.ledger import sellable
from executor.core.decide.timers import next_timer
from executor.core.model import ids
from executor.core.model.facts import Balance, OrderReport
from executor.core.model.intents import Command
from executor.core.model.orders import REVOCABLE
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Order, OrderPhase, Position, State
from executor.core.model.values import ZERO, Direction, short
from executor.ops.check import Check, Kind

STUCK_MS: Final = 60_000
"""A request is answered, or given up, in a fraction of this."""
LATE_MS: Final = 15_000
"""How late a timer may be before nobody seems to tend it."""
DOUBT_LASTS_MS: Final = 60_000


class Suspect(msgspec.Struct, frozen=True):
    """`finding`: its name in the catalogue; `about`: which order or asset it is about. By these two it is known again;
    `text` is for people. `orders`: client order ids.
    """

    finding: str
    about: str
    text: str
    orders: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.finding, self.about


def of_orders(
    state: State, shown: Sequence[OrderReport], found: Check, finished: Collection[str], policy: Policy, now: int
) -> Iterator[Suspect]:
    """`finished`: trades that have ended here."""
    for each in found.findings:
        name = _NAMES.get(each.kind)
        if each.kind is Kind.BARE and not _bare_for_long(state.position, policy, now):
            continue  # a stop that has triggered, or is being placed, is given its time (rules 4.7, 6.5)
        if each.kind is Kind.DIFFERENT:
            name = "exit_resized" if each.figure == "quantity" else "exit_moved"
        if name is not None:
            yield Suspect(name, each.order, each.text, (each.order,) if each.order else ())
    for report in shown:
        if ids.is_ours(report.id) and report.id not in state.ignored:
            yield from _about_owner(state.position, report, finished)
    yield from _lowered(state.position, shown)


def _bare_for_long(position: Position | None, policy: Policy, now: int) -> bool:
    return position is not None and 0 < position.exposure.since <= now - policy.failsafe_grace_ms


_NAMES: Final = {
    Kind.MISSING: "exit_missing",
    Kind.RENAMED: "exit_renamed",
    Kind.BARE: "uncovered",
    Kind.OVER: "sells_beyond_held",
    Kind.INVARIANT: "invariant_broken",
}


def _about_owner(position: Position | None, report: OrderReport, finished: Collection[str]) -> Iterator[Suspect]:
    """An order of ours that the state does not count on: of a trade that has ended, ended itself, or not known. One of
    the open trade that was called refused, gone or never there is no ghost: it may be the only exit, and an entry is
    cancelled by what decides.
    """
    name = ids.parse(report.id)
    figures = f"{report.id} ({report.side} {short(report.qty - report.cum_qty)})"
    if name is None or (position is None or name.trade != position.trade):
        if name is not None and name.trade in finished:
            yield Suspect("ghost_order", report.id, f"{figures} is open, but its trade has ended", (report.id,))
        else:
            yield Suspect("stray_orders", report.id, f"{figures} is open, and belongs to no trade here", (report.id,))
        return
    order = next((each for each in position.orders if each.id == report.id), None)
    if order is None and not retire.was_retired(position, report.id):
        yield Suspect("order_adopted", report.id, f"{figures} is of the open trade, but not on record", (report.id,))
    elif order is not None and order.phase is OrderPhase.CLOSED and order.end in REVOCABLE:
        text = f"{figures} was taken for {order.end}, and is open"
        yield Suspect("order_back", report.id, text, (report.id,))
    elif order is None or order.phase is OrderPhase.CLOSED:
        yield Suspect("ghost_order", report.id, f"{figures} has ended, as far as is known, and is open", (report.id,))


def _lowered(position: Position | None, shown: Sequence[OrderReport]) -> Iterator[Suspect]:
    """Rule 10.4: no stop stands behind the level that its leg had reached, longer than its move may take."""
    if position is None:
        return
    levels = {leg.n: leg.stop for leg in position.legs if leg.stop is not None}
    known = {order.id: order for order in position.orders if order.live and order.is_stop}
    for report in shown:
        order = known.get(report.id)
        level = levels.get(order.leg) if order is not None else None
        if order is None or level is None or not report.stop_price or report.trailing_delta:
            continue
        sent = order.stop_price or level
        behind = position.plan.direction.sign * (sent - report.stop_price)
        if behind > 0:
            text = f"{report.id} stands at {short(report.stop_price)}, was at {short(sent)}"
            yield Suspect("stop_lowered", report.id, text, (report.id,))


def of_holdings(state: State, balances: Mapping[str, Balance], rules: SymbolRules) -> Iterator[Suspect]:
    """More is held by the trade than the account has: somebody sold it."""
    position = state.position
    if position is None or position.plan.direction is Direction.SHORT:
        return
    held = sellable(position, rules)
    owned: Decimal = balances.get(rules.base, Balance(ZERO)).total
    if owned < held:
        text = f"the trade holds {short(held)} {rules.base}, the account has {short(owned)}"
        yield Suspect("balance_short", rules.base, text)


def of_time(state: State, policy: Policy, now: int) -> Iterator[Suspect]:
    """A state that does not move though something is due, or owed for too long."""
    for owed in state.outbox:
        if isinstance(owed.request, Command) and now - owed.at > STUCK_MS:
            kind = type(owed.request).__name__
            yield Suspect(
                "state_stuck", f"request {owed.request.seq}", f"{kind} has had no answer for {_s(now, owed.at)} s"
            )
    due = next_timer(state, policy)
    if due is not None and now - due > LATE_MS:
        yield Suspect("state_stuck", "timer", f"what was due {_s(now, due)} s ago has not been done")
    if state.started and now - state.started > STUCK_MS:
        yield Suspect("state_stuck", "start", f"the start's look at the orders has taken {_s(now, state.started)} s")
    for order in _doubtful(state.position):
        if now - order.sent_at > DOUBT_LASTS_MS:
            text = f"what became of {order.id} has not been known for {_s(now, order.sent_at)} s"
            yield Suspect("doubt_lasts", order.id, text, (order.id,))


def _doubtful(position: Position | None) -> list[Order]:
    return [] if position is None else [o for o in position.orders if o.phase is OrderPhase.UNRESOLVED]


def _s(now: int, since: int) -> str:
    return f"{(now - since) / 1000:.0f}"
