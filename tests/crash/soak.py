"""The long campaign: `make soak-wire`, or `python -m tests.crash.soak --kills 300 --seed 1`.

First some trades without faults or kills, which tell how long a position is bare when all goes well; then the same with
both. Exit code 1 when anything was violated.
"""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from tests.crash.campaign import Campaign
from tests.crash.log_reader import Reading
from tests.crash.margin_campaign import CROSS, ISOLATED, MarginCampaign
from tests.crash.observers import Watcher
from tests.crash.report import Report
from tests.crash.wire_faults import FAULT_NAMES, MOMENTS, WAYS

from executor.paper.engine.choices import all_choices

MANY: Final = 200
"""So many kills and faults come in every kind."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--terms", type=int, default=30, help="lives that end by SIGTERM, beside the kills")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--storm", type=float, default=0.08, help="how likely a request or push goes wrong")
    parser.add_argument("--calm", type=int, default=25, help="trades without faults and kills beforehand")
    parser.add_argument("--trades", type=int, default=0, help="at least so many trades")
    parser.add_argument("--layout", choices=("OCO", "PLAIN", "BRACKET"), default="OCO")
    parser.add_argument("--margin", choices=(CROSS, ISOLATED), default="", help="on such an account, with loans")
    parser.add_argument("--folder", type=Path, help="where the daemon's files and logs go; kept")
    wanted = parser.parse_args()
    folder = wanted.folder or Path(tempfile.mkdtemp(prefix="executor-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    reports = []
    if wanted.calm:
        (folder / "calm").mkdir(exist_ok=True)
        calm = _campaign(folder / "calm", wanted, kills=0, terms=0, storm=0.0, trades=wanted.calm)
        reports.append(_run("without faults", calm))
    campaign = _campaign(folder, wanted, wanted.kills, wanted.terms, wanted.storm, wanted.trades)
    reports.append(_run("with faults and kills", campaign))
    if wanted.kills >= MANY and (unseen := unseen_of(reports[-1])):
        sys.exit(f"the campaign has not met: {', '.join(unseen)}")
    sys.stdout.write(f"files           {folder}\n")
    if any(report.violations for report in reports):
        sys.exit(1)


def _campaign(folder: Path, wanted: argparse.Namespace, kills: int, terms: int, storm: float, trades: int) -> Campaign:
    drawn = {"seed": wanted.seed, "kills": kills, "terms": terms, "storm": storm, "trades": trades}
    if wanted.margin:
        return MarginCampaign(folder, kind=wanted.margin, layout=wanted.layout, **drawn)
    return Campaign(folder, layout=wanted.layout, **drawn)


def unseen_of(report: Report) -> list[str]:
    """What the campaign is to meet and has not: moments of death, faults, garbage on each way, readers of the log and
    of what else it says, and each choice that the exchange's documents leave open, read in each way.
    """
    wanted = (
        (map(str, MOMENTS), report.deaths, ""),
        (FAULT_NAMES, report.faults, ""),
        (WAYS, report.garbage, "garbage over "),
        (map(str, Reading), report.log_readers, "log: "),
        (map(str, Watcher), report.watchers, ""),
        ((f"{each.name}={value}" for each in all_choices() for value in each.values), report.readings, ""),
    )
    return [f"{kind}{name}" for names, met, kind in wanted for name in names if name not in met]


def _run(name: str, campaign: Campaign) -> Report:
    report = asyncio.run(campaign.run())
    sys.stdout.write(f"{name}\n{as_text(report)}\n\n")
    sys.stdout.flush()
    return report


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
        f"garbage over    {_counts(report.garbage)}",
        f"log             {_counts(report.log_readers)}",
        f"watched by      {_counts(report.watchers)}",
        f"readings        {_counts(report.readings)}",
        f"alerts          {_counts(report.alerts)}",
        f"unprotected     per trade: {_spread(bare)}; all {sum(bare)} ms",
        f"                at a time: most {report.bare_longest_ms} ms, {report.bare_up_longest_ms} ms with it up",
        f"target at work  per trade: {_spread(report.at_work_ms or [0])}",
        *(
            f"start           {kind}: median {median(times):.0f} ms, most {max(times)} ms of {len(times)}"
            for kind, times in sorted(report.start_ms.items())
        ),
        f"violations      {len(report.violations)}",
        *report.violations,
    ]
    return "\n".join(lines)


def _spread(times: list[int]) -> str:
    """Of sorted times in ms."""
    return f"median {median(times):.0f} ms, p99 {times[math.ceil(0.99 * len(times)) - 1]} ms, most {times[-1]} ms"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda each: -each[1])) or "none"


if __name__ == "__main__":
    main()
