"""Where the exchanges are.

Sources: Binance Spot documents rest-api.md, web-socket-api.md, web-socket-streams.md,
testnet/general-info.md and demo-mode/general-info.md.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

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
