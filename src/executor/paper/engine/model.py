"""Values of the paper exchange: what goes into the engine, what comes out, and nothing that acts.

Prices, quantities and amounts are exact `Decimal`; times are integer milliseconds since 1970 (UTC) as Binance
reports them. Names are Binance's own words in Python's spelling (`origClientOrderId` is
`orig_client_order_id`). Every `Order` handed out is a snapshot: it does not change when the order does.
"""

from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Final

import msgspec

from executor.core.model.values import ZERO, OrderSide, OrderStatus, OrderType, TimeInForce
from executor.paper.engine.names import ABOVE, BELOW, Names

NO_LIST: Final = -1
NO_ORDER: Final = -1
NO_TRADE: Final = -1
NOT_WORKING: Final = -1


class Reject(Exception):  # noqa: N818 - a refusal is an answer of the exchange, not an error of this program
    """A refusal with Binance's code and message (errors.md)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code} {self.message}"


class SymbolStatus(StrEnum):
    TRADING = "TRADING"
    CANCEL_ONLY = "CANCEL_ONLY"
    HALT = "HALT"
    BREAK = "BREAK"
    END_OF_DAY = "END_OF_DAY"


class ExecutionType(StrEnum):
    NEW = "NEW"
    CANCELED = "CANCELED"
    REPLACED = "REPLACED"
    REJECTED = "REJECTED"
    TRADE = "TRADE"
    EXPIRED = "EXPIRED"
    TRADE_PREVENTION = "TRADE_PREVENTION"


class ExpiryReason(StrEnum):
    NONE = "NONE"
    REJECTED = "REJECTED"
    EXCHANGE_CANCELED = "EXCHANGE_CANCELED"
    OCO_TRIGGER = "OCO_TRIGGER"
    OTO_PHASE_ONE_EXPIRED = "OTO_PHASE_ONE_EXPIRED"
    UNFILLED_IOC_QUANTITY_EXPIRED = "UNFILLED_IOC_QUANTITY_EXPIRED"
    UNFILLED_FOK_ORDER_EXPIRED = "UNFILLED_FOK_ORDER_EXPIRED"
    INSUFFICIENT_LIQUIDITY = "INSUFFICIENT_LIQUIDITY"


class StpMode(StrEnum):
    """What becomes of two orders of one account that would trade; the taker's mode decides."""

    NONE = "NONE"
    EXPIRE_TAKER = "EXPIRE_TAKER"
    EXPIRE_MAKER = "EXPIRE_MAKER"
    EXPIRE_BOTH = "EXPIRE_BOTH"
    DECREMENT = "DECREMENT"
    TRANSFER = "TRANSFER"


class ContingencyType(StrEnum):
    OCO = "OCO"
    OTO = "OTO"


class ListStatusType(StrEnum):
    EXEC_STARTED = "EXEC_STARTED"
    UPDATED = "UPDATED"
    ALL_DONE = "ALL_DONE"
    RESPONSE = "RESPONSE"


class ListOrderStatus(StrEnum):
    EXECUTING = "EXECUTING"
    ALL_DONE = "ALL_DONE"
    REJECT = "REJECT"


class CancelRestriction(StrEnum):
    ONLY_NEW = "ONLY_NEW"
    ONLY_PARTIALLY_FILLED = "ONLY_PARTIALLY_FILLED"


class CancelReplaceMode(StrEnum):
    STOP_ON_FAILURE = "STOP_ON_FAILURE"
    ALLOW_FAILURE = "ALLOW_FAILURE"


class RateLimitExceededMode(StrEnum):
    DO_NOTHING = "DO_NOTHING"
    CANCEL_ONLY = "CANCEL_ONLY"


class Outcome(StrEnum):
    """How one half of a cancel-replace ended."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    NOT_ATTEMPTED = "NOT_ATTEMPTED"


class KlinePath(StrEnum):
    """Which comes first when a kline is played: low first is the worst case for a sell stop."""

    LOW_FIRST = "LOW_FIRST"
    HIGH_FIRST = "HIGH_FIRST"


# --- requests -----------------------------------------------------------------------------------------------


class NewOrder(msgspec.Struct, kw_only=True):
    """`POST /api/v3/order`; None means "not sent". The engine checks which fields the type needs."""

    symbol: str
    side: OrderSide
    type: OrderType
    quantity: Decimal | None = None
    quote_order_qty: Decimal | None = None
    price: Decimal | None = None
    stop_price: Decimal | None = None
    trailing_delta: int | None = None
    time_in_force: TimeInForce | None = None
    iceberg_qty: Decimal | None = None
    client_order_id: str | None = None
    stp_mode: StpMode | None = None
    strategy_id: int | None = None
    strategy_type: int | None = None


class Leg(msgspec.Struct, kw_only=True):
    """One half of an OCO pair (`above*` / `below*`, `pendingAbove*` / `pendingBelow*`)."""

    type: OrderType
    price: Decimal | None = None
    stop_price: Decimal | None = None
    trailing_delta: int | None = None
    time_in_force: TimeInForce | None = None
    iceberg_qty: Decimal | None = None
    client_order_id: str | None = None
    strategy_id: int | None = None
    strategy_type: int | None = None


class NewOco(msgspec.Struct, kw_only=True):
    """`POST /api/v3/orderList/oco`; `names` are what its legs' parameters were called, above and below."""

    symbol: str
    side: OrderSide
    quantity: Decimal
    above: Leg
    below: Leg
    list_client_order_id: str | None = None
    stp_mode: StpMode | None = None
    names: tuple[Names, Names] = (ABOVE, BELOW)


