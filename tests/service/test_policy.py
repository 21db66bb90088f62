"""Settings in the core's words."""

from decimal import Decimal

import pytest

from executor.config import SettingsError, load_settings
from executor.core.model import policy as core
from executor.core.model.rules import SymbolRules
from executor.service.policy import own_filters, policy_of

RULES = SymbolRules(
    symbol="LTCUSDT",
    base="LTC",
    quote="USDT",
    tick=Decimal("0.01"),
    step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    min_notional=Decimal(5),
)


def test_the_defaults_are_the_core_s_own() -> None:
    made = policy_of(load_settings({}, env_file=None))
    assert made == core.Policy(notional=Decimal(100), recv_window_ms=5_000, base_fees_leave=True)


def test_each_setting_reaches_its_place() -> None:
    environ = {
        "ENTRY_MODE": "LIMIT_ONLY",
        "ENTRY_OFFSET_USD": "1.5",
        "LIVE_ENTRY_TIMEOUT_SEC": "12.5",
        "PLANB_MAX_DEV_USD": "7",
        "PLANB_MAX_DEV_R_MULT": "0",
        "PLANB_REQUIRE_PRICE": "false",
        "PLANB_ABORT_IF_PAST_TP1": "false",
        "PLANB_ORDER": "LIMIT_IOC",
        "RISK_USD": "25",
        "QTY_SPLIT": "2,1,1",
        "TP_R_LIST": "1.5,3",
        "STOP_MODE": "SWING",
        "SL_PCT": "0.01",
        "SWING_MINS": "30",
        "SL_LIMIT_GAP_TICKS": "9",
        "SL_LIMIT_GAP_PCT": "0.002",
        "EXIT_LAYOUT": "PLAIN",
        "SL_AFTER_TP1": "KEEP",
        "BE_OFFSET_TICKS": "3",
        "TRAIL_ACTIVATE_AFTER_TP2": "false",
        "TRAIL_MODE": "SWING",
        "TRAIL_DISTANCE_USD": "2",
        "TRAIL_STEP_USD": "0.5",
        "TRAIL_UPDATE_EVERY_SEC": "4",
        "TRAIL_SWING_LOOKBACK": "60",
        "TRAIL_SWING_LR": "3",
        "TRAIL_SWING_BUFFER_USD": "0.1",
        "POLL_SEC": "2",
        "EXITS_RETRY_EVERY_SEC": "2",
        "FAILSAFE_EXITS_MAX_TRIES": "3",
        "FAILSAFE_EXITS_GRACE_SEC": "20",
        "FAILSAFE_FLATTEN": "false",
        "SL_WATCHDOG_GRACE_SEC": "5",
        "ABSENCE_GRACE_SEC": "3",
        "DOUBT_SETTLE_SEC": "15",
        "MAX_HOLD_SEC": "3600",
        "COOLDOWN_SEC": "60",
        "COOLDOWN_ABORT_SEC": "10",
        "LOCK_SEC": "5",
        "MAX_POSITION_USD": "1000",
        "MAX_TRADES_PER_DAY": "4",
        "MAX_DAILY_LOSS_USD": "50",
        "ALLOW_SHORT": "true",
        "MAX_SIGNAL_AGE_SEC": "30",
        "RECV_WINDOW": "3000",
    }
    made = policy_of(load_settings(environ, env_file=None))
    assert made == core.Policy(
        entry_mode=core.EntryMode.LIMIT_ONLY,
        entry_offset=Decimal("1.5"),
        entry_timeout_ms=12_500,
        planb_max_dev=Decimal(7),
        planb_max_dev_r=Decimal(0),
        planb_require_price=False,
        planb_abort_past_tp1=False,
        planb_order=core.PlanBOrder.LIMIT_IOC,
        risk=Decimal(25),
        split=(Decimal(2), Decimal(1), Decimal(1)),
        target_r=(Decimal("1.5"), Decimal(3)),
        stop_mode=core.StopMode.SWING,
        stop_pct=Decimal("0.01"),
        swing_mins=30,
        gap_ticks=9,
        gap_pct=Decimal("0.002"),
        layout=core.Layout.PLAIN,
        after_tp1=core.AfterTp1.KEEP,
        breakeven_ticks=3,
        trail_after_tp2=False,
        trail_mode=core.TrailMode.SWING,
        trail_distance=Decimal(2),
        trail_r=None,
        trail_step=Decimal("0.5"),
        trail_every_ms=4_000,
        trail_swing_lookback=60,
        trail_swing_bars=3,
        trail_swing_buffer=Decimal("0.1"),
        quote_max_age_ms=6_000,
        exits_retry_ms=2_000,
        failsafe_tries=3,
        failsafe_grace_ms=20_000,
        failsafe_flatten=False,
        watchdog_grace_ms=5_000,
        absence_grace_ms=3_000,
        doubt_settle_ms=15_000,
        max_hold_ms=3_600_000,
        cooldown_ms=60_000,
        cooldown_abort_ms=10_000,
        lock_ms=5_000,
        max_position=Decimal(1000),
        max_trades_per_day=4,
        max_daily_loss=Decimal(50),
        allow_short=True,
        max_signal_age_ms=30_000,
        recv_window_ms=3_000,
        base_fees_leave=True,
    )


