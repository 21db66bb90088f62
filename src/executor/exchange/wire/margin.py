"""Margin on Binance's wire (`/sapi/v1`): whose account a request is for, orders, loans, accounts. Pure.

`isIsolated` defaults to FALSE on every one of Binance's margin calls: a request that forgets it is carried out on the
cross account. So there is no way here to write one without saying whose account it is for: every function that writes
parameters takes an `Account`, and puts it in.

Every reading raises `msgspec.DecodeError` (or its child `ValidationError`) for a body that is not what was asked for.
"""

import contextlib
from decimal import Decimal
from typing import Final, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from executor.core.model import ids
from executor.core.model.facts import Balance, OrderReport
from executor.core.model.ids import Role
from executor.core.model.intents import NewOrder
from executor.core.model.loans import Booked, Debt, LoanKind, LoanRecord, MarginAccount, RecordStatus
from executor.core.model.values import ONE, ZERO, OrderType, plain
from executor.decoding import Ms, Row, decode, not_negative, sensible
from executor.exchange.wire import params
from executor.exchange.wire.calls import Call, Urgency

Params = dict[str, str]
T = TypeVar("T")

PLACE: Final = Call(
    method="post", path="margin/order", weight=6, urgency=Urgency.COMMAND, orders=1, sapi=True, uid=True
)
PLACE_OCO: Final = Call(
    method="post", path="margin/order/oco", weight=6, urgency=Urgency.COMMAND, orders=2, sapi=True, uid=True
)
CANCEL: Final = Call(method="delete", path="margin/order", weight=10, urgency=Urgency.COMMAND, sapi=True)
CANCEL_LIST: Final = Call(
    method="delete", path="margin/orderList", weight=1, urgency=Urgency.COMMAND, sapi=True, uid=True
)
LEND: Final = Call(method="post", path="margin/borrow-repay", weight=1500, urgency=Urgency.COMMAND, sapi=True, uid=True)
ORDER: Final = Call(method="get", path="margin/order", weight=10, urgency=Urgency.LOOKUP, sapi=True)
OPEN_ORDERS: Final = Call(method="get", path="margin/openOrders", weight=10, paced=True, sapi=True)
ALL_ORDERS: Final = Call(method="get", path="margin/allOrders", weight=200, urgency=Urgency.LOOKUP, sapi=True)
NEWEST_ORDERS: Final = replace(ALL_ORDERS, urgency=Urgency.ROUTINE, paced=True)
TRADES: Final = Call(method="get", path="margin/myTrades", weight=10, urgency=Urgency.LOOKUP, sapi=True)
RECORDS: Final = Call(method="get", path="margin/borrow-repay", weight=10, urgency=Urgency.LOOKUP, sapi=True)
BORROWABLE: Final = Call(
    method="get", path="margin/maxBorrowable", weight=750, urgency=Urgency.LOOKUP, sapi=True, uid=True
)
CROSS: Final = Call(method="get", path="margin/account", weight=10, urgency=Urgency.LOOKUP, sapi=True)
ISOLATED: Final = Call(method="get", path="margin/isolated/account", weight=10, urgency=Urgency.LOOKUP, sapi=True)
LIQUIDATIONS: Final = Call(method="get", path="margin/forceLiquidationRec", weight=1, urgency=Urgency.LOOKUP, sapi=True)

PAIRS: Final = Call(method="get", path="margin/allPairs", weight=1, signed=False, urgency=Urgency.LOOKUP, sapi=True)
ISOLATED_PAIRS: Final = replace(PAIRS, path="margin/isolated/allPairs")
ASSETS: Final = replace(PAIRS, path="margin/allAssets")
BARS: Final = Call(method="get", path="margin/tradeCoeff", weight=10, urgency=Urgency.LOOKUP, sapi=True)
TIERS: Final = Call(method="get", path="margin/isolatedMarginTier", weight=1, urgency=Urgency.LOOKUP, sapi=True)
LISTEN_TOKEN: Final = Call(method="post", path="userListenToken", weight=1, urgency=Urgency.LOOKUP, sapi=True, uid=True)
RISK_KEY: Final = Call(method="post", path="margin/listen-key", weight=1, urgency=Urgency.LOOKUP, sapi=True, uid=True)
RISK_KEY_KEPT: Final = replace(RISK_KEY, method="put")
NEXT_RATE: Final = Call(
    method="get", path="margin/next-hourly-interest-rate", weight=100, urgency=Urgency.LOOKUP, sapi=True
)
BNB_BURN: Final = Call(method="get", path="bnbBurn", weight=1, urgency=Urgency.LOOKUP, sapi=True)

