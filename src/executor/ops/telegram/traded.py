"""One symbol of one account as commands see it: traded by a loop of this process, or by whichever machine owns it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from executor.core.model.events import Commanded, Verb
from executor.core.model.state import Closed
from executor.core.model.verdict import Ignored, Moved, Refusal
from executor.ops import check as ops_check
from executor.ops import status as ops_status
from executor.ops.check_now import check_now
from executor.ops.why import why
from executor.service.loop import Loop

log = structlog.get_logger(__name__)

OBEY_WITHIN_S: Final = 20.0
"""A command that has not been taken by then is in the inbox all the same; the answer says so, and for how long."""
LATE_S: Final = 300
"""A command that was longer on its way (Telegram was away), or waited longer for its turn (behind a full disk), was
meant for another moment; but for a pause, which can do no harm.
"""
CHECK_WITHIN_S: Final = 25.0


class NotToldError(Exception):
    """What was asked for can't be told; the text, for people, says why."""


class Told(msgspec.Struct, frozen=True):
    """`done`: the command was carried out; else `text` says why not."""

    done: bool
    text: str = ""


class Traded(Protocol):
    """`account` is empty where there is only one. Whatever asks raises NotToldError."""

    account: str
    symbol: str

    async def status(self) -> ops_status.Status: ...

    async def check(self) -> ops_check.Check: ...

    async def trades(self) -> Sequence[Closed]:
        """The finished ones, the newest last."""

    async def why(self, about: str) -> str:
        """How the trade, order or signal of that id came about; of the open or the last trade where the id is empty.
        Empty where nothing is known of it.
        """

    async def obey(self, verb: Verb, trade: str = "") -> Told:
        """Carry out an operator's word; where `trade` is named, only while that trade is open."""


class LoopTraded:
    """Traded by a loop of this process: answered from memory, save what has to be asked of the exchange."""

    def __init__(self, loop: Loop, account: str = "") -> None:
        self.account = account
        self.symbol = loop.state.symbol
        self._loop = loop

    async def status(self) -> ops_status.Status:
        return ops_status.status_of(self._loop.state, self._loop.engine.rules, running=True, now=self._loop.now())

    async def check(self) -> ops_check.Check:
        try:
            async with asyncio.timeout(CHECK_WITHIN_S):
                checked = await check_now(self._loop)
        except TimeoutError:
            raise NotToldError(f"the exchange did not answer within {CHECK_WITHIN_S:.0f} s") from None
        if checked.found is None or not checked.certain:
            raise NotToldError(checked.text)
        return checked.found

    async def trades(self) -> Sequence[Closed]:
        return self._loop.closed

    async def why(self, about: str) -> str:
        return await why(self._loop, about, self._loop.engine.journal_path)

    async def obey(self, verb: Verb, trade: str = "") -> Told:
        loop, lasts = self._loop, verb is Verb.PAUSE
        until = loop.clock.now_ms() + LATE_S * 1000  # whatever the exchange's clock is measured to be meanwhile
        if trade and not is_open(loop, trade):
            return Told(False, ended(trade))

        def wanted() -> bool:
            if not lasts and loop.clock.now_ms() > until:
                log.warning("command_given_up", verb=verb, text="its turn came too late: not carried out")
                return False
            return True

        asked = asyncio.ensure_future(loop.ask(Commanded(at=loop.now(), verb=verb, trade=trade), wanted=wanted))
        finished, _ = await asyncio.wait({asked}, timeout=OBEY_WITHIN_S)
        if not finished:
            asked.add_done_callback(lambda task: task.cancelled() or task.exception())
            most = "" if lasts else f", {LATE_S // 60} minutes at the most"
            return Told(False, f"{verb} waits its turn{most}: see /status in a moment")
        match asked.result().verdict:
            case Moved():
                return Told(True)
            case Ignored(why) | Refusal(why):
                return Told(False, why)


def is_open(loop: Loop, trade: str) -> bool:
    position = loop.state.position
    return position is not None and position.trade == trade


def ended(trade: str) -> str:
    return f"trade {trade} has ended meanwhile. Nothing is done."


def traded_of(loops: Mapping[str, Loop], account: str = "") -> list[Traded]:
    """What the loops of one account trade."""
    return [LoopTraded(loop, account) for loop in loops.values()]
