from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import (
    POLICY,
    RULES,
    Script,
    awake,
    both_sides,
    entering,
    make_quote,
    protected,
    targets_filled,
    trailing,
    unprotected,
)

from executor.core.book.ledger import sellable
from executor.core.book.levels import away_from_profit
from executor.core.model.events import QuoteSeen, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.intents import Command, PlaceOrder
from executor.core.model.policy import AfterTp1, Layout, Policy, TrailMode
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Reason
from executor.core.model.values import Direction, OrderStatus, OrderType

D = Decimal
NATIVE = replace(POLICY, trail_mode=TrailMode.NATIVE, trail_r=D("0.5"))
SWING = replace(POLICY, trail_mode=TrailMode.SWING, trail_swing_bars=1, trail_swing_buffer=D("0.5"))


@both_sides
def test_the_stop_follows_the_best_price_at_its_distance_and_never_goes_back(direction: Direction) -> None:
    """Rules 5.4, 10.4: R is 2, the distance 1 R."""
    script = trailing(direction)
    script.settle()
    for last, level in (("106", "104"), ("105", "104"), ("107", "105")):
        script.quote(last, after=1_000)
        script.settle()
        assert script.order(Role.TRAIL).stop_price == script.px(level)


def test_the_stop_moves_by_no_less_than_a_step_and_no_more_often_than_its_pace() -> None:
    """Rule 5.4."""
    script = trailing(policy=replace(POLICY, trail_step=D("0.5"), trail_every_ms=5_000))
    script.settle()
    script.quote("106", after=5_000)
    script.settle()
    assert script.order(Role.TRAIL).stop_price == 104
    script.quote("107", after=4_999)
    assert script.kinds() == []
    script.wait(1)
    assert script.kinds() == ["replace TRAIL"]
    script.settle()
    script.quote("107.49", after=5_000)
    assert script.kinds() == []
    script.quote("107.5", after=1)
    assert script.kinds() == ["replace TRAIL"]


@both_sides
def test_a_swing_trail_reads_bars_and_stays_behind_the_last_swing(direction: Direction) -> None:
    """Rule 5.4."""
    script = trailing(direction, SWING)
    assert script.position.trail is not None
    script.last = script.px("104")
    script.settle()
    script.wait(60_000)
    assert script.kinds() == ["QueryKlines"]
    script.settle()
    breakeven = script.leg(3).stop
    assert breakeven is not None
    assert script.position.trail.swing == script.px(99)
    assert script.order(Role.SL).stop_price == breakeven  # 98.5 would be behind it


def test_bars_that_can_not_be_read_move_nothing_and_are_asked_for_again() -> None:
    script = targets_filled(policy=SWING)
    for _ in range(3):
        script.lose("QueryKlines")
        assert "QueryKlines" not in script.kinds()
        script.wait(1_000)
        assert "QueryKlines" in script.kinds()
    assert script.position.trail is not None
    assert script.position.trail.swing is None


@both_sides
def test_a_native_trail_hands_the_leg_to_the_exchange(direction: Direction) -> None:
    """Rule 5.4."""
    script = trailing(direction, NATIVE)
    script.settle()
    script.quote("110", after=2_000)
    script.settle()
    stop = script.order(Role.TRAIL)
    assert (stop.type, stop.price, stop.stop_price) == (OrderType.STOP_LOSS, None, None)
    assert stop.trailing_delta is not None
    assert abs(stop.trailing_delta - 95) <= 20
    script.quote("115", after=5_000)
    assert script.kinds() == []
    script.fill(Role.TRAIL)
    script.settle()
    assert script.closed.reason is Reason.TRAIL


def test_a_native_trail_without_stop_market_orders_has_a_limit() -> None:
    types = tuple(t for t in OrderType if t is not OrderType.STOP_LOSS)
    script = trailing(policy=NATIVE, rules=replace(RULES, order_types=types, trailing_below=(0, 0)))
    script.settle()
    script.quote("110", after=2_000)
    script.settle()
    stop = script.order(Role.TRAIL)
    assert stop.type is OrderType.STOP_LOSS_LIMIT
    assert stop.price is not None


def test_a_native_trail_that_the_exchange_refuses_is_carried_on_by_software() -> None:
    """Rule 5.4: no second attempt, so no stop is taken away for nothing again and again."""
    script = targets_filled(policy=NATIVE)
    assert script.kinds() == ["replace TRAIL"]
    script.refuse(Why.FILTER)
    script.wait(1_000)
    script.settle()
    script.quote("112", after=2_000)
    script.settle()
    stop = script.order(Role.TRAIL)
    assert (stop.trailing_delta, stop.stop_price) == (None, D(111))
    assert sum(1 for o in script.position.orders if o.trailing_delta) == 1


