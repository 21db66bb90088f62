"""What somebody does with a margin account on the exchange's website, and what the exchange itself does with it."""

from collections.abc import Callable
from decimal import Decimal

from tests.sim.choices import Choices
from tests.sim.debts import HAND, Debts
from tests.sim.margin import MarginDirect
from tests.sim.setup import ACCOUNT, Setup
from tests.sim.wire import Wire

from executor.core.model.loans import PRECISION, LoanKind
from executor.core.model.values import ZERO, floor_to
from executor.paper.engine.margin.model import Fate
from executor.paper.engine.model import Reject

_HAND = (Decimal(HAND), Decimal(1))
"""The smaller is less than a hundredth of what most trades borrow."""
_PARTS = (Decimal(1), Decimal("0.5"), Decimal("0.1"))


class MarginHands:
    def __init__(self, direct: MarginDirect, debts: Debts, wire: Wire, choices: Choices, setup: Setup) -> None:
        self._direct = direct
        self._debts = debts
        self._wire = wire
        self._choices = choices
        self._setup = setup
        self._margin = direct.engine.margin

    def charge(self) -> None:
        """An hour begins, or several have passed: interest."""
        hours = (1, 2, 24)[self._choices.choose("hours", 3)]
        self._margin.charge(self._direct.lender, self._wire.timeline.now, hours)
        self._wire.deliver_pushes()

    def convert(self) -> None:
        """The interest that shows in the debts is taken in BNB."""
        for asset, debt in self._direct.lender.debts.items():
            self._debts.converted[asset] += debt.interest
            debt.interest = ZERO

    def liquidate(self, seize: Callable[[], None]) -> None:
        """`seize`: what becomes of the trade at hand is not its own doing any more."""
        if not self._direct.lender.owes:
            return
        seize()
        self._margin.liquidate(self._direct.lender, self._wire.timeline.now)
        self._debts.liquidated()
        self._wire.deliver_pushes()

    def borrow(self) -> None:
        asset = self._asset()
        amount = _HAND[self._choices.choose("sum", len(_HAND), 0.4)]
        if asset != "USDT":
            amount = floor_to(amount / self._direct.last(), PRECISION)
        if self._try(LoanKind.BORROW, asset, amount):
            self._debts.by_hand(LoanKind.BORROW, asset, amount)

    def repay(self, seize: Callable[[], None]) -> None:
        """All or a part of what is owed, where it is free."""
        account = self._direct.lender
        owed = [asset for asset, debt in account.debts.items() if debt.total]
        if not owed:
            return
        asset = owed[self._choices.choose("debt", len(owed))]
        part = _PARTS[self._choices.choose("part", len(_PARTS))]
        amount = floor_to(min(account.debt(asset).total * part, account.free(asset)), PRECISION)
        if amount > 0 and self._try(LoanKind.REPAY, asset, amount):
            self._debts.by_hand(LoanKind.REPAY, asset, amount)
            seize()

    def transfer(self) -> None:
        """Quote in or out."""
        margin, account = self._margin, self._direct.lender
        asset, pair = "USDT", self._direct.pair
        if self._choices.choose("way", 2):
            amount = floor_to(margin.transferable(account, asset) / 2, PRECISION)
            kind, source, target = ("ISOLATED_MARGIN_MAIN", pair, "") if pair else ("MARGIN_MAIN", "", "")
            sign = -1
        else:
            amount = Decimal(50)
            kind, source, target = ("MAIN_ISOLATED_MARGIN", "", pair) if pair else ("MAIN_MARGIN", "", "")
            sign = 1
        try:
            margin.transfer(ACCOUNT, kind, asset, amount, self._wire.timeline.now, source=source, target=target)
        except Reject:
            return
        self._debts.moved[asset] += sign * amount
        self._wire.deliver_pushes()

    def _asset(self) -> str:
        return ("USDT", self._setup.market.base)[self._choices.choose("asset", 2)]

    def _try(self, kind: LoanKind, asset: str, amount: Decimal) -> bool:
        """Whether the exchange has done it at once."""
        act = self._margin.borrow if kind is LoanKind.BORROW else self._margin.repay
        self._direct.lender.next_fates.append(Fate())
        try:
            act(self._direct.lender, asset, amount, self._wire.timeline.now)
        except Reject:
            self._direct.lender.next_fates.clear()
            return False
        self._wire.deliver_pushes()
        return True
