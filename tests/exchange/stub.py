"""A scripted exchange on loopback: real sockets, and for each request the answer that the test wrote down.

It knows the answers of a healthy exchange (`HEALTHY`); a test puts others in front of them with `script`.
"""

import asyncio
import hashlib
import hmac
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from executor.exchange.binance import BinanceExchange, connect
from executor.exchange.transport.auth import Credentials, Endpoints

KEY: Final = "stub-key"
SECRET: Final = "stub-secret"
START_MS: Final = 1_760_000_000_000


class Say(msgspec.Struct, frozen=True, kw_only=True):
    """One scripted answer. `cut` closes the connection instead, `hang` waits first (seconds of real time)."""

    status: int = 200
    json: Any = None
    text: str | None = None
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    cut: bool = False
    hang: float = 0


class Seen(msgspec.Struct, frozen=True):
    """One request as it arrived; `payload` is what was signed, still encoded."""

    method: str
    path: str
    params: dict[str, str]
    payload: str
    headers: dict[str, str]


class ManualClock:
    """Local time that stands still but for `sleep`, which passes at once and is remembered."""

    def __init__(self, at: int = START_MS) -> None:
        self.at = at
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += round(seconds * 1000)
        await asyncio.sleep(0)


Answerer = Callable[[Seen], Say]

EXCHANGE_INFO: Final = {
    "serverTime": START_MS,
    "rateLimits": [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 1000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
    ],
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"],
            "isSpotTradingAllowed": True,
            "ocoAllowed": True,
            "allowTrailingStop": True,
            "cancelReplaceAllowed": True,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
            ],
        }
    ],
}
HEALTHY: dict[str, Any] = {
    "GET ping": {},
    "GET time": {"serverTime": START_MS},
    "GET exchangeInfo": EXCHANGE_INFO,
    "GET account/commission": {
        "standardCommission": {"maker": "0.001", "taker": "0.001", "buyer": "0", "seller": "0"},
    },
    "GET ticker/24hr": {"symbol": "BTCUSDT", "bidPrice": "99.99", "askPrice": "100.01", "lastPrice": "100"},
    "GET openOrders": [],
    "GET allOrders": [],
    "GET account": {
        "canTrade": True,
        "balances": [{"asset": "USDT", "free": "100.5", "locked": "1"}],
    },
}

HELD: Final = {"free": "0", "locked": "0", "borrowed": "0", "interest": "0", "netAsset": "0"}
PAIR: Final = {
    "symbol": "BTCUSDT",
    "isolatedCreated": True,
    "enabled": True,
    "tradeEnabled": True,
    "marginLevel": "0.00000000",
    "marginLevelStatus": "EXCESSIVE",
    "indexPrice": "100",
    "liquidatePrice": "0",
    "baseAsset": {**HELD, "asset": "BTC"},
    "quoteAsset": {**HELD, "asset": "USDT", "free": "1000"},
}
TIER: Final = {"symbol": "BTCUSDT", "effectiveMultiple": "5"}
SAPI: Final = "/sapi/v1/"
MARGIN: Final[dict[str, Any]] = {
    "GET account/apiRestrictions": {
        "ipRestrict": True,
        "enableWithdrawals": False,
        "enableSpotAndMarginTrading": True,
        "enableMargin": True,
    },
    "GET margin/isolated/account": {"assets": [PAIR]},
    "GET margin/account": {
        "created": True,
        "tradeEnabled": True,
        "borrowEnabled": True,
        "marginLevel": "999.00000000",
        "totalAssetOfBtc": "10",
        "totalLiabilityOfBtc": "0",
        "totalNetAssetOfBtc": "10",
        "userAssets": [{**HELD, "asset": "BTC"}, {**HELD, "asset": "USDT", "free": "1000"}],
    },
    "GET margin/allPairs": [
        {"symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "isMarginTrade": True, "isBuyAllowed": True,
         "isSellAllowed": True},
    ],
    "GET margin/isolated/allPairs": [
        {"symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "isMarginTrade": True, "isBuyAllowed": True,
         "isSellAllowed": True},
    ],
    "GET margin/allAssets": [
        {"assetName": "BTC", "isBorrowable": True, "userMinBorrow": "0.00000000", "userMinRepay": "0.00000000"},
        {"assetName": "USDT", "isBorrowable": True, "userMinBorrow": "0.00000000", "userMinRepay": "0.00000000"},
    ],
    "GET margin/tradeCoeff": {"normalBar": "1.5", "marginCallBar": "1.3", "forceLiquidationBar": "1.1"},
    "GET margin/isolatedMarginTier": [
        {**TIER, "tier": 1, "initialRiskRatio": "1.25", "liquidationRiskRatio": "1.15",
         "baseAssetMaxBorrowable": "9", "quoteAssetMaxBorrowable": "70000"},
        {**TIER, "tier": 2, "initialRiskRatio": "1.333", "liquidationRiskRatio": "1.2",
         "baseAssetMaxBorrowable": "20", "quoteAssetMaxBorrowable": "150000"},
    ],
    "GET margin/openOrders": [],
    "GET margin/allOrders": [],
    "GET bnbBurn": {"spotBNBBurn": False, "interestBNBBurn": False},
}  # fmt: skip
"""What `/sapi` of a healthy exchange says of a margin account with nothing owed."""
HEALTHY |= {request.replace(" ", f" {SAPI}"): answer for request, answer in MARGIN.items()}


