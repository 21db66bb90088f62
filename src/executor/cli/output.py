"""How commands print: choices of format, and the end of a command that failed."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import NoReturn, TypeVar

import typer

from executor.cli import exits

F = TypeVar("F", bound=Callable[..., None])


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


class ListFormat(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def fail(error: object, code: int = exits.FAILED) -> NoReturn:
    """Say what went wrong on stderr, and end."""
    typer.echo(f"executor: {error}", err=True)
    raise typer.Exit(code)


def examples(*lines: str) -> Callable[[F], F]:
    """Add examples to what the command's `--help` says."""

    def add(command: F) -> F:
        # One line a paragraph: the terminal's width wraps them, not that of the source.
        paragraphs = [" ".join(each.split()) for each in inspect.cleandoc(command.__doc__ or "").split("\n\n")]
        block = "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
        command.__doc__ = "\n\n".join([*paragraphs, block])
        return command

    return add