RECORDS_MAX: Final = 100
_SIDE: Final = {Role.TP1: 1, Role.TP2: 1, Role.SL1: 2, Role.SL2: 2}
"""How many ids after its list's a side has its own."""


class Account(msgspec.Struct, frozen=True):
    """Whose margin account: that of the pair `isolated`, or the cross account where it is empty."""

    isolated: str = ""

    @property
    def kind(self) -> str:
        """In words, and in a state file: whose account its orders are on."""
        return "isolated margin" if self.isolated else "cross margin"

    @property
    def flag(self) -> Params:
        """What every call needs that names its pair anyway."""
        return {"isIsolated": "TRUE" if self.isolated else "FALSE"}

    @property
    def named(self) -> Params:
        """What loans need, which name the pair only because of this."""
        return {**self.flag, "symbol": self.isolated} if self.isolated else self.flag

    @property
    def told_apart(self) -> Params:
        """What reads of loans need: the isolated pair under a name of its own, nothing for the cross account."""
        return {"isolatedSymbol": self.isolated} if self.isolated else {}


_PLAIN_ORDER: Final = {"sideEffectType": "NO_SIDE_EFFECT", "autoRepayAtCancel": "FALSE"}
"""An order borrows nothing and repays nothing: side effects can fail in silence (rule 11.1)."""


# --- what is asked ----------------------------------------------------------------------------------------------------


def place(account: Account, symbol: str, order: NewOrder) -> Params:
    return params.place(symbol, order) | account.flag | _PLAIN_ORDER


def oco(account: Account, symbol: str, list_id: str, target: NewOrder, stop: NewOrder) -> Params:
    """The older form: the target's price, the stop's trigger and limit.

    Raises `ValueError` when the two do not share side and quantity, or one lacks a price.
    """
    if target.side is not stop.side or target.qty != stop.qty:
        raise ValueError(f"the orders of list {list_id} differ in side or quantity")
    if target.price is None or stop.stop_price is None or stop.price is None:
        raise ValueError(f"an order of list {list_id} lacks a price")
    return {
        "symbol": symbol,
        "side": target.side.value,
        "quantity": plain(target.qty),
        "listClientOrderId": list_id,
        "limitClientOrderId": target.id,
        "price": plain(target.price),
        "stopClientOrderId": stop.id,
        "stopPrice": plain(stop.stop_price),
        "stopLimitPrice": plain(stop.price),
        "stopLimitTimeInForce": "GTC",
        "newOrderRespType": "FULL",
        **account.flag,
        **_PLAIN_ORDER,
    }


def about(account: Account, symbol: str, **names: str) -> Params:
    """Parameters of a call that is about the orders of `symbol`."""
    return {"symbol": symbol, **account.flag, **names}


def lend(account: Account, kind: LoanKind, asset: str, amount: Decimal) -> Params:
    return {"asset": asset, "amount": plain(amount), "type": kind.value, **account.named}


def records_since(account: Account, kind: LoanKind, asset: str, since: int) -> Params:
    named = {"type": kind.value, "asset": asset, "startTime": str(since), "size": str(RECORDS_MAX)}
    return named | account.told_apart


def with_lists(reports: tuple[OrderReport, ...]) -> tuple[OrderReport, ...]:
    """`reports`, told together, where the exchange does not say of which list an order is: samples of margin orders
    lack it. Two of ours that were named as the sides of one list are of one, and a target that may only be a maker's is
    never alone (rule 4.2). Any number will do, as long as they share it.
    """
    named = {report.id: name for report in reports if (name := ids.parse(report.id)) is not None}
    makers = {ids.list_of(named[r.id]) for r in reports if r.id in named and r.type is OrderType.LIMIT_MAKER}
    return tuple(
        replace(report, list_exchange_id=named[report.id].rev - _SIDE.get(named[report.id].role, 0))
        if report.list_exchange_id < 0 and report.id in named and ids.list_of(named[report.id]) in makers
        else report
        for report in reports
    )


# --- what is answered -------------------------------------------------------------------------------------------------


class _Booked(Row, frozen=True):
    tran_id: int = msgspec.field(name="tranId")


