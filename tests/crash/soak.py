"""The long campaign: `make soak-wire`, or `python -m tests.crash.soak --kills 300 --seed 1`.

Exit code 1 when anything was violated.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.crash.campaign import Campaign, Report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--terms", type=int, default=30, help="lives that end by SIGTERM, beside the kills")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--storm", type=float, default=0.08, help="how likely a request or push goes wrong")
    parser.add_argument("--trades", type=int, default=0, help="at least so many trades")
    parser.add_argument("--layout", choices=("OCO", "PLAIN"), default="OCO")
    parser.add_argument("--folder", type=Path, help="where the daemon's files and logs go; kept")
    wanted = parser.parse_args()
    folder = wanted.folder or Path(tempfile.mkdtemp(prefix="executor-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(
        folder,
        seed=wanted.seed,
        kills=wanted.kills,
        terms=wanted.terms,
        storm=wanted.storm,
        trades=wanted.trades,
        layout=wanted.layout,
    )
    report = asyncio.run(campaign.run())
    sys.stdout.write(as_text(report) + f"\nfiles           {folder}\n")
    if report.violations:
        sys.exit(1)


def as_text(report: Report) -> str:
    bare = report.bare_ms or [0]
    lines = [
        f"seed            {report.seed}",
        f"lives           {report.kills} SIGKILL, {report.terms} SIGTERM in {report.seconds:.0f} s",
        f"trades          {report.trades}, {report.filled} with fills, {report.orders} orders",
        f"ended           {_counts(report.reasons)}",
        f"died at         {_counts(report.deaths)}",
        f"died while      {_counts(report.phases)}",
        f"faults          {_counts(report.faults)}",
        f"alerts          {_counts(report.alerts)}",
        f"unprotected     per trade: median {median(bare):.0f} ms, most {bare[-1]} ms; all {sum(bare)} ms",
        f"                at a time: most {report.bare_longest_ms} ms, {report.bare_up_longest_ms} ms with it up",
        *(
            f"start           {kind}: median {median(times):.0f} ms, most {max(times)} ms of {len(times)}"
            for kind, times in sorted(report.start_ms.items())
        ),
        f"violations      {len(report.violations)}",
        *report.violations,
    ]
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda each: -each[1])) or "none"


if __name__ == "__main__":
    main()
