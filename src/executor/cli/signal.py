"""`executor signal`: append one signal."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from executor.cli import exits
from executor.cli.amounts import read_number
from executor.cli.context import Account, Place, find_place, find_places, read_chosen
from executor.cli.fleet_store import in_store
from executor.cli.output import examples, fail
from executor.cli.service import running
from executor.config import Settings
from executor.signals.append import NotASignalError, append_signal, signal_line
from executor.signals.parse import Malformed, parse_signal
from executor.signals.position import SignalFileError

if TYPE_CHECKING:
    from executor.service.fleet.signals import Put
    from executor.service.store.etcd import Etcd
    from executor.service.store.fleet_keys import Keys

Fields = Mapping[str, str | Decimal | Sequence[Decimal] | None]


@examples(
    "executor signal --side long --price 64250.5 --stop 63900",
    "executor signal --side short --price 81.4 --stop 81.75 --target 81.0 --target 80.6 --risk 25",
)
def signal(
    context: typer.Context,
    side: Annotated[str, typer.Option("--side", help="long or short (buy and sell will do).")],
    price: Annotated[Decimal, typer.Option("--price", parser=read_number, metavar="PRICE", help="The price now.")],
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
        Decimal | None, typer.Option(parser=read_number, metavar="PRICE", help="Entry; default: the price.")
    ] = None,
    stop: Annotated[
        Decimal | None, typer.Option(parser=read_number, metavar="PRICE", help="Stop; default: STOP_MODE.")
    ] = None,
    target: Annotated[
        list[Decimal] | None,
        typer.Option(parser=read_number, metavar="PRICE", help="Target, up to twice; default: TP_R_LIST."),
    ] = None,
    qty: Annotated[Decimal | None, typer.Option(parser=read_number, metavar="BASE", help="Size in base units.")] = None,
    notional: Annotated[
        Decimal | None, typer.Option(parser=read_number, metavar="QUOTE", help="Size in quote units.")
    ] = None,
    risk: Annotated[
        Decimal | None, typer.Option(parser=read_number, metavar="QUOTE", help="Size by what the stop may lose.")
    ] = None,
    account: Account = None,
) -> None:
    """Append one signal to the signal file.

    It is checked first, and the line is printed. The service that follows the file takes it within a second; what it
    makes of it is in its log and in `executor status`. Without --ts the time is now: the exchange's, where a service
    runs (so that it fits a replayed market).

    Of several accounts, each that trades the symbol takes it. In a fleet it is put into the store, for the account's
    owner, wherever that is.
    """
    chosen = read_chosen(context, account)
    symbol = symbol or _only_symbol(chosen)
    if ts is None:
        service = running(_that_tells_the_time(chosen, symbol))
        ts = (service.at if service is not None else None) or datetime.now(UTC).isoformat(timespec="milliseconds")
    if account is not None and not chosen[0].fleet:
        _alone_in_its_file(chosen[0], read_chosen(context), symbol)
    fields: Fields = {
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
    }
    try:
        typer.echo(_put(chosen, fields) if chosen[0].fleet else _append(chosen, fields))
    except NotASignalError as error:
        raise typer.BadParameter(str(error)) from error
    except SignalFileError as error:
        fail(error)


def _alone_in_its_file(settings: Settings, every: Sequence[Settings], symbol: str) -> None:
    """Ends the command where a signal for this account would be taken by others as well."""
    others = [
        each.account
        for each in every
        if each.account != settings.account and each.signal_file == settings.signal_file and symbol in each.traded
    ]
    if others:
        fail(
            f"{settings.signal_file} is followed by {', '.join(others)} too: give {settings.account} a SIGNAL_FILE of"
            " its own, or leave --account out"
        )


def _append(chosen: Sequence[Settings], fields: Fields) -> str:
    """To the file of each account, once where several follow the same."""
    files = list(dict.fromkeys(each.signal_file for each in chosen))
    return [append_signal(file, fields) for file in files][-1]


def _put(chosen: Sequence[Settings], fields: Fields) -> str:
    """Into the fleet's store, for each account that trades its symbol."""
    from executor.service.fleet.signals import SignalPoster  # noqa: PLC0415  (most commands are about no fleet)
    from executor.service.inlets.webhook import NobodyTakesError  # noqa: PLC0415

    line = signal_line(fields)
    parsed = parse_signal(line)
    if isinstance(parsed, Malformed):
        raise NotASignalError(parsed.fault)

    async def put(etcd: "Etcd", keys: "Keys") -> "Put":
        return await SignalPoster(etcd, keys, {each.account: each for each in chosen}).put(line, parsed)

    try:
        done = in_store(chosen[0], put)
    except NobodyTakesError as error:
        raise NotASignalError(str(error)) from error
    if done.repeated:
        typer.echo(f"not put again, it was there before: {', '.join(done.repeated)}", err=True)
    if not done.fresh:
        raise typer.Exit(exits.FAILED)
    return line.decode()


def _only_symbol(chosen: Sequence[Settings]) -> str:
    """The one that each account trades."""
    found = {place.symbol for place in find_places(chosen)}
    return found.pop() if len(found) == 1 else find_place(chosen).symbol


def _that_tells_the_time(chosen: Sequence[Settings], symbol: str) -> Place:
    """The file may be followed by other services too, so that the symbol need not be one of ours."""
    places = find_places(chosen)
    return next((place for place in places if place.symbol == symbol), places[0])