class _Row(Row, frozen=True, kw_only=True):
    tran_id: int = msgspec.field(name="txId")
    asset: str
    amount: Decimal
    status: str
    timestamp: Ms
    principal: Decimal = ZERO
    interest: Decimal = ZERO
    type: str = "MANUAL"
    pair: str | None = msgspec.field(name="isolatedSymbol", default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.amount, self.principal, self.interest)

    def is_of(self, account: Account) -> bool:
        """Whether it is of the account, where a row tells whose it is: the list may be of all of them."""
        return self.pair is None or self.pair == account.isolated

    @property
    def settled(self) -> RecordStatus:
        """What is said in other words than the documents' is not settled."""
        return RecordStatus(self.status) if self.status in RecordStatus.__members__ else RecordStatus.PENDING


class _Rows(Row, Generic[T], frozen=True):
    """A list that is left out is an empty one only where it says so: that nothing is in it proves something."""

    rows: tuple[T, ...] | None = None
    total: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows is None and self.total != 0:
            raise ValueError("rows is missing")


class _Amount(Row, frozen=True):
    amount: Decimal


class _Held(Row, frozen=True):
    """A debt below nothing is none that anybody has."""

    asset: str
    free: Decimal
    locked: Decimal
    borrowed: Decimal
    interest: Decimal

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.borrowed, self.interest)


class Cross(Row, frozen=True, kw_only=True, rename="camel"):
    """The cross account as it is told: worth in bitcoin, not in the quote of anybody's symbol."""

    margin_level: msgspec.Raw = msgspec.Raw()
    total_asset_of_btc: Decimal
    total_liability_of_btc: Decimal
    user_assets: tuple[_Held, ...]
    created: bool = True
    trade_enabled: bool = True
    borrow_enabled: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self.total_asset_of_btc, self.total_liability_of_btc)
        _once_each(self.user_assets)
        if self.total_liability_of_btc > 0 and not any(row.borrowed or row.interest for row in self.user_assets):
            raise ValueError("something is owed, and of no asset")


class _Pair(Row, frozen=True, kw_only=True, rename="camel"):
    symbol: str
    base_asset: _Held
    quote_asset: _Held
    index_price: msgspec.Raw = msgspec.Raw()
    margin_level: msgspec.Raw = msgspec.Raw()
    liquidate_price: msgspec.Raw = msgspec.Raw()
    isolated_created: bool = True
    enabled: bool = True
    trade_enabled: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base_asset.asset + self.quote_asset.asset != self.symbol:
            raise ValueError(f"{self.base_asset.asset!r} and {self.quote_asset.asset!r} are not of {self.symbol}")


class _Pairs(Row, frozen=True):
    assets: tuple[msgspec.Raw, ...]


class _PairName(msgspec.Struct, frozen=True):
    symbol: str


class _Liquidation(Row, frozen=True, rename="camel"):
    symbol: str
    updated_time: Ms
    is_isolated: bool | None = None


class NoAccountError(Exception):
    """The answer is sound, and shows that there is no such account."""


def booked(body: bytes) -> Booked:
    return Booked(decode(body, _Booked).tran_id)


def records(body: bytes, kind: LoanKind, account: Account | None = None) -> tuple[LoanRecord, ...]:
    """Those of `account`, where it is given."""
    return tuple(
        LoanRecord(
            tran_id=row.tran_id,
            kind=kind,
            asset=row.asset,
            amount=row.amount,
            status=row.settled,
            time=row.timestamp,
            principal=row.principal,
            interest=row.interest,
            manual=row.type == "MANUAL",
        )
        for row in decode(body, _Rows[_Row]).rows or ()
        if account is None or row.is_of(account)
    )


def borrowable(body: bytes) -> Decimal:
    return decode(body, _Amount).amount


def liquidations(body: bytes, account: Account) -> tuple[int, ...]:
    """Those of the account, where a row tells whose it is."""
    return tuple(
        row.updated_time
        for row in decode(body, _Rows[_Liquidation]).rows or ()
        if row.is_isolated is None
        or (row.is_isolated is bool(account.isolated) and (not row.is_isolated or row.symbol == account.isolated))
    )


def isolated_account(body: bytes, symbol: str, asked_at: int) -> MarginAccount:
    """The account of one pair. Without a debt its level is no ratio, and is not told. Raises NoAccountError."""
    pair = _pair(body, symbol)
    held, price = (pair.base_asset, pair.quote_asset), _above_zero(pair.index_price)
    if price is None:
        return _unpriced(held, pair.margin_level, asked_at)
    base, quote = held
    owned = quote.free + quote.locked + (base.free + base.locked) * price
    owed = quote.borrowed + quote.interest + (base.borrowed + base.interest) * price
    return MarginAccount(
        asked_at=asked_at,
        balances=_balances(held),
        debts=_debts(held),
        assets=owned,
        liabilities=owed,
        price=price,
        level=_level(pair.margin_level, owed),
        liquidation_price=_above_zero(pair.liquidate_price),
    )


