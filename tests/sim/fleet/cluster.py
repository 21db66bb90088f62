"""etcd, simulated: linearizable, with revisions, transactions, leases and watches; and a node's way to it.

It speaks what the JSON gateway speaks, so that the service's own client reads and writes it. What may go wrong:

- a try may be lost before or after it was carried out, refused for want of a leader, or carried out only when nobody
  waits for it any more (the client has tried again, or somebody else has written meanwhile);
- a majority may be away: nothing is carried out, and some of what was tried is when it is back. A lease that would
  have ended meanwhile begins anew then, or has ended (etcd 3.5 and 3.4 differ);
- a node may be cut off: its tries get no answer, and its watches fall silent or end.
"""

import asyncio
import base64
import bisect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeVar

import msgspec
from tests.sim.fleet.faults import FleetFaults
from tests.sim.fleet.loops import NodeLoop
from tests.sim.timeline import Timeline

from executor.service.store import etcd_wire
from executor.service.store.etcd import WATCH_SILENCE_S, Change, Etcd, Refused, Unreachable, Value

MEMBERS: Final = ("http://e1", "http://e2", "http://e3")
TRY_S: Final = 0.5
LAG_MS: Final = 2
LATE_MS: Final = (700, 3_000, 9_000)
Body = dict[str, Any]
T = TypeVar("T")


class Lease:
    def __init__(self, ttl_ms: int, ends: int) -> None:
        self.ttl_ms = ttl_ms
        self.ends = ends
        self.keys: set[str] = set()


