"""What the stranger's exchange is like in a run: what the documents leave open, as drawn, and its clock."""

import random
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)
TICK, STEP = Decimal("0.01"), Decimal("0.001")
MIN_NOTIONAL = Decimal(5)
FINAL = {"FILLED", "CANCELED", "REJECTED", "EXPIRED"}
BASE, QUOTE = "LTC", "USDT"
SYMBOL = BASE + QUOTE


class Clock:
    """The exchange's clock, off from ours by `ahead` ms."""

    ahead = 0


def now_ms() -> int:
    return time.time_ns() // 1_000_000 + Clock.ahead


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
    read_lag_ms: int = 0
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

    @classmethod
    def drawn(cls, rng: random.Random) -> "Mood":
        return cls(
            sibling=rng.choice(["EXPIRED", "CANCELED"]),
            half_list_done=rng.random() < 0.5,
            read_lag_ms=rng.choice([0, 0, 200, 900]),
            list_lag_ms=rng.choice([0, 500, 1_500]),
            trigger_text=rng.choice(["Stop price would trigger immediately.", "Order would trigger immediately."]),
            unknown_words=rng.random() < 0.2,
            push_rejected=rng.random() < 0.5,
            push_first=rng.random() < 0.5,
            push_lag_ms=rng.choice([0, 0, 50, 400]),
            digits=rng.choice([8, 3]),
            numbers_as_text=rng.random() < 0.15,
            extra=rng.random() < 0.5,
            fee_asset=rng.choice([QUOTE, QUOTE, "BNB"]),
            partial=rng.choice([0.0, 0.3, 0.7]),
            replace_fails=rng.choice([0.0, 0.1, 0.3]),
            lists_first=rng.random() < 0.5,
            market_expires=rng.choice([0.0, 0.15]),
            clock_ahead_ms=rng.choice([0, 0, -4_000, 2_500, 60_000]),
            slow_ms=rng.choice([0, 0, 30, 250]),
            legs_reversed=rng.random() < 0.5,
            zero_balances=rng.random() < 0.5,
            fee_from_free=rng.random() < 0.5,
            brackets=rng.random() < 0.85,
            pending_refused=rng.choice([0.0, 0.0, 0.2]),
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
    working: bool = False
    created: int = 0
    updated: int = 0
    working_at: int = -1
    reason: str = "NONE"
    cancel_id: str = ""
    fills: list[dict[str, Any]] = field(default_factory=list)
    history: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.status not in FINAL

    @property
    def left(self) -> Decimal:
        return self.qty - self.cum

    @property
    def is_stop(self) -> bool:
        return self.stop > 0