def cross(body: bytes) -> Cross:
    """Raises NoAccountError."""
    shown = decode(body, Cross)
    if not shown.created:
        raise NoAccountError("the cross account is not created")
    return shown


def cross_account(shown: Cross, asked_at: int, *, price: Decimal, btc_price: Decimal) -> MarginAccount:
    """The cross account. `price`: of the symbol's base, `btc_price`: of a bitcoin, both in the symbol's quote."""
    owed = shown.total_liability_of_btc * btc_price
    return MarginAccount(
        asked_at=asked_at,
        balances=_balances(shown.user_assets),
        debts=_debts(shown.user_assets),
        assets=shown.total_asset_of_btc * btc_price,
        liabilities=owed,
        price=price,
        level=_level(shown.margin_level, owed),
    )


def cross_account_without_prices(shown: Cross, asked_at: int) -> MarginAccount:
    """The cross account where no price can be had: its level and its debts are told all the same."""
    return _unpriced(shown.user_assets, shown.margin_level, asked_at)


def cross_account_of_two(shown: Cross, asked_at: int, *, base: str, quote: str, price: Decimal) -> MarginAccount | None:
    """The same where bitcoin has no price to reckon by: what is held beside the two assets counts for nothing, and what
    is owed beside them can't be reckoned (None).
    """
    rates = {base: price, quote: ONE}
    if any(row.asset not in rates and (row.borrowed or row.interest) for row in shown.user_assets):
        return None
    two = [row for row in shown.user_assets if row.asset in rates]
    owned = sum(((row.free + row.locked) * rates[row.asset] for row in two), ZERO)
    owed = sum(((row.borrowed + row.interest) * rates[row.asset] for row in two), ZERO)
    return MarginAccount(
        asked_at=asked_at,
        balances=_balances(shown.user_assets),
        debts=_debts(shown.user_assets),
        assets=owned,
        liabilities=owed,
        price=price,
        level=_level(shown.margin_level, owed),
    )


def barred(body: bytes, account: Account) -> str:
    """Why the account may not be traded with, as it says itself; empty where it may. Raises NoAccountError."""
    if not account.isolated:
        return "" if cross(body).trade_enabled else "the exchange does not let this cross margin account trade"
    pair = _pair(body, account.isolated)
    if not pair.enabled:
        return f"the isolated margin account of {account.isolated} is disabled: enable it in the exchange's app"
    if not pair.trade_enabled:
        return f"the exchange does not let the isolated margin account of {account.isolated} trade"
    return ""


def _pair(body: bytes, symbol: str) -> _Pair:
    row = next((row for row in decode(body, _Pairs).assets if decode(row, _PairName).symbol == symbol), None)
    pair = decode(row, _Pair) if row is not None else None
    if pair is None or not pair.isolated_created:
        raise NoAccountError(f"no isolated account of {symbol}")
    return pair


def _once_each(held: tuple[_Held, ...]) -> None:
    """Raises ValueError: of two rows of an asset, either may be what is owed."""
    names = [row.asset for row in held]
    if len(set(names)) < len(names):
        raise ValueError("an asset is told twice")


def _above_zero(told: msgspec.Raw) -> Decimal | None:
    """A level, or a price beside what is held and owed: where it can't be one it is not told, and hides nothing."""
    with contextlib.suppress(msgspec.DecodeError, ValueError):
        value = sensible(decode(told, Decimal))
        return value if value > 0 else None
    return None


def _level(told: msgspec.Raw, owed: Decimal) -> Decimal | None:
    """None without a debt. 0 is no level where anything is held, and where nothing is, that tells it."""
    return _above_zero(told) if owed else None


def _unpriced(held: tuple[_Held, ...], told: msgspec.Raw, asked_at: int) -> MarginAccount:
    debts = _debts(held)
    level = _level(told, Decimal(len(debts)))
    return MarginAccount(asked_at=asked_at, balances=_balances(held), debts=debts, level=level)


def _balances(held: tuple[_Held, ...]) -> dict[str, Balance]:
    return {row.asset: Balance(row.free or ZERO, row.locked or ZERO) for row in held if row.free or row.locked}


def _debts(held: tuple[_Held, ...]) -> dict[str, Debt]:
    return {row.asset: Debt(row.borrowed or ZERO, row.interest or ZERO) for row in held if row.borrowed or row.interest}
