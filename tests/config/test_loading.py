"""Settings from their sources: what counts first, what is refused, and that every fault is told at once."""

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from executor.config import (
    BinanceEnv,
    EntryMode,
    Fault,
    Origin,
    Settings,
    SettingsError,
    Sound,
    Topic,
    TradeMode,
    load_settings,
    loading,
    rendering,
    to_ms,
)
from executor.config.kinds import as_text
from executor.config.private import private
from executor.config.sources import FIELDS, KNOWN_NAMES, OLDER_NAMES, SECRETS, Found, read_env_file

# The names that units, compose files and scripts depend on, with the defaults that people were promised.
PROMISED = {
    "BINANCE_ENV": "paper", "BINANCE_REST_URL": "", "BINANCE_WS_API_URL": "", "BINANCE_STREAM_URL": "",
    "BINANCE_API_KEY": "", "BINANCE_API_SECRET": "", "BINANCE_PRIVATE_KEY_FILE": "",
    "BINANCE_PRIVATE_KEY_PASSPHRASE": "", "RECV_WINDOW": "5000", "SYMBOL": "", "SYMBOLS": "", "TRADE_MODE": "spot",
    "STATE_FN": "data/state/executor_state.json", "JOURNAL_FN": "", "SIGNAL_FILE": "data/signals.jsonl",
    "SIGNAL_START": "end", "MAX_SIGNAL_AGE_SEC": "600", "ENTRY_MODE": "LIMIT_THEN_MARKET",
    "ENTRY_OFFSET_USD": "0",
    "LIVE_ENTRY_TIMEOUT_SEC": "90", "PLANB_MAX_DEV_USD": "0", "PLANB_MAX_DEV_R_MULT": "0.25",
    "PLANB_REQUIRE_PRICE": "true", "PLANB_ABORT_IF_PAST_TP1": "true", "PLANB_ORDER": "MARKET", "QTY": "",
    "QTY_USD": "100", "RISK_USD": "", "QTY_STEP": "", "TICK_SIZE": "", "MIN_QTY": "", "MIN_NOTIONAL": "",
    "QTY_SPLIT": "1,1,1", "TP_R_LIST": "1,2", "STOP_MODE": "PCT", "SL_PCT": "0.002", "SWING_MINS": "180",
    "SL_LIMIT_GAP_TICKS": "2", "SL_LIMIT_GAP_PCT": "0.001", "EXIT_LAYOUT": "OCO", "BRACKET_PART_SEC": "2",
    "SL_AFTER_TP1": "BREAKEVEN", "BE_OFFSET_TICKS": "0", "TRAIL_ACTIVATE_AFTER_TP2": "true", "TRAIL_MODE": "DISTANCE",
    "TRAIL_DISTANCE_USD": "", "TRAIL_DISTANCE_PCT": "", "TRAIL_DISTANCE_R_MULT": "1", "TRAIL_STEP_USD": "0",
    "TRAIL_UPDATE_EVERY_SEC": "1", "TRAIL_SWING_LOOKBACK": "240", "TRAIL_SWING_LR": "2",
    "TRAIL_SWING_BUFFER_USD": "0", "POLL_SEC": "1.0", "POLL_IDLE_SEC": "10", "USER_STREAM": "true",
    "EXITS_RETRY_EVERY_SEC": "1", "FAILSAFE_EXITS_MAX_TRIES": "5", "FAILSAFE_EXITS_GRACE_SEC": "10",
    "FAILSAFE_FLATTEN": "true", "SL_WATCHDOG_GRACE_SEC": "3", "ABSENCE_GRACE_SEC": "2",
    "DOUBT_SETTLE_SEC": "10",
    "MAX_HOLD_SEC": "0", "COOLDOWN_SEC": "180", "COOLDOWN_ABORT_SEC": "30", "LOCK_SEC": "15",
    "MAX_POSITION_USD": "0", "MAX_TRADES_PER_DAY": "0", "MAX_DAILY_LOSS_USD": "0", "ALLOW_SHORT": "false",
    "PAPER_RECORDING": "", "PAPER_SPEED": "150", "PAPER_AT_END": "exit", "PAPER_BALANCES": "USDT=10000",
    "PAPER_PORT": "0", "PAPER_API_KEY": "***", "PAPER_API_SECRET": "***", "HTTP_HOST": "127.0.0.1",
    "HTTP_PORT": "8080", "HTTP_TOKEN": "", "LOG_FORMAT": "auto", "LOG_LEVEL": "INFO", "TELEGRAM_BOT_TOKEN": "",
    "TELEGRAM_CHAT_ID": "", "TELEGRAM_API_URL": "https://api.telegram.org", "TELEGRAM_USERS": "",
    "TELEGRAM_NOTIFY": "", "ALERT_WEBHOOK_URL": "", "ALERT_WEBHOOK_SECRET": "", "WATCHDOG_EVERY_SEC": "60",
    "WEBHOOK_PORT": "0", "WEBHOOK_HOST": "127.0.0.1", "WEBHOOK_SECRET": "", "WEBHOOK_HMAC_SECRET": "",
    "WEBHOOK_WINDOW_SEC": "60", "WEBHOOK_ALLOW": "", "WEBHOOK_TRUSTED_PROXY": "", "WEBHOOK_MAX_BYTES": "16384",
    "WEBHOOK_RATE_PER_MIN": "30", "WEBHOOK_TOTAL_PER_MIN": "60",
    "BINANCE_MARGIN_STREAM_URL": "", "MARGIN_ISOLATED": "", "MARGIN_BORROW_MODE": "manual",
    "MARGIN_SIDE_EFFECT": "NO_SIDE_EFFECT", "MARGIN_MAX_BORROW_USD": "0", "MARGIN_LEVEL_MIN": "",
    "MARGIN_LEVEL_ALERT": "", "MARGIN_LEVEL_REDUCE": "", "MARGIN_FOREIGN_DEBT": "refuse",
    "MARGIN_TRAIL_EVERY_SEC": "5",
    "ACCOUNTS": "", "FLEET": "", "FLEET_NAME": "executor", "FLEET_NODE": "", "FLEET_TTL_SEC": "5", "FLEET_CA": "",
    "FLEET_CERT": "", "FLEET_KEY": "",
}  # fmt: skip

