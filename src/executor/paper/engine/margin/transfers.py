"""Which margin accounts there are, and what moves between them and Spot."""

from abc import abstractmethod
from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Final

from executor.core.model.values import ZERO
from executor.paper.engine.account import Account
from executor.paper.engine.book import Book
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.lending import Lending
from executor.paper.engine.margin.model import CROSS, UNIT, Terms, Transfer
from executor.paper.engine.margin.prices import IndexPrices
from executor.paper.engine.matching import Matcher
from executor.paper.engine.model import BalanceUpdate, Reject

SPOT: Final = "SPOT"
CROSS_MARGIN: Final = "CROSS_MARGIN"
ISOLATED_MARGIN: Final = "ISOLATED_MARGIN"

TRANSFERS: Final[Mapping[str, tuple[str, str]]] = {
    "MAIN_MARGIN": (SPOT, CROSS_MARGIN),
    "MARGIN_MAIN": (CROSS_MARGIN, SPOT),
    "MARGIN_ISOLATEDMARGIN": (CROSS_MARGIN, ISOLATED_MARGIN),
    "ISOLATEDMARGIN_MARGIN": (ISOLATED_MARGIN, CROSS_MARGIN),
    "ISOLATEDMARGIN_ISOLATEDMARGIN": (ISOLATED_MARGIN, ISOLATED_MARGIN),
    "MAIN_ISOLATED_MARGIN": (SPOT, ISOLATED_MARGIN),
    "ISOLATED_MARGIN_MAIN": (ISOLATED_MARGIN, SPOT),
}


def margin_name(owner: str, symbol: str = CROSS) -> str:
    """What the engine calls an owner's margin account."""
    return f"{owner}~{symbol or 'cross'}"


class Transfers(Lending):
    """Moves funds; the account that they go to is opened by the first of them."""

    def __init__(
        self,
        matcher: Matcher,
        prices: IndexPrices,
        terms: Terms,
        books: Mapping[str, Book],
        spot: dict[str, Account],
    ) -> None:
        super().__init__(matcher, prices, terms)
        self._books = books
        self._spot = spot

    @abstractmethod
    def open(self, owner: str, symbol: str = CROSS, now: int = 0) -> MarginAccount: ...

    @abstractmethod
    def watch(self, now: int) -> None: ...

    def account(self, owner: str, symbol: str = CROSS) -> MarginAccount:
        """Raises `Reject`: -3003 no cross account, -11001 none of the pair."""
        found = self._accounts.get(margin_name(owner, symbol))
        if found is None or not found.enabled:
            if symbol:
                raise Reject(-11001, "Isolated margin account does not exist.")
            raise Reject(-3003, "Margin account does not exist.")
        return found

    def transfer(
        self, owner: str, kind: str, asset: str, amount: Decimal, now: int, *, source: str = "", target: str = ""
    ) -> int:
        """`POST asset/transfer`; `source` and `target` are isolated pairs. The number of the transfer.

        Raises:
            Reject: -1102, -1111, -3003, -3005, -3018, -3020, -3027, -3028, -3041, -11001.
        """
        leaving, entering = _roles(kind, source, target)
        if amount <= 0 or amount != amount.quantize(UNIT, ROUND_DOWN):
            raise Reject(-1111, "Parameter 'amount' has too much precision.")
        leaves = None if leaving == SPOT else self.account(owner, source)
        self._check_leaving(owner, leaves, asset, amount)
        if entering == ISOLATED_MARGIN:
            self._check_pair(target)
        if entering != SPOT and not self._knows(target, asset):
            raise Reject(-3027, "Not a valid margin asset.")
        enters = None if entering == SPOT else self.open(owner, target, now)
        if enters is not None and not enters.transfer_in_enabled:
            raise Reject(-3018, "This account is not allowed to transfer in.")
        row = Transfer(
            tran_id=self.next_id(),
            type=kind,
            asset=asset,
            amount=amount,
            time=now,
            source=leaving,
            target=entering,
            source_symbol=source,
            target_symbol=target,
        )
        for side, delta in ((leaves, -amount), (enters, amount)):
            money = self._spot[owner] if side is None else side.money
            money.change(asset, delta)
            money.events.append(BalanceUpdate(asset=asset, delta=delta, time=now))
            if side is not None:
                side.transfers.append(row)
        self._matcher.close_operation(now)
        self.watch(now)
        return row.tran_id

    def transferable(self, account: MarginAccount, asset: str) -> Decimal:
        """`GET margin/maxTransferable`: what may leave with the level staying above its bar."""
        free = account.free(asset)
        owed = account.liabilities(self.prices.worth)
        price = self.prices.worth(asset)
        if not owed or not price:
            return free
        bar = self.terms.bars(account.symbol).transfer
        room = (account.worth(self.prices.worth, self._share) - bar * owed) / price
        return min(free, max(ZERO, room)).quantize(UNIT, ROUND_DOWN)

    def _check_leaving(self, owner: str, leaves: MarginAccount | None, asset: str, amount: Decimal) -> None:
        if leaves is not None and not leaves.transfer_out_enabled:
            raise Reject(-3005, "Transferring out not allowed.")
        free = self._spot[owner].free.get(asset, ZERO) if leaves is None else leaves.free(asset)
        if amount > free:
            raise Reject(-3041, "Balance is not enough.")
        if leaves is not None and amount > self.transferable(leaves, asset):
            raise Reject(-3020, "Transfer out amount exceeds max amount.")

    def _check_pair(self, symbol: str) -> None:
        if symbol not in self._books:
            raise Reject(-1121, "Invalid symbol.")
        if symbol in self.terms.barred:
            raise Reject(-3028, "Not a valid margin pair.")

    def _lists(self, account: MarginAccount, asset: str) -> bool:
        return self._knows(account.symbol, asset)

    def _knows(self, symbol: str, asset: str) -> bool:
        """Whether the account of a pair, or the cross account, may hold an asset."""
        books = [self._books[symbol]] if symbol else self._books.values()
        return any(asset in (book.rules.base, book.rules.quote) for book in books)


def _roles(kind: str, source: str, target: str) -> tuple[str, str]:
    """From where to where; -1102 for no such transfer, or without the pair of an isolated account."""
    roles = TRANSFERS.get(kind)
    if roles is None:
        raise Reject(-1102, "Mandatory parameter 'type' was not sent, was empty/null, or malformed.")
    for role, symbol, name in ((roles[0], source, "fromSymbol"), (roles[1], target, "toSymbol")):
        if (role == ISOLATED_MARGIN) != bool(symbol):
            raise Reject(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return roles
