from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.build import DONE, POLICY, RULES, Script, both_sides, entering, make_quote

from executor.core.model.events import QuoteSeen, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.intents import CancelOrder
from executor.core.model.policy import EntryMode, Layout, PlanBOrder
from executor.core.model.rules import OwnFilters
from executor.core.model.state import Closing, End, Entering, Protected, Reason, Unprotected
from executor.core.model.values import Direction, OrderStatus, OrderType, TimeInForce

D = Decimal


def timed_out(script: Script) -> Script:
    """The limit did not fill in time and is cancelled; Plan B is about to be decided."""
    script.wait(90_000)
    assert script.kinds() == ["CancelOrder"]
    script.accept()
    return script


def priced(script: Script, last: str) -> Script:
    """Plan B's price arrives."""
    assert script.kinds() == ["QueryQuote"]
    script.last = script.px(last)
    script.accept()
    return script


@both_sides
def test_the_entry_is_a_limit_at_the_entry_price(direction: Direction) -> None:
    """Rule 3.1."""
    script = entering(direction, working=False)
    assert script.kinds() == ["ENTRY"]
    order = script.order(Role.ENTRY)
    assert (order.type, order.price, order.qty, order.side) == (OrderType.LIMIT, D(100), D(3), direction.entry_side)
    assert order.time_in_force is TimeInForce.GTC


@both_sides
def test_a_market_entry_is_complete_at_once(direction: Direction) -> None:
    script = entering(direction, replace(POLICY, entry_mode=EntryMode.MARKET_ONLY), working=False)
    assert script.order(Role.ENTRY).type is OrderType.MARKET
    script.accept()
    assert isinstance(script.phase, Unprotected)
    assert script.kinds() == ["OCO1", "OCO2", "SL"]


def test_exits_are_sized_by_what_is_held_after_commission() -> None:
    """Rule 3.4: 3 bought, 0.003 paid in base."""
    script = entering()
    script.fill(Role.ENTRY)
    assert script.position.split == (D("0.999"), D("0.999"), D("0.999"))
    assert script.position.entered == script.now


def test_a_short_holds_all_that_it_sold() -> None:
    script = entering(Direction.SHORT)
    script.fill(Role.ENTRY)
    assert script.position.split == (D(1), D(1), D(1))


@both_sides
def test_an_entry_that_does_not_fill_is_followed_by_plan_b_near_the_price(direction: Direction) -> None:
    """Rules 3.2, 3.3."""
    script = priced(timed_out(entering(direction)), "100.3")
    assert script.kinds() == ["PLANB"]
    assert script.order(Role.PLANB).type is OrderType.MARKET
    script.accept()
    assert script.kinds() == ["OCO1", "OCO2", "SL"]


@pytest.mark.parametrize(
    ("last", "reason"),
    [("100.6", "PLANB_DEVIATION"), ("102", "PLANB_PAST_TP1"), ("98", "PLANB_PAST_STOP")],
)
@both_sides
def test_plan_b_is_not_bought_where_the_price_has_gone(direction: Direction, last: str, reason: str) -> None:
    """Rule 3.3."""
    script = priced(timed_out(entering(direction)), last)
    script.settle()
    assert script.closed.reason == reason
    assert script.state.cooldown_until == script.now + POLICY.cooldown_abort_ms  # rule 7.3


def test_each_bound_of_plan_b_that_is_set_must_hold() -> None:
    policy = replace(POLICY, planb_max_dev=D("0.2"), planb_max_dev_r=D(0))
    assert priced(timed_out(entering(policy=policy)), "100.1").kinds() == ["PLANB"]
    script = priced(timed_out(entering(policy=policy)), "100.3")
    script.settle()
    assert script.closed.reason is Reason.PLANB_DEVIATION
    unbounded = replace(policy, planb_max_dev=D(0), planb_abort_past_tp1=False)
    assert priced(timed_out(entering(policy=unbounded)), "103").kinds() == ["PLANB"]


