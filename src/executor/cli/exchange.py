"""The exchange, for the commands that look at it by themselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from executor.cli import exits
from executor.cli.output import fail
from executor.config import BinanceEnv, Settings
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.exchange.binance import BinanceExchange, connect
from executor.service.market import open_market
from executor.service.policy import own_filters, policy_of


class Reached(NamedTuple):
    """One symbol's exchange, and what its trades go by. `venue` names the exchange in state files."""

    venue: str
    exchange: BinanceExchange
    policy: Policy
    rules: SymbolRules


@asynccontextmanager
async def reach(settings: Settings) -> AsyncIterator[Reached]:
    """`settings` are those of one symbol. Raises what a start does: StartError, ReadError, SettingsError; on paper,
    where an exchange is set up for this alone, PaperError.
    """
    async with open_market(settings) as market:
        exchange = await connect(
            market.endpoints, market.credentials, market.symbol, market.patient, settings.recv_window, market.make
        )
        try:
            rules = own_filters(await exchange.rules(), settings)
            yield Reached(market.venue_of(market.symbol), exchange, policy_of(settings), rules)
        finally:
            await exchange.close()


def not_on_paper(settings: Settings) -> None:
    """Ends the command on paper."""
    if settings.binance_env is BinanceEnv.PAPER:
        fail(
            "no service runs, and the embedded paper exchange is there only while `executor run` is", exits.UNAVAILABLE
        )
