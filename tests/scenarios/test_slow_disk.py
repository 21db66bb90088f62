"""A disk that takes seconds for each sync: what was stamped before a state was written is old when it is (8.3d)."""

from pathlib import Path

import pytest
from tests.scenarios.harness import OCO_WORLDS, Harness, World, harness

from executor.files import RealFileSystem


def slow_down(b: Harness, patch: pytest.MonkeyPatch, ms: int) -> None:
    """Each sync on which orders wait takes `ms` of market time."""
    overwrite = RealFileSystem.overwrite

    def slow(self: RealFileSystem, path: Path, offset: int, data: bytes, *, synced: bool) -> None:
        overwrite(self, path, offset, data, synced=synced)
        if synced:
            b.clock.advance_to(b.clock.now_ms() + ms)

    patch.setattr(RealFileSystem, "overwrite", slow)


@pytest.mark.parametrize("ms", [1_000, 3_000, 8_000])
@pytest.mark.parametrize("world", OCO_WORLDS, ids=str)
async def test_orders_leave_however_slow_it_is(
    tmp_path: Path, world: World, ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness(tmp_path, world, LIVE_ENTRY_TIMEOUT_SEC="600") as b:
        await b.enter()
        with monkeypatch.context() as patch:
            slow_down(b, patch, ms)
            await b.move(1, then=0)
            for _ in range(30):
                await b.settle()
                await b.breathe()
                b.clock.advance_to(b.clock.now_ms() + 1_000)
            assert b.roles() == ["SL", "SL2", "TP2"], b.story()
            assert len(b.stops()) == 1, b.story()
            assert b.stops() != {b.at(-1)}, b.story()
