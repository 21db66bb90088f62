"""WebSocket messages that come whole: a text in one frame is read here, everything else by the HTTP library.

As in `plain_http`, that is nearly all there is, and reading it here takes no turn of the event loop. A frame that is
not plain (a part of a message, a long one, no UTF-8, what breaks the protocol) makes the connection the library's from
then on; pings and pongs are passed to it one by one.
"""

import asyncio
from collections.abc import Callable
from typing import Final

_TEXT: Final = 0x81
_PING_AND_PONG: Final = (0x89, 0x8A)
_MASKED: Final = 0x80
_SHORT_MAX: Final = 125
_LENGTH_IN_TWO: Final = 126


class PlainFrames(asyncio.Protocol):
    """One connection whose handshake is done. `general` is the library's protocol, `receive` takes each text."""

    def __init__(self, transport: asyncio.Transport, general: asyncio.Protocol, receive: Callable[[str], None]) -> None:
        self._transport = transport
        self._general = general
        self._receive = receive
        self._unread = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._general.connection_lost(exc)

    def pause_writing(self) -> None:
        self._general.pause_writing()

    def resume_writing(self) -> None:
        self._general.resume_writing()

    def eof_received(self) -> bool | None:
        return self._general.eof_received()

    def data_received(self, data: bytes) -> None:
        data = self._unread + data if self._unread else data
        while len(data) > 1:
            short = data[1] ^ _MASKED  # the length, if the frame is masked and short
            if short <= _SHORT_MAX:
                start = 6
                end = start + short
            elif short == _LENGTH_IN_TWO and data[0] == _TEXT:
                start = 8
                end = start + int.from_bytes(data[2:4], "big")
            else:
                self._hand_over(data)
                return
            if len(data) < start or len(data) < end:
                break
            if data[0] == _TEXT:
                try:
                    text = _unmasked(data[start:end], data[start - 4 : start]).decode()
                except UnicodeDecodeError:
                    self._hand_over(data)
                    return
                self._receive(text)
            elif data[0] in _PING_AND_PONG:
                self._general.data_received(data[:end])
            else:
                self._hand_over(data)
                return
            data = data[end:]
        self._unread = data

    def _hand_over(self, data: bytes) -> None:
        self._transport.set_protocol(self._general)
        self._general.data_received(data)


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """RFC 6455, section 5.3."""
    length = len(payload)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")
