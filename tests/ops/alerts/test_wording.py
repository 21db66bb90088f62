"""What messages say: of trades, of alerts, in every form."""

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.ops.samples import closed, rules
from tests.ops.telegram.fake_bot import markup_fault

from executor.core.model.state import Reason
from executor.ops import text
from executor.ops.alerts import wording
from executor.ops.alerts.alert import Alert
from executor.ops.alerts.catalogue import CATALOGUE
from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.queue import AlertQueue, Waiting

T0 = 1_750_000_000_000


def waiting(event: str = "unprotected", text: str = "bare", count: int = 1, **more: Any) -> Waiting:
    severity = CATALOGUE[event].severity if event in CATALOGUE else Severity.WARNING
    alert = Alert(event=event, text=text, at=T0, severity=severity, **more)
    return AlertQueue().push(1, alert, count=count)


def test_one_alert_says_what_to_do() -> None:
    text = wording.as_html("Executor LTCUSDT (live)", [waiting(symbol="LTCUSDT")], T0)
    assert text.splitlines()[0] == "<i>Executor LTCUSDT (live)</i>"
    assert "🔴 <b>unprotected</b>\nbare" in text
    assert "<code>executor flatten</code>" in text


def test_of_several_symbols_each_names_its_own() -> None:
    text = wording.as_text("Executor of 2 symbols (live)", [waiting(symbol="LTCUSDT"), waiting("paused", "x")], T0)
    assert text == "Executor of 2 symbols (live)\n\n🔴 unprotected LTCUSDT\nbare\n\npaused\nx"


def test_repeats_say_how_many_and_since_when() -> None:
    assert "×17 since Jun 15 15:06:40 UTC" in wording.as_html("", [waiting(count=17)], T0)


def test_what_is_told_late_says_when_it_was() -> None:
    assert " at " not in wording.as_text("", [waiting("paused", "x")], T0 + 59_000)
    assert "paused at Jun 15 15:06:40 UTC" in wording.as_text("", [waiting("paused", "x")], T0 + 61_000)


@given(st.text(max_size=900), st.text(max_size=30))
def test_any_words_make_markup_that_telegram_reads(text: str, name: str) -> None:
    item = waiting(text=wording.clean(text))
    message = wording.as_html(name, [item], T0)
    assert markup_fault(message) == ""
    assert wording.clean(text) in wording.plain(message) or not wording.clean(text)


@pytest.mark.parametrize("event", sorted(CATALOGUE))
def test_every_entry_makes_markup_that_telegram_reads(event: str) -> None:
    message = wording.as_html("x", [waiting(event)], T0)
    assert markup_fault(message) == ""
    assert re.search(r"`|\*\*", wording.plain(message)) is None


def test_for_programs() -> None:
    told = wording.as_json(
        "Executor", [waiting(symbol="LTCUSDT", trade="7", orders="EX_7_SL_1 EX_7_TP1_2", facts={"a": "1"})], T0
    )
    assert told["severity"] == "critical"
    assert told["text"].startswith("Executor\n\n🔴 unprotected LTCUSDT")
    assert told["alerts"] == [
        {
            "id": 1,
            "event": "unprotected",
            "kind": "trouble",
            "severity": "critical",
            "account": "",
            "symbol": "LTCUSDT",
            "trade": "7",
            "orders": ["EX_7_SL_1", "EX_7_TP1_2"],
            "at": "2025-06-15T15:06:40.000Z",
            "since": "2025-06-15T15:06:40.000Z",
            "count": 1,
            "text": "bare",
            "facts": {"a": "1"},
        }
    ]


def test_a_finished_trade_says_its_result_and_why() -> None:
    trade = closed()
    words = wording.closed(trade, rules())
    assert words.splitlines()[0].startswith(str(trade.direction))
    assert f"{trade.reason}: " in words
    assert " R" in words
    facts = wording.closed_facts(trade)
    assert Decimal(facts["pnl"]) == trade.pnl
    assert facts["reason"] == trade.reason


def test_an_entry_that_bought_nothing() -> None:
    trade = replace(closed(), reason=Reason.ENTRY_TIMEOUT, entry_avg=None, exit_avg=None, qty=Decimal(0))
    assert "nothing bought" in wording.closed(trade, rules())
    assert wording.closed_facts(trade)["entry_avg"] == ""


def test_every_reason_has_words() -> None:
    assert wording.REASONS.keys() == set(Reason)


def test_a_trade_that_ended_while_it_was_entered_lasted_since_it_was_opened() -> None:
    trade = replace(closed(), entered=0)
    assert f" in {text.span(trade.closed - trade.opened)}" in wording.closed(trade, rules())
