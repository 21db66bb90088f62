"""`executor paper`: a paper exchange for any client of Binance."""

import asyncio
import re
import signal
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from executor.cli import exits
from executor.cli.amounts import read_number
from executor.cli.output import fail
from executor.config import PaperSettings, SettingsError, load_paper_settings
from executor.paper.engine.choices import ExchangeChoices, read_choices
from executor.paper.errors import PaperError
from executor.paper.replay.market import AtEnd
from executor.paper.standalone import PaperAccount, Serving, Standalone, serve
from executor.service.runner import run

_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def paper(
    context: typer.Context,
    recordings: Annotated[
        list[Path] | None,
        typer.Option(
            "--recording",
            exists=True,
            dir_okay=False,
            help="Trades to replay, else PAPER_RECORDING, else the bundled ones; several times for several symbols.",
        ),
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(
            "--symbols",
            "--symbol",
            metavar="NAME,NAME=PRICE,…",
            help="What the recordings are of, in their order; without it, what their names begin with."
            " NAME=PRICE adds a market without a recording, which stands at the price until it is moved.",
        ),
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
    accounts: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,…",
            help="Accounts, each with its name as API key and secret; without it, one with PAPER_API_KEY.",
        ),
    ] = None,
    balances: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME:]ASSET=AMOUNT,…",
            help="Starting balances, else PAPER_BALANCES, else USDT=10000; several times for accounts by name.",
        ),
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PAIR:]ASSET=AMOUNT,…",
            help="Of these balances, what lies on a margin account of each account: that of a pair, else the cross one;"
            " any number of times.",
        ),
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
    choices: Annotated[
        list[str] | None,
        typer.Option(
            "--choice",
            metavar="NAME=VALUE",
            help="How the exchange does what Binance's documents leave open (docs/paper.md); any number of times.",
        ),
    ] = None,
    control_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port on 127.0.0.1 where the exchange takes orders: move a price, halt a symbol, cut streams, put a"
            " fault in. 0 takes a free one; without it there is none.",
        ),
    ] = None,
    exchange_info: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A saved GET /api/v3/exchangeInfo, for symbols that do not ship."
        ),
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
    recorded, still = _read_symbols(symbols)
    files = tuple(recordings or ())
    if not files and not still and given.paper_recording is not None:
        files = (given.paper_recording,)
    what = Standalone(
        recordings=files,
        symbols=recorded,
        still=still,
        speed=1.0 if speed is None else speed,
        at_end=at_end or AtEnd.LOOP,
        port=given.paper_port if port is None else port,
        accounts=_read_accounts(
            accounts,
            balances,
            margin,
            PaperAccount(
                api_key=api_key or given.paper_api_key.get_secret_value(),
                api_secret=api_secret or given.paper_api_secret.get_secret_value(),
                balances=given.paper_balances,
            ),
        ),
        choices=_read_choices(choices),
        control_port=control_port,
        exchange_info=exchange_info,
    )
    try:
        run(_serve(what))
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
    await serve(what, started=lambda serving: _tell(what, serving), stop=stop)


def _tell(what: Standalone, serving: Serving) -> None:
    urls = serving.urls
    keys = ", ".join(account.api_key for account in what.accounts)
    control = f"  control        {serving.control}\n" if serving.control else ""
    typer.echo(
        f"paper exchange for {', '.join(serving.symbols)}\n"
        f"  REST           {urls.rest_url}\n"
        f"  WebSocket API  {urls.ws_api_url}\n"
        f"  streams        {urls.stream_url}\n"
        f"  API key        {keys}\n"
        f"{control}"
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


def _read_symbols(text: str | None) -> tuple[tuple[str, ...], dict[str, Decimal]]:
    """Symbols of the recordings, and those that stand at a price."""
    recorded: list[str] = []
    still: dict[str, Decimal] = {}
    for part in text.split(",") if text else ():
        name, is_still, price = part.strip().partition("=")
        if not name or name in recorded or name in still:
            raise typer.BadParameter(f"{part!r} must be NAME or NAME=PRICE, each once", param_hint="--symbols")
        if not is_still:
            recorded.append(name)
            continue
        still[name] = _read_amount(price, f"{part!r} must be NAME=PRICE with a price above 0", "--symbols")
        if not still[name]:
            raise typer.BadParameter(f"{part!r} must be NAME=PRICE with a price above 0", param_hint="--symbols")
    return tuple(recorded), still


def _read_accounts(
    names: str | None, balances: list[str] | None, margin: list[str] | None, default: PaperAccount
) -> tuple[PaperAccount, ...]:
    """The accounts: `default` alone, or those named, each with its own balances where they are given by its name."""
    if names is None:
        accounts = [default]
    else:
        listed = [name.strip() for name in names.split(",")]
        for name in listed:
            if not _ACCOUNT.match(name) or listed.count(name) > 1:
                raise typer.BadParameter(
                    f"{name!r} must be a name of 1 to 64 letters, digits, - and _, each once", param_hint="--accounts"
                )
        accounts = [PaperAccount(name, name, name, default.balances) for name in listed]
    given: dict[str, dict[str, Decimal]] = {}
    for text in balances or ():
        name, by_name, amounts = text.rpartition(":")
        if by_name and name not in [account.name for account in accounts]:
            raise typer.BadParameter(
                f"{name!r} must be one of the accounts {', '.join(account.name for account in accounts)}",
                param_hint="--balances",
            )
        if name in given:
            raise typer.BadParameter(f"{text!r}: these balances are given twice", param_hint="--balances")
        given[name] = _read_balances(amounts)
    on_margin: dict[str, dict[str, Decimal]] = {}
    for text in margin or ():
        pair, _, amounts = text.rpartition(":")
        if pair in on_margin:
            raise typer.BadParameter(f"{text!r}: this margin account is given twice", param_hint="--margin")
        on_margin[pair] = _read_balances(amounts, "--margin")
    return tuple(
        msgspec.structs.replace(
            account, balances=given.get(account.name, given.get("", account.balances)), margin=on_margin
        )
        for account in accounts
    )


def _read_balances(text: str, option: str = "--balances") -> dict[str, Decimal]:
    balances: dict[str, Decimal] = {}
    for part in text.split(","):
        asset, _, amount = part.strip().partition("=")
        fault = f"{part!r} must be ASSET=AMOUNT, each asset once, with an amount of 0 or more"
        value = _read_amount(amount, fault, option)
        if not asset or asset in balances:
            raise typer.BadParameter(fault, param_hint=option)
        balances[asset] = value
    return balances


def _read_amount(text: str, fault: str, option: str) -> Decimal:
    try:
        value = read_number(text)
    except typer.BadParameter:
        value = Decimal(-1)
    if value < 0:
        raise typer.BadParameter(fault, param_hint=option)
    return value


def _read_choices(given: list[str] | None) -> ExchangeChoices:
    pairs = []
    for text in given or ():
        name, _, value = text.partition("=")
        pairs.append((name, value))
    try:
        return read_choices(pairs)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--choice") from error
