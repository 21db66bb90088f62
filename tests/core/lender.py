"""A margin account in small: what it holds and owes, what is on record of its loans, and interest by the full hour."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.model.facts import Balance, Refused, Why
from executor.core.model.loans import (
    PRECISION,
    Booked,
    Debt,
    LoanKind,
    LoanRecord,
    MarginAccount,
    Others,
    RecordStatus,
)
from executor.core.model.values import ZERO, ceil_to

HOUR_MS: Final = 3_600_000
RATE: Final = Decimal("0.00001")


class Lender:
    """`holdings`: by asset, all that is there; `rate`: of interest, for each hour begun. `status`: of new records; one
    that is PENDING is carried out by `confirm`. `least`: a rest of a debt that is smaller is not left by a repayment.
    `lendable`: the most that may be borrowed. `refuses`: what the next request is answered with.
    """

    def __init__(self, holdings: Mapping[str, Decimal], rate: Decimal = RATE, now: int = 0) -> None:
        self.holdings = dict(holdings)
        self.rate = rate
        self.debts: dict[str, Debt] = {}
        self.records: list[LoanRecord] = []
        self.status = RecordStatus.CONFIRMED
        self.least = ZERO
        self.lendable = Decimal(1_000_000)
        self.refuses: list[Refused] = []
        self.liquidated: tuple[int, ...] = ()
        self.others: dict[str, Others] = {}
        self.unsettled = False
        self._hour = now // HOUR_MS
        self._numbers = 100

    def debt(self, asset: str) -> Debt:
        return self.debts.get(asset, Debt())

    def add(self, asset: str, amount: Decimal) -> None:
        self.holdings[asset] = self.holdings.get(asset, ZERO) + amount

    def pass_time(self, now: int) -> None:
        """Interest for each full hour that has passed."""
        for _ in range(now // HOUR_MS - self._hour):
            for asset, debt in self.debts.items():
                self._charge(asset, debt.principal)
        self._hour = now // HOUR_MS

    def ask(self, kind: LoanKind, asset: str, amount: Decimal, now: int) -> Booked | Refused:
        """A loan or a repayment, as the exchange answers it."""
        if self.refuses:
            return self.refuses.pop(0)
        if kind is LoanKind.REPAY and (fault := self._fault(asset, amount)) is not None:
            return fault
        self._numbers += 1
        self.records.append(
            LoanRecord(
                tran_id=self._numbers, kind=kind, asset=asset, amount=amount, status=RecordStatus.PENDING, time=now
            )
        )
        if self.status is RecordStatus.CONFIRMED:
            self.confirm()
        return Booked(self._numbers)

    def _fault(self, asset: str, amount: Decimal) -> Refused | None:
        rest = self.debt(asset).total - amount
        if rest < 0 or 0 < rest < self.least:
            return Refused(Why.DEBT_SUM, -3015, "Repay amount exceeds borrow amount.")
        if amount > self.holdings.get(asset, ZERO):
            return Refused(Why.INSUFFICIENT_BALANCE, -3041, "Balance is not enough.")
        return None

    def confirm(self, status: RecordStatus = RecordStatus.CONFIRMED) -> None:
        """What is pending is carried out, or fails."""
        for n, row in enumerate(self.records):
            if row.status is not RecordStatus.PENDING:
                continue
            row = replace(row, status=status)  # noqa: PLW2901
            self.records[n] = self._move(row) if status is RecordStatus.CONFIRMED else row

    def _move(self, row: LoanRecord) -> LoanRecord:
        """The row, with what it was for."""
        debt = self.debt(row.asset)
        if row.kind is LoanKind.BORROW:
            self.add(row.asset, row.amount)
            self.debts[row.asset] = Debt(debt.principal + row.amount, debt.interest)
            self._charge(row.asset, row.amount)
            return replace(row, principal=row.amount)
        self.add(row.asset, -row.amount)
        interest = min(row.amount, debt.interest)
        self.debts[row.asset] = Debt(debt.principal - row.amount + interest, debt.interest - interest)
        return replace(row, principal=row.amount - interest, interest=interest)

    def _charge(self, asset: str, principal: Decimal) -> None:
        debt = self.debt(asset)
        self.debts[asset] = Debt(debt.principal, debt.interest + ceil_to(principal * self.rate, PRECISION))

    def account(self, now: int, base: str, quote: str, price: Decimal, locked: Mapping[str, Decimal]) -> MarginAccount:
        def worth(asset: str, amount: Decimal) -> Decimal:
            return amount * price if asset == base else amount

        assets = sum((worth(asset, held) for asset, held in self.holdings.items()), ZERO)
        owed = sum((worth(asset, debt.total) for asset, debt in self.debts.items()), ZERO)
        return MarginAccount(
            asked_at=now,
            balances={
                asset: Balance(held - locked.get(asset, ZERO), locked.get(asset, ZERO))
                for asset, held in self.holdings.items()
            },
            debts={asset: debt for asset, debt in self.debts.items() if debt.total},
            assets=assets,
            liabilities=owed,
            price=price,
            level=assets / owed if owed else None,
            others=self.others,
            unsettled=self.unsettled,
        )
