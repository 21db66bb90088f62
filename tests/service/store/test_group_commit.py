"""Facts share the sync of the next step that needs one; no request leaves before its own (rule 8.1)."""

from collections.abc import Collection
from decimal import Decimal
from pathlib import Path

import pytest
from tests.service.test_engine import FailingDisk, Place

from executor.core.model.events import AnyEvent, Commanded, Tick, Verb
from executor.core.transition import Step
from executor.service.store.document import Document, differs, state_of


def on_disk(place: Place) -> bool:
    """Whether the disk has what the engine has."""
    loaded = place.store.load(Document)
    return loaded is not None and not differs(state_of(loaded.value), place.engine.state)


class Syncs(FailingDisk):
    """Notes whether each overwriting is synced."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[bool] = []

    def overwrite(self, path: Path, offset: int, data: bytes, *, synced: bool) -> None:
        super().overwrite(path, offset, data, synced=synced)
        self.noted.append(synced)


@pytest.fixture
def entered(tmp_path: Path) -> Place:
    """An entry has been sent, and the exchange's answer is not known yet."""
    place = Place(tmp_path, disk=Syncs())
    place.price("80.00")
    place.engine.take(place.seen("80.00", "79.00"))
    return place


def accepted(place: Place) -> AnyEvent:
    (owed,) = place.engine.state.outbox
    return place.direct.perform(owed.request, place.now)


def test_what_the_exchange_tells_again_is_on_disk_and_not_synced(entered: Place) -> None:
    assert isinstance(entered.disk, Syncs)
    entered.disk.noted.clear()
    entered.engine.commit(accepted(entered))
    assert on_disk(entered)
    assert entered.disk.noted == [False]


def test_a_fact_before_others_leaves_the_disk_to_them(entered: Place) -> None:
    assert isinstance(entered.disk, Syncs)
    entered.engine.commit(accepted(entered), more=True)
    assert not on_disk(entered)
    entered.engine.commit(Tick(at=entered.now))
    assert on_disk(entered)


@pytest.mark.parametrize("more", [False, True])
def test_what_only_the_operator_knows_is_synced_and_takes_the_rest_along(entered: Place, *, more: bool) -> None:
    assert isinstance(entered.disk, Syncs)
    entered.engine.commit(accepted(entered), more=more)
    entered.disk.noted.clear()
    entered.engine.commit(Commanded(at=entered.now, verb=Verb.PAUSE), more=True)
    assert on_disk(entered)
    assert entered.disk.noted == [True]


def test_a_step_that_owes_a_request_never_waits(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.price("80.00")
    place.engine.commit(Commanded(at=place.now, verb=Verb.RESUME), more=True)
    commit = place.engine.commit
    seen: list[int] = []

    def watched(event: AnyEvent, *, more: bool = False, now: int = 0, takes: Collection[str] = ()) -> Step:
        step = commit(event, more=True, now=now, takes=takes)
        if step.requests:
            loaded = place.store.load(Document)
            assert loaded is not None
            seen.append(len(loaded.value.outbox))
            assert {owed.request for owed in loaded.value.outbox} >= set(step.requests)
        return step

    place.engine.commit = watched  # type: ignore[method-assign]
    place.check_disk = lambda: None  # type: ignore[method-assign]
    place.signal("80.00", "79.00")
    place.price("79.90")
    assert len(seen) >= 2
    assert place.engine.state.position is not None
    assert place.engine.state.position.plan.entry == Decimal("80.00")


def test_the_end_of_a_run_leaves_everything_on_disk(entered: Place) -> None:
    entered.engine.commit(accepted(entered), more=True)
    entered.engine.settle()
    assert on_disk(entered)
    assert not entered.store.write_ahead.exists()
