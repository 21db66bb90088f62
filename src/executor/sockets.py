"""Sockets that the service listens on."""

import asyncio
import socket
import struct
import sys
from typing import Final

_LAST_CAME: Final = struct.Struct("=52xI")
"""Of tcp_info (tcp(7)): eight bytes, eleven numbers, and how long ago (ms) data came last."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the first address of `host`, not blocking. Raises OSError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except UnicodeError as error:  # a label of more than 63 characters, or an empty one
        raise OSError(f"no host's name: {error}") from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def came_ago_s(transport: asyncio.BaseTransport) -> float:
    """How long ago (s) the last that came over this connection came to the machine, however late it is read; 0 where
    the system does not tell.
    """
    connected = transport.get_extra_info("socket")
    if connected is None or sys.platform != "linux":
        return 0.0
    try:
        found = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_CAME.size)
        return float(_LAST_CAME.unpack(found)[0]) / 1000
    except (OSError, struct.error):  # a connection of another kind, or of an older system
        return 0.0
