"""API keys and the proof that a request was made by their owner (rest-api.md, "Request Security").

Three kinds of key: HMAC-SHA256 with a shared secret, RSA and Ed25519 with a public key. What is signed
differs by transport: REST signs the query string directly followed by the body, exactly as sent and without
`signature`; the WebSocket API signs its parameters sorted by name, joined as `k=v` with `&`, not
percent-encoded.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import unquote

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from executor.paper.server import errors
from executor.paper.server.params import FIRST_IN_MICROSECONDS

RECV_WINDOW_DEFAULT_MS: Final = 5_000
RECV_WINDOW_MAX_MS: Final = 60_000
AHEAD_MAX_MS: Final = 1_000
"""A timestamp must be less than this far ahead of the server's clock (rest-api.md, "Timing security")."""

_KEY_FORMAT: Final = re.compile(r"^[A-Za-z0-9_-]{1,128}$")
_RECV_WINDOW: Final = re.compile(r"^[0-9]{1,20}(\.[0-9]{1,3})?$")


class Verifier(Protocol):
    """Knows one key's secret or public half."""

    def verify(self, payload: bytes, signature: str) -> bool:
        """Whether `signature` (hex or base64, as sent) belongs to `payload`."""


class HmacSecret:
    """A shared secret; signatures are hex, in either case."""

    def __init__(self, secret: str) -> None:
        self._keyed = hmac.new(secret.encode(), digestmod=sha256)  # a copy of it takes a third of the time

    def verify(self, payload: bytes, signature: str) -> bool:
        expected = self._keyed.copy()
        expected.update(payload)
        return hmac.compare_digest(expected.hexdigest().encode(), signature.lower().encode())


class PublicKey:
    """An RSA or Ed25519 public key; signatures are base64."""

    def __init__(self, pem: str) -> None:
        key = load_pem_public_key(pem.encode())
        if not isinstance(key, RSAPublicKey | Ed25519PublicKey):
            raise TypeError(f"an RSA or Ed25519 public key is needed, not {type(key).__name__}")
        self._key = key

    @property
    def may_log_on(self) -> bool:
        """Only Ed25519 keys may open a WebSocket session (web-socket-api.md, "Session Authentication")."""
        return isinstance(self._key, Ed25519PublicKey)

    def verify(self, payload: bytes, signature: str) -> bool:
        try:
            raw = base64.b64decode(signature, validate=True)
            if isinstance(self._key, RSAPublicKey):
                self._key.verify(raw, payload, PKCS1v15(), SHA256())
            else:
                self._key.verify(raw, payload)
        except (InvalidSignature, ValueError):
            return False
        return True


class Credential(msgspec.Struct, frozen=True):
    """One API key: whose it is, how it signs, and whether it may trade."""

    account: str
    verifier: Verifier
    can_trade: bool = True

    @property
    def may_log_on(self) -> bool:
        return isinstance(self.verifier, PublicKey) and self.verifier.may_log_on


class Keyring:
    """The keys the exchange knows."""

    def __init__(self, keys: Mapping[str, Credential]) -> None:
        self._keys = dict(keys)

    def find(self, api_key: str | None) -> Credential:
        """The key's credential; -2014 when it cannot be a key, -2015 when it is not one of ours."""
        found = None if api_key is None else self._keys.get(api_key)
        if found is not None:
            return found
        if api_key is None or not _KEY_FORMAT.match(api_key):
            raise errors.bad_key_format()
        raise errors.unknown_key()


class Window(msgspec.Struct, frozen=True):
    """How long a signed request may be carried out. Times in milliseconds."""

    timestamp_ms: float
    recv_window_ms: float

    def check(self, now_ms: int) -> None:
        """The check on receipt: neither ahead of the server nor too old (-1021)."""
        if self.timestamp_ms >= now_ms + AHEAD_MAX_MS:
            raise errors.ahead_of_server()
        self.check_age(now_ms)

    def check_age(self, now_ms: int) -> None:
        """The check before the matching engine: only the age counts (-1021)."""
        if now_ms - self.timestamp_ms > self.recv_window_ms:
            raise errors.outside_recv_window()


def read_window(values: Mapping[str, str]) -> Window:
    """`timestamp` (milliseconds or microseconds) and `recvWindow` of a signed request."""
    stamp = values.get("timestamp")
    if not stamp:
        raise errors.missing("timestamp")
    if not stamp.isdecimal() or len(stamp) > 20:
        raise errors.illegal_characters("timestamp", r"^[0-9]{1,20}$")
    timestamp: float = int(stamp)
    if timestamp >= FIRST_IN_MICROSECONDS:
        timestamp /= 1000
    width = values.get("recvWindow")
    if width is None:
        return Window(timestamp, RECV_WINDOW_DEFAULT_MS)
    if not _RECV_WINDOW.match(width):
        raise errors.illegal_characters("recvWindow", r"^[0-9]{1,20}(\.[0-9]{1,3})?$")
    recv_window = float(width)
    if recv_window > RECV_WINDOW_MAX_MS:
        raise errors.too_great("recvWindow", RECV_WINDOW_MAX_MS)
    return Window(timestamp, recv_window)


def split_signature(text: str) -> tuple[str, str | None]:
    """A query string or form body without its `signature`, and the signature, percent-decoded."""
    if "signature=" not in text:
        return text, None
    before, _, last = text.rpartition("&")
    if last.startswith("signature=") and "signature=" not in before:  # where nearly everybody puts it
        return before, unquote(last[len("signature=") :])
    kept: list[str] = []
    signature: str | None = None
    for part in text.split("&"):
        if part.startswith("signature="):
            signature = unquote(part[len("signature=") :])
        else:
            kept.append(part)
    return "&".join(kept), signature


def rest_payload(query: str, body: str) -> tuple[bytes, str]:
    """What was signed, and the signature. A missing signature is -1102."""
    query, in_query = split_signature(query)
    body, in_body = split_signature(body)
    signature = in_query or in_body
    if not signature:
        raise errors.missing("signature")
    return (query + body).encode(), signature


def ws_payload(values: Mapping[str, str]) -> tuple[bytes, str]:
    """What was signed, and the signature. A missing signature is -1102."""
    signature = values.get("signature")
    if not signature:
        raise errors.missing("signature")
    pairs = sorted((k, v) for k, v in values.items() if k != "signature")
    return "&".join(f"{k}={v}" for k, v in pairs).encode(), signature
