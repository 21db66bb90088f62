from decimal import Decimal

import pytest

from executor.core.model.values import (
    Direction,
    OrderSide,
    OrderStatus,
    ceil_to,
    floor_to,
    on_grid,
    plain,
    rounded,
    units,
)

D = Decimal


def test_a_long_buys_in_and_sells_out_and_a_short_mirrors_it() -> None:
    assert (Direction.LONG.entry_side, Direction.LONG.exit_side, Direction.LONG.sign) == (
        OrderSide.BUY,
        OrderSide.SELL,
        1,
    )
    assert (Direction.SHORT.entry_side, Direction.SHORT.exit_side, Direction.SHORT.sign) == (
        OrderSide.SELL,
        OrderSide.BUY,
        -1,
    )


@pytest.mark.parametrize(
    ("value", "grid", "floor", "ceil"),
    [
        ("100.017", "0.01", "100.01", "100.02"),
        ("100.01", "0.01", "100.01", "100.01"),
        ("7", "2.5", "5.0", "7.5"),
        ("0.123456789", "0", "0.123456789", "0.123456789"),
    ],
)
def test_rounding_stays_on_the_grid_and_a_grid_of_zero_is_off(value: str, grid: str, floor: str, ceil: str) -> None:
    assert floor_to(D(value), D(grid)) == D(floor)
    assert ceil_to(D(value), D(grid)) == D(ceil)
    assert on_grid(floor_to(D(value), D(grid)), D(grid))
    assert on_grid(D(value), D(grid)) == (D(floor) == D(value))


def test_units_are_whole_steps() -> None:
    assert units(D("2.9999"), D("0.001")) == 2999


def test_statuses_that_end_an_order_are_final() -> None:
    final = {s for s in OrderStatus if s.is_final}
    assert final == {"FILLED", "CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"}


def test_numbers_are_written_without_exponents() -> None:
    assert plain(D("1E+3")) == "1000"
    assert plain(D("1E-8")) == "0.00000001"


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        ("1.005", "0.01", "1.00"),
        ("-2.675", "0.01", "-2.68"),
        ("0", "0.01", "0.00"),
        ("123456789012345678.123456789", "1E-8", "123456789012345678.12345679"),
        ("1E+18", "1E-8", "1000000000000000000.00000000"),
        ("1E+19", "1E-8", "1E+19"),
        ("97E+36", "0.01", "9.7E+37"),
    ],
)
def test_a_figure_that_can_not_have_its_places_is_shown_as_it_is(value: str, places: str, shown: str) -> None:
    """The profit of a trade at an absurd price ended the service, at each of its starts anew."""
    assert str(rounded(Decimal(value), Decimal(places))) == shown