@pytest.mark.parametrize(
    ("dev", "past_tp1", "limit"),
    [("0.25", True, "100.50"), ("0", True, "101.99"), ("0", False, "101.99"), ("2", False, "104")],
)
@both_sides
def test_plan_b_as_a_limit_never_pays_more_than_the_guard_allows(
    direction: Direction, dev: str, past_tp1: bool, limit: str
) -> None:
    policy = replace(POLICY, planb_order=PlanBOrder.LIMIT_IOC, planb_max_dev_r=D(dev), planb_abort_past_tp1=past_tp1)
    script = priced(timed_out(entering(direction, policy)), "100.1")
    order = script.order(Role.PLANB)
    assert (order.price, order.time_in_force) == (script.px(limit), TimeInForce.IOC)


def test_a_plan_b_limit_that_found_nobody_ends_the_trade_by_its_bound() -> None:
    script = priced(timed_out(entering(policy=replace(POLICY, planb_order=PlanBOrder.LIMIT_IOC))), "100.1")
    script.accept()
    script.vanish(Role.PLANB, DONE[2])
    script.settle()
    assert script.closed.reason is Reason.PLANB_DEVIATION


def test_plan_b_without_a_price_is_not_bought_unless_so_set() -> None:
    script = timed_out(entering())
    script.lose()
    script.settle()
    assert script.closed.reason is Reason.PLANB_NO_PRICE
    script = timed_out(entering(policy=replace(POLICY, planb_require_price=False)))
    script.lose()
    assert script.kinds() == ["PLANB"]


def blinded(script: Script) -> Script:
    """The entry was refused, and the price that it waited for could not be had once; then it was entered."""
    script.wait(50)
    script.refuse(Why.NOT_SENT)
    script.wait(1_100)
    script.lose("QueryQuote")
    script.wait(1_000)
    script.accept("QueryQuote")
    script.accept("ENTRY")
    return script


@pytest.mark.parametrize("require_price", [False, True])
def test_a_price_that_could_not_be_had_before_the_entry_says_nothing_of_plan_b(*, require_price: bool) -> None:
    """Rule 3.3."""
    script = blinded(entering(policy=replace(POLICY, planb_require_price=require_price), working=False))
    script.sleep()
    assert script.kinds() == ["CancelOrder"]
    script.accept()
    script = priced(script, "103")
    script.settle()
    assert script.closed.reason is Reason.PLANB_PAST_TP1
    assert not script.closed.qty


def test_a_price_that_could_not_be_had_while_the_entry_worked_says_nothing_of_plan_b() -> None:
    """Rule 3.3: it was asked for an entry that a pushed price has let out meanwhile."""
    script = entering(working=False)
    script.wait(50)
    script.refuse(Why.NOT_SENT)
    script.wait(1_000)
    assert script.kinds() == ["QueryQuote"]
    script.quote("100")
    script.accept("ENTRY")
    script.lose("QueryQuote")
    script.wait(90_000)
    script.accept("CancelOrder")
    assert "QueryQuote" in script.kinds()


@both_sides
@pytest.mark.parametrize(("last", "bought"), [("100.6", False), ("100.3", True)])
def test_without_a_fresh_price_plan_b_goes_by_the_one_at_hand(direction: Direction, last: str, *, bought: bool) -> None:
    """Rule 3.3: PLANB_REQUIRE_PRICE=false means that none need be fresh, not that a known one is not looked at."""
    script = entering(direction, replace(POLICY, planb_require_price=False))
    script.quote(last, after=80_000)
    script.wait(10_000)
    script.accept("CancelOrder")
    script.lose("QueryQuote")
    assert ("PLANB" in script.kinds()) is bought
    if not bought:
        script.settle()
        assert script.closed.reason is Reason.PLANB_DEVIATION


def test_each_piece_of_plan_b_asks_for_its_own_price() -> None:
    script = timed_out(
        entering(policy=replace(POLICY, planb_require_price=False), rules=replace(RULES, market_max_qty=D(2)))
    )
    script.lose("QueryQuote")
    script.now += 10
    script.accept("PLANB")
    assert script.kinds() == ["QueryQuote", "SL"]


