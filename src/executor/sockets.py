"""Sockets that the service listens on."""

import socket


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
