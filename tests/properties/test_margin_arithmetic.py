"""Sections 7 and 8 of what is known of margin, for any step, size, commission, rate of interest and time held (11.6).

Whole lives, on an account that charges interest by the full hour: a short's buy-back repays the whole debt, or the rest
is below what can be bought, and what is bought beyond it is less than three steps; a long repays what it owes.
"""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, Script
from tests.core.lender import HOUR_MS

from executor.core.model.events import Verb
from executor.core.model.ids import Role
from executor.core.model.loans import PRECISION
from executor.core.model.values import ZERO, Direction

D = Decimal
steps = st.sampled_from([D("0.00001"), D("0.0001"), D("0.001"), D("0.01"), D("0.1")])
sizes = st.integers(1, 100)
fees = st.sampled_from([ZERO, D("0.00075"), D("0.001"), D("0.01")])
paid_in = st.sampled_from([None, "BNB"])
rates = st.sampled_from([ZERO, D("0.00000001"), D("0.00000571"), D("0.0001")])
hours = st.integers(0, 200)
least = st.sampled_from([D("0.01"), D(5), D(20)])
endings = st.sampled_from(["targets", "stops", "flatten", "one target, then flatten"])


def life(
    direction: Direction,
    step: Decimal,
    size: int,
    fee: Decimal,
    asset: str | None,
    rate: Decimal,
    held: int,
    min_notional: Decimal,
    ending: str,
) -> Script:
    """A trade from its signal to its repayment."""
    rules = replace(
        MARGIN_RULES,
        step=step,
        min_qty=step,
        max_qty=D(0),
        min_notional=min_notional,
        maker_fee=fee,
        taker_fee=fee,
    )
    qty = max(size * step, D(1))
    script = Script(direction, replace(POLICY, qty=rules.whole(qty), after_tp1=POLICY.after_tp1), rules)
    script.lender.holdings = {"USDT": 100 * qty, "LTC": ZERO, "BNB": D(1)}
    script.lender.rate = rate
    script.fee_asset = asset
    script.signal()
    script.settle()
    script.fill(Role.ENTRY)
    script.settle()
    for _ in range(held):
        script.now += HOUR_MS
        script.read_account()
        script.settle()
    script.quote("102.1" if "target" in ending else "97.9" if ending == "stops" else "100", after=1_000)
    if "target" in ending:
        script.fill(Role.TP1)
        script.settle()
    if ending == "targets":
        script.quote("104.1", after=1_000)
        script.fill(Role.TP2)
        script.settle()
    if ending == "stops":
        for role in (Role.SL1, Role.SL2, Role.SL):
            script.fill(role, price=script.px("97.9"))
        script.settle()
    else:
        script.command(Verb.FLATTEN)
    for _ in range(300):
        if script.state.position is None:
            return script
        script.accept() if script.pending else script.sleep()
    raise AssertionError(f"still open: {script.named()} {script.state.loan}")


drawn = given(steps, sizes, fees, paid_in, rates, hours, least, endings)
often = settings(max_examples=100, deadline=None)


@drawn
@often
def test_a_shorts_buy_back_repays_the_debt_or_the_rest_can_not_be_bought(
    step: Decimal,
    size: int,
    fee: Decimal,
    asset: str | None,
    rate: Decimal,
    held: int,
    min_notional: Decimal,
    ending: str,
) -> None:
    script = life(Direction.SHORT, step, size, fee, asset, rate, held, min_notional, ending)
    owed, kept = script.lender.debt("LTC").total, script.lender.holdings["LTC"]
    if owed:
        assert kept == ZERO
        assert not script.rules.carries_market(script.rules.whole(owed / (1 - fee)), script.last)
        assert script.closed.debt_left == {"LTC": owed}
    beyond = kept - owed
    bought = sum(fill.qty for told in script.book.values() if told.side == "BUY" for fill in told.fills)
    assert beyond < 3 * step + PRECISION
    assert bought > 0
    # what was charged is what was repaid beyond the loan, to the last unit
    assert script.closed.interest.get("LTC", ZERO) == owed + _repaid(script) - script.closed.borrowed["LTC"]


@drawn
@often
def test_a_long_repays_all_it_owes_with_its_interest(
    step: Decimal,
    size: int,
    fee: Decimal,
    asset: str | None,
    rate: Decimal,
    held: int,
    min_notional: Decimal,
    ending: str,
) -> None:
    script = life(Direction.LONG, step, size, fee, asset, rate, held, min_notional, ending)
    owed = script.lender.debt("USDT").total
    assert owed == ZERO
    assert script.closed.debt_left == {}
    assert script.closed.interest.get("USDT", ZERO) == _repaid(script) - script.closed.borrowed["USDT"]


def _repaid(script: Script) -> Decimal:
    return sum((debt.repaid for debt in script.state.debts), ZERO)
