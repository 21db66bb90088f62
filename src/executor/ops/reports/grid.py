"""Many simulations beside each other: each combination of settings on each recording, as text, for programs and as a
page.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import Final

import msgspec

from executor.core.model.values import ZERO, plain, rounded, short
from executor.ops import text
from executor.ops.reports.drawing import spark
from executor.ops.reports.figures import Figures
from executor.ops.reports.page import definitions, document, table

Setting = tuple[str, str]
ADVICE: Final = (
    "The best of many on one recording is often luck: look for settings whose neighbours are good too, and try them on"
    " a recording that they were not chosen by."
)


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One combination on one recording. `curve`: the sum of R after each trade that had a fill; `faults`: why its
    account does not add up, empty where it does.
    """

    settings: tuple[Setting, ...]
    recording: str
    symbol: str
    quote: str
    figures: Figures
    curve: tuple[Decimal, ...] = ()
    faults: tuple[str, ...] = ()


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """One combination on all its recordings; profit by quote asset."""

    settings: tuple[Setting, ...]
    trades: int
    won: int
    filled: int
    r: Decimal
    r_worst: Decimal
    pnl: dict[str, Decimal]
    drawdown: dict[str, Decimal]
    unprotected_ms: int
    curve: tuple[Decimal, ...]

    @property
    def r_mean(self) -> Decimal:
        """R for each trade that had a fill; 0 where none had."""
        return self.r / self.filled if self.filled else ZERO


class CellRow(msgspec.Struct, frozen=True, kw_only=True):
    """A cell as JSON and CSV show it: decimals in plain digits, profit, deepest fall in `quote`."""

    settings: dict[str, str]
    recording: str
    symbol: str
    trades: int
    won: int
    lost: int
    unfilled: int
    r: str
    r_best: str
    r_worst: str
    pnl: str
    drawdown: str
    quote: str
    commissions: dict[str, str]
    unprotected_sec: str
    unprotected_longest_sec: str


def totals(cells: Iterable[Cell]) -> list[Total]:
    """Of each combination, the best by its sum of R first."""
    by_settings: dict[tuple[Setting, ...], list[Cell]] = {}
    for cell in cells:
        by_settings.setdefault(cell.settings, []).append(cell)
    return sorted((_total(settings, own) for settings, own in by_settings.items()), key=_result, reverse=True)


def as_table(cells: Sequence[Cell]) -> str:
    """A line for each combination, the best first, over all recordings."""
    names = [name for name, _ in cells[0].settings] if cells else []
    header = (*names, *_FIGURES)
    rows = [(*(value for _, value in each.settings), *_figures(each)) for each in totals(cells)]
    return text.columns(header, rows, right=_FIGURES)


def as_json(cells: Sequence[Cell]) -> str:
    return text.json([_row(cell) for cell in cells])


