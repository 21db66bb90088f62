"""The stranger's REST and WebSocket doors, from the documents alone, and what goes wrong on the way."""

import asyncio
import hashlib
import hmac
import json
import random
from collections import Counter, deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web
from tests.stranger.book import Book
from tests.stranger.listing import exchange_info
from tests.stranger.mood import SYMBOL, TICK, Order, Refused, now_ms

KEY, SECRET = "stranger", "stranger"
PUBLIC = {
    "ping",
    "time",
    "exchangeInfo",
    "ticker/price",
    "ticker/bookTicker",
    "ticker/24hr",
    "avgPrice",
    "klines",
    "executionRules",
}
WEIGHTS = {
    "openOrders": 6,
    "order": 4,
    "account": 20,
    "allOrders": 20,
    "myTrades": 20,
    "exchangeInfo": 20,
    "account/commission": 20,
    "orderList": 4,
    "openOrderList": 6,
    "allOrderList": 20,
    "ticker/price": 2,
    "ticker/bookTicker": 2,
    "avgPrice": 2,
    "klines": 2,
    "rateLimit/order": 40,
    "myFilters": 40,
}
METHODS = {
    "order.place": ("POST", "order"),
    "order.test": ("POST", "order/test"),
    "order.cancel": ("DELETE", "order"),
    "order.cancelReplace": ("POST", "order/cancelReplace"),
    "orderList.place.oco": ("POST", "orderList/oco"),
    "orderList.place.oto": ("POST", "orderList/oto"),
    "orderList.place.otoco": ("POST", "orderList/otoco"),
    "orderList.place.opo": ("POST", "orderList/opo"),
    "orderList.place.opoco": ("POST", "orderList/opoco"),
    "orderList.cancel": ("DELETE", "orderList"),
    "order.status": ("GET", "order"),
    "time": ("GET", "time"),
    "ping": ("GET", "ping"),
    "openOrders.status": ("GET", "openOrders"),
    "account.status": ("GET", "account"),
}
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
]
OK, TOO_MANY = 200, 429
OVERLOADED = "Server is currently overloaded with other requests. Please try again in a few minutes."
UNEXPECTED = "An unexpected response was received from the message bus. Execution status unknown."
NOT_CARRIED_OUT: dict[str, tuple[int, Any]] = {
    "429": (429, {"code": -1003, "msg": "Too many requests."}),
    "503": (503, {"code": -1008, "msg": OVERLOADED}),
    "1006": (400, {"code": -1006, "msg": UNEXPECTED}),
}


def error_of(refused: Refused) -> dict[str, Any]:
    told: dict[str, Any] = {"code": refused.code, "msg": refused.text}
    return told if refused.data is None else told | {"data": refused.data}


