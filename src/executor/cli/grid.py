"""Simulations with each combination of settings on each recording, on all processors."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import accumulate, product
from pathlib import Path
from typing import Final, NamedTuple, get_origin

import typer

from executor.cli.output import ListFormat
from executor.cli.simulation import Prices, Recording, simulate_once, symbol_rules
from executor.config import SettingsError, load_settings
from executor.config.settings import (
    EntrySettings,
    FailsafeSettings,
    LimitSettings,
    SizeSettings,
    StopSettings,
    TrailSettings,
    WatchSettings,
)
from executor.config.sources import FIELDS
from executor.ops.reports import grid
from executor.ops.reports.figures import figures_of
from executor.ops.reports.grid import Cell, Setting, words_of
from executor.paper.errors import PaperError, RecordingError
from executor.paper.replay.recording import symbol_of

COMBINATIONS_MAX: Final = 10_000
CHECKED_MAX: Final = 100
"""A check takes some ms; more than so many would be a wait without a word."""
PRINT: Final[dict[ListFormat, Callable[[Sequence[Cell]], str]]] = {
    ListFormat.TABLE: grid.as_table,
    ListFormat.CSV: grid.as_csv,
    ListFormat.JSON: grid.as_json,
}
MATTERS: Final = frozenset(
    name.upper()
    for group in (
        EntrySettings,
        SizeSettings,
        StopSettings,
        TrailSettings,
        WatchSettings,
        FailsafeSettings,
        LimitSettings,
    )
    for name in group.model_fields
) | {"PAPER_BALANCES", "MAX_SIGNAL_AGE_SEC"}
"""Those of which a simulation knows."""


class GridError(Exception):
    """A grid that can't be carried out. `bad_settings`: for what is set, not for a file."""

    def __init__(self, text: str, *, bad_settings: bool = False) -> None:
        super().__init__(text)
        self.bad_settings = bad_settings


class Interrupted(Exception):  # noqa: N818  (it says what has happened)
    """Somebody has had enough."""


class Job(NamedTuple):
    """One cell: as much as another process needs. `symbol` empty: as the settings or the recording say."""

    settings: tuple[Setting, ...]
    env_file: Path
    recording: Recording
    symbol: str
    info: Path | None
    prices: Prices


class Failed(NamedTuple):
    """Why a cell could not be carried out."""

    text: str
    bad_settings: bool


def processors() -> int:
    """Those that this process may use, where the operating system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def combinations(given: Sequence[str], env_file: Path) -> list[tuple[Setting, ...]]:
    """What `--set NAME=V1,V2`, each as it was given, comes to; at least the empty one. Of a setting whose value has
    commas itself each `--set` gives one. Raises GridError with every fault.
    """
    values: dict[str, list[str]] = {}
    faults: list[str] = []
    for each in given:
        name, equals, text = each.partition("=")
        name = name.strip()
        if fault := _fault(name, equals, text):
            faults.append(fault)
            continue
        listed = [text] if _has_commas(name) else text.split(",")
        own = values.setdefault(name, [])
        own += [value.strip() for value in listed if value.strip() not in own]
    if faults:
        raise GridError("--set: " + "; ".join(dict.fromkeys(faults)), bad_settings=True)
    found = [tuple(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
    if len(found) > COMBINATIONS_MAX:
        raise GridError(f"--set: {len(found)} combinations; must be at most {COMBINATIONS_MAX}", bad_settings=True)
    _check(found, env_file)
    return found


def _fault(name: str, equals: str, text: str) -> str:
    if not equals or not text.strip():
        return f"{name!r} has no value; must be NAME=VALUE, or NAME=VALUE,VALUE"
    if name not in FIELDS:
        near = get_close_matches(name.upper(), FIELDS, n=1)
        return f"{name!r} is not a setting" + (f"; did you mean {near[0]}?" if near else "")
    if name not in MATTERS:
        return f"{name} changes nothing in a simulation"
    if any(not value.strip() for value in text.split(",")):
        return f"{name} has an empty value among {text!r}"
    return ""


def _has_commas(name: str) -> bool:
    kind = get_origin(FIELDS[name].annotation)
    return isinstance(kind, type) and issubclass(kind, tuple | Mapping)


def _check(found: Sequence[tuple[Setting, ...]], env_file: Path) -> None:
    """The settings' own checks of each combination, before any is begun; of very many, of those that differ from the
    first in one setting: each value by itself. What only goes wrong together is told when its turn comes.
    """
    judged = found if len(found) <= CHECKED_MAX else [each for each in found if _differing(each, found[0]) <= 1]
    faults: dict[str, None] = {}
    for settings in judged:
        try:
            load_settings({**os.environ, **dict(settings)}, env_file)
        except SettingsError as error:
            faults |= dict.fromkeys(f"  {fault}" for fault in error.faults)
    if faults:
        raise GridError("\n".join(["--set:", *faults]), bad_settings=True)


def _differing(one: tuple[Setting, ...], other: tuple[Setting, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def jobs_of(
    found: Sequence[tuple[Setting, ...]],
    recordings: Sequence[Recording],
    env_file: Path,
    info: Path | None,
    prices: Prices,
) -> list[Job]:
    """Each combination on each recording. Of several recordings each one's name says its symbol. Raises GridError."""
    symbols = [""] * len(recordings)
    if len(recordings) > 1:
        try:
            symbols = [symbol_of(recording.file) for recording in recordings]
        except RecordingError as error:
            raise GridError(f"{error}: of several recordings each one's must") from error
    return [
        Job(settings, env_file, recording, symbol, info, prices)
        for settings in found
        for recording, symbol in zip(recordings, symbols, strict=True)
    ]