LIVE = {
    "BINANCE_ENV": "live",
    "LIVE_CONFIRM": "yes",
    "SYMBOL": "BTCUSDT",
    "BINANCE_API_KEY": "key",
    "BINANCE_API_SECRET": "secret",
}

# Each entry breaks settings of its own on top of LIVE: the name of the one fault, and what is set.
BREAKAGES: dict[str, dict[str, str]] = {
    "LIVE_CONFIRM": {"LIVE_CONFIRM": ""},
    "SYMBOL": {"SYMBOL": "btc/usdt"},
    "BINANCE_API_KEY": {"BINANCE_API_KEY": ""},
    "BINANCE_API_SECRET and BINANCE_PRIVATE_KEY_FILE": {"BINANCE_API_SECRET": " "},
    "BINANCE_PRIVATE_KEY_PASSPHRASE": {"BINANCE_PRIVATE_KEY_PASSPHRASE": "open sesame"},
    "BINANCE_REST_URL": {"BINANCE_REST_URL": "ws://127.0.0.1"},
    "BINANCE_WS_API_URL": {"BINANCE_WS_API_URL": "127.0.0.1:9100"},
    "BINANCE_STREAM_URL": {"BINANCE_STREAM_URL": "ws://127.0.0.1:99999"},
    "TRADE_MODE": {"TRADE_MODE": "futures"},
    "MARGIN_ISOLATED": {"MARGIN_ISOLATED": "perhaps"},
    "MARGIN_LEVEL_ALERT": {"MARGIN_LEVEL_ALERT": "1.1", "MARGIN_LEVEL_REDUCE": "1.2"},
    "MARGIN_TRAIL_EVERY_SEC": {"MARGIN_TRAIL_EVERY_SEC": "-1"},
    "RECV_WINDOW": {"RECV_WINDOW": "60001"},
    "STATE_FN": {"STATE_FN": "{symbols}.json"},
    "SIGNAL_START": {"SIGNAL_START": "middle"},
    "MAX_SIGNAL_AGE_SEC": {"MAX_SIGNAL_AGE_SEC": "0"},
    "ENTRY_MODE": {"ENTRY_MODE": "LIMIT"},
    "ENTRY_OFFSET_USD": {"ENTRY_OFFSET_USD": "NaN"},
    "PLANB_MAX_DEV_USD": {"PLANB_MAX_DEV_USD": "-0.01"},
    "PLANB_MAX_DEV_R_MULT": {"PLANB_MAX_DEV_R_MULT": "1e999999"},
    "PLANB_REQUIRE_PRICE": {"PLANB_REQUIRE_PRICE": "perhaps"},
    "QTY and QTY_USD": {"QTY": "1", "QTY_USD": "100"},
    "TICK_SIZE": {"TICK_SIZE": "0"},
    "QTY_STEP": {"QTY_STEP": "0.0000000000000000001"},
    "QTY_SPLIT": {"QTY_SPLIT": "0,1,1"},
    "TP_R_LIST": {"TP_R_LIST": "2,1"},
    "SL_PCT": {"SL_PCT": "1"},
    "SWING_MINS": {"SWING_MINS": "1.5"},
    "TRAIL_DISTANCE_USD and TRAIL_DISTANCE_PCT and TRAIL_DISTANCE_R_MULT": {
        "TRAIL_DISTANCE_USD": "1",
        "TRAIL_DISTANCE_PCT": "0.1",
        "TRAIL_DISTANCE_R_MULT": "1",
    },
    "TRAIL_SWING_LOOKBACK": {"TRAIL_MODE": "SWING", "TRAIL_SWING_LOOKBACK": "4"},
    "POLL_SEC": {"POLL_SEC": "0"},
    "ABSENCE_GRACE_SEC": {"ABSENCE_GRACE_SEC": "0.0001"},
    "FAILSAFE_EXITS_MAX_TRIES": {"FAILSAFE_EXITS_MAX_TRIES": "0"},
    "PAPER_BALANCES": {"PAPER_BALANCES": "USDT=1,USDT=2"},
    "PAPER_SPEED": {"PAPER_SPEED": "-1"},
    "HTTP_PORT": {"HTTP_PORT": "65536"},
    "HTTP_HOST": {"HTTP_HOST": "every where"},
    "HTTP_TOKEN": {"HTTP_TOKEN": "short"},
    "LOG_LEVEL": {"LOG_LEVEL": "LOUD"},
    "TELEGRAM_CHAT_ID": {"TELEGRAM_BOT_TOKEN": "token"},
    "TELEGRAM_USERS": {"TELEGRAM_USERS": "-1"},
    "TELEGRAM_NOTIFY": {"TELEGRAM_NOTIFY": "opened=loud"},
    "WATCHDOG_EVERY_SEC": {"WATCHDOG_EVERY_SEC": "-1"},
    "ALERT_WEBHOOK_URL": {"ALERT_WEBHOOK_URL": "alerts.example.com"},
    "JOURNAL_FN": {"JOURNAL_FN": "folder/.."},
    "WEBHOOK_SECRET and WEBHOOK_HMAC_SECRET": {"WEBHOOK_PORT": "8081"},
    "WEBHOOK_ALLOW": {"WEBHOOK_ALLOW": "192.0.2.0/33"},
}


def faults_of(environ: dict[str, str], env_file: Path | None = None) -> tuple[Fault, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, env_file)
    return caught.value.faults


def keep(path: Path, secret: str, mode: int = 0o600) -> None:
    path.write_text(secret, encoding="utf-8")
    path.chmod(mode)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_promised_names_and_defaults() -> None:
    settings = load_settings({}, env_file=None)
    assert {name: as_text(getattr(settings, name.lower())) for name in PROMISED} == PROMISED
    assert FIELDS.keys() - PROMISED.keys() == {"LIVE_CONFIRM", "ORDER_TRANSPORT", "PAPER_SIGNALS", "SECRETS_DIR"}
    assert {settings.origin(name) for name in FIELDS} == {Origin.DEFAULT}
    assert settings.warnings == ()


def test_every_setting_has_a_meaning_of_one_sentence() -> None:
    for setting in rendering.descriptions():
        assert setting.meaning.endswith("."), setting.name
        assert ". " not in setting.meaning, setting.name


def test_settings_cannot_be_changed() -> None:
    settings = load_settings({}, env_file=None)
    with pytest.raises(ValidationError):
        settings.poll_sec = Decimal(2)  # type: ignore[misc]


