"""A paper exchange for one test: engine, clock, keys, server, and a client that speaks the bare wire."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yarl
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from executor.paper.engine.choices import ExchangeChoices
from executor.paper.engine.exchange import Engine
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.clock import Clock, MarketClock
from executor.paper.server import Credential, FaultPlan, HmacSecret, Limits, PaperServer, PublicKey, Urls

START_MS = 1_750_000_000_000
SYMBOL = "BTCUSDT"
ACCOUNT = "main"
API_KEY = "paper"
SECRET = "paper"
OCO = {
    "symbol": SYMBOL,
    "side": "SELL",
    "quantity": "0.01",
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "110000",
    "belowType": "STOP_LOSS_LIMIT",
    "belowStopPrice": "95000",
    "belowPrice": "94900",
    "belowTimeInForce": "GTC",
}
"""A pair that closes a long of BTCUSDT, which stands at 100000."""

Json = Any
Sign = Callable[[bytes], str]


def symbol_row(name: str = SYMBOL, base: str = "BTC", quote: str = "USDT", **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": [
            "LIMIT",
            "LIMIT_MAKER",
            "MARKET",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT",
        ],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01000000",
                "maxPrice": "1000000.00000000",
                "tickSize": "0.01000000",
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": "0.00001000",
                "maxQty": "9000.00000000",
                "stepSize": "0.00001000",
            },
            {"filterType": "ICEBERG_PARTS", "limit": 100},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": "129.84957276",
                "stepSize": "0.00000000",
            },
            {
                "filterType": "TRAILING_DELTA",
                "minTrailingAboveDelta": 10,
                "maxTrailingAboveDelta": 2000,
                "minTrailingBelowDelta": 10,
                "maxTrailingBelowDelta": 2000,
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": "5",
                "bidMultiplierDown": "0.2",
                "askMultiplierUp": "5",
                "askMultiplierDown": "0.2",
                "avgPriceMins": 5,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
            {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": 10},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }
    return {**row, **changes}


def hmac_sign(secret: str = SECRET) -> Sign:
    return lambda payload: hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def rsa_sign(key: rsa.RSAPrivateKey) -> Sign:
    return lambda payload: base64.b64encode(key.sign(payload, PKCS1v15(), SHA256())).decode()


def ed25519_sign(key: ed25519.Ed25519PrivateKey) -> Sign:
    return lambda payload: base64.b64encode(key.sign(payload)).decode()


class Kit:
    """The exchange under test, and what a test does to its market."""

    def __init__(self, engine: Engine, clock: Clock, server: PaperServer, limits: Limits) -> None:
        self.engine = engine
        self.clock = clock
        self.server = server
        self.limits = limits
        self.urls = Urls("", "", "")
        self._trade_id = 1000

    @property
    def market_clock(self) -> MarketClock:
        assert isinstance(self.clock, MarketClock)
        return self.clock

    def advance(self, ms: int) -> None:
        self.market_clock.advance_to(self.clock.now_ms() + ms)

    async def until_asleep_for(self, ms: int) -> None:
        """Return when somebody waits for market time `ms` from now."""
        for _ in range(1_000):
            if self.clock.now_ms() + ms in self.market_clock.wake_times:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"nobody waits for {ms} ms, but {self.market_clock.wake_times}")

    def trade(self, price: str, qty: str = "1", *, symbol: str = SYMBOL, buyer_is_maker: bool = True) -> None:
        """One trade of the market, a millisecond after the last on a market clock."""
        if isinstance(self.clock, MarketClock):
            self.advance(1)
        self._trade_id += 1
        now = self.clock.now_ms()
        trade = MarketTrade(
            trade_id=self._trade_id,
            price=Decimal(price),
            qty=Decimal(qty),
            buyer_is_maker=buyer_is_maker,
            time=now,
        )
        self.engine.on_trade(symbol, trade.trade_id, trade.price, trade.qty, buyer_is_maker, now)
        self.server.on_trade(symbol, trade)


class Rest:
    """Signed and unsigned requests, written byte by byte as a client would."""

    def __init__(self, kit: Kit, session: aiohttp.ClientSession, key: str = API_KEY, sign: Sign | None = None) -> None:
        self.kit = kit
        self.session = session
        self.key = key
        self.sign = sign or hmac_sign()
        self.headers: Mapping[str, str] = {}
        self.status = 0

    async def public(self, path: str, **params: Any) -> Json:
        return await self.raw("GET", f"{path}?{urlencode(params)}" if params else path, headers={})

    async def get(self, path: str, **params: Any) -> Json:
        return await self.signed("GET", path, **params)

    async def post(self, path: str, **params: Any) -> Json:
        return await self.signed("POST", path, **params)

    async def put(self, path: str, **params: Any) -> Json:
        return await self.signed("PUT", path, **params)

    async def delete(self, path: str, **params: Any) -> Json:
        return await self.signed("DELETE", path, **params)

    async def signed(self, verb: str, path: str, **params: Any) -> Json:
        """All parameters in the query string; `timestamp` is the exchange's unless given."""
        query = self.signed_query(**params)
        return await self.raw(verb, f"{path}?{query}", headers={"X-MBX-APIKEY": self.key})

    def signed_query(self, **params: Any) -> str:
        values = {"timestamp": self.kit.clock.now_ms(), **params}
        query = urlencode({k: v for k, v in values.items() if v is not None})
        return f"{query}&{urlencode({'signature': self.sign(query.encode())})}"

    async def raw(self, verb: str, target: str, *, headers: Mapping[str, str], body: str | None = None) -> Json:
        url = yarl.URL(self.kit.urls.base_url + target, encoded=True)
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        async with self.session.request(verb, url, data=body, headers={**headers, **form}) as response:
            self.status = response.status
            self.headers = response.headers
            text = await response.text()
            return json.loads(text) if "json" in response.content_type else text

    async def limit(self, side: str = "BUY", price: str = "90000", quantity: str = "0.001", **more: Any) -> Json:
        return await self.post(
            "/api/v3/order",
            symbol=SYMBOL,
            side=side,
            type="LIMIT",
            timeInForce="GTC",
            price=price,
            quantity=quantity,
            **more,
        )


