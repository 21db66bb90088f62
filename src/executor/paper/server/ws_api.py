"""The WebSocket API transport: one JSON request per message, sessions, user data subscriptions."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import orjson
from aiohttp import WSCloseCode

from executor.paper.server import errors, open_choices
from executor.paper.server.account import order_count_rows
from executor.paper.server.call import Call, Security
from executor.paper.server.connection import Connection
from executor.paper.server.exchange import OVER_WS, SIGNING_NAMES, Exchange, LostError, MisledError, Request
from executor.paper.server.faults import Answer
from executor.paper.server.params import Params, json_text
from executor.paper.server.render import Json
from executor.paper.server.routes import by_method
from executor.paper.server.signing import ws_payload

SESSION_WEIGHT: Final = 2
MAX_SUBSCRIPTIONS: Final = 1_000
MAX_SUBSCRIPTION_IDS: Final = 65_535
_ROUTES: Final = by_method()


class Envelope(msgspec.Struct):
    """A request as sent."""

    method: str
    id: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str | None = None
    params: dict[str, Any] | None = None


_DECODER: Final = msgspec.json.Decoder(Envelope)


class Session:
    """What one connection to `/ws-api/v3` may do, and what it listens to."""

    def __init__(self, exchange: Exchange, connection: Connection, *, show_rate_limits: bool) -> None:
        self._exchange = exchange
        self._connection = connection
        self._show_rate_limits = show_rate_limits
        self._connected_since = exchange.clock.now_ms()
        self._api_key: str | None = None
        self._account = ""
        self._authorized_since: int | None = None
        self._subscriptions: dict[int, str] = {}
        self._logon_subscription: int | None = None
        self._next_subscription = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._methods = {
            "session.logon": self._logon,
            "session.status": self._status,
            "session.logout": self._logout,
            "session.subscriptions": self._list_subscriptions,
            "userDataStream.subscribe": self._subscribe,
            "userDataStream.subscribe.signature": self._subscribe_signed,
            "userDataStream.subscribe.listenToken": self._subscribe_token,
            "userDataStream.unsubscribe": self._unsubscribe,
        }

    async def receive(self, text: str) -> None:
        """Answer one message. Where faults may make a request wait, others must be able to overtake it."""
        if self._exchange.faults is None:
            await self._answer(text)
            return
        task = asyncio.create_task(self._answer(text))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    def wrap_shutdown(event: Json) -> Json:
        return {"event": event}

    async def end(self) -> None:
        """Forget the subscriptions of a connection that is gone."""
        for subscription_id in list(self._subscriptions):
            self._drop_subscription(subscription_id)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, text: str) -> None:
        try:
            await self._respond(text)
        finally:
            self._exchange.push_owed()

    async def _respond(self, text: str) -> None:
        try:
            envelope = _DECODER.decode(text)
            sent = envelope.params or {}
            signed = {name: value if type(value) is str else json_text(value) for name, value in sent.items()}
        except (msgspec.DecodeError, RecursionError, TypeError):  # the last: what no JSON of 64 bits can hold
            self._reply(None, errors.invalid_json(), show=self._show_rate_limits)
            return
        values = dict(signed)
        show = values.pop("returnRateLimits", "true" if self._show_rate_limits else "false") == "true"
        method = envelope.method.removeprefix("v3/")
        try:
            outcome, orders_of = await self._carry_out(method, values, signed)
        except errors.ApiError as error:
            self._reply(envelope.id, error, show=show)
            return
        except MisledError as misled:
            self._connection.send(self._misleading(envelope.id, misled.answer))
            return
        except LostError:
            self._connection.drop()
            return
        self._reply(envelope.id, outcome, show=show, orders_of=orders_of)

    async def _carry_out(
        self, method: str, values: Mapping[str, str], signed: Mapping[str, str]
    ) -> tuple[Any, str | None]:
        """The result, and the account whose unfilled orders the answer shows. `signed`: all that was sent, of which the
        signature is.
        """
        if method in self._methods:
            return await self._exchange.obey(method, values, lambda: self._own(method, values, signed)), None
        route = _ROUTES.get(method)
        if route is None:
            raise errors.unsupported()
        vouched = self._api_key is not None and "apiKey" not in values and "signature" not in values
        if route.security.signed and not vouched and "apiKey" not in values:
            raise errors.missing("apiKey")
        request = Request(
            method=OVER_WS,
            path=method,
            route=route,
            values=values,
            api_key=values.get("apiKey"),
            payload=None if vouched else lambda: ws_payload(signed),
            account=self._account,
        )
        at_once = self._exchange.faults is None
        served = self._exchange.serve_at_once(request) if at_once else await self._exchange.serve(request)
        return served.result, served.call.account if route.charges_orders else None

    def _reply(self, request_id: int | str | None, outcome: Any, *, show: bool, orders_of: str | None = None) -> None:
        now_ms = self._exchange.clock.now_ms()
        body: Json = {"id": request_id}
        if isinstance(outcome, errors.ApiError):
            body["status"] = outcome.status
            body["error"] = outcome.body()
            if outcome.retry_after_ms is not None:
                body["error"]["data"] = {"serverTime": now_ms, "retryAfter": outcome.retry_after_ms}
        else:
            body["status"] = 200
            body["result"] = open_choices.written(self._exchange.engine.choices, outcome)
        if show:
            rows = [self._exchange.meter.row(now_ms)]
            if orders_of is not None:
                call = Call(self._exchange.engine, self._exchange.limits, orders_of, now_ms)
                rows = order_count_rows(call) + rows
            body["rateLimits"] = rows
        self._connection.send(orjson.dumps(body))
        if body["status"] == 418:
            self._connection.end_soon(WSCloseCode.POLICY_VIOLATION)

    def _misleading(self, request_id: int | str | None, answer: Answer) -> bytes:
        if not answer.enveloped:
            return answer.body
        if answer.status == 200:
            return orjson.dumps({"id": request_id, "status": 200, "result": orjson.Fragment(answer.body)})
        error: Json = orjson.loads(answer.body)
        if answer.retry_after_s:
            now_ms = self._exchange.clock.now_ms()
            error["data"] = {"serverTime": now_ms, "retryAfter": now_ms + 1_000 * answer.retry_after_s}
        return orjson.dumps({"id": request_id, "status": answer.status, "error": error})

    # the session's own methods

    def _own(self, method: str, values: Mapping[str, str], signed: Mapping[str, str]) -> Any:
        self._exchange.meter.charge(self._exchange.clock.now_ms(), SESSION_WEIGHT)
        return self._methods[method](Params(values), signed)

    def _logon(self, params: Params, values: Mapping[str, str]) -> Json:
        credential = self._authenticate(params, values)
        if not credential.may_log_on:
            raise errors.unknown_key()
        self._api_key = values["apiKey"]
        self._account = credential.account
        self._authorized_since = self._exchange.clock.now_ms()
        return self._state()

    def _status(self, params: Params, _: Mapping[str, str]) -> Json:
        params.finish()
        return self._state()

    def _logout(self, params: Params, _: Mapping[str, str]) -> Json:
        params.finish()
        if self._logon_subscription is not None:
            self._terminate(self._logon_subscription)
        self._api_key, self._account, self._authorized_since = None, "", None
        return self._state()

    def _list_subscriptions(self, params: Params, _: Mapping[str, str]) -> list[Json]:
        params.finish()
        return [{"subscriptionId": subscription_id} for subscription_id in self._subscriptions]

    def _subscribe(self, params: Params, _: Mapping[str, str]) -> Json:
        params.finish()
        if self._api_key is None:
            raise errors.unauthorized()
        subscription_id = self._add_subscription(self._account)
        self._logon_subscription = subscription_id
        return {"subscriptionId": subscription_id}

    def _subscribe_signed(self, params: Params, values: Mapping[str, str]) -> Json:
        credential = self._authenticate(params, values)
        return {"subscriptionId": self._add_subscription(credential.account)}

    def _subscribe_token(self, params: Params, _: Mapping[str, str]) -> Json:
        """Of a margin account, by its token. Another token of the same account makes a running subscription last."""
        token = params.text("listenToken")
        params.finish()
        found = self._exchange.listen_keys.token(token, self._exchange.clock.now_ms())
        if found is None:
            raise errors.invalid_listen_token()
        account, ends_ms = found
        subscription_id = next((n for n, whose in self._subscriptions.items() if whose == account), None)
        if subscription_id is None:
            subscription_id = self._next_id()
            self._subscriptions[subscription_id] = account
        ended = subscription_id
        self._exchange.user_streams.subscribe_until(
            account, self._connection, subscription_id, ends_ms, lambda: self._terminate(ended)
        )
        return {"subscriptionId": subscription_id, "expirationTime": ends_ms}

    def _unsubscribe(self, params: Params, _: Mapping[str, str]) -> Json:
        subscription_id = params.optional_integer("subscriptionId")
        params.finish()
        if subscription_id is None:
            for each in list(self._subscriptions):
                self._terminate(each)
        elif subscription_id in self._subscriptions:
            self._terminate(subscription_id)
        else:
            raise errors.not_subscribed()
        return {}

    def _authenticate(self, params: Params, values: Mapping[str, str]) -> Any:
        params.known(*SIGNING_NAMES)
        params.finish()
        if "apiKey" not in values:
            raise errors.missing("apiKey")
        credential, _ = self._exchange.authenticate(
            Security.USER_DATA, values["apiKey"], values, lambda: ws_payload(values)
        )
        return credential

    def _add_subscription(self, account: str) -> int:
        if account in self._subscriptions.values():
            raise errors.already_subscribed()
        subscription_id = self._next_id()
        self._subscriptions[subscription_id] = account
        self._exchange.user_streams.subscribe(account, self._connection, subscription_id)
        return subscription_id

    def _next_id(self) -> int:
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS or self._next_subscription >= MAX_SUBSCRIPTION_IDS:
            raise errors.ApiError(-2042, "Maximum subscription ID reached for this connection.")
        self._next_subscription += 1
        return self._next_subscription - 1

    def _drop_subscription(self, subscription_id: int) -> None:
        account = self._subscriptions.pop(subscription_id)
        self._exchange.user_streams.unsubscribe(account, self._connection, subscription_id)
        if self._logon_subscription == subscription_id:
            self._logon_subscription = None

    def _terminate(self, subscription_id: int) -> None:
        """End a subscription and say so on its stream."""
        self._drop_subscription(subscription_id)
        event = {"e": "eventStreamTerminated", "E": self._exchange.clock.now_ms()}
        self._connection.send(orjson.dumps({"subscriptionId": subscription_id, "event": event}))

    def _state(self) -> Json:
        return {
            "apiKey": self._api_key,
            "authorizedSince": self._authorized_since,
            "connectedSince": self._connected_since,
            "returnRateLimits": self._show_rate_limits,
            "serverTime": self._exchange.clock.now_ms(),
            "userDataStream": bool(self._subscriptions),
        }