def test_where_the_exchange_does_not_trail_software_does() -> None:
    script = trailing(policy=NATIVE, rules=replace(RULES, trailing_allowed=False))
    script.settle()
    script.quote("110", after=2_000)
    script.settle()
    assert script.order(Role.TRAIL).stop_price == 109


def test_a_native_stop_is_fitted_to_what_the_targets_leave() -> None:
    """Rules 5.2, 5.4."""
    policy = replace(NATIVE, layout=Layout.PLAIN, trail_after_tp2=False)
    script = protected(policy=policy)
    script.quote("101.9", after=1_000)
    script.settle()
    assert (script.order(Role.TRAIL).trailing_delta, script.order(Role.TRAIL).qty) == (100, D("2.997"))
    script.wait(1_000)
    assert script.kinds() == []
    script.fill(Role.TP1)
    script.settle()
    assert script.order(Role.TRAIL).qty == D("1.998")


def natively_trailed(direction: Direction, rules: SymbolRules = RULES) -> tuple[Script, Decimal]:
    """The exchange trails the leg; the best price was 115, the last one is 114.5. Where its stop stands."""
    script = trailing(direction, NATIVE, rules)
    script.settle()
    script.quote("110", after=2_000)
    script.settle()
    delta = script.order(Role.TRAIL).trailing_delta
    assert delta is not None
    best = script.px(115)
    script.quote("115", after=5_000)
    script.quote("114.5", after=500)
    assert script.kinds() == []
    level = best - direction.sign * best * delta / 10_000
    return script, away_from_profit(level, RULES.tick, direction)


@both_sides
def test_a_native_trail_that_the_exchange_ends_goes_on_from_where_it_stood(direction: Direction) -> None:
    """Rules 6.6, 10.4: placed anew from the price of now it would start behind that."""
    script, level = natively_trailed(direction)
    script.vanish(Role.TRAIL, OrderStatus.EXPIRED)
    assert script.leg(3).watched == level
    script.settle()
    stop = script.order(Role.TRAIL)
    assert (stop.trailing_delta, stop.stop_price, script.leg(3).stop) == (None, level, level)
    script.quote("114.8", after=2_000)
    script.settle()
    assert script.order(Role.TRAIL) == stop
    script.quote("116", after=2_000)
    script.settle()
    delta = script.order(Role.TRAIL).trailing_delta
    assert delta  # a new best price: the exchange trails on
    script.vanish(Role.TRAIL, OrderStatus.EXPIRED)
    script.wait(1_000)
    script.settle()
    assert script.order(Role.TRAIL).trailing_delta == delta  # at the best price it starts where it stood
    assert [bool(o.trailing_delta) for o in script.orders(Role.TRAIL)] == [True, False, True, True]
    assert script.order(Role.TRAIL).live


@both_sides
def test_while_a_native_trail_is_away_software_watches_where_it_would_stand(direction: Direction) -> None:
    """Rules 6.4, 6.6: the pauses between its being put back grow; prices go on."""
    script, level = natively_trailed(direction)
    script.vanish(Role.TRAIL, OrderStatus.EXPIRED)
    script.settle()
    script.vanish(Role.TRAIL, OrderStatus.EXPIRED)
    assert (script.kinds(), script.leg(3).watched) == ([], level)
    script.feed(QuoteSeen(at=script.now, quote=make_quote(level, script.now)))
    script.wait(NATIVE.watchdog_grace_ms)
    script.settle()
    assert any(isinstance(request, PlaceOrder) and "FLATTEN" in request.order.id for request in script.sent)
    assert script.closed.reason is Reason.TRAIL


def test_where_no_stop_is_taken_where_a_native_trail_stood_that_level_is_watched() -> None:
    """Rule 6.4b."""
    script, level = natively_trailed(Direction.LONG)
    script.vanish(Role.TRAIL, OrderStatus.EXPIRED)
    script.refuse(Why.FILTER)
    assert script.leg(3).watched == level
    script.wait(NATIVE.exits_retry_ms)
    script.settle()
    assert script.order(Role.TRAIL).trailing_delta is None


@pytest.mark.parametrize(("last", "stop"), [("103", None), ("102.8", "101.97"), ("101.9", None)])
def test_a_native_stop_that_is_fitted_does_not_go_back(last: str, stop: str | None) -> None:
    """Rule 10.4: a trail that would start behind where it has come to becomes a stop there; one that the price has
    come to is at work.
    """
    policy = replace(NATIVE, layout=Layout.PLAIN, trail_after_tp2=False, after_tp1=AfterTp1.KEEP)
    script = protected(policy=policy)
    script.quote("101.9", after=1_000)
    script.settle()
    native = script.order(Role.TRAIL)
    assert native.trailing_delta == 100
    script.quote("103", after=1_000)
    script.quote(last, after=1_000)
    script.fill(Role.TP1)
    script.settle()
    fitted = script.order(Role.TRAIL)
    assert fitted.stop_price == (None if stop is None else D(stop))
    assert fitted.qty == (native.qty if last == "101.9" else D("1.998"))
    assert (fitted.trailing_delta is None) is (stop is not None)


