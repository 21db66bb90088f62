"""etcd through its JSON gateway: ranges, transactions, leases, watches.

The gateway speaks gRPC's messages as JSON: keys and values in base64, 64-bit numbers as text. Every call goes round the
nodes until one answers. A call that changes something and got no answer may have been carried out: `Unreachable` says
so, and whoever asked finds out by reading (a transaction here always compares what it stands on, so that it may simply
be tried again).
"""

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from executor.exchange.transport.network import Connector, Resolver
from executor.files import try_regular
from executor.service.store import etcd_wire

T = TypeVar("T")

log = structlog.get_logger(__name__)

CALL_S: Final = 0.5
"""Seconds that one node has for an answer. Several of them must fit into a lease's time: a node that stands still must
not hold up the renewals of an owner.
"""
LOOKUP_S: Final = 0.1
"""Of these, for a name that is known: then it is what it was. A name service that is away takes no store away."""
ROUNDS: Final = 2
DIGITS_MAX: Final = 18
SHORTEST_LEASE_S: Final = 60
"""A lease that was asked for shorter than elections take lasts longer; they take seconds at the most."""
LINE_MAX: Final = 64 * 1024 * 1024
"""Bytes; etcd takes no request of more than a few."""
WATCH_SILENCE_S: Final = 10.0
"""A watch that says nothing for so long is ended, and what it watched is read anew: a connection that was cut off
without a word says nothing for ever.
"""


class EtcdError(Exception):
    """etcd could not be used. The text is for people."""


class Unreachable(EtcdError):  # noqa: N818  (it says what the nodes are)
    """No node gave a usable answer. `sent`: one of them may have carried the call out all the same."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Refused(EtcdError):  # noqa: N818
    """etcd answered that the call can't be carried out as it is: another try would not change that."""


class Value(msgspec.Struct, frozen=True):
    """One key as it is at one revision. `lease` 0: none."""

    key: str
    value: bytes
    created: int
    modified: int
    lease: int = 0

    @property
    def text(self) -> str:
        """The value, where it is a name or a number; what is no text in it is shown as such."""
        return self.value.decode("utf-8", "replace")

    @property
    def number(self) -> int:
        """The value where it is a whole number of some digits, else 0."""
        return int(self.value) if self.value.isdigit() and len(self.value) <= DIGITS_MAX else 0


class Answered(msgspec.Struct, frozen=True):
    """What a transaction came to: which branch it took, what its ranges found, one list each, and at which revision."""

    succeeded: bool
    found: tuple[tuple[Value, ...], ...]
    revision: int
    cluster: str


class Change(msgspec.Struct, frozen=True):
    """What a watch tells of a key: its new value, None when it is gone."""

    key: str
    value: Value | None


class Member(msgspec.Struct, frozen=True):
    """One member of the cluster; `urls`: where clients find it."""

    id: str
    name: str
    urls: tuple[str, ...]
    learner: bool = False


class Status(msgspec.Struct, frozen=True):
    version: str
    leader: bool
    db_bytes: int
    errors: tuple[str, ...] = ()


class Look(msgspec.Struct, frozen=True):
    """`metrics`: Prometheus' text; `date`: its clock, as HTTP says it; `certificate_ends`: of a node over TLS.

    `asked`, `answered`: this machine's clock around the answer, in seconds since the epoch.
    """

    metrics: str
    date: str
    asked: float
    answered: float
    certificate_ends: str = ""


Compare = Mapping[str, Any]
Operation = Mapping[str, Any]


