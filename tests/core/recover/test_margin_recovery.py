"""A trade on borrowed money from less than its state: what its fills explain of the debt is its own (rule 11.12)."""

import pytest
from msgspec.structs import replace
from tests.core.build import DONE, MARGIN_RULES, POLICY, D, Script, both_sides, entering, protected, repaying

from executor.core.absorb.takeover import Takeover, judge
from executor.core.model.events import Resolve, Resolved, Verb
from executor.core.model.ids import Role
from executor.core.model.intents import PlaceOrder
from executor.core.model.loans import Debt, LoanEnd, LoanKind
from executor.core.model.state import Reason, State
from executor.core.model.values import ZERO, Direction
from executor.core.recover.catchup import catch_up
from executor.core.recover.rebuild import Restored, restore
from executor.core.transition import empty


def resumed(end: Script, state: State) -> Script:
    """A service that goes on from `state` on the exchange and the account as they are at the end."""
    script = Script(end.direction, end.policy, end.rules)
    script.book, script.lists, script.lender = dict(end.book), dict(end.lists), end.lender
    script.last, script._trade_id, script.now = end.last, end._trade_id, end.now + 60_000
    script.unchecked = True
    script.state = state
    script.restart()
    script.settle()
    script.unchecked = False
    script.read_account(after=1)
    script.settle()
    return script


def caught_up(old: State, end: Script) -> State:
    """`old` after a look at what stands at the end, fills and all."""
    assert old.position is not None
    told = tuple(replace(report, fills=()) for report in end.book.values())
    fills = {report.id: report.fills for report in end.book.values()}
    state, _ = catch_up(old, old.position, told, fills, POLICY, MARGIN_RULES, end.now + 60_000)
    return state


def over(script: Script) -> Script:
    for _ in range(100):
        if script.state.position is None:
            return script
        script.accept() if script.pending else script.sleep()
    raise AssertionError(f"still open: {script.named()}")


def judged(end: Script) -> Restored:
    """What is made of the exchange when the state is lost."""
    known = tuple(end.book.values())
    return restore(
        empty("LTCUSDT"),
        open_orders=[report for report in known if report.status not in DONE],
        history=known,
        fills={report.id: report.fills for report in known},
        policy=end.policy,
        rules=end.rules,
        now=end.now,
    )


def from_nothing(end: Script) -> Script:
    made = judged(end)
    assert made.state.position is not None, made.state.halted
    return resumed(end, made.state)


@both_sides
def test_a_rebuilt_trade_owes_what_it_borrowed_and_repays_it(direction: Direction) -> None:
    end = protected(direction, rules=MARGIN_RULES)
    owed = end.lender.debt("USDT" if direction is Direction.LONG else "LTC").total
    script = from_nothing(end)
    (debt,) = script.state.debts
    assert (debt.own, debt.foreign) == (owed, ZERO)
    assert script.position.credit is not None
    assert not script.position.credit.unclaimed
    script.command(Verb.FLATTEN)
    over(script)
    assert end.lender.debt("USDT").total == end.lender.debt("LTC").total == ZERO


def test_a_rebuilt_trade_does_not_claim_what_it_can_not_have_borrowed() -> None:
    end = protected(rules=MARGIN_RULES)
    debt = end.lender.debts["USDT"]
    end.lender.debts["USDT"] = Debt(debt.principal + 1_000, debt.interest)
    script = from_nothing(end)
    (own,) = script.state.debts
    assert own.own < D(301)
    assert own.foreign > D(900)
    assert "foreign_debt" in script.told()


@both_sides
@pytest.mark.parametrize("how", [Resolve.FLATTEN, Resolve.ADOPT])
def test_a_trade_taken_over_owes_what_its_fills_explain(direction: Direction, how: Resolve) -> None:
    end = protected(direction, rules=MARGIN_RULES)
    event = Resolved(
        at=end.now,
        how=how,
        reports=tuple(end.book.values()),
        fills={report.id: report.fills for report in end.book.values()},
        stop=end.px(98),
    )
    made = judge(empty("LTCUSDT"), event, POLICY, MARGIN_RULES)
    assert isinstance(made, Takeover)
    script = resumed(end, made.state)
    if how is Resolve.ADOPT:
        assert script.named() == "Protected"
        assert script.state.debts[0].own > ZERO
        script.command(Verb.FLATTEN)
    over(script)
    assert end.lender.debt("USDT").total == end.lender.debt("LTC").total == ZERO


