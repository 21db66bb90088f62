"""The client and the symbol store against a real etcd."""

import asyncio
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace
from tests.core.build import RULES, protected
from tests.fleet.cluster import Cluster, needs_etcd, running

from executor.core.transition import empty
from executor.exchange.transport.network import Connector
from executor.service.store import fleet_store
from executor.service.store.document import document_of, state_of
from executor.service.store.etcd import Etcd, EtcdError, Refused, Unreachable, created_is, get, put
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Claim, FleetSymbolStore, StateRestored, StoreUnreachable, envelope_in
from executor.service.store.port import Fenced
from executor.service.store.state_store import Age

pytestmark = needs_etcd
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
KEYS = Keys("test")
VENUE = "http://exchange"


@asynccontextmanager
async def client(cluster: Cluster) -> AsyncIterator[Etcd]:
    etcd = Etcd(cluster.endpoints)
    try:
        yield etcd
    finally:
        await etcd.close()


async def claim(etcd: Etcd, node: str, account: str = "alice") -> Claim:
    own = KEYS.owner(account)
    await etcd.delete(own)
    done = await etcd.txn([created_is(own, 0)], [put(own, node.encode())])
    assert done.succeeded
    return Claim(account, node, done.revision, done.cluster)


def some_state(venue: str = VENUE) -> object:
    return document_of(empty(RULES.symbol, venue))