class NewOto(msgspec.Struct, kw_only=True):
    """`POST /api/v3/orderList/oto`; with `pays_out` `/opo`: the pending order then has no quantity."""

    working: NewOrder
    pending: NewOrder
    list_client_order_id: str | None = None
    pays_out: bool = False


class NewOtoco(msgspec.Struct, kw_only=True):
    """`POST /api/v3/orderList/otoco`; `pending_quantity=None` makes it `/opoco` (the proceeds are sold)."""

    working: NewOrder
    pending_side: OrderSide
    pending_quantity: Decimal | None
    pending_above: Leg
    pending_below: Leg
    list_client_order_id: str | None = None


class CancelReplace(msgspec.Struct, kw_only=True):
    """`POST /api/v3/order/cancelReplace`: which order goes, and what comes."""

    mode: CancelReplaceMode
    new_order: NewOrder
    cancel_order_id: int | None = None
    cancel_orig_client_order_id: str | None = None
    cancel_new_client_order_id: str | None = None
    cancel_restrictions: CancelRestriction | None = None
    rate_limit_exceeded_mode: RateLimitExceededMode = RateLimitExceededMode.DO_NOTHING


# --- what the exchange knows --------------------------------------------------------------------------------


class Order(msgspec.Struct, eq=False):
    """An order as queries show it.

    `price`, `stop_price`, `iceberg_qty` are 0 when not given; `working_time` is -1 before the order is on
    the book; `order_list_id` is -1 outside lists; `trailing_time` is -1 until a trailing order tracks the
    price. The open quantity is `orig_qty - executed_qty - prevented_qty`.
    """

    symbol: str
    order_id: int
    client_order_id: str
    side: OrderSide
    type: OrderType
    time_in_force: TimeInForce
    price: Decimal
    orig_qty: Decimal
    time: int
    update_time: int
    stp_mode: StpMode
    order_list_id: int = NO_LIST
    orig_quote_order_qty: Decimal = ZERO
    executed_qty: Decimal = ZERO
    cumulative_quote_qty: Decimal = ZERO
    status: OrderStatus = OrderStatus.NEW
    stop_price: Decimal = ZERO
    iceberg_qty: Decimal = ZERO
    trailing_delta: int | None = None
    trailing_time: int = NOT_WORKING
    is_working: bool = False
    working_time: int = NOT_WORKING
    expiry_reason: ExpiryReason = ExpiryReason.NONE
    prevented_qty: Decimal = ZERO
    prevented_match_id: int | None = None
    strategy_id: int | None = None
    strategy_type: int | None = None

    @property
    def open_qty(self) -> Decimal:
        return self.orig_qty - self.executed_qty - self.prevented_qty

    def snapshot(self) -> "Order":
        return Order(*_order_values(self))


_order_values: Final = attrgetter(*Order.__struct_fields__)


class Fill(msgspec.Struct, kw_only=True, frozen=True):
    """One own trade (`GET /api/v3/myTrades`, and `fills[]` of a FULL response)."""

    symbol: str
    trade_id: int
    order_id: int
    order_list_id: int
    price: Decimal
    qty: Decimal
    quote_qty: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    is_buyer: bool
    is_maker: bool


class OrderListView(msgspec.Struct, kw_only=True, frozen=True):
    """An order list as queries and listStatus show it; `orders` is (order id, client order id) per leg."""

    order_list_id: int
    contingency_type: ContingencyType
    list_status_type: ListStatusType
    list_order_status: ListOrderStatus
    list_client_order_id: str
    transaction_time: int
    symbol: str
    orders: tuple[tuple[int, str], ...]


class Balance(msgspec.Struct, kw_only=True, frozen=True):
    asset: str
    free: Decimal
    locked: Decimal


class CommissionRates(msgspec.Struct, kw_only=True, frozen=True):
    """Standard commission on a symbol; `discount` is the factor when BNB pays (0.75 is 25 % off)."""

    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")
    buyer: Decimal = ZERO
    seller: Decimal = ZERO
    discount: Decimal = Decimal("0.75")


class Amendment(msgspec.Struct, kw_only=True, frozen=True):
    """One entry of `GET /api/v3/order/amendments`."""

    symbol: str
    order_id: int
    execution_id: int
    orig_client_order_id: str
    new_client_order_id: str
    orig_qty: Decimal
    new_qty: Decimal
    time: int


