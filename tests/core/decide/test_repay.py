"""What was borrowed is given back to the last unit, or what is left is named (rules 11.6-11.8)."""

from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.build import (
    MARGIN_RULES,
    POLICY,
    START,
    D,
    Script,
    both_sides,
    entering,
    make_report,
    protected,
    repaying,
)

from executor.core.book.edit import with_order
from executor.core.book.retire import KEPT, MANY
from executor.core.decide.lending import LOOK_AGAIN_MS
from executor.core.decide.repay import AROUND_THE_HOUR_MS, HOUR_MS
from executor.core.model.events import Reported, Tick, TradesSeen, Verb
from executor.core.model.facts import Refused, Why
from executor.core.model.ids import Role
from executor.core.model.intents import Borrow, PlaceOrder, Repay
from executor.core.model.loans import AssetTerms, Debt, LoanEnd, LoanKind, Others, OwnDebt
from executor.core.model.state import OrderPhase, Reason, Repaying
from executor.core.model.values import ZERO, Direction, OrderStatus


def go_on(script: Script, until: int = 400) -> Script:
    """Until the trade is over."""
    for _ in range(until):
        if script.state.position is None:
            return script
        step(script)
    raise AssertionError(f"still open: {script.named()}, {script.state.loan}")


def step(script: Script) -> None:
    script.accept() if script.pending else script.sleep()


def repaid(script: Script) -> list[Decimal]:
    return [request.amount for request in script.sent if isinstance(request, Repay)]


def asking(direction: Direction = Direction.LONG) -> Script:
    """The repayment is under way."""
    script = repaying(direction)
    script.accept()
    assert script.kinds() == ["Repay"]
    return script


@both_sides
def test_the_whole_debt_goes_back_with_its_interest(direction: Direction) -> None:
    script = protected(direction, rules=MARGIN_RULES)
    script.read_account(after=2 * HOUR_MS)
    owed = script.lender.debt("USDT" if direction is Direction.LONG else "LTC").total
    script.command(Verb.FLATTEN)
    go_on(script)
    assert repaid(script) == [owed]
    assert script.lender.debt("USDT").total == script.lender.debt("LTC").total == ZERO
    assert script.closed.debt_left == {}
    assert sum(script.closed.interest.values()) > ZERO


@both_sides
def test_an_entry_that_never_filled_gives_the_loan_back_at_once(direction: Direction) -> None:
    script = entering(direction, POLICY, MARGIN_RULES)
    if direction is Direction.SHORT:
        script.lender.add("LTC", D("0.001"))  # some base of its own pays the first hour
    script.command(Verb.CANCEL_ENTRY)
    go_on(script)
    assert script.now <= START + LOOK_AGAIN_MS
    assert script.closed.reason is Reason.ENTRY_CANCELLED
    assert script.lender.debt("USDT").total == script.lender.debt("LTC").total == ZERO


def test_the_slot_is_free_only_once_it_is_repaid() -> None:
    script = asking()
    assert isinstance(script.phase, Repaying)
    script.now += 1
    script.signal()
    assert "trade_open" in script.state.refused


def test_a_lost_answer_of_a_repayment_is_settled_before_another() -> None:
    for arrived in (True, False):
        script = asking()
        script.lose(arrived=arrived)
        go_on(script)
        assert len(script.lender.records) == 2  # the loan, and one repayment
        assert len(repaid(script)) == (1 if arrived else 2)
        assert script.lender.debt("USDT").total == ZERO


def test_interest_that_ticks_between_reading_and_repaying_is_repaid_too() -> None:
    script = asking()
    script.lender.debts["USDT"] = Debt(D("201.50"), D("0.00403"))
    go_on(script)
    assert repaid(script) == [D("201.502015"), D("0.002015")]
    assert script.lender.debt("USDT").total == ZERO


