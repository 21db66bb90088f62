"""Everything that can happen. `at` is the exchange's clock as the service knows it, in ms; it never runs backwards."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from executor.core.model.facts import Balance, Done, Fill, Kline, OrderReport, Quote, Refused, ReplaceOutcome, Unknown
from executor.core.model.loans import Booked, Borrowable, LoanKind, LoanRecord, MarginAccount
from executor.core.model.signal import Signal


class Event(msgspec.Struct, frozen=True, kw_only=True):
    at: int


class Started(Event, frozen=True, tag="started"):
    """The service is up again: what was in flight when it went down is in doubt (rule 9.1).

    `fence`: no request without a stamp (rule 8.3d) can reach the exchange's engine later than this (ms); one that has a
    stamp, not later than that allows.
    """

    fence: int


class Tick(Event, frozen=True, tag="tick"):
    """Time has passed, nothing else. `ahead`: the clock was set ahead by so much (ms), which has not passed; below 0:
    set back.
    """

    ahead: int = 0


class SignalSeen(Event, frozen=True, tag="signal_seen"):
    """A well-formed signal, with what is needed to judge it; what could not be read is None (rule 2.5).

    `margin`: the account of a symbol that is traded on margin, its balances those of `balances`.
    `open_orders`: all of the symbol, other hands' too, which take places that the exits need (rule 2.6). `reference`:
    what the exchange reckons PERCENT_PRICE from, where that is another price than the last one. `asked_at`: when the
    balances were asked for (ms); `claimed`: what of them trades of other symbols need, 0 of what these have no need of
    now; `newest`: the number of the newest trade of other symbols, as no id is given twice on an account (rule 1).
    """

    signal: Signal
    quote: Quote | None
    balances: dict[str, Balance] | None
    klines: tuple[Kline, ...] | None
    margin: MarginAccount | None = None
    open_orders: tuple[OrderReport, ...] | None = ()
    reference: Decimal | None = None
    asked_at: int = 0
    claimed: dict[str, Decimal] = {}
    newest: int = 0


class SignalMalformed(Event, frozen=True, tag="signal_malformed"):
    """A line of the signal source that can't be read, and why."""

    text: str
    fault: str


class Answered(Event, frozen=True, tag="answered"):
    """How a request that changes something ended."""

    seq: int
    outcome: Done | Refused | Unknown | ReplaceOutcome | Booked


class Reported(Event, frozen=True, tag="reported"):
    """An order's report: a push or a poll (`seq` 0), or the answer to QueryOrder."""

    report: OrderReport
    seq: int = 0


class Absent(Event, frozen=True, tag="absent"):
    """A direct query, sent at `asked_at` (ms), found no such order."""

    id: str
    asked_at: int
    seq: int = 0


class TradesSeen(Event, frozen=True, tag="trades_seen"):
    id: str
    fills: tuple[Fill, ...]
    seq: int = 0


class OpenOrdersSeen(Event, frozen=True, tag="open_orders_seen"):
    """All open orders of the symbol, asked for at `asked_at` (ms)."""

    reports: tuple[OrderReport, ...]
    asked_at: int
    seq: int = 0


class AllOrdersSeen(Event, frozen=True, tag="all_orders_seen"):
    """The orders of the symbol that were made since the time that was asked for, open and ended ones, under whichever
    client order ids they are known now; asked for at `asked_at` (ms).
    """

    reports: tuple[OrderReport, ...]
    asked_at: int
    seq: int = 0


class BalancesSeen(Event, frozen=True, tag="balances_seen"):
    balances: dict[str, Balance]
    seq: int = 0


class QuoteSeen(Event, frozen=True, tag="quote_seen"):
    """The price, and what it was `before`, oldest first, where that was not told when it was so: nothing is decided by
    a price that another has followed.
    """

    quote: Quote
    seq: int = 0
    before: tuple[Quote, ...] = ()


class KlinesSeen(Event, frozen=True, tag="klines_seen"):
    klines: tuple[Kline, ...]
    seq: int = 0


class MarginSeen(Event, frozen=True, tag="margin_seen"):
    """The margin account: as asked for by a watch (`seq` 0), or the answer to QueryMargin."""

    account: MarginAccount
    seq: int = 0


class LoansSeen(Event, frozen=True, tag="loans_seen"):
    """The margin account, and the records that were asked for after it (`asked_at`, ms), in any order. `fault`: why
    these could not be read, empty where they were.
    """

    kind: LoanKind
    asset: str
    account: MarginAccount
    records: tuple[LoanRecord, ...]
    asked_at: int
    seq: int = 0
    fault: str = ""


class BorrowableSeen(Event, frozen=True, tag="borrowable_seen"):
    borrowable: Borrowable
    seq: int = 0


class LiquidationsSeen(Event, frozen=True, tag="liquidations_seen"):
    """Client order ids are not ours: all that is told of a liquidation is when its orders traded (`times`, ms)."""

    times: tuple[int, ...]
    asked_at: int
    seq: int = 0


class ReadFailed(Event, frozen=True, tag="read_failed"):
    """A query got no usable answer; it may be asked again."""

    seq: int
    text: str


class Verb(StrEnum):
    FLATTEN = "flatten"
    CANCEL_ENTRY = "cancel_entry"
    PAUSE = "pause"
    RESUME = "resume"
    MOVE_STOP = "move_stop"
    END = "end"
    RETRY = "retry"
    REPAY = "repay"


class Commanded(Event, frozen=True, tag="commanded"):
    """The operator's word; END, and the RETRY that follows where something is bare, are the service's own. `price`: the
    wished stop of MOVE_STOP; `asset`: of REPAY, whose whole debt is given back, or, with `own`, what is ours of it.
    `trade`: which one it is about, and no other; empty: whichever is open.
    """

    verb: Verb
    price: Decimal | None = None
    asset: str = ""
    own: bool = False
    trade: str = ""


class Resolve(StrEnum):
    """What is to become of orders of ours that belong to no trade here."""

    ADOPT = "adopt"
    FLATTEN = "flatten"
    FORGET = "forget"


class Resolved(Event, frozen=True, tag="resolved"):
    """The operator's word on what could not be rebuilt (rule 9.3), with all that the exchange shows of our orders.

    `reports`: those open, and the history as far back as it was read; `fills` by client order id. `trade`: which one is
    meant, empty where there is only one. `stop`, `targets`: the wished prices of ADOPT, quote per base.
    """

    how: Resolve
    reports: tuple[OrderReport, ...]
    fills: dict[str, tuple[Fill, ...]]
    quote: Quote | None = None
    trade: str = ""
    stop: Decimal | None = None
    targets: tuple[Decimal, ...] = ()


class Found(Event, frozen=True, tag="found"):
    """What the watchdog has seen twice (rule 12), in words. `order`: the client order ids that it is about, with spaces
    between. `halts`: no entry is taken until the operator has looked. `gone`: orders of finished trades that it has
    cancelled and seen gone: a halt for them alone is over.
    """

    finding: str
    text: str
    order: str = ""
    halts: bool = False
    gone: tuple[str, ...] = ()


AnyEvent = (
    Started
    | Tick
    | SignalSeen
    | SignalMalformed
    | Answered
    | Reported
    | Absent
    | TradesSeen
    | OpenOrdersSeen
    | AllOrdersSeen
    | BalancesSeen
    | QuoteSeen
    | KlinesSeen
    | MarginSeen
    | LoansSeen
    | BorrowableSeen
    | LiquidationsSeen
    | ReadFailed
    | Commanded
    | Resolved
    | Found
)
