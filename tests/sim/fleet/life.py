"""One life of a node: the service's own fleet node, store client, loop and engine, on a loop of virtual time.

Only what the service is given from outside is not its own: the connections to etcd and to the exchange, the clock.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from tests.sim.fleet.cluster import Cluster, Link
from tests.sim.fleet.exchange import NodeExchange, NodeWire
from tests.sim.fleet.faults import FleetFaults
from tests.sim.fleet.loops import new_loop
from tests.sim.setup import Setup
from tests.sim.timeline import Timeline

from executor.config import Settings
from executor.core.model.events import AnyEvent, Reported
from executor.core.model.facts import Quote
from executor.core.model.intents import Level, Stamp
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import Closed, State
from executor.core.transition import Step, empty
from executor.exchange.port import ReadError
from executor.exchange.transport.supervised import Connected, Lost
from executor.service.engine import Engine
from executor.service.fleet.commands import StoredCommands
from executor.service.fleet.node import FleetNode
from executor.service.fleet.reach import Reach
from executor.service.fleet.signals import SignalPoster, StoredSignals
from executor.service.inbox import Delivery
from executor.service.inlets.intake import SignalJudge
from executor.service.loop import Loop
from executor.service.poller import Timing
from executor.service.recovery import begin, catch_up
from executor.service.store.document import state_of
from executor.service.store.etcd import EtcdError, Value
from executor.service.store.fleet_store import FleetSymbolStore
from executor.service.store.journal import Journal
from executor.service.store.port import Fenced, StoreUnwritable
from executor.service.supervisor import Supervisor
from executor.signals.parse import parse_signal

VENUE: Final = "simulated"
LATENCY_S: Final = 0.04
EXPECTED: Final = (Fenced, ReadError, StoreUnwritable)
"""What may end the run of an account; anything else is a defect: no store goes back here."""


class Host(Protocol):
    """The world around a node."""

    timeline: Timeline
    fleet_faults: FleetFaults
    cluster: Cluster

    def failed(self, error: BaseException) -> None:
        """Something raised what nothing raises."""

    def died(self, life: "Life") -> None:
        """It was killed: it is to be buried."""

    def takers(self, account: str) -> Collection[str]:
        """Who has a signal that is sent to it."""


class AccountHost(Protocol):
    """Who looks on at one account."""

    name: str
    setup: Setup
    rules: SymbolRules

    def alerted(self) -> None:
        """A person was told of something."""

    def decided(self, name: str, event: AnyEvent, before: State, step: Step) -> None:
        """A node has made a step, which is not in the store yet."""

    def staged(self, name: str, data: bytes, steps: list[State], made: int) -> None:
        """A node is about to write, as `data`, the state that it has come to in `made` of its `steps`. Another node, of
        which one is a zombie, may come to the same state at the same moment.
        """


class WallTime:
    """The service's local time."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def now_ms(self) -> int:
        return self._timeline.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class NoJournal(Journal):
    """Nothing of the fleet rests on the journal."""

    def __init__(self) -> None:
        self.path = Path()

    def append(self, record: object) -> int:
        return 0

    def close(self) -> None:
        pass


