"""A step is brought to its store, however long that takes (rule 8.1)."""

from collections.abc import Collection
from typing import cast

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RICH, make_signal

from executor.core.model.events import AnyEvent, SignalSeen
from executor.core.model.policy import Policy
from executor.core.model.state import State
from executor.core.model.verdict import MOVED
from executor.core.transition import Step
from executor.service import committer
from executor.service.committer import Committer
from executor.service.engine import Engine
from executor.service.store.port import StoreUnwritable


class FullTwice:
    """An engine whose disk is full for its first two tries."""

    pending = False
    policy: Policy = POLICY

    def __init__(self) -> None:
        self.tried: list[AnyEvent] = []

    def commit(self, event: AnyEvent, *, more: bool, now: int, takes: Collection[str]) -> Step:
        self.tried.append(event)
        if len(self.tried) < 3:
            raise StoreUnwritable
        return Step(State(symbol="LTCUSDT"), (), (), MOVED)


async def test_a_signal_that_waits_for_the_disk_is_judged_by_what_others_need_when_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was free when it was first tried another symbol's trade may have taken meanwhile."""
    monkeypatch.setattr(committer, "DISK_RETRY_S", 0)
    engine, newest = FullTwice(), iter((1, 1, 2))

    def whole(event: AnyEvent) -> AnyEvent:
        assert isinstance(event, SignalSeen)
        return replace(event, newest=next(newest))

    signal = SignalSeen(at=1, signal=make_signal(), quote=None, balances=RICH, klines=None)
    commits = Committer(cast("Engine", engine), lambda: 1, lambda: None, whole)
    await commits.commit(signal, more=False, takes=())
    first, again, last = engine.tried
    assert again is first  # so that what was decided is told once
    assert isinstance(last, SignalSeen)
    assert last.newest == 2
