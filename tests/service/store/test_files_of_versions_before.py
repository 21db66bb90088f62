"""Files that a version before wrote are read as it would have read them: states, their copies, journals, settings.

A rule that was changed since may let a state of an old journal come out otherwise: then that is said here, with the
rule, and the states that differ.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from dotenv import dotenv_values
from tests.core.build import RULES

from executor.config import load_settings, rendering
from executor.core.book.ledger import covered, sellable
from executor.core.guard import advance
from executor.core.invariants import unsound
from executor.core.model.events import Started
from executor.core.model.intents import Command, QueryOrder
from executor.core.model.policy import Policy
from executor.core.model.state import SCHEMA_VERSION, Closed, Protected, Reason, State
from executor.ops.replay import Replay
from executor.service.store.document import Document, contradiction, document_of, state_of
from executor.service.store.journal import JournalReader
from executor.service.store.layouts import FIELDS, LAYOUT, checksum_in
from executor.service.store.records import Began, Record
from executor.service.store.state_store import StateStore, checksum
from executor.service.store.trades import read_trades

GOLDEN: Final = Path(__file__).parents[2] / "golden"
VERSIONS: Final = sorted(path.name for path in GOLDEN.glob("files-*"))


@pytest.fixture(params=VERSIONS)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy: reading may tidy up."""
    folder = tmp_path / "files"
    shutil.copytree(GOLDEN / request.param, folder)
    return folder


def load(folder: Path) -> State:
    loaded = StateStore(folder / "state.json", schema_version=SCHEMA_VERSION).load(Document, unsound=contradiction)
    assert loaded is not None
    return state_of(loaded.value)


def replayed(folder: Path) -> tuple[Replay, list[State]]:
    replay = Replay(folder / "state.journal.jsonl")
    return replay, [told.step.state for told in replay]


def test_there_are_some() -> None:
    assert "files-0.1.0" in VERSIONS


def test_the_state_of_an_open_trade_is_the_last_of_its_journal(files: Path) -> None:
    """Killed while its trade was protected: the write-ahead copy is newer than the file, or says the same."""
    state = load(files / "open")
    assert state.position is not None
    assert isinstance(state.position.phase, Protected)
    assert covered(state.position) == sellable(state.position, RULES) > 0
    assert unsound(state, Policy(), RULES) == []
    _, states = replayed(files / "open")
    assert layout_0(document_of(state)) == layout_0(document_of(states[-1]))


def test_a_start_from_it_looks_every_order_up_before_anything_is_sent(files: Path) -> None:
    """Rule 9.1."""
    state = load(files / "open")
    assert state.position is not None
    now = max(order.heard_at for order in state.position.orders) + 60_000
    step = advance(state, Started(at=now, fence=now + 5_000), Policy(), RULES)
    asked = {request.id for request in step.requests if isinstance(request, QueryOrder)}
    assert asked == {order.id for order in state.position.orders if order.live}
    assert not any(isinstance(request, Command) for request in step.requests)


@pytest.mark.parametrize("lost", ["state.json", "state.json.ahead"])
def test_one_of_its_files_is_enough(files: Path, lost: str) -> None:
    whole = load(files / "open")
    (files / "open" / lost).unlink()
    assert load(files / "open") == whole


def test_the_predecessor_is_read_where_both_are_damaged(files: Path) -> None:
    for name in ("state.json", "state.json.ahead"):
        path = files / "open" / name
        path.write_bytes(path.read_bytes().replace(b"EX_", b"XE_"))
    assert load(files / "open").position is not None


def test_a_state_without_a_trade_is_read(files: Path) -> None:
    state = load(files / "closed")
    assert state.position is None
    assert state.last_closed is not None
    assert state.last_closed == list(read_trades(files / "closed" / "state.trades.jsonl"))[-1]


@pytest.mark.parametrize("name", ["open", "closed"])
def test_every_state_of_the_journal_comes_out_as_it_was_saved(files: Path, name: str) -> None:
    replay, states = replayed(files / name)
    assert replay.mismatches == []
    assert replay.states > 5
    assert [segment.layout for segment in replay.segments] == [0] * len(replay.segments)
    assert states


def test_its_trades_end_as_they_ended(files: Path) -> None:
    _, states = replayed(files / "closed")
    ended: list[Closed] = []
    for state in states:
        if state.last_closed is not None and state.last_closed not in ended:
            ended.append(state.last_closed)
    assert ended == list(read_trades(files / "closed" / "state.trades.jsonl"))
    assert [trade.reason for trade in ended] == [Reason.TRAIL, Reason.SL, Reason.FLATTEN]


def test_settings_mean_what_they_meant(files: Path) -> None:
    given = dotenv_values(files / "settings.env")
    settings = load_settings({name: text for name, text in given.items() if text is not None}, None)
    assert settings.warnings == ()
    meant: Mapping[str, str] = json.loads((files / "settings.json").read_text("utf-8"))
    now = {row["name"]: row["value"] for row in json.loads(rendering.as_json(settings))}
    assert {name: now.get(name) for name in meant} == meant


# --- the layout of states ---------------------------------------------------------------------------------------------


def layout_0(document: Document) -> str:
    return checksum_in(0, document)


def test_what_is_written_now_has_the_layout_of_now(files: Path) -> None:
    document = document_of(load(files / "open"))
    assert checksum_in(LAYOUT, document) == checksum(document, SCHEMA_VERSION)
    assert sorted(FIELDS) == list(range(LAYOUT))


def test_a_field_of_then_counts_and_one_that_came_later_does_not(files: Path) -> None:
    document = document_of(load(files / "open"))
    other = msgspec.structs.replace(document, paused=True)
    assert layout_0(other) != layout_0(document)
    assert document.position is not None
    order = msgspec.structs.replace(document.position.orders[0], looks=7)
    later = msgspec.structs.replace(document.position, orders=(order, *document.position.orders[1:]))
    assert layout_0(msgspec.structs.replace(document, position=later)) == layout_0(document)


def test_a_journal_names_its_layout(files: Path) -> None:
    reader: JournalReader[Any] = JournalReader(files / "open" / "state.journal.jsonl", Record)  # type: ignore[arg-type]
    began = next(iter(reader)).record
    assert isinstance(began, Began)
    assert msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(began, layout=LAYOUT)))["layout"] == LAYOUT
