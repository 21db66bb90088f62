from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import (
    MARGIN_RULES,
    POLICY,
    RICH,
    RULES,
    START,
    Script,
    both_sides,
    closing,
    make_quote,
    make_signal,
)

from executor.core.absorb.admit import DAY_MS, IDS_MAX, day_at, newest_trade, trade_id
from executor.core.book.ledger import expected_base
from executor.core.book.levels import stop_limit
from executor.core.model.events import SignalMalformed, SignalSeen, Verb
from executor.core.model.facts import Balance
from executor.core.model.loans import Others
from executor.core.model.policy import EntryMode, Layout, Policy
from executor.core.model.signal import Signal
from executor.core.model.state import Day, Entering, Seen
from executor.core.model.values import Direction, OrderType
from executor.core.model.verdict import MOVED, Refusal
from executor.core.transition import Step, empty, transition

D = Decimal


def seen(signal: Signal | None = None, **changes: object) -> SignalSeen:
    event = SignalSeen(at=START, signal=signal or make_signal(), quote=make_quote(100), balances=RICH, klines=None)
    return replace(event, **changes)


def judged(event: SignalSeen, policy: Policy = POLICY, **changes: object) -> Step:
    return transition(replace(empty("LTCUSDT"), **changes), event, policy, RULES)


def kind(step: Step) -> str:
    """The kind a refusal was counted under."""
    assert isinstance(step.verdict, Refusal)
    assert step.state.position is None
    assert [n.event for n in step.notes] == ["signal_refused"]
    (counted,) = step.state.refused.items()
    assert counted[1] == 1
    return counted[0]


