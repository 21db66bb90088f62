"""The event loop that the service runs on: uvloop where it is installed, which is everywhere but on Windows."""

import asyncio
import contextlib
import gc
import resource
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on that loop. What is imported by then is no garbage: to look for some in it takes a tenth of a
    second, which a trade that is taken over would wait for.
    """
    gc.freeze()
    _take_descriptors()
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def settle_memory() -> None:
    """What a start has made stays as long as the service: from here on garbage collections pass over it. A full one
    would hold up an order by tens of milliseconds.
    """
    gc.collect()
    gc.freeze()


def _take_descriptors() -> None:
    """As many as the system lets this process have: shells and containers begin with 1,024, each symbol has four files
    open, and one that can not open its state sends nothing.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # a system may have a limit of its own beyond the one it tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        uvloop = import_module("uvloop")
    except ImportError:  # not on this platform
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
