"""Answers of etcd to another question than was asked: proxies and reused connections bring such. What is not known to
be written counts as not written (rule 8.1).
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.core.build import RULES, protected
from tests.fleet.cluster import needs_etcd, running
from tests.fleet.test_etcd import KEYS, VENUE, claim, some_state

from executor.service.store.document import document_of
from executor.service.store.etcd import Etcd
from executor.service.store.fleet_store import FleetSymbolStore, StoreUnreachable

T = TypeVar("T")


async def test_what_comes_unasked_over_a_connection_answers_nothing() -> None:
    """Each request is answered, and answered once more a little later."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-len"))
                key = json.loads(await reader.readexactly(length))["key"]
                body = json.dumps({"header": {"revision": "5"}, "kvs": [{"key": key}]}).encode()
                for pause in (0.0, 0.02):
                    await asyncio.sleep(pause)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        etcd = Etcd([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"])
        try:
            for key in ("/a", "/b", "/c"):
                found = await etcd.read(key)
                assert found is not None
                assert found.key == key
                await asyncio.sleep(0.05)
        finally:
            await etcd.close()


class Echo(Etcd):
    """While `again`, each transaction is answered as the one before it was, and is not carried out."""

    again = False
    _last: Any = None

    async def _ask(
        self, url: str, path: str, message: Mapping[str, Any], kind: type[T], within: float | None = None
    ) -> T:
        if path == "kv/txn" and self.again:
            assert isinstance(self._last, kind)
            return self._last
        told = await super()._ask(url, path, message, kind, within)
        if path == "kv/txn":
            self._last = told
        return told


@needs_etcd
@pytest.mark.parametrize("before", ["another's", "its own"])
async def test_no_answer_to_another_write_says_that_a_state_is_written(tmp_path: Path, before: str) -> None:
    async with running(tmp_path) as cluster:
        etcd = Echo(cluster.endpoints)
        try:
            store = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
            other = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1", "bob"), RULES.symbol)
            store.commit(some_state())
            await store.written()
            if before == "another's":
                other.commit(some_state())
                await other.written()
            etcd.again = True
            state = protected().state
            store.commit(document_of(state))
            with pytest.raises(StoreUnreachable, match="something else"):
                await store.written()
            assert store.pending
            etcd.again = False
            await store.written()
            document, _ = await store.load(state.venue)
            assert document is not None
            assert document.position == state.position
        finally:
            await etcd.close()


@needs_etcd
async def test_no_answer_about_another_account_takes_one_away(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        etcd = Echo(cluster.endpoints)
        try:
            store = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1"), RULES.symbol)
            store.commit(some_state())
            await store.written()
            other = FleetSymbolStore(etcd, KEYS, await claim(etcd, "n1", "bob"), RULES.symbol)
            await other.load(VENUE)
            etcd.again = True
            store.commit(some_state())
            with pytest.raises(StoreUnreachable):
                await store.written()
            with pytest.raises(StoreUnreachable, match="something else"):
                await store.load(VENUE)
            etcd.again = False
            await store.written()
        finally:
            await etcd.close()
