"""What is owed, and by whom (rules 11.4, 11.6, 11.9)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, RULES, START, D, protected

from executor.core.book import debt as debts
from executor.core.book.ledger import holding
from executor.core.model.loans import Credit, Debt, LoanKind, MarginAccount, Others, OwnDebt
from executor.core.model.policy import Layout
from executor.core.model.state import End, OrderPhase, Position, State
from executor.core.model.values import ZERO, Direction

GRACE = 2_000
OTHERS = {"USDT": Others(owed=D(3_000), moved=D(3_000))}
LENT = debts.moved(OwnDebt(asset="USDT"), LoanKind.BORROW, D(1_000))


def shown(principal: str, interest: str = "0", *, after: int = 0, **others: object) -> MarginAccount:
    debt = Debt(D(principal), D(interest))
    return MarginAccount(asked_at=START + after, balances={}, debts={"USDT": debt} if debt.total else {}, **others)  # type: ignore[arg-type]


def read(debt: OwnDebt, *accounts: MarginAccount) -> OwnDebt:
    for account in accounts:
        debt = debts.read(debt, account, GRACE)
    return debt


def test_what_is_owed_while_we_owe_nothing_is_somebody_elses() -> None:
    seen = read(OwnDebt(asset="USDT"), shown("50", "0.1"))
    assert (seen.own, seen.foreign) == (ZERO, D("50.1"))


def test_a_loan_of_ours_is_ours_with_its_first_interest() -> None:
    seen = read(LENT, shown("1000", "0.01"))
    assert (seen.own, seen.borrowed, seen.charged, seen.moved) == (D("1000.01"), D(1_000), D("0.01"), ZERO)


def test_interest_grows_what_we_owe() -> None:
    seen = read(LENT, shown("1000", "0.01"), shown("1000", "0.02"))
    assert (seen.own, seen.charged) == (D("1000.02"), D("0.02"))


def test_a_repayment_to_the_last_unit_leaves_nothing() -> None:
    seen = debts.moved(read(LENT, shown("1000", "0.01")), LoanKind.REPAY, D("1000.01"))
    seen = read(seen, shown("0"))
    assert (seen.own, seen.repaid, seen.charged, seen.foreign) == (ZERO, D("1000.01"), D("0.01"), ZERO)


def test_interest_charged_between_reading_and_repaying_is_a_rest_of_ours() -> None:
    seen = debts.moved(read(LENT, shown("1000", "0.01")), LoanKind.REPAY, D("1000.01"))
    seen = read(seen, shown("0.01"))
    assert (seen.own, seen.charged) == (D("0.01"), D("0.02"))


def test_interest_of_many_hours_is_interest_where_nothing_was_lent() -> None:
    """Nobody has looked for long, at a high rate; and the least that is charged is much for a debt that is next to
    nothing: found by the simulation, which saw it called somebody else's, and never repaid (11.7).
    """
    seen = read(read(LENT, shown("1000", "0.01")), shown("1000", "30"))
    assert (seen.own, seen.charged, seen.foreign, seen.doubted_at) == (D(1_030), D(30), ZERO, 0)
    rest = debts.moved(seen, LoanKind.REPAY, D("1029.99999976"), D("999.99999976"))
    seen = read(rest, shown("0.00000024"), shown("0.00000024", "0.00000001", after=100))
    assert (seen.own, seen.foreign, seen.doubted_at) == (D("0.00000025"), ZERO, 0)


def test_a_rest_as_small_as_the_least_that_is_charged_is_interest() -> None:
    """Also where it is not known how much of the repayment was for interest."""
    rest = read(LENT, shown("1000"))
    rest = read(debts.moved(rest, LoanKind.REPAY, D("999.99999999")), shown("0.00000001", after=100))
    seen = read(debts.moved(rest, LoanKind.REPAY, D("0.00000001")), shown("0.00000001", after=200))
    assert (seen.own, seen.foreign, seen.doubted_at) == (D("0.00000001"), ZERO, 0)


def test_beside_a_repayment_whose_interest_is_known_a_small_loan_by_hand_is_nobodys_interest() -> None:
    owed = read(LENT, shown("1000", "0.01"))
    seen = debts.moved(owed, LoanKind.REPAY, D("1000.01"), D("999.98"))  # 0.03 were interest by then
    assert read(seen, shown("0.02", after=100)).own == D("0.02")
    doubted = read(seen, shown("5.02", after=100))
    assert doubted.doubted_at == START + 100
    believed = read(doubted, shown("5.02", after=100 + GRACE))
    assert (believed.own, believed.foreign, believed.charged) == (D("0.02"), D(5), D("0.03"))
    unknown = debts.moved(owed, LoanKind.REPAY, D("1000.01"))
    assert read(unknown, shown("5.02", after=100)).own == D("5.02")


def test_beside_a_foreign_debt_interest_is_shared_by_what_each_owes() -> None:
    before = replace(read(OwnDebt(asset="USDT"), shown("3000")), asset="USDT")
    seen = read(debts.moved(before, LoanKind.BORROW, D(1_000)), shown("4000", "0.04"))
    assert (seen.own, seen.foreign, seen.charged) == (D("1000.01"), D("3000.03"), D("0.01"))


def test_our_repayment_leaves_a_foreign_debt_as_it_was() -> None:
    before = read(OwnDebt(asset="USDT"), shown("3000"))
    seen = read(debts.moved(before, LoanKind.BORROW, D(1_000)), shown("4000", "0.04"))
    # the exchange takes the interest of all first
    seen = read(debts.moved(seen, LoanKind.REPAY, D("1000.01")), shown("3000.03"))
    assert (seen.own, seen.foreign) == (ZERO, D("3000.03"))


def test_a_debt_that_nothing_explains_is_believed_when_seen_twice_and_apart() -> None:
    seen = read(LENT, shown("1000", "0.01"))
    doubted = read(seen, shown("1500", "0.01", after=100))
    assert doubted == replace(seen, doubted_at=START + 100)
    assert read(doubted, shown("1500", "0.01", after=200)) == doubted
    believed = read(doubted, shown("1500", "0.01", after=100 + GRACE))
    assert (believed.own, believed.foreign, believed.doubted_at) == (D("1000.01"), D(500), 0)


def test_a_small_loan_by_hand_is_not_taken_for_interest() -> None:
    seen = read(LENT, shown("1000", "0.01"), shown("1000.5", "0.01", after=100))
    assert seen.doubted_at == START + 100


def test_a_stale_look_after_a_loan_is_not_taken_for_a_repayment_by_hand() -> None:
    seen = read(LENT, shown("0", after=100), shown("1000", "0.01", after=5_000))
    assert (seen.own, seen.by_hand, seen.doubted_at) == (D("1000.01"), ZERO, 0)


def test_a_stale_look_after_a_repayment_is_not_taken_for_interest() -> None:
    owed = read(LENT, shown("1000", "0.01"))
    seen = read(debts.moved(owed, LoanKind.REPAY, D("1000.01")), shown("1000", "0.01", after=100))
    assert (seen.own, seen.charged, seen.doubted_at) == (ZERO, D("0.01"), START + 100)
    assert read(seen, shown("0", after=200)).doubted_at == 0


def test_interest_of_somebody_elses_loan_that_counted_as_ours_is_not_repaid_by_them() -> None:
    """Found by the simulation: charged as their loan was made, it counted as ours, and the loan was repaid whole."""
    owed = read(LENT, shown("1000", "0.01"))
    seen = read(owed, shown("1100", "0.02", after=100), shown("1100", "0.02", after=100 + GRACE))
    assert (seen.own, seen.foreign, seen.charged) == (D("1000.02"), D(100), D("0.02"))
    seen = read(seen, shown("1000", "0.01", after=5_000), shown("1000", "0.01", after=5_000 + GRACE))
    assert (seen.own, seen.foreign, seen.charged, seen.by_hand) == (D("1000.01"), ZERO, D("0.01"), ZERO)


def test_interest_that_is_taken_in_another_asset_while_a_hand_borrows_is_not_repaid_by_it() -> None:
    """Found by the simulation: of a loan by hand that was repaid while nothing could be read, its interest was left."""
    owed = read(LENT, shown("1000", "0.01"))
    seen = read(owed, shown("1000.002", after=100), shown("1000.002", after=100 + GRACE))
    assert (seen.own, seen.foreign, seen.converted, seen.by_hand) == (D(1_000), D("0.002"), D("0.01"), ZERO)
    seen = read(owed, shown("1500", after=100), shown("1500", after=100 + GRACE))
    assert (seen.own, seen.foreign, seen.converted, seen.by_hand) == (D(1_000), D(500), D("0.01"), ZERO)
    repaid = debts.moved(owed, LoanKind.REPAY, D("1000.01"), D(1_000))
    seen = read(repaid, shown("500", after=100), shown("500", after=100 + GRACE))
    assert (seen.own, seen.foreign, seen.converted, seen.by_hand) == (ZERO, D(500), ZERO, ZERO)


def test_what_somebody_else_repays_is_taken_off_their_own_debt_first() -> None:
    before = read(OwnDebt(asset="USDT"), shown("300"))
    seen = read(debts.moved(before, LoanKind.BORROW, D(1_000)), shown("1300"))
    gone = read(seen, shown("900", after=100), shown("900", after=100 + GRACE))
    assert (gone.own, gone.foreign, gone.by_hand) == (D(900), ZERO, D(100))


def test_interest_that_is_taken_in_another_asset_is_nobodys_hand() -> None:
    """It shows in the debt, and a moment later it is gone, what was lent untouched (rule 8.8)."""
    seen = read(LENT, shown("1000", "0.01"), shown("1000", after=100))
    assert (seen.own, seen.charged, seen.converted) == (D(1_000), D("0.01"), D("0.01"))
    assert (seen.by_hand, seen.foreign, seen.doubted_at) == (ZERO, ZERO, 0)
    assert debts.accrued(seen, ZERO) == ZERO
    assert debts.of_new_trade(seen).converted == ZERO


def test_what_orders_may_have_been_sized_by_is_the_most_that_interest_was() -> None:
    seen = read(LENT, shown("1000", "0.02"), shown("1000", after=100))
    assert (seen.charged_most, seen.lapsed) == (D("0.02"), D("0.02"))
    later = read(seen, shown("1000", "0.015", after=200))
    assert (later.charged_most, later.lapsed) == (D("0.02"), D("0.005"))
    assert read(later, shown("1000", "0.035", after=300)).lapsed == debts.of_new_trade(later).lapsed == ZERO


def test_interest_that_is_taken_in_another_asset_while_the_loan_is_repaid_is_nobodys_hand() -> None:
    """The repayment's record tells of no interest. Found by the simulation."""
    seen = read(LENT, shown("1000", "0.01"))
    gone = read(debts.moved(seen, LoanKind.REPAY, D(1_000)), shown("0", after=100))
    assert (gone.own, gone.converted, gone.by_hand, gone.doubted_at) == (ZERO, D("0.01"), ZERO, 0)


