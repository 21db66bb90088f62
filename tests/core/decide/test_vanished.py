"""A hand that takes exits away may have sold the position as well (rule 6.6): where the account has other base that the
exits could sell, nothing else would tell.
"""

from decimal import Decimal
from typing import Final

from msgspec.structs import replace
from tests.core.build import DONE, MARGIN_RULES, POLICY, RICH, Script, protected

from executor.core.model.facts import Balance
from executor.core.model.ids import Role
from executor.core.model.intents import QueryBalances
from executor.core.model.state import Reason
from executor.core.model.values import Direction

GRACE: Final = POLICY.absence_grace_ms
SPARE: Final = RICH["LTC"].total


def taken(script: Script | None = None, *, left: Decimal = SPARE) -> Script:
    """A hand has cancelled all exits, and `left` is what the account has; they were put back."""
    script = script or protected()
    script.balances["LTC"] = Balance(left)
    for role in (Role.SL, Role.TP1, Role.TP2):
        script.vanish(role)
    assert script.kinds() == ["SL", "OCO1", "OCO2"]  # at once
    script.settle()
    return script


def held(script: Script) -> Decimal:
    return script.position.plan.qty * (1 - Decimal("0.001"))


def asked(script: Script) -> int:
    return sum(isinstance(request, QueryBalances) for request in script.sent)


def test_a_position_that_was_sold_as_well_is_that_hands_and_no_other_base_is_sold() -> None:
    script = taken()
    script.wait(GRACE - 1)
    assert not asked(script)
    script.wait(1)
    script.settle()
    assert script.closed.reason is Reason.EXTERNAL
    assert "sold_elsewhere" in script.told()
    assert all(order.status in DONE for order in script.book.values())
    assert [order.id.split("_")[2] for order in script.book.values() if order.cum_qty] == ["ENTRY"]


def test_a_hand_that_took_some_of_them_may_have_sold_its_own() -> None:
    script = protected()
    script.balances["LTC"] = Balance(SPARE)
    script.vanish(Role.SL)
    script.settle()
    script.wait(GRACE)
    assert not asked(script)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


def test_a_position_that_is_there_goes_on_and_is_asked_for_once() -> None:
    script = protected()
    taken(script, left=SPARE + held(script))
    script.wait(GRACE)
    script.settle()
    script.wait(1_000)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert asked(script) == 1


def test_a_part_that_is_gone_may_be_of_the_other_base() -> None:
    script = protected()
    taken(script, left=SPARE + held(script) / 2)
    script.wait(GRACE)
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


def test_where_the_account_can_not_be_read_the_trade_goes_on() -> None:
    """Rule 8.7."""
    script = taken()
    script.wait(GRACE)
    for _ in range(60):
        if "QueryBalances" in script.kinds():
            script.lose("QueryBalances")
        script.wait(1_000)
    assert 1 <= asked(script) <= POLICY.quote_max_age_ms // 1_000 + 1
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


def test_without_other_base_the_exchange_tells() -> None:
    script = protected()
    script.state = replace(script.state, position=replace(script.position, spare=Decimal(0)))
    taken(script)
    script.wait(GRACE)
    assert not asked(script)


def test_where_it_is_not_known_what_there_was_before_nothing_is_concluded() -> None:
    script = protected()
    script.state = replace(script.state, position=replace(script.position, spare=None))
    taken(script)
    script.wait(GRACE)
    assert not asked(script)


def test_a_short_owns_nothing() -> None:
    script = taken(protected(Direction.SHORT))
    script.wait(GRACE)
    assert not asked(script)


def test_on_margin_the_debt_tells() -> None:
    script = protected(rules=MARGIN_RULES)
    for role in (Role.SL, Role.TP1, Role.TP2):
        script.vanish(role)
        script.settle()
    script.wait(GRACE)
    assert not asked(script)
