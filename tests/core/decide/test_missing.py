"""What of a position is still there: a part that is gone takes its share and no more (rules 6.6, 6.6b)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, Script, awake, both_sides, closing, entering, protected, unprotected

from executor.core.model.events import Verb
from executor.core.model.facts import Balance, Why
from executor.core.model.ids import Role
from executor.core.model.intents import PlaceOco, PlaceOrder, QueryBalances
from executor.core.model.policy import Layout, Policy
from executor.core.model.state import Closing, Entering, OrderPhase, Reason
from executor.core.model.values import Direction, OrderStatus

D = Decimal
PLAIN = replace(POLICY, layout=Layout.PLAIN)


def standing(policy: Policy = POLICY) -> Script:
    """The exits stand, for so long that the account shows what the entry has bought."""
    script = protected(policy=policy)
    script.wait(10_000)
    return script


def sold_by_hand(left: str, *, role: Role = Role.SL) -> Script:
    """The lone stop was cancelled in the app and a part of the position sold; the stop put back is refused for it."""
    script = standing()
    script.balances["LTC"] = Balance(D(left))
    script.vanish(role)
    script.refuse(Why.INSUFFICIENT_BALANCE, str(role))
    return script


def judged(script: Script) -> Script:
    """The balance is read twice, with a look at what stands in between."""
    script.wait(2_000)
    script.settle()
    first = script.now
    while script.now < first + 2_000:
        script.sleep()
        script.settle()
    return script


def free(script: Script, total: str, locked: str) -> None:
    script.balances["LTC"] = Balance(D(total) - D(locked), D(locked))


def test_where_a_part_was_sold_by_hand_the_rest_stays_covered() -> None:
    """Rule 6.6b: of 2.997 there are 2.5 left, 1.998 of them behind the two lists."""
    script = sold_by_hand("2.5")
    free(script, "2.5", "1.998")
    judged(script)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert script.order(Role.SL).qty == D("0.502")
    assert script.told().count("part_missing") == 1
    assert script.named() == "Protected"
    script.fill(Role.SL1)
    script.fill(Role.SL2)
    script.fill(Role.SL)
    script.settle()
    assert script.closed.reason is Reason.SL
    assert script.closed.dust == 0


def test_a_crumb_that_is_gone_costs_a_crumb() -> None:
    """Rule 6.6b: one step of 2.997."""
    script = sold_by_hand("2.996")
    free(script, "2.996", "1.998")
    judged(script)
    assert script.order(Role.SL).qty == D("0.998")
    assert script.named() == "Protected"


def test_before_a_part_is_called_gone_every_exit_is_looked_at_and_the_balance_read_again() -> None:
    """Rule 8.6: a fill that nobody has told of looks just the same."""
    script = sold_by_hand("1.998")
    free(script, "1.998", "0.999")
    target = script.trade(Role.TP1)
    script.wait(1_000)
    script.accept("QueryBalances")
    assert "QueryOrder" in script.kinds()
    script.settle()
    assert target.id in {o.id for o in script.position.orders if o.phase is OrderPhase.CLOSED}
    script.wait(2_000)
    script.settle()
    assert "part_missing" not in script.told()
    assert script.order(Role.SL).qty == D("0.999")


def asked_once(script: Script) -> None:
    """The account was seen short for the first time, and the exits looked at since."""
    script.wait(2_000)
    script.settle()
    assert script.position.short_at == script.now


def test_a_fill_told_of_by_the_look_explains_what_was_missing_at_once() -> None:
    """The stop is placed again without a second balance."""
    script = sold_by_hand("1.998")
    free(script, "1.998", "0.999")
    script.trade(Role.TP1)
    script.wait(2_000)
    script.accept("QueryBalances")
    script.settle()
    assert script.order(Role.SL).phase is OrderPhase.WORKING
    assert script.position.gone == 0


def test_what_the_account_shows_again_the_second_time_was_never_missing() -> None:
    """Rule 8.6."""
    script = sold_by_hand("2.5")
    free(script, "2.5", "1.998")
    asked_once(script)
    free(script, "2.997", "1.998")
    script.wait(2_000)
    script.settle()
    assert (script.position.short_at, script.position.gone) == (0, D(0))
    assert script.order(Role.SL).qty == D("0.999")


def test_what_fills_after_the_looks_is_not_missing() -> None:
    """Rule 8.6: the account shows it the second time, and nobody has told of it yet."""
    script = sold_by_hand("2.5")
    free(script, "2.5", "1.998")
    asked_once(script)
    script.wait(2_000)
    while "QueryOrder" in script.kinds():
        script.accept("QueryOrder")
    target = script.trade(Role.TP1, "0.3")
    free(script, "2.2", "1.698")
    script.accept("QueryBalances")
    assert script.position.gone == D("0.497")
    assert script.order(Role.SL).qty == D("0.502")
    script.push(target.id)
    assert script.position.gone == D("0.497")
    assert sum((leg.qty for leg in script.position.legs), D(0)) == D("2.5")


def until(script: Script, ms: int) -> None:
    """Everything is answered as it comes, for so long."""
    end = script.now + ms
    while script.state.position is not None and (script.pending or script.now < end):
        script.accept() if script.pending else script.wait(min((script.next_timer() or end), end) - script.now)


@pytest.mark.parametrize("why", [Why.INSUFFICIENT_BALANCE, Why.OTHER])
def test_what_the_entry_has_bought_and_the_account_shows_late_is_covered_all_the_same(why: Why) -> None:
    """Rule 8.8: how late reads may be is not documented. The position was called sold after four seconds, and left."""
    script = unprotected()
    script.balances["LTC"] = Balance(D("0.01"))
    for role in ("OCO1", "OCO2", "SL"):
        script.refuse(why, role)
    until(script, 8_000)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert 1_000 <= script.position.exposure.longest <= 1_500
    assert not {"sold_elsewhere", "part_missing", "failsafe"} & set(script.told())


@pytest.mark.parametrize("why", [Why.INSUFFICIENT_BALANCE, Why.OTHER])
def test_what_is_not_there_is_given_up_ten_seconds_after_the_entry_s_fill(why: Why) -> None:
    """Rules 4.7, 8.7: it is asked for again until then, and that is counted."""
    script = unprotected()
    script.balances["LTC"] = Balance(D("0.01"))
    filled_at = script.now
    while script.state.position is not None:
        if isinstance(request := next(iter(script.pending), None), PlaceOrder | PlaceOco):
            script.refuse(why)
        elif request is not None:
            script.accept()
        else:
            script.sleep()
    assert script.closed.reason is Reason.EXTERNAL
    assert 10_000 <= script.now - filled_at < 20_000


def test_a_part_that_is_not_there_is_believed_when_the_exchange_has_said_so_twice() -> None:
    """Rule 6.6b: within seconds of the entry's fill the rest is covered as well."""
    script = unprotected()
    script.accept("OCO1")
    script.accept("OCO2")
    free(script, "2.9", "1.998")
    for _ in range(2):
        while "SL" not in script.kinds():
            script.accept() if script.pending else script.sleep()
        script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    until(script, 4_000)
    assert script.order(Role.SL).qty == D("0.902")
    assert script.named() == "Protected"


