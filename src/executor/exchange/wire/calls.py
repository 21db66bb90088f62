"""The requests that Executor makes of Binance: where each goes, what it weighs, and how long it can wait."""

from enum import IntEnum
from typing import Final, Literal

import msgspec
from msgspec.structs import replace


class Urgency(IntEnum):
    """Who goes first when the request weight of a minute runs short."""

    ROUTINE = 0  # watching; may wait for the next minute
    LOOKUP = 1  # resolves a doubt
    COMMAND = 2  # changes an order; never waits


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """`path` below `/api/v3/`; `weight` as rest-api.md charges it for one symbol."""

    method: Literal["get", "post", "put", "delete"]
    path: str
    weight: int
    signed: bool = True
    urgency: Urgency = Urgency.ROUTINE
    orders: int = 0
    """How much it adds to the unfilled order count."""
    sapi: bool = False
    """`path` is below `/sapi/v1/` instead, where the wallet's and margin calls are."""

    uid: bool = False
    """It is counted for the account instead of the address; `/sapi` alone has such."""

    paced: bool = False
    """It is asked again and again, and spread over the minute when that runs short."""
    ws: str = ""
    """The WebSocket API's method for the same, where orders may go that way."""

    @property
    def charged(self) -> int:
        """What it takes of the request weight of `/api`; `/sapi` has limits of its own, for each call alone."""
        return 0 if self.sapi else self.weight

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


PING: Final = Call(method="get", path="ping", weight=1, signed=False)
TIME: Final = Call(method="get", path="time", weight=1, signed=False, urgency=Urgency.LOOKUP)
EXCHANGE_INFO: Final = Call(method="get", path="exchangeInfo", weight=20, signed=False)
TICKER: Final = Call(method="get", path="ticker/24hr", weight=2, signed=False)
PRICE: Final = Call(method="get", path="ticker/price", weight=2, signed=False)
BEST: Final = Call(method="get", path="ticker/bookTicker", weight=2, signed=False)
AVERAGE: Final = Call(method="get", path="avgPrice", weight=2, signed=False)
REFERENCE: Final = Call(method="get", path="referencePrice", weight=2, signed=False)
KLINES: Final = Call(method="get", path="klines", weight=2, signed=False)
ACCOUNT: Final = Call(method="get", path="account", weight=20)
COMMISSION: Final = Call(method="get", path="account/commission", weight=20)
OPEN_ORDERS: Final = Call(method="get", path="openOrders", weight=6, paced=True)
OPEN_ORDERS_ALL: Final = replace(OPEN_ORDERS, weight=80)
"""Without a symbol: those of the whole account."""
ORDER: Final = Call(method="get", path="order", weight=4, urgency=Urgency.LOOKUP)
ALL_ORDERS: Final = Call(method="get", path="allOrders", weight=20, urgency=Urgency.LOOKUP)
NEWEST_ORDERS: Final = replace(ALL_ORDERS, urgency=Urgency.ROUTINE, paced=True)
"""The same in place of the open orders, again and again."""
KEY_PERMISSIONS: Final = Call(method="get", path="account/apiRestrictions", weight=1, sapi=True)
TRADES: Final = Call(method="get", path="myTrades", weight=5, urgency=Urgency.LOOKUP)

PLACE: Final = Call(method="post", path="order", weight=1, urgency=Urgency.COMMAND, orders=1, ws="order.place")
PLACE_OCO: Final = Call(
    method="post", path="orderList/oco", weight=1, urgency=Urgency.COMMAND, orders=2, ws="orderList.place.oco"
)
PLACE_OTO: Final = Call(
    method="post", path="orderList/oto", weight=1, urgency=Urgency.COMMAND, orders=2, ws="orderList.place.oto"
)
PLACE_OTOCO: Final = replace(PLACE_OTO, path="orderList/otoco", orders=3, ws="orderList.place.otoco")
PLACE_OPO: Final = replace(PLACE_OTO, path="orderList/opo", ws="orderList.place.opo")
PLACE_OPOCO: Final = replace(PLACE_OTO, path="orderList/opoco", orders=3, ws="orderList.place.opoco")
REPLACE: Final = Call(
    method="post", path="order/cancelReplace", weight=1, urgency=Urgency.COMMAND, orders=1, ws="order.cancelReplace"
)
CANCEL: Final = Call(method="delete", path="order", weight=1, urgency=Urgency.COMMAND, ws="order.cancel")
CANCEL_LIST: Final = Call(method="delete", path="orderList", weight=1, urgency=Urgency.COMMAND, ws="orderList.cancel")

TICKERS_MAX: Final = 100
"""Symbols that one request for prices may name before it weighs as much as one for all."""


def tickers(count: int) -> Call:
    """`TICKER` of so many symbols: more than a few of them are watched, not asked for by signals."""
    return TICKER if count <= 20 else replace(TICKER, weight=40 if count <= TICKERS_MAX else 80, paced=True)
