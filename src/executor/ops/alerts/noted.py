"""Log lines that repeat what was told already: the log has each note, and so have the alerts, by a shorter way."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

_NOTED: Final = ContextVar("noted", default=False)


def is_noted() -> bool:
    return _NOTED.get()


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """What is logged in here is no alert again."""
    token = _NOTED.set(True)
    try:
        yield
    finally:
        _NOTED.reset(token)
