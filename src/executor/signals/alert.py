"""The body of a webhook's request to a line for the signal file. Pure.

Read are the shapes of `parse`, and alerts as TradingView's placeholders make them:

    {"secret":"...","ticker":"{{ticker}}","action":"{{strategy.order.action}}","price":"{{close}}","time":"{{timenow}}"}

`ticker` (with or without its exchange before a colon) is the symbol; a `symbol` beside it must be the same, however it
is spelled. `action` buy or sell is the side, `price` or else `close` the price, `timenow`, `ts` or else `time` the
time; `id`, `stop`, `targets`, `entry` and a size are as in the general shape. The secret never gets into the line.

The time may be left out where there is an `id`: then it is that of the arrival. Without either, a request that is sent
again could not be told from a second signal.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from executor.core.model.values import Direction
from executor.signals.parse import Number, SignalFault, read_direction, refuse_contradiction, refuse_other_symbol

SHOWN_AS: Final = "secret"

_TRADINGVIEW: Final = frozenset({
    "ticker", "exchange", "action", "price", "close", "open", "high", "low", "volume", "time", "timenow", "ts",
    "interval", "order_id", "contracts", "position_size", "market_position", "prev_market_position",
    "market_position_size", "prev_market_position_size", "order_price", "comment", "alert_message",
})  # fmt: skip
"""What its alerts say beside the signal; none of it is the size or a level of a trade here."""
_SHOWN: Final = re.compile(r'"secret"\s*:\s*("(?:[^"\\]|\\.)*")')
_SIDES: Final = frozenset({"buy", "sell", "long", "short"})
_PERPETUAL: Final = ".P"


def secret_in(fields: Mapping[str, Any]) -> str:
    """The secret that the body shows; empty for none."""
    found = fields.get(SHOWN_AS)
    return found if isinstance(found, str) and not isinstance(found, Number) else ""


def secret_in_text(body: str) -> str:
    """The secret that a body shows which is no JSON (a comma too many), in the place where it belongs; else empty."""
    found = _SHOWN.search(body)
    try:
        return str(json.loads(found[1])) if found else ""
    except ValueError:
        return ""


def without_secret(body: str) -> str:
    """Such a body, but for what stands in the secret's place."""
    return _SHOWN.sub("", body, count=1)


def line_of(fields: Mapping[str, Any], received: int) -> bytes:
    """The signal as a line of the signal file, without the secret; `received`: ms, the time where none is given.

    Whether the line is a signal is for `parse_signal` to say. Raises SignalFault.
    """
    signal = {name: value for name, value in fields.items() if name != SHOWN_AS}
    if "ticker" in signal or (_text(signal, "action").lower() in _SIDES and "side" not in signal):
        signal = _from_tradingview(signal)
    if not any(signal.get(name) is not None for name in ("ts", "ts_utc")):
        if signal.get("id") is None:
            raise SignalFault("ts is missing: give the signal's time, or an id by which a repetition is known")
        signal["ts"] = str(received)
    try:
        return json.dumps(signal, separators=(",", ":")).encode()
    except RecursionError:
        raise SignalFault("the request is nested too deeply to be a signal") from None


def _from_tradingview(alert: Mapping[str, Any]) -> dict[str, Any]:
    refuse_contradiction(alert, _agreed_direction(alert))
    refuse_other_symbol(alert)
    ticker, other = (_text(alert, name).rpartition(":")[2] for name in ("ticker", "symbol"))
    if ticker.upper().endswith(_PERPETUAL):
        raise SignalFault(f"ticker {ticker[:40]!r} is a perpetual contract, must be a symbol of Spot")
    signal = {name: value for name, value in alert.items() if name not in _TRADINGVIEW}
    if ticker:  # the two are the same; which of them is the exchange's name for it goes first
        signal["symbol"] = other if other.isalnum() and not ticker.isalnum() else ticker
    if "side" not in signal:
        signal["side"] = alert.get("action")
    for name, sources in (("price", ("price", "close")), ("ts", ("timenow", "ts", "time"))):
        found = next((alert[source] for source in sources if alert.get(source) is not None), None)
        if found is not None:
            signal[name] = found
    return signal


def _agreed_direction(alert: Mapping[str, Any]) -> Direction:
    named = [name for name in ("side", "action") if alert.get(name) is not None]
    found = {name: read_direction(alert, name) for name in named or ["action"]}
    if len(set(found.values())) > 1:
        raise SignalFault(f"side {_text(alert, 'side')} and action {_text(alert, 'action')} contradict each other")
    return next(iter(found.values()))


def _text(fields: Mapping[str, Any], name: str) -> str:
    found = fields.get(name)
    return found.strip() if isinstance(found, str) else ""
