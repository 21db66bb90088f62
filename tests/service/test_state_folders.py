"""Two processes of several accounts don't share what is beside the states: the second is told so, and what to set."""

import os
from pathlib import Path

import pytest
from tests.config.test_accounts import URLS, load, write

from executor.config import Settings, load_settings
from executor.ops.alerting import outbox_of
from executor.service.accounts import run_accounts
from executor.service.state_folders import alone
from executor.service.store.lock import LockError, LockUnusable

KEYS = {"BINANCE_API_KEY": "a", "BINANCE_API_SECRET": "s"}


def accounts(folder: Path, **more: str) -> dict[str, Settings]:
    for name in ("alice", "bob"):
        write(folder / "accounts", name, BINANCE_API_KEY=name, BINANCE_API_SECRET="s", SYMBOL="LTCUSDT")
    place = str(folder / "state" / "{account}" / "{symbol}.json")
    return load(folder / "accounts", STATE_FN=place, QTY="3", **more)


def of_all(**more: str) -> Settings:
    return load_settings({**URLS, "SYMBOL": "LTCUSDT", "QTY": "3", **KEYS, **more}, None)


FILES = of_all()
FLEET = of_all(FLEET="etcd://127.0.0.1:9", FLEET_NODE="n1", FLEET_NAME="test")


async def test_a_second_node_in_the_same_folder_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    found = accounts(tmp_path)
    with alone(FLEET, found, tmp_path / "unused"):
        held = rf"the files of alice are in use by process {os.getpid()} on .*: STATE_FN must lead each node"
        with pytest.raises(LockError, match=held):
            await run_accounts(FLEET, found)
        with (
            pytest.raises(LockError, match="the files of bob are in use"),
            alone(FLEET, {"bob": found["bob"]}, tmp_path / "unused"),
        ):
            pass
    with alone(FLEET, found, tmp_path / "unused"):
        pass


async def test_a_second_process_with_the_same_accounts_is_refused_before_it_touches_the_outbox(tmp_path: Path) -> None:
    found = accounts(tmp_path, TELEGRAM_BOT_TOKEN="1:a", TELEGRAM_CHAT_ID="-1")
    states = [own.state_path("LTCUSDT") for own in found.values()]
    outbox = outbox_of(states)
    assert outbox == tmp_path / "state" / "alice" / "LTCUSDT.json.alerts"
    with alone(FILES, found, outbox):
        outbox.write_bytes(b"what waits\n")
        with pytest.raises(LockError, match=r"ACCOUNTS: these accounts are in use by process .*: stop that one first"):
            await run_accounts(FILES, found)
        assert outbox.read_bytes() == b"what waits\n"
        with alone(FILES, {"bob": found["bob"]}, outbox_of(states[1:])):  # other accounts have another
            pass


def test_a_folder_that_can_t_be_locked_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(LockUnusable), alone(FLEET, accounts(tmp_path), tmp_path / "unused"):
        pass