def test_interest_that_is_taken_in_another_asset_is_shared_as_it_was_charged() -> None:
    before = read(OwnDebt(asset="USDT"), shown("1000"))
    seen = read(debts.moved(before, LoanKind.BORROW, D(3_000)), shown("4000"), shown("4000", "0.04", after=100))
    assert (seen.own, seen.foreign) == (D("3000.03"), D("1000.01"))
    gone = read(seen, shown("4000", after=200))
    assert (gone.own, gone.foreign, gone.converted, gone.by_hand) == (D(3_000), D(1_000), D("0.03"), ZERO)


def test_of_a_shared_account_ours_alone_is_taken_off() -> None:
    seen = read(replace(LENT, own=D(1_000)), shown("4000", "0.04", others=OTHERS))
    gone = read(seen, shown("4000", after=100, others=OTHERS))
    assert abs(gone.own - 1_000) < D("0.0000001") > abs(gone.converted - D("0.01"))
    assert (gone.foreign, gone.by_hand, gone.doubted_at) == (ZERO, ZERO, 0)


def test_a_rounding_of_the_exchange_is_nobodys_hand() -> None:
    seen = read(LENT, shown("1000", "0.01"), shown("1000", "0.00999999", after=100))
    assert (seen.own, seen.charged, seen.doubted_at) == (D("1000.00999999"), D("0.00999999"), 0)


