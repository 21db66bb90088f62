"""Where the exchanges are.

Sources: Binance Spot documents rest-api.md, web-socket-api.md, web-socket-streams.md,
testnet/general-info.md and demo-mode/general-info.md.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from executor.config.choices import BinanceEnv


class Endpoints(NamedTuple):
    """Base URLs of an exchange: REST without `/api`, WebSocket API with its path, streams without `/ws`."""

    rest: str
    ws_api: str
    stream: str


ENDPOINTS: Final[Mapping[BinanceEnv, Endpoints]] = {
    BinanceEnv.LIVE: Endpoints(
        "https://api.binance.com", "wss://ws-api.binance.com:443/ws-api/v3", "wss://stream.binance.com:9443"
    ),
    BinanceEnv.TESTNET: Endpoints(
        "https://testnet.binance.vision",
        "wss://ws-api.testnet.binance.vision/ws-api/v3",
        "wss://stream.testnet.binance.vision",
    ),
    BinanceEnv.DEMO: Endpoints(
        "https://demo-api.binance.com",
        "wss://demo-ws-api.binance.com/ws-api/v3",
        "wss://demo-stream.binance.com",
    ),
}

MARGIN_STREAMS: Final[Mapping[BinanceEnv, str]] = {BinanceEnv.LIVE: "wss://margin-stream.binance.com"}
"""The risk stream of cross accounts (margin documents, "Risk Data Stream"). There is no margin on testnet and demo."""

_HOSTS: Final = (
    (BinanceEnv.TESTNET, re.compile(r"(.+\.)?testnet\.binance\.(vision|com)")),
    (BinanceEnv.DEMO, re.compile(r"demo(-[a-z0-9-]+)?\.binance\.com")),
    (BinanceEnv.LIVE, re.compile(r"(.+\.)?(binance\.(com|us|me|tr|vision)|trbinance\.com)")),
)
"""What a host is the address of; the first that fits."""


def environment_of(url: str) -> BinanceEnv | None:
    """Whose address it is, by its host alone; None for one that is not Binance's own: a proxy, a paper exchange."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    return next((env for env, pattern in _HOSTS if pattern.fullmatch(host)), None)
