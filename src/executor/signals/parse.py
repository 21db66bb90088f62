"""One line of the signal source to a `Signal`, or to the reason why it is none (rules 2.1, 2.5). Pure.

Read are:

- the general shape: `ts`, `symbol`, `side` (long or buy, short or sell), `price`, optional `id`, `entry`,
  `stop`, `targets` (one or two), and at most one of `qty` (base), `notional` (quote), `risk` (quote);
- the same as DeltaScout exports it, with `ts_utc` for `ts` and `kind` for `side`;
- the PEAK shape: `ts`, `action: "PEAK"`, `kind`, `price`. Its other keys are ignored, save a `symbol`: a
  signal that names another symbol must not be traded on this one.

Numbers are exact: a JSON number, or a string that holds one, becomes the Decimal of its digits.
"""

import difflib
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

import msgspec

from executor.core.model.signal import Signal
from executor.core.model.values import ZERO, Direction, plain
from executor.signals.instant import parse_instant, readable_minute

LINE_MAX: Final = 64 * 1024
"""Bytes. A signal is some hundred; what is longer than this is no signal."""

KEYS_MAX: Final = 100
"""Each key that is not a signal's is looked at for what it may have meant."""
ID_LENGTH_MAX: Final = 100
SYMBOL_LENGTH_MAX: Final = 40
DIGITS_MAX: Final = 28
"""Significant digits: the precision of decimal arithmetic, beyond which a number would silently be rounded.
"""
MAGNITUDE_MAX: Final = 18
"""Numbers lie between 1E-18 and 1E+18: beyond is no price or quantity of anything."""

_FAULT_LENGTH_MAX: Final = 300
_QUOTED_LENGTH_MAX: Final = 40
_EXCERPT_LENGTH_MAX: Final = 200

_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER_LENGTH_MAX: Final = 60
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DIRECTIONS: Final = {
    "long": Direction.LONG,
    "buy": Direction.LONG,
    "short": Direction.SHORT,
    "sell": Direction.SHORT,
}
_SIZES: Final = ("qty", "notional", "risk")
_KNOWN: Final = ("ts", "symbol", "side", "price", "id", "entry", "stop", "targets", *_SIZES)
_MISNAMED: Final = {
    "sl": "stop",
    "stoploss": "stop",
    "stopprice": "stop",
    "tp": "targets",
    "tp1": "targets",
    "tp2": "targets",
    "takeprofit": "targets",
    "entryprice": "entry",
    "limitprice": "entry",
    "quantity": "qty",
    "size": "qty",
    "amount": "qty",
    "qtyusd": "notional",
    "riskusd": "risk",
}
"""What others call the keys that decide about money. Ignored, they would trade something else than was meant.
"""


_LEAVING: Final = frozenset({"reduceonly", "closeonly", "closeposition"})
_OFF: Final = frozenset({"", "0", "no", "off", "false"})
"""Words of an order that opens nothing, as exchanges name them; what is opened here has its exits with it."""


class Malformed(msgspec.Struct, frozen=True):
    """Why a line is no signal. Both are one line of printable text: `fault` names the field, what it was and
    what it must be; `text` is the beginning of the line.
    """

    fault: str
    text: str


class SignalFault(Exception):  # noqa: N818  (it says what is wrong with a signal)
    """Why something is no signal: the field, what it was and what it must be."""


class Number(str):
    """The text of a JSON number, not yet a value: so that no digit is lost and no exponent believed."""

    __slots__ = ()


def parse_signal(line: str | bytes) -> Signal | Malformed:
    """The signal that `line` describes. Any input gets an answer; nothing raises."""
    data = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    try:
        return _signal(read_object(data))
    except SignalFault as fault:
        return Malformed(_one_line(str(fault), _FAULT_LENGTH_MAX), excerpt(data))


def excerpt(data: bytes) -> str:
    """The beginning of a line as printable text, for logs and the journal."""
    return _one_line(data[: 4 * _EXCERPT_LENGTH_MAX].decode("utf-8", "backslashreplace"), _EXCERPT_LENGTH_MAX)


