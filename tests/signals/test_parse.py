"""What a line of the signal source means (rules 2.1, 2.5)."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from executor.core.model.signal import Signal
from executor.core.model.values import Direction, plain
from executor.signals.instant import EARLIEST, LATEST, parse_instant
from executor.signals.parse import KEYS_MAX, LINE_MAX, Malformed, parse_signal

GENERAL: dict[str, Any] = {
    "ts": "2026-03-01T10:15:30Z",
    "symbol": "BTCUSDT",
    "side": "long",
    "price": 64000.5,
}
PEAK: dict[str, Any] = {
    "ts": "2026-03-01 10:15:00",
    "source": "DeltaScout",
    "action": "PEAK",
    "kind": "short",
    "delta": -31.5,
    "vol": 52.25,
    "price": 64000.123456,
    "vwap": 63900,
}
AT = 1772360130000


def line(base: Mapping[str, Any] = GENERAL, /, **changes: Any) -> bytes:
    return json.dumps({**base, **changes}).encode()


def good(data: str | bytes) -> Signal:
    signal = parse_signal(data)
    assert isinstance(signal, Signal), signal
    return signal


def fault(data: str | bytes) -> str:
    refused = parse_signal(data)
    assert isinstance(refused, Malformed), refused
    assert_readable(refused)
    return refused.fault


def assert_readable(refused: Malformed) -> None:
    assert 0 < len(refused.fault) <= 300
    assert refused.fault.isprintable()
    assert refused.text.isprintable()
    assert len(refused.text) <= 200
    msgspec.json.encode(refused)


class TestShapes:
    def test_general_with_everything(self) -> None:
        data = line(id="abc-1", entry="63990.10", stop=63000, targets=[64500, "65000.25"], risk=25)
        assert good(data) == Signal(
            key="abc-1",
            at=AT,
            direction=Direction.LONG,
            price=Decimal("64000.5"),
            symbol="BTCUSDT",
            entry=Decimal("63990.10"),
            stop=Decimal(63000),
            targets=(Decimal(64500), Decimal("65000.25")),
            risk=Decimal(25),
            named=True,
        )

    def test_peak_ignores_its_other_keys(self) -> None:
        assert good(line(PEAK, id=[], qty=True, event="x", side="long", stop="?")) == Signal(
            key="short 2026-03-01T10:15Z 64000.123456",
            at=AT - 30_000,
            direction=Direction.SHORT,
            price=Decimal("64000.123456"),
        )

    def test_peak_keeps_a_symbol_so_that_another_one_is_refused(self) -> None:
        assert good(line(PEAK, symbol="ethusdt")).symbol == "ETHUSDT"

    def test_exported_by_deltascout(self) -> None:
        data = (
            b'{"ts_utc":"2026-03-01T10:15:30","symbol":"BTCUSDC","kind":"long","vol":2,"price":64000.5,"trade_key":"x"}'
        )
        assert good(data) == Signal(
            key="long 2026-03-01T10:15Z 64000.5",
            at=AT,
            direction=Direction.LONG,
            price=Decimal("64000.5"),
            symbol="BTCUSDC",
        )

    @pytest.mark.parametrize(
        ("side", "direction"),
        [("long", "long"), ("BUY", "long"), (" Short", "short"), ("sell", "short")],
    )
    def test_sides(self, side: str, direction: str) -> None:
        assert good(line(side=side)).direction == direction

    def test_null_stands_for_a_field_that_is_not_given(self) -> None:
        assert good(line(id=None, stop=None, targets=None, qty=None)) == good(line())

    def test_byte_order_mark_and_carriage_return(self) -> None:
        assert good(b"\xef\xbb\xbf" + line() + b"\r\n") == good(line())

    def test_numeric_id(self) -> None:
        assert good(line(id=12345678901234567890)).key == "12345678901234567890"


class TestKey:
    def test_same_price_written_otherwise_is_the_same_signal(self) -> None:
        keys = {good(line(price=price)).key for price in (64000.5, "64000.50", "6.40005e4", "64000.500")}
        assert keys == {"long 2026-03-01T10:15Z 64000.5"}

    def test_whole_thousands_keep_their_zeros(self) -> None:
        assert good(line(price=64000)).key.endswith(" 64000")

    def test_differs_by_side_minute_and_price(self) -> None:
        variants: list[dict[str, Any]] = [{}, {"side": "short"}, {"ts": "2026-03-01T10:16:00Z"}, {"price": 64000.6}]
        assert len({good(line(**change)).key for change in variants}) == 4
        assert good(line(ts="2026-03-01T10:15:59Z")).key == good(line()).key


FAULTS: list[tuple[bytes, str]] = [
    (b"", "the line is empty"),
    (b" \t\r\n", "the line is empty"),
    (b"[]", "the line must be a JSON object, was a list of 0"),
    (b'"x"', "the line must be a JSON object, was a text"),
    (b"7", "the line must be a JSON object, was a number"),
    (b"null", "the line must be a JSON object, was null"),
    (b'{"ts":', "the line is not JSON: Expecting value at character 6"),
    (line() + line(), "the line is not JSON: Extra data"),
    (b"[" * 60_000, "nested too deeply"),
    (b'{"ts":1,"ts":2}', '"ts" is given twice'),
    (b'{"price":NaN}', "NaN is not a number"),
    (b'{"price":-Infinity}', "-Infinity is not a number"),
    (b'{"a":"\xff"}', "the line is not UTF-8: byte 6 is 0xff"),
    (b'{"a":"\0"}', "the line has a NUL byte at 6"),
    ('{"ts":1}'.encode("utf-16-le"), "must be UTF-8 text (not UTF-16)"),
    (line(note="x" * LINE_MAX), "more than 65536 bytes"),
    (line(ts=None), "ts is missing"),
    (line(ts=True), "ts must be a time from 2000 to 2099"),
    (line(ts="yesterday"), 'was "yesterday"'),
    (line(ts="2026-03-01"), 'was "2026-03-01"'),
    (line(ts="2026-02-30T00:00:00Z"), 'was "2026-02-30T00:00:00Z"'),
    (line(ts=-1), "was -1"),
    (line(ts=1772360130000000), "was 1772360130000000"),
    (line(symbol=None), "symbol is missing"),
    (line(symbol=""), 'symbol must be the exchange\'s name for it, e.g. BTCUSDT, was ""'),
    (line(symbol=7), "e.g. BTCUSDT, was 7"),
    (line(symbol="BTC/USDT"), 'was "BTC/USDT"'),
    (line(symbol="A" * 41), "symbol must be"),
    (line(side=None), "side is missing"),
    (line(side="up"), 'side must be long, short, buy or sell, was "up"'),
    (line(side=1), "side must be long, short, buy or sell, was 1"),
    (line(side="long", kind="short"), 'side "long" and kind "short" contradict each other'),
    (line(price=None), "price is missing"),
    (line(price=0), "price must be a number above 0, was 0"),
    (line(price=-1.5), "price must be a number above 0, was -1.5"),
    (line(price=True), "price must be a number above 0, was true"),
    (line(price="64,000"), 'price must be a number above 0, was "64,000"'),
    (line(price="NaN"), 'was "NaN"'),
    (line(price="٣"), "price must be a number above 0"),
    (line(price=[1]), "was a list of 1"),
    (line(price={}), "was an object"),
    (line(price=1e300), "price must lie between 1E-18 and 1E+18, was 1e+300"),
    (b'{"ts":1772360130,"symbol":"A","side":"long","price":1e-999999999999}', "price must lie between"),
    (b'{"ts":1772360130,"symbol":"A","side":"long","price":1e19}', "price must lie between"),
    (line(price="1." + "1" * 28), "price must have at most 28 digits"),
    (line(price="1" * 61), "price must be a number above 0"),
    (line(id="{{strategy.order.id}}"), "its placeholder was not filled in"),
    (line(id=""), "id must be a number or 1 to 100 printable characters"),
    (line(id="a\nb"), "id must be"),
    (line(id="\ud800"), "id must be"),
    (line(id="x" * 101), "id must be"),
    (line(id=True), "id must be a number or 1 to 100 printable characters, was true"),
    (line(targets=[]), "targets must be a list of one or two prices, was a list of 0"),
    (line(targets=[1, 2, 3]), "was a list of 3"),
    (line(targets=65000), "targets must be a list of one or two prices, was 65000"),
    (line(targets=[65000, None]), "targets[1] must be a number above 0, was null"),
    (line(stop=0), "stop must be a number above 0"),
    (line(entry="x"), "entry must be a number above 0"),
    (line(qty=1, risk=2), "only one of qty, notional and risk may be given, there were qty and risk"),
    (line(notional=-1), "notional must be a number above 0"),
    (line(sl=63000), '"sl" is not a key of a signal: did you mean stop?'),
    (line(stopLoss=63000), '"stopLoss" is not a key of a signal: did you mean stop?'),
    (line(targest=[1]), '"targest" is not a key of a signal: did you mean targets?'),
    (line(Price=1), '"Price" is not a key of a signal: did you mean price?'),
    (line(take_profit=1), "did you mean targets?"),
    (line(ts_utc="2026-03-01T10:15:31Z"), "name different times"),
    (line(PEAK, action="HEARTBEAT"), 'action must be "PEAK", was "HEARTBEAT"'),
    (line(PEAK, action=1), 'action must be "PEAK", was 1'),
    (line(PEAK, kind=None), "kind is missing"),
    (line(PEAK, kind="flat"), 'kind must be long, short, buy or sell, was "flat"'),
    (line(PEAK, price=None), "price is missing"),
    (line(PEAK, action=None), "side is missing: it must be long, short, buy or sell (kind is read only beside"),
    (line(PEAK, action=None, event="PEAK_EMIT"), 'a record of the event "PEAK_EMIT" is no signal'),
    (b'{"ts_utc":"2026-03-01T10:15:30","kind":"long","symbol":"A","price_usdt":1.5}', "price is missing"),
    (b'{"ts_utc":"2026-03-01T10:15:30","kind":"long","price":1.5}', "symbol is missing"),
]


@pytest.mark.parametrize(("data", "expected"), FAULTS, ids=[expected[:50] for _, expected in FAULTS])
def test_a_fault_names_the_field_what_it_was_and_what_it_must_be(data: bytes, expected: str) -> None:
    assert expected in fault(data)


def test_a_key_that_means_nothing_to_a_trade_is_ignored() -> None:
    assert good(line(strategy="breakout", vwap=1, note="x", delta=-3)) == good(line())


@pytest.mark.parametrize("name", ["reduceOnly", "reduce_only", "closePosition", "close_position", "CLOSE-ONLY"])
@pytest.mark.parametrize("shape", [{"side": "long", "ts": 1_750_000_000}, {"kind": "long", "ts_utc": 1_750_000_000}])
def test_an_order_that_opens_nothing_is_no_signal(name: str, shape: dict[str, Any]) -> None:
    signal = {**shape, "symbol": "LTCUSDT", "price": 84}
    opening: list[object] = [False, None, "false", " False ", 0, "0", "", "no", "Off"]
    leaving: list[object] = [True, "true", "yes", "on", 1, "1", -1, [], {}]
    for value in opening:
        assert isinstance(parse_signal(json.dumps({**signal, name: value})), Signal), value
    for value in leaving:
        parsed = parse_signal(json.dumps({**signal, name: value}))
        assert isinstance(parsed, Malformed), value
        assert name in parsed.fault


def test_a_letter_that_only_looks_like_one_of_a_symbol_is_another() -> None:
    """Capitals of some letters are those of a to z: a long s becomes an S."""
    signal = {"side": "long", "ts": 1_750_000_000, "price": 84}
    for symbol in ("LTCU\u017fDT", "LTC\uff35SDT", "LTCU\u0405DT"):
        parsed = parse_signal(json.dumps({**signal, "symbol": symbol}))
        assert isinstance(parsed, Signal)
        assert parsed.symbol != "LTCUSDT"
    parsed = parse_signal(json.dumps({**signal, "symbol": "\u5e01\u5b89usdt"}))
    assert isinstance(parsed, Signal)
    assert parsed.symbol == "\u5e01\u5b89USDT"


def test_a_ticker_beside_the_symbol_must_be_the_same() -> None:
    signal = {"side": "long", "ts": 1_750_000_000, "symbol": "LTCUSDT", "price": 84}
    same: list[object] = ["LTCUSDT", "BINANCE:ltcusdt", "LTC/USDT", "binance:LTC-USDT", "ltc_usdt ", "", None]
    other: list[object] = ["BTCUSDT", "COINBASE:LTCUSD", "LTC/USD", "LTCUSDT.P", "/", 5, []]
    for ticker in same:
        assert isinstance(parse_signal(json.dumps({**signal, "ticker": ticker})), Signal), ticker
    for ticker in other:
        parsed = parse_signal(json.dumps({**signal, "ticker": ticker}))
        assert isinstance(parsed, Malformed), ticker
        assert "different symbols" in parsed.fault


def test_long_values_are_quoted_short() -> None:
    refused = parse_signal(line(side="\n" * 5000))
    assert isinstance(refused, Malformed)
    assert_readable(refused)


prices = st.decimals("0.00000001", "1000000", places=8).map(lambda d: Decimal(plain(d).rstrip("0") + "0"))


@given(
    at=st.integers(EARLIEST, LATEST - 1),
    direction=st.sampled_from(Direction),
    price=prices,
    optional=st.fixed_dictionaries({}, optional={"entry": prices, "stop": prices}),
    targets=st.lists(prices, min_size=1, max_size=2) | st.none(),
    size=st.sampled_from(["qty", "notional", "risk", ""]),
    amount=prices,
    as_text=st.booleans(),
)
def test_a_valid_signal_comes_back_to_the_last_digit(
    *,
    at: int,
    direction: Direction,
    price: Decimal,
    optional: dict[str, Decimal],
    targets: list[Decimal] | None,
    size: str,
    amount: Decimal,
    as_text: bool,
) -> None:
    def number(value: Decimal) -> object:
        return plain(value) if as_text else msgspec.Raw(plain(value).encode())

    fields: dict[str, object] = {"ts": at, "symbol": "BTCUSDT", "side": direction, "price": number(price), "id": "k"}
    fields |= {name: number(value) for name, value in optional.items()}
    if targets is not None:
        fields["targets"] = [number(target) for target in targets]
    if size:
        fields[size] = number(amount)
    signal = good(msgspec.json.encode(fields))
    sizes = {name: getattr(signal, name) for name in ("qty", "notional", "risk") if getattr(signal, name) is not None}
    assert (signal.at, signal.direction, plain(signal.price)) == (at, direction, plain(price))
    assert {"entry": signal.entry, "stop": signal.stop} == {"entry": None, "stop": None} | optional
    assert signal.targets == tuple(targets or ())
    assert sizes == ({size: amount} if size else {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary() | st.text())
def test_no_input_raises(data: bytes | str) -> None:
    answer = parse_signal(data)
    assert isinstance(answer, Malformed)
    assert_readable(answer)


@given(
    st.sampled_from([GENERAL, PEAK]),
    st.dictionaries(st.sampled_from([*GENERAL, *PEAK, "id", "targets", "qty"]), json_values),
)
@example(GENERAL, {"price": 10**5000})
def test_no_object_raises(base: dict[str, Any], changes: dict[str, Any]) -> None:
    data = _dumped({**base, **changes})
    answer = parse_signal(data)
    if isinstance(answer, Malformed):
        assert_readable(answer)
    else:
        assert answer.price > 0
        assert answer.key.isprintable()
        msgspec.json.encode(answer)


def _dumped(value: dict[str, Any]) -> bytes:
    huge = {name: item for name, item in value.items() if isinstance(item, int) and item.bit_length() > 10_000}
    text = json.dumps({**value, **dict.fromkeys(huge, "huge")})
    return text.replace('"huge"', "1" + "0" * 5000).encode()


class TestInstant:
    @given(
        st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)),  # noqa: DTZ001  (the zone is drawn below)
        st.integers(-14 * 60, 14 * 60),
        st.sampled_from(["T", " "]),
    )
    def test_iso_with_any_offset(self, naive: datetime, minutes: int, separator: str) -> None:
        moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
        expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        assert parse_instant(moment.isoformat(separator)) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "2026-03-01T10:15:30Z",
            "2026-03-01 10:15:30",
            "2026-03-01t10:15:30.000z",
            "2026-03-01 10:15:30,0 UTC",
            "2026-03-01T12:15:30+02:00",
            "2026-03-01T12:15:30+0200",
            "2026-03-01T12:15:30+02",
            "2026-03-01T05:15:30-05:00",
            "1772360130",
            "1772360130.0001",
            "1772360130000",
            " 1772360130000 ",
        ],
    )
    def test_the_same_instant_in_many_forms(self, text: str) -> None:
        assert parse_instant(text) == AT

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "2026-03-01T24:15:30Z",
            "2026-03-01T10:60Z",
            "2026-03-01T10:15:60Z",
            "2026-03-01T10:15:30+24:00",
            "2026-03-01T10:15:30+01:60",
            "2026-03-01T10:15:30 CET",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "1999-12-31T23:59:59Z",
            "2100-01-01T00:00:00Z",
            "1e9",
            "1_772_360_130",
            "٢٠٢٦-03-01T10:15:30Z",
            "946684799",
            "0",
        ],
    )
    def test_no_instant_from_2000_to_2099(self, text: str) -> None:
        assert parse_instant(text) is None

    def test_minutes_alone_and_milliseconds(self) -> None:
        assert parse_instant("2026-03-01T10:15Z") == AT - 30_000
        assert parse_instant("2026-03-01T10:15:30.1239Z") == AT + 123
        assert parse_instant("1772360130.5") == AT + 500


def quickest(line: bytes) -> float:
    """Seconds of the quickest of a few."""
    spent = []
    for _ in range(3):
        begun = time.perf_counter()
        parse_signal(line)
        spent.append(time.perf_counter() - begun)
    return min(spent)


def test_a_key_that_is_given_twice_among_thousands_takes_no_longer_to_find_than_the_line_to_read() -> None:
    """Whoever writes such a line held up the trade that is open, for a second a line."""
    names = ",".join(f'"{n:x}":1' for n in range(6000))
    once, twice = f"{{{names}}}".encode(), f'{{{names},"{5999:x}":1}}'.encode()
    assert len(twice) <= LINE_MAX
    told = parse_signal(twice)
    assert isinstance(told, Malformed)
    assert told.fault == '"176f" is given twice'
    assert quickest(twice) < 10 * quickest(once)


def test_a_line_of_more_keys_than_any_signal_has_is_refused_before_each_is_compared() -> None:
    """A comparison of names is dear: thousands of them took a second as well."""
    fields = {"ts": "1772360130", "symbol": "BTCUSDT", "side": "long", "price": 1}
    fields |= {f"targe{n}": 1 for n in range(4000)}
    line = json.dumps(fields, separators=(",", ":")).encode()
    told = parse_signal(line)
    assert isinstance(told, Malformed)
    assert told.fault == "the line has 4004 keys, a signal has some ten and at most 100"
    few = dict(list(fields.items())[:4]) | {f"own {n}": 1 for n in range(KEYS_MAX - 4)}
    assert isinstance(parse_signal(json.dumps(few)), Signal)
