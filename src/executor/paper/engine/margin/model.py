"""Values of margin: terms, debts, what is kept on record, and what the risk stream tells. Nothing here acts.

Amounts are exact `Decimal` in units of the asset; rates are a part of the principal per hour; times are ms since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from executor.core.model.values import ZERO

CROSS: Final = ""
"""The pair of the cross account."""

UNIT: Final = Decimal("1E-8")
"""Debts and interest have eight decimals."""


class LoanType(StrEnum):
    BORROW = "BORROW"
    REPAY = "REPAY"


class LoanStatus(StrEnum):
    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"


class Origin(StrEnum):
    """Who borrowed or repaid (`type` of a record)."""

    MANUAL = "MANUAL"
    AUTO = "AUTO"


class InterestType(StrEnum):
    PERIODIC = "PERIODIC"
    ON_BORROW = "ON_BORROW"
    PERIODIC_CONVERTED = "PERIODIC_CONVERTED"
    ON_BORROW_CONVERTED = "ON_BORROW_CONVERTED"


class LevelStatus(StrEnum):
    EXCESSIVE = "EXCESSIVE"
    NORMAL = "NORMAL"
    MARGIN_CALL = "MARGIN_CALL"
    FORCE_LIQUIDATION = "FORCE_LIQUIDATION"


class SideEffect(StrEnum):
    NO_SIDE_EFFECT = "NO_SIDE_EFFECT"
    MARGIN_BUY = "MARGIN_BUY"
    AUTO_REPAY = "AUTO_REPAY"
    AUTO_BORROW_REPAY = "AUTO_BORROW_REPAY"

    @property
    def borrows(self) -> bool:
        return self in {SideEffect.MARGIN_BUY, SideEffect.AUTO_BORROW_REPAY}

    @property
    def repays(self) -> bool:
        return self in {SideEffect.AUTO_REPAY, SideEffect.AUTO_BORROW_REPAY}


@dataclass(slots=True, frozen=True, kw_only=True)
class Bars:
    """The levels at and below which something is refused or done."""

    transfer: Decimal = Decimal(2)
    borrow: Decimal
    call: Decimal
    liquidation: Decimal


CROSS_BARS: Final[Mapping[int, Bars]] = {
    3: Bars(borrow=Decimal("1.5"), call=Decimal("1.3"), liquidation=Decimal("1.1")),
    5: Bars(borrow=Decimal("1.25"), call=Decimal("1.16"), liquidation=Decimal("1.1")),
}
ISOLATED_BARS: Final[Mapping[int, Bars]] = {
    3: Bars(borrow=Decimal("1.5"), call=Decimal("1.22"), liquidation=Decimal("1.18")),
    5: Bars(borrow=Decimal("1.25"), call=Decimal("1.19"), liquidation=Decimal("1.15")),
    10: Bars(borrow=Decimal("1.111"), call=Decimal("1.1"), liquidation=Decimal("1.05")),
}
"""Of the first tier, by leverage."""

LAST_INITIAL: Final[Mapping[int, Decimal]] = {3: Decimal(3), 5: Decimal("1.5"), 10: Decimal("1.2496")}
TIERS: Final[Mapping[int, int]] = {3: 5, 5: 5, 10: 10}


@dataclass(slots=True, kw_only=True)
class Terms:
    """What the exchange lends at which price. May be changed while it runs.

    `hourly_rates` by asset, `other_rate` for the rest; `stock` is what lenders still have, by asset (without end
    where it is not named); `collateral` is the part of its worth at which an asset counts (1 where it is not named).
    `unborrowable` assets are not lent, `barred` pairs not traded.
    """

    cross_leverage: int = 3
    isolated_leverage: Mapping[str, int] = field(default_factory=dict)
    other_leverage: int = 5
    hourly_rates: dict[str, Decimal] = field(
        default_factory=lambda: {"BTC": Decimal("0.00000571"), "USDT": Decimal("0.00000625")}
    )
    other_rate: Decimal = Decimal("0.00001")
    stock: dict[str, Decimal] = field(default_factory=dict)
    collateral: dict[str, Decimal] = field(default_factory=dict)
    min_borrow: dict[str, Decimal] = field(default_factory=dict)
    min_repay: dict[str, Decimal] = field(default_factory=dict)
    most_usdt: Decimal = Decimal(5_000_000)
    """What may be owed of one asset at most, worth in USDT (`borrowLimit`)."""
    unborrowable: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)
    liquidation_fee: Decimal = Decimal("0.02")
    bitcoin_usdt: Decimal = Decimal(60_000)
    """What a bitcoin counts as where no market tells."""

    def rate(self, asset: str) -> Decimal:
        return self.hourly_rates.get(asset, self.other_rate)

    def leverage(self, symbol: str) -> int:
        return self.isolated_leverage.get(symbol, self.other_leverage) if symbol else self.cross_leverage

    def bars(self, symbol: str) -> Bars:
        return ISOLATED_BARS[self.leverage(symbol)] if symbol else CROSS_BARS[self.cross_leverage]


@dataclass(slots=True, kw_only=True)
class Debt:
    """What is owed of one asset. `interest` is not part of `principal`, and is repaid first."""

    principal: Decimal = ZERO
    interest: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.principal + self.interest


@dataclass(slots=True, kw_only=True)
class Record:
    """One row of `GET margin/borrow-repay`. `settles_at`: until when it is PENDING, and `fails` how that ends."""

    tran_id: int
    type: LoanType
    asset: str
    amount: Decimal
    time: int
    origin: Origin = Origin.MANUAL
    status: LoanStatus = LoanStatus.CONFIRMED
    principal: Decimal = ZERO
    interest: Decimal = ZERO
    settles_at: int = 0
    fails: bool = False


@dataclass(slots=True, frozen=True)
class Charge:
    """An hour's interest on a principal that stood as it began; it shows in the debt from `shows_at` (ms) on."""

    shows_at: int
    asset: str
    principal: Decimal