def test_an_unknown_name_has_no_origin() -> None:
    with pytest.raises(KeyError):
        load_settings({}, env_file=None).origin("POLL")


def test_the_process_environment_is_the_usual_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "POLL_SEC", "2")
    (tmp_path / ".env").write_text("POLL_IDLE_SEC=20\n", encoding="utf-8")
    settings = load_settings()
    assert (settings.poll_sec, settings.poll_idle_sec) == (Decimal(2), Decimal(20))


class TestFaults:
    @given(st.sets(st.sampled_from(sorted(BREAKAGES))))
    def test_any_set_of_faults_is_reported_completely_and_nothing_else(self, broken: set[str]) -> None:
        environ = dict(LIVE)
        for name in broken:
            environ |= BREAKAGES[name]
        if not broken:
            assert load_settings(environ, None).binance_env is BinanceEnv.LIVE
            return
        assert sorted(fault.name for fault in faults_of(environ)) == sorted(broken)

    def test_each_says_the_name_what_it_was_and_what_it_must_be(self) -> None:
        environ = {"RECV_WINDOW": "70000", "ENTRY_MODE": "limit", "POLL_SEC": "soon", "QTY_SPLIT": "1,1"}
        with pytest.raises(SettingsError) as caught:
            load_settings(environ, None)
        lines = str(caught.value).splitlines()
        assert lines[0] == "4 settings are wrong:"
        assert "  RECV_WINDOW: was '70000'; must be a whole number from 100 to 60000" in lines
        assert "  ENTRY_MODE: was 'limit'; must be LIMIT_THEN_MARKET, LIMIT_ONLY or MARKET_ONLY" in lines
        assert "  POLL_SEC: was 'soon'; must be a number from 0.1 to 86400" in lines
        assert any(line.startswith("  QTY_SPLIT: was '1,1'") and "three numbers" in line for line in lines)

    def test_one_fault_is_one_setting(self) -> None:
        with pytest.raises(SettingsError, match=r"^1 setting is wrong:\n  HTTP_PORT: was '-1'; must be "):
            load_settings({"HTTP_PORT": "-1"}, None)

    def test_a_long_value_is_shown_short(self) -> None:
        (fault,) = faults_of({"ENTRY_MODE": "x" * 10_000})
        assert len(fault.was) < 100

    @given(st.sampled_from(sorted(KNOWN_NAMES)), st.one_of(st.text(), st.just("x" * 5000), st.just("a\0b")))
    def test_no_text_does_worse_than_a_fault_that_names_its_setting(self, name: str, text: str) -> None:
        try:
            settings = load_settings({name: text}, None)
        except SettingsError as error:
            current = OLDER_NAMES.get(name, name)
            assert any(current in str(fault) for fault in error.faults)  # noqa: PT017  either end is right
        else:
            assert text.strip() == "" or settings.origin(OLDER_NAMES.get(name, name)) is Origin.ENVIRONMENT

    @given(
        st.sampled_from(sorted(FIELDS.keys() - set(SECRETS))),
        st.one_of(
            st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
            st.integers(0, 10_000).map(str),
            st.sampled_from(["true", "off", "1,2", "1,2,3", "0.5,1.5", "USDT=1,BTC=0.00000001", "a/b.json"]),
        ),
    )
    def test_what_is_shown_can_be_read_back(self, name: str, text: str) -> None:
        try:
            value = getattr(load_settings({name: text}, None), name.lower())
        except SettingsError:
            return
        assert getattr(load_settings({name: as_text(value)}, None), name.lower()) == value

    def test_which_margin_account_is_at_risk_must_be_said(self) -> None:
        (fault,) = faults_of({"TRADE_MODE": "margin"})
        assert (fault.name, fault.was) == ("MARGIN_ISOLATED", "not set")
        assert load_settings({"TRADE_MODE": "Margin", "MARGIN_ISOLATED": "false"}, None).margin_isolated is False

    @pytest.mark.parametrize("env", ["testnet", "demo"])
    def test_there_is_no_margin_on(self, env: str) -> None:
        keys = {**LIVE, "BINANCE_ENV": env, "TRADE_MODE": "margin", "MARGIN_ISOLATED": "true"}
        (fault,) = faults_of(keys)
        assert fault.name == "TRADE_MODE"
        assert fault.must.startswith(f"spot on BINANCE_ENV={env}: Binance has margin on its live exchange alone")

    @pytest.mark.parametrize(
        ("name", "text", "sets"),
        [
            ("MARGIN_BORROW_MODE", "auto", "manual: "),
            ("MARGIN_SIDE_EFFECT", "AUTO_BORROW_REPAY", "unset, or NO_SIDE_EFFECT: "),
            ("MARGIN_SIDE_EFFECT", "margin_buy", "unset, or NO_SIDE_EFFECT: "),
        ],
    )
    def test_older_ways_to_borrow_are_refused_with_the_reason(self, name: str, text: str, sets: str) -> None:
        margin = {"TRADE_MODE": "margin", "MARGIN_ISOLATED": "true"}
        (fault,) = faults_of({**margin, name: text})
        assert fault.name == name
        assert fault.must.startswith(sets)
        assert "in silence" in fault.must
        assert load_settings({name: text}, None).trade_mode is TradeMode.SPOT  # nobody borrows there

    def test_shorts_are_on_where_they_are_borrowed(self) -> None:
        margin = {"TRADE_MODE": "MARGIN", "MARGIN_ISOLATED": "true"}
        assert load_settings(margin, None).allow_short
        assert not load_settings({**margin, "ALLOW_SHORT": "false"}, None).allow_short
        assert not load_settings({}, None).allow_short

    def test_a_symbol_may_have_margin_settings_of_its_own(self) -> None:
        several = {
            "BINANCE_ENV": "live", "LIVE_CONFIRM": "yes", "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s",
            "SYMBOLS": "BTCUSDT,LTCUSDT", "STATE_FN": "{symbol}.json", "TRADE_MODE": "margin",
            "MARGIN_ISOLATED": "false", "LTCUSDT__MARGIN_ISOLATED": "true", "LTCUSDT__MARGIN_MAX_BORROW_USD": "50",
        }  # fmt: skip
        settings = load_settings(several, None)
        assert [settings.of(symbol).margin_isolated for symbol in settings.traded] == [False, True]
        assert [settings.of(symbol).margin_max_borrow_usd for symbol in settings.traded] == [0, 50]
        assert all(settings.of(symbol).allow_short for symbol in settings.traded)
        (fault,) = faults_of({**several, "LTCUSDT__MARGIN_BORROW_MODE": "manual"})
        assert fault.must == "unset: MARGIN_BORROW_MODE holds for all symbols alike"

    @pytest.mark.parametrize("env", ["testnet", "demo", "custom"])
    def test_every_exchange_but_paper_needs_keys_and_a_symbol(self, env: str) -> None:
        names = {fault.name for fault in faults_of({"BINANCE_ENV": env})}
        needed = {"SYMBOL", "BINANCE_API_KEY", "BINANCE_API_SECRET and BINANCE_PRIVATE_KEY_FILE"}
        urls = {"BINANCE_REST_URL", "BINANCE_WS_API_URL", "BINANCE_STREAM_URL"}
        assert names == (needed | urls if env == "custom" else needed)

    def test_paper_takes_no_urls_of_another_exchange(self) -> None:
        (fault,) = faults_of({"BINANCE_REST_URL": "https://example.invalid"})
        assert fault.name == "BINANCE_REST_URL"
        assert "custom" in fault.must

    def test_two_kinds_of_key_at_once(self, tmp_path: Path) -> None:
        pem = tmp_path / "key.pem"
        keep(pem, "-")
        (fault,) = faults_of(LIVE | {"BINANCE_PRIVATE_KEY_FILE": str(pem)})
        assert fault.must == "only one of them"
        assert (
            load_settings(
                LIVE | {"BINANCE_PRIVATE_KEY_FILE": str(pem), "BINANCE_API_SECRET": ""}, None
            ).binance_private_key_file
            == pem
        )

    def test_a_key_file_and_a_recording_must_be_there(self, tmp_path: Path) -> None:
        gone = str(tmp_path / "gone")
        live = LIVE | {"BINANCE_PRIVATE_KEY_FILE": gone, "BINANCE_API_SECRET": ""}
        assert [fault.name for fault in faults_of(live)] == ["BINANCE_PRIVATE_KEY_FILE"]
        assert [fault.name for fault in faults_of({"PAPER_RECORDING": gone})] == ["PAPER_RECORDING"]
        assert load_settings(LIVE | {"PAPER_RECORDING": gone}, None).paper_recording == Path(gone)

    def test_a_size_above_the_limit_would_refuse_every_signal(self) -> None:
        (fault,) = faults_of({"QTY_USD": "500", "MAX_POSITION_USD": "400"})
        assert fault.name == "QTY_USD"
        assert load_settings({"QTY_USD": "400", "MAX_POSITION_USD": "400"}, None).qty_usd == 400

    def test_two_servers_on_one_port(self) -> None:
        assert [fault.name for fault in faults_of({"PAPER_PORT": "8080"})] == ["PAPER_PORT"]
        webhook = {"WEBHOOK_PORT": "8080", "WEBHOOK_SECRET": "s" * 16}
        assert [fault.name for fault in faults_of(webhook)] == ["WEBHOOK_PORT"]
        webhook |= {"WEBHOOK_PORT": "9100", "PAPER_PORT": "9100"}
        assert [fault.name for fault in faults_of(webhook)] == ["PAPER_PORT"]
        assert load_settings({"PAPER_PORT": "0", "HTTP_PORT": "0"}, None).http_port == 0

    def test_one_file_for_state_and_journal(self) -> None:
        assert [fault.name for fault in faults_of({"STATE_FN": "x", "JOURNAL_FN": "./x"})] == ["JOURNAL_FN"]


