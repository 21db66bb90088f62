"""`make bench-paper` measures this tree, and says what is wrong with another."""

import argparse
import sys
from pathlib import Path

import pytest
from bench import paper_rate
from bench.paper_rate import HERE, Rate, Tree, measure, text, tree_of


def test_each_kind_of_request_is_measured_over_both_transports_and_the_recording_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paper_rate, "WARM", 2)
    monkeypatch.setattr(paper_rate, "BATCH", 5)
    found = measure(Tree("here", HERE, sys.executable), 0.01)
    assert list(found) == [
        "reads, REST",
        "place and cancel, REST",
        "reads, WebSocket API",
        "place and cancel, WebSocket API",
        "recorded trades replayed",
    ]
    assert all(rate.cpu > 0 for rate in found.values())


def test_the_best_round_of_each_tree_is_shown_beside_how_many_times_the_other_s_it_is() -> None:
    shown = text({"here": {"reads": [Rate(10, 4), Rate(20, 3)]}, "before": {"reads": [Rate(5, 2), Rate(4, 9)]}})
    assert shown.splitlines()[1].split() == ["reads", "20", "(4)", "5", "(9)", "×", "4.00"]


def test_a_tree_must_be_a_checkout_and_may_have_an_interpreter_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no src/executor in"):
        tree_of(f"before={tmp_path}")
    (tmp_path / "src" / "executor").mkdir(parents=True)
    assert tree_of(f"before={tmp_path}") == Tree("before", tmp_path, sys.executable)
    assert tree_of(f"before={tmp_path},/usr/bin/python9").python == "/usr/bin/python9"
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()
    assert tree_of(f"before={tmp_path}").python == str(own)
