"""A process of several accounts ends itself when it hangs, where systemd does not watch it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from executor.config import load_settings
from executor.service import accounts
from executor.service.account import AccountRun
from executor.service.accounts import _Inlet, _Kept, _Process, run_accounts
from executor.service.fleet.node import FleetNode
from executor.service.systemd import SystemdNotifier


class Watch:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.beats = 0
        self.stopped = False
        made.append(self)

    def alive(self) -> None:
        assert not self.stopped
        self.beats += 1

    def stop(self) -> None:
        self.stopped = True


made: list[Watch] = []


@pytest.mark.parametrize("watched", [False, True])
async def test_it_watches_itself_where_nobody_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, watched: bool
) -> None:
    monkeypatch.setattr(accounts, "SelfWatchdog", Watch)
    made.clear()

    async def main() -> None:
        await asyncio.sleep(0.3)

    process = _Process(dict, lambda: None, tmp_path / "accounts.hang")
    process._notifier = SystemdNotifier("", 0.2 if watched else 0.0)
    await process.run([main])
    if watched:
        assert made == []
    else:
        assert [(each.path, each.beats, each.stopped) for each in made] == [(tmp_path / "accounts.hang", 1, True)]


async def test_what_was_left_bare_is_not_forgotten_for_a_start_that_came_to_nothing(tmp_path: Path) -> None:
    """The account died with a position bare, and was told to end while it was begun anew: the exit code was 0."""

    class Dies(AccountRun):
        async def run(self) -> None:
            self.ended_bare = True
            raise ArithmeticError("a defect")

    class GivenUp(AccountRun):
        async def run(self) -> None:
            kept.stop()

    settings = load_settings({"STATE_FN": str(tmp_path / "state.json")}, env_file=None)
    runs = iter([Dies(settings), GivenUp(settings)])
    kept = _Kept(settings, lambda: next(runs))
    await asyncio.wait_for(kept.keep(), 10)
    assert next(runs, None) is None
    assert kept.ended_bare


async def test_so_it_is_told_of_a_node_of_a_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one leaves it to nobody."""
    keys = {"BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s", "BINANCE_ENV": "testnet", "SYMBOL": "LTCUSDT"}
    environ = {**keys, "FLEET": "etcd://127.0.0.1:1", "HTTP_PORT": "0"}
    settings = load_settings({**environ, "STATE_FN": str(tmp_path / "{symbol}.json")}, env_file=None)

    async def run(node: FleetNode) -> None:
        node.left_bare = {"alice"} if left else set()

    monkeypatch.setattr(FleetNode, "run", run)
    for left in (True, False):
        assert await run_accounts(settings, {"alice": settings}) is left


def test_a_signal_without_a_time_is_of_the_exchange_s_time_where_an_account_is_traded() -> None:
    """The machine's own clock may be wrong by hours."""

    class At:
        def __init__(self, now: int) -> None:
            self._now = now

        def now(self) -> int:
            return self._now

    loops: dict[str, dict[str, Any]] = {"alice": {}, "bob": {"LTCUSDT": At(1_750_000_000_000)}}
    assert _Inlet(lambda: loops).now() == 1_750_000_000_000
    loops.clear()
    assert abs(_Inlet(lambda: loops).now() - time.time() * 1000) < 60_000