def test_no_field_of_the_policy_is_forgotten() -> None:
    """Every field that a setting could change was changed above, so that a new one can't slip through unmapped."""
    unmapped = {"qty", "notional", "trail_pct", "clock_tolerance_ms"}
    defaults = core.Policy()
    environ = {"QTY": "1", "TRAIL_DISTANCE_PCT": "0.01"}
    made = policy_of(load_settings(environ, env_file=None))
    assert made.qty == 1
    assert made.notional is None
    assert made.trail_pct == Decimal("0.01")
    assert set(core.Policy.__struct_fields__) >= unmapped
    assert made.clock_tolerance_ms == defaults.clock_tolerance_ms


def test_own_filters_may_be_coarser_than_the_exchange_s() -> None:
    environ = {"QTY_STEP": "0.01", "TICK_SIZE": "0.05", "MIN_QTY": "0.1", "MIN_NOTIONAL": "10"}
    made = own_filters(RULES, load_settings(environ, env_file=None))
    assert (made.step, made.tick, made.min_qty, made.min_notional) == (
        RULES.step,
        RULES.tick,
        RULES.min_qty,
        RULES.min_notional,
    )
    plans = made.for_plans
    assert (plans.step, plans.tick, plans.min_qty, plans.min_notional) == (
        Decimal("0.01"),
        Decimal("0.05"),
        Decimal("0.1"),
        Decimal(10),
    )


def test_own_filters_are_left_alone_where_nothing_is_set() -> None:
    assert own_filters(RULES, load_settings({}, env_file=None)) == RULES


@pytest.mark.parametrize(
    ("name", "value"),
    [("QTY_STEP", "0.0015"), ("TICK_SIZE", "0.001"), ("MIN_QTY", "0.0001"), ("MIN_NOTIONAL", "1")],
)
def test_looser_filters_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        own_filters(RULES, load_settings({name: value}, env_file=None))
    assert [fault.name for fault in caught.value.faults] == [name]
    assert value in str(caught.value)


def test_a_looser_filter_of_one_symbol_is_named_as_it_was_set() -> None:
    given = {"SYMBOL": RULES.symbol, "TICK_SIZE": "0.0001", f"{RULES.symbol}__QTY_STEP": "0.0015"}
    with pytest.raises(SettingsError) as caught:
        own_filters(RULES, load_settings(given, env_file=None))
    assert [fault.name for fault in caught.value.faults] == [f"{RULES.symbol}__QTY_STEP", "TICK_SIZE"]
    assert all(fault.must.endswith(f"for {RULES.symbol}") for fault in caught.value.faults)


def test_all_looser_filters_are_told_at_once() -> None:
    environ = {"QTY_STEP": "0.0015", "TICK_SIZE": "0.001", "MIN_QTY": "0.0001", "MIN_NOTIONAL": "1"}
    with pytest.raises(SettingsError) as caught:
        own_filters(RULES, load_settings(environ, env_file=None))
    assert {fault.name for fault in caught.value.faults} == set(environ)
