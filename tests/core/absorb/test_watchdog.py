"""What the watchdog has made sure of is told, may halt entries, and ends a halt that was for ghosts alone (rule 12)."""

import pytest
from msgspec.structs import replace
from tests.core.build import Script, protected

from executor.core.absorb.watchdog import named_in, stray_text
from executor.core.model.events import Found
from executor.core.model.intents import Level, Notify
from executor.core.model.verdict import MOVED


def found(script: Script, **more: object) -> Found:
    values = {"finding": "balance_short", "text": "1 LTC is missing", "order": "EX_1_SL_1", **more}
    return Found(at=script.now, **values)  # type: ignore[arg-type]


def test_a_finding_is_told_and_changes_nothing_else() -> None:
    script = protected()
    before = script.state
    step = script.feed(found(script))
    assert (step.verdict, step.requests) == (MOVED, ())
    assert step.notes == (Notify(Level.ALERT, "balance_short", "1 LTC is missing", "EX_1_SL_1"),)
    assert replace(step.state, market=before.market) == before


def test_one_that_halts_keeps_entries_out_until_the_operator_has_looked() -> None:
    script = protected()
    script.feed(found(script, halts=True))
    assert script.state.halted == "1 LTC is missing"
    script.feed(found(script, halts=True, text="another"))
    assert script.state.halted == "1 LTC is missing"


A, B, C = "EX_1_SL_1", "EX_1_SL_10", "EX_2_TP1_3"


@pytest.mark.parametrize(
    ("halted", "gone", "left"),
    [
        (stray_text([A]), (A,), ""),
        (stray_text([A, C]), (A,), stray_text([C])),
        (stray_text([B]), (A,), stray_text([B])),
        (f"{stray_text([A])}; {stray_text([C])}", (A, C), ""),
        (f"10.1: broken; {stray_text([A])}; 10.2: broken", (A,), "10.1: broken; 10.2: broken"),
        ("10.1: broken", (A,), "10.1: broken"),
        ("", (A,), ""),
        (stray_text([A]), (), stray_text([A])),
    ],
)
def test_a_halt_for_ghosts_alone_ends_with_them(halted: str, gone: tuple[str, ...], left: str) -> None:
    script = protected()
    script.state = replace(script.state, halted=halted)
    script.feed(found(script, finding="ghost_order", gone=gone))
    assert script.state.halted == left


def test_the_orders_that_a_halt_names() -> None:
    assert named_in(f"why; {stray_text([A, B])}; {stray_text([C])}") == {A, B, C}
    assert named_in("") == set()
