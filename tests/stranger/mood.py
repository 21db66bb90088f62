"""What the stranger's exchange is like in a run: what the documents leave open, as drawn, and its clock."""

import random
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)
TICK, STEP = Decimal("0.01"), Decimal("0.001")
FINAL = {"FILLED", "CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"}
BASE, QUOTE = "LTC", "USDT"
SYMBOL = BASE + QUOTE


class Clock:
    """The exchange's clock, off from ours by `ahead` ms."""

    ahead = 0


def now_ms() -> int:
    return time.time_ns() // 1_000_000 + Clock.ahead


def real_ms() -> int:
    """By a clock that never steps: how long things take."""
    return time.monotonic_ns() // 1_000_000


@dataclass
class Terms:
    """The symbol's filters and status as they stand now: they change while trades are open."""

    tick: Decimal = TICK
    step: Decimal = STEP
    notional: Decimal = Decimal(5)
    status: str = "TRADING"
    listed: bool = True
    algo: int = 5
    band: Decimal = Decimal("0.2")
    oco: bool = True
    replaces: bool = True
    takes: bool = False
    """Orders are taken though the status is not TRADING."""

    @property
    def shut(self) -> bool:
        return self.status != "TRADING" and not self.takes


class Refused(Exception):  # noqa: N818  (what an exchange says)
    def __init__(self, code: int, text: str, status: int = 400, data: Any = None) -> None:
        super().__init__(text)
        self.code, self.text, self.status, self.data = code, text, status, data


