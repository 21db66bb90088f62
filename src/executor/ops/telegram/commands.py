"""The commands of the chat, and their answers: from memory, save what a command has to ask of the exchange.

Answers are Telegram's HTML. Nothing here knows who asks: that has been looked at before (`listener`).
"""

import asyncio
import html
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.events import Commanded, Verb
from executor.core.model.state import Closed
from executor.core.model.verdict import Ignored, Moved, Refusal
from executor.ops import check as ops_check
from executor.ops import margin as ops_margin
from executor.ops import status as ops_status
from executor.ops import text
from executor.ops.check_now import check_now
from executor.ops.telegram.confirm import Questions
from executor.service.loop import Loop

OBEY_WITHIN_S: Final = 20.0
"""A command that has not been taken by then is in the inbox all the same; the answer says so."""
CHECK_WITHIN_S: Final = 25.0
TRADES_SHOWN: Final = 10
SYMBOLS_SHOWN: Final = 12

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


Why = Callable[[Loop, str], Awaitable[str]]
"""How the trade or order of that id came about, in plain text; of the open or the last trade where the id is empty."""


class Commands:
    """`why`: what `/why` answers. `loops` by symbol."""

    def __init__(self, loops: Mapping[str, Loop], why: Why, questions: Questions | None = None) -> None:
        self._loops = loops
        self._why = why
        self._questions = questions or Questions()

    async def answer(self, command: str, words: Sequence[str]) -> list[Reply]:
        """What `/command words…` is answered with, after it has been carried out."""
        if command in {"help", "start"}:
            return [Reply(_help())]
        if command not in {name for name, _ in COMMANDS}:
            return [Reply(f"/{html.escape(command)} is no command here.\n\n{_help()}")]
        if command == "why":
            return [Reply(await self._explain(words))]
        loops = self._chosen(words)
        if isinstance(loops, str):
            return [Reply(loops)]
        match command:
            case "status":
                return [Reply(self._status(loops))]
            case "check":
                return [Reply("\n\n".join([await self._check(loop) for loop in loops]))]
            case "trades":
                return [Reply(_trades(loops))]
            case "pause":
                return [Reply(await self._obey(loops, Verb.PAUSE, "no new entries"))]
            case "resume":
                return [Reply(await self._obey(loops, Verb.RESUME, "entries are allowed"))]
            case _:
                return self._ask_to_flatten(loops)

    async def pressed(self, data: str) -> str:
        """What the press of a button is answered with, after it has been carried out."""
        question, yes, void = self._questions.take(data)
        if question is None:
            return void
        if not yes:
            return f"{question.symbol}: nothing is done. The trade goes on."
        loop = self._loops[question.symbol]
        position = loop.state.position
        if position is None or position.trade != question.trade:
            return f"{question.symbol}: trade {question.trade} has ended meanwhile. Nothing is done."
        return await self._obey([loop], Verb.FLATTEN, "being closed at market")

    def _chosen(self, words: Sequence[str]) -> list[Loop] | str:
        """The loops that a command is about: all, or that of the symbol which is named."""
        if not words:
            return list(self._loops.values())
        symbol = words[0].upper()
        if symbol not in self._loops:
            return f"{html.escape(words[0])} is not traded here, but {', '.join(self._loops)}."
        return [self._loops[symbol]]

    # --- what is ----------------------------------------------------------------------------------------------------

    def _status(self, loops: Sequence[Loop]) -> str:
        """The open trades first; of many symbols the idle ones only as a number."""
        ranked = sorted(loops, key=lambda loop: loop.state.position is None)
        open_ones = sum(loop.state.position is not None for loop in loops)
        shown = ranked[: max(SYMBOLS_SHOWN, open_ones)]
        parts = [_status(ops_status.status_of(loop.state, loop.engine.rules, running=True)) for loop in shown]
        if len(shown) < len(loops):
            parts.append(f"{len(loops) - len(shown)} more symbols without a trade")
        return "\n\n".join(parts)

    async def _check(self, loop: Loop) -> str:
        try:
            async with asyncio.timeout(CHECK_WITHIN_S):
                checked = await check_now(loop)
        except TimeoutError:
            return f"<b>{loop.state.symbol}</b>: the exchange did not answer within {CHECK_WITHIN_S:.0f} s"
        if checked.found is None or not checked.certain:
            return f"<b>{loop.state.symbol}</b>: {html.escape(checked.text)}"
        return f"<pre>{html.escape(ops_check.as_text(checked.found))}</pre>"

    async def _explain(self, words: Sequence[str]) -> str:
        """Of the symbol or the id that is named; else of the trade that is open, or was the last."""
        about = words[0] if words else ""
        loops = list(self._loops.values())
        if about.upper() in self._loops:
            loops, about = [self._loops[about.upper()]], ""
        if not about:
            loops = [max(loops, key=_newest)]
        told = [await self._why(loop, about) for loop in loops]
        return "\n\n".join(html.escape(each) for each in told if each) or f"Nothing is known of {html.escape(about)}."

    # --- what is done -----------------------------------------------------------------------------------------------

    async def _obey(self, loops: Sequence[Loop], verb: Verb, done: str) -> str:
        return "\n".join([f"{loop.state.symbol}: {await _command(loop, verb, done)}" for loop in loops])

    def _ask_to_flatten(self, loops: Sequence[Loop]) -> list[Reply]:
        replies = []
        for loop in loops:
            position = loop.state.position
            if position is not None:
                found = ops_status.status_of(loop.state, loop.engine.rules, running=True)
                buttons = tuple(self._questions.ask(loop.state.symbol, position.trade))
                replies.append(Reply(f"{_status(found)}\n\n<b>Close it at market?</b>", buttons))
        return replies or [Reply("No trade is open.")]