class TestSharedAccount:
    """Several symbols on one cross account owe the same asset."""

    def test_what_others_of_this_service_owe_is_not_foreign(self) -> None:
        seen = read(OwnDebt(asset="USDT"), shown("3000", "0.03", others=OTHERS))
        assert (seen.own, seen.foreign, seen.others_moved) == (ZERO, ZERO, D(3_000))

    def test_what_nobody_of_this_service_owes_is(self) -> None:
        assert read(OwnDebt(asset="USDT"), shown("3100", others=OTHERS)).foreign == D(100)

    def test_interest_is_shared(self) -> None:
        before = read(OwnDebt(asset="USDT"), shown("3000", others=OTHERS))
        seen = read(debts.moved(before, LoanKind.BORROW, D(1_000)), shown("4000", "0.04", others=OTHERS))
        assert (seen.own, seen.foreign) == (D("1000.01"), ZERO)

    def test_a_loan_of_theirs_is_no_hand(self) -> None:
        before = read(LENT, shown("1000", "0.01"))
        seen = read(before, shown("4000", "0.05", others=OTHERS))
        assert (seen.own, seen.foreign, seen.doubted_at) == (D("1000.02000008"), ZERO, 0)

    def test_while_a_loan_of_theirs_is_not_settled_nothing_is_concluded(self) -> None:
        assert read(LENT, shown("9000", unsettled=True)) == LENT

    def test_what_is_missing_is_ours_only_beyond_what_they_owe(self) -> None:
        before = read(OwnDebt(asset="USDT"), shown("3000", others=OTHERS))
        seen = read(debts.moved(before, LoanKind.BORROW, D(1_000)), shown("4000", others=OTHERS))
        looks = (shown("3400", after=after, others=OTHERS) for after in (100, 100 + GRACE))
        gone = read(seen, *looks)
        assert (gone.own, gone.by_hand) == (D(400), D(600))


