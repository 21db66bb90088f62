"""The exchange behind both transports: who may do what, at what cost, and what goes wrong on the way.

A transport reads a request and writes an answer; everything between is `Exchange.serve`: the weight is
charged, the key and the signature are checked, the fault plan is asked, the handler runs, and what it made
happen goes out to the user streams before or after the answer does (`ExchangeChoices.push_order`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from executor.paper.engine.choices import PushOrder
from executor.paper.engine.exchange import Engine
from executor.paper.engine.model import Reject
from executor.paper.replay.clock import Clock
from executor.paper.server import errors, open_choices
from executor.paper.server.call import Budget, Call, Route, Security
from executor.paper.server.faults import Answer, FaultPlan, RequestFault
from executor.paper.server.limits import MINUTE_MS, Limits, RequestMeter, SapiMeter
from executor.paper.server.listen_keys import ListenKeys
from executor.paper.server.params import Params
from executor.paper.server.signing import Credential, Keyring, Window, read_window
from executor.paper.server.user_streams import UserStreams

SIGNING_NAMES = ("timestamp", "recvWindow", "signature", "apiKey")
TOO_MANY_ORDERS = -1015

Payload = Callable[[], tuple[bytes, str]]
"""Makes what was signed, and the signature, out of a request."""


OVER_WS = "WS"
"""`Request.method` of what came over the WebSocket API."""


class LostError(Exception):
    """The fault plan cuts the connection: there is no answer."""


class MisledError(Exception):
    """The fault plan answers in the exchange's stead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


class Request(msgspec.Struct):
    """One request as a transport has read it. `api_key` is None when none was sent."""

    method: str
    path: str
    route: Route
    values: Mapping[str, str]
    api_key: str | None
    payload: Payload | None
    """None when a session vouches for the request: `account` then says whose."""
    account: str = ""


class Served(msgspec.Struct):
    """A request carried out: what to answer, and the call, whose counts the answer shows."""

    result: Any
    call: Call
    sapi_used: int = 0
    """Weight used at this endpoint of `/sapi`."""


class _Admitted(NamedTuple):
    """A request with its weight charged and its key and signature checked: whose it is, and until when it holds."""

    request: Request
    params: Params
    weight: int
    account: str
    window: Window | None
    sapi_used: int


