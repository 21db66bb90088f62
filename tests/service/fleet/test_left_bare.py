"""What a node leaves without a stop when it ends (rule 9.5)."""

import asyncio
import contextlib

import pytest
from tests.service.fleet.test_reach import node

from executor.service.fleet.node import FleetNode
from executor.service.loop import Loop
from executor.service.store.etcd import Change, Value
from executor.service.store.fleet_store import Claim
from executor.service.store.port import Fenced


class Ends:
    """A run that ends at once: with something `bare` or not, or before it has traded."""

    def __init__(self, *, bare: bool | None, error: BaseException | None = None) -> None:
        self.loops: dict[str, Loop] = {}
        self.ended_bare = bare
        self._error = error

    def stop(self) -> None:
        raise AssertionError

    async def run(self) -> None:
        if self._error is not None:
            raise self._error


def owned_by(found: FleetNode, name: str) -> None:
    """The store tells who owns the account now."""
    key = found.keys.owner("alice")
    found.membership.view.take(Change(key, Value(key, name.encode(), 2, 2)), 0.0)
    found.membership._changed()


@pytest.mark.parametrize("error", [None, ArithmeticError("a defect"), asyncio.CancelledError()])
async def test_it_is_known_until_another_node_owns_the_account(error: BaseException | None) -> None:
    """The last node of a fleet that ended with a position bare ended with exit code 0; then only where the run had to
    be cut off, or the lease was over.
    """
    claim = Claim("alice", "n1", 1, "c")
    async with node() as found:
        await end(found, claim, Ends(bare=True, error=error))
        owned_by(found, "n1")
        await found._carry(claim, Ends(bare=None))  # begun anew, and told to end before it traded
        assert found.left_bare == {"alice"}
        await found._carry(claim, Ends(bare=False))
        assert found.left_bare == set()
        await end(found, claim, Ends(bare=True, error=error))
        owned_by(found, "n2")
        assert found.left_bare == set()
        await end(found, claim, Ends(bare=True, error=error))
        assert found.left_bare == set()


async def end(found: FleetNode, claim: Claim, run: Ends) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await found._carry(claim, run)


async def test_what_another_node_has_taken_over_is_not_left() -> None:
    async with node() as found:
        owned_by(found, "n2")
        await found._carry(Claim("alice", "n1", 1, "c"), Ends(bare=True, error=Fenced("n2 owns it")))
        assert found.left_bare == set()
