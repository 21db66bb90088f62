"""What an account's settings come to in a few letters: two machines with the same digest trade it alike.

What is as it is when nobody sets it is not in it, so that versions of which one has a setting more come to the same.
What belongs to a machine (its files, ports, ways out) is not in it. The key is, so that a wrong one shows; not to be
guessed from a hash, being 64 random letters.
"""

import hashlib
from typing import Final

import msgspec

from executor.config import Settings
from executor.config.settings import (
    AlertSettings,
    FileSettings,
    FleetSettings,
    OperationSettings,
    PaperSettings,
    WebhookSettings,
)

LENGTH: Final = 12
_OF_A_MACHINE: Final = frozenset(
    [
        "binance_rest_url",
        "binance_ws_api_url",
        "binance_stream_url",
        "binance_api_secret",
        "binance_private_key_file",
        "binance_private_key_passphrase",
        "order_transport",
        "signal_file",
        "signal_start",
        "symbol",
        "symbols",
    ]
).union(
    *(
        group.model_fields
        for group in (
            AlertSettings,
            FileSettings,
            FleetSettings,
            OperationSettings,
            PaperSettings,
            WebhookSettings,
        )
    )
)


def digest_of(settings: Settings) -> str:
    key = settings.binance_api_key.get_secret_value() if settings.binance_api_key is not None else ""
    found = {"key": key, **{symbol: _plain(settings.of(symbol)) for symbol in sorted(settings.traded)}}
    return hashlib.sha256(msgspec.json.encode(found, order="deterministic")).hexdigest()[:LENGTH]


def _plain(settings: Settings) -> dict[str, str]:
    fields = type(settings).model_fields
    set_to = {name: getattr(settings, name) for name in sorted(fields.keys() - _OF_A_MACHINE)}
    return {name: str(value) for name, value in set_to.items() if value != fields[name].get_default()}
