"""Alerts as JSON by POST to any address, signed where there is a key.

The signature is HMAC-SHA256 in hex over `<time>.<body>`, as for signals that come in: `X-Executor-Time` holds the time
in whole seconds since 1970, `X-Executor-Signature` the signature. `X-Executor-Delivery` names the newest alert of the
message: one that comes twice has the same.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from typing import Final

import httpx
import msgspec

from executor.config import Topic
from executor.ops.alerts import wording
from executor.ops.alerts.channel import NotTakenError
from executor.ops.alerts.queue import Waiting

TIME_HEADER: Final = "X-Executor-Time"
SIGNATURE_HEADER: Final = "X-Executor-Signature"
DELIVERY_HEADER: Final = "X-Executor-Delivery"
ITEMS_MAX: Final = 50
TIMEOUT_S: Final = 10.0
WHOLE_S: Final = 20.0
"""The whole exchange: an answer that comes in drops must not hold up the next alert."""
LONGEST_PAUSE_S: Final = 86_400.0
"""Whoever asks for a longer one is not believed."""
AGAIN_REFUSED_S: Final = 300.0
"""An address that refuses is tried again this often: somebody may mend it."""
_HOPELESS: Final = frozenset({400, 413, 422})
"""What a receiver answers to a body that it does not want, whatever is tried."""


def signature(secret: str, at: int, body: bytes) -> str:
    """The signature of `body`, sent at `at` (s)."""
    return hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()


class WebhookChannel:
    """`http` is not closed here. The address may hold a secret, and is never shown."""

    name = "webhook"

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        secret: str | None = None,
        title: str = "",
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._http = http
        self._url = url
        self._secret = secret
        self._title = title
        self._now_ms = now_ms

    def wants(self, topic: Topic) -> bool:
        del topic  # whoever reads JSON can choose by itself
        return True

    def loud(self, topic: Topic) -> bool:
        del topic
        return True

    def room(self, items: Sequence[Waiting]) -> bool:
        return len(items) <= ITEMS_MAX

    async def send(self, items: Sequence[Waiting]) -> None:
        now = self._now_ms()
        body = msgspec.json.encode(wording.as_json(self._title, items, now))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "executor",
            DELIVERY_HEADER: str(max(each.n for each in items)),
        }
        if self._secret is not None:
            headers |= {TIME_HEADER: str(now // 1000), SIGNATURE_HEADER: signature(self._secret, now // 1000, body)}
        try:
            # What the answer says is not read: only its status matters, and its length is up to the other side.
            async with (
                asyncio.timeout(WHOLE_S),
                self._http.stream("POST", self._url, content=body, headers=headers, timeout=TIMEOUT_S) as answer,
            ):
                pass
        except TimeoutError:
            raise NotTakenError("no whole answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
            raise NotTakenError(type(error).__name__) from None
        if not answer.is_success:
            raise _not_taken(answer)


def _not_taken(answer: httpx.Response) -> NotTakenError:
    why = f"status {answer.status_code}"
    if answer.status_code in _HOPELESS:
        return NotTakenError(why, hopeless=True)
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
        return NotTakenError(why, again_in=_retry_after(answer))
    return NotTakenError(f"{why}: check ALERT_WEBHOOK_URL", again_in=AGAIN_REFUSED_S)


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds, as most say it; a date is left to our own pauses."""
    text = answer.headers.get("Retry-After", "")
    pause = float(text) if text.isascii() and text.isdigit() else None
    return pause if pause is None or pause <= LONGEST_PAUSE_S else None