class TestOtherSymbolsBeside:
    """Whose sums tell what was done since the last look: those of who was there then (rules 9.2, 11.4)."""

    def of_two(self, ever: str = "2993") -> OwnDebt:
        """Ours beside another symbol's 3000, which has paid interest on loans of before."""
        others = {"USDT": Others(owed=D(3_000), moved=D(ever))}
        lent = debts.moved(read(OwnDebt(asset="USDT"), self.shown("3000", others)), LoanKind.BORROW, D(1_000))
        return read(lent, self.shown("4000", others))

    def shown(self, principal: str, others: dict[str, Others], n: int | None = 4, *, after: int = 0) -> MarginAccount:
        return shown(principal, after=after, others=others, beside={} if n is None else {"ETHUSDT": n})

    def test_one_that_is_not_traded_any_more_has_repaid_nothing_of_ours(self) -> None:
        """Taken from SYMBOLS, it took the interest that it had ever paid with it: so much of ours counted as repaid by
        somebody else, and stayed owed.
        """
        owed = self.of_two()
        gone = read(owed, *(self.shown("4000", {}, None, after=after) for after in (100, 100 + GRACE)))
        assert (gone.own, gone.by_hand, gone.foreign) == (D(1_000), ZERO, D(3_000))
        repaid = {"USDT": Others(owed=ZERO, moved=D(-7))}
        alone = read(owed, self.shown("1000", repaid, 5), self.shown("1000", {}, None))
        assert (alone.own, alone.by_hand, alone.foreign, alone.doubted_at) == (D(1_000), ZERO, ZERO, 0)

    def test_one_that_has_borrowed_and_repaid_between_two_looks_leaves_its_interest_to_us(self) -> None:
        """Its repayment pays all interest first, ours as well: what was left counted as somebody else's
        where an entry was refused, and its loan given back within a second.
        """
        beside = self.shown("1000", {"USDT": Others()})
        seen = read(replace(LENT, own=D("1000.01"), seen=Debt(D(1_000), D("0.01")), moved=ZERO), beside)
        repaid = {"USDT": Others(moved=D("-0.005"))}
        looks = [self.shown("1000.015", repaid, 6, after=after) for after in (100, 100 + GRACE)]
        after = read(seen, *looks)
        assert (after.own, after.foreign, after.by_hand, after.doubted_at) == (D("1000.015"), ZERO, ZERO, 0)

    def test_so_does_one_that_has_borrowed_again_since(self) -> None:
        """More than it had repaid: what it had paid of our interest counted as lent by somebody else."""
        owed = replace(LENT, own=D("1000.01"), seen=Debt(D(1_200), D("0.012")), moved=ZERO, others_moved=D(200))
        again = {"USDT": Others(owed=D(300), moved=D("299.998"), repaid=D("200.002"))}
        looks = [self.shown("1300.01", again, 6, after=after) for after in (100, 100 + GRACE)]
        after = read(replace(owed, principal=ZERO, beside={"ETHUSDT": 4}), *looks)
        assert (after.own, after.foreign, after.by_hand, after.doubted_at) == (D("1000.01"), ZERO, ZERO, 0)
        assert after.others_repaid == D("200.002")

    def test_what_we_owe_is_no_more_than_what_is_owed(self) -> None:
        """Each rounds its share of the interest by itself: a unit too much was asked for, and refused."""
        owed = replace(LENT, own=D("1000.00000001"), seen=Debt(D(1_000)), moved=ZERO, principal=ZERO)
        crumb = {"USDT": Others(owed=D("0.00000001"))}
        assert read(owed, shown("1000", others=crumb)).own == D(1_000)

    def test_what_one_was_charged_on_a_loan_that_came_and_went_is_its_own(self) -> None:
        """Of a rest of ours it counted as lent by somebody else, and as much of ours as repaid by them."""
        owed = replace(LENT, own=D("0.0000053"), seen=Debt(D("0.0000053")), moved=ZERO, principal=ZERO)
        gone = {"USDT": Others(owed=D("0.000004"), repaid=D("0.4"))}
        after = read(owed, shown("0.0000093", others=gone))
        assert (after.own, after.foreign, after.by_hand, after.doubted_at) == (D("0.0000053"), ZERO, ZERO, 0)

    def test_one_that_is_traded_anew_has_lent_nothing_since(self) -> None:
        lent = read(LENT, shown("1000"))
        seen = read(lent, self.shown("1000", {"USDT": Others(moved=D(-70))}))
        assert (seen.own, seen.by_hand, seen.foreign, seen.doubted_at) == (D(1_000), ZERO, ZERO, 0)
        assert read(seen, self.shown("1300", {"USDT": Others(owed=D(300), moved=D(230))}, 5)).own == D(1_000)

    def test_one_whose_state_is_lost_and_that_has_claimed_its_part_has_repaid_nothing(self) -> None:
        """Its sum begins anew: 3000 counted as borrowed by somebody else, and all of ours as repaid by them."""
        claimed = {"USDT": Others(owed=D(3_000))}
        looks = [self.shown("4000", claimed, 0, after=after) for after in (100, 100 + GRACE)]
        seen = read(self.of_two("3000"), *looks)
        assert (seen.own, seen.by_hand, seen.foreign) == (D(1_000), ZERO, ZERO)

    @pytest.mark.parametrize("before", [None, 9])
    def test_what_one_that_is_traded_anew_has_borrowed_before_the_first_look_is_not_ours(
        self, before: int | None
    ) -> None:
        """Or one whose loan was under way at the end of a version that kept no names: all that it had borrowed counted
        as somebody else's besides, and as much of ours as repaid by them.
        """
        seen = read(LENT, self.shown("1000", {}, before))
        lent = {"USDT": Others(owed=D(300), moved=D(230))}
        looks = [self.shown("1300", lent, 1, after=after) for after in (100, 100 + GRACE)]
        after = read(seen, *looks)
        assert (after.own, after.foreign, after.by_hand, after.doubted_at) == (D(1_000), ZERO, ZERO, 0)
        more = read(seen, *(self.shown("1350", lent, 1, after=after) for after in (100, 100 + GRACE)))
        assert (more.own, more.foreign) == (D(1_000), D(50))

    def test_a_rounding_of_theirs_was_not_borrowed_by_one_whose_state_was_lost(self) -> None:
        """What each rounds of the interest may be a unit more than is owed: once that was taken in BNB, so much of ours
        counted as repaid by somebody else.
        """
        theirs = {"USDT": Others(owed=D("66.00000002"), moved=D(66))}
        owed = replace(LENT, own=D("1000.00000009"), seen=Debt(D(1_066), D("0.0000001")), moved=ZERO, principal=ZERO)
        owed = replace(owed, others_moved=D(66), beside={"ETHUSDT": 2})
        looks = [self.shown("1066", theirs, 0, after=after) for after in (100, 100 + GRACE)]
        after = read(owed, *looks)
        assert (after.by_hand, after.foreign, after.doubted_at) == (ZERO, ZERO, 0)

    def test_what_was_somebody_elses_is_that_of_a_symbol_that_is_traded_anew(self) -> None:
        beside = read(replace(LENT, own=D(1_000), foreign=D(3_000), seen=Debt(D(3_000))), shown("4000"))
        seen = read(beside, self.shown("4000", {"USDT": Others(owed=D("2999.9"), moved=D(2_990))}))
        assert (seen.own, seen.foreign) == (D(1_000), ZERO)


