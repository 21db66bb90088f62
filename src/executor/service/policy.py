"""Settings in the core's words, and the operator's own filters laid over the exchange's."""

from decimal import Decimal

import structlog
from msgspec.structs import replace

from executor.config import Fault, ForeignDebt, Settings, SettingsError, TradeMode, to_ms
from executor.core.book import brackets
from executor.core.model import policy as core
from executor.core.model.rules import OwnFilters, SymbolRules
from executor.core.model.values import ZERO, on_grid, plain

log = structlog.get_logger(__name__)


def say_layout(policy: core.Policy, rules: SymbolRules) -> None:
    """Say where entries bring no exits with them though that is wanted (rule 13.1)."""
    if lacking := brackets.lacking(policy, rules):
        log.warning("brackets_not_offered", symbol=rules.symbol, text=lacking)


def policy_of(settings: Settings) -> core.Policy:
    return core.Policy(
        entry_mode=core.EntryMode(settings.entry_mode),
        entry_offset=settings.entry_offset_usd,
        entry_timeout_ms=to_ms(settings.live_entry_timeout_sec),
        planb_max_dev=settings.planb_max_dev_usd,
        planb_max_dev_r=settings.planb_max_dev_r_mult,
        planb_require_price=settings.planb_require_price,
        planb_abort_past_tp1=settings.planb_abort_if_past_tp1,
        planb_order=core.PlanBOrder(settings.planb_order),
        qty=settings.qty,
        notional=settings.qty_usd,
        risk=settings.risk_usd,
        split=settings.qty_split,
        target_r=settings.tp_r_list,
        stop_mode=core.StopMode(settings.stop_mode),
        stop_pct=settings.sl_pct,
        swing_mins=settings.swing_mins,
        gap_ticks=settings.sl_limit_gap_ticks,
        gap_pct=settings.sl_limit_gap_pct,
        layout=core.Layout(settings.exit_layout),
        bracket_part_ms=to_ms(settings.bracket_part_sec),
        after_tp1=core.AfterTp1(settings.sl_after_tp1),
        breakeven_ticks=settings.be_offset_ticks,
        trail_after_tp2=settings.trail_activate_after_tp2,
        trail_mode=core.TrailMode(settings.trail_mode),
        trail_distance=settings.trail_distance_usd,
        trail_pct=settings.trail_distance_pct,
        trail_r=settings.trail_distance_r_mult,
        trail_step=settings.trail_step_usd,
        trail_every_ms=to_ms(_trail_every(settings)),
        trail_swing_lookback=settings.trail_swing_lookback,
        trail_swing_bars=settings.trail_swing_lr,
        trail_swing_buffer=settings.trail_swing_buffer_usd,
        exits_retry_ms=to_ms(settings.exits_retry_every_sec),
        failsafe_tries=settings.failsafe_exits_max_tries,
        failsafe_grace_ms=to_ms(settings.failsafe_exits_grace_sec),
        failsafe_flatten=settings.failsafe_flatten,
        watchdog_grace_ms=to_ms(settings.sl_watchdog_grace_sec),
        absence_grace_ms=to_ms(settings.absence_grace_sec),
        doubt_settle_ms=to_ms(settings.doubt_settle_sec),
        quote_max_age_ms=max(3 * to_ms(settings.poll_sec), 3_000),
        max_hold_ms=to_ms(settings.max_hold_sec),
        cooldown_ms=to_ms(settings.cooldown_sec),
        cooldown_abort_ms=to_ms(settings.cooldown_abort_sec),
        lock_ms=to_ms(settings.lock_sec),
        max_position=settings.max_position_usd,
        max_trades_per_day=settings.max_trades_per_day,
        max_daily_loss=settings.max_daily_loss_usd,
        allow_short=settings.allow_short,
        max_signal_age_ms=to_ms(settings.max_signal_age_sec),
        recv_window_ms=settings.recv_window,
        max_borrow=settings.margin_max_borrow_usd,
        level_min=settings.margin_level_min,
        level_alert=settings.margin_level_alert,
        level_reduce=settings.margin_level_reduce,
        allow_foreign_debt=settings.margin_foreign_debt is ForeignDebt.ALLOW,
        base_fees_leave=True,
    )


def _trail_every(settings: Settings) -> Decimal:
    """Seconds. On margin each move leaves a moment without a stop, so there are fewer of them (rule 11.5)."""
    if settings.trade_mode is TradeMode.MARGIN:
        return max(settings.trail_update_every_sec, settings.margin_trail_every_sec)
    return settings.trail_update_every_sec


def own_filters(rules: SymbolRules, settings: Settings) -> SymbolRules:
    """The exchange's rules, and beside them QTY_STEP, TICK_SIZE, MIN_QTY, MIN_NOTIONAL where they are set (rule 2.3b).

    Raises SettingsError when one is looser than the exchange's own: its orders would be refused.
    """
    key, symbol = settings.key, rules.symbol
    faults = [
        *_coarser(key("QTY_STEP"), settings.qty_step, rules.step, symbol),
        *_coarser(key("TICK_SIZE"), settings.tick_size, rules.tick, symbol),
        *_at_least(key("MIN_QTY"), settings.min_qty, rules.min_qty, symbol),
        *_at_least(key("MIN_NOTIONAL"), settings.min_notional, rules.min_notional, symbol),
    ]
    if faults:
        raise SettingsError(faults)
    own = OwnFilters(
        step=settings.qty_step or ZERO,
        tick=settings.tick_size or ZERO,
        min_qty=settings.min_qty or ZERO,
        min_notional=settings.min_notional or ZERO,
    )
    return rules if own == OwnFilters() else replace(rules, own=own)


def _coarser(name: str, value: Decimal | None, own: Decimal, symbol: str) -> list[Fault]:
    if value is None or on_grid(value, own):
        return []
    return [Fault(name, plain(value), f"a multiple of the exchange's {plain(own)} for {symbol}")]


def _at_least(name: str, value: Decimal | None, own: Decimal, symbol: str) -> list[Fault]:
    if value is None or value >= own:
        return []
    return [Fault(name, plain(value), f"at least the exchange's {plain(own)} for {symbol}")]