def test_what_plan_b_lacked_is_not_missing_of_what_the_entry_has_bought() -> None:
    """Rule 8.8: its refusal counted as the first of the two, and a position that was there was left bare for looks."""
    script = entering()
    script.fill(Role.ENTRY, "2")
    while script.kinds() != ["PLANB"]:
        script.accept() if script.pending else script.sleep()
    script.wait(50)
    script.refuse(Why.INSUFFICIENT_BALANCE, "PLANB")
    script.balances["LTC"] = Balance(D("0.5"))
    script.wait(50)
    script.accept("CancelOrder")
    for role in ("OCO1", "OCO2", "SL"):
        script.refuse(Why.INSUFFICIENT_BALANCE, role)
    until(script, 1_500)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert script.position.gone == 0


def test_a_balance_that_was_asked_for_before_the_refusal_tells_nothing_of_it() -> None:
    """Rule 8.6: however late it arrives."""
    script = sold_by_hand("2.5")
    script.wait(2_000)
    script.wait(100)
    script.vanish(Role.TP1)
    free(script, "0.01", "0")
    script.accept("QueryBalances")
    assert script.position.short_at == 0
    assert QueryBalances in {type(r) for r in script.pending}


def test_nothing_is_believed_while_a_request_is_on_its_way() -> None:
    """Rule 8.2: the other leg's stop was moved meanwhile, and nobody knows yet how that ended."""
    script = sold_by_hand("2.5")
    free(script, "2.5", "1.998")
    asked_once(script)
    script.wait(2_000)
    while "QueryOrder" in script.kinds():
        script.accept("QueryOrder")
    script.unchecked = True
    orders = tuple(replace(o, check=True) if o.role is Role.TP1 else o for o in script.position.orders)
    script.state = replace(script.state, position=replace(script.position, orders=orders))
    script.accept("QueryBalances")
    assert script.position.gone == 0


