"""How a setting for one symbol is called."""

from typing import Final

SEPARATOR: Final = "__"


def override_key(symbol: str, name: str) -> str:
    """BTCUSDT__QTY_USD, of BTCUSDT and QTY_USD."""
    return f"{symbol}{SEPARATOR}{name}"
