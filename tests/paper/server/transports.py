"""The same request over REST and over the WebSocket API: one test for both, by the WebSocket API's method names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from tests.paper.server.exchange_kit import Kit, Rest, Ws, rest, ws_api

from executor.paper.server.call import Security
from executor.paper.server.routes import by_method

REST, WS = "REST", "WebSocket API"
both = pytest.mark.parametrize("transport", [REST, WS])

_ROUTES: Final = by_method()


class Wire:
    """One account's client on one transport, with its user data stream."""

    def __init__(self, kit: Kit, http: Rest | None, socket: Ws, stream: Ws) -> None:
        self.kit = kit
        self.stream = stream
        self._http = http
        self._socket = socket
        self.status = 0

    async def ask(self, method: str, **params: Any) -> Any:
        """The result, or the refusal as `{"code": ..., "msg": ...}` with what else it carries."""
        route = _ROUTES[method]
        signed = route.security is not Security.NONE
        if self._http is not None:
            call = self._http.signed if signed else None
            answer = (
                await call(route.verb, route.path, **params) if call else await self._http.public(route.path, **params)
            )
            self.status = self._http.status
            return answer
        answer = await (self._socket.signed if signed else self._socket.call)(method, **params)
        self.status = answer["status"]
        return answer["result"] if self.status == 200 else answer["error"]

    async def refusal(self, method: str, **params: Any) -> tuple[int, str]:
        """Code and message of a request that must be refused."""
        answer = await self.ask(method, **params)
        assert self.status >= 400, answer
        return answer["code"], answer["msg"]

    async def events(self, kind: str = "executionReport") -> list[Any]:
        """What was pushed since the last call, of one kind."""
        await self.stream.call("ping")
        pushed = [message["event"] for message in self.stream.events]
        self.stream.events.clear()
        return [event for event in pushed if event["e"] == kind]


@asynccontextmanager
async def wire(kit: Kit, transport: str) -> AsyncIterator[Wire]:
    async with rest(kit) as http, ws_api(kit) as socket, ws_api(kit) as stream:
        await stream.signed("userDataStream.subscribe.signature")
        yield Wire(kit, http if transport == REST else None, socket, stream)
