"""What etcd's gateway answers, as far as it is read here. Pure.

Numbers of 64 bits come as text, keys and values in base64. Whatever else the bytes are is `Unreadable`: a node behind a
proxy, or another program on its port, may say anything.
"""

from typing import Annotated, TypeVar

import msgspec

T = TypeVar("T")

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Unsigned = Annotated[int, msgspec.Meta(ge=0)]


class Unreadable(ValueError):  # noqa: N818  (it says what the bytes are)
    """Not the answer that was asked for. The text says why."""


class Header(msgspec.Struct, frozen=True):
    cluster_id: Unsigned = 0
    member_id: Unsigned = 0
    revision: Number = 0


class KeyValue(msgspec.Struct, frozen=True):
    key: bytes
    value: bytes = b""
    create_revision: Number = 0
    mod_revision: Number = 0
    lease: Number = 0

    def __post_init__(self) -> None:
        self.key.decode()  # all of ours are text


class Done(msgspec.Struct, frozen=True):
    """Of a call of which nothing else is read."""

    header: Header = Header()


class Found(msgspec.Struct, frozen=True):
    """Nothing is left out where nothing is found: that a key is not there is a fact."""

    kvs: tuple[KeyValue, ...] = ()
    count: Number = 0

    def __post_init__(self) -> None:
        if self.count and not self.kvs:
            raise ValueError(f"{self.count} keys were found, and none is told")


class Ranged(Found, frozen=True, kw_only=True):
    header: Header

    def __post_init__(self) -> None:
        super().__post_init__()
        _revised(self.header)


class Response(msgspec.Struct, frozen=True):
    """Of one operation of a transaction; None for one that is no range."""

    response_range: Found | None = None


class Transacted(msgspec.Struct, frozen=True):
    header: Header
    succeeded: bool = False
    responses: tuple[Response, ...] = ()

    def __post_init__(self) -> None:
        _revised(self.header)


class Granted(msgspec.Struct, frozen=True):
    ID: Number
    TTL: Number = 0
    header: Header = Header()


class Lasts(msgspec.Struct, frozen=True):
    ID: Number = 0
    TTL: Number = 0
    header: Header = Header()


class KeptAlive(msgspec.Struct, frozen=True):
    """A lease that is gone lasts 0; an answer without a result says nothing of it."""

    result: Lasts


class Member(msgspec.Struct, frozen=True):
    ID: Unsigned
    name: str = ""
    clientURLs: tuple[str, ...] = ()  # noqa: N815  (the field's own name)
    isLearner: bool = False  # noqa: N815


class Members(msgspec.Struct, frozen=True):
    members: tuple[Member, ...] = ()
    header: Header = Header()


class Status(msgspec.Struct, frozen=True):
    header: Header = Header()
    version: str = ""
    leader: Unsigned = 0
    dbSize: Number = 0  # noqa: N815
    errors: tuple[str, ...] = ()


class Alarm(msgspec.Struct, frozen=True):
    alarm: str = "unknown"


class Alarms(msgspec.Struct, frozen=True):
    alarms: tuple[Alarm, ...] = ()


class Event(msgspec.Struct, frozen=True):
    kv: KeyValue
    type: str = ""


class Watched(msgspec.Struct, frozen=True):
    header: Header = Header()
    canceled: bool = False
    compact_revision: Number = 0
    cancel_reason: str = ""
    events: tuple[Event, ...] = ()


class WatchLine(msgspec.Struct, frozen=True):
    result: Watched = Watched()


class Fault(msgspec.Struct, frozen=True):
    """`code` is gRPC's; etcd's own errors have one."""

    error: str = ""
    message: str = ""
    code: int = 0


def _revised(header: Header) -> None:
    """Epochs are made of revisions: an answer without one is none. Raises ValueError."""
    if not header.revision:
        raise ValueError("no revision")


def read(data: bytes, kind: type[T]) -> T:
    """Raises Unreadable."""
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unreadable(f"{error!s:.200}") from None


def cluster_of(told: object) -> int:
    """Which cluster's an answer is; 0 where it does not say."""
    header = getattr(getattr(told, "result", told), "header", None)
    return header.cluster_id if isinstance(header, Header) else 0


def words_in(data: bytes) -> str:
    """What etcd says in an answer that is an error; empty where it is none of etcd's."""
    try:
        fault = read(data, Fault)
    except Unreadable:
        return ""
    if not fault.code:
        return ""
    return " ".join((fault.error or fault.message).split())[:300]
