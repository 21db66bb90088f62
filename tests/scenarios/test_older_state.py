"""Started from a state behind which newer ones were lost (rule 9.2): what was sent meanwhile is found on the exchange,
taken up by its id, and never sent twice.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.scenarios.bench import WORLDS, Bench, World, bench

from executor.core.events import AnyEvent, Verb
from executor.core.state import SCHEMA_VERSION, Reason, State
from executor.core.transition import Step
from executor.service.document import document_of
from executor.service.store import seal

worlds = pytest.mark.parametrize("world", WORLDS, ids=str)


class Memory:
    """Every state that was on disk, oldest first."""

    def __init__(self, b: Bench) -> None:
        assert b.loop is not None
        self.states: list[State] = [b.loop.state]
        b.loop.on_step.append(self._keep)

    def _keep(self, event: AnyEvent, step: Step) -> None:
        if step.state is not self.states[-1]:
            self.states.append(step.state)


def damage(b: Bench, older: State) -> None:
    """The state file is torn, and `older` is its predecessor."""
    path = b.settings().state_path(b.symbol)
    path.with_name(path.name + ".prev").write_bytes(seal(document_of(older), SCHEMA_VERSION))
    path.write_bytes(b"{")


def put_back(b: Bench, older: State) -> None:
    """Somebody has restored a backup."""
    path = b.settings().state_path(b.symbol)
    path.write_bytes(seal(document_of(older), SCHEMA_VERSION))


def sent_once(b: Bench) -> None:
    twice = [name for name, count in Counter(o.client_order_id for o in b.orders()).items() if count > 1]
    assert not twice, b.story()


async def until_the_exits(b: Bench) -> None:
    await b.signal()
    await b.move(0)


async def until_the_trail(b: Bench) -> None:
    await until_the_exits(b)
    await b.move(1)
    await b.move(2)
    await b.move("2.6")


async def until_it_is_closed(b: Bench) -> None:
    await until_the_exits(b)
    await b.command(Verb.FLATTEN)
    await b.ends(Reason.FLATTEN)


async def until_it_is_bought_at_market(b: Bench) -> None:
    await b.move("0.1", then=0)
    await b.signal()
    await b.wait(100)


ways = pytest.mark.parametrize(
    "way", [until_the_exits, until_the_trail, until_it_is_closed, until_it_is_bought_at_market]
)


@ways
@worlds
@pytest.mark.parametrize("lose", [damage, put_back])
async def test_from_each_state_of_a_trade(
    tmp_path: Path, world: World, way: Callable[[Bench], Awaitable[None]], lose: Callable[[Bench, State], None]
) -> None:
    (tmp_path / "first").mkdir()
    async with bench(tmp_path / "first", world) as b:
        memory = Memory(b)
        await way(b)
        count = len([state for state in memory.states if state.position is not None])
    assert count > 3
    for n in (0, count // 2):
        folder = tmp_path / str(n)
        folder.mkdir()
        async with bench(folder, world) as b:
            memory = Memory(b)
            await way(b)
            during = [state for state in memory.states if state.position is not None]
            await b.stop()
            lose(b, during[min(n, len(during) - 1)])
            await b.start()
            await b.wait(20)
            sent_once(b)
            if b.state.position is not None:
                await b.command(Verb.FLATTEN)
                closed = await b.ends(*Reason)
                b.adds_up(closed)
            b.is_sound()
            assert b.open() == []
            sent_once(b)
