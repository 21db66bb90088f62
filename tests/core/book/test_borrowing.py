"""What an entry needs and how much of it is borrowed (rule 11.2)."""

from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, RULES, D, make_signal

from executor.core.book.borrowing import missing, need, terms_of, worst_price
from executor.core.book.plan import make_plan
from executor.core.model.loans import AssetTerms, MarginTerms
from executor.core.model.policy import EntryMode, Policy
from executor.core.model.state import Plan
from executor.core.model.values import ZERO, Direction


def plan(direction: Direction = Direction.LONG, policy: Policy = POLICY) -> Plan:
    return make_plan(make_signal(direction), policy, RULES, None)


def test_a_limit_entry_alone_needs_its_exact_price() -> None:
    policy = replace(POLICY, entry_mode=EntryMode.LIMIT_ONLY)
    needed = need(plan(), policy, RULES)
    assert (needed.asset, needed.amount) == ("USDT", D(300))


def test_an_entry_that_may_end_at_market_needs_the_guards_price() -> None:
    for mode in (EntryMode.LIMIT_THEN_MARKET, EntryMode.MARKET_ONLY):
        assert need(plan(), replace(POLICY, entry_mode=mode), RULES).amount == D(
            "301.5"
        )  # a quarter of R = 2 above 100


def test_a_guard_nearer_than_the_entry_does_not_make_it_cheaper() -> None:
    policy = replace(POLICY, planb_max_dev=D("0.1"))
    assert need(plan(), policy, RULES).amount == D("300.3")
    tight = replace(plan(), targets=(D("100.005"),))
    assert need(tight, policy, RULES).amount == D(300)


def test_a_short_needs_what_it_sells() -> None:
    needed = need(plan(Direction.SHORT), POLICY, RULES)
    assert (needed.asset, needed.amount) == ("LTC", D(3))


def test_the_worst_price_stays_short_of_the_target_and_on_the_tick() -> None:
    wide = replace(POLICY, planb_max_dev_r=ZERO)
    assert worst_price(plan(), wide, RULES) == D("101.99")
    assert worst_price(plan(Direction.SHORT), wide, RULES) == D("98.01")
    odd = replace(POLICY, planb_max_dev=D("0.123"), planb_max_dev_r=ZERO, planb_abort_past_tp1=False)
    assert worst_price(plan(), odd, RULES) == D("100.12")
    assert worst_price(plan(Direction.SHORT), odd, RULES) == D("99.88")


def test_only_what_is_missing_is_borrowed_up_to_the_assets_precision() -> None:
    terms = AssetTerms(min_borrow=D(5))
    assert missing(D(300), D(300), terms) == ZERO
    assert missing(D(300), D(301), terms) == ZERO
    assert missing(D("300.000000001"), D(100), terms) == D("200.00000001")
    assert missing(D(300), D(299), terms) == D(5)


def test_the_terms_are_those_of_the_asset() -> None:
    base, quote = AssetTerms(min_borrow=D(1)), AssetTerms(min_borrow=D(2))
    assert MARGIN_RULES.margin is not None
    terms = MarginTerms(isolated=True, bars=MARGIN_RULES.margin.bars, base=base, quote=quote)
    assert terms_of("LTC", terms, RULES) is base
    assert terms_of("USDT", terms, RULES) is quote
