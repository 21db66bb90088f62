"""Whose the debts of a shared account are, by what each symbol's requests have borrowed and repaid (rule 11.4)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from tests.sim.debts import SLACK, Debts
from tests.sim.margin import MarginDirect

from executor.core.book import debt as debts
from executor.core.model.intents import Borrow, LoanCommand
from executor.core.model.state import State
from executor.core.model.values import ZERO, plain
from executor.paper.engine.margin.account import MarginAccount as Lender
from executor.paper.engine.margin.model import LoanStatus, Record

CLAIMED_MORE: Final = 50
"""Of a debt that is not on record a trade takes so little of others' for its own (11.12)."""


class Loans:
    """By symbol and asset, since nothing was owed of it. `forgot`: a state was lost meanwhile."""

    def __init__(self, lender: Lender, broken: list[str]) -> None:
        self.lender = lender
        self.broken = broken
        self.forgot = False
        self._lent: dict[tuple[str, str], list[Record]] = defaultdict(list)
        self._repaid: dict[tuple[str, str], list[Record]] = defaultdict(list)
        self._charged: dict[str, Decimal] = defaultdict(Decimal)

    def executed(self, symbol: str, request: LoanCommand) -> None:
        """The exchange has booked it; it may still fail."""
        asset, key = request.asset, (symbol, request.asset)
        made = self._lent if isinstance(request, Borrow) else self._repaid
        rows = reversed(self.lender.records)
        made[key].append(next(row for row in rows if (row.asset, row.amount) == (asset, request.amount)))
        if isinstance(request, Borrow):
            return
        repaid, lent = _sum(self._repaid[key]), _sum(self._lent[key])
        most = lent + self.interest(asset)
        if self.forgot:
            most += sum((_sum(rows) for (_, each), rows in self._lent.items() if each == asset), ZERO) / CLAIMED_MORE
        if repaid > most + SLACK:
            told = f"{symbol} has repaid {plain(repaid)} {asset}, and borrowed {plain(lent)}"
            self.broken.append(f"N4 (11.4): {told}")
        if not self.lender.debt(asset).total:
            self._begin_anew(asset)

    def own(self, symbol: str, asset: str) -> Decimal:
        """What of the asset's debt is the symbol's; nothing where it may be interest, which they share."""
        left = _sum(self._lent[symbol, asset]) - _sum(self._repaid[symbol, asset])
        return min(left, self.lender.debt(asset).total) if left > self.interest(asset) else ZERO

    def interest(self, asset: str) -> Decimal:
        """All that was ever charged since nothing was owed."""
        return self._ever(asset) - self._charged[asset]

    def _ever(self, asset: str) -> Decimal:
        return sum((row.interest for row in self.lender.accruals if row.asset == asset), ZERO)

    def _begin_anew(self, asset: str) -> None:
        for known in (self._lent, self._repaid):
            for key in [key for key in known if key[1] == asset]:
                del known[key]
        self._charged[asset] = self._ever(asset)

    def over(self, states: Mapping[str, State]) -> None:
        """In the calm, after everything: what is owed is named, once, and what could be repaid was."""
        for asset, owed in self.lender.debts.items():
            named = {symbol: debts.find(state.debts, asset) for symbol, state in states.items()}
            known = sum((each.own for each in named.values()), ZERO)
            if self.forgot:  # what no state remembers is told as somebody else's (11.12)
                known += min(max(each.foreign for each in named.values()), max(owed.total - known, ZERO))
            if known > owed.total + SLACK + self.interest(asset):
                self.broken.append(f"M8 (11.9): {plain(known)} {asset} are told to be owed, it is {plain(owed.total)}")
            if owed.total > known + SLACK:
                told = ", ".join(f"{symbol} {plain(each.own)}" for symbol, each in named.items())
                self.broken.append(f"M3 (11.7): flat, and {plain(owed.total)} {asset} are owed: {told}")
            elif owed.total and not self.forgot and self.lender.free(asset) >= owed.total:
                self.broken.append(f"M5 (11.7): {plain(owed.total)} {asset} are owed and free, and not repaid")
            for symbol, each in named.items():
                if each.foreign > SLACK and not self.forgot:
                    theirs = plain(each.foreign)
                    text = f"N5 (11.4): {symbol} takes {theirs} {asset} for somebody else's, and there is nobody"
                    self.broken.append(text)


def _sum(rows: Iterable[Record]) -> Decimal:
    return sum((row.amount for row in rows if row.status is not LoanStatus.FAILED), ZERO)


class DebtsOfOne(Debts):
    """As one symbol's checks ask for them."""

    def __init__(
        self,
        direct: MarginDirect,
        broken: list[str],
        saved: Callable[[], State],
        now: Callable[[], int],
        loans: Loans,
    ) -> None:
        super().__init__(direct, broken, saved, now)
        self._symbol = direct.symbol
        self._loans = loans

    def executed(self, request: LoanCommand, saved: State) -> None:
        super().executed(request, saved)
        self._loans.executed(self._symbol, request)

    def ours(self, asset: str) -> Decimal:
        return self._loans.own(self._symbol, asset)

    def at_most_ours(self, asset: str) -> Decimal:
        return min(self.ours(asset) + self._loans.interest(asset), self.direct.lender.debt(asset).total)

    def there(self, asset: str) -> Decimal:
        """Not what other symbols' orders have locked: it is theirs (rule 2.6), and may go before ours is repaid."""
        orders = self.direct.engine._accounts[self.direct.account].orders.values()
        own = [order for order in orders if (order.symbol, order.reserve_asset) == (self._symbol, asset)]
        return self._loans.lender.free(asset) + sum((order.reserved for order in own), ZERO)

    def over(self, state: State) -> None:
        """The account is judged as a whole."""
        self._look()
        if state.repaying is not None or (state.loan is not None and state.loan.open):
            self.broken.append(f"M4 (11.3): calm, and a loan of {self._symbol} is under way still: {state.loan!r}")
