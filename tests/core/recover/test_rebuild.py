from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.build import (
    DONE,
    POLICY,
    RULES,
    Script,
    both_sides,
    entering,
    make_report,
    protected,
    trailing,
)

from executor.core.model.facts import Fill, OrderReport
from executor.core.model.ids import Role
from executor.core.model.intents import Level
from executor.core.model.policy import EntryMode, Layout, Policy
from executor.core.model.state import Position, Reason, State, Unprotected
from executor.core.model.values import ZERO, Direction, OrderStatus
from executor.core.recover.rebuild import NotRebuilt, Restored, restore
from executor.core.transition import empty

D = Decimal
PLAIN = replace(POLICY, layout=Layout.PLAIN)


def restored(script: Script, policy: Policy | None = None, **changes: Any) -> Restored:
    """What is made of the exchange when the state is lost."""
    known = tuple(script.book.values())
    found: dict[str, Any] = {
        "open_orders": [r for r in known if r.status not in DONE],
        "history": known,
        "fills": {r.id: r.fills for r in known},
    }
    return restore(
        empty("LTCUSDT"), **{**found, **changes}, policy=policy or script.policy, rules=RULES, now=script.now
    )


def rebuilt(script: Script, **changes: Any) -> Position:
    position = restored(script, **changes).state.position
    assert position is not None
    return position


def refused(script: Script, policy: Policy | None = None, **changes: Any) -> str:
    """Why there is no trade to be made of it; entries stay halted."""
    made = restored(script, policy, **changes)
    assert made.state.position is None
    assert [n.event for n in made.notes] == ["not_rebuilt"]
    assert made.state.halted == made.notes[0].text
    return made.state.halted


def edited(script: Script, role: Role, **changes: Any) -> None:
    client_id = script.order(role).id
    script.book[client_id] = replace(script.book[client_id], **changes)


def test_nothing_on_the_exchange_is_no_trade() -> None:
    made = restored(Script())
    assert (made.state.position, made.state.halted, made.notes) == (None, "", ())


def test_orders_of_others_are_no_trade() -> None:
    script = protected()
    strangers = [replace(r, id=f"web_{i}") for i, r in enumerate(script.book.values())]
    assert restored(script, open_orders=strangers, history=strangers).state.position is None


@both_sides
@pytest.mark.parametrize("policy", [POLICY, PLAIN])
def test_a_trade_is_rebuilt_as_it_was(direction: Direction, policy: Policy) -> None:
    """Rule 9.3: from the ids, the orders and the fills alone."""
    script = protected(direction, policy)
    was, made = script.position, rebuilt(script)
    assert (made.trade, made.split, made.revs, made.entered) == (was.trade, was.split, was.revs, was.entered)
    assert {(o.id, o.leg, o.list_id, o.phase) for o in made.orders} == {
        (o.id, o.leg, o.list_id, o.phase) for o in was.orders
    }
    assert [(leg.n, leg.qty, leg.target, leg.stop) for leg in made.legs] == sorted(
        (leg.n, leg.qty, leg.target, leg.stop) for leg in was.legs
    )
    assert (made.plan.entry, made.plan.stop, made.plan.targets) == (was.plan.entry, was.plan.stop, was.plan.targets)
    assert isinstance(made.phase, Unprotected)


@both_sides
def test_a_rebuilt_trade_is_carried_to_its_end(direction: Direction) -> None:
    script = protected(direction)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.state = restored(script).state
    assert script.position.target_hit
    script.wait(1_000)
    script.settle()
    script.quote("104.1", after=1_000)
    script.fill(Role.TP2)
    script.settle()
    script.quote("103", after=1_000)
    script.fill(Role.TRAIL)
    script.settle()
    assert script.state.position is None
    assert all(r.status in DONE for r in script.book.values())


def test_a_trade_that_trails_is_rebuilt_from_its_one_stop() -> None:
    script = trailing()
    script.sleep()
    script.settle()
    made = rebuilt(script)
    assert [(leg.n, leg.target) for leg in made.legs] == [(3, None)]
    assert made.plan.stop == 98


def test_a_market_entry_is_rebuilt_at_its_average() -> None:
    script = entering(policy=replace(POLICY, entry_mode=EntryMode.MARKET_ONLY), working=False)
    script.settle()
    assert rebuilt(script).plan.entry == 100


def test_a_leg_whose_target_is_at_work_keeps_the_level_of_the_stop_that_stood_beside_it() -> None:
    """Rule 5.6: the exchange removed the stop; software watches its level."""
    script = protected()
    script.quote("102", after=1_000)
    script.fill(Role.TP1, "0.5")
    made = rebuilt(script)
    leg = made.legs[0]
    assert (leg.n, leg.qty, leg.target, leg.stop) == (1, D("0.999"), D(102), D(98))


def test_a_trade_with_one_target_is_rebuilt_with_one() -> None:
    script = Script()
    script.signal(targets=(D(102),))
    script.settle()
    script.fill(Role.ENTRY)
    script.settle()
    assert rebuilt(script).plan.targets == (D(102),)


