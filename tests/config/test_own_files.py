"""No two uses come to one file, however the settings that name them are spelled."""

from pathlib import Path
from typing import Final

import pytest

from executor.config import SettingsError, load_settings
from executor.config.accounts import load_accounts
from executor.config.own_files import uses
from executor.core.model.state import SCHEMA_VERSION
from executor.ops.alerts.alerts import outbox_path
from executor.ops.telegram.place import place_path
from executor.service.self_watchdog import hang_path
from executor.service.store.control_socket import socket_path
from executor.service.store.lock import StateLock
from executor.service.store.state_store import StateStore
from executor.service.symbol_rules import rules_path
from executor.signals.position import position_path

KEYS: Final = {"BINANCE_ENV": "testnet", "BINANCE_API_KEY": "key", "BINANCE_API_SECRET": "word"}


def named(environ: dict[str, str]) -> list[str]:
    """The settings that are found wrong."""
    try:
        load_settings({**KEYS, **environ}, None)
    except SettingsError as error:
        return [fault.name for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ({"STATE_FN": "a/BTCUSDT.json", "JOURNAL_FN": "a/{symbol}.json"}, ["JOURNAL_FN"]),
        ({"STATE_FN": "a/s.json", "JOURNAL_FN": "a/s.trades.jsonl"}, ["JOURNAL_FN"]),
        ({"STATE_FN": "a/s.json", "JOURNAL_FN": "a/b/../s.json.ahead"}, ["JOURNAL_FN"]),
        ({"STATE_FN": "a/s.json", "SIGNAL_FILE": "a/s.json"}, ["SIGNAL_FILE"]),
        ({"STATE_FN": "a/s.json", "SIGNAL_FILE": "a/./s.json.signals"}, ["SIGNAL_FILE"]),
        ({"STATE_FN": "a/s.json", "SIGNAL_FILE": "a/s.journal.jsonl"}, ["SIGNAL_FILE"]),
        ({"JOURNAL_FN": "j.jsonl", "SIGNAL_FILE": "j.jsonl"}, ["SIGNAL_FILE"]),
        ({"STATE_FN": "link/s.json", "SIGNAL_FILE": "a/s.json"}, ["SIGNAL_FILE"]),
        ({"SIGNAL_FILE": "a\0b"}, ["SIGNAL_FILE"]),
        ({"STATE_FN": "a/s.json", "JOURNAL_FN": "a/s.jsonl", "SIGNAL_FILE": "b/s.json"}, []),
        ({"JOURNAL_FN": "/dev/null", "SIGNAL_FILE": "/dev/null"}, []),
    ],
)
def test_each_use_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], wrong: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert named({"SYMBOL": "BTCUSDT", **files}) == wrong


@pytest.mark.parametrize(
    ("template", "list_of_trades"),
    [
        ("state.{symbol}", "state.BTCUSDT.trades.jsonl"),
        ("state.{account}-{symbol}", "state.-BTCUSDT.trades.jsonl"),
        ("state.{symbol}.json", "state.BTCUSDT.trades.jsonl"),
        ("{symbol}", "BTCUSDT.trades.jsonl"),
        ("{symbol}.state.json", "BTCUSDT.state.trades.jsonl"),
    ],
)
def test_so_have_two_symbols_wherever_the_name_tells_them_apart(template: str, list_of_trades: str) -> None:
    """`.BTCUSDT` may be the state's suffix: what stands beside it may not go without."""
    settings = load_settings({**KEYS, "SYMBOLS": "BTCUSDT,ETHUSDT", "STATE_FN": template}, None)
    assert len({use.path for use in uses(settings)}) == len(list(uses(settings)))
    assert settings.trades_path("BTCUSDT").name == list_of_trades
    assert settings.of("ETHUSDT").trades_path("ETHUSDT") == settings.trades_path("ETHUSDT")


@pytest.mark.parametrize(
    ("alice", "bob", "wrong"),
    [
        ({"JOURNAL_FN": "j.jsonl"}, {"JOURNAL_FN": "./j.jsonl"}, "JOURNAL_FN"),
        ({"STATE_FN": "x.json"}, {"JOURNAL_FN": "x.json"}, "JOURNAL_FN"),
        ({"STATE_FN": "x.{account}"}, {"STATE_FN": "x.{account}"}, ""),
        ({"STATE_FN": "x.json"}, {"SIGNAL_FILE": "x.json"}, "SIGNAL_FILE"),
        ({"SIGNAL_FILE": "x.json"}, {"SIGNAL_FILE": "x.json"}, ""),
        ({}, {}, ""),
    ],
)
def test_so_have_two_accounts_but_for_the_signals_that_both_follow(
    tmp_path: Path, alice: dict[str, str], bob: dict[str, str], wrong: str
) -> None:
    for name, own in (("alice", alice), ("bob", bob)):
        keys = {**KEYS, "BINANCE_API_KEY": name, "SYMBOL": "LTCUSDT"}
        path = tmp_path / f"{name}.env"
        path.write_text("".join(f"{key}={text}\n" for key, text in {**keys, **own}.items()), "utf-8")
        path.chmod(0o600)
    environ = {"ACCOUNTS": str(tmp_path), **KEYS, "SYMBOL": "LTCUSDT"}
    try:
        load_accounts(load_settings(environ, None), environ, None)
        found = []
    except SettingsError as error:
        found = [fault.name for fault in error.faults]
    assert found == ([f"bob: {wrong}"] if wrong else [])


def test_all_that_stands_beside_a_state_is_known() -> None:
    settings, state = load_settings({"SYMBOL": "LTCUSDT", "STATE_FN": "/x/s.json"}, None), Path("/x/s.json")
    store = StateStore(state, schema_version=SCHEMA_VERSION)
    beside = [store.path, store.previous, store.write_ahead, StateLock(state).path, socket_path(state)]
    beside += [
        position_path(state),
        settings.trades_path("LTCUSDT"),
        settings.journal_path("LTCUSDT"),
        hang_path(state),
    ]
    beside += [rules_path(state), outbox_path(state), place_path(state)]
    assert {str(path) for path in beside} <= {use.path for use in uses(settings)}