def test_a_state_from_before_the_loan_claims_what_the_entry_was_to_borrow() -> None:
    end = Script(rules=MARGIN_RULES)
    end.signal()
    old = end.state
    end.settle()
    end.fill("ENTRY")
    end.settle()
    state = caught_up(old, end)
    assert state.position is not None
    assert state.position.credit is not None
    assert state.position.credit.unclaimed


@both_sides
@pytest.mark.parametrize("answered", [False, True])
def test_an_entry_found_behind_a_state_that_was_borrowing_is_entered(direction: Direction, answered: bool) -> None:
    """Rule 11.3: none is sent before its loan is there, so the loan that the state asks after has been made."""
    end = Script(direction, rules=MARGIN_RULES)
    end.signal()
    end.accept()
    end.accept()
    if answered:
        end.accept()
    old = end.state
    assert end.named() == "Borrowing"
    end.settle()
    assert old.position is not None
    state, _ = catch_up(old, old.position, tuple(end.book.values()), {}, POLICY, MARGIN_RULES, end.now + 60_000)
    assert state.loan is not None
    assert state.loan.end is LoanEnd.DONE
    script = Script(end.direction, end.policy, end.rules)
    script.book, script.lender, script.now = dict(end.book), end.lender, end.now + 60_000
    script.state = state
    script.restart()
    assert script.named() == "Entering"
    script.settle()
    script.command(Verb.FLATTEN)
    over(script)
    assert len([record for record in end.lender.records if record.kind is LoanKind.BORROW]) == 1
    rest = D("0.00003")  # a short's first hour of interest can't be bought for: it is carried
    assert end.lender.debt("USDT").total + end.lender.debt("LTC").total <= rest


def test_an_entry_that_filled_behind_a_state_that_was_borrowing_is_covered() -> None:
    end = Script(rules=MARGIN_RULES)
    end.signal()
    old = end.state
    assert end.named() == "Borrowing"
    end.settle()
    end.fill("ENTRY")
    end.settle()
    state = caught_up(old, end)
    script = resumed(end, state)
    assert script.named() == "Protected"
    script.command(Verb.FLATTEN)
    over(script)
    assert end.lender.debt("USDT").total == ZERO


def test_an_older_state_that_explains_the_debt_repays_nothing_of_somebody_elses() -> None:
    """Rule 11.4: our repayment was done behind it, and what is owed still is what it knew to be theirs."""
    end = repaying(Direction.SHORT)
    end.lender.debts["LTC"] = Debt(end.lender.debt("LTC").principal + 2, end.lender.debt("LTC").interest)
    end.lender.add("LTC", D(2))
    old = end.state
    while not end.lender.records or end.lender.records[-1].kind is not LoanKind.REPAY:
        old = end.state
        end.accept() if end.pending else end.sleep()
    assert old.debts[-1].foreign == D(2)
    assert old.position is not None
    state, _ = catch_up(old, old.position, tuple(end.book.values()), {}, POLICY, MARGIN_RULES, end.now + 60_000)
    script = over(resumed(end, state))
    assert script.state.debts[-1].foreign == D(2)
    assert end.lender.debt("LTC").total == D(2)
    assert "debt_repaid_elsewhere" not in script.told()


@pytest.mark.parametrize("repaid", [True, False])
def test_a_repayment_behind_an_older_state_is_ours_beside_somebody_elses_debt(repaid: bool) -> None:
    """Rules 11.3, 11.4: the state before it knows what it would have repaid; that is looked for as one in doubt is."""
    end = repaying(Direction.SHORT)
    end.lender.debts["LTC"] = Debt(end.lender.debt("LTC").principal + 2, end.lender.debt("LTC").interest)
    end.lender.add("LTC", D(2))
    seen = [end.state]
    while not any(record.kind is LoanKind.REPAY for record in end.lender.records):
        end.accept() if end.pending else end.sleep()
        seen.append(end.state)
        if not repaid and end.state.loan is not None and end.state.loan.kind is LoanKind.REPAY:
            break
    old = next(state for state in reversed(seen) if state.loan is None or state.loan.kind is LoanKind.BORROW)
    assert old.position is not None
    assert old.debts[-1].own > D("2.9")
    state, _ = catch_up(old, old.position, tuple(end.book.values()), {}, POLICY, MARGIN_RULES, end.now + 60_000)
    script = over(resumed(end, state))
    assert end.lender.debt("LTC").total == D(2)
    assert script.state.debts[-1].foreign == D(2)
    assert "debt_repaid_elsewhere" not in script.told()
    assert ("loan_never" in script.told()) is not repaid


