"""Marks and bytes that nobody sees: in secrets, in env files, in the environment, on the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.hostile import noise

from executor.config import SettingsError, load_settings
from executor.config.sources import FIELDS, gather

MARK = "\ufeff"
TESTNET = {"BINANCE_ENV": "testnet", "SYMBOL": "BTCUSDT", "BINANCE_API_KEY": "key"}


def private(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path) -> None:
    """Windows' editors write it; the exchange would answer that the signature is wrong."""
    file = private(tmp_path / "secret", f"{MARK}hush \r\n".encode())
    found = load_settings({**TESTNET, "BINANCE_API_SECRET_FILE": str(file)}, None)
    assert found.binance_api_secret is not None
    assert found.binance_api_secret.get_secret_value() == "hush"
    found = load_settings({**TESTNET, "BINANCE_API_SECRET": f"{MARK}hush", "BINANCE_API_KEY": f" {MARK}key"}, None)
    assert found.binance_api_secret is not None
    assert found.binance_api_key is not None
    assert (found.binance_api_secret.get_secret_value(), found.binance_api_key.get_secret_value()) == ("hush", "key")


def test_a_byte_order_mark_is_no_part_of_the_first_name_of_an_env_file(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", f"{MARK}BINANCE_API_SECRET=hush\nQTY_USD={MARK}50\n".encode())
    found = load_settings(TESTNET, file)
    assert found.binance_api_secret is not None
    assert found.binance_api_secret.get_secret_value() == "hush"
    assert found.qty_usd == 50
    assert found.warnings == ()


@pytest.mark.parametrize("name", ["BINANCE_API_KEY", "BINANCE_API_SECRET"])
@pytest.mark.parametrize("text", ["schlüssel", "zero\u200bwidth", "tab\tbed", "\u2019quoted\u2019"])
def test_a_key_with_what_no_key_has_is_refused_and_not_shown(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({**TESTNET, "BINANCE_API_SECRET": "s", name: text}, None)
    (fault,) = caught.value.faults
    assert fault.name == name
    assert "exactly what was given out" in fault.must
    assert text not in str(caught.value)


@pytest.mark.parametrize("name", ["SYMBOL", "STATE_FN", "BINANCE_API_SECRET", "SIGNAL_FILE"])
def test_bytes_of_the_environment_that_are_no_text_are_a_fault_of_their_setting(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({**TESTNET, "BINANCE_API_SECRET": "s", name: "a\udcfcb"}, None)
    assert "text in UTF-8" in {fault.must for fault in caught.value.faults if fault.name == name}
    str(caught.value).encode()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise
    | st.lists(st.sampled_from(sorted(FIELDS)) | st.text(max_size=8), max_size=4).flatmap(
        lambda names: st.lists(noise, min_size=len(names), max_size=len(names)).map(
            lambda values: b"\n".join(
                n.encode("utf-8", "replace") + b"=" + v for n, v in zip(names, values, strict=True)
            )
        )
    )
)
def test_whatever_an_env_file_holds_it_is_settings_or_faults(tmp_path: Path, data: bytes) -> None:
    file = private(tmp_path / ".env", data)
    gather({}, file)
    said = ""
    try:
        load_settings({}, file)
    except SettingsError as error:
        said = str(error)
    said.encode()


def in_locale(folder: Path, locale: Mapping[str, str], *words: bytes) -> "subprocess.CompletedProcess[bytes]":
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "SYMBOL": "LTCUSDT", **locale}
    environ["SIGNAL_FILE"] = str(folder / "signals.jsonl")
    command = [os.fsencode(sys.executable), b"-m", b"executor", *words]
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, timeout=60, check=False)


ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", [{"LC_ALL": "POSIX"}, ASCII, {"LC_ALL": "C.UTF-8"}], ids=str)
def test_an_id_with_umlauts_is_taken_in_any_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    words = [b"signal", b"--side", b"long", b"--price", b"100", b"--stop", b"99", b"--id", "Übung".encode()]
    done = in_locale(tmp_path, locale, *words)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    (line,) = (tmp_path / "signals.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["id"] == "Übung"


def test_an_id_in_bytes_that_are_no_text_is_refused_in_words(tmp_path: Path) -> None:
    words = [b"signal", b"--side", b"long", b"--price", b"100", b"--stop", b"99", b"--id", b"\xdcbung"]
    for locale in ({"LC_ALL": "POSIX"}, ASCII):
        done = in_locale(tmp_path, locale, *words)
        assert done.returncode != 0
        assert b"Traceback" not in done.stderr
        assert b"no text in UTF-8" in done.stderr
    assert not (tmp_path / "signals.jsonl").exists()
