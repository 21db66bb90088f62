"""Filters that change between plan and exits (rule 2.6)."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.scenarios.harness import EXITS, OCO_WORLDS, World, harness

from executor.core.model.facts import Why
from executor.core.model.state import Reason
from executor.paper.engine.symbol import Range, Symbol

oco_worlds = pytest.mark.parametrize("world", OCO_WORLDS, ids=str)


@oco_worlds
async def test_exits_go_out_on_the_new_grid(tmp_path: Path, world: World) -> None:
    """The tick grows from 0.01 to 0.10 while the entry rests: a filter's refusal has the rules read anew."""
    async with harness(tmp_path, world) as b:
        await b.signal("1.05", "2.05", stop="-1.05")
        await b.wait(20)
        coarser(b.engine.symbol(b.symbol))
        await b.move(0, then=3)
        assert b.roles() == EXITS["OCO"]
        assert not any(price % 1 * 10 % 1 for price in b.stops())
        assert b.state.halted == ""
        assert "failsafe" not in [entry["event"] for entry in b.log]
        await b.move("-1.2")
        b.adds_up(await b.ends(Reason.SL, refusals=(Why.FILTER,)))


def coarser(symbol: Symbol) -> None:
    symbol.price = Range(symbol.price.low, symbol.price.high, Decimal("0.1"))
    filters = [{**f, "tickSize": "0.10"} if f["filterType"] == "PRICE_FILTER" else f for f in symbol.row["filters"]]
    symbol.row = {**symbol.row, "filters": filters}


@oco_worlds
async def test_exits_that_the_average_price_would_refuse_are_known_before_the_entry(
    tmp_path: Path, world: World
) -> None:
    """PERCENT_PRICE_BY_SIDE is reckoned from the average of five minutes; the price has just come from far away."""
    async with harness(tmp_path, world) as b:
        rules = b.engine.symbol(b.symbol)
        banded(rules, Decimal("0.03"))
        await b.restart()
        b.touch(b.at(-3), qty="1000000")
        await b.wait(1)
        b.touch(b.at(0), qty="1")
        await b.signal("1.05", "2.05", stop="-1.05")
        assert b.state.position is None
        assert b.state.refused == {"exits": 1}
        assert any("TP" in (text := str(entry.get("text", ""))) and "PERCENT_PRICE_BY" in text for entry in b.log)


def banded(symbol: Symbol, width: Decimal) -> None:
    """Limit prices may be so far from the average price, as a fraction of it."""
    up, down = str(1 + width), str(1 - width)
    band = {"bidMultiplierUp": up, "bidMultiplierDown": down, "askMultiplierUp": up, "askMultiplierDown": down}
    filters = [{**f, **band} if f["filterType"] == "PERCENT_PRICE_BY_SIDE" else f for f in symbol.row["filters"]]
    symbol.row = {**symbol.row, "filters": filters}
    symbol.percent_prices = Symbol.from_exchange_info(symbol.row).percent_prices