class Etcd:
    """A cluster, by the base URLs of its nodes. To be built inside the running event loop, and closed."""

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: ssl.SSLContext | None = None,
        *,
        call_s: float = CALL_S,
        silence_s: float = WATCH_SILENCE_S,
    ) -> None:
        if not endpoints:
            raise ValueError("no endpoint")
        self.endpoints = tuple(endpoints)
        self._next = 0
        self._cluster_id = 0
        """Which one it is, once a node has said so."""
        self._call_s = call_s
        self._silence_s = silence_s
        self._streams: dict[aiohttp.ClientResponse, str] = {}
        self._doubted: dict[str, asyncio.Task[None]] = {}
        self._tls = tls
        self._session = aiohttp.ClientSession(
            connector=Connector(
                ssl=tls if tls is not None else True, limit=0, keepalive_timeout=30, resolver=Resolver(LOOKUP_S)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        for task in self._doubted.values():
            task.cancel()
        await self._session.close()

    # --- keys -----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Value | None:
        """The key as it is now, by a majority's word. Raises EtcdError."""
        found, _ = await self.range(key, prefix=False)
        return found[0] if found else None

    async def range(self, key: str, *, prefix: bool = True) -> tuple[list[Value], int]:
        """All keys that begin with `key`, in order, and the revision that they are of. Raises EtcdError."""
        found = await self._call("kv/range", _range(key, prefix=prefix), etcd_wire.Ranged, changes=False)
        return [_value(each) for each in found.kvs], found.header.revision

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Operation], failure: Sequence[Operation] = ()
    ) -> Answered:
        """All at once or not at all. Raises EtcdError."""
        message = {"compare": compare, "success": success, "failure": failure}
        done = await self._call("kv/txn", message, etcd_wire.Transacted, changes=True)
        ranges = [each.response_range for each in done.responses if each.response_range is not None]
        asked = sum("request_range" in each for each in (success if done.succeeded else failure))
        if len(ranges) != asked:
            raise Unreachable(f"etcd: a transaction of {asked} ranges was answered with {len(ranges)}", sent=True)
        found = tuple(tuple(map(_value, each.kvs)) for each in ranges)
        return Answered(done.succeeded, found, done.header.revision, str(done.header.cluster_id or ""))

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> None:
        """Raises EtcdError."""
        await self._call("kv/put", _put(key, value, lease), etcd_wire.Done, changes=True)

    async def delete(self, key: str) -> None:
        """Raises EtcdError."""
        await self._call("kv/deleterange", {"key": _b64(key)}, etcd_wire.Done, changes=True)

    # --- leases ---------------------------------------------------------------------------------------------------

    async def grant(self, seconds: int) -> int:
        """A new lease. Raises EtcdError."""
        told = await self._call("lease/grant", {"TTL": str(seconds)}, etcd_wire.Granted, changes=True)
        if not seconds <= told.TTL <= max(seconds, SHORTEST_LEASE_S):  # etcd makes a very short one longer
            raise Unreachable(f"etcd: {seconds} s were asked for, and {told.TTL} s granted", sent=True)
        return told.ID

    async def keep_alive(self, lease: int, *, within: float | None = None) -> int:
        """Renew; the seconds that it now lasts, 0 when there is no such lease any more. `within`: seconds that each
        node has for it. Raises EtcdError.
        """
        message = {"ID": str(lease)}
        told = await self._call("lease/keepalive", message, etcd_wire.KeptAlive, changes=False, within=within)
        if lease != told.result.ID:
            raise Unreachable(f"etcd: told of the lease {told.result.ID}, not of {lease}", sent=True)
        self._doubt_others()
        return told.result.TTL

    async def revoke(self, lease: int) -> None:
        """End it, and every key that hangs on it. Raises EtcdError."""
        try:
            await self._call("lease/revoke", {"ID": str(lease)}, etcd_wire.Done, changes=True)
        except Refused as error:
            if "not found" not in str(error):
                raise

    # --- watches --------------------------------------------------------------------------------------------------

    async def watch(self, prefix: str, since: int) -> AsyncIterator[tuple[list[Change], int]]:
        """What happens to the keys of `prefix` from revision `since` on, as it happens, with the revision that it is
        told up to. The caller reads anew when it ends, and watches on from there: at once, where it ends in silence,
        since where nothing happens there is nothing else; else it raises EtcdError.
        """
        url, begun = self._endpoint(), False
        try:
            async for changes, revision in self._told_by(url, prefix, since):
                begun = True
                yield changes, revision
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if begun and isinstance(error, aiohttp.SocketTimeoutError):
                return
            self._turn(url)
            raise Unreachable(f"{url}: {_words(error)}", sent=False) from error
        except Unreachable:
            self._turn(url)
            raise
        except etcd_wire.Unreadable as error:
            self._turn(url)
            raise EtcdError(f"{url} sent what can't be read: {error}") from error
        self._turn(url)
        raise EtcdError(f"{url} ended the watch")

    async def _told_by(self, url: str, prefix: str, since: int) -> AsyncIterator[tuple[list[Change], int]]:
        request = {**_range(prefix), "start_revision": str(since), "progress_notify": True}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._call_s * 2, sock_read=self._silence_s)
        async with self._session.post(
            f"{url}/v3/watch", json={"create_request": request}, timeout=timeout, allow_redirects=False
        ) as response:
            if response.status != 200:
                self._turn(url)
                raise EtcdError(f"{url}: {_said(await response.read(), response.status)}")
            self._streams[response] = url
            try:
                async for line in _lines(response.content):
                    told = etcd_wire.read(line, etcd_wire.WatchLine).result
                    self._check_cluster(url, told)
                    if told.canceled or told.compact_revision:
                        raise EtcdError(f"the watch was ended: {told.cancel_reason or 'compacted'}")
                    yield [_change(each) for each in told.events], told.header.revision
            finally:
                del self._streams[response]

    # --- the cluster ----------------------------------------------------------------------------------------------

    async def members(self) -> list[Member]:
        """Raises EtcdError."""
        found = await self._call("cluster/member/list", {}, etcd_wire.Members, changes=False)
        return [Member(str(each.ID), each.name, each.clientURLs, each.isLearner) for each in found.members]

    async def status(self, endpoint: str) -> Status:
        """Of that one node. Raises EtcdError."""
        told = await self._ask(endpoint, "maintenance/status", {}, etcd_wire.Status)
        mine = told.header.member_id
        return Status(told.version, bool(mine) and mine == told.leader, told.dbSize, told.errors)

    async def alarms(self) -> list[str]:
        """What the members complain of, such as NOSPACE: then no write is taken. Raises EtcdError."""
        found = await self._call("maintenance/alarm", {"action": "GET"}, etcd_wire.Alarms, changes=False)
        return [each.alarm for each in found.alarms]

    async def look(self, endpoint: str) -> Look:
        """What that one node shows of itself beside the gateway. Raises EtcdError."""
        timeout = aiohttp.ClientTimeout(total=self._call_s * 4)
        asked = time.time()
        try:
            async with self._session.get(f"{endpoint}/metrics", timeout=timeout) as response:
                answered = time.time()
                text = (await response.read()).decode("utf-8", "replace")
            ends = await self._certificate_ends(endpoint)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{endpoint}: {_words(error)}", sent=False) from error
        if response.status != 200:
            raise Refused(f"{endpoint}/metrics: HTTP {response.status}")
        return Look(text, response.headers.get("Date", ""), asked, answered, ends)

    async def _certificate_ends(self, endpoint: str) -> str:
        if self._tls is None:
            return ""
        place = urlsplit(endpoint)
        async with asyncio.timeout(self._call_s * 4):
            _, writer = await asyncio.open_connection(place.hostname, place.port, ssl=self._tls)
        try:
            return str(writer.get_extra_info("peercert", {}).get("notAfter", ""))
        finally:
            writer.close()

    # --- the wire -------------------------------------------------------------------------------------------------

    async def _call(
        self, path: str, message: Mapping[str, Any], kind: type[T], *, changes: bool, within: float | None = None
    ) -> T:
        """Round the nodes, twice at most."""
        faults: list[str] = []
        sent = False
        for _ in range(ROUNDS * len(self.endpoints)):
            url = self._endpoint()
            try:
                return await self._ask(url, path, message, kind, within)
            except Unreachable as error:
                faults.append(str(error))
                sent = sent or error.sent
                self._turn(url)
        raise Unreachable(f"etcd: {'; '.join(dict.fromkeys(faults))}", sent=sent and changes)

    async def _ask(
        self, url: str, path: str, message: Mapping[str, Any], kind: type[T], within: float | None = None
    ) -> T:
        timeout = aiohttp.ClientTimeout(total=self._call_s if within is None else min(within, self._call_s))
        try:
            async with self._session.post(
                f"{url}/v3/{path}", json=message, timeout=timeout, allow_redirects=False
            ) as response:
                data = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(f"{url}: {_words(error)}", sent=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{url}: {_words(error)}", sent=True) from error
        if response.status != 200:
            # What is not etcd's own word is a proxy's, or another program's on that port: another node may do it.
            ours = bool(etcd_wire.words_in(data)) and response.status not in _TRY_ANOTHER
            if not ours:
                raise Unreachable(f"{url}: {_said(data, response.status)}", sent=True)
            raise Refused(f"{url}: {_said(data, response.status)}")
        try:
            told = etcd_wire.read(data, kind)
        except etcd_wire.Unreadable as error:
            raise Unreachable(f"{url} sent what can't be read: {error}", sent=True) from error
        self._check_cluster(url, told)
        return told

    def _check_cluster(self, url: str, told: object) -> None:
        """An address that leads to another cluster leads to other owners, states and leases. Raises Unreachable."""
        cluster = etcd_wire.cluster_of(told)
        if cluster and self._cluster_id not in (0, cluster):
            raise Unreachable(f"{url} is of another cluster ({cluster}, not {self._cluster_id})", sent=True)
        self._cluster_id = cluster or self._cluster_id

    def _endpoint(self) -> str:
        return self.endpoints[self._next % len(self.endpoints)]

    def _turn(self, url: str) -> None:
        """Away from a node that is of no use just now: once, however many calls meet that."""
        if url == self._endpoint():
            self._next += 1

    def _doubt_others(self) -> None:
        """The nodes that watches are on, and calls are not: whether one of them answers no more would show by its
        silence alone, and until then it would be missed that a machine has died together with its etcd.
        """
        for url in set(self._streams.values()) - {self._endpoint()} - self._doubted.keys():
            self._doubted[url] = asyncio.create_task(self._end_if_dead(url), name=f"doubt {url}")

    async def _end_if_dead(self, url: str) -> None:
        """One that is only slow keeps its watches."""
        try:
            await self._ask(url, "kv/range", _range("/", prefix=False), etcd_wire.Ranged)
        except EtcdError:
            for response in [each for each, whose in self._streams.items() if whose == url]:
                response.close()
        finally:
            del self._doubted[url]


_TRY_ANOTHER: Final = frozenset({408, 429, 499, 500, 502, 503, 504})
"""No leader, a request that timed out inside, a node that is starting."""


# --- parts of a transaction -------------------------------------------------------------------------------------------


def created_is(key: str, revision: int) -> Compare:
    """The key is the one that was made at `revision`; 0: there is none."""
    return {"key": _b64(key), "target": "CREATE", "result": "EQUAL", "create_revision": str(revision)}


def modified_is(key: str, revision: int) -> Compare:
    """Nobody has changed the key since `revision`; 0: there is none."""
    return {"key": _b64(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def put(key: str, value: bytes, *, lease: int = 0) -> Operation:
    return {"request_put": _put(key, value, lease)}


def delete(key: str) -> Operation:
    return {"request_delete_range": {"key": _b64(key)}}


def get(key: str) -> Operation:
    return {"request_range": _range(key, prefix=False)}


def mark(key: str) -> Operation:
    """As `get`, without the value: at which revisions it was made and changed."""
    return {"request_range": {**_range(key, prefix=False), "keys_only": True}}


def _put(key: str, value: bytes, lease: int) -> dict[str, str]:
    message = {"key": _b64(key), "value": base64.b64encode(value).decode()}
    return {**message, "lease": str(lease)} if lease else message


def _range(key: str, *, prefix: bool = True) -> dict[str, str]:
    return {"key": _b64(key), "range_end": _b64(_after(key))} if prefix else {"key": _b64(key)}


def _after(prefix: str) -> str:
    """The first key that does not begin with `prefix`, whose last character is no wilder than ours are."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _value(kv: etcd_wire.KeyValue) -> Value:
    return Value(kv.key.decode(), kv.value, kv.create_revision, kv.mod_revision, kv.lease)


def _change(event: etcd_wire.Event) -> Change:
    value = _value(event.kv)
    return Change(value.key, None if event.type == "DELETE" else value)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """One JSON object a line, however long: a state may be some hundred kilobytes."""
    waiting = b""
    async for part in content.iter_any():
        *whole, waiting = (waiting + part).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(waiting) > LINE_MAX:
            raise etcd_wire.Unreadable(f"a line of more than {LINE_MAX} bytes")


def _said(data: bytes, status: int) -> str:
    return etcd_wire.words_in(data) or f"HTTP {status}"


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def tls_of(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """For https endpoints: `ca` verifies the nodes (None: as the system does), `cert` and `key` show who we are. Raises
    EtcdError.
    """
    try:
        for file in filter(None, (ca, cert, key)):
            try_regular(Path(file))
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise EtcdError(f"FLEET_CA, FLEET_CERT or FLEET_KEY can't be used: {_words(error)}") from error
    return context
