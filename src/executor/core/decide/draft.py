"""A decision being drawn up: the position as it will be, the requests it owes, what people should read.

Mutable, but only inside one call of `decide`; it keeps the bookkeeping (ids, sequence numbers, what is asked already)
in one place, so that the deciding modules read like the rules they carry out.
"""

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.book import retire
from executor.core.book.edit import with_leg, with_order
from executor.core.book.ledger import Tally, exits_of, filled_lists, tally
from executor.core.book.levels import away_from_profit, stop_limit
from executor.core.decide.outbox import Outbox
from executor.core.model.ids import Role, client_id
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    Level,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    QueryAllOrders,
    QueryBalances,
    QueryKlines,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    ReplaceOrder,
    Stamp,
)
from executor.core.model.orders import CancelBy, cancel_again_at, cancel_by, failed_cancels, request_of
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closing, End, Leg, Order, OrderPhase, Owed, Phase, Position, Reason, State
from executor.core.model.values import OrderSide, OrderType, TimeInForce

LOOK_AFTER_MS: Final = 250
LOOKS: Final = 2
OUTLIVED: Final = 4
"""An order that so many cancels, by every way there is, have not rid the book of is not waited for any more."""
OUTLIVED_ALERT: Final = 5


class Draft(Outbox):
    def __init__(
        self, state: State, position: Position, policy: Policy, rules: SymbolRules, stamp: Stamp | None = None
    ) -> None:
        super().__init__(state, policy, rules, stamp)
        self.position = position
        self.halted = state.halted
        self.tally: Tally = tally(position, rules)
        self._limits: dict[Decimal, Decimal] = {}
        self._lefts: dict[int, tuple[Leg, Decimal]] = {}
        """By the leg's identity, with the leg, which so keeps it."""

    @property
    def price(self) -> Decimal:
        """The last price; the planned stop's before any is known."""
        quote = self.market.quote
        return quote.last if quote is not None else self.position.plan.stop

    def count_again(self) -> Tally:
        """The tally, after what was written off."""
        self.tally = tally(self.position, self.rules)
        self._lefts.clear()
        return self.tally

    def left(self, leg: Leg) -> Decimal:
        """What the leg still has to sell, in whole steps."""
        known = self._lefts.get(id(leg))
        if known is None:  # in the steps of now: they may have grown coarser since
            known = self._lefts[id(leg)] = leg, self.rules.whole(self.tally.left(leg))
        return known[1]

    def on_grid(self, price: Decimal) -> Decimal:
        """`price` in the ticks of now, which may have grown coarser since it was planned: away from profit, as it was
        then (rules 2.2, 2.6).
        """
        return away_from_profit(price, self.rules.tick, self.position.plan.direction)

    def stop_limit(self, level: Decimal) -> Decimal:
        """The limit price of a stop at `level` (rule 4.4); reckoned once, as most legs share their level."""
        if level not in self._limits:
            self._limits[level] = stop_limit(level, self.position.plan.direction, self.policy, self.rules)
        return self._limits[level]

    # --- what is asked already ---------------------------------------------------------------------------------

    def _asked_about(self) -> set[str]:
        """The orders that queries are about."""
        return {r.id for r in self.pending() if isinstance(r, QueryOrder | QueryTrades)}

    def commanded(self, order: Order) -> bool:
        """Whether a request that changes `order` waits for its answer."""
        return order.id in self._commanded

    def may_change(self, order: Order) -> bool:
        """Whether a cancel may go out now: none is under way, and one that did not take is not repeated at once."""
        return not self.commanded(order) and not (order.cancelling and self.now < cancel_again_at(order))

    def may_read(self) -> bool:
        return self.now >= self.position.ask_at

    def read_again(self, at: int) -> None:
        self.update(ask_at=max(self.position.ask_at, at))

    # --- the position ------------------------------------------------------------------------------------------

    def update(self, **changes: object) -> None:
        self.position = replace(self.position, **changes)

    def enter(self, phase: Phase) -> None:
        self.position = replace(self.position, phase=phase)

    def close(self, reason: Reason, *, abandon: bool = False) -> None:
        self.enter(Closing(reason=reason, since=self.now, abandon=abandon))
        self.update(guess_fees=False)  # commissions that could not be read then are asked for again

    def put(self, order: Order) -> None:
        self.position = with_order(self.position, order)

    def look(self, order: Order) -> None:
        """Have `order` queried before it is acted on, unless a push tells its end first."""
        if not order.check:
            self.put(replace(order, check=True, looks=order.looks + 1, ask_at=self.now + LOOK_AFTER_MS))

    def put_leg(self, leg: Leg) -> None:
        self.position = with_leg(self.position, leg)

    def live(self, leg: int | None = None) -> list[Order]:
        """Live exit orders, of one leg or of all."""
        return [o for o in self.position.orders if o.live and (leg is None or o.leg == leg) and o.is_exit]

    # --- orders ------------------------------------------------------------------------------------------------

    def order(
        self,
        role: Role,
        side: OrderSide,
        kind: OrderType,
        qty: Decimal,
        *,
        leg: int = 0,
        price: Decimal | None = None,
        stop_price: Decimal | None = None,
        trailing_delta: int | None = None,
        ioc: bool = False,
        list_id: str = "",
        awaits: str = "",
    ) -> Order:
        """A new order under an id that was never used, on record as submitted."""
        rests = kind in (OrderType.LIMIT, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT)
        position = self.position
        order = Order(
            id=client_id(position.trade, role, position.revs),
            role=role,
            leg=leg,
            side=side,
            type=kind,
            qty=qty,
            price=price,
            stop_price=stop_price,
            trailing_delta=trailing_delta,
            time_in_force=(TimeInForce.IOC if ioc else TimeInForce.GTC) if rests else None,
            list_id=list_id,
            awaits=awaits,
            sent_at=self.now,
        )
        self.update(orders=(*position.orders, order), revs=position.revs + 1)
        return order

    def new_id(self, role: Role) -> str:
        rev = self.position.revs
        self.update(revs=rev + 1)
        return client_id(self.position.trade, role, rev)

    def coming_id(self, role: Role, after: int) -> str:
        """The id that is given to `role` when `after` others were given out."""
        return client_id(self.position.trade, role, self.position.revs + after)

    # --- requests ----------------------------------------------------------------------------------------------

    def place(self, order: Order) -> None:
        self._send(PlaceOrder(seq=self._next_seq, stamp=self._stamp, order=request_of(order)))

    def place_oco(self, target: Order, stop: Order) -> None:
        pair = request_of(target), request_of(stop)
        seq, stamp = self._next_seq, self._stamp
        self._send(PlaceOco(seq=seq, stamp=stamp, list_id=target.list_id, target=pair[0], stop=pair[1]))

    def place_bracket(self, entry: Order, stop: Order, target: Order | None) -> None:
        beside = request_of(target) if target is not None else None
        sent, safe = request_of(entry), request_of(stop)
        seq, stamp = self._next_seq, self._stamp
        self._send(PlaceBracket(seq=seq, stamp=stamp, list_id=entry.list_id, entry=sent, stop=safe, target=beside))

    def swap(self, old: Order, new: Order) -> None:
        self.put(replace(old, cancelling=True))
        self.put(replace(new, replaces=old.id))
        self._send(ReplaceOrder(seq=self._next_seq, stamp=self._stamp, cancel_id=old.id, order=request_of(new)))

    def cancel(self, orders: list[Order], *, recheck: bool = False) -> None:
        """Cancel these working orders; one that is being changed already, or whose fate wants a look first, is left for
        the next decision. `recheck`: it is looked at once more when it has ended (rule 6.3).

        A list goes as a list while both of its sides work; a side that is left of one, or has outlived such a cancel,
        goes by its own id, which is known whether or not the exchange calls the list done (rules 8.7, 8.8). An entry
        always does: if it has filled meanwhile, the exits that it has brought stay (rule 13.2). What has outlived that
        goes each other way in turn (`cancel_by`).
        """
        lists: dict[str, list[str]] = {}
        for order in orders:
            if order.check or not self.may_change(order) or self.asked(QueryOrder, order.id):
                continue
            self.tell_outlived(order)
            self.put(replace(order, cancelling=True, recheck=order.recheck or recheck))
            by, paired = cancel_by(order), self.paired(order)
            if (paired and not order.cancels) or (by is CancelBy.LIST and not paired):
                lists.setdefault(order.list_id, []).append(order.id)
            else:
                number = order.exchange_id if by is CancelBy.EXCHANGE_ID else 0
                self._send(CancelOrder(seq=self._next_seq, stamp=self._stamp, id=order.id, exchange_id=number))
        for list_id, ids in lists.items():
            self._send(CancelList(seq=self._next_seq, stamp=self._stamp, list_id=list_id, ids=tuple(ids)))

    def dismiss(self, orders: list[Order], *, recheck: bool = False) -> None:
        """Have these orders gone: what works is cancelled, save the side of a list whose other has filled: it has ended
        by the exchange's own rule, so a look is enough, and where two have shown it working all the same, its cancel.
        So has what awaits an entry that ended before it had filled; where that lives, it goes with it (rule 13.1).
        Market orders end by themselves.
        """
        if not orders:
            return
        entries = {o.id: o for o in self.position.orders if o.is_entry and o.list_id}
        entering = {name for name, entry in entries.items() if entry.live}
        working = [
            o
            for o in orders
            if o.phase is OrderPhase.WORKING and o.type is not OrderType.MARKET and o.awaits not in entering
        ]
        ended = filled_lists(self.position)
        over = {name for name, entry in entries.items() if entry.end is not End.FILLED}
        expected = {o.id for o in working if (o.list_id in ended or o.awaits in over) and o.looks < LOOKS}
        for order in working:
            if order.id in expected:
                self.look(order)
        self.cancel([o for o in working if o.id not in expected], recheck=recheck)

    def paired(self, order: Order) -> bool:
        """Whether the other side of its list works as well."""
        if not order.list_id or order.is_entry:
            return False
        sides = exits_of(self.position, order.list_id)
        return any(o.phase is OrderPhase.WORKING for o in sides if o.id != order.id)

    def tell_outlived(self, order: Order) -> None:
        """An order that no way of cancelling rids the book of is named, again and again (rule 8.7)."""
        failed = failed_cancels(order)
        if failed and failed % OUTLIVED_ALERT == 0:
            text = f"{order.id} still stands after {failed} cancels; tried again, in growing pauses"
            self.note(Level.ALERT, "cancel_failed", text, [order])

    def query(self, order: Order) -> bool:
        """Whether that is asked now, and was not before."""
        if self.asked(QueryOrder, order.id):
            return False
        self._send(QueryOrder(seq=self._next_seq, id=order.id, exchange_id=order.exchange_id))
        return True

    def query_trades(self, order: Order) -> None:
        if self.now >= order.ask_at and not self.asked(QueryTrades, order.id):
            self._send(QueryTrades(seq=self._next_seq, id=order.id, exchange_id=order.exchange_id))

    def query_quote(self) -> None:
        self._read(QueryQuote(seq=self._next_seq))

    def query_balances(self) -> None:
        self._read(QueryBalances(seq=self._next_seq))

    def query_open_orders(self) -> None:
        self._read(QueryOpenOrders(seq=self._next_seq))

    def query_all_orders(self, since: int) -> None:
        """To be asked beside a look, whose pace it has."""
        if not self.asked(QueryAllOrders):
            self._send(QueryAllOrders(seq=self._next_seq, since=since))

    def query_klines(self, count: int) -> None:
        self._read(QueryKlines(seq=self._next_seq, count=count))

    # --- the result --------------------------------------------------------------------------------------------

    def finish(self) -> State:
        """The state with the decision in it, and without what can't matter any more; the same object when nothing was
        decided.
        """
        state = self.state
        if not self.requests and self.position is state.position and self.halted == state.halted:
            return state
        position = self.position
        if len(position.orders) > retire.MANY:  # else it need not be known which of them are asked about
            position = retire.retired(position, self._commanded | self._asked_about(), self.now)
        owed = [Owed(self.now, request) for request in self.requests]
        return replace(
            state,
            position=position,
            outbox=(*state.outbox, *owed),
            next_seq=self._next_seq,
            halted=self.halted,
            loan=self.loan,
            market=self.market_after,
        )
