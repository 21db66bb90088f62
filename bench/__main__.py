"""`make bench`: everything measured once, in one run, on this machine.

    python -m bench [--quick] [--out FILE] [--only WORD]

Prints a table and writes the same as JSON.
"""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from bench.fleet import scratch, writes
from bench.inside import FILLS, QUOTES, Day, by_kind, covering, per_step, persist
from bench.nodes import memory, takeovers
from bench.processes import Failed, play
from bench.scenario import Result, Scenario, StreamFault
from bench.table import Figures, Row, figures, text
from executor.core.guard import advance
from executor.core.model.state import SCHEMA_VERSION
from executor.core.transition import transition
from executor.service.store.document import document_of
from executor.service.store.state_store import seal
from tools import etcd, etcd_cluster

POLL: Final = {0: "0.2", 20: "0.5"}
"""POLL_SEC of the poll-only entries, by network delay in ms: less than the default, and a quarter of the entries, lest
they take an hour. With the delay a look takes two round trips of its own, which half of a very short POLL_SEC would
not hold.
"""
CALM_AGAIN_S: Final = 32.0
"""A connection that has lasted half a minute is opened again at once when it is lost; one that has not, ever later."""
MANY_ACCOUNTS: Final = 50
ACCOUNTS_TAKEN: Final = 4
TTL_S: Final = 5
"""The default of FLEET_TTL_SEC."""
MANY: Final = tuple(f"S{n:02}USDT" for n in range(100))


