"""Numbers on the command line: no slip of the finger ("1e999999") becomes one with a million digits."""

from decimal import Decimal
from typing import Final

import typer

from executor.config.kinds import FINEST_PLACES, LARGEST, read_decimal

FARTHEST: Final = 60
"""Beyond 1E±60 lies no amount of anything; what is nearer is judged by whoever it is for."""


def read_number(text: str) -> Decimal:
    """A finite number that can be written out. Raises BadParameter."""
    try:
        value = read_decimal(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None
    exponent = int(value.as_tuple().exponent)
    if max(abs(exponent), abs(value.adjusted())) > FARTHEST:
        raise typer.BadParameter(f"{text!r} is beyond 1E±{FARTHEST}")
    return value


def read_price(text: str, option: str) -> Decimal:
    """Raises BadParameter."""
    try:
        price = read_number(text)
    except typer.BadParameter:
        price = Decimal(0)
    if not 0 < price <= LARGEST or -int(price.as_tuple().exponent) > FINEST_PLACES:
        raise typer.BadParameter(
            f"{text!r} must be a price above 0, at most {LARGEST:f} and with at most {FINEST_PLACES} decimal places",
            param_hint=option,
        )
    return price