def read_object(data: bytes) -> Mapping[str, Any]:
    """A JSON object, its numbers as the text that they were (`Number`). Raises SignalFault."""
    if len(data) > LINE_MAX:
        raise SignalFault(f"the line has more than {LINE_MAX} bytes, a signal has some hundred")
    if b"\0" in data:
        raise SignalFault(f"the line has a NUL byte at {data.index(0)}: the file must be UTF-8 text (not UTF-16)")
    try:
        text = data.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SignalFault(f"the line is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from None
    if not text.strip():
        raise SignalFault("the line is empty")
    try:
        value = json.loads(
            text,
            parse_float=Number,
            parse_int=Number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_without_duplicates,
        )
    except json.JSONDecodeError as error:
        raise SignalFault(f"the line is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise SignalFault("the line is nested too deeply to be a signal") from None
    if not isinstance(value, dict):
        raise SignalFault(f"the line must be a JSON object, was {_kind(value)}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise SignalFault(f"{name} is not a number that a signal may hold")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise SignalFault(f"{_quoted(name)} is given twice")
            seen.add(name)
    return found


def _signal(fields: Mapping[str, Any]) -> Signal:
    if fields.get("action") is not None:
        return _peak(fields)
    return _general(fields)


def _peak(fields: Mapping[str, Any]) -> Signal:
    action = fields["action"]
    if action != "PEAK" or isinstance(action, Number):
        raise SignalFault(f'action must be "PEAK", was {_shown(action)}')
    at, direction, price = _instant(fields, "ts"), _direction(fields, "kind"), _number(fields, "price")
    return Signal(
        key=_key(at, direction, price),
        at=at,
        direction=direction,
        price=price,
        symbol=_symbol(fields, required=False),
    )


def _general(fields: Mapping[str, Any]) -> Signal:
    side = _side_name(fields)
    _refuse_leaving(fields)
    if side == "side":
        _refuse_misnamed(fields)
    at = _instant(fields, "ts_utc" if "ts_utc" in fields else "ts")
    if "ts" in fields and _instant(fields, "ts") != at:
        raise SignalFault(f"ts {_shown(fields['ts'])} and ts_utc {_shown(fields['ts_utc'])} name different times")
    symbol = _symbol(fields, required=True)
    refuse_other_symbol(fields)
    direction, price = _direction(fields, side), _number(fields, "price")
    refuse_contradiction(fields, direction)
    given = [name for name in _SIZES if fields.get(name) is not None]
    if len(given) > 1:
        raise SignalFault(f"only one of qty, notional and risk may be given, there were {' and '.join(given)}")
    sizes = {name: _number(fields, name) for name in given}
    name = _id(fields)
    return Signal(
        key=_key(at, direction, price) if name is None else name,
        at=at,
        direction=direction,
        price=price,
        symbol=symbol,
        entry=_optional_number(fields, "entry"),
        stop=_optional_number(fields, "stop"),
        targets=_targets(fields),
        qty=sizes.get("qty"),
        notional=sizes.get("notional"),
        risk=sizes.get("risk"),
        named=name is not None,
    )


def refuse_contradiction(fields: Mapping[str, Any], direction: Direction) -> None:
    """An order of a strategy that leaves a position, or makes one smaller, opens none here. Raises SignalFault.

    `market_position` (long, short or flat) and `position_size` (below 0 for a short) are the position after the order,
    the names with `prev_` the one before it. Orders that close one, and bear no name of their own, are named so by
    TradingView.
    """
    for name in _NAMES_OF_ORDERS:
        value = fields.get(name)
        if isinstance(value, str) and value.strip().lower().startswith(_CLOSING):
            raise SignalFault(f"{name} {_shown(value)} is of an order that closes a position: it opens none")
    after, before = _position(fields, "market_position"), _position(fields, "prev_market_position")
    if after == "flat":
        raise SignalFault("market_position is flat, an exit: a trade's exits are placed with its entry")
    if after and after != direction:
        raise SignalFault(f"{_ACTIONS[direction]} with market_position {after} makes a position smaller: it opens none")
    size = _amount(fields, "position_size")
    if size is not None and size * direction.sign <= 0:
        raise SignalFault(f"{_ACTIONS[direction]} with position_size {plain(size)} leaves a position: it opens none")
    now, then = _amount(fields, "market_position_size"), _amount(fields, "prev_market_position_size")
    if now is not None and then is not None and after and after == before and abs(now) < abs(then):
        change = f"market_position_size from {plain(then)} to {plain(now)}"
        raise SignalFault(f"{change}: the position gets smaller, and nothing is opened")


_NAMES_OF_ORDERS: Final = ("id", "order_id", "comment")
_CLOSING: Final = ("close entry(s) order", "close position order", "margin call")
_ACTIONS: Final = {Direction.LONG: "buy", Direction.SHORT: "sell"}


def _position(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None or value == "":
        return ""
    text = value.strip().lower() if isinstance(value, str) and not isinstance(value, Number) else ""
    if text not in {"long", "short", "flat"}:
        raise SignalFault(f"{name} must be long, short or flat, was {_shown(value)}")
    return text


def _amount(fields: Mapping[str, Any], name: str) -> Decimal | None:
    """A size, which may be 0 or below; None where there is none."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) <= _NUMBER_LENGTH_MAX and _NUMBER.fullmatch(value.strip()):
        _, _, exponent = value.lower().partition("e")
        if abs(int(exponent or 0)) <= _NUMBER_LENGTH_MAX:
            return Decimal(value.strip())
    raise SignalFault(f"{name} must be a number, was {_shown(value)}")


def read_direction(fields: Mapping[str, Any], name: str) -> Direction:
    """Raises SignalFault."""
    return _direction(fields, name)


def _side_name(fields: Mapping[str, Any]) -> str:
    """Which key holds the direction: `kind` alone counts only beside `ts_utc`, for DeltaScout's diagnostic
    records have `kind` too, and are no signals.
    """
    if "side" in fields:
        if fields.get("kind") is not None and _direction(fields, "kind") is not _direction(fields, "side"):
            kind = _shown(fields["kind"])
            raise SignalFault(f"side {_shown(fields['side'])} and kind {kind} contradict each other")
        return "side"
    if "event" in fields:
        event = _shown(fields["event"])
        raise SignalFault(f'a record of the event {event} is no signal: a signal has action "PEAK" or a side')
    if "kind" in fields and "ts_utc" in fields:
        return "kind"
    also = ' (kind is read only beside action "PEAK" or ts_utc)' if "kind" in fields else ""
    raise SignalFault(f"side is missing: it must be long, short, buy or sell{also}")


def refuse_other_symbol(fields: Mapping[str, Any]) -> None:
    """`symbol` and `ticker`, where both are given, must be the same, however they are spelled: BTCUSDT, BTC/USDT,
    BINANCE:BTCUSDT. Raises SignalFault.
    """
    symbol, ticker = fields.get("symbol"), fields.get("ticker")
    if symbol in (None, "") or ticker in (None, ""):
        return
    if _bare(symbol) != _bare(ticker):
        raise SignalFault(f"symbol {_shown(symbol)} and ticker {_shown(ticker)} name different symbols")


def _bare(value: object) -> str:
    """Its letters and digits alone, without the exchange before a colon; empty for what is no text."""
    text = value.rpartition(":")[2] if isinstance(value, str) else ""
    return "".join(letter for letter in text.upper() if letter.isalnum())


def _refuse_leaving(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        off = value is None or value is False or (isinstance(value, str) and value.strip().lower() in _OFF)
        if _folded(name) in _LEAVING and not off:
            raise SignalFault(f"{_quoted(name)} is {_shown(value)}, of an order that opens nothing: it must be false")


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _refuse_misnamed(fields: Mapping[str, Any]) -> None:
    if len(fields) > KEYS_MAX:
        raise SignalFault(f"the line has {len(fields)} keys, a signal has some ten and at most {KEYS_MAX}")
    for name in fields:
        if name in _KNOWN or name in ("ts_utc", "kind"):
            continue
        near = difflib.get_close_matches(name.lower()[:_QUOTED_LENGTH_MAX], _KNOWN, n=1, cutoff=0.8)
        meant = _MISNAMED.get(_folded(name)) or (near[0] if near else None)
        if meant is not None:
            raise SignalFault(f"{_quoted(name)} is not a key of a signal: did you mean {meant}?")


def _instant(fields: Mapping[str, Any], name: str) -> int:
    value = _required(fields, name)
    at = parse_instant(value) if isinstance(value, str) else None
    if at is None:
        raise SignalFault(
            f"{name} must be a time from 2000 to 2099: ISO 8601 (UTC where it names no zone), or seconds or"
            f" milliseconds since 1970, was {_shown(value)}"
        )
    return at


def _direction(fields: Mapping[str, Any], name: str) -> Direction:
    value = _required(fields, name)
    direction = _DIRECTIONS.get(value.strip().lower()) if isinstance(value, str) else None
    if direction is None:
        raise SignalFault(f"{name} must be long, short, buy or sell, was {_shown(value)}")
    return direction


def _symbol(fields: Mapping[str, Any], *, required: bool) -> str:
    value = fields.get("symbol")
    if value is None:
        if required:
            raise SignalFault("symbol is missing: it must name the symbol, e.g. BTCUSDT")
        return ""
    text = "" if isinstance(value, Number) or not isinstance(value, str) else in_capitals(value.strip())
    if not 0 < len(text) <= SYMBOL_LENGTH_MAX or not text.isalnum():
        raise SignalFault(f"symbol must be the exchange's name for it, e.g. BTCUSDT, was {_shown(value)}")
    return text


def in_capitals(symbol: str) -> str:
    """A symbol as the exchange writes it. Names may have other letters than a to z, and those stay as they are: the
    capital of some is one that they only look like.
    """
    return "".join(letter.upper() if letter.isascii() else letter for letter in symbol)


def _id(fields: Mapping[str, Any]) -> str | None:
    value = fields.get("id")
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    if "{{" in text:
        raise SignalFault(f"id must name this signal, but its placeholder was not filled in: {_shown(value)}")
    if not 0 < len(text) <= ID_LENGTH_MAX or not text.isprintable():
        raise SignalFault(f"id must be a number or 1 to {ID_LENGTH_MAX} printable characters, was {_shown(value)}")
    return str(text)


def _targets(fields: Mapping[str, Any]) -> tuple[Decimal, ...]:
    value = fields.get("targets")
    if value is None:
        return ()
    if not isinstance(value, list) or not 1 <= len(value) <= 2:
        raise SignalFault(f"targets must be a list of one or two prices, was {_shown(value)}")
    return tuple(_decimal(f"targets[{index}]", item) for index, item in enumerate(value))


def _optional_number(fields: Mapping[str, Any], name: str) -> Decimal | None:
    return None if fields.get(name) is None else _number(fields, name)


def _number(fields: Mapping[str, Any], name: str) -> Decimal:
    return _decimal(name, _required(fields, name))


def _decimal(name: str, value: object) -> Decimal:
    if not isinstance(value, str) or len(value) > _NUMBER_LENGTH_MAX or not _NUMBER.fullmatch(value):
        raise SignalFault(f"{name} must be a number above 0, was {_shown(value)}")
    _, _, exponent = value.lower().partition("e")
    # The exponent is judged before the number is built: no memory could write out all that a Decimal takes.
    far = abs(int(exponent or 0)) > _NUMBER_LENGTH_MAX
    number = ZERO if far else Decimal(value)
    if not far and number <= 0:
        raise SignalFault(f"{name} must be a number above 0, was {_shown(value)}")
    if far or abs(number.adjusted()) > MAGNITUDE_MAX:
        bounds = f"1E-{MAGNITUDE_MAX} and 1E+{MAGNITUDE_MAX}"
        raise SignalFault(f"{name} must lie between {bounds}, was {_shown(value)}")
    if len(number.as_tuple().digits) > DIGITS_MAX:
        raise SignalFault(f"{name} must have at most {DIGITS_MAX} digits, was {_shown(value)}")
    return Decimal(plain(number))


def _required(fields: Mapping[str, Any], name: str) -> Any:
    value = fields.get(name)
    if value is None:
        raise SignalFault(f"{name} is missing")
    return value


def _key(at: int, direction: Direction, price: Decimal) -> str:
    """Side + minute + price (rule 2.5), e.g. `long 2026-03-01T10:15Z 81258.08` (81258.080 is the same)."""
    digits = plain(price)
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return f"{direction} {readable_minute(at)} {digits}"


def _shown(value: object) -> str:
    """A value as its writer knows it, short."""
    if isinstance(value, Number):
        return value if len(value) <= _QUOTED_LENGTH_MAX else f"{value[:_QUOTED_LENGTH_MAX]}…"
    return _quoted(value) if isinstance(value, str) else _kind(value)


def _quoted(text: str) -> str:
    short = text if len(text) <= _QUOTED_LENGTH_MAX else f"{text[:_QUOTED_LENGTH_MAX]}…"
    return f'"{_one_line(short, 2 * _QUOTED_LENGTH_MAX)}"'


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Number():
            return "a number"
        case str():
            return "a text"
        case list():
            return f"a list of {len(value)}"
        case _:
            return "an object"


def _one_line(text: str, length_max: int) -> str:
    printable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:length_max])
    return printable if len(printable) <= length_max else printable[: length_max - 1] + "…"