class Bench:
    """One run. `rows` is the table so far."""

    def __init__(self, *, quick: bool, only: str) -> None:
        self.entries = 100 if quick else 1000
        self.seconds = 20.0 if quick else 60.0
        self.quick = quick
        self.only = only
        self.rows: list[Row] = []
        self.size = 0
        self.first: list[float] = []
        """Of the last entries: fill to the first stop accepted."""

    async def run(self) -> None:
        self.inside()
        await self.hot_path()
        await self.brackets()
        await self.stops()
        await self.margin()
        await self.streams()
        await self.watching()
        await self.many()
        await self.fleet()
        await self.nodes()

    def heading(self, name: str) -> bool:
        """Whether this part is wanted."""
        if self.only and self.only not in name:
            return False
        print(f"… {name}", file=sys.stderr, flush=True)
        self.rows.append(Row(name))
        return True

    def figure(self, name: str, samples: list[float], remark: str = "") -> Figures:
        found = figures(samples)
        self.rows.append(Row(name, found, remark=remark))
        return found

    def value(self, name: str, value: float, unit: str, remark: str = "") -> None:
        self.rows.append(Row(name, value=round(value, 2), unit=unit, remark=remark))

    # --- parts ---

    def inside(self) -> None:
        day = Day()
        day.play(keep=True)
        assert day.entered is not None  # the recording has entries
        self.size = len(seal(document_of(day.entered), SCHEMA_VERSION))
        if not self.heading("core and disk"):
            return
        self.core(day)
        again = Day()
        took = again.play(keep=False)
        self.value("simulated trades of the market", len(again.trades) / took, "a second", f"{took:.1f} s in all")
        Path("build").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="executor-bench-", dir="build") as folder:
            for name, samples in persist(day.entered, Path(folder), self.entries).items():
                self.figure(name, samples, f"{self.size} bytes" if name.startswith("bare") else "")

    def core(self, day: Day) -> None:
        fills = Day(FILLS)
        fills.play(keep=True)
        for mix, played in ((QUOTES, day), (FILLS, fills)):
            quiet, rest = by_kind(played)
            share = 100 * len(quiet) // len(played.steps)
            for name, take in (("transitions", transition), ("the same with their invariants", advance)):
                of_price, of_rest = per_step(played, quiet, take), per_step(played, rest, take)
                rate = 1e6 * len(played.steps) / (of_price * len(quiet) + of_rest * len(rest))
                remark = f"{share} % prices and time at {of_price:.0f} us, the rest at {of_rest:.0f} us"
                self.value(f"{name}, {mix.name}", rate, "a second", remark)
        steps = covering(day, 1_000)
        self.value("fill to exits: transition", per_step(day, steps, transition), "us")
        self.value("fill to exits: with its invariants", per_step(day, steps, advance), "us")

    async def hot_path(self) -> None:
        for delay in (0, 20):
            if self.heading(f"fill to covered, network {delay} ms each way"):
                await self._hot_path(delay)

    async def _hot_path(self, delay: int) -> None:
        transports = ("ws",) if delay else ("rest", "ws")  # with a network between, the way of the orders is lost in it
        floors = [await self._floor(delay, transport) for transport in transports]
        lowest = min(floors, key=lambda found: found.median)
        for layout in ("OCO", "PLAIN"):
            for transport in transports:
                name = f"push, {layout}, orders over {transport}"
                found = figures(await self._entries(name, delay, layout=layout, transport=transport))
                ratio = f"median {found.median / lowest.median:.2f} x, p99 {found.p99 / lowest.p99:.2f} x the floor"
                self.rows[-1] = Row(name, found, remark=ratio)
                if layout == "OCO":
                    self.figure("– its first stop accepted", self.first)
        for transport in transports:
            await self._floor(delay, transport, ", again")
        wait = float(POLL[delay])
        for layout in ("OCO", "PLAIN"):
            polled = {"USER_STREAM": "false", "POLL_SEC": POLL[delay]}
            name = f"poll only, {layout}"
            found = figures(
                await self._entries(name, delay, layout=layout, wait=wait, settings=polled, count=self.entries // 4)
            )
            bound = wait * 500 + lowest.median
            self.rows[-1] = Row(name, found, remark=f"POLL_SEC {POLL[delay]}: half and the floor is {bound:.1f}")

    async def _floor(self, delay: int, transport: str, when: str = "") -> Figures:
        name = f"floor over {transport}{when}"
        return figures(await self._entries(name, delay, transport=transport, floor=True))

    async def _entries(
        self,
        name: str,
        delay: float,
        *,
        layout: str = "OCO",
        transport: str = "ws",
        wait: float = 0.01,
        floor: bool = False,
        settings: dict[str, str] | None = None,
        count: int = 0,
    ) -> list[float]:
        scenario = Scenario(
            name=name,
            play="entries",
            entries=count or self.entries,
            warm_up=max(20, self.entries // 20),
            layout=layout,
            transport=transport,
            delay_ms=delay,
            wait=wait,
            floor=floor,
            size=self.size,
            settings=settings or {},
        )
        result = await play(scenario)
        samples = result.samples["fill to covered"]
        self.figure(name, samples)
        self.first = result.samples.get("fill to first stop", [])
        return samples

    async def brackets(self) -> None:
        """Entries that bring their exits: by the exchange's own clock (0 is: in the same millisecond)."""
        if not self.heading("brackets"):
            return
        full = await play(Scenario(name="full", play="entries", entries=self.entries, warm_up=20, layout="BRACKET"))
        self.figure("BRACKET, full fill to covered, exchange's clock", full.samples["exchange's clock"])
        weight, requests = (full.counts.get(f"asked {what}", 0) / self.entries for what in ("weight", "requests"))
        self.value("requests of a whole trade that is stopped out", requests, "", f"{weight:.1f} of request weight")
        few = max(self.entries // 50, 5)
        for layout in ("BRACKET", "OCO"):
            settings = {"BRACKET_PART_SEC": "2"}
            parts = await play(
                Scenario(name="parts", play="parts", entries=few, layout=layout, settings=settings, wait=0.1)
            )
            self.figure(f"{layout}, a part filled to covered", parts.samples["part to covered"])
            killed = await play(Scenario(name="killed", play="killed", entries=few, layout=layout))
            if layout == "BRACKET":
                name = "BRACKET, killed between entry and fill, exchange's clock"
                self.figure(name, killed.samples["exchange's clock"])
            else:
                self.figure("OCO, killed between entry and fill", killed.samples["fill to covered"])
            self.figure(f"{layout}, restart to supervised", killed.samples["start to supervised"])

    async def stops(self) -> None:
        if not self.heading("signal to order, stop moved"):
            return
        result = await play(Scenario(name="signals", play="entries", entries=self.entries, warm_up=20))
        self.figure("signal in the file to order accepted", result.samples["signal to order"])
        weight, requests = (result.counts.get(f"asked {what}", 0) / self.entries for what in ("weight", "requests"))
        self.value("requests of a whole trade that is stopped out", requests, "", f"{weight:.1f} of request weight")
        settings = {"TRAIL_UPDATE_EVERY_SEC": "0.1", "TRAIL_DISTANCE_USD": "0.3"}
        moved = await play(Scenario(name="stops", play="stops", entries=self.entries, warm_up=10, settings=settings))
        self.figure("new best price to the stop behind it accepted", moved.samples["stop moved"])

    async def margin(self) -> None:
        """On margin orders go over REST, and a stop moves by its cancel and a new one: beside Spot, over REST too."""
        if not self.heading("on margin"):
            return
        moving = {"TRAIL_UPDATE_EVERY_SEC": "0.1", "TRAIL_DISTANCE_USD": "0.3", "MARGIN_TRAIL_EVERY_SEC": "0.1"}
        for delay in (0.0, 20.0):
            network = f"{delay:.0f} ms each way" if delay else "no network"
            for margin in (False, True):
                account = "isolated margin" if margin else "Spot"
                made = Scenario(
                    name="margin", play="entries", entries=self.entries // 4, warm_up=10, transport="rest",
                    delay_ms=delay, margin=margin,
                )  # fmt: skip
                result = await play(made)
                self.figure(f"fill to covered, {account}, {network}", result.samples["fill to covered"])
                moved = msgspec.structs.replace(made, play="stops", settings=moving)
                result = await play(moved)
                self.figure(f"new best price to the stop behind it, {account}, {network}", result.samples["stop moved"])
                if margin:
                    bare = result.samples["without a stop"]
                    self.figure(f"without a stop at each move, {account}, {network}", bare)

    async def streams(self) -> None:
        """With POLL_SEC at its default of a second."""
        if not self.heading("fill to covered, streams that fail"):
            return
        for stream_fault in StreamFault:
            # half a minute each; after a cut it takes that long until the next one finds everything up for certain
            few = stream_fault in {StreamFault.CUT, StreamFault.BOTH_DEAD}
            scenario = Scenario(
                name=stream_fault.value,
                play="faulted",
                entries=max(self.entries // 125, 2) if few else max(self.entries // 25, 10),
                seconds=CALM_AGAIN_S if stream_fault is StreamFault.CUT else 1.0,
                wait=0.3,
                stream_fault=stream_fault,
            )
            self.figure(stream_fault.value, (await play(scenario)).samples["fill to covered"])

    async def watching(self) -> None:
        if not self.heading("watching"):
            return
        cases = {
            "idle": Scenario(name="idle", play="idle", seconds=self.seconds),
            "one open trade": Scenario(name="open", play="open", seconds=self.seconds),
            "one open trade, poll only": Scenario(
                name="polled", play="open", seconds=self.seconds, settings={"USER_STREAM": "false"}
            ),
        }
        for name, scenario in cases.items():
            self._usage(name, await play(scenario))

    async def many(self) -> None:
        if not self.heading("100 symbols"):
            return
        entries = max(self.entries // 2, 50)
        alone = figures(await self._entries("fill to covered, alone, before", 0))
        result = await play(
            Scenario(name="many", play="many", symbols=MANY, seconds=self.seconds, entries=entries, warm_up=10)
        )
        among = self.figure("fill to covered, one among 100 open", result.samples["fill to covered"])
        again = figures(await self._entries("fill to covered, alone, after", 0))
        lowest = min(alone.p99, again.p99)
        at = self.rows.index(next(row for row in self.rows if row.figures is among))
        self.rows[at] = Row(self.rows[at].name, among, remark=f"p99 {among.p99 / lowest:.2f} x that of one alone")
        self.figure("fill to covered, 20 filling in the same second", result.samples["fill to covered, burst"])
        self._usage("100 open", result)

    async def fleet(self) -> None:
        """Where a state is in etcd: three members on this machine, on its disk."""
        if not self.heading("fill to covered, states in etcd"):
            return
        if not etcd.program():
            self.rows.append(Row("not measured", remark=f"no etcd: {etcd.ADVICE}"))
            return
        with tempfile.TemporaryDirectory(prefix="executor-bench-", dir=scratch()) as folder:
            async with etcd_cluster.running(Path(folder), 3) as cluster:
                before = figures(await self._entries("in files, before", 0))
                settings = {"FLEET": cluster.setting, "FLEET_NODE": "bench"}
                found = figures(await self._entries("in etcd, three members on loopback", 0, settings=settings))
                at = len(self.rows) - 1
                after = figures(await self._entries("in files, after", 0))
                more = found.median - min(before.median, after.median)
                self.rows[at] = Row(self.rows[at].name, found, remark=f"median {more:+.1f} ms to that in files")
                for accounts in (1, 32, 300):
                    self.figure(
                        f"a state into etcd, {accounts} accounts, each once a second",
                        await writes(cluster.endpoints, accounts, self.seconds / 3, self.size),
                    )

    async def nodes(self) -> None:
        """What an account costs a node, and how long a trade is alone when its node has died."""
        for name, part in (("accounts of a node", self._accounts), ("take-over", self._takeovers)):
            if not self.heading(name):
                continue
            if not etcd.program():
                self.rows.append(Row("not measured", remark=f"no etcd: {etcd.ADVICE}"))
                continue
            with tempfile.TemporaryDirectory(prefix="executor-bench-", dir=scratch()) as folder:
                async with etcd_cluster.running(Path(folder), 3) as cluster:
                    await part(Path(folder), cluster)

    async def _accounts(self, folder: Path, cluster: etcd_cluster.Cluster) -> None:
        found = {}
        for accounts in (1, MANY_ACCOUNTS):
            (place := folder / str(accounts)).mkdir()
            found[accounts] = await memory(place, cluster.setting, cluster.endpoints, accounts, f"m{accounts}")
            for what, megabytes in zip(("flat", "a trade open in each"), found[accounts], strict=True):
                self.value(f"memory of a node, accounts: {accounts}, {what}", megabytes, "MB")
        for number, what in enumerate(("flat", "with an open trade")):
            more = found[MANY_ACCOUNTS][number] - found[1][number]
            self.value(f"each account more, {what}", 1000 * more / (MANY_ACCOUNTS - 1), "KB")

    async def _takeovers(self, folder: Path, cluster: etcd_cluster.Cluster) -> None:
        rounds = self.entries // (20 if self.quick else 40)
        taken = await takeovers(folder, cluster.setting, cluster.endpoints, rounds, ACCOUNTS_TAKEN, TTL_S)
        above = sum(each > 1e6 * (TTL_S + 1.5) for each in taken)
        remark = f"FLEET_TTL_SEC {TTL_S}; above that and 1.5 s: {above}"
        self.figure(f"owner killed to supervised, {ACCOUNTS_TAKEN} trades, {rounds} times", taken, remark)

    def _usage(self, name: str, result: Result) -> None:
        for what, count in result.counts.items():
            if what.endswith("a minute"):
                self.value(f"{name}: {what.partition(' ')[2]}", count, "")
        self.value(f"{name}: memory", result.counts["memory MB"], "MB")
        rate = next((count for what, count in result.counts.items() if what.endswith("market trades a second")), 0)
        self.value(f"{name}: CPU", result.counts["cpu %"], "% of a core", f"{rate:.0f} market trades a second")

    # --- the end ---

    def as_json(self, took: float) -> bytes:
        return msgspec.json.format(
            msgspec.json.encode(
                {
                    "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": sys.version},
                    "load": os.getloadavg(),
                    "quick": self.quick,
                    "seconds": round(took, 1),
                    "rows": list(self._named()),
                }
            ),
            indent=2,
        )

    def _named(self) -> Iterator[dict[str, object]]:
        part = ""
        for row in self.rows:
            if row.figures is None and row.value is None:
                part = row.name
                continue
            yield {"part": part, **msgspec.to_builtins(row)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Measure Executor on this machine.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the entries")
    parser.add_argument("--only", default="", help="only the parts with this word in their name")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="where the figures go, as JSON")
    arguments = parser.parse_args()
    bench = Bench(quick=arguments.quick, only=arguments.only)
    began = time.monotonic()
    try:
        asyncio.run(bench.run())
    except Failed as error:
        print(text(bench.rows))
        sys.exit(f"bench: {error}")
    finally:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_bytes(bench.as_json(time.monotonic() - began))
    print(text(bench.rows))
    print(f"\nwritten to {arguments.out}; load of the machine {Decimal(os.getloadavg()[0]):.1f}")


if __name__ == "__main__":
    main()
