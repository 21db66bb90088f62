"""All loops of a run, with what they share beside them; they begin and end together.

A loop that dies, or a task that they share, takes the run down loudly: the others are stopped as by an operator, have
their answers and their state files in order, and the supervisor restarts the service into rule 9.1.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import structlog

from executor.service.loop import DRAIN_S, Loop
from executor.service.store.port import Fenced, StoreUnwritable

log = structlog.get_logger(__name__)

LAGGARD_S: Final = 60.0
STOP_S: Final = 3 * DRAIN_S
"""How long the loops may take to stop; what takes longer is cancelled, and looked up at the next start."""

SETTLE_S: Final = 3.0

Task = Callable[[], Coroutine[Any, Any, None]]


class Supervisor:
    """`loops` by symbol. `run` it once; it ends when one of the loops is stopped, or `stop` is called."""

    def __init__(self, loops: Mapping[str, Loop]) -> None:
        self.loops = loops
        self.again = False
        """It was stopped to begin anew at once."""
        self._stop = asyncio.Event()
        self._one_ready = asyncio.Event()
        self._started = asyncio.Event()
        self._below: list[tuple[str, Task]] = []
        self._at_once: list[tuple[str, Task]] = []
        self._later: list[tuple[str, Task]] = []
        for loop in loops.values():
            loop.on_stop.append(self._stop.set)
            loop.on_ready.append(self._one_ready.set)

    def add_task(self, name: str, task: Task, *, at_once: bool = False) -> None:
        """Run `task` beside the loops as soon as one of them is ready, or `at_once`; it is cancelled at the stop."""
        (self._at_once if at_once else self._later).append((name, task))

    def add_transport(self, name: str, task: Task) -> None:
        """Run `task` for as long as there are loops: their last requests and answers travel over it (rule 9.5)."""
        self._below.append((name, task))

    async def started(self) -> None:
        """Return when every loop knows its orders; or LAGGARD_S after the first, for one that can't must not keep the
        others from trading.
        """
        await self._started.wait()

    def stop(self) -> None:
        """For good: also where it was ending to begin anew."""
        self.again = False
        self._end()

    def begin_anew(self) -> None:
        """Stop, for whoever runs it to begin anew; what is told to stop by then ends."""
        self.again = not self._stop.is_set()
        self._end()

    def _end(self) -> None:
        self._stop.set()
        for loop in self.loops.values():
            loop.stop()

    async def run(self) -> None:
        """Until it is stopped; raises what killed a loop or a task, Fenced before all else."""
        trading = [asyncio.create_task(self._trade(symbol, loop), name=symbol) for symbol, loop in self.loops.items()]
        bearing = asyncio.create_task(self._bear(), name="bearing")
        shared = asyncio.create_task(self._share(), name="shared")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        everything = [*trading, bearing, shared, stop]
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            shared.cancel()
            stop.cancel()
            await asyncio.wait({shared})
            self._end()
            await asyncio.wait(trading, timeout=STOP_S)
        finally:
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)
        _raise(everything)

    async def _trade(self, symbol: str, loop: Loop) -> None:
        if len(self.loops) > 1:
            structlog.contextvars.bind_contextvars(symbol=symbol)
        try:
            await loop.run()
        finally:
            await _settle(loop)

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(LAGGARD_S):
                for loop in self.loops.values():
                    await loop.ready.wait()
        except TimeoutError:
            late = [symbol for symbol, loop in self.loops.items() if not loop.ready.is_set()]
            log.error("not_recovered", alert=True, symbols=", ".join(late), text="the others trade meanwhile")
        self._started.set()

    async def _bear(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name, task in self._below:
                tasks.create_task(task(), name=name)
            await asyncio.Event().wait()

    async def _share(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name, task in self._at_once:
                tasks.create_task(task(), name=name)
            await self._one_ready.wait()
            tasks.create_task(self._start(), name="start")
            for name, task in self._later:
                tasks.create_task(task(), name=name)
            await asyncio.Event().wait()


async def _settle(loop: Loop) -> None:
    """Leave the state in order; what another owner has taken over is not touched any more."""
    try:
        loop.engine.settle()
        async with asyncio.timeout(SETTLE_S):
            await loop.engine.written()
    except Fenced as error:
        log.warning("not_settled", why=str(error))
    except (StoreUnwritable, TimeoutError) as error:
        log.error("not_settled", alert=True, error=str(error), safe="as it was written last")


def _raise(tasks: list[asyncio.Task[Any]]) -> None:
    """What killed any of them, if anything did: of an account that is another node's every part dies of that."""
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    fenced = [error for error in errors if isinstance(error, Fenced)]
    if fenced or len(errors) == 1:
        raise (fenced or errors)[0]
    if errors:
        raise BaseExceptionGroup("several parts of the service died", errors)
