"""One machine of a fleet: lives by a lease, claims accounts that it is first in line for, trades them, gives them away.

The lease is only for who tries, and for quiet: what keeps a node that was suspended from doing harm is that every write
of a state compares the epoch, and that every request is stamped before it is written (rules 8.3d, 14). It is renewed
from the trading loops' own turn: a node whose loops hang loses its accounts to another.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from time import monotonic
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from executor.config import Settings
from executor.service.account import AccountRun, SignalSource, tell_down
from executor.service.fleet.membership import Membership, NodeInfo
from executor.service.loop import Loop
from executor.service.store.etcd import Etcd, EtcdError, created_is, delete, put
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Claim, FleetSymbolStore
from executor.service.store.port import Fenced

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.1
"""How often a node asks itself what to do, beside each change that it sees."""
RANK_S: Final = 1.0
"""How long each next in line waits for the one before it."""
SHUN_S: Final = (5.0, 10.0, 30.0, 60.0)
"""After an account could not be traded from here, so long until it is tried again; others may have it meanwhile."""
PROBE_EVERY_S: Final = 2.0
UNREACHABLE_AFTER_S: Final = 10.0
SETTLED_S: Final = 60.0
"""So long a node must live before accounts that were its own move back to it."""
RELEASE_S: Final = 20.0


class Owned:
    """An account that this node trades. `stuck_since`: since when one of its loops has not come round."""

    def __init__(self, claim: Claim, run: AccountRun, task: asyncio.Task[None]) -> None:
        self.claim = claim
        self.run = run
        self.task = task
        self.releasing = False
        self.stuck_since = 0.0
        self.stores: list[FleetSymbolStore] = []


class FleetNode:
    """`accounts`: the settings of each that there are keys for here. `source_of`: where an account's signals come from.
    `run` it once; it ends when `stop` is called, with every account given away in order.
    """

    def __init__(
        self,
        settings: Settings,
        accounts: Mapping[str, Settings],
        etcd: Etcd,
        source_of: Callable[[str], SignalSource],
        on_loops: Callable[[str, Mapping[str, Loop]], None] = lambda _, __: None,
    ) -> None:
        self.name = settings.fleet_node or socket.gethostname()
        self.keys = Keys(settings.fleet_name)
        self.membership = Membership(etcd, self.keys)
        self.owned: dict[str, Owned] = {}
        self.accounts = dict(accounts)
        self.takeovers = 0
        self.renewed_at = monotonic()
        self._ttl = settings.fleet_ttl_sec
        self._etcd = etcd
        self._source_of = source_of
        self._on_loops = on_loops
        self._lease = 0
        self._stop = asyncio.Event()
        self._look = asyncio.Event()
        self._reached_at = monotonic()
        self._reachable = True
        self._shunned: dict[str, tuple[float, int]] = {}
        self._started = int(time.time() * 1000)
        self._told: NodeInfo | None = None
        self._claiming: set[str] = set()
        self.membership.on_change.append(self._look.set)

    # --- the run --------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        self._stop.set()
        self._look.set()

    @property
    def lease_age(self) -> float:
        """Seconds since the lease was last renewed."""
        return monotonic() - self.renewed_at

    @property
    def draining(self) -> bool:
        return self.name in self.membership.view.drained or not self._reachable or self._stop.is_set()

    async def run(self) -> None:
        tasks = [
            asyncio.create_task(self._keep_lease(), name="lease"),
            asyncio.create_task(self.membership.run(), name="membership"),
            asyncio.create_task(self._probe(), name="probe"),
            asyncio.create_task(self._decide(), name="claims"),
        ]
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
            await self._release_all()
            for task in done - {stop}:
                task.result()
        finally:
            for task in [*tasks, stop, *(owned.task for owned in self.owned.values())]:
                task.cancel()
            await asyncio.gather(*tasks, stop, *(o.task for o in self.owned.values()), return_exceptions=True)
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
            began = monotonic()
            stuck = await self._stuck(pause)
            turning = not self.owned or len(stuck) < len(self.owned)
            if turning:
                await self._renew()
            for account in stuck:
                self._drop_stuck(account)
            await asyncio.sleep(max(0.0, pause - (monotonic() - began)))

    async def _renew(self) -> None:
        try:
            if self._lease and await self._etcd.keep_alive(self._lease) > 0:
                self.renewed_at = monotonic()
            else:
                await self._begin_lease()
            await self._tell()
        except EtcdError as error:
            log.warning("lease_not_renewed", error=str(error), age=round(self.lease_age, 1))

    async def _begin_lease(self) -> None:
        """A new life: what hung on the old lease is gone."""
        if self._lease:
            log.error("lease_lost", alert=True, node=self.name, accounts=len(self.owned), text="let go of all of them")
        for account in list(self.owned):
            self._let_go(account, "the lease has ended")
        self._lease, self._told = await self._etcd.grant(self._ttl), None
        self.renewed_at = monotonic()

    async def _tell(self) -> None:
        """Say what there is to say of this node, where it has changed."""
        info = NodeInfo(
            node=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=metadata.version("executor"),
            started=self._started,
            accounts=tuple(self.accounts),
            reachable=self._reachable,
            draining=self.draining,
        )
        if info != self._told:
            await self._etcd.put(self.keys.node(self.name), msgspec.json.encode(info), lease=self._lease)
            self._told = info

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
            owned.stuck_since = (owned.stuck_since or monotonic()) if account in stuck else 0.0
        return stuck

    def _drop_stuck(self, account: str) -> None:
        owned = self.owned.get(account)
        if owned is not None and owned.stuck_since and monotonic() - owned.stuck_since >= self._ttl:
            log.error("account_stuck", alert=True, account=account, text="given away: its loop does not come round")
            self._shun(account)
            self._let_go(account, "its loop does not come round")

    # --- the exchange ---------------------------------------------------------------------------------------------

    async def _probe(self) -> None:
        """Whether the exchange is reachable from here, by a request that costs next to nothing."""
        urls = sorted({e.rest for s in self.accounts.values() if (e := s.endpoints) is not None})
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_EVERY_S)) as session:
            while True:
                if any(await asyncio.gather(*(_answers(session, url) for url in urls))):
                    self._reached_at = monotonic()
                reachable = monotonic() - self._reached_at < UNREACHABLE_AFTER_S
                if not reachable and self._reachable and not self._others_reach():
                    reachable = True  # it is the exchange that is away, not this node
                if reachable is not self._reachable:
                    self._reachable = reachable
                    if reachable:
                        log.info("exchange_reachable", node=self.name)
                    else:
                        log.error(
                            "exchange_unreachable", alert=True, node=self.name, text="its accounts are given away"
                        )
                    self._look.set()
                await asyncio.sleep(PROBE_EVERY_S)

    def _others_reach(self) -> bool:
        return any(info.fit for name, info in self.membership.view.nodes.items() if name != self.name)

    # --- claims ---------------------------------------------------------------------------------------------------

    async def _decide(self) -> None:
        await self.membership.known()
        while True:
            self._look.clear()
            self._check_owned()
            if self._lease:
                self._give_away()
                if not self.draining:
                    self._claim_free()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._look.wait()
            except TimeoutError:
                continue

    def _check_owned(self) -> None:
        """Let go at once of what somebody else has, whatever else is under way."""
        for account, owned in list(self.owned.items()):
            owner = self.membership.view.owners.get(account)
            newer = owner is not None and owner.epoch > owned.claim.epoch
            if newer and owner is not None:
                self._let_go(account, f"{owner.node} owns it since epoch {owner.epoch}")

    def _give_away(self) -> None:
        """What is to be on another node, when it may go: all while draining, else what is flat."""
        view = self.membership.view
        for account, owned in self.owned.items():
            ranking = [node for node in view.ranking(account) if node != self.name or not self.draining]
            if owned.releasing or not ranking or ranking[0] == self.name:
                continue
            if self.draining or (_flat(owned.run) and self._settled(ranking[0])):
                self._begin_release(account, owned)

    def _settled(self, node: str) -> bool:
        info = self.membership.view.nodes.get(node)
        wanted = node in self.membership.view.wanted.values()
        return info is not None and (wanted or time.time() * 1000 - info.started > SETTLED_S * 1000)

    def _claim_free(self) -> None:
        view, now = self.membership.view, monotonic()
        for account in self.accounts:
            if account in view.owners or account in self.owned or account in self._claiming:
                continue
            since = view.free_since.setdefault(account, now)
            until, _ = self._shunned.get(account, (0.0, 0))
            ranking = view.ranking(account)
            if now < until or self.name not in ranking:
                continue
            if now - since >= RANK_S * ranking.index(self.name):
                self._claiming.add(account)
                asyncio.create_task(self._claim(account), name=f"claim {account}").add_done_callback(_seen)

    async def _claim(self, account: str) -> None:
        own = self.keys.owner(account)
        try:
            done = await self._etcd.txn([created_is(own, 0)], [put(own, self.name.encode(), lease=self._lease)])
        except EtcdError as error:
            log.warning("not_claimed", account=account, error=str(error))
            return
        finally:
            self._claiming.discard(account)
        if not done.succeeded or self._stop.is_set():
            return
        claim = Claim(account, self.name, done.revision, done.cluster)
        log.info("claimed", account=account, node=self.name, epoch=claim.epoch)
        self.takeovers += 1
        self._trade(claim)

    # --- trading --------------------------------------------------------------------------------------------------

    def _trade(self, claim: Claim) -> None:
        stores: list[FleetSymbolStore] = []

        def store_of(symbol: str) -> FleetSymbolStore:
            store = FleetSymbolStore(self._etcd, self.keys, claim, symbol)
            stores.append(store)
            return store

        account = claim.account
        run = AccountRun(self.accounts[account], store_of, self._source_of(account), partial(self._on_loops, account))
        task = asyncio.create_task(self._carry(claim, run), name=f"account {account}")
        owned = Owned(claim, run, task)
        owned.stores = stores
        self.owned[account] = owned

    async def _carry(self, claim: Claim, run: AccountRun) -> None:
        """Until it is stopped, fenced, or can't go on; then nobody owns it, or somebody else does."""
        account = claim.account
        began = monotonic()
        try:
            await run.run()
        except Fenced as error:
            log.error("fenced", alert=True, account=account, node=self.name, why=str(error))
        except Exception as error:  # noqa: BLE001  # a fault of one account leaves the others alone; another node may have it
            tell_down(account, error, node=self.name)
            if monotonic() - began > SETTLED_S:
                self._shunned.pop(account, None)
            self._shun(account)
        finally:
            if self.owned.get(account) is not None and self.owned[account].claim is claim:
                del self.owned[account]
            await self._release(claim)
            self._look.set()

    def _shun(self, account: str) -> None:
        _, times = self._shunned.get(account, (0.0, 0))
        self._shunned[account] = (monotonic() + SHUN_S[min(times, len(SHUN_S) - 1)], times + 1)

    def _let_go(self, account: str, why: str) -> None:
        """At once, with no request more: it is somebody else's, or soon will be."""
        owned = self.owned.pop(account, None)
        if owned is not None:
            log.error("let_go", alert=True, account=account, node=self.name, why=why)
            owned.task.cancel()

    async def _release(self, claim: Claim) -> None:
        """Nobody owns it any more, if this node still did."""
        own = self.keys.owner(claim.account)
        try:
            await self._etcd.txn([created_is(own, claim.epoch)], [delete(own)])
        except EtcdError as error:
            log.warning("not_released", account=claim.account, error=str(error), ends=f"with the lease, {self._ttl} s")

    def _begin_release(self, account: str, owned: Owned) -> None:
        owned.releasing = True
        log.info("giving_away", account=account, node=self.name)
        owned.run.stop()

    async def _release_all(self) -> None:
        """Every account, in order: what is in flight is finished, the state is written, nobody owns it."""
        self._stop.set()
        running = dict(self.owned)
        for account, owned in running.items():
            self._begin_release(account, owned)
        if running:
            await asyncio.wait([owned.task for owned in running.values()], timeout=RELEASE_S)


def _flat(run: AccountRun) -> bool:
    return all(loop.state.position is None and loop.quiet() for loop in run.loops.values()) and bool(run.loops)


def _seen(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("claim_failed", alert=True, error=f"{type(error).__name__}: {error}")


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url.rstrip('/').removesuffix('/api')}/api/v3/ping") as response:
            await response.read()
            return response.status < 500
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
