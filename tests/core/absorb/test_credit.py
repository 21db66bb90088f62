"""Admission on margin: what is refused, and with what loan a trade begins (rules 11.2-11.4, 11.10)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, RICH, START, D, Script, both_sides, entering, make_quote, make_signal

from executor.core.book.debt import gross
from executor.core.book.levels import stop_limit
from executor.core.model.events import Commanded, LoansSeen, SignalSeen, Verb
from executor.core.model.intents import Borrow
from executor.core.model.loans import AssetTerms, Debt, LoanKind, Others, OwnDebt
from executor.core.model.policy import EntryMode, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Borrowing
from executor.core.model.values import ZERO, Direction
from executor.core.model.verdict import Refusal

TERMS = MARGIN_RULES.margin
assert TERMS is not None


def terms(**changes: object) -> SymbolRules:
    assert TERMS is not None
    return replace(MARGIN_RULES, margin=replace(TERMS, **changes))


def signalled(
    direction: Direction = Direction.LONG,
    policy: Policy = POLICY,
    rules: SymbolRules = MARGIN_RULES,
    holdings: dict[str, Decimal] | None = None,
) -> Script:
    script = Script(direction, policy, rules)
    if holdings is not None:
        script.lender.holdings = holdings
    script.signal()
    return script


def refused(script: Script) -> tuple[str, str]:
    """What is counted, and what people read."""
    assert script.state.position is None
    assert isinstance(script.verdict, Refusal)
    (kind,) = script.state.refused
    return kind, script.verdict.why


@both_sides
def test_what_is_missing_for_the_entry_is_to_be_borrowed(direction: Direction) -> None:
    script = signalled(direction)
    credit = script.position.credit
    assert isinstance(script.phase, Borrowing)
    assert credit is not None
    if direction is Direction.LONG:
        assert (credit.asset, credit.need, credit.spare) == ("USDT", D("301.5"), D(100))
    else:
        assert (credit.asset, credit.need, credit.spare) == ("LTC", D(3), ZERO)
    assert script.kinds() == ["QueryBorrowable", "QueryLoans"]


def test_with_enough_of_its_own_nothing_is_borrowed() -> None:
    script = signalled(holdings={"USDT": D(400)})
    assert script.named() == "Entering"
    assert script.kinds() == ["ENTRY"]


def test_without_the_account_there_is_no_trade() -> None:
    script = Script(rules=MARGIN_RULES)
    script.feed(
        SignalSeen(at=START, signal=make_signal(), quote=make_quote(100), balances=RICH, klines=(), margin=None)
    )
    assert refused(script) == ("no_balance", "the margin account could not be read")


def test_a_pair_that_can_not_be_traded_there_is_refused_with_its_reason() -> None:
    script = signalled(rules=terms(fault="LTCUSDT is not a margin pair"))
    assert refused(script) == ("margin", "LTCUSDT is not a margin pair")


def test_an_asset_that_is_not_lent_is_refused_only_where_it_must_be_borrowed() -> None:
    rules = terms(quote=AssetTerms(fault="USDT can't be borrowed"))
    kind, why = refused(signalled(rules=rules))
    assert (kind, why) == ("borrow", "201.50 USDT are missing: USDT can't be borrowed")
    assert signalled(rules=rules, holdings={"USDT": D(400)}).named() == "Entering"


@both_sides
def test_a_loan_above_the_operators_bound_is_refused(direction: Direction) -> None:
    kind, why = refused(signalled(direction, replace(POLICY, max_borrow=D(200))))
    assert kind == "max_borrow"
    assert why.endswith("USDT, MARGIN_MAX_BORROW_USD is 200")
    assert signalled(direction, replace(POLICY, max_borrow=D(300))).named() == "Borrowing"


@both_sides
def test_an_entry_that_would_stand_too_low_at_its_stop_is_refused(direction: Direction) -> None:
    kind, why = refused(signalled(direction, replace(POLICY, level_min=D("1.9"))))
    assert kind == "margin_level"
    assert why.startswith(f"at the stop {98 if direction is Direction.LONG else 102} the margin level would be 1.")
    assert why.endswith("must be at least 1.9 (MARGIN_LEVEL_MIN)")


def test_a_debt_that_was_there_before_is_not_touched() -> None:
    script = Script(rules=MARGIN_RULES)
    script.lender.debts["USDT"] = Debt(D(20))
    script.signal()
    kind, why = refused(script)
    assert kind == "foreign_debt"
    assert "owes 20 USDT that Executor has not borrowed: repay it (`executor repay USDT`)" in why
    assert script.told() == ["foreign_debt", "signal_refused"]


def test_beside_a_foreign_debt_only_where_that_is_allowed() -> None:
    script = Script(rules=MARGIN_RULES, policy=replace(POLICY, allow_foreign_debt=True))
    script.lender.debts["USDT"] = Debt(D(20))
    script.signal()
    assert script.named() == "Borrowing"
    script.settle()
    (debt,) = script.state.debts
    assert (debt.own, debt.foreign) == (D("201.50183306"), D("20.00018194"))


def test_a_debt_of_the_other_asset_is_no_obstacle() -> None:
    script = Script(rules=MARGIN_RULES)
    script.lender.debts["LTC"] = Debt(D("0.01"))
    script.signal()
    assert script.named() == "Borrowing"


def test_while_others_on_the_account_borrow_there_is_no_trade() -> None:
    script = Script(rules=MARGIN_RULES)
    script.lender.unsettled = True
    script.signal()
    assert refused(script)[0] == "loan_open"


def test_what_other_symbols_of_the_account_owe_is_not_foreign() -> None:
    script = Script(rules=MARGIN_RULES)
    script.lender.debts["USDT"] = Debt(D(20))
    script.lender.others = {"USDT": Others(owed=D(20), moved=D(20))}
    script.signal()
    assert script.named() == "Borrowing"


def test_a_debt_that_is_not_explained_yet_is_waited_for() -> None:
    script = finished()
    script.lender.debts["USDT"] = Debt(D(1))
    assert script.state.debts[0].own == 0
    script.state = replace(script.state, debts=(replace(script.state.debts[0], own=D(2), named=True),))
    script.signal()
    assert script.verdict == Refusal("the account shows a debt of USDT that is not explained yet")


def finished(direction: Direction = Direction.LONG) -> Script:
    """A trade that was given up has repaid its loan; the cooldown is over."""
    script = entering(direction, replace(POLICY, cooldown_abort_ms=0), MARGIN_RULES)
    script.unchecked = True
    script.command(Verb.CANCEL_ENTRY)
    script.settle()
    script.now += 20_000
    assert script.state.position is None
    return script


@pytest.mark.parametrize("answer", ["lost", "booked"])
def test_a_loan_that_is_not_settled_is_waited_for(answer: str) -> None:
    script = Script(rules=MARGIN_RULES)
    script.signal()
    script.accept()
    script.accept()
    script.lose("Borrow") if answer == "lost" else script.accept("Borrow")
    loan = script.state.loan
    assert loan is not None
    assert loan.open
    script.unchecked = True
    script.state = replace(script.state, position=None, outbox=(), locked_until=0)
    script.pending.clear()
    script.now += 1
    script.signal()
    assert script.verdict == Refusal("the loan of 201.50 USDT is not settled yet")


def test_while_a_debt_is_being_repaid_there_is_no_trade() -> None:
    script = Script(rules=MARGIN_RULES)
    script.lender.debts["LTC"] = Debt(D("0.01"))
    script.read_account()
    script.feed(Commanded(at=script.now, verb=Verb.REPAY, asset="LTC"))
    script.signal()
    assert script.verdict == Refusal("a debt is being repaid")


def test_a_late_look_from_before_tells_nothing() -> None:
    script = signalled()
    account = replace(script.account(), asked_at=START - 1)
    step = script.feed(
        LoansSeen(at=START, kind=LoanKind.REPAY, asset="LTC", account=account, records=(), asked_at=START - 1)
    )
    assert step.state.market.margin is not None
    assert step.state.market.margin.asked_at == START


def test_what_a_trade_costs_begins_with_it_whatever_the_last_one_owed() -> None:
    """Found by a recorded run: a short after a long paid the long's interest once more."""
    script = Script(Direction.SHORT, POLICY, MARGIN_RULES)
    last = OwnDebt(asset="USDT", borrowed=D(100), repaid=D("100.01"), charged=D("0.01"), ever=D("-0.01"))
    script.state = replace(script.state, debts=(last,))
    script.signal()
    (begun,) = script.state.debts
    assert (begun.borrowed, begun.repaid, begun.charged, begun.ever) == (ZERO, ZERO, ZERO, last.ever)


