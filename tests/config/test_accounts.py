"""Several accounts: what each file sets, what it may not, and what two may not share."""

import os
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from executor.config import Settings, SettingsError, load_settings
from executor.config.accounts import load_accounts, sound_accounts

URLS = {
    "BINANCE_ENV": "custom",
    "BINANCE_REST_URL": "http://127.0.0.1:9100",
    "BINANCE_WS_API_URL": "ws://127.0.0.1:9100/ws-api/v3",
    "BINANCE_STREAM_URL": "ws://127.0.0.1:9100",
}


def write(folder: Path, name: str, **own: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.env"
    path.write_text("".join(f"{key}={text}\n" for key, text in own.items()))
    path.chmod(0o600)


def load(folder: Path, **more: str) -> dict[str, Settings]:
    environ: Mapping[str, str] = {**URLS, "ACCOUNTS": str(folder), **more}
    return load_accounts(load_settings(environ, None), environ, None)


def test_each_account_has_its_keys_symbols_and_sizes_before_those_of_all(tmp_path: Path) -> None:
    folder = tmp_path / "accounts"
    write(folder, "alice", BINANCE_API_KEY="a", BINANCE_API_SECRET="s", SYMBOLS="BTCUSDT,ETHUSDT", RISK_USD="5")
    write(folder, "bob", BINANCE_API_KEY="b", BINANCE_API_SECRET="s", SYMBOL="LTCUSDT", LTCUSDT__SL_PCT="0.01")
    found = load(folder, QTY_USD="70", SYMBOL="DOGEUSDT", SL_PCT="0.005")
    alice, bob = found["alice"], found["bob"]
    assert list(found) == ["alice", "bob"]
    assert (alice.account, alice.traded, alice.risk_usd, alice.qty_usd) == (
        "alice",
        ("BTCUSDT", "ETHUSDT"),
        Decimal(5),
        None,
    )
    assert (bob.account, bob.traded, bob.qty_usd, bob.sl_pct) == ("bob", ("LTCUSDT",), Decimal(70), Decimal("0.01"))
    assert alice.state_path("BTCUSDT") == Path("data/state/alice/BTCUSDT.json")
    assert alice.of("ETHUSDT").state_path("ETHUSDT") == Path("data/state/alice/ETHUSDT.json")
    assert alice.of("ETHUSDT").sl_pct == Decimal("0.005")


def test_settings_of_the_whole_process_are_no_account_s(tmp_path: Path) -> None:
    folder = tmp_path / "accounts"
    write(folder, "alice", BINANCE_API_KEY="a", BINANCE_API_SECRET="s", SYMBOL="LTCUSDT", HTTP_PORT="1")
    with pytest.raises(SettingsError, match="alice: HTTP_PORT: was set; must be unset: it holds for all"):
        load(folder)


def test_every_account_s_faults_are_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "accounts"
    write(folder, "alice", BINANCE_API_SECRET="s", SYMBOL="LTCUSDT")
    write(folder, "bob", BINANCE_API_KEY="b", BINANCE_API_SECRET="s", SYMBOL="ltc")
    with pytest.raises(SettingsError) as caught:
        load(folder)
    assert [fault.name for fault in caught.value.faults] == ["alice: BINANCE_API_KEY", "bob: SYMBOL"]


def test_an_account_with_a_fault_is_left_out_and_the_others_are_sound(tmp_path: Path) -> None:
    """A file that is half written when the service is started again must not leave the others' open trades alone."""
    folder = tmp_path / "accounts"
    own = {"BINANCE_API_SECRET": "s", "SYMBOL": "LTCUSDT"}
    write(folder, "alice", BINANCE_API_KEY="a")
    write(folder, "bob", BINANCE_API_KEY="b", **own)
    write(folder, "carol", BINANCE_API_KEY="b", **own)
    write(folder, "no name", BINANCE_API_KEY="n", **own)
    (folder / "dave.env").write_bytes(b"BINANCE_API_KEY=d\nSYMB\x00\xff")
    (folder / "dave.env").chmod(0o600)
    environ = {**URLS, "ACCOUNTS": str(folder)}
    found, faults = sound_accounts(load_settings(environ, None), environ, None)
    assert list(found) == ["bob"]
    assert sorted(faults) == ["alice", "carol", "dave", "no name"]
    assert [str(fault) for fault in faults["carol"]] == [
        "carol: BINANCE_API_KEY: was that of bob; must be a key of its own"
    ]
    with pytest.raises(SettingsError) as caught:
        load(folder)
    assert {fault.name.partition(":")[0] for fault in caught.value.faults} >= {"alice", "carol", "dave"}
    (folder / "bob.env").unlink()
    (folder / "carol.env").unlink()
    with pytest.raises(SettingsError):
        sound_accounts(load_settings(environ, None), environ, None)


def test_two_accounts_share_no_key_and_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "accounts"
    for name in ("alice", "bob"):
        write(folder, name, BINANCE_API_KEY="a", BINANCE_API_SECRET="s", SYMBOL="LTCUSDT", STATE_FN="one.json")
    with pytest.raises(SettingsError, match=r"(?s)bob: BINANCE_API_KEY: was that of alice.*bob: STATE_FN"):
        load(folder)
    for name in ("alice", "bob"):
        write(folder, name, BINANCE_API_KEY=name, BINANCE_API_SECRET="s", SYMBOL="LTCUSDT")
    with pytest.raises(SettingsError, match=r"STATE_FN: was 'one\.json'; must be a name with \{account\}"):
        load(folder, STATE_FN="one.json")


def test_a_folder_that_is_none_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ACCOUNTS: was .*must be a folder that can be read"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"a file per account, such as alice\.env"):
        load(tmp_path / "empty")


def test_the_embedded_exchange_has_one_account(tmp_path: Path) -> None:
    folder = tmp_path / "accounts"
    write(folder, "alice", BINANCE_ENV="paper")
    with pytest.raises(SettingsError, match="BINANCE_ENV: was 'paper'"):
        load_accounts(load_settings({"ACCOUNTS": str(folder)}, None), {"ACCOUNTS": str(folder)}, None)


def test_a_file_with_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "accounts"
    write(folder, "alice", BINANCE_API_KEY="a", BINANCE_API_SECRET="s", SYMBOL="LTCUSDT")
    (folder / "alice.env").chmod(0o644)
    with pytest.raises(SettingsError, match="which everybody on this machine can read"):
        load(folder)


@pytest.mark.parametrize(
    ("setting", "sound"),
    [
        ("etcd://h1:2379,h2:2379", True),
        ("http://h1:2379", False),
        ("etcd://h1", False),
        ("etcd://h1:2379,h1:2379", False),
        ("etcd://u:p@h1:2379", False),
    ],
)
def test_a_fleet_is_named_by_its_nodes(setting: str, *, sound: bool) -> None:
    environ = {**URLS, "SYMBOL": "LTCUSDT", "BINANCE_API_KEY": "a", "BINANCE_API_SECRET": "s", "FLEET": setting}
    if sound:
        assert load_settings(environ, None).fleet == ("h1:2379", "h2:2379")
    else:
        with pytest.raises(SettingsError, match="FLEET: was"):
            load_settings(environ, None)


def test_a_link_to_nothing_is_no_account_that_trades_by_the_settings_of_all(tmp_path: Path) -> None:
    """A secret that is not mounted yet: with keys for all, its own symbols and sizes would be missing unnoticed."""
    folder = tmp_path / "accounts"
    write(folder, "alice", BINANCE_API_KEY="a", BINANCE_API_SECRET="s", SYMBOL="LTCUSDT", QTY="3")
    (folder / "bob.env").symlink_to(tmp_path / "not mounted")
    environ = {**URLS, "ACCOUNTS": str(folder), "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s", "SYMBOL": "BTCUSDT"}
    environ["QTY"] = "1"
    found, faults = sound_accounts(load_settings(environ, None), environ, None)
    assert list(found) == ["alice"]
    assert [fault.name for fault in faults["bob"]] == [f"bob: {folder / 'bob.env'}"]


HOSTILE = {
    "no UTF-8": b"QTY=\xff\n",
    "UTF-16": "QTY=1\n".encode("utf-16"),
    "NULs": bytes(100_000),
    "a NUL in a value": b"STATE_FN=a\0{symbol}\n",
    "a quote that does not end": b"SL_PCT='0.01\n",
    "quotes that do not end": b'SL_PCT="1\n' * 2_001,
    "larger than any": b"#" * 1_100_000,
    "backslashes": b'QTY="' + b"\\" * 900_000,
    "no names": b"=" * 900_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_account_file_that_is_none_leaves_the_others_alone(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "accounts"
    for name in ("alice", "bob"):
        write(folder, name, BINANCE_API_KEY=name, BINANCE_API_SECRET="s", SYMBOL="LTCUSDT", QTY="3")
    with (folder / "bob.env").open("ab") as file:
        file.write(HOSTILE[kind])
    environ = {**URLS, "ACCOUNTS": str(folder)}
    found, faults = sound_accounts(load_settings(environ, None), environ, None)
    assert list(found) == ["alice"]
    assert all("bob" in str(fault) for fault in faults["bob"])


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop of links"])
def test_what_is_no_file_is_no_account_and_leaves_the_others_alone(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "accounts"
    write(folder, "alice", BINANCE_API_KEY="a", BINANCE_API_SECRET="s", SYMBOL="LTCUSDT", QTY="3")
    path = folder / "bob.env"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to(path)
    environ = {**URLS, "ACCOUNTS": str(folder)}
    found, faults = sound_accounts(load_settings(environ, None), environ, None)
    assert (list(found), list(faults)) == (["alice"], ["bob"])


@pytest.mark.parametrize(
    "more",
    [b"X=" + b" " * 900_000, b"".join(b"K%d=1\n" % n for n in range(60_000)), b"K" * 900_000 + b"=1\n"],
    ids=["nothing but spaces", "names of no setting", "a name without an end"],
)
def test_an_account_file_takes_no_time_whatever_it_holds(tmp_path: Path, more: bytes) -> None:
    """Its others have positions that wait for the start. It took hours, or a minute."""
    folder = tmp_path / "accounts"
    write(folder, "bob", BINANCE_API_KEY="b", BINANCE_API_SECRET="s", SYMBOL="LTCUSDT", QTY="3")
    with (folder / "bob.env").open("ab") as file:
        file.write(more)
    began = time.process_time()
    found = load(folder)
    assert time.process_time() - began < 3
    assert len(found["bob"].warnings) <= 51
    assert all(len(warning) < 1_000 for warning in found["bob"].warnings)
