"""Whatever a node of etcd says, and whatever lies in the store: it is read, or told as what it is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Self

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.build import RULES
from tests.hostile import bodies, noise

from executor.core.model.state import SCHEMA_VERSION
from executor.core.transition import empty
from executor.service.fleet.view import View
from executor.service.store import codec
from executor.service.store.document import document_of
from executor.service.store.etcd import Change, Etcd, EtcdError, Unreachable, Value, created_is, get, put
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Envelope, document_in
from executor.service.store.state_store import StateError, pack

HEADER: Final = (
    b'{"cluster_id":"14841639068965178418","member_id":"10276657743932975437","revision":"5","raft_term":"2"}'
)
KV: Final = b'{"key":"L2E=","create_revision":"2","mod_revision":"3","version":"1","value":"b25l","lease":"7"}'
RANGED: Final = b'{"header":%s,"kvs":[%s],"count":"1"}' % (HEADER, KV)
ANSWERS: Final[dict[str, tuple[Callable[[Etcd], Awaitable[Any]], bytes]]] = {
    "range": (lambda etcd: etcd.range("/a"), RANGED),
    "txn": (
        lambda etcd: etcd.txn([created_is("/a", 0)], [put("/a", b"x"), get("/b")]),
        b'{"header":%s,"succeeded":true,"responses":[{"response_put":{"header":{}}},{"response_range":%s}]}'
        % (HEADER, RANGED),
    ),
    "put": (lambda etcd: etcd.put("/a", b"x"), b'{"header":%s}' % HEADER),
    "delete": (lambda etcd: etcd.delete("/a"), b'{"header":%s,"deleted":"1"}' % HEADER),
    "grant": (lambda etcd: etcd.grant(5), b'{"header":%s,"ID":"7587870461871290651","TTL":"5"}' % HEADER),
    "keep alive": (lambda etcd: etcd.keep_alive(7), b'{"result":{"header":%s,"ID":"7","TTL":"5"}}' % HEADER),
    "revoke": (lambda etcd: etcd.revoke(7), b'{"header":%s}' % HEADER),
    "members": (
        lambda etcd: etcd.members(),
        b'{"header":%s,"members":[{"ID":"9","name":"n1","peerURLs":["x"],"clientURLs":["http://h:1"]}]}' % HEADER,
    ),
    "status": (
        lambda etcd: etcd.status("http://node"),
        b'{"header":%s,"version":"3.5.9","dbSize":"24576","leader":"10276657743932975437","raftTerm":"2"}' % HEADER,
    ),
    "alarms": (lambda etcd: etcd.alarms(), b'{"header":%s,"alarms":[{"memberID":"1","alarm":"NOSPACE"}]}' % HEADER),
}
WATCHED: Final = b'{"result":{"header":%s,"watch_id":"0","events":[{"type":"DELETE","kv":%s},{"kv":%s}]}}' % (
    HEADER,
    KV,
    KV,
)


class Node:
    """A session whose one node answers each request so."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers = {"Date": ""}
        self._body = body
        self.content = self

    def post(self, *_: object, **__: object) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def read(self) -> bytes:
        return self._body

    async def iter_any(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 50):
            yield self._body[start : start + 50]

    async def close(self) -> None:
        return None


async def asked(ask: Callable[[Etcd], Awaitable[Any]], status: int, body: bytes) -> Any:
    etcd = Etcd(["http://node"])
    await etcd.close()
    etcd._session = Node(status, body)  # type: ignore[assignment]
    return await ask(etcd)


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_sound_is_read(name: str) -> None:
    asyncio.run(asked(*ANSWERS[name][:1], 200, ANSWERS[name][1]))


@pytest.mark.parametrize("name", ANSWERS)
@settings(max_examples=60)
@given(data=st.data())
def test_whatever_a_node_answers_it_is_read_or_can_not_be_used(name: str, data: st.DataObject) -> None:
    ask, sound = ANSWERS[name]
    body = data.draw(bodies(sound))
    status = data.draw(st.sampled_from([200, 200, 200, 400, 404, 500, 503]))
    with contextlib.suppress(EtcdError):
        found = asyncio.run(asked(ask, status, body))
        msgspec.json.encode(found)