def test_a_quote_from_before_the_cancel_is_no_fresh_price() -> None:
    script = entering()
    script.quote("100", after=89_999)
    assert timed_out(script).kinds() == ["QueryQuote"]


def test_plan_b_is_tried_again_only_where_it_never_left() -> None:
    script = priced(timed_out(entering()), "100.1")
    for _ in range(2):
        script.refuse(Why.RATE_LIMIT)
        assert script.kinds() == []
        script.quote("100.1", after=1_000)
        assert script.kinds() == ["PLANB"]
    script.refuse(Why.RATE_LIMIT)
    script.settle()
    assert script.closed.reason is Reason.PLANB_REFUSED


def test_plan_b_that_is_refused_ends_the_trade() -> None:
    script = priced(timed_out(entering()), "100.1")
    script.refuse(Why.INSUFFICIENT_BALANCE)
    script.settle()
    assert script.closed.reason is Reason.PLANB_REFUSED


def test_limit_only_gives_up_after_its_time() -> None:
    script = timed_out(entering(policy=replace(POLICY, entry_mode=EntryMode.LIMIT_ONLY)))
    script.settle()
    assert script.closed.reason is Reason.ENTRY_TIMEOUT


def test_a_rest_too_small_for_a_market_order_is_not_bought() -> None:
    script = entering()
    script.fill(Role.ENTRY, "2.96")
    script.settle()
    script.wait(90_000)
    script.accept("CancelOrder")
    script.accept("QueryQuote")
    assert script.position.entered
    assert not script.orders(Role.PLANB)


def test_a_refused_entry_ends_the_trade_and_one_that_never_left_is_sent_again() -> None:
    script = entering(working=False)
    script.refuse(Why.FILTER)
    script.settle()
    assert script.closed.reason is Reason.REJECTED
    script = entering(working=False)
    script.refuse(Why.NOT_SENT)
    assert script.kinds() == []
    assert script.next_timer() == script.now + 1_000
    script.sleep()
    assert script.kinds() == ["ENTRY"]
    assert len({o.id for o in script.orders(Role.ENTRY)}) == 2


def test_an_entry_taken_away_by_somebody_else_is_not_bought_anew() -> None:
    script = entering()
    script.vanish(Role.ENTRY)
    script.settle()
    assert script.closed.reason is Reason.ENTRY_CANCELLED


def test_a_market_entry_that_found_nobody_is_rejected() -> None:
    script = entering(policy=replace(POLICY, entry_mode=EntryMode.MARKET_ONLY), working=False)
    script.refuse(Why.NOT_SENT, retry_at=script.now + 100_000)
    script.wait(90_000)
    script.settle()
    assert script.closed.reason is Reason.REJECTED


def test_the_operator_may_end_the_entry() -> None:
    script = entering()
    script.command(Verb.CANCEL_ENTRY)
    script.settle()
    assert script.closed.reason is Reason.ENTRY_CANCELLED


def test_an_entry_ended_before_it_was_sent_again_buys_nothing() -> None:
    script = entering(working=False)
    script.refuse(Why.NOT_SENT)
    script.command(Verb.CANCEL_ENTRY)
    script.settle()
    assert script.closed.reason is Reason.ENTRY_CANCELLED


@both_sides
def test_a_partly_filled_entry_is_covered_by_an_interim_stop_that_follows(direction: Direction) -> None:
    """Rule 3.5: at most one replacement a second."""
    script = entering(direction)
    script.fill(Role.ENTRY, "1")
    assert script.kinds() == ["SL"]
    script.settle()
    first = script.order(Role.SL)
    script.fill(Role.ENTRY, "1")
    assert script.kinds() == []
    script.wait(1_000)
    assert script.kinds() == ["replace SL"]
    script.settle()
    assert script.order(Role.SL).qty == 2 * first.qty
    assert script.order(first.role).stop_price == script.px(98)