class TestExactlyOne:
    @pytest.mark.parametrize("name", ["QTY", "QTY_USD", "RISK_USD"])
    def test_one_size_leaves_the_others_unset(self, name: str) -> None:
        settings = load_settings({name: "7"}, None)
        sizes = {"QTY": settings.qty, "QTY_USD": settings.qty_usd, "RISK_USD": settings.risk_usd}
        assert sizes == {"QTY": None, "QTY_USD": None, "RISK_USD": None} | {name: Decimal(7)}
        assert settings.origin(name) is Origin.ENVIRONMENT

    def test_trailing_distance(self) -> None:
        settings = load_settings({"TRAIL_DISTANCE_PCT": "0.01"}, None)
        assert settings.trail_distance_pct == Decimal("0.01")
        assert settings.trail_distance_r_mult is None

    def test_two_from_different_sources_are_two(self, env_file: Path) -> None:
        env_file.write_text("RISK_USD=5\n", encoding="utf-8")
        (fault,) = faults_of({"QTY": "1"}, env_file)
        assert fault.was == "QTY=1 (environment), RISK_USD=5 (env file)"

    def test_a_wrong_one_counts_as_set(self) -> None:
        assert [fault.name for fault in faults_of({"RISK_USD": "-1"})] == ["RISK_USD"]


