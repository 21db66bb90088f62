"""How commands print: choices of format, and the end of a command that failed."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import msgspec
import typer

from executor.cli import exits
from executor.config import SettingsError
from executor.files import RealFileSystem, replace_file
from executor.ops import text

PAGE_BEGINS: Final = b"<!doctype html>"

_about: ContextVar[str] = ContextVar("_about", default="")

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., None])


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


class ListFormat(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def fail(error: object, code: int | None = None) -> NoReturn:
    """Say what went wrong on stderr, and end, with the exit code that goes with the error where none is given."""
    typer.echo(f"executor: {_about.get()}{error}", err=True)
    raise typer.Exit(code_of(error) if code is None else code)


def write_page(path: Path, page: str) -> None:
    """Put a page into a file, whole or not at all, in the place of an older page and of nothing else. Raises typer.Exit
    where it can't be written.
    """
    try:
        path = path.resolve()
        if path.exists() and not _is_page(path):
            fail(f"--html {path} is there, and no page: choose another name")
        replace_file(RealFileSystem(), path, page.encode())
    except OSError as error:
        fail(f"--html {path} can't be written: {error.strerror or error}")


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(PAGE_BEGINS)).lower() == PAGE_BEGINS


def say(words: str) -> None:
    typer.echo(f"{_about.get()}{words}")


@contextmanager
def about(name: str) -> Iterator[None]:
    """What is said and what fails within begins with this."""
    token = _about.set(f"{name}: ")
    try:
        yield
    finally:
        _about.reset(token)


def code_of(error: object) -> int:
    """Settings may turn out wrong late, against the exchange's own filters: no restart will help those either."""
    return exits.BAD_SETTINGS if isinstance(error, SettingsError) else exits.FAILED


def echo_each(found: Sequence[tuple[str, T]], output: Format, as_text: Callable[[T], str], *, listed: bool) -> None:
    """What was found of each symbol, one after the other, with the account that it is of, if that has a name. As JSON
    it is a list when it is `listed`, else an object.
    """
    if output is Format.TABLE:
        told = [f"{account}\n{as_text(each)}" if account else as_text(each) for account, each in found]
        if told:
            typer.echo("\n\n".join(told))
        return
    objects = [_of_account(account, each) for account, each in found]
    if listed:
        typer.echo(text.json(objects))
    elif objects:
        typer.echo("\n\n".join(map(text.json, objects)))


def _of_account(account: str, found: object) -> object:
    if not account:
        return found
    return {"account": account, **msgspec.to_builtins(found, builtin_types=(Decimal,))}


def examples(*lines: str) -> Callable[[F], F]:
    """Add examples to what the command's `--help` says."""

    def add(command: F) -> F:
        # One line a paragraph: the terminal's width wraps them, not that of the source.
        paragraphs = [" ".join(each.split()) for each in inspect.cleandoc(command.__doc__ or "").split("\n\n")]
        block = "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
        command.__doc__ = "\n\n".join([*paragraphs, block])
        return command

    return add
