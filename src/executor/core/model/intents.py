"""What the trade asks of the world. Each intent carries a `seq` by which its answer finds its way back (rule 8.1)."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from executor.core.model.loans import LoanKind
from executor.core.model.values import OrderSide, OrderType, TimeInForce


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order as it is to be sent; prices in ticks, quantity in steps, `trailing_delta` in basis points."""

    id: str
    side: OrderSide
    type: OrderType
    qty: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    trailing_delta: int | None = None


class Stamp(msgspec.Struct, frozen=True):
    """What a request is signed with, in ms: `timestamp` by the exchange's clock, chosen before the request is on disk
    (rule 8.3d), and `recv_window`, for which the exchange takes it.
    """

    timestamp: int
    recv_window: int

    @property
    def fence(self) -> int:
        """After it (ms, exchange clock) a request that has not reached the engine never will (rule 8.3)."""
        return self.timestamp + self.recv_window

    def too_old(self, now: int) -> bool:
        """Whether it is too late to send the request: it would be on its way when its time is up (rule 8.3d)."""
        return 2 * (now - self.timestamp) > self.recv_window


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    seq: int


class Change(Intent, frozen=True, kw_only=True, omit_defaults=True):
    """What changes something at the exchange. `stamp`: None in states from before there were any, and where requests
    are stamped as they are sent.
    """

    stamp: Stamp | None = None


class PlaceOrder(Change, frozen=True, tag="place_order"):
    order: NewOrder


class PlaceOco(Change, frozen=True, tag="place_oco"):
    """`target` (LIMIT_MAKER) and `stop` (STOP_LOSS_LIMIT) share side and quantity (rule 4.2)."""

    list_id: str
    target: NewOrder
    stop: NewOrder


class PlaceBracket(Change, frozen=True, tag="place_bracket"):
    """`entry` (LIMIT), and what the exchange places when it has filled (rule 13.1): `stop` (STOP_LOSS_LIMIT), beside
    `target` (LIMIT_MAKER) where there is one. A long's exits get what the entry has received (OPO, OPOCO), whatever
    quantity they name; a short's their own (OTO, OTOCO).
    """

    list_id: str
    entry: NewOrder
    stop: NewOrder
    target: NewOrder | None = None


class CancelOrder(Change, frozen=True, tag="cancel_order"):
    """`exchange_id`: not 0 where it is to be asked for by the exchange's own id: one that another hand has amended has
    another client order id (rules 8.7, 8.8).
    """

    id: str
    exchange_id: int = 0


class CancelList(Change, frozen=True, tag="cancel_list"):
    list_id: str
    ids: tuple[str, ...]


class ReplaceOrder(Change, frozen=True, tag="replace_order"):
    """Cancel-replace in STOP_ON_FAILURE mode (rule 5.5)."""

    cancel_id: str
    order: NewOrder


class QueryOrder(Intent, frozen=True, tag="query_order"):
    """`exchange_id`: the exchange's own id where it is known, else 0. It finds an order in every case, its client order
    id perhaps not: which one a cancelled order is known by, Binance's documents leave open (rule 8.8).
    """

    id: str
    exchange_id: int = 0


class QueryTrades(Intent, frozen=True, tag="query_trades"):
    """The fills of one order, with their commissions."""

    id: str
    exchange_id: int


class QueryOpenOrders(Intent, frozen=True, tag="query_open_orders"):
    pass


class QueryAllOrders(Intent, frozen=True, tag="query_all_orders"):
    """The orders of the symbol made since `since` (ms), ended ones too: one that was cancelled by another hand may be
    known by no client order id of ours any more (rules 8.3, 8.8).
    """

    since: int


class QueryBalances(Intent, frozen=True, tag="query_balances"):
    pass


class QueryQuote(Intent, frozen=True, tag="query_quote"):
    pass


class QueryKlines(Intent, frozen=True, tag="query_klines"):
    """The last `count` one-minute bars, closed ones and the running one."""

    count: int


class Borrow(Change, frozen=True, tag="borrow"):
    """A loan of `amount`, in units of `asset` (rule 11.2). `n`: its number in the state, which the exchange does not
    know.
    """

    n: int
    asset: str
    amount: Decimal


class Repay(Change, frozen=True, tag="repay"):
    """`amount` of the debt given back, interest first (rule 11.7)."""

    n: int
    asset: str
    amount: Decimal


class QueryMargin(Intent, frozen=True, tag="query_margin"):
    """The margin account: balances, debts, level."""


class QueryLoans(Intent, frozen=True, tag="query_loans"):
    """The margin account, and after it the exchange's records of such loans (or repayments) since `since` (ms)."""

    kind: LoanKind
    asset: str
    since: int


class QueryBorrowable(Intent, frozen=True, tag="query_borrowable"):
    """The most of `asset` that may be borrowed now."""

    asset: str


class QueryLiquidations(Intent, frozen=True, tag="query_liquidations"):
    """Whether the exchange has liquidated the account since `since` (ms)."""

    since: int


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ALERT = "alert"


class Notify(msgspec.Struct, frozen=True, tag="notify"):
    """Something a person should read. Not owed to the exchange, so it has no `seq` and never waits in the outbox.

    `order`: the client order id that it is about, several with spaces between; empty where it is about none.
    """

    level: Level
    event: str
    text: str
    order: str = ""


Placement = PlaceOrder | PlaceOco | PlaceBracket | ReplaceOrder
OrderCommand = PlaceOrder | PlaceOco | PlaceBracket | CancelOrder | CancelList | ReplaceOrder
LoanCommand = Borrow | Repay
Command = OrderCommand | LoanCommand
MarginRead = QueryMargin | QueryLoans | QueryBorrowable | QueryLiquidations
SpotRead = QueryOrder | QueryTrades | QueryOpenOrders | QueryAllOrders | QueryBalances | QueryQuote | QueryKlines
Read = SpotRead | MarginRead
Request = Command | Read


def placed(request: Placement) -> tuple[str, ...]:
    """The client order ids of the orders that `request` places."""
    if isinstance(request, PlaceBracket):
        target = (request.target.id,) if request.target is not None else ()
        return request.entry.id, *target, request.stop.id
    return (request.target.id, request.stop.id) if isinstance(request, PlaceOco) else (request.order.id,)


def names(request: Request) -> tuple[str, ...]:
    """The client order ids of the orders that `request` places, cancels or replaces; none for a query."""
    match request:
        case PlaceOrder() | PlaceOco() | PlaceBracket():
            return placed(request)
        case CancelOrder():
            return (request.id,)
        case CancelList():
            return request.ids
        case ReplaceOrder():
            return request.cancel_id, request.order.id
        case _:
            return ()
