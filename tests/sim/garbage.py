"""What runs leave behind."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_after() -> Iterator[None]:
    """Let cycles lie until a batch is over: a run leaves a few MB of them, and to look for them while it goes on takes
    a twelfth of its time.
    """
    were = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        if were:
            gc.enable()


def keep_what_is_imported() -> None:
    """It is no garbage, and is not looked through again and again."""
    gc.freeze()
