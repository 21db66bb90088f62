"""Whether the loops of an account come round and know their orders."""

import asyncio
from collections.abc import Mapping
from typing import Final

from executor.service.loop import Loop

TURN_S: Final = 2.0


async def unready(loops: Mapping[str, Loop]) -> list[str]:
    """Why not, by the name of each loop; empty when they do."""
    turns = {asyncio.create_task(loop.come_round()): name for name, loop in loops.items()}
    faults = [
        f"{name}: the start's look at the orders is not done" for name, loop in loops.items() if not loop.ready.is_set()
    ]
    if turns:
        _, late = await asyncio.wait(turns, timeout=TURN_S)
        for task in late:
            task.cancel()
        faults += [f"{turns[task]}: its loop did not come round within {TURN_S:.0f} s" for task in late]
    return faults