class Stub:
    """`endpoints` to connect to; `seen` in order of arrival; `now` is the server's time (None: as scripted)."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.endpoints = Endpoints("", "", "")
        self.time = START_MS
        self._arrival = asyncio.Condition()
        self._scripts: dict[str, deque[Say | Answerer]] = defaultdict(deque)

    def script(self, request: str, *answers: Say | Answerer) -> None:
        """Answer the next requests of `request`, as "POST order", with `answers`, one each."""
        self._scripts[request].extend(answers)

    def count(self, request: str) -> int:
        return sum(f"{seen.method} {seen.path}" == request for seen in self.seen)

    async def until(self, request: str, count: int = 1) -> None:
        """Return when `count` of them have arrived."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: self.count(request) >= count)

    def last(self, request: str) -> Seen:
        return [seen for seen in self.seen if f"{seen.method} {seen.path}" == request][-1]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        payload = request.rel_url.raw_query_string + body
        seen = Seen(
            request.method,
            request.path.removeprefix("/api/v3/"),
            dict(parse_qsl(payload, keep_blank_values=True)),
            payload,
            dict(request.headers),
        )
        self.seen.append(seen)
        async with self._arrival:
            self._arrival.notify_all()
        name = f"{seen.method} {seen.path}"
        if scripts := self._scripts[name]:
            scripted = scripts.popleft()
            say = scripted if isinstance(scripted, Say) else scripted(seen)
        elif name == "GET time":
            say = Say(json={"serverTime": self.time})
        elif name in HEALTHY:
            say = Say(json=HEALTHY[name])
        else:
            say = Say(status=404, text="nothing scripted", content_type="text/plain")
        if say.hang:
            await asyncio.sleep(say.hang)
        if say.cut:
            assert request.transport is not None
            request.transport.close()
        text = json.dumps(say.json) if say.text is None else say.text
        return web.Response(status=say.status, text=text, content_type=say.content_type, headers=say.headers)


def signed_well(seen: Seen) -> bool:
    payload, _, signature = seen.payload.rpartition("&signature=")
    return hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest() == signature


@asynccontextmanager
async def running_stub() -> AsyncIterator[Stub]:
    stub = Stub()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    stub.endpoints = Endpoints(f"http://{host}:{port}", "ws://127.0.0.1:1", "ws://127.0.0.1:1")
    try:
        yield stub
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(
    stub: Stub, clock: ManualClock, credentials: Credentials | None = None, recv_window: int = 3000
) -> AsyncIterator[BinanceExchange]:
    exchange = await connect(
        stub.endpoints, credentials or Credentials.hmac(KEY, SECRET), "BTCUSDT", clock, recv_window
    )
    try:
        yield exchange
    finally:
        await exchange.close()


def order_answer(seen: Seen, **changes: Any) -> dict[str, Any]:
    """What a healthy exchange says to this placement."""
    return {
        "symbol": seen.params["symbol"],
        "orderId": 28,
        "orderListId": -1,
        "clientOrderId": seen.params["newClientOrderId"],
        "transactTime": START_MS + 5,
        "price": seen.params.get("price", "0.00000000"),
        "origQty": seen.params["quantity"],
        "executedQty": "0.00000000",
        "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": "0.00000000",
        "status": "NEW",
        "timeInForce": seen.params.get("timeInForce", "GTC"),
        "type": seen.params["type"],
        "side": seen.params["side"],
        "workingTime": START_MS + 5,
        "selfTradePreventionMode": "NONE",
        "fills": [],
        **changes,
    }


def placed(seen: Seen) -> Say:
    return Say(json=order_answer(seen))


def error(status: int, code: int, msg: str, **more: Any) -> Say:
    headers: Mapping[str, str] = more.pop("headers", {})
    return Say(status=status, json={"code": code, "msg": msg, **more}, headers=dict(headers))
