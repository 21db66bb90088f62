"""The signal file, read in a thread of its own: on a mount that hangs, a look at it does not come back, and no trade
waits for that (rule 8.9).
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import structlog

from executor.signals.follower import SignalFollower
from executor.signals.logfile import Line
from executor.signals.position import Position, SignalFileError
from executor.worker_thread import Worker, WorkerThread

log = structlog.get_logger(__name__)

ANSWERS_S: Final = 2.0
"""A look takes some microseconds, on a busy disk some milliseconds; whatever takes longer is told of."""
END_S: Final = 1.0
"""So long the place is tried to be remembered at the end."""


class SignalFile:
    """Follows one file. Looks and places are handled one after the other, so what `open_file` makes is used by one
    thread alone. `at_work` is entered while one is under way, for a look for ANSWERS_S at the most.
    """

    def __init__(
        self,
        open_file: Callable[[], SignalFollower],
        at_work: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        worker: Worker | None = None,
    ) -> None:
        """`worker`: who does the looks, if not a thread of its own."""
        self._open_file = open_file
        self._at_work = at_work
        self._follower: SignalFollower | None = None
        self._thread: Worker = worker or WorkerThread("signal file")
        self._looking: asyncio.Future[tuple[list[Line], int]] | None = None
        self._complained = ""
        self._told_silent = False
        self._told_unended = False

    async def begin(self, *, patient: bool) -> None:
        """Take up the place. Raises SignalFileError where the file can't be followed, unless `patient`: then that is
        told of and tried again. One that does not answer is told of, and nobody waits for it.
        """
        opening = asyncio.ensure_future(self._thread.do(self._opened))
        opening.add_done_callback(_heard)
        if patient:
            return  # the first look comes behind it, and tells what has become of it
        await asyncio.wait({opening}, timeout=ANSWERS_S)
        if opening.done():
            opening.result()

    async def read(self) -> list[Line]:
        """The next lines, at most LINES_PER_READ, once it answers; none where it can't be read, which is told of."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._thread.do(self._look))
            self._looking.add_done_callback(_heard)
        with self._at_work():
            answered = await _answers(self._looking)
        if not answered:
            self._tell_silent()
            await asyncio.wait({self._looking})
        looked, self._looking = self._looking, None
        try:
            lines, unended = looked.result()
        except SignalFileError as error:
            self._complain(error)
            return []
        if self._told_silent:
            log.info("signal_file_answers")
        self._complained, self._told_silent = "", False
        if unended and not self._told_unended:
            log.warning(
                "signal_unended",
                bytes=unended,
                text="the signal file ends with what is no signal, and no line end follows: it is not taken",
            )
        self._told_unended = bool(unended)
        return lines

    async def commit(self, position: Position) -> None:
        """Remember that all before it has been taken. One that can't be remembered costs nothing but a second reading:
        signals are known by their keys.
        """
        try:
            with self._at_work():
                await self._thread.do(lambda: self._commit(position))
        except SignalFileError as error:
            self._complain(error)

    async def end(self, position: Position | None) -> None:
        """Remember the last place, where that is possible in END_S."""
        if position is not None:
            last = asyncio.ensure_future(self.commit(position))
            _, late = await asyncio.wait({last}, timeout=END_S)
            for each in late:
                each.cancel()
        self._thread.close()

    # --- in the thread --------------------------------------------------------------------------------------------

    def _opened(self) -> SignalFollower:
        self._follower = self._follower or self._open_file()
        return self._follower

    def _look(self) -> tuple[list[Line], int]:
        follower = self._opened()
        return follower.read(), follower.unended

    def _commit(self, position: Position) -> None:
        if self._follower is not None:
            self._follower.commit(position)

    # --- what is told ---------------------------------------------------------------------------------------------

    def _complain(self, error: SignalFileError) -> None:
        if str(error) != self._complained:
            log.error("signal_file", alert=True, error=str(error))
        self._complained = str(error)

    def _tell_silent(self) -> None:
        if not self._told_silent:
            error = f"it has not answered for {ANSWERS_S:.0f} s: signals wait until it does"
            log.error("signal_file", alert=True, error=error)
        self._told_silent = True


async def _answers(looking: asyncio.Future[Any]) -> bool:
    """Whether it ends within ANSWERS_S. Time in which this process itself stood still (SIGSTOP) is none of its own."""
    clock = asyncio.get_running_loop().time
    while True:
        began = clock()
        await asyncio.wait({looking}, timeout=ANSWERS_S)
        if looking.done() or clock() - began < 2 * ANSWERS_S:
            return looking.done()


def _heard(future: asyncio.Future[Any]) -> None:
    """An error that nobody waits for any more is no news: the next look meets it again."""
    if not future.cancelled():
        future.exception()
