"""A refusal in words that nobody has written down: what is done follows from looks, not from the words."""

from decimal import Decimal

from tests.core.build import RICH, Script, both_sides, closing, entering, protected, trailing, unprotected

from executor.core.model.events import BalancesSeen, Verb
from executor.core.model.facts import Balance, Why
from executor.core.model.ids import Role
from executor.core.model.state import End, Leave, OrderPhase, Reason
from executor.core.model.values import Direction, OrderStatus

D = Decimal


def refused(role: str = "SL", direction: Direction = Direction.LONG) -> Script:
    """An exit was refused for who knows what; all others stand."""
    script = unprotected(direction)
    while role not in script.kinds()[:1]:
        script.accept()
    script.wait(5)
    script.refuse(Why.OTHER, role)
    while script.kinds()[:1] == ["SL"]:
        script.accept()
    return script


def test_order_price_and_balance_are_looked_at_before_anything_is_sent_again() -> None:
    script = refused()
    assert script.kinds() == ["QueryOrder", "QueryQuote", "QueryBalances"]
    script.settle()
    script.wait(1_000)
    assert script.kinds() == ["SL"]


@both_sides
def test_a_stop_that_the_price_has_passed_is_sold_whatever_the_words(direction: Direction) -> None:
    script = refused(direction=direction)
    script.last = script.px("97.9")
    script.accept("QueryOrder")
    script.accept("QueryQuote")
    assert script.leg(3).leave is Leave.STOP
    assert "FLATTEN" in script.kinds() or "QueryBalances" in script.kinds()
    script.settle()
    assert script.order(Role.FLATTEN).leg == 3


@both_sides
def test_a_target_that_the_price_has_passed_is_sold_as_such_whatever_the_words(direction: Direction) -> None:
    script = refused("OCO1", direction)
    script.last = script.px("102.1")
    while script.kinds():
        script.accept()
    assert script.leg(1).leave is Leave.TARGET
    assert script.order(Role.FLATTEN).leg == 1


def test_with_the_price_in_between_it_is_tried_again_at_the_pace_of_retries_and_then_the_failsafe_closes() -> None:
    """Rule 4.7."""
    script = unprotected()
    script.accept("OCO1")
    script.accept("OCO2")
    for _ in range(5):
        assert script.kinds() == ["SL"]
        script.wait(5)
        script.refuse(Why.OTHER)
        script.settle()
        if script.state.position is None:
            break
        script.wait(1_000)
    assert "failsafe" in script.told()


def test_a_refused_order_that_the_look_finds_is_taken_up() -> None:
    script = refused()
    order = script.order(Role.SL)
    assert order.end is End.REFUSED
    script.exchange_takes(next(r for r in script.sent if order.id in str(r)))
    script.settle()
    assert script.order(Role.SL).id == order.id
    assert script.order(Role.SL).phase is OrderPhase.WORKING
    assert script.order(Role.SL).refusal is None
    assert script.named() == "Protected"


def test_a_look_that_fails_does_not_keep_the_stop_from_being_sent_again() -> None:
    script = refused()
    script.lose("QueryOrder")
    script.settle()
    script.wait(1_000)
    assert script.kinds() == ["SL"]


def test_what_the_account_no_longer_holds_was_sold_elsewhere_whatever_the_words() -> None:
    """Rule 6.6."""
    script = protected()
    script.wait(10_000)
    script.balances = {"LTC": Balance(D(0))}
    for role in (Role.TP1, Role.TP2, Role.SL):
        script.vanish(role)
    for role in (Role.OCO1, Role.OCO2, Role.SL):
        script.refuse(Why.OTHER, role)
    script.settle()
    for _ in range(3):
        script.wait(2_000)
        script.settle()
    assert script.closed.reason is Reason.EXTERNAL


def test_a_sale_while_closing_has_the_balance_looked_at_whatever_the_words() -> None:
    script = protected()
    script.wait(10_000)
    script.command(Verb.FLATTEN)
    while script.kinds()[:1] != ["FLATTEN"]:
        script.accept()
    script.balances = {**RICH, "LTC": Balance(D(0))}
    script.refuse(Why.OTHER, "FLATTEN")
    script.settle()
    for _ in range(2):
        script.wait(2_000)
        script.settle()
    assert script.closed.reason is Reason.EXTERNAL


def test_a_market_order_refused_and_filled_all_the_same_has_sold() -> None:
    script = closing()
    while script.kinds()[:1] != ["FLATTEN"]:
        script.accept()
    request = script.pending[0]
    script.exchange_takes(request)
    script.refuse(Why.OTHER, "FLATTEN")
    script.settle()
    assert script.closed.reason is Reason.FLATTEN
    assert script.closed.dust < D("0.01")


def test_an_entry_that_was_refused_and_works_is_no_ghost() -> None:
    script = entering(working=False)
    script.exchange_takes(script.pending[0])
    script.refuse(Why.OTHER)
    assert script.kinds() == ["QueryOrder"]
    script.accept()
    assert script.order(Role.ENTRY).phase is OrderPhase.WORKING
    assert script.named() == "Entering"
    script.fill(Role.ENTRY)
    script.settle()
    assert script.named() == "Protected"


def test_an_entry_that_was_refused_and_is_not_there_ends_the_trade() -> None:
    script = entering(working=False)
    script.refuse(Why.OTHER)
    script.settle()
    assert script.closed.reason is Reason.REJECTED


