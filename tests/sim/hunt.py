"""Looks for any violation until one is found or the time is up: by chance and by enumeration in turns."""

import sys
import time
from collections.abc import Iterator, Sequence

import msgspec
from tests.sim.mutant import Found
from tests.sim.mutants import BY_THE_BOOK
from tests.sim.run import by_seed
from tests.sim.scenarios import CONTRADICTED, ON_MARGIN, SCENARIOS, Scenario, play
from tests.sim.setup import CROSS, ISOLATED, OPPOSITE
from tests.sim.world import Result

from executor.paper.engine.choices import ExchangeChoices

MARGIN = (CROSS, ISOLATED, CROSS)
CHANCES = 20  # seeds to each point of the enumeration


def crashes(exchanges: Sequence[ExchangeChoices]) -> Iterator[Result]:
    """Every scenario with a crash at each boundary."""
    for scenario in SCENARIOS:
        for exchange in exchanges:
            yield from crashes_of(scenario, exchange)


def crashes_of(scenario: Scenario, exchange: ExchangeChoices | None = None) -> Iterator[Result]:
    """Without a crash, and with one at each of its boundaries."""
    whole = play(scenario, exchange=exchange)
    yield whole
    for at in range(1, whole.boundaries + 1):
        yield play(scenario, crash_at=(at,), exchange=exchange)


def on_margin() -> Iterator[Result]:
    """Runs of any account, and the crashes of the scenarios on margin."""
    seed = 0
    points = (result for scenario in ON_MARGIN for result in crashes_of(scenario))
    while True:
        for _ in range(CHANCES):
            seed += 1
            yield by_seed(seed, kinds=MARGIN)
        point = next(points, None)
        if point is not None:
            yield point


def attempts(*, by_the_book: bool = False) -> Iterator[Result]:
    """`by_the_book`: on the exchange of the documents alone, as `World` has it."""
    exchanges = (ExchangeChoices(),) if by_the_book else (ExchangeChoices(), OPPOSITE)
    if not by_the_book:
        yield from map(play, CONTRADICTED)
    for exchange in exchanges:
        for scenario in SCENARIOS:
            yield play(scenario, exchange=exchange)
    points = crashes(exchanges)
    seed = 0
    while True:
        for _ in range(CHANCES):
            seed += 1
            yield by_seed(seed, by_the_book=by_the_book)
        point = next(points, None)
        if point is not None:
            yield point


def hunt(seconds: float, *, margin: bool = False, by_the_book: bool = False) -> Found:
    begun = time.process_time()  # of this process, so that a busy machine finds as much
    runs = 0
    for result in on_margin() if margin else attempts(by_the_book=by_the_book):
        runs += 1
        elapsed = time.process_time() - begun
        if result.broken:
            return Found(result.broken[0], runs, round(elapsed, 1))
        if elapsed > seconds:
            break
    return Found("", runs, round(time.process_time() - begun, 1))


if __name__ == "__main__":
    found = hunt(float(sys.argv[1]), margin="margin" in sys.argv, by_the_book=BY_THE_BOOK in sys.argv)
    sys.stdout.write(msgspec.json.encode(found).decode())
