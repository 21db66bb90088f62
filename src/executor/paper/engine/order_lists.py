"""Requests about order lists: OCO, OTO, OTOCO, and those whose proceeds pay (OPO, OPOCO)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from executor.core.model.values import OrderSide, OrderType
from executor.paper.engine.account import Account, LiveList, LiveOrder
from executor.paper.engine.admission import (
    check_allowed,
    check_client_id,
    check_counts,
    check_filters,
    check_pair_types,
    check_parameters,
    leg_order,
)
from executor.paper.engine.book import Book
from executor.paper.engine.choices import PendingQuantity, PushRefusals
from executor.paper.engine.entry import check_entry, check_pair, check_visible
from executor.paper.engine.matching import PAIR
from executor.paper.engine.model import (
    ContingencyType,
    ListCancelled,
    ListPlaced,
    NewOco,
    NewOrder,
    NewOto,
    NewOtoco,
    OrderListView,
    Reject,
)
from executor.paper.engine.names import PENDING, PENDING_ABOVE, PENDING_BELOW, WORKING, Names
from executor.paper.engine.orders import Orders, check_trading, placement, snapshots
from executor.paper.engine.symbol import STOP_LOSS_TYPES, Symbol


class Named(msgspec.Struct, frozen=True):
    """An order of a list, and what its parameters were called."""

    order: NewOrder
    name: Names


class OrderLists(Orders):
    """The requesting half of the engine."""

    _last_list_id: int

    def place_oco(self, account: str, request: NewOco, now: int) -> ListPlaced:
        """`POST /api/v3/orderList/oco`.

        Raises:
            Reject: as for single orders; -1158, -1165, -1166, -1168, -1196 to -1199 for the types of the
            legs.
        """
        owner, book = self._account(account), self._book(request.symbol)
        if not book.rules.oco_allowed:
            raise Reject(-2010, "OCO orders are not supported for this symbol")
        check_pair_types(request.side, request.above, request.below)
        legs = [
            Named(leg_order(request.symbol, request.side, request.quantity, leg, request.stp_mode), name)
            for leg, name in zip((request.above, request.below), request.names, strict=True)
        ]
        for leg in legs:
            check_parameters(leg.order, leg.name, paired=True)
        built = self._check_list(owner, book, _stop_first(legs), request.list_client_order_id, now)
        pair = (built[0], built[1])
        with self._pushing_refusals(built, now):
            check_pair(book, pair)
        placed = self._register_list(ContingencyType.OCO, built, request.list_client_order_id, now)
        self._matcher.accept_pair(placed, pair, now)
        self._matcher.report_list(placed, now)
        view = placed.view()
        for live in built:
            self._matcher.start(live, now)
        return self._list_answer(view, built, now)

    def place_oto(self, account: str, request: NewOto, now: int) -> ListPlaced:
        """`POST /api/v3/orderList/oto`, or `/opo` where the request pays out.

        Raises:
            Reject: as for single orders; -1222, -1223, -1225 for an OPO that is not a buy paying for a sell.
        """
        pending = (Named(request.pending, PENDING),)
        return self._place_oto(account, request, pending, now, pays_out=request.pays_out)

    def place_otoco(self, account: str, request: NewOtoco, now: int) -> ListPlaced:
        """`POST /api/v3/orderList/otoco`, or `/opoco` without a pending quantity.

        Raises:
            Reject: as for `place_oto` and `place_oco`.
        """
        working = request.working
        if not self._book(working.symbol).rules.oco_allowed:
            raise Reject(-2010, "OCO orders are not supported for this symbol")
        check_pair_types(request.pending_side, request.pending_above, request.pending_below)
        pending = _stop_first(
            [
                Named(
                    leg_order(working.symbol, request.pending_side, request.pending_quantity, leg, working.stp_mode),
                    name,
                )
                for leg, name in ((request.pending_above, PENDING_ABOVE), (request.pending_below, PENDING_BELOW))
            ]
        )
        return self._place_oto(account, request, pending, now, pays_out=request.pending_quantity is None)

    def cancel_order_list(
        self,
        account: str,
        symbol: str,
        now: int,
        *,
        order_list_id: int | None = None,
        list_client_order_id: str | None = None,
        new_client_order_id: str | None = None,
    ) -> ListCancelled:
        """`DELETE /api/v3/orderList`; -2011 if the list is not open or the ids name two, -1102 without an id."""
        owner, book = self._account(account), self._book(symbol)
        check_client_id(new_client_order_id, "newClientOrderId")
        if order_list_id is None and list_client_order_id is None:
            raise Reject(-1102, "Param 'orderListId' or 'listClientOrderId' must be sent, but both were empty/null!")
        if order_list_id is not None:
            found = owner.lists.get(order_list_id)
        else:
            found = owner.list_by_client.get(list_client_order_id or "")
        if (
            found is None
            or found.symbol != book.rules.name
            or found.list_id not in owner.open_lists
            or list_client_order_id not in {None, found.client_id}
        ):
            raise Reject(-2011, "Unknown order list sent.")
        cancel_id = new_client_order_id or self._generated_id()
        orders = self._matcher.cancel_list(found, cancel_id, now)
        self._matcher.close_operation(now)
        return ListCancelled(order_list=found.view(), orders=snapshots(orders), cancel_client_order_id=cancel_id)

    def _place_oto(
        self,
        account: str,
        request: NewOto | NewOtoco,
        pending: Sequence[Named],
        now: int,
        *,
        pays_out: bool,
    ) -> ListPlaced:
        working = request.working
        owner, book = self._account(account), self._book(working.symbol)
        _check_oto(book.rules, working, [each.order for each in pending], pays_out=pays_out)
        check_parameters(working, WORKING)
        for each in pending:
            check_parameters(each.order, each.name, sized=not pays_out, paired=len(pending) == PAIR)
        named = (Named(working, WORKING), *pending)
        built = self._check_list(owner, book, named, request.list_client_order_id, now)
        with self._pushing_refusals(built, now):
            for live in built[1:]:
                check_visible(live)
            check_entry(book, built[0], self._liquidity)
        placed = self._register_list(ContingencyType.OTO, built, request.list_client_order_id, now)
        placed.working, placed.pending, placed.pays_out = built[0], built[1:], pays_out
        if pays_out and self._matcher.choices.pending_quantity is PendingQuantity.WORKING:
            for live in placed.pending:
                live.orig_qty = built[0].orig_qty
        for live in placed.pending:
            self._matcher.accept_pending(live, now)
        self._matcher.accept(built[0], now)
        self._matcher.report_list(placed, now)
        view = placed.view()
        self._matcher.start(built[0], now)
        return self._list_answer(view, built, now)

    def _check_list(
        self,
        owner: Account,
        book: Book,
        named: Sequence[Named],
        list_client_order_id: str | None,
        now: int,
    ) -> tuple[LiveOrder, ...]:
        """Everything before the matching engine's own checks of prices and funds; the orders are built, not
        live.
        """
        check_client_id(list_client_order_id, "listClientOrderId")
        orders = [each.order for each in named]
        for order in orders:
            check_allowed(order, book.rules)
        for each in named:
            check_filters(each.order, book, owner, now, each.name)
        check_counts(orders, book.rules, owner, self._limits, lists=1)
        owner.counter.check(len(orders), now)
        built = tuple(self._build(owner, book, order, now, nth=nth) for nth, order in enumerate(orders, 1))
        with self._pushing_refusals(built, now):
            check_trading(book)
            self._check_ids(owner, book, orders, list_client_order_id)
        return built

    def _check_ids(
        self, owner: Account, book: Book, orders: Sequence[NewOrder], list_client_order_id: str | None
    ) -> None:
        """No id of the list is in use, or given twice."""
        given = [each.client_order_id for each in orders if each.client_order_id is not None]
        known = owner.list_by_client.get(list_client_order_id or "")
        list_is_open = known is not None and known.list_id in owner.open_lists
        ids = given if list_client_order_id is None else [*given, list_client_order_id]
        if list_is_open or len(set(ids)) < len(ids):
            raise Reject(-2010, "Duplicate order sent.")
        for client_id in given:
            self._check_unused(owner, book, client_id)

    @contextmanager
    def _pushing_refusals(self, built: Sequence[LiveOrder], now: int) -> Iterator[None]:
        """Push the matching engine's refusal of a list where every refusal is pushed."""
        try:
            yield
        except Reject as reject:
            if self._matcher.choices.push_refusals is PushRefusals.ALWAYS:
                for live in built:
                    self._matcher.report_refusal(live, reject, now)
            raise

    def _register_list(
        self, contingency: ContingencyType, orders: tuple[LiveOrder, ...], client_id: str | None, now: int
    ) -> LiveList:
        owner = orders[0].account
        owner.counter.charge(len(orders), now)
        self._last_order_id += len(orders)
        self._last_list_id += 1
        placed = LiveList(
            account=owner,
            symbol=orders[0].symbol,
            list_id=self._last_list_id,
            client_id=client_id or self._generated_id(),
            contingency=contingency,
            orders=orders,
            time=now,
        )
        owner.lists[placed.list_id] = placed
        owner.open_lists[placed.list_id] = placed
        owner.list_by_client[placed.client_id] = placed
        for order in orders:
            order.order_list = placed
            order.order_list_id = placed.list_id
            owner.register(order)
        return placed

    def _list_answer(self, view: OrderListView, built: Sequence[LiveOrder], now: int) -> ListPlaced:
        """The answer is fixed before pending orders are placed, as the exchange's own is (rest-api.md,
        OTO).
        """
        answer = ListPlaced(order_list=view, placed=tuple(placement(live) for live in built))
        self._matcher.close_operation(now)
        return answer


