"""A process of several accounts ends itself when it hangs, where systemd does not watch it."""

import asyncio
from pathlib import Path

import pytest

from executor.service import accounts
from executor.service.accounts import _Process
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
