"""The ladder while a trade is open: an alert, then the end of it (rule 11.10)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, D, Script, both_sides, entering, protected

from executor.core.model.events import MarginSeen
from executor.core.model.ids import Role
from executor.core.model.intents import Repay
from executor.core.model.state import Reason
from executor.core.model.values import ZERO, Direction


def level(
    script: Script, value: str | None, price: str | None = None, *, worth: str | None = None, after: int = 1
) -> list[str]:
    """The account tells that level, `worth` (else just as much) being what it holds against what it owes; what people
    read of it.
    """
    script.notes.clear()
    script.now += after
    liquidation = None if price is None else D(price)
    account = replace(script.account(), level=None if value is None else D(value), liquidation_price=liquidation)
    if value is not None:
        account = replace(account, assets=account.liabilities * D(worth or value))
    script.feed(MarginSeen(at=script.now, account=account))
    return [note.text for note in script.notes]


@both_sides
def test_below_the_alert_level_it_is_told_once_with_the_liquidation_price(direction: Direction) -> None:
    script = protected(direction, rules=MARGIN_RULES)
    assert level(script, "1.3") == []
    assert level(script, "1.18", "123.456") == [
        "the margin level is 1.1800, below 1.19; below 1.17 the trade is closed; liquidation at 123.46"
    ]
    assert level(script, "1.175") == []
    assert script.named() == "Protected"


def test_it_is_told_again_once_it_had_recovered() -> None:
    script = protected(rules=MARGIN_RULES)
    assert level(script, "1.18")
    assert level(script, "1.195") == []
    assert level(script, "1.18") == []  # not a recovery yet
    assert level(script, "1.21") == []
    assert level(script, "1.18")


@both_sides
def test_below_the_last_level_the_trade_is_closed_at_market_and_repaid(direction: Direction) -> None:
    script = protected(direction, rules=MARGIN_RULES)
    (text,) = level(script, "1.16")
    assert text == "the margin level is 1.1600, below 1.17: the trade is closed at market"
    assert script.named() == "Closing"
    for _ in range(40):
        if script.state.position is None:
            break
        script.accept() if script.pending else script.sleep()
    assert script.closed.reason is Reason.MARGIN_LEVEL
    assert any(isinstance(request, Repay) for request in script.sent)
    assert script.lender.debt("USDT").total == script.lender.debt("LTC").total == ZERO


@pytest.mark.parametrize("told", ["0", "-1", "1.16"])
@both_sides
def test_a_level_against_which_the_account_s_own_figures_speak_is_believed_when_seen_twice(
    direction: Direction, told: str
) -> None:
    script = protected(direction, rules=MARGIN_RULES)
    (text,) = level(script, told, worth="1.5")
    assert "; what the account holds and owes says otherwise: it is looked at again" in text
    level(script, told, worth="1.5", after=POLICY.absence_grace_ms - 1)
    assert script.named() == "Protected"
    level(script, "1.5")  # it was a slip
    level(script, told, worth="1.5", after=POLICY.absence_grace_ms)
    assert script.named() == "Protected"
    (text,) = level(script, told, worth="1.5", after=POLICY.absence_grace_ms)
    assert text.endswith("the trade is closed at market")
    assert script.named() == "Closing"


def test_a_level_that_may_be_true_does_not_wait_for_as_long_as_absences_are_doubted() -> None:
    """Rule 11.10: where it is true, the exchange liquidates."""
    script = protected(policy=replace(POLICY, absence_grace_ms=86_400_000), rules=MARGIN_RULES)
    level(script, "1.16", worth="1.5")
    level(script, "1.16", worth="1.5", after=1_999)
    assert script.named() == "Protected"
    level(script, "1.16", worth="1.5", after=1)
    assert script.named() == "Closing"


def test_a_level_that_is_not_told_is_reckoned() -> None:
    script = protected(rules=MARGIN_RULES)
    account = replace(script.account(), level=None)
    script.feed(MarginSeen(at=script.now, account=account))
    assert script.named() == "Protected"
    script.feed(MarginSeen(at=script.now, account=replace(account, assets=account.liabilities)))
    assert script.named() == "Closing"


@pytest.mark.parametrize("told", [None, "0"])
def test_without_a_debt_no_level_is_compared(told: str | None) -> None:
    script = Script(rules=MARGIN_RULES)
    script.lender.add("USDT", D(1_000))
    script.signal()
    script.settle()
    script.fill("ENTRY")
    script.settle()
    assert script.state.debts == ()
    assert level(script, told) == []
    assert script.named() == "Protected"


def test_a_debt_without_a_level_is_not_compared_either() -> None:
    script = protected(rules=MARGIN_RULES)
    script.now += 1
    account = replace(script.account(), level=None, assets=ZERO, liabilities=ZERO)
    script.feed(MarginSeen(at=script.now, account=account))
    assert script.named() == "Protected"


def test_the_operators_own_levels_count() -> None:
    policy = replace(POLICY, level_min=D("1.2"), level_alert=D("1.4"), level_reduce=D("1.35"))
    script = protected(policy=policy, rules=MARGIN_RULES)
    assert level(script, "1.45") == []
    assert level(script, "1.39")
    level(script, "1.34")
    assert script.named() == "Closing"


def test_where_no_price_leads_to_liquidation_none_is_told() -> None:
    script = protected(Direction.LONG, rules=MARGIN_RULES)
    script.now += 1
    rich = replace(script.account(), level=D("1.18"), assets=Decimal(10_000))
    script.feed(MarginSeen(at=script.now, account=rich))
    assert script.notes[-1].text.endswith("below 1.17 the trade is closed")


def part_entered(direction: Direction) -> Script:
    """Two thirds of the entry are held under the interim stop; the rest waits at its limit."""
    script = entering(direction, rules=MARGIN_RULES)
    script.fill(Role.ENTRY, "2")
    script.settle()
    return script


@both_sides
def test_the_trade_is_closed_for_its_level_while_it_is_entered_as_well(direction: Direction) -> None:
    """Rule 11.10."""
    script = part_entered(direction)
    assert level(script, "1.3") == []
    (text,) = level(script, "1.16")
    assert text == "the margin level is 1.1600, below 1.17: the trade is closed at market"
    for _ in range(40):
        if script.state.position is None:
            break
        script.accept() if script.pending else script.sleep()
    assert script.closed.reason is Reason.MARGIN_LEVEL
    assert script.closed.qty == 2
    assert script.lender.debt("USDT").total == script.lender.debt("LTC").total == ZERO


@both_sides
def test_below_the_level_of_an_entry_no_more_is_entered_and_what_is_held_gets_its_exits(direction: Direction) -> None:
    policy = replace(POLICY, level_min=D("1.25"))
    script = entering(direction, policy, MARGIN_RULES)
    script.fill(Role.ENTRY, "2")
    script.settle()
    assert level(script, "1.22", worth="1.5") == []  # one of the two is wrong
    assert script.order(Role.ENTRY).live
    (text,) = level(script, "1.22")
    assert text == "the margin level is 1.2200, below 1.25: no more is entered"
    assert script.kinds() == ["CancelOrder"]
    script.settle()
    assert not script.orders(Role.PLANB)
    assert script.named() == "Protected"
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


def test_an_entry_of_which_nothing_has_filled_is_given_up_for_its_level() -> None:
    """Rules 11.8, 11.10: there is nothing that closing could mend; the loan goes back."""
    script = entering(rules=MARGIN_RULES)
    (text,) = level(script, "1.16")
    assert text == "the margin level is 1.1600, below 1.19: no more is entered"
    for _ in range(40):
        if script.state.position is None:
            break
        script.accept() if script.pending else script.sleep()
    assert script.closed.reason is Reason.MARGIN_LEVEL
    assert script.closed.qty == 0
    assert script.lender.debt("USDT").total == ZERO
