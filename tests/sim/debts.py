"""What must hold of a margin account as seen from outside: what is owed, whose it is, and who knows of it (rule 11)."""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from tests.sim.margin import MarginDirect
from tests.sim.setup import rules as rules_of

from executor.core.book import debt as debts
from executor.core.model.intents import Borrow, LoanCommand
from executor.core.model.loans import PRECISION, LoanKind
from executor.core.model.state import Closed, Closing, Position, Reason, State
from executor.core.model.values import ZERO, Direction, OrderStatus, OrderType, plain
from executor.paper.engine.choices import InterestShown
from executor.paper.engine.margin.model import LoanStatus, LoanType, Origin
from executor.paper.engine.model import NO_LIST

SLACK: Final = Decimal("0.00000100")
"""Interest of somebody else's loans is theirs; so much of it may be taken for ours."""
ROUNDED: Final = 10 * PRECISION
"""Where reads from before show interest again that was taken in BNB, our share of it is a unit more each time: it is
rounded up as it is charged, and down as it is taken, lest anything of ours stays.
"""
ENOUGH: Final = Decimal(10)
"""Free quote with which a market order may be had."""
HAND: Final = 20
"""What somebody else borrows is worth so much, in quote."""


class Debts:
    """`foreign`: by asset, what somebody else borrowed and has not repaid, `unclear`: what of it may be ours as well, a
    rest of a debt of which that can't be told; `moved`: what was transferred in or out;
    `lent`: what our requests borrowed for each trade, `last`: the last of it by asset; `touched`: somebody else has
    repaid, or the exchange liquidated;
    `forgot`: a newer state was lost, so that what its trade explains is taken for its own (11.12).
    """

    def __init__(
        self, direct: MarginDirect, broken: list[str], saved: Callable[[], State], now: Callable[[], int]
    ) -> None:
        self.direct = direct
        self.broken = broken
        self.saved = saved
        self.now = now
        self.foreign: dict[str, Decimal] = defaultdict(Decimal)
        self.unclear: dict[str, Decimal] = defaultdict(Decimal)
        self.moved: dict[str, Decimal] = defaultdict(Decimal)
        self.lent: dict[str, Decimal] = defaultdict(Decimal)
        self.last: dict[str, Decimal] = defaultdict(Decimal)
        self.converted: dict[str, Decimal] = defaultdict(Decimal)
        """By asset, interest that was taken in BNB since nothing was owed."""
        self.borrowed: set[str] = set()
        """The assets of which our requests have borrowed since nothing was owed."""
        self.loans = 0
        self.repayments = 0
        self.touched = False
        self.forgot = False
        self._taken = 0
        """How often the exchange has repaid by itself, as known."""

    # --- what our requests do -----------------------------------------------------------------------------------------

    def executed(self, request: LoanCommand, saved: State) -> None:
        """The exchange has booked a loan or a repayment of ours; `saved`: the state on disk then."""
        self._look()
        if isinstance(request, Borrow):
            self.loans += 1
            self._borrowed(request, saved)
        else:
            self.repayments += 1
            self._repaid(request.asset)

    def _borrowed(self, request: Borrow, saved: State) -> None:
        position = saved.position
        if position is None or position.credit is None:
            self.broken.append(
                f"M1 (11.3): {plain(request.amount)} {request.asset} were borrowed, and no trade is open"
            )
            return
        self.lent[position.trade] += request.amount
        self.last[request.asset] = self.lent[position.trade]
        self.borrowed.add(request.asset)
        if self.lent[position.trade] > position.credit.need:
            self.broken.append(
                f"M1 (11.3): {plain(self.lent[position.trade])} {request.asset} were borrowed for trade"
                f" {position.trade}, which needs {plain(position.credit.need)}"
            )

    def _repaid(self, asset: str) -> None:
        self._foreign_stays(asset)

    def _foreign_stays(self, asset: str) -> None:
        """M2. Whose a rest is can't be told once somebody has repaid of ours, or a state was lost. Interest that was
        taken in BNB after a repayment was sized by it has the repayment give back that much more.
        """
        left = self.direct.lender.debt(asset).total
        if left >= self.foreign[asset]:
            return
        taken = self.converted[asset]
        shared = taken + ROUNDED if taken else ZERO
        if not (self.forgot or self.touched or left + shared >= self.foreign[asset]):
            theirs = plain(self.foreign[asset])
            self.broken.append(f"M2 (11.4): {plain(left)} {asset} are owed, of which {theirs} are not ours")
        self.foreign[asset] = self.unclear[asset] = left

    # --- what others do -----------------------------------------------------------------------------------------------

    def by_hand(self, kind: LoanKind, asset: str, amount: Decimal) -> None:
        """Somebody else has borrowed or repaid: their own debt first. A loan that is small beside ours, and made while
        ours is repaid, can't be told from interest that ours was charged, unless the repayment's record tells that; nor
        what is as large as a request of ours that nobody has answered yet: records don't tell whose they are.
        """
        self._look()
        self.touched |= self._as_ours_in_doubt(kind, asset, amount)
        if kind is LoanKind.BORROW:
            self.foreign[asset] += amount
            small = max(self.direct.lender.debt(asset).total, self.last[asset]) / debts.LARGEST_CHARGE
            self.touched |= amount <= small and self._repaying(asset)
        else:
            theirs = min(self.foreign[asset], amount)
            self.foreign[asset] -= theirs
            self.touched |= amount > theirs
            if asset not in self.borrowed:
                self.foreign[asset] = self.direct.lender.debt(asset).total  # their interest

    def _repaying(self, asset: str) -> bool:
        """Whether a repayment is under way, or over without a record, by the state on disk."""
        state = self.saved()
        loan = state.loan
        under_way = loan is not None and loan.open and (loan.kind, loan.asset) == (LoanKind.REPAY, asset)
        return under_way or debts.find(state.debts, asset).principal is None

    def _as_ours_in_doubt(self, kind: LoanKind, asset: str, amount: Decimal) -> bool:
        """Whether a loan or repayment of ours is under way, just as large, and without a number, by the state saved."""
        loan = self.saved().loan
        if loan is None or not loan.open or loan.tran_id:
            return False
        return (loan.kind, loan.asset, loan.amount) == (kind, asset, amount)

    def liquidated(self) -> None:
        self.foreign.clear()
        self.unclear.clear()
        self.touched = True
        self._taken = self._times_taken()

    def _look(self) -> None:
        """Whether the exchange has liquidated the account for its level, with nobody asking for it."""
        if self._times_taken() > self._taken:
            self.liquidated()

    def _times_taken(self) -> int:
        rows = self.direct.lender.records
        return sum(row.origin is Origin.AUTO and row.type is LoanType.REPAY for row in rows)

    # --- what must hold -----------------------------------------------------------------------------------------------

    def ours(self, asset: str) -> Decimal:
        """What of the debt is ours, somebody else's interest aside."""
        owed = self.direct.lender.debt(asset).total - self.foreign[asset]
        return owed if owed > self.foreign[asset] / 1_000 + (SLACK if self.foreign[asset] else ZERO) else ZERO

    def at_most_ours(self, asset: str) -> Decimal:
        """The same, where it can't be told whose a rest is."""
        return self.ours(asset) + min(self.unclear[asset], self.foreign[asset])

    def carried(self, trade: str) -> Decimal:
        """What is owed of base that `trade`, a short whose entry has just begun to fill, has not borrowed, and that the
        account has nothing for.
        """
        base, lent = self._base, self.lent[trade]
        orders = self.direct.engine._accounts[self.direct.account].orders.values()
        sold = sum((o.executed_qty for o in orders if o.client_order_id.startswith(f"EX_{trade}_")), ZERO)
        had = self.there(base) + sold - lent
        return max(self.ours(base) - lent - max(had, ZERO), ZERO)

    def there(self, asset: str) -> Decimal:
        """What the account holds of it that may repay what is owed."""
        return self.direct.lender.held(asset)

    def closing(self, position: Position) -> None:
        """It is being closed from now on. Once it has given back what it owes there is no level."""
        assert isinstance(position.phase, Closing)
        if position.phase.reason is Reason.MARGIN_LEVEL and self._level > self._bar:
            self.broken.append(f"M6 (11.10): {position.trade} is closed for its level, which is {plain(self._level)}")

    def closed(self, state: State, closed: Closed) -> None:
        """A trade has ended: nothing of ours is owed, or it is known and named (11.7)."""
        self._look()
        for asset in self.direct.lender.debts:
            self._foreign_stays(asset)
        for asset, debt in self.direct.lender.debts.items():
            known = debts.find(state.debts, asset)
            ours = self.ours(asset)
            if self.forgot and not _shown(state, asset):
                continue  # a loan that no state remembers has come true since the account was read: see `over`
            if ours <= debt.interest and self.shows_late:
                continue  # interest that has come to show since the account was read: see `over`
            if debt.total and ours > 0 and not (known.own or known.foreign or known.doubted_at):
                self.broken.append(f"M3 (11.7): closed, and {plain(ours)} {asset} are owed that nobody knows of")
        self._nobodys_hand(state)
        self._bought_back(closed)
        waits = any(record.status is LoanStatus.PENDING for record in self.direct.lender.records)
        unaware = any(debt.own or debt.by_hand for debt in state.debts)  # or it has just told of it
        if not (self.direct.lender.owes or waits or unaware):
            self.forgot = self.touched = False
            self.converted.clear()
            self.borrowed.clear()

    def _nobodys_hand(self, state: State) -> None:
        """M9: what the exchange does with a debt by itself is not called somebody else's doing."""
        for debt in state.debts:
            if debt.by_hand and not (self.touched or self.forgot):
                self.broken.append(f"M9 (11.4): {plain(debt.by_hand)} {debt.asset} were repaid, as it says, by nobody")

    def _bought_back(self, closed: Closed) -> None:
        """M7: what a short leaves owed is interest that was charged while its exits stood, not its commission."""
        base, rules = self._base, self.direct.engine.symbol(self.direct.symbol)
        alone = closed.reason is not Reason.EXTERNAL and not (self.forgot or self.touched or self.foreign[base])
        if closed.direction is Direction.LONG or not closed.qty or not alone:
            return
        if self.direct.lender.money.bnb_burn:
            return  # BNB that runs out leaves a commission in base that nobody expected
        charged = sum((row.interest for row in self.direct.lender.accruals if row.asset == base), ZERO)
        left = self.ours(base)
        if self._cut_short(closed, charged) and left * self._judged_by() < rules_of(self.direct.symbol).min_notional:
            return  # nobody sold the rest of the buy-back, and no order is taken for so little: it is carried (11.7)
        if left > charged + rules.lot.grid and self.direct.lender.free(rules.quote) > ENOUGH:
            self.broken.append(
                f"M7 (11.6): {plain(left)} {base} are owed after the close, interest is {plain(charged)}"
            )

    def _judged_by(self) -> Decimal:
        """The price by which NOTIONAL takes a market order, its symbol's average, or the last one where that is lower
        (filters.md).
        """
        average = self.direct.engine.avg_price(self.direct.symbol, self.now())
        return min(average or self.direct.last(), self.direct.last())

    def _cut_short(self, closed: Closed, charged: Decimal) -> bool:
        """Whether an order of the trade's buy-back ended with a part of it: a market order in a book that was too thin,
        a stop that was jumped over and cancelled (6.5), a target, one that another order of the account has made
        smaller; or was for a part, what the entry had sold before its newest fills, and filled before it was moved to
        its size. `charged`: of interest, ever.
        """
        prefix, side = f"EX_{closed.trade}_", closed.direction.exit_side
        orders = self.direct.engine._accounts[self.direct.account].orders.values()
        mine = [order for order in orders if order.client_order_id.startswith(prefix)]
        exits = [order for order in mine if order.side is side]
        entries = [order for order in mine if order.side is not side]
        sold = sum((order.executed_qty for order in entries), ZERO)
        bought = sum((order.executed_qty for order in exits), ZERO)
        newest = max((fill for order in entries for fill in order.fills), key=lambda fill: fill.time)
        rules = rules_of(self.direct.symbol)
        part = debts.gross(sold - newest.qty + charged, rules.worst_keep(), rules.step)
        if bought < sold or bought <= part + debts.LEFT_OVER_STEPS * rules.step:
            return True  # for what had been told of the entry by then
        alone = [order for order in exits if order.order_list_id == NO_LIST]
        if any(order.executed_qty and order.time < newest.time for order in alone):
            return True  # a stop of what had been sold before several fills
        return any(
            order.prevented_qty
            or (
                order.status in (OrderStatus.EXPIRED, OrderStatus.CANCELED)
                and (order.executed_qty or order.type is OrderType.MARKET)
            )
            for order in exits
        )

    @property
    def shows_late(self) -> bool:
        """Whether interest may come to show in a debt that is repaid."""
        return self.direct.engine.choices.interest_shown is InterestShown.LATER

    @property
    def to_show(self) -> bool:
        """Whether some has, or will, that the account was not read for."""
        return self.shows_late and bool(self.direct.lender.charges or self.direct.lender.owes)

    @property
    def _base(self) -> str:
        return self.direct.engine.symbol(self.direct.symbol).base

    @property
    def _level(self) -> Decimal:
        level = self.direct.engine.margin.level(self.direct.lender)
        return Decimal(999) if level is None else level

    @property
    def _bar(self) -> Decimal:
        """Well above the level at which a trade is closed; it may have risen since that was seen."""
        return self.direct.engine.margin.terms.bars(self.direct.pair).call * Decimal("1.2")

    def over(self, state: State) -> None:
        """In the calm, after everything: what could be repaid was repaid."""
        self._look()
        if state.repaying is not None or (state.loan is not None and state.loan.open):
            self.broken.append(f"M4 (11.3): calm, and a loan is under way still: {state.loan!r}")
            return
        for asset in self.direct.lender.debts:
            ours, known = self.ours(asset), debts.find(state.debts, asset)
            if ours <= 0:
                continue
            if not known.own and not known.foreign:
                self.broken.append(f"M3 (11.7): flat, and {plain(ours)} {asset} are owed that nobody knows of")
            elif not self.touched and not known.foreign and self.direct.lender.free(asset) >= ours:
                self.broken.append(f"M5 (11.7): {plain(ours)} {asset} are owed and free, and not repaid")
        for known in state.debts:
            owed = self.direct.lender.debt(known.asset).total
            if known.own > owed:
                told = plain(known.own)
                self.broken.append(f"M8 (11.9): {told} {known.asset} are told to be owed, it is {plain(owed)}")

    def changed(self, asset: str) -> Decimal:
        """What loans, interest in kind, fees and transfers have added to the account's balance."""
        return self.direct.engine.margin.lent.get(asset, ZERO) + self.moved[asset]


def _shown(state: State, asset: str) -> bool:
    """Whether the account as it was last read owes any of `asset`."""
    account = state.market.margin
    return account is not None and account.debt(asset).total > 0
