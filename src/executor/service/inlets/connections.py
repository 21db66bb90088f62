"""A bound on the connections of a server that strangers may reach: how many, from whom, and for how long.

It stands between the socket and an HTTP server's own protocol, because a stranger need not get as far as a request to
be a burden: connections that say nothing, or a letter a minute, take places from those who have something to say.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, cast

import msgspec

from executor.service.inlets.access import Address, DeniedError, Networks, address_of, within
from executor.sockets import came_ago_s


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """`per_peer`: connections of one address (a trusted proxy has no such bound); `hear_s`: seconds in which the
    whole request must have come; `life_s`: seconds after which a connection ends in any case.
    """

    total: int = 32
    per_peer: int = 8
    hear_s: float = 5.0
    life_s: float = 15.0


LINGER_S: Final = 0.5
LINGERING_MAX: Final = 32
"""Seconds, and how many connections at a time, that have their refusal left to read."""

SILENT_S: Final = 0.3
"""Who has not said all by then gives way where places are short: a signal takes some milliseconds."""

_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n"
_STRANGER: Final = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def _why(refusal: bytes, peer: Address | None) -> DeniedError:
    if refusal is _FULL:
        return DeniedError(503, "more connections than are taken at once")
    why = f"{peer} is outside WEBHOOK_ALLOW (is it your proxy? WEBHOOK_TRUSTED_PROXY must name it)"
    return DeniedError(403, why)


class ConnectionLimiter:
    """Makes the protocol of each new connection. `heard` is to be told when a request has come whole."""

    def __init__(
        self,
        inner: Callable[[], asyncio.Protocol],
        bounds: Bounds,
        *,
        allowed: Networks = (),
        proxies: Networks = (),
        half_open: bool = False,
        on_denied: Callable[[str, DeniedError], None] = lambda _peer, _denied: None,
    ) -> None:
        """`half_open`: who shuts its own side is answered all the same; `on_denied` hears of each connection that is
        turned away or shown out: whose, and why.
        """
        self.half_open = half_open
        self._on_denied = on_denied
        self.turned_away = 0
        self.shown_out = 0
        self._inner = inner
        self._bounds = bounds
        self._allowed = allowed
        self._proxies = proxies
        self._open: dict[asyncio.Protocol, _Guarded] = {}
        self._left: deque[_Guarded] = deque(maxlen=bounds.total)
        """Those that ended last: what they said may still be worked on."""
        self._peers: Counter[Address | None] = Counter()
        self._lingering = 0

    def __call__(self) -> asyncio.Protocol:
        return _Guarded(self._inner(), self)

    def heard(self, inner: object) -> None:
        guarded = self._open.get(cast("asyncio.Protocol", inner))
        if guarded is not None:
            guarded.heard()

    def said_ago_s(self, inner: object) -> float:
        """How long ago (s) the last of what was said over this connection came to the machine, however late it was
        read. A process that stands still, or has not begun to listen, has connections waiting for it; and who has hung
        up meanwhile is still heard.
        """
        guarded = self._open.get(cast("asyncio.Protocol", inner))
        guarded = guarded or next((each for each in self._left if each.inner is inner), None)
        return 0.0 if guarded is None else asyncio.get_running_loop().time() - guarded.said_at

    def close(self) -> None:
        for guarded in list(self._open.values()):
            guarded.abort()

    def enter(self, guarded: "_Guarded", peer: Address | None) -> bytes:
        """Nothing for one that may come in, else the answer to it."""
        trusted = peer is not None and within(peer, self._proxies)
        refusal = b""
        if self._allowed and not trusted and (peer is None or not within(peer, self._allowed)):
            refusal = _STRANGER
        elif not self._room(peer, trusted=trusted):
            refusal = _FULL
        if refusal:
            self.turned_away += 1
            self._on_denied(str(peer), _why(refusal, peer))
        else:
            self._open[guarded.inner] = guarded
            self._peers[peer] += 1
        return refusal

    def _room(self, peer: Address | None, *, trusted: bool) -> bool:
        """Whether there is a place, if need be that of one that is shown out."""
        if not trusted and self._peers[peer] >= self._bounds.per_peer and not self._show_out_one_of(peer):
            return False
        return len(self._open) < self._bounds.total or self._show_out_one()

    def _show_out_one(self) -> bool:
        """Make room at the cost of whoever holds the most places."""
        peers = sorted(self._peers, key=self._peers.__getitem__, reverse=True)
        return any(self._show_out_one_of(peer) for peer in peers)

    def _show_out_one_of(self, peer: Address | None) -> bool:
        """Make room at the cost of the one that has said nothing whole for the longest; whether there was one."""
        now = asyncio.get_running_loop().time()
        silent = next((each for each in self._open.values() if each.peer == peer and each.silent_for(now)), None)
        if silent is None:
            return False
        self.leave(silent, silent.peer)
        silent.abort()
        self.shown_out += 1
        self._on_denied(str(silent.peer), DeniedError(408, "it said nothing whole, and others wait for its place"))
        return True

    def leave(self, guarded: "_Guarded", peer: Address | None) -> None:
        if self._open.pop(guarded.inner, None) is not None:
            self._left.append(guarded)
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]

    def may_linger(self) -> bool:
        if self._lingering >= LINGERING_MAX:
            return False
        self._lingering += 1
        return True

    def gone(self) -> None:
        self._lingering -= 1

    @property
    def bounds(self) -> Bounds:
        return self._bounds


class _Guarded(asyncio.Protocol):
    """One connection, passed through to the server's protocol while it keeps within the bounds."""

    def __init__(self, inner: asyncio.Protocol, limiter: ConnectionLimiter) -> None:
        self.inner = inner
        self._limiter = limiter
        self._transport: asyncio.Transport | None = None
        self.peer: Address | None = None
        self.said_at = 0.0
        """When the last of what it said came to the machine (the loop's time)."""
        self._entered = 0.0
        self._heard = False
        self._let_in = False
        self._leaving = False
        self._hearing: asyncio.TimerHandle | None = None
        self._living: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        self._heard = True
        if self._hearing is not None:
            self._hearing.cancel()

    def silent_for(self, now: float) -> bool:
        """Whether it has held its place for a while without a whole request."""
        return not self._heard and now - self._entered >= SILENT_S

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self.peer = address_of(name[0]) if name else None
        refusal = self._limiter.enter(self, self.peer)
        if refusal:
            self._turn_away(self._transport, refusal)
            return
        self._let_in = True
        loop, bounds = asyncio.get_running_loop(), self._limiter.bounds
        self._entered = loop.time()
        self._hearing = loop.call_later(bounds.hear_s, self.abort)
        self._living = loop.call_later(bounds.life_s, self.abort)
        self.inner.connection_made(transport)

    def _turn_away(self, transport: asyncio.Transport, refusal: bytes) -> None:
        """Closing at once would reset the connection before a client that is still sending has read why."""
        self._leaving = self._limiter.may_linger()
        if self._leaving:
            transport.write(refusal)
            if transport.can_write_eof():
                transport.write_eof()
            self._living = asyncio.get_running_loop().call_later(LINGER_S, self.abort)
        else:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        for timer in (self._hearing, self._living):
            if timer is not None:
                timer.cancel()
        if self._leaving:
            self._limiter.gone()
        if self._let_in:
            self._limiter.leave(self, self.peer)
            self.inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self._let_in and self._transport is not None:
            self.said_at = asyncio.get_running_loop().time() - came_ago_s(self._transport)
            self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        if not self._let_in:
            return None
        if not self._limiter.half_open:
            return self.inner.eof_received()
        if not self._heard and self._hearing is not None:  # what is whole is heard in a moment, the rest never will be
            self._hearing.cancel()
            self._hearing = asyncio.get_running_loop().call_later(SILENT_S, self.abort)
        return True

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()