def test_a_small_loan_by_hand_while_ours_is_repaid_is_not_repaid_with_it() -> None:
    """Rule 11.4: the repayment's record tells what of it was interest, so what is left of the loan is somebody else's;
    interest that was charged meanwhile is ours.
    """
    script = asking()
    debt = script.lender.debt("USDT")
    script.lender.debts["USDT"] = Debt(debt.principal + 1, debt.interest + D("0.002015"))
    go_on(script)
    assert repaid(script) == [D("201.502015"), D("0.002015")]
    assert script.lender.debt("USDT").total == D(1)
    assert "foreign_debt" in script.told()


def test_a_sum_that_does_not_fit_is_asked_for_anew_to_the_last_unit() -> None:
    script = asking()
    script.lender.debts["USDT"] = Debt(D("201.50"), D("0.00403"))
    script.lender.least = D(1)  # a rest that small is not left
    script.accept()
    assert script.state.loan is not None
    assert script.state.loan.end is LoanEnd.REFUSED
    go_on(script)
    assert repaid(script) == [D("201.502015"), D("201.50403")]


def test_a_carried_rest_of_another_asset_holds_no_repayment_up() -> None:
    """Records are kept of one kind and asset at a time: what can't be repaid needs none."""
    script = protected(rules=MARGIN_RULES)
    rest = Debt(D("0.00008"), ZERO)
    script.lender.debts["LTC"] = rest
    carried = OwnDebt(asset="LTC", own=rest.total, seen=rest, named=True)
    script.state = replace(script.state, debts=(carried, *script.state.debts))
    script.command(Verb.FLATTEN)
    go_on(script)
    assert script.lender.debt("USDT").total == ZERO
    assert script.closed.debt_left == {"LTC": D("0.00008")}


@both_sides
def test_too_little_is_believed_when_it_is_seen_twice(direction: Direction) -> None:
    """A look may show the account as it was before the exits had filled."""
    script = repaying(direction)
    asset = "USDT" if direction is Direction.LONG else "LTC"
    there = script.lender.holdings[asset]
    script.lender.holdings[asset] = ZERO
    script.read_account(after=1)
    step(script)
    assert isinstance(script.phase, Repaying)
    assert not repaid(script)
    script.lender.holdings[asset] = there
    go_on(script)
    assert script.lender.debt(asset).total == ZERO
    assert not [order for order in script.sent if isinstance(order, PlaceOrder) and "DEBT" in order.order.id]


