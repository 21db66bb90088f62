"""Who may send a signal over the network, and how often. Pure but for the time, which is handed in.

A secret is compared in constant time. A signature is an HMAC-SHA256, in hex, over `<time>.<body>`, where the time is in
whole seconds since the epoch: it holds for a short while on either side of that, and once.
"""

import hashlib
import hmac
import ipaddress
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

SECRET_HEADER: Final = "X-Webhook-Secret"  # noqa: S105  a name, no secret
TIME_HEADER: Final = "X-Webhook-Time"
SIGNATURE_HEADER: Final = "X-Webhook-Signature"
FORWARDED_HEADER: Final = "X-Forwarded-For"

SOURCES_MAX: Final = 4096
_TIME_DIGITS_MAX: Final = 12
_BRACKETED: Final = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?")

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


class DeniedError(Exception):
    """A request that goes no further. `status`: HTTP's; `retry_after`: seconds, where it may be sent again."""

    def __init__(self, status: int, why: str, retry_after: int = 0) -> None:
        super().__init__(why)
        self.status = status
        self.retry_after = retry_after


def address_of(text: str) -> Address | None:
    """An IP address, an IPv4 one in IPv6's clothes as what it is; None when it is none."""
    try:
        found = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def hop_of(text: str) -> Address | None:
    """The address of a hop as proxies write it: bare, or with its port, an IPv6 one then in brackets."""
    text = text.strip().strip('"')
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed is not None:
        return address_of(bracketed[1])
    host, colon, port = text.rpartition(":")
    if colon and ":" not in host and port.isascii() and port.isdigit():
        return address_of(host)
    return address_of(text)


def within(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)


def source_of(peer: Address, forwarded: Iterable[str], proxies: Networks) -> Address:
    """Whose request it is: the peer's, or, where the peer is a proxy to be trusted, that of the last address which
    was forwarded and is not such a proxy's. What anybody else says of themselves counts for nothing.
    """
    if not within(peer, proxies):
        return peer
    hops = [hop for header in forwarded for hop in header.split(",")]
    for hop in reversed(hops):
        address = hop_of(hop)
        if address is None:
            return peer  # a proxy that forwards nonsense is the source itself
        if not within(address, proxies):
            return address
    return peer


class Bucket:
    """`per_minute` tokens at once, and as many again each minute."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._size = float(per_minute)
        self._tokens = self._size
        self._at = now

    def take(self, now: float) -> float:
        """0 when a token was there, else the seconds until one is."""
        rate = self._size / 60
        self._tokens = min(self._size, self._tokens + max(0.0, now - self._at) * rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / rate


class Rates:
    """One bucket for each source: an IPv4 address, or the /64 that an IPv6 one lies in. The stalest are forgotten."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[object, Bucket] = OrderedDict()

    def take(self, source: Address, now: float) -> float:
        """0 when the source may go on, else the seconds until it may."""
        key = source if isinstance(source, IPv4Address) else int(source) >> 64
        bucket = self._buckets.pop(key, None) or Bucket(self._per_minute, now)
        self._buckets[key] = bucket
        if len(self._buckets) > SOURCES_MAX:
            self._buckets.popitem(last=False)
        return bucket.take(now)


class Keys:
    """The secret, the key of signatures, or both: either of those that are set opens."""

    def __init__(self, secret: str | None, hmac_key: str | None, window_s: int) -> None:
        """Raises ValueError without either."""
        if not secret and not hmac_key:
            raise ValueError("a webhook without a secret would be open to anybody")
        self._secret = hashlib.sha256(secret.encode()).digest() if secret else None
        self._hmac_key = hmac_key.encode() if hmac_key else None
        self._window_s = window_s
        self._used: dict[bytes, float] = {}

    def check(self, headers: Mapping[str, str], body: bytes, shown: str, now: float) -> bytes:
        """`shown`: the secret in the body, `now`: seconds since the epoch; what is to be spent, empty for a secret.

        Raises DeniedError.
        """
        signature = headers.get(SIGNATURE_HEADER)
        if signature is not None and self._hmac_key is not None:
            return self._check_signature(signature, headers.get(TIME_HEADER, ""), body, now)
        given = headers.get(SECRET_HEADER) or shown
        if self._secret is None:
            raise DeniedError(401, f"signed requests only: {SIGNATURE_HEADER} and {TIME_HEADER} are missing")
        # Digests: equally long whatever was given, so that not even the secret's length is told.
        told = hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()
        if not hmac.compare_digest(told, self._secret):
            raise DeniedError(401, "the secret is missing or wrong")
        return b""

    def spend(self, signature: bytes, now: float) -> None:
        """Let a signature count no more, once its request has had its effect: one that was put off may come again."""
        self._used = {known: until for known, until in self._used.items() if until >= now}
        if signature:
            self._used[signature] = now + 2 * self._window_s

    def _check_signature(self, signature: str, time: str, body: bytes, now: float) -> bytes:
        assert self._hmac_key is not None
        sound = time.isascii() and time.isdecimal() and len(time) <= _TIME_DIGITS_MAX
        ours = hmac.new(self._hmac_key, f"{time if sound else ''}.".encode() + body, hashlib.sha256)
        given = signature.strip().lower().removeprefix("sha256=").encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(given, ours.hexdigest().encode()) or not sound:
            raise DeniedError(401, f"the signature is not that of {TIME_HEADER} and this body")
        if abs(now - int(time)) > self._window_s:
            raise DeniedError(401, f"signed {now - int(time):.0f} s ago, at most {self._window_s} s are allowed")
        if ours.digest() in self._used:
            raise DeniedError(409, "this request was made before")
        return ours.digest()
