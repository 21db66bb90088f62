"""What goes wrong on the wire, and when the daemon dies: a `FaultPlan` drawn from a seed.

A death is planned for a moment that matters: when a request that changes something has been received, executed or
answered, when a fill has been pushed, in the middle of the start, or just some time. The wall clock is part of every
run, so a seed fixes the mix, not each instant.
"""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import msgspec
from tests.crash import garbage

from executor.paper.server import Answer, PushFault, RequestFault

T = TypeVar("T")

RECV_WINDOW_MS: Final = 1_000
UNAVAILABLE: Final = Answer(503, b'{"code":-1001,"msg":"Internal error; unable to process your request."}')
TIMED_OUT: Final = Answer(504, b'{"code":-1007,"msg":"Timeout waiting for response from backend server."}')
ODD_WORDS: Final = Answer(400, b'{"code":-2010,"msg":"Not at this moment."}', enveloped=True)
ODD_CODE: Final = Answer(400, b'{"code":-9999,"msg":"A code of a later day."}', enveloped=True)


class Moment(StrEnum):
    """What the daemon is in the middle of when it dies."""

    RECEIVED = "request received"
    LOST = "request lost on the way"
    EXECUTED = "request executed, not answered"
    ANSWERED = "request answered"
    FILL = "fill"
    START = "start"
    ANY = "some time"


MOMENTS: Final = tuple(Moment)
_MOMENT_WEIGHTS: Final = (4, 2, 4, 4, 3, 3, 2)


class Death(msgspec.Struct):
    """The `nth` thing of its kind, and then so much later. Delays in seconds."""

    moment: Moment
    nth: int
    delay: float


class Deck(Generic[T]):
    """Cards drawn in any order, each once before any comes again: a campaign meets every kind, however few it draws."""

    def __init__(self, rng: random.Random, cards: Sequence[T]) -> None:
        self._rng = rng
        self._cards = cards
        self._left: list[T] = []

    def draw(self) -> T:
        if not self._left:
            self._left = self._rng.sample(self._cards, len(self._cards))
        return self._left.pop()