class Ws:
    """One WebSocket to the exchange."""

    def __init__(
        self, kit: Kit, socket: aiohttp.ClientWebSocketResponse, key: str = API_KEY, sign: Sign | None = None
    ) -> None:
        self.kit = kit
        self.socket = socket
        self.key = key
        self.sign = sign or hmac_sign()
        self.events: list[Json] = []
        self._next_id = 0

    async def call(self, method: str, **params: Any) -> Json:
        """Send a request and return its whole answer; events that come first are kept in `events`."""
        self._next_id += 1
        request_id = f"r{self._next_id}"
        await self.socket.send_str(json.dumps({"id": request_id, "method": method, "params": params}))
        while True:
            answer = await self.receive()
            if answer.get("id") == request_id:
                return answer
            self.events.append(answer)

    async def signed(self, method: str, **params: Any) -> Json:
        return await self.call(method, **self.signed_params(**params))

    def signed_params(self, **params: Any) -> dict[str, Any]:
        values = {"apiKey": self.key, "timestamp": self.kit.clock.now_ms(), **params}
        values = {k: v for k, v in values.items() if v is not None}
        payload = "&".join(f"{k}={_text(v)}" for k, v in sorted(values.items()))
        return {**values, "signature": self.sign(payload.encode())}

    async def receive(self) -> Json:
        message = await self.socket.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def next_event(self) -> Json:
        """The next event of the user data stream, kept or yet to come."""
        message = self.events.pop(0) if self.events else await self.receive()
        return message["event"]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@asynccontextmanager
async def running(
    *,
    clock: Clock | None = None,
    limits: Limits | None = None,
    faults: FaultPlan | None = None,
    keys: Mapping[str, Credential] | None = None,
    balances: Mapping[str, str] | None = None,
    last_price: str | None = "100000",
    symbols: list[dict[str, Any]] | None = None,
    liquidity: LiquidityModel | None = None,
    choices: ExchangeChoices | None = None,
    **server_options: Any,
) -> AsyncIterator[Kit]:
    """A started exchange with one funded account, and a market whose last price is 100000."""
    limits = limits or Limits()
    clock = clock or MarketClock(START_MS)
    rows = symbols or [symbol_row(), symbol_row("ETHUSDT", "ETH")]
    engine = Engine(
        [Symbol.from_exchange_info(row) for row in rows],
        liquidity=liquidity,
        rate_limits=limits.announce(),
        choices=choices,
    )
    funds = {"BTC": "1", "USDT": "100000"} if balances is None else balances
    known = keys or {API_KEY: Credential(ACCOUNT, HmacSecret(SECRET))}
    engine.open_account(ACCOUNT, {asset: Decimal(amount) for asset, amount in funds.items()})
    for other in sorted({credential.account for credential in known.values()} - {ACCOUNT}):
        engine.open_account(other, {})
    server = PaperServer(engine, clock, known, limits=limits, faults=faults, **server_options)
    kit = Kit(engine, clock, server, limits)
    kit.urls = await server.start()
    try:
        if last_price is not None:
            kit.trade(last_price)
        yield kit
    finally:
        await server.stop()


@asynccontextmanager
async def rest(kit: Kit, key: str = API_KEY, sign: Sign | None = None) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as session:
        yield Rest(kit, session, key, sign)


@asynccontextmanager
async def ws_api(kit: Kit, key: str = API_KEY, sign: Sign | None = None, query: str = "") -> AsyncIterator[Ws]:
    async with aiohttp.ClientSession() as session, session.ws_connect(kit.urls.ws_api_url + query) as socket:
        yield Ws(kit, socket, key, sign)


@asynccontextmanager
async def market_stream(kit: Kit, path: str) -> AsyncIterator[Ws]:
    async with aiohttp.ClientSession() as session, session.ws_connect(kit.urls.stream_url + path) as socket:
        yield Ws(kit, socket)


async def ask_stream(ws: Ws, method: str, *params: Any) -> Json:
    """Send a control message to a market stream; pushes that come before its answer are kept in `events`."""
    await ws.socket.send_str(json.dumps({"method": method, "params": list(params), "id": 1}))
    while True:
        answer = await ws.receive()
        if "id" in answer:
            return answer
        ws.events.append(answer)


def public_key(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> PublicKey:
    return PublicKey(pem(key))
