"""How live orders live: accepted, filled, triggered, cancelled, expired.

Fill model. The recording's trades are the market. A resting order fills, at its own price, when a trade
prints at or through that price, by the traded volume: a trade's volume is given out once, to orders in
price-time priority. It fills only from trades after it came to rest, never from the one that brought it
there. A taking order fills at once against `liquidity`. Own fills do not move the recorded market: neither
its last price nor its quotes.

Order of a market trade's effects: resting orders fill; then stops trigger by the new last price and take or
rest; then pending orders of lists whose working order has filled are placed; then balances are reported.
"""

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from executor.core.model.values import ZERO, OrderSide, OrderStatus, OrderType, TimeInForce, floor_to
from executor.paper.engine.account import Account, LiveList, LiveOrder, insufficient_balance
from executor.paper.engine.book import Book
from executor.paper.engine.choices import (
    CancelledId,
    ExchangeChoices,
    OcoDone,
    OcoEnded,
    OcoSibling,
    OpoCommission,
    PendingEnded,
    PendingRefused,
)
from executor.paper.engine.entry import check_entry, check_pair, check_proceeds, size_by_proceeds
from executor.paper.engine.ledger import Ledger
from executor.paper.engine.liquidity import LiquidityModel, Step, plan_taker
from executor.paper.engine.model import (
    NO_ORDER,
    NO_TRADE,
    ExecutionReport,
    ExecutionType,
    ExpiryReason,
    Fill,
    ListOrderStatus,
    ListStatus,
    ListStatusType,
    PreventedMatch,
    Reject,
    StpMode,
)
from executor.paper.engine.symbol import ALGO_TYPES, MARKET_TYPES

_MAKER_GIVES_BACK = 5
_TAKER_GIVES_BACK = 1
_BIPS = 10_000
PAIR = 2
"""Orders of a list that is, or ends in, an OCO pair."""


_REJECT_REASONS: Final = {
    "Account has insufficient balance for requested action.": "INSUFFICIENT_BALANCES",
    "Order would trigger immediately.": "STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY",
    "Order would immediately match and take.": "WOULD_MATCH_IMMEDIATELY",
    "The relationship of the prices for the orders is not correct.": "OCO_BAD_PRICES",
}
"""`r` of a refusal (user-data-stream.md, "Order Reject Reason"); the documents name none for the others."""


