"""The seam through which a test makes the wire misbehave.

A `FaultPlan` is asked about each request and each push. It decides; the server carries out. Every fault here
is one that the real exchange's clients meet: an answer that never comes although the order was made, a 5XX
with or without execution, a request that waits until its recvWindow has passed, pushes that come twice, late,
or not at all.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class Answer(msgspec.Struct, frozen=True):
    """What to answer instead of the truth.

    Over the WebSocket API `body` is sent as it is, or, `enveloped`, in an answer with the request's id: as its result
    where `status` is 200, else as its error.
    `retry_after_s` other than 0 says when to try again, as that of a 429 or 418 does.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    enveloped: bool = False
    retry_after_s: int = 0


class RequestFault(msgspec.Struct, frozen=True):
    """What happens to one request. Delays are market time, in milliseconds.

    `execute=False` drops the request before the handler has seen it. `answer` replaces the reply,
    `disconnect` cuts the connection instead of replying.
    """

    delay_before_ms: int = 0
    execute: bool = True
    delay_after_ms: int = 0
    answer: Answer | None = None
    disconnect: bool = False


class PushFault(msgspec.Struct, frozen=True):
    """What happens to one push: sent `copies` times (0 loses it), `delay_ms` of market time later; `instead` replaces
    the whole message.
    """

    copies: int = 1
    delay_ms: int = 0
    instead: bytes | None = None


class FaultPlan(Protocol):
    """Decides which requests and pushes go wrong: None means that all is well, as does a method left out."""

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:  # noqa: ARG002
        """`method` is an HTTP verb with a REST path, or `WS` with a WebSocket API method name."""
        return None

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:  # noqa: ARG002
        """`kind` is `user` for account events, `market` for market streams."""
        return None