@both_sides
def test_a_part_too_small_for_a_stop_is_watched_by_software(direction: Direction) -> None:
    """Rules 3.5, 6.4."""
    script = entering(direction)
    script.fill(Role.ENTRY, "0.01")
    assert script.kinds() == []
    script.quote("97.9", after=1_000)
    script.sleep()
    assert isinstance(script.phase, Closing)
    assert script.kinds() == ["CancelOrder"]
    script.settle()
    assert script.closed.reason is Reason.SL
    assert script.closed.dust != 0  # rule 3.6


def test_an_interim_stop_that_fills_ends_the_entry() -> None:
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.settle()
    script.quote("97.9", after=1_000)
    script.fill(Role.SL)
    script.settle()
    assert script.closed.reason is Reason.SL


def test_the_interim_stop_gives_way_to_the_final_exits() -> None:
    """Rules 3.5, 4.1, 10.1: what it does not cover does not wait for its cancel."""
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.settle()
    script.fill(Role.ENTRY)
    assert script.kinds() == ["CancelOrder", "OCO1", "OCO2"]
    script.accept()
    assert script.kinds() == ["OCO1", "OCO2", "SL"]
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


def test_a_partly_filled_entry_waits_for_its_next_try_under_its_interim_stop() -> None:
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.settle()
    script.wait(90_000)
    script.accept("CancelOrder")
    script.accept("QueryQuote")
    script.refuse(Why.NOT_SENT)
    assert isinstance(script.phase, Entering)
    assert script.live() == ["SL"]


def test_a_fill_that_beats_the_cancel_counts() -> None:
    """Rule 3.2."""
    script = entering()
    script.wait(90_000)
    script.trade(Role.ENTRY)
    script.accept("CancelOrder")
    assert script.kinds() == ["QueryOrder"]
    script.accept()
    assert script.order(Role.ENTRY).end is End.FILLED
    assert script.position.plan.qty == script.order(Role.ENTRY).cum_qty


def test_commissions_that_are_not_known_are_read_before_the_exits_are_sized() -> None:
    """Rule 3.4."""
    script = entering()
    told = script.trade(Role.ENTRY)
    script.book[told.id] = replace(told, fills=())
    script.push(told.id)
    assert script.kinds() == ["QueryTrades", "SL"]
    script.book[told.id] = told
    script.accept("QueryTrades")
    script.settle()
    assert script.position.split == (D("0.999"),) * 3


def test_commissions_that_can_not_be_read_are_taken_at_the_highest_rate() -> None:
    script = entering()
    told = script.trade(Role.ENTRY)
    script.book[told.id] = replace(told, fills=())
    script.push(told.id)
    script.lose("QueryTrades")
    script.settle()
    assert script.position.guess_fees
    assert sum(script.position.split) == D("2.997")


def test_what_is_held_but_too_small_for_any_exit_is_dust() -> None:
    """Rule 3.6."""
    script = entering()
    script.fill(Role.ENTRY, "0.04")
    script.command(Verb.CANCEL_ENTRY)
    script.settle()
    assert script.closed.reason is Reason.ENTRY_CANCELLED
    assert script.closed.dust == D("0.03996")


def test_a_whole_entry_that_no_exit_carries_is_sold_again() -> None:
    """Rule 2.4: more commission than was reckoned with leaves too little for one exit."""
    script = entering(rules=replace(RULES, min_notional=D(293)))
    told = script.trade(Role.ENTRY)
    script.book[told.id] = replace(told, fills=(replace(told.fills[0], fee=D("0.05")),))
    script.push(told.id)
    script.settle()
    assert script.closed.reason is Reason.REJECTED
    assert script.closed.dust == 0


def test_a_part_that_no_exit_carries_is_closed_with_what_ended_the_entry() -> None:
    script = entering(rules=replace(RULES, min_notional=D(290)))
    script.fill(Role.ENTRY, "2.95")
    script.wait(90_000)
    script.settle()
    assert script.closed.reason is Reason.ENTRY_TIMEOUT


