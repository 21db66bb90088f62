"""The last rules of a symbol, kept for a start with a trade open: believed where orders can be reckoned by them."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from executor.config import load_settings
from executor.core.model.loans import AssetTerms, Bars, MarginTerms
from executor.core.model.rules import OwnFilters, SymbolRules
from executor.core.model.state import SCHEMA_VERSION
from executor.exchange.binance import BinanceExchange
from executor.exchange.margin import UNTOLD
from executor.exchange.port import ReadError
from executor.service.store import codec
from executor.service.store.state_store import pack
from executor.service.symbol_rules import RulesReader, kept_rules, rules_path

RULES = SymbolRules(
    symbol="LTCUSDT",
    base="LTC",
    quote="USDT",
    tick=Decimal("0.01"),
    step=Decimal("0.001"),
    trailing_above=(10, 2000),
    own=OwnFilters(step=Decimal("0.01")),
    margin=MarginTerms(
        isolated=False,
        bars=Bars(borrow=Decimal("1.5"), call=Decimal("1.3"), liquidation=Decimal("1.1")),
        base=AssetTerms(),
    ),
)


def kept(folder: Path, **changed: Any) -> tuple[SymbolRules | None, list[str]]:
    """What is made of a file with some of it changed, and what is told."""
    shown = json.loads(codec.encode(RULES))
    for name, value in changed.items():
        place = shown
        *outer, last = name.split("__")
        for each in outer:
            place = place[each]
        place[last] = value
    rules_path(folder / "s.json").write_text(json.dumps(shown))
    with capture_logs() as log:
        found = kept_rules(folder / "s.json", "LTCUSDT")
    return found, [entry["why"] for entry in log if entry["event"] == "kept_rules_unusable"]


def test_sound_ones_are_taken_as_they_are(tmp_path: Path) -> None:
    assert kept(tmp_path) == (RULES, [])
    assert kept(tmp_path, tick="1") == (kept(tmp_path, tick="1.0")[0], [])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"step": "0"}, "step is 0, must be above 0"),
        ({"tick": "-1"}, "tick is -1, must be above 0"),
        ({"tick": "NaN"}, "the Decimal NaN is not a finite number"),
        ({"step": "1E+999999"}, "beyond 1E±100"),
        ({"min_qty": "-1"}, "min_qty is -1, must not be below 0"),
        ({"max_orders": -5}, "max_orders is -5, must not be below 0"),
        ({"trailing_above": [10, -1]}, "trailing_above is -1, must not be below 0"),
        ({"own__step": "-0.01"}, "own.step is -0.01, must not be below 0"),
        ({"min_qty": "5", "max_qty": "4"}, "LOT_SIZE: from 5 to 4"),
        ({"symbol": "ETHUSDT"}, "they are those of ETHUSDT"),
        ({"tick": [1]}, "Expected `decimal`"),
        ({"max_qty": "9" * 40}, "max_qty is 9999999999999999999999999999999999999999, must be 0, or from 1E-18"),
        ({"taker_fee": "9.001"}, "a commission of 9.001, must be at most"),
    ],
)
def test_others_are_as_good_as_none_and_are_told_of(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    """A step of 0 ended the service in a division, with the trade open that they were kept for."""
    found, told = kept(tmp_path, **changed)
    assert found is None
    assert len(told) == 1
    assert why in told[0]


def test_where_there_are_none_nothing_is_told(tmp_path: Path) -> None:
    with capture_logs() as log:
        assert kept_rules(tmp_path / "s.json", "LTCUSDT") is None
    assert log == []
    rules_path(tmp_path / "s.json").mkdir()
    with capture_logs() as log:
        assert kept_rules(tmp_path / "s.json", "LTCUSDT") is None
    assert [entry["event"] for entry in log] == ["kept_rules_unusable"]


@given(st.data())
@examples(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_makes_no_other_rules(tmp_path: Path, data: st.DataObject) -> None:
    """A step of 0.101 in the place of 0.001 is a step as well: the exchange refuses every exit by it."""
    sound = pack(RULES, SCHEMA_VERSION)[0]
    bit = data.draw(st.integers(0, 8 * len(sound) - 1))
    torn = bytearray(sound)
    torn[bit // 8] ^= 1 << bit % 8
    rules_path(tmp_path / "s.json").write_bytes(torn)
    found = kept_rules(tmp_path / "s.json", "LTCUSDT")
    assert found in (None, RULES)


class _Shown:
    """As far as a reader looks at an exchange."""

    symbol = "LTCUSDT"
    fault = None

    def __init__(self) -> None:
        self.shown = RULES

    async def rules(self) -> SymbolRules:
        return self.shown


async def test_a_start_does_not_wait_for_the_disk_and_what_has_not_changed_is_not_written_again(
    tmp_path: Path,
) -> None:
    """Between a start and its open trade under supervision stands no sync of a disk (rules 8.3c, 14)."""
    state, exchange = tmp_path / "s.json", _Shown()
    settings = load_settings({"BINANCE_ENV": "paper", "SYMBOL": "LTCUSDT"}, None)
    reader = RulesReader(cast("BinanceExchange", exchange), settings, state)
    begun = await reader.begin(trade_open=True)
    assert not rules_path(state).exists()
    await reader.keep()
    assert kept_rules(state, "LTCUSDT") == begun
    rules_path(state).unlink()
    await reader.again()
    assert not rules_path(state).exists()
    exchange.shown = replace(RULES, tick=Decimal("0.1"))
    again = await reader.again()
    assert kept_rules(state, "LTCUSDT") == again != begun


async def test_a_disk_that_takes_no_rules_is_told_of_once_and_tried_again(tmp_path: Path) -> None:
    state = tmp_path / "s.json"
    settings = load_settings({"BINANCE_ENV": "paper", "SYMBOL": "LTCUSDT"}, None)
    reader = RulesReader(cast("BinanceExchange", _Shown()), settings, state)
    rules_path(state).mkdir()
    with capture_logs() as log:
        begun = await reader.begin(trade_open=False)
        await reader.keep()
        await reader.again()
    assert [entry["event"] for entry in log] == ["rules_not_kept"]
    rules_path(state).rmdir()
    await reader.again()
    assert kept_rules(state, "LTCUSDT") == begun


async def test_a_symbol_whose_assets_are_told_to_be_others_is_not_believed(tmp_path: Path) -> None:
    """The balances of another asset would be looked at: nothing is held there, as if a hand had sold it all."""
    exchange = _Shown()
    settings = load_settings({"BINANCE_ENV": "paper", "SYMBOL": "LTCUSDT"}, None)
    reader = RulesReader(cast("BinanceExchange", exchange), settings, tmp_path / "s.json")
    begun = await reader.begin(trade_open=True)
    for changed in ({"base": "BTC"}, {"quote": ""}):
        exchange.shown = replace(RULES, tick=Decimal("0.1"), **changed)
        with pytest.raises(ReadError, match="assets never change"):
            await reader.again()
    exchange.shown = RULES
    assert await reader.again() == begun


async def test_a_margin_account_that_tells_no_bars_any_more_is_watched_by_the_last_ones(tmp_path: Path) -> None:
    """A level of 1 is below that of liquidation: with the pair taken off margin, an open trade had no ladder at all."""
    exchange = _Shown()
    settings = load_settings({"BINANCE_ENV": "paper", "SYMBOL": "LTCUSDT"}, None)
    reader = RulesReader(cast("BinanceExchange", exchange), settings, tmp_path / "s.json")
    begun = await reader.begin(trade_open=True)
    assert begun.margin is not None
    assert RULES.margin is not None
    exchange.shown = replace(RULES, margin=replace(RULES.margin, bars=UNTOLD, fault="taken off margin"))
    again = await reader.again()
    assert again.margin == replace(begun.margin, fault="taken off margin")
    exchange.shown = replace(RULES, margin=None)
    assert (await reader.again()).margin is None
