"""What is told of a finished trade (rule 7.2)."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from executor.core.book.debt import owed
from executor.core.book.ledger import average, commissions, entry_average, exit_orders
from executor.core.model.ids import Role
from executor.core.model.loans import OwnDebt
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closed, Exposure, Leave, Order, Position, Reason
from executor.core.model.values import ZERO, rounded

_FIGURE: Final = Decimal("1E-8")


def summarize(
    position: Position,
    reason: Reason,
    rules: SymbolRules,
    now: int,
    debts: Iterable[OwnDebt] = (),
    *,
    base_fees_leave: bool = False,
) -> Closed:
    """`base_fees_leave`: see `Policy`."""
    plan = position.plan
    debts = tuple(debts)
    interest = {debt.asset: debt.charged for debt in debts if debt.charged}
    sign = plan.direction.sign
    entry_avg = entry_average(position)
    exits = exit_orders(position)
    exit_avg = average(exits)
    pnl = _profit(position, rules, interest, base_fees_leave=base_fees_leave)
    qty = sum((o.cum_qty for o in position.orders if o.is_entry), ZERO)
    risked = plan.r * qty
    exposure = settle_exposure(position.exposure, now)
    entry_slippage = sign * (entry_avg - plan.entry) if entry_avg is not None else ZERO
    return Closed(
        trade=position.trade,
        signal=position.signal,
        symbol=rules.symbol,
        direction=plan.direction,
        reason=reason,
        opened=position.opened,
        entered=position.entered,
        closed=now,
        entry_planned=plan.entry,
        stop_planned=plan.stop,
        targets_planned=plan.targets,
        entry_avg=_figure(entry_avg),
        exit_avg=_figure(exit_avg),
        qty=qty,
        qty1=position.split[0],
        qty2=position.split[1],
        qty3=position.split[2],
        commissions=commissions(position),
        pnl=_rounded(pnl),
        r=_rounded(pnl / risked, Decimal("0.0001")) if risked else ZERO,
        entry_slippage=_rounded(entry_slippage),
        exit_slippage=_rounded(_exit_slippage(position, exits)),
        dust=_dust(position, rules) - interest.get(rules.base, ZERO),
        unprotected_ms=exposure.total,
        unprotected_longest_ms=exposure.longest,
        borrowed={debt.asset: debt.borrowed for debt in debts if debt.borrowed},
        interest=interest,
        debt_left=owed(debts),
    )


def settle_exposure(exposure: Exposure, now: int) -> Exposure:
    """`exposure` with a running spell ended at `now`."""
    if not exposure.since:
        return exposure
    spell = now - exposure.since
    return Exposure(0, exposure.total + spell, max(exposure.longest, spell))


def _profit(
    position: Position, rules: SymbolRules, interest: Mapping[str, Decimal], *, base_fees_leave: bool
) -> Decimal:
    """Quote gained, less commissions and interest in quote, and what is left of the base, without those in base, at the
    last price: what the account has more of than before. Commissions in a third asset (BNB) are listed, not priced.
    """
    gained = -interest.get(rules.quote, ZERO)
    last_price = position.plan.entry
    bought = sold = paid = ZERO
    for order in position.orders:
        if not order.cum_qty:
            continue
        value = order.value
        if order.side.value == "BUY":
            gained -= value
            bought += order.cum_qty
        else:
            gained += value
            sold += order.cum_qty
        last_price = value / order.cum_qty
        for fill in order.fills:
            if fill.fee_asset == rules.quote:
                gained -= fill.fee
            elif fill.fee_asset == rules.base and base_fees_leave:
                paid += fill.fee
            elif fill.fee_asset == rules.base:
                gained -= fill.fee * fill.price
    # What is left over (dust, or a position that was abandoned) counts at the last price traded.
    return gained + (bought - sold - paid - interest.get(rules.base, ZERO)) * last_price


def _dust(position: Position, rules: SymbolRules) -> Decimal:
    """Base left in the account by the trade: bought less sold less commission in base less what was taken away."""
    left = -position.gone
    for order in position.orders:
        left += order.cum_qty if order.side.value == "BUY" else -order.cum_qty
        left -= sum((f.fee for f in order.fills if f.fee_asset == rules.base), ZERO)
    return left


def _exit_slippage(position: Position, exits: list[Order]) -> Decimal:
    """Quote per base lost against the levels that the exits were meant to leave at; positive is worse."""
    sign = position.plan.direction.sign
    legs = {leg.n: leg for leg in position.legs}
    lost = qty = ZERO
    for order in exits:
        if not order.cum_qty:
            continue
        meant = order.price if order.is_target else order.stop_price
        if order.role is Role.FLATTEN and order.leg in legs:
            leg = legs[order.leg]
            meant = leg.target if leg.leave is Leave.TARGET else leg.watched
        if meant is not None:
            lost += sign * (meant * order.cum_qty - order.value)
            qty += order.cum_qty
    return lost / qty if qty else ZERO


def _figure(value: Decimal | None) -> Decimal | None:
    return None if value is None else _rounded(value)


def _rounded(value: Decimal, to: Decimal = _FIGURE) -> Decimal:
    return rounded(value, to) or ZERO  # a plain 0, not one of eight digits