def test_nothing_is_judged_while_an_exit_is_in_doubt() -> None:
    script = sold_by_hand("2.5")
    free(script, "2.5", "1.998")
    script.wait(1_000)
    script.accept("QueryBalances")
    while "QueryOrder" in script.kinds():
        script.lose("QueryOrder")
    script.wait(2_000)
    assert QueryBalances not in {type(r) for r in script.pending}


def test_an_exit_whose_cancel_was_refused_and_that_stands_holds_nothing_up() -> None:
    """It waits for its next cancel for up to a minute: a leg that is refused for lack of balance need not (8.7)."""
    for looked in (False, True):
        script = sold_by_hand("2.5")
        free(script, "2.5", "1.998")
        script.unchecked = True
        orders = tuple(
            replace(o, cancelling=True, cancels=9, check=not looked, ask_at=script.now + 60_000)
            if o.live and o.leg == 1
            else o
            for o in script.position.orders
        )
        script.state = replace(script.state, position=replace(script.position, orders=orders))
        judged(script)
        assert script.position.gone == (D("0.497") if looked else 0)


def test_a_leg_is_tried_again_though_nobody_can_tell_what_has_become_of_a_cancel_beside_it() -> None:
    """Rules 4.7, 8.7: no order could be looked at, and the leg stayed bare until the failsafe closed the trade."""
    script = sold_by_hand("2.997")
    free(script, "2.997", "1.998")
    script.unchecked = True
    orders = tuple(
        replace(o, cancelling=True, cancels=1, check=True, ask_at=script.now + 60_000) if o.live and o.leg == 1 else o
        for o in script.position.orders
    )
    script.state = replace(script.state, position=replace(script.position, orders=orders))
    refused = script.now
    while "SL" not in script.kinds():
        assert QueryBalances not in {type(request) for request in script.pending}
        script.sleep()
    assert script.now == refused + POLICY.quote_max_age_ms
    script.settle()
    assert script.order(Role.SL).phase is OrderPhase.WORKING


def test_legs_that_are_refused_in_turn_share_a_look_at_the_balance() -> None:
    """Rule 8.7: found by the simulation, which counted 16 of them in ten seconds."""
    for between in (900, 1_100):
        script = unprotected()
        script.accept("OCO2")
        script.refuse(Why.OTHER, "OCO1")
        while any(kind.startswith("Query") for kind in script.kinds()):
            script.accept(next(kind for kind in script.kinds() if kind.startswith("Query")))
        script.now += between
        script.refuse(Why.OTHER, Role.SL)
        assert ("QueryBalances" in script.kinds()) is (between > POLICY.exits_retry_ms)
        script.settle()
        script.wait(1_000)
        script.settle()
        assert script.named() == "Protected"


def test_a_balance_that_has_not_even_what_stands_is_not_believed() -> None:
    script = sold_by_hand("0.01")
    judged(script)
    assert "sold_elsewhere" not in script.told()
    free(script, "2.5", "1.998")
    script.wait(2_000)
    script.settle()
    assert script.order(Role.SL).qty == D("0.502")


def test_a_position_that_is_gone_altogether_closes_as_external() -> None:
    """Rule 6.6."""
    script = standing()
    script.balances["LTC"] = Balance(D("0.01"))
    for role in (Role.TP1, Role.TP2, Role.SL):
        script.vanish(role)
    for role in (Role.OCO1, Role.OCO2, Role.SL):
        script.refuse(Why.INSUFFICIENT_BALANCE, role)
    judged(script)
    assert script.closed.reason is Reason.EXTERNAL
    assert "sold_elsewhere" in script.told()


def test_what_is_gone_is_shared_by_the_legs_that_find_it_missing() -> None:
    """Rule 6.6b: half of the position was sold by hand, and all of its exits cancelled."""
    script = standing()
    script.balances["LTC"] = Balance(D("1.5"))
    for role in (Role.TP1, Role.TP2, Role.SL):
        script.vanish(role)
    for role in (Role.OCO1, Role.OCO2, Role.SL):
        script.refuse(Why.INSUFFICIENT_BALANCE, role)
    judged(script)
    script.wait(2_000)
    script.settle()
    script.wait(2_000)
    script.settle()
    assert sum(leg.qty for leg in script.position.legs) == D("1.5")
    assert script.named() == "Protected"
    assert sum(o.qty for o in script.position.orders if o.live and o.is_stop) == D("1.5")


