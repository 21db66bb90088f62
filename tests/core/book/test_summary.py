from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.build import START, Script, both_sides, closing, entering, protected

from executor.core.book.summary import settle_exposure
from executor.core.model.events import Reported, Verb
from executor.core.model.ids import Role
from executor.core.model.state import Exposure, Reason
from executor.core.model.values import Direction, OrderSide

D = Decimal


def sold_dearer(script: Script) -> Script:
    """Both targets have filled, and the rest is sold above them."""
    script.quote("104.1", after=1_000)
    for role in (Role.TP1, Role.TP2):
        script.fill(role)
    script.settle()
    script.command(Verb.FLATTEN)
    script.settle()
    return script


def test_a_closed_trade_tells_its_times_prices_and_quantities() -> None:
    """Rule 7.2."""
    script = protected()
    script.quote("104", after=60_000)
    script.fill(Role.TP1)
    script.fill(Role.TP2)
    script.settle()
    script.command(Verb.FLATTEN)
    script.settle()
    closed = script.closed
    assert (closed.trade, closed.direction, closed.reason) == (str(START), Direction.LONG, Reason.FLATTEN)
    assert (closed.opened, closed.entered, closed.closed) == (START, START, script.now)
    assert (closed.entry_planned, closed.stop_planned, closed.targets_planned) == (D(100), D(98), (D(102), D(104)))
    assert (closed.qty, closed.qty1, closed.qty2, closed.qty3) == (D(3), D("0.999"), D("0.999"), D("0.999"))
    assert closed.entry_avg == 100
    assert closed.exit_avg == D("103.33333333")
    assert set(closed.commissions) == {"LTC", "USDT"}


def test_profit_is_net_of_commissions_that_can_be_priced() -> None:
    """3 bought at 100, 2.997 sold at 100: the commissions of both sides are lost."""
    script = closing()
    script.settle()
    closed = script.closed
    assert closed.pnl == -(D("0.003") * 100 + D("2.997") * 100 * D("0.001"))
    assert closed.r == D("-0.1")
    assert closed.dust == 0


@both_sides
def test_commission_in_base_is_no_base_that_is_left(direction: Direction) -> None:
    """What the account has more of than before, with nothing left over of the base."""
    script = sold_dearer(protected(direction))
    sign = {OrderSide.BUY: -1, OrderSide.SELL: 1}
    cash = D(0)
    for told in script.book.values():
        cash += sign[told.side] * told.cum_quote
        cash -= sum((fill.fee for fill in told.fills if fill.fee_asset == "USDT"), D(0))
    missing = script.closed.dust  # a short's exits pay their commission in base, which the account has less of then
    assert script.closed.pnl == cash + missing * script.last


def test_a_journal_of_before_reckons_commission_in_base_as_its_version_did() -> None:
    """Replayed, each of its states comes out as it was."""
    closed, rise = {}, D(0)
    for leave in (False, True):
        script = protected()
        script.policy = replace(script.policy, base_fees_leave=leave)
        sold_dearer(script)
        closed[leave] = script.closed
        (sold,) = [told for client_id, told in script.book.items() if "FLATTEN" in client_id]
        rise = sold.cum_quote / sold.cum_qty - 100
    assert rise > 3
    assert closed[False].pnl == closed[True].pnl + closed[True].commissions["LTC"] * rise


def test_commissions_in_a_third_asset_are_listed_and_not_priced() -> None:
    script = entering()
    script.fee_asset = "BNB"
    script.fill(Role.ENTRY)
    script.settle()
    script.command(Verb.FLATTEN)
    script.settle()
    assert script.closed.pnl == 0
    assert script.closed.commissions == {"BNB": D("0.0002")}


@both_sides
def test_slippage_is_positive_when_it_was_worse_than_planned(direction: Direction) -> None:
    script = entering(direction)
    script.fill(Role.ENTRY, price=script.px("100.5"))
    script.settle()
    script.quote("97.5", after=1_000)
    for role in (Role.SL1, Role.SL2, Role.SL):
        script.fill(role, price=script.px("97.5"))
    script.settle()
    assert script.closed.entry_slippage == D("0.5")
    assert script.closed.exit_slippage == D("0.5")


def test_a_trade_that_never_entered_has_no_prices() -> None:
    script = entering()
    script.command(Verb.CANCEL_ENTRY)
    script.settle()
    closed = script.closed
    assert (closed.entry_avg, closed.exit_avg, closed.qty, closed.pnl, closed.r) == (None, None, D(0), D(0), D(0))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Exposure(0, 5, 3), Exposure(0, 5, 3)),
        (Exposure(90, 5, 3), Exposure(0, 15, 10)),
        (Exposure(99, 5, 3), Exposure(0, 6, 3)),
    ],
)
def test_a_spell_without_cover_is_added_when_it_ends(before: Exposure, after: Exposure) -> None:
    assert settle_exposure(before, 100) == after


def test_the_time_without_a_stop_is_told() -> None:
    script = entering()
    script.fill(Role.ENTRY)
    script.now += 1_500
    script.settle()
    script.command(Verb.FLATTEN)
    script.settle()
    assert (script.closed.unprotected_ms, script.closed.unprotected_longest_ms) == (1_500, 1_500)


@both_sides
@pytest.mark.parametrize("told", ["fills pushed", "fills asked for"])
def test_an_entry_whose_sum_the_exchange_does_not_say_any_more_costs_what_its_trades_say(
    direction: Direction, told: str
) -> None:
    """A negative cummulativeQuoteQty of an old order means "not known" (rest-api.md), not a position for nothing."""
    known, unknown = entering(direction), entering(direction)
    for script in (known, unknown):
        report = script.trade(Role.ENTRY)
        changes: dict[str, Any] = {} if script is known else {"cum_quote": D(0)}
        if told == "fills asked for":
            changes["fills"] = ()
        script.feed(Reported(at=script.now, report=replace(report, **changes)))
        script.settle()
        script.quote(script.px("101"), after=1_000)
        script.command(Verb.FLATTEN)
        script.settle()
    assert unknown.closed.pnl == known.closed.pnl
    assert (unknown.closed.r, unknown.closed.entry_avg) == (known.closed.r, known.closed.entry_avg)
    assert unknown.closed.entry_slippage == known.closed.entry_slippage


@pytest.mark.parametrize(("price", "stop", "value"), [("100", None, 300), (None, "98", 294), (None, None, 0)])
def test_what_no_trade_explains_counts_at_the_order_s_own_price(
    price: str | None, stop: str | None, value: int
) -> None:
    order = entering().order(Role.ENTRY)
    own = replace(order, price=price and D(price), stop_price=stop and D(stop))
    assert own.value == 0
    assert replace(own, cum_qty=D(3)).value == value
    assert replace(own, cum_qty=D(3), cum_quote=D(7)).value == 7
