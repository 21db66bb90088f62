"""A symbol that is taken out of SYMBOLS while its trade is open: told, loudly, and nothing is lost."""

import asyncio
from pathlib import Path

import pytest
from tests.scenarios.harness import World, harness

from executor.config import load_settings
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.ops import doctor
from executor.ops.doctor import Level
from executor.service.left_behind import left_behind

WORLD = World(Direction.LONG, "OCO", pushes=True)


async def test_a_symbol_dropped_with_its_trade_open_is_told_and_goes_on_once_it_is_back(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD, symbols=("LTCUSDT", "BNBUSDT")) as b:
        b.symbol = "BNBUSDT"
        await b.enter()
        orders = b.open()
        await b.stop()
        b.symbols = ("LTCUSDT",)
        alone = {"SYMBOL": "", "SYMBOLS": "LTCUSDT", "STATE_FN": str(tmp_path / "{symbol}.json")}
        b.symbol = "LTCUSDT"
        await b.start(**alone)
        (told,) = [line for line in b.log if line["event"] == "trade_left_behind"]
        assert told["alert"]
        assert "BNBUSDT has trade" in told["text"]
        assert "Put BNBUSDT back into SYMBOLS" in told["text"]
        settings = b.settings(**alone)
        states = {"LTCUSDT": doctor.Files(settings.state_path("LTCUSDT"), "LTCUSDT")}
        findings = await asyncio.to_thread(doctor.on_this_machine, settings, states)
        (found,) = [each for each in findings if each.name == "open trades"]
        assert (found.level, found.advice) == (Level.FAIL, "SYMBOLS must name BNBUSDT too")
        await b.stop()
        b.symbols = ("LTCUSDT", "BNBUSDT")
        await b.start()
        assert b.said("trade_left_behind") == 1
        b.symbol = "BNBUSDT"
        assert [o.order_id for o in b.open()] == [o.order_id for o in orders]
        await b.move(-1)
        await b.ends(Reason.SL)
        assert left_behind(settings, ()) == []


@pytest.mark.parametrize("template", ["state.json", "{symbol}/{symbol}.json", "[a]*{symbol}?.json"])
def test_what_is_no_state_of_ours_is_passed_over(tmp_path: Path, template: str) -> None:
    for name in ("LTCUSDT.json", "[a]*BNBUSDT?.json", "X.json", "ltcusdt.json"):
        (tmp_path / name).write_bytes(b"\xff{")
    (tmp_path / "LTCUSDT").mkdir()
    (tmp_path / "LTCUSDT" / "BNBUSDT.json").touch()
    (tmp_path / "LTCUSDT" / "LTCUSDT.json").mkdir()
    settings = load_settings({"STATE_FN": str(tmp_path / template)}, None)
    assert left_behind(settings, ("BTCUSDT",)) == []
