"""The commands of the chat, and their answers. Where there are several accounts, the first word may name one of them;
a command that would resume entries, or explain a trade, has to say whose.

Answers are Telegram's HTML. Nothing here knows who asks: that has been looked at before (`listener`).
"""

import asyncio
import html
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from executor.core.model.events import Verb
from executor.core.model.state import Closed
from executor.ops import check as ops_check
from executor.ops import margin as ops_margin
from executor.ops import status as ops_status
from executor.ops import text
from executor.ops.telegram.confirm import Questions
from executor.ops.telegram.traded import NotToldError, Traded

T = TypeVar("T")

TRADES_SHOWN: Final = 10
SYMBOLS_SHOWN: Final = 12
QUESTIONS_AT_ONCE: Final = 8
"""Open trades that a command without a name asks about, each in a message of its own."""
AT_ONCE: Final = 16
"""Symbols that are asked at the same time: each may be on another machine."""
ALL: Final = "all"

COMMANDS: Final = (
    ("status", "what is held, and what stands behind it"),
    ("check", "compare the orders on the exchange with those that ought to be there"),
    ("trades", "the last finished trades"),
    ("why", "how a trade or an order came about: /why, or /why and its id"),
    ("pause", "take no new entries"),
    ("resume", "take entries again; ends a pause, and a halt whose cause is gone"),
    ("flatten", "close the open trade at market, after a question"),
    ("help", "these commands"),
)
"""Name and meaning, as setMyCommands wants them."""


class Reply(msgspec.Struct, frozen=True):
    """`buttons`: label and data of each."""

    text: str
    buttons: tuple[tuple[str, str], ...] = ()


class Commands:
    """`traded`: what there is, by account and symbol, at the moment."""

    def __init__(self, traded: Callable[[], Sequence[Traded]], questions: Questions | None = None) -> None:
        self._traded = traded
        self._questions = questions or Questions()

    async def answer(self, command: str, words: Sequence[str]) -> list[Reply]:
        """What `/command words…` is answered with, after it has been carried out."""
        everything = self._traded()
        if command in {"help", "start"}:
            return [Reply(_help(everything))]
        if command not in {name for name, _ in COMMANDS}:
            return [Reply(f"/{html.escape(command)} is no command here.\n\n{_help(everything)}")]
        if not everything:
            return [Reply("No account is traded at the moment.")]
        if command == "why":
            return [Reply(await self._explain(everything, words))]
        chosen = _chosen(command, everything, words)
        if isinstance(chosen, str):
            return [Reply(chosen)]
        if command == "flatten":
            return await self._ask_to_flatten(chosen)
        return [Reply(await _carried_out(command, chosen))]

    async def pressed(self, data: str) -> str:
        """What the press of a button is answered with, after it has been carried out."""
        question, yes, void = self._questions.take(data)
        if question is None:
            return void
        name = html.escape(f"{question.account} {question.symbol}".strip())
        if not yes:
            return f"{name}: nothing is done. The trade goes on."
        for each in self._traded():
            if (each.account, each.symbol) == (question.account, question.symbol):
                told = await each.obey(Verb.FLATTEN, question.trade)
                return f"{name}: {'being closed at market' if told.done else html.escape(told.text)}"
        return f"{name} is not traded at the moment. Nothing is done."

    def shown(self, data: str) -> None:
        """The button of that data is about to be shown."""
        self._questions.shown(data)

    async def _explain(self, everything: Sequence[Traded], words: Sequence[str]) -> str:
        """Of the symbol or the id that is named; else of the trade that is open, or was the last."""
        chosen, rest = _of_account(everything, words)
        about = rest[0] if rest else ""
        if any(each.symbol == about.upper() for each in chosen):
            chosen, about = [each for each in chosen if each.symbol == about.upper()], ""
        if not about and len({each.account for each in chosen}) > 1:
            return f"Whose? /why ACCOUNT, or /why and an id.\n{_accounts(chosen)}"
        if not about and len(chosen) > 1:
            chosen = [await _newest(chosen)]
        told = [each for each in await _each(chosen, lambda traded: _why(traded, about)) if each]
        return "\n\n".join(map(html.escape, told)) or f"Nothing is known of {html.escape(about) or 'any trade'}."

    async def _ask_to_flatten(self, chosen: Sequence[Traded]) -> list[Reply]:
        found = [(each, told) for each, told in zip(chosen, await _each(chosen, _told), strict=True)]
        faults = [f"{_name(each)}: {html.escape(told)}" for each, told in found if isinstance(told, str)]
        open_ones = [(each, told) for each, told in found if not isinstance(told, str) and told.position is not None]
        if len(open_ones) > QUESTIONS_AT_ONCE:
            names = ", ".join(_name(each) for each, _ in open_ones)
            return [Reply(f"{len(open_ones)} trades are open: say /flatten ACCOUNT, or /flatten SYMBOL.\n{names}")]
        replies = []
        for each, told in open_ones:
            assert told.position is not None
            buttons = tuple(self._questions.ask(each.symbol, told.position.trade, each.account))
            replies.append(Reply(f"{_status(told, each.account)}\n\n<b>Close it at market?</b>", buttons))
        if faults:
            replies.append(Reply("\n".join(faults)))
        return replies or [Reply("No trade is open.")]


