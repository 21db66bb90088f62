"""The pages of a process that trades several accounts: one for each that is traded here, and a list of them."""

import time
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from html import escape
from typing import Final
from urllib.parse import quote

from aiohttp import web

from executor.ops import status, text
from executor.ops.alerts.alerts import Alerts
from executor.ops.keep_up import keep_up
from executor.ops.page.feed import CLIENTS_MAX, Feed
from executor.ops.ready import unready
from executor.service.loop import Loop

_HEADER: Final = ("account", "symbol", "trade", "held", "stop", "without a stop", "entries", "profit today")


class AccountPages:
    """`alerts`: the process's; each page shows those of its account, and those that are of none."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts
        self._feeds: dict[str, Feed] = {}

    def attendant(self, account: str) -> "PageAttendant":
        return PageAttendant(self, account)

    async def keep(self, account: str, loops: Mapping[str, Loop]) -> None:
        """Have a page for the account, for as long as its loops run."""
        feed = Feed(list(loops.values()), partial(unready, loops), self._alerts, account)
        for loop in loops.values():
            loop.on_step.append(feed.observe)
        self._feeds[account] = feed
        try:
            await keep_up("page", feed.run)()
        finally:
            feed.close()
            if self._feeds.get(account) is feed:  # it may have been begun anew meanwhile
                del self._feeds[account]

    def __contains__(self, account: str) -> bool:
        return account in self._feeds

    async def events(self, account: str, request: web.Request) -> web.StreamResponse:
        """As `Feed.events`; no more may look at all of them together than at one."""
        if sum(len(each.clients) for each in self._feeds.values()) >= CLIENTS_MAX:
            return web.Response(status=503, text=f"{CLIENTS_MAX} are looking already\n")
        return await self._feeds[account].events(request)


class PageAttendant:
    """Runs beside the loops of one account."""

    def __init__(self, pages: AccountPages, account: str) -> None:
        self._pages = pages
        self._account = account

    async def run(self, loops: Mapping[str, Loop]) -> None:
        await self._pages.keep(self._account, loops)


def overview(loops: Mapping[str, Mapping[str, Loop]]) -> str:
    """The accounts that are traded here, what each symbol holds, and links to their pages, which are live."""
    told = [
        (account, status.status_of(loop.state, loop.engine.rules, running=True, now=loop.now()))
        for account in sorted(loops)
        for loop in loops[account].values()
    ]
    open_ones = [f"{account} {each.symbol} {_side(each.position)}" for account, each in told if each.position]
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADER)
    return _PAGE.format(
        title=escape(" - ".join([*open_ones, "Executor"])),
        count=f"{len(loops)} accounts are traded here, as of {text.moment(time.time_ns() // 1_000_000)}",
        head=head,
        rows="".join(_row(account, each) for account, each in told),
    )


def _row(account: str, told: status.Status) -> str:
    position = told.position
    if position is None:
        cells = ["no trade is open", "", "", ""]
    else:
        bare = text.short(Decimal(position.unprotected)) if _bare(position) else "nothing"
        cells = [
            f"{position.side}, {position.phase}",
            text.short(Decimal(position.held)),
            position.live_stop or "none",
            bare,
        ]
    cells += [status.entries_text(told), text.short(Decimal(told.pnl_today))]
    kind = ' class="bad"' if told.halted or (position is not None and _bare(position)) else ""
    link = f'<a href="account/{quote(account, safe="")}/">{escape(account)}</a>'
    rest = "".join(f"<td{kind}>{escape(cell)}</td>" for cell in (told.symbol, *cells))
    return f'<tr><th scope="row">{link}</th>{rest}</tr>'


def _side(position: status.PositionStatus) -> str:
    return "UNPROTECTED" if _bare(position) else position.side


def _bare(position: status.PositionStatus) -> bool:
    return bool(Decimal(position.unprotected))


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="static/page.css">
</head>
<body>
<header><h1>Executor</h1><p>{count}</p></header>
<main>
<div class="scroll" tabindex="0" role="region" aria-label="accounts"><table>
<thead><tr>{head}</tr></thead>
<tbody>{rows}</tbody>
</table></div>
</main>
<footer>
<nav aria-label="For programs">
<a href="status">status</a>
<a href="readyz">readyz</a>
<a href="healthz">healthz</a>
<a href="metrics">metrics</a>
</nav>
<p>All times are UTC. These pages only show; they command nothing.</p>
</footer>
</body>
</html>
"""
