"""What goes wrong on the way between the stranger and who asks: which faults there are, and how answers are dressed."""

import random
import zlib
from decimal import Decimal
from typing import Any

from tests.stranger.mood import Mood, now_ms

GARBAGE = [
    b"\xff\xfe\x00garbage",
    b"<html>504</html>",
    b"",
    b"null",
    b"[]",
    b"{",
    b'{"code":"x"}',
    b"[1e999]",
    b'{"a":' * 3000,
    b'{"code":0,"msg":"Service unavailable from a restricted location"}',
    b'"\\ud800"',
    b'{"orderId":1e400}',
    b'{"orderId":NaN,"status":"FILLED"}',
    b'{"orderId":1,"executedQty":"Infinity","status":"FILLED"}',
    b"\x00" * 64,
    b'{"orderId":1,"orderId":2,"orderId":3}',
    b"[" * 10_000 + b"]" * 10_000,
    b'\xef\xbb\xbf{"orderId":1}',
    b'{"id":"o1","id":null,"status":1e2,"result":{}}',
    b'"' + b"x" * 3_000_000 + b'"',
    b" " * 5_000_000 + b"{}",
]
UNEXPECTED = "An unexpected response was received from the message bus. Execution status unknown."
OVERLOADED = "Server is currently overloaded with other requests. Please try again in a few minutes."
TIMEOUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
TOLD: dict[str, tuple[int, Any]] = {
    "429": (429, {"code": -1003, "msg": "Too many requests."}),
    "503": (503, {"code": -1008, "msg": OVERLOADED}),
    "1015": (429, {"code": -1015, "msg": "Too many new orders; current limit is 50 orders per 10 SECOND."}),
    "1000": (400, {"code": -1000, "msg": "An unknown error occurred while processing the request."}),
    "1001": (400, {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}),
    "1006": (400, {"code": -1006, "msg": UNEXPECTED}),
    "1007": (408, {"code": -1007, "msg": TIMEOUT}),
    "500": (500, {"code": -1, "msg": "oops"}),
    "unheard": (400, {"code": -2999, "msg": "A refusal of tomorrow."}),
    "unheard read": (400, {"code": -9998, "msg": "A refusal of tomorrow."}),
}
"""What is told of a request; `<name> done`: although it was carried out, where the documents leave that open."""
TOLD |= {
    "429 untold": (429, {"code": -1003, "msg": "Too much request weight used; please use the websocket."}),
    "429 absurd": (429, {"code": -1003, "msg": "Too much request weight used; please use the websocket."}),
    "200 error": (200, {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}),
}
THROTTLED = "Request throttled by system-level protection. Reduce-only/close-position orders are exempt."
TOLD |= {
    "503 unknown": (503, {"code": -1, "msg": "Unknown error, please check your request or try again later."}),
    "503 unavailable": (503, {"code": -1, "msg": "Service Unavailable."}),
    "503 throttled": (503, {"code": -1008, "msg": THROTTLED}),
    "1003": (400, {"code": -1003, "msg": "Too many requests queued."}),
    "1015 bare": (400, {"code": -1015, "msg": "Too many new orders."}),
    "1034": (400, {"code": -1034, "msg": "Too many requests to connect."}),
    "1021": (400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}),
}
"""The three texts of a 503, counts that are told in other words, and a request that took too long behind the door."""
ABSURD = ["0", "-1", "1e9", "86400", "99999999999", "Wed, 21 Oct 2099 07:28:00 GMT", "soon", ""]
"""What `Retry-After` may hold, to whoever has not read the documents."""
WEIGHTS = ["999999", "-1", "many", "", "1e3"]
"""The same of the count of weight."""
PAGES: dict[str, tuple[int, str]] = {
    "502": (502, "<html>Bad gateway</html>"),
    "403": (403, "<html>Request blocked</html>"),
    "451": (451, "<html>Unavailable for legal reasons</html>"),
}
OPEN = ("503", "1000", "1001", "1006", "1007", "500", "503 unknown", "503 unavailable", "503 throttled")
READS = ["late", "lost", "503", "after", "unanswered", "502", "garbage", "429", "403", "torn", "silent", "1000"]
READS += ["unheard read", "451", "strange", "429 untold", "429 absurd", "200 error", "redirect", "gzip", "drip", "cut"]
CHANGES = [
    "late",
    "lost",
    "after",
    "unanswered",
    "unanswered",
    "502",
    "garbage",
    "garbage",
    "torn",
    "silent",
    "429",
    "1015",
]
CHANGES += ["redirect", "gzip", "drip", "cut", "429 untold", "429 absurd", "200 error done", "twice", "odd status"]
READS += ["twice", "503 unknown", "503 unavailable", "503 throttled", "1003", "1034", "1021"]
CHANGES += ["1003", "1015 bare", "1034", "1021"]
CHANGES += ["unheard", "strange", *OPEN, *(f"{name} done" for name in OPEN)]
CHANGES += [f"{name} later" for name in ("503", "1006", "1007", "500")]
"""Carried out some moments after the error was told."""