@dataclass(slots=True, frozen=True, kw_only=True)
class Accrual:
    """One row of `GET margin/interestHistory`; `paid_in` is BNB where interest was taken in it."""

    tran_id: int
    time: int
    asset: str
    paid_in: str
    principal: Decimal
    interest: Decimal
    rate: Decimal
    type: InterestType


@dataclass(slots=True, frozen=True, kw_only=True)
class Transfer:
    """One move between a user's accounts. `source` and `target`: "SPOT", "CROSS_MARGIN" or "ISOLATED_MARGIN"."""

    tran_id: int
    type: str
    asset: str
    amount: Decimal
    time: int
    source: str
    target: str
    source_symbol: str = CROSS
    target_symbol: str = CROSS


@dataclass(slots=True, frozen=True, kw_only=True)
class Liquidated:
    """One row of `GET margin/forceLiquidationRec`."""

    order_id: int
    symbol: str
    side: str
    qty: Decimal
    executed_qty: Decimal
    avg_price: Decimal
    isolated: bool
    time: int


@dataclass(slots=True, frozen=True, kw_only=True)
class Fate:
    """How a loan or a repayment that is accepted goes on: PENDING for `pending_ms`, then done, or FAILED."""

    pending_ms: int = 0
    fails: bool = False


@dataclass(slots=True, frozen=True, kw_only=True)
class LevelChange:
    """`MARGIN_LEVEL_STATUS_CHANGE`."""

    level: Decimal
    status: LevelStatus
    time: int


@dataclass(slots=True, frozen=True, kw_only=True)
class LiabilityChange:
    """`USER_LIABILITY_CHANGE`; `type` is BORROW, REPAY or INTEREST."""

    asset: str
    type: str
    principal: Decimal
    interest: Decimal
    time: int


RiskEvent = LevelChange | LiabilityChange


@dataclass(slots=True, kw_only=True)
class Effect:
    """A live order that borrowed at its placement, or repays with what it receives. `seen`: fills taken note of."""

    order_id: int
    effect: SideEffect
    repays_at_cancel: bool
    asset: str = ""
    borrowed: Decimal = ZERO
    seen: int = 0
