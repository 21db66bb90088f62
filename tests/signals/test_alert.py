"""The body of a webhook's request becomes a line of the signal file, or a fault that names the field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.core.model.signal import Signal
from executor.core.model.values import Direction
from executor.signals.alert import line_of, secret_in
from executor.signals.parse import Malformed, SignalFault, parse_signal, read_object

RECEIVED = 1_750_000_000_123
SECRET = "the-secret-mark"
TRADINGVIEW = {
    "secret": SECRET,
    "ticker": "BINANCE:LTCUSDT",
    "exchange": "BINANCE",
    "action": "buy",
    "price": 84.5,
    "timenow": "2025-06-15T15:06:40Z",
    "time": "2025-06-15T15:00:00Z",
    "interval": "60",
    "contracts": 7,
    "market_position": "long",
    "stop": "83.9",
    "targets": [85, 86],
}


def taken(body: dict[str, Any]) -> Signal:
    signal = parse_signal(line_of(read_object(json.dumps(body).encode()), RECEIVED))
    assert isinstance(signal, Signal), signal
    return signal


def refused(body: dict[str, Any]) -> str:
    try:
        found = parse_signal(line_of(read_object(json.dumps(body).encode()), RECEIVED))
    except SignalFault as fault:
        return str(fault)
    assert isinstance(found, Malformed)
    return found.fault


def test_both_shapes_of_the_file_are_taken_as_they_are() -> None:
    general = {"ts": RECEIVED, "id": "a", "symbol": "LTCUSDT", "side": "short", "price": "84.5", "qty": 1}
    peak = {"ts": "2025-06-15T15:06:40Z", "action": "PEAK", "kind": "long", "price": 84.50, "extra": {"x": [1]}}
    for shape in (general, peak):
        assert taken({**shape, "secret": SECRET}) == parse_signal(json.dumps(shape))


def test_a_tradingview_alert() -> None:
    signal = taken(TRADINGVIEW)
    assert (signal.symbol, signal.direction, str(signal.price)) == ("LTCUSDT", Direction.LONG, "84.5")
    assert signal.at == 1_750_000_000_000
    assert (str(signal.stop), [str(t) for t in signal.targets], signal.qty) == ("83.9", ["85", "86"], None)
    sold = taken({"ticker": "LTCUSDT", "action": "SELL", "close": "84.5", "time": RECEIVED})
    assert (sold.direction, sold.at) == (Direction.SHORT, RECEIVED)


def test_every_digit_is_kept() -> None:
    body = b'{"ticker":"LTCUSDT","action":"buy","close":84.500000000000000001,"time":1750000000}'
    signal = parse_signal(line_of(read_object(body), RECEIVED))
    assert isinstance(signal, Signal)
    assert str(signal.price) == "84.500000000000000001"


def test_the_time_of_arrival_stands_in_only_beside_an_id() -> None:
    body = {"symbol": "LTCUSDT", "side": "long", "price": 84.5}
    assert taken({**body, "id": "a"}).at == RECEIVED
    assert "an id" in refused(body)
    assert "an id" in refused({"ticker": "LTCUSDT", "action": "buy", "close": 84.5})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"market_position": "flat"}, "market_position"),
        ({"ticker": "BINANCE:LTCUSDT.P"}, "perpetual"),
        ({"action": "close"}, "action"),
        ({"action": None}, "action"),
        ({"price": "{{close}}"}, "price"),
        ({"timenow": "{{timenow}}"}, "ts"),
        ({"ticker": "{{ticker}}"}, "symbol"),
        ({"sl": 83}, "stop"),
        ({"take_profit": 83}, "targets"),
        ({"stop": -1}, "stop"),
        ({"symbol": "ETHUSDT"}, "name different symbols"),
        ({"symbol": 7}, "name different symbols"),
        ({"ticker": "COINBASE:LTCUSD", "symbol": "LTCUSDT"}, "name different symbols"),
        ({"ticker": ["LTCUSDT"], "symbol": "LTCUSDT"}, "name different symbols"),
        ({"reduceOnly": True}, "reduceOnly"),
        ({"close_position": "TRUE"}, "close_position"),
    ],
)
def test_an_alert_that_can_be_misunderstood_is_refused(change: dict[str, Any], named: str) -> None:
    assert named in refused({**TRADINGVIEW, **change})


def test_a_symbol_beside_the_ticker_that_says_the_same_does_no_harm() -> None:
    for symbol in ("LTCUSDT", " ltcusdt", "BINANCE:LTCUSDT", "LTC/USDT", "ltc-usdt", "", None):
        assert taken({**TRADINGVIEW, "symbol": symbol}).symbol == "LTCUSDT"
    assert taken({**TRADINGVIEW, "ticker": "LTC/USDT", "symbol": "LTCUSDT"}).symbol == "LTCUSDT"


def test_a_symbol_that_is_no_name_of_the_exchange_s_is_none() -> None:
    assert "symbol" in refused({**TRADINGVIEW, "ticker": "LTC/USDT"})
    assert "symbol" in refused({**TRADINGVIEW, "ticker": "LTC/USDT", "symbol": "LTC-USDT"})


def test_the_secret_is_found_and_goes_no_further() -> None:
    fields = read_object(json.dumps(TRADINGVIEW).encode())
    assert secret_in(fields) == SECRET
    assert SECRET.encode() not in line_of(fields, RECEIVED)
    for other in (None, 12345, True, [SECRET], {"a": SECRET}):
        assert secret_in(read_object(json.dumps({"secret": other}).encode())) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*TRADINGVIEW, "symbol", "side", "kind", "ts", "ts_utc", "id", "close", "qty", "risk", "entry"])


@given(st.dictionaries(names | st.text(max_size=6), json_values, max_size=8))
def test_any_object_is_a_line_or_a_fault(body: dict[str, Any]) -> None:
    try:
        line = line_of(read_object(json.dumps(body).encode()), RECEIVED)
    except SignalFault:
        return
    assert b"\n" not in line
    assert isinstance(parse_signal(line), Signal | Malformed)
    assert "secret" not in json.loads(line)


@given(st.dictionaries(st.sampled_from([*sorted(TRADINGVIEW), "symbol"]), json_values))
def test_a_broken_alert_is_never_another_trade(changes: dict[str, Any]) -> None:
    """Whatever becomes of the other fields: a taken alert trades the symbol and side that it names."""
    body = {**TRADINGVIEW, **changes}
    try:
        signal = parse_signal(line_of(read_object(json.dumps(body).encode()), RECEIVED))
    except SignalFault:
        return
    if isinstance(signal, Signal):
        for named in (body["ticker"], changes.get("symbol")):
            bare = "".join(letter for letter in str(named or "").upper() if letter.isalnum())
            assert bare.endswith(signal.symbol) or not named
        sides = {Direction.LONG: ("buy", "long"), Direction.SHORT: ("sell", "short")}[signal.direction]
        assert str(body["action"]).strip().lower() in sides


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"market_position": "short"}, "market_position short"),
        ({"action": "sell"}, "market_position long"),
        ({"action": "sell", "market_position": "flat"}, "flat"),
        ({"market_position": " FLAT "}, "flat"),
        ({"market_position": "{{strategy.market_position}}"}, "market_position"),
        ({"market_position": 1}, "market_position"),
        ({"market_position": "", "position_size": "-2"}, "position_size"),
        ({"market_position": None, "position_size": 0}, "position_size"),
        ({"action": "sell", "market_position": "", "position_size": "3"}, "position_size"),
        ({"position_size": "many"}, "position_size"),
        ({"position_size": "1e99999999999"}, "position_size"),
        ({"prev_market_position": "long", "market_position_size": "1", "prev_market_position_size": 2}, "smaller"),
        ({"action": "sell", "market_position": "", "comment": "Close entry(s) order Long"}, "closes a position"),
        ({"action": "sell", "market_position": "", "order_id": "Close position order"}, "closes a position"),
        ({"action": "sell", "market_position": "", "id": " margin call"}, "closes a position"),
        ({"side": "short"}, "contradict"),
        ({"side": "sell", "action": "buy"}, "contradict"),
    ],
)
def test_an_alert_that_contradicts_the_position_opens_none(change: dict[str, Any], named: str) -> None:
    assert named in refused({**TRADINGVIEW, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"prev_market_position": "short", "market_position_size": "1", "prev_market_position_size": "2"},
        {"prev_market_position": "long", "market_position_size": "2", "prev_market_position_size": "1"},
        {"action": "sell", "market_position": "short", "position_size": "-2"},
        {"side": "long"},
        {"market_position": "", "position_size": "3"},
        {"comment": "Long", "order_id": "closer to the money", "id": "a"},
    ],
)
def test_an_alert_that_agrees_with_the_position_is_taken(change: dict[str, Any]) -> None:
    taken({**TRADINGVIEW, **change})


@pytest.mark.parametrize("position", ["flat", "short"])
def test_the_files_own_shape_is_held_against_a_position_too(position: str) -> None:
    general = {"ts": RECEIVED, "id": "a", "symbol": "LTCUSDT", "side": "long", "price": "84.5"}
    assert position in refused({**general, "market_position": position})
    taken({**general, "market_position": "long"})