def test_of_two_entries_the_one_that_came_back_goes() -> None:
    script = entering(working=False)
    script.refuse(Why.NOT_SENT)
    first = script.order(Role.ENTRY).id
    script.sleep()
    script.settle()
    assert len(script.orders(Role.ENTRY)) == 2
    script.place(first, OrderStatus.NEW)
    assert script.kinds() == ["CancelOrder"]
    script.settle()
    assert not script.orders(Role.ENTRY)[0].live
    assert script.orders(Role.ENTRY)[1].live


def entered_by_the_second(direction: Direction) -> tuple[Script, str]:
    """The exits stand; the entry was sent twice, as the first was called never sent. The first one's id."""
    script = entering(direction, working=False)
    script.refuse(Why.NOT_SENT)
    first = script.order(Role.ENTRY).id
    script.sleep()
    script.settle()
    script.fill(Role.ENTRY)
    script.settle()
    assert script.named() == "Protected"
    return script, first


@both_sides
def test_an_entry_that_comes_back_beside_the_exits_is_cancelled(direction: Direction) -> None:
    """Rule 2.3."""
    script, first = entered_by_the_second(direction)
    exits = script.live()
    script.place(first, OrderStatus.NEW)
    assert script.kinds() == ["CancelOrder"]
    script.lose()
    script.accept("QueryOrder")
    script.sleep()
    assert script.kinds() == ["CancelOrder"]
    assert script.told().count("entry_back") == 1
    script.settle()
    assert not script.orders(Role.ENTRY)[0].live
    assert (script.named(), script.live()) == ("Protected", exits)


def test_what_an_entry_that_comes_back_has_bought_before_its_cancel_is_covered() -> None:
    """Rules 2.3, 10.2."""
    script, first = entered_by_the_second(Direction.LONG)
    script.place(first, OrderStatus.NEW)
    script.execute(first, "1")
    script.unchecked = True  # it was the exchange that has bought more than was planned
    script.push(first)
    script.settle()
    assert "late_fill" in script.told()
    assert not script.orders(Role.ENTRY)[0].live
    script.wait(1_000)
    script.settle()
    assert script.named() == "Protected"
    assert sum(o.qty for o in script.position.orders if o.live and o.is_stop) == script.rules.whole(D(4) * D("0.999"))


@both_sides
def test_of_two_stops_of_a_leg_one_is_cancelled(direction: Direction) -> None:
    """Rule 10.1: the one called refused was there after all, and another was sent in its place."""
    script = refused(direction=direction)
    first = script.order(Role.SL).id
    script.settle()
    script.wait(1_000)
    script.settle()
    assert len(script.orders(Role.SL)) == 2
    script.place(first, OrderStatus.NEW)
    assert "surplus_exit" in script.told()
    assert script.kinds() == ["CancelOrder"]
    script.lose()
    script.accept("QueryOrder")
    script.sleep()
    assert script.kinds() == ["CancelOrder"]
    assert script.told().count("surplus_exit") == 1
    script.settle()
    assert [o.live for o in script.orders(Role.SL)] == [False, True]
    assert script.named() == "Protected"


def test_of_two_lists_of_a_leg_one_is_cancelled() -> None:
    script = refused("OCO1")
    script.settle()
    script.wait(1_000)
    script.settle()
    stop, target = (script.orders(role)[0].id for role in (Role.SL1, Role.TP1))
    script.lists |= {stop: "OCO1", target: "OCO1"}
    script.place(target, OrderStatus.NEW)
    script.settle()
    assert [o.live for o in script.orders(Role.SL1)] == [False, True]
    assert [o.live for o in script.orders(Role.TP1)] == [False, True]


def test_a_pushed_rejection_of_what_was_refused_is_the_same_refusal() -> None:
    script = refused()
    script.settle()
    script.place(script.order(Role.SL).id, OrderStatus.REJECTED)
    assert script.order(Role.SL).end is End.REFUSED
    script.sleep()
    script.settle()
    assert script.leg(3).vanished == 0


def test_a_moved_stop_that_is_refused_for_whatever_reason_is_put_back_at_once() -> None:
    """Rule 5.5: without the pause of 4.7."""
    for why in (Why.FILTER, Why.OTHER, Why.AUTH, Why.INSUFFICIENT_BALANCE):
        script = trailing()
        script.settle()
        script.quote("106", after=2_000)
        before = script.leg(3).stop
        script.refuse(why, "replace TRAIL")
        while script.kinds()[:1] in (["QueryOrder"], ["QueryQuote"]):
            script.accept()
        assert script.kinds()[-1:] == ["SL"], why
        script.settle()
        assert script.order(Role.SL).stop_price == before
        assert script.leg(3).balks == 1


def test_the_quote_is_asked_for_once_and_balances_by_a_long_alone() -> None:
    script = refused(direction=Direction.SHORT)
    assert script.kinds() == ["QueryOrder", "QueryQuote"]
    script.feed(BalancesSeen(at=script.now, balances=RICH))
    assert script.kinds() == ["QueryOrder", "QueryQuote"]


def test_an_exit_that_came_back_beside_a_sale_at_market_is_cancelled_once_that_is_done() -> None:
    script = refused()
    first = script.order(Role.SL).id
    script.last = script.px("97.9")
    while "FLATTEN" not in script.kinds():
        script.accept()
    script.answer_with(OrderStatus.NEW, "FLATTEN")
    sale = next(o for o in script.position.orders if o.role is Role.FLATTEN)
    script.unchecked = True
    script.place(first, OrderStatus.NEW)
    assert "CancelOrder" not in script.kinds()
    script.execute(sale.id)
    script.push(sale.id)
    assert script.kinds() == ["CancelOrder"]
    script.settle()
    assert not script.order(Role.SL).live
