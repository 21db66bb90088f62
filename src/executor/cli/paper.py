"""`executor paper`: a paper exchange for any client of Binance."""

import asyncio
import signal
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from executor.cli import exits
from executor.cli.output import fail
from executor.config import PaperSettings, SettingsError, load_paper_settings
from executor.paper.errors import PaperError
from executor.paper.replay.market import AtEnd
from executor.paper.server import Urls
from executor.paper.standalone import Standalone, serve


def paper(
    context: typer.Context,
    recording: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Trades to replay, else PAPER_RECORDING, else the bundled ones."
        ),
    ] = None,
    symbol: Annotated[
        str | None, typer.Option(help="What the recording is of; without it, what its name begins with.")
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="How many times faster than recorded, else PAPER_SPEED, else 1. The clock stays the real one.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port on 127.0.0.1, else PAPER_PORT, else 0, which takes a free one."),
    ] = None,
    balances: Annotated[
        str | None,
        typer.Option(help="Starting balances, else PAPER_BALANCES, else USDT=10000.", metavar="ASSET=AMOUNT,…"),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="The key that clients use, else PAPER_API_KEY, else paper.")
    ] = None,
    api_secret: Annotated[
        str | None, typer.Option(help="Its secret, for HMAC signatures, else PAPER_API_SECRET, else paper.")
    ] = None,
    at_end: Annotated[
        AtEnd | None, typer.Option(help="What follows the last recorded trade, else PAPER_AT_END, else loop.")
    ] = None,
) -> None:
    """Serve a paper exchange on loopback, for any client of Binance Spot.

    It replays recorded trades on the real clock until SIGINT or SIGTERM, fills orders against them, and moves no money.
    The settings of the paper exchange hold where no option says otherwise.
    """
    given, names = _settings(context)
    if speed is None and "PAPER_SPEED" in names:
        speed = float(given.paper_speed)
        if not speed:
            fail("PAPER_SPEED: was '0', must be above 0 here, where the clock is the real one", exits.BAD_SETTINGS)
    if at_end is None and "PAPER_AT_END" in names:
        at_end = AtEnd(given.paper_at_end.value)
    what = Standalone(
        recording=recording or given.paper_recording,
        symbol=symbol,
        speed=1.0 if speed is None else speed,
        at_end=at_end or AtEnd.LOOP,
        port=given.paper_port if port is None else port,
        balances=given.paper_balances if balances is None else _read_balances(balances),
        api_key=api_key or given.paper_api_key.get_secret_value(),
        api_secret=api_secret or given.paper_api_secret.get_secret_value(),
    )
    try:
        asyncio.run(_serve(what))
    except PaperError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(exits.FAILED) from error


def _settings(context: typer.Context) -> tuple[PaperSettings, frozenset[str]]:
    """The paper exchange's own settings, and which of them are set."""
    try:
        return load_paper_settings(env_file=context.find_object(Path) or Path(".env"))
    except SettingsError as error:
        fail(error, exits.BAD_SETTINGS)


async def _serve(what: Standalone) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(what, started=lambda urls, symbol: _tell(what, urls, symbol), stop=stop)


def _tell(what: Standalone, urls: Urls, symbol: str) -> None:
    typer.echo(
        f"paper exchange for {symbol}\n"
        f"  REST           {urls.rest_url}\n"
        f"  WebSocket API  {urls.ws_api_url}\n"
        f"  streams        {urls.stream_url}\n"
        f"  API key        {what.api_key}\n"
        "\n"
        "Any client of Binance Spot can use it. With python-binance:\n"
        f"  AsyncClient.API_URL = {urls.rest_url!r}\n"
        f"  AsyncClient.WS_API_URL = {urls.ws_api_url!r}\n"
        f"  BinanceSocketManager.STREAM_URL = {urls.stream_url + '/'!r}\n"
        "With binance-sdk-spot:\n"
        f"  ConfigurationRestAPI(..., base_path={urls.base_url!r})\n"
        f"  ConfigurationWebSocketAPI(..., stream_url={urls.ws_api_url!r})\n"
        "With ccxt, replace https://api.binance.com in exchange.urls['api'] by\n"
        f"  {urls.base_url}"
    )


def _read_balances(text: str) -> dict[str, Decimal]:
    balances: dict[str, Decimal] = {}
    for part in text.split(","):
        asset, _, amount = part.strip().partition("=")
        try:
            value = Decimal(amount)
        except InvalidOperation:
            value = Decimal(-1)
        if not asset or not value.is_finite() or value < 0 or asset in balances:
            raise typer.BadParameter(
                f"{part!r} must be ASSET=AMOUNT, each asset once, with an amount of 0 or more", param_hint="--balances"
            )
        balances[asset] = value
    return balances
