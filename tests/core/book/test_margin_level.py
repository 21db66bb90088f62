"""The margin level as it is, at another price, after an entry (rule 11.10; the example of the facts, 4.5)."""

from msgspec.structs import replace
from tests.core.build import POLICY, RULES, D, make_signal

from executor.core.book.margin_level import ladder, level_of, liquidation_price, reckoning, with_entry
from executor.core.book.plan import make_plan
from executor.core.model.facts import Balance
from executor.core.model.loans import Bars, Debt, MarginAccount
from executor.core.model.values import ZERO, Direction

BARS = Bars(borrow=D("1.25"), call=D("1.19"), liquidation=D("1.15"))
SHORT = MarginAccount(
    asked_at=0,
    balances={"USDT": Balance(D(4_000))},
    debts={"LTC": Debt(D("0.05"))},
    assets=D(4_000),
    liabilities=D(3_000),
    price=D(60_000),
)
"""1000 own, 0.05 sold short at 60000."""
NO_DEBT = MarginAccount(asked_at=0, balances={"USDT": Balance(D(1_000))}, assets=D(1_000), price=D(60_000))


def test_the_level_follows_the_price_of_what_is_owed() -> None:
    reckoned = reckoning(SHORT, RULES)
    levels = [reckoned.level(D(price)) for price in (60_000, 63_500)]
    assert [round(level, 3) for level in levels if level is not None] == [D("1.333"), D("1.260")]


def test_the_liquidation_price_is_where_the_level_meets_its_bar() -> None:
    price = liquidation_price(SHORT, RULES, BARS)
    assert price is not None
    assert round(price) == 69_565


def test_the_exchanges_own_figures_come_first() -> None:
    told = replace(SHORT, level=D("1.5"), liquidation_price=D(70_000))
    assert level_of(told) == D("1.5")
    assert liquidation_price(told, RULES, BARS) == D(70_000)
    assert round(level_of(SHORT) or ZERO, 3) == D("1.333")


def test_without_a_debt_there_is_no_level_and_no_liquidation() -> None:
    assert level_of(NO_DEBT) is None
    assert reckoning(NO_DEBT, RULES).level(D(1)) is None
    assert liquidation_price(NO_DEBT, RULES, BARS) is None


def test_there_is_no_price_for_a_level_that_the_price_does_not_move() -> None:
    quote_only = replace(SHORT, debts={"USDT": Debt(D(3_000))})
    assert liquidation_price(quote_only, RULES, BARS) is None


def test_a_price_below_zero_is_none() -> None:
    rich = replace(SHORT, balances={"USDT": Balance(D(4_000)), "LTC": Balance(D(1))}, assets=D(64_000))
    assert reckoning(rich, RULES).price_at(BARS.liquidation) is None


def test_an_entry_is_reckoned_with_its_loan_and_commission() -> None:
    account = replace(NO_DEBT, assets=D(100), balances={"USDT": Balance(D(100))}, price=D(100))
    before = reckoning(account, RULES)
    long = make_plan(make_signal(), POLICY, RULES, None)
    after = with_entry(before, long, D(200), RULES)
    assert after.level(D(98)) == (D("2.997") * 98) / 200
    short = make_plan(make_signal(Direction.SHORT), POLICY, RULES, None)
    after = with_entry(before, short, D(3), RULES)
    assert after.level(D(102)) == (100 + D("299.7")) / (3 * 102)


def test_the_ladder_comes_from_the_bars_of_the_account() -> None:
    steps = ladder(POLICY, BARS)
    assert (steps.least, steps.alert, steps.reduce) == (D("1.19"), D("1.19"), D("1.17"))


def test_the_operators_levels_come_first() -> None:
    policy = replace(POLICY, level_min=D("1.5"), level_alert=D("1.4"), level_reduce=D("1.3"))
    steps = ladder(policy, BARS)
    assert (steps.least, steps.alert, steps.reduce) == (D("1.5"), D("1.4"), D("1.3"))
