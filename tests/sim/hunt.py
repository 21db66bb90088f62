"""Looks for any violation until one is found or the time is up: by chance and by enumeration in turns."""

import sys
import time
from collections.abc import Iterator

import msgspec
from tests.crash.enumeration import crashes
from tests.sim.mutants import Found
from tests.sim.run import by_seed
from tests.sim.shrink import symptom
from tests.sim.world import Result

CHANCES = 20  # seeds to each point of the enumeration


def attempts() -> Iterator[Result]:
    points = crashes()
    seed = 0
    while True:
        for _ in range(CHANCES):
            seed += 1
            yield by_seed(seed)
        point = next(points, None)
        if point is not None:
            yield point


def hunt(seconds: float) -> Found:
    begun = time.monotonic()
    runs = 0
    for result in attempts():
        runs += 1
        elapsed = time.monotonic() - begun
        if result.broken:
            return Found(symptom(result.broken), runs, round(elapsed, 1))
        if elapsed > seconds:
            break
    return Found("", runs, round(time.monotonic() - begun, 1))


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(hunt(float(sys.argv[1]))).decode())
