"""Where a run trades: the embedded paper exchange, or the one that the settings name."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import msgspec

from executor.config import BinanceEnv, Settings
from executor.exchange.port import StartError
from executor.exchange.streams.market_stream import MOST_SYMBOLS
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.clock import SystemClock
from executor.service.poller import Clock

if TYPE_CHECKING:
    from executor.service.embedded import Embedded

PAPER: Final = "paper"
"""The embedded exchange's name in a state file."""


class Market(msgspec.Struct, frozen=True):
    """Where this run trades: the exchange's addresses, the keys, the symbols, and the clock that everything sleeps by.

    `venue` names the exchange in the state file. `patient` is for waiting that must not hold an embedded market up.
    """

    venue: str
    endpoints: Endpoints
    credentials: Credentials
    symbols: tuple[str, ...]
    clock: Clock
    patient: Clock
    embedded: "Embedded | None" = None

    @property
    def symbol(self) -> str:
        """The only one."""
        (symbol,) = self.symbols
        return symbol


@contextlib.asynccontextmanager
async def open_market(settings: Settings) -> AsyncIterator[Market]:
    """The embedded paper exchange, running, or the one that the settings name."""
    if settings.binance_env is BinanceEnv.PAPER:
        from executor.service.embedded import Embedded  # noqa: PLC0415  (no engine where none is embedded)

        async with Embedded(settings) as paper:
            yield Market(
                PAPER,
                paper.endpoints,
                paper.credentials,
                (paper.symbol,),
                paper.clock,
                paper.patient_clock,
                embedded=paper,
            )
        return
    urls, clock = settings.endpoints, SystemClock()
    assert urls is not None
    assert settings.traded
    if len(settings.traded) > MOST_SYMBOLS:
        raise StartError(
            f"SYMBOLS names {len(settings.traded)} symbols, must be at most {MOST_SYMBOLS} for one service"
        )
    where = Endpoints(urls.rest, urls.ws_api, urls.stream)
    env = settings.binance_env
    venue = where.rest_url if env is BinanceEnv.CUSTOM else env.value
    yield Market(venue, where, credentials(settings), settings.traded, clock, clock)


def credentials(settings: Settings) -> Credentials:
    """Raises StartError when the key file can't be read or is no key."""
    assert settings.binance_api_key is not None
    key = settings.binance_api_key.get_secret_value()
    if settings.binance_private_key_file is None:
        assert settings.binance_api_secret is not None
        return Credentials.hmac(key, settings.binance_api_secret.get_secret_value())
    passphrase = settings.binance_private_key_passphrase
    try:
        pem = settings.binance_private_key_file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        name = settings.binance_private_key_file
        raise StartError(f"BINANCE_PRIVATE_KEY_FILE {name} can't be read: {type(error).__name__}") from error
    return Credentials.private_key(key, pem, passphrase.get_secret_value() if passphrase is not None else None)