class TestWithoutRecord:
    """Rule 11.12: of the debt, what a rebuilt trade's purchases explain is its own."""

    def test_all_of_it_where_they_explain_all(self) -> None:
        made = debts.claimed(OwnDebt(asset="USDT"), shown("1005", "0.1"), D(1_000))
        assert (made.own, made.foreign, made.borrowed, made.charged) == (D("1005.1"), ZERO, D(1_000), D("5.1"))

    def test_never_more_than_is_owed(self) -> None:
        """Rule 11.7: a quotient is rounded at 28 digits, and was taken for one unit more, which nobody can repay."""
        account = shown("91649692.43441", "916.49692435")
        made = debts.claimed(OwnDebt(asset="USDT"), account, D(91_649_694))
        assert (made.own, made.foreign) == (account.debt("USDT").total, ZERO)

    def test_only_their_part_where_more_is_owed(self) -> None:
        made = debts.claimed(OwnDebt(asset="USDT"), shown("4000", "0.04"), D(1_000))
        assert (made.own, made.foreign) == (D("1000.01"), D("3000.03"))

    def test_a_record_that_makes_all_that_is_owed_with_interest_is_believed(self) -> None:
        """It tells which part is somebody else's, however much the fills explain."""
        seen = Debt(principal=D(2))
        known = OwnDebt(asset="USDT", own=D(3), moved=D(3), principal=D(3), borrowed=D(3), foreign=D(2), seen=seen)
        made = debts.claimed(known, shown("5", "0.0001"), D(100))
        assert made.own + made.foreign == D("5.0001")
        assert D(3) < made.own < D("3.0001")

    def test_a_loan_that_is_known_and_not_owed_any_more_has_been_repaid_by_somebody_else(self) -> None:
        """Or by us, in a state that was lost: it is not to be borrowed again."""
        known = OwnDebt(asset="USDT", own=D(3), borrowed=D(3))
        made = debts.claimed(known, shown("0"), D(3))
        assert (made.own, made.borrowed, made.by_hand) == (ZERO, D(3), D(3))
        made = debts.claimed(replace(known, repaid=D(3)), shown("0"), D(3))
        assert (made.own, made.borrowed, made.by_hand) == (ZERO, ZERO, ZERO)

    def test_what_was_sold_of_a_loan_and_is_not_owed_was_repaid_by_somebody(self) -> None:
        made = debts.claimed(OwnDebt(asset="USDT"), shown("0"), D(3), D(3))
        assert (made.own, made.borrowed, made.by_hand) == (ZERO, D(3), D(3))

    def test_interest_is_not_taken_for_a_part_of_the_loan(self) -> None:
        made = debts.claimed(OwnDebt(asset="USDT"), shown("2.99", "0.001"), D(3))
        assert (made.own, made.borrowed, made.charged) == (D("2.991"), D("2.99"), D("0.001"))

    def test_what_other_symbols_owe_beside_somebody_else_is_not_its_own(self) -> None:
        """Rule 11.4: what was somebody else's was claimed, and of a short bought back, as soon as others owed any."""
        others = {"USDT": Others(owed=D("30.0003"))}
        made = debts.claimed(OwnDebt(asset="USDT"), shown("100", "0.001", others=others), D(40))
        assert D(40) <= made.own <= D("40.001")
        assert made.borrowed == D(40)
        assert made.own + made.foreign + others["USDT"].owed == D("100.001")

    @pytest.mark.parametrize("theirs", ["0", "1000"])
    def test_symbols_whose_records_are_all_lost_have_each_its_part(self, theirs: str) -> None:
        """Rule 11.12: who claims first leaves to the others what their fills explain, and to somebody else the rest."""
        principal = D(200) + D(theirs)
        first = debts.claimed(
            OwnDebt(asset="USDT"),
            shown(str(principal), "0.0002", others={"USDT": Others(unclaimed=D(150))}),
            D(50),
        )
        assert D(50) <= first.own <= D("50.0001")
        assert D(theirs) <= first.foreign <= D(theirs) + D("0.0002")
        others = {"USDT": Others(owed=first.own)}
        last = debts.claimed(OwnDebt(asset="USDT"), shown(str(principal), "0.0002", others=others), D(150))
        assert D("149.999") < last.own <= D("150.001")
        assert last.own + first.own + last.foreign == principal + D("0.0002")

    def test_of_symbols_that_borrowed_less_than_they_spent_each_owes_in_proportion(self) -> None:
        others = {"USDT": Others(unclaimed=D(300))}
        made = debts.claimed(OwnDebt(asset="USDT"), shown("100", "0.01", others=others), D(100))
        assert (made.own, made.foreign, made.borrowed) == (D("25.0025"), ZERO, D("25.0025"))

    def test_nothing_where_nothing_is_owed(self) -> None:
        assert debts.claimed(OwnDebt(asset="USDT"), shown("0"), D(1_000)).own == ZERO

    def test_what_the_fills_or_the_plan_explain(self) -> None:
        for direction, spent in ((Direction.LONG, D(300)), (Direction.SHORT, D(3))):
            position = protected(direction, rules=MARGIN_RULES).position
            assert debts.explained(position, Credit(asset="")) == spent
            assert debts.explained(position, Credit(asset="", need=D(1_000))) == D(1_000)

    def test_a_trade_on_spot_owes_nothing(self) -> None:
        assert debts.unclaimed(Direction.LONG, D(300), RULES) is None
        assert debts.unclaimed(Direction.SHORT, D(3), MARGIN_RULES) == Credit(
            asset="LTC", need=D(3), spare=D(3), unclaimed=True
        )


