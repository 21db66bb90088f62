"""Other people's clients are large, and each process that runs tests would load all of them: they are imported when the
first of their tests runs.
"""

from importlib import import_module
from typing import Any


class Library:
    """The package or module of that name; what is asked of it is its own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
