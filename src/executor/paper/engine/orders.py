"""Requests about single orders: place, cancel, replace, amend."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.values import OrderStatus
from executor.paper.engine.account import Account, LiveOrder
from executor.paper.engine.admission import (
    ExchangeLimits,
    build_order,
    check_allowed,
    check_client_id,
    check_counts,
    check_filters,
    check_parameters,
)
from executor.paper.engine.amend import amend
from executor.paper.engine.book import Book
from executor.paper.engine.choices import PushRefusals
from executor.paper.engine.entry import check_entry
from executor.paper.engine.matching import Matcher
from executor.paper.engine.model import (
    Amended,
    Cancelled,
    CancelReplace,
    CancelReplaced,
    CancelReplaceMode,
    CancelRestriction,
    ListCancelled,
    ListOrderStatus,
    NewOrder,
    Order,
    Outcome,
    Placed,
    RateLimitExceededMode,
    Reject,
    SymbolStatus,
)
from executor.paper.engine.queries import Queries, find_order

_CANCELLED_ONLY: Final = {
    CancelRestriction.ONLY_NEW: OrderStatus.NEW,
    CancelRestriction.ONLY_PARTIALLY_FILLED: OrderStatus.PARTIALLY_FILLED,
}


class _CancelRequest(msgspec.Struct, kw_only=True, frozen=True):
    """Which order to cancel; `cancel_id` is the client order id of the cancel itself."""

    order_id: int | None
    orig_client_order_id: str | None
    cancel_id: str | None
    restrictions: CancelRestriction | None


class Orders(Queries):
    """The requesting half of the engine."""

    _matcher: Matcher
    _limits: ExchangeLimits
    _last_order_id: int
    _generated_ids: int

    # --- single orders ---

    def place_order(self, account: str, order: NewOrder, now: int) -> Placed:
        """`POST /api/v3/order`.

        Raises:
            Reject: -1121, -11xx parameters, -1013 filters, -1111, -1015 order count, -2010 by the matching
            engine.
        """
        owner, book = self._account(account), self._book(order.symbol)
        self._check_new(owner, book, order, now)
        owner.counter.check(1, now)
        live = self._enter(owner, book, order, now, pushed=self._matcher.choices.push_refusals is PushRefusals.ALWAYS)
        owner.counter.charge(1, now)
        placed = self._place(live, order, now)
        self._matcher.close_operation(now)
        return placed

    def test_order(self, account: str, order: NewOrder, now: int) -> None:
        """`POST /api/v3/order/test`: parameters and filters, not the matching engine."""
        self._check_new(self._account(account), self._book(order.symbol), order, now)

    def cancel_order(
        self,
        account: str,
        symbol: str,
        now: int,
        *,
        order_id: int | None = None,
        orig_client_order_id: str | None = None,
        new_client_order_id: str | None = None,
        restrictions: CancelRestriction | None = None,
    ) -> Cancelled:
        """`DELETE /api/v3/order`. An order of a list takes its whole list with it.

        Raises:
            Reject: -1121, -1102, -2011 not open (or never known), restrictions not met.
        """
        owner, book = self._account(account), self._book(symbol)
        request = _CancelRequest(
            order_id=order_id,
            orig_client_order_id=orig_client_order_id,
            cancel_id=new_client_order_id,
            restrictions=restrictions,
        )
        cancelled = self._cancel(owner, book, request, now)
        self._matcher.close_operation(now)
        return cancelled

    def cancel_open_orders(self, account: str, symbol: str, now: int) -> list[Cancelled | ListCancelled]:
        """`DELETE /api/v3/openOrders`: every open order and list of a symbol, by one cancel with one client
        order id; -2011 when nothing is open.
        """
        owner, book = self._account(account), self._book(symbol)
        live = list(owner.open.get(book.rules.name, {}).values())
        if not live:
            raise Reject(-2011, "Unknown order sent.")
        answers: list[Cancelled | ListCancelled] = []
        cancel_id = self._generated_id()
        for order in live:
            if order.status.is_final:
                continue  # went with its list
            cancelled = self._cancel_live(order, cancel_id, now)
            answers.append(cancelled.order_list or cancelled)
        self._matcher.close_operation(now)
        return answers

    def cancel_replace(self, account: str, request: CancelReplace, now: int) -> CancelReplaced:
        """`POST /api/v3/order/cancelReplace`: not atomic; the new order is checked first, then the old one
        cancelled.

        Raises:
            Reject: only when nothing was tried: parameters, filters (-1013), order count with DO_NOTHING
            (-1015).
        """
        order = request.new_order
        owner, book = self._account(account), self._book(order.symbol)
        if not book.rules.cancel_replace_allowed:
            raise Reject(-2010, "Order cancel-replace is not supported for this symbol.")
        if request.cancel_order_id is None and request.cancel_orig_client_order_id is None:
            raise Reject(
                -1102,
                "Param 'cancelOrigClientOrderId' or 'cancelOrderId' must be sent, but both were empty/null!",
            )
        self._check_new(owner, book, order, now)
        over_count = _count_refusal(owner, now)
        if over_count is not None and request.rate_limit_exceeded_mode is RateLimitExceededMode.DO_NOTHING:
            raise over_count
        cancelled = self._try_cancel(owner, book, request, now)
        placed: Placed | Reject | None = None
        if isinstance(cancelled, Reject) and request.mode is CancelReplaceMode.STOP_ON_FAILURE:
            if over_count is None:
                owner.counter.charge(1, now)  # a new order that is not attempted still counts
        elif over_count is not None:
            placed = over_count
        else:
            owner.counter.charge(1, now)
            placed = self._try_place(owner, book, order, now, cancelled=isinstance(cancelled, Cancelled))
        self._matcher.close_operation(now)
        counts_against_it = over_count is not None and request.mode is CancelReplaceMode.STOP_ON_FAILURE
        return _judge_replace(cancelled, placed, over_count=counts_against_it)

    def amend_order(
        self,
        account: str,
        symbol: str,
        new_qty: Decimal,
        now: int,
        *,
        order_id: int | None = None,
        orig_client_order_id: str | None = None,
        new_client_order_id: str | None = None,
    ) -> Amended:
        """`PUT /api/v3/order/amend/keepPriority`: a smaller total quantity, the same place in the queue.

        Without `new_client_order_id` the order gets a generated one. A total of no more than what is
        executed ends the order.

        Raises:
            Reject: -1121, -1102, -1100, -1013, -1111, -2038; the order is then unchanged.
        """
        owner, book = self._account(account), self._book(symbol)
        check_client_id(new_client_order_id, "newClientOrderId")
        order = find_order(owner, book.rules.name, order_id, orig_client_order_id)
        if order is None or order.status.is_final:
            raise Reject(-2038, "Unknown order sent.")
        check_amendable(book)
        if new_client_order_id not in {None, order.client_order_id}:
            self._check_unused(owner, book, new_client_order_id)
        amended = amend(
            self._matcher,
            order,
            new_qty=new_qty,
            new_client_id=new_client_order_id or self._generated_id(),
            now=now,
        )
        self._matcher.close_operation(now)
        return amended

    # --- steps of these ---

    def _check_new(self, owner: Account, book: Book, order: NewOrder, now: int) -> None:
        check_parameters(order)
        check_allowed(order, book.rules)
        check_filters(order, book, owner, now)
        check_counts((order,), book.rules, owner, self._limits)

    def _enter(self, owner: Account, book: Book, order: NewOrder, now: int, *, pushed: bool) -> LiveOrder:
        """What the matching engine checks of a new order; gives it its ids. A refusal may be pushed as well."""
        live = self._build(owner, book, order, now)
        try:
            check_trading(book)
            if order.client_order_id is not None:
                self._check_unused(owner, book, order.client_order_id)
            check_entry(book, live, self._liquidity, order.quote_order_qty)
        except Reject as reject:
            if pushed:
                self._matcher.report_refusal(live, reject, now)
            raise
        self._last_order_id += 1
        return live

    def _place(self, live: LiveOrder, order: NewOrder, now: int) -> Placed:
        live.account.register(live)
        self._matcher.accept(live, now)
        self._matcher.start(live, now, order.quote_order_qty)
        return placement(live)

    def _try_place(self, owner: Account, book: Book, order: NewOrder, now: int, *, cancelled: bool) -> Placed | Reject:
        """The new order of a cancel-replace; `cancelled` says whether the old one went."""
        wanted = self._matcher.choices.push_refusals
        pushed = wanted is PushRefusals.ALWAYS or (wanted is PushRefusals.CANCEL_REPLACE and cancelled)
        try:
            return self._place(self._enter(owner, book, order, now, pushed=pushed), order, now)
        except Reject as reject:
            return reject

    def _try_cancel(self, owner: Account, book: Book, request: CancelReplace, now: int) -> Cancelled | Reject:
        wanted = _CancelRequest(
            order_id=request.cancel_order_id,
            orig_client_order_id=request.cancel_orig_client_order_id,
            cancel_id=request.cancel_new_client_order_id,
            restrictions=request.cancel_restrictions,
        )
        try:
            return self._cancel(owner, book, wanted, now)
        except Reject as reject:
            return reject

    def _build(self, owner: Account, book: Book, order: NewOrder, now: int, *, nth: int = 1) -> LiveOrder:
        client_id = order.client_order_id or self._generated_id()
        return build_order(
            order,
            order_id=self._last_order_id + nth,
            client_order_id=client_id,
            account=owner,
            book=book,
            now=now,
        )

    def _cancel(self, owner: Account, book: Book, request: _CancelRequest, now: int) -> Cancelled:
        check_client_id(request.cancel_id, "newClientOrderId")
        order = find_order(owner, book.rules.name, request.order_id, request.orig_client_order_id)
        if order is None or order.status.is_final or request.orig_client_order_id not in {None, order.client_order_id}:
            raise Reject(-2011, "Unknown order sent.")
        if request.restrictions is not None and order.status is not _CANCELLED_ONLY[request.restrictions]:
            raise Reject(-2011, "Order was not canceled due to cancel restrictions.")
        return self._cancel_live(order, request.cancel_id or self._generated_id(), now)

    def _cancel_live(self, order: LiveOrder, cancel_id: str, now: int) -> Cancelled:
        order_list = order.order_list
        if order_list is None or order_list.order_status is ListOrderStatus.ALL_DONE:
            self._matcher.cancel(order, cancel_id, now)
            return Cancelled(order=order.snapshot(), cancel_client_order_id=cancel_id, order_list=None)
        orders = self._matcher.cancel_list(order_list, cancel_id, now)
        answer = ListCancelled(order_list=order_list.view(), orders=snapshots(orders), cancel_client_order_id=cancel_id)
        return Cancelled(order=order.snapshot(), cancel_client_order_id=cancel_id, order_list=answer)

    def _check_unused(self, owner: Account, book: Book, client_id: str | None) -> None:
        """Client order ids are unique among open orders only."""
        known = owner.newest.get((book.rules.name, client_id or ""))
        if known is not None and not known.status.is_final:
            raise Reject(-2010, "Duplicate order sent.")

    def _generated_id(self) -> str:
        self._generated_ids += 1
        return f"paper{self._generated_ids:017d}"


def snapshots(orders: Sequence[LiveOrder]) -> tuple[Order, ...]:
    return tuple(order.snapshot() for order in orders)


def check_trading(book: Book) -> None:
    if book.rules.status is not SymbolStatus.TRADING:
        raise Reject(-2010, "Market is closed.")


def check_amendable(book: Book) -> None:
    """Amending works while a symbol trades or is CANCEL_ONLY (faqs/spot_glossary.md); cancelling always does."""
    if book.rules.status not in {SymbolStatus.TRADING, SymbolStatus.CANCEL_ONLY}:
        raise Reject(-2038, "Market is closed.")


def placement(live: LiveOrder) -> Placed:
    """What the placement of an order answers, as the order is now."""
    return Placed(order=live.snapshot(), fills=tuple(live.fills), prevented=tuple(live.prevented))


def _count_refusal(owner: Account, now: int) -> Reject | None:
    try:
        owner.counter.check(1, now)
    except Reject as reject:
        return reject
    return None


def _judge_replace(
    cancelled: Cancelled | Reject, placed: Placed | Reject | None, *, over_count: bool
) -> CancelReplaced:
    """The table of outcomes (rest-api.md, "Cancel an existing order and send a new order")."""
    cancel = cancelled if isinstance(cancelled, Cancelled) else None
    new_order = placed if isinstance(placed, Placed) else None
    code: int | None
    if cancel is not None and new_order is not None:
        status, code, message = 200, None, ""
    elif cancel is not None or new_order is not None:
        status, code, message = 409, -2021, "Order cancel-replace partially failed."
    else:
        status, code, message = 400, -2022, "Order cancel-replace failed."
    return CancelReplaced(
        cancel_result=Outcome.FAILURE if cancel is None else Outcome.SUCCESS,
        new_order_result=(
            Outcome.NOT_ATTEMPTED if placed is None else Outcome.FAILURE if new_order is None else Outcome.SUCCESS
        ),
        cancel=cancel,
        cancel_error=cancelled if isinstance(cancelled, Reject) else None,
        new_order=new_order,
        new_order_error=placed if isinstance(placed, Reject) else None,
        http_status=429 if over_count else status,
        code=code,
        message=message,
    )
