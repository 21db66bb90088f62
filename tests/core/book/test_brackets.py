"""Where entries bring their exits with them, and why they do not (rule 13.1)."""

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, RULES, entering, protected

from executor.core.book.brackets import awaited, lacking, placed, wanted
from executor.core.book.ledger import received
from executor.core.model.ids import Role
from executor.core.model.policy import EntryMode, Layout
from executor.core.model.rules import SymbolRules
from executor.core.model.values import Direction

BRACKET = replace(POLICY, layout=Layout.BRACKET)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (RULES, ""),
        (replace(RULES, opo_allowed=False), "longs are entered as with OCO, LTCUSDT has no such order lists"),
        (replace(RULES, oto_allowed=False), "longs and shorts are entered as with OCO, LTCUSDT has no such order"),
        (MARGIN_RULES, "longs and shorts are entered as with OCO, on margin the entry waits for its loan"),
    ],
)
def test_what_a_symbol_lacks_is_said(rules: SymbolRules, said: str) -> None:
    assert said in lacking(BRACKET, rules)
    assert bool(lacking(BRACKET, rules)) is not all(wanted(BRACKET, rules, side) for side in Direction)


def test_what_the_settings_rule_out_is_said() -> None:
    at_market = replace(BRACKET, entry_mode=EntryMode.MARKET_ONLY)
    assert "ENTRY_MODE=MARKET_ONLY" in lacking(at_market, RULES)
    assert "shorts" not in lacking(replace(at_market, allow_short=False), RULES)
    assert not lacking(POLICY, replace(RULES, oto_allowed=False))


def test_an_exit_whose_entry_is_not_on_record_is_placed_all_the_same() -> None:
    """A state from the disk may say that an exit awaits what it does not hold."""
    position = protected().position
    exit_ = next(order for order in position.orders if order.is_exit)
    assert placed(position, replace(exit_, list_id="EX_1_OCO1_9"), 0) is position


def test_an_entry_whose_trades_alone_tell_that_it_has_filled_has_brought_its_exits() -> None:
    """10.1: its report is on its way; what its exits may sell by now is sold by no other. Found by the simulation."""
    script = entering(policy=BRACKET)
    entry = script.order(Role.ENTRY1)
    assert script.order(Role.SL1).awaits == entry.id
    assert awaited(script.position, RULES) == 0
    filled = replace(entry, cum_qty=entry.qty)
    orders = tuple(filled if o.id == entry.id else o for o in script.position.orders)
    assert awaited(replace(script.position, orders=orders), RULES) == received(filled, RULES) > 0