class Cluster:
    """`on_commit` hears of each transaction that has changed something: what was put, what was deleted, and the value
    that each deleted key had.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.revision = 1
        self.without_majority_until = 0
        self.kept_leases = True
        self.on_commit: Callable[[dict[str, Value], dict[str, Value]], None] = lambda _, __: None
        self._timeline = timeline
        self._now: dict[str, Value] = {}
        self._past: dict[str, list[tuple[int, Value | None]]] = {}
        self._told: list[tuple[int, Change]] = []
        self._leases: dict[int, Lease] = {}
        self._next_lease = 7_000
        self._watches: list[Watch] = []

    def value(self, key: str) -> Value | None:
        return self._now.get(key)

    def values(self, prefix: str) -> list[Value]:
        return [self._now[key] for key in sorted(key for key in self._now if key.startswith(prefix))]

    def put(self, key: str, value: bytes = b"") -> None:
        """Somebody else's word, from another machine."""
        self.serve("kv/put", {"key": _encoded(key.encode()), "value": _encoded(value)})

    def delete(self, key: str) -> None:
        self.serve("kv/deleterange", {"key": _encoded(key.encode())})

    # --- a majority --------------------------------------------------------------------------------------------------

    @property
    def has_majority(self) -> bool:
        return self._timeline.now >= self.without_majority_until

    def lose_majority(self, ms: int, *, leases_kept: bool) -> None:
        self.without_majority_until = max(self.without_majority_until, self._timeline.now + ms)
        self.kept_leases = leases_kept
        self._timeline.at(self.without_majority_until, self._back)

    def regain_majority(self) -> None:
        if not self.has_majority:
            self.without_majority_until = self._timeline.now
            self._back()

    def _back(self) -> None:
        if not self.has_majority:
            return
        now = self._timeline.now
        for number, lease in list(self._leases.items()):
            if self.kept_leases:
                lease.ends = now + lease.ttl_ms
                self._timeline.at(lease.ends, lambda n=number: self._end_if_due(n))  # type: ignore[misc]
            else:
                self._end_if_due(number)

    # --- requests ----------------------------------------------------------------------------------------------------

    def serve(self, path: str, message: Mapping[str, Any]) -> Body:
        """Carry it out now. Raises LookupError where etcd would refuse."""
        match path:
            case "kv/range":
                return self._header(kvs=self._range(message))
            case "kv/txn":
                return self._txn(message)
            case "kv/put":
                self._commit([("put", message)])
                return self._header()
            case "kv/deleterange":
                self._commit([("delete", message)])
                return self._header()
            case "lease/grant":
                return self._grant(int(message["TTL"]))
            case "lease/keepalive":
                return {"result": {"ID": message["ID"], "TTL": str(self._renew(int(message["ID"])))}}
            case "lease/revoke":
                number = int(message["ID"])
                if number not in self._leases:
                    raise LookupError("requested lease not found")
                self._end(number)
                return self._header()
            case _:
                raise AssertionError(path)

    def _header(self, **more: Any) -> Body:
        return {"header": {"cluster_id": "1", "revision": str(self.revision)}, **more}

    def _range(self, message: Mapping[str, Any]) -> list[Body]:
        key, at = _text(message["key"]), int(message.get("revision", 0))
        if "range_end" not in message:
            found = self._at(key, at) if at else self._now.get(key)
            return [_kv(found)] if found is not None else []
        end = _text(message["range_end"])
        return [_kv(self._now[name]) for name in sorted(name for name in self._now if key <= name < end)]

    def _at(self, key: str, revision: int) -> Value | None:
        past = self._past.get(key, [])
        place = bisect.bisect_right(past, revision, key=lambda each: each[0])
        return past[place - 1][1] if place else None

    def _txn(self, message: Mapping[str, Any]) -> Body:
        succeeded = all(self._holds(each) for each in message["compare"])
        chosen: Sequence[Mapping[str, Any]] = message["success"] if succeeded else message["failure"]
        writes: list[tuple[str, Mapping[str, Any]]] = []
        for each in chosen:
            if "request_put" in each:
                writes.append(("put", each["request_put"]))
            elif "request_delete_range" in each:
                writes.append(("delete", each["request_delete_range"]))
        if writes:
            self._commit(writes)
        ranges = (each["request_range"] for each in chosen if "request_range" in each)
        responses: list[Body] = [{"response_range": {"kvs": self._range(each)}} for each in ranges]  # after the writes
        return self._header(succeeded=succeeded, responses=responses)

    def _holds(self, compare: Mapping[str, Any]) -> bool:
        found = self._now.get(_text(compare["key"]))
        if compare["target"] == "CREATE":
            return (found.created if found else 0) == int(compare["create_revision"])
        assert compare["target"] == "MOD"
        return (found.modified if found else 0) == int(compare["mod_revision"])

    def _commit(self, writes: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        for kind, message in writes:
            if kind == "put" and int(message.get("lease", 0)) not in {0, *self._leases}:
                raise LookupError("requested lease not found")
        gone = {key for kind, m in writes if kind == "delete" and (key := _text(m["key"])) in self._now}
        puts = [m for kind, m in writes if kind == "put"]
        if not gone and not puts:
            return
        self.revision += 1
        changed: dict[str, Value] = {}
        for message in puts:
            key, lease = _text(message["key"]), int(message.get("lease", 0))
            before = self._now.get(key)
            created = before.created if before is not None else self.revision
            changed[key] = Value(key, base64.b64decode(message["value"]), created, self.revision, lease)
        self._apply(changed, gone)

    def _apply(self, changed: dict[str, Value], gone: set[str]) -> None:
        deleted = {key: self._now.pop(key) for key in sorted(gone)}
        for before in (*deleted.values(), *(self._now[key] for key in changed if key in self._now)):
            if (lease := self._leases.get(before.lease)) is not None:
                lease.keys.discard(before.key)
        for value in changed.values():
            if value.lease:
                self._leases[value.lease].keys.add(value.key)
        self._now.update(changed)
        happened: list[tuple[str, Value | None]] = [*changed.items(), *((key, None) for key in deleted)]
        for key, after in happened:
            self._past.setdefault(key, []).append((self.revision, after))
            change = Change(key, after)
            self._told.append((self.revision, change))
            for watch in self._watches:
                watch.tell(self.revision, change)
        self.on_commit(changed, deleted)

    # --- leases ------------------------------------------------------------------------------------------------------

    def _grant(self, seconds: int) -> Body:
        self._next_lease += 1
        lease = self._leases[self._next_lease] = Lease(seconds * 1000, self._timeline.now + seconds * 1000)
        self._timeline.at(lease.ends, lambda n=self._next_lease: self._end_if_due(n))  # type: ignore[misc]
        return {"ID": str(self._next_lease), "TTL": str(seconds)}

    def _renew(self, number: int) -> int:
        lease = self._leases.get(number)
        if lease is None:
            return 0
        lease.ends = self._timeline.now + lease.ttl_ms
        self._timeline.at(lease.ends, lambda: self._end_if_due(number))
        return lease.ttl_ms // 1000

    def _end_if_due(self, number: int) -> None:
        lease = self._leases.get(number)
        if lease is not None and self._timeline.now >= lease.ends and self.has_majority:
            self._end(number)

    def _end(self, number: int) -> None:
        gone = self._leases.pop(number).keys
        if gone:
            self.revision += 1
            self._apply({}, set(gone))

    # --- watches -----------------------------------------------------------------------------------------------------

    def follow(self, watch: "Watch", since: int) -> None:
        for revision, change in self._told[bisect.bisect_left(self._told, since, key=lambda each: each[0]) :]:
            watch.tell(revision, change)
        self._watches.append(watch)

    def leave(self, watch: "Watch") -> None:
        if watch in self._watches:
            self._watches.remove(watch)


class Watch:
    """One node's watch. It tells in order, and nothing more once something was lost on the way."""

    def __init__(self, prefix: str, link: "Link") -> None:
        self.queue: asyncio.Queue[tuple[int, Change] | None] = asyncio.Queue()
        self._prefix = prefix
        self._link = link
        self._silent = False

    def tell(self, revision: int, change: Change) -> None:
        if not change.key.startswith(self._prefix):
            return
        self._silent = self._silent or self._link.cut
        if not self._silent:
            self._link.later(lambda: self.queue.put_nowait((revision, change)))

    def end(self) -> None:
        self.queue.put_nowait(None)


class Link(Etcd):
    """The service's client, with this in place of its connections. `step` is called before a try leaves and when its
    answer is there: the process may be suspended or killed.
    """

    def __init__(self, cluster: Cluster, timeline: Timeline, faults: FleetFaults, loop: NodeLoop) -> None:
        self.endpoints = MEMBERS
        self.cut_until = 0
        self.dead = False
        self._next = 0
        self._streams = {}
        self._doubted = {}
        self._cluster = cluster
        self._timeline = timeline
        self._faults = faults
        self._loop = loop
        self._watching: list[Watch] = []

    async def step(self, where: str) -> None:
        """Put in place by whoever has the process."""

    async def close(self) -> None:
        """There is nothing to close."""

    @property
    def cut(self) -> bool:
        return self.dead or self._timeline.now < self.cut_until

    def later(self, told: Callable[[], object]) -> None:
        """Tell the process, after the network's time."""
        self._timeline.at(self._timeline.now + LAG_MS, lambda: None if self.dead else self._loop.tell(told))

    def break_watches(self) -> None:
        for watch in self._watching:
            self.later(watch.end)

    async def watch(self, prefix: str, since: int) -> AsyncIterator[tuple[list[Change], int]]:
        if self.cut or not self._cluster.has_majority:
            await self._lost("watch", sent=False)
        watch = Watch(prefix, self)
        self._watching.append(watch)
        self._cluster.follow(watch, since)
        try:
            while True:
                try:
                    async with asyncio.timeout(WATCH_SILENCE_S):
                        told = await watch.queue.get()
                except TimeoutError:
                    told = None
                if told is None:
                    raise Unreachable("the watch has ended", sent=False)
                yield [told[1]], told[0]
        finally:
            self._cluster.leave(watch)
            self._watching.remove(watch)

    async def _ask(
        self, url: str, path: str, message: Mapping[str, Any], kind: type[T], within: float | None = None
    ) -> T:
        return etcd_wire.read(msgspec.json.encode(await self._answered(url, path, message)), kind)

    async def _answered(self, url: str, path: str, message: Mapping[str, Any]) -> Body:
        kind = _kind(path, message)
        if self.dead:
            raise Unreachable(f"{url}: dead", sent=False)
        await self.step(f"before {kind}")
        if self.cut:
            await self._lost(kind, sent=False)
        fault = self._faults.store(kind) if self._cluster.has_majority else "no_majority"
        if fault:
            await self._miss(fault, url, kind, path, message)
        answer = self._loop.create_future()
        self._timeline.at(self._timeline.now + LAG_MS, lambda: self._serve(path, message, answer))
        body: Body = await answer
        await self.step(f"after {kind}")
        return body

    async def _miss(self, fault: str, url: str, kind: str, path: str, message: Mapping[str, Any]) -> NoReturn:
        match fault:
            case "store_refused":
                raise Unreachable(f"{url}: connection refused", sent=False)
            case "store_no_leader":
                raise Unreachable(f"{url}: no leader", sent=True)
            case "store_answer_lost":
                self._carry_out(path, message)
            case "store_late":
                late = LATE_MS[self._faults.detail("store_late", len(LATE_MS))]
                self._timeline.at(self._timeline.now + late, lambda: self._carry_out(path, message))
            case "no_majority":
                if self._faults.detail("when it is back", 2):
                    back = self._cluster.without_majority_until + 1
                    self._timeline.at(back, lambda: self._carry_out(path, message))
            case _:
                assert fault == "store_request_lost"
        await self._lost(kind, sent=True)

    async def _lost(self, kind: str, *, sent: bool) -> NoReturn:
        await asyncio.sleep(TRY_S)
        raise Unreachable(f"{kind}: no answer", sent=sent)

    def _carry_out(self, path: str, message: Mapping[str, Any]) -> None:
        """What nobody waits for."""
        if self._cluster.has_majority:
            try:
                self._cluster.serve(path, message)
            except LookupError:
                return

    def _serve(self, path: str, message: Mapping[str, Any], answer: "asyncio.Future[Body]") -> None:
        if not self._cluster.has_majority:
            self._loop.call_later(TRY_S, _fail, answer, Unreachable("no majority", sent=True))
            return
        try:
            body = self._cluster.serve(path, message)
        except LookupError as error:
            refused = Refused(str(error))
            self.later(lambda: _fail(answer, refused))
            return
        self.later(lambda: _answer(answer, body))


def _answer(answer: "asyncio.Future[Body]", body: Body) -> None:
    if not answer.done():
        answer.set_result(body)


def _fail(answer: "asyncio.Future[Body]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _kind(path: str, message: Mapping[str, Any]) -> str:
    """What a request is about, as the tally has it: claim, release, write, signal, renew, tell, read ..."""
    if path == "kv/txn":
        touched = [_text(each["key"]) for each in message["compare"]]
        if not touched:
            return "read"
        if any("/state/" in key for key in touched):
            return "write"
        if any("/own/" in key for key in touched):
            if len(message["success"]) > 1:
                return "answer"
            return "claim" if "request_put" in message["success"][0] else "release"
        return "signal"
    return {
        "kv/range": "read",
        "kv/put": "tell",
        "kv/deleterange": "delete",
        "lease/grant": "grant",
        "lease/keepalive": "renew",
        "lease/revoke": "revoke",
    }[path]


@lru_cache(maxsize=1_000)
def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _kv(value: Value) -> Body:
    found = {
        "key": _encoded(value.key.encode()),
        "value": _encoded(value.value),
        "create_revision": str(value.created),
        "mod_revision": str(value.modified),
    }
    return {**found, "lease": str(value.lease)} if value.lease else found
