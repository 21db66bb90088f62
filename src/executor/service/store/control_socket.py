"""Where the service of a state listens to commands, and whether one does.

A path beyond the 107 bytes that a socket's address may have (unix(7)) is reached through the folder's own descriptor in
/proc; a name that is still too long gives way to its hash.
"""

import contextlib
import hashlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ADDRESS_MAX: Final = 107
_PEER: Final = struct.Struct("3i")
"""Process, user and group of the other end (SO_PEERCRED in unix(7))."""
_PEERCRED: Final[int | None] = getattr(socket, "SO_PEERCRED", None)


def socket_path(state: Path) -> Path:
    """Where the service of this state listens."""
    real = Path(os.path.realpath(state))
    path = real.with_name(real.name + ".sock")
    # Room for "/proc/self/fd/<number>/" and for ".new" while it is made.
    if len(os.fsencode(path.name)) > ADDRESS_MAX - 32:
        path = path.with_name(hashlib.sha256(os.fsencode(real.name)).hexdigest()[:16] + ".sock")
    return path


@contextlib.contextmanager
def address_of(path: Path) -> Iterator[str]:
    """`path` as an address that fits: itself, or through its folder's descriptor. Raises OSError."""
    if len(os.fsencode(path)) <= ADDRESS_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _process_behind(client: socket.socket) -> int:
    """Raises OSError."""
    if _PEERCRED is None:  # not on this platform
        return 0
    return int(_PEER.unpack(client.getsockopt(socket.SOL_SOCKET, _PEERCRED, _PEER.size))[0])


def listener(state: Path) -> int | None:
    """The process that serves this state; None where nobody does, 0 where it is not known which one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            with address_of(socket_path(state)) as address:
                client.connect(address)
            return _process_behind(client)
        except BlockingIOError:  # so many wait there that no more are taken
            return 0
        except OSError:
            return None
