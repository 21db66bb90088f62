"""Settings that are sound one by one and lose money together, or by their size: refused, or said."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from executor.config import SettingsError, load_settings
from executor.config.choices import BinanceEnv
from executor.config.endpoints import ENDPOINTS, environment_of
from executor.config.faults import Fault
from executor.service.market import exchange_name, tell_addresses

KEYS = {"SYMBOL": "BTCUSDT", "BINANCE_API_KEY": "key", "BINANCE_API_SECRET": "secret"}
OTHER = {
    "BINANCE_REST_URL": "https://exchange.example.com",
    "BINANCE_WS_API_URL": "wss://exchange.example.com/ws-api/v3",
    "BINANCE_STREAM_URL": "wss://exchange.example.com",
}


def faults_of(environ: dict[str, str]) -> tuple[Fault, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings({**KEYS, **environ}, None)
    return caught.value.faults


def urls(env: BinanceEnv) -> dict[str, str]:
    return dict(zip(OTHER, ENDPOINTS[env], strict=True))


@pytest.mark.parametrize("env", [BinanceEnv.LIVE, BinanceEnv.TESTNET, BinanceEnv.DEMO])
def test_addresses_are_known_for_what_they_are(env: BinanceEnv) -> None:
    assert {environment_of(url) for url in ENDPOINTS[env]} == {env}
    assert environment_of("https://api.binance.com.example.com") is None
    assert environment_of("https://notbinance.com") is None
    assert environment_of("https://API4.Binance.com.") is BinanceEnv.LIVE


@pytest.mark.parametrize("env", ["testnet", "demo", "custom"])
def test_live_addresses_under_another_name_need_the_confirmation_of_live_trading(env: str) -> None:
    (fault,) = faults_of({"BINANCE_ENV": env, **urls(BinanceEnv.LIVE)})
    assert fault.name == "LIVE_CONFIRM"
    assert fault.was == "'no'"
    assert fault.must == (
        f"yes: BINANCE_REST_URL=https://api.binance.com is the live exchange, with BINANCE_ENV={env} too"
    )
    load_settings({**KEYS, "BINANCE_ENV": env, **urls(BinanceEnv.LIVE), "LIVE_CONFIRM": "yes"}, None)


@pytest.mark.parametrize("name", list(OTHER))
def test_one_address_of_another_environment_is_refused(name: str) -> None:
    """Orders, their reports and prices are of one exchange."""
    live = urls(BinanceEnv.LIVE)[name]
    found = faults_of({"BINANCE_ENV": "testnet", name: live, "LIVE_CONFIRM": "yes"})
    others = {"BINANCE_WS_API_URL", "BINANCE_STREAM_URL"}
    assert {fault.name for fault in found} == (others if name == "BINANCE_REST_URL" else {name})
    assert all("of the same exchange as BINANCE_REST_URL=" in fault.must for fault in found)
    assert all("which is " in fault.was for fault in found)


def test_an_address_of_one_s_own_beside_those_of_an_environment_is_nobody_s_business() -> None:
    """A gateway in front of one of them."""
    load_settings(
        {**KEYS, "BINANCE_ENV": "live", "LIVE_CONFIRM": "yes", "BINANCE_REST_URL": "http://127.0.0.1:9"}, None
    )


@pytest.mark.parametrize(
    ("name", "url"), [("BINANCE_REST_URL", "http://10.0.0.2:80"), ("BINANCE_WS_API_URL", "ws://h/w")]
)
def test_live_keys_do_not_travel_unencrypted(name: str, url: str) -> None:
    (fault,) = faults_of({"BINANCE_ENV": "custom", **OTHER, name: url, "LIVE_CONFIRM": "yes"})
    scheme = "https" if name == "BINANCE_REST_URL" else "wss"
    assert fault == Fault(name, repr(url), f"{scheme}://, or this machine's own (127.0.0.1): keys travel by it")
    load_settings({**KEYS, "BINANCE_ENV": "custom", **OTHER, name: url}, None)  # a paper exchange in a container


def test_binance_s_own_addresses_are_encrypted_whatever_is_confirmed() -> None:
    names = {
        fault.name
        for fault in faults_of({"BINANCE_ENV": "testnet", "BINANCE_REST_URL": "http://testnet.binance.vision"})
    }
    assert names == {"BINANCE_REST_URL"}


def test_two_exchanges_never_share_a_name_in_the_state() -> None:
    testnet, live = (ENDPOINTS[env].rest for env in (BinanceEnv.TESTNET, BinanceEnv.LIVE))
    assert exchange_name(BinanceEnv.TESTNET, testnet) == "testnet"
    assert exchange_name(BinanceEnv.LIVE, "https://api1.binance.com") == "live"
    assert exchange_name(BinanceEnv.TESTNET, "https://exchange.example.com") == "https://exchange.example.com"
    assert exchange_name(BinanceEnv.DEMO, live) == live
    assert exchange_name(BinanceEnv.CUSTOM, live) == live


@pytest.mark.parametrize(
    ("name", "was", "least"),
    [
        ("DOUBT_SETTLE_SEC", "0", "1"),
        ("DOUBT_SETTLE_SEC", "0.9", "1"),
        ("FAILSAFE_EXITS_GRACE_SEC", "0", "1"),
        ("SL_WATCHDOG_GRACE_SEC", "0", "0.1"),
        ("ABSENCE_GRACE_SEC", "0", "0.1"),
        ("EXITS_RETRY_EVERY_SEC", "0.001", "0.1"),
        ("TRAIL_UPDATE_EVERY_SEC", "0", "0.1"),
        ("MARGIN_TRAIL_EVERY_SEC", "0", "0.1"),
        ("POLL_SEC", "0.001", "0.1"),
        ("POLL_IDLE_SEC", "0.01", "0.1"),
        ("LIVE_ENTRY_TIMEOUT_SEC", "0.001", "0.1"),
        ("MAX_SIGNAL_AGE_SEC", "0.001", "1"),
        ("RECV_WINDOW", "1", "100"),
    ],
)
def test_a_time_that_is_too_short_to_be_meant_is_refused(name: str, was: str, least: str) -> None:
    (fault,) = faults_of({"BINANCE_ENV": "testnet", name: was})
    assert (fault.name, fault.was) == (name, f"'{was}'")
    assert f" from {least} to " in fault.must
    load_settings({**KEYS, "BINANCE_ENV": "testnet", name: least}, None)


def test_the_watchdog_is_off_or_asks_the_exchange_once_a_second_at_the_most() -> None:
    (fault,) = faults_of({"BINANCE_ENV": "testnet", "WATCHDOG_EVERY_SEC": "0.5"})
    assert fault.must == "0 for off, or at least 1: each round asks the exchange"
    load_settings({**KEYS, "BINANCE_ENV": "testnet", "WATCHDOG_EVERY_SEC": "0"}, None)


def test_a_start_says_which_file_set_which_address(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("BINANCE_REST_URL=https://exchange.example.com\n", "utf-8")
    settings = load_settings({**KEYS, "BINANCE_ENV": "testnet"}, file)
    assert settings.warnings == (
        f"BINANCE_REST_URL is set by {file}, and BINANCE_API_KEY, which goes there, by the environment",
    )
    with capture_logs() as lines:
        tell_addresses(settings)
    (line,) = [each for each in lines if each["event"] == "exchange_addresses"]
    assert line["BINANCE_REST_URL"] == f"https://exchange.example.com ({file})"
    assert line["BINANCE_STREAM_URL"].endswith(" (default)")


def test_an_env_file_that_holds_both_address_and_key_is_somebody_s_own(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "\n".join(f"{name}={value}" for name, value in {**KEYS, **OTHER, "BINANCE_ENV": "custom"}.items()), "utf-8"
    )
    file.chmod(0o600)
    assert load_settings({}, file).warnings == ()
    file.write_text("BINANCE_REST_URL=http://127.0.0.1:9100\n", "utf-8")
    assert load_settings({**KEYS, **OTHER, "BINANCE_ENV": "testnet"}, file).warnings == ()
