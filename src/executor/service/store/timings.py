"""How long something took, counted as Prometheus counts it."""

from bisect import bisect_left
from typing import Final

BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Timings:
    """`last` and `total` in seconds."""

    def __init__(self) -> None:
        self.last = 0.0
        self.total = 0.0
        self.count = 0
        self._counts = [0] * (len(BOUNDS_S) + 1)

    def add(self, seconds: float) -> None:
        self.last = seconds
        self.total += seconds
        self.count += 1
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1

    def buckets(self) -> list[tuple[str, int]]:
        """Each bound, and how many took up to it."""
        found, so_far = [], 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self._counts, strict=True):
            so_far += count
            found.append((bound, so_far))
        return found
