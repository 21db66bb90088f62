"""A daemon that suspends itself at a chosen moment, as SIGSTOP or a machine that is moved would: `become` in a fork.

`SUSPEND_AT="turn exit"`: when the first request of that kind has its turn; it has been decided and is on disk, and its
age has not been looked at. `SUSPEND_AT="wire exit"`: when it has been looked at, and the first byte is about to leave.
Kinds: `entry`, `exit`, `cancel`, `replace`. It goes on when somebody sends SIGCONT.
"""

import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from executor.core.model.events import AnyEvent
from executor.core.model.ids import ENTRIES, parse
from executor.core.model.intents import CancelList, CancelOrder, PlaceOrder, ReplaceOrder, Request, names
from executor.exchange.port import Exchange
from executor.exchange.transport.client import BinanceClient
from executor.exchange.transport.order_link import OrderLink
from executor.exchange.wire.answer import Answer, Attempt
from executor.exchange.wire.calls import Call, Urgency
from executor.service import dispatcher, loop

SETTING: Final = "SUSPEND_AT"
TAKES_EFFECT_S: Final = 0.2


def arrange(environ: dict[str, str]) -> None:
    """Have this process suspend itself as `environ` says, if it does."""
    wish = environ.pop(SETTING, "")
    if wish:
        where, kind = wish.split()
        (_at_its_turn if where == "turn" else _at_the_wire)(kind)


def _at_its_turn(kind: str) -> None:
    original: Callable[[Exchange, Request], Awaitable[AnyEvent]] = dispatcher.perform
    stop = _once(lambda request: _kind(request) == kind)

    async def perform(exchange: Exchange, request: Request) -> AnyEvent:
        stop(request)
        return await original(exchange, request)

    loop.perform = perform  # type: ignore[attr-defined]


def _at_the_wire(kind: str) -> None:
    stop = _once(lambda call, params: call.urgency is Urgency.COMMAND and _kind_on_the_wire(call, params) == kind)
    for way in (BinanceClient, OrderLink):
        original = way.call

        async def call(
            self: Any, call: Call, params: Mapping[str, str], attempt: Attempt, original: Any = original
        ) -> Answer:
            stop(call, params)
            answer: Answer = await original(self, call, params, attempt)
            return answer

        way.call = call  # type: ignore[method-assign]


def _once(wanted: Callable[..., bool]) -> Callable[..., None]:
    left = [1]

    def stop(*about: Any) -> None:
        if left[0] and wanted(*about):
            left[0] = 0
            asked = time.monotonic()
            os.kill(os.getpid(), signal.SIGSTOP)
            while time.monotonic() - asked < TAKES_EFFECT_S:  # the whole process stands still a moment after the call
                time.sleep(0.01)

    return stop


def _kind(request: Request) -> str:
    if isinstance(request, ReplaceOrder):
        return "replace"
    if isinstance(request, CancelOrder | CancelList):
        return "cancel"
    name = parse(next(iter(names(request)), ""))
    if name is None:
        return ""
    return "entry" if isinstance(request, PlaceOrder) and name.role in ENTRIES else "exit"


def _kind_on_the_wire(call: Call, params: Mapping[str, str]) -> str:
    if call.path == "order/cancelReplace":
        return "replace"
    if call.method == "delete":
        return "cancel"
    name = parse(params.get("newClientOrderId", ""))
    return "entry" if name is not None and name.role in ENTRIES else "exit"
