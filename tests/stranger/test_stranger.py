"""The real daemon on an exchange that shares no code with ours, written from the documents alone."""

from pathlib import Path

import pytest
from tests.stranger.run import Run


@pytest.mark.parametrize(("seed", "transport", "layout"), [(11, "ws", "OCO"), (12, "rest", "PLAIN")])
async def test_trades_end_flat_on_a_stranger(tmp_path: Path, seed: int, transport: str, layout: str) -> None:
    run = Run(seed, tmp_path, storm=0.1, transport=transport, layout=layout)
    await run.run(trades=2, kills=1)
    told = run.told()
    assert run.faults == [], told
    assert sum(run.ended.values()) == 2, told
