"""Every place where the machine can stop, one after the other, in every scenario (rules 8.1, 9.1, 9.2, 10.5).

Three kinds: the boundaries of the service and the exchange (before and after each save, each request sent, each
executed), pairs of them, and each operation of each save on the disk, with every way in which what was not synced may
survive.
"""

from collections.abc import Callable, Iterator
from itertools import combinations

from tests.service.simdisk import Crashed, SimDisk
from tests.sim.disk import StoreDisk
from tests.sim.scenarios import SCENARIOS, Scenario, play
from tests.sim.shell import Dead
from tests.sim.world import Result

from executor.core.state import State


def boundaries(scenario: Scenario) -> int:
    """How many there are when nothing goes wrong. Its result must be sound."""
    result = play(scenario)
    if result.broken:
        raise AssertionError(f"{scenario.name}, without any crash: {result.broken}")
    return result.boundaries


def single(scenario: Scenario) -> Iterator[Result]:
    for at in range(1, boundaries(scenario) + 1):
        yield play(scenario, crash_at=(at,))


def pairs(scenario: Scenario, *, stride: int = 1) -> Iterator[Result]:
    """Two crashes, the second counted on from the first; every `stride`-th pair."""
    for i, at in enumerate(combinations(range(1, boundaries(scenario) + 8), 2)):
        if i % stride == 0:
            yield play(scenario, crash_at=at)


def crashes() -> Iterator[Result]:
    """All single ones."""
    for scenario in SCENARIOS:
        yield from single(scenario)


class FragileDisk(StoreDisk):
    """The real store on a disk that stops at its `stop_at`-th operation and comes back as its `survivor`-th self."""

    def __init__(self, stop_at: int, survivor: int, boundary: "Stops") -> None:
        super().__init__(SimDisk())
        self.stop_at = stop_at
        self.survivor = survivor
        self.survivors = 0
        self.done = 0
        self._boundary = boundary

    def save(self, state: State) -> None:
        before = len(self.disk.log)
        self.disk.operations_left = self.stop_at - self.done if not self.survivors else None
        try:
            super().save(state)
        except Crashed:
            left = list(self.disk.after_crash())
            self.survivors = len(left)
            self.mount(left[min(self.survivor, len(left) - 1)])
            self._boundary.crash()
            raise Dead from None
        self.disk.operations_left = None
        self.done += len(self.disk.log) - before


class Stops:
    """Stops the world's service; known only once there is a world."""

    def __init__(self) -> None:
        self.crash: Callable[[], None] = lambda: None


def file_operations(scenario: Scenario, *, stride: int = 1) -> Iterator[Result]:
    """A crash at every `stride`-th operation of the saves, once for each disk that it may leave."""
    stop_at = 0
    while True:
        survivor = 0
        while True:
            stops = Stops()
            disk = FragileDisk(stop_at, survivor, stops)
            result = play(scenario, disk=disk, stops=stops)
            if not disk.survivors:
                return
            yield result
            survivor += 1
            if survivor >= disk.survivors:
                break
        stop_at += stride
