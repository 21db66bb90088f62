"""Runs plans of several symbols on one account: one, told step by step, or many against the clock.

python -m tests.sim.many.run --seed 7                    one run, told
python -m tests.sim.many.run --plan tests/sim/many/corpus/x.json
python -m tests.sim.many.run --soak 600 --seed 1         as many runs as fit into so many seconds, on all cores given
python -m tests.sim.many.run --margin --soak 600         the same, on Spot or on a cross account
python -m tests.sim.many.run --hunt 60                   until something is found, as JSON (tests/sim/mutants.py)
python -m tests.sim.many.run --seed 7 --keep name        shrink a failing run and keep it in the corpus
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import msgspec
from tests.sim import campaign, corpus
from tests.sim.choices import Choice, Choices
from tests.sim.garbage import collected_after
from tests.sim.many.world import ManyResult, ManyWorld
from tests.sim.setup import CROSS, SPOT
from tests.sim.shrink import shrink, symptom

CORPUS: Final = Path(__file__).parent / "corpus"
ANY: Final = ("", CROSS)
"""The accounts that several symbols share."""
BATCH: Final = 12
QUIET_EVERY: Final = 12  # one run of so many is without faults, and shows what the symbols alone do to each other


def by_seed(seed: int, *, verbose: bool = False, kinds: Sequence[str] = SPOT) -> ManyResult:
    return ManyWorld(Choices(seed), wild=bool(seed % QUIET_EVERY), verbose=verbose, kinds=kinds).run()


def by_plan(plan: list[Choice], *, verbose: bool = False) -> ManyResult:
    return ManyWorld(Choices(plan=plan), verbose=verbose, kinds=ANY).run()


def shrunk(plan: list[Choice], check: str, *, tries: int = 600) -> list[Choice]:
    """The plan, as small as it still fails the same check."""
    return shrink(plan, lambda candidate: symptom(by_plan(candidate).broken) == check, tries=tries)


class Tally:
    """Sums over many runs. `failed`: (seed, what was broken)."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.cpu = 0.0
        self.faults: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.failed: list[tuple[int, str]] = []

    def add(self, seed: int, result: ManyResult) -> None:
        self.sums["runs"] += 1
        self.sums["symbols"] += len(result.symbols)
        for name in ("trades", "crashes", "steps", "virtual_ms"):
            self.sums[name] += getattr(result, name)
        for (kind, _), count in result.tally.items():
            self.faults[kind] += count
        self.closed.update(result.closed)
        if result.broken:
            self.failed.append((seed, result.broken[0]))

    def merge(self, other: "Tally") -> None:
        self.sums.update(other.sums)
        self.cpu += other.cpu
        self.faults.update(other.faults)
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


def report(tally: Tally, seconds: float, out: TextIO) -> None:
    sums = tally.sums
    out.write(
        f"{sums['runs']} runs of {sums['symbols']} symbols, {sums['trades']} trades, "
        f"{sums['virtual_ms'] / 86_400_000:.1f} virtual days, {sum(tally.faults.values())} faults, {sums['crashes']} "
        f"crashes, {sums['steps']} steps in {seconds:.0f} s ({tally.cpu:.0f} s of CPU, "
        f"{sums['trades'] / max(tally.cpu, 0.001):.0f} trades each); {len(tally.failed)} violations\n"
    )
    out.write(", ".join(f"{reason} {n}" for reason, n in tally.closed.most_common()) + "\n")
    out.write(", ".join(f"{kind} {n}" for kind, n in tally.faults.most_common()) + "\n")
    out.writelines(f"seed {seed}: {what}\n" for seed, what in tally.failed[:20])


def hunt(seconds: float) -> dict[str, object]:
    """The first violation of any run, if there is one before so many seconds of CPU are over."""
    begun = time.process_time()
    seed, broken = 0, ""
    while not broken and time.process_time() - begun < seconds:
        seed += 1
        found = by_seed(seed, kinds=ANY).broken
        broken = found[0] if found else ""
    return {"check": broken, "runs": seed, "seconds": round(time.process_time() - begun, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--soak", type=float, metavar="SECONDS")
    parser.add_argument("--hunt", type=float, metavar="SECONDS")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", metavar="NAME")
    parser.add_argument("--margin", action="store_true", help="on a cross account too: which is drawn")
    parser.add_argument("--symptom", default="")
    options = parser.parse_args()
    out = sys.stdout
    kinds = ANY if options.margin else SPOT
    if options.plan is not None:
        return campaign.tell(by_plan(corpus.load(options.plan).plan, verbose=True), out)
    if options.hunt is not None:
        out.write(msgspec.json.encode(hunt(options.hunt)).decode())
        return 0
    if options.soak is not None:
        begun = time.monotonic()
        each = partial(many, kinds=kinds)
        tally = campaign.soak(
            Tally(), each, BATCH, seconds=options.soak, seed=options.seed, processes=options.processes
        )
        report(tally, time.monotonic() - begun, out)
        for seed, _ in tally.failed[:3]:
            result = by_seed(seed, kinds=kinds)
            campaign.explain(f"many-plan-{seed}", result, shrunk, out, module="tests.sim.many.run")
        return 1 if tally.failed else 0
    result = by_seed(options.seed, verbose=options.keep is None, kinds=kinds)
    if options.keep is not None:
        return campaign.keep(options.keep, options.symptom, result, shrunk, out, CORPUS)
    return campaign.tell(result, out)


if __name__ == "__main__":
    sys.exit(main())