class Life:
    """The node `name` lives from now on until it is stopped or killed. `settings` are those of each account; `accounts`
    has beside each its wire from this node. `runs`: of the accounts that it trades.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        settings: Mapping[str, Settings],
        accounts: Mapping[str, tuple[AccountHost, NodeWire]],
    ) -> None:
        self.host = host
        self.name = name
        self.wires = {account: wire for account, (_, wire) in accounts.items()}
        self.runs: dict[str, SimRun] = {}
        self.over = False
        """It has ended by itself, and another life of the node is to come."""
        self.loop = new_loop(host.timeline, self._on_fault)
        self.link = Link(host.cluster, host.timeline, host.fleet_faults, self.loop)
        self.link.step = self.step  # type: ignore[method-assign]
        self.puts: Counter[str] = Counter()
        """Signals that it is putting into the store, by account."""
        self._held: list[asyncio.Future[None]] = []
        """What must not be collected while it waits."""
        with self.loop.running():
            self.node = FleetNode(
                next(iter(settings.values())).model_copy(update={"fleet_node": name}),
                tuple(accounts),
                self.link,
                lambda account, store_of: SimRun(self, *accounts[account], store_of),
                self._probing,
                lambda: host.timeline.now / 1000,
            )
            told = {account: {name: settings[name] for name in host.takers(account)} for account in accounts}
            self.posters = {name: SignalPoster(self.link, self.node.keys, takers) for name, takers in told.items()}
        self.task = self.loop.create_task(self._live(), name="node")

    @property
    def alive(self) -> bool:
        return not self.loop.dead and not self.task.done()

    def forgets(self, account: str, owner: Value) -> bool:
        """Whether it could trade the account that it owns by the store's word, and does not."""
        node = self.node
        could = self.alive and not self.loop.paused and not self.link.cut and owner.lease == node._lease
        return could and account not in {*node.owned, *node._at_work, *node._runs}

    async def _live(self) -> None:
        try:
            await self.node.run()
        except Exception as error:
            self.host.failed(error)
            raise

    @contextlib.asynccontextmanager
    async def _probing(self) -> AsyncIterator[Reach]:
        async def reached() -> bool:
            await asyncio.sleep(LATENCY_S)
            return not all(wire.cut for wire in self.wires.values())

        yield reached

    # --- what may happen to it ---------------------------------------------------------------------------------------

    async def step(self, where: str) -> None:
        if self.loop.dead:
            raise asyncio.CancelledError
        fault = self.host.fleet_faults.step(where)
        if not fault:
            return
        match fault:
            case "paused":
                self.loop.pause(self.host.fleet_faults.pause())
                await asyncio.sleep(0)
            case "killed":
                self.kill()
                never: asyncio.Future[None] = self.loop.create_future()
                self._held.append(never)
                await never
            case _:
                pass

    def kill(self) -> None:
        if self.loop.dead:
            return
        self.loop.kill()
        self.link.dead = True
        self._deaf()
        self.host.died(self)

    def bury(self) -> None:
        self.loop.bury()

    def end(self) -> None:
        """With the run: nothing of it is left."""
        self.loop.kill()
        self.link.dead = True
        self.bury()

    def _deaf(self) -> None:
        for wire in self.wires.values():
            wire.listener = None
            wire.forget()

    def put(self, account: str, line: bytes, acknowledged: Callable[[], None]) -> None:
        """A signal comes in at this node."""

        async def take() -> None:
            self.puts[account] += 1
            try:
                parsed = parse_signal(line)
                assert isinstance(parsed, Signal)
                await self.posters[account].put(line, parsed)
            except EtcdError:
                return  # as the client is told, who may try again
            except Exception as error:
                self.host.failed(error)
                raise
            finally:
                self.puts[account] -= 1
            acknowledged()

        self._held.append(self.loop.create_task(take(), name="signal"))

    def _on_fault(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and "handle" in context:
            self.host.failed(error)


class SimRun:
    """The account's run: as `service.account` and `service.symbol_session` begin it, without what they read from disk.

    `hung`: its loop stands still from the next event on; `stands_since`: and has done so since then (ms), 0: it turns.
    """

    def __init__(
        self, life: Life, account: AccountHost, wire: NodeWire, store_of: Callable[[str], FleetSymbolStore]
    ) -> None:
        self.loops: dict[str, Loop] = {}
        self.ended_bare: bool | None = None
        self.hung = False
        self.stands_since = 0
        self.decided_at: dict[int, int] = {}
        self.decided_last = 0
        self._life = life
        self._account = account
        self._wire = wire
        self._store_of = store_of
        self._supervisor: Supervisor | None = None
        self._stopping = False

    @property
    def dead(self) -> bool:
        return self._life.loop.dead

    def stop(self) -> None:
        self._stopping = True
        if self._supervisor is not None:
            self._supervisor.stop()

    def stand_still(self) -> None:
        self.stands_since = self._life.host.timeline.now

    async def run(self) -> None:
        runs, name = self._life.runs, self._account.name
        runs[name] = self
        try:
            await self._run()
        except EXPECTED:
            raise
        except Exception as error:
            if not self.dead:
                self._life.host.failed(error)
            raise
        finally:
            self.loops = {}
            if runs.get(name) is self:
                del runs[name]
                self._wire.listener = None

    async def _run(self) -> None:
        life, account = self._life, self._account
        setup, rules, symbol = account.setup, account.rules, account.rules.symbol
        window, wall = setup.recv_window, WallTime(life.host.timeline)
        exchange = NodeExchange(self._wire, rules, life.step, self._when_decided)
        store = self._store_of(symbol)
        document, age = await store.load_soon(VENUE)
        if document is None:
            state = await begin(exchange, empty(symbol, VENUE), setup.policy, rules, window, wall.sleep)
        else:
            state = await catch_up(exchange, state_of(document), age, setup.policy, rules, window, wall.sleep)
        engine = WatchedEngine(self, life.host, account, life.name, state, store)
        timing = Timing(poll=setup.poll / 1000, sync_clock=86_400.0, recv_window_ms=window)
        loop = WatchedLoop(engine, exchange, wall, timing, exchange.rules, exchange.is_trading)
        loop.run_of = self
        loop.on_step.append(self._stepped)
        supervisor = self._supervisor = Supervisor({symbol: loop})
        source = StoredSignals(life.link, life.node.keys, account.name)
        judge = SignalJudge(supervisor.loops)
        commands = StoredCommands(life.link, life.node.keys, lambda: store.claim)
        supervisor.add_task("commands", lambda: commands.run(supervisor.loops))
        supervisor.add_task("signals", lambda: source.run(judge, supervisor.loops))
        if setup.pushes or setup.quotes:
            loop.add_task("streams", self._stream, at_once=True)
        self.loops = dict(supervisor.loops)
        if self._stopping:
            supervisor.stop()
        await supervisor.run()

    # --- streams -----------------------------------------------------------------------------------------------------

    async def _stream(self) -> None:
        setup, wire = self._account.setup, self._wire
        await asyncio.sleep(2 * setup.latency / 1000)
        (loop,) = self.loops.values()
        if setup.quotes:
            loop.poller.on_price_event(Connected())
        if setup.pushes:
            wire.listener = self._pushed
            wire.on_gap = self._gap
            loop.poller.on_user_event(Connected())
        await asyncio.Event().wait()

    def _pushed(self, event: AnyEvent) -> None:
        assert isinstance(event, Reported)
        self._soon(lambda loop: loop.poller.on_user_event(event.report))

    def _gap(self) -> None:
        def tell(loop: Loop) -> None:
            loop.poller.on_user_event(Lost("a gap"))
            loop.poller.on_user_event(Connected())

        self._soon(tell)

    def quoted(self, quote: Quote) -> None:
        self._soon(lambda loop: loop.poller.on_price_event(quote))

    def _soon(self, tell: Callable[[Loop], None]) -> None:
        """In the process's own turn: one that is suspended hears of it when it wakes."""

        def told() -> None:
            for loop in self.loops.values():
                if not self.dead:
                    tell(loop)

        if not self._life.loop.dead:
            self._life.loop.call_soon(told)

    # --- what it does ------------------------------------------------------------------------------------------------

    def _stepped(self, _event: AnyEvent, step: Step) -> None:
        if any(note.level is Level.ALERT for note in step.notes) and not self.dead:
            self._account.alerted()

    def _when_decided(self, stamp: Stamp | None) -> int:
        return self.decided_at.get(stamp.timestamp, self.decided_last) if stamp is not None else self.decided_last


class WatchedLoop(Loop):
    """The service's loop, which may stand still."""

    run_of: SimRun

    async def _take(self, delivery: Delivery) -> Step:
        if self.run_of.hung:
            self.run_of.stand_still()
            await asyncio.Event().wait()
        return await super()._take(delivery)


class WatchedEngine(Engine):
    """The service's engine, with the bench looking on."""

    def __init__(
        self, run: SimRun, host: Host, account: AccountHost, name: str, state: State, store: FleetSymbolStore
    ) -> None:
        self._run = run
        self._host = host
        self._account = account
        self._name = name
        self._kept = store
        self._steps: list[State] = []
        self._latest: bytes | None = None
        super().__init__(state, account.setup.policy, account.rules, store, NoJournal(), self._closed)

    def commit(self, event: AnyEvent, *, more: bool = False, now: int = 0, takes: Collection[str] = ()) -> Step:
        if self._run.dead:
            raise asyncio.CancelledError
        before = self.state
        run, host = self._run, self._host
        run.decided_last = host.timeline.now
        if now:
            run.decided_at[now] = host.timeline.now
        step = super().commit(event, more=more, now=now, takes=takes)
        self._steps.append(step.state)
        if (data := self._kept._staged) is not None and data is not self._latest:
            self._latest = data  # a step that can wait leaves what was staged before
            self._account.staged(self._name, data, self._steps, len(self._steps))
        self._account.decided(self._name, event, before, step)
        return step

    def _closed(self, closed: Closed) -> None:
        """The trade list is a file of its own."""