def run_grid(jobs: Sequence[Job], processes: int) -> list[Cell]:
    """Carry all out, so many at a time, with a bar of progress on a terminal; in the order of `jobs`.

    Raises:
        GridError: a cell can't be carried out, or a process has died.
        Interrupted: by Ctrl-C; nothing goes on after that.
    """
    spawn = multiprocessing.get_context("spawn")
    done: dict[Future[Cell | Failed], Cell | Failed] = {}
    with _ended_by_interrupt(), ProcessPoolExecutor(processes, spawn, _begin) as pool:
        try:
            waiting = [pool.submit(run_job, job) for job in jobs]
            with _progress(len(jobs)) as step:
                for future in as_completed(waiting):
                    found = done[future] = future.result()
                    if isinstance(found, Failed):
                        raise GridError(found.text, bad_settings=found.bad_settings)
                    step()
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted after {len(done)} of {len(jobs)} simulations") from None
        except BrokenProcessPool as error:
            raise GridError("a process has died while it simulated: too little memory? Try --processes 1") from error
        finally:
            if len(done) < len(jobs):
                for process in multiprocessing.active_children():
                    process.terminate()
            pool.shutdown(cancel_futures=True)  # its own thread is over, too: it is not met by the interpreter's end
    return [cell for future in waiting if isinstance(cell := done[future], Cell)]


def run_job(job: Job) -> Cell | Failed:
    """One cell, in a process of its own."""
    environ = {**os.environ, **dict(job.settings)}
    if job.symbol:
        environ = {name: value for name, value in environ.items() if name != "SYMBOLS"} | {"SYMBOL": job.symbol}
    try:
        settings = load_settings(environ, job.env_file)
        found = simulate_once(settings, job.recording, job.info, job.prices)
        symbol, _ = symbol_rules(settings, settings.symbol or symbol_of(job.recording.file), job.info)
    except (SettingsError, PaperError) as error:
        where = f"{words_of(job.settings)} on {job.recording.file.name}"
        return Failed(f"{where}: {error}", isinstance(error, SettingsError))
    closed = found.outcome.closed
    return Cell(
        settings=job.settings,
        recording=job.recording.file.name,
        symbol=symbol.name,
        quote=symbol.quote,
        figures=figures_of(closed),
        curve=tuple(accumulate(trade.r for trade in closed if trade.qty)),
        faults=tuple(found.books.faults),
    )


def _begin() -> None:
    """A process that works: Ctrl-C is for the one that leads, and without that one there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _ended_by_interrupt() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(length: int) -> Iterator[Callable[[], None]]:
    """What to call after each; shown on a terminal alone."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with typer.progressbar(length=length, label="simulating", file=sys.stderr) as bar:
        yield lambda: bar.update(1)