def test_a_stop_is_not_fitted_to_what_no_stop_could_carry() -> None:
    """Rule 3.6: 0.05 are worth selling at the price, and not at the stop's limit."""
    script = protected(policy=replace(POLICY, layout=Layout.PLAIN, split=(D(1), D(1), D(0)), after_tp1=AfterTp1.KEEP))
    script.quote("104", after=2_000)
    script.fill(Role.TP1)
    script.settle()
    script.wait(1_000)
    script.fill(Role.TP2, "1.449")
    assert script.kinds() == []
    script.wait(1_000)
    assert script.kinds() == []


def test_a_stop_that_triggered_and_did_not_fill_is_not_waited_for_though_the_price_came_back() -> None:
    """Rule 6.5."""
    script = protected()
    stop = script.order(Role.SL)
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.push(stop.id)
    script.quote("99", after=1_000)
    script.wait(2_000)
    assert script.kinds() == ["CancelOrder"]


def test_a_trade_whose_targets_are_gone_trails_what_is_left() -> None:
    script = trailing()
    script.settle()
    only = replace(script.position, legs=(script.leg(3),), trail=None)
    script.state = awake(replace(script.state, position=only))
    script.command(Verb.PAUSE)
    assert script.position.trail is not None


@pytest.mark.parametrize("after_tp2", [True, False])
def test_trailing_starts_after_the_targets_or_at_once(after_tp2: bool) -> None:
    """Rule 5.3."""
    script = protected(policy=replace(POLICY, trail_after_tp2=after_tp2))
    script.quote("101", after=1_000)
    assert (script.position.trail is None) is after_tp2


def test_trailing_waits_for_a_price() -> None:
    script = protected()
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.state = replace(script.state, market=replace(script.state.market, quote=None))
    script.fill(Role.TP2)
    assert "QueryQuote" in script.kinds()
    script.settle()
    assert script.position.trail is not None


def test_breakeven_waits_until_the_price_leaves_room_for_it() -> None:
    """Rule 5.2: a stop past the market would be refused."""
    script = protected()
    script.quote("100.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    assert script.order(Role.SL2).stop_price == 98
    script.quote("101", after=1_000)
    script.settle()
    script.wait(1_000)
    script.settle()
    assert script.order(Role.SL2).stop_price == D("100.21")


def test_a_list_whose_stop_has_triggered_is_not_moved() -> None:
    script = protected()
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1, "0.5")
    stop = script.order(Role.SL2)
    script.book[stop.id] = replace(script.book[stop.id], working=True)
    script.push(stop.id)
    script.command(Verb.MOVE_STOP, "99")
    assert "CancelList" not in script.kinds()


def test_a_target_at_work_is_not_taken_away_to_move_its_stop() -> None:
    """Rule 5.6."""
    script = protected()
    script.quote("102", after=1_000)
    script.trade(Role.TP1, "0.5")
    script.push(script.order(Role.TP1).id)
    script.command(Verb.MOVE_STOP, "99")
    script.settle()
    script.wait(1_000)
    script.settle()
    assert script.order(Role.TP1).live
    assert script.order(Role.SL2).stop_price == 99


def policies() -> list[Policy]:
    return [replace(POLICY, trail_mode=mode) for mode in TrailMode]


@pytest.mark.parametrize("policy", policies())
def test_a_trade_ends_the_same_way_whatever_trails_it(policy: Policy) -> None:
    script = trailing(policy=policy)
    script.settle()
    script.command(Verb.FLATTEN)
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_a_stop_that_filled_while_it_was_being_replaced_is_cut_at_once() -> None:
    """Rules 5.5, 10.1: the new one was sized before the fill was known."""
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.settle()
    old = script.order(Role.SL).id
    script.fill(Role.ENTRY, "1")
    script.wait(1_000)
    assert script.kinds() == ["replace SL"]
    script.execute(old, D("0.4"))
    script.accept()
    assert script.order(Role.SL).qty == D("1.598")
    assert "replace SL" in script.kinds()
    script.settle()
    assert script.closed.reason is Reason.SL
    assert script.closed.dust == 0


def test_a_stop_whose_move_is_in_doubt_is_left_alone_until_it_is_known() -> None:
    """Rule 8.3: a stop being replaced, its answer lost, is left alone until it is known."""
    script = trailing()
    script.settle()
    script.quote("106", after=2_000)
    script.lose(arrived=True)
    script.quote("108", after=2_000)
    assert script.kinds() == ["QueryOrder", "QueryOrder"]


