"""Rounds of trades on a fleet to which things happen, judged by the exchange's own books.

Each signal has a quantity of its own, so that the books tell which entries belong to it.
"""

import asyncio
import contextlib
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any, Final

import aiohttp
import msgspec
from tests.fleet.nemesis import Nemesis
from tests.fleet.world import ENTRY, SYMBOL, TTL_S, FleetWorld

from executor.core.model import ids
from executor.service.store.etcd import EtcdError
from executor.service.store.fleet_store import Envelope
from executor.service.unsure import HOLD_S
from executor.signals.parse import Malformed, parse_signal

LOOK_S: Final = 0.03
ROUND_S: Final = 120.0
PATHS: Final = (("1.1", "0.3", "2.3", "1.2"), ("-1.2",), ("1.1", "-0.2"), ("2.3", "1.0"), ("0.5", "-1.3"))
PLAN: Final = (
    *("pause", "pause at commit", "pause on the wire") * 6,
    *("kill", "kill at commit", "kill on the wire") * 3,
    *("kill with its etcd",) * 2,
    *("cut from etcd", "slow links", "etcd leader killed", "etcd leader paused"),
    *("quorum lost", "everything killed", "drain", "drain", "cut from the exchange"),
)
"""A cycle of rounds, drawn in any order."""
PATIENT: Final = 0.7
"""So many of the senders say a signal again until somebody has taken it."""
TRIES: Final = 10
AGAIN_S: Final = 1.0
TAKEN: Final = frozenset({202, 409})
"""Taken now, or before: its answer was lost."""
NEVER: Final = frozenset({"invariant_broken", "observer_died", "traceback"})
"""What no node says whatever befalls it."""
WAITS: Final = frozenset({"lease_not_renewed", "state_unwritable", "look_failed", "not_claimed", "account_down"})
"""What a node says where something that it needs does not answer: etcd, or the exchange."""
LEAVES: Final = frozenset({"pause", "kill"})


class Report(msgspec.Struct):
    """`met`, `unmet`: rounds in which the moment that was waited for came, and did not come in time; `in_vain`: the
    latter, and those in which nothing was traded. `claimed_s`, `ready_s`: for each struck owner whose account went to
    another, seconds until it was claimed, and until its orders had been looked up; `late`: those that took longer than
    `bound_s`, in words.
    """

    seed: int
    ttl_s: int
    rounds: Counter[str] = msgspec.field(default_factory=Counter)
    met: Counter[str] = msgspec.field(default_factory=Counter)
    unmet: Counter[str] = msgspec.field(default_factory=Counter)
    in_vain: int = 0
    signals: int = 0
    acknowledged: int = 0
    repeated: int = 0
    trades: int = 0
    refused: int = 0
    unacknowledged_trades: int = 0
    orders: int = 0
    claimed_s: dict[str, list[float]] = msgspec.field(default_factory=dict)
    ready_s: dict[str, list[float]] = msgspec.field(default_factory=dict)
    bare_ms: list[int] = msgspec.field(default_factory=list)
    alerts: Counter[str] = msgspec.field(default_factory=Counter)
    late: list[str] = msgspec.field(default_factory=list)
    violations: list[str] = msgspec.field(default_factory=list)
    seconds: float = 0.0

    @property
    def bound_s(self) -> float:
        return self.ttl_s + 1.5


class Tail:
    """Log lines of every node, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at: dict[Path, int] = {}
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def look(self) -> list[tuple[str, dict[str, Any]]]:
        """The lines since the last look, with the node's name."""
        found = []
        for path in sorted(self._folder.glob("n*-*.log")):
            with path.open("rb") as file:
                file.seek(self._at.get(path, 0))
                data = file.read()
            whole = data.rpartition(b"\n")[0]
            self._at[path] = self._at.get(path, 0) + len(whole) + bool(whole)
            for line in whole.splitlines():
                if line.startswith(b"{"):
                    found.append((path.name.partition("-")[0], json.loads(line)))
                elif line.startswith(b"Traceback"):
                    found.append((path.name.partition("-")[0], {"event": "traceback", "alert": True}))
        return found


class Sent(msgspec.Struct, frozen=True):
    key: str
    qty: Decimal
    acknowledged: bool


