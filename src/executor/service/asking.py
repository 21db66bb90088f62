"""How commands speak to a running service, and with which words: one JSON line asked on its local socket, one answered.

The service's end is `service/inlets/control.py`. What only asks needs neither the loop nor the exchange's client, which
take most of a short command's time to be read.
"""

import socket
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from executor.core.model.events import Resolve
from executor.service.store import codec
from executor.service.store.control_socket import address_of, socket_path

ANSWER_MAX: Final = 4 * 1024 * 1024

NO_MARGIN: Final = "TRADE_MODE is spot: no margin account is traded with"


class TakeoverRequest(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is wanted of which trade; empty where there is only one. Prices in quote per base."""

    how: Resolve
    trade: str = ""
    stop: Decimal | None = None
    targets: tuple[Decimal, ...] = ()


class TakeoverAnswer(msgspec.Struct, frozen=True):
    """`ok`: it can be done, `lines` say what will be; else they say why not. `nothing`: it is about nothing."""

    ok: bool
    lines: tuple[str, ...]
    nothing: bool = False


class Request(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`price`: the new stop of move-stop, quote per base. `count`: the lines of logs, or the trades of trades.
    `takeover`: what propose and resolve are about. `asset`: what repay gives back, all of it or, with `own`, what
    Executor owes. `trade`: flatten closes this one and no other. `about`: the trade, order or signal that why is about;
    empty: the open or the last trade.
    """

    verb: str
    price: Decimal | None = None
    count: int = 50
    takeover: TakeoverRequest | None = None
    asset: str = ""
    own: bool = False
    trade: str = ""
    about: str = ""


class Answer(msgspec.Struct, frozen=True):
    """`ok`: done, or nothing left to do; else `text` says why not. `data`: a status or a check, by verb."""

    ok: bool
    text: str
    data: Any = None


class ControlError(Exception):
    """The service can't be spoken to. The text is for people."""


class NotRunningError(ControlError):
    """No service runs on this state."""


def ask(state: Path, request: Request, *, timeout: float = 30.0) -> Answer:
    """Ask the service of this state. Blocks for at most `timeout` seconds.

    Raises:
        NotRunningError: nobody listens.
        ControlError: the service does not answer, or not to this user; or the request can't be written.
    """
    path = socket_path(state)
    try:
        asked = codec.encode(request) + b"\n"
    except codec.CodecError as error:
        raise ControlError(f"not a request: {error}") from error
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            with address_of(path) as address:
                client.connect(address)
            client.sendall(asked)
            line = _line(client)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunningError(f"no service runs on {state} (nobody listens on {path})") from error
        except TimeoutError as error:
            raise ControlError(f"the service on {path} did not answer within {timeout:.0f} s") from error
        except PermissionError as error:
            raise ControlError(f"{path} may be used by the service's own user only: run this as that user") from error
        except OSError as error:
            raise ControlError(f"{path} can't be used: {error.strerror or error}") from error
    try:
        return codec.decode(line, type=Answer)
    except codec.CodecError as error:
        raise ControlError(f"the service on {path} gave no answer that can be read: {error}") from error


def _line(client: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n") and len(received) <= ANSWER_MAX:
        part = client.recv(65536)
        if not part:
            break
        received += part
    return bytes(received)
