"""What an operator asks first: is it running, what is held, what stands behind it."""

from decimal import Decimal

import msgspec

from executor.core.absorb.admit import day_at
from executor.core.book.ledger import covered, entry_average, holding, leg_left, sellable
from executor.core.model.facts import Quote
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Order, Position, State
from executor.core.model.values import ZERO, plain, rounded
from executor.ops import report, text
from executor.ops.assets import assets_of
from executor.ops.margin import MarginStatus, margin_of
from executor.ops.margin import lines as margin_lines


class LegStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`stop`: the level in force; null where leg 0's stop stands behind it."""

    leg: int
    qty: str
    left: str
    target: str | None
    stop: str | None


class OrderStatus(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    role: str
    leg: int
    side: str
    type: str
    qty: str
    filled: str
    price: str | None
    stop_price: str | None
    status: str
    live: bool


class PositionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`held`: base that may be sold; `unprotected`: of it, what no stop on the exchange covers; `live_stop`: the stop
    on the exchange that is reached first; `price_r`: how far the last price is from the entry, in the plan's R, null
    before there is a fill.
    """

    trade: str
    signal: str
    side: str
    phase: str
    opened: str
    entered: str | None
    planned_qty: str
    planned_entry: str
    planned_stop: str
    targets: list[str]
    entry_avg: str | None
    held: str
    covered: str
    unprotected: str
    unprotected_since: str | None
    live_stop: str | None
    legs: list[LegStatus]
    orders: list[OrderStatus]
    price_r: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: the exchange's time of it, null when no service runs; `cooldown_until` is null when there is none. `margin`
    is null on Spot.
    """

    symbol: str
    running: bool
    at: str | None
    recovering: bool
    paused: bool
    halted: str
    last_price: str | None
    position: PositionStatus | None
    last_closed: report.Row | None
    cooldown_until: str | None
    trades_today: int
    pnl_today: str
    refused: dict[str, int]
    requests_open: int
    margin: MarginStatus | None = None


def status_of(state: State, rules: SymbolRules | None, *, running: bool, now: int) -> Status:
    """`rules` None: from a state file alone, with no exchange to ask. `now` in ms: the exchange's clock where a service
    runs, else this machine's.
    """
    position, quote, today = state.position, state.market.quote, day_at(state, now)
    return Status(
        symbol=state.symbol,
        running=running,
        at=text.instant(now) if running else None,
        recovering=bool(state.started),
        paused=state.paused,
        halted=state.halted,
        last_price=_plain(quote.last) if quote is not None else None,
        position=None if position is None else _position(position, rules or _guessed(position, state.symbol), quote),
        last_closed=None if state.last_closed is None else report.row(state.last_closed),
        cooldown_until=text.instant(state.cooldown_until) if state.cooldown_until > now else None,
        trades_today=today.trades,
        pnl_today=plain(today.pnl),
        refused=dict(sorted(state.refused.items())),
        requests_open=len(state.outbox),
        margin=margin_of(state, rules),
    )


def flat(symbol: str) -> Status:
    """That of a symbol which has never traded."""
    return status_of(State(symbol=symbol), None, running=False, now=0)


def as_text(status: Status) -> str:
    lines = [
        ("service", _service(status)),
        ("entries", entries_text(status)),
        ("today", f"{status.trades_today} trades, {text.short(Decimal(status.pnl_today))} profit in quote"),
    ]
    if status.last_price is not None:
        lines.append(("last price", text.short(Decimal(status.last_price))))
    if status.refused:
        lines.append(("refused signals", ", ".join(f"{count} {why}" for why, count in status.refused.items())))
    if status.last_closed is not None:
        lines.append(("last closed", told(status.last_closed)))
    if status.margin is not None:
        lines += margin_lines(status.margin)
    parts = [f"{status.symbol}", text.fields(lines, indent="  ")]
    if status.position is None:
        parts.append("\nno trade is open")
    else:
        parts.append("\n" + _position_text(status.position))
    return "\n".join(parts)


def _service(status: Status) -> str:
    if not status.running:
        return "not running (this is the state on disk)"
    return f"{'looking up its orders' if status.recovering else 'running'}, exchange time {status.at}"


def entries_text(status: Status) -> str:
    """Whether signals are taken, and why not."""
    if status.halted:
        return f"halted: {status.halted}"
    if status.paused:
        return "paused"
    if status.cooldown_until is not None:
        return f"cooldown until {status.cooldown_until}"
    return "allowed"


def told(closed: report.Row) -> str:
    """A finished trade in one line."""
    return f"{closed.side} {closed.reason}: {text.short(Decimal(closed.pnl))}, {closed.r} R, closed {closed.closed}"


def _position_text(position: PositionStatus) -> str:
    bare = Decimal(position.unprotected)
    since = f" since {position.unprotected_since}" if position.unprotected_since is not None else ""
    lines = [
        ("trade", f"{position.trade} ({position.side}, {position.phase}, opened {position.opened})"),
        ("entry", f"{position.planned_qty} at {position.planned_entry}, average {position.entry_avg or text.NONE}"),
        *([("price", f"{position.price_r} R from the entry")] if position.price_r is not None else []),
        ("held", f"{position.held}, covered {position.covered}"),
        ("unprotected", f"{position.unprotected}{since}" if bare else "nothing"),
        ("live stop", position.live_stop or text.NONE),
        ("targets", ", ".join(position.targets) or text.NONE),
    ]
    parts = [text.fields(lines, indent="  ")]
    if position.legs:
        rows = [
            (str(leg.leg), leg.qty, leg.left, leg.target or text.NONE, leg.stop or text.NONE) for leg in position.legs
        ]
        parts += ["", text.columns(_LEGS, rows, right=_LEGS)]
    live = [order for order in position.orders if order.live]
    if live:
        shown = [
            (o.id, o.side, o.type, o.qty, o.filled, o.price or text.NONE, o.stop_price or text.NONE, o.status)
            for o in live
        ]
        parts += ["", text.columns(_ORDERS, shown, right=_ORDERS[3:7])]
    return "\n".join(parts)


_HUNDREDTHS = Decimal("0.01")
_LEGS = ("leg", "qty", "left", "target", "stop")
_ORDERS = ("order", "side", "type", "qty", "filled", "price", "stop", "status")


def _position(position: Position, rules: SymbolRules, quote: Quote | None) -> PositionStatus:
    plan = position.plan
    held, safe = sellable(position, rules), covered(position)
    average = entry_average(position)
    since = position.exposure.since
    return PositionStatus(
        trade=position.trade,
        signal=position.signal,
        side=str(plan.direction),
        phase=type(position.phase).__name__.lower(),
        opened=text.instant(position.opened),
        entered=text.instant(position.entered) if position.entered else None,
        planned_qty=plain(plan.qty),
        planned_entry=plain(plan.entry),
        planned_stop=plain(plan.stop),
        targets=[plain(target) for target in plan.targets],
        entry_avg=_plain(rounded(average, Decimal("1E-8")) if average is not None else None),
        held=plain(holding(position, rules).held),
        covered=plain(safe),
        unprotected=plain(max(held - safe, ZERO)),
        unprotected_since=text.instant(since) if since else None,
        live_stop=_plain(live_stop(position)),
        legs=[
            LegStatus(
                leg=leg.n,
                qty=plain(leg.qty),
                left=plain(max(leg_left(position, leg, rules), ZERO)),
                target=_plain(leg.target),
                stop=_plain(leg.stop),
            )
            for leg in position.legs
        ],
        orders=[_order(order) for order in position.orders],
        price_r=_plain(_price_r(position, quote.last)) if quote is not None else None,
    )


def _price_r(position: Position, last: Decimal) -> Decimal | None:
    plan, average = position.plan, entry_average(position)
    return None if average is None else rounded((last - average) / (plan.entry - plan.stop), _HUNDREDTHS)


def live_stop(position: Position) -> Decimal | None:
    """The stop price, of those live on the exchange, that the market would reach first."""
    prices = [o.stop_price for o in position.orders if o.live and o.is_stop and o.stop_price is not None]
    if not prices:
        return None
    return max(prices) if position.plan.direction.sign > 0 else min(prices)


def _order(order: Order) -> OrderStatus:
    return OrderStatus(
        id=order.id,
        role=str(order.role),
        leg=order.leg,
        side=str(order.side),
        type=str(order.type),
        qty=plain(order.qty),
        filled=plain(order.cum_qty),
        price=_plain(order.price),
        stop_price=_plain(order.stop_price),
        status=str(order.status if order.status is not None else order.end or order.phase),
        live=order.live,
    )


def _guessed(position: Position, symbol: str) -> SymbolRules:
    """As much of the symbol's rules as the position tells: what its fees were paid in, and the step of its plan."""
    base, quote = assets_of(symbol, [fill.fee_asset for order in position.orders for fill in order.fills])
    exponent = position.plan.qty.as_tuple().exponent
    assert isinstance(exponent, int)
    return SymbolRules(
        symbol=symbol, base=base, quote=quote, tick=Decimal("1E-8"), step=Decimal(1).scaleb(min(exponent, 0))
    )


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
