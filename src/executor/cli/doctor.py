"""`executor doctor`: preflight."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from executor import sockets
from executor.cli import exits
from executor.cli.context import Account, Place, Which, find_places, read_accounts, read_chosen
from executor.cli.exchange import reach
from executor.cli.output import Format, examples
from executor.config import BinanceEnv, LogLevel, Settings, SettingsError
from executor.exchange.port import NotListedError, ReadError, StartError
from executor.ops import doctor as checks
from executor.ops import logs, text
from executor.ops.doctor import Files
from executor.ops.doctor_alerts import on_alerts
from executor.ops.doctor_exchange import on_the_account, on_the_symbol
from executor.ops.doctor_fleet import on_the_fleet
from executor.paper.errors import PaperError, RecordingError
from executor.paper.replay.recording import TradeFile, demo_trades
from executor.service.asking import ControlError, Request, ask
from executor.service.fleet.opening import open_etcd

_REACH: Final = "check the network, BINANCE_ENV and the URLs, and the key; the message says what the exchange said"


@examples(
    "executor doctor",
    "executor --env-file live.env doctor --format json | jq '.[] | select(.level != \"ok\")'",
)
def doctor(
    context: typer.Context,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    symbol: Which = None,
    account: Account = None,
) -> None:
    """Look at all that a start needs, and say what to do about it.

    Nothing is changed or ordered.

    State folder, disk space and how long a save takes; state file, running service, signal file; the exchange, clock,
    key and what it may do; symbol rules against the settings; whether a long (and a short, where they are on) would get
    its legs and has the balance for EXIT_LAYOUT. On margin also the account, what the key and the pair allow, what a
    trade would borrow, the levels, and what interest is paid in. On paper also the recording. Of several symbols and
    accounts each is looked at.

    In a fleet also etcd: its members, versions, majority, disks, clocks, certificates, how long a write takes; and the
    other nodes, whether they live and would trade alike.

    Exit codes: 0 nothing failed (there may be warnings), 1 something failed, 78 wrong settings.
    """
    chosen = read_chosen(context, account)
    settings = chosen[0]
    logs.set_up(settings.log_format, LogLevel.WARNING)
    places = find_places(chosen, symbol)
    listed = ", ".join(place.name for place in places)
    findings = [checks.ok("settings", f"{settings.binance_env} with {listed}, all in range")]
    findings += checks.on_this_machine(settings, {place.name: Files(place.state, place.symbol) for place in places})
    if settings.fleet:
        findings += asyncio.run(_fleet(settings, read_accounts(context, settings)))
    runs = any(_runs(place.state) for place in places)
    for name, host, port in (
        ("http", settings.http_host, settings.http_port),
        ("webhook", settings.webhook_host, settings.webhook_port),
    ):
        findings += _port(name, host, port, running=runs)
    if settings.binance_env is BinanceEnv.PAPER:
        findings += _recording(settings)
    findings += asyncio.run(_exchange(places))
    findings += asyncio.run(on_alerts(settings))
    typer.echo(text.json(findings) if output is Format.JSON else checks.as_text(findings))
    if any(each.level is checks.Level.FAIL for each in findings):
        raise typer.Exit(exits.FAILED)


def _runs(state: Path) -> bool:
    try:
        return ask(state, Request("ping"), timeout=5).ok
    except ControlError:
        return False


def _port(name: str, host: str, port: int, *, running: bool) -> list[checks.Finding]:
    setting = f"{name.upper()}_PORT"
    if not port:
        return [checks.ok(name, f"off ({setting}=0)")]
    where = f"{host}:{port}"
    if running:
        return [checks.ok(name, f"{where}, the service's")]
    try:
        sockets.listen(host, port).close()
    except OSError as error:
        text = f"{where} can't be listened on: {error.strerror or error}"
        return [checks.fail(name, text, f"choose another {setting}, or end what listens there")]
    return [checks.ok(name, f"{where} is free")]


def _recording(settings: Settings) -> list[checks.Finding]:
    file = TradeFile(settings.paper_recording) if settings.paper_recording is not None else demo_trades()
    count = first = last = 0
    try:
        for trade in file:
            first, last, count = first or trade.time, trade.time, count + 1
    except RecordingError as error:
        return [checks.fail("recording", str(error), "mend the file, or set another PAPER_RECORDING")]
    if not count:
        return [checks.fail("recording", f"{file.path} holds no trade", "set another PAPER_RECORDING")]
    span = f"{text.moment(first)} to {text.moment(last)}"
    return [checks.ok("recording", f"{file.path.name}: {count} trades, {span} (UTC)")]


async def _fleet(settings: Settings, accounts: dict[str, Settings]) -> list[checks.Finding]:
    try:
        etcd = open_etcd(settings)
    except StartError as error:
        return [checks.fail("etcd TLS", str(error), "check the files that FLEET_CA, FLEET_CERT and FLEET_KEY name")]
    host = socket.gethostname()
    try:
        return await on_the_fleet(settings, etcd, accounts, this_node=settings.fleet_node or host, this_host=host)
    finally:
        await etcd.close()


async def _exchange(places: Sequence[Place]) -> list[checks.Finding]:
    """What all symbols of an account share is told by the first of them that can be reached."""
    findings: list[checks.Finding] = []
    told: set[str] = set()
    for place in places:
        try:
            async with reach(_on_a_port_of_its_own(place.settings)) as (_, exchange, policy, rules):
                if place.account not in told:
                    shared = await on_the_account(place.settings, exchange)
                    findings += checks.of(place.account, shared) if place.account else shared
                    told.add(place.account)
                own = await on_the_symbol(exchange, policy, rules)
        except SettingsError as error:
            own = [_wrong(error)]
        except NotListedError as error:
            own = [checks.fail("symbol", str(error), "the message says what to do")]
        except (StartError, ReadError, PaperError) as error:
            own = [checks.fail("exchange", str(error), _REACH)]
        findings += own if len(places) == 1 else checks.of(place.name, own)
    return findings


def _wrong(error: SettingsError) -> checks.Finding:
    """What only shows when the settings are used: the key's file is read, the exchange's filters are known."""
    if any(fault.name.startswith("BINANCE_PRIVATE_KEY") for fault in error.faults):
        return checks.fail("private key", str(error), "set the file and, for an encrypted one, its own passphrase")
    return checks.fail("filters", str(error), "leave it unset: the exchange's own is used")


def _on_a_port_of_its_own(settings: Settings) -> Settings:
    """A paper exchange may be set up beside that of a running service."""
    return settings.model_copy(update={"paper_port": 0})
