"""The state of one symbol's trading: everything that a restart needs, and the few facts of the moment.

A trade walks through `Flat -> Entering -> Unprotected -> Protected -> Closing -> Flat`; the phase is a tagged union,
so that data exists only in the phase where it is true. `Flat` is a state without a position. `halted` stands beside
the phase: a position is looked after whether or not new entries are allowed.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from executor.core.model.facts import Balance, Fill, Kline, Quote, Why
from executor.core.model.ids import ENTRIES, EXITS, PLANBS, STOPS, TARGETS, Role
from executor.core.model.intents import Request
from executor.core.model.loans import Borrowable, Credit, Loan, MarginAccount, OwnDebt, Records, Repayment
from executor.core.model.values import ZERO, Count, Direction, OrderSide, OrderStatus, OrderType, TimeInForce

SCHEMA_VERSION: Final = 1


class OrderPhase(StrEnum):
    """`Submitted -> {Working, Unresolved} -> Closed`. Submitted means: may have reached the exchange (rule 8.1)."""

    SUBMITTED = "submitted"
    WORKING = "working"
    UNRESOLVED = "unresolved"
    CLOSED = "closed"


_CLOSED: Final = OrderPhase.CLOSED  # a name of its own: to look up a member of an enum takes ten times as long


class End(StrEnum):
    """How an order ended. None of them says that nothing was filled: read the quantity."""

    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REFUSED = "refused"
    NEVER = "never"  # in doubt, and proven never to have existed (rule 8.3)
    GONE = "gone"  # once accepted, the exchange knows it no more (rule 8.6)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One client order id and all that is known of it. Quantities only grow (rule 5.1). Times are ms, 0: not yet.

    What it is. `leg`: 0 whole position or entry, 1 and 2 the target legs, 3 the trailing leg, -1 taken over, of no leg.
    `list_id`: its order list, else empty. `awaits`: the entry that has to fill before the exchange places it (rule
    13.1), until it is known to be placed; of a long's its quantity is not known before either. `hands_on`: what the
    exits were placed for that this entry has brought, None until that is known. `replaces`: the order whose place it
    takes by cancel-replace: it can't exist before that one is gone. `sent_qty`: what it was sent for, where another
    hand has made it smaller; else 0.

    What became of it. `triggered_at`: when a stop was first known to be on the book. `heard_at`: when the exchange last
    told something new of it. `back`: called refused, gone or never there, and there after all.

    What is in doubt. `fence`: a request sent for it can't reach the engine later. `misses`: direct queries in a row
    that did not find it, the first sent at `first_miss_at`; `unlisted`: nor has the list of all orders, asked for when
    it would have shown it, a trace of it under any id; `list_misses`: those of them beside which that list could not be
    read, `list_failed`: as it just was. `ask_at`: when to ask (again); of a refused order, before when
    the exchange wants no other. `check`: a direct query is wanted before it is acted on. `recheck`: cancelled to
    be sold at market instead, so it is looked at once more after that (rule 6.3). `looks`: so many have settled
    nothing, or are under way. `apart`: in doubt, and kept apart from its successor by the exchange's own lock (rule
    8.3b), or, `beside`, by its not being there alone (rule 8.3c).

    Its cancels. `cancelling`: one of ours is or was under way; `cancels`: how many it has outlived; `held_up`: how many
    the exchange has held up for a limit or the clock.

    One flat record: a report changes what is known, in doubt and cancelled at once, and so copies it once.
    """

    id: str
    role: Role
    leg: int
    side: OrderSide
    type: OrderType
    qty: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    trailing_delta: int | None = None
    time_in_force: TimeInForce | None = None
    list_id: str = ""
    awaits: str = ""
    hands_on: Decimal | None = None
    replaces: str = ""
    phase: OrderPhase = OrderPhase.SUBMITTED
    end: End | None = None
    status: OrderStatus | None = None
    exchange_id: int = 0
    sent_qty: Decimal = ZERO
    cum_qty: Decimal = ZERO
    cum_quote: Decimal = ZERO
    fills: tuple[Fill, ...] = ()
    sent_at: int = 0
    triggered_at: int = 0
    closed_at: int = 0
    fence: int = 0
    misses: Count = 0
    first_miss_at: int = 0
    unlisted: bool = False
    list_failed: bool = False
    list_misses: Count = 0
    heard_at: int = 0
    ask_at: int = 0
    cancelling: bool = False
    cancels: Count = 0
    held_up: int = 0
    check: bool = False
    recheck: bool = False
    looks: Count = 0
    apart: bool = False
    beside: bool = False
    back: bool = False
    refusal: Why | None = None

    @property
    def live(self) -> bool:
        """Whether it may still trade, as far as is known."""
        return self.phase is not _CLOSED

    @property
    def leaves(self) -> Decimal:
        return self.qty - self.cum_qty

    @property
    def is_entry(self) -> bool:
        return self.role in ENTRIES

    @property
    def is_planb(self) -> bool:
        return self.role in PLANBS

    @property
    def is_exit(self) -> bool:
        """Whether it is meant to leave the position, or a part of it."""
        return self.role in EXITS

    @property
    def is_stop(self) -> bool:
        return self.role in STOPS

    @property
    def is_target(self) -> bool:
        return self.role in TARGETS

    @property
    def value(self) -> Decimal:
        """Quote of what has filled. Of an old order the exchange may not say it any more: then by its trades, and for
        what they leave out at its own price.
        """
        if self.cum_quote or not self.cum_qty:
            return self.cum_quote
        priced = sum([f.qty * f.price for f in self.fills], ZERO)
        return priced + self.unpriced_qty * (self.price or self.stop_price or ZERO)

    @property
    def unpriced_qty(self) -> Decimal:
        """Filled quantity whose trades, and so commissions, are not known yet."""
        return self.cum_qty - sum([f.qty for f in self.fills], ZERO)