def test_debts_are_found_replaced_and_summed_up_by_asset() -> None:
    state = debts.with_debt(State(symbol="LTCUSDT"), LENT)
    assert debts.with_debt(state, LENT) is state
    state = debts.with_debt(state, OwnDebt(asset="LTC"))
    assert debts.owed(state.debts) == {"USDT": D(1_000)}
    assert debts.find(state.debts, "BNB") == OwnDebt(asset="BNB")
    assert debts.of_new_trade(LENT).borrowed == ZERO


def test_what_an_earlier_trade_left_owed_is_bought_back_as_far_as_the_base_at_hand_does_not_repay_it() -> None:
    """Rules 11.6, 11.7: a loan that could not be repaid, its coins free, was bought back twice by the next short."""
    left = OwnDebt(asset="LTC", own=D("0.200002"))
    assert debts.accrued(left, D("0.2")) == D("0.000002")
    assert debts.accrued(left, D(5)) == ZERO
    assert debts.accrued(left, ZERO) == D("0.200002")
    lent = debts.moved(left, LoanKind.BORROW, D("0.1"))
    charged = replace(lent, own=D("0.300009"), charged=D("0.000007"))
    assert debts.accrued(charged, D("0.2")) == D("0.000009")
    assert debts.accrued(replace(charged, own=D("0.100009"), by_hand=D("0.2")), ZERO) == D("0.000009")
    assert debts.accrued(replace(charged, own=ZERO, by_hand=D("0.300009")), ZERO) == D("-0.1")