def test_of_two_reports_of_an_order_the_one_that_knows_more_counts() -> None:
    script = protected()
    stale = replace(script.book[script.order(Role.TP1).id])
    script.quote("102", after=1_000)
    script.fill(Role.TP1)
    open_orders = [*(r for r in script.book.values() if r.status not in DONE), stale]
    made = rebuilt(script, open_orders=open_orders)
    assert made.target_hit
    assert [leg.n for leg in made.legs] == [2, 3]


def test_the_tale_is_told() -> None:
    made = restored(protected())
    (note,) = made.notes
    assert (note.level, note.event) == (Level.ALERT, "trade_rebuilt")
    assert "rebuilt from 6 orders" in note.text


# --- what can't be rebuilt is not guessed -----------------------------------------------------------------------------


def test_ids_that_were_never_given_are_left_alone() -> None:
    script = protected()
    strange = replace(script.book[script.order(Role.SL).id], id="EX_strange")
    assert refused(script, open_orders=[strange]).startswith("open orders with ids that Executor never gave: EX_str")


def test_an_ended_order_with_a_strange_id_is_no_ones() -> None:
    script = protected()
    strange = replace(script.book[script.order(Role.SL).id], id="EX_strange", status=OrderStatus.CANCELED)
    assert "an id that Executor never gave: EX_strange" in refused(script, history=[*script.book.values(), strange])


def test_two_trades_are_not_guessed_apart() -> None:
    script = protected()
    other = replace(script.book[script.order(Role.SL).id], id="EX_1_SL_1")
    text = refused(script, open_orders=[*script.book.values(), other])
    assert text.startswith("open orders of 2 trades: 1, 1700000000000")
    assert "executor flatten" in text


def test_fills_that_do_not_add_up_are_not_guessed() -> None:
    script = protected()
    assert "its trades do not add up" in refused(script, fills={script.order(Role.ENTRY).id: ()})


def test_a_trade_without_its_entry_is_not_guessed() -> None:
    script = protected()
    entry = script.order(Role.ENTRY).id
    history = [r for r in script.book.values() if r.id != entry]
    assert "its entry is not in the order history" in refused(script, history=history)


def test_an_entry_that_still_works_has_no_plan_to_be_rebuilt() -> None:
    assert "its entry is still open" in refused(entering())


def test_an_entry_that_never_filled_has_no_exits() -> None:
    script = protected()
    edited(script, Role.ENTRY, status=OrderStatus.CANCELED, cum_qty=D(0), cum_quote=D(0), fills=())
    assert "its entry never filled" in refused(script)


def test_a_trade_without_a_stop_price_is_not_guessed() -> None:
    script = protected(policy=PLAIN)
    edited(script, Role.SL, stop_price=D(0))
    assert "has no stop with a price" in refused(script)
    script = protected()
    edited(script, Role.SL, stop_price=D(0))
    assert "without a stop price" in refused(script)


def test_a_stop_that_is_not_the_first_one_is_not_taken_for_it() -> None:
    script = protected()
    for role in (Role.SL, Role.SL1, Role.SL2):
        edited(script, role, stop_price=D("100.5"))
    assert "its first stop is not in the order history" in refused(script)


@both_sides
@pytest.mark.parametrize("policy", [POLICY, PLAIN])
def test_a_stop_that_was_sent_again_and_came_in_after_all_leaves_one_of_the_two(
    direction: Direction, policy: Policy
) -> None:
    """Rules 8.3b, 9.3, 10.1: two exits of one leg and size are not left to sell twice until somebody looks."""
    script = protected(direction, policy)
    stop = script.book[script.order(Role.SL).id]
    again = replace(stop, id=f"EX_{script.position.trade}_SL_20", exchange_id=99)
    script.book[again.id] = again
    script.state = restored(script).state
    assert [(leg.n, leg.stop) for leg in script.position.legs if leg.n in (0, 3)] == [
        (stop_leg(policy), stop.stop_price)
    ]
    script.sleep()
    script.settle()
    assert (script.book[stop.id].status, script.book[again.id].status) == (OrderStatus.CANCELED, OrderStatus.NEW)
    assert "surplus_exit" in script.told()


def stop_leg(policy: Policy) -> int:
    return 0 if policy.layout is Layout.PLAIN else 3


@pytest.mark.parametrize("filled", [ZERO, D("0.010")])
def test_a_leg_with_two_exits_that_are_not_alike_is_not_guessed(filled: Decimal) -> None:
    script = protected()
    stop = script.book[script.order(Role.SL).id]
    fill = Fill(trade_id=77, price=D(100), qty=filled, fee=ZERO, fee_asset="USDT", time=script.now)
    again = replace(stop, id=f"EX_{script.position.trade}_SL_20", cum_qty=filled, fills=(fill,) if filled else ())
    if not filled:
        again = replace(again, qty=stop.qty - D("0.010"))
    known = [*script.book.values(), again]
    fills = {report.id: report.fills for report in known}
    assert "leg 3 has more than one exit" in refused(script, open_orders=known, fills=fills)