async def test_keys_are_read_written_compared_and_watched(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        assert await etcd.read("/a") is None
        await etcd.put("/a/1", b"one")
        await etcd.put("/a/2", "zwei€".encode())
        found, revision = await etcd.range("/a/")
        assert [(value.key, value.value) for value in found] == [("/a/1", b"one"), ("/a/2", "zwei€".encode())]
        done = await etcd.txn([created_is("/a/1", 0)], [put("/a/1", b"x")], [get("/a/1")])
        assert not done.succeeded
        assert done.found[0][0].value == b"one"
        watch = etcd.watch("/a/", revision + 1)
        waiting = asyncio.ensure_future(anext(watch))
        while not waiting.done():
            await etcd.put("/a/3", b"drei")
            await asyncio.sleep(0.02)
        changes, _ = waiting.result()
        while not changes:
            changes, _ = await anext(watch)
        assert (changes[0].key, changes[0].value and changes[0].value.value) == ("/a/3", b"drei")
        await watch.aclose()  # type: ignore[attr-defined]


async def test_a_lease_ends_with_its_keys(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        lease = await etcd.grant(30)
        await etcd.put("/l", b"", lease=lease)
        assert await etcd.keep_alive(lease) == 30
        await etcd.revoke(lease)
        assert await etcd.read("/l") is None
        assert await etcd.keep_alive(lease) == 0
        await etcd.revoke(lease)


async def test_nobody_there_is_told_with_every_node_s_fault() -> None:
    etcd = Etcd(["http://127.0.0.1:1", "http://127.0.0.1:2"])
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1.*127\.0\.0\.1:2") as caught:
        await etcd.put("/a", b"")
    assert not caught.value.sent
    await etcd.close()


async def test_a_state_is_written_and_read_by_the_next_owner(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        state = protected().state
        first = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
        assert await first.load(VENUE) == (None, Age.NEWEST)
        first.commit(some_state())
        await first.written()
        first.commit(document_of(state))
        waiting = [first.pending]
        await first.written()
        assert [*waiting, first.pending] == [True, False]
        second = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n2"), RULES.symbol)
        document, age = await second.load(state.venue)
        assert document is not None
        assert state_of(document).position == state.position
        assert age is Age.NEWEST


async def test_who_has_lost_the_account_writes_no_more_and_says_who_has_it(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        zombie = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
        zombie.commit(some_state())
        await zombie.written()
        owner = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n2"), RULES.symbol)
        zombie.commit(document_of(protected().state))
        with pytest.raises(Fenced, match="owned by n2"):
            await zombie.written()
        document, _ = await owner.load(VENUE)
        assert document is not None
        assert document.position is None
        await etcd.delete(KEYS.owner("alice"))
        owner.commit(some_state())
        for _ in range(2):  # and for good
            with pytest.raises(Fenced, match="owned by nobody"):
                await owner.written()


async def test_a_signal_is_gone_with_the_write_that_takes_it(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        store = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
        key = KEYS.signal("alice", RULES.symbol, "a")
        await etcd.put(key, b"{}")
        store.take([key])
        store.commit(some_state(), durable=False)
        assert store.pending
        await store.written()
        assert await etcd.read(key) is None


async def test_what_the_exchange_would_tell_again_may_wait(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        store = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
        store.commit(some_state(), durable=False)
        assert not store.pending
        assert await etcd.read(KEYS.state("alice", RULES.symbol)) is None
        await store.written()
        assert await etcd.read(KEYS.state("alice", RULES.symbol)) is not None


async def test_an_own_write_whose_answer_was_lost_is_found_and_gone_on_from(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        store = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
        store.commit(some_state())
        original = etcd.txn
        lost = [2]

        async def losing(*args: object) -> object:
            done = await original(*args)  # type: ignore[arg-type]
            if lost[0]:
                lost[0] -= 1
                raise Unreachable("lost", sent=True)
            return done

        etcd.txn = losing  # type: ignore[method-assign,assignment]
        with pytest.raises(StoreUnreachable):
            await store.written()
        store.commit(document_of(protected().state))
        with pytest.raises(StoreUnreachable):
            await store.written()
        await store.written()
        found = await etcd.read(KEYS.state("alice", RULES.symbol))
        assert found is not None
        assert b"protected" in found.value


@pytest.mark.parametrize(("failing", "patience_s", "read"), [(2, 10.0, True), (1000, 0.1, False)])
async def test_a_state_is_asked_for_again_while_etcd_elects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, patience_s: float, read: bool
) -> None:
    """An owner that dies together with etcd's leader: the account was down for five seconds after its take-over."""
    monkeypatch.setattr(fleet_store, "LOAD_WITHIN_S", patience_s)
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        owner = await claim(etcd, "n1")
        original, left = etcd.txn, [failing]

        async def txn(*args: object) -> object:
            if left[0]:
                left[0] -= 1
                raise Unreachable("etcdserver: leader changed", sent=True)
            return await original(*args)  # type: ignore[arg-type]

        etcd.txn = txn  # type: ignore[method-assign,assignment]
        store = FleetSymbolStore(etcd, KEYS, owner, RULES.symbol)
        with nullcontext() if read else pytest.raises(StoreUnreachable, match="leader changed"):
            assert await store.load_soon(VENUE) == (None, Age.NEWEST)


async def test_a_state_of_another_cluster_or_of_the_future_is_not_gone_on_from(tmp_path: Path) -> None:
    """A copy was put back: newer states may be lost, and another fleet may still trade."""
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        store = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
        store.commit(some_state())
        await store.written()
        key = KEYS.state("alice", RULES.symbol)
        found = await etcd.read(key)
        assert found is not None
        mine = envelope_in(found)
        for changed, why in (
            (replace(mine, cluster="another"), "another etcd cluster"),
            (replace(mine, epoch=mine.epoch + 1_000), "this cluster has only come to"),
        ):
            await etcd.put(key, msgspec.json.encode(changed))
            with pytest.raises(StateRestored, match=why):
                await FleetSymbolStore(etcd, KEYS, store.claim, RULES.symbol).load(VENUE)


async def test_a_node_suspended_since_its_claim_is_fenced_and_does_not_say_that_the_store_went_back(
    tmp_path: Path,
) -> None:
    """Its successor's state is of a later epoch than its own; an operator who is told of a restored store may well
    believe it.
    """
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        zombie = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
        owner = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n2"), RULES.symbol)
        owner.commit(some_state())
        await owner.written()
        with pytest.raises(Fenced, match="owned by n2"):
            await zombie.load(VENUE)


async def test_what_a_copy_of_the_store_takes_is_not_taken_where_the_account_is_owned(tmp_path: Path) -> None:
    """A copy that runs beside the store holds the same keys at the same revisions: one address of it among FLEET's."""
    async with running(tmp_path) as cluster, client(cluster) as etcd:
        elsewhere = replace(await claim(etcd, "n1"), cluster="another")
        store = FleetSymbolStore(etcd, KEYS, elsewhere, RULES.symbol)
        store.commit(some_state())
        with pytest.raises(Fenced, match="owned in another"):
            await store.written()
        with pytest.raises(Fenced, match="owned in another"):
            await FleetSymbolStore(etcd, KEYS, elsewhere, RULES.symbol).load(VENUE)


async def test_an_address_that_is_another_cluster_s_is_none_of_the_store_s(tmp_path: Path) -> None:
    """With its own members away, a node went over to it: leases and owners are others there, and all is free."""
    for name in "ab":
        (tmp_path / name).mkdir()
    async with running(tmp_path / "a", 1) as own, running(tmp_path / "b", 1) as other:
        etcd = Etcd([*own.endpoints, *other.endpoints])
        try:
            await etcd.put("/a", b"x")
            lease = await etcd.grant(10)
            watch = etcd.watch("/a", 1)
            await anext(watch)
            await own.nodes[0].kill()
            with pytest.raises(Unreachable, match="another cluster"):
                await etcd.read("/a")
            with pytest.raises(Unreachable, match="another cluster"):
                await etcd.keep_alive(lease)
            with pytest.raises(Unreachable, match="another cluster"):
                await etcd.grant(10)
            etcd._next = 1
            with pytest.raises(EtcdError, match="another cluster"):
                await anext(etcd.watch("/a", 1))
            await own.nodes[0].start(own.initial)
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert (await etcd.read("/a")) is not None
                        break
                    except Unreachable:
                        await asyncio.sleep(0.1)
        finally:
            await etcd.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_writes_go_on_when_the_leader_is_gone(tmp_path: Path, how: signal.Signals) -> None:
    async with running(tmp_path, 3) as cluster, client(cluster) as etcd:
        store = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
        (leader,) = [node for node in cluster.nodes if (await etcd.status(node.client)).leader]
        store.commit(some_state())
        await store.written()
        leader.send(how)
        async with asyncio.timeout(20):
            for _ in range(5):
                store.commit(some_state())
                while True:
                    try:
                        await store.written()
                        break
                    except StoreUnreachable:
                        await asyncio.sleep(0.1)
        assert store.took.count == 6
        leader.send(signal.SIGCONT)


async def test_without_a_majority_nothing_is_written(tmp_path: Path) -> None:
    async with running(tmp_path, 3) as cluster, client(cluster) as etcd:
        store = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
        store.commit(some_state())
        await store.written()
        for node in cluster.nodes[:2]:
            await node.kill()
        store.commit(some_state())
        with pytest.raises(StoreUnreachable):
            await store.written()
        for node in cluster.nodes[:2]:
            await node.start(cluster.initial)
        await cluster.wait_until_up()
        async with asyncio.timeout(20):
            while store.pending:
                try:
                    await store.written()
                except StoreUnreachable:
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def nodes(*handlers: Handler) -> AsyncIterator[list[str]]:
    """What stands where nodes of etcd should: the addresses."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(web.Server(each), "127.0.0.1", 0) for each in handlers]
    try:
        yield [f"http://127.0.0.1:{each.sockets[0].getsockname()[1]}" for each in servers]
    finally:
        for server in servers:
            server.close()


async def say_nothing(_request: web.BaseRequest) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits so long")


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """As a node does, whatever is asked."""
    text = '{"header":{"revision":"5"},"ID":"7","TTL":"5","result":{"ID":"7","TTL":"5"}}'
    return web.Response(text=text) if request.method == "POST" else web.Response(status=405)


async def test_a_watch_that_has_fallen_silent_is_ended() -> None:
    """A connection that is cut off without a word says nothing for ever."""
    async with nodes(say_nothing) as urls:
        etcd = Etcd(urls, silence_s=0.1)
        with pytest.raises(Unreachable):
            await anext(etcd.watch("/a/", 1))
        await etcd.close()


async def test_a_node_that_begins_no_watch_is_left_for_one_that_does() -> None:
    """One behind what holds an answer back until it is whole, say: each signal would wait for a silence's end."""

    async def begin_none(request: web.BaseRequest) -> web.StreamResponse:
        return await (say_nothing(request) if request.path == "/v3/watch" else answer(request))

    async with nodes(begin_none, tell) as urls:
        etcd = Etcd(urls, silence_s=0.1)
        with pytest.raises(Unreachable):
            await anext(etcd.watch("/a/", 1))
        assert await anext(etcd.watch("/a/", 1)) == ([], 5)
        await etcd.close()


async def test_a_watch_on_another_cluster_is_left_for_one_on_ours() -> None:
    async def say(request: web.BaseRequest, cluster: int) -> web.StreamResponse:
        text = f'{{"result":{{"header":{{"revision":"5","cluster_id":"{cluster}"}},"created":true}}}}\n'
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(text.encode())
        await asyncio.sleep(60)
        return response

    async with nodes(partial(say, cluster=1), partial(say, cluster=2), partial(say, cluster=1)) as urls:
        etcd = Etcd(urls, silence_s=0.1)
        assert await anext(etcd.watch("/a/", 1)) == ([], 5)
        etcd._turn(urls[0])
        with pytest.raises(Unreachable, match="another cluster"):
            await anext(etcd.watch("/a/", 1))
        assert await anext(etcd.watch("/a/", 1)) == ([], 5)
        await etcd.close()


@pytest.mark.parametrize(
    "other",
    [
        web.Response(status=404, text="404 page not found\n"),
        web.Response(status=403, text="<html>Forbidden</html>", content_type="text/html"),
        web.Response(status=401, text='{"error":"login"}', content_type="application/json"),
        web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}),
        web.Response(text="<html>Log in</html>", content_type="text/html"),
    ],
    ids=lambda each: f"{each.status}",
)
async def test_another_program_on_a_node_s_port_is_passed_by(other: web.Response) -> None:
    """A node without its gateway, a proxy's own page: a call that took its word for etcd's never came to another."""

    async def say(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=other.status, body=other.body, headers=other.headers)

    async with nodes(say, answer) as urls:
        etcd = Etcd(urls)
        await etcd.put("/a", b"x")
        assert await etcd.keep_alive(7) == 5
        assert etcd._endpoint() == urls[1]
        await etcd.close()


async def test_a_name_service_that_is_away_takes_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each watch that is begun anew wants a connection, and so a name: in half a minute etcd was out of reach."""
    released, real, asked = threading.Event(), socket.getaddrinfo, list[str]()

    def look_up(host: str, port: int, *rest: object) -> list[object]:
        if host != "etcd.test":
            return [*real(host, port, *rest)]  # type: ignore[arg-type]  # passed on as it came
        asked.append(host)
        if len(asked) > 1:
            released.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with nodes(answer) as urls:
        etcd = Etcd([urls[0].replace("127.0.0.1", "etcd.test")])
        await etcd.put("/a", b"x")
        connector = etcd._session.connector
        assert isinstance(connector, Connector)
        connector.clear_dns_cache()  # as after ten seconds
        try:
            await asyncio.gather(*(etcd.put("/a", b"x") for _ in range(3)))
        finally:
            released.set()
            await etcd.close()
        assert len(asked) == 2


async def test_what_etcd_itself_refuses_is_refused() -> None:
    async def refuse(_request: web.BaseRequest) -> web.StreamResponse:
        body = '{"error":"etcdserver: requested lease not found","code":5}'
        return web.Response(status=404, text=body)

    async with nodes(refuse, answer) as urls:
        etcd = Etcd(urls)
        with pytest.raises(Refused, match="requested lease not found"):
            await etcd.put("/a", b"x", lease=9)
        await etcd.close()


async def test_calls_that_meet_a_silent_node_at_once_leave_it_together() -> None:
    """Each of three turned to the next by itself: they came back to the silent one, all of them."""
    async with nodes(say_nothing, answer, answer) as urls:
        etcd = Etcd(urls, call_s=0.2)
        await asyncio.gather(*(etcd.put(f"/{n}", b"x") for n in range(3)))
        assert etcd._endpoint() == urls[1]
        await etcd.close()


async def tell(request: web.BaseRequest) -> web.StreamResponse:
    """A watch's first line, and no more."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"result":{"header":{"revision":"5"},"created":true}}\n')
    await asyncio.sleep(60)
    return response


async def test_what_a_node_that_died_was_to_tell_is_asked_of_another_soon_after_that_one_answers() -> None:
    """A machine that dies with its etcd says nothing of it: its accounts waited until the silence was noticed."""

    async def tell_and_die(request: web.BaseRequest) -> web.StreamResponse:
        return await (tell(request) if request.path == "/v3/watch" else say_nothing(request))

    async with nodes(tell_and_die, answer) as urls:
        etcd = Etcd(urls, silence_s=60)
        watch = etcd.watch("/a/", 1)
        assert await anext(watch) == ([], 5)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        assert await etcd.keep_alive(7, within=0.2) == 5
        with pytest.raises(Unreachable):
            async with asyncio.timeout(5):
                await waiting
        assert etcd._endpoint() == urls[1]
        await etcd.close()


async def test_a_node_that_was_only_slow_once_keeps_its_watches() -> None:
    """On an overloaded machine every watch would be begun anew, again and again."""
    calls = list[str]()

    async def slow_once(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/v3/watch":
            return await tell(request)
        calls.append(request.path)
        return await (say_nothing(request) if len(calls) == 1 else answer(request))

    async with nodes(slow_once, answer) as urls:
        etcd = Etcd(urls, silence_s=60)
        watch = etcd.watch("/a/", 1)
        assert await anext(watch) == ([], 5)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        assert await etcd.keep_alive(7, within=0.2) == 5
        while etcd._doubted:
            await asyncio.gather(*etcd._doubted.values())
        assert calls == ["/v3/lease/keepalive", "/v3/kv/range"]
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await etcd.close()
