"""Two machines with the same digest trade an account alike."""

import pytest

from executor.config import load_settings
from executor.service.fleet.digest import digest_of

BASE = {"BINANCE_ENV": "testnet", "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s", "SYMBOL": "LTCUSDT"}


def digest(**more: str) -> str:
    return digest_of(load_settings({**BASE, **more}, None))


@pytest.mark.parametrize(
    "own",
    [
        {"STATE_FN": "/elsewhere/{symbol}.json"},
        {"HTTP_PORT": "9000"},
        {"SIGNAL_FILE": "/elsewhere/signals.jsonl"},
        {"ORDER_TRANSPORT": "rest"},
        {"BINANCE_REST_URL": "http://127.0.0.1:1"},
        {"LOG_FORMAT": "json"},
        {"SYMBOL": "", "SYMBOLS": "LTCUSDT", "STATE_FN": "{symbol}.json"},
    ],
)
def test_what_belongs_to_a_machine_makes_no_difference(own: dict[str, str]) -> None:
    assert digest(**own) == digest()


@pytest.mark.parametrize(
    "own",
    [
        {"QTY_USD": "50"},
        {"SL_PCT": "0.003"},
        {"BINANCE_API_KEY": "another"},
        {"MAX_SIGNAL_AGE_SEC": "5"},
        {"RECV_WINDOW": "2500"},
        {"SYMBOL": "BTCUSDT"},
        {"SYMBOL": "", "SYMBOLS": "LTCUSDT,BTCUSDT", "STATE_FN": "{symbol}.json"},
        {"LTCUSDT__QTY_USD": "50"},
    ],
)
def test_what_is_traded_and_how_does(own: dict[str, str]) -> None:
    assert digest(**own) != digest()