async def _carried_out(command: str, chosen: Sequence[Traded]) -> str:
    match command:
        case "status":
            return await _statuses(chosen)
        case "check":
            return "\n\n".join(await _each(chosen, _check))
        case "trades":
            return await _trades(chosen)
        case "pause":
            return await _obey(chosen, Verb.PAUSE, "no new entries")
        case _:
            return await _obey(chosen, Verb.RESUME, "entries are allowed")


# --- which ------------------------------------------------------------------------------------------------------------


def _of_account(everything: Sequence[Traded], words: Sequence[str]) -> tuple[list[Traded], list[str]]:
    """What is traded of the account that the first word names, with the words after it; else all, with all words."""
    named = [each for each in everything if each.account and words and each.account.lower() == words[0].lower()]
    if named:
        return named, list(words[1:])
    if words and words[0].lower() == ALL and any(each.account for each in everything):
        return list(everything), list(words[1:])
    return list(everything), list(words)


def _chosen(command: str, everything: Sequence[Traded], words: Sequence[str]) -> list[Traded] | str:
    """What a command is about: all, or what is named; or why it is about nothing."""
    chosen, rest = _of_account(everything, words)
    if rest:
        symbol = rest[0].upper()
        found = [each for each in chosen if each.symbol == symbol]
        if not found:
            there = ", ".join(dict.fromkeys(each.symbol for each in chosen))
            accounts = "" if len(rest) < len(words) else _accounts(chosen)
            return f"{html.escape(rest[0])} is not traded here, but {there}." + (f"\n{accounts}" if accounts else "")
        chosen = found
    if command == "resume" and len(rest) == len(words) and len({each.account for each in chosen}) > 1:
        return f"Whose? /resume ACCOUNT, or /resume {ALL}.\n{_accounts(chosen)}"
    return chosen


def _accounts(traded: Sequence[Traded]) -> str:
    names = dict.fromkeys(each.account for each in traded if each.account)
    return f"Accounts: {html.escape(', '.join(names))}" if names else ""


def _name(traded: Traded) -> str:
    return html.escape(f"{traded.account} {traded.symbol}".strip())


async def _each(chosen: Sequence[Traded], ask: Callable[[Traded], Awaitable[T]]) -> list[T]:
    """What each answers, in order."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(traded: Traded) -> T:
        async with gate:
            return await ask(traded)

    return list(await asyncio.gather(*map(one, chosen)))


# --- what is ----------------------------------------------------------------------------------------------------------


async def _told(traded: Traded) -> ops_status.Status | str:
    """Its status, or why there is none."""
    try:
        return await traded.status()
    except NotToldError as error:
        return str(error)


async def _statuses(chosen: Sequence[Traded]) -> str:
    """The open trades first, and what can't be told; of many symbols the idle ones only as a number."""
    found = list(zip(chosen, await _each(chosen, _told), strict=True))
    ranked = sorted(found, key=lambda row: not isinstance(row[1], str) and row[1].position is None)
    telling = sum(isinstance(told, str) or told.position is not None for _, told in found)
    shown = ranked[: max(SYMBOLS_SHOWN, telling)]
    parts = [
        f"<b>{_name(each)}</b>: {html.escape(t)}" if isinstance(t, str) else _status(t, each.account)
        for each, t in shown
    ]
    if len(shown) < len(found):
        parts.append(f"{len(found) - len(shown)} more symbols without a trade")
    return "\n\n".join(parts)


async def _check(traded: Traded) -> str:
    try:
        found = await traded.check()
    except NotToldError as error:
        return f"<b>{_name(traded)}</b>: {html.escape(str(error))}"
    account = f"<b>{html.escape(traded.account)}</b>\n" if traded.account else ""
    return f"{account}<pre>{html.escape(ops_check.as_text(found))}</pre>"


async def _why(traded: Traded, about: str) -> str:
    try:
        told = await traded.why(about)
    except NotToldError as error:
        return f"{traded.account} {traded.symbol}: {error}"
    return f"{traded.account}: {told}" if told and traded.account else told