class Leave(StrEnum):
    """Why a leg is sold at market instead of waiting for its orders."""

    TARGET = "target"
    STOP = "stop"


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the position and its own exit. `n` as in `Order.leg`; leg 0 follows whatever is held.

    `target`: its target price; `stop`: the level in force, the best one ever accepted (rule 10.4), None for a leg whose
    stop is carried by leg 0. `breach_since`: since when the price has been at or past the level that is watched.
    `vanished`: how often its orders were taken away by somebody else (rule 6.6). `tries`, `retry_at`: refusals in a row
    and when to try again (rule 4.7); `poor`: those for lack of balance; `refused_at`: the last of them. `moved_at`:
    when its stop was last moved or refused a move; `balks`: moves refused in a row, for another reason than the price.
    `due`: where its stop ought to stand, while none stands there yet (rule 6.4b). `puzzled_at`: when an OCO was refused
    for its price relation, or any exit in unknown words, until a quote tells which side was crossed (rule 4.6).
    `ended`: how often in a row the exchange has ended its orders, the last time `ended_last` for the cause `ended_as`;
    `back_at`: when it is put back (ms). `empty`: market sales in a row that the exchange took and that came to nothing.
    """

    n: int
    qty: Decimal
    target: Decimal | None = None
    stop: Decimal | None = None
    leave: Leave | None = None
    breach_since: int = 0
    vanished: Count = 0
    tries: Count = 0
    retry_at: int = 0
    poor: Count = 0
    refused_at: int = 0
    moved_at: int = 0
    balks: Count = 0
    due: Decimal | None = None
    puzzled_at: int = 0
    ended: Count = 0
    ended_last: str = ""
    ended_as: str = ""
    back_at: int = 0
    empty: Count = 0

    @property
    def watched(self) -> Decimal | None:
        """The level at which software sells where no stop does (rules 6.4, 6.4b)."""
        return self.stop if self.due is None else self.due


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """Trailing since `since`: the best price seen, and the last confirmed swing (rule 5.4)."""

    since: int
    best: Decimal
    swing: Decimal | None = None
    klines_at: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the signal became (rule 2.2-2.4): whole ticks and steps; `r` = |entry - stop|."""

    direction: Direction
    entry: Decimal
    stop: Decimal
    targets: tuple[Decimal, ...]
    qty: Decimal
    r: Decimal


class Reason(StrEnum):
    """Why a trade ended (rule 7.2)."""

    TP = "TP"
    SL = "SL"
    BREAKEVEN = "BREAKEVEN"
    TRAIL = "TRAIL"
    ENTRY_TIMEOUT = "ENTRY_TIMEOUT"
    ENTRY_CANCELLED = "ENTRY_CANCELLED"
    PLANB_DEVIATION = "PLANB_DEVIATION"
    PLANB_PAST_TP1 = "PLANB_PAST_TP1"
    PLANB_PAST_STOP = "PLANB_PAST_STOP"
    PLANB_NO_PRICE = "PLANB_NO_PRICE"
    PLANB_REFUSED = "PLANB_REFUSED"
    FAILSAFE = "FAILSAFE"
    FLATTEN = "FLATTEN"
    MAX_HOLD = "MAX_HOLD"
    EXTERNAL = "EXTERNAL"
    REJECTED = "REJECTED"
    BORROW_REFUSED = "BORROW_REFUSED"
    MARGIN_LEVEL = "MARGIN_LEVEL"
    LIQUIDATED = "LIQUIDATED"


