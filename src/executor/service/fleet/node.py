"""One machine of a fleet: lives by a lease, claims accounts that it is first in line for, trades them, gives them away.

The lease is only for who tries, and for quiet: what keeps a node that was suspended from doing harm is that every write
of a state compares the epoch, and that every request is stamped before it is written (rules 8.3d, 14). It is renewed
from the trading loops' own turn: a node whose loops hang loses its accounts to another.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from executor.config import Settings
from executor.service.account import tell_down
from executor.service.fleet import claims, ownership
from executor.service.fleet.claims import Held
from executor.service.fleet.membership import Membership
from executor.service.fleet.presence import Presence
from executor.service.fleet.reach import PROBE_EVERY_S, Reach
from executor.service.fleet.view import NodeInfo
from executor.service.fleet.witness import Witness
from executor.service.loop import Loop
from executor.service.store.etcd import Etcd, EtcdError
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Claim, FleetSymbolStore
from executor.service.store.port import Fenced

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.1
"""How often a node asks itself what to do while a claim or a release is under way, beside each change that it sees."""
FLAT_LOOK_S: Final = 0.5
"""How often while an account is to move to another node, and waits for its trade to end."""
IDLE_LOOK_S: Final = 1.0
"""How often else."""
SHUN_S: Final = (5.0, 10.0, 30.0, 60.0)
"""After an account could not be traded from here, so long until it is tried again; others may have it meanwhile."""
SILENT_AFTER_S: Final = 5.0
"""After so long without an answer of the exchange a node says that it can't reach it."""
UNREACHABLE_AFTER_S: Final = 10.0
"""And after so long it gives its accounts away, while another node says that it can."""
LEASE_TRY: Final = 10
"""A renewal gives each member of etcd a tenth of the lease's time: one that stands still must not cost the lease."""
REMEMBER_EVERY_S: Final = 5.0
RELEASE_S: Final = 20.0
"""So long an account that is given away may take to end in order."""


class Run(Protocol):
    """An account that is being traded: `service.account.AccountRun`."""

    loops: dict[str, Loop]
    ended_bare: bool | None

    def stop(self) -> None: ...

    async def run(self) -> None: ...


RunOf = Callable[[str, Callable[[str], FleetSymbolStore]], Run]
"""Makes the run of an account, by where its symbols' states are kept."""


class Owned:
    """An account that this node trades. `stuck_since`: since when one of its loops has not come round."""

    def __init__(self, claim: Claim, run: Run, task: asyncio.Task[None]) -> None:
        self.claim = claim
        self.run = run
        self.task = task
        self.releasing = False
        self.stuck_since = 0.0
        self.stores: list[FleetSymbolStore] = []


