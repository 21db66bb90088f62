"""The same recording and signals give the same trades, whatever the machine is doing meanwhile."""

import gzip
from decimal import Decimal
from pathlib import Path

import pytest
from tests.scenarios.test_bad_input import executor

from executor.core.model.state import Closed
from executor.paper.replay.recording import demo_signals, demo_trades
from executor.service.store.trades import read_trades

UNTIL_MS = 1_750_532_400_000 + 36 * 60_000
"""The recording's first 36 minutes: two signals, the second of which is open when it ends."""


def cut(folder: Path) -> Path:
    """The beginning of the recording that ships with the package."""
    path = folder / "LTCUSDT-cut.csv"
    with gzip.open(demo_trades().path, "rt", encoding="utf-8") as whole:
        header, *rows = whole.readlines()
    path.write_text(header + "".join(row for row in rows if int(row.partition(",")[0]) < UNTIL_MS), "utf-8")
    return path


def run(folder: Path, recording: Path, pushes: str) -> list[Closed]:
    folder.mkdir()
    signals = folder.parent / "two.jsonl"
    signals.write_text("".join(demo_signals().read_text("utf-8").splitlines(keepends=True)[:2]), "utf-8")
    done = executor(
        folder,
        PAPER_RECORDING=str(recording),
        PAPER_SIGNALS=str(signals),
        PAPER_BALANCES="USDT=10000,LTC=50",
        ALLOW_SHORT="true",
        USER_STREAM=pushes,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "invariant_broken" not in done.stderr
    return list(read_trades(folder / "state.trades.jsonl"))


@pytest.mark.parametrize("pushes", ["true", "false"], ids=["push", "poll"])
def test_two_runs_give_the_same_trades(tmp_path: Path, pushes: str) -> None:
    recording = cut(tmp_path)
    first = run(tmp_path / "first", recording, pushes)
    second = run(tmp_path / "second", recording, pushes)
    assert len(first) == 2
    assert first == second
    assert all(trade.qty > Decimal(0) for trade in first[:1])