class Matcher:
    """Moves live orders through their lives; the books, accounts and money of the exchange follow."""

    __slots__ = (
        "_books",
        "_dirty",
        "_ready",
        "choices",
        "execution_id",
        "ledger",
        "liquidity",
        "prevented_ids",
        "refuses_pending",
        "trade_ids",
    )

    def __init__(
        self,
        books: dict[str, Book],
        ledger: Ledger,
        liquidity: LiquidityModel,
        dirty: dict[str, Account],
        choices: ExchangeChoices,
    ) -> None:
        self._books = books
        self.choices = choices
        self.ledger = ledger
        self.liquidity = liquidity
        self._dirty = dirty
        self._ready: deque[LiveList] = deque()
        self.refuses_pending: Callable[[LiveList], bool] = lambda _: False
        """A fault of the exchange's: the pending orders of this list are not taken when their moment comes."""
        self.execution_id = 0
        self.prevented_ids: dict[str, int] = dict.fromkeys(books, 0)
        self.trade_ids: dict[str, int] = dict.fromkeys(books, 0)

    # --- entering -------------------------------------------------------------------------------------------

    def accept(self, order: LiveOrder, now: int) -> None:
        """Make a registered order live and reserve its funds; `start` then sets it to work."""
        self._enter(order, now)

    def accept_pending(self, order: LiveOrder, now: int) -> None:
        """Let a registered order wait for the working one of its list; it reserves nothing yet."""
        order.status = OrderStatus.PENDING_NEW
        order.reserves = False
        self.report(order, ExecutionType.NEW, now)

    def accept_pair(self, pair: LiveList, legs: tuple[LiveOrder, LiveOrder], now: int) -> None:
        """Make both legs of an OCO live; they reserve funds once, by the list."""
        self._enter_pair(pair, legs, now)

    def start(self, order: LiveOrder, now: int, quote_budget: Decimal | None = None) -> None:
        """Set an accepted order to work: take, rest, or wait for its trigger."""
        if order.type in ALGO_TYPES:
            self._books[order.symbol].await_trigger(order)
        else:
            self._work(order, now, quote_budget)

    def _enter(self, order: LiveOrder, now: int) -> None:
        if order.type not in ALGO_TYPES:
            order.is_working = True
            order.working_time = now
        if order.sibling is None:
            order.account.reserve(order)
        self.report(order, ExecutionType.NEW, now)

    def _enter_pair(self, pair: LiveList, legs: tuple[LiveOrder, LiveOrder], now: int) -> None:
        legs[0].sibling, legs[1].sibling = legs[1], legs[0]
        for leg in legs:
            self._enter(leg, now)
        pair.account.reserve_pair(pair, legs)

    # --- working --------------------------------------------------------------------------------------------

    def _work(self, order: LiveOrder, now: int, quote_budget: Decimal | None = None) -> None:
        book = self._books[order.symbol]
        market = order.type in MARKET_TYPES
        if market or (order.type is not OrderType.LIMIT_MAKER and book.would_take(order.side, order.price)):
            self._take(order, now, quote_budget)
        if order.status.is_final:
            return
        if market:
            self.expire(order, ExpiryReason.INSUFFICIENT_LIQUIDITY, now)
        elif order.time_in_force is TimeInForce.IOC:
            self.expire(order, ExpiryReason.UNFILLED_IOC_QUANTITY_EXPIRED, now)
        elif order.time_in_force is TimeInForce.FOK:
            self.expire(order, ExpiryReason.UNFILLED_FOK_ORDER_EXPIRED, now)
        else:
            book.rest(order, now)

    def _take(self, order: LiveOrder, now: int, quote_budget: Decimal | None) -> None:
        book = self._books[order.symbol]
        market = order.type in MARKET_TYPES
        limit = None if market else order.price
        plan = plan_taker(self.liquidity, book, order, limit=limit, quote_budget=quote_budget)
        if quote_budget is not None:
            order.orig_qty = plan.wanted
        if market and order.side is OrderSide.BUY:
            funds = order.reserved + order.account.free.get(order.rules.quote, ZERO)
            if plan.quote > funds:
                self.expire(order, ExpiryReason.REJECTED, now)
                return
        if not market and order.time_in_force is TimeInForce.FOK and plan.qty < order.open_qty:
            return
        for step in plan.steps:
            if step.prevented:
                self._prevent(order, step, now)
            else:
                self._match(order, step, now)
            if order.status.is_final:
                return

    def _match(self, taker: LiveOrder, step: Step, now: int) -> None:
        trade_id = self._next_trade_id(taker.symbol)
        if step.maker is None:
            book = self._books[taker.symbol]
            key = (taker.side, step.price)
            book.taken[key] = book.taken.get(key, ZERO) + step.qty
            book.tape.update_id += 1
        else:
            self._fill(step.maker, step.price, step.qty, now, trade_id=trade_id, maker=True)
        self._fill(taker, step.price, step.qty, now, trade_id=trade_id, maker=False)

    def _fill(self, order: LiveOrder, price: Decimal, qty: Decimal, now: int, *, trade_id: int, maker: bool) -> None:
        sibling = self._claim_pair(order)
        if order.executed_qty == 0:
            order.account.counter.give_back(_MAKER_GIVES_BACK if maker else _TAKER_GIVES_BACK, now)
        order.executed_qty += qty
        done = order.open_qty == 0
        order.status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
        order.update_time = now
        lent = self.choices.opo_commission is OpoCommission.FREE
        paid = self.ledger.settle(order, price, qty, maker=maker, lent=lent)
        order.cumulative_quote_qty += paid.quote
        fill = Fill(
            symbol=order.symbol,
            trade_id=trade_id,
            order_id=order.order_id,
            order_list_id=order.order_list_id,
            price=price,
            qty=qty,
            quote_qty=paid.quote,
            commission=paid.commission,
            commission_asset=paid.commission_asset,
            time=now,
            is_buyer=order.side is OrderSide.BUY,
            is_maker=maker,
        )
        order.fills.append(fill)
        order.account.fills.setdefault(order.symbol, []).append(fill)
        self.report(order, ExecutionType.TRADE, now, fill=fill)
        if done:
            self._leave(order)
        if sibling is not None:
            self.expire(sibling, ExpiryReason.OCO_TRIGGER, now)
        if done:
            self._update_list(order, now)

    def _prevent(self, taker: LiveOrder, step: Step, now: int) -> None:
        """Self-trade prevention (faqs/stp_faq.md): the taker's mode decides who loses which quantity; for TRANSFER both
        must ask, else it is DECREMENT.
        """
        maker = step.maker
        if maker is None:
            raise AssertionError("the market is nobody's own order")
        mode = taker.stp_mode
        if mode is StpMode.TRANSFER and maker.stp_mode is not StpMode.TRANSFER:
            mode = StpMode.DECREMENT
        decrement = mode in {StpMode.DECREMENT, StpMode.TRANSFER}
        taker_loss = step.qty if decrement else ZERO if mode is StpMode.EXPIRE_MAKER else taker.open_qty
        maker_loss = step.qty if decrement else ZERO if mode is StpMode.EXPIRE_TAKER else maker.open_qty
        match = PreventedMatch(
            symbol=taker.symbol,
            prevented_match_id=self.prevented_ids[taker.symbol],
            taker_order_id=taker.order_id,
            maker_order_id=maker.order_id,
            stp_mode=mode,
            price=step.price,
            taker_prevented_qty=taker_loss,
            maker_prevented_qty=maker_loss,
            time=now,
        )
        self.prevented_ids[taker.symbol] += 1
        taker.account.prevented.append(match)
        taker.prevented.append(match)
        for order, other, loss in ((maker, taker, maker_loss), (taker, maker, taker_loss)):
            if loss > 0:
                self._lose(order, other.order_id, loss, match, now)

    def prevent(self, order: LiveOrder, qty: Decimal, now: int) -> None:
        """An order of another account of the same trade group meets a resting one, which loses `qty` (DECREMENT)."""
        match = PreventedMatch(
            symbol=order.symbol,
            prevented_match_id=self.prevented_ids[order.symbol],
            taker_order_id=NO_ORDER,
            maker_order_id=order.order_id,
            stp_mode=StpMode.DECREMENT,
            price=order.price,
            taker_prevented_qty=qty,
            maker_prevented_qty=qty,
            time=now,
        )
        self.prevented_ids[order.symbol] += 1
        order.account.prevented.append(match)
        self._lose(order, NO_ORDER, qty, match, now)

    def _lose(self, order: LiveOrder, other_id: int, qty: Decimal, match: PreventedMatch, now: int) -> None:
        sibling = self._claim_pair(order)
        order.prevented_qty += qty
        order.prevented_match_id = match.prevented_match_id
        order.update_time = now
        done = order.open_qty == 0
        if done:
            order.status = OrderStatus.EXPIRED_IN_MATCH
            self._leave(order)
        order.account.reserve(order)
        self.report(order, ExecutionType.TRADE_PREVENTION, now, prevented=(qty, match.price, other_id))
        if sibling is not None and done and self.choices.oco_ended is OcoEnded.ONE:
            sibling.account.reserve(sibling)
        elif sibling is not None:
            self.expire(sibling, ExpiryReason.OCO_TRIGGER, now)
        if done:
            self._update_list(order, now)

    # --- the market moves -----------------------------------------------------------------------------------

    def on_trade(self, book: Book, price: Decimal, qty: Decimal, now: int) -> None:
        """Effects of a recorded trade on live orders; the tape knows it already."""
        left = floor_to(qty, book.rules.lot.grid)
        for entries, buys in ((book.bids, True), (book.asks, False)):
            while left > 0 and entries:
                order = entries[0][-1]
                if order.price < price if buys else order.price > price:
                    break
                part = min(left, order.open_qty)
                left -= part
                trade_id = self._next_trade_id(order.symbol)
                self._fill(order, order.price, part, now, trade_id=trade_id, maker=True)
        self._follow(book, price, now)
        for waiting, sign in ((book.falling, -1), (book.rising, 1)):
            while waiting and waiting[0][0] <= sign * price:
                self._reach(book, waiting[0][-1], price, now)

    def _reach(self, book: Book, order: LiveOrder, price: Decimal, now: int) -> None:
        """A stop's price is reached: it triggers, or, if it trails, starts to follow from this trade."""
        book.remove(order)
        if order.trailing_delta is None:
            self._trigger(order, now)
        else:
            order.extreme = price
            order.trailing_time = now
            order.update_time = now
            book.track(order)

    def _follow(self, book: Book, price: Decimal, now: int) -> None:
        """Trailing orders: a sell fires on a fall from the highest trade, a buy on a rise from the lowest."""
        for order in tuple(book.trailing):
            if order.status.is_final or order.is_working or order.trailing_delta is None:
                continue
            best = order.extreme
            sells = order.side is OrderSide.SELL
            if best is None:
                order.extreme = price
                order.trailing_time = now
            elif price > best if sells else price < best:
                order.extreme = price
            elif (
                price * _BIPS <= best * (_BIPS - order.trailing_delta)
                if sells
                else price * _BIPS >= best * (_BIPS + order.trailing_delta)
            ):
                book.remove(order)
                self._trigger(order, now)

    def _trigger(self, order: LiveOrder, now: int) -> None:
        sibling = self._claim_pair(order)
        order.is_working = True
        order.working_time = now
        order.update_time = now
        self.report(order, ExecutionType.NEW, now)
        if sibling is not None:
            self.expire(sibling, ExpiryReason.OCO_TRIGGER, now)
        self._work(order, now)

    # --- leaving --------------------------------------------------------------------------------------------

    def expire(self, order: LiveOrder, reason: ExpiryReason, now: int) -> None:
        if reason is ExpiryReason.OCO_TRIGGER and self.choices.oco_sibling is OcoSibling.CANCELED:
            self._finish(order, OrderStatus.CANCELED, ExecutionType.CANCELED, now, request_id=order.client_order_id)
            return
        order.expiry_reason = reason
        self._finish(order, OrderStatus.EXPIRED, ExecutionType.EXPIRED, now)

    def cancel(self, order: LiveOrder, cancel_id: str, now: int) -> None:
        if self.choices.cancelled_id in {CancelledId.CANCEL, CancelledId.BOTH}:
            order.account.newest.setdefault((order.symbol, cancel_id), order)
        self._finish(order, OrderStatus.CANCELED, ExecutionType.CANCELED, now, request_id=cancel_id)

    def cancel_list(self, order_list: LiveList, cancel_id: str, now: int) -> list[LiveOrder]:
        """Cancel what is live of a list, pending orders before the working one; returns those."""
        live = [order for order in order_list.orders if not order.status.is_final]
        for order in sorted(live, key=lambda each: each is order_list.working):
            waits = order.status is OrderStatus.PENDING_NEW
            if waits and self.choices.pending_ended is PendingEnded.EXPIRED:
                self.expire(order, ExpiryReason.OTO_PHASE_ONE_EXPIRED, now)
            else:
                self.cancel(order, cancel_id, now)
        return live

    def _finish(
        self,
        order: LiveOrder,
        status: OrderStatus,
        execution: ExecutionType,
        now: int,
        request_id: str | None = None,
    ) -> None:
        pair = order.order_list
        if order.sibling is not None and pair is not None:
            order.sibling.sibling = None
            order.sibling = None
            order.account.change(order.reserve_asset, pair.reserved, -pair.reserved)
            pair.reserved = ZERO
        order.status = status
        order.update_time = now
        self._leave(order)
        order.account.reserve(order)
        self.report(order, execution, now, request_id=request_id)
        self._update_list(order, now)

    def _leave(self, order: LiveOrder) -> None:
        self._books[order.symbol].remove(order)
        del order.account.open[order.symbol][order.order_id]

    def _claim_pair(self, order: LiveOrder) -> LiveOrder | None:
        """The first leg of an OCO to act takes over the pair's reserve; returns the leg that must go."""
        sibling, pair = order.sibling, order.order_list
        if sibling is None or pair is None:
            return None
        order.sibling = sibling.sibling = None
        order.account.change(order.reserve_asset, pair.reserved, -pair.reserved)
        pair.reserved = ZERO
        order.account.reserve(order)
        return sibling

    # --- order lists ----------------------------------------------------------------------------------------

    def _update_list(self, order: LiveOrder, now: int) -> None:
        """An order of a list has ended: its pending orders come or go, and the list may be done."""
        order_list = order.order_list
        if order_list is None:
            return
        if order is order_list.working:
            waiting = [each for each in order_list.pending if each.status is OrderStatus.PENDING_NEW]
            if waiting and order.status is OrderStatus.FILLED:
                self._ready.append(order_list)
                return
            for each in waiting:
                self.expire(each, ExpiryReason.OTO_PHASE_ONE_EXPIRED, now)
        if order_list.order_status is not ListOrderStatus.ALL_DONE and self._is_done(order_list):
            if order_list.proceeds:
                self._free_proceeds(order_list)
            order_list.status_type = ListStatusType.ALL_DONE
            order_list.order_status = ListOrderStatus.ALL_DONE
            del order_list.account.open_lists[order_list.list_id]
            self.report_list(order_list, now)

    def _is_done(self, order_list: LiveList) -> bool:
        live = [each for each in order_list.orders if not each.status.is_final]
        if not live or self.choices.oco_done is OcoDone.ENDED:
            return not live
        pair = order_list.orders if order_list.working is None else order_list.pending
        return len(pair) == PAIR and len(live) == 1 and live[0] in pair

    def _place_pending(self, order_list: LiveList, now: int) -> None:
        """The working order has filled: its pending orders go to the exchange, or expire as REJECTED."""
        orders = tuple(each for each in order_list.pending if each.status is OrderStatus.PENDING_NEW)
        if order_list.pays_out:
            size_by_proceeds(orders, self._free_proceeds(order_list))
        for order in orders:
            order.reserves = order.type is not OrderType.MARKET
        refusal = self._refusal(order_list, orders)
        if refusal is not None:
            for order in orders:
                order.reserves = False
                self._refuse_pending(order, now)
            return
        for order in orders:
            order.status = OrderStatus.NEW
            order.update_time = now
        if len(orders) == PAIR:
            self._enter_pair(order_list, (orders[0], orders[1]), now)
        else:
            self._enter(orders[0], now)
        for order in orders:
            self.start(order, now)

    def _refuse_pending(self, order: LiveOrder, now: int) -> None:
        if self.choices.pending_refused is PendingRefused.EXPIRED:
            self.expire(order, ExpiryReason.REJECTED, now)
        else:
            self._finish(order, OrderStatus.REJECTED, ExecutionType.REJECTED, now)

    def _refusal(self, order_list: LiveList, orders: tuple[LiveOrder, ...]) -> Reject | None:
        """Why pending orders cannot be placed now; None if they can."""
        book = self._books[order_list.symbol]
        if self.refuses_pending(order_list):
            return insufficient_balance()
        try:
            if order_list.pays_out:
                check_proceeds(orders)
            if len(orders) == PAIR:
                check_pair(book, (orders[0], orders[1]))
            else:
                check_entry(book, orders[0], self.liquidity)
        except Reject as reject:
            return reject
        return None

    def _free_proceeds(self, order_list: LiveList) -> Decimal:
        proceeds = order_list.proceeds
        order_list.proceeds = ZERO
        order_list.account.change(order_list.orders[0].rules.base, proceeds, -proceeds)
        return proceeds

    # --- telling --------------------------------------------------------------------------------------------

    def close_operation(self, now: int) -> None:
        """End an operation: place what became due, then report the balances that it touched."""
        while self._ready:
            self._place_pending(self._ready.popleft(), now)
        if self._dirty:
            for account in self._dirty.values():
                account.position(now)
            self._dirty.clear()

    def report_list(self, order_list: LiveList, now: int) -> None:
        order_list.time = now
        order_list.account.events.append(ListStatus(order_list=order_list.view(), time=now))

    def report_refusal(self, order: LiveOrder, reject: Reject, now: int) -> None:
        """Append the executionReport of an order that the matching engine refused: it has no id, and is not kept."""
        self.execution_id += 1
        refused = order.snapshot()
        refused.order_id = NO_ORDER
        refused.status = OrderStatus.REJECTED
        order.account.events.append(
            ExecutionReport(
                order=refused,
                execution_type=ExecutionType.REJECTED,
                client_order_id=refused.client_order_id,
                orig_client_order_id="",
                execution_id=self.execution_id,
                time=now,
                reject_reason=_REJECT_REASONS.get(reject.message, "NONE"),
            )
        )

    def report(
        self,
        order: LiveOrder,
        execution: ExecutionType,
        now: int,
        *,
        fill: Fill | None = None,
        request_id: str | None = None,
        replaced_id: str = "",
        prevented: tuple[Decimal, Decimal, int] | None = None,
    ) -> int:
        """Append the executionReport of a change; returns its execution id.

        `request_id` names a cancel, `replaced_id` is the client order id that an amended order had before.
        """
        self.execution_id += 1
        lost, lost_price, counter_id = prevented or (ZERO, ZERO, None)
        order.account.events.append(
            ExecutionReport(
                order=order.snapshot(),
                execution_type=execution,
                client_order_id=order.client_order_id if request_id is None else request_id,
                orig_client_order_id=replaced_id if request_id is None else order.client_order_id,
                execution_id=self.execution_id,
                time=now,
                trade_id=NO_TRADE if fill is None else fill.trade_id,
                last_qty=ZERO if fill is None else fill.qty,
                last_price=ZERO if fill is None else fill.price,
                last_quote_qty=ZERO if fill is None else fill.quote_qty,
                commission=ZERO if fill is None else fill.commission,
                commission_asset=None if fill is None else fill.commission_asset,
                is_maker=fill is not None and fill.is_maker,
                reject_reason="NONE",
                last_prevented_qty=lost,
                last_prevented_price=lost_price,
                last_prevented_quote_qty=lost * lost_price,
                counter_order_id=counter_id,
                counter_symbol=None if counter_id is None else order.symbol,
            )
        )
        return self.execution_id

    def _next_trade_id(self, symbol: str) -> int:
        trade_id = self.trade_ids[symbol] + 1
        self.trade_ids[symbol] = trade_id
        return trade_id