def test_a_leg_sold_at_market_sells_what_is_there() -> None:
    """Rules 6.4, 6.6b."""
    script = standing()
    script.vanish(Role.SL)
    script.refuse(Why.WOULD_TRIGGER, "SL")
    free(script, "2.5", "1.998")
    script.refuse(Why.INSUFFICIENT_BALANCE, "FLATTEN")
    judged(script)
    assert script.order(Role.FLATTEN).qty == D("0.502")


def test_flatten_sells_what_is_left_of_a_position() -> None:
    """Rules 6.6b, 10.6."""
    script = standing()
    script.command(Verb.FLATTEN)
    while script.kinds()[:1] != ["FLATTEN"]:
        script.accept()
    script.balances["LTC"] = Balance(D("2.5"))
    script.refuse(Why.INSUFFICIENT_BALANCE, "FLATTEN")
    judged(script)
    script.wait(1_000)
    script.settle()
    assert script.closed.reason is Reason.FLATTEN
    assert script.closed.dust < D("0.001")
    assert [o for o in script.book.values() if o.cum_qty == D("2.5")]


def test_flatten_of_a_position_that_is_there_is_tried_again() -> None:
    script = closing()
    while script.kinds()[:1] != ["FLATTEN"]:
        script.accept()
    script.refuse(Why.INSUFFICIENT_BALANCE, "FLATTEN")
    script.settle()
    script.wait(1_000)
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_plain_s_stop_of_the_whole_shrinks_to_what_is_there() -> None:
    script = standing(PLAIN)
    script.vanish(Role.SL)
    script.balances["LTC"] = Balance(D("2.5"))
    script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    judged(script)
    assert script.order(Role.SL).qty == D("2.5")


def test_a_target_beside_a_stop_that_was_cut_is_for_no_more_than_the_other_one_leaves() -> None:
    """Rules 6.6b, 10.1: the stop finds for all of PLAIN's exits what is gone; the second target is waiting then."""
    script = standing(PLAIN)
    for pause in (0, 1_000, 2_000, 4_000):
        script.vanish(Role.TP2, OrderStatus.EXPIRED)
        script.wait(pause)
        script.settle()
    script.vanish(Role.TP2, OrderStatus.EXPIRED)
    script.vanish(Role.SL)
    free(script, "1.5", "0.999")
    script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    judged(script)
    assert (script.order(Role.TP1).qty, script.order(Role.SL).qty) == (D("0.999"), D("1.5"))
    script.wait(8_000)
    script.settle()
    assert script.order(Role.TP2).qty == script.leg(2).qty == D("0.501")
    assert script.live() == ["SL", "TP1", "TP2"]


def test_what_an_ended_exit_had_sold_and_tells_late_was_not_missing() -> None:
    """Rule 6.6b: the part was ours after all, so nothing of the rest is lost for it."""
    script = sold_by_hand("2.5")
    gone = script.orders(Role.SL)[0]
    free(script, "2.5", "1.998")
    judged(script)
    assert script.position.gone == D("0.497")
    script.book[gone.id] = replace(script.book[gone.id], cum_qty=D("0.497"), cum_quote=D(49))
    script.push(gone.id)
    assert script.position.gone == 0
    assert script.leg(3).qty == D("0.999")
    assert sum(leg.qty for leg in script.position.legs) == D("2.997")


def test_a_late_fill_of_the_interim_stop_is_not_missing_either() -> None:
    """Its own leg has given way to the final ones."""
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.settle()
    interim = script.order(Role.SL)
    script.fill(Role.ENTRY)
    script.settle()
    script.wait(10_000)
    script.vanish(Role.SL)
    script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    free(script, "2.5", "1.998")
    judged(script)
    assert script.position.gone == D("0.497")
    script.unchecked = True
    script.book[interim.id] = replace(script.book[interim.id], cum_qty=D("0.1"), cum_quote=D(10))
    script.push(interim.id)
    assert script.position.gone == D("0.397")


def test_a_short_that_can_t_pay_for_its_exits_is_tried_again() -> None:
    """It owes base, and owns none of it."""
    script = unprotected(Direction.SHORT)
    script.refuse(Why.INSUFFICIENT_BALANCE, "SL")
    script.settle()
    script.wait(1_000)
    script.settle()
    assert script.order(Role.SL).phase is OrderPhase.WORKING


# --- ended by the exchange --------------------------------------------------------------------------------------------


