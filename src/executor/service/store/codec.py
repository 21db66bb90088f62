"""Values to JSON and back, for the state file and the journal.

Decimals are always strings of plain digits, because `Decimal("1E-8")` means nothing to a person and to few
programs. Most documents hold no Decimal that prints with an exponent: then msgspec's own encoding is already
right. Only when the encoded text holds what looks like one is it written out; where a text merely looks like a number
(a signal's id "1E5"), the value is walked, so that the text stays what it is.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, TypeVar, overload

import msgspec

from executor.core.model.values import plain

T = TypeVar("T")

EXPONENT_MAX: Final = 100
"""A Decimal beyond 1E±100 is no price and no quantity; written out it would only fill the disk."""

_ENCODED_ODDLY: Final = re.compile(rb'"-?(?:[0-9][0-9.]*E[+-][0-9]+|s?NaN[0-9]*|Infinity)"')
_EXPONENT: Final = re.compile(rb"E[+-]")
_MAY_DECODE_ODDLY: Final = re.compile(rb'(?i)[0-9.]E[+-]?[0-9]|"\s*[+-]?(?:s?NaN[0-9]*|Inf(?:inity)?)\s*"')
_PLAIN: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_E: Final = ord("E")
_encoder: Final = msgspec.json.Encoder()
_unquoted: Final = msgspec.json.Encoder(decimal_format="number")
"""Puts no Decimal between quotes, but as a key: what still looks like one there is a text."""


class CodecError(ValueError):
    """A value that JSON can't carry, or JSON that does not describe the value; says where and why."""


def encode(value: object) -> bytes:
    """`value` as compact JSON on one line.

    Raises:
        CodecError: it holds something that JSON can't carry, or a Decimal that is no finite, sensible number.
    """
    try:
        encoded = _encoder.encode(value)
        if b"NaN" not in encoded and b"Infinity" not in encoded:
            if not _may_have_exponent(encoded):
                return encoded
            odd = list(_with_exponent(encoded))
            if not odd:
                return encoded
            if next(_with_exponent(_unquoted.encode(value)), None) is None:
                return _in_digits(encoded, odd)
        if _ENCODED_ODDLY.search(encoded):
            return _encoder.encode(_written_out(msgspec.to_builtins(value, builtin_types=(Decimal,))))
    except (TypeError, UnicodeEncodeError, RecursionError) as error:
        raise CodecError(f"can't be written as JSON: {error}") from error
    return encoded


def _may_have_exponent(encoded: bytes) -> bool:
    """A single sign, of which there are few, is found a hundred times as fast as any two letters."""
    for sign in (b"-", b"+"):
        at = encoded.find(sign)
        while at >= 0:
            if encoded[at - 1] == _E:
                return True
            at = encoded.find(sign, at + 1)
    return False


def _with_exponent(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Where numbers with an exponent stand between quotes. To look for exponents first, which are few, takes a fraction
    of the time of the pattern that decides.
    """
    for found in _EXPONENT.finditer(encoded):
        begin, end = encoded.rfind(b'"', 0, found.start()), encoded.find(b'"', found.end()) + 1
        if _ENCODED_ODDLY.fullmatch(encoded, begin, end):
            yield begin, end


def pretty(encoded: bytes) -> bytes:
    """Compact JSON laid out for people: two spaces a level, one line an item, a newline at the end."""
    return msgspec.json.format(encoded, indent=2) + b"\n"


def compact(text: bytes) -> bytes:
    """JSON without the white space between its tokens; the tokens themselves stay as they are, byte for byte.

    Raises:
        CodecError: `text` is not one JSON document.
    """
    try:
        return msgspec.json.format(text, indent=-1)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CodecError(str(error)) from error


@overload
def decode(data: bytes, type: type[T]) -> T: ...
@overload
def decode(data: bytes, type: Any) -> Any: ...
def decode(data: bytes, type: Any) -> Any:  # noqa: A002  (the name that msgspec uses)
    """The value of the given type that `data` describes, by strict rules: no text for a number, no number for
    a text.

    Raises:
        CodecError: it is not JSON, does not fit the type (the text names the path, e.g. `$.orders[0].qty`),
            or holds a Decimal that is no finite, sensible number.
    """
    try:
        value = msgspec.json.decode(data, type=type, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(str(error)) from error
    if b"\\u" in data or _MAY_DECODE_ODDLY.search(data):  # "\u004eaN" is NaN: what is escaped, no pattern sees
        _written_out(msgspec.to_builtins(value, builtin_types=(Decimal,)))
    return value


def unambiguous(data: bytes) -> bytes:
    """`data`, if no object in it gives a member twice: of two, one reader takes the first and another the last.

    Raises:
        CodecError: one does, or it is no JSON.
    """
    try:
        json.loads(data, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise CodecError(str(error)) from error
    return data


def _once_each(members: list[tuple[str, object]]) -> None:
    counts = Counter(name for name, _ in members)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise CodecError(f"{twice!r:.80} is given twice")


def _written_out(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value
    if kind is Decimal:
        return _digits(value)
    if kind is dict:
        return {_written_out(key): _written_out(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_written_out(item) for item in value]
    return value


def _in_digits(encoded: bytes, odd: list[tuple[int, int]]) -> bytes:
    """With what stands at each of the places, a Decimal, written out."""
    parts: list[bytes] = []
    done = 0
    for begin, end in odd:
        parts += encoded[done : begin + 1], _digits(Decimal(encoded[begin + 1 : end - 1].decode())).encode()
        done = end - 1
    return b"".join([*parts, encoded[done:]])


def _digits(number: Decimal) -> str:
    text = str(number)
    if _PLAIN.fullmatch(text):
        return text
    if not number.is_finite():
        raise CodecError(f"the Decimal {number} is not a finite number")
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or max(abs(exponent), abs(number.adjusted())) > EXPONENT_MAX:
        raise CodecError(f"the Decimal {number!s:.40} is beyond 1E±{EXPONENT_MAX}")
    return plain(number)
