"""The campaign on the wire: `make fleet-soak ROUNDS=100`, or `python -m tests.fleet.soak --rounds 100 --seed 1`.

Three members of etcd, three nodes as processes, a paper exchange with three accounts. Exit code 1 when anything was
violated; a report is printed as it goes. A round is mostly waiting, for leases to end and nodes to wake: `--beside 2`
has two such worlds at a time share the rounds, each with a seed of its own.
"""

import argparse
import asyncio
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from tests.fleet.campaign import PATIENT, PLAN, Campaign, Report
from tests.fleet.cluster import PROGRAM, running
from tests.fleet.world import TTL_S, FleetWorld

from tools import etcd

NODES: Final = ("n1", "n2", "n3")
ACCOUNTS: Final = ("alice", "bob", "carol")
REPORT: Final = "report.json"
COUNTED: Final = (
    "in_vain", "signals", "acknowledged", "repeated", "trades", "refused", "unacknowledged_trades", "orders",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=0.0, help="end after so long, whatever rounds are left")
    parser.add_argument("--only", default="", help="only rounds of kinds that begin so: `kill`, or `pause,kill`")
    parser.add_argument("--beside", type=int, default=1, help="so many worlds at a time share the rounds")
    parser.add_argument("--folder", type=Path, help="where logs go; kept")
    wanted = parser.parse_args()
    if not PROGRAM:
        sys.exit(f"no etcd: {etcd.ADVICE}")
    if not any(_wanted(kind, wanted.only) for kind in PLAN):
        parser.error(f"--only: was {wanted.only!r}; must be beginnings of {', '.join(sorted(set(PLAN)))}")
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell has those in the background ignore the first
        signal.signal(number, signal.default_int_handler)
    folder = wanted.folder or Path(tempfile.mkdtemp(prefix="executor-fleet-"))
    folder.mkdir(parents=True, exist_ok=True)
    if wanted.beside > 1:
        report = _beside(wanted, folder)
    else:
        report = Report(wanted.seed, TTL_S)
        try:
            asyncio.run(campaign(report, folder, wanted.rounds, wanted.minutes * 60, wanted.only))
        finally:
            (folder / REPORT).write_bytes(msgspec.json.encode(report))
            sys.stdout.write(f"{as_text(report)}\nfiles           {folder}\n")
    if report.violations:
        sys.exit(1)


def _beside(wanted: argparse.Namespace, folder: Path) -> Report:
    """The reports of several worlds in one. One that has died is a violation."""
    words = ["--minutes", str(wanted.minutes), "--only", wanted.only]
    shares = [wanted.rounds // wanted.beside + (n < wanted.rounds % wanted.beside) for n in range(wanted.beside)]
    worlds = []
    for n, rounds in enumerate(shares):
        own = ["--rounds", str(rounds), "--seed", str(wanted.seed + n), "--folder", str(folder / f"w{n}")]
        worlds.append(subprocess.Popen([sys.executable, "-m", "tests.fleet.soak", *own, *words]))
    try:
        codes = [world.wait() for world in worlds]
    except KeyboardInterrupt:
        for world in worlds:
            world.send_signal(signal.SIGTERM)
        codes = [world.wait() for world in worlds]
    whole = Report(wanted.seed, TTL_S)
    for n, code in enumerate(codes):
        path = folder / f"w{n}" / REPORT
        part = _read(path) if path.exists() else Report(0, TTL_S)
        if code != bool(part.violations) or not path.exists():
            part.violations.append(f"world {n} ended with {code}")
        _add(whole, part)
    sys.stdout.write(f"\n{as_text(whole)}\nfiles           {folder}\n")
    return whole


def _read(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report, dec_hook=lambda _, counts: Counter(counts))


def _add(whole: Report, part: Report) -> None:
    for name in ("rounds", "met", "unmet", "alerts"):
        getattr(whole, name).update(getattr(part, name))
    for name in COUNTED:
        setattr(whole, name, getattr(whole, name) + getattr(part, name))
    for name in ("claimed_s", "ready_s"):
        for kind, times in getattr(part, name).items():
            getattr(whole, name).setdefault(kind, []).extend(times)
    whole.bare_ms += part.bare_ms
    whole.late += [f"seed {part.seed}: {each}" for each in part.late]
    whole.violations += [f"seed {part.seed}: {each}" for each in part.violations]
    whole.seconds = max(whole.seconds, part.seconds)


def _wanted(kind: str, only: str) -> bool:
    return not only or kind.startswith(tuple(only.split(",")))


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
            going = Campaign(world, report, patient, tuple(kind for kind in PLAN if _wanted(kind, only)))
            number = 0
            while number < rounds + min(repeats, report.in_vain):
                if seconds and time.monotonic() - began > seconds:
                    break
                kind = going.draw()
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
    bound = report.bound_s
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
        *(f"  late: {each}" for each in report.late),
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