def as_csv(cells: Sequence[Cell]) -> str:
    """The columns of the JSON, each setting in one of its own."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [name for name, _ in cells[0].settings] if cells else []
    writer.writerow([*names, *CellRow.__struct_fields__[1:]])
    for cell in cells:
        values = msgspec.structs.astuple(_row(cell))[1:]
        listed = [
            " ".join(f"{asset}={paid}" for asset, paid in each.items()) if isinstance(each, dict) else each
            for each in values
        ]
        writer.writerow([*(value for _, value in cell.settings), *listed])
    return out.getvalue().removesuffix("\n")


def grid_page(title: str, cells: Sequence[Cell], about: Sequence[tuple[str, str]] = ()) -> str:
    """All of it as one file: each combination, each setting by itself, and each recording."""
    found = totals(cells)
    body = [definitions(about, "about"), f"<p>{escape(ADVICE)}</p>"]
    if found:
        body += [_combinations(found), _settings(found), _recordings(cells, found)]
    return document(title, "\n".join(body))


_FIGURES: Final = ("trades", "won", "R", "R a trade", "worst R", "profit", "deepest fall", "bare s")


def _figures(of: Total) -> list[str]:
    return [
        str(of.trades),
        f"{100 * of.won // of.filled} %" if of.filled else text.NONE,
        _r(of.r),
        _r(of.r_mean),
        _r(of.r_worst),
        _amounts(of.pnl),
        _amounts(of.drawdown),
        text.seconds(of.unprotected_ms) if of.unprotected_ms else "0",
    ]


def _combinations(found: Sequence[Total]) -> str:
    names = [name for name, _ in found[0].settings]
    header = (*(names or ["settings"]), *_FIGURES, "way of R")
    rows = [
        [
            *([escape(value) for _, value in each.settings] if names else ["as set"]),
            *(escape(figure) for figure in _figures(each)),
            spark([(float(i), float(r)) for i, r in enumerate((ZERO, *each.curve))], "line accent"),
        ]
        for each in found
    ]
    listed = table(header, rows, "each combination", numbers=frozenset(_FIGURES))
    return _section("Combinations, the best first", "combinations", listed)


def _settings(found: Sequence[Total]) -> str:
    """What each value of each setting came to, whatever the others were."""
    rows = []
    for place, (name, _) in enumerate(found[0].settings):
        by_value: dict[str, list[Total]] = {}
        for each in found:
            by_value.setdefault(each.settings[place][1], []).append(each)
        if len(by_value) > 1:
            rows += [
                [
                    escape(f"{name}={value}"),
                    str(len(own)),
                    _r(sum((each.r for each in own), ZERO) / len(own)),
                    _r(max(each.r for each in own)),
                    _r(min(each.r for each in own)),
                ]
                for value, own in by_value.items()
            ]
    if not rows:
        return ""
    header = ("value", "combinations", "R on average", "best", "worst")
    return _section(
        "Each setting by itself", "settings", table(header, rows, "values of settings", numbers=frozenset(header[1:]))
    )


def _recordings(cells: Sequence[Cell], found: Sequence[Total]) -> str:
    """R of each combination on each recording; empty where there is only one."""
    files = list(dict.fromkeys(cell.recording for cell in cells))
    if len(files) < 2:
        return ""
    r = {(cell.settings, cell.recording): _r(cell.figures.r) for cell in cells}
    rows = [
        [escape(words_of(each.settings)), *(r.get((each.settings, file), text.NONE) for file in files)]
        for each in found
    ]
    listed = table(("combination", *files), rows, "R by recording", numbers=frozenset(files))
    return _section("R on each recording", "recordings", listed)


def words_of(settings: Sequence[Setting]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings) or "as set"


def _section(heading: str, name: str, inside: str) -> str:
    return f'<section class="symbol" aria-labelledby="{name}"><h2 id="{name}">{heading}</h2>{inside}</section>'


def _total(settings: tuple[Setting, ...], cells: Sequence[Cell]) -> Total:
    pnl: dict[str, Decimal] = {}
    drawdown: dict[str, Decimal] = {}
    curve: list[Decimal] = []
    for cell in cells:
        pnl[cell.quote] = pnl.get(cell.quote, ZERO) + cell.figures.pnl
        drawdown[cell.quote] = max(drawdown.get(cell.quote, ZERO), cell.figures.drawdown)
        base = curve[-1] if curve else ZERO
        curve += [base + r for r in cell.curve]
    return Total(
        settings=settings,
        trades=sum(cell.figures.trades for cell in cells),
        won=sum(cell.figures.won for cell in cells),
        filled=sum(cell.figures.trades - cell.figures.unfilled for cell in cells),
        r=sum((cell.figures.r for cell in cells), ZERO),
        r_worst=min(cell.figures.r_worst for cell in cells),
        pnl=pnl,
        drawdown=drawdown,
        unprotected_ms=sum(cell.figures.unprotected_ms for cell in cells),
        curve=tuple(curve),
    )


def _row(cell: Cell) -> CellRow:
    of = cell.figures
    return CellRow(
        settings=dict(cell.settings),
        recording=cell.recording,
        symbol=cell.symbol,
        trades=of.trades,
        won=of.won,
        lost=of.lost,
        unfilled=of.unfilled,
        r=plain(of.r),
        r_best=plain(of.r_best),
        r_worst=plain(of.r_worst),
        pnl=plain(of.pnl),
        drawdown=plain(of.drawdown),
        quote=cell.quote,
        commissions={asset: plain(paid) for asset, paid in sorted(of.commissions.items())},
        unprotected_sec=text.seconds(of.unprotected_ms),
        unprotected_longest_sec=text.seconds(of.unprotected_longest_ms),
    )


def _result(total: Total) -> Decimal:
    return total.r


def _r(value: Decimal) -> str:
    return plain(rounded(value, Decimal("0.01")))


def _amounts(by_asset: dict[str, Decimal]) -> str:
    return ", ".join(f"{short(rounded(value, Decimal('0.01')))} {asset}" for asset, value in sorted(by_asset.items()))