class TestSources:
    @given(
        given_by=st.sets(st.sampled_from([Origin.ENVIRONMENT, Origin.ENV_FILE, Origin.SECRETS_FILE])),
        secret=st.sampled_from(["PAPER_API_KEY", "PAPER_API_SECRET"]),
    )
    def test_the_first_that_has_it_wins(
        self, given_by: set[Origin], secret: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("sources")
        environ = {"SECRETS_DIR": str(folder)}
        if Origin.ENVIRONMENT in given_by:
            environ[secret] = "from environment"
        if Origin.ENV_FILE in given_by:
            (folder / ".env").write_text(f"{secret}='from env file'\n", encoding="utf-8")
        if Origin.SECRETS_FILE in given_by:
            (folder / secret).write_text("from secrets file\n", encoding="utf-8")
        settings = load_settings(environ, folder / ".env")
        value = getattr(settings, secret.lower()).get_secret_value()
        first = next((o for o in Origin if o in given_by), Origin.DEFAULT)
        assert settings.origin(secret) is first
        assert value == ("paper" if first is Origin.DEFAULT else f"from {first}")

    def test_an_empty_value_is_not_set(self, env_file: Path) -> None:
        env_file.write_text("POLL_SEC=3\nLOG_LEVEL=\n", encoding="utf-8")
        settings = load_settings({"POLL_SEC": "  "}, env_file)
        assert (settings.poll_sec, settings.origin("POLL_SEC")) == (Decimal(3), Origin.ENV_FILE)
        assert settings.origin("LOG_LEVEL") is Origin.DEFAULT

    def test_space_around_a_value_does_not_count(self) -> None:
        assert load_settings({"SYMBOL": " BTCUSDT\r"}, None).symbol == "BTCUSDT"

    def test_the_older_name_of_the_signal_file(self, env_file: Path) -> None:
        old = load_settings({"DELTASCOUT_LOG": "old.jsonl"}, None)
        assert (old.signal_file, old.origin("SIGNAL_FILE")) == (Path("old.jsonl"), Origin.ENVIRONMENT)
        both = load_settings({"DELTASCOUT_LOG": "old.jsonl", "SIGNAL_FILE": "new.jsonl"}, None)
        assert both.signal_file == Path("new.jsonl")
        assert both.warnings == ("DELTASCOUT_LOG is ignored: SIGNAL_FILE, its newer name, is set too",)
        env_file.write_text("SIGNAL_FILE=new.jsonl\n", encoding="utf-8")
        assert load_settings({"DELTASCOUT_LOG": "old.jsonl"}, env_file).signal_file == Path("old.jsonl")

    def test_words_are_read_in_any_case(self) -> None:
        settings = load_settings({"ENTRY_MODE": "limit_only", "TRADE_MODE": "SPOT"}, None)
        assert (settings.entry_mode, settings.trade_mode) == (EntryMode.LIMIT_ONLY, TradeMode.SPOT)

    def test_times_in_milliseconds_are_exact(self) -> None:
        assert to_ms(load_settings({"POLL_SEC": "0.123"}, None).poll_sec) == 123


class TestEnvFile:
    def test_comments_quotes_and_export(self, env_file: Path) -> None:
        text = "# note\nexport SYMBOL=ETHUSDT\n\nPOLL_SEC = 2 # seconds\nPAPER_API_KEY='a # b'\n"
        env_file.write_text(text, encoding="utf-8")
        settings = load_settings({}, env_file)
        assert (settings.symbol, settings.poll_sec) == ("ETHUSDT", Decimal(2))
        assert settings.paper_api_key.get_secret_value() == "a # b"

    def test_a_dollar_in_a_secret_is_a_dollar(self, env_file: Path) -> None:
        env_file.write_text("PAPER_API_SECRET=a${HOME}b$c\n", encoding="utf-8")
        assert load_settings({}, env_file).paper_api_secret.get_secret_value() == "a${HOME}b$c"

    def test_a_missing_file_is_an_empty_one(self, env_file: Path) -> None:
        assert load_settings({}, env_file).warnings == ()

    @pytest.mark.parametrize("line", ["POLL_SEC", "PAPER_API_SECRET 'hush", "='x'"])
    def test_a_line_that_is_not_understood_is_named_not_shown(self, env_file: Path, line: str) -> None:
        env_file.write_text(f"SYMBOL=BTCUSDT\n{line}\n", encoding="utf-8")
        (fault,) = faults_of({}, env_file)
        assert fault == Fault(f"{env_file} line 2", "not understood", "NAME=value, a comment or blank")

    def test_a_file_that_cannot_be_read(self, tmp_path: Path, env_file: Path) -> None:
        assert [fault.name for fault in faults_of({}, tmp_path)] == [str(tmp_path)]
        env_file.write_bytes(b"SYMBOL=\xff\xfe\n")
        assert faults_of({}, env_file) == (Fault(str(env_file), "not text", "a text file in UTF-8"),)

    def test_unknown_names_are_reported_with_the_nearest_known_one(self, env_file: Path) -> None:
        env_file.write_text("PLANB_MAX_DEV=1\nPOLL_SECS=2\nZZZ=1\n", encoding="utf-8")
        assert load_settings({}, env_file).warnings == (
            f"PLANB_MAX_DEV in {env_file} is not a setting; did you mean PLANB_MAX_DEV_USD?",
            f"POLL_SECS in {env_file} is not a setting; did you mean POLL_SEC?",
            f"ZZZ in {env_file} is not a setting",
        )

    def test_a_name_given_twice_is_reported(self, env_file: Path) -> None:
        env_file.write_text("POLL_SEC=1\nPOLL_SEC=2\n", encoding="utf-8")
        settings = load_settings({}, env_file)
        assert settings.poll_sec == 2
        assert settings.warnings == (f"POLL_SEC is set twice in {env_file}: the last one counts",)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("export POLL_SEC=1", "systemd and Docker do not know `export`, and would leave POLL_SEC out: without it"),
            (
                "POLL_SEC=1 # as before",
                (
                    "for systemd a comment behind the value is a part of it, and so POLL_SEC would be another: "
                    "a line of its own"
                ),
            ),
            (
                r"WEBHOOK_SECRET=0123456789ab\cdef",
                "for systemd a backslash is taken away, and so WEBHOOK_SECRET would be another: quotes",
            ),
        ],
    )
    def test_a_line_that_systemd_reads_otherwise_is_named(self, env_file: Path, line: str, said: str) -> None:
        """The service would have other sizes, limits or files than the commands that check them."""
        env_file.write_text(f"MAX_HOLD_SEC=60\n{line}\n", encoding="utf-8")
        env_file.chmod(0o600)
        assert load_settings({}, env_file).warnings == (f"{env_file} line 2: {said}",)

    @pytest.mark.parametrize(
        "line", ["POLL_SEC=1", "POLL_SEC='1' # so", "# POLL_SEC=1 # so", 'POLL_SEC="1"', "POLL_SEC=1#2"]
    )
    def test_a_line_that_all_read_alike_is_not(self, env_file: Path, line: str) -> None:
        env_file.write_text(f"{line}\n", encoding="utf-8")
        found = Found()
        read_env_file(env_file, found)
        assert found.warnings == []

    def test_in_the_environment_only_near_misses_are_reported(self) -> None:
        others = (
            "PATH",
            "BINANCE_LIB_DIR",
            "POLL_EVERY",
            "WATCHDOG_USEC",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "STATE_DIRECTORY",
        )
        near = {
            "MAX_HOLD_SECS": "MAX_HOLD_SEC",
            "TRAIL_DISTANCE_PERCENT": "TRAIL_DISTANCE_PCT",
            "ALLOW_SHORTS": "ALLOW_SHORT",
            "EXECUTOR_MAX_DAILY_LOSS_USD": "MAX_DAILY_LOSS_USD",
            "LTCUSDT_QTY_USD": "LTCUSDT__QTY_USD",
            "LTCUSDT___SL_PCT": "LTCUSDT__SL_PCT",
            "QTYUSD": "QTY_USD",
        }
        environ = {"SYMBOL": "LTCUSDT", **dict.fromkeys((*others, *near), "2")}
        assert load_settings(environ, None).warnings == tuple(
            f"{name} in the environment is not a setting; did you mean {meant}?" for name, meant in sorted(near.items())
        )

    @pytest.mark.parametrize("quote", ["'", '"'])
    def test_quotes_that_nobody_has_taken_off_are_a_fault(self, quote: str) -> None:
        """As `docker run --env-file` leaves them: the state was kept in a folder that no volume held."""
        for name, text in (("STATE_FN", "/data/state.json"), ("SIGNAL_FILE", "/data/signals.jsonl"), ("QTY_USD", "")):
            with pytest.raises(SettingsError, match=rf"{name}: .*without the quotes"):
                load_settings({name: f"{quote}{text}{quote}"}, None)
        secret = {"WEBHOOK_PORT": "9000", "WEBHOOK_SECRET": f"{quote}{'s' * 30}{quote}"}
        (told,) = load_settings(secret, None).warnings
        assert told == "WEBHOOK_SECRET begins and ends with a quote, and both are a part of it"

    @pytest.mark.parametrize("what", ["pipe", "folder", "large"])
    def test_what_stands_in_the_place_of_an_env_file_is_not_waited_on(self, env_file: Path, what: str) -> None:
        match what:
            case "pipe":
                os.mkfifo(env_file)
            case "folder":
                env_file.mkdir()
            case _:
                env_file.touch()
                os.truncate(env_file, 1 << 40)
        with pytest.raises(SettingsError, match="a regular file of at most"):
            load_settings({}, env_file)

    def test_a_byte_that_no_path_and_no_request_can_have_is_a_fault(self, env_file: Path) -> None:
        env_file.write_bytes(b"PAPER_RECORDING=a\0b\n")
        with pytest.raises(SettingsError, match=r"PAPER_RECORDING: .*text in UTF-8"):
            load_settings({}, env_file)

    @given(st.sampled_from(sorted(KNOWN_NAMES)))
    def test_known_names_are_never_reported(self, name: str) -> None:
        try:
            assert load_settings({name: " "}, None).warnings == ()
        except SettingsError:
            pytest.fail("an empty value is not set, so it cannot be wrong")