class Borrowing(msgspec.Struct, frozen=True, tag="borrowing", kw_only=True):
    """What the entry needs is being borrowed (rule 11.1), since `since`, until `give_up_at` at the latest. `end`: why
    there will be no entry; `again`: loans in a row that were not made, `judged`: the newest of them; `retry_at`: no
    other is asked for before (ms).
    """

    since: int
    give_up_at: int
    end: Reason | None = None
    again: Count = 0
    judged: int = 0
    retry_at: int = 0


class Entering(msgspec.Struct, frozen=True, tag="entering", kw_only=True):
    """The entry is under way. `give_up_at`: when the limit is cancelled. `end`: why no more will be bought.
    `no_price`: a price was asked for Plan B and could not be had.
    """

    give_up_at: int
    end: Reason | None = None
    no_price: bool = False
    retry_at: int = 0


class Unprotected(msgspec.Struct, frozen=True, tag="unprotected", kw_only=True):
    """Held, and not every unit has a live stop. Before `deadline`, which a restart puts off, the failsafe does not act
    for the time alone (rule 4.7).
    """

    since: int
    deadline: int


class Protected(msgspec.Struct, frozen=True, tag="protected"):
    """Every held unit has a live stop, or is named as watched by software (rule 10.2)."""


class Closing(msgspec.Struct, frozen=True, tag="closing", kw_only=True):
    """Leaving: cancel everything, sell what is held (unless `abandon`), look once more, be done (rule 7.1). `again`:
    how often a market order was sent in the place of one that failed; `stock_at`: after which refusal what is there
    to be sold was last made sure of (ms). `hurried`: the next one goes out without its pause (rule 9.5). `unread`: how
    often commissions could not be read, last at `unread_at` (ms).
    """

    reason: Reason
    since: int
    abandon: bool = False
    looked_at: int = 0
    again: Count = 0
    stock_at: int = 0
    hurried: bool = False
    unread: Count = 0
    unread_at: int = 0


class Repaying(msgspec.Struct, frozen=True, tag="repaying", kw_only=True):
    """Flat, for `reason`, and what was borrowed is being given back (rule 11.7)."""

    reason: Reason
    work: Repayment


Phase = Borrowing | Entering | Unprotected | Protected | Closing | Repaying


class Exposure(msgspec.Struct, frozen=True):
    """Time spent with sellable quantity uncovered, in ms. `since` 0: covered now."""

    since: int = 0
    total: int = 0
    longest: int = 0


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """The open trade. `opened`: when its signal was taken; `entered`: when its entry was complete, 0 before; `revs`:
    client order ids given out; `retired`: orders of a lower rev that are not on record were let go (`book.retire`);
    `target_hit`: a target has filled; `guess_fees`: the entry's commissions could not be read, so the highest rate
    stands in; `manual_stop`: the operator's wish (only ever towards profit); `ask_at`: no price, balance or list is
    asked for before (ms), after one could not be had; `taken`: so many of its first orders were taken over on the
    operator's word, and are cancelled before anything else (rule 9.3); `spare`: base that the account had before it
    began, None where that is not known; `gone`: base of the position that somebody else has taken, since `short_at`
    (ms) in question, when the account had `short_left`; the exits were looked at again at `short_looked`, 0 before
    (rule 6.6b); `credit`: what it is on borrowed money, None on Spot; `most`: the largest market order that its filters
    let through, where they refuse more, else 0.
    """

    trade: str
    signal: str
    opened: int
    plan: Plan
    phase: Phase
    entered: int = 0
    revs: Count = 0
    retired: Count = 0
    legs: tuple[Leg, ...] = ()
    split: tuple[Decimal, Decimal, Decimal] = (ZERO, ZERO, ZERO)
    trail: Trail | None = None
    orders: tuple[Order, ...] = ()
    target_hit: bool = False
    guess_fees: bool = False
    manual_stop: Decimal | None = None
    alerted_at: int = 0
    ask_at: int = 0
    taken: Count = 0
    spare: Decimal | None = None
    gone: Decimal = ZERO
    short_at: int = 0
    short_left: Decimal = ZERO
    short_looked: int = 0
    exposure: Exposure = Exposure()
    credit: Credit | None = None
    most: Decimal = ZERO


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """A finished trade (rule 7.2). Times ms; prices quote per base; `pnl` quote, net of commissions that can be priced
    and of interest; `slippage` in quote per base, positive = worse than planned; `dust` base still held, or missing
    when negative. By asset: what was `borrowed`, the `interest` that was charged, the debt that is left (rule 11.9).
    """

    trade: str
    signal: str
    symbol: str
    direction: Direction
    reason: Reason
    opened: int
    entered: int
    closed: int
    entry_planned: Decimal
    stop_planned: Decimal
    targets_planned: tuple[Decimal, ...]
    entry_avg: Decimal | None
    exit_avg: Decimal | None
    qty: Decimal
    qty1: Decimal
    qty2: Decimal
    qty3: Decimal
    commissions: dict[str, Decimal]
    pnl: Decimal
    r: Decimal
    entry_slippage: Decimal
    exit_slippage: Decimal
    dust: Decimal
    unprotected_ms: int
    unprotected_longest_ms: int
    borrowed: dict[str, Decimal] = {}
    interest: dict[str, Decimal] = {}
    debt_left: dict[str, Decimal] = {}


