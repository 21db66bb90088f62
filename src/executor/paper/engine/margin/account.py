"""One margin account: what it owes, what is on record of it, and what it is worth."""

from collections.abc import Callable, Iterable
from decimal import ROUND_DOWN, Decimal
from typing import Final

from executor.core.model.values import ZERO
from executor.paper.engine.account import Account
from executor.paper.engine.margin.model import (
    CROSS,
    UNIT,
    Accrual,
    Bars,
    Charge,
    Debt,
    Effect,
    Fate,
    LevelStatus,
    Liquidated,
    Record,
    RiskEvent,
    Transfer,
)

NO_DEBT: Final = Decimal(999)
"""The cross account's level without a debt."""

Price = Callable[[str], Decimal]
"""An asset's worth in the exchange's unit of account."""


class MarginAccount:
    """`money` is its place in the engine: balances, orders and fills. `symbol` is empty for the cross account."""

    __slots__ = (
        "accruals", "bad_debts", "borrow_enabled", "busy_until", "charges", "debts", "effects", "enabled", "hour",
        "in_bnb", "liquidations", "money", "next_fates", "owner", "records", "repay_enabled", "risk", "status",
        "symbol", "trade_enabled", "transfer_in_enabled", "transfer_out_enabled", "transfers",
    )  # fmt: skip

    def __init__(self, owner: str, symbol: str, money: Account, hour: int) -> None:
        self.owner = owner
        self.symbol = symbol
        self.money = money
        self.hour = hour
        self.debts: dict[str, Debt] = {}
        self.records: list[Record] = []
        self.accruals: list[Accrual] = []
        self.charges: list[Charge] = []
        self.transfers: list[Transfer] = []
        self.liquidations: list[Liquidated] = []
        self.bad_debts: dict[str, Decimal] = {}
        self.risk: list[RiskEvent] = []
        self.effects: dict[int, Effect] = {}
        self.next_fates: list[Fate] = []
        self.busy_until = 0
        self.status = LevelStatus.EXCESSIVE
        self.enabled = True
        self.in_bnb = False
        self.trade_enabled = True
        self.borrow_enabled = True
        self.repay_enabled = True
        self.transfer_in_enabled = True
        self.transfer_out_enabled = True

    @property
    def isolated(self) -> bool:
        return self.symbol != CROSS

    @property
    def owes(self) -> bool:
        return any(debt.total for debt in self.debts.values())

    def debt(self, asset: str) -> Debt:
        return self.debts.setdefault(asset, Debt())

    def free(self, asset: str) -> Decimal:
        return self.money.free.get(asset, ZERO)

    def held(self, asset: str) -> Decimal:
        return self.free(asset) + self.money.locked.get(asset, ZERO)

    def assets(self) -> list[str]:
        """Every asset that it holds or owes, or ever did, in alphabetical order."""
        return sorted(self.money.free.keys() | self.debts.keys())

    def worth(self, price: Price, share: Callable[[str], Decimal] | None = None) -> Decimal:
        """What it holds, each asset counted with its `share`, or whole."""
        total, locked = ZERO, self.money.locked
        for asset, free in self.money.free.items():
            held = free + locked.get(asset, ZERO)
            if held:
                worth = held * price(asset)
                total += worth if share is None else worth * share(asset)
        return total

    def liabilities(self, price: Price) -> Decimal:
        return _sum(debt.total * price(asset) for asset, debt in self.debts.items() if debt.total)

    def level(self, price: Price, share: Callable[[str], Decimal] | None = None) -> Decimal | None:
        """Worth over debts, None without a debt: it is no ratio then."""
        owed = self.liabilities(price)
        if not owed:
            return None
        return (self.worth(price, share) / owed).quantize(UNIT, ROUND_DOWN)

    def liquidation_price(self, base: str, quote: str, bar: Decimal) -> Decimal:
        """Of an isolated account: the price at which its level meets the bar; 0 where there is none."""
        owed_base, owed_quote = self.debt(base).total, self.debt(quote).total
        slope = self.held(base) - bar * owed_base
        if slope == 0 or not (owed_base or owed_quote):
            return ZERO
        price = (bar * owed_quote - self.held(quote)) / slope
        return max(ZERO, price).quantize(UNIT, ROUND_DOWN)


def status_of(level: Decimal | None, bars: Bars) -> LevelStatus:
    if level is None or level > bars.transfer:
        return LevelStatus.EXCESSIVE
    if level > bars.call:
        return LevelStatus.NORMAL
    return LevelStatus.MARGIN_CALL if level > bars.liquidation else LevelStatus.FORCE_LIQUIDATION


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)