async def _newest(chosen: Sequence[Traded]) -> Traded:
    """That whose trade is open, or was the last."""

    async def at(traded: Traded) -> tuple[bool, str]:
        told = await _told(traded)
        if isinstance(told, str):
            return False, ""
        if told.position is not None:
            return True, told.position.opened
        return False, told.last_closed.closed if told.last_closed is not None else ""

    times = await _each(chosen, at)
    return max(zip(times, chosen, strict=True), key=lambda row: row[0])[1]


# --- what is done -----------------------------------------------------------------------------------------------------


async def _obey(chosen: Sequence[Traded], verb: Verb, done: str) -> str:
    async def one(traded: Traded) -> str:
        told = await traded.obey(verb)
        return f"{_name(traded)}: {done if told.done else html.escape(told.text)}"

    return "\n".join(await _each(chosen, one))


def _help(everything: Sequence[Traded]) -> str:
    lines = [f"/{name}: {meaning}" for name, meaning in COMMANDS]
    if accounts := _accounts(everything):
        lines += ["", "An account's name, a symbol, or both may follow: /status NAME, /flatten NAME SYMBOL.", accounts]
    return "\n".join(lines)


def _status(found: ops_status.Status, account: str = "") -> str:
    name = html.escape(f"{account} {found.symbol}".strip())
    lines = [f"<b>{name}</b>" + ("" if not found.recovering else " (looking up its orders)")]
    lines += ["no trade is open"] if found.position is None else _position(found.position)
    if found.last_price is not None:
        lines.append(f"last price {_short(found.last_price)}")
    if found.margin is not None:
        lines += _margin(found.margin)
    lines.append(f"entries: {_entries(found)}")
    lines.append(f"today: {found.trades_today} trades, {_short(found.pnl_today)}")
    if found.last_closed is not None:
        lines.append(f"last: {html.escape(ops_status.told(found.last_closed))}")
    return "\n".join(lines)


def _margin(found: ops_margin.MarginStatus) -> list[str]:
    level = f"level {found.level}" if found.level is not None else "no debt"
    at = f", liquidation at {found.liquidation_price}" if found.liquidation_price is not None else ""
    lines = [f"{found.account}: {level}{at}"]
    lines += [f"{each.asset}: {html.escape(ops_margin.debt_text(each))}" for each in found.debts]
    return [*lines, *([html.escape(found.doing)] if found.doing else [])]


def _position(position: ops_status.PositionStatus) -> list[str]:
    stop = _short(position.live_stop) if position.live_stop is not None else "none"
    now = f", now {position.price_r} R" if position.price_r is not None else ""
    lines = [
        f"{position.side} {_short(position.held)} held, {_short(position.covered)} covered by stops, {position.phase}",
        f"entry {_short(position.entry_avg or position.planned_entry)}, stop {stop}{now}",
    ]
    if position.targets:
        lines.append(f"targets {', '.join(map(_short, position.targets))}")
    if Decimal(position.unprotected):
        lines.append(f"⚠️ {_short(position.unprotected)} without a stop since {position.unprotected_since}")
    return [*lines, f"trade {position.trade}, opened {position.opened}"]


def _short(figure: str) -> str:
    return text.short(Decimal(figure))


def _entries(found: ops_status.Status) -> str:
    if found.halted:
        return f"halted: {html.escape(found.halted)}"
    if found.paused:
        return "paused"
    return "allowed" if found.cooldown_until is None else f"cooldown until {found.cooldown_until}"


async def _trades(chosen: Sequence[Traded]) -> str:
    """The newest of all symbols, the newest first."""

    async def one(traded: Traded) -> tuple[list[tuple[str, Closed]], str]:
        try:
            return [(traded.account, trade) for trade in await traded.trades()][-TRADES_SHOWN:], ""
        except NotToldError as error:
            return [], f"\n{_name(traded)}: {html.escape(str(error))}"

    found = await _each(chosen, one)
    closed = sorted((row for rows, _ in found for row in rows), key=lambda row: row[1].closed, reverse=True)
    faults = "".join(fault for _, fault in found)
    if not closed:
        return "No trade has been finished yet." + faults
    several = any(each.account for each in chosen)
    rows = [(*((account,) if several else ()), *_row(trade)) for account, trade in closed[:TRADES_SHOWN]]
    names = (*(("account",) if several else ()), "closed", "symbol", "side", "why", "result", "R")
    return f"<pre>{html.escape(text.columns(names, rows, right=('result', 'R')))}</pre>" + faults


def _row(trade: Closed) -> tuple[str, ...]:
    return (
        text.moment(trade.closed)[5:16],
        trade.symbol,
        str(trade.direction),
        str(trade.reason),
        text.short(trade.pnl),
        text.short(trade.r),
    )
