"""What a start does with the files that an embedded paper run has left, and with everybody else's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs
from tests.scenarios.harness import World, harness

from executor.config import Settings, load_settings
from executor.core.model.state import SCHEMA_VERSION
from executor.core.model.values import Direction
from executor.core.transition import empty
from executor.service.market import PAPER
from executor.service.paper_files import set_paper_files_aside
from executor.service.store.document import document_of, saved
from executor.service.store.state_store import StateStore, StateUnwritable

WORLD: Final = World(Direction.LONG, "OCO", pushes=False)
BESIDE: Final = ("s.journal.jsonl", "s.journal.jsonl.1", "s.trades.jsonl", "s.json.signals")


def _settings(folder: Path, env: str = "paper") -> Settings:
    keys = {"BINANCE_API_KEY": "key", "BINANCE_API_SECRET": "word", "LIVE_CONFIRM": "yes"} if env != "paper" else {}
    return load_settings({"BINANCE_ENV": env, "SYMBOL": "LTCUSDT", "STATE_FN": str(folder / "s.json"), **keys}, None)


def _state(folder: Path, venue: str, name: str = "s.json") -> None:
    StateStore(folder / name, schema_version=SCHEMA_VERSION).save(document_of(empty("LTCUSDT", venue)))


def _beside(folder: Path, text: str = "") -> None:
    for name in BESIDE:
        (folder / name).write_text(text or name, "utf-8")


def _shown(folder: Path) -> Mapping[str, str]:
    return {each.name: each.read_text("utf-8") for each in folder.iterdir()}


@pytest.mark.parametrize("env", ["paper", "live"])
def test_where_there_is_no_state_nothing_is_moved(tmp_path: Path, env: str) -> None:
    """A symbol that never had a signal, or a state that was lost (rule 9.3): the records may be a live account's."""
    _beside(tmp_path)
    (tmp_path / "s.trades.jsonl.last").write_text("an earlier one's", "utf-8")
    before = _shown(tmp_path)
    set_paper_files_aside(_settings(tmp_path, env), "LTCUSDT")
    assert _shown(tmp_path) == before


def test_a_device_in_the_journal_s_place_is_not_moved(tmp_path: Path) -> None:
    """A paper run as root with JOURNAL_FN=/dev/null would have renamed that for the whole machine."""
    _state(tmp_path, PAPER)
    (tmp_path / "s.journal.jsonl").symlink_to("/dev/null")
    set_paper_files_aside(_settings(tmp_path), "LTCUSDT")
    assert (tmp_path / "s.journal.jsonl").is_char_device()
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize("env", ["paper", "live"])
def test_another_exchange_s_state_is_left_alone(tmp_path: Path, env: str) -> None:
    _state(tmp_path, "testnet")
    _beside(tmp_path)
    before = _shown(tmp_path)
    set_paper_files_aside(_settings(tmp_path, env), "LTCUSDT")
    assert _shown(tmp_path) == before


@pytest.mark.parametrize("venue", [PAPER, f"{PAPER} cross"])
def test_a_paper_run_s_files_give_way_to_the_next_and_its_place_in_the_signal_file_stays(
    tmp_path: Path, venue: str
) -> None:
    _state(tmp_path, venue)
    _beside(tmp_path)
    set_paper_files_aside(_settings(tmp_path), "LTCUSDT")
    assert sorted(_shown(tmp_path)) == [
        "s.journal.jsonl.last",
        "s.journal.jsonl.last.1",
        "s.json.last",
        "s.json.signals",
        "s.trades.jsonl.last",
    ]


def test_on_another_exchange_signals_that_were_meant_for_paper_are_not_taken_and_that_is_told(tmp_path: Path) -> None:
    _state(tmp_path, PAPER)
    _beside(tmp_path)
    with capture_logs() as said:
        set_paper_files_aside(_settings(tmp_path, "live"), "LTCUSDT")
    assert "s.json.signals" not in _shown(tmp_path)
    assert "s.json.signals.last" in _shown(tmp_path)
    assert [each["event"] for each in said if each["log_level"] == "warning"] == ["signal_place_forgotten"]


def test_an_earlier_paper_run_s_files_are_replaced_all_of_them(tmp_path: Path) -> None:
    for text in ("first", "second"):
        _state(tmp_path, PAPER)
        _beside(tmp_path, text)
        if text == "second":
            (tmp_path / "s.journal.jsonl.1").unlink()
        set_paper_files_aside(_settings(tmp_path), "LTCUSDT")
    shown = _shown(tmp_path)
    assert sorted(shown) == ["s.journal.jsonl.last", "s.json.last", "s.json.signals", "s.trades.jsonl.last"]
    assert shown["s.journal.jsonl.last"] == shown["s.trades.jsonl.last"] == "second"


@pytest.mark.parametrize("venue", ["live", ""])
def test_nothing_that_is_not_paper_s_is_renamed_over(tmp_path: Path, venue: str) -> None:
    if venue:
        _state(tmp_path, venue, "s.json.last")
    (tmp_path / "s.trades.jsonl.last").write_text("a live account's", "utf-8")
    for _ in range(2):
        _state(tmp_path, PAPER)
        _beside(tmp_path)
        set_paper_files_aside(_settings(tmp_path), "LTCUSDT")
    shown = _shown(tmp_path)
    assert shown["s.trades.jsonl.last"] == "a live account's"
    assert shown["s.trades.jsonl.last-2"] == "s.trades.jsonl"
    assert not [name for name in shown if name.endswith("-3")]


def test_a_folder_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    _state(tmp_path, PAPER)
    _state(tmp_path, PAPER, "s.json.last")
    (tmp_path / "s.journal.jsonl.last").mkdir()
    with pytest.raises(StateUnwritable, match=r"s\.json can't be written"):
        set_paper_files_aside(_settings(tmp_path), "LTCUSDT")


async def test_a_signal_that_is_written_while_a_service_is_down_that_never_had_one_is_taken(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD, started=False, SIGNAL_START="end") as b:
        b.write('{"an": "old one"}\n')
        await b.start()
        found = saved(tmp_path / "state.json")
        assert found is not None, "a first start leaves a state at once: it says whose the files beside it are"
        assert found.value.position is None
        await b.stop()
        begun = (tmp_path / "state.journal.jsonl").read_bytes()
        (tmp_path / "state.json").unlink()  # as a service of before would have left it
        await b.signal(then=0)
        set_paper_files_aside(b.settings(), b.symbol)
        await b.start()
        await b.wait(1)
        assert b.position.signal == "s1"
        assert (tmp_path / "state.journal.jsonl").read_bytes().startswith(begun), "it is gone on with"
