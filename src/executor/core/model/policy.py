"""How the operator wants trades carried out: the settings, in the core's words. Times are ms, money is exact."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from executor.core.model.values import ONE, ZERO


class EntryMode(StrEnum):
    LIMIT_THEN_MARKET = "LIMIT_THEN_MARKET"
    LIMIT_ONLY = "LIMIT_ONLY"
    MARKET_ONLY = "MARKET_ONLY"


class PlanBOrder(StrEnum):
    MARKET = "MARKET"
    LIMIT_IOC = "LIMIT_IOC"


class StopMode(StrEnum):
    PCT = "PCT"
    SWING = "SWING"


class Layout(StrEnum):
    OCO = "OCO"
    PLAIN = "PLAIN"
    BRACKET = "BRACKET"


class AfterTp1(StrEnum):
    BREAKEVEN = "BREAKEVEN"
    KEEP = "KEEP"


class TrailMode(StrEnum):
    DISTANCE = "DISTANCE"
    SWING = "SWING"
    NATIVE = "NATIVE"


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One field per rule that can be set; defaults are the product's. A zero limit is off; a margin level that is None
    is had from the account's own bars (rule 11.10).
    """

    entry_mode: EntryMode = EntryMode.LIMIT_THEN_MARKET
    entry_offset: Decimal = ZERO
    entry_timeout_ms: int = 90_000
    planb_max_dev: Decimal = ZERO
    planb_max_dev_r: Decimal = Decimal("0.25")
    planb_require_price: bool = True
    planb_abort_past_tp1: bool = True
    planb_order: PlanBOrder = PlanBOrder.MARKET
    qty: Decimal | None = None
    notional: Decimal | None = None
    risk: Decimal | None = None
    split: tuple[Decimal, Decimal, Decimal] = (ONE, ONE, ONE)
    target_r: tuple[Decimal, ...] = (Decimal(1), Decimal(2))
    stop_mode: StopMode = StopMode.PCT
    stop_pct: Decimal = Decimal("0.002")
    swing_mins: int = 180
    gap_ticks: int = 2
    gap_pct: Decimal = Decimal("0.001")
    layout: Layout = Layout.OCO
    bracket_part_ms: int = 2_000
    after_tp1: AfterTp1 = AfterTp1.BREAKEVEN
    breakeven_ticks: int = 0
    trail_after_tp2: bool = True
    trail_mode: TrailMode = TrailMode.DISTANCE
    trail_distance: Decimal | None = None
    trail_pct: Decimal | None = None
    trail_r: Decimal | None = ONE
    trail_step: Decimal = ZERO
    trail_every_ms: int = 1_000
    trail_swing_lookback: int = 240
    trail_swing_bars: int = 2
    trail_swing_buffer: Decimal = ZERO
    exits_retry_ms: int = 1_000
    failsafe_tries: int = 5
    failsafe_grace_ms: int = 10_000
    failsafe_flatten: bool = True
    watchdog_grace_ms: int = 3_000
    absence_grace_ms: int = 2_000
    doubt_settle_ms: int = 10_000
    quote_max_age_ms: int = 3_000
    max_hold_ms: int = 0
    cooldown_ms: int = 180_000
    cooldown_abort_ms: int = 30_000
    lock_ms: int = 15_000
    max_position: Decimal = ZERO
    max_trades_per_day: int = 0
    max_daily_loss: Decimal = ZERO
    allow_short: bool = False
    max_signal_age_ms: int = 600_000
    clock_tolerance_ms: int = 5_000
    recv_window_ms: int = 0
    """With which requests are stamped before they are on disk (rule 8.3d); 0: stamped as they are sent."""
    max_borrow: Decimal = ZERO
    level_min: Decimal | None = None
    level_alert: Decimal | None = None
    level_reduce: Decimal | None = None
    allow_foreign_debt: bool = False
    base_fees_leave: bool = False
    """Whether a commission in base is base that the trade does not have any more (rule 7.2). Journals of versions that
    priced it by its own fill, and counted it as left over besides, say nothing of it.
    """
