"""Several events share one sync of the disk, and never one whose requests leave before it (rule 8.1)."""

from decimal import Decimal
from pathlib import Path

from tests.service.test_desk import Place

from executor.core.events import AnyEvent, Commanded, Verb
from executor.core.transition import Step
from executor.service.document import Document, state_of


def on_disk(place: Place) -> bool:
    """Whether the disk has what the desk has."""
    loaded = place.store.load(Document)
    return loaded is not None and state_of(loaded.value).paused == place.desk.state.paused


def test_a_step_that_owes_nothing_waits_for_the_next_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.desk.commit(Commanded(at=place.now, verb=Verb.PAUSE), more=True)
    assert place.desk.state.paused
    assert not on_disk(place)
    place.desk.commit(Commanded(at=place.now, verb=Verb.PAUSE))
    assert on_disk(place)


def test_a_step_that_owes_a_request_never_waits(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.price("80.00")
    place.desk.commit(Commanded(at=place.now, verb=Verb.RESUME), more=True)
    commit = place.desk.commit
    seen: list[int] = []

    def watched(event: AnyEvent, *, more: bool = False) -> Step:
        step = commit(event, more=True)
        if step.requests:
            loaded = place.store.load(Document)
            assert loaded is not None
            seen.append(len(loaded.value.outbox))
            assert {owed.request for owed in loaded.value.outbox} >= set(step.requests)
        return step

    place.desk.commit = watched  # type: ignore[method-assign]
    place.check_disk = lambda: None  # type: ignore[method-assign]
    place.signal("80.00", "79.00")
    place.price("79.90")
    assert len(seen) >= 2
    assert place.desk.state.position is not None
    assert place.desk.state.position.plan.entry == Decimal("80.00")


def test_the_end_of_a_run_leaves_everything_on_disk(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.desk.commit(Commanded(at=place.now, verb=Verb.PAUSE), more=True)
    place.desk.settle()
    assert on_disk(place)
    assert not place.store.ahead.exists()
