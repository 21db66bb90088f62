"""The stranger's REST and WebSocket doors, from the documents alone, and what goes wrong on the way."""

import asyncio
import functools
import gzip
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
from tests.stranger.faults import ABSURD, GARBAGE, PAGES, TOLD, dressed, fault, noise, strange
from tests.stranger.faults import WEIGHTS as ODD_WEIGHTS
from tests.stranger.lender import Lender
from tests.stranger.mood import SYMBOL, TICK, Refused, now_ms, real_ms
from tests.stranger.served import Served

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
    "referencePrice",
    "sapi/margin/allPairs",
    "sapi/margin/isolated/allPairs",
    "sapi/margin/allAssets",
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
LONG = {"orderId", "cancelOrderId", "orderListId", "timestamp", "recvWindow"}
"""Parameters that are numbers over the socket; all others are text."""
OK, TOO_MANY, BANNED = 200, 429, 418
UNANSWERED = {"unanswered", "502", "silent", "torn", "cut", "redirect", "gzip", "drip"}


def error_of(refused: Refused) -> dict[str, Any]:
    told: dict[str, Any] = {"code": refused.code, "msg": refused.text}
    return told if refused.data is None else told | {"data": refused.data}


class Exchange(Served):
    """`storm`: how likely a request or a push goes wrong. `asked`: when what was asked for, with its own ids."""

    def __init__(self, book: Book, rng: random.Random, lender: Lender | None = None) -> None:
        super().__init__(book, rng, lender)
        self.storm = 0.0
        self.asked: deque[tuple[int, str, str]] = deque(maxlen=200_000)
        self.weights: Counter[int] = Counter()
        self.went_wrong: Counter[str] = Counter()
        self.sockets: set[web.WebSocketResponse] = set()
        self.users: dict[web.WebSocketResponse, int] = {}
        self.markets: dict[web.WebSocketResponse, tuple[bool, set[str]]] = {}
        self.lasts: dict[web.WebSocketResponse, int] = {}
        self.port = 0
        self.tasks: set[asyncio.Task[None]] = set()
        book.push = self._pushed
        self._holding: list[dict[str, Any]] | None = None
        self.mute_until = 0
        """The WebSocket API answers pings, and no requests, until then (ms, the exchange's clock)."""
        self.refuses_until = 0
        """It refuses orders until then, as not enabled."""
        self.told: deque[dict[str, Any]] = deque(maxlen=30)
        """The newest pushes."""
        self.down, self.down_until = "", 0
        """A read that alone is answered 503 until then."""
        self.banned_until = 0
        self.deaf_to_bans = 0
        """Requests that came although a ban was told more than a second before."""

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/api/v3/{tail:.*}", self._rest)
        app.router.add_route("*", "/sapi/v1/{tail:.*}", self._rest)
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
        what = f"sapi/{what}" if request.path.startswith("/sapi") else what
        raw = request.rel_url.raw_query_string + (await request.read()).decode()
        params = dict(parse_qsl(raw, keep_blank_values=True))
        happens = self._fault(method, what)
        self._count(method, what, params)
        if now_ms() < self.banned_until:
            return self._ban()
        await asyncio.sleep(self.book.mood.slow_ms / 1000 + (self.rng.random() * 2 if happens == "late" else 0))
        if happens == "lost":
            return self._cut(request)
        if happens in TOLD and happens != "1007":
            status, answer = TOLD[happens]
            wait = {"Retry-After": "1"} if status == TOO_MANY else {}
            if happens == "429 untold":
                wait = {}
            elif happens == "429 absurd":
                wait = {"Retry-After": self.rng.choice(ABSURD)}
            return web.json_response(answer, status=status, headers=wait)
        if happens in {"403", "451"}:
            return self._page(happens)
        if happens == "redirect" and self.rng.random() < 0.5:
            return self._elsewhere()

        signed = functools.partial(self._signed, what, raw, params, request.headers.get("X-MBX-APIKEY"))
        status, answer = self._answered(happens, signed, lambda: self.serve(method, what, params))
        if happens == "after":
            await asyncio.sleep(self.rng.random() * 2)
        return await self._spoiled(happens, request, status, answer) or self._told(status, answer)

    async def _spoiled(self, happens: str, request: web.Request, status: int, answer: Any) -> web.StreamResponse | None:
        """What stands in the place of the answer of a request that was carried out."""
        whole = json.dumps(answer).encode()
        match happens:
            case "unanswered" | "cut":
                return self._cut(request)
            case "silent":
                await asyncio.sleep(14)
                return self._cut(request)
            case "torn" | "drip":
                return await self._in_parts(request, status, whole, slowly=happens == "drip")
            case "redirect":
                return self._elsewhere()
            case "gzip":
                packed = gzip.compress(whole)[: self.rng.randrange(4, 40)]
                return web.Response(status=status, body=packed, headers={"Content-Encoding": "gzip"})
            case "garbage":
                return web.Response(status=200, body=self.rng.choice(GARBAGE), content_type="application/json")
            case "twice":
                self._once_more(request, status, whole)
            case _:
                pass
        return self._told_oddly(happens, status, answer)

    def _told_oddly(self, happens: str, status: int, answer: Any) -> web.Response | None:
        if happens == "strange":
            return self._told(status, strange(answer))
        if happens == "odd status":
            return self._told(400, answer)
        if happens in PAGES:
            return self._page(happens)
        if happens.removesuffix(" done") in TOLD:
            return self._told(*TOLD[happens.removesuffix(" done")])
        return None

    async def _in_parts(self, request: web.Request, status: int, whole: bytes, *, slowly: bool) -> web.StreamResponse:
        """A part of it, or a byte now and then for longer than anybody waits; and no end."""
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
        response.content_length = len(whole) + 7
        parts = [whole[at : at + 1] for at in range(min(len(whole), 28))]
        try:
            await response.prepare(request)
            for part in parts if slowly else [whole[: self.rng.randrange(len(whole))]]:
                await response.write(part)
                await asyncio.sleep(0.5 if slowly else 0)
        except ConnectionError:
            self.went_wrong["hung up on"] += 1
        return self._cut(request)

    def _once_more(self, request: web.Request, status: int, whole: bytes) -> None:
        """The same answer again, unasked, behind the one that is about to be given."""
        again = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(whole))
        transport = request.transport

        def write() -> None:
            if transport is not None and not transport.is_closing():
                transport.write(again + whole)

        asyncio.get_running_loop().call_later(0.005, write)

    def _elsewhere(self) -> web.Response:
        there = f"http://127.0.0.1:{self.port}/api/v3/time"
        return web.Response(status=self.rng.choice([301, 302, 307, 308]), headers={"Location": there})

    def _page(self, name: str) -> web.Response:
        status, text = PAGES[name]
        return web.Response(status=status, text=text, content_type="text/html")

    def ban(self, seconds: float) -> None:
        self.banned_until = now_ms() + int(seconds * 1000)
        self._ban_told = 0
        for socket in list(self.sockets) if self.book.mood.bans_sockets else []:
            self._abort(socket)

    def _shut_out(self) -> web.Response | None:
        """Why a socket is not let in, if it is not."""
        if self.book.mood.bans_sockets and now_ms() < self.banned_until:
            return web.json_response({"code": -1003, "msg": "IP banned."}, status=self.rng.choice([TOO_MANY, BANNED]))
        if self.rng.random() >= min(0.6, self.storm * self.book.mood.doors):
            return None
        self.went_wrong["a socket was not let in"] += 1
        return web.Response(status=self.rng.choice([400, 403, 429, 500, 502, 503]), text="no")

    def _ban(self) -> web.Response:
        status, answer = self._banned()
        left = max(1, -(-(self.banned_until - now_ms()) // 1000))
        return web.json_response(answer, status=status, headers={"Retry-After": str(left)})

    def _banned(self) -> tuple[int, dict[str, Any]]:
        """429 first, then 418, as documented: whoever goes on asking is told until when."""
        now = now_ms()
        self._ban_told = self._ban_told or now
        if now - self._ban_told > 1_000:
            self.deaf_to_bans += 1
        text = f"Way too much request weight used; IP banned until {self.banned_until}."
        return TOO_MANY if self._ban_told == now else BANNED, {"code": -1003, "msg": text}

    def _told(self, status: int, answer: Any) -> web.Response:
        used = str(self.weights[real_ms() // 60_000] + self.book.mood.others_weight)
        answer = dressed(answer, self.book.mood)
        header = self.book.mood.weight_header
        if header == "absurd":
            used = self.rng.choice(ODD_WEIGHTS)
        told = {} if header == "absent" else {"X-MBX-USED-WEIGHT-1M": used}
        kind = self.book.mood.body_type
        response = web.json_response(answer, status=status, headers=told, content_type=kind)
        packed = self.book.mood.packed
        if packed == "chunks":
            response.enable_chunked_encoding()
        elif packed:
            response.enable_compression(web.ContentCoding(packed))
        if self.book.mood.hangs_up:
            response.force_close()
        return response

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

    def _answered(self, happens: str, signed: Callable[[], None], serve: Callable[[], Any]) -> tuple[int, Any]:
        """Carried out at once; or an error is told, and what was in time when it came is done some moments after."""
        try:
            signed()
        except Refused as error:
            self.refused[f"{error.code} {error.text}"] += 1
            return error.status, error_of(error)
        if not happens.endswith(" later"):
            return self._carried_out(serve)
        asyncio.get_running_loop().call_later(0.1 + self.rng.random() * 1.9, self._carried_out, serve)
        return TOLD[happens.removesuffix(" later")]

    def _cut(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _fault(self, method: str, what: str) -> str:
        if method == "GET" and self.down and what.endswith(self.down) and now_ms() < self.down_until:
            self.went_wrong[f"{self.down} is down"] += 1
            return "503"
        often = 3 if what.endswith("borrow-repay") else 1.5 if method != "GET" else 1
        kind = fault(self.rng, min(0.6, self.storm * often), method, what)
        if kind:
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
        self.asked.append((real_ms(), f"{method} {what}", own))
        minute = real_ms() // 60_000
        if not what.startswith("sapi/"):
            self.weights[minute] += WEIGHTS.get(what, 1) if method == "GET" else 1

    def _signed(self, what: str, raw: str, params: dict[str, str], key: str | None) -> None:
        if what in PUBLIC:
            return
        if key != KEY:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        payload, _, given = raw.rpartition("&signature=")
        self._proved(payload, given, what)
        self._in_time(params)

    def _proved(self, payload: str, given: str, what: str) -> None:
        if hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest() != given.lower():
            self.unmet.append(f"signed wrongly: {what} {payload}")
            raise Refused(-1022, "Signature for this request is not valid.")

    def _in_time(self, params: dict[str, str]) -> None:
        stamp, window = int(params["timestamp"]), Decimal(params.get("recvWindow", 5000))
        stamp = stamp // 1000 if stamp > 10**14 else stamp
        if stamp >= now_ms() + 1000 or now_ms() - stamp > window:
            raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")

    # --- pushes ---------------------------------------------------------------------------------------------------

    def _pushed(self, event: dict[str, Any]) -> None:
        if self._holding is not None:
            self._holding.append(event)
        else:
            self._send_all([event])

    def _send_all(self, events: list[dict[str, Any]]) -> None:
        told = [e for e in events if self.book.mood.pushes and e["e"] != self.book.mood.untold]
        for event in [dressed(e, self.book.mood) for e in told]:
            if self.rng.random() < self.storm / 3:
                self.went_wrong["push lost"] += 1
                continue
            lag = (self.book.mood.push_lag_ms + self.rng.random() * self.book.mood.push_spread_ms) / 1000
            if self.rng.random() < self.storm / 3:
                self.went_wrong["push late"] += 1
                lag += self.rng.random() * self.book.mood.late_most_ms / 1000
            self.told.append(event)
            for socket, number in list(self.users.items()):
                if self.book.mood.noise and self.rng.random() < 0.3:
                    self._later(lag, socket, json.dumps({"subscriptionId": number, "event": noise(event, self.rng)}))
                self._later(lag, socket, json.dumps({"subscriptionId": number, "event": event}))
                if self.rng.random() < self.storm / 3:
                    self._later(lag, socket, json.dumps({"subscriptionId": number, "event": event}))

    async def end_streams(self, how: str) -> None:
        """`shutdown`: told beforehand, then closed; `terminated`: the subscription ends; `closed`: a day is over."""
        for socket, number in list(self.users.items()):
            if how == "shutdown":
                await self._write(socket, json.dumps({"event": {"e": "serverShutdown", "E": now_ms()}}))
            elif how == "terminated":
                told = {"subscriptionId": number, "event": {"e": "eventStreamTerminated", "E": now_ms()}}
                await self._write(socket, json.dumps(told))
                self.users.pop(socket, None)
        for socket, (combined, _) in list(self.markets.items()):
            if how == "shutdown":
                told = {"e": "serverShutdown", "E": now_ms()}
                named = {"stream": "!serverShutdown", "data": told}
                await self._write(socket, json.dumps(named if combined else told))
        if how != "terminated":
            await asyncio.sleep(1.5 if how == "shutdown" else 0)
            for socket in list(self.sockets):
                self.users.pop(socket, None)
                self.markets.pop(socket, None)
                await socket.close(code=1001 if how == "closed" else 1000)

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
        if self.book.mood.empty_sides and self.rng.random() < 0.1:
            kind, field = self.rng.choice([("trade", "p"), ("bookTicker", "b"), ("bookTicker", "a")])
            events[kind] = events[kind] | {field: "0.00000000"}
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
            else:
                self._abort(victim)

    def _hang_up(self, socket: web.WebSocketResponse, happens: str) -> None:
        if happens == "cut":
            self._abort(socket)

    def _abort(self, socket: web.WebSocketResponse) -> None:
        if socket._writer is not None and socket._writer.transport is not None:
            socket._writer.transport.abort()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if (shut := self._shut_out()) is not None:
            return shut
        socket = web.WebSocketResponse(heartbeat=20, autoping=self.book.mood.pongs)
        await socket.prepare(request)
        names = {n for n in (request.match_info.get("names") or request.query.get("streams", "")).split("/") if n}
        self.sockets.add(socket)
        self.markets[socket] = (request.path == "/stream", names)
        self.refused[f"streams {sorted(names)}"] += 1
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                asked = json.loads(message.data)
                if asked.get("method") == "SUBSCRIBE":
                    names.update(asked["params"])
                await socket.send_json({"result": None, "id": asked.get("id")})
        finally:
            self.sockets.discard(socket)
            self.markets.pop(socket, None)
        return socket

    async def _ws_api(self, request: web.Request) -> web.StreamResponse:
        if (shut := self._shut_out()) is not None:
            return shut
        socket = web.WebSocketResponse(heartbeat=20, autoping=self.book.mood.pongs)
        await socket.prepare(request)
        self.sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked = self._asked_in_a_ban if now_ms() < self.banned_until else self._asked
                    task = asyncio.get_running_loop().create_task(asked(socket, json.loads(message.data)))
                    self.tasks.add(task)
                    task.add_done_callback(self.tasks.discard)
        finally:
            self.sockets.discard(socket)
            self.users.pop(socket, None)
        return socket

    def _listen(self, socket: web.WebSocketResponse, params: dict[str, str]) -> Any:
        assert self.lender is not None
        until = self.lender.listens(params.get("listenToken"))
        self.users.setdefault(socket, self.rng.randrange(100))
        self.lasts[socket] = until
        asyncio.get_running_loop().call_later((until - now_ms()) / 1000, self._run_out, socket)
        return {"subscriptionId": self.users[socket], "expirationTime": until}

    def _replay(self, socket: web.WebSocketResponse) -> None:
        if self.book.mood.replays:
            old = list(self.told)
            self.rng.shuffle(old)
            for event in old:
                text = json.dumps({"subscriptionId": self.users[socket], "event": event})
                self._later(self.rng.random() * 2, socket, text)

    def _run_out(self, socket: web.WebSocketResponse) -> None:
        if socket in self.users and self.lasts[socket] <= now_ms() + 100:
            told = {"subscriptionId": self.users.pop(socket), "event": {"e": "eventStreamTerminated", "E": now_ms()}}
            self.went_wrong["a listen token ran out"] += 1
            self._task(socket, json.dumps(told))

    def _signed_over_socket(self, params: dict[str, str], *, must: bool) -> None:
        if must and "signature" not in params:
            raise Refused(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
        if "signature" in params:
            given = params.pop("signature")
            self._proved("&".join(f"{k}={v}" for k, v in sorted(params.items())), given, "over the socket")
            self._in_time(params)
            if params.get("apiKey") != KEY:
                raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)

    def _wait_told(self, happens: str) -> dict[str, Any]:
        """Until when, as the WebSocket API tells it."""
        until: Any = now_ms() + 1_000
        if happens == "429 untold":
            return {}
        if happens == "429 absurd":
            until = self.rng.choice([0, -1, 1, None, "soon", 10**16])
        return {"data": {"serverTime": now_ms(), "retryAfter": until}}

    async def _asked_in_a_ban(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        status, answer = self._banned()
        until = {"data": {"serverTime": now_ms(), "retryAfter": self.banned_until}}
        await self._write(socket, self._reply(asked["id"], status, answer | until))

    async def _asked(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        method, params = asked["method"], {k: str(v) for k, v in asked.get("params", {}).items()}
        self.unmet += [
            f"{method}: {name} is {value!r}"
            for name, value in asked.get("params", {}).items()
            if isinstance(value, int) != (name in LONG or name.endswith("railingDelta"))
        ]
        http, what = METHODS.get(method, ("WS", method))
        happens = self._fault(http, what) if method in METHODS else self._subscribed()
        self._count(http, what, params)
        await asyncio.sleep(self.book.mood.slow_ms / 1000 + (self.rng.random() * 2 if happens == "late" else 0))
        if happens in {"lost", "403", "451"} or (now_ms() < self.mute_until and method in METHODS):
            return

        def serve() -> Any:
            if now_ms() < self.refuses_until and http != "GET" and method in METHODS:
                raise Refused(-2010, "WebSocket API trading is not enabled.")
            if method == "userDataStream.subscribe.listenToken" and self.lender is not None:
                return self._listen(socket, params)
            if method != "userDataStream.subscribe.signature":
                return self.serve(http, what, params)
            self.users[socket] = self.rng.randrange(100)
            self._replay(socket)
            return {"subscriptionId": self.users[socket]}

        must = method in METHODS and what not in PUBLIC
        signed = functools.partial(self._signed_over_socket, params, must=must)
        status, answer = TOLD[happens] if happens in TOLD else self._answered(happens, signed, serve)
        if status == TOO_MANY:
            answer = answer | self._wait_told(happens)
        if happens == "after":
            await asyncio.sleep(self.rng.random() * 2)
        if happens in UNANSWERED:
            self._hang_up(socket, happens)
            return
        if happens.endswith(" done"):
            status, answer = TOLD[happens.removesuffix(" done")]
        await self._answer(socket, happens, asked["id"], status, answer)

    def _subscribed(self) -> str:
        """What happens to a subscription."""
        if self.rng.random() >= min(0.6, self.storm * self.book.mood.doors):
            return ""
        happens = self.rng.choice(["lost", "late", "1000", "503", "429", "1021", "unheard", "unanswered"])
        self.went_wrong[f"subscription {happens}"] += 1
        return happens

    async def _answer(self, socket: web.WebSocketResponse, happens: str, number: str, status: int, answer: Any) -> None:
        text = self._reply(number, status, strange(answer) if happens == "strange" else answer)
        await self._write(socket, self.rng.choice(GARBAGE).decode("latin-1") if happens == "garbage" else text)
        if happens == "twice":
            for other in (number, f"{number}0", None):
                await self._write(socket, self._reply(other, status, answer))

    def _reply(self, number: Any, status: int, answer: Any) -> str:
        answer = dressed(answer, self.book.mood)
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 7}
        told = {"id": number, "status": status, "result" if status == OK else "error": answer}
        limits: Any = [limit] if self.book.mood.weight_header == "told" else None
        return json.dumps(told | {"rateLimits": limits})