async def _command(loop: Loop, verb: Verb, done: str) -> str:
    asked = asyncio.ensure_future(loop.ask(Commanded(at=loop.now(), verb=verb)))
    finished, _ = await asyncio.wait({asked}, timeout=OBEY_WITHIN_S)
    if not finished:
        asked.add_done_callback(lambda task: task.cancelled() or task.exception())
        return f"{verb} waits its turn: see /status in a moment"
    match asked.result().verdict:
        case Moved():
            return done
        case Ignored(why) | Refusal(why):
            return html.escape(why)


def _newest(loop: Loop) -> int:
    state = loop.state
    if state.position is not None:
        return state.position.opened
    return state.last_closed.closed if state.last_closed is not None else 0


def _help() -> str:
    return "\n".join(f"/{name}: {meaning}" for name, meaning in COMMANDS)


def _status(found: ops_status.Status) -> str:
    lines = [f"<b>{found.symbol}</b>" + ("" if not found.recovering else " (looking up its orders)")]
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
    lines = [
        f"{position.side} {_short(position.held)} held, {_short(position.covered)} covered by stops, {position.phase}",
        f"entry {_short(position.entry_avg or position.planned_entry)}, stop {stop}",
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


def _trades(loops: Sequence[Loop]) -> str:
    """The newest of all symbols, the newest first."""
    closed: list[Closed] = sorted(
        (trade for loop in loops for trade in loop.closed), key=lambda trade: trade.closed, reverse=True
    )
    rows = [
        (
            text.moment(trade.closed)[5:16],
            trade.symbol,
            str(trade.direction),
            str(trade.reason),
            text.short(trade.pnl),
            text.short(trade.r),
        )
        for trade in closed[:TRADES_SHOWN]
    ]
    if not rows:
        return "No trade has been finished yet."
    table = text.columns(("closed", "symbol", "side", "why", "result", "R"), rows, right=("result", "R"))
    return f"<pre>{html.escape(table)}</pre>"
