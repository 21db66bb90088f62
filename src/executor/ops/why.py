"""How a trade or an order came about, in plain lines: from what was put down as it happened, and for what came before
the start from the list of finished trades and the journal's end.

Looks at no more than the journal's last part, in a thread: the answer may be short, but trading never waits for it.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from executor.core.model import ids
from executor.core.model.events import Absent, AnyEvent, Commanded, Reported, SignalSeen
from executor.core.model.state import Closed, State
from executor.core.model.values import short
from executor.ops import logs, text
from executor.ops.alerts import wording
from executor.ops.memoir import Memoir
from executor.service.loop import Loop
from executor.service.store.journal import JournalError, tail
from executor.service.store.records import Record, Took

READ_MAX: Final = 512 * 1024
TEXT_MAX: Final = 3_000
"""Characters: with what is put around it, and its signs as markup, one message."""


def remember(loop: Loop) -> None:
    """Have a loop's trades put down from now on."""
    loop.memoir = Memoir(loop.state, loop.now())
    loop.on_step.append(loop.memoir.observe)


async def why(loop: Loop, about: str, journal: Path) -> str:
    """Of the trade, the order or the signal `about`; of the open or the last trade where that is empty. Empty where
    nothing is known of it. Orders go by their names without the trade's, which may be asked for so too: `SL_7`.
    """
    trade, order = _named(loop, about)
    memoir = loop.memoir
    if not trade:
        refused = [*memoir.refusal(about)] if memoir is not None else []
        return "\n".join(refused or _refused(about))
    closed = next((each for each in reversed(loop.closed) if each.trade == trade), None)
    head = _head(loop.state, closed, trade)
    told = [*memoir.lines(trade, order)] if memoir is not None else []
    fault, records = "", list[Record]()
    if memoir is None or not memoir.begins(trade):
        try:
            records = await asyncio.to_thread(tail, journal, Record, READ_MAX)  # type: ignore[arg-type]  # a union is no class
        except JournalError as error:
            fault = str(error)
    until = memoir.since if memoir is not None and told else None
    over = closed.closed if closed is not None else None
    older = [*_told(records, trade, order, _signal(loop.state, closed), until, over)]
    lines = [line.replace(f"EX_{trade}_", "") for line in (*older, *told)]
    if not head and not lines:
        return ""
    return "\n".join([*head, *_newest(lines, trade), *([fault] if fault else [])])


def _newest(lines: list[str], trade: str) -> list[str]:
    """As many as one message holds."""
    room, kept = TEXT_MAX, len(lines)
    while kept and (room := room - len(lines[kept - 1]) - 1) > 0:
        kept -= 1
    left_out = [f"({kept} earlier lines left out: executor why {trade})"] if kept else []
    return left_out + lines[kept:]


def _named(loop: Loop, about: str) -> tuple[str, str]:
    """The trade that is meant, and the order where it is one; empty where there is none."""
    latest = _latest(loop.state)
    if not about:
        return latest, ""
    for name in (about, f"EX_{latest}_{about.upper()}"):
        if (parsed := ids.parse(name)) is not None:
            return parsed.trade, name
    position = loop.state.position
    known = [each.trade for each in loop.closed if about in (each.trade, each.signal)]
    if position is not None and about in (position.trade, position.signal):
        known.append(position.trade)
    return (known[-1], "") if known else ("", "")


def _latest(state: State) -> str:
    """The trade that is open, or else the last one."""
    if state.position is not None:
        return state.position.trade
    return state.last_closed.trade if state.last_closed is not None else ""


def _signal(state: State, closed: Closed | None) -> str:
    if closed is not None:
        return closed.signal
    return state.position.signal if state.position is not None else ""


def _head(state: State, closed: Closed | None, trade: str) -> list[str]:
    if closed is not None:
        planned = f"planned: entry {short(closed.entry_planned)}, stop {short(closed.stop_planned)}"
        ended = f"ended {text.moment(closed.closed)}: {closed.reason}, {wording.REASONS[closed.reason]}"
        return [f"{closed.symbol} trade {trade}, signal {closed.signal}", planned, ended]
    position = state.position
    if position is None or position.trade != trade:
        return []
    plan = position.plan
    planned = f"planned: {plan.direction} {short(plan.qty)}, entry {short(plan.entry)}, stop {short(plan.stop)}"
    return [f"{state.symbol} trade {trade}, signal {position.signal}, open", planned]


def _told(
    records: list[Record], trade: str, order: str, signal: str, until: int | None, over: int | None
) -> Iterator[str]:
    """What the journal has of it, a line each, without what says the same as before, a look later; before `until` (ms),
    where that is given. `over` (ms): when it closed. A trade is named by when it began, and commands before that or
    after its close are another's.
    """
    begun = int(trade)
    said: set[str] = set()
    for record in records:
        if not isinstance(record, Took) or (until is not None and record.event.at >= until):
            continue
        event, words = record.event, _words(record.event, trade, order, signal)
        if isinstance(event, Commanded):
            words = words if begun <= event.at and (over is None or event.at <= over) else ""
        elif words in said:
            continue
        if words:
            said.add(words)
            yield f"{text.moment(event.at)[11:]}  {words}"


def _words(event: AnyEvent, trade: str, order: str, signal: str) -> str:
    match event:
        case SignalSeen() if event.signal.key == signal and not order:
            return f"signal: {event.signal.direction} at {short(event.signal.price)}"
        case Reported() if _is_about(event.report.id, trade, order):
            report = event.report
            filled = f", {short(report.cum_qty)} of {short(report.qty)} filled" if report.cum_qty else ""
            level = report.stop_price or report.price
            return f"{report.id} {report.side}{f' at {short(level)}' if level else ''}: {report.status}{filled}"
        case Absent() if _is_about(event.id, trade, order):
            return f"{event.id}: not found on the exchange"
        case Commanded() if not order and event.trade in ("", trade):
            price = f" {short(event.price)}" if event.price is not None else ""
            return f"{text.who_says(event.verb)}{price}"
        case _:
            return ""


def _is_about(client_id: str, trade: str, order: str) -> bool:
    name = ids.parse(client_id)
    return name is not None and name.trade == trade and order in ("", client_id)


def _refused(about: str) -> Iterator[str]:
    """A signal that opened no trade, as far as the log's memory goes."""
    for line in logs.recent(logs.KEPT) if about else []:
        said = msgspec.json.decode(line)
        if said.get("event") == "signal_refused" and about in str(said.get("text")):
            yield f"{said.get('timestamp', '')} signal refused: {said['text']}"
