"""Numbers from outside are such as can be reckoned with, to the last digit."""

from decimal import Decimal

import msgspec
import pytest

from executor.decoding import VALUES_MAX, decode, sensible


@pytest.mark.parametrize("text", ["0", "0.00000000", "0E-30", "1E+18", "-1E-18", "123456789.123456789"])
def test_what_money_and_prices_can_be_is_taken(text: str) -> None:
    assert sensible(Decimal(text)) == Decimal(text)


@pytest.mark.parametrize("text", ["NaN", "sNaN", "-Infinity", "1E+19", "1E-19", "0E-31", "0E+999999", "1" * 29])
def test_what_no_tick_divides_to_the_last_digit_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no sensible number"):
        sensible(Decimal(text))


def test_more_values_than_any_answer_has_are_not_read() -> None:
    """A list of nothing takes a hundred times its bytes as memory."""
    with pytest.raises(msgspec.DecodeError, match="more than"):
        decode(b"[" + b"0," * VALUES_MAX + b"0]", list[msgspec.Raw])
    assert len(decode(b"[" + b"0," * 1_000 + b"0]", list[msgspec.Raw])) == 1_001