def _stop_first(legs: Sequence[Named]) -> list[Named]:
    """The legs of a pair in the order in which the exchange numbers and lists them (samples of rest-api.md)."""
    return sorted(legs, key=lambda leg: leg.order.type not in STOP_LOSS_TYPES)


def _check_oto(rules: Symbol, working: NewOrder, pending: Sequence[NewOrder], *, pays_out: bool) -> None:
    if not rules.oto_allowed:
        raise Reject(-2010, "OTO orders are not supported for this symbol.")
    if working.type not in {OrderType.LIMIT, OrderType.LIMIT_MAKER}:
        raise Reject(-1116, "Invalid orderType.")
    if any(order.quote_order_qty is not None for order in pending):
        raise Reject(-1106, "Parameter 'quoteOrderQty' sent when not required.")
    if any(order.symbol != working.symbol for order in pending):
        raise Reject(-1121, "Invalid symbol.")
    if not pays_out:
        return
    if not rules.opo_allowed:
        raise Reject(-2010, "OPO orders are not supported for this symbol.")
    if working.side is not OrderSide.BUY:
        raise Reject(-1222, "Working order in an OPO list must be a bid.")
    if any(order.side is not OrderSide.SELL for order in pending):
        raise Reject(-1223, "Pending orders in an OPO list must be asks.")
