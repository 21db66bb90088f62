"""Loans, repayments and interest: what is refused, what it does to balances and debts, what is kept on record."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Final

from executor.core.model.values import ZERO
from executor.paper.engine.choices import InterestRounding, InterestShown, LoanBusy, LoanRecord, RestTooSmall
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.model import (
    UNIT,
    Accrual,
    Charge,
    Fate,
    InterestType,
    LiabilityChange,
    LoanStatus,
    LoanType,
    Origin,
    Record,
    Terms,
)
from executor.paper.engine.margin.prices import IndexPrices
from executor.paper.engine.matching import Matcher
from executor.paper.engine.model import BalanceUpdate, Reject

HOUR_MS: Final = 3_600_000
PENDING_MS: Final = 1_000
BUSY_MS: Final = 100
RECORD_LATER_MS: Final = 1_500
INTEREST_LATER_MS: Final = 20_000
SMALLEST_REST: Final = Decimal("0.00001")
"""A rest below it may be refused (`ExchangeChoices.small_rest`)."""

BNB: Final = "BNB"


class Lending(ABC):
    """Every unit lent is accounted for: what `lent` lacks, the accounts hold or have paid as interest."""

    def __init__(self, matcher: Matcher, prices: IndexPrices, terms: Terms) -> None:
        self.terms = terms
        self.prices = prices
        self.lent: dict[str, Decimal] = {}
        """By asset: lent less given back, interest and fees included; below zero where lenders have gained."""
        self._matcher = matcher
        self._accounts: dict[str, MarginAccount] = {}
        self._last_id = 0

    # --- asking ---------------------------------------------------------------------------------------------------

    def most(self, account: MarginAccount, asset: str) -> tuple[Decimal, Decimal]:
        """What may be borrowed now, and the limit by worth alone (`GET margin/maxBorrowable`)."""
        price = self.prices.worth(asset)
        if not price:
            raise Reject(-3042, "PriceIndex not available for this margin pair.")
        bar = self.terms.bars(account.symbol).borrow
        room = account.worth(self.prices.worth, self._share) - bar * account.liabilities(self.prices.worth)
        limit = self.terms.most_usdt / price
        most = min(max(ZERO, room / (bar - 1) / price), max(ZERO, limit - account.debt(asset).total))
        stock = self.terms.stock.get(asset)
        if stock is not None:
            most = min(most, stock)
        return most.quantize(UNIT, ROUND_DOWN), limit.quantize(UNIT, ROUND_DOWN)

    def records(self, account: MarginAccount, type: LoanType, now: int) -> list[Record]:  # noqa: A002  # the field's word
        """What the list of records shows now, newest first."""
        later = RECORD_LATER_MS if self._matcher.choices.loan_record is LoanRecord.LATER else 0
        return [record for record in reversed(account.records) if record.type is type and now - record.time >= later]

    # --- borrowing ------------------------------------------------------------------------------------------------

    def borrow(
        self, account: MarginAccount, asset: str, amount: Decimal, now: int, origin: Origin = Origin.MANUAL
    ) -> Record:
        """`POST margin/borrow-repay` with BORROW.

        Raises:
            Reject: -1111, -3006 (or -11008), -3007, -3012, -3013, -3014, -3027, -3042, -3045.
        """
        self._check_amount(
            account, asset, amount, self.terms.min_borrow, -3013, "Borrow amount less than minimum borrow"
        )
        if not account.borrow_enabled:
            raise Reject(-3014, "Borrow is banned for this account.")
        if asset in self.terms.unborrowable:
            raise Reject(-3012, "Borrow is banned for this asset.")
        self._check_busy(account, now)
        stock = self.terms.stock.get(asset)
        if stock is not None and amount > stock:
            raise Reject(-3045, "The system doesn't have enough asset now.")
        if amount > self.most(account, asset)[0]:
            own = account.isolated and self._matcher.choices.isolated_limit_own_code
            code = -11008 if own else -3006
            raise Reject(code, "Your borrow amount has exceed maximum borrow amount.")
        return self._book(account, LoanType.BORROW, asset, amount, now, origin)

    def undo(self, account: MarginAccount, record: Record) -> None:
        """Take back a loan whose order was refused, as if it had never been made; nothing of it was told yet."""
        debt, accrual = account.debt(record.asset), account.accruals.pop()
        account.records.remove(record)
        debt.principal -= record.amount
        if accrual.paid_in == record.asset:
            debt.interest -= accrual.interest
        else:
            account.money.change(BNB, accrual.interest)
            self._lend(BNB, accrual.interest)
        account.money.change(record.asset, -record.amount)
        self._lend(record.asset, -record.amount)
        account.risk = account.risk[:-2]

    # --- repaying -------------------------------------------------------------------------------------------------

    def repay(
        self, account: MarginAccount, asset: str, amount: Decimal, now: int, origin: Origin = Origin.MANUAL
    ) -> Record:
        """`POST margin/borrow-repay` with REPAY: interest first, then principal.

        Raises:
            Reject: -1111, -3007, -3015, -3016, -3024, -3027, -3036, -3041.
        """
        self._check_amount(account, asset, amount, self.terms.min_repay, -3016, "Repay amount less than minimum repay")
        if not account.repay_enabled:
            raise Reject(-3036, "This account is not allowed to repay.")
        self._check_busy(account, now)
        rest = account.debt(asset).total - amount
        if rest < 0:
            raise Reject(-3015, "Repay amount exceeds borrow amount.")
        if amount > account.free(asset):
            raise Reject(-3041, "Balance is not enough.")
        small = self._matcher.choices.small_rest
        if small is not RestTooSmall.ACCEPTED and 0 < rest < SMALLEST_REST:
            if small is RestTooSmall.REFUSED:
                raise Reject(-3024, "The unpaid debt is too small after this repayment.")
            raise Reject(-3015, "Repay amount exceeds borrow amount, or the unpaid debt is too small.")
        return self._book(account, LoanType.REPAY, asset, amount, now, origin)

    def take(self, account: MarginAccount, asset: str, amount: Decimal, now: int, origin: Origin) -> None:
        """Repay, whatever the rules say: the exchange does it itself."""
        record = Record(
            tran_id=self.next_id(), type=LoanType.REPAY, asset=asset, amount=amount, time=now, origin=origin
        )
        account.records.append(record)
        self._take(account, record, now)
        self._matcher.close_operation(now)

    # --- time -----------------------------------------------------------------------------------------------------

    def settle(self, now: int) -> None:
        """End the PENDING loans and repayments whose time has come, and show what interest was charged."""
        for account in self._accounts.values():
            self.show_interest(account, now)
        for account, record in self._pending():
            if record.settles_at <= now:
                self._settle(account, record, now)

    def charge(self, account: MarginAccount, now: int, hours: int = 1) -> None:
        """Interest of so many hours on everything that an account owes."""
        later = INTEREST_LATER_MS if self._matcher.choices.interest_shown is InterestShown.LATER else 0
        for asset, debt in account.debts.items():
            if debt.principal:
                account.charges += [Charge(now + later, asset, debt.principal)] * hours
        self.show_interest(account, now)

    def show_interest(self, account: MarginAccount, now: int) -> None:
        """Add to the debts what was charged and shows by now."""
        due = [each for each in account.charges if each.shows_at <= now]
        if not due:
            return
        account.charges = [each for each in account.charges if each.shows_at > now]
        for each in due:
            self._accrue(account, each.asset, each.principal, InterestType.PERIODIC, now)
        self._matcher.close_operation(now)

    # --- steps of these -------------------------------------------------------------------------------------------

    def _check_amount(
        self, account: MarginAccount, asset: str, amount: Decimal, least: dict[str, Decimal], code: int, text: str
    ) -> None:
        if not self._lists(account, asset):
            raise Reject(-3027, "Not a valid margin asset.")
        if amount != amount.quantize(UNIT, ROUND_DOWN):
            raise Reject(-1111, "Parameter 'amount' has too much precision.")
        if amount <= 0 or amount < least.get(asset, ZERO):
            raise Reject(code, f"{text} amount.")

    @abstractmethod
    def _lists(self, account: MarginAccount, asset: str) -> bool:
        """Whether the account may hold the asset."""

    def _check_busy(self, account: MarginAccount, now: int) -> None:
        """One at a time, across all assets of the account."""
        pending = any(record.status is LoanStatus.PENDING for record in account.records)
        if pending or now < account.busy_until:
            raise Reject(-3007, "You have pending transaction, please try again later.")

    def _book(
        self, account: MarginAccount, kind: LoanType, asset: str, amount: Decimal, now: int, origin: Origin
    ) -> Record:
        choices = self._matcher.choices
        pending_ms = PENDING_MS if choices.loan_record is LoanRecord.PENDING and origin is Origin.MANUAL else 0
        fate = Fate(pending_ms=pending_ms)
        if account.next_fates and origin is Origin.MANUAL:
            fate = account.next_fates.pop(0)
        record = Record(
            tran_id=self.next_id(),
            type=kind,
            asset=asset,
            amount=amount,
            time=now,
            origin=origin,
            status=LoanStatus.PENDING,
            settles_at=now + fate.pending_ms,
            fails=fate.fails,
        )
        account.records.append(record)
        if choices.loan_busy is LoanBusy.BRIEFLY:
            account.busy_until = now + BUSY_MS
        if not fate.pending_ms:
            self._settle(account, record, now)
        return record

    def _settle(self, account: MarginAccount, record: Record, now: int) -> None:
        lacks = record.type is LoanType.REPAY and (
            record.amount > account.free(record.asset) or record.amount > account.debt(record.asset).total
        )
        if record.fails or lacks:
            record.status = LoanStatus.FAILED
            return
        record.status = LoanStatus.CONFIRMED
        if record.type is LoanType.BORROW:
            self._give(account, record, now)
        else:
            self._take(account, record, now)
        self._matcher.close_operation(now)

    def _give(self, account: MarginAccount, record: Record, now: int) -> None:
        record.principal = record.amount
        self.move(account, record.asset, record.amount, now)
        account.debt(record.asset).principal += record.amount
        self._tell(account, record.asset, "BORROW", record.amount, ZERO, now)
        self._accrue(account, record.asset, record.amount, InterestType.ON_BORROW, now)

    def _take(self, account: MarginAccount, record: Record, now: int) -> None:
        debt = account.debt(record.asset)
        record.interest = min(debt.interest, record.amount)
        record.principal = record.amount - record.interest
        debt.interest -= record.interest
        debt.principal -= record.principal
        self.move(account, record.asset, -record.amount, now)
        self._tell(account, record.asset, "REPAY", record.principal, record.interest, now)

    def _accrue(self, account: MarginAccount, asset: str, principal: Decimal, kind: InterestType, now: int) -> None:
        """One hour's interest on a principal, added to the debt or taken in BNB."""
        rate = self.terms.rate(asset)
        up = self._matcher.choices.interest_rounding is InterestRounding.UP
        interest = (principal * rate).quantize(UNIT, ROUND_UP if up else ROUND_DOWN)
        paid_in = asset
        in_bnb = self._in_bnb(account, asset, interest)
        if in_bnb is not None:
            kind = {
                InterestType.PERIODIC: InterestType.PERIODIC_CONVERTED,
                InterestType.ON_BORROW: InterestType.ON_BORROW_CONVERTED,
            }[kind]
            paid_in, interest = BNB, in_bnb
            account.money.change(BNB, -in_bnb)
            self._lend(BNB, -in_bnb)
        else:
            account.debt(asset).interest += interest
        account.accruals.append(
            Accrual(
                tran_id=self.next_id(),
                time=now,
                asset=asset,
                paid_in=paid_in,
                principal=principal,
                interest=interest,
                rate=rate,
                type=kind,
            )
        )
        self._tell(account, asset, "INTEREST", ZERO, interest, now)

    def _in_bnb(self, account: MarginAccount, asset: str, interest: Decimal) -> Decimal | None:
        """What an interest costs in BNB, where the account pays in it and has enough."""
        bnb = self.prices.worth(BNB)
        if not account.in_bnb or not bnb:
            return None
        cost = (interest * self.prices.worth(asset) / bnb).quantize(UNIT, ROUND_UP)
        return cost if 0 < cost <= account.free(BNB) else None

    def move(self, account: MarginAccount, asset: str, delta: Decimal, now: int) -> None:
        account.money.change(asset, delta)
        account.money.events.append(BalanceUpdate(asset=asset, delta=delta, time=now))
        self._lend(asset, delta)

    def _lend(self, asset: str, amount: Decimal) -> None:
        self.lent[asset] = self.lent.get(asset, ZERO) + amount
        if asset in self.terms.stock:
            self.terms.stock[asset] -= amount

    def _tell(
        self, account: MarginAccount, asset: str, kind: str, principal: Decimal, interest: Decimal, now: int
    ) -> None:
        if not account.isolated:
            account.risk.append(
                LiabilityChange(asset=asset, type=kind, principal=principal, interest=interest, time=now)
            )

    def _share(self, asset: str) -> Decimal:
        return self.terms.collateral.get(asset, Decimal(1))

    def _pending(self) -> Iterator[tuple[MarginAccount, Record]]:
        for account in self._accounts.values():
            if account.records and account.records[-1].status is LoanStatus.PENDING:
                yield account, account.records[-1]

    def next_id(self) -> int:
        self._last_id += 1
        return 100_000_000_000 + self._last_id
