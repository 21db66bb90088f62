"""Several symbols: which are traded, and what is set for one of them alone."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.config import Fault, Origin, Settings, SettingsError, load_settings, rendering
from executor.config.overrides import PER_SYMBOL
from executor.config.sources import FIELDS

SEVERAL = {
    "BINANCE_ENV": "testnet",
    "SYMBOLS": "BTCUSDT,ETHUSDT",
    "BINANCE_API_KEY": "key",
    "BINANCE_API_SECRET": "secret",
    "STATE_FN": "state/{symbol}.json",
}
ONE = {name: text for name, text in SEVERAL.items() if name != "SYMBOLS"} | {"SYMBOL": "BTCUSDT"}


def load(*changes: dict[str, str]) -> Settings:
    environ = dict(SEVERAL)
    for change in changes:
        environ |= change
    return load_settings(environ, None)


def faults(environ: dict[str, str], env_file: Path | None = None) -> list[Fault]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, env_file)
    return list(caught.value.faults)


def fault(**changes: str) -> Fault:
    (found,) = faults(SEVERAL | changes)
    return found


class TestTraded:
    def test_several_are_in_the_order_in_which_they_are_given(self) -> None:
        settings = load({"SYMBOLS": "ETHUSDT, BTCUSDT ,LTCUSDT"})
        assert settings.traded == ("ETHUSDT", "BTCUSDT", "LTCUSDT")
        assert settings.symbol is None
        assert [settings.of(symbol).symbol for symbol in settings.traded] == list(settings.traded)
        assert settings.of("BTCUSDT").traded == ("BTCUSDT",)
        assert settings.of("BTCUSDT").of("BTCUSDT") is settings.of("BTCUSDT")

    def test_one_symbol_by_either_name_is_the_same(self) -> None:
        by_symbol, by_symbols = load_settings(ONE, None), load({"SYMBOLS": "BTCUSDT"})
        assert by_symbol.model_dump(exclude={"symbols"}) == by_symbols.model_dump(exclude={"symbols"})
        assert by_symbols.origin("SYMBOL") is Origin.ENVIRONMENT
        assert by_symbol.traded == by_symbols.traded == ("BTCUSDT",)
        assert by_symbol.of("BTCUSDT") is by_symbol

    def test_a_symbol_that_is_not_traded_has_no_settings(self) -> None:
        for settings in (load_settings(ONE, None), load()):
            with pytest.raises(KeyError):
                settings.of("LTCUSDT")

    def test_on_paper_the_recording_has_the_symbol(self) -> None:
        settings = load_settings({"QTY_USD": "7"}, None)
        assert settings.traded == ()
        of = settings.of("LTCUSDT")
        assert (of.symbol, of.traded, of.qty_usd) == ("LTCUSDT", ("LTCUSDT",), Decimal(7))
        assert of.origin("QTY_USD") is Origin.ENVIRONMENT

    def test_both_names_are_one_too_many(self) -> None:
        found = fault(SYMBOL="BTCUSDT", ETHUSDT__QTY_USD="5")
        assert (found.name, found.must) == ("SYMBOL and SYMBOLS", "only one of them")
        assert "SYMBOLS=BTCUSDT,ETHUSDT (environment)" in found.was

    @pytest.mark.parametrize("text", ["BTCUSDT,BTCUSDT", "BTCUSDT,", "btcusdt,ETHUSDT", "BTC/USDT", "BTCUSDT ETHUSDT"])
    def test_what_is_no_list_of_symbols(self, text: str) -> None:
        found = fault(SYMBOLS=text, BTCUSDT__QTY_USD="5")
        assert found.name == "SYMBOLS"
        assert "each once" in found.must

    def test_paper_takes_one(self) -> None:
        (found,) = faults({"SYMBOLS": "LTCUSDT,BTCUSDT", "STATE_FN": "{symbol}.json"})
        assert (found.name, found.was) == ("SYMBOLS", "'LTCUSDT,BTCUSDT'")
        assert load_settings({"SYMBOLS": "LTCUSDT"}, None).symbol == "LTCUSDT"

    def test_each_needs_files_of_its_own(self) -> None:
        found = faults(SEVERAL | {"STATE_FN": "state.json", "JOURNAL_FN": "journal.jsonl"})
        assert [each.name for each in found] == ["STATE_FN", "JOURNAL_FN"]
        assert all("{symbol}" in each.must for each in found)
        assert load({"SYMBOLS": "BTCUSDT", "STATE_FN": "state.json"}).state_path("BTCUSDT") == Path("state.json")


class TestOverrides:
    def test_one_goes_before_what_holds_for_all_wherever_the_two_are_set(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_text("ETHUSDT__SL_PCT=0.01\nBTCUSDT__QTY_USD=70\nQTY_USD=60\n", encoding="utf-8")
        settings = load_settings(SEVERAL | {"SL_PCT": "0.005", "BTCUSDT__QTY_USD": " 50 "}, file)
        assert settings.qty_usd == Decimal(60)
        btc, eth = settings.of("BTCUSDT"), settings.of("ETHUSDT")
        assert (btc.qty_usd, btc.sl_pct, btc.origin("QTY_USD")) == (Decimal(50), Decimal("0.005"), Origin.ENVIRONMENT)
        assert (eth.qty_usd, eth.sl_pct, eth.origin("SL_PCT")) == (Decimal(60), Decimal("0.01"), Origin.ENV_FILE)
        assert (btc.overridden, eth.overridden, settings.overridden) == (("QTY_USD",), ("SL_PCT",), ())
        assert settings.warnings == ()

    def test_an_empty_one_is_not_set(self) -> None:
        settings = load({"BTCUSDT__QTY_USD": " ", "QTY_USD": "60"})
        assert settings.of("BTCUSDT").qty_usd == Decimal(60)
        assert settings.of("BTCUSDT").overridden == ()

    def test_they_hold_for_a_single_symbol_too(self) -> None:
        settings = load_settings(ONE | {"BTCUSDT__QTY_USD": "50"}, None)
        assert settings.qty_usd == settings.of("BTCUSDT").qty_usd == Decimal(50)

    def test_of_settings_that_exclude_each_other_ones_own_takes_the_place_of_that_for_all(self) -> None:
        settings = load({"QTY_USD": "60", "BTCUSDT__RISK_USD": "5", "ETHUSDT__TRAIL_DISTANCE_PCT": "0.01"})
        btc, eth = settings.of("BTCUSDT"), settings.of("ETHUSDT")
        assert (btc.qty, btc.qty_usd, btc.risk_usd) == (None, None, Decimal(5))
        assert (eth.qty_usd, eth.trail_distance_pct, eth.trail_distance_r_mult) == (Decimal(60), Decimal("0.01"), None)
        assert btc.trail_distance_r_mult == 1

    @given(
        st.dictionaries(
            st.sampled_from(sorted(PER_SYMBOL)),
            st.sampled_from(["0", "1", "2", "0.5", "true", "5,6,7", "1,2", "SWING", "PLAIN", "KEEP", "nonsense", "-1"]),
            max_size=6,
        )
    )
    def test_settings_of_a_symbol_are_those_of_a_process_of_its_own(self, wished: dict[str, str]) -> None:
        """Override or plain setting: the same values, and the same faults under the symbol's names."""
        overrides = {f"BTCUSDT__{name}": text for name, text in wished.items()}
        try:
            alone = load_settings(ONE | wished, None)
        except SettingsError as error:
            told = [
                Fault(" and ".join(f"BTCUSDT__{name}" for name in each.name.split(" and ")), each.was, each.must)
                for each in error.faults
            ]
            assert faults(SEVERAL | overrides) == told
        else:
            of = load(overrides).of("BTCUSDT")
            assert of.model_dump(exclude={"symbols"}) == alone.model_dump(exclude={"symbols"})
            assert all(of.origin(name) is alone.origin(name) for name in FIELDS.keys() - {"SYMBOLS"})