class WireFaults:
    """Faults with probability `storm` for each read and push, more for commands, less for prices; deaths as told by
    `plan_death`. `lost_at`: when (ms) a request that changes something was lost, late, or left without a proper answer
    (one that the exchange refused is in doubt then). `garbage`: by the way on which it came.
    """

    def __init__(self, rng: random.Random) -> None:
        self.storm = 0.0
        self.faults: Counter[str] = Counter()
        self.lost_at: list[int] = []
        self._rng = rng
        self.garbage: Counter[str] = Counter()
        self._of_commands = Deck(rng, _FAULTS)
        self._of_reads = {way: Deck(rng, _READ_FAULTS) for way in (REST, WS_API)}
        self._of_pushes = Deck(rng, _PUSH_FAULTS)
        self._of_prices = Deck(rng, _PRICE_FAULTS)
        self._death: Death | None = None
        self._strike: Callable[[Moment], None] | None = None

    def plan_death(self, strike: Callable[[Moment], None], *, started: bool) -> Death:
        """Draw how the next life ends; `strike` is called then. Before `started` only Moment.START can come."""
        while True:
            moment = self._rng.choices(MOMENTS, _MOMENT_WEIGHTS)[0]
            if (moment is Moment.START) != started:
                break
        nth = self._rng.randint(1, 9) if moment is Moment.START else self._rng.choice((1, 1, 1, 2, 2, 3, 4, 5))
        near = moment in (Moment.RECEIVED, Moment.LOST, Moment.EXECUTED)
        delay = 0.0 if near else self._rng.choice((0.0, self._rng.random() * 0.004, self._rng.random() * 0.05))
        self._death = Death(moment, nth, self._rng.random() * 2.5 if moment is Moment.ANY else delay)
        self._strike = strike
        if moment is Moment.ANY:
            self._due()
        return self._death

    def plan_this_death(self, strike: Callable[[Moment], None], moment: Moment, nth: int) -> None:
        """At the `nth` moment of this kind from now on."""
        self._death, self._strike = Death(moment, nth, 0.0), strike

    def forget_death(self) -> None:
        self._death = self._strike = None

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        changes = path.startswith(_CHANGES) if method == "WS" else method != "GET" and _CHANGED.search(path) is not None
        death = self._death
        if death is not None and death.moment is Moment.START and self._counts(death):
            self._die()
        if death is not None and changes and death.moment in _OF_REQUESTS and self._counts(death):
            return self._die_by(death)
        if self._rng.random() >= self.storm * (COMMANDS if changes else 1):
            return None
        way = WS_API if method == "WS" else REST
        name, fault = (self._of_commands if changes else self._of_reads[way]).draw()
        self.faults[name] += 1
        if fault.answer in garbage.ANSWERS.values():
            self.garbage[way] += 1
        lost = not fault.execute or fault.disconnect or fault.answer is not None
        if changes and (lost or fault.delay_before_ms):  # what is late is lost if its sender dies meanwhile
            self.lost_at.append(time.time_ns() // 1_000_000)
        return fault

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        if kind == "market":
            return self._on_price()
        if kind != "user":
            return None
        death = self._death
        if death is not None and event.get("x") == "TRADE" and death.moment is Moment.FILL and self._counts(death):
            self._due()
        if self._rng.random() >= self.storm:
            return None
        return self._drawn(self._of_pushes, USER_STREAM)

    def _on_price(self) -> PushFault | None:
        return self._drawn(self._of_prices, MARKET_STREAM) if self._rng.random() < self.storm * PRICES else None

    def _drawn(self, deck: Deck[tuple[str, PushFault]], way: str) -> PushFault:
        name, fault = deck.draw()
        self.faults[name] += 1
        if fault.instead is not None:
            self.garbage[way] += 1
        return fault

    @staticmethod
    def _counts(death: Death) -> bool:
        death.nth -= 1
        return death.nth == 0

    def _die_by(self, death: Death) -> RequestFault | None:
        match death.moment:
            case Moment.RECEIVED:
                self._die()
                return None
            case Moment.LOST:
                self._die()
                return RequestFault(execute=False, disconnect=True)
            case Moment.EXECUTED:
                # Carried out in this very turn of the event loop; the answer waits until the daemon is gone.
                asyncio.get_running_loop().call_soon(self._die)
                return RequestFault(delay_after_ms=20)
            case _:
                self._due()
                return None

    def _due(self) -> None:
        assert self._death is not None
        if self._death.delay:
            asyncio.get_running_loop().call_later(self._death.delay, self._die, self._death)
        else:
            asyncio.get_running_loop().call_soon(self._die, self._death)

    def _die(self, death: Death | None = None) -> None:
        if self._death is None or self._strike is None or (death is not None and death is not self._death):
            return  # it has died of something else meanwhile
        strike, moment = self._strike, self._death.moment
        self.forget_death()
        strike(moment)


_CHANGES: Final = ("order.place", "order.cancel", "order.amend", "orderList.place", "orderList.cancel")
"""What they begin with over the WebSocket API."""
_CHANGED: Final = re.compile("/order|/borrow-repay")
_OF_REQUESTS: Final = frozenset({Moment.RECEIVED, Moment.LOST, Moment.EXECUTED, Moment.ANSWERED})
REST: Final = "REST"
WS_API: Final = "the WebSocket API"
USER_STREAM: Final = "the user stream"
MARKET_STREAM: Final = "the market stream"
WAYS: Final = (REST, WS_API, USER_STREAM, MARKET_STREAM)
"""On which garbage comes."""

_FAULTS: Final = (
    ("request lost", RequestFault(execute=False, disconnect=True)),
    ("answer lost", RequestFault(disconnect=True)),
    ("5XX, not executed", RequestFault(execute=False, answer=UNAVAILABLE)),
    ("5XX, executed", RequestFault(answer=UNAVAILABLE)),
    ("-1007, executed", RequestFault(answer=TIMED_OUT)),
    ("-1007, not executed", RequestFault(execute=False, answer=TIMED_OUT)),
    ("refused in unknown words", RequestFault(execute=False, answer=ODD_WORDS)),
    ("refused with an unknown code", RequestFault(execute=False, answer=ODD_CODE)),
    ("executed late", RequestFault(delay_before_ms=400)),
    ("executed late, answer lost", RequestFault(delay_before_ms=700, disconnect=True)),
    ("past its window", RequestFault(delay_before_ms=RECV_WINDOW_MS + 200)),
    ("answered late", RequestFault(delay_after_ms=600)),
    *((f"answer {what}", RequestFault(answer=answer)) for what, answer in garbage.ANSWERS.items()),
    *(
        (f"answer {what}, not executed", RequestFault(execute=False, answer=answer))
        for what, answer in garbage.ANSWERS.items()
    ),
)
_READ_FAULTS: Final = (
    ("read lost", RequestFault(disconnect=True)),
    ("read 5XX", RequestFault(answer=UNAVAILABLE)),
    ("read late", RequestFault(delay_after_ms=300)),
    *((f"read {what}", RequestFault(answer=answer)) for what, answer in garbage.ANSWERS.items()),
)
_PUSH_FAULTS: Final = (
    ("push lost", PushFault(copies=0)),
    ("push twice", PushFault(copies=2)),
    ("push late", PushFault(delay_ms=300)),
    *((f"push {what}", PushFault(instead=body)) for what, body in garbage.PUSHES.items()),
)
_PRICE_FAULTS: Final = (
    ("price lost", PushFault(copies=0)),
    ("price late", PushFault(delay_ms=300)),
    *((f"price {what}", PushFault(instead=body)) for what, body in garbage.PUSHES.items()),
)
COMMANDS: Final = 2.0
PRICES: Final = 0.2
"""How much likelier than anything else it is that a command goes wrong, of which there are few; and a price."""
FAULT_NAMES: Final = tuple(name for name, _ in (*_FAULTS, *_READ_FAULTS, *_PUSH_FAULTS, *_PRICE_FAULTS))
