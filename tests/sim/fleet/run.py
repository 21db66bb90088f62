"""Runs plans of a fleet: one, told step by step, or many against the clock.

python -m tests.sim.fleet.run --seed 7                    one run, told
python -m tests.sim.fleet.run --plan tests/sim/fleet/corpus/x.json
python -m tests.sim.fleet.run --soak 600 --seed 1         as many runs as fit into so many seconds, on all cores given
python -m tests.sim.fleet.run --hunt 60                   until something is found, as JSON (tests/sim/mutants.py)
python -m tests.sim.fleet.run --seed 7 --keep name        shrink a failing run and keep it in the corpus
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final, TextIO

import msgspec
from tests.sim import campaign, corpus
from tests.sim.choices import Choice, Choices
from tests.sim.fleet.faults import ALL, STEPS
from tests.sim.fleet.world import FleetResult, FleetWorld
from tests.sim.garbage import collected_after
from tests.sim.shrink import shrink, symptom

CORPUS: Final = Path(__file__).parent / "corpus"
BATCH: Final = 8
QUIET_EVERY: Final = 24  # one run of so many is without faults


def by_seed(seed: int, *, verbose: bool = False) -> FleetResult:
    return FleetWorld(Choices(seed), wild=bool(seed % QUIET_EVERY), verbose=verbose).run()


def by_plan(plan: list[Choice], *, verbose: bool = False) -> FleetResult:
    return FleetWorld(Choices(plan=plan), verbose=verbose).run()


def shrunk(plan: list[Choice], check: str, *, tries: int = 300) -> list[Choice]:
    """The plan, as small as it still fails the same check."""
    return shrink(plan, lambda candidate: symptom(by_plan(candidate).broken) == check, tries=tries)


class Tally:
    """Sums over many runs. `failed`: (seed, what was broken)."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.cpu = 0.0
        self.faults: Counter[tuple[str, str]] = Counter()
        self.at_the_exchange: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.failed: list[tuple[int, str]] = []

    @property
    def trades(self) -> int:
        return self.sums["trades"]

    def add(self, seed: int, result: FleetResult) -> None:
        self.sums["runs"] += 1
        for name in ("accounts", "trades", "signals", "refused", "epochs", "kills", "writes", "virtual_ms"):
            self.sums[name] += getattr(result, name)
        self.faults.update(result.tally)
        for (kind, _), count in result.exchange_tally.items():
            self.at_the_exchange[kind] += count
        self.closed.update(result.closed)
        if result.broken:
            self.failed.append((seed, result.broken[0]))

    def merge(self, other: "Tally") -> None:
        self.sums.update(other.sums)
        self.cpu += other.cpu
        self.faults.update(other.faults)
        self.at_the_exchange.update(other.at_the_exchange)
        self.closed.update(other.closed)
        self.failed.extend(other.failed)


def many(first: int, count: int) -> Tally:
    tally = Tally()
    begun = time.process_time()
    with collected_after():
        for seed in range(first, first + count):
            tally.add(seed, by_seed(seed))
    tally.cpu = time.process_time() - begun
    return tally


def table(faults: Counter[tuple[str, str]]) -> str:
    """Each fault by the step that it met."""
    kinds = [kind for kind in ALL if any(faults[kind, where] for _, where in faults)]
    steps = [*STEPS, *sorted({where for _, where in faults} - set(STEPS))]
    head = f"{'':20}" + "".join(f"{kind.removeprefix('store_')[:13]:>14}" for kind in kinds)
    lines = [head]
    for step in steps:
        counts = [faults[kind, step] for kind in kinds]
        if any(counts):
            lines.append(f"{step:20}" + "".join(f"{count or '':>14}" for count in counts))
    return "\n".join(lines)


def report(tally: Tally, seconds: float, out: TextIO) -> None:
    sums = tally.sums
    faults, rate = sum(tally.faults.values()), sums["trades"] / max(tally.cpu, 0.001)
    out.write(
        f"{sums['runs']} runs of {sums['accounts']} accounts, {sums['trades']} trades of {sums['signals']} signals "
        f"({sums['refused']} times refused), "
        f"{sums['virtual_ms'] / 86_400_000:.1f} virtual days, {sums['epochs']} times owned, {sums['kills']} kills, "
        f"{faults} faults of the fleet and {sum(tally.at_the_exchange.values())} of the exchange, {sums['writes']} "
        f"writes in {seconds:.0f} s ({tally.cpu:.0f} s of CPU, {rate:.0f} trades each); "
        f"{len(tally.failed)} violations\n"
    )
    out.write(", ".join(f"{reason} {n}" for reason, n in tally.closed.most_common()) + "\n\n")
    out.write(table(tally.faults) + "\n\nat the exchange: ")
    out.write(", ".join(f"{kind} {n}" for kind, n in tally.at_the_exchange.most_common()) + "\n")
    out.writelines(f"seed {seed}: {what}\n" for seed, what in tally.failed[:20])


def hunt(seconds: float) -> dict[str, object]:
    """The first violation of any run, if there is one before so many seconds of CPU are over."""
    begun = time.process_time()
    seed = 0
    while time.process_time() - begun < seconds:
        with collected_after():
            for _ in range(BATCH):
                seed += 1
                result = by_seed(seed)
                if result.broken:
                    return {"check": result.broken[0], "runs": seed, "seconds": round(time.process_time() - begun, 1)}
    return {"check": "", "runs": seed, "seconds": round(time.process_time() - begun, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--soak", type=float, metavar="SECONDS")
    parser.add_argument("--hunt", type=float, metavar="SECONDS")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", metavar="NAME")
    parser.add_argument("--symptom", default="")
    options = parser.parse_args()
    out = sys.stdout
    if options.plan is not None:
        return campaign.tell(by_plan(corpus.load(options.plan).plan, verbose=True), out)
    if options.hunt is not None:
        out.write(msgspec.json.encode(hunt(options.hunt)).decode())
        return 0
    if options.soak is not None:
        begun = time.monotonic()
        tally = campaign.soak(
            Tally(), many, BATCH, seconds=options.soak, seed=options.seed, processes=options.processes
        )
        report(tally, time.monotonic() - begun, out)
        for seed, _ in tally.failed[:3]:
            campaign.explain(f"fleet-plan-{seed}", by_seed(seed), shrunk, out, module="tests.sim.fleet.run")
        return 1 if tally.failed else 0
    result = by_seed(options.seed, verbose=options.keep is None)
    if options.keep is not None:
        return campaign.keep(options.keep, options.symptom, result, shrunk, out, CORPUS)
    return campaign.tell(result, out)


if __name__ == "__main__":
    sys.exit(main())
