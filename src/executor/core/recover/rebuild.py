"""A trade rebuilt from the exchange alone (rule 9.3): from its ids, its orders and their fills, when no state is left.

Nothing is guessed. Open orders of one trade, whose exits add up to what its fills say is held, are a trade again;
anything else is told to the operator, the orders stay where they are, and no new trade begins.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from executor.core.absorb.reports import adopt
from executor.core.book import brackets, debt
from executor.core.book.ledger import Holding, handed_on, holding, list_leaves
from executor.core.book.levels import is_safer
from executor.core.decide import legs
from executor.core.model import ids
from executor.core.model.facts import Fill, OrderReport
from executor.core.model.ids import ENTRIES, Role
from executor.core.model.intents import Level, Notify
from executor.core.model.orders import fold
from executor.core.model.policy import Layout, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Entering, Leg, Order, Plan, Position, Reason, State, Unprotected
from executor.core.model.values import ZERO, Direction, OrderStatus, short

ADOPT: Final = "executor adopt"
FLATTEN: Final = "executor flatten"
FORGET: Final = "executor forget"


class NotRebuilt(msgspec.Struct, frozen=True):
    """Why there is no trade to be made of what was `found`; `commands` are those that resolve it."""

    why: str
    found: tuple[str, ...]
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.why}. Found: {'; '.join(self.found)}. To resolve: {', or '.join(self.commands)}"


class Restored(msgspec.Struct, frozen=True):
    state: State
    notes: tuple[Notify, ...]


class _Refusal(Exception):  # noqa: N818  (it says what it is)
    def __init__(self, why: str, *commands: str) -> None:
        super().__init__(why)
        self.why = why
        self.commands = commands or (ADOPT, FLATTEN, FORGET)


def restore(
    state: State,
    *,
    open_orders: Sequence[OrderReport],
    history: Sequence[OrderReport],
    fills: Mapping[str, tuple[Fill, ...]],
    policy: Policy,
    rules: SymbolRules,
    now: int,
) -> Restored:
    """`state` (of a symbol without a trade) with what `rebuild` makes of the exchange: the trade, or a halt that says
    why not. What `state` knows to be over, or is to ignore, is left out.
    """
    open_orders = [report for report in open_orders if report.id not in state.ignored]
    history = [report for report in history if report.id not in state.ignored and not _is_over(report, state)]
    made = rebuild(open_orders, history, fills, policy, rules, now)
    match made:
        case None:
            return Restored(state, ())
        case Position():
            text = f"trade {made.trade} rebuilt from {len(made.orders)} orders of the exchange; it is supervised again"
            return Restored(replace(state, position=made), (Notify(Level.ALERT, "trade_rebuilt", text),))
        case _:
            text = str(made)
            return Restored(replace(state, halted=text), (Notify(Level.ALERT, "not_rebuilt", text),))


def rebuild(
    open_orders: Sequence[OrderReport],
    history: Sequence[OrderReport],
    fills: Mapping[str, tuple[Fill, ...]],
    policy: Policy,
    rules: SymbolRules,
    now: int,
) -> Position | NotRebuilt | None:
    """The open trade; None when there is none.

    `open_orders`: all of the symbol. `history`: orders of our name space, ended ones too, as far back as could be read.
    `fills`: theirs, by client order id.
    """
    known = merge(open_orders, history)
    live = [report for report in known.values() if not report.status.is_final]
    try:
        trade = _trade(live, known, rules, fills)
        if trade is None:
            return None
        mine = {key: report for key, report in known.items() if _name(key).trade == trade}
        return _Rebuilding(trade, mine, fills, policy, rules, now).position()
    except _Refusal as refusal:
        found = tuple(map(_words, live)) or ("no open order of ours",)
        return NotRebuilt(refusal.why, found, refusal.commands)


def merge(open_orders: Iterable[OrderReport], history: Iterable[OrderReport]) -> dict[str, OrderReport]:
    """Per id what is known best: the report that is final, else the one that has more filled."""
    known: dict[str, OrderReport] = {}
    for report in (*history, *open_orders):
        if not ids.is_ours(report.id):
            continue
        other = known.get(report.id)
        if other is None or (report.status.is_final, report.cum_qty) >= (other.status.is_final, other.cum_qty):
            known[report.id] = report
    return known


def not_shown(known: Iterable[OrderReport]) -> tuple[str, ...]:
    """The exits that entries among `known`, open or filled, have brought and that are not among it: whether lists show
    what awaits its entry, Binance's documents leave open (rule 8.8). Their ids follow from the entries' (rule 13.4).
    """
    reports = {report.id: report for report in known}
    entered = [r.id for r in reports.values() if r.list_exchange_id >= 0 and _entered(r)]
    names = [name for name in map(ids.parse, entered) if name is not None]
    return tuple(exit_ for name in names for exit_ in ids.brought_by(name) if exit_ not in reports)


def _entered(report: OrderReport) -> bool:
    return not report.status.is_final or report.status is OrderStatus.FILLED


def _is_over(report: OrderReport, state: State) -> bool:
    """Whether it is an ended order of the last trade, which was closed: what is left of that one is no riddle."""
    closed = state.last_closed
    return closed is not None and report.status.is_final and _in(report.id, closed.trade)


def _trade(
    live: Sequence[OrderReport],
    known: Mapping[str, OrderReport],
    rules: SymbolRules,
    fills: Mapping[str, tuple[Fill, ...]],
) -> str | None:
    """The one trade that has open orders."""
    strange = [report.id for report in live if ids.parse(report.id) is None]
    if strange:
        raise _Refusal(f"open orders with ids that Executor never gave: {', '.join(strange)}", FORGET)
    trades = sorted({_name(report.id).trade for report in live})
    if len(trades) > 1:
        raise _Refusal(f"open orders of {len(trades)} trades: {', '.join(trades)}")
    if trades:
        return trades[0]
    _nothing_bare(known, rules, fills)
    return None


def _price(report: OrderReport, fills: tuple[Fill, ...]) -> Decimal:
    """What it traded at, also where the exchange does not say the sum any more."""
    if report.cum_quote:
        return report.cum_quote / report.cum_qty
    return max((fill.price for fill in fills), default=report.price)


def _nothing_bare(known: Mapping[str, OrderReport], rules: SymbolRules, fills: Mapping[str, tuple[Fill, ...]]) -> None:
    """No order is open: then the last trade must not hold anything either."""
    names = [name for name in map(ids.parse, known) if name is not None]
    last = max((name.trade for name in names), key=int, default=None)
    if last is None:
        return
    mine = [report for key, report in known.items() if _in(key, last)]
    entries = [report for report in mine if _name(report.id).role in ENTRIES]
    if not entries:
        return
    side = entries[0].side
    held = sum((r.cum_qty if r.side is side else -r.cum_qty for r in mine), ZERO)
    for report in entries:
        held -= sum((f.fee for f in fills.get(report.id, ()) if f.fee_asset == rules.base), ZERO)
    price = max((_price(r, fills.get(r.id, ())) for r in entries if r.cum_qty), default=ZERO)
    if rules.market_piece(held, price):
        raise _Refusal(f"trade {last} holds {short(rules.whole(held))} {rules.base} and has no order: it has NO STOP")


class _Rebuilding:
    """One trade's orders on the way to a position."""

    def __init__(
        self,
        trade: str,
        reports: Mapping[str, OrderReport],
        fills: Mapping[str, tuple[Fill, ...]],
        policy: Policy,
        rules: SymbolRules,
        now: int,
    ) -> None:
        self.trade = trade
        self.policy = policy
        self.rules = rules
        self.now = now
        orders = tuple(sorted((self._order(r, fills) for r in reports.values()), key=lambda o: _name(o.id).rev))
        for entry in orders:
            orders = brackets.linked(orders, entry)
        self.orders = list(orders)
        self.live = [order for order in self.orders if order.live]
        self.entries = [order for order in self.orders if order.is_entry]

    def _order(self, report: OrderReport, fills: Mapping[str, tuple[Fill, ...]]) -> Order:
        named = fills.get(report.id, report.fills)
        if sum((fill.qty for fill in named), ZERO) != report.cum_qty:
            raise _Refusal(f"{report.id} has filled {short(report.cum_qty)}, and its trades do not add up to that")
        order = adopt(report, _name(report.id))
        if order.leg == 0 and order.role is Role.SL and self.policy.layout is not Layout.PLAIN:
            order = replace(order, leg=3)  # without targets beside it, the single stop is the trailing leg's
        return fold(order, replace(report, fills=named), report.time or self.now)

    def position(self) -> Position:
        if not self.entries:
            raise _Refusal(f"trade {self.trade}: its entry is not in the order history", FORGET)
        if any(order.live and (order.awaits or (order.is_entry and order.list_id)) for order in self.orders):
            return self._entering()
        if any(order.live for order in self.entries):
            raise _Refusal(f"trade {self.trade}: its entry is still open, and its stop and targets are not known")
        direction = Direction.LONG if self.entries[0].side is Direction.LONG.entry_side else Direction.SHORT
        plan = self._plan(direction)
        credit = debt.unclaimed(direction, self._spent(direction), self.rules)
        legs = self._legs()
        if credit is not None and direction is Direction.SHORT:
            legs = tuple(sorted((*self._over(legs, plan.stop), *legs), key=lambda leg: leg.n))
        position = Position(
            trade=self.trade,
            signal=f"rebuilt-{self.trade}",
            opened=int(self.trade),
            plan=plan,
            phase=Unprotected(since=self.now, deadline=self.now + self.policy.failsafe_grace_ms),
            entered=max(order.closed_at for order in self.entries),
            revs=1 + max(_name(order.id).rev for order in self.orders),
            legs=legs,
            split=self._split(legs),
            orders=tuple(self.orders),
            target_hit=any(order.is_target and order.cum_qty == order.qty for order in self.orders),
            credit=credit,
        )
        self._add_up(position)
        return position

    def _entering(self) -> Position:
        """Its entry is still open, and has its exits with it: they tell the stop and the targets (rule 13.4)."""
        if any(order.live and not order.list_id for order in self.entries):
            raise _Refusal(f"trade {self.trade}: of its entry a part is still open that has no exits")
        direction = Direction.LONG if self.entries[0].side is Direction.LONG.entry_side else Direction.SHORT
        plan = self._plan(direction)
        end = None if plan.targets else Reason.ENTRY_CANCELLED  # how far it may still be entered is not known then
        orders = [replace(o, leg=0) if o.is_stop and not o.list_id else o for o in self.orders]  # under the part
        return Position(
            trade=self.trade,
            signal=f"rebuilt-{self.trade}",
            opened=int(self.trade),
            plan=plan,
            phase=Entering(give_up_at=int(self.trade) + self.policy.entry_timeout_ms, end=end),
            revs=1 + max(_name(order.id).rev for order in self.orders),
            orders=tuple(orders),
        )

    def _spent(self, direction: Direction) -> Decimal:
        long = direction is Direction.LONG
        return sum((order.value if long else order.cum_qty for order in self.entries), ZERO)

    def _plan(self, direction: Direction) -> Plan:
        """From the orders' own prices: the entry's, the first stop's, each target's."""
        bought = sum((order.cum_qty for order in self.entries), ZERO)
        entered = sum((order.qty if order.live else order.cum_qty for order in self.entries), ZERO)
        if not entered:
            raise _Refusal(f"trade {self.trade} has open orders, but its entry never filled", FLATTEN, FORGET)
        entry = self.entries[0].price or self._on_tick(sum((o.value for o in self.entries), ZERO) / bought)
        levels = [order.stop_price for order in self.orders if order.is_stop and order.stop_price is not None]
        if not levels:
            raise _Refusal(f"trade {self.trade} has no stop with a price")
        stop = min(levels) if direction is Direction.LONG else max(levels)
        if not is_safer(entry, stop, direction):
            raise _Refusal(f"trade {self.trade}: its first stop is not in the order history")
        targets = []
        for role in (Role.TP1, Role.TP2):
            price = next((order.price for order in self.orders if order.role is role), None)
            if price is not None:
                targets.append(price)
        qty = max(entered, *(order.qty for order in self.entries))
        return Plan(direction=direction, entry=entry, stop=stop, targets=tuple(targets), qty=qty, r=abs(entry - stop))

    def _on_tick(self, price: Decimal) -> Decimal:
        return (price / self.rules.tick).to_integral_value() * self.rules.tick

    def _legs(self) -> tuple[Leg, ...]:
        found = []
        for n in sorted({order.leg for order in self.live}):
            mine = self._exit_of([order for order in self.live if order.leg == n])
            stop = next((order for order in mine if order.is_stop), None) or self._stood(n)
            target = next((order for order in mine if order.is_target), None)
            if not (stop or target) or (stop is not None and stop.stop_price is None):
                raise _Refusal(f"leg {n} is left by {', '.join(order.id for order in mine)}, without a stop price")
            self._fits_layout(target)
            found.append(_leg(n, self._sold(n) + self._leaves(mine), target, stop))
        return tuple(found)

    def _leaves(self, mine: Sequence[Order]) -> Decimal:
        """What a leg's exit is to sell yet: one that its entry has brought, no more than that brought (rule 13.1)."""
        leaves, name = list_leaves(mine), mine[0].list_id
        entry = next((order for order in self.entries if order.hands_on is not None and order.list_id == name), None)
        if entry is None:
            return leaves
        sold = sum((order.cum_qty for order in self.orders if order.list_id == name and not order.is_entry), ZERO)
        return min(leaves, handed_on(entry) - sold)

    def _over(self, legs: tuple[Leg, ...], stop: Decimal) -> Iterator[Leg]:
        """The legs whose exits have ended: what all of a short's legs are for tells what of its debt is theirs."""
        known = {leg.n for leg in legs}
        for n in (1, 2, 3):
            if n not in known and any(order.leg == n and order.cum_qty for order in self.orders):
                target = next((order for order in self.orders if order.leg == n and order.is_target), None)
                leg = _leg(n, self._sold(n), target, self._stood(n))
                yield leg if leg.stop is not None or target is not None else replace(leg, stop=stop)

    def _exit_of(self, mine: list[Order]) -> list[Order]:
        """The exit of a leg that is to stand, of those that do. Two of one size, each with its stop, are one that was
        sent again while the first was in doubt (8.3b): the other is cancelled as any that is there after all (10.1).
        """
        exits = legs.exits(mine)
        if len(exits) > 1:
            alike = len({order.qty for order in mine}) == 1 and not any(order.cum_qty for order in mine)
            if not alike or not all(any(order.is_stop for order in each) for each in exits):
                names = ", ".join(order.id for order in mine)
                raise _Refusal(f"leg {mine[0].leg} has more than one exit: {names}")
            self.orders = [replace(order, back=True) if order in mine else order for order in self.orders]
        long = mine[0].side is Direction.LONG.exit_side
        return legs.safest(exits, Direction.LONG if long else Direction.SHORT)

    def _stood(self, n: int) -> Order | None:
        """The stop that stood beside a target which is at work now: its level is watched by software (rule 5.6)."""
        return next((order for order in reversed(self.orders) if order.leg == n and order.is_stop), None)

    def _split(self, legs: tuple[Leg, ...]) -> tuple[Decimal, Decimal, Decimal]:
        """Quantity per leg. In PLAIN what the targets leave of the whole position is the trailing part."""
        first, second, third = (next((leg.qty for leg in legs if leg.n == n), ZERO) for n in (1, 2, 3))
        whole = next((leg for leg in legs if leg.n == 0), None)
        if whole is not None:
            targets = sum((leg.qty - self._sold(leg.n) for leg in legs if leg.n), ZERO)
            third = max(whole.qty - self._sold(0) - targets, ZERO)
        return first, second, third

    def _fits_layout(self, target: Order | None) -> None:
        if target is None:
            return
        layout = Layout.OCO if target.list_id else Layout.PLAIN
        if (layout is Layout.PLAIN) is not (self.policy.layout is Layout.PLAIN):
            raise _Refusal(f"{target.id} was placed with EXIT_LAYOUT={layout}; start with that to go on", FORGET)

    def _add_up(self, position: Position) -> None:
        """What the exits would sell is what is held, and a stop is among them. A short's may be for a little more or
        less than it owes on borrowed money: interest that is not known here, and what they have paid themselves (11.6).
        """
        found = holding(position, self.rules)
        held = self.rules.whole(found.held + found.beyond)
        whole = [leg for leg in position.legs if leg.n == 0]
        counted = whole or position.legs
        leaving = sum((leg.qty - self._sold(leg.n) for leg in counted), ZERO)
        most = found.most if found.most is not None else held
        if not held - self._slack(found) <= leaving <= most:
            raise _Refusal(
                f"trade {self.trade} holds {short(held)} {self.rules.base}, its exits would sell {short(leaving)}"
            )
        if all(leg.stop is None for leg in position.legs):  # PLAIN's targets can add up without its stop of the whole
            raise _Refusal(f"trade {self.trade} holds {short(held)} {self.rules.base}, and has targets but NO STOP")

    def _slack(self, found: Holding) -> Decimal:
        """How much less than what it owes a short's exits may be for: their commissions, which the last buy takes."""
        if found.most is None:
            return ZERO
        exits = [order for order in self.orders if order.is_exit]
        fees = sum((fill.fee for order in exits for fill in order.fills if fill.fee_asset == self.rules.base), ZERO)
        return fees + self.rules.step

    def _sold(self, leg: int) -> Decimal:
        """What a leg's exits have traded, or all of them, of the whole position's."""
        exits = [order for order in self.orders if not order.is_entry]
        return sum((order.cum_qty for order in exits if leg in (0, order.leg)), ZERO)


def _leg(n: int, qty: Decimal, target: Order | None, stop: Order | None) -> Leg:
    return Leg(
        n=n,
        qty=qty,
        target=target.price if target is not None else None,
        stop=stop.stop_price if stop is not None else None,
    )


def _name(text: str) -> ids.ClientId:
    name = ids.parse(text)
    if name is None:
        raise _Refusal(f"an id that Executor never gave: {text}", FORGET)
    return name


def _in(text: str, trade: str) -> bool:
    name = ids.parse(text)
    return name is not None and name.trade == trade


def _words(report: OrderReport) -> str:
    prices = [f"at {short(report.price)}"] if report.price else []
    prices += [f"stop {short(report.stop_price)}"] if report.stop_price else []
    return f"{report.id} {report.side} {short(report.qty - report.cum_qty)} {' '.join(prices)}".rstrip()
