"""Runs plans: one, told step by step, or many against the clock.

python -m tests.sim.run --seed 7                    one run, told
python -m tests.sim.run --plan tests/sim/corpus/x.json
python -m tests.sim.run --soak 600 --seed 1         as many runs as fit into so many seconds, on all cores given
python -m tests.sim.run --margin --soak 600         the same, Spot, cross and isolated margin in turn
python -m tests.sim.run --seed 7 --keep name        shrink a failing run and keep it in the corpus
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, TextIO

from tests.sim import campaign, corpus
from tests.sim.choices import Choice, Choices
from tests.sim.exposure import Exposures
from tests.sim.faults import ALL, ON_MARGIN
from tests.sim.garbage import collected_after
from tests.sim.setup import ANY as ANY_ACCOUNT
from tests.sim.setup import MARGIN_READINGS, READINGS, SPOT, draw
from tests.sim.shrink import shrink, symptom
from tests.sim.world import ERRORS, Result, World, failure

PHASES: Final = ("Flat", "Borrowing", "Entering", "Unprotected", "Protected", "Closing", "Repaying")
BATCH: Final = 24
QUIET_EVERY: Final = 24  # one run of so many is without faults, and shows what the exchange alone takes


def by_seed(seed: int, *, verbose: bool = False, kinds: Sequence[str] = SPOT, by_the_book: bool = False) -> Result:
    """`kinds`: of accounts, one of which is drawn."""
    wild = bool(seed % QUIET_EVERY)
    return _lived(Choices(seed), wild=wild, verbose=verbose, kinds=kinds, by_the_book=by_the_book)


def by_plan(plan: list[Choice], *, verbose: bool = False) -> Result:
    return _lived(Choices(plan=plan), verbose=verbose)


def _lived(
    choices: Choices,
    *,
    wild: bool = True,
    verbose: bool = False,
    kinds: Sequence[str] = ANY_ACCOUNT,
    by_the_book: bool = False,
) -> Result:
    """A run. One that can't even begin is a violation with its plan like any other, not the end of the bench."""
    try:
        world = World(choices, wild=wild, verbose=verbose, kinds=kinds, by_the_book=by_the_book)
    except ERRORS as error:
        return Result(broken=[failure(error)], plan=choices.made, setup=draw(Choices(plan=choices.made)))
    return world.run()


def shrunk(plan: list[Choice], check: str, *, tries: int = 1_500) -> list[Choice]:
    """The plan, as small as it still fails the same check."""
    return shrink(plan, lambda candidate: symptom(by_plan(candidate).broken) == check, tries=tries)


class Tally:
    """Sums over many runs. `failed`: (seed, what was broken)."""

    def __init__(self) -> None:
        self.runs = 0
        self.trades = 0
        self.crashes = 0
        self.steps = 0
        self.virtual_ms = 0
        self.cpu = 0.0
        self.faulted = 0
        self.exposures = Exposures()
        self.faults: Counter[tuple[str, str]] = Counter()
        self.readings: Counter[tuple[str, str]] = Counter()
        self.closed: Counter[str] = Counter()
        self.failed: list[tuple[int, str]] = []

    def add(self, seed: int, result: Result) -> None:
        self.runs += 1
        self.trades += result.trades
        self.crashes += result.crashes
        self.steps += result.steps
        self.virtual_ms += result.virtual_ms
        self.faulted += sum(trade.faulted for trade in result.exposure)
        self.exposures.add(seed, result.exposure)
        self.faults.update(result.tally)
        self.readings.update(result.readings)
        self.closed.update(result.closed)
        if result.broken:
            self.failed.append((seed, result.broken[0]))

    def merge(self, other: "Tally") -> None:
        for name in ("runs", "trades", "faulted", "crashes", "steps", "virtual_ms", "cpu"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.exposures.merge(other.exposures)
        self.faults.update(other.faults)
        self.readings.update(other.readings)
        self.closed.update(other.closed)
        self.failed.extend(other.failed)


def many(first: int, count: int, kinds: Sequence[str] = SPOT) -> Tally:
    tally = Tally()
    begun = time.process_time()
    with collected_after():
        for seed in range(first, first + count):
            tally.add(seed, by_seed(seed, kinds=kinds))
    tally.cpu = time.process_time() - begun
    return tally


def table(faults: Counter[tuple[str, str]]) -> str:
    """Fault kind, and reading of what the documents leave open, by phase of the trade."""
    lines = [f"{'':28}" + "".join(f"{phase:>13}" for phase in PHASES)]
    readings = [f"{name}={value}" for name, values in (READINGS | MARGIN_READINGS).items() for value in values]
    lines += [
        f"{kind:28}" + "".join(f"{faults[kind, phase]:13}" for phase in PHASES)
        for kind in (*ALL, *ON_MARGIN, *readings)
    ]
    return "\n".join(lines)


def report(tally: Tally, seconds: float, out: TextIO) -> None:
    days = tally.virtual_ms / 86_400_000
    faults = sum(tally.faults.values())
    out.write(
        f"{tally.runs} runs, {tally.trades} trades, {tally.faulted} of them met by faults, {days:.1f} virtual days, "
        f"{faults} faults, {tally.crashes} crashes, {tally.steps} steps in {seconds:.0f} s "
        f"({tally.cpu:.0f} s of CPU, {tally.trades / max(tally.cpu, 0.001):.0f} trades each); "
        f"{len(tally.failed)} violations\n"
    )
    out.write(", ".join(f"{reason} {n}" for reason, n in tally.closed.most_common()) + "\n\n")
    out.write(
        table(tally.faults + tally.readings) + "\n\nwithout a stop, by trade and by what held its longest spell\n"
    )
    out.write(tally.exposures.table() + "\n")
    out.writelines(f"seed {seed}: {what}\n" for seed, what in tally.failed[:20])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--soak", type=float, metavar="SECONDS")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", metavar="NAME")
    parser.add_argument(
        "--margin", action="store_true", help="on margin accounts too: Spot, cross or isolated is drawn"
    )
    parser.add_argument("--symptom", default="")
    options = parser.parse_args()
    out = sys.stdout
    kinds = ANY_ACCOUNT if options.margin else SPOT
    if options.plan is not None:
        return campaign.tell(by_plan(corpus.load(options.plan).plan, verbose=True), out)
    if options.soak is not None:
        begun = time.monotonic()
        each = partial(many, kinds=kinds)
        tally = campaign.soak(
            Tally(), each, BATCH, seconds=options.soak, seed=options.seed, processes=options.processes
        )
        report(tally, time.monotonic() - begun, out)
        for seed, _ in tally.failed[:3]:
            result = by_seed(seed, kinds=kinds)
            campaign.explain(f"plan-{seed}", result, shrunk, out, module="tests.sim.run")
        return 1 if tally.failed else 0
    result = by_seed(options.seed, verbose=options.keep is None, kinds=kinds)
    if options.keep is not None:
        return campaign.keep(options.keep, options.symptom, result, shrunk, out)
    return campaign.tell(result, out)


if __name__ == "__main__":
    sys.exit(main())
