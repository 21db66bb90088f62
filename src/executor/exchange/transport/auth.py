"""Where Binance is, who asks, and the signature that proves it.

A secret enters here and never leaves: no attribute, repr or error text shows it.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

import msgspec

from executor.exchange.port import StartError


class Endpoints(msgspec.Struct, frozen=True):
    """Base URLs: REST without its `/api`, the WebSocket API in full, streams without `/ws` or `/stream`."""

    rest_url: str
    ws_api_url: str
    stream_url: str


LIVE: Final = Endpoints(
    "https://api.binance.com", "wss://ws-api.binance.com:443/ws-api/v3", "wss://stream.binance.com:9443"
)
TESTNET: Final = Endpoints(
    "https://testnet.binance.vision",
    "wss://ws-api.testnet.binance.vision/ws-api/v3",
    "wss://stream.testnet.binance.vision",
)
DEMO: Final = Endpoints(
    "https://demo-api.binance.com",
    "wss://demo-ws-api.binance.com/ws-api/v3",
    "wss://demo-stream.binance.com",
)


class Credentials:
    """An API key and what signs for it: an HMAC secret, or an Ed25519 or RSA private key.

    Source: faqs/api_key_types.md.
    """

    __slots__ = ("_sign", "api_key", "kind")

    def __init__(self, api_key: str, kind: str, sign: Callable[[bytes], str]) -> None:
        self.api_key = _header_safe("API key", api_key)
        self.kind = kind
        self._sign = sign

    @classmethod
    def hmac(cls, api_key: str, api_secret: str) -> "Credentials":
        """Raises `StartError` when either is empty or holds what no key holds."""
        secret = _header_safe("API secret", api_secret).encode()
        keyed = hmac.new(secret, digestmod=hashlib.sha256)  # a copy of it signs in a third of the time

        def sign(payload: bytes) -> str:
            signing = keyed.copy()
            signing.update(payload)
            return signing.hexdigest()

        return cls(api_key, "HMAC", sign)

    @classmethod
    def private_key(cls, api_key: str, pem: str, passphrase: str | None = None) -> "Credentials":
        """`pem` may have any line endings, and may be encrypted with `passphrase`.

        Raises `PrivateKeyError`, a `StartError`, when it is not an Ed25519 or RSA private key, or the passphrase does
        not fit.
        """
        from executor.exchange.transport.pem import signer  # noqa: PLC0415  (a large library, and most keys are HMAC)

        return cls(api_key, *signer(pem, passphrase))

    def sign(self, payload: str) -> str:
        """Hex for HMAC, base64 for Ed25519 and RSA; to be percent-encoded in a URL or form."""
        return self._sign(payload.encode())

    def __repr__(self) -> str:
        return f"Credentials({self.kind}, hidden)"

    def __reduce__(self) -> str:
        raise TypeError("credentials are not to be copied or stored")


def _header_safe(name: str, value: str) -> str:
    value = value.strip()
    if not value:
        raise StartError(f"the {name} is empty")
    if not all("!" <= letter <= "~" for letter in value):
        raise StartError(f"the {name} must be printable ASCII without spaces")
    return value
