"""The campaign on the wire: `make fleet-soak ROUNDS=100`, or `python -m tests.fleet.soak --rounds 100 --seed 1`.

Three members of etcd, three nodes as processes, a paper exchange with three accounts. Exit code 1 when anything was
violated; a report is printed as it goes.
"""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Final

from tests.fleet.campaign import PATIENT, Campaign, Report
from tests.fleet.cluster import PROGRAM, running
from tests.fleet.world import TTL_S, FleetWorld

from tools import etcd

NODES: Final = ("n1", "n2", "n3")
ACCOUNTS: Final = ("alice", "bob", "carol")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=0.0, help="end after so long, whatever rounds are left")
    parser.add_argument("--only", default="", help="rounds of this kind alone")
    parser.add_argument("--folder", type=Path, help="where logs go; kept")
    wanted = parser.parse_args()
    if not PROGRAM:
        sys.exit(f"no etcd: {etcd.ADVICE}")
    folder = wanted.folder or Path(tempfile.mkdtemp(prefix="executor-fleet-"))
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(wanted.seed, TTL_S)
    try:
        asyncio.run(campaign(report, folder, wanted.rounds, wanted.minutes * 60, wanted.only))
    finally:
        sys.stdout.write(f"{as_text(report)}\nfiles           {folder}\n")
    if report.violations:
        sys.exit(1)


async def campaign(
    report: Report,
    folder: Path,
    rounds: int,
    seconds: float = 0.0,
    only: str = "",
    *,
    patient: float = PATIENT,
    repeats: int = 0,
) -> None:
    """`seconds` 0: until all rounds are over. `patient`: how many senders say a signal until it is taken. `repeats`: so
    many rounds more, at the most, for those in vain: the moment did not come in time, or nothing was traded.
    """
    seed = report.seed
    began = time.monotonic()
    async with running(folder, 3) as cluster:
        world = FleetWorld(folder, cluster, ACCOUNTS, seed=seed, proxied=True)
        async with world.serving():
            for number, name in enumerate(NODES):
                await world.start(name, ORDER_TRANSPORT="ws" if number == 0 else "rest")
            going = Campaign(world, report, patient)
            number = 0
            while number < rounds + min(repeats, report.in_vain):
                if seconds and time.monotonic() - began > seconds:
                    break
                kind = only or going.draw()
                orders, unmet = report.orders, report.unmet.total()
                try:
                    await going.round(kind)
                except TimeoutError:
                    left = {account: world.open_ids(account) for account in world.accounts}
                    report.violations.append(f"round {number + 1} ({kind}): did not end; open: {left}")
                    break
                number += 1
                report.in_vain += report.orders == orders or report.unmet.total() > unmet
                report.seconds = time.monotonic() - began
                sys.stdout.write(f"{number:4} {kind}: {len(report.violations)} violations\n")
                sys.stdout.flush()


def as_text(report: Report) -> str:
    claims = [each for times in report.claimed_s.values() for each in times]
    readies = [each for times in report.ready_s.values() for each in times]
    bound = report.ttl_s + 1.5
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.rounds.items()))
    lines = [
        f"seed            {report.seed}",
        f"rounds          {sum(report.rounds.values())} in {report.seconds:.0f} s: {kinds}",
        f"moments met     {_counts(report.met)}; not in time: {_counts(report.unmet)}",
        f"rounds in vain  {report.in_vain}",
        f"signals         {report.signals}, {report.acknowledged} acknowledged, {report.repeated} repetitions refused",
        f"outcomes        by account: {report.trades} trades and {report.refused} refusals of what was acknowledged",
        f"                {report.unacknowledged_trades} trades of what was not",
        f"orders          {report.orders}",
        f"claimed after   {_spread(claims)}",
        f"supervised      {_spread(readies)}; bound {bound} s: {sum(1 for each in readies if each > bound)} above it",
        *(f"  {kind:<18} {_spread(times)}" for kind, times in sorted(report.ready_s.items())),
        f"bare at a time  {_spread([each / 1000 for each in report.bare_ms])}",
        f"alerts          {', '.join(f'{count} {name}' for name, count in report.alerts.most_common()) or 'none'}",
        f"violations      {len(report.violations)}",
        *report.violations,
    ]
    return "\n".join(lines)


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "none"


def _spread(times: list[float]) -> str:
    if not times:
        return "none"
    ordered = sorted(times)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return f"median {median(ordered):.2f} s, p99 {p99:.2f} s, most {ordered[-1]:.2f} s of {len(ordered)}"


if __name__ == "__main__":
    main()
