"""Where a run trades: the embedded paper exchange, or the one that the settings name."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from pydantic import SecretStr

from executor.config import BinanceEnv, Fault, Settings, SettingsError, TradeMode
from executor.config.checks import URLS
from executor.config.endpoints import environment_of
from executor.config.kinds import HIDDEN
from executor.config.sources import SECRET_MAX
from executor.core.model.values import ZERO
from executor.exchange.binance import BinanceExchange, Make
from executor.exchange.margin import MarginExchange
from executor.exchange.port import StartError
from executor.exchange.shared_cross import SharedCross
from executor.exchange.shared_reads import SharedReads
from executor.exchange.streams.market_stream import MOST_SYMBOLS
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.clock import LocalClock, SystemClock
from executor.exchange.transport.connection import Connection
from executor.exchange.wire.margin import Account
from executor.files import RealFileSystem
from executor.service.symbol_rules import trade_open

if TYPE_CHECKING:
    from executor.service.embedded import Embedded

log = structlog.get_logger(__name__)

PAPER: Final = "paper"
"""The embedded exchange's name in a state file."""


class Market(msgspec.Struct, frozen=True):
    """Where this run trades: the exchange's addresses, the keys, the symbols, and the clock that everything sleeps by.

    `venue` names the exchange, `venue_of` it and the account in the state file. `patient` is for waiting that must not
    hold an embedded market up. `margin`: by symbol, the margin account that it is traded with, empty on Spot;
    `risk_url`: where the risk stream of a cross account is, empty where there is none; `make`: as for `connect_all`.
    """

    venue: str
    endpoints: Endpoints
    credentials: Credentials
    symbols: tuple[str, ...]
    clock: LocalClock
    patient: LocalClock
    embedded: "Embedded | None" = None
    margin: Mapping[str, Account] = {}
    risk_url: str = ""
    make: Make | None = None

    def venue_of(self, symbol: str) -> str:
        """So that a state of one account is never taken for one of another."""
        account = self.margin.get(symbol)
        return self.venue if account is None else f"{self.venue} {account.kind}"

    @property
    def symbol(self) -> str:
        """The only one."""
        (symbol,) = self.symbols
        return symbol


def is_paper(venue: str) -> bool:
    """Whether a state is of an embedded exchange, whichever its account."""
    return venue.split(" ", maxsplit=1)[0] == PAPER


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
                margin=margin_accounts(settings, (paper.symbol,)),
                risk_url=paper.endpoints.stream_url,
                make=maker(settings, (paper.symbol,)),
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
    yield Market(
        exchange_name(settings.binance_env, urls.rest),
        where,
        credentials(settings),
        settings.traded,
        clock,
        clock,
        margin=margin_accounts(settings, settings.traded),
        risk_url=settings.margin_stream_url,
        make=maker(settings, settings.traded),
    )


def tell_addresses(settings: Settings) -> None:
    """Log what a service talks to, and which source has set it."""
    if settings.endpoints is not None:
        urls = zip(URLS, settings.endpoints, strict=True)
        log.info("exchange_addresses", **{name: f"{url} ({settings.source(name)})" for name, url in urls})


def margin_accounts(settings: Settings, symbols: tuple[str, ...]) -> dict[str, Account]:
    """By symbol; empty on Spot."""
    if settings.trade_mode is not TradeMode.MARGIN:
        return {}
    return {symbol: Account(symbol if settings.of(symbol).margin_isolated else "") for symbol in symbols}


def maker(settings: Settings, symbols: tuple[str, ...]) -> Make | None:
    """How a symbol's exchange is made; None on Spot. What all of a cross account have in common is asked for once."""
    accounts = margin_accounts(settings, symbols)
    if not accounts:
        return None
    cross: dict[Connection, SharedCross] = {}

    def make(connection: Connection, symbol: str, shared: SharedReads | None) -> BinanceExchange:
        own = settings.of(symbol)
        largest = own.margin_max_borrow_usd or own.max_position_usd or own.qty_usd or ZERO
        one = cross.setdefault(connection, SharedCross(connection))
        return MarginExchange(connection, symbol, shared, account=accounts[symbol], cross=one, largest=largest)

    return make


def exchange_name(env: BinanceEnv, rest_url: str) -> str:
    """The exchange's name in a state file: that of the environment at its own addresses; elsewhere the address, so that
    two exchanges never share a name, whatever they are called.
    """
    return env.value if environment_of(rest_url) is env else rest_url


def credentials(settings: Settings) -> Credentials:
    """Raises SettingsError for what can be no key; StartError when the key's file can't be read now, or, while a trade
    is open, holds none: it may be about to be replaced, and whatever starts the service must go on doing so.
    """
    assert settings.binance_api_key is not None
    key = _one_word("BINANCE_API_KEY", settings.binance_api_key)
    if settings.binance_private_key_file is None:
        assert settings.binance_api_secret is not None
        return Credentials.hmac(key, _one_word("BINANCE_API_SECRET", settings.binance_api_secret))
    try:
        return _private_key(key, settings.binance_private_key_file, settings.binance_private_key_passphrase)
    except SettingsError as error:
        if any(trade_open(settings, symbol) for symbol in settings.traded):
            raise StartError(f"{'; '.join(map(str, error.faults))}; a trade is open") from error
        raise


def _one_word(name: str, secret: SecretStr) -> str:
    text = secret.get_secret_value()
    if " " in text:
        raise SettingsError([Fault(name, HIDDEN, "one word: exactly what was given out")])
    return text


def _private_key(api_key: str, path: Path, passphrase: SecretStr | None) -> Credentials:
    from executor.exchange.transport.pem import PrivateKeyError  # noqa: PLC0415  (a large library; most keys are HMAC)

    file = "BINANCE_PRIVATE_KEY_FILE"
    try:
        pem = RealFileSystem().read(path, SECRET_MAX).decode("utf-8-sig")
    except OSError as error:
        raise StartError(f"{file} {path} can't be read: {error.strerror or type(error).__name__}") from error
    except UnicodeDecodeError:
        raise SettingsError([Fault(file, f"the file {str(path)!r}", "a PEM file, which is text")]) from None
    try:
        return Credentials.private_key(api_key, pem, passphrase.get_secret_value() if passphrase is not None else None)
    except PrivateKeyError as error:
        name = f"{file} and BINANCE_PRIVATE_KEY_PASSPHRASE" if error.about_passphrase else file
        raise SettingsError([Fault(name, f"the file {str(path)!r} ({error.why})", error.must)]) from error
