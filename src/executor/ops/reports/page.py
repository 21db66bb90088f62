"""A report as one file: everything is in it, it runs no script and asks nobody for anything."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from html import escape
from importlib import resources
from typing import Final, NamedTuple

from executor.core.model.state import Closed
from executor.core.model.values import plain, rounded, short
from executor.ops import report, text
from executor.ops.assets import assets_of
from executor.ops.report import Part
from executor.ops.reports import charts
from executor.ops.reports.figures import Figures, distribution, figures_of
from executor.ops.reports.paths import TradePath

Row = Sequence[str]
_R_SHOWN: Final = Decimal("0.01")
TRADES: Final = (
    "opened (UTC)",
    "held",
    "side",
    "reason",
    "quantity",
    "entry planned",
    "entry",
    "slippage",
    "exit",
    "exit slippage",
    "R",
    "result",
    "bare s",
    "commissions",
)
_NUMBERS: Final = frozenset(TRADES) - {"opened (UTC)", "side", "reason", "commissions"}


def report_page(
    title: str,
    trades: Sequence[Closed],
    paths: Mapping[Part, Mapping[str, TradePath]],
    *,
    accounts: Sequence[str] = (),
    about: Sequence[tuple[str, str]] = (),
    untaken: Sequence[Row] = (),
) -> str:
    """Finished trades. `paths`: by account and symbol, and there by trade, of those whose way is known; `accounts`:
    whose each trade is, where accounts have names; `about`: what the report is of; `untaken`: signals that became no
    trade, when and why.
    """
    found = report.parts(trades, accounts)
    sections: list[_Section] = []
    taken: frozenset[str] = frozenset()
    for part in sorted(found):
        sections.append(_Section(part, paths.get(part, {}), taken))
        taken |= {trade.trade for trade in found[part]}
    links = "".join(f'<a href="#{each.id}">{escape(each.name)}</a> ' for each in sections)
    body = [
        definitions(about, "about"),
        f'<nav aria-label="Symbols">{links}</nav>' if len(sections) > 1 else "",
        *(_symbol(each, sorted(found[each.part], key=lambda trade: trade.closed)) for each in sections),
        "" if sections else "<p>No trade has finished.</p>",
        _untaken(untaken),
    ]
    return document(title, "\n".join(body))


_NOTES: Final = (
    "All times are UTC. Prices and slippage are quote per base; slippage above zero is worse than planned. Profit is"
    " net of commissions that can be priced, and of interest."
)


def document(title: str, body: str) -> str:
    """The whole file around a body."""
    css = _css()
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(css)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{escape(title)}</title>",
            '<link rel="icon" href="data:,">',
            f"<style>{css}</style>",
            "</head>",
            "<body>",
            '<a class="skip" href="#content">Skip to the figures</a>',
            f"<header><h1>{escape(title)}</h1></header>",
            f'<main id="content" tabindex="-1">{body}</main>',
            f"<footer><p>{_NOTES}</p></footer>",
            "</body>",
            "</html>",
            "",
        )
    )


def definitions(pairs: Sequence[tuple[str, str]], kind: str) -> str:
    """Names and what they are."""
    if not pairs:
        return ""
    inside = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="{kind}">{inside}</dl>'


def table(header: Row, rows: Sequence[Row], label: str, *, numbers: frozenset[str] = frozenset()) -> str:
    """Cells of `rows` are markup already; the first of each names its row. It can be moved sideways by keyboard."""
    kinds = [' class="n"' if name in numbers else "" for name in header]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(header, kinds, strict=True))
    lines = "".join(f"<tr>{_cells(row, kinds)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _cells(row: Row, kinds: Sequence[str]) -> str:
    rest = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
    return f'<th scope="row">{row[0]}</th>{rest}'


def figure(svg: str, caption: str) -> str:
    """`caption` is markup."""
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>" if svg else ""


class _Section(NamedTuple):
    """One symbol of one account. Trades are told apart by when they began: `taken` are the names of those before."""

    part: Part
    paths: Mapping[str, TradePath]
    taken: frozenset[str]

    @property
    def name(self) -> str:
        return report.name_of(self.part)

    @property
    def id(self) -> str:
        return f"s-{escape(self.name.replace(' ', '-'))}"

    def anchor(self, trade: Closed) -> str:
        which = f"{self.id}-{trade.trade}" if trade.trade in self.taken else trade.trade
        return f"t-{escape(which)}"


def _symbol(section: _Section, trades: Sequence[Closed]) -> str:
    name = section.name
    assets = assets_of(section.part[1], [asset for trade in trades for asset in trade.commissions])
    quote = assets.quote or "quote"
    figures = figures_of(trades)
    equity = figure(charts.equity_chart(trades, quote), f"Profit so far, in {escape(quote)}")
    spread = figure(charts.r_chart(distribution(trades)), "How many trades ended with which R")
    slips = figure(
        charts.slippage_chart(trades),
        "Slippage in R, above the line is worse than planned: dots are entries, squares exits",
    )
    facts = definitions(_summary(figures, quote), "facts")
    rows = [_row(trade, section.anchor(trade)) for trade in trades]
    return (
        f'<section class="symbol" aria-labelledby="{section.id}"><h2 id="{section.id}">{escape(name)}</h2>'
        f'<div class="columns">{equity or "<p>No trade was filled.</p>"}{facts}'
        f'</div><div class="two">{spread}{slips}</div>'
        f"<h3>Trades</h3>{table(TRADES, rows, f'{name} trades', numbers=_NUMBERS)}"
        f"<h3>Each trade</h3>{''.join(_trade(trade, section) for trade in reversed(trades))}</section>"
    )


def _summary(of: Figures, quote: str) -> list[tuple[str, str]]:
    filled = of.trades - of.unfilled
    pairs = [
        ("trades", str(of.trades)),
        ("won, lost", f"{of.won}, {of.lost}"),
        ("without a fill", str(of.unfilled)),
        ("profit", f"{_cents(of.pnl)} {quote}"),
        ("deepest fall", f"{_cents(of.drawdown)} {quote}"),
        ("R", _r(of.r)),
        ("R a trade", _r(of.r / filled) if filled else text.NONE),
        ("best, worst R", f"{_r(of.r_best)}, {_r(of.r_worst)}"),
        ("entry slippage, mean", _cents(of.entry_slippage)),
        ("exit slippage, mean", _cents(of.exit_slippage)),
        ("commissions", text.amounts(of.commissions)),
    ]
    if of.interest:
        pairs.append(("interest", text.amounts(of.interest)))
    return [
        *pairs,
        ("unprotected", _seconds(of.unprotected_ms)),
        ("the longest", _seconds(of.unprotected_longest_ms)),
    ]


def _row(trade: Closed, anchor: str) -> list[str]:
    filled = bool(trade.qty)
    return [
        f'<a href="#{anchor}">{text.moment(trade.opened)}</a>',
        text.span(trade.closed - trade.opened),
        escape(str(trade.direction)),
        escape(str(trade.reason)),
        short(trade.qty) if filled else text.NONE,
        short(trade.entry_planned),
        text.NONE if trade.entry_avg is None else _cents(trade.entry_avg),
        _cents(trade.entry_slippage) if filled else text.NONE,
        text.NONE if trade.exit_avg is None else _cents(trade.exit_avg),
        _cents(trade.exit_slippage) if filled else text.NONE,
        _r(trade.r) if filled else text.NONE,
        _cents(trade.pnl) if filled else text.NONE,
        text.seconds(trade.unprotected_ms) if trade.unprotected_ms else "0",
        escape(text.amounts(trade.commissions)),
    ]


def _trade(trade: Closed, section: _Section) -> str:
    path = section.paths.get(trade.trade)
    result = f"{_r(trade.r)} R, {_cents(trade.pnl)}" if trade.qty else "without a fill"
    head = f"{text.moment(trade.opened)} {trade.direction}, {trade.reason}, {result}"
    facts = [
        ("trade", trade.trade),
        ("signal", trade.signal),
        ("closed", text.moment(trade.closed)),
        ("entry planned", short(trade.entry_planned)),
        ("entry", text.NONE if trade.entry_avg is None else _cents(trade.entry_avg)),
        ("stop planned", short(trade.stop_planned)),
        ("targets planned", ", ".join(short(target) for target in trade.targets_planned) or text.NONE),
        ("exit", text.NONE if trade.exit_avg is None else _cents(trade.exit_avg)),
        ("commissions", text.amounts(trade.commissions)),
        *([("interest", text.amounts(trade.interest))] if trade.interest else []),
        ("unprotected", _seconds(trade.unprotected_ms)),
    ]
    chart = charts.trade_chart(trade, path) if path is not None else ""
    picture = figure(chart, _LEGEND) or "<p>The journal does not reach back to this trade: its way is not known.</p>"
    return (
        f'<details id="{section.anchor(trade)}"><summary>{escape(head)}</summary>'
        f'<div class="columns"><div>{picture}{_fills(trade, path)}</div>{definitions(facts, "facts")}</div></details>'
    )


_LEGEND: Final = (
    '<span class="key accent"></span>price <span class="key stop"></span>stop on the exchange'
    ' <span class="key dashed entry"></span>entry planned <span class="key dashed target"></span>targets planned'
    ' <span class="key bare"></span>without a stop. Arrows up are purchases, down sales.'
)


def _fills(trade: Closed, path: TradePath | None) -> str:
    if path is None or not path.fills:
        return ""
    rows = [
        [
            text.instant(fill.at)[11:23],
            escape(fill.role),
            escape(fill.side),
            short(fill.price),
            short(fill.qty),
            escape(fill.order),
        ]
        for fill in path.fills
    ]
    header = ("filled at", "for", "side", "price", "quantity", "order")
    return table(header, rows, f"fills of trade {trade.trade}", numbers=frozenset({"price", "quantity"}))


def _untaken(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    cells = [[escape(cell) for cell in row] for row in rows]
    listed = table(("signal", "at (UTC)", "why"), cells, "why each was not taken")
    return (
        f'<section class="symbol" aria-labelledby="untaken"><h2 id="untaken">Signals not taken</h2>{listed}</section>'
    )


def _cents(value: Decimal) -> str:
    """An amount of quote or an average price: to four digits, or as many more as its own first six need."""
    return short(rounded(value, Decimal(1).scaleb(min(-4, value.adjusted() - 5)))) if value else "0"


def _seconds(ms: int) -> str:
    return f"{text.seconds(ms)} s" if ms else "0 s"


def _r(value: Decimal) -> str:
    return plain(rounded(value, _R_SHOWN))


@cache
def _css() -> str:
    ops = resources.files("executor.ops")
    return "".join(ops.joinpath(name).read_text("utf-8") for name in ("page/static/page.css", "reports/report.css"))


def _policy(css: str) -> str:
    """Nothing but this one style sheet, which is named by its hash."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
