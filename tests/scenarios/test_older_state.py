"""Started from a state behind which newer ones were lost (rule 9.2): what was sent meanwhile is found on the exchange,
taken up by its id, and never sent twice.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.scenarios.harness import OCO_WORLDS, WORLDS, Harness, World, harness

from executor.core.model.events import AnyEvent, Verb
from executor.core.model.state import SCHEMA_VERSION, Reason, State
from executor.core.transition import Step
from executor.files import RealFileSystem
from executor.service.store.document import document_of
from executor.service.store.state_store import seal
from executor.service.store.write_ahead import WriteAhead


class Memory:
    """Every state that was on disk, oldest first."""

    def __init__(self, b: Harness) -> None:
        assert b.loop is not None
        self.states: list[State] = [b.loop.state]
        b.loop.on_step.append(self._keep)

    def _keep(self, event: AnyEvent, step: Step) -> None:
        if step.state is not self.states[-1]:
            self.states.append(step.state)


def damage(b: Harness, older: State) -> None:
    """The state file is torn, and `older` is its predecessor."""
    path = b.settings().state_path(b.symbol)
    path.with_name(path.name + ".prev").write_bytes(seal(document_of(older), SCHEMA_VERSION))
    path.write_bytes(b"{")


def put_back(b: Harness, older: State) -> None:
    """Somebody has restored a backup."""
    path = b.settings().state_path(b.symbol)
    path.write_bytes(seal(document_of(older), SCHEMA_VERSION))


def sent_once(b: Harness) -> None:
    twice = [name for name, count in Counter(o.client_order_id for o in b.orders()).items() if count > 1]
    assert not twice, b.story()


def rot(b: Harness, older: State) -> None:
    """The service was killed, and the newest record of its write-ahead copy has rotted since."""
    put_back(b, older)
    path = b.settings().state_path(b.symbol)
    path = path.with_name(path.name + ".ahead")
    copy = WriteAhead(path, RealFileSystem())
    for _ in range(2):
        copy.write(seal(document_of(older), SCHEMA_VERSION))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 200] ^= 1
    path.write_bytes(content)


def put_back_whole(b: Harness, older: State) -> None:
    """Somebody has restored a backup of the whole folder, made while the service ran: its copy is as old."""
    put_back(b, older)
    path = b.settings().state_path(b.symbol)
    copy = WriteAhead(path.with_name(path.name + ".ahead"), RealFileSystem())
    copy.write(seal(document_of(older), SCHEMA_VERSION))


async def until_the_exits(b: Harness) -> None:
    await b.signal()
    await b.move(0)


async def until_the_trail(b: Harness) -> None:
    await until_the_exits(b)
    await b.move(1)
    await b.move(2)
    await b.move("2.6")


async def until_it_is_closed(b: Harness) -> None:
    await until_the_exits(b)
    await b.command(Verb.FLATTEN)
    await b.ends(Reason.FLATTEN)


async def until_it_is_bought_at_market(b: Harness) -> None:
    await b.move("0.1", then=0)
    await b.signal()
    await b.wait(100)


ways = pytest.mark.parametrize(
    "way", [until_the_exits, until_the_trail, until_it_is_closed, until_it_is_bought_at_market]
)


@ways
@pytest.mark.parametrize(
    ("world", "lose", "share"),
    [
        *((world, damage, share) for world in WORLDS for share in (0, 0.5)),
        *((world, lose, 0.7) for world in OCO_WORLDS for lose in (put_back, put_back_whole, rot)),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
async def test_from_a_state_of_the_trade(
    tmp_path: Path,
    world: World,
    way: Callable[[Harness], Awaitable[None]],
    lose: Callable[[Harness, State], None],
    share: float,
) -> None:
    async with harness(tmp_path, world) as b:
        memory = Memory(b)
        await way(b)
        during = [state for state in memory.states if state.position is not None]
        await b.stop()
        lose(b, during[round(share * (len(during) - 1))])
        await b.start()
        await b.wait(20)
        sent_once(b)
        if b.state.position is not None:
            await b.command(Verb.FLATTEN)
            b.adds_up(await b.ends(*Reason))
        b.is_sound()
        assert b.open() == []
        sent_once(b)