class Campaign:
    def __init__(
        self, world: FleetWorld, report: Report, patient: float = PATIENT, plan: tuple[str, ...] = PLAN
    ) -> None:
        self.world = world
        self.report = report
        self._patient = patient
        self.rng = random.Random(report.seed)
        self.nemesis = Nemesis(world, random.Random(report.seed + 2))
        self._tail = Tail(world.folder)
        self._left: set[tuple[str, str]] = set()
        self._doubted: list[tuple[tuple[str, str], Mapping[str, Any]]] = []
        """What nodes have said of accounts that they may be about to let go of."""
        self._epochs: defaultdict[str, int] = defaultdict(int)
        self._number = 0
        self._plan = plan
        self._cards: list[str] = []

    def draw(self) -> str:
        if not self._cards:
            self._cards = self.rng.sample(self._plan, len(self._plan))
        return self._cards.pop()

    async def round(self, kind: str) -> None:
        """One signal for each account, its trade, and what happens meanwhile. Raises TimeoutError when it can't end."""
        world, report = self.world, self.report
        report.rounds[kind] += 1
        async with asyncio.timeout(ROUND_S):
            await world.owned(within=ROUND_S)
            victim, _ = await world.owner(self.rng.choice(world.accounts))
            owned = [account for account in world.accounts if (await world.owner(account))[0] == victim]
            if victim not in world.nodes or not world.nodes[victim].running:
                report.violations.append(f"round {sum(report.rounds.values())}: {victim} owns, and does not run")
                return
            world.touch(ENTRY + Decimal("0.08"))
            sent = None
            if early := self.rng.random() < 0.6:
                sent = await self._signal()
                await self._until_entered(owned)
            striking = asyncio.create_task(self.nemesis.strike(kind, victim))
            watching = asyncio.create_task(self._watch(kind, victim, owned))
            try:
                if not early:
                    sent = await self._signal()
                    await self._until_entered(owned, within=1.0)
                while not striking.done():
                    await self._walk()
                await striking
                await world.owned(within=ROUND_S)
                await self._consumed()
                while not await self._flat():
                    await world.settle(within=ROUND_S)
                    await asyncio.sleep(0.2)
            finally:
                for task in (striking, watching):
                    task.cancel()
                await asyncio.gather(striking, watching, return_exceptions=True)
                for network in world.networks.values():
                    network.mend()
        assert sent is not None
        await self._judge(kind, sent)

    async def _until_entered(self, accounts: list[str], within: float = 2.0) -> None:
        end = monotonic() + within
        while monotonic() < end and not all(self.world.open_ids(a) for a in accounts):  # noqa: ASYNC110  # the market's
            await asyncio.sleep(LOOK_S)

    async def _walk(self) -> None:
        for level in ("0", *self.rng.choice(PATHS)):
            await self.world.lead(level)
            await asyncio.sleep(0.15)

    # --- signals --------------------------------------------------------------------------------------------------

    async def _signal(self) -> Sent:
        """Said to one node, and now and then to another as well; by most until one has taken it: the first may not be
        up yet, or be struck.
        """
        self._number += 1
        qty = Decimal(3) + Decimal(self._number) / 1000
        line = self.world.line(qty=str(qty))
        parsed = parse_signal(line)
        assert not isinstance(parsed, Malformed)
        names = self.rng.sample(sorted(self.world.nodes), 2 if self.rng.random() < 0.3 else 1)
        answers = [await self._post(name, line) for name in names]
        for _ in range(TRIES if self.rng.random() < self._patient else 0):
            if TAKEN.intersection(answers):
                break
            await asyncio.sleep(AGAIN_S)
            answers.append(await self._post(self.rng.choice(sorted(self.world.nodes)), line))
        self.report.signals += 1
        self.report.repeated += answers.count(409)
        taken = bool(TAKEN.intersection(answers))
        self.report.acknowledged += taken
        return Sent(parsed.key, qty, taken)

    async def _post(self, node: str, line: bytes) -> int:
        headers = {"X-Webhook-Secret": "0123456789abcdef0123456789abcdef"}
        url = f"http://127.0.0.1:{self.world.webhooks[node]}/signal"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.post(url, data=line, headers=headers) as response,
            ):
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    async def _consumed(self) -> None:
        """Return when no signal waits any more."""
        for account in self.world.accounts:
            while (await self.world.etcd.range(self.world.keys.signals(account)))[0]:  # noqa: ASYNC110  # the store's
                await asyncio.sleep(0.1)

    async def _flat(self) -> bool:
        """Whether no account has a trade, by the states; what a state has just taken may not be on the exchange yet."""
        states = [await self._state(account) for account in self.world.accounts]
        return not any(state.get("position") or state.get("outbox") for state in states)

    async def _state(self, account: str) -> dict[str, Any]:
        found = await self.world.etcd.read(self.world.keys.state(account, SYMBOL))
        if found is None:
            return {}
        state: dict[str, Any] = msgspec.json.decode(bytes(msgspec.json.decode(found.value, type=Envelope).state))
        return state

    # --- who takes over -------------------------------------------------------------------------------------------

    async def _watch(self, kind: str, victim: str, accounts: list[str]) -> None:
        """Since the strike, until each account has another owner that has looked its orders up."""
        claimed: dict[str, tuple[str, float]] = {}
        ready: set[tuple[str, str]] = set()
        waited: Counter[tuple[str, str]] = Counter()
        while accounts:
            struck, now = self.nemesis.struck, asyncio.get_running_loop().time()
            for node, line in self._look():
                about = (node, line.get("account", ""))
                if line.get("event") in {"claimed", "ready"}:
                    (ready.add if line["event"] == "ready" else ready.discard)(about)
                waited[node, str(line.get("event"))] += bool(struck) and line.get("event") in WAITS
            for account in accounts:
                if struck and account not in claimed and kind.partition(" ")[0] in LEAVES:
                    with contextlib.suppress(EtcdError):
                        owner, _ = await self.world.owner(account)
                        if owner and owner != victim and now - struck < TTL_S / 2:
                            accounts = [each for each in accounts if each != account]  # it moved before: no lease ended
                        elif owner and owner != victim:
                            claimed[account] = owner, now - struck
                            self.report.claimed_s.setdefault(kind, []).append(now - struck)
            for account in [each for each in accounts if each in claimed]:
                node, after = claimed[account]
                if (node, account) in ready:
                    why = {event: count for (where, event), count in waited.items() if where == node and count}
                    self._supervised(kind, account, node, after, now - struck, why)
                    accounts = [each for each in accounts if each != account]
            await asyncio.sleep(LOOK_S)

    def _supervised(
        self, kind: str, account: str, node: str, claimed: float, ready: float, why: dict[str, int]
    ) -> None:
        self.report.ready_s.setdefault(kind, []).append(ready)
        if ready > self.report.bound_s:
            where = f"round {sum(self.report.rounds.values())} ({kind})"
            life = self.world.nodes[node].log.name
            self.report.late.append(
                f"{where}: {account} on {life}: claimed after {claimed:.2f} s, supervised {ready:.2f} s"
            )

    def _look(self) -> list[tuple[str, dict[str, Any]]]:
        lines = self._tail.look()
        for node, line in lines:
            if line.get("alert"):
                self.report.alerts[str(line.get("event"))] += 1
            about = (node, line.get("account", ""))
            if line.get("event") in {"let_go", "claimed"}:
                (self._left.add if line["event"] == "let_go" else self._left.discard)(about)
            # What a node works out in its last turns over orders that are another's by now is in its log alone: nobody
            # is told before it knows (`WhileUnsure`), and then it lets go.
            if line.get("event") == "let_go":
                self._doubted = [each for each in self._doubted if not (each[0] == about and _soon(each[1], line))]
            if line.get("event") == "invariant_broken":
                if about not in self._left:
                    self._doubted.append((about, line))
            elif line.get("event") in NEVER:
                self._says(node, line)
        return lines

    def _says(self, node: str, line: Mapping[str, Any]) -> None:
        self.report.violations.append(f"round {sum(self.report.rounds.values())}: {node} says {line}")

    # --- the books ------------------------------------------------------------------------------------------------

    async def _judge(self, kind: str, sent: Sent) -> None:
        world, report = self.world, self.report
        where = f"round {sum(report.rounds.values())} ({kind}, {self.nemesis.victim})"
        self._look()
        for (node, _), line in self._doubted:
            self._says(node, line)
        self._doubted.clear()
        faults = [f"{where}: {fault}" for fault in world.faults()]
        report.orders = 0
        report.met, report.unmet = self.nemesis.met, self.nemesis.unmet
        for account in world.accounts:
            books = world.books(account)
            report.orders += sum(len(trade.orders) for trade in books.trades)
            mine = [
                trade
                for trade in books.trades
                if any(
                    order.orig_qty == sent.qty
                    for order in trade.orders
                    if (name := ids.parse(order.client_order_id)) is not None and name.role is ids.Role.ENTRY
                )
            ]
            report.bare_ms += [trade.bare_longest_ms for trade in mine if trade.fills]
            state = await self._state(account)
            consumed = any(each["key"] == sent.key for each in state.get("seen", []))
            if len(mine) > 1:
                faults.append(f"{where}: {account}: signal {sent.key} became {len(mine)} trades")
            elif mine and sent.acknowledged:
                report.trades += 1
            elif mine:
                report.unacknowledged_trades += 1
            elif sent.acknowledged and consumed:
                report.refused += 1
            elif sent.acknowledged:
                faults.append(f"{where}: {account}: signal {sent.key} was acknowledged and became nothing")
            _, epoch = await world.owner(account)
            if epoch and epoch < self._epochs[account]:
                faults.append(f"{where}: {account}: epoch {epoch} after {self._epochs[account]}")
            self._epochs[account] = max(epoch, self._epochs[account])
        report.violations += [fault for fault in faults if fault not in report.violations]
        for fault in faults:
            sys.stdout.write(f"{fault}\n")


def _soon(said: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    """Whether the one line came so soon after the other that nobody had been told."""
    first, second = (datetime.fromisoformat(each["timestamp"]) for each in (said, then))
    return 0 <= (second - first).total_seconds() < HOLD_S
