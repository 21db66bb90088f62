"""What operators see of a margin account: whose, its level, what is owed and whose debt it is (11.4, 11.9, 11.10)."""

import json
from decimal import Decimal

import msgspec
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES as MARGIN
from tests.ops.samples import closed
from tests.ops.test_metrics import metrics_of, samples

from executor.core.model.facts import Balance, Quote
from executor.core.model.loans import Debt, Loan, LoanKind, MarginAccount, Others, OwnDebt
from executor.core.model.policy import Policy
from executor.core.model.state import Market, State
from executor.ops import margin, margin_view, report, status, text
from executor.ops.telegram.commands import _status as in_the_chat

D = Decimal
ACCOUNT = MarginAccount(
    asked_at=5,
    balances={"USDT": Balance(D(700), D(300)), MARGIN.base: Balance(D(0))},
    debts={MARGIN.base: Debt(D("5"), D("0.00005"))},
    assets=D(1000),
    liabilities=D("500.005"),
    price=D(100),
    others={MARGIN.base: Others(D(1), D(1))},
)
OWED = OwnDebt(
    asset=MARGIN.base, own=D("4.00005"), foreign=D(1), borrowed=D(4), charged=D("0.00005"), ever=D(4), seen=Debt(D(5))
)
STATE = State(
    symbol=MARGIN.symbol,
    venue="live isolated margin",
    debts=(OWED,),
    market=Market(now=5, margin=ACCOUNT, quote=Quote(5, D(100), D(100), D(100))),
)


def test_status_tells_level_liquidation_and_whose_debt_it_is() -> None:
    found = status.status_of(STATE, MARGIN, running=True, now=STATE.market.now)
    assert found.margin is not None
    assert (found.margin.account, found.margin.level) == ("isolated margin", "2.0000")
    assert found.margin.liquidation_price is not None
    assert D(found.margin.liquidation_price) > 100
    (debt,) = found.margin.debts
    assert (debt.owed, debt.borrowed, debt.interest, debt.foreign) == ("4.00005", "4", "0.00005", "1")
    told = status.as_text(found)
    assert "margin level" in told
    assert "4.00005 owed; borrowed 4, interest 0.00005, repaid 0; and 1 not of Executor's making" in told
    assert msgspec.convert(json.loads(text.json(found)), status.Status) == found
    chat = in_the_chat(found)
    assert "isolated margin: level 2.0000, liquidation at" in chat
    assert f"{MARGIN.base}: 4.00005 owed" in chat


def test_without_a_debt_there_is_no_level_and_on_spot_no_account() -> None:
    free = replace(ACCOUNT, debts={}, liabilities=D(0), level=D(999))
    flat = replace(STATE, debts=(), market=replace(STATE.market, margin=replace(free, level=None)))
    found = status.status_of(flat, MARGIN, running=True, now=STATE.market.now).margin
    assert found is not None
    assert (found.level, found.liquidation_price, found.debts) == (None, None, [])
    assert ("margin level", "- (nothing is owed)") in margin.lines(found)
    assert status.status_of(replace(STATE, venue="live"), MARGIN, running=True, now=STATE.market.now).margin is None


def test_from_the_state_file_alone_debts_are_told_and_the_level_is_not() -> None:
    found = status.status_of(replace(STATE, market=Market()), None, running=False, now=STATE.market.now).margin
    assert found is not None
    assert found.debts
    assert ("margin level", "not known") in margin.lines(found)


def test_a_loan_that_is_under_way_is_told() -> None:
    loan = Loan(n=1, kind=LoanKind.REPAY, asset="USDT", amount=D("12.50"), sent_at=4)
    found = margin.margin_of(replace(STATE, loan=loan), MARGIN)
    assert found is not None
    assert found.doing == "repayment of 12.5 USDT: submitted"
    assert ("under way", found.doing) in margin.lines(found)


def test_metrics_have_level_and_debts_on_margin_alone() -> None:
    told = samples(metrics_of(STATE))
    assert told["executor_margin_level",] == 2
    assert told["executor_debt", "LTC"] == 4.00005
    assert told["executor_debt_interest", "LTC"] == 0.00005
    assert told["executor_debt_foreign", "LTC"] == 1
    on_spot = samples(metrics_of(replace(STATE, venue="live", debts=())))
    assert not [name for name in on_spot if "debt" in name[0] or "margin" in name[0]]


def test_a_report_tells_what_was_borrowed_what_it_cost_and_what_is_left() -> None:
    trade = closed(
        borrowed={"USDT": D(400)}, interest={"USDT": D("0.0125")}, debt_left={"USDT": D("0.00000100")}, pnl=D("-1.5")
    )
    row = report.row(trade)
    assert (row.borrowed, row.interest, row.debt_left) == (
        {"USDT": "400"},
        {"USDT": "0.0125"},
        {"USDT": "0.00000100"},
    )
    table = report.as_table([trade])
    assert "interest             0.0125 USDT" in table
    assert "still owed           0.000001 USDT" in table
    assert "interest" not in report.as_table([closed()])
    assert report.as_csv([trade]).splitlines()[1].endswith("USDT=400,USDT=0.0125,USDT=0.00000100")


def test_the_account_as_a_whole_tells_bars_ladder_and_each_asset() -> None:
    found = margin_view.view(STATE, ACCOUNT, Policy(level_min=D("1.4")), MARGIN)
    assert found.bars == ("1.25", "1.19", "1.15")
    assert (found.level_min, found.level_alert, found.level_reduce) == ("1.4", "1.19", "1.17")
    base = next(row for row in found.assets if row.asset == MARGIN.base)
    assert (base.borrowed, base.interest, base.own, base.others) == ("5", "0.00005", "4.00005", "1")
    told = margin_view.as_text(found)
    assert "lends down to 1.25, warns at 1.19, liquidates at 1.15" in told
    assert "no entry below 1.4 at its stop, alert below 1.19, closed below 1.17" in told
    assert msgspec.convert(json.loads(text.json(found)), margin_view.MarginView) == found