def test_without_prices_the_account_s_worth_is_not_known_and_there_is_no_trade() -> None:
    script = Script(rules=MARGIN_RULES)
    account = replace(script.account(), price=ZERO, assets=ZERO, liabilities=ZERO)
    script.feed(
        SignalSeen(at=START, signal=make_signal(), quote=make_quote(100), balances=RICH, klines=(), margin=account)
    )
    kind, text = refused(script)
    assert kind == "no_price"
    assert "a price could not be read" in text


@both_sides
def test_what_other_symbols_need_is_not_taken_for_free(direction: Direction) -> None:
    """Their loan has come, and their entry has not left yet: else this one would go out on their money (rule 11.2)."""
    asset = "USDT" if direction is Direction.LONG else "LTC"
    script = Script(direction, POLICY, MARGIN_RULES)
    script.lender.add(asset, D(1_000))
    script.lender.others = {asset: Others(claimed=D(1_000))}
    script.signal()
    assert script.named() == "Borrowing"
    assert script.position.credit is not None
    assert script.position.credit.spare == (D(100) if direction is Direction.LONG else ZERO)
    script.settle()
    (loan,) = [request for request in script.sent if isinstance(request, Borrow)]
    assert loan.amount == (D("201.50") if direction is Direction.LONG else D(3))


@pytest.mark.parametrize(
    ("mode", "price"),
    [(EntryMode.LIMIT_ONLY, D(100)), (EntryMode.LIMIT_THEN_MARKET, D("99.5")), (EntryMode.MARKET_ONLY, D("99.99"))],
)
def test_a_short_s_exits_can_be_paid_for_with_their_commission_however_low_it_sells(
    mode: EntryMode, price: Decimal
) -> None:
    """Rule 2.6: with collateral in other assets what it brings is all the quote that there is."""
    policy = replace(POLICY, entry_mode=mode, planb_max_dev=D("0.5"), planb_max_dev_r=None)
    limit = stop_limit(D(102), Direction.SHORT, policy, MARGIN_RULES)
    locked = limit * (gross(D(3), D("0.999"), MARGIN_RULES.step) + MARGIN_RULES.step)
    needed = locked - 3 * price * D("0.999")
    for own, taken in ((needed, True), (needed - D("0.00000001"), False)):
        script = signalled(Direction.SHORT, policy, holdings={"USDT": own, "LTC": D(5)})
        assert (script.state.position is not None) is taken
