"""Numbers from outside are such as can be reckoned with, to the last digit."""

from decimal import Decimal

import pytest

from executor.decoding import sensible


@pytest.mark.parametrize("text", ["0", "0.00000000", "0E-30", "1E+18", "-1E-18", "123456789.123456789"])
def test_what_money_and_prices_can_be_is_taken(text: str) -> None:
    assert sensible(Decimal(text)) == Decimal(text)


@pytest.mark.parametrize("text", ["NaN", "sNaN", "-Infinity", "1E+19", "1E-19", "0E-31", "0E+999999", "1" * 29])
def test_what_no_tick_divides_to_the_last_digit_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no sensible number"):
        sensible(Decimal(text))
