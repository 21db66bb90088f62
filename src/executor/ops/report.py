"""Finished trades for people and for programs (rule 7.2)."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from executor.core.model.state import Closed
from executor.core.model.values import ZERO, plain, rounded
from executor.ops import text
from executor.ops.assets import assets_of

FIGURES: Final = ("qty", "entry", "exit", "pnl", "r", "bare s")
_HEADER: Final = ("opened (UTC)", "held", "side", "reason", *FIGURES)
_PNL_SHOWN: Final = Decimal("0.0001")
_R_SHOWN: Final = Decimal("0.01")

Part = tuple[str, str]
"""An account, empty where it has no name, and a symbol."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One trade as JSON and CSV show it: decimals in plain digits, times ISO 8601 UTC, prices quote per base,
    quantities base; by asset `commissions` and, on margin, `borrowed`, `interest` and `debt_left`; `entered` is null
    when nothing was bought. `pnl` is net of commissions that can be priced, and of interest.
    """

    trade: str
    signal: str
    symbol: str
    side: str
    reason: str
    opened: str
    entered: str | None
    closed: str
    qty: str
    qty1: str
    qty2: str
    qty3: str
    entry_planned: str
    stop_planned: str
    targets_planned: list[str]
    entry_avg: str | None
    exit_avg: str | None
    r: str
    pnl: str
    commissions: dict[str, str]
    entry_slippage: str
    exit_slippage: str
    dust: str
    unprotected_sec: str
    unprotected_longest_sec: str
    borrowed: dict[str, str]
    interest: dict[str, str]
    debt_left: dict[str, str]


def row(trade: Closed) -> Row:
    return Row(
        trade=trade.trade,
        signal=trade.signal,
        symbol=trade.symbol,
        side=str(trade.direction),
        reason=str(trade.reason),
        opened=text.instant(trade.opened),
        entered=text.instant(trade.entered) if trade.entered else None,
        closed=text.instant(trade.closed),
        qty=plain(trade.qty),
        qty1=plain(trade.qty1),
        qty2=plain(trade.qty2),
        qty3=plain(trade.qty3),
        entry_planned=plain(trade.entry_planned),
        stop_planned=plain(trade.stop_planned),
        targets_planned=[plain(target) for target in trade.targets_planned],
        entry_avg=None if trade.entry_avg is None else plain(trade.entry_avg),
        exit_avg=None if trade.exit_avg is None else plain(trade.exit_avg),
        r=plain(trade.r),
        pnl=plain(trade.pnl),
        commissions=_by_asset(trade.commissions),
        entry_slippage=plain(trade.entry_slippage),
        exit_slippage=plain(trade.exit_slippage),
        dust=plain(trade.dust),
        unprotected_sec=text.seconds(trade.unprotected_ms),
        unprotected_longest_sec=text.seconds(trade.unprotected_longest_ms),
        borrowed=_by_asset(trade.borrowed),
        interest=_by_asset(trade.interest),
        debt_left=_by_asset(trade.debt_left),
    )


def _by_asset(amounts: dict[str, Decimal]) -> dict[str, str]:
    return {asset: plain(amount) for asset, amount in sorted(amounts.items())}


def as_json(trades: Sequence[Closed], accounts: Sequence[str] = ()) -> str:
    """`accounts`, here and below: whose each trade is, where accounts have names."""
    rows = [msgspec.structs.asdict(row(trade)) for trade in trades]
    return text.json([{"account": of, **each} for of, each in zip(accounts, rows, strict=True)] if accounts else rows)


def as_csv(trades: Sequence[Closed], accounts: Sequence[str] = ()) -> str:
    """The columns of the JSON; several targets or commissions in one cell are parted by spaces."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(["account"] if accounts else []), *Row.__struct_fields__])
    for index, trade in enumerate(trades):
        whose = [accounts[index]] if accounts else []
        writer.writerow([*whose, *(_cell(value) for value in msgspec.structs.astuple(row(trade)))])
    return out.getvalue().removesuffix("\n")


