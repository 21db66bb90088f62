"""The margin accounts of a paper exchange: opening, transfers, levels, and what time and prices do to them."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from executor.paper.engine.account import Account
from executor.paper.engine.book import Book
from executor.paper.engine.choices import MarginFunds
from executor.paper.engine.margin.account import MarginAccount, status_of
from executor.paper.engine.margin.effects import Answer, Asked, SideEffects
from executor.paper.engine.margin.lending import HOUR_MS
from executor.paper.engine.margin.liquidation import Liquidation
from executor.paper.engine.margin.model import (
    CROSS,
    LevelChange,
    LevelStatus,
    LoanStatus,
    SideEffect,
    Terms,
)
from executor.paper.engine.margin.prices import IndexPrices
from executor.paper.engine.margin.transfers import Transfers, margin_name
from executor.paper.engine.matching import Matcher
from executor.paper.engine.model import Reject
from executor.paper.engine.order_lists import OrderLists


class Margin(Transfers):
    """All margin accounts. `advance` comes before every request about one: it brings hours and PENDING loans to now."""

    def __init__(
        self,
        orders: OrderLists,
        books: Mapping[str, Book],
        spot: dict[str, Account],
        matcher: Matcher,
        new_account: Callable[[str, Mapping[str, Decimal]], Account],
    ) -> None:
        terms = Terms()
        super().__init__(matcher, IndexPrices(books, terms.bitcoin_usdt), terms, books, spot)
        self._new_account = new_account
        self._effects = SideEffects(orders, self)
        self._liquidation = Liquidation(orders, matcher, self)
        self._hour = 0

    # --- accounts -------------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        return bool(self._accounts)

    def names(self) -> list[str]:
        """The engine's names of all margin accounts."""
        return list(self._accounts)

    def open(self, owner: str, symbol: str = CROSS, now: int = 0) -> MarginAccount:
        """The owner's cross account, or that of a pair, opened if it is not yet.

        Raises:
            Reject: -1121 no such symbol, -3028 no pair of margin.
        """
        name = margin_name(owner, symbol)
        found = self._accounts.get(name)
        if found is not None:
            return found
        if symbol:
            self._check_pair(symbol)
        money = self._new_account(name, {})
        self._hour = max(self._hour, now // HOUR_MS)
        self._spot[name] = money
        self._accounts[name] = MarginAccount(owner, symbol, money, now // HOUR_MS)
        return self._accounts[name]

    def accounts(self, owner: str | None = None) -> list[MarginAccount]:
        return [each for each in self._accounts.values() if owner in (None, each.owner)]

    # --- orders ---------------------------------------------------------------------------------------------------

    def place(
        self,
        account: MarginAccount,
        asked: Asked,
        effect: SideEffect,
        now: int,
        act: Callable[[], Answer],
        *,
        repays_at_cancel: bool = False,
    ) -> tuple[Answer, tuple[str, Decimal] | None]:
        """Place what `act` places on the account, with its side effect; what it borrowed beside the answer.

        Raises:
            Reject: -3021, -3022, -3023, -3067, those of a loan, and those of the engine.
        """
        symbol = asked.symbol if hasattr(asked, "symbol") else asked.working.symbol
        if not account.trade_enabled:
            raise Reject(-3022, "This account's trading is banned.")
        if symbol in self.terms.barred or (account.symbol and symbol != account.symbol):
            raise Reject(-3021, "Margin account are not allowed to trade this trading pair.")
        try:
            done = self._effects.place(account, asked, effect, now, act, repays_at_cancel=repays_at_cancel)
        except Reject as reject:
            lacks = reject.code == -2010 and "insufficient balance" in reject.message
            if lacks and self._matcher.choices.margin_funds is MarginFunds.MARGIN_CODE:
                raise Reject(-3041, "Balance is not enough.") from reject
            raise
        self.after(now)
        return done

    def after(self, now: int) -> None:
        """Orders have traded or gone: carry out what they bring with them, and look at the levels."""
        for account in self._accounts.values():
            if account.effects:
                self._effects.settle(account, now)
        self.watch(now)

    # --- levels ---------------------------------------------------------------------------------------------------

    def level(self, account: MarginAccount) -> Decimal | None:
        """None without a debt."""
        return account.level(self.prices.worth)

    def collateral_level(self, account: MarginAccount) -> Decimal | None:
        """The same with each asset counted by its share."""
        return account.level(self.prices.worth, self._share)

    def watch(self, now: int) -> None:
        """Compare the levels with their bars: tell of a change, liquidate at the last."""
        for account in self._accounts.values():
            if account.status is LevelStatus.EXCESSIVE and not account.owes:
                continue
            level = self.level(account)
            status = status_of(level, self.terms.bars(account.symbol))
            self._change_status(account, status, level, now)
            if status is LevelStatus.FORCE_LIQUIDATION:
                self.liquidate(account, now)

    def liquidate(self, account: MarginAccount, now: int, *, fee: bool = True) -> None:
        """Now, whatever the level is."""
        for record in account.records:
            if record.status is LoanStatus.PENDING:
                record.status = LoanStatus.FAILED
        self._liquidation.carry_out(account, now, fee=fee)
        account.effects.clear()
        self._change_status(account, LevelStatus.EXCESSIVE, None, now)

    def _change_status(self, account: MarginAccount, status: LevelStatus, level: Decimal | None, now: int) -> None:
        if status is account.status:
            return
        account.status = status
        if not account.isolated:
            account.risk.append(LevelChange(level=level or Decimal(999), status=status, time=now))

    # --- time -----------------------------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        """Settle what was PENDING until now, and charge each full hour that has begun."""
        if not self._accounts:
            return
        self.settle(now)
        hour = now // HOUR_MS
        if hour <= self._hour:
            return
        self._hour = hour
        for account in self._accounts.values():
            passed, account.hour = hour - account.hour, hour
            if passed > 0 and account.owes:
                self.charge(account, hour * HOUR_MS, passed)
        self.watch(now)
