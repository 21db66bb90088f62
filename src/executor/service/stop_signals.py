"""What ends a service in order (rule 9.5): SIGTERM, Ctrl-C, and the end of the terminal that it was started from."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

import structlog

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def stopping_on_signals(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` for each of them while the body runs; what handled them before does so again after it. A hang-up that
    whoever started it has turned off (nohup) stays turned off.
    """
    running = asyncio.get_running_loop()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def stop(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        end()

    before = [(number, signal.getsignal(number)) for number in numbers]
    for number in numbers:
        running.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number, handler in before:
            running.remove_signal_handler(number)
            if handler is not None:  # else it was none of the interpreter's
                signal.signal(number, handler)