class Exchange:
    """The engine with everything around it that is not a socket."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        keys: Mapping[str, Credential],
        limits: Limits,
        faults: FaultPlan | None,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.keys = Keyring(keys)
        self.limits = limits
        self.meter = RequestMeter(limits)
        self.sapi_meter = SapiMeter(limits)
        self.listen_keys = ListenKeys()
        self.faults = faults
        accounts = sorted({credential.account for credential in keys.values()})
        for account in accounts:
            engine.balances(account)  # a key of an account that is not open is a mistake: KeyError, here and now
        self.user_streams = UserStreams(engine, clock, accounts, faults, self.listen_keys)
        self.pushes_owed = False
        """Whether something waits to be pushed until the answer that comes before it has left."""
        self.in_hand = 0
        """Requests being worked on; those that a fault makes wait in market time are not among them."""

    async def serve(self, request: Request) -> Served:
        """Carry out a request. Raises `ApiError` for a refusal, `LostError` and `MisledError` for a fault."""
        self.in_hand += 1
        try:
            return await self._serve(request)
        finally:
            self.in_hand -= 1

    def serve_at_once(self, request: Request) -> Served:
        """The same for an exchange without a fault plan, where nothing is waited for. Raises `ApiError`."""
        admitted = self._admit(request)
        outcome = self._carry_out(admitted)
        if self.engine.choices.push_order is PushOrder.AFTER_ANSWER:
            self.pushes_owed = True
        else:
            self.user_streams.flush()
        return self._conclude(admitted, outcome)

    async def obey(self, path: str, values: Mapping[str, str], act: Callable[[], Any]) -> Any:
        """Carry out a connection's own method, which no route leads to, under the fault plan."""
        self.in_hand += 1
        try:
            fault = None if self.faults is None else self.faults.on_request(OVER_WS, path, values)
            if fault is None:
                return act()
            await self._before(fault)
            result = act()
            await self._after(fault)
            return result
        finally:
            self.in_hand -= 1

    def push_owed(self) -> None:
        """An answer has left: push what had to wait for it."""
        if self.pushes_owed:
            self.pushes_owed = False
            self.user_streams.flush()

    async def wait(self, ms: int) -> None:
        """Let market time pass. The request is not in hand meanwhile, else time would never pass."""
        if ms <= 0:
            return
        self.in_hand -= 1
        try:
            await self.clock.sleep(ms / 1000)
        finally:
            self.in_hand += 1

    def authenticate(
        self, security: Security, api_key: str | None, values: Mapping[str, str], payload: Payload
    ) -> tuple[Credential, Window | None]:
        """Whose key this is, and until when a signed request holds."""
        credential = self.keys.find(api_key)
        if security is Security.TRADE and not credential.can_trade:
            raise errors.unknown_key()
        if not security.signed:
            return credential, None
        window = read_window(values)
        text, signature = payload()
        if not credential.verifier.verify(text, signature):
            raise errors.bad_signature()
        window.check(self.clock.now_ms())
        return credential, window

    async def _serve(self, request: Request) -> Served:
        admitted = self._admit(request)
        fault = self._fault(request)
        if fault is not None:
            await self._before(fault)
        outcome = self._carry_out(admitted)
        await self._push_and_answer(fault)
        return self._conclude(admitted, outcome)

    def _admit(self, request: Request) -> _Admitted:
        """Charge the weight; check the number of parameters, the key and the signature."""
        route, params, now_ms = request.route, Params(request.values), self.clock.now_ms()
        weight = route.weigh(params)
        at_api = route.budget is Budget.API
        self.meter.charge(now_ms, weight if at_api else 0)
        _check_number(request)
        account, window = self._identify(request, params)
        sapi_used = 0
        if not at_api:
            whose = account if route.budget is Budget.UID else ""
            sapi_used = self.sapi_meter.charge(now_ms, f"{route.verb} {route.path}", whose, weight)
        return _Admitted(request, params, weight, account, window, sapi_used)

    def _identify(self, request: Request, params: Params) -> tuple[str, Window | None]:
        security = request.route.security
        if security is Security.NONE:
            return "", None
        params.known(*SIGNING_NAMES)
        if request.payload is None:
            window = read_window(request.values)
            window.check(self.clock.now_ms())
            return request.account, window
        credential, signed = self.authenticate(security, request.api_key, request.values, request.payload)
        return credential.account, signed

    def _carry_out(self, admitted: _Admitted) -> Served | errors.ApiError:
        """What the handler makes of it; a refusal is a value, as what it made happen is pushed all the same."""
        request, now_ms = admitted.request, self.clock.now_ms()
        if admitted.window is not None:
            admitted.window.check_age(now_ms)
        over_ws = request.method == OVER_WS
        call = Call(self.engine, self.limits, admitted.account, now_ms, over_ws, self.listen_keys)
        if request.route.budget is not Budget.API:
            self.engine.margin.advance(now_ms)
        try:
            result = request.route.handler(call, admitted.params)
        except Reject as told:
            return self._refusal(open_choices.worded(self.engine.choices, told), call)
        except errors.ApiError as error:
            return error
        return Served(result, call, admitted.sapi_used)

    def _conclude(self, admitted: _Admitted, outcome: Served | errors.ApiError) -> Served:
        if isinstance(outcome, errors.ApiError):
            raise outcome
        route = admitted.request.route
        if route.budget is Budget.API and route.is_free(outcome.result):
            self.meter.refund(self.clock.now_ms(), admitted.weight)
        return outcome

    def _refusal(self, reject: Reject, call: Call) -> errors.ApiError:
        """The engine's refusal; too many orders is a 429 that says when the exceeded window ends."""
        if reject.code != TOO_MANY_ORDERS:
            return errors.ApiError(reject.code, reject.message)
        lengths = {"SECOND": 1_000, "MINUTE": MINUTE_MS, "HOUR": 60 * MINUTE_MS, "DAY": 24 * 60 * MINUTE_MS}
        ends = [
            (call.now_ms // length + 1) * length
            for row in self.engine.order_counts(call.account, call.now_ms)
            if f"{row.limit} orders per {row.interval_num} {row.interval}" in reject.message
            for length in (row.interval_num * lengths[row.interval],)
        ]
        return errors.ApiError(
            reject.code, reject.message, status=429, retry_after_ms=max(ends, default=call.now_ms + 10_000)
        )

    def _fault(self, request: Request) -> RequestFault | None:
        if self.faults is None:
            return None
        return self.faults.on_request(request.method, request.path, request.values)

    async def _push_and_answer(self, fault: RequestFault | None) -> None:
        """Push what the request made happen, now or once its answer has left: `push_owed` is then due."""
        last = self.engine.choices.push_order is PushOrder.AFTER_ANSWER
        if not last:
            self.user_streams.flush()
        try:
            if fault is not None:
                await self._after(fault)
        finally:
            self.pushes_owed = self.pushes_owed or last

    async def _before(self, fault: RequestFault) -> None:
        await self.wait(fault.delay_before_ms)
        if not fault.execute:
            await self._after(fault)
            raise LostError

    async def _after(self, fault: RequestFault) -> None:
        await self.wait(fault.delay_after_ms)
        if fault.disconnect:
            raise LostError
        if fault.answer is not None:
            raise MisledError(fault.answer)


def _check_number(request: Request) -> None:
    """-1101 for more parameters than the endpoint knows; the WebSocket API's requests carry their key among them."""
    known = request.route.parameters
    sent = len(request.values)
    if known is not None and sent > known + (request.method == OVER_WS and "apiKey" in request.values):
        raise errors.too_many_parameters(known, sent)
