"""Other orders of the account keep locked what the trade's own sales are for: what is free is traded (rule 6.6b)."""

from decimal import Decimal

from msgspec.structs import replace
from tests.core.build import POLICY, Script, both_sides, closing, protected

from executor.core.model.facts import Balance, Why
from executor.core.model.ids import Role
from executor.core.model.state import Reason
from executor.core.model.values import Direction, OrderStatus

D = Decimal
STUBBORN = replace(POLICY, failsafe_flatten=False)


def selling(direction: Direction) -> Script:
    """Everything is cancelled; what is held is being sold."""
    script = closing(direction)
    while script.kinds()[:1] != ["FLATTEN"]:
        script.accept()
    return script


def at_market(direction: Direction, script: Script | None = None) -> Script:
    """The stops of all three legs are refused as the price is past them: each is sold at market."""
    script = script or protected(direction, policy=STUBBORN)
    script.quote("97", after=1_000)
    for role in (Role.SL1, Role.SL2, Role.SL):
        script.vanish(role, OrderStatus.EXPIRED)
    while any(kind not in ("FLATTEN", "QueryQuote") for kind in script.kinds()):
        script.refuse(Why.WOULD_TRIGGER, next(k for k in script.kinds() if k not in ("FLATTEN", "QueryQuote")))
    return script


def refuse_sales(script: Script, why: Why = Why.INSUFFICIENT_BALANCE) -> int:
    """Every sale that waits for its answer is refused."""
    count = 0
    while "FLATTEN" in script.kinds():
        script.refuse(why, "FLATTEN")
        count += 1
    return count


@both_sides
def test_a_close_trades_what_is_free_where_another_order_keeps_the_rest_locked(direction: Direction) -> None:
    """Rules 6.6b, 10.6: nothing of it is gone, and a third of it can't be sold for as long as that order stands."""
    script = selling(direction)
    script.balances = {"LTC": Balance(D("1.998"), D("0.999")), "USDT": Balance(D(201), D(100))}
    script.refuse(Why.INSUFFICIENT_BALANCE, "FLATTEN")
    while "FLATTEN" not in script.kinds():
        script.sleep()
        while "FLATTEN" not in script.kinds() and script.pending:
            script.accept()
    assert script.order(Role.FLATTEN).qty == (D("1.998") if direction is Direction.LONG else D("1.99"))
    script.accept("FLATTEN")
    assert "part_missing" not in script.told()
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_a_close_of_which_nothing_is_free_tries_the_whole() -> None:
    """What the account shows may be of before."""
    script = selling(Direction.LONG)
    script.balances = {"LTC": Balance(D(0), D("2.997"))}
    script.refuse(Why.INSUFFICIENT_BALANCE, "FLATTEN")
    while "FLATTEN" not in script.kinds():
        script.sleep()
        while "FLATTEN" not in script.kinds() and script.pending:
            script.accept()
    assert script.order(Role.FLATTEN).qty == D("2.997")


@both_sides
def test_a_leg_sold_at_market_trades_what_is_free(direction: Direction) -> None:
    script = at_market(direction)
    script.balances = {"LTC": Balance(D("0.5"), D("2.497")), "USDT": Balance(D("52.02"), D(250))}
    refuse_sales(script)
    while "FLATTEN" not in script.kinds():
        script.sleep()
        while "FLATTEN" not in script.kinds() and script.pending:
            script.accept()
    assert script.order(Role.FLATTEN).qty == D("0.5")
    assert "part_missing" not in script.told()


def test_a_short_whose_account_can_not_be_read_tries_the_whole_all_the_same() -> None:
    """Rule 8.7: a read is not waited for without end."""
    script = at_market(Direction.SHORT)
    refuse_sales(script)
    refused = script.now
    while "FLATTEN" not in script.kinds():
        script.sleep()
        while "QueryBalances" in script.kinds():
            script.lose("QueryBalances")
    assert script.now - refused == 3_000


@both_sides
def test_legs_whose_sales_were_refused_for_lack_of_balance_share_one_try(direction: Direction) -> None:
    """Rule 8.7: three legs of the same size were the same request three times each second."""
    script = at_market(direction)
    assert refuse_sales(script) == 3
    tried = 0
    while tried < 4:
        script.sleep()
        while script.pending and "FLATTEN" not in script.kinds():
            script.accept()
        sales = refuse_sales(script)
        assert sales <= 1
        tried += sales
    while "FLATTEN" not in script.kinds():
        script.sleep()
        while script.pending and "FLATTEN" not in script.kinds():
            script.accept()
    assert script.kinds().count("FLATTEN") == 1
    script.accept("FLATTEN")
    script.settle()
    script.wait(1_000)
    script.settle()
    assert script.state.position is None
    assert script.closed.reason is Reason.SL


def test_a_try_whose_answer_hangs_holds_up_no_other_leg() -> None:
    """Rule 10.6: what it may sell is its own leg's."""
    script = at_market(Direction.LONG)
    refuse_sales(script)
    while "FLATTEN" not in script.kinds():
        script.sleep()
        while script.pending and "FLATTEN" not in script.kinds():
            script.accept()
    first = script.order(Role.FLATTEN)
    script.wait(1_000)
    assert script.order(Role.FLATTEN).leg != first.leg


def test_a_sale_that_came_to_nothing_otherwise_is_no_such_try() -> None:
    script = at_market(Direction.LONG)
    assert refuse_sales(script) == 3
    while "FLATTEN" not in script.kinds():
        script.sleep()
        while script.pending and "FLATTEN" not in script.kinds():
            script.accept()
    script.answer_with(OrderStatus.EXPIRED, "FLATTEN")
    assert script.kinds().count("FLATTEN") == 2