class PreventedMatch(msgspec.Struct, kw_only=True, frozen=True):
    """One entry of `GET /api/v3/myPreventedMatches`; ids count up per symbol, a quantity of 0 was not lost."""

    symbol: str
    prevented_match_id: int
    taker_order_id: int
    maker_order_id: int
    stp_mode: StpMode
    price: Decimal
    taker_prevented_qty: Decimal
    maker_prevented_qty: Decimal
    time: int


class OrderCount(msgspec.Struct, kw_only=True, frozen=True):
    """One row of `GET /api/v3/rateLimit/order`: unfilled orders counted in the current clock window."""

    interval: str
    interval_num: int
    limit: int
    count: int


# --- answers ------------------------------------------------------------------------------------------------


class Placed(msgspec.Struct, kw_only=True, frozen=True):
    """Answer to an accepted order: the order right after placement, the fills made and prevented during it."""

    order: Order
    fills: tuple[Fill, ...]
    prevented: tuple["PreventedMatch", ...] = ()


class ListPlaced(msgspec.Struct, kw_only=True, frozen=True):
    """Answer to an accepted list; a pending order shows PENDING_NEW even if the working one has filled."""

    order_list: OrderListView
    placed: tuple[Placed, ...]

    @property
    def orders(self) -> tuple[Order, ...]:
        return tuple(each.order for each in self.placed)


class ListCancelled(msgspec.Struct, kw_only=True, frozen=True):
    """Answer to a cancelled list; `cancel_client_order_id` names the cancel, orders keep their own ids."""

    order_list: OrderListView
    orders: tuple[Order, ...]
    cancel_client_order_id: str


class Cancelled(msgspec.Struct, kw_only=True, frozen=True):
    """Answer to a cancelled order: `order.client_order_id` is rendered as `origClientOrderId`, and
    `cancel_client_order_id` as `clientOrderId`. `order_list` is set when the order was a leg: the whole
    list went.
    """

    order: Order
    cancel_client_order_id: str
    order_list: ListCancelled | None


class CancelReplaced(msgspec.Struct, kw_only=True, frozen=True):
    """Answer to a cancel-replace. `http_status` and `code` follow the table of the REST documentation:
    200 (code None), 400 (-2022), 409 (-2021), 429 (-2021 or -2022 with the order count exceeded).
    """

    cancel_result: Outcome
    new_order_result: Outcome
    cancel: Cancelled | None
    cancel_error: Reject | None
    new_order: Placed | None
    new_order_error: Reject | None
    http_status: int
    code: int | None
    message: str


class Amended(msgspec.Struct, kw_only=True, frozen=True):
    """Answer to `PUT /api/v3/order/amend/keepPriority`."""

    transaction_time: int
    execution_id: int
    orig_client_order_id: str
    order: Order
    order_list: OrderListView | None


# --- events -------------------------------------------------------------------------------------------------


class ExecutionReport(msgspec.Struct, kw_only=True, frozen=True):
    """`executionReport`. Letters of Binance's event not named below are fields of `order` (the order just
    after).

    `client_order_id` is `c`, `orig_client_order_id` is `C` ("" unless this is a cancel or an amend).
    """

    order: Order
    execution_type: ExecutionType  # x
    client_order_id: str  # c
    orig_client_order_id: str  # C
    execution_id: int  # I
    time: int  # T
    trade_id: int = NO_TRADE  # t
    last_qty: Decimal = ZERO  # l
    last_price: Decimal = ZERO  # L
    last_quote_qty: Decimal = ZERO  # Y
    commission: Decimal = ZERO  # n
    commission_asset: str | None = None  # N
    is_maker: bool = False  # m
    reject_reason: str = "NONE"  # r
    last_prevented_qty: Decimal = ZERO  # pl
    last_prevented_price: Decimal = ZERO  # pL
    last_prevented_quote_qty: Decimal = ZERO  # pY
    counter_order_id: int | None = None  # U
    counter_symbol: str | None = None  # Cs


class ListStatus(msgspec.Struct, kw_only=True, frozen=True):
    """`listStatus`."""

    order_list: OrderListView
    time: int


class AccountPosition(msgspec.Struct, kw_only=True, frozen=True):
    """`outboundAccountPosition`: absolute balances of the assets that an operation may have changed."""

    time: int
    balances: tuple[Balance, ...]


class BalanceUpdate(msgspec.Struct, kw_only=True, frozen=True):
    """`balanceUpdate`: a deposit, withdrawal or transfer."""

    asset: str
    delta: Decimal
    time: int


class ExternalLockUpdate(msgspec.Struct, kw_only=True, frozen=True):
    """`externalLockUpdate`: another system locked (delta > 0) or unlocked part of the balance."""

    asset: str
    delta: Decimal
    time: int


Event = ExecutionReport | ListStatus | AccountPosition | BalanceUpdate | ExternalLockUpdate
