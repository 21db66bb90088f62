"""The REST transport: HTTP in, HTTP out."""

from typing import Final

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from executor.paper.server import errors, open_choices
from executor.paper.server.account import order_count_rows
from executor.paper.server.call import Budget
from executor.paper.server.exchange import Exchange, LostError, MisledError, Request, Served
from executor.paper.server.params import parse_form
from executor.paper.server.routes import by_path
from executor.paper.server.signing import rest_payload

JSON_TYPE: Final = "application/json;charset=UTF-8"
_NOT_FOUND: Final = b"<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"


class Rest:
    """Answers the paths of the routing table."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._routes = by_path()

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
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
        try:
            values = _read_values(request, query, body)
            served = await self._exchange.serve(
                Request(
                    method=request.method,
                    path=path,
                    route=route,
                    values=values,
                    api_key=request.headers.get("X-MBX-APIKEY"),
                    payload=lambda: rest_payload(query, body),
                )
            )
        except errors.ApiError as error:
            return self._refused(error)
        except MisledError as misled:
            answer = misled.answer
            headers = {"Content-Type": answer.content_type}
            if answer.retry_after_s:
                headers["Retry-After"] = str(answer.retry_after_s)
            return web.Response(status=answer.status, body=answer.body, headers=headers)
        except LostError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=504)
        headers = self._headers()
        if route.budget is not Budget.API:
            headers[f"X-SAPI-USED-{route.budget.name}-WEIGHT-1M"] = str(served.sapi_used)
        if route.charges_orders:
            self._count_orders(headers, served)
        result = open_choices.written(self._exchange.engine.choices, served.result)
        return web.Response(body=orjson.dumps(result), headers=headers)

    def _refused(self, error: errors.ApiError) -> web.Response:
        headers = self._headers()
        if error.retry_after_ms is not None:
            wait_ms = error.retry_after_ms - self._exchange.clock.now_ms()
            headers["Retry-After"] = str(max(1, -(-wait_ms // 1000)))
        return web.Response(status=error.status, body=orjson.dumps(error.body()), headers=headers)

    def _headers(self) -> dict[str, str]:
        used = str(self._exchange.meter.used(self._exchange.clock.now_ms()))
        return {"Content-Type": JSON_TYPE, "X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}

    @staticmethod
    def _count_orders(headers: dict[str, str], served: Served) -> None:
        for row in order_count_rows(served.call):
            headers[f"X-MBX-ORDER-COUNT-{row['intervalNum']}{row['interval'][0]}"] = str(row["count"])


def _read_values(request: BaseRequest, query: str, body: str) -> dict[str, str]:
    """The parameters; the query string wins over the body. Times are told in milliseconds only."""
    if request.headers.get("X-MBX-TIME-UNIT", "MILLISECOND").upper() != "MILLISECOND":
        raise errors.unsupported()
    values = parse_form(query)
    return {**parse_form(body), **values} if body else values