@dataclass
class Mood:
    """What the documents leave open, as drawn for a run."""

    sibling: str = "EXPIRED"
    half_list_done: bool = False
    """A list is ALL_DONE as soon as one side has triggered or traded; its cancel is refused from then on."""
    list_lag_ms: int = 0
    trigger_text: str = "Stop price would trigger immediately."
    unknown_words: bool = False
    push_rejected: bool = False
    push_first: bool = True
    push_lag_ms: int = 0
    digits: int = 8
    numbers_as_text: bool = False
    extra: bool = False
    fee_asset: str = QUOTE
    """QUOTE: what is received; else commissions are paid in BNB."""
    partial: float = 0.3
    replace_fails: float = 0.1
    lists_first: bool = False
    market_expires: float = 0.1
    clock_ahead_ms: int = 0
    slow_ms: int = 0
    """How long each request takes, at the least."""
    legs_reversed: bool = False
    zero_balances: bool = True
    fee_from_free: bool = False
    brackets: bool = True
    pending_refused: float = 0.0
    cancelled_id: str = "own"
    """Which client id finds an order that was cancelled: its own, that of the cancel, both, none."""
    shows_cancel_id: bool = False
    """Reads of a cancelled order show the cancel's id where its own was."""
    order_lag_ms: int = 0
    trades_lag_ms: int = 0
    account_lag_ms: int = 0
    jitter: bool = False
    """A read lags only now and then: it is served by one of several copies."""
    pushes: bool = True
    """Without them the stream is there, and silent."""
    accounts_first: bool = False
    stops_lock: bool = True
    """A single stop binds what it sells only once it has triggered."""
    expiry: str = "told"
    """The reason of an expired order: told, not told, or a word of tomorrow."""
    refusal_code: int = -2010
    sparse: bool = False
    """Fields that no document promises are left out."""
    bare_numbers: bool = False
    """Prices and quantities as JSON numbers, not as text."""
    times_as_text: bool = False
    noise: bool = False
    """Events of a kind, and of values, that are of a later day."""
    crumbs: bool = False
    """Orders that rest are filled a hundredth at a time, with commissions of many digits, now in BNB, now not."""
    others_weight: int = 0
    """What other programs of this address use of the minute's weight."""
    replace_pushes: bool = False
    """The new half of a cancel-replace that was refused is pushed as REJECTED too."""
    big_ids: bool = False
    """Ids of orders and trades beyond 2^53."""
    shuffled: bool = False
    """Fields in an order of their own."""
    nulls: bool = False
    """What an order has not is there, as null."""
    replays: bool = False
    """A new subscription begins with events of before."""
    late_most_ms: int = 2_000
    """How late a push may come that comes late."""
    odd_status: bool = False
    """Some open orders have a status of tomorrow for as long as they are open, in all that is read."""
    pongs: bool = True
    """Pings of the client's are answered."""
    weight_header: str = "told"
    """The count of weight: told, absent, or absurd."""
    time_jumps: bool = False
    """Now and then GET time is off by an hour."""
    packed: str = ""
    """How REST's answers come: as they are, gzip, deflate, or in chunks."""
    hangs_up: bool = False
    """A connection serves one request."""
    exponents: bool = False
    """Prices and quantities as "1.5E+2"."""
    filters: str = "usual"
    """Those of a symbol: as usual, few, or with zeros where that turns a bound off; what is off binds nobody."""
    acks: float = 0.0
    """How often a placement is answered by ACK, whatever was asked for."""
    empty_sides: bool = False
    """Now and then the best price of a side, or the last trade's, is told as 0."""
    push_spread_ms: int = 0
    """Each push comes by so much later as it happens to: in no order among themselves and against answers."""
    lists_done_late_ms: int = 0
    """How long a list that is over is told as at work."""
    untold: str = ""
    """A kind of event that is never pushed: what is promised is none of them (user-data-stream.md)."""
    changed_only: bool = False
    """Positions tell of what has changed, no more."""
    quote_untold: bool = False
    """What is over is read with a `cummulativeQuoteQty` below zero: "not available" (rest-api.md)."""
    cancel_tells_one: bool = False
    """The cancel of a list's order is answered with that order alone."""
    body_type: str = "application/json"
    improves: bool = False
    """What takes at once is filled at the market's price, where that is better than its limit."""
    taker_ends: str = "INSUFFICIENT_LIQUIDITY"
    """How what takes ends with a rest: for that reason, out of its price range, or in a match (stp_faq.md)."""
    stops_die: float = 0.0
    """A stop is refused as it triggers: EXPIRED, `REJECTED` (user-data-stream.md)."""
    half_ends: bool = False
    """And the other side of its list stands."""
    bans_sockets: bool = False
    """Clients of a banned address are hung up on, and let in no more (web-socket-api.md)."""
    doors: float = 0.0
    """How often, in a storm, a socket is not let in, or a subscription is refused or not answered."""
    prevented_told: bool = True
    """Reads tell of what self-trade prevention has taken of an order."""
    quote_digits: int = 8
    """Those of an order's whole value; the rest of each trade's is cut off (samples of rest-api.md)."""
    trigger_told: bool = True
    """That a stop has triggered is pushed; else its trades are what is next heard of it."""
    answers_early: float = 0.0
    """How often a placement is answered as it was before it met the book."""
    walks: int = 1
    """At so many prices a market order is filled, as far as there is something for each."""
    fee_rate: Decimal = Decimal("0.001")
    ends_as_prevention: bool = False
    """What ends in a match is pushed as TRADE_PREVENTION, else as EXPIRED."""
    own_numbers: bool = False
    """Orders, lists and trades are each counted for themselves, from the first number there is."""

    @classmethod
    def drawn(cls, rng: random.Random) -> "Mood":
        return cls(
            sibling=rng.choice(["EXPIRED", "CANCELED"]),
            half_list_done=rng.random() < 0.5,
            list_lag_ms=rng.choice([0, 500, 1_500]),
            trigger_text=rng.choice(["Stop price would trigger immediately.", "Order would trigger immediately."]),
            unknown_words=rng.random() < 0.2,
            push_rejected=rng.random() < 0.5,
            push_first=rng.random() < 0.5,
            push_lag_ms=rng.choice([0, 0, 50, 400, 800, 2_500]),
            digits=rng.choice([8, 3]),
            numbers_as_text=rng.random() < 0.15,
            extra=rng.random() < 0.5,
            fee_asset=rng.choice([QUOTE, QUOTE, "BNB"]),
            partial=rng.choice([0.0, 0.3, 0.7]),
            replace_fails=rng.choice([0.0, 0.1, 0.3]),
            lists_first=rng.random() < 0.5,
            market_expires=rng.choice([0.0, 0.15]),
            clock_ahead_ms=rng.choice([0, 0, -4_000, 2_500, 60_000, 5 * 3_600_000, -7 * 3_600_000]),
            slow_ms=rng.choice([0, 0, 30, 250]),
            legs_reversed=rng.random() < 0.5,
            zero_balances=rng.random() < 0.5,
            fee_from_free=rng.random() < 0.5,
            brackets=rng.random() < 0.85,
            pending_refused=rng.choice([0.0, 0.0, 0.2]),
            cancelled_id=rng.choice(["own", "own", "cancel", "both", "none"]),
            shows_cancel_id=rng.random() < 0.3,
            order_lag_ms=rng.choice([0, 0, 200, 900]),
            trades_lag_ms=rng.choice([0, 0, 200, 1_200]),
            account_lag_ms=rng.choice([0, 0, 200, 1_500]),
            jitter=rng.random() < 0.5,
            pushes=rng.random() < 0.9,
            accounts_first=rng.random() < 0.5,
            stops_lock=rng.random() < 0.85,
            expiry=rng.choice(["told", "told", "untold", "unknown"]),
            refusal_code=rng.choice([-2010, -2010, -2010, -2010, -2999]),
            sparse=rng.random() < 0.3,
            bare_numbers=rng.random() < 0.15,
            times_as_text=rng.random() < 0.15,
            noise=rng.random() < 0.4,
            crumbs=rng.random() < 0.2,
            replace_pushes=rng.random() < 0.5,
            others_weight=rng.choice([0, 0, 0, 0, 2_000]),
            big_ids=rng.random() < 0.3,
            shuffled=rng.random() < 0.3,
            nulls=rng.random() < 0.25,
            replays=rng.random() < 0.4,
            late_most_ms=rng.choice([2_000, 2_000, 30_000]),
            odd_status=rng.random() < 0.15,
            pongs=rng.random() < 0.85,
            weight_header=rng.choice(["told", "told", "absent", "absurd"]),
            time_jumps=rng.random() < 0.2,
            packed=rng.choice(["", "", "gzip", "deflate", "chunks"]),
            hangs_up=rng.random() < 0.15,
            exponents=rng.random() < 0.15,
            filters=rng.choice(["usual", "usual", "few", "zeros"]),
            acks=rng.choice([0.0, 0.0, 0.0, 0.2]),
            empty_sides=rng.random() < 0.3,
            push_spread_ms=rng.choice([0, 0, 0, 600, 3_000]),
            lists_done_late_ms=rng.choice([0, 0, 0, 700, 4_000]),
            untold=rng.choice(["", "", "executionReport", "listStatus", "outboundAccountPosition"]),
            changed_only=rng.random() < 0.5,
            quote_untold=rng.random() < 0.1,
            cancel_tells_one=rng.random() < 0.3,
            body_type=rng.choice(["application/json", "application/json", "text/plain", "text/html"]),
            improves=rng.random() < 0.5,
            taker_ends=rng.choice(["INSUFFICIENT_LIQUIDITY", "EXECUTION_RULE_PRICE_RANGE_EXCEEDED", "IN_MATCH"]),
            stops_die=rng.choice([0.0, 0.0, 0.2]),
            half_ends=rng.random() < 0.5,
            bans_sockets=rng.random() < 0.5,
            doors=rng.choice([0.0, 0.5, 2.0]),
            prevented_told=rng.random() < 0.7,
            quote_digits=rng.choice([8, 8, 2]),
            trigger_told=rng.random() < 0.8,
            answers_early=rng.choice([0.0, 0.0, 0.4]),
            walks=rng.choice([1, 1, 3]),
            fee_rate=Decimal(rng.choice(["0.001", "0.001", "0.001", "0"])),
            ends_as_prevention=rng.random() < 0.5,
            own_numbers=rng.random() < 0.3,
        )


@dataclass(eq=False)
class Order:
    id: int
    client: str
    side: str
    type: str
    qty: Decimal
    price: Decimal
    stop: Decimal
    tif: str
    list_id: int = -1
    status: str = "NEW"
    cum: Decimal = ZERO
    quote: Decimal = ZERO
    """As it is told."""
    prevented: Decimal = ZERO
    """What self-trade prevention has taken of it."""
    working: bool = False
    created: int = 0
    updated: int = 0
    working_at: int = -1
    reason: str = "NONE"
    cancel_id: str = ""
    odd: bool = False
    """It has a status of tomorrow in what is read."""
    born: str = ""
    """Its client id before it was amended."""
    bound: bool = False
    """Alone, and what it would spend is locked."""
    fills: list[dict[str, Any]] = field(default_factory=list)
    history: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.status not in FINAL

    @property
    def left(self) -> Decimal:
        return self.qty - self.cum - self.prevented

    @property
    def is_stop(self) -> bool:
        return self.stop > 0
