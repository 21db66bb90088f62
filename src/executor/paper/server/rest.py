"""The REST transport: HTTP in, HTTP out.

What was asked and what is answered are values here; `plain_http` and the HTTP library put them on the wire.
"""

from typing import Final, NamedTuple

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from executor.paper.server import errors, open_choices
from executor.paper.server.call import Budget, Route
from executor.paper.server.exchange import Exchange, LostError, MisledError, Request, Served
from executor.paper.server.params import check_time_unit, parse_form
from executor.paper.server.routes import by_path
from executor.paper.server.signing import rest_payload

JSON_TYPE: Final = "application/json;charset=UTF-8"
_NOT_FOUND: Final = b"<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"


class Asked(NamedTuple):
    """A request as it was sent; a header that was not is None."""

    verb: str
    path: str
    query: str
    body: str
    api_key: str | None
    time_unit: str | None


class Reply(NamedTuple):
    """An answer, with the headers that are the exchange's."""

    status: int
    headers: dict[str, str]
    body: bytes


class Rest:
    """Answers the paths of the routing table."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._routes = by_path()

    def knows(self, verb: str, path: str) -> bool:
        """Whether there is such an endpoint."""
        return (verb, path) in self._routes

    def answer_at_once(self, asked: Asked) -> Reply:
        """Of an exchange without a fault plan, at an endpoint that it knows; `answered` is due when it has left."""
        route = self._routes[asked.verb, asked.path]
        try:
            return self._reply(route, self._exchange.serve_at_once(_request(route, asked)))
        except errors.ApiError as error:
            return self._refused(error)

    def answered(self) -> None:
        """An answer has left: push what had to wait for it."""
        self._exchange.push_owed()

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Answer a request of the HTTP library's."""
        try:
            response = await self._respond(request)
            if self._exchange.pushes_owed:
                await response.prepare(request)
                await response.write_eof()
            return response
        finally:
            self._exchange.push_owed()

    async def _respond(self, request: BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        route = self._routes.get((request.method, path))
        if route is None:
            return web.Response(status=404, body=_NOT_FOUND, content_type="text/html")
        body = (await request.read()).decode("utf-8", "replace") if request.can_read_body else ""
        named = request.headers.get
        asked = Asked(request.method, path, query, body, named("X-MBX-APIKEY"), named("X-MBX-TIME-UNIT"))
        try:
            reply = self._reply(route, await self._exchange.serve(_request(route, asked)))
        except errors.ApiError as error:
            reply = self._refused(error)
        except MisledError as misled:
            answer = misled.answer
            reply = Reply(answer.status, {"Content-Type": answer.content_type}, answer.body)
            if answer.retry_after_s:
                reply.headers["Retry-After"] = str(answer.retry_after_s)
        except LostError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=504)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    def _reply(self, route: Route, served: Served) -> Reply:
        headers = self._headers()
        if route.budget is not Budget.API:
            headers[f"X-SAPI-USED-{route.budget.name}-WEIGHT-1M"] = str(served.sapi_used)
        if route.charges_orders:
            for row in self._exchange.engine.order_counts(served.call.account, served.call.now_ms):
                headers[f"X-MBX-ORDER-COUNT-{row.interval_num}{row.interval[0]}"] = str(row.count)
        result = open_choices.written(self._exchange.engine.choices, served.result)
        return Reply(200, headers, orjson.dumps(result))

    def _refused(self, error: errors.ApiError) -> Reply:
        headers = self._headers()
        if error.retry_after_ms is not None:
            wait_ms = error.retry_after_ms - self._exchange.clock.now_ms()
            headers["Retry-After"] = str(max(1, -(-wait_ms // 1000)))
        return Reply(error.status, headers, orjson.dumps(error.body()))

    def _headers(self) -> dict[str, str]:
        used = str(self._exchange.meter.used(self._exchange.clock.now_ms()))
        return {"Content-Type": JSON_TYPE, "X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}


def _request(route: Route, asked: Asked) -> Request:
    """The parameters of the query string win over those of the body."""
    check_time_unit(asked.time_unit)
    query, body = asked.query, asked.body
    values = parse_form(query)
    if body:
        values = {**parse_form(body), **values}
    return Request(
        method=asked.verb,
        path=asked.path,
        route=route,
        values=values,
        api_key=asked.api_key,
        payload=lambda: rest_payload(query, body),
    )
