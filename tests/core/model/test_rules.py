from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import RULES

from executor.core.model.rules import SymbolRules
from executor.core.model.values import OrderSide

D = Decimal
CAPPED = replace(RULES, max_qty=D(10), max_notional=D(1_000), market_max_qty=D(4))


@pytest.mark.parametrize(
    ("qty", "price", "fits"),
    [
        ("0", "100", False),
        ("0.0005", "100000", False),  # below LOT_SIZE
        ("0.0015", "100000", False),  # between steps
        ("0.049", "100", False),  # below NOTIONAL
        ("0.05", "100", True),
        ("10", "100", True),
        ("10.001", "50", False),  # above LOT_SIZE
        ("10", "100.01", False),  # above NOTIONAL
    ],
)
def test_lot_size_and_notional_bound_an_order(qty: str, price: str, fits: bool) -> None:
    assert CAPPED.carries(D(qty), D(price)) is fits


def test_bounds_of_zero_are_off() -> None:
    free = SymbolRules(symbol="X", base="A", quote="B", tick=D("0.01"), step=D("0.001"))
    assert free.carries(D("123456.789"), D(1))
    assert free.carries_market(D("123456.789"), D(1))
    assert free.price_fault(D("0.01")) is None


def test_market_orders_have_a_lot_size_of_their_own() -> None:
    rules = replace(RULES, market_min_qty=D(1), market_max_qty=D(4), market_step=D("0.5"))
    assert not rules.carries_market(D("0.5"), D(100))
    assert rules.carries_market(D(4), D(100))
    assert not rules.carries_market(D("4.5"), D(100))
    assert not rules.carries_market(D("1.2"), D(100))


@pytest.mark.parametrize("qty", ["0", "0.0005", "0.5", "1.2", "1.5", "3.0005", "4", "4.5", "9"])
@pytest.mark.parametrize("price", ["0.5", "3", "100", "1000"])
def test_a_size_fault_names_the_filter_where_one_does_not_carry(qty: str, price: str) -> None:
    rules = replace(RULES, max_qty=D(8), max_notional=D(400), market_min_qty=D(1), market_max_qty=D(4))
    rules = replace(rules, market_step=D("0.5"))
    size, at = D(qty), D(price)
    assert (rules.size_fault(size, at) is None) is rules.carries(size, at)
    assert (rules.market_fault(size, at) is None) is rules.carries_market(size, at)


def test_a_market_piece_is_what_one_order_may_trade_and_dust_is_none() -> None:
    """Rule 3.6: too small is dust, too large is sold in pieces."""
    assert CAPPED.market_piece(D("3.0009"), D(10)) == D(3)
    assert CAPPED.market_piece(D(9), D(10)) == D(4)
    assert replace(CAPPED, market_max_qty=D(0)).market_piece(D(9), D(200)) == D(5)
    assert CAPPED.market_piece(D("0.04"), D(100)) == 0


def test_quantities_are_cut_to_whole_steps() -> None:
    assert RULES.whole(D("1.2349")) == D("1.234")
    assert RULES.whole(D("-1")) == 0


def test_a_limit_is_moved_into_the_price_filters_no_farther_than_needed() -> None:
    """Rule 4.4."""
    tight = replace(RULES, ask_up=D("1.05"), ask_down=D("0.95"), bid_up=D("1.1"), bid_down=D("0.9"))
    assert tight.clamp_limit(D(97), OrderSide.SELL, D(100)) == D(97)
    assert tight.clamp_limit(D(90), OrderSide.SELL, D(100)) == D(95)
    assert tight.clamp_limit(D(120), OrderSide.SELL, D(100)) == D(105)
    assert tight.clamp_limit(D(120), OrderSide.BUY, D(100)) == D(110)
    assert replace(tight, max_price=D(0), bid_up=D(0)).clamp_limit(D(120), OrderSide.BUY, D(100)) == D(120)


@pytest.mark.parametrize(
    ("price", "fault"),
    [
        ("0", "price 0 is below the minimum 0.01"),
        ("0.001", "price 0.001 is below the minimum 0.01"),
        ("100001", "price 100001 is above the maximum 100000"),
        ("1.005", "price 1.005 is not a multiple of the tick 0.01"),
        ("1.01", None),
    ],
)
def test_a_price_fault_names_the_price_and_what_it_must_be(price: str, fault: str | None) -> None:
    assert RULES.price_fault(D(price)) == fault


def test_the_worst_commission_is_what_may_be_taken() -> None:
    assert replace(RULES, maker_fee=D("0.002")).worst_keep() == D("0.998")


def test_without_a_price_nothing_can_be_traded_at_market() -> None:
    for qty, price in ((D(0), D(100)), (D(-1), D(100)), (D(1), D(0)), (D(1), D(-1))):
        assert RULES.market_piece(qty, price) == 0


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, ""),
        ({"max_qty": D(1), "min_qty": D(1), "market_min_qty": D(1)}, ""),
        ({"max_price": D("0.005")}, "PRICE_FILTER: from 0.01 to 0.005"),
        ({"max_qty": D(1), "min_qty": D(2)}, "LOT_SIZE: from 2 to 1"),
        ({"market_max_qty": D(1), "min_qty": D(2)}, "MARKET_LOT_SIZE: from 2 to 1"),
        ({"market_min_qty": D(3), "max_qty": D(2)}, "MARKET_LOT_SIZE: from 3 to 2"),
        ({"max_notional": D(4)}, "NOTIONAL: from 5 to 4"),
        ({"ask_up": D(1), "ask_down": D(2)}, "PERCENT_PRICE, ask: from 2 to 1"),
    ],
)
def test_a_filter_that_takes_nothing_contradicts_itself(changed: dict[str, Decimal], fault: str) -> None:
    assert replace(RULES, **changed).contradiction == fault
