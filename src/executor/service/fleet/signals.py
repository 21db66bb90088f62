"""Signals through the fleet's store: put by any node before it answers, taken by the account's owner.

A signal is put once: beside its key goes one that says that it was there, for longer than any signal is of use. It is
gone with the very transaction that writes the state in which it was judged, so that it is judged once, whoever dies.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
import structlog

from executor.config import Settings
from executor.core.model.signal import Signal
from executor.service.inlets.intake import SignalJudge
from executor.service.inlets.signal_file import SignalFile
from executor.service.inlets.webhook import NobodyTakesError
from executor.service.loop import Loop
from executor.service.store.etcd import Etcd, EtcdError, Refused, Unreachable, Value, created_is, put
from executor.service.store.fleet_keys import Keys
from executor.signals.follower import SignalFollower
from executor.signals.parse import Malformed, parse_signal

log = structlog.get_logger(__name__)

SEEN_S: Final = 2 * 24 * 3600
"""So long a signal is known to have been there."""
SEEN_LEASE_EVERY_S: Final = 3600.0
AGAIN_S: Final = 0.5
LOOK_S: Final = 0.1


class Put(msgspec.Struct, frozen=True):
    """For which accounts a signal was put, and which had it before."""

    fresh: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()


def takers(signal: Signal, accounts: Mapping[str, Settings]) -> dict[str, str]:
    """The accounts that a signal is for, and the symbol for each: all that trade its symbol; one that names none is for
    those that trade a single one.
    """
    found: dict[str, str] = {}
    for name, settings in accounts.items():
        traded = settings.traded
        if signal.symbol in traded:
            found[name] = signal.symbol
        elif not signal.symbol and len(traded) == 1:
            found[name] = traded[0]
    return found


class SignalPoster:
    """Puts signals into the store, from whichever way they came."""

    def __init__(self, etcd: Etcd, keys: Keys, accounts: Mapping[str, Settings]) -> None:
        self._etcd = etcd
        self._keys = keys
        self._accounts = accounts
        self._lease = 0
        self._leased_at = 0.0
        self._leasing = asyncio.Lock()

    async def put(self, line: bytes, signal: Signal) -> Put:
        """When this returns, a majority has it. Raises NobodyTakesError, EtcdError: then it may be put again."""
        found = takers(signal, self._accounts)
        if not found:
            raise NobodyTakesError(f"no account trades {signal.symbol or 'a single symbol'}")
        fresh = await asyncio.gather(*(self._put(name, symbol, line, signal.key) for name, symbol in found.items()))
        told = dict(zip(found, fresh, strict=True))
        return Put(tuple(n for n, new in told.items() if new), tuple(n for n, new in told.items() if not new))

    async def _put(self, account: str, symbol: str, line: bytes, key: str) -> bool:
        """Whether it was not there before. What a lost answer leaves open is no repetition: the line is compared."""
        waiting, seen = self._keys.signal(account, symbol, key), self._keys.seen(account, symbol, key)
        mark = f"{time.time_ns()}".encode()
        lease, again = await self._seen_lease(), True
        for _ in range(3):
            try:
                done = await self._etcd.txn(
                    [created_is(seen, 0)], [put(waiting, line), put(seen, mark, lease=lease)], []
                )
            except Unreachable as error:
                if not error.sent:
                    raise
                continue
            except Refused:
                if not again:
                    raise
                lease, again = await self._seen_lease(but=lease), False  # etcd may have been restored, and not know it
                continue
            if done.succeeded:
                return True
            found = await self._etcd.read(seen)
            return found is not None and found.value == mark
        raise Unreachable(f"signal {key} of {account}: no answer", sent=True)

    async def _seen_lease(self, but: int = 0) -> int:
        """The lease that is in use, or a new one: now and then, and where it is the one `but` which must not be."""
        async with self._leasing:
            now = asyncio.get_running_loop().time()
            if self._lease in (0, but) or now - self._leased_at > SEEN_LEASE_EVERY_S:
                self._lease, self._leased_at = await self._etcd.grant(SEEN_S), now
            return self._lease


class StoredSignals:
    """An account's signals, from the store; those of a symbol one after the other."""

    def __init__(self, etcd: Etcd, keys: Keys, account: str) -> None:
        self._etcd = etcd
        self._prefix = keys.signals(account)
        self._keys = keys
        self._under_way: set[str] = set()

    async def run(self, judge: SignalJudge, loops: Mapping[str, Loop]) -> None:
        queues: dict[str, asyncio.Queue[Value]] = {symbol: asyncio.Queue() for symbol in loops}
        async with asyncio.TaskGroup() as tasks:
            for symbol, loop in loops.items():
                tasks.create_task(self._judge(judge, loop, queues[symbol]), name=f"signals {symbol}")
            await self._follow(queues)

    async def _judge(self, judge: SignalJudge, loop: Loop, queue: "asyncio.Queue[Value]") -> None:
        await loop.ready.wait()
        while True:
            waiting = await queue.get()
            with loop.at_work():
                try:
                    await judge.submit(parse_signal(waiting.value), takes=(waiting.key,))
                except Exception:  # a fault of ours costs this signal, not the account on one node after the other
                    log.exception("signal_failed", alert=True, key=waiting.key, text="left untaken by this node")
                    continue
            self._under_way.discard(waiting.key)

    async def _follow(self, queues: Mapping[str, "asyncio.Queue[Value]"]) -> None:
        while True:
            try:
                given = frozenset(self._under_way)  # what ends while the question is under way may be in the answer
                found, revision = await self._etcd.range(self._prefix)
                for value in sorted(found, key=lambda each: each.created):
                    if value.key not in given:
                        self._give(value, queues)
                async for changes, _ in self._etcd.watch(self._prefix, revision + 1):
                    for change in changes:
                        if change.value is not None:
                            self._give(change.value, queues)
            except EtcdError as error:
                log.info("signals_watch_again", why=str(error))
                await asyncio.sleep(AGAIN_S)

    def _give(self, value: Value, queues: Mapping[str, "asyncio.Queue[Value]"]) -> None:
        if value.key in self._under_way:
            return
        self._under_way.add(value.key)
        names = self._keys.names_in(value.key, 3)
        queue = queues.get(names[1]) if names else None
        if queue is not None:
            queue.put_nowait(value)
        elif names:
            log.error("signal_for_no_symbol", alert=True, key=value.key, text="this account does not trade it any more")
        else:
            log.warning("signal_for_nobody", key=value.key, text="the key is no signal's; it is left where it is")


class FileRelay:
    """Follows this node's signal file and hands each line on; a line that can't be handed on is tried again."""

    def __init__(
        self, open_file: Callable[[], SignalFollower], keep: Callable[[bytes, Signal], Awaitable[object]]
    ) -> None:
        self._open_file = open_file
        self._keep = keep

    async def run(self) -> None:
        """For ever."""
        file = SignalFile(self._open_file)
        try:
            while True:
                for line in await file.read():
                    if line.data.strip():
                        await self._hand_on(line.data)
                    await file.commit(line.position)
                await asyncio.sleep(LOOK_S)
        finally:
            await file.end(None)

    async def _hand_on(self, data: bytes) -> None:
        parsed = parse_signal(data)
        if isinstance(parsed, Malformed):
            log.warning("signal_refused", signal=parsed.text, why=f"malformed: {parsed.fault}")
            return
        told = False
        while True:
            try:
                await self._keep(data, parsed)
            except NobodyTakesError as error:
                log.warning("signal_refused", signal=parsed.key, why=str(error))
                return
            except EtcdError as error:
                if not told:
                    log.error("signal_not_kept", alert=True, signal=parsed.key, error=str(error), text="tried again")
                told = True
                await asyncio.sleep(AGAIN_S)
            else:
                return
