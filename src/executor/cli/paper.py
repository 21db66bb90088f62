"""`executor paper`: a paper exchange for any client of Binance."""

import asyncio
import signal
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from executor.cli import exits
from executor.paper.errors import PaperError
from executor.paper.replay.market import AtEnd
from executor.paper.server import Urls
from executor.paper.standalone import Standalone, serve


def paper(
    recording: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Trades to replay; without it, the bundled ones.")
    ] = None,
    symbol: Annotated[
        str | None, typer.Option(help="What the recording is of; without it, what its name begins with.")
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.001, help="How many times faster than recorded. The clock stays the real one.")
    ] = 1.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    balances: Annotated[str, typer.Option(help="Starting balances.", metavar="ASSET=AMOUNT,…")] = "USDT=10000",
    api_key: Annotated[str, typer.Option(envvar="PAPER_API_KEY", help="The key that clients use.")] = "paper",
    api_secret: Annotated[
        str, typer.Option(envvar="PAPER_API_SECRET", help="Its secret, for HMAC signatures.")
    ] = "paper",  # noqa: S107 - no money here
    at_end: Annotated[AtEnd, typer.Option(help="What follows the last recorded trade.")] = AtEnd.LOOP,
) -> None:
    """Serve a paper exchange on loopback, for any client of Binance Spot.

    It replays recorded trades on the real clock until SIGINT or SIGTERM, fills orders against them, and moves no money.
    """
    what = Standalone(
        recording=recording,
        symbol=symbol,
        speed=speed,
        at_end=at_end,
        port=port,
        balances=_read_balances(balances),
        api_key=api_key,
        api_secret=api_secret,
    )
    try:
        asyncio.run(_serve(what))
    except PaperError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(exits.FAILED) from error


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
