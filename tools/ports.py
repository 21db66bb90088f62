"""Ports of loopback, for tests and measurements."""

import secrets
import socket
from typing import Final

_PORTS: Final = range(10_000, 30_000)
"""Below those that systems hand out to connections (from 32768), so that none takes the port before its server does."""


def free_port() -> int:
    """One of loopback that nobody listens on: drawn, so that two processes that ask at once get two."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
