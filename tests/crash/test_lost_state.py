"""The real daemon, killed while its orders are on their way, and its newest states lost with it (rule 9.2)."""

import asyncio
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from tests.crash.campaign import ACCOUNT, ENTRY, SYMBOL, Campaign
from tests.crash.wire_faults import Moment

from executor.core.model.values import Direction


def lose_the_newest(folder: Path) -> None:
    """The write-ahead copy is gone, the state file torn: its predecessor is from before the last steps."""
    (folder / "state.json.ahead").unlink()
    path = folder / "state.json"
    path.write_bytes(path.read_bytes()[:100])


def rot_the_copy(folder: Path) -> None:
    """Both records of the write-ahead copy: the state file, which follows it a moment later, is what is left."""
    path = folder / "state.json.ahead"
    content = bytearray(path.read_bytes())
    for place in (200, len(content) // 2 + 200):
        content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("lose", [lose_the_newest, rot_the_copy])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_exits_that_the_state_does_not_know_are_taken_up_and_not_sent_again(
    tmp_path: Path, nth: int, lose: Callable[[Path], None]
) -> None:
    campaign = Campaign(tmp_path, seed=6, kills=0, spawn_every=0)

    def orders() -> set[str]:
        return {o.client_order_id for o in campaign.engine.open_orders(ACCOUNT, SYMBOL)}

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await campaign.pause()

    async with campaign.serving() as fork_server:
        daemon, _ = await campaign.start(fork_server)
        assert await daemon.ready(), daemon.output()
        campaign.touch(ENTRY + Decimal("0.08"))
        campaign.say(Direction.LONG)
        await until(lambda: len(orders()) == 1)
        await asyncio.sleep(0.2)  # the state file has come after
        campaign.wire_faults.plan_this_death(lambda _: daemon.send(signal.SIGKILL), Moment.EXECUTED, nth)
        await campaign.lead(Direction.LONG, "0")
        assert await daemon.end() == -signal.SIGKILL
        before = orders()
        assert before
        lose(tmp_path)
        again, _ = await campaign.start(fork_server)
        assert await again.ready(), again.output()
        assert len(again.said("newer_state_lost")) == 1
        taken = again.said("orders_taken_up")
        assert taken
        assert all(order in taken[0]["text"] for order in before)
        await until(lambda: len(orders()) == 5 and campaign.on_disk_is_quiet())
        assert before <= orders()
        assert not again.said("invariant_broken")
        await campaign.lead(Direction.LONG, "-1.2")
        await until(lambda: orders() == set() and campaign.is_flat())
        again.send(signal.SIGTERM)
        assert await again.end() == 0
    books = campaign.books()
    assert not books.twice
    assert len(books.trades) == 1
    assert books.trades[0].lowest >= 0
    assert books.trades[0].held < Decimal("0.001")