def test_a_signal_becomes_a_trade() -> None:
    step = judged(seen())
    assert step.verdict == MOVED
    position = step.state.position
    assert position is not None
    assert position.trade == str(START)
    assert position.phase == Entering(give_up_at=START + 90_000)
    assert step.state.day == Day(number=START // DAY_MS, trades=1)
    assert step.state.locked_until == START + 15_000
    assert step.notes[0].text == "long 3 LTC: entry 100, stop 98, targets 102, 104"
    assert step.state.market.quote == make_quote(100)


@pytest.mark.parametrize(
    ("event", "policy", "changes", "expected"),
    [
        (seen(replace(make_signal(), symbol="BTCUSDT")), POLICY, {}, "symbol"),
        (seen(), POLICY, {"seen": (Seen("a", START - 1),)}, "duplicate"),
        (seen(make_signal(at=START - 600_001)), POLICY, {}, "too_old"),
        (seen(make_signal(at=START + 5_001)), POLICY, {}, "future"),
        (seen(), POLICY, {"halted": "no"}, "halted"),
        (seen(), POLICY, {"paused": True}, "paused"),
        (seen(), POLICY, {"cooldown_until": START + 1}, "cooldown"),
        (seen(), POLICY, {"locked_until": START + 1}, "lock"),
        (seen(make_signal(Direction.SHORT)), replace(POLICY, allow_short=False), {}, "short"),
        (seen(), replace(POLICY, max_trades_per_day=2), {"day": Day(START // DAY_MS, 2)}, "daily_trades"),
        (seen(), replace(POLICY, max_daily_loss=D(5)), {"day": Day(START // DAY_MS, 2, D(-5))}, "daily_loss"),
        (seen(), replace(POLICY, qty=None), {}, "plan"),
        (seen(quote=None), POLICY, {}, "no_price"),
        (seen(quote=make_quote(100, START - 3_001)), POLICY, {}, "no_price"),
        (seen(quote=make_quote(98)), POLICY, {}, "past_stop"),
        (seen(quote=make_quote(102)), replace(POLICY, entry_mode=EntryMode.MARKET_ONLY), {}, "past_target"),
        (seen(), replace(POLICY, max_position=D("299.99")), {}, "max_position"),
        (seen(balances=None), POLICY, {}, "no_balance"),
        (seen(balances={"USDT": Balance(D("299.99"), D(500))}), POLICY, {}, "balance"),
    ],
)
def test_a_signal_outside_of_the_rules_is_refused_counted_and_told(
    event: SignalSeen, policy: Policy, changes: dict[str, object], expected: str
) -> None:
    """Rule 2.5."""
    assert kind(judged(event, policy, **changes)) == expected


@pytest.mark.parametrize(
    ("event", "changes", "said"),
    [
        (seen(make_signal(at=START - 700_000)), {}, "700.0 s old, MAX_SIGNAL_AGE_SEC is 600: it must not be older"),
        (
            seen(make_signal(at=START + 9_000)),
            {},
            "ts is 9.0 s in the future, must be at most 5 s ahead of the exchange's clock",
        ),
        (seen(), {"cooldown_until": START + 7_000}, "cooldown for another 7.0 s, COOLDOWN_SEC is 180"),
        (seen(), {"locked_until": START + 7_000}, "locked for another 7.0 s, LOCK_SEC is 15"),
        (
            seen(quote=make_quote(100, START - 60_000)),
            {},
            "the price at hand is 60.0 s old, must be at most 3 s",
        ),
    ],
)
def test_a_refusal_names_the_setting_what_it_was_and_what_it_must_be(
    event: SignalSeen, changes: dict[str, object], said: str
) -> None:
    assert judged(event, POLICY, **changes).verdict == Refusal(said)


def test_a_price_as_old_as_it_may_be_is_fresh() -> None:
    assert judged(seen(quote=make_quote(100, START - 3_000))).verdict == MOVED


def test_the_cooldown_after_an_entry_that_was_given_up_is_named_as_its_own() -> None:
    """Rule 7.3."""
    script = Script()
    script.signal()
    script.command(Verb.FLATTEN)
    script.settle()
    assert not script.closed.qty
    script.now += 1
    script.signal()
    assert script.verdict == Refusal("cooldown for another 30.0 s, COOLDOWN_ABORT_SEC is 30")


def test_a_closed_market_takes_no_entry() -> None:
    step = transition(empty("LTCUSDT"), seen(), POLICY, replace(RULES, tradable=False))
    assert kind(step) == "market_closed"


def told_at(at: int, key: str, *, named: bool) -> SignalSeen:
    signal = replace(make_signal(Direction.SHORT, at, key), named=named)
    return seen(signal, at=at, quote=make_quote(100, at))


@pytest.mark.parametrize(("hours", "named", "refused"), [(47, True, "duplicate"), (49, True, ""), (1, False, "")])
def test_an_id_is_remembered_for_two_days_whatever_time_it_is_told_with(
    hours: int, refused: str, *, named: bool
) -> None:
    """Rule 2.5: a sender may send the same signal again under a newer time. A key that is made of its time can't be."""
    policy = replace(POLICY, allow_short=False)
    state = judged(told_at(START, "x", named=named), policy).state
    at = START + hours * 3_600_000
    state = transition(state, told_at(at - 1, "y", named=named), policy, RULES).state
    again = transition(state, told_at(at, "x", named=named), POLICY, RULES)
    if refused:
        assert again.verdict == Refusal("this signal was seen before")
    else:
        assert again.verdict == MOVED


def test_an_id_that_is_told_again_and_again_is_barred_from_its_first_time_on() -> None:
    """Rule 2.5: a sender with one id for all its signals is not barred for ever."""
    state = judged(told_at(START, "Long", named=True), replace(POLICY, allow_short=False)).state
    for minutes in (1, 9, 11, 1_440, 2_879):
        step = transition(state, told_at(START + minutes * 60_000, "Long", named=True), POLICY, RULES)
        assert step.verdict == Refusal("this signal was seen before")
        state = step.state
    assert transition(state, told_at(START + 2 * DAY_MS + 1, "Long", named=True), POLICY, RULES).verdict == MOVED


def test_a_signal_for_another_symbol_is_not_remembered() -> None:
    """Rule 2.5: several services may read one file, and a sender may give its signals for each symbol one id."""
    ours = told_at(START, "Long", named=True)
    step = judged(replace(ours, signal=replace(ours.signal, symbol="BTCUSDT")))
    assert (kind(step), step.state.seen, step.state.ids) == ("symbol", (), ())
    assert transition(step.state, ours, POLICY, RULES).verdict == MOVED


def test_no_more_ids_are_kept_than_a_state_can_bear() -> None:
    known = tuple(Seen(f"old {n}", START - 1) for n in range(IDS_MAX + 5))
    ids = judged(told_at(START, "x", named=True), ids=known).state.ids
    assert len(ids) == IDS_MAX
    assert (ids[0].key, ids[-1].key) == ("old 6", "x")


def test_a_backlog_of_old_signals_takes_no_ids_place() -> None:
    known = (Seen("one", START - 1),)
    event = told_at(START, "old", named=True)
    event = replace(event, signal=replace(event.signal, at=START - 700_000))
    step = judged(event, ids=known)
    assert kind(step) == "too_old"
    assert step.state.ids == known
    assert [s.key for s in step.state.seen] == ["old"]


@pytest.mark.parametrize(
    ("policy", "changes", "said"),
    [
        (POLICY, {"oco_allowed": False}, "takes no OCO, EXIT_LAYOUT must be PLAIN"),
        (POLICY, {"order_types": (OrderType.LIMIT, OrderType.MARKET)}, "no STOP_LOSS_LIMIT, LIMIT_MAKER orders"),
        (POLICY, {"order_types": tuple(set(OrderType) - {OrderType.MARKET})}, "takes no MARKET orders"),
        (
            replace(POLICY, layout=Layout.PLAIN),
            {"order_types": (OrderType.LIMIT, OrderType.MARKET, OrderType.STOP_LOSS_LIMIT)},
            "",
        ),
        (POLICY, {"max_algo_orders": 2}, "the exits are 3 stops, LTCUSDT takes 2 at once"),
        (POLICY, {"max_algo_orders": 3}, ""),
        (replace(POLICY, split=(D(1), D(1), D(0))), {"max_algo_orders": 2}, ""),
        (replace(POLICY, layout=Layout.PLAIN), {"oco_allowed": False, "max_algo_orders": 1}, ""),
    ],
)
def test_exits_that_the_symbol_does_not_take_are_refused_before_the_entry(
    policy: Policy, changes: dict[str, object], said: str
) -> None:
    step = transition(empty("LTCUSDT"), seen(), policy, replace(RULES, **changes))
    if not said:
        assert step.verdict == MOVED
        return
    assert kind(step) == "exits"
    assert isinstance(step.verdict, Refusal)
    assert said in step.verdict.why


def test_a_signal_while_a_trade_is_open_is_refused() -> None:
    script = Script()
    script.signal()
    script.signal(key="other")
    assert script.state.refused == {"trade_open": 1}


def test_limits_of_a_day_end_with_it() -> None:
    policy = replace(POLICY, max_trades_per_day=2)
    assert judged(seen(), policy, day=Day(START // DAY_MS - 1, 2)).verdict == MOVED
    assert day_at(empty("X"), START) == Day(START // DAY_MS)


def test_a_line_that_can_not_be_read_is_refused_with_its_fault() -> None:
    step = transition(empty("LTCUSDT"), SignalMalformed(at=START, text="{", fault="no JSON"), POLICY, RULES)
    assert kind(step) == "malformed"
    assert step.verdict == Refusal("no JSON: {")


def test_a_signal_is_remembered_until_it_would_be_too_old_anyway() -> None:
    step = judged(seen(), seen=(Seen("old", START - 700_000), Seen("young", START - 1)))
    assert [s.key for s in step.state.seen] == ["young", "a"]


def test_a_market_entry_is_paid_at_the_ask() -> None:
    policy = replace(POLICY, entry_mode=EntryMode.MARKET_ONLY)
    needed = 3 * D("100.01")
    assert judged(seen(balances={"USDT": Balance(needed)}), policy).verdict == MOVED
    assert kind(judged(seen(balances={"USDT": Balance(needed - D("0.01"))}), policy)) == "balance"
    short = seen(make_signal(Direction.SHORT), balances={"LTC": Balance(D(3)), "USDT": Balance(D(100))})
    assert judged(short, policy).verdict == MOVED


def test_the_plain_layout_needs_spare_inventory_and_names_what_is_missing() -> None:
    """Rule 4.3."""
    plain = replace(POLICY, layout=Layout.PLAIN)
    step = judged(seen(balances={"USDT": Balance(D(1_000)), "LTC": Balance(D("1.5"))}), plain)
    assert kind(step) == "balance"
    assert step.notes[0].text.endswith("needs 1.998 LTC, free are 1.5: 0.498 LTC missing")
    short = seen(make_signal(Direction.SHORT), balances={"LTC": Balance(D(3)), "USDT": Balance(D(100))})
    assert kind(judged(short, plain)) == "balance"


def test_a_short_needs_the_base_and_what_its_exits_lock_beyond_the_proceeds() -> None:
    assert kind(judged(seen(make_signal(Direction.SHORT), balances={"USDT": Balance(D(1_000))}))) == "balance"
    enough = {"LTC": Balance(D(3)), "USDT": Balance(D(20))}
    assert judged(seen(make_signal(Direction.SHORT), balances=enough)).verdict == MOVED


@pytest.mark.parametrize(
    ("changes", "sold_at"),
    [
        ({"entry_mode": EntryMode.LIMIT_ONLY}, "100"),
        ({"planb_max_dev_r": D("0.25")}, "99.5"),
        ({"planb_max_dev_r": D(0)}, "98.01"),  # a tick before TP1
        ({"entry_mode": EntryMode.MARKET_ONLY}, "99.99"),
    ],
)
def test_a_short_s_exits_can_be_paid_with_what_its_entry_may_be_sold_for_at_the_least(
    changes: dict[str, object], sold_at: str
) -> None:
    """Rules 2.6, 3.3: what Plan B, or the book, brings less than the entry's price is needed besides."""
    policy = replace(POLICY, **changes)
    stop = make_signal(Direction.SHORT).stop
    assert stop is not None
    needed = 3 * stop_limit(stop, Direction.SHORT, policy, RULES) - 3 * D(sold_at) * D("0.999")

    def with_quote(free: Decimal) -> Step:
        purse = {"LTC": Balance(D(3)), "USDT": Balance(free)}
        return judged(seen(make_signal(Direction.SHORT), balances=purse), policy)

    assert with_quote(needed).verdict == MOVED
    assert kind(with_quote(needed - D("0.01"))) == "balance"


def test_what_other_symbols_trades_need_is_not_free() -> None:
    """2.6: the account has one purse."""
    purse = {"LTC": Balance(D(3)), "USDT": Balance(D(20))}

    def beside(claimed: dict[str, Decimal]) -> Step:
        return judged(seen(make_signal(Direction.SHORT), balances=purse, claimed=claimed))

    assert beside({"USDT": D(10)}).verdict == MOVED
    refused = beside({"USDT": D(15)})
    assert kind(refused) == "balance"
    assert "free are 5:" in refused.notes[0].text
    assert kind(beside({"LTC": D("0.1")})) == "balance"
    assert "free are 0:" in beside({"LTC": D(4)}).notes[0].text


def test_base_that_another_symbol_trades_as_well_tells_nothing_of_what_becomes_of_a_trade() -> None:
    """Rules 6.6, 8.3b."""

    def spare(claimed: dict[str, Decimal]) -> Decimal | None:
        position = judged(seen(claimed=claimed)).state.position
        assert position is not None
        return position.spare

    assert spare({"USDT": D(0), "ETH": D(1)}) == RICH["LTC"].total
    assert spare({"USDT": D(0), "LTC": D(0)}) is None


@both_sides
def test_so_it_does_on_borrowed_money_where_an_earlier_debt_is_repaid_from_what_nobody_else_needs(
    direction: Direction,
) -> None:
    """Rules 8.3b, 11.6: as if none of it were there a short would buy an earlier debt's base beside its own."""
    script = Script(direction, rules=MARGIN_RULES)
    script.lender.add("LTC", D(4))
    account = replace(script.account(), others={"LTC": Others(claimed=D(1))})
    for claimed, spare, shared in (({"LTC": D(0)}, D(3), True), ({"ETH": D(0)}, D(4), False)):
        event = seen(make_signal(direction), margin=account, balances=account.balances, claimed=claimed)
        position = transition(empty("LTCUSDT"), event, POLICY, MARGIN_RULES).state.position
        assert position is not None
        assert position.credit is not None
        assert (position.spare, position.credit.shared) == (spare, shared)
        assert (expected_base(position, MARGIN_RULES) is None) is shared


def test_no_two_trades_have_the_same_id() -> None:
    """Rule 1: an id is later than the last one's, whatever the clock says."""
    script = closing()
    script.settle()
    assert trade_id(script.state, START) == str(START + 1)
    assert trade_id(script.state, START + 500) == str(START + 500)


def test_no_two_trades_of_one_account_have_the_same_id() -> None:
    """Rule 1: two symbols that are signalled in the same moment had the same one, and so their orders and lists."""
    position = judged(seen(newest=START)).state.position
    assert position is not None
    assert position.trade == str(START + 1)
    assert newest_trade(judged(seen(newest=START)).state) == START + 1
    assert newest_trade(Script().state) == 0


def test_pause_and_resume_let_signals_in_again() -> None:
    script = Script()
    script.command(Verb.PAUSE)
    script.signal()
    assert script.state.refused == {"paused": 1}
    script.command(Verb.RESUME)
    script.signal(key="b")
    assert script.position.signal == "b"


def test_a_symbol_that_may_not_be_entered_is_refused_with_the_reason() -> None:
    script = Script(rules=replace(RULES, barred="BTCUSDT is gone from the list"))
    script.signal()
    assert script.verdict == Refusal("entries are refused: BTCUSDT is gone from the list")
    assert script.state.refused == {"barred": 1}