def test_an_interim_stop_refused_past_its_level_ends_the_entry() -> None:
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.refuse(Why.WOULD_TRIGGER)
    script.settle()
    assert script.closed.reason is Reason.SL


def test_flatten_ends_an_entry_under_way() -> None:
    script = entering(working=False)
    script.command(Verb.FLATTEN)
    assert isinstance(script.phase, Closing)
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_plan_b_buys_in_pieces_what_one_market_order_can_not_carry() -> None:
    script = priced(timed_out(entering(rules=replace(RULES, market_max_qty=D(2)))), "100.1")
    assert script.order(Role.PLANB).qty == 2
    script.accept()
    assert script.order(Role.PLANB).qty == 1
    script.accept()
    assert isinstance(script.phase, Unprotected)


def test_plan_b_does_not_trust_an_old_price() -> None:
    """Rule 3.3."""
    script = entering(working=False)
    script.refuse(Why.NOT_SENT, retry_at=script.now + 100_000)
    script.wait(90_000)
    assert script.kinds() == ["QueryQuote"]


def test_plan_b_is_left_to_the_next_start_while_the_service_ends() -> None:
    """Rule 9.5."""
    script = entering()
    script.wait(90_000)
    script.command(Verb.END)
    script.accept("CancelOrder")
    assert (script.named(), script.kinds()) == ("Entering", [])
    script.quote("100.1", after=10)
    assert (script.named(), script.kinds()) == ("Entering", [])
    script.restart()
    script.settle()
    assert script.order(Role.PLANB).qty == 3


def test_what_an_entry_has_bought_is_covered_while_the_service_ends() -> None:
    """Rule 9.5: nothing new, but what leaves things in order."""
    script = entering()
    script.wait(90_000)
    script.trade(Role.ENTRY, "1")
    script.command(Verb.END)
    script.accept("CancelOrder")
    script.settle()
    assert (script.named(), script.live()) == ("Entering", ["SL"])


def test_an_entry_is_not_sent_again_while_the_service_ends() -> None:
    script = entering(working=False)
    script.wait(50)
    script.command(Verb.END)
    script.refuse(Why.NOT_SENT)
    script.wait(1_000)
    assert (script.named(), script.kinds()) == ("Entering", [])


# --- sent again (rule 3.3b) -------------------------------------------------------------------------------------------


@both_sides
@pytest.mark.parametrize(
    ("price", "reason"), [("97.9", Reason.PLANB_PAST_STOP), ("102.1", Reason.PLANB_PAST_TP1), ("100.5", None)]
)
def test_an_entry_is_sent_again_only_while_the_price_has_not_run_away(
    direction: Direction, price: str, reason: Reason | None
) -> None:
    script = entering(direction, working=False)
    script.wait(5)
    script.refuse(Why.NOT_SENT)
    script.last = script.px(price)
    script.wait(1_000)
    assert script.kinds() == ["QueryQuote"]
    script.accept()
    if reason is None:
        assert script.kinds() == ["ENTRY"]
        return
    script.settle()
    assert script.closed.reason is reason


def test_an_entry_proven_absent_is_sent_again_under_the_same_guard() -> None:
    script = entering(working=False)
    script.lose()
    script.last = script.px("97")
    for _ in range(30):
        script.settle()
        if script.state.position is None:
            break
        script.sleep()
    assert script.closed.reason is Reason.PLANB_PAST_STOP


def test_without_a_price_the_entry_waits_at_a_pace() -> None:
    script = entering(working=False)
    script.wait(5)
    script.refuse(Why.NOT_SENT)
    script.wait(1_000)
    for _ in range(5):
        script.lose("QueryQuote")
        assert script.kinds() == []
        script.wait(1_000)
        assert script.kinds() == ["QueryQuote"]
    script.settle()
    assert script.order(Role.ENTRY).live


