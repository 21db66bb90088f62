"""The comparison with the exchange, made of a running loop: `executor check`, `/check` and the watchdog's looks."""

import asyncio
from typing import Final

import msgspec

from executor.core.model.state import Order
from executor.exchange.port import ReadError
from executor.ops.check import Check, check
from executor.service.loop import Loop

TRIES: Final = 20
PAUSE_S: Final = 0.25


class Checked(msgspec.Struct, frozen=True):
    """`found` None: the exchange could not be asked, `text` says why. `certain`: nothing moved while it was looked at,
    and what is amiss was so twice.
    """

    found: Check | None
    certain: bool
    text: str


async def check_now(loop: Loop) -> Checked:
    """Compare while nothing is under way: what is, is given a few moments to end."""
    before: Check | None = None
    for _ in range(TRIES):
        try:
            found, settled = await look(loop)
        except ReadError as error:
            return Checked(None, certain=False, text=f"the exchange could not be asked: {error}")
        # What is amiss must be so twice: a report of it may be on its way (rule 8.6).
        if settled and (found.sound or found == before):
            return Checked(found, certain=True, text="as expected" if found.sound else "not as expected")
        before = found
        await asyncio.sleep(PAUSE_S)
    return Checked(before, certain=False, text="still changing")


async def look(loop: Loop) -> tuple[Check, bool]:
    """One comparison, and whether nothing moved meanwhile. Raises ReadError."""
    with loop.at_work():
        before = _orders(loop)
        shown = await loop.exchange.open_orders()
        found = check(loop.state, shown, loop.engine.policy, loop.engine.rules)
        return found, found.settled and _orders(loop) == before


def _orders(loop: Loop) -> tuple[Order, ...]:
    position = loop.state.position
    return position.orders if position is not None else ()