class TestFaults:
    def test_a_value_is_judged_as_everywhere(self) -> None:
        found = fault(ETHUSDT__SL_PCT="1")
        assert (found.name, found.was) == ("ETHUSDT__SL_PCT", "'1'")
        assert found.must == "a number above 0 and below 1"

    def test_checks_over_several_settings_name_the_symbols(self) -> None:
        found = faults(
            SEVERAL
            | {"QTY_USD": "60", "ETHUSDT__MAX_POSITION_USD": "50", "BTCUSDT__QTY": "1", "BTCUSDT__RISK_USD": "1"}
        )
        assert [each.name for each in found] == ["BTCUSDT__QTY and BTCUSDT__RISK_USD", "ETHUSDT__QTY_USD"]
        assert found[1].was == "'60'"
        found = faults(SEVERAL | {"TRAIL_SWING_LOOKBACK": "4", "ETHUSDT__TRAIL_MODE": "SWING"})
        assert [each.name for each in found] == ["ETHUSDT__TRAIL_SWING_LOOKBACK"]

    def test_what_is_wrong_for_all_is_told_once(self) -> None:
        found = faults(SEVERAL | {"POLL_SEC": "0", "BTCUSDT__SL_PCT": "0.1", "MAX_POSITION_USD": "1", "QTY_USD": "2"})
        assert [each.name for each in found] == ["POLL_SEC", "QTY_USD"]

    @pytest.mark.parametrize(
        "name", ["BINANCE_API_SECRET", "BINANCE_API_KEY_FILE", "HTTP_PORT", "STATE_FN", "POLL_SEC", "DELTASCOUT_LOG"]
    )
    def test_what_is_shared_is_not_for_one_symbol(self, name: str) -> None:
        found = fault(**{f"BTCUSDT__{name}": "hush"})
        assert (found.name, found.was) == (f"BTCUSDT__{name}", "set")
        assert found.must == f"unset: {name} holds for all symbols alike"

    def test_a_secret_of_one_symbol_in_the_secrets_folder(self, tmp_path: Path) -> None:
        (tmp_path / "btcusdt__binance_api_key").write_text("hush", encoding="utf-8")
        (tmp_path / "other__thing").write_text("hush", encoding="utf-8")
        found = fault(SECRETS_DIR=str(tmp_path))
        assert found.name == "BTCUSDT__BINANCE_API_KEY"
        assert "hush" not in str(found)

    def test_a_symbol_that_is_not_traded(self) -> None:
        found = fault(ETHUSD__QTY_USD="5")
        assert found.must == "of a symbol that is traded (BTCUSDT, ETHUSDT); did you mean ETHUSDT__QTY_USD?"
        assert fault(LTCBTC__QTY_USD="5").must == "of a symbol that is traded (BTCUSDT, ETHUSDT)"
        (found,) = faults({"LTCUSDT__QTY_USD": "5"})
        assert found.must == "of a symbol that is traded (neither SYMBOL nor SYMBOLS is set)"

    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("BTCUSDT__QTY_US", "BTCUSDT__QTY_USD"),
            ("btcusdt__qty_usd", "BTCUSDT__QTY_USD"),
            ("BTCUSD__TRAIL_MODES", "BTCUSDT__TRAIL_MODE"),
        ],
    )
    def test_a_name_that_nearly_is_one(self, key: str, meant: str) -> None:
        found = fault(**{key: "5"})
        assert found.name == key
        assert found.must.endswith(f"did you mean {meant}?")

    def test_an_unknown_name_of_a_symbol_that_is_traded(self) -> None:
        assert fault(ETHUSDT__COLOUR="red").must == "a setting of a trade, after the symbol and two underscores"

    def test_what_other_programs_set_is_passed_over(self, tmp_path: Path) -> None:
        others = {"AIRFLOW__CORE__FERNET_KEY": "x", "LOGGING__LEVEL": "x", "GRAFANA__HTTP_PORT": "1", "A__B": "2"}
        assert load(others).warnings == ()
        file = tmp_path / ".env"
        file.write_text("LOGGING__COLOUR=x\n", encoding="utf-8")
        (warning,) = load_settings(SEVERAL, file).warnings
        assert warning == "LOGGING__COLOUR in the env file is not a setting"
        assert load_settings(SEVERAL, file).of("BTCUSDT").warnings == (warning,)


def test_the_list_of_settings_shows_them_under_their_symbol() -> None:
    settings = load({"ETHUSDT__SL_PCT": "0.01", "SL_PCT": "0.003"})
    rows = json.loads(rendering.as_json(settings))
    assert {key: rows[-1][key] for key in ("group", "name", "value", "default", "origin")} == {
        "group": "ETHUSDT", "name": "ETHUSDT__SL_PCT", "value": "0.01", "default": "0.002", "origin": "environment",
    }  # fmt: skip
    assert len(rows) == len(FIELDS) + 1
    lines = rendering.table(settings).splitlines()
    assert lines[-2] == "ETHUSDT"
    assert lines[-1].split() == ["ETHUSDT__SL_PCT", "0.01", "0.002", "environment"]


def test_the_documents_mark_what_may_differ() -> None:
    marked = {line.split("`")[1] for line in rendering.markdown().splitlines() if r" \* |" in line}
    assert marked == PER_SYMBOL
    example = rendering.env_example().replace("\n# ", " ")
    assert example.count("May differ per symbol.") == len(PER_SYMBOL)