@both_sides
def test_where_nobody_offers_anything_plan_b_buys_nothing(direction: Direction) -> None:
    """Rule 3.3: an empty side of the book is told as a price of zero."""
    script = entering(direction)
    script.wait(90_000)
    script.accept("CancelOrder")
    assert script.kinds() == ["QueryQuote"]
    request = script.pending.pop()
    quote = replace(make_quote(100, script.now), bid=D(0), ask=D(0))
    script.feed(QuoteSeen(at=script.now, quote=quote, seq=request.seq))
    script.settle()
    assert script.closed.reason is Reason.PLANB_NO_PRICE


# --- the operator's own filters (rule 2.3b) ---------------------------------------------------------------------------

COARSE = replace(RULES, own=OwnFilters(step=D("0.5"), tick=D("0.1"), min_qty=D("0.5"), min_notional=D(40)))


@both_sides
def test_own_filters_shape_the_plan_and_leave_no_unit_bare(direction: Direction) -> None:
    script = entering(direction, rules=COARSE)
    script.fill(Role.ENTRY)
    script.settle()
    assert script.position.plan.qty == D("3.0")
    held = D("2.997") if direction is Direction.LONG else D(3)
    assert sum(script.position.split) == held
    first, second, last = script.position.split
    assert (first, second) == (D("0.5"), D("0.5")) if direction is Direction.LONG else first == second == last
    assert sum(o.qty for o in script.position.orders if o.live and o.is_stop) == held
    assert script.named() == "Protected"


@both_sides
def test_what_own_filters_can_t_shape_is_covered_all_the_same(direction: Direction) -> None:
    """A part of the entry filled: less than one step of QTY_STEP."""
    script = entering(direction, replace(POLICY, entry_mode=EntryMode.LIMIT_ONLY), COARSE)
    script.fill(Role.ENTRY, "0.3")
    script.settle()
    assert script.order(Role.SL).live
    script.wait(90_000)
    script.settle()
    assert sum(script.position.split) in (D("0.299"), D("0.3"))
    assert script.named() == "Protected"


@both_sides
def test_what_own_filters_can_t_shape_is_sold_all_the_same(direction: Direction) -> None:
    script = entering(direction, rules=COARSE)
    script.fill(Role.ENTRY, "0.3")
    script.settle()
    script.command(Verb.FLATTEN)
    script.settle()
    assert abs(script.closed.dust) < RULES.step


def test_a_size_below_the_own_filters_is_refused() -> None:
    script = Script(policy=replace(POLICY, qty=D("0.4")), rules=COARSE)
    script.signal()
    assert script.state.position is None
    assert "size" in script.notes[-1].text


def test_prices_of_a_plan_keep_to_the_own_tick() -> None:
    script = Script(rules=COARSE)
    script.signal(entry=D("100.07"), stop=D("97.96"))
    plan = script.position.plan
    assert (plan.entry, plan.stop) == (D("100.1"), D("97.9"))


def planb_in_doubt(direction: Direction) -> Script:
    """A third of the entry is held under its interim stop; Plan B's answer is lost."""
    script = entering(direction)
    script.fill(Role.ENTRY, "1")
    script.settle()
    timed_out(script)
    while "PLANB" not in script.kinds():
        script.accept() if script.pending else script.quote("100", after=100)
    script.lose("PLANB")
    script.settle()
    assert script.live() == ["SL"]
    return script


@both_sides
def test_what_is_held_is_sold_at_once_beside_an_entry_in_doubt(direction: Direction) -> None:
    """Rules 8.3, 10.6: it sells nothing, so nothing waits for it but the end of the trade."""
    script = planb_in_doubt(direction)
    asked = script.now
    script.command(Verb.FLATTEN)
    script.settle()
    assert script.now == asked
    assert script.order(Role.FLATTEN).end is End.FILLED
    assert script.order(Role.FLATTEN).qty == script.rules.whole(1 * (1 - script.rules.taker_fee * direction.is_long))
    assert script.named() == "Closing"
    script.to_the_end()
    assert script.closed.reason is Reason.FLATTEN
    assert script.closed.unprotected_ms == 0


