"""What Executor needs of an exchange for one symbol. Implemented by the Binance adapter and by the simulation."""

from decimal import Decimal
from typing import Protocol, runtime_checkable

from executor.core.model.facts import (
    Balance,
    Fill,
    Kline,
    OrderReport,
    Outcome,
    Quote,
    Refused,
    ReplaceOutcome,
    Unknown,
)
from executor.core.model.intents import NewOrder, Stamp
from executor.core.model.loans import Booked, LoanKind, LoanRecord, MarginAccount
from executor.core.model.rules import SymbolRules


class ReadError(Exception):
    """A read got no usable answer, after retries. Nothing has changed; the text says what was asked and what came."""


class StartError(Exception):
    """The exchange can't be used as configured: keys refused, symbol unknown, not reachable. The text is for people."""


class BannedError(StartError):
    """The exchange wants to be left alone: so it has answered, or it has said so before. `wait_s`: for how long."""

    def __init__(self, text: str, wait_s: float) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class NotListedError(StartError):
    """The exchange does not list the symbol, or does not any more."""


class RulesUnreadError(NotListedError):
    """What the symbol's rules are could not be read."""


class Exchange(Protocol):
    """Requests that change something never raise for what the exchange or the network does: they return an outcome.

    They are signed with the stamp that they are given (rule 8.3d); without one they are stamped as they are sent. Reads
    raise `ReadError`. All times are ms of the exchange's clock.
    """

    def now(self) -> int:
        """The exchange's clock, from the local one and the measured offset."""

    async def place(self, order: NewOrder, stamp: Stamp | None = None) -> Outcome: ...

    async def place_oco(
        self, list_id: str, target: NewOrder, stop: NewOrder, stamp: Stamp | None = None
    ) -> Outcome: ...

    async def place_bracket(
        self, list_id: str, entry: NewOrder, stop: NewOrder, target: NewOrder | None, stamp: Stamp | None = None
    ) -> Outcome:
        """An entry, and what the exchange places when it has filled (rule 13.1)."""

    async def cancel(self, id: str, stamp: Stamp | None = None, exchange_id: int = 0) -> Outcome:  # noqa: A002
        """The order with this client order id; by the exchange's own id where that is given (not 0)."""

    async def cancel_list(self, list_id: str, stamp: Stamp | None = None) -> Outcome: ...

    async def replace(self, cancel_id: str, order: NewOrder, stamp: Stamp | None = None) -> ReplaceOutcome: ...

    async def order(self, id: str, exchange_id: int = 0) -> OrderReport | None:  # noqa: A002
        """The order with this client order id, asked for by the exchange's own id where that is known (not 0); None
        when the exchange says that there is none.
        """

    async def trades(self, exchange_id: int) -> tuple[Fill, ...]: ...

    async def open_orders(self) -> tuple[OrderReport, ...]: ...

    async def history(self, since: int) -> tuple[OrderReport, ...]:
        """All orders of the symbol made since `since` (ms), open and ended ones, oldest first."""

    async def balances(self) -> dict[str, Balance]: ...

    async def quote(self) -> Quote: ...

    async def reference_price(self) -> Decimal | None:
        """What PERCENT_PRICE is reckoned from, where that is not the last price; None where there is none."""

    async def klines(self, count: int) -> tuple[Kline, ...]: ...

    async def rules(self) -> SymbolRules: ...


@runtime_checkable
class MarginExchange(Exchange, Protocol):
    """An exchange whose account is a margin account: orders are placed on it, and what it lacks can be borrowed.

    `balances` are that account's. A loan and a repayment never raise for what the exchange or the network does.
    """

    async def borrow(self, asset: str, amount: Decimal, stamp: Stamp | None = None) -> Booked | Refused | Unknown: ...

    async def repay(self, asset: str, amount: Decimal, stamp: Stamp | None = None) -> Booked | Refused | Unknown: ...

    async def margin_account(self) -> MarginAccount: ...

    async def loan_records(self, kind: LoanKind, asset: str, since: int) -> tuple[LoanRecord, ...]:
        """The exchange's own records of such loans since `since` (ms), in any order."""

    async def borrowable(self, asset: str) -> Decimal:
        """The most that may be borrowed now."""

    async def liquidations(self, since: int) -> tuple[int, ...]:
        """When the exchange has traded to liquidate the account, since `since` (ms)."""
