"""Faults that are put in while the exchange runs: rules for requests and for pushes, the first that fits applies.

A rule holds a number of times, or for a time, or until it is cleared. Those of requests are about an endpoint,
whichever transport it is asked over.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

import msgspec
import orjson
from msgspec import Meta

from executor.paper.replay.clock import Clock
from executor.paper.server.faults import Answer, PushFault, RequestFault
from executor.paper.server.routes import by_method

_ROUTES: Final = by_method()
Milliseconds = Annotated[int, Meta(ge=0, le=3_600_000)]


class RequestRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What goes wrong with which requests.

    `request` is a pattern of `VERB /path` as in the REST documentation (`POST /api/v3/order*`), or of a method of a
    connection's own (`userDataStream.*`). It holds `times` times, or for `seconds` if they are not 0. `status` other
    than 0 is answered in the exchange's stead, with `code` and `msg`; `disconnect` answers nothing.
    """

    request: str = "*"
    times: Annotated[int, Meta(ge=1)] = 1
    seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0
    execute: bool = True
    delay_before_ms: Milliseconds = 0
    delay_after_ms: Milliseconds = 0
    disconnect: bool = False
    status: Annotated[int, Meta(ge=0, le=599)] = 0
    code: int = -1001
    msg: str = "Internal error; unable to process your request. Please try again."
    retry_after_s: Annotated[int, Meta(ge=0, le=259_200)] = 0

    def fault(self) -> RequestFault:
        return RequestFault(
            delay_before_ms=self.delay_before_ms,
            execute=self.execute,
            delay_after_ms=self.delay_after_ms,
            answer=self._answer(),
            disconnect=self.disconnect,
        )

    def _answer(self) -> Answer | None:
        if not self.status:
            return None
        body = orjson.dumps({"code": self.code, "msg": self.msg})
        return Answer(self.status, body, enveloped=True, retry_after_s=self.retry_after_s)


class PushRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens to which pushes: `kind` is `user` or `market`, `event` a pattern of its `e`."""

    kind: str = "*"
    event: str = "*"
    times: Annotated[int, Meta(ge=1)] = 1
    seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0
    copies: Annotated[int, Meta(ge=0, le=10)] = 0
    delay_ms: Milliseconds = 0


Rule = RequestRule | PushRule


class _Held(msgspec.Struct):
    """A rule at work: how often it still holds, and until when (ms; 0 for no end)."""

    rule: Rule
    left: int
    until_ms: int


class InjectedFaults:
    """A fault plan that can be changed at any time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: list[_Held] = []
        self.met = 0
        """How many requests and pushes went wrong so far."""

    def add(self, rule: Rule) -> None:
        lasts = rule.seconds > 0
        until = self._clock.now_ms() + round(rule.seconds * 1000) if lasts else 0
        self._held.append(_Held(rule, 0 if lasts else rule.times, until))

    def clear(self) -> None:
        self._held.clear()

    def rules(self) -> list[Rule]:
        """Those that still hold, oldest first."""
        now_ms = self._clock.now_ms()
        self._held = [held for held in self._held if held.left > 0 or held.until_ms > now_ms]
        return [held.rule for held in self._held]

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        del params
        route = _ROUTES.get(path)
        name = f"{route.verb} {route.path}" if route is not None else path if method == "WS" else f"{method} {path}"
        rule = self._take(lambda rule: isinstance(rule, RequestRule) and fnmatchcase(name, rule.request))
        return rule.fault() if isinstance(rule, RequestRule) else None

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        name = str(event.get("e", ""))
        rule = self._take(
            lambda rule: isinstance(rule, PushRule) and fnmatchcase(kind, rule.kind) and fnmatchcase(name, rule.event)
        )
        return PushFault(copies=rule.copies, delay_ms=rule.delay_ms) if isinstance(rule, PushRule) else None

    def _take(self, fits: Callable[[Rule], bool]) -> Rule | None:
        now_ms = self._clock.now_ms()
        for held in self._held:
            if (held.left > 0 or held.until_ms > now_ms) and fits(held.rule):
                held.left = max(0, held.left - 1)
                self.met += 1
                return held.rule
        return None