class TestBuyingBack:
    """Rule 11.6, with the example of 0.01 BTC in the facts: sold 3 LTC, 0.1 % commission."""

    def short(self, accrued: str = "0.00003", **changes: object) -> Position:
        position = protected(Direction.SHORT, rules=MARGIN_RULES).position
        assert position.credit is not None
        return replace(position, credit=replace(position.credit, accrued=D(accrued)), **changes)

    def held(self, position: Position) -> Decimal:
        return holding(position, MARGIN_RULES).held

    def test_debt_interest_and_commission_are_bought(self) -> None:
        assert self.held(self.short(legs=())) == D("3.004")  # (3 + 4 * 0.00003) / 0.999, up to the step

    def test_before_anything_is_sold_what_the_loan_has_cost_is_no_position(self) -> None:
        """Found by a recorded run: the first hour's interest was told of as a unit without a stop."""
        short = self.short(legs=())
        waiting = tuple(replace(order, cum_qty=ZERO, fills=()) for order in short.orders)
        assert self.held(replace(short, orders=waiting)) == ZERO

    def test_commission_in_a_third_asset_takes_nothing_of_what_is_bought(self) -> None:
        short = self.short(legs=())
        orders = tuple(
            replace(order, fills=tuple(replace(fill, fee_asset="BNB") for fill in order.fills))
            for order in short.orders
        )
        assert self.held(replace(short, orders=orders)) == D("3.001")

    def test_an_entry_without_commission_tells_of_no_asset_that_the_exits_pay_in(self) -> None:
        """The exits bought a thousandth less than is owed."""
        short = self.short(legs=())
        free = tuple(
            replace(order, fills=tuple(replace(fill, fee=ZERO, fee_asset="") for fill in order.fills))
            for order in short.orders
        )
        assert self.held(replace(short, orders=free)) == D("3.004")

    def test_interest_that_comes_while_the_exits_stand_moves_none_of_them(self) -> None:
        assert self.held(self.short("0.01")) == sum(leg.qty for leg in self.short().legs) == D("3.004")

    def test_interest_that_is_taken_in_another_asset_moves_no_exit(self) -> None:
        """They buy beyond the debt what they were sized by, and a close buys what is owed."""
        short = self.short("0")
        assert short.credit is not None
        larger = replace(short.legs[0], qty=short.legs[0].qty + D("0.01"))
        lapsed = replace(short, credit=replace(short.credit, lapsed=D("0.01")), legs=(larger, *short.legs[1:]))
        found = holding(lapsed, MARGIN_RULES)
        assert (found.held, found.beyond, found.most) == (D("3.014"), D("-0.010"), D("3.016"))

    def test_targets_that_are_for_more_than_the_stop_beside_them_are_not_too_large(self) -> None:
        """Rule 4.3: of a rebuilt trade whose stop alone was moved, and for a little less."""
        script = protected(Direction.SHORT, replace(POLICY, layout=Layout.PLAIN, split=(D(1), D(1), ZERO)), RULES)
        credit = self.short("0").credit
        targets = tuple(replace(leg, qty=leg.qty + D("0.004")) for leg in script.position.legs if leg.n)
        stop = replace(script.leg(0), qty=D("3.004"))
        found = holding(replace(script.position, credit=credit, legs=(stop, *targets)), MARGIN_RULES)
        assert (found.held, found.most) == (D("3.004"), D("3.008"))

    def test_exits_that_are_for_less_than_was_sold_leave_the_rest_held(self) -> None:
        """What they are not for is no interest that the last buy may take: a leg is missing, and that part is bare."""
        short = self.short()
        found = holding(replace(short, legs=short.legs[:2]), MARGIN_RULES)
        assert (found.held, found.beyond) == (D("3.004"), ZERO)

    def test_interest_that_is_shared_otherwise_makes_no_exit_too_large(self) -> None:
        """The legs are for 0.002 more than is reckoned to be owed now; for more than a thousandth, they are wrong."""
        short = self.short()
        larger = replace(short.legs[0], qty=short.legs[0].qty + D("0.002"))
        assert holding(replace(short, legs=(larger, *short.legs[1:])), MARGIN_RULES).most == D("3.006")
        larger = replace(larger, qty=larger.qty + 1)
        assert holding(replace(short, legs=(larger, *short.legs[1:])), MARGIN_RULES).most == D("3.008")

    def test_what_somebody_else_repaid_is_not_bought(self) -> None:
        assert self.held(self.short("-1", legs=())) == D("2.003")

    def test_what_is_bought_beyond_the_debt_is_dust_and_not_sold_back(self) -> None:
        for bought, held in (("3.005", ZERO), ("3.5", D("-0.49347"))):  # 0.0035 of it went as commission
            script = protected(Direction.SHORT, rules=MARGIN_RULES)
            credit = script.position.credit
            assert credit is not None
            entry = script.order("ENTRY")
            fill = replace(entry.fills[0], qty=D(bought), fee=D(bought) / 1_000, fee_asset="LTC")
            back = replace(
                script.order("SL"), phase=OrderPhase.CLOSED, end=End.FILLED, cum_qty=D(bought), fills=(fill,)
            )
            over = replace(script.position, orders=(entry, back), credit=replace(credit, accrued=D("0.00003")), legs=())
            assert self.held(over) == held

    def test_what_somebody_else_repaid_was_not_bought_twice(self) -> None:
        """An entry that never filled, and half of its loan given back by hand: nothing is sold for it."""
        assert self.held(self.short("-3.5", legs=())) == ZERO
        orders = tuple(replace(order, cum_qty=ZERO, fills=()) for order in self.short().orders)
        assert self.held(self.short("-1.5", legs=(), orders=orders)) == ZERO

    def test_what_was_bought_is_not_bought_again(self) -> None:
        script = protected(Direction.SHORT, rules=MARGIN_RULES)
        script.unchecked = True
        script.quote("102.1", after=1_000)
        for role in ("TP1", "TP2", "SL"):
            script.trade(role, price=D(98))
            script.push(script.order(role).id)
        assert holding(script.position, MARGIN_RULES).left == D("3.004")
        assert self.held(script.position) == ZERO