@both_sides
@pytest.mark.parametrize("status", [OrderStatus.EXPIRED, OrderStatus.EXPIRED_IN_MATCH, OrderStatus.REJECTED])
def test_an_exit_that_the_exchange_ended_is_put_back_as_often_as_that_happens(
    direction: Direction, status: OrderStatus
) -> None:
    """Rule 6.6: in growing pauses, told once; never as EXTERNAL."""
    script = protected(direction)
    pauses = []
    for _ in range(10):
        script.vanish(Role.SL, status)
        ended = script.now
        while "SL" not in script.kinds():
            script.sleep()
        pauses.append(script.now - ended)
        script.settle()
    assert pauses == [0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
    assert script.told().count("exit_ended") == 1
    assert not isinstance(script.phase, Closing | Entering)
    assert script.leg(3).vanished == 0


def test_an_exit_that_has_stood_for_a_while_is_put_back_at_once() -> None:
    script = protected()
    for _ in range(3):
        script.vanish(Role.SL, OrderStatus.EXPIRED)
        assert script.kinds() == ["SL"]
        script.settle()
        script.wait(60_000)


def test_each_cause_is_told_once() -> None:
    script = protected()
    for status in (OrderStatus.EXPIRED, OrderStatus.EXPIRED, OrderStatus.EXPIRED_IN_MATCH):
        script.vanish(Role.SL, status)
        script.wait(60_000)
        script.settle()
    told = [n.text for n in script.notes if n.event == "exit_ended"]
    assert len(told) == 2
    assert "EXPIRED_IN_MATCH" in told[1]


def test_while_the_pause_runs_the_price_is_watched() -> None:
    """Rules 6.4, 6.6."""
    script = protected()
    for _ in range(4):
        script.vanish(Role.SL, OrderStatus.EXPIRED)
        script.wait(4_000 if len(script.orders(Role.SL)) < 4 else 0)
        script.settle()
    assert not script.order(Role.SL).live
    script.quote("97")
    script.wait(3_000)
    assert script.order(Role.FLATTEN).leg == 3


def test_a_pair_of_which_one_side_was_cancelled_was_taken_by_a_hand() -> None:
    """Rule 6.6: its stop side had expired when the target began to fill."""
    script = protected()
    script.fill(Role.TP1, "0.5")
    name = script.order(Role.TP1).id
    script.book[name] = replace(script.book[name], status=OrderStatus.CANCELED)
    script.push(name)
    assert "exit_vanished" in script.told()


def _becomes(script: Script, role: Role, **changes: object) -> None:
    name = script.order(role).id
    script.book[name] = replace(script.book[name], **changes)


@pytest.mark.parametrize("first", [Role.TP1, Role.SL1])
@pytest.mark.parametrize("how", ["matched with our own", "jumped", "matched in part"])
def test_a_pair_that_the_exchange_ended_is_put_back_whatever_it_calls_the_other_side(first: Role, how: str) -> None:
    """Rules 6.6, 8.8: where one side ends, the other may be called cancelled; that is no hand."""
    ended, beside = (Role.SL1, Role.TP1) if how == "jumped" else (Role.TP1, Role.SL1)
    status = OrderStatus.EXPIRED if how == "jumped" else OrderStatus.EXPIRED_IN_MATCH
    script = protected()
    for _ in range(3):
        if how == "matched in part":
            script.execute(script.order(Role.TP1).id, "0.1")
            script.push(script.order(Role.TP1).id)
        if how == "jumped":
            _becomes(script, Role.SL1, working=True)
            script.push(script.order(Role.SL1).id)
        for role, end in ((ended, status), (beside, OrderStatus.CANCELED)):
            _becomes(script, role, status=end)
        for role in (first, Role.SL1 if first is Role.TP1 else Role.TP1):
            script.push(script.order(role).id)
        script.wait(2_000)
        script.settle()
        assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
        script.wait(60_000)
    assert script.leg(1).vanished == 0
    assert "exit_vanished" not in script.told()


def test_an_exit_that_the_exchange_knows_no_more_is_nobody_s_wish() -> None:
    """Rules 6.6, 8.6."""
    script = protected()
    for _ in range(3):
        name = script.order(Role.SL).id
        del script.book[name]
        script.unchecked = True
        orders = tuple(replace(o, check=True) if o.id == name else o for o in script.position.orders)
        script.state = awake(replace(script.state, position=replace(script.position, orders=orders)))
        for _ in range(12):
            script.wait(1_000)
            script.settle()
        assert script.order(Role.SL).phase is OrderPhase.WORKING
    assert script.told().count("exit_ended") == 1
    assert "exit_vanished_again" not in script.told()