class Seen(msgspec.Struct, frozen=True):
    """A signal that was judged, so that it is not taken twice (rule 2.5)."""

    key: str
    at: int


class Day(msgspec.Struct, frozen=True):
    """What the daily limits count, for the UTC day `number` (days since the epoch)."""

    number: int = 0
    trades: int = 0
    pnl: Decimal = ZERO


class QuietSpan(msgspec.Struct, frozen=True):
    """Nothing is to be decided before `until` (ms; 0 = no such time) while the price stays between `low` and `high`
    (None = however high).
    """

    until: int
    low: Decimal
    high: Decimal | None = None


class Market(msgspec.Struct, frozen=True):
    """Facts of the moment. Not on disk: a restart asks anew. `quiet`: what the last decision leaves of itself.

    On margin: the account as last read, the records of loans and what may be borrowed as last asked for, and the times
    of liquidations as of `liquidations_at`; `level_doubted_at`: since which look the level contradicts what the account
    is worth, 0 where it does not. `ask_at`: without a trade, nothing is read before (ms). `ending`: the service is to
    end, so that nothing more is entered (rule 9.5). `ahead_at`: when the clock was last set ahead: what was seen before
    proves nothing of how long it has been so.
    """

    now: int = 0
    quote: Quote | None = None
    balances: dict[str, Balance] = {}
    balances_at: int = 0
    klines: tuple[Kline, ...] = ()
    margin: MarginAccount | None = None
    records: Records | None = None
    borrowable: Borrowable | None = None
    liquidations: tuple[int, ...] = ()
    liquidations_at: int = 0
    level_doubted_at: int = 0
    ask_at: int = 0
    ending: bool = False
    ahead_at: int = 0
    quiet: QuietSpan | None = msgspec.field(default=None, name="rest")


class Owed(msgspec.Struct, frozen=True):
    """A request that has been decided and not yet answered (rule 8.1)."""

    at: int
    request: Request


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`venue`: which exchange the orders are on, so that a state is never used against another one; `uid`: the number
    of the account that they are of, for the same; 0: not known.

    `started`: since when orders must have been looked up before anything is placed (rule 9.1); 0 = nothing to look
    up. `seen`: signals whose own time still allows them; `ids`: those with an `id`, for longer, as a sender may tell
    them again under a newer time (rule 2.5). `ignored`: orders in our name space that the operator wants left alone,
    and the entries of their trades.

    On margin: `debts`, by asset; `loan`, the newest loan or repayment; `repaying`: what is owed is given back though no
    trade is open, on the operator's word.
    """

    symbol: str
    venue: str = ""
    position: Position | None = None
    last_closed: Closed | None = None
    cooldown_until: int = 0
    locked_until: int = 0
    paused: bool = False
    halted: str = ""
    ignored: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()
    refused: dict[str, int] = {}
    day: Day = Day()
    started: int = 0
    next_seq: int = 1
    outbox: tuple[Owed, ...] = ()
    debts: tuple[OwnDebt, ...] = ()
    loan: Loan | None = None
    repaying: Repayment | None = None
    ids: tuple[Seen, ...] = ()
    uid: int = 0
    market: Market = Market()
