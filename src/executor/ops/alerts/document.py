"""The list of all alerts for people: `docs/alerts.md`, and one of them on a terminal."""

import textwrap
from collections.abc import Iterable
from typing import Final

from executor.config import Topic
from executor.ops import text
from executor.ops.alerts.catalogue import ALERTS, CATALOGUE
from executor.ops.alerts.kinds import Kind
from executor.ops.watchdog.findings import FINDINGS

WIDTH: Final = 100

TOPICS: Final = {
    Topic.OPENED: "A trade was opened.",
    Topic.CLOSED: "A trade has ended.",
    Topic.REFUSED: "A signal was refused, where that matters.",
    Topic.DOUBT: "What became of a request is not known for longer than usual.",
    Topic.HALT: "Entries are paused, halted or allowed again; what the operator had done.",
    Topic.RESTART: "The service has started or ended, and what it found.",
    Topic.FINDING: "What the watchdog has found.",
    Topic.TROUBLE: "Everything else that went wrong: exits, orders, files, the alerts themselves.",
    Topic.DAILY: "The summary of the day.",
}

_HEAD: Final = """# Alerts and findings

Made by `make docs` from the program's own list; `executor alerts NAME` shows one of them.

Each is a log line with `"alert": true` (news of trades and of the service are ordinary lines), and a message to
Telegram and to `ALERT_WEBHOOK_URL`, where those are set up. An alert is on disk, beside the state, before the step that
caused it: what could not be sent is sent after the restart. The first of a kind goes at once; what repeats it goes
together, with a count, after one minute, five, fifteen, then once an hour. No more than twenty messages a minute go
out, the gravest first. `TELEGRAM_NOTIFY` says which kinds make a sound there (`on`), come silently (`silent`) or not at
all (`off`).

Where there are several accounts (`ACCOUNTS`, a fleet), each message names the one that it is about, and commands
from the chat take its name: [fleet.md](fleet.md).

| kind | of what |
|---|---|
"""

_FINDINGS_HEAD: Final = """## Findings of the watchdog

Every `WATCHDOG_EVERY_SEC`, and after each close, the watchdog compares what the state says with what the exchange says.
A finding is believed when it was seen twice. Orders whose id does not begin with `EX_` are never touched. The rule is
that of [lifecycle.md](lifecycle.md).

| finding | severity | rule | what it means | what is done | what to do |
|---|---|---|---|---|---|
"""


def markdown() -> str:
    """The whole document."""
    lines = [_HEAD + "".join(f"| `{topic}` | {words} |\n" for topic, words in TOPICS.items())]
    for topic, words in TOPICS.items():
        of_topic = [kind for kind in ALERTS if kind.topic is topic]
        if of_topic:
            lines += [f"\n## {topic.capitalize()}\n\n{words}\n\n", *_table(of_topic)]
    lines.append("\n" + _FINDINGS_HEAD)
    lines += [
        f"| `{kind.event}` | {kind.severity.word} | {kind.rule} | {kind.meaning} | {kind.handling} | {kind.action} |\n"
        for kind in FINDINGS
    ]
    return "".join(lines)


def table() -> str:
    """Every alert in one line, for a terminal."""
    rows = [
        (kind.event, kind.severity.word, str(kind.topic), textwrap.shorten(kind.meaning, 80, placeholder=" …"))
        for kind in CATALOGUE.values()
    ]
    return text.columns(("alert", "severity", "kind", "meaning"), rows)


def details(kind: Kind) -> str:
    """One alert in full."""
    facts = [("alert", kind.event), ("severity", kind.severity.word), ("kind", str(kind.topic))]
    if kind.handling is not None:
        facts += [("rule", kind.rule), ("done", str(kind.handling))]
    facts += [("meaning", textwrap.fill(kind.meaning, WIDTH)), ("what to do", textwrap.fill(kind.action, WIDTH))]
    return text.fields(facts)


def _table(kinds: Iterable[Kind]) -> list[str]:
    rows = [f"| `{kind.event}` | {kind.severity.word} | {kind.meaning} | {kind.action} |\n" for kind in kinds]
    return ["| alert | severity | what it means | what to do |\n|---|---|---|---|\n", *rows]