def test_a_target_beside_another_exit_of_its_leg_is_not_guessed() -> None:
    script = protected(policy=PLAIN)
    target = script.book[script.order(Role.TP1).id]
    again = replace(target, id=f"EX_{script.position.trade}_TP1_20")
    assert "leg 1 has more than one exit" in refused(script, open_orders=[*script.book.values(), again])


def test_a_market_exit_at_work_is_not_guessed() -> None:
    script = protected()
    sale = make_report(replace(script.order(Role.SL), id=f"EX_{script.position.trade}_FLATTEN_20"))
    text = refused(script, open_orders=[sale], history=[*map(ended, script.book.values())])
    assert "leg 0 is left by EX_1700000000000_FLATTEN_20, without a stop price" in text


def ended(report: OrderReport) -> OrderReport:
    return report if report.status in DONE else replace(report, status=OrderStatus.CANCELED)


def test_another_layout_is_named() -> None:
    assert "was placed with EXIT_LAYOUT=OCO; start with that to go on" in refused(protected(), PLAIN)
    assert "was placed with EXIT_LAYOUT=PLAIN" in refused(protected(policy=PLAIN), POLICY)


def test_exits_that_do_not_add_up_to_what_is_held_are_not_guessed() -> None:
    script = protected()
    script.vanish(Role.SL)
    assert "holds 2.997 LTC, its exits would sell 1.998" in refused(script)


@both_sides
def test_targets_that_add_up_without_a_stop_are_no_trade_to_go_on_with(direction: Direction) -> None:
    """Rule 9.3: without a third leg PLAIN's targets alone sell all that is held; nothing would watch the price."""
    script = protected(direction, replace(PLAIN, split=(D(1), D(1), D(0))))
    assert rebuilt(script).legs[0].stop is not None
    script.vanish(Role.SL)
    assert "has targets but NO STOP" in refused(script)


def test_a_position_without_any_order_is_told_loudly() -> None:
    """Rule 10.2."""
    script = protected()
    text = refused(script, open_orders=[], history=[*map(ended, script.book.values())])
    assert text.startswith("trade 1700000000000 holds 2.997 LTC and has no order: it has NO STOP. Found: no open order")


def test_a_position_larger_than_one_market_order_is_told_as_loudly() -> None:
    script = protected()
    script.rules = replace(RULES, market_max_qty=D(2))
    text = refused(script, open_orders=[], history=[*map(ended, script.book.values())])
    assert text.startswith("trade 1700000000000 holds 2.997 LTC and has no order: it has NO STOP. Found: no open order")


def test_a_position_without_any_order_is_told_where_the_exchange_does_not_say_what_it_cost() -> None:
    script = protected()
    old = [replace(ended(each), cum_quote=D(0)) for each in script.book.values()]
    assert "holds 2.997 LTC and has no order: it has NO STOP" in refused(script, open_orders=[], history=old)


def test_a_finished_trade_is_no_trade() -> None:
    script = protected()
    script.quote("98", after=1_000)
    for role in (Role.SL1, Role.SL2, Role.SL):
        script.fill(role)
    script.settle()
    assert restored(script).state.position is None
    without_entry = [r for r in script.book.values() if "ENTRY" not in r.id]
    assert restored(script, history=without_entry).state.halted == ""


def test_why_it_was_not_rebuilt_names_what_was_found_and_what_resolves_it() -> None:
    text = str(NotRebuilt("Two trades", ("A", "B"), ("executor flatten", "executor forget")))
    assert text == "Two trades. Found: A; B. To resolve: executor flatten, or executor forget"


# --- what the state knows already -------------------------------------------------------------------------------------


def restored_onto(state: State, script: Script) -> State:
    known = tuple(script.book.values())
    return restore(
        state,
        open_orders=[r for r in known if r.status not in DONE],
        history=known,
        fills={r.id: r.fills for r in known},
        policy=script.policy,
        rules=RULES,
        now=script.now,
    ).state


def test_what_is_to_be_ignored_halts_nothing_when_the_newest_state_is_lost() -> None:
    script = protected()
    script.vanish(Role.SL)
    assert "its exits would sell" in restored_onto(empty("LTCUSDT"), script).halted
    forgotten = replace(empty("LTCUSDT"), ignored=tuple(script.book))
    assert restored_onto(forgotten, script) == forgotten


def test_what_a_closed_trade_left_behind_is_no_riddle() -> None:
    """Closed as external: somebody else has sold what it held."""
    script = protected()
    for role in (Role.SL, Role.SL1, Role.SL2):
        script.vanish(role)
    script.settle()
    for role in (Role.SL, Role.SL1, Role.SL2):
        if script.state.position is not None and script.orders(role)[-1].live:
            script.vanish(role)
    for _ in range(20):
        script.settle()
        script.now += 1_000
        script.quote("100")
    assert script.closed.reason is Reason.EXTERNAL
    assert "has no order: it has NO STOP" in restored_onto(empty("LTCUSDT"), script).halted
    assert restored_onto(script.state, script).halted == script.state.halted
