"""States whose checksum is right, and whose contents can't be: whatever a start believes of them, looking after the
trade goes on. Nothing is raised, whatever is told next.
"""

import functools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core import build
from tests.core.build import DONE, POLICY, RULES, Script, make_quote

from executor.core.decide.timers import next_timer
from executor.core.guard import advance
from executor.core.model.events import (
    AnyEvent,
    BalancesSeen,
    Commanded,
    OpenOrdersSeen,
    QuoteSeen,
    Started,
    Tick,
    Verb,
)
from executor.core.model.facts import Balance
from executor.core.model.state import State
from executor.core.model.values import Direction
from executor.core.recover.catchup import catch_up
from executor.ops import status
from executor.service.store import codec
from executor.service.store.document import Document, document_of, state_of

LATER: Final = build.START + 200_000
ODD: Final[list[Any]] = [
    None, True, "", "x", "\0", "EX_1_SL_1", "9" * 60, 0, 1, -1, 10**15, -(10**15), 2**62,
    "0", "-1", "-0", "-0.5", "1E-18", "0.000000001", "1000000000000000000", "12345678901234567890123456789", [], {},
]  # fmt: skip


@functools.cache
def scripts() -> tuple[Script, ...]:
    phases = (build.entering, build.unprotected, build.protected, build.targets_filled, build.trailing, build.closing)
    return (*(phase(side) for phase in phases for side in Direction), build.repaying())


def _places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*here, key)
        yield from _places(inner, (*here, key))


@functools.cache
def known(n: int) -> tuple[bytes, list[tuple[Any, ...]]]:
    data = codec.encode(document_of(scripts()[n].state))
    return data, [place for place in _places(msgspec.json.decode(data)) if place[0] != "orders"]


@st.composite
def odd_states(draw: st.DrawFn) -> tuple[Script, State | None]:
    """A trade, and its state with one or two things in it that can't be, where that is a state at all."""
    n = draw(st.integers(0, len(scripts()) - 1))
    data, places = known(n)
    value = msgspec.json.decode(data)
    for place in draw(st.lists(st.sampled_from(places), min_size=1, max_size=2)):
        _change(draw, value, place)
    value["orders"] = None
    try:
        document = codec.decode(msgspec.json.encode(value), Document)
    except codec.CodecError:
        return scripts()[n], None
    members = {name: getattr(document, name) for name in Document.__struct_fields__ if name != "orders"}
    return scripts()[n], State(**members)


def _change(draw: st.DrawFn, value: Any, place: tuple[Any, ...]) -> None:
    try:
        for key in place[:-1]:
            value = value[key]
        if isinstance(value[place[-1]], list) and value[place[-1]] and draw(st.booleans()):
            value[place[-1]] += value[place[-1]][:1]  # an order, a leg, a debt twice
        else:
            value[place[-1]] = draw(st.sampled_from(ODD))
    except (KeyError, IndexError, TypeError):
        return  # gone with the change before


def events(script: Script) -> Iterator[AnyEvent]:
    reports = tuple(report for report in script.book.values() if report.status not in DONE)
    yield Started(at=LATER, fence=LATER)
    yield OpenOrdersSeen(at=LATER + 1, asked_at=LATER + 1, reports=reports, seq=1)
    yield QuoteSeen(at=LATER + 2, quote=make_quote(100, LATER + 2))
    held = {"LTC": Balance(Decimal(3), Decimal(0)), "USDT": Balance(Decimal(1_000), Decimal(0))}
    yield BalancesSeen(at=LATER + 3, balances=held, seq=2)
    yield Tick(at=LATER + 5_000)
    yield Commanded(at=LATER + 6_000, verb=Verb.FLATTEN)
    yield Tick(at=LATER + 9_000)


def test_how_often_something_was_is_never_below_nothing() -> None:
    """Pauses are looked up by it."""
    data = codec.encode(document_of(build.protected().state)).replace(b'"balks":0', b'"balks":-9')
    with pytest.raises(codec.CodecError, match=r"`int` >= 0 - at `\$.position.legs\[0\].balks`"):
        codec.decode(data, Document)


@settings(max_examples=120)
@given(odd_states())
def test_a_state_that_can_not_be_ends_no_service(made: tuple[Script, State | None]) -> None:
    script, state = made
    if state is None:
        return
    rules = build.MARGIN_RULES if state.position is not None and state.position.credit is not None else RULES
    state = state_of(codec.decode(codec.encode(document_of(state)), Document))
    status.status_of(state, rules, running=True, now=LATER)
    if state.position is not None:
        reports = tuple(script.book.values())
        fills = {report.id: report.fills for report in reports}
        state, _ = catch_up(state, state.position, reports, fills, POLICY, rules, LATER, lost=False, listed=reports)
    for event in events(script):
        state = advance(state, event, POLICY, rules, LATER).state
        next_timer(state, POLICY)
        codec.encode(document_of(state))