_NUMBERS = {
    "price",
    "qty",
    "origQty",
    "executedQty",
    "cummulativeQuoteQty",
    "stopPrice",
    "commission",
    "free",
    "locked",
}
_NUMBERS |= {"quoteQty", "bidPrice", "askPrice", "lastPrice", *"pqlzLnZYP"}
NULLS = {
    "trailingDelta",
    "trailingTime",
    "strategyId",
    "preventedQuantity",
    "expiryReason",
    "icebergQty",
    "workingTime",
}
"""Fields of an order that are there under conditions; as null where the mood has it so."""
_TIMES = frozenset({"time", "updateTime", "transactTime", "workingTime", "E", "T", "O", "W"})


def fault(rng: random.Random, storm: float, method: str, what: str) -> str:
    """What happens to a request; "": nothing."""
    if rng.random() >= storm or what in {"ping", "time"}:
        return ""
    return rng.choice(READS if method == "GET" else CHANGES)


def dressed(value: Any, mood: Mood) -> Any:
    """`value` with numbers and times written as the mood has them."""
    if not (mood.bare_numbers or mood.times_as_text or mood.shuffled or mood.nulls or mood.exponents):
        return value
    if isinstance(value, list):
        return [dressed(v, mood) for v in value]
    if not isinstance(value, dict):
        return value
    told: dict[str, Any] = {}
    rows = list(value.items())
    if mood.shuffled:
        rows = sorted(rows, key=lambda row: zlib.crc32(row[0].encode()))
    if mood.nulls and "orderId" in value and "origQty" in value:
        told |= dict.fromkeys(NULLS - value.keys())
    for name, each in rows:
        if mood.exponents and name in _NUMBERS and isinstance(each, str) and each.replace(".", "", 1).isdigit():
            told[name] = f"{Decimal(each):E}"
        elif mood.bare_numbers and name in _NUMBERS and isinstance(each, str):
            told[name] = float(each) if each.replace(".", "", 1).isdigit() else each
        elif mood.times_as_text and name in _TIMES and isinstance(each, int) and not isinstance(each, bool):
            told[name] = str(each)
        else:
            told[name] = dressed(each, mood)
    return told


def strange(value: Any) -> Any:
    """`value` with a status of a later day, where it has one."""
    if isinstance(value, list):
        return [strange(v) for v in value]
    if not isinstance(value, dict):
        return value
    return {name: "RESTING_TOMORROW" if name == "status" else strange(each) for name, each in value.items()}


def noise(event: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """An event of a later day, or one of today with a value of a later day."""
    kinds: list[dict[str, Any]] = [
        {"e": "somethingOfTomorrow", "E": now_ms(), "x": {"deep": [None]}},
        {"e": "externalLockUpdate", "E": now_ms(), "a": "BTC", "d": "0.00000000", "T": now_ms()},
        {"e": "balanceUpdate", "E": now_ms(), "a": "XYZ", "d": "1.0", "T": now_ms()},
    ]
    if event.get("e") == "executionReport":
        kinds.append(event | {"x": "WONDER"})
        kinds.append(event | {"X": "WONDERING", "x": "WONDER", "i": 1, "c": "somebody", "C": ""})
        kinds.append(event | {"X": "WONDERING"})
        kinds.append(event | {"X": "PENDING_CANCEL", "x": "NEW"})
        none = {"l": "0", "L": "0", "Y": "0", "t": -1, "n": "0", "N": None}
        kinds.append(
            event | none | {"x": "TRADE_PREVENTION", "v": 5, "A": "0", "B": "0", "pl": "1", "pL": "1", "pY": "1"}
        )
        kinds.append({k: v for k, v in event.items() if k not in {"W", "V", "I", "v", "M", "Q"}})
        kinds.append(event | {"s": "BNBUSDT", "c": "somebody", "C": "", "X": "CANCELED", "x": "CANCELED"})
        kinds.append(event | {"s": "BNBUSDT", "c": "somebody", "C": "", "X": "FILLED", "x": "TRADE", "z": event["q"]})
    elif event.get("e") == "listStatus":
        kinds.append(event | {"s": "BNBUSDT", "l": "ALL_DONE", "L": "ALL_DONE", "O": []})
    elif event.get("e") == "outboundAccountPosition":
        kinds += [event | {"B": []}, event | {"B": [{"a": "XYZ", "f": "0.00000000", "l": "3.00000000"}]}]
    return rng.choice(kinds)
