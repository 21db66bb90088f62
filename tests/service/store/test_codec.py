"""JSON for people and for replay: exact, plain, and strict when read."""

import contextlib
import json
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from executor.core.model.events import AnyEvent
from executor.core.model.values import OrderSide, plain
from executor.service.store.codec import EXPONENT_MAX, CodecError, compact, decode, encode, pretty


class Item(msgspec.Struct, frozen=True, tag="item"):
    amounts: dict[str, Decimal]
    text: str
    side: OrderSide = OrderSide.BUY
    nested: tuple["Item", ...] = ()
    maybe: Decimal | None = None


sensible = st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda d: max(abs(d.adjusted()), abs(int(d.as_tuple().exponent))) <= EXPONENT_MAX
)
texts = st.text(st.characters(codec="utf-8")) | st.sampled_from(["1E5", "NaN", "-Infinity", '"1E-8"', "1E-8"])
items = st.recursive(
    st.builds(Item, st.dictionaries(texts, sensible), texts, maybe=st.none() | sensible, nested=st.just(())),
    lambda inner: st.builds(
        Item, st.dictionaries(texts, sensible), texts, nested=st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=5,
)


@given(items)
@example(Item({"1E5": Decimal("1E-8")}, '"1E-8"'))
@example(Item({}, "1E5"))
def test_a_value_comes_back_equal_and_its_decimals_are_plain(item: Item) -> None:
    encoded = encode(item)
    assert decode(encoded, Item) == item
    assert decode(pretty(encoded), Item) == item
    assert compact(pretty(encoded)) == encoded
    assert b"\n" not in encoded
    assert_same(json.loads(encoded), item)


def assert_same(raw: dict[str, Any], item: Item) -> None:
    assert raw["amounts"] == {name: plain(amount) for name, amount in item.amounts.items()}
    assert raw["text"] == item.text
    assert raw["maybe"] == (None if item.maybe is None else plain(item.maybe))
    for inner, nested in zip(raw["nested"], item.nested, strict=True):
        assert_same(inner, nested)


def test_what_looks_like_a_number_among_numbers_stays_a_text() -> None:
    fee, tiny = Decimal("9E-8"), Decimal("-3.3E-7")
    told = json.loads(encode(Item({"9E-8": fee}, 'of "1E-8"', maybe=tiny)))
    assert (told["amounts"], told["text"], told["maybe"]) == ({"9E-8": "0.00000009"}, 'of "1E-8"', "-0.00000033")
    assert json.loads(encode(Item({"a": fee}, "b", maybe=tiny)))["amounts"] == {"a": "0.00000009"}
    assert json.loads(encode(Item({"a": fee}, "E-E-8 E+5")))["text"] == "E-E-8 E+5"


def test_encoding_what_was_decoded_gives_the_same_bytes() -> None:
    once = encode(Item({"a": Decimal("1E+3"), "b": Decimal("0E-10"), "c": Decimal("-0")}, "x"))
    assert json.loads(once)["amounts"] == {"a": "1000", "b": "0.0000000000", "c": "-0"}
    assert encode(decode(once, Item)) == once


@pytest.mark.parametrize("bad", ["NaN", "sNaN", "-NaN123", "Infinity", "-Infinity", "1E+101", "-1E-101", "0E+999999"])
def test_a_decimal_that_is_no_number_is_never_written(bad: str) -> None:
    with pytest.raises(CodecError, match="the Decimal"):
        encode({"item": Item({"a": Decimal(bad)}, "NaN")})


ESCAPED: Final = [r'"\u006ean"', r'"\u0049nfinity"', r'"1\u0065999999"', r'"\u004E\u0061\u004e"', r'"\u0020inf"']


@pytest.mark.parametrize("value", ['"NaN"', '"-inf"', '" infinity "', '"1E+999999"', "1e-101", *ESCAPED])
def test_a_decimal_that_is_no_number_is_never_read(value: str) -> None:
    with pytest.raises(CodecError, match="the Decimal"):
        decode(f'{{"type":"item","amounts":{{"a":{value}}},"text":""}}'.encode(), Item)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "truncated"),
        (b'{"type":"item","amounts":{"a":"x"},"text":""}', r"at `\$.amounts\[...\]`"),
        (b'{"type":"item","amounts":{},"text":1}', r"Expected `str`, got `int` - at `\$.text`"),
        (b'{"type":"other","amounts":{},"text":""}', "Invalid value 'other'"),
        (b'{"type":"item","amounts":{},"text":"\xff"}', "utf-8|invalid"),
        (b'{"type":"item","amounts":{},"nested":' + b"[" * 100_000, "."),
        (b'{"type":"item","amounts":{},"text":"","more":' + b"[" * 100_000, "recursion"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_place(data: bytes, fault: str) -> None:
    with pytest.raises(CodecError, match=fault):
        decode(data, Item)


@pytest.mark.parametrize("value", [object(), "\ud800", {"a": {1, object()}}])
def test_what_json_can_not_carry_is_refused(value: object) -> None:
    with pytest.raises(CodecError, match="can't be written as JSON"):
        encode(value)


@given(st.binary())
def test_any_bytes_give_a_value_or_a_codec_error(data: bytes) -> None:
    for read in (compact, lambda text: decode(text, type=AnyEvent), lambda text: decode(text, Item)):
        with contextlib.suppress(CodecError):
            read(data)


@given(st.from_type(AnyEvent))  # type: ignore[arg-type]
def test_every_event_comes_back_or_is_refused(event: AnyEvent) -> None:
    try:
        encoded = encode(event)
    except CodecError:
        return
    assert encode(decode(encoded, type=AnyEvent)) == encoded
