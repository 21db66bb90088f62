"""The documents tell of everything that the program can say: each alert, and each ending of a trade."""

from pathlib import Path

from executor.config import Topic
from executor.core.model.state import Reason
from executor.ops.alerts import document
from executor.ops.alerts.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]


def test_each_ending_of_a_trade_is_in_the_lifecycle() -> None:
    text = (ROOT / "docs" / "lifecycle.md").read_text("utf-8")
    assert [reason for reason in Reason if f"`{reason}`" not in text] == []


def test_the_document_has_each_once() -> None:
    rows = [line.split("`")[1] for line in document.markdown().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted([*CATALOGUE, *Topic])
    assert document.TOPICS.keys() == set(Topic)


def test_each_entry_says_what_it_means_and_what_to_do() -> None:
    for kind in CATALOGUE.values():
        assert kind.meaning.endswith("."), kind.event
        assert kind.action.endswith((".", "?")), kind.event
        assert "|" not in kind.meaning + kind.action, kind.event
        assert (kind.handling is None) == (kind.topic is not Topic.FINDING), kind.event
        assert kind.event in document.details(kind)
        assert f"\n{kind.event} " in document.table()
