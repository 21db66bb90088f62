"""Alerts in words: what a finished trade says of itself, and messages for people and programs."""

import html
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from executor.config import Topic
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closed, Reason
from executor.ops import text
from executor.ops.alerts.catalogue import kind_of
from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.queue import Waiting

TEXT_MAX: Final = 600
"""Characters of one alert's text: three of them fit into one message, whatever they are. The log has all of it."""
LATE_MS: Final = 60_000
"""An alert that is told so much later says when it was."""
SIGN: Final = {Severity.INFO: "", Severity.WARNING: "⚠️ ", Severity.CRITICAL: "🔴 "}

REASONS: Final = {
    Reason.TP: "the targets were reached",
    Reason.SL: "the stop was reached",
    Reason.BREAKEVEN: "the stop at breakeven was reached",
    Reason.TRAIL: "the trailing stop was reached",
    Reason.ENTRY_TIMEOUT: "the entry was not filled in time",
    Reason.ENTRY_CANCELLED: "the entry was cancelled by the operator",
    Reason.PLANB_DEVIATION: "the entry was not filled, and the price was too far away for Plan B",
    Reason.PLANB_PAST_TP1: "the entry was not filled, and the price was past the first target",
    Reason.PLANB_PAST_STOP: "the entry was not filled, and the price was past the stop",
    Reason.PLANB_NO_PRICE: "the entry was not filled, and there was no fresh price for Plan B",
    Reason.PLANB_REFUSED: "the entry was not filled, and the exchange refused Plan B",
    Reason.FAILSAFE: "the exits could not be placed: closed at market by the failsafe",
    Reason.FLATTEN: "closed at market by the operator",
    Reason.MAX_HOLD: "held for MAX_HOLD_SEC: closed at market",
    Reason.EXTERNAL: "closed by somebody else's hand",
    Reason.REJECTED: "the exchange refused the entry",
    Reason.BORROW_REFUSED: "what the entry lacked was not lent",
    Reason.MARGIN_LEVEL: "the margin level was too low: closed at market",
    Reason.LIQUIDATED: "the exchange has liquidated the margin account",
}
"""Why a trade has ended, for those who do not know the codes."""


def closed(trade: Closed, rules: SymbolRules) -> str:
    """A finished trade, in some short lines."""
    why = f"{trade.reason}: {REASONS.get(trade.reason, str(trade.reason))}"
    if trade.entry_avg is None:
        return f"{trade.direction}, nothing bought. {why}"
    result = f"{_signed(trade.pnl)} {rules.quote}, {_signed(trade.r)} R"
    path = f"{text.short(trade.qty)} {rules.base} {text.short(trade.entry_avg)}"
    if trade.exit_avg is not None:
        path += f" → {text.short(trade.exit_avg)}"
    lines = [
        f"{trade.direction} {result}",
        why,
        f"{path} in {text.span(trade.closed - (trade.entered or trade.opened))}",
    ]
    if trade.commissions:
        lines.append(f"commissions {text.amounts(trade.commissions)}")
    if trade.interest:
        lines.append(f"interest {text.amounts(trade.interest)}")
    if trade.debt_left:
        lines.append(f"still owed {text.amounts(trade.debt_left)}")
    if trade.unprotected_ms:
        lines.append(f"without a stop for {text.seconds(trade.unprotected_ms)} s")
    if trade.dust:
        lines.append(
            f"{'left over' if trade.dust > 0 else 'not bought back'} {text.short(abs(trade.dust))} {rules.base}"
        )
    return "\n".join(lines)


def closed_facts(trade: Closed) -> dict[str, str]:
    """The figures of a finished trade, for programs."""
    return {
        "direction": str(trade.direction),
        "reason": str(trade.reason),
        "pnl": text.short(trade.pnl),
        "r": text.short(trade.r),
        "qty": text.short(trade.qty),
        "entry_avg": "" if trade.entry_avg is None else text.short(trade.entry_avg),
        "exit_avg": "" if trade.exit_avg is None else text.short(trade.exit_avg),
        "unprotected_ms": str(trade.unprotected_ms),
    }


def clean(words: str) -> str:
    """`words` as every channel can carry them: short, and without what is no character."""
    kept = words.encode("utf-8", "replace").decode()
    kept = "".join(c if c == "\n" or c.isprintable() else " " for c in kept).strip()
    return kept if len(kept) <= TEXT_MAX else kept[: TEXT_MAX - 1] + "…"


def topic_of(item: Waiting) -> Topic:
    return kind_of(item.key.event).topic


def title(event: str) -> str:
    return event.replace("_", " ")


def as_html(name: str, items: Sequence[Waiting], now: int) -> str:
    """A message in Telegram's HTML. What to do is said where there is one alert, and it is no mere news."""
    parts = [f"<i>{html.escape(name)}</i>"] if name else []
    parts += ["\n".join(_item(each, name, now)) for each in items]
    if len(items) == 1 and items[0].key.severity > Severity.INFO:
        parts.append(f"<i>{_marked(kind_of(items[0].key.event).action)}</i>")
    return "\n\n".join(parts)


def as_text(name: str, items: Sequence[Waiting], now: int) -> str:
    """The same without any markup."""
    return plain(as_html(name, items, now))


def plain(message: str) -> str:
    """Telegram's HTML without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", message))


def as_json(name: str, items: Sequence[Waiting], now: int) -> dict[str, Any]:
    """A message for programs. `text` is what people read; many chat services ask for nothing else."""
    return {
        "source": name,
        "text": as_text(name, items, now),
        "severity": max(each.key.severity for each in items).word,
        "alerts": [
            {
                "id": each.n,
                "event": each.key.event,
                "kind": str(kind_of(each.key.event).topic),
                "severity": each.key.severity.word,
                "account": each.key.account,
                "symbol": each.key.symbol,
                "trade": each.alert.trade,
                "orders": each.alert.orders.split(),
                "at": text.instant(each.alert.at),
                "since": text.instant(each.since),
                "count": each.count,
                "text": "\n".join(each.texts),
                "facts": each.alert.facts,
            }
            for each in items
        ],
    }


def _item(item: Waiting, name: str, now: int) -> list[str]:
    key = item.key
    head = f"{SIGN[key.severity]}<b>{html.escape(title(key.event))}</b>"
    if key.account:
        head += f" {html.escape(key.account)}"
    if key.symbol and key.symbol not in name:
        head += f" {html.escape(key.symbol)}"
    if item.count > 1:
        head += f" ×{item.count} since {_clock(item.since)}"
    elif now - item.alert.at >= LATE_MS:
        head += f" at {_clock(item.alert.at)}"
    return [head, *(html.escape(words) for words in item.texts if words)]


def _marked(markdown: str) -> str:
    """Our own texts' `code` as Telegram's."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(markdown))


def _clock(ms: int) -> str:
    return text.when(ms, "%b %d %H:%M:%S UTC")


def _signed(value: Decimal) -> str:
    return f"+{text.short(value)}" if value > 0 else text.short(value)
