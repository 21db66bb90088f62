"""The terms of a margin account on Binance's wire: which pairs it trades, what it lends, at which levels. Pure.

Every reading raises `msgspec.DecodeError` (or its child `ValidationError`) for a body that is not what was asked for.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.loans import AssetTerms, Bars
from executor.core.model.values import ONE, ZERO
from executor.decoding import Ms, Row, decode
from executor.exchange.wire.margin import Account

DAY_MS: Final = 86_400_000
_HALF: Final = Decimal(2)


class _Listed(Row, frozen=True, kw_only=True, rename="camel"):
    """A pair; what a row does not say is allowed."""

    symbol: str
    is_margin_trade: bool = True
    is_buy_allowed: bool = True
    is_sell_allowed: bool = True
    delist_time: Ms | None = None


class _Asset(Row, frozen=True, kw_only=True):
    """`asset`, or in the older form `assetName`."""

    asset: str = ""
    asset_name: str = msgspec.field(name="assetName", default="")
    borrowable: bool = msgspec.field(name="isBorrowable", default=True)
    min_borrow: Decimal = msgspec.field(name="userMinBorrow", default=ZERO)
    min_repay: Decimal = msgspec.field(name="userMinRepay", default=ZERO)
    delist_time: Ms | None = msgspec.field(name="delistTime", default=None)


class _Bars(Row, frozen=True, rename="camel"):
    normal_bar: Decimal
    margin_call_bar: Decimal
    force_liquidation_bar: Decimal

    def __post_init__(self) -> None:
        super().__post_init__()
        _descending(self.normal_bar, self.margin_call_bar, self.force_liquidation_bar)


class Tier(Row, frozen=True, kw_only=True, rename="camel"):
    """So much may be borrowed in it of base and of quote, at these ratios."""

    symbol: str
    tier: int = 1
    initial_risk_ratio: Decimal
    liquidation_risk_ratio: Decimal
    base_asset_max_borrowable: Decimal = ZERO
    quote_asset_max_borrowable: Decimal = ZERO

    def __post_init__(self) -> None:
        super().__post_init__()
        _descending(self.initial_risk_ratio, self.liquidation_risk_ratio)

    @property
    def bars(self) -> Bars:
        """The tier tells where it lends no more and where it liquidates. Where it warns is half-way between the two, as
        far as it tells: the account's own word on that is a status, not a level.
        """
        call = (self.initial_risk_ratio + self.liquidation_risk_ratio) / _HALF
        return Bars(borrow=self.initial_risk_ratio, call=call, liquidation=self.liquidation_risk_ratio)


def _descending(*bars: Decimal) -> None:
    """Raises ValueError where levels of an account are not in order, or one is none at which anything is worth its
    debt: a trade would be closed for a level that is sound, or never for one that is not.
    """
    if list(bars) != sorted(bars, reverse=True) or bars[-1] < ONE:
        raise ValueError(f"no bars of a margin account: {', '.join(map(str, bars))}")


def pair_fault(body: bytes, symbol: str, account: Account, now: int) -> str:
    """Why `symbol` can't be traded on such an account; empty where it can. `now`: ms."""
    row = next((each for each in decode(body, tuple[_Listed, ...]) if each.symbol == symbol), None)
    if row is None or not row.is_margin_trade:
        other = "false, if its cross margin is meant" if account.isolated else "true, if its isolated margin is meant"
        return f"{symbol} is not traded on {account.kind}: choose another symbol, or set MARGIN_ISOLATED={other}"
    if not (row.is_buy_allowed and row.is_sell_allowed):
        side = "bought" if not row.is_buy_allowed else "sold"
        return f"{symbol} can't be {side} on {account.kind} at the moment: wait, or choose another symbol"
    if row.delist_time and row.delist_time - now < DAY_MS:
        return f"{symbol} is being taken off {account.kind}: choose another symbol"
    return ""


def asset_terms(body: bytes, asset: str, now: int) -> AssetTerms:
    """`now`: ms."""
    rows = decode(body, tuple[_Asset, ...])
    row = next((each for each in rows if asset in (each.asset, each.asset_name)), None)
    if row is None:
        return AssetTerms(fault=f"{asset} is not lent on margin: hold enough of it, or choose another symbol")
    fault = "" if row.borrowable else f"the exchange lends no {asset} at the moment: hold enough of it, or wait"
    if row.delist_time and row.delist_time - now < DAY_MS:
        fault = f"{asset} is being taken off margin, and what is owed of it is then bought back: choose another symbol"
    return AssetTerms(fault=fault, min_borrow=row.min_borrow, min_repay=row.min_repay)


def bars(body: bytes) -> Bars:
    told = decode(body, _Bars)
    return Bars(borrow=told.normal_bar, call=told.margin_call_bar, liquidation=told.force_liquidation_bar)


def tiers(body: bytes, symbol: str) -> tuple[Tier, ...]:
    """Lowest first; never empty."""
    found = sorted((row for row in decode(body, tuple[Tier, ...]) if row.symbol == symbol), key=lambda row: row.tier)
    if not found:
        raise msgspec.ValidationError(f"no tier of {symbol}")
    return tuple(found)


def tier_of(tiers: Sequence[Tier], base: Decimal, quote: Decimal) -> Tier:
    """The one for a debt of so much base and so much quote, whichever of them needs the higher one."""
    return next(
        (t for t in tiers if base <= t.base_asset_max_borrowable and quote <= t.quote_asset_max_borrowable), tiers[-1]
    )