class TestSecretFiles:
    def test_a_folder_with_a_file_for_each(self, tmp_path: Path) -> None:
        keep(tmp_path / "BINANCE_API_KEY", "the key\n")
        keep(tmp_path / "binance_api_secret", "the secret\n")
        (tmp_path / "SYMBOL").write_text("not a secret, so not read", encoding="utf-8")
        live = {
            "BINANCE_ENV": "live",
            "LIVE_CONFIRM": "yes",
            "SYMBOL": "BTCUSDT",
            "SECRETS_DIR": str(tmp_path),
        }
        settings = load_settings(live, None)
        assert settings.binance_api_key == SecretStr("the key")
        assert settings.binance_api_secret == SecretStr("the secret")
        assert settings.origin("BINANCE_API_SECRET") is Origin.SECRETS_FILE
        assert settings.origin("SYMBOL") is Origin.ENVIRONMENT

    def test_two_files_of_one_secret_are_a_fault(self, tmp_path: Path) -> None:
        for name in ("BINANCE_API_KEY", "binance_api_key", "other", "OTHER"):
            keep(tmp_path / name, name)
        live = {"BINANCE_ENV": "testnet", "SYMBOL": "BTCUSDT", "SECRETS_DIR": str(tmp_path), "BINANCE_API_SECRET": "s"}
        (fault,) = faults_of(live)
        assert fault.name == "BINANCE_API_KEY"
        assert "BINANCE_API_KEY and binance_api_key" in fault.was
        assert load_settings({**live, "BINANCE_API_KEY": "k"}, None).binance_api_key == SecretStr("k")

    def test_a_file_named_by_the_environment(self, tmp_path: Path, env_file: Path) -> None:
        (tmp_path / "hidden").write_text("from the named file\n", encoding="utf-8")
        env_file.write_text("PAPER_API_SECRET=direct\n", encoding="utf-8")
        settings = load_settings({"PAPER_API_SECRET_FILE": str(tmp_path / "hidden")}, env_file)
        assert settings.paper_api_secret.get_secret_value() == "from the named file"
        assert settings.origin("PAPER_API_SECRET") is Origin.SECRETS_FILE

    def test_named_and_given_in_one_source_is_once_too_often(self, tmp_path: Path) -> None:
        environ = {"PAPER_API_SECRET": "x", "PAPER_API_SECRET_FILE": str(tmp_path / "y")}
        (fault,) = faults_of(environ)
        assert fault.name == "PAPER_API_SECRET and PAPER_API_SECRET_FILE"

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text(" \n", encoding="utf-8")
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        environ = {
            "PAPER_API_KEY_FILE": str(tmp_path / "empty"),
            "PAPER_API_SECRET_FILE": str(tmp_path / "binary"),
            "TELEGRAM_BOT_TOKEN_FILE": str(tmp_path / "gone"),
            "BINANCE_API_KEY_FILE": str(tmp_path),
        }
        assert {fault.name: fault.must for fault in faults_of(environ)} == {
            "PAPER_API_KEY_FILE": "a file that holds the secret",
            "PAPER_API_SECRET_FILE": "a text file in UTF-8",
            "TELEGRAM_BOT_TOKEN_FILE": "readable (No such file or directory)",
            "BINANCE_API_KEY_FILE": "a regular file of at most 65536 bytes",
        }

    @pytest.mark.parametrize("what", ["pipe", "device", "large"])
    def test_what_stands_in_the_place_of_a_secret_is_not_waited_on(self, tmp_path: Path, what: str) -> None:
        """Nor read without an end. What a link leads to is as good as any."""
        path, link = tmp_path / "secret", tmp_path / "link"
        link.symlink_to(path)
        match what:
            case "pipe":
                os.mkfifo(path, 0o600)
            case "device":
                path.symlink_to("/dev/zero")
            case _:
                path.touch(0o600)
                os.truncate(path, 1 << 40)
        faults = faults_of({"TELEGRAM_BOT_TOKEN_FILE": str(link), "TELEGRAM_CHAT_ID": "1"})
        assert faults[0].name == "TELEGRAM_BOT_TOKEN_FILE"
        assert faults[0].must == "a regular file of at most 65536 bytes"
        path.unlink()
        path.write_text("1:token\n")
        path.chmod(0o600)
        found = load_settings({"TELEGRAM_BOT_TOKEN_FILE": str(link), "TELEGRAM_CHAT_ID": "1"}, None)
        assert found.telegram_bot_token is not None

    def test_a_folder_that_cannot_be_listed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_folder: Path) -> Iterator[Path]:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", refuse)
        (fault,) = faults_of({"SECRETS_DIR": str(tmp_path)})
        assert (fault.name, fault.must) == ("SECRETS_DIR", "readable (Permission denied)")

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        (fault,) = faults_of({"SECRETS_DIR": str(tmp_path / "gone")})
        assert (fault.name, fault.must) == ("SECRETS_DIR", "a folder that exists")

    def test_the_standard_folder_is_read_where_there_is_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "PAPER_API_KEY").write_text("mounted", encoding="utf-8")
        monkeypatch.setattr("executor.config.sources.STANDARD_SECRETS_DIR", tmp_path)
        assert load_settings({}, None).paper_api_key.get_secret_value() == "mounted"


