"""JSON from outside into typed values: whatever the bytes are, it is a value or `msgspec.DecodeError`, nothing else.

The library raises other errors as well (for text that is no UTF-8, for nesting too deep), and takes for a Decimal what
no sum can use. A number that came as text, or an id as a number in quotes, is read as what it says, and a field that is
null as one that is not there: the exchange's documents promise no form for ever (rule 8.8).
"""

from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar, overload

import msgspec

T = TypeVar("T")

DEEPEST: Final = 8
"""So deep nulls are looked for."""
MAGNITUDE_MAX: Final = 18
"""No price, quantity or sum of money lies beyond 1E±18: what does can't be divided by a tick to the last digit."""
PLACES_MAX: Final = 30
"""So many zeros may 0 be written with."""

VALUES_MAX: Final = 500_000
"""No answer has so many values, and each takes many times the memory of its bytes."""

Ms = Annotated[int, msgspec.Meta(ge=-1, le=4_102_444_800_000)]
"""Milliseconds since the epoch, before the year 2100; -1 for none."""


class Row(msgspec.Struct, frozen=True):
    """What is read from outside: its Decimals are numbers that can be reckoned with."""

    def __post_init__(self) -> None:
        for value in msgspec.structs.astuple(self):
            if type(value) is Decimal:
                sensible(value)


def not_negative(*values: Decimal) -> None:
    """Raises ValueError for the first that is."""
    for value in values:
        if value < 0:
            raise ValueError(f"{value} must not be below 0")


def sensible(value: Decimal) -> Decimal:
    """The number, if it is one that can be reckoned with. Raises ValueError."""
    # In this order: a NaN compares with nothing, and rounding what is far too large overflows.
    most = MAGNITUDE_MAX if value else PLACES_MAX
    if not value.is_finite() or not -most <= value.adjusted() <= most or +value != value:
        raise ValueError(f"{value!s:.40} is no sensible number")
    return value


@overload
def decode(data: bytes | msgspec.Raw, type: type[T]) -> T: ...
@overload
def decode(data: bytes | msgspec.Raw, type: Any) -> Any: ...
def decode(data: bytes | msgspec.Raw, type: Any) -> Any:  # noqa: A002  (the name that msgspec uses)
    """The value of the given type that `data` describes. Raises `msgspec.DecodeError`, or its child ValidationError."""
    if len(data) > VALUES_MAX and bytes(data).count(b",") >= VALUES_MAX:
        raise msgspec.DecodeError(f"more than {VALUES_MAX} values")
    try:
        return _decode(data, type)
    except msgspec.ValidationError:
        if b"null" not in bytes(data):
            raise
        return _decode(_without_nulls(msgspec.Raw(data)), type)


def _decode(data: bytes | msgspec.Raw, type: Any) -> Any:  # noqa: A002
    try:
        return msgspec.json.decode(data, type=type, strict=False)
    except msgspec.DecodeError:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise msgspec.DecodeError(f"{error!s:.200}") from None


def _without_nulls(data: msgspec.Raw, depth: int = 0) -> msgspec.Raw:
    """The same JSON without the fields that are null; every other value as it was written."""
    text = bytes(data)
    kept: Any
    if depth > DEEPEST or b"null" not in text:
        return data
    if text.lstrip()[:1] == b"{":
        rows = _decode(data, dict[str, msgspec.Raw])
        kept = {name: _without_nulls(row, depth + 1) for name, row in rows.items() if bytes(row) != b"null"}
    elif text.lstrip()[:1] == b"[":
        kept = [_without_nulls(row, depth + 1) for row in _decode(data, list[msgspec.Raw])]
    else:
        return data
    return msgspec.Raw(msgspec.json.encode(kept))
