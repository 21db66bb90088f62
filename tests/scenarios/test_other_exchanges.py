"""A trade's plain course on exchanges that read the documents otherwise (rule 8.8, docs/exchange-choices.md)."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.scenarios.harness import AFTER_TP1, EXITS, WORLDS, World, harness

from executor.core.model.state import Reason
from executor.paper.engine.choices import ExchangeChoices, all_choices, read_choices

worlds = pytest.mark.parametrize("world", WORLDS, ids=str)
OTHERWISE = read_choices([(choice.name, choice.values[-1]) for choice in all_choices()])
"""Every choice as far from its default as its values go."""
ONE_BY_ONE = [
    pytest.param(read_choices([(choice.name, value)]), id=f"{choice.name}={value}")
    for choice in all_choices()
    for value in choice.values
    if value != choice.default
]


async def whole_way(folder: Path, world: World, choices: ExchangeChoices) -> None:
    async with harness(folder, world) as b:
        b.engine.choices = choices
        await b.enter()
        assert b.roles() == EXITS[world.layout]
        await b.move(1)
        assert b.roles() == AFTER_TP1[world.layout]
        await b.move(2)
        await b.move(4)
        assert b.stops() == {b.at(3)}
        await b.move(3)
        closed = await b.ends(Reason.TRAIL)
        assert Decimal("1.7") < closed.r < 2
        b.adds_up(closed)


@worlds
async def test_with_every_choice_the_other_way_it_goes_its_whole_way(tmp_path: Path, world: World) -> None:
    await whole_way(tmp_path, world, OTHERWISE)


@pytest.mark.parametrize("choices", ONE_BY_ONE)
async def test_with_one_choice_the_other_way_it_goes_its_whole_way(tmp_path: Path, choices: ExchangeChoices) -> None:
    await whole_way(tmp_path, WORLDS[0], choices)


@worlds
async def test_with_every_choice_the_other_way_the_stop_ends_it_all(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        b.engine.choices = OTHERWISE
        await b.enter()
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        b.adds_up(closed)


@worlds
async def test_with_every_choice_the_other_way_breakeven_follows_the_first_target(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world) as b:
        b.engine.choices = OTHERWISE
        await b.enter()
        await b.move(1)
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN)
        b.adds_up(closed)