class Exchange:
    """`storm`: how likely a request or a push goes wrong. `asked`: when what was asked for, with its own ids."""

    def __init__(self, book: Book, rng: random.Random) -> None:
        self.book, self.rng, self.storm = book, rng, 0.0
        self.asked: deque[tuple[int, str, str]] = deque(maxlen=200_000)
        self.weights: Counter[int] = Counter()
        self.orders_10s: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self.went_wrong: Counter[str] = Counter()
        self.sockets: set[web.WebSocketResponse] = set()
        self.users: dict[web.WebSocketResponse, int] = {}
        self.markets: dict[web.WebSocketResponse, tuple[bool, set[str]]] = {}
        self.backlog: list[dict[str, Any]] = []
        self.port = 0
        self.tasks: set[asyncio.Task[None]] = set()
        book.push = self._pushed
        self._holding: list[dict[str, Any]] | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/api/v3/{tail:.*}", self._rest)
        app.router.add_get("/ws-api/v3", self._ws_api)
        app.router.add_get("/ws", self._stream)
        app.router.add_get("/ws/{names}", self._stream)
        app.router.add_get("/stream", self._stream)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        for socket in list(self.sockets):
            await socket.close()
        await self._runner.cleanup()

    # --- a request ------------------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        method, what = request.method, request.match_info["tail"]
        raw = request.query_string + (await request.read()).decode()
        params = dict(parse_qsl(raw, keep_blank_values=True))
        fault = self._fault(method, what)
        self._count(method, what, params)
        await asyncio.sleep(self.book.mood.slow_ms / 1000 + (self.rng.random() * 2 if fault == "late" else 0))
        if fault == "lost":
            return self._cut(request)
        if fault in NOT_CARRIED_OUT:
            status, answer = NOT_CARRIED_OUT[fault]
            return web.json_response(answer, status=status, headers={"Retry-After": "1"} if status == TOO_MANY else {})
        if fault == "403":
            return web.Response(status=403, text="<html>Request blocked</html>", content_type="text/html")

        def checked() -> Any:
            self._signed(what, raw, params, request.headers.get("X-MBX-APIKEY"))
            return self.serve(method, what, params)

        status, answer = self._carried_out(checked)
        if fault == "after":
            await asyncio.sleep(self.rng.random() * 2)
        return self._spoiled(fault, request) or self._told(status, answer)

    def _spoiled(self, fault: str, request: web.Request) -> web.StreamResponse | None:
        """What stands in the place of the answer of a request that was carried out."""
        if fault == "unanswered":
            return self._cut(request)
        if fault == "502":
            return web.Response(status=502, text="<html>Bad gateway</html>", content_type="text/html")
        if fault == "garbage":
            return web.Response(status=200, body=self.rng.choice(GARBAGE), content_type="application/json")
        if fault == "1007":
            return self._told(408, {"code": -1007, "msg": "Timeout waiting for response from backend server."})
        return None

    def _told(self, status: int, answer: Any) -> web.Response:
        used = self.weights[now_ms() // 60_000]
        return web.json_response(answer, status=status, headers={"X-MBX-USED-WEIGHT-1M": str(used)})

    def _carried_out(self, serve: Callable[[], Any]) -> tuple[int, Any]:
        """Status and answer of a request that gets through; its pushes leave before or after the answer."""
        held: list[dict[str, Any]] = []
        self._holding = held
        status, answer = 200, None
        try:
            answer = serve()
        except Refused as error:
            status, answer = error.status, error_of(error)
        except (KeyError, ValueError, ArithmeticError) as error:
            status, answer = 400, {"code": -1102, "msg": f"Mandatory parameter {error} was not sent, or malformed."}
        finally:
            self._holding = None
        if status != OK:
            self.refused[f"{answer['code']} {answer['msg']}"] += 1
        if self.book.mood.push_first:
            self._send_all(held)
        else:
            asyncio.get_running_loop().call_later(0.01, self._send_all, held)
        return status, answer

    def _cut(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _fault(self, method: str, what: str) -> str:
        if self.rng.random() >= self.storm or what in {"ping", "time"}:
            return ""
        kinds = ["late", "lost", "503", "after", "unanswered", "502", "garbage", "429", "403"]
        if method != "GET":
            kinds += ["unanswered", "502", "1007", "1006", "garbage"]
            kinds.remove("403")
        kind = self.rng.choice(kinds)
        self.went_wrong[f"{'read' if method == 'GET' else 'change'} {kind}"] += 1
        return kind

    def _count(self, method: str, what: str, params: dict[str, str]) -> None:
        names = (
            "newClientOrderId",
            "listClientOrderId",
            "origClientOrderId",
            "orderId",
            "cancelOrigClientOrderId",
            "aboveClientOrderId",
        )
        own = next((params[n] for n in names if n in params), "")
        self.asked.append((now_ms(), f"{method} {what}", own))
        minute = now_ms() // 60_000
        self.weights[minute] += WEIGHTS.get(what, 1) if method == "GET" else 1

    def _signed(self, what: str, raw: str, params: dict[str, str], key: str | None) -> None:
        if what in PUBLIC:
            return
        if key != KEY:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        payload, _, given = raw.rpartition("&signature=")
        self._proved(payload, given)
        self._in_time(params)

    def _proved(self, payload: str, given: str) -> None:
        if hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest() != given.lower():
            raise Refused(-1022, "Signature for this request is not valid.")

    def _in_time(self, params: dict[str, str]) -> None:
        stamp, window = int(params["timestamp"]), Decimal(params.get("recvWindow", 5000))
        stamp = stamp // 1000 if stamp > 10**14 else stamp
        if stamp >= now_ms() + 1000 or now_ms() - stamp > window:
            raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")

    # --- what is served -------------------------------------------------------------------------------------------

    def serve(self, method: str, what: str, p: dict[str, str]) -> Any:
        name = f"{method} {what}"
        known: dict[str, Callable[[dict[str, str]], Any]] = {
            "GET ping": lambda _: {},
            "GET time": lambda _: {"serverTime": now_ms()},
            "GET exchangeInfo": lambda _: exchange_info(self.book.mood.brackets),
            "GET account": lambda _: self._account(),
            "GET account/commission": lambda _: self._commission(),
            "GET order": self._order,
            "GET openOrders": self._open_orders,
            "GET allOrders": self._all_orders,
            "GET myTrades": self._my_trades,
            "GET orderList": self._order_list,
            "GET openOrderList": lambda _: [
                self.book.list_answer(r, reports=False) for r in self.book.lists.values() if r["status"] != "ALL_DONE"
            ],
            "GET allOrderList": lambda _: [self.book.list_answer(r, reports=False) for r in self.book.lists.values()],
            "GET ticker/price": lambda _: {"symbol": SYMBOL, "price": self.book.text(self.book.last)},
            "GET ticker/bookTicker": lambda _: self._ticker(),
            "GET ticker/24hr": lambda _: (
                self._ticker() | {"lastPrice": self.book.text(self.book.last), "closeTime": now_ms()}
            ),
            "GET avgPrice": lambda _: {"mins": 5, "price": self.book.text(self.book.last), "closeTime": now_ms()},
            "GET klines": lambda _: [],
            "GET rateLimit/order": lambda _: [],
            "POST order/test": lambda _: {},
            "POST order": lambda p: self._placed(self.book.place, p),
            "POST orderList/oco": self._oco,
            "POST orderList/oto": lambda p: self.book.place_bracket(p, pays_out=False, pair=False)["answer"],
            "POST orderList/otoco": lambda p: self.book.place_bracket(p, pays_out=False, pair=True)["answer"],
            "POST orderList/opo": lambda p: self.book.place_bracket(p, pays_out=True, pair=False)["answer"],
            "POST orderList/opoco": lambda p: self.book.place_bracket(p, pays_out=True, pair=True)["answer"],
            "POST order/cancelReplace": self._replace,
            "DELETE order": self._cancel,
            "DELETE orderList": self._cancel_list,
        }
        if name not in known:
            self.refused[f"no such thing: {name}"] += 1
            raise Refused(-1000, "Not found", 404)
        if method != "GET" and what != "order/test":
            self._unfilled(3 if what.endswith(("otoco", "opoco")) else 2 if what.startswith("orderList/") else 1)
        return known[name](p)

    def _unfilled(self, count: int) -> None:
        window = now_ms() // 10_000
        self.orders_10s[window] += count
        if self.orders_10s[window] > 100:
            raise Refused(-1015, "Too many new orders; current limit is 100 orders per 10 SECOND.", 429)

    def _placed(self, place: Callable[[dict[str, str]], Order], p: dict[str, str]) -> Any:
        o = place(p)
        kind = p.get("newOrderRespType") or ("FULL" if o.type in {"MARKET", "LIMIT"} else "ACK")
        told = self.book.answer(o)
        if kind == "ACK":
            return {k: told[k] for k in ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")}
        if kind == "RESULT":
            del told["fills"]
        return told

    def _oco(self, p: dict[str, str]) -> Any:
        return self.book.list_answer(self.book.place_oco(p), reports=True)

    def _cancelled(self, o: Order, cancel_id: str | None) -> dict[str, Any]:
        told = self.book.answer(o)
        del told["fills"]
        told["origClientOrderId"] = o.client
        told["clientOrderId"] = cancel_id or f"c{o.id}"
        return told

    def _cancel(self, p: dict[str, str]) -> Any:
        cancel_id = p.get("newClientOrderId")
        o = self.book.cancel(p.get("orderId"), p.get("origClientOrderId"), cancel_id)
        row = self.book.lists.get(o.list_id)
        if row is not None:
            told = self.book.list_answer(row, reports=False)
            told["orderReports"] = [self._cancelled(x, cancel_id) for x in row["legs"]]
            return told
        return self._cancelled(o, cancel_id)

    def _cancel_list(self, p: dict[str, str]) -> Any:
        cancel_id = p.get("newClientOrderId")
        row = self.book.cancel_list(p.get("orderListId"), p.get("listClientOrderId"), cancel_id)
        told = self.book.list_answer(row, reports=False)
        told["orderReports"] = [self._cancelled(x, cancel_id) for x in row["legs"]]
        return told

    def _replace(self, p: dict[str, str]) -> Any:
        side, kind = p["side"], p["type"]
        qty, price, stop = Decimal(p["quantity"]), Decimal(p.get("price", 0)), Decimal(p.get("stopPrice", 0))
        old = self.book.find(p.get("cancelOrderId"), p.get("cancelOrigClientOrderId"))
        if old is not None and old.open and old.is_stop:
            old.stop, kept = Decimal(0), old.stop  # it does not count against what takes its place
            try:
                self.book._filters(side, kind, qty, price, stop)
            finally:
                old.stop = kept
        else:
            self.book._filters(side, kind, qty, price, stop)
        told: dict[str, Any] = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED"}
        cancel_id = p.get("cancelNewClientOrderId")
        try:
            o = self.book.cancel(p.get("cancelOrderId"), p.get("cancelOrigClientOrderId"), cancel_id)
            told["cancelResponse"] = self._cancelled(o, cancel_id)
        except Refused as error:
            told.update(
                cancelResult="FAILURE", cancelResponse={"code": error.code, "msg": error.text}, newOrderResponse=None
            )
            raise Refused(-2022, "Order cancel-replace failed.", 400, told) from error
        try:
            told["newOrderResponse"] = self._placed(self._replacing, p)
            told["newOrderResult"] = "SUCCESS"
        except Refused as error:
            told.update(newOrderResult="FAILURE", newOrderResponse={"code": error.code, "msg": error.text})
            raise Refused(-2021, "Order cancel-replace partially failed.", 409, told) from error
        return told

    def _replacing(self, p: dict[str, str]) -> Order:
        if self.rng.random() < self.book.mood.replace_fails:
            raise Refused(-2010, "Account has insufficient balance for requested action.")
        return self.book.place(p)

    def _order(self, p: dict[str, str]) -> Any:
        o = self.book.find(p.get("orderId"), p.get("origClientOrderId"))
        shot = self.book.seen(o, self.book.mood.read_lag_ms) if o is not None else None
        if shot is None:
            raise Refused(-2013, "Order does not exist.")
        return shot

    def _open_orders(self, _: dict[str, str]) -> Any:
        seen = [self.book.seen(o, self.book.mood.list_lag_ms) for o in self.book.orders[-200:]]
        return [s for s in seen if s is not None and s["status"] in {"NEW", "PARTIALLY_FILLED", "PENDING_NEW"}]

    def _all_orders(self, p: dict[str, str]) -> Any:
        first, since = int(p.get("orderId", 0)), int(p.get("startTime", 0))
        seen = [o.history[-1][1] for o in self.book.orders if o.history and o.id >= first and o.created >= since]
        return seen[: int(p.get("limit", 500))] if first or since else seen[-int(p.get("limit", 500)) :]

    def _my_trades(self, p: dict[str, str]) -> Any:
        wanted = p.get("orderId")
        rows = [f for f in self.book.trades if wanted is None or str(f["order"].id) == wanted]
        rows = [
            f for f in rows if f["id"] >= int(p.get("fromId", 0)) and f["time"] <= now_ms() - self.book.mood.read_lag_ms
        ]
        return [
            {
                "symbol": SYMBOL,
                "id": f["id"],
                "orderId": self.book.number(f["order"].id),
                "orderListId": f["order"].list_id,
                "price": self.book.text(f["price"]),
                "qty": self.book.text(f["qty"]),
                "quoteQty": self.book.text(f["price"] * f["qty"]),
                "commission": f"{f['fee']:.8f}",
                "commissionAsset": f["asset"],
                "time": f["time"],
                "isBuyer": f["order"].side == "BUY",
                "isMaker": False,
                "isBestMatch": True,
            }
            for f in rows[-500:]
        ]

    def _order_list(self, p: dict[str, str]) -> Any:
        for row in self.book.lists.values():
            if p.get("orderListId") == str(row["id"]) or p.get("origClientOrderId") == row["client"]:
                return self.book.list_answer(row, reports=False)
        raise Refused(-2018, "Order list does not exist.")

    def _ticker(self) -> Any:
        last = self.book.last
        return {
            "symbol": SYMBOL,
            "bidPrice": self.book.text(last - TICK),
            "bidQty": "100",
            "askPrice": self.book.text(last + TICK),
            "askQty": "100",
        }

    def _account(self) -> Any:
        until = now_ms() - self.book.mood.read_lag_ms
        rows = next((rows for at, rows in reversed(self.book.accounts) if at <= until), self.book.accounts[0][1])
        balances = [
            {"asset": a, "free": self.book.text(f), "locked": self.book.text(k)}
            for a, (f, k) in rows.items()
            if f or k or self.book.mood.zero_balances
        ]
        return {
            "makerCommission": 10,
            "takerCommission": 10,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {"maker": "0.001", "taker": "0.001", "buyer": "0", "seller": "0"},
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": now_ms(),
            "accountType": "SPOT",
            "balances": balances,
            "permissions": ["SPOT"],
            "uid": 354937868,
        }

    def _commission(self) -> Any:
        rates = {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"}
        none = dict.fromkeys(rates, "0.00000000")
        bnb = self.book.mood.fee_asset == "BNB"
        return {
            "symbol": SYMBOL,
            "standardCommission": rates,
            "specialCommission": none,
            "taxCommission": none,
            "discount": {"enabledForAccount": bnb, "enabledForSymbol": bnb, "discountAsset": "BNB", "discount": "0.75"},
        }

    # --- pushes ---------------------------------------------------------------------------------------------------

    def _pushed(self, event: dict[str, Any]) -> None:
        if self._holding is not None:
            self._holding.append(event)
        else:
            self._send_all([event])

    def _send_all(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if self.rng.random() < self.storm / 3:
                self.went_wrong["push lost"] += 1
                continue
            lag = self.book.mood.push_lag_ms / 1000
            if self.rng.random() < self.storm / 3:
                self.went_wrong["push late"] += 1
                lag += self.rng.random() * 2
            for socket, number in list(self.users.items()):
                self._later(lag, socket, json.dumps({"subscriptionId": number, "event": event}))
                if self.rng.random() < self.storm / 3:
                    self._later(lag, socket, json.dumps({"subscriptionId": number, "event": event}))

    def _later(self, lag: float, socket: web.WebSocketResponse, text: str | bytes) -> None:
        asyncio.get_running_loop().call_later(lag, self._task, socket, text)

    def _task(self, socket: web.WebSocketResponse, text: str | bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._write(socket, text))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _write(self, socket: web.WebSocketResponse, text: str | bytes) -> None:
        if not socket.closed:
            try:
                await (socket.send_str(text) if isinstance(text, str) else socket.send_bytes(text))
            except ConnectionError:
                self.sockets.discard(socket)

    def traded(self) -> None:
        """Tell the market's streams of a trade at the last price."""
        last, at = self.book.text(self.book.last), now_ms()
        events = {
            "trade": {"e": "trade", "E": at, "s": SYMBOL, "t": at, "p": last, "q": "1", "T": at, "m": True, "M": True},
            "aggTrade": {
                "e": "aggTrade",
                "E": at,
                "s": SYMBOL,
                "a": at,
                "p": last,
                "q": "1",
                "f": 1,
                "l": 1,
                "T": at,
                "m": True,
                "M": True,
            },
            "bookTicker": {
                "u": at,
                "s": SYMBOL,
                "b": self.book.text(self.book.last - TICK),
                "B": "9",
                "a": self.book.text(self.book.last + TICK),
                "A": "9",
            },
        }
        for socket, (combined, names) in list(self.markets.items()):
            for name in names:
                event = events.get(name.partition("@")[2])
                if event is not None and self.rng.random() >= self.storm / 3:
                    self._later(0, socket, json.dumps({"stream": name, "data": event} if combined else event))
        if self.rng.random() < self.storm / 10 and self.sockets:
            victim = self.rng.choice(sorted(self.sockets, key=id))
            self.went_wrong["socket cut or garbled"] += 1
            if self.rng.random() < 0.5 and victim in (*self.users, *self.markets):
                noise = self.rng.choice(GARBAGE)
                self._task(victim, noise if self.rng.random() < 0.3 else noise.decode("latin-1"))
            elif victim._writer is not None and victim._writer.transport is not None:
                victim._writer.transport.abort()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        names = {n for n in (request.match_info.get("names") or request.query.get("streams", "")).split("/") if n}
        self.sockets.add(socket)
        self.markets[socket] = (request.path == "/stream", names)
        self.refused[f"streams {sorted(names)}"] += 1
        try:
            async for message in socket:
                asked = json.loads(message.data)
                if asked.get("method") == "SUBSCRIBE":
                    names.update(asked["params"])
                await socket.send_json({"result": None, "id": asked.get("id")})
        finally:
            self.sockets.discard(socket)
            self.markets.pop(socket, None)
        return socket

    async def _ws_api(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        self.sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    task = asyncio.get_running_loop().create_task(self._asked(socket, json.loads(message.data)))
                    self.tasks.add(task)
                    task.add_done_callback(self.tasks.discard)
        finally:
            self.sockets.discard(socket)
            self.users.pop(socket, None)
        return socket

    async def _asked(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        method, params = asked["method"], {k: str(v) for k, v in asked.get("params", {}).items()}
        http, what = METHODS.get(method, ("WS", method))
        fault = self._fault(http, what) if method in METHODS else ""
        self._count(http, what, params)
        await asyncio.sleep(self.book.mood.slow_ms / 1000 + (self.rng.random() * 2 if fault == "late" else 0))
        if fault in {"lost", "403", "429"}:
            return

        def checked() -> Any:
            if "signature" in params:
                given = params.pop("signature")
                self._proved("&".join(f"{k}={v}" for k, v in sorted(params.items())), given)
                self._in_time(params)
            if method != "userDataStream.subscribe.signature":
                return self.serve(http, what, params)
            self.users[socket] = self.rng.randrange(100)
            return {"subscriptionId": self.users[socket]}

        if fault in NOT_CARRIED_OUT:
            status, answer = NOT_CARRIED_OUT[fault]
        else:
            status, answer = self._carried_out(checked)
        if fault == "after":
            await asyncio.sleep(self.rng.random() * 2)
        if fault in {"unanswered", "502", "1007"}:
            return
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 7}
        told = {"id": asked["id"], "status": status, "result" if status == OK else "error": answer}
        text = json.dumps(told | {"rateLimits": [limit]})
        await self._write(socket, self.rng.choice(GARBAGE).decode("latin-1") if fault == "garbage" else text)