def as_table(trades: Sequence[Closed], accounts: Sequence[str] = ()) -> str:
    """At most 100 columns wide, with what it comes to below; of several symbols or accounts one table each, under its
    name.
    """
    if not trades:
        return "No trade has finished."
    found = parts(trades, accounts)
    if len(found) == 1 and not accounts:
        return _table(trades)
    return "\n\n".join(f"{name_of(part)}\n{_table(found[part])}" for part in sorted(found))


def parts(trades: Sequence[Closed], accounts: Sequence[str] = ()) -> dict[Part, list[Closed]]:
    """The trades by account and symbol: only those of one of each can be added up."""
    found: dict[Part, list[Closed]] = {}
    for account, trade in zip(accounts or [""] * len(trades), trades, strict=True):
        found.setdefault((account, trade.symbol), []).append(trade)
    return found


def name_of(part: Part) -> str:
    return " ".join(part).strip()


def _table(trades: Sequence[Closed]) -> str:
    lines = text.columns(_HEADER, [_line(trade) for trade in trades], right=FIGURES, gap=" ")
    return f"{lines}\n\n{text.fields(_summary(trades))}"


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case list():
            return " ".join(value)
        case dict():
            return " ".join(f"{name}={amount}" for name, amount in value.items())
        case _:
            return str(value)


def _line(trade: Closed) -> tuple[str, ...]:
    return (
        text.moment(trade.opened)[: -len(":00")],
        text.span(trade.closed - trade.opened),
        str(trade.direction),
        str(trade.reason),
        text.short(trade.qty) if trade.qty else text.NONE,
        _price(trade.entry_avg, trade.entry_planned),
        _price(trade.exit_avg, trade.entry_planned),
        plain(rounded(trade.pnl, _PNL_SHOWN)) if trade.qty else text.NONE,
        plain(rounded(trade.r, _R_SHOWN)) if trade.qty else text.NONE,
        text.seconds(trade.unprotected_ms) if trade.unprotected_ms else "0",
    )


def _price(average: Decimal | None, planned: Decimal) -> str:
    """An average to one digit more than the planned price has: a sum of fills seldom lies on the tick."""
    if average is None:
        return text.NONE
    exponent = planned.as_tuple().exponent
    assert isinstance(exponent, int)
    return plain(rounded(average, Decimal(1).scaleb(min(exponent, 0) - 1)))


def _summary(trades: Sequence[Closed]) -> list[tuple[str, str]]:
    """Of trades of one symbol: several have no one quote to sum up in."""
    assets = assets_of(trades[0].symbol, [asset for trade in trades for asset in trade.commissions])
    filled = [trade for trade in trades if trade.qty]
    wins = sum(1 for trade in filled if trade.pnl > 0)
    losses = sum(1 for trade in filled if trade.pnl < 0)
    longest = max(trades, key=lambda trade: trade.unprotected_longest_ms)
    pnl, r = sum((t.pnl for t in trades), ZERO), sum((t.r for t in trades), ZERO)
    dust = sum((t.dust for t in trades), ZERO)
    bare = f"{text.seconds(longest.unprotected_longest_ms)} s"
    if longest.unprotected_longest_ms:
        bare += f" (trade {longest.trade})"
    borrowed = any(trade.borrowed or trade.interest or trade.debt_left for trade in trades)
    owed = trades[-1].debt_left
    return [
        ("trades", f"{len(trades)}: {wins} won, {losses} lost, {len(trades) - len(filled)} without a fill"),
        ("profit", f"{text.short(pnl)} {assets.quote or 'quote'}, {text.short(r)} R"),
        ("commissions", text.amounts(_sum(trade.commissions for trade in trades))),
        *([("interest", text.amounts(_sum(trade.interest for trade in trades)))] if borrowed else []),
        *([("still owed", text.amounts(owed))] if owed else []),
        ("dust", f"{text.short(dust)} {assets.base or 'base'}"),
        ("longest unprotected", bare),
    ]


def _sum(amounts: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for each in amounts:
        for asset, amount in each.items():
            total[asset] = total.get(asset, ZERO) + amount
    return total
