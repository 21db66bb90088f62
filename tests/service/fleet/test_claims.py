"""What a node does about the accounts, from what it sees: pure decisions."""

from typing import Any

import msgspec

from executor.service.fleet import claims
from executor.service.fleet.claims import RANK_S, SETTLED_S, Held
from executor.service.fleet.view import NodeInfo, View
from executor.service.store.etcd import Change, Value
from executor.service.store.fleet_keys import Keys

KEYS = Keys("test")
LEASE = 7
NOW_MS = 1_000_000.0


def view(*nodes: str, **more: Any) -> View:
    found = View(KEYS)
    for name in nodes:
        info = NodeInfo(node=name, host="h", pid=1, version="1", started=0, accounts=("alice",), **more)
        found.take(Change(KEYS.node(name), Value(KEYS.node(name), msgspec.json.encode(info), 1, 1)), 0.0)
    return found


def owns(found: View, node: str, epoch: int, lease: int = LEASE) -> None:
    key = KEYS.owner("alice")
    found.take(Change(key, Value(key, node.encode(), epoch, epoch, lease)), 0.0)


def freed(found: View, at: float) -> None:
    found.take(Change(KEYS.owner("alice"), None), at)


def test_each_next_in_line_waits_a_little_longer_and_who_cannot_is_not_in_line() -> None:
    found = view("a", "b", "c")
    owns(found, "x", 5)
    assert all(not claims.claimable(found, name, ["alice"], {}) for name in "abc")
    freed(found, 100.0)
    turns = {name: claims.claimable(found, name, ["alice"], {})["alice"] for name in "abc"}
    assert sorted(turns.values()) == [100.0, 100.0 + RANK_S, 100.0 + 2 * RANK_S]
    assert [min(turns, key=lambda name: turns[name])] == found.ranking("alice")[:1]
    assert claims.claimable(found, "d", ["alice"], {}) == {}
    assert claims.claimable(found, "a", ["bob"], {}) == {}
    assert claims.claimable(found, "a", ["alice"], {"alice": 300.0}) == {"alice": 300.0}
    assert claims.claimable(view("a", reachable=False), "a", ["alice"], {}) == {}
    assert claims.claimable(view("a", draining=True), "a", ["alice"], {}) == {}


def test_what_is_ours_by_the_store_s_word_alone_is_given_back() -> None:
    found = view("a", "b")
    owns(found, "a", 5)
    assert claims.forsaken(found, "a", LEASE, {"alice"}) == {}
    assert claims.forsaken(found, "a", LEASE, set())["alice"].epoch == 5
    assert claims.forsaken(found, "b", LEASE, set()) == {}


def test_what_hangs_on_the_lease_of_an_earlier_life_ends_with_it() -> None:
    found = view("a")
    owns(found, "a", 5, lease=LEASE + 1)
    assert claims.forsaken(found, "a", LEASE, set()) == {}


def test_only_who_has_a_later_epoch_makes_us_let_go() -> None:
    found, held = view("a", "b"), {"alice": Held(5, flat=False, releasing=False)}
    assert claims.outdated(found, held) == {}
    owns(found, "a", 5)
    assert claims.outdated(found, held) == {}
    owns(found, "b", 4)
    assert claims.outdated(found, held) == {}
    owns(found, "b", 6)
    assert claims.outdated(found, held)["alice"].node == "b"


def test_a_trade_is_moved_only_by_a_node_that_drains() -> None:
    found = view("a", "b")
    first, second = found.ranking("alice")

    def goes(node: str, held: Held, *, draining: bool = False, at_ms: float = NOW_MS) -> bool:
        return bool(claims.to_give_away(found, node, {"alice": held}, draining=draining, at_ms=at_ms))

    flat, trading, leaving = Held(5, True, False), Held(5, False, False), Held(5, True, True)
    assert goes(second, flat)
    assert not goes(second, flat, at_ms=SETTLED_S * 1000)
    assert not goes(second, trading)
    assert goes(second, trading, draining=True)
    assert not goes(second, leaving, draining=True)
    assert not goes(first, flat)
    assert goes(first, trading, draining=True)
    found.wanted["alice"] = second
    assert goes(first, flat, at_ms=0)


def test_a_node_that_is_alone_keeps_its_accounts_even_draining() -> None:
    found = view("a")
    assert claims.to_give_away(found, "a", {"alice": Held(5, True, False)}, draining=True, at_ms=NOW_MS) == []


def test_a_node_whose_loops_all_hang_does_not_renew() -> None:
    assert claims.renews(0, 0)
    assert claims.renews(2, 1)
    assert not claims.renews(2, 2)


def test_what_is_read_anew_replaces_all_and_says_what_has_become_free() -> None:
    found = view("a", "b")
    owns(found, "b", 5)
    found.drained.add("b")
    found.wanted["alice"] = "b"
    found.read_anew([], 50.0)
    assert (found.nodes, found.owners, found.drained, found.wanted) == ({}, {}, set(), {})
    assert found.free_since == {"alice": 50.0}
    found.read_anew([], 60.0)
    assert found.free_since == {"alice": 50.0}


def test_machines_that_would_trade_an_account_otherwise_are_named() -> None:
    found = View(KEYS)
    for name, digest in (("a", "1"), ("b", "2"), ("c", "1")):
        info = NodeInfo(node=name, host="h", pid=1, version="1", started=0, digests={"alice": digest})
        found.take(Change(KEYS.node(name), Value(KEYS.node(name), msgspec.json.encode(info), 1, 1)), 0.0)
    assert found.differing("alice") == ["b"]
    owns(found, "b", 3)
    assert found.differing("alice") == ["a", "c"]
    assert found.differing("bob") == []
    found.take(Change(KEYS.node("c"), None), 0.0)
    assert found.differing("alice") == ["a"]
    found.read_anew([], 0.0)
    assert found.differing("alice") == []


def test_a_node_that_is_to_be_drained_is_fit_for_nothing_before_it_has_said_so_itself() -> None:
    found = view("a", "b")
    key = KEYS.drain("b")
    found.take(Change(key, Value(key, b"", 3, 3)), 0.0)
    assert found.ranking("alice") == ["a"]
    freed(found, 100.0)
    assert claims.claimable(found, "b", ["alice"], {}) == {}
    found.take(Change(key, None), 0.0)
    assert set(found.ranking("alice")) == {"a", "b"}