def test_nothing_is_repaid_around_the_full_hour() -> None:
    for before in (AROUND_THE_HOUR_MS, 1, 0, -AROUND_THE_HOUR_MS + 1):
        script = repaying()
        script.now = (script.now // HOUR_MS + 1) * HOUR_MS - before
        script.unchecked = True
        script.accept()
        assert not script.pending
        script.sleep()
        assert script.now % HOUR_MS == AROUND_THE_HOUR_MS
        go_on(script)
        assert script.lender.debt("USDT").total == ZERO
    script = repaying()
    script.now = (script.now // HOUR_MS + 1) * HOUR_MS - AROUND_THE_HOUR_MS - 1
    script.accept()
    assert script.kinds() == ["Repay"]


@pytest.mark.parametrize("why", [Why.NOT_ALLOWED, Why.OTHER, Why.INSUFFICIENT_BALANCE, Why.AUTH, Why.MARKET_CLOSED])
def test_a_refused_repayment_is_asked_for_again_with_growing_pauses_and_alerts(why: Why) -> None:
    script = asking()
    times = []
    for _ in range(12):
        times.append(script.now)
        script.refuse(why, "Repay")
        while "Repay" not in script.kinds():
            script.accept() if script.pending else script.sleep()
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses[:6] == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000]
    assert max(pauses) <= 60_000 + 2 * AROUND_THE_HOUR_MS
    assert script.told().count("repay_failed") == 2
    go_on(script)
    assert script.lender.debt("USDT").total == ZERO


def test_another_loan_being_worked_on_is_waited_out() -> None:
    script = asking()
    script.refuse(Why.LOAN_BUSY)
    before = script.now
    go_on(script)
    assert script.now - before == 250


def test_sums_that_never_fit_are_not_asked_for_for_ever_at_once() -> None:
    script = asking()
    for _ in range(8):
        script.refuse(Why.DEBT_SUM, "Repay")
        while "Repay" not in script.kinds():
            script.accept() if script.pending else script.sleep()
    assert script.now - START >= 1_000 + 2_000 + 4_000


def beside_a_foreign_rest(rest: Decimal, least: Decimal) -> Script:
    """Somebody else owes `rest` as well, which the exchange would not leave alone: it leaves `least` or nothing."""
    script = protected(rules=MARGIN_RULES)
    (debt,) = script.state.debts
    script.lender.debts["USDT"] = Debt(debt.seen.principal + rest, debt.seen.interest)
    script.state = replace(script.state, debts=(replace(debt, foreign=rest, seen=script.lender.debt("USDT")),))
    script.lender.least = least
    script.command(Verb.FLATTEN)
    return go_on(script)


def test_where_somebody_elses_rest_is_too_small_to_be_left_a_little_of_ours_stays_beside_it() -> None:
    """Rules 8.7, 11.4: the same sum was asked for again each minute, for ever."""
    script = beside_a_foreign_rest(D("0.00000005"), D(1))
    left = script.closed.debt_left["USDT"]
    assert (max(repaid(script)), left) == (D("201.502015"), D("2.01502015"))
    assert script.lender.debt("USDT").total == left + D("0.00000005")
    assert script.now - START < 10_000
    assert "debt_left" in script.told()


def test_what_is_never_taken_beside_somebody_elses_rest_is_carried() -> None:
    script = beside_a_foreign_rest(D("0.00000005"), D(10_000))
    assert script.closed.debt_left == {"USDT": D("201.502015")}
    assert len(repaid(script)) == 5
    assert "debt_left" in script.told()


def test_with_too_little_free_what_there_is_goes_back_and_the_rest_is_told() -> None:
    script = repaying()
    script.lender.add("USDT", D(-150))
    go_on(script)
    left = script.closed.debt_left["USDT"]
    assert left == script.lender.debt("USDT").total > ZERO
    (note,) = [note for note in script.notes if note.event == "debt_left"]
    assert (note.level.value, "`executor repay USDT`" in note.text) == ("alert", True)
    assert script.state.debts[0].named


def test_what_is_carried_is_taken_along_by_the_next_repayment() -> None:
    script = repaying()
    script.lender.add("USDT", D(-150))
    go_on(script)
    left = script.closed.debt_left["USDT"]
    script.lender.add("USDT", D(300))
    script.now += 200_000
    script.signal()
    assert script.named() in ("Borrowing", "Entering")
    script.settle()
    script.command(Verb.CANCEL_ENTRY)
    go_on(script)
    assert script.lender.debt("USDT").total == ZERO < left
    assert script.closed.debt_left == {}


class TestShortOfBase:
    """A short's debt that the account can't pay in base (rule 11.6)."""

    def test_what_is_missing_and_large_enough_is_bought(self) -> None:
        script = repaying(Direction.SHORT)
        script.lender.add("LTC", D("-0.5"))
        go_on(script)
        assert script.lender.debt("LTC").total == ZERO
        assert [note.text for note in script.notes if note.event == "debt_bought"] == [
            "0.5 LTC bought at market: the debt lacks 0.499034"
        ]

    def test_a_rest_too_small_to_be_bought_is_carried_and_named(self) -> None:
        script = repaying(Direction.SHORT)
        script.lender.add("LTC", D("-0.003"))
        go_on(script)
        assert script.closed.debt_left == {"LTC": D("0.002034")}
        (note,) = [note for note in script.notes if note.event == "debt_left"]
        assert note.level.value == "warning"

    def test_where_the_exchange_leaves_no_small_rest_the_least_is_bought(self) -> None:
        """An aborted short owes an hour's interest that it has no base for."""
        script = entering(Direction.SHORT, POLICY, MARGIN_RULES)
        script.lender.least = D("0.001")
        script.command(Verb.CANCEL_ENTRY)
        go_on(script)
        assert repaid(script) == [D(3), D("3.00003")]
        assert script.lender.debt("LTC").total == ZERO
        assert script.closed.debt_left == {}
        assert script.lender.holdings["LTC"] < D("0.06")  # five quote units' worth

    def test_where_all_of_ours_is_not_taken_beside_another_s_rest_either_a_little_stays_after_all(self) -> None:
        """A part was refused for the rest of ours that it left; that says nothing of what is left beside another's."""
        script = entering(Direction.SHORT, POLICY, MARGIN_RULES)
        (debt,) = script.state.debts
        script.lender.debts["LTC"] = Debt(debt.seen.principal + D("0.00000005"), debt.seen.interest)
        known = replace(debt, foreign=D("0.00000005"), seen=script.lender.debt("LTC"))
        script.state = replace(script.state, debts=(known,))
        script.lender.least = D("0.001")
        script.command(Verb.CANCEL_ENTRY)
        go_on(script)
        assert repaid(script)[:5] == [D(3), *[D("3.00003")] * 3, D("2.9700297")]
        assert len(repaid(script)) == 10
        assert script.closed.debt_left == {"LTC": D("0.0300003")}

    def test_where_a_filter_does_not_take_the_least_more_is_bought(self) -> None:
        """NOTIONAL goes by an average price, which may be far from the last one after a fast move (filters.md)."""
        script = entering(Direction.SHORT, POLICY, MARGIN_RULES)
        script.lender.least = D("0.001")
        script.command(Verb.CANCEL_ENTRY)
        asked: list[Decimal] = []
        while len(asked) < 3:
            if "DEBT" in script.kinds():
                asked.append(script.order("DEBT").qty)
                script.refuse(Why.FILTER, "DEBT") if len(asked) < 3 else script.accept("DEBT")
            else:
                step(script)
        go_on(script)
        assert asked == [D("0.051"), D("0.064"), D("0.080")]
        assert script.closed.debt_left == {}

    def test_without_the_money_for_it_the_debt_is_carried(self) -> None:
        script = entering(Direction.SHORT, POLICY, MARGIN_RULES)
        script.lender.least = D("0.001")
        script.lender.add("USDT", D(-98))
        script.command(Verb.CANCEL_ENTRY)
        go_on(script)
        assert script.closed.debt_left == {"LTC": D("3.00003")}

    def test_buying_has_an_end(self) -> None:
        script = repaying(Direction.SHORT)
        script.lender.add("LTC", D("-0.5"))
        for _ in range(100):
            if script.state.position is None:
                break
            if "DEBT" in script.kinds():
                script.refuse(Why.OTHER, "DEBT")
            else:
                script.accept() if script.pending else script.sleep()
        assert script.told().count("debt_bought") == 3
        assert script.closed.debt_left["LTC"] > ZERO

    @pytest.mark.parametrize("why", [Why.NOT_SENT, Why.RATE_LIMIT])
    def test_what_never_came_to_the_book_is_no_try(self, why: Why) -> None:
        """Rules 11.7, 8.7: it is tried again, in growing pauses, and told of."""
        script = repaying(Direction.SHORT)
        script.lender.add("LTC", D("-0.5"))
        times: list[int] = []
        while len(times) < 8:
            if "DEBT" in script.kinds():
                times.append(script.now)
                script.refuse(why, "DEBT")
            else:
                step(script)
        pauses = [after - before for before, after in pairwise(times)]
        assert pauses == sorted(pauses)
        assert pauses[-1] >= 60_000
        assert "5 orders to buy LTC for the debt in a row were not taken" in " ".join(n.text for n in script.notes)
        go_on(script)
        assert script.lender.debt("LTC").total == ZERO

    def test_orders_that_never_came_to_the_book_are_let_go(self) -> None:
        """The state stays small, however long nothing can be sent."""
        script = repaying(Direction.SHORT)
        script.lender.add("LTC", D("-0.5"))
        tries = 0
        while tries < 2 * MANY:
            if "DEBT" in script.kinds():
                script.refuse(Why.NOT_SENT, "DEBT")
                tries += 1
            else:
                step(script)
        assert len(script.position.orders) <= MANY + KEPT

    def test_more_than_one_market_order_takes_is_bought_in_pieces(self) -> None:
        script = repaying(Direction.SHORT)
        script.lender.add("LTC", D("-0.5"))
        script.rules = replace(script.rules, market_max_qty=D("0.3"))
        go_on(script)
        assert script.told().count("debt_bought") == 2
        assert script.lender.debt("LTC").total == ZERO

    def test_what_it_cost_is_known_before_the_trade_is_summed_up(self) -> None:
        script = repaying(Direction.SHORT)
        script.lender.add("LTC", D("-0.5"))
        while "DEBT" not in script.kinds():
            step(script)
        script.accept()
        assert script.order("DEBT").unpriced_qty == ZERO
        go_on(script)
        assert script.closed.commissions["LTC"] > ZERO


def test_fills_whose_commission_is_not_known_are_asked_for_first() -> None:
    script = repaying(Direction.SHORT)
    script.lender.add("LTC", D("-0.5"))
    while "DEBT" not in script.kinds():
        step(script)
    told = script.book  # the market order is answered without its trades
    script.accept()
    order = script.order("DEBT")
    bare = replace(order, fills=())
    script.unchecked = True
    orders = tuple(bare if each.id == order.id else each for each in script.position.orders)
    script.state = replace(script.state, position=replace(script.position, orders=orders))
    script.wait(1)
    assert "QueryTrades" in script.kinds()
    script.feed(TradesSeen(at=script.now, id=order.id, fills=told[order.id].fills))
    go_on(script)


def test_less_than_may_be_repaid_is_carried() -> None:
    assert MARGIN_RULES.margin is not None
    script = repaying()
    script.rules = replace(MARGIN_RULES, margin=replace(MARGIN_RULES.margin, quote=AssetTerms(min_repay=D(500))))
    go_on(script)
    assert script.closed.debt_left == {"USDT": D("201.502015")}
    assert repaid(script) == []


def test_a_trade_without_a_loan_repays_nothing() -> None:
    script = Script(rules=MARGIN_RULES)
    script.lender.add("USDT", D(1_000))
    script.signal()
    script.settle()
    script.command(Verb.CANCEL_ENTRY)
    while script.state.position is not None:
        assert script.named() != "Repaying"
        script.accept() if script.pending else script.sleep()
    assert script.closed.borrowed == {}


def test_a_debt_that_somebody_else_repaid_is_not_repaid_again() -> None:
    script = repaying()
    script.lender.debts.clear()
    go_on(script)
    assert repaid(script) == []
    assert script.closed.debt_left == {}


def test_a_stale_look_after_the_repayment_is_had_again() -> None:
    script = asking()
    debts, holdings = dict(script.lender.debts), dict(script.lender.holdings)
    script.accept("Repay")
    fresh = script.lender.debts, script.lender.holdings
    script.lender.debts, script.lender.holdings = debts, holdings
    script.accept()  # the record is there, the account lags behind
    assert script.state.position is not None
    script.accept() if script.pending else script.sleep()
    assert script.state.position is not None
    script.lender.debts, script.lender.holdings = fresh
    go_on(script)
    assert len(repaid(script)) == 1


def test_a_restart_settles_the_repayment_first() -> None:
    for arrived in (True, False):
        script = asking()
        if arrived:
            script.exchange_lends()
        script.restart()
        assert script.kinds() == ["QueryLoans"]
        go_on(script)
        assert script.lender.debt("USDT").total == ZERO
        assert len(script.lender.records) == 2


def test_dust_that_a_short_has_not_bought_back_is_no_position_without_a_stop() -> None:
    """Rule 3.6: no order is taken for it, so that nothing is to be alerted, nor counted as unprotected, meanwhile."""
    script = protected(Direction.SHORT, rules=MARGIN_RULES)
    for name in ("SL1", "SL2"):
        script.fill(name)
        script.settle()
    script.fill(Role.SL, script.order(Role.SL).qty - D("0.004"))
    script.command(Verb.FLATTEN)
    while script.named() != "Repaying":
        step(script)
    begun, bare = script.now, script.position.exposure
    while script.now < begun + 60_000:
        script.refuse(kind="Repay") if "Repay" in script.kinds() else step(script)
    assert script.named() == "Repaying"
    assert "unprotected" not in script.told()
    assert (script.position.exposure.since, script.position.exposure.total) == (0, bare.total)
    go_on(script)


@both_sides
def test_what_an_order_tells_of_late_is_put_right_before_the_rest_is_repaid(direction: Direction) -> None:
    """Rules 6.3, 7.1: a stop that was called cancelled had traded 0.9 after all, and the whole was closed beside it."""
    script = repaying(direction)
    stop = script.order(Role.SL).id
    script.book[stop] = replace(script.book[stop], status=OrderStatus.PARTIALLY_FILLED)
    told = replace(script.execute(stop, "0.9"), status=OrderStatus.CANCELED)
    script.book[stop] = told
    script.now += 100
    script.unchecked = True
    script.feed(Reported(at=script.now, report=told))
    assert script.named() == "Closing"
    script.settle()
    go_on(script)
    assert "oversold" in script.told()
    assert script.lender.debt("USDT").total == script.lender.debt("LTC").total == ZERO
    assert abs(script.lender.holdings["LTC"]) < D("0.01")


def test_an_order_that_is_back_on_the_book_is_cancelled_before_the_rest_is_repaid() -> None:
    script = repaying()
    order = script.order(Role.SL)
    script.book[order.id] = make_report(order)
    position = script.position
    back = replace(order, phase=OrderPhase.WORKING, end=None, closed_at=0, cancelling=False)
    script.state = replace(script.state, position=with_order(position, back))
    script.unchecked = True
    script.sleep() if not script.pending else script.accept()
    assert "CancelOrder" in script.kinds()
    go_on(script)
    assert script.book[order.id].status is OrderStatus.CANCELED
    assert script.lender.debt("USDT").total == ZERO


def without_records(script: Script) -> None:
    """One step, in which the list of loans can't be read."""
    if script.pending and script.kinds()[0] == "QueryLoans":
        script.without_records()
    else:
        step(script)


@pytest.mark.parametrize("arrived", [True, False])
def test_a_repayment_in_doubt_is_settled_by_the_debt_alone_where_the_records_can_not_be_read(arrived: bool) -> None:
    """Rule 8.7: of a whole debt it may be asked for again; whichever comes last is refused."""
    script = asking()
    script.lose(arrived=arrived)
    for _ in range(400):
        if script.state.position is None:
            break
        without_records(script)
    assert len(repaid(script)) == (1 if arrived else 2)
    assert script.lender.debt("USDT").total == ZERO
    assert script.closed.debt_left == {}


def test_a_loan_in_doubt_is_never_made_twice_for_records_that_can_not_be_read() -> None:
    script = Script(rules=MARGIN_RULES)
    script.signal()
    script.accept("QueryBorrowable")
    script.accept("QueryLoans")
    script.lose("Borrow")
    for _ in range(60):
        without_records(script)
    assert script.named() == "Borrowing"
    assert not script.lender.records
    assert "loan_slow" in script.told()


def test_a_part_of_a_debt_is_not_repaid_twice_for_records_that_can_not_be_read() -> None:
    script = repaying()
    script.lender.holdings["USDT"] = D(100)  # the loss has eaten the rest
    while not any(isinstance(request, Repay) for request in script.pending):
        step(script)
    script.lose("Repay")
    for _ in range(60):
        without_records(script)
    assert repaid(script) == [D(100)]
    assert script.named() == "Repaying"


def test_what_other_symbols_need_is_not_repaid_with() -> None:
    script = repaying()
    owed = script.lender.debt("USDT").total
    script.lender.others = {"USDT": Others(claimed=script.lender.holdings["USDT"] - owed + 1)}
    go_on(script)
    assert repaid(script) == [owed - 1]
    assert script.closed.debt_left == {"USDT": D(1)}


def test_what_other_symbols_need_for_a_moment_is_waited_for() -> None:
    """After two seconds the rest was left owed until the next trade, though it lay there again after three."""
    script = repaying()
    owed = script.lender.debt("USDT").total
    script.lender.others = {"USDT": Others(claimed=script.lender.holdings["USDT"] - owed + 1)}
    until = script.now + 10_000
    while script.now < until:
        assert script.named() == "Repaying"
        step(script)
    script.lender.others = {}
    go_on(script)
    assert repaid(script) == [owed]
    assert script.closed.debt_left == {}


def test_what_is_repaid_beside_what_others_need_is_in_units_that_the_exchange_takes() -> None:
    """A need is reckoned by prices and commissions: a sum of nine digits is refused, and nothing was repaid."""
    script = repaying()
    owed = script.lender.debt("USDT").total
    script.lender.others = {"USDT": Others(claimed=script.lender.holdings["USDT"] - owed + D("1.000000001"))}
    go_on(script)
    assert repaid(script) == [owed - D("1.00000001")]


def test_nothing_is_bought_for_what_other_symbols_need_for_a_moment() -> None:
    script = repaying(Direction.SHORT)
    script.lender.others = {"LTC": Others(claimed=script.lender.holdings["LTC"] - 1)}
    go_on(script)
    assert not any(isinstance(request, PlaceOrder) and "DEBT" in request.order.id for request in script.sent)
    assert repaid(script) == [D(1)]


def in_doubt(script: Script) -> tuple[Repay, int]:
    """A repayment's answer is lost, and somebody else repays just as much; and until when ours may come."""
    while script.kinds() != ["Repay"]:
        step(script)
    (request,) = script.pending
    assert isinstance(request, Repay)
    script.lose()
    script.lender.ask(LoanKind.REPAY, request.asset, request.amount, script.now)
    assert script.state.loan is not None
    return request, script.state.loan.fence + POLICY.doubt_settle_ms


@both_sides
def test_nothing_is_borrowed_while_a_repayment_of_the_trade_before_may_still_come(direction: Direction) -> None:
    """Rules 8.3, 11.3: somebody else has repaid as much, which is taken for ours, and it is ours that comes late."""
    script = repaying(direction, replace(POLICY, cooldown_ms=1_000, lock_ms=0))
    request, settled = in_doubt(script)
    go_on(script)
    assert script.now < settled
    script.wait(1_000)
    script.signal()
    while not any(isinstance(each, Borrow) for each in script.pending):
        step(script)
    assert script.now >= settled
    assert script.state.market.margin is not None
    assert script.state.market.margin.asked_at >= settled
    assert isinstance(script.lender.ask(LoanKind.REPAY, request.asset, request.amount, settled), Refused)
    script.settle()
    assert script.named() == "Entering"


def test_the_rest_is_not_repaid_while_a_repayment_of_before_may_still_come() -> None:
    script = repaying()
    script.lender.holdings["USDT"] = D(100)
    _, settled = in_doubt(script)
    script.lender.holdings["USDT"] = D(200)
    while len(repaid(script)) < 2:
        step(script)
    assert script.now >= settled
    assert script.state.market.margin is not None
    assert script.state.market.margin.asked_at >= settled


def test_a_clock_that_is_set_ahead_shortens_no_wait_for_a_repayment_that_may_still_come() -> None:
    """Rule 8.3: the request may arrive as long as before, by the clock as it is now."""
    script = repaying()
    script.lender.holdings["USDT"] = D(100)
    _, settled = in_doubt(script)
    while script.state.loan is not None and script.state.loan.open:
        step(script)
    script.now += HOUR_MS
    script.feed(Tick(at=script.now, ahead=HOUR_MS))
    script.lender.holdings["USDT"] = D(200)
    while len(repaid(script)) < 2:
        step(script)
    assert script.now >= settled + HOUR_MS


def test_a_fence_of_a_clock_that_was_wrong_holds_nothing_up_for_longer_than_any_request_may_take() -> None:
    script = repaying()
    script.lender.holdings["USDT"] = D(100)
    _, settled = in_doubt(script)
    assert script.state.loan is not None
    script.state = replace(script.state, loan=replace(script.state.loan, fence=settled + HOUR_MS))
    script.lender.holdings["USDT"] = D(200)
    while len(repaid(script)) < 2:
        step(script)
    assert settled < script.now <= settled + 60_000
