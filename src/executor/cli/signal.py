"""`executor signal`: append one signal."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from executor.cli.context import Place, find_place, find_places, read_settings
from executor.cli.output import examples, fail
from executor.cli.service import running
from executor.config import Settings
from executor.signals.append import NotASignalError, append_signal
from executor.signals.position import SignalFileError


def _number(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a number") from None
    return value


@examples(
    "executor signal --side long --price 64250.5 --stop 63900",
    "executor signal --side short --price 81.4 --stop 81.75 --target 81.0 --target 80.6 --risk 25",
)
def signal(
    context: typer.Context,
    side: Annotated[str, typer.Option("--side", help="long or short (buy and sell will do).")],
    price: Annotated[Decimal, typer.Option("--price", parser=_number, metavar="PRICE", help="The price now.")],
    ts: Annotated[
        str | None, typer.Option("--ts", metavar="TIME", help="ISO 8601 or milliseconds; default: now.")
    ] = None,
    symbol: Annotated[
        str | None, typer.Option("--symbol", metavar="SYMBOL", help="Default: the one that is traded.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Two signals with the same id are one.")
    ] = None,
    entry: Annotated[
        Decimal | None, typer.Option(parser=_number, metavar="PRICE", help="Entry; default: the price.")
    ] = None,
    stop: Annotated[
        Decimal | None, typer.Option(parser=_number, metavar="PRICE", help="Stop; default: STOP_MODE.")
    ] = None,
    target: Annotated[
        list[Decimal] | None,
        typer.Option(parser=_number, metavar="PRICE", help="Target, up to twice; default: TP_R_LIST."),
    ] = None,
    qty: Annotated[Decimal | None, typer.Option(parser=_number, metavar="BASE", help="Size in base units.")] = None,
    notional: Annotated[
        Decimal | None, typer.Option(parser=_number, metavar="QUOTE", help="Size in quote units.")
    ] = None,
    risk: Annotated[
        Decimal | None, typer.Option(parser=_number, metavar="QUOTE", help="Size by what the stop may lose.")
    ] = None,
) -> None:
    """Append one signal to the signal file.

    It is checked first, and the line is printed. The service that follows the file takes it within a second; what it
    makes of it is in its log and in `executor status`. Without --ts the time is now: the exchange's, where a service
    runs (so that it fits a replayed market).
    """
    settings = read_settings(context)
    symbol = symbol or find_place(settings).symbol
    if ts is None:
        service = running(_that_tells_the_time(settings, symbol))
        ts = (service.at if service is not None else None) or datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        line = append_signal(
            settings.signal_file,
            {
                "ts": ts,
                "symbol": symbol,
                "side": side,
                "price": price,
                "id": name,
                "entry": entry,
                "stop": stop,
                "targets": target or None,
                "qty": qty,
                "notional": notional,
                "risk": risk,
            },
        )
    except NotASignalError as error:
        raise typer.BadParameter(str(error)) from error
    except SignalFileError as error:
        fail(error)
    typer.echo(line)


def _that_tells_the_time(settings: Settings, symbol: str) -> Place:
    """The file may be followed by other services too, so that the symbol need not be one of ours."""
    places = find_places(settings)
    return next((place for place in places if place.symbol == symbol), places[0])
