"""The real daemon on an exchange that shares no code with ours, written from the documents alone."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.stranger.mood import QUOTE
from tests.stranger.run import Run


@pytest.mark.parametrize(("seed", "transport", "layout"), [(11, "ws", "OCO"), (12, "rest", "PLAIN")])
async def test_trades_end_flat_on_a_stranger(tmp_path: Path, seed: int, transport: str, layout: str) -> None:
    run = Run(seed, tmp_path, storm=0.1, transport=transport, layout=layout)
    await run.run(trades=2, kills=1)
    told = run.told()
    assert not run.faults, (run.faults, told)
    # One of the two may be refused, for what befalls the exchange; the first comes before any of it.
    journal = (tmp_path / "state.journal.jsonl").read_text("utf-8")
    assert all(f'"key":"{signal}"' in journal for signal in ("s0", "s1")), told
    assert '"signal":"s0"' in (tmp_path / "state.trades.jsonl").read_text("utf-8"), told


async def test_a_trade_on_borrowed_money_owes_nothing_in_the_end(tmp_path: Path) -> None:
    run = Run(16, tmp_path, storm=0.1, transport="rest", layout="OCO", margin=True)
    assert run.lender is not None
    run.lender.mood.no_stock = 0.0
    run.book.free[QUOTE] = Decimal(220)  # less than a trade takes, long or short
    await run.run(trades=1, kills=1)
    told = run.told()
    assert not run.faults, (run.faults, told)
    assert sum(run.lender.lent.values()) == 1, told
