"""A node that alone can't reach the exchange gives its accounts away; where nobody can, nothing moves (rule 14)."""

import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from executor.config import load_settings
from executor.service.fleet.node import FleetNode
from executor.service.fleet.reach import Reach
from executor.service.fleet.view import NodeInfo
from executor.service.store.etcd import Change, Etcd, Value

SETTINGS = {
    "BINANCE_ENV": "testnet",
    "BINANCE_API_KEY": "k",
    "BINANCE_API_SECRET": "s",
    "SYMBOL": "LTCUSDT",
    "FLEET": "etcd://127.0.0.1:1",
    "FLEET_NODE": "n1",
}


@contextlib.asynccontextmanager
async def node() -> AsyncIterator[FleetNode]:
    etcd = Etcd(["http://127.0.0.1:1"])
    settings = load_settings(SETTINGS, None)

    def no_run(*_: object) -> None:
        raise AssertionError

    def no_probe() -> contextlib.AbstractAsyncContextManager[Reach]:
        raise AssertionError

    try:
        yield FleetNode(settings, ["alice"], etcd, no_run, no_probe)  # type: ignore[arg-type]
    finally:
        await etcd.close()


def other(found: FleetNode, *, reaches: bool) -> None:
    """What n2 says of itself."""
    info = NodeInfo(node="n2", host="h", pid=1, version="1", started=0, accounts=("alice",), reachable=reaches)
    key = found.keys.node("n2")
    found.membership.view.take(Change(key, Value(key, msgspec.json.encode(info), 1, 1)), 0.0)


async def test_it_says_so_after_five_seconds_and_gives_away_after_ten() -> None:
    async with node() as found:
        other(found, reaches=True)
        for silent, reachable, draining in ((4.0, True, False), (6.0, False, False), (10.5, False, True)):
            found._judge_reach(silent)
            assert (found._reachable, found.draining) == (reachable, draining), silent
        found._judge_reach(0.5)
        assert (found._reachable, found.draining) == (True, False)


async def test_where_the_others_do_not_reach_it_either_nothing_moves_and_what_moves_stops() -> None:
    async with node() as found:
        other(found, reaches=False)
        found._judge_reach(60.0)
        assert (found._reachable, found.draining) == (False, False)
        other(found, reaches=True)
        found._judge_reach(62.0)
        assert found.draining
        other(found, reaches=False)
        found._judge_reach(64.0)
        assert not found.draining


async def test_other_settings_elsewhere_are_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    async with node() as found:
        found.owned["alice"] = None  # type: ignore[assignment]
        for name, digest in (("n1", "1"), ("n2", "2")):
            info = NodeInfo(node=name, host="h", pid=1, version="1", started=0, digests={"alice": digest})
            key = found.keys.node(name)
            found.membership.view.take(Change(key, Value(key, msgspec.json.encode(info), 1, 1)), 0.0)
        own = found.keys.owner("alice")
        found.membership.view.take(Change(own, Value(own, b"n1", 3, 3)), 0.0)
        found._compare_settings()
        found._compare_settings()
        assert capsys.readouterr().out.count("n2 would trade alice with other settings than n1 does") == 1