class FleetNode:
    """`accounts`: those that there are keys for here. `run_of` trades one of them; `probing` tells whether the exchange
    is reachable; `wall_s` is the time since the epoch; `digests` are those of the accounts' settings; `memory` is the
    file in which it remembers how far it has seen the store. `run` it once; it ends when `stop` is called, with every
    account given away in order.
    """

    def __init__(
        self,
        settings: Settings,
        accounts: Collection[str],
        etcd: Etcd,
        run_of: RunOf,
        probing: Callable[[], contextlib.AbstractAsyncContextManager[Reach]],
        wall_s: Callable[[], float] = time.time,
        *,
        digests: Mapping[str, str] = {},
        memory: Path | None = None,
    ) -> None:
        self.name = settings.fleet_node or socket.gethostname()
        self.keys = Keys(settings.fleet_name)
        self.membership = Membership(etcd, self.keys)
        self.owned: dict[str, Owned] = {}
        self.accounts = tuple(accounts)
        self.takeovers = 0
        self._clock = asyncio.get_running_loop().time
        self.renewed_at = self._clock()
        self._ttl = settings.fleet_ttl_sec
        self._etcd = etcd
        self._run_of = run_of
        self._probing = probing
        self._lease = 0
        self._lost = 0
        """The last one of which it was told that it has ended."""
        self._unreached = False
        """It has been told that etcd can't be reached."""
        self._stop = asyncio.Event()
        self._look = asyncio.Event()
        self._reached_at = self._clock()
        self._reachable = True
        self._away = False
        """It is this node's way to the exchange that is cut: its accounts go."""
        self._digests = dict(digests)
        self._differing: set[tuple[str, str]] = set()
        self._witness = Witness(memory, settings.fleet_name)
        self._claimed = asyncio.Event()
        self._shunned: dict[str, tuple[float, int]] = {}
        self._wall_s = wall_s
        self._started = int(wall_s() * 1000)
        self._presence = Presence(etcd, self.keys, self.name, self._ttl, self._clock)
        self._host = socket.gethostname()
        self._version = _version()
        self._at_work: dict[str, asyncio.Task[None]] = {}
        """A claim or a release under way, by account."""
        self._runs: dict[str, asyncio.Task[None]] = {}
        """What trades an account, or has been told to let go of it and has not ended yet."""
        self.left_bare: set[str] = set()
        """The accounts that this node has left with something bare, and that no other has owned since (rule 9.5)."""
        self.membership.on_change.append(self._on_change)

    # --- the run --------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        self._stop.set()
        self._look.set()

    def _on_change(self) -> None:
        self._forget_bare()
        self._look.set()

    def _forget_bare(self) -> None:
        """What another node has taken over."""
        owners = self.membership.view.owners
        self.left_bare = {each for each in self.left_bare if each not in owners or owners[each].node == self.name}

    @property
    def lease_age(self) -> float:
        """Seconds since the lease was last renewed."""
        return self._clock() - self.renewed_at

    @property
    def draining(self) -> bool:
        return self.name in self.membership.view.drained or self._away or self._stop.is_set()

    async def run(self) -> None:
        tasks = [
            asyncio.create_task(self._keep_lease(), name="lease"),
            asyncio.create_task(self.membership.run(), name="membership"),
            asyncio.create_task(self._probe(), name="probe"),
            asyncio.create_task(self._decide(), name="claims"),
            asyncio.create_task(self._remember(), name="memory"),
        ]
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
            await self._release_all()
            for task in done - {stop}:
                task.result()
        finally:
            ending = [*tasks, stop, *self._at_work.values(), *self._runs.values()]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self._leave()

    async def _leave(self) -> None:
        if self._lease:
            try:
                await self._etcd.revoke(self._lease)
            except EtcdError as error:
                log.warning("lease_not_revoked", error=str(error), ends=f"by itself after {self._ttl} s")

    # --- the lease ------------------------------------------------------------------------------------------------

    async def _keep_lease(self) -> None:
        """Renew it, as long as the loops turn."""
        pause = self._ttl / 5
        while True:
            began = self._clock()
            stuck = await self._stuck(pause)
            if claims.renews(len(self.owned), len(stuck)):
                await self._renew()
            for account in stuck:
                self._drop_stuck(account)
            await asyncio.sleep(max(0.0, pause - (self._clock() - began)))

    async def _renew(self) -> None:
        try:
            if self._lease and await self._etcd.keep_alive(self._lease, within=self._ttl / LEASE_TRY) > 0:
                self.renewed_at = self._clock()
            else:
                await self._begin_lease()
            await self._presence.tell(self._info(), seen=self.name in self.membership.view.nodes)
        except EtcdError as error:
            log.warning("lease_not_renewed", error=str(error), age=round(self.lease_age, 1))
            if self.lease_age > self._ttl and not self._unreached:
                self._unreached = True
                log.error("store_unreachable", alert=True, node=self.name, text=f"{error}; nothing is traded here")
        else:
            if self._unreached:
                log.info("store_reachable", node=self.name)
            self._unreached = False

    async def _begin_lease(self) -> None:
        """A new life: what hung on the old lease is gone."""
        if self._lease != self._lost:
            self._lost = self._lease
            log.error("lease_lost", alert=True, node=self.name, accounts=len(self.owned), text="let go of all of them")
        for account in list(self.owned):
            self._let_go(account, "the lease has ended")
        self._lease = await self._etcd.grant(self._ttl)
        self._presence.begin(self._lease)
        self.renewed_at = self._clock()

    def _info(self) -> NodeInfo:
        return NodeInfo(
            node=self.name,
            host=self._host,
            pid=os.getpid(),
            version=self._version,
            started=self._started,
            accounts=self.accounts,
            reachable=self._reachable,
            draining=self.draining,
            digests=self._digests,
        )

    async def _remember(self) -> None:
        """How far the store has come, now and then and after each claim. Neither the lease nor a trade that was taken
        over waits for the disk.
        """
        while True:
            stores = [store.revision for owned in self.owned.values() for store in owned.stores]
            self._witness.saw(self.membership.view.generation, max([self.membership.revision, *stores]))
            await self._witness.save()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REMEMBER_EVERY_S):
                    await self._claimed.wait()
            self._claimed.clear()

    async def _stuck(self, within: float) -> list[str]:
        """The accounts of which a loop has not come round `within` seconds. A loop that waits for etcd comes round."""
        rounds = {
            asyncio.create_task(loop.come_round()): account
            for account, owned in self.owned.items()
            for loop in owned.run.loops.values()
        }
        if not rounds:
            return []
        _, late = await asyncio.wait(rounds, timeout=within)
        for task in late:
            task.cancel()
        stuck = sorted({rounds[task] for task in late})
        for account, owned in self.owned.items():
            owned.stuck_since = (owned.stuck_since or self._clock()) if account in stuck else 0.0
        return stuck

    def _drop_stuck(self, account: str) -> None:
        owned = self.owned.get(account)
        if owned is not None and owned.stuck_since and self._clock() - owned.stuck_since >= self._ttl:
            log.error("account_stuck", alert=True, account=account, text="given away: its loop does not come round")
            self._shun(account)
            self._let_go(account, "its loop does not come round")

    # --- the exchange ---------------------------------------------------------------------------------------------

    async def _probe(self) -> None:
        """An account is looked after where the exchange is reachable from: a node that can't reach it, while others
        can, gives its accounts away.
        """
        async with self._probing() as reached:
            while True:
                if await reached():
                    self._reached_at = self._clock()
                self._judge_reach(self._clock() - self._reached_at)
                await asyncio.sleep(PROBE_EVERY_S)

    def _judge_reach(self, silent_s: float) -> None:
        """Say how it is, and give the accounts away where it is this node alone; where nobody reaches the exchange, it
        is the exchange that is away.
        """
        reachable = silent_s < SILENT_AFTER_S
        away = not reachable and (self._away or silent_s >= UNREACHABLE_AFTER_S) and self._others_reach()
        if away and not self._away:
            log.error("exchange_unreachable", alert=True, node=self.name, text="its accounts are given away")
        elif reachable and not self._reachable:
            log.info("exchange_reachable", node=self.name)
        if (reachable, away) != (self._reachable, self._away):
            self._reachable, self._away = reachable, away
            self._look.set()

    def _others_reach(self) -> bool:
        return any(info.fit for name, info in self.membership.view.nodes.items() if name != self.name)

    # --- claims ---------------------------------------------------------------------------------------------------

    async def _decide(self) -> None:
        await self.membership.known()
        call_later = asyncio.get_running_loop().call_later
        while True:
            self._look.clear()
            held = self._held()
            self._let_go_of_outdated(held)
            self._compare_settings()
            due = IDLE_LOOK_S
            if self._lease:
                due = self._give_away(held)
                self._give_back()
                if self._presence.known and not self.draining:
                    due = min(due, self._claim_free())
            if self._at_work:
                due = min(due, LOOK_S)
            alarm = call_later(due, self._look.set)
            try:
                await self._look.wait()
            finally:
                alarm.cancel()

    def _held(self) -> dict[str, Held]:
        return {
            account: Held(owned.claim.epoch, _flat(owned.run), owned.releasing) for account, owned in self.owned.items()
        }

    def _let_go_of_outdated(self, held: dict[str, Held]) -> None:
        """At once, whatever else is under way; `held` no longer names them."""
        for account, owner in claims.outdated(self.membership.view, held).items():
            self._let_go(account, f"{owner.node} owns it since epoch {owner.epoch}")
            del held[account]

    def _compare_settings(self) -> None:
        """An account that would be traded otherwise by whoever takes it over: told once, by its owner."""
        found = {(account, name) for account in self.owned for name in self.membership.view.differing(account)}
        for account, name in sorted(found - self._differing):
            text = f"{name} would trade {account} with other settings than {self.name} does"
            log.error("settings_differ", alert=True, account=account, node=name, text=text)
        self._differing = found

    def _give_away(self, held: Mapping[str, Held]) -> float:
        """When to look again (seconds): sooner, where some are on their way or are to be."""
        view = self.membership.view
        for account in claims.to_give_away(view, self.name, held, draining=self.draining, at_ms=self._wall_s() * 1000):
            self._begin_release(account, self.owned[account])
        moving = any(view.ranking(account)[:1] not in ([], [self.name]) for account in held)
        return FLAT_LOOK_S if moving else IDLE_LOOK_S

    def _give_back(self) -> None:
        """What is ours by the store's word alone."""
        busy = self._at_work.keys() | self._runs.keys()
        for account, owner in claims.forsaken(self.membership.view, self.name, self._lease, busy).items():
            log.warning("forsaken", account=account, node=self.name, epoch=owner.epoch, text="it is given back")
            self._begin(account, ownership.release(self._etcd, self.keys, account, owner.epoch))

    def _claim_free(self) -> float:
        """When to look again (seconds): as soon as the next may be claimed."""
        view, now = self.membership.view, self._clock()
        shunned = {account: until for account, (until, _) in self._shunned.items()}
        due = IDLE_LOOK_S
        for account, since in claims.claimable(view, self.name, self.accounts, shunned).items():
            at_work = account in self._at_work or account in self._runs
            if not at_work:
                view.free_since.setdefault(account, now)
                if now >= since:
                    self._begin(account, self._claim(account))
            due = min(due, since - now if now < since else LOOK_S)
        return due

    def _begin(self, account: str, work: Coroutine[Any, Any, None]) -> None:
        """One piece of work on an account's ownership at a time."""

        def ended(task: asyncio.Task[None]) -> None:
            del self._at_work[account]
            _seen(task)

        task = self._at_work[account] = asyncio.create_task(work, name=f"own {account}")
        task.add_done_callback(ended)

    async def _claim(self, account: str) -> None:
        known = self._witness.memory
        try:
            claim = await ownership.claim(self._etcd, self.keys, account, self.name, self._lease)
        except EtcdError as error:
            log.warning("not_claimed", account=account, error=str(error))
            return
        if claim is None or self._stop.is_set():
            return
        if known.is_newer(claim.generation, claim.epoch):
            await self._refuse_restored(claim, known.revision)
            return
        self._witness.saw(claim.generation, claim.epoch)
        self._claimed.set()
        log.info("claimed", account=account, node=self.name, epoch=claim.epoch)
        self.takeovers += 1
        self._trade(claim)

    async def _refuse_restored(self, claim: Claim, seen: int) -> None:
        """The store is older than what this node has seen of it: its states are, too."""
        text = f"this node has seen revision {seen} of the store, which is at {claim.epoch} now: it was restored"
        log.error("store_went_back", alert=True, account=claim.account, node=self.name, text=text)
        self._shunned[claim.account] = (self._clock() + SHUN_S[-1], len(SHUN_S))
        await ownership.release(self._etcd, self.keys, claim.account, claim.epoch)

    # --- trading --------------------------------------------------------------------------------------------------

    def _trade(self, claim: Claim) -> None:
        stores: list[FleetSymbolStore] = []

        def store_of(symbol: str) -> FleetSymbolStore:
            store = FleetSymbolStore(self._etcd, self.keys, claim, symbol)
            stores.append(store)
            return store

        account = claim.account
        run = self._run_of(account, store_of)
        task = self._runs[account] = asyncio.create_task(self._carry(claim, run), name=f"account {account}")
        task.add_done_callback(lambda _: self._ended(account))
        owned = Owned(claim, run, task)
        owned.stores = stores
        self.owned[account] = owned

    def _ended(self, account: str) -> None:
        del self._runs[account]
        self._look.set()

    async def _carry(self, claim: Claim, run: Run) -> None:
        """Until it is stopped, fenced, or can't go on; then nobody owns it, or somebody else does."""
        account = claim.account
        began, mine = self._clock(), True
        try:
            await run.run()
        except Fenced as error:
            log.error("fenced", alert=True, account=account, node=self.name, why=str(error))
            mine = False
            self.left_bare.discard(account)
        except Exception as error:  # noqa: BLE001  # a fault of one account leaves the others alone; another node may have it
            tell_down(account, error, node=self.name)
            if self._clock() - began > claims.SETTLED_S:
                self._shunned.pop(account, None)
            self._shun(account)
        finally:
            if mine:
                self._note_bare(account, run)
            if self.owned.get(account) is not None and self.owned[account].claim is claim:
                del self.owned[account]
            await ownership.release(self._etcd, self.keys, account, claim.epoch)

    def _note_bare(self, account: str, run: Run) -> None:
        """However it ended; one that came to nothing before it traded tells nothing of it."""
        if run.ended_bare is not None:
            (self.left_bare.add if run.ended_bare else self.left_bare.discard)(account)
            self._forget_bare()

    def _shun(self, account: str) -> None:
        _, times = self._shunned.get(account, (0.0, 0))
        self._shunned[account] = (self._clock() + SHUN_S[min(times, len(SHUN_S) - 1)], times + 1)

    def _let_go(self, account: str, why: str) -> None:
        """At once, with no request more: it is somebody else's, or soon will be."""
        owned = self.owned.pop(account, None)
        if owned is not None:
            log.error("let_go", alert=True, account=account, node=self.name, why=why)
            owned.task.cancel()

    def _begin_release(self, account: str, owned: Owned) -> None:
        if owned.releasing:
            return
        owned.releasing = True
        log.info("giving_away", account=account, node=self.name)
        owned.run.stop()
        asyncio.get_running_loop().call_later(RELEASE_S, self._end, account, owned)

    def _end(self, account: str, owned: Owned) -> None:
        """What has been told to end and hangs must not keep the account from others."""
        if self.owned.get(account) is owned:
            self._let_go(account, "it was to be given away, and did not end")

    async def _release_all(self) -> None:
        """Every account, in order: what is in flight is finished, the state is written, nobody owns it."""
        self._stop.set()
        running = dict(self.owned)
        for account, owned in running.items():
            self._begin_release(account, owned)
        if running:
            await asyncio.wait([owned.task for owned in running.values()], timeout=RELEASE_S)


@cache
def _version() -> str:
    return metadata.version("executor")


def _flat(run: Run) -> bool:
    return all(loop.state.position is None and loop.quiet() for loop in run.loops.values()) and bool(run.loops)


def _seen(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("claim_failed", alert=True, error=f"{type(error).__name__}: {error}")