@pytest.mark.parametrize("name", ["txn", "put", "grant"])
@given(body=noise)
def test_of_a_change_whose_answer_can_not_be_read_nobody_says_that_it_was_not_made(name: str, body: bytes) -> None:
    with contextlib.suppress(Unreachable):
        asyncio.run(asked(ANSWERS[name][0], 200, body))
        return
    with pytest.raises(Unreachable) as caught:
        asyncio.run(asked(ANSWERS[name][0], 200, body))
    assert caught.value.sent


@pytest.mark.parametrize("body", [b'{"succeeded":true}', b'{"header":{"revision":"0"},"succeeded":true}', b"{}"])
def test_a_claim_without_a_revision_is_no_claim(body: bytes) -> None:
    """Its epoch would be 0, as everybody's before there was any."""
    with pytest.raises(Unreachable):
        asyncio.run(asked(ANSWERS["txn"][0], 200, body))


@pytest.mark.parametrize("name", ["range", "txn"])
def test_keys_that_were_found_and_are_not_told_are_not_keys_that_are_not_there(name: str) -> None:
    """A state that is not there makes its account one without a trade."""
    ask, sound = ANSWERS[name]
    with pytest.raises(Unreachable):
        asyncio.run(asked(ask, 200, sound.replace(b'"kvs"', b'"others"')))
    asyncio.run(asked(ask, 200, sound.replace(b'"kvs":[%s],"count":"1"' % KV, b'"count":"0"')))


def test_a_lease_of_which_nothing_is_said_is_not_one_that_is_gone() -> None:
    with pytest.raises(Unreachable):
        asyncio.run(asked(ANSWERS["keep alive"][0], 200, b"{}"))
    assert asyncio.run(asked(ANSWERS["keep alive"][0], 200, b'{"result":{"ID":"7"}}')) == 0


@pytest.mark.parametrize("told", [b'{"ID":"8"}', b'{"ID":"8","TTL":"5"}', b"{}", b'{"TTL":"5"}'])
def test_a_lease_is_neither_gone_nor_renewed_by_what_is_told_of_another(told: bytes) -> None:
    with pytest.raises(Unreachable, match="not of 7"):
        asyncio.run(asked(ANSWERS["keep alive"][0], 200, b'{"result":%s}' % told))


@pytest.mark.parametrize("ttl", [b"", b',"TTL":"0"', b',"TTL":"4"', b',"TTL":"172800"'])
def test_a_lease_of_another_length_is_not_the_one_that_was_asked_for(ttl: bytes) -> None:
    with pytest.raises(Unreachable, match="granted"):
        asyncio.run(asked(ANSWERS["grant"][0], 200, b'{"header":%s,"ID":"7"%s}' % (HEADER, ttl)))
    assert asyncio.run(asked(ANSWERS["grant"][0], 200, b'{"ID":"7","TTL":"7"}')) == 7


@settings(max_examples=100)
@given(st.lists(bodies(WATCHED), max_size=3))
def test_whatever_a_watch_tells_it_ends_by_what_etcd_s_errors_are(lines: list[bytes]) -> None:
    async def watched(etcd: Etcd) -> None:
        async for _ in etcd.watch("/a", 1):
            pass

    with pytest.raises(EtcdError):
        asyncio.run(asked(watched, 200, b"\n".join([*lines, b""])))


KEYS: Final = Keys("f")
INFO: Final = b'{"name":"n1","pid":1,"accounts":["a"]}'


@settings(max_examples=150)
@given(
    st.sampled_from([KEYS.owner("a"), KEYS.node("n"), KEYS.drain("n"), KEYS.want("a"), KEYS.generation, KEYS.control]),
    bodies(INFO) | st.binary(max_size=30),
)
def test_whatever_lies_in_the_store_the_view_goes_on(key: str, value: bytes) -> None:
    view = View(KEYS)
    view.take(Change(key, Value(key, value, 1, 2)), 1.0)
    view.take(Change(key, None), 2.0)


STATE: Final = codec.encode(
    Envelope(1, 1, "n1", "c", msgspec.Raw(pack(document_of(empty(RULES.symbol, "v")), SCHEMA_VERSION)[0]))
)


def test_a_state_in_the_store_is_read() -> None:
    assert document_in(Value("/k", STATE, 1, 2)).symbol == RULES.symbol


@settings(max_examples=100)
@given(bodies(STATE))
def test_whatever_lies_in_the_place_of_a_state_it_is_one_or_none(value: bytes) -> None:
    with contextlib.suppress(StateError):
        document_in(Value("/k", value, 1, 2))