@pytest.mark.parametrize("rules", [RULES, replace(RULES, cancel_replace_allowed=False)])
@both_sides
def test_the_stop_beside_a_target_that_fills_in_many_parts_follows_at_a_pace(
    direction: Direction, rules: SymbolRules
) -> None:
    """Rules 4.3, 5.2, 8.7: PLAIN's stop of the whole; once the target is done it follows at once."""
    script = protected(direction, replace(POLICY, layout=Layout.PLAIN), rules)
    script.wait(60_000)
    before = len(script.sent)
    for _ in range(90):
        script.now += 50
        script.fill(Role.TP1, "0.01")
        script.settle()
    sent = [request for request in script.sent[before:] if isinstance(request, Command)]
    assert len(sent) <= 5 * (1 if rules.cancel_replace_allowed else 2)
    script.wait(1_000)
    script.settle()
    assert script.order(Role.SL).qty == sellable(script.position, script.rules)
    script.fill(Role.TP1, "0.01")
    script.fill(Role.TP1)
    script.settle()
    assert script.order(Role.SL).qty == sellable(script.position, script.rules)
    assert script.named() == "Protected"


def test_a_list_is_not_cancelled_for_a_stop_that_percent_price_would_refuse() -> None:
    """Rules 5.5, 6.4b: the price has run so far that no stop at the new level is taken; what stands is better."""
    script = protected()
    script.rules = replace(script.rules, ask_down=D("0.985"))
    script.quote("101.9", after=1_000)
    script.command(Verb.MOVE_STOP, "99")
    script.settle()
    assert "CancelList" not in [type(r).__name__ for r in script.sent]
    assert script.leg(1).due == 99
    script.quote("100.4", after=1_000)
    assert "CancelList" in script.kinds()


@both_sides
def test_where_a_filter_takes_no_limit_the_stop_goes_out_without_one(direction: Direction) -> None:
    """Rule 8.7: PERCENT_PRICE judges limits, and a STOP_LOSS has none."""
    script = unprotected(direction, policy=replace(POLICY, layout=Layout.PLAIN))
    for _ in range(2):
        script.refuse(Why.FILTER, "SL")
        script.wait(1_000)
    stop = script.order(Role.SL)
    assert (stop.type, stop.price, stop.stop_price) == (OrderType.STOP_LOSS, None, script.px(98))
    script.settle()
    assert script.named() == "Protected"
    script.quote("101", after=1_000)
    script.command(Verb.MOVE_STOP, 99)
    for _ in range(2):
        assert script.order(Role.SL).type is OrderType.STOP_LOSS_LIMIT
        script.refuse_whole(Why.FILTER)
        assert script.named() == "Protected"
        script.wait(4_000)
    script.settle()
    assert (script.order(Role.SL).type, script.order(Role.SL).stop_price) == (OrderType.STOP_LOSS, script.px(99))
    assert script.leg(0).stop == script.px(99)


def test_a_pair_whose_target_a_filter_refuses_leaves_its_stop_with_a_limit() -> None:
    script = unprotected(policy=replace(POLICY, split=(D(1), D(0), D(0))))
    for _ in range(2):
        script.refuse(Why.FILTER, "OCO1")
        script.wait(1_000)
    assert script.order(Role.SL1).type is OrderType.STOP_LOSS_LIMIT
    script.settle()
    assert script.live() == ["SL1"]


@both_sides
@pytest.mark.parametrize("replaced", [True, False])
def test_a_stop_that_is_for_more_than_a_rest_no_order_takes_is_cancelled(
    direction: Direction, *, replaced: bool
) -> None:
    """Rules 5.5, 6.6b, 10.1: that the one in whose place it came had sold nearly all is told once it stands. Its rest
    is covered by another leg's stop.
    """
    script = protected(direction, rules=replace(RULES, cancel_replace_allowed=replaced))
    script.quote("101.5", after=1_000)
    old = script.order(Role.SL).id
    script.command(Verb.MOVE_STOP, "99.5")
    placing = "replace SL" if replaced else "SL"
    while placing not in script.kinds():
        script.accept()
    script.book[old] = replace(script.book[old], cum_qty=D("0.96"), cum_quote=D(94))
    script.accept(placing)
    script.wait(20)
    script.push(old)
    script.settle()
    stops = [o for o in script.position.orders if o.live and o.is_stop]
    assert sorted(o.role for o in stops) == [Role.SL1, Role.SL2]
    assert sum(o.leaves for o in stops) == sum(script.position.split) - D("0.96")
    assert (script.state.halted, script.named()) == ("", "Protected")
