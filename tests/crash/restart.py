"""How long a position is bare when the daemon is killed between a fill and its exits, with real processes (rule 8.3c).

    python -m tests.crash.restart           from the start of the next process until every unit is covered, by case
    python -m tests.crash.restart --times 9 --spawned

A case: the layout, the side, what the account has beside the trade, and what becomes of the exits that were on their
way. RECV_WINDOW and DOUBT_SETTLE_SEC are the product's defaults: whatever waits for the fence takes fifteen seconds.
"""

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from tests.crash.campaign import ENTRY, Campaign

from executor.core.model.policy import Layout
from executor.core.model.values import Direction
from executor.paper.server import RequestFault

FENCE_MS: Final = 15_000
BESIDE: Final = {"poor": Decimal(0), "some": Decimal("0.5"), "rich": Decimal(100)}
"""Base beside the trade's 3 with a long; quote, in the worth of so much base, beside what a short's exits lock."""
LATE_MS: Final = 2_500


class Fate(StrEnum):
    """What becomes of the exits that the daemon was killed over."""

    LOST = "lost"
    DONE = "done"
    LATE = "late"


class Case(NamedTuple):
    layout: Layout
    side: Direction
    beside: str
    fate: Fate

    def __str__(self) -> str:
        return f"{self.layout:6}{self.side:6}{self.beside:5}{self.fate}"


CASES: Final = tuple(
    Case(layout, side, beside, fate)
    for layout in Layout
    for side in Direction
    for beside in BESIDE
    for fate in Fate
    if not (layout is Layout.PLAIN and beside != "rich")  # PLAIN needs base of its own beside the trade (rule 4.3)
)


class Covered(NamedTuple):
    """`ms`: from the start of the second process until every unit was covered; `bare_ms`: from the fill. `stops`: how
    many stand once all is settled; `faults`: what must not have happened.
    """

    ms: int
    bare_ms: int
    stops: int
    faults: list[str]


class _Striking:
    """Kills the daemon at its first exit; that one, and whatever came with it, meets its fate."""

    def __init__(self, fate: Fate, strike: Callable[[], None]) -> None:
        self.fate, self.strike = fate, strike
        self.armed = False
        self.struck = False
        self.over = False

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if not self.armed or self.over or not (method != "GET" and "rder" in path and "account" not in path):
            return None
        if not self.struck:
            self.struck = True
            asyncio.get_running_loop().call_soon(self.strike)
        match self.fate:
            case Fate.LOST:
                return RequestFault(execute=False, disconnect=True)
            case Fate.DONE:
                return RequestFault(delay_after_ms=50)
            case Fate.LATE:
                return RequestFault(delay_before_ms=LATE_MS, disconnect=True)


def balances(case: Case) -> dict[str, Decimal]:
    beside = BESIDE[case.beside]
    if case.side is Direction.LONG:
        return {"USDT": Decimal(10_000), "LTC": beside}
    # What the sale brings is a little less than what the exits lock: their stops are above the entry.
    return {"USDT": Decimal(10) + beside * ENTRY, "LTC": Decimal(4) if case.layout is Layout.OCO else Decimal(8)}


async def measure(folder: Path, case: Case, *, spawned: bool = False) -> Covered:
    campaign = Campaign(
        folder, seed=1, kills=0, layout=str(case.layout), spawn_every=1 if spawned else 0, balances=balances(case)
    )
    settings = {"RECV_WINDOW": "5000", "DOUBT_SETTLE_SEC": "10", "LIVE_ENTRY_TIMEOUT_SEC": "600"}
    async with campaign.serving(**settings) as fork_server:
        first, _ = await campaign.start(fork_server)
        striking = _Striking(case.fate, lambda: first.send(signal.SIGKILL))
        campaign.wire_faults.on_request = striking.on_request  # type: ignore[method-assign]
        assert await first.ready(), first.output()
        campaign.touch(ENTRY + case.side.sign * Decimal("0.08"))
        campaign.say(case.side)
        await _until(lambda: len(campaign.engine.open_orders("paper", "LTCUSDT")) == 1, campaign)
        striking.armed = True
        campaign.touch(ENTRY)
        await _until(lambda: not first.running, campaign)
        striking.over = True
        second, life = await campaign.start(fork_server)
        await _until(lambda: campaign.books().trades[-1].bare_ms > 0 and not _bare_now(campaign), campaign)
        span = campaign.books().trades[-1].bare[-1]
        covered = Covered(max(span.until - life.began, 0), span.ms, 0, [])
        await _until(lambda: second.said("ready") != [], campaign)
        wait = LATE_MS / 1000 + 1 if case.fate is Fate.LATE else 0.3
        await asyncio.sleep(wait)
        await _until(campaign.on_disk_is_quiet, campaign)
        stops = [o for o in campaign.books().trades[-1].live if o.stop_price]
        second.send(signal.SIGTERM)
        assert await second.end() == 0, second.output()
    faults = [*campaign.report.violations, *([second.traceback()] if second.traceback() else [])]
    return covered._replace(stops=len(stops), faults=faults)


def _bare_now(campaign: Campaign) -> bool:
    spans = campaign.books().trades[-1].bare
    return bool(spans) and spans[-1].until >= campaign.clock.now_ms() - 1


async def _until(condition: Callable[[], bool], campaign: Campaign) -> None:
    async with asyncio.timeout(2 * FENCE_MS / 1000):
        while not condition():
            await campaign.pause()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--spawned", action="store_true", help="start each process as a supervisor would")
    options = parser.parse_args()
    bad = 0
    for case in CASES:
        found = []
        for _ in range(options.times):
            with tempfile.TemporaryDirectory() as folder:
                found.append(asyncio.run(measure(Path(folder), case, spawned=options.spawned)))
        start = [each.ms for each in found]
        faults = [fault for each in found for fault in each.faults]
        bad += len(faults)
        told = f"start to covered {statistics.median(start):6.0f} ms ({min(start)} to {max(start)})"
        sys.stdout.write(f"{case!s:24} {told}, {found[0].stops} stops stand; {len(faults)} faults\n")
        sys.stdout.writelines(f"  {fault}\n" for fault in faults)
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