@both_sides
def test_what_somebody_else_has_borrowed_since_an_older_state_is_not_claimed(direction: Direction) -> None:
    """Rules 11.3, 11.4: ours was made before the entry, so that none is missing in the state of a later phase."""
    end = protected(direction, rules=MARGIN_RULES)
    old, asset = end.state, "USDT" if direction is Direction.LONG else "LTC"
    state = caught_up(old, end)
    debt, theirs = end.lender.debt(asset), D(3) if direction is Direction.LONG else D("0.03")  # a hundredth of ours
    end.lender.debts[asset] = Debt(debt.principal + theirs, debt.interest)
    end.lender.add(asset, theirs)
    script = resumed(end, state)
    script.command(Verb.FLATTEN)
    over(script)
    assert end.lender.debt(asset).total == theirs
    assert "foreign_debt" in script.told()


def test_an_older_state_of_a_short_whose_debt_is_gone_buys_nothing() -> None:
    """The exchange has liquidated the account while the service was down, and its newest state is lost."""
    end = protected(Direction.SHORT, rules=MARGIN_RULES)
    old = end.state
    assert old.position is not None
    told = tuple(end.book.values())
    fills = {report.id: report.fills for report in end.book.values()}
    state, _ = catch_up(old, old.position, told, fills, POLICY, MARGIN_RULES, end.now + 60_000, lost=True)
    end.lender.debts.clear()
    end.lender.liquidated = (end.now + 1_000,)
    script = resumed(end, state)
    sent = len(script.sent)
    script.read_account(after=3_000)  # what is gone is believed when it is seen twice (8.6)
    over(script)
    assert script.closed.reason is Reason.LIQUIDATED
    assert not [order for order in script.sent[sent:] if isinstance(order, PlaceOrder)]


def test_a_state_behind_which_the_loan_was_given_back_repays_nothing_twice() -> None:
    end = entering(rules=MARGIN_RULES)
    old = end.state
    end.command(Verb.CANCEL_ENTRY)
    over(end)
    assert old.position is not None
    told = tuple(end.book.values())
    state, _ = catch_up(old, old.position, told, {}, POLICY, MARGIN_RULES, end.now + 60_000)
    repayments = len(end.lender.records)
    over(resumed(end, state))
    assert len(end.lender.records) == repayments
    assert end.lender.debt("USDT").total == ZERO


@both_sides
def test_a_trade_whose_first_target_has_filled_is_rebuilt_and_carried_to_its_end(direction: Direction) -> None:
    end = protected(direction, rules=MARGIN_RULES)
    end.fill(Role.TP1)
    end.settle()
    script = from_nothing(end)
    assert script.named() == "Protected"
    assert {order.leg for order in script.position.orders if order.live} == {2, 3}
    script.command(Verb.FLATTEN)
    over(script)
    assert end.lender.debt("USDT").total == end.lender.debt("LTC").total == ZERO


@both_sides
def test_a_trade_of_which_a_leg_has_no_exit_is_not_taken_for_a_smaller_one(direction: Direction) -> None:
    """A short's exits may be for less than it owes, as the last buy takes what is owed beyond them: not a whole leg."""
    end = protected(direction, rules=MARGIN_RULES)
    del end.book[end.order(Role.SL).id]
    made = judged(end)
    assert made.state.position is None
    assert "its exits would sell" in made.state.halted


def test_a_leg_that_a_trailing_order_of_the_exchange_has_ended_had_no_stop_price() -> None:
    end = protected(Direction.SHORT, rules=MARGIN_RULES)
    end.fill(Role.SL)
    end.settle()
    stop = end.order(Role.SL).id
    end.book[stop] = replace(end.book[stop], stop_price=ZERO)
    script = from_nothing(end)
    assert [leg.n for leg in script.position.legs] == [1, 2, 3]
    script.command(Verb.FLATTEN)
    over(script)
    assert end.lender.debt("USDT").total == end.lender.debt("LTC").total == ZERO