@both_sides
def test_what_an_entry_in_doubt_has_bought_after_all_is_sold_as_well(direction: Direction) -> None:
    script = planb_in_doubt(direction)
    script.command(Verb.FLATTEN)
    script.settle()
    planb = script.order(Role.PLANB)
    script.place(planb.id, OrderStatus.NEW)
    script.execute(planb.id)
    script.push(planb.id)
    script.accept()
    assert len(script.orders(Role.FLATTEN)) == 2
    script.settle()
    assert script.closed.reason is Reason.FLATTEN
    assert abs(script.closed.dust) <= D("0.003")


@both_sides
@pytest.mark.parametrize("cancel", ["refused", "in doubt"])
def test_an_interim_stop_that_is_jumped_does_not_wait_for_an_entry_that_stays(
    cancel: str, direction: Direction
) -> None:
    """Rules 3.5, 6.5: neither for one in doubt nor for one whose cancel is refused again and again."""
    if cancel == "refused":
        script = entering(direction)
        script.fill(Role.ENTRY, "1")
        script.settle()
    else:
        script = planb_in_doubt(direction)
    stop, jumped_at = script.order(Role.SL), script.now
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.quote("95")
    script.push(stop.id)
    entry = script.order(Role.ENTRY).id
    while not script.orders(Role.FLATTEN):
        request = next(iter(script.pending), None)
        if isinstance(request, CancelOrder) and request.id == entry:
            script.refuse(Why.OTHER)
        elif request is not None:
            script.accept()
        else:
            script.quote("95", after=250)
    assert script.now - jumped_at <= script.policy.watchdog_grace_ms + 1_500
    assert script.order(Role.ENTRY if cancel == "refused" else Role.PLANB).live


def test_a_price_that_can_t_be_had_for_an_interim_stop_is_asked_for_at_a_pace() -> None:
    """Rule 8.7: in a ban a read fails in the moment in which it is asked for."""
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.wait(80)
    script.refuse(kind="SL")
    asked = []
    for _ in range(200):
        if "QueryQuote" in script.kinds():
            asked.append(script.now)
            script.lose("QueryQuote")
        else:
            script.wait(50)
    assert script.order(Role.ENTRY).live
    assert len(asked) > 1
    assert all(later - earlier >= 1_000 for earlier, later in pairwise(asked))


@pytest.mark.parametrize("part", [False, True])
def test_plan_b_does_not_wait_for_the_end_of_the_day(part: bool) -> None:
    """Rules 3.3, 8.7: the order count of the day is full, and a signal is not carried out hours later."""
    script = entering()
    if part:
        script.fill(Role.ENTRY, "1")
        script.settle()
    script.wait(90_000)
    while "PLANB" not in script.kinds():
        script.accept()
    script.refuse(Why.RATE_LIMIT, kind="PLANB", retry_at=script.now + 6 * 3_600_000)
    script.settle()
    if part:
        assert isinstance(script.phase, Protected)
    else:
        assert script.closed.reason is Reason.PLANB_REFUSED


def test_a_price_that_can_t_be_had_shortens_no_pause() -> None:
    """Rule 8.7: an entry that the exchange wants no more of for a minute was sent again a second after a failed read;
    and a refusal that names no time is none of what another has named.
    """
    script = entering(policy=replace(POLICY, layout=Layout.BRACKET))
    script._tell(script.execute(script.order(Role.ENTRY1).id, "0.5"))
    script.wait(2_100)
    while "ENTRY1" not in script.kinds():
        script.accept()
    until = script.now + 60_000
    script.refuse(Why.RATE_LIMIT, "ENTRY1", retry_at=until)
    script.wait(80)
    script.refuse(kind="SL")
    lost = 0
    while "ENTRY1" not in script.kinds():
        asked = script.kinds()
        if "QueryQuote" in asked and lost < 3:
            script.lose("QueryQuote")
            lost += 1
        elif asked:
            script.accept()
        else:
            script.wait(500)
    assert lost
    assert script.now >= until
