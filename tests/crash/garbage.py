"""Bytes that no exchange should say, and that some machine on the way will: in the place of answers and of pushes."""

from typing import Final

from executor.paper.server import Answer

HUGE: Final = bytes(33 * 2**20)
"""Longer than any body that is read to its end."""
HUGE_MESSAGE: Final = bytes(5 * 2**20)
"""The same of a stream."""

_WRONG_TYPES: Final = (
    b'{"symbol":7,"orderId":"none","clientOrderId":[],"orderListId":null,"status":3,"executedQty":{},"price":true,'
    b'"origQty":"1E+999999","cummulativeQuoteQty":"NaN","transactTime":"soon","fills":[{"price":null}],"orders":-1,'
    b'"orderReports":"x","balances":{"USDT":"1"},"serverTime":[],"tranId":{}}'
)

ANSWERS: Final = {
    "no JSON": Answer(200, b"<html>", "text/html"),
    "not UTF-8": Answer(502, b'{"code":-1000,"msg":"Acc\xe8s refus\xe9"}'),
    "cut short": Answer(200, b'{"symbol":"LTCUSDT","orderId":12,"status":"FIL'),
    "of other types": Answer(200, _WRONG_TYPES, enveloped=True),
    "nested deep": Answer(200, b'{"orderId":' + b"[" * 100_000),
    "huge": Answer(200, HUGE),
}
"""By what is wrong with them."""

PUSHES: Final = {
    "no JSON": b"<html>",
    "not UTF-8": b'{"subscriptionId":0,"event":{"e":"executionReport","s":"LTC\xff"}}',
    "cut short": b'{"subscriptionId":0,"event":{"e":"executionReport","s":"LTCUSDT","c":"EX_1_SL',
    "of other types": (
        b'{"subscriptionId":0,"stream":7,"event":{"e":"executionReport","s":"LTCUSDT","c":7,"i":"x","z":[],"X":null},'
        b'"data":{"e":"trade","s":"LTCUSDT","p":{},"b":"NaN","a":-1}}'
    ),
    "nested deep": b'{"event":' + b"[" * 100_000,
    "huge": HUGE_MESSAGE,
}
"""The same on a stream."""
