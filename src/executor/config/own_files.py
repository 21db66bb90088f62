"""Which files the settings name, directly or beside the state: no two uses may come to the same one."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from executor.config.settings import Settings

BESIDE: Final = (".prev", ".ahead", ".tmp", ".lock", ".sock", ".signals", ".rules", ".alerts", ".telegram", ".hang")
"""What stands beside a state file under its name and one of these."""


class Use(NamedTuple):
    """One file: the setting that names it, what it is for, and where it is, links followed."""

    setting: str
    what: str
    path: str
    account: str = ""


class Clash(NamedTuple):
    """Two uses of one file."""

    first: Use
    second: Use


def uses(settings: Settings) -> Iterator[Use]:
    """Of each symbol the state, what is kept beside it, the list of trades and the journal; last the signal file."""
    account = settings.account
    for symbol in settings.traded or ("",):
        of = f" of {symbol}" if symbol else ""
        state = settings.state_path(symbol)
        yield Use("STATE_FN", f"the state{of}", _real(state), account)
        for suffix in BESIDE:
            yield Use("STATE_FN", f"{suffix} of the state{of}", _real(state.with_name(state.name + suffix)), account)
        yield Use("STATE_FN", f"the list of trades{of}", _real(settings.trades_path(symbol)), account)
        name = "STATE_FN" if settings.journal_fn is None else "JOURNAL_FN"
        yield Use(name, f"the journal{of}", _real(settings.journal_path(symbol)), account)
    yield Use("SIGNAL_FILE", "the signal file", _real(settings.signal_file), account)


def clashes(found: Iterable[Use]) -> Iterator[Clash]:
    """Each later use of a file that another has already, but for signal files: several may follow one. What is there
    and is no regular file (/dev/null) holds nothing that the other could spoil.
    """
    taken: dict[str, Use] = {}
    for use in found:
        first = taken.setdefault(use.path, use)
        if first is not use and not first.setting == use.setting == "SIGNAL_FILE" and not _special(use.path):
            yield Clash(first, use)


def _special(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)  # noqa: PTH110, PTH113  (a NUL byte is no fault to them)


def _real(path: Path) -> str:
    """Links followed as far as they can be."""
    try:
        return os.path.realpath(path)
    except ValueError:  # a NUL byte, which another check tells of
        return str(path)
