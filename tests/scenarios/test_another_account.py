"""Started with the key of another account than the one whose trade its state holds."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.scenarios.harness import OCO_WORLDS, OTHER, World, harness

from executor.core.model.state import SCHEMA_VERSION, Reason
from executor.core.model.values import Direction
from executor.service.store.state_store import StateForeign, seal

WORLDS = [*OCO_WORLDS, World(Direction.SHORT, "OCO", pushes=True, margin="cross")]


@pytest.mark.parametrize("world", WORLDS, ids=str)
async def test_a_state_is_not_used_with_the_key_of_another_account(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        await b.enter()
        standing = b.standing()
        await b.stop()
        with pytest.raises(StateForeign, match=r"it is of account \d+, the key is of account"):
            await b.start(BINANCE_API_KEY=OTHER, BINANCE_API_SECRET=OTHER)
        await b.settle()
        assert b.engine.all_orders(OTHER, b.symbol, limit=1000) == []
        assert b.standing() == standing
        await b.start()
        await b.move("-1.2")
        await b.ends(Reason.SL)


async def test_a_state_without_a_number_takes_the_one_of_its_account(tmp_path: Path) -> None:
    """Of a version before, or begun while the account could not be read."""
    async with harness(tmp_path, OCO_WORLDS[0]) as b:
        await b.enter()
        await b.stop()
        nameless = seal(replace(b.on_disk(), uid=0), SCHEMA_VERSION)
        b.settings().state_path(b.symbol).write_bytes(nameless)
        await b.start()
        await b.move("-1.2")
        await b.ends(Reason.SL)
        assert b.on_disk().uid
