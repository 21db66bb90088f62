"""What a decision asks of the world, with a trade or without: requests, their numbers, and what is asked already."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.model.intents import (
    Borrow,
    Command,
    Level,
    Notify,
    QueryBorrowable,
    QueryLiquidations,
    QueryLoans,
    QueryMargin,
    Repay,
    Request,
    Stamp,
    names,
)
from executor.core.model.loans import Loan, LoanKind
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Market, Order, State

RECORDS_MS: Final = 60_000
"""How far back records of loans are read: what is older is nothing that is under way."""


class Outbox:
    """Mutable, but only inside one call of `decide`. `stamp`: what its requests are signed with (rule 8.3d); None: they
    are stamped as they are sent. `loan`: the newest one, as it will be. `ask_at`: nothing is read before (ms).
    """

    def __init__(
        self, state: State, policy: Policy, rules: SymbolRules, stamp: Stamp | None = None, ask_at: int = 0
    ) -> None:
        self.state = state
        self.policy = policy
        self.rules = rules
        self.now: int = state.market.now
        self.ask_at = ask_at
        self.market: Market = state.market
        self.loan: Loan | None = state.loan
        self._outdated = False
        self.requests: list[Request] = []
        self.notes: list[Notify] = []
        self._next_seq = state.next_seq
        self._stamp = stamp
        self._commanded = {name for owed in state.outbox for name in names(owed.request)}

    # --- what is asked already ---------------------------------------------------------------------------------

    def pending(self) -> list[Request]:
        return [*(o.request for o in self.state.outbox), *self.requests]

    def asked(self, kind: type[Request], about: str | None = None) -> bool:
        """Whether such a request waits for its answer (about the order of that id, where it is about one)."""
        return any(isinstance(r, kind) and (about is None or getattr(r, "id", None) == about) for r in self.pending())

    def changing(self) -> bool:
        """Whether any request that changes something waits for its answer."""
        return any(isinstance(r, Command) for r in self.pending())

    def may_read(self) -> bool:
        """Whether anything may be read now: not soon after it could not be had, or told nothing."""
        return self.now >= self.ask_at

    def read_again(self, at: int) -> None:
        """Have nothing of it read before `at` (ms)."""
        self.ask_at = max(self.ask_at, at)

    def note(self, level: Level, event: str, text: str, about: Sequence[Order] = ()) -> None:
        self.notes.append(Notify(level, event, text, " ".join(order.id for order in about)))

    # --- margin ------------------------------------------------------------------------------------------------

    def borrow(self, asset: str, amount: Decimal) -> None:
        """The debt and the records must have been read (rule 11.3)."""
        self._lend(LoanKind.BORROW, asset, amount)

    def repay(self, asset: str, amount: Decimal) -> None:
        self._lend(LoanKind.REPAY, asset, amount)

    def _lend(self, kind: LoanKind, asset: str, amount: Decimal) -> None:
        account, records = self.market.margin, self.market.records
        assert account is not None
        assert records is not None
        last = self.loan
        n = last.n + 1 if last is not None else 1
        before = last.records if last is not None and self.now < last.closed_at + RECORDS_MS else ()
        self.loan = Loan(
            n=n,
            kind=kind,
            asset=asset,
            amount=amount,
            sent_at=self.now,
            follows=last.end if last is not None else None,
            before=account.debt(asset),
            known=tuple(sorted({*records.ids, *before})),
        )
        self.outdate()
        request = Borrow if kind is LoanKind.BORROW else Repay
        self._send(request(seq=self._next_seq, stamp=self._stamp, n=n, asset=asset, amount=amount))

    def outdate(self) -> None:
        """What was read of records and debts says nothing any more once what is asked for now is done."""
        self._outdated = True

    @property
    def market_after(self) -> Market:
        """The facts of the moment, as the decision leaves them."""
        return replace(self.market, records=None) if self._outdated else self.market

    def query_margin(self) -> None:
        self._read(QueryMargin(seq=self._next_seq))

    def query_loans(self, kind: LoanKind, asset: str, since: int) -> None:
        self._read(QueryLoans(seq=self._next_seq, kind=kind, asset=asset, since=since))

    def query_borrowable(self, asset: str) -> None:
        self._read(QueryBorrowable(seq=self._next_seq, asset=asset))

    def query_liquidations(self, since: int) -> None:
        self._read(QueryLiquidations(seq=self._next_seq, since=since))

    # --- requests ----------------------------------------------------------------------------------------------

    def _read(self, request: Request) -> None:
        if self.may_read() and not self.asked(type(request)):
            self._send(request)

    def _send(self, request: Request) -> None:
        self.requests.append(request)
        self._commanded.update(names(request))
        self._next_seq += 1
