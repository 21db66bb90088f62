"""Two machines with the same digest trade an account alike."""

import pytest

from executor.config import load_settings
from executor.service.fleet import digest as digests
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


def test_a_setting_that_an_older_version_has_not_makes_none_where_nobody_has_set_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In each roll-out of a version with a new setting all accounts were told to be traded otherwise elsewhere."""
    newer, told = digest(), digest(SL_PCT="0.003")
    monkeypatch.setattr(digests, "_OF_A_MACHINE", digests._OF_A_MACHINE | {"sl_pct"})
    assert digest() == newer
    assert digest() != told


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