GONE = debts.moved(read(LENT, shown("1000", "0.01")), LoanKind.REPAY, D("1000.01"), D(1_000))


def test_interest_that_shows_only_once_all_is_repaid_is_ours() -> None:
    """It is charged by the hour; when it shows, Binance's documents leave open (rules 8.8, 11.7)."""
    paid = read(GONE, shown("0", after=100))
    late = read(paid, shown("0", "0.01", after=20_000))
    assert (late.own, late.foreign, late.charged, late.named) == (D("0.01"), ZERO, D("0.02"), False)
    of_the_next = read(debts.of_new_trade(paid), shown("0", "0.01", after=20_000))
    assert (of_the_next.own, of_the_next.foreign) == (D("0.01"), ZERO)
    after_the_next = read(debts.of_new_trade(debts.of_new_trade(paid)), shown("0", "0.01", after=20_000))
    assert (after_the_next.own, after_the_next.foreign) == (D("0.01"), ZERO)


def test_what_is_no_interest_of_ours_is_somebody_elses_though_we_owed_before() -> None:
    paid = read(GONE, shown("0", after=100))
    for account in (
        shown("0.01", after=20_000),  # lent
        shown("0", "10.01", after=20_000),  # more than an hour's, by far
    ):
        seen = read(paid, account)
        assert (seen.own, seen.foreign) == (ZERO, account.debt("USDT").total)
    beside = replace(paid, foreign=D(1), seen=Debt(D(1)))
    assert read(beside, shown("0", "0.01", after=20_000)).own == ZERO
    never = read(OwnDebt(asset="USDT"), shown("0", "0.01"))
    assert (never.own, never.foreign) == (ZERO, D("0.01"))


def test_interest_alone_is_left_to_the_symbol_that_has_borrowed() -> None:
    others = {"USDT": Others(moved=D("-0.01"))}
    seen = read(OwnDebt(asset="USDT"), shown("0", "0.01", others=others))
    assert (seen.own, seen.foreign) == (ZERO, ZERO)
    assert read(OwnDebt(asset="USDT"), shown("5", "0.01", others=others)).foreign == D("5.01")
