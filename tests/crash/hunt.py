"""Hunt a deliberate bug on the wire: `python -m tests.crash.hunt [TEST ...] SECONDS` prints what was found, as JSON.

With the paths of tests, those are run; else a campaign in which every log is read badly and everybody who watches is
bad, life after life. Whoever hunts runs it on a copy of the program that has the bug in it.
"""

import asyncio
import logging
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec
from tests.crash.campaign import Campaign
from tests.crash.observers import Watcher
from tests.crash.wire_faults import Deck
from tests.sim.mutant import Found

SEED: Final = 501
STORM: Final = 0.15
LIVES: Final = 200
LOOK_S: Final = 0.5


def main(seconds: float, tests: list[str]) -> Found:
    began = time.monotonic()
    check, runs = by_tests(tests, seconds) if tests else asyncio.run(by_campaign(seconds))
    return Found(check, runs, round(time.monotonic() - began, 1))


def by_tests(tests: list[str], seconds: float) -> tuple[str, int]:
    """The first test that fails, or that none comes to an end."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "--no-header", *tests]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"no end of {' '.join(tests)}", 1
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if run.returncode and not failed:
        raise RuntimeError(run.stdout + run.stderr)
    return failed[0].partition("::")[2] or failed[0] if failed else "", 1


async def by_campaign(seconds: float) -> tuple[str, int]:
    """The first violation of a campaign, and how many lives it took."""
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), seed=SEED, kills=LIVES, terms=LIVES // 4, storm=STORM, spawn_every=0)
        campaign.read_badly = campaign.watched_badly = 1.0
        campaign.watching = Deck(campaign.rng, (*[Watcher.HANGING] * 3, Watcher.GARBAGE, Watcher.PAGE))
        running = asyncio.create_task(campaign.run())
        for _ in range(int(seconds / LOOK_S)):
            if running.done() or found(campaign):
                break
            await asyncio.wait({running}, timeout=LOOK_S)
        running.cancel()
        await asyncio.wait({running})
        if not running.cancelled() and (error := running.exception()) is not None:
            raise error
        return found(campaign).partition("\n")[0], len(campaign.lives) + 1


def found(campaign: Campaign) -> str:
    """The first thing that is wrong so far; empty when there is none."""
    wrong = (text for trade in campaign.books().trades for text in campaign.bare_too_long(trade))
    return next(chain(campaign.report.violations, wrong), "")


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(main(float(sys.argv[-1]), sys.argv[1:-1])).decode())