class TestWhoMayReadSecrets:
    OPEN = (0o604, 0o640, 0o644, 0o602, 0o777)

    @pytest.mark.parametrize("mode", OPEN)
    def test_a_named_file_that_others_can_read_is_refused(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "secret"
        keep(path, "the secret", mode)
        environ = {key: text for key, text in LIVE.items() if key != "BINANCE_API_SECRET"}
        fault = faults_of(environ | {"BINANCE_API_SECRET_FILE": str(path)})[0]
        assert fault.name == "BINANCE_API_SECRET_FILE"
        assert fault.must == f"readable by nobody but its owner (chmod 600 {path})"
        path.chmod(0o400)
        assert load_settings(environ | {"BINANCE_API_SECRET_FILE": str(path)}, None).binance_api_secret is not None

    @pytest.mark.parametrize("mode", OPEN)
    def test_so_is_one_in_the_secrets_folder(self, tmp_path: Path, mode: int) -> None:
        keep(tmp_path / "TELEGRAM_BOT_TOKEN", "the token", mode)
        faults = faults_of({"SECRETS_DIR": str(tmp_path), "TELEGRAM_CHAT_ID": "1"})
        assert faults[0].name == "TELEGRAM_BOT_TOKEN"
        assert "can read" in faults[0].was

    @pytest.mark.parametrize("mode", OPEN)
    def test_so_is_a_private_key(self, tmp_path: Path, mode: int) -> None:
        keep(tmp_path / "key.pem", "-", mode)
        environ = LIVE | {"BINANCE_PRIVATE_KEY_FILE": str(tmp_path / "key.pem"), "BINANCE_API_SECRET": ""}
        assert [fault.name for fault in faults_of(environ)] == ["BINANCE_PRIVATE_KEY_FILE"]

    @pytest.mark.parametrize("mode", OPEN)
    def test_so_is_an_env_file_with_a_secret_in_it(self, env_file: Path, mode: int) -> None:
        keep(env_file, "WEBHOOK_SECRET=sixteen letters!\n", mode)
        (fault,) = faults_of({}, env_file)
        assert fault.name == str(env_file)
        assert "WEBHOOK_SECRET" in fault.was
        keep(env_file, "POLL_SEC=2\nPAPER_API_SECRET=toy\n", mode)
        assert load_settings({}, env_file).poll_sec == 2

    def test_a_group_that_another_user_gave_the_file_to_is_the_service(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep(tmp_path / "token", "the token", 0o640)
        environ = {"TELEGRAM_BOT_TOKEN_FILE": str(tmp_path / "token"), "TELEGRAM_CHAT_ID": "1"}
        assert "its group" in faults_of(environ)[0].was
        monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
        assert load_settings(environ, None).telegram_bot_token == SecretStr("the token")
        (tmp_path / "token").chmod(0o644)
        assert "everybody" in faults_of(environ)[0].was

    def test_root_is_not_told_to_lock_the_service_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A command that root gives by mistake, and what it advises, must not keep the service from its next start."""
        keep(tmp_path / "token", "the token", 0o640)
        monkeypatch.setattr("os.geteuid", lambda: 0)
        monkeypatch.setattr("os.getegid", lambda: (tmp_path / "token").stat().st_gid + 1)
        assert private(tmp_path / "token").endswith("leave it and be that user (sudo -u)")
        (tmp_path / "token").chmod(0o644)
        assert "sudo" not in private(tmp_path / "token")

    @pytest.mark.parametrize("name", ["WEBHOOK_SECRET", "WEBHOOK_HMAC_SECRET"])
    def test_a_short_webhook_secret_is_refused_and_not_shown(self, name: str) -> None:
        (fault,) = faults_of({name: "fifteen letters"})
        assert (fault.name, fault.was) == (name, "***")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_reads_without_a_token(host: str) -> None:
    assert load_settings({"HTTP_HOST": host}, None).http_token is None


@pytest.mark.parametrize("host", ["::", "0::0", "192.0.2.7", "executor.lan"])
def test_others_read_with_a_token_or_not_at_all(host: str) -> None:
    (fault,) = faults_of({"HTTP_HOST": host})
    assert (fault.name, fault.was) == ("HTTP_TOKEN", "not set")
    (fault,) = faults_of({"HTTP_HOST": host, "HTTP_TOKEN": "fifteen letters"})
    assert (fault.name, fault.was) == ("HTTP_TOKEN", "***")
    assert load_settings({"HTTP_HOST": host, "HTTP_PORT": "0"}, None).http_port == 0
    assert load_settings({"HTTP_HOST": host, "HTTP_TOKEN": "t" * 16}, None).http_token == SecretStr("t" * 16)


def test_alerts_and_who_may_command() -> None:
    environ = {"TELEGRAM_BOT_TOKEN": "t", "TELEGRAM_CHAT_ID": "-100", "TELEGRAM_USERS": "7, 12"}
    settings = load_settings(environ | {"TELEGRAM_NOTIFY": "opened=Silent, daily=off"}, None)
    assert settings.telegram_users == (7, 12)
    assert settings.telegram_notify == {Topic.OPENED: Sound.SILENT, Topic.DAILY: Sound.OFF}
    assert as_text(settings.telegram_notify) == "opened=silent,daily=off"
    assert [fault.name for fault in faults_of(environ | {"TELEGRAM_CHAT_ID": "@news"})] == ["TELEGRAM_CHAT_ID"]
    assert [fault.name for fault in faults_of({"TELEGRAM_USERS": "7"})] == ["TELEGRAM_CHAT_ID"]
    assert [fault.name for fault in faults_of(environ | {"TELEGRAM_USERS": "7,x"})] == ["TELEGRAM_USERS"]
    assert [fault.name for fault in faults_of(environ | {"TELEGRAM_NOTIFY": "daily=off,daily=on"})] == [
        "TELEGRAM_NOTIFY"
    ]


@pytest.mark.parametrize("host", ["a..example", "x" * 64 + ".example", "."])
@pytest.mark.parametrize("name", ["BINANCE_REST_URL", "BINANCE_STREAM_URL", "ALERT_WEBHOOK_URL", "WEBHOOK_HOST"])
def test_a_host_that_no_name_server_could_be_asked_for_is_refused(name: str, host: str) -> None:
    """Libraries raise what is no error of the network for it, long after the start."""
    scheme = {"BINANCE_STREAM_URL": "wss://", "WEBHOOK_HOST": ""}.get(name, "https://")
    urls = {"BINANCE_REST_URL": "http://h", "BINANCE_WS_API_URL": "ws://h", "BINANCE_STREAM_URL": "ws://h"}
    faults = faults_of({"BINANCE_ENV": "custom", **urls, name: f"{scheme}{host}"})
    of_hosts = {*urls, "ALERT_WEBHOOK_URL", "WEBHOOK_HOST"}
    assert [fault.name for fault in faults if fault.name in of_hosts] == [name]


@pytest.mark.parametrize("url", ["ftp://a.example", "https://", "https://u:p@a.example/x", "https://a:99999/x"])
def test_an_alert_webhook_goes_to_an_address(url: str) -> None:
    assert [fault.name for fault in faults_of({"ALERT_WEBHOOK_URL": url})] == ["ALERT_WEBHOOK_URL"]
    assert [fault.name for fault in faults_of({"ALERT_WEBHOOK_SECRET": "k" * 32})] == ["ALERT_WEBHOOK_URL"]
    sound = {"ALERT_WEBHOOK_URL": "https://a.example/x?token=1"}
    assert load_settings(sound, None).alert_webhook_url is not None
    assert [fault.name for fault in faults_of(sound | {"ALERT_WEBHOOK_SECRET": "short"})] == ["ALERT_WEBHOOK_SECRET"]


class TestSecretsStayHidden:
    MARK = "hush-7f3a-hush-7f3a"

    @given(st.sets(st.sampled_from(sorted(BREAKAGES))))
    def test_in_faults_and_in_everything_that_is_printed(self, broken: set[str]) -> None:
        environ = LIVE | {name: self.MARK for name in SECRETS if not name.startswith("BINANCE_PRIVATE")}
        environ["TELEGRAM_CHAT_ID"] = "1"
        environ["BINANCE_STREAM_URL"] = f"wss://user:{self.MARK}@127.0.0.1"
        for name in broken:
            environ |= {
                key: text if key not in SECRETS or not text.strip() else self.MARK
                for key, text in BREAKAGES[name].items()
            }
        with pytest.raises(SettingsError) as caught:
            load_settings(environ, None)
        assert self.MARK not in f"{caught.value} {caught.value!r} {caught.value.faults!r}"

    def test_even_if_a_secret_itself_were_wrong(self) -> None:
        assert loading._shown("BINANCE_API_SECRET", self.MARK) == "***"

    def test_in_sound_settings(self) -> None:
        environ = LIVE | {name: self.MARK for name in SECRETS if not name.startswith("BINANCE_PRIVATE")}
        environ["ALERT_WEBHOOK_URL"] = f"https://alerts.example.com/{self.MARK}"
        settings = load_settings(environ | {"TELEGRAM_CHAT_ID": "1"}, None)
        assert settings.binance_api_secret == SecretStr(self.MARK)
        shown = [str(settings), repr(settings), rendering.table(settings), rendering.as_json(settings)]
        assert [text for text in shown if self.MARK in text] == []
        assert [row.value for row in rendering.rows(settings) if row.name == "BINANCE_API_SECRET"] == ["***"]


class TestWhatIsWorkedOut:
    def test_paper_has_no_endpoints_of_its_own(self) -> None:
        assert load_settings({}, None).endpoints is None

    def test_an_environment_has_its_endpoints(self) -> None:
        endpoints = load_settings(LIVE | {"BINANCE_ENV": "testnet"}, None).endpoints
        assert endpoints == (
            "https://testnet.binance.vision",
            "wss://ws-api.testnet.binance.vision/ws-api/v3",
            "wss://stream.testnet.binance.vision",
        )

    def test_a_url_overrides_that_of_the_environment(self) -> None:
        endpoints = load_settings(LIVE | {"BINANCE_REST_URL": "http://127.0.0.1:9100/"}, None).endpoints
        assert endpoints is not None
        assert endpoints.rest == "http://127.0.0.1:9100"
        assert endpoints.stream == "wss://stream.binance.com:9443"

    def test_state_and_journal_of_a_symbol(self) -> None:
        plain = load_settings({}, None)
        assert plain.state_path("BTCUSDT") == Path("data/state/executor_state.json")
        assert plain.journal_path("BTCUSDT") == Path("data/state/executor_state.journal.jsonl")
        named = load_settings({"STATE_FN": "/data/{symbol}/state.json", "JOURNAL_FN": "/log/{symbol}.jsonl"}, None)
        assert named.state_path("BTCUSDT") == Path("/data/BTCUSDT/state.json")
        assert named.journal_path("BTCUSDT") == Path("/log/BTCUSDT.jsonl")

    def test_settings_made_directly_read_no_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("POLL_SEC", "7")
        assert Settings().poll_sec == 1
