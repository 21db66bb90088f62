"""What a handler is given, and the row of the routing table that leads to it."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

from executor.paper.engine.exchange import Engine
from executor.paper.server.limits import Limits
from executor.paper.server.listen_keys import ListenKeys
from executor.paper.server.parameters import KNOWN
from executor.paper.server.params import Params

_SIGNING_NAMES: Final = ("timestamp", "recvWindow", "signature")


class Security(Enum):
    """What a request must prove (rest-api.md, "Request Security")."""

    NONE = auto()
    KEY = auto()
    """An API key without a signature."""
    USER_DATA = auto()
    TRADE = auto()

    @property
    def signed(self) -> bool:
        return self in (Security.USER_DATA, Security.TRADE)


def _known(verb: str, path: str, *, signed: bool) -> int | None:
    names = KNOWN.get(f"{verb} {path}")
    return None if names is None else len(names) + (len(_SIGNING_NAMES) if signed else 0)


class Budget(Enum):
    """Which limit a request's weight counts against: that of `/api`, or one of an endpoint of `/sapi` alone."""

    API = auto()
    IP = auto()
    UID = auto()


class Call(msgspec.Struct):
    """One request: the exchange as it is, whose account it concerns (empty for public data), its time, and whether it
    came over the WebSocket API.
    """

    engine: Engine
    limits: Limits
    account: str
    now_ms: int
    over_ws: bool = False
    keys: ListenKeys = msgspec.field(default_factory=ListenKeys)


Handler = Callable[[Call, Params], Any]
"""Reads its parameters, calls `Params.finish`, acts, and returns what becomes JSON. Raises `ApiError` or
`Reject`.
"""

Weigher = Callable[[Params], int]


class Route(msgspec.Struct, frozen=True):
    """One endpoint, for both transports.

    `ws` is None where the WebSocket API has no such method.
    `charges_orders` routes show the unfilled order count; `free` ones cost no weight when they succeed, or when what
    they answer says so.
    """

    verb: str
    path: str
    ws: str | None
    weight: int | Weigher
    security: Security
    handler: Handler
    charges_orders: bool = False
    free: bool | Callable[[Any], bool] = False
    budget: Budget = Budget.API
    parameters: int | None = None
    """How many parameters the endpoint knows, those of a key and a signature among them; None if unlisted."""

    def __post_init__(self) -> None:
        force_setattr(self, "parameters", _known(self.verb, self.path, signed=self.security.signed))

    def is_free(self, answer: Any) -> bool:
        return self.free if isinstance(self.free, bool) else self.free(answer)

    def weigh(self, params: Params) -> int:
        return self.weight if isinstance(self.weight, int) else self.weight(params)
