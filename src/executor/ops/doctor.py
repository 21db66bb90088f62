"""What a start needs, looked at beforehand: each finding says how it is, and what to do about it."""

import os
import shutil
import stat
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from executor.config import Settings
from executor.files import RealFileSystem, replace_file
from executor.service.asking import ControlError, NotRunningError, Request, ask
from executor.service.left_behind import left_behind
from executor.service.store.control_socket import socket_path
from executor.service.store.document import saved, state_of
from executor.service.store.state_store import StateError

DISK_FAIL: Final = 50 * 1024 * 1024
DISK_WARN: Final = 500 * 1024 * 1024
SYNC_WARN_MS: Final = 50
SYNC_FAIL_MS: Final = 1000
"""The state is on disk before each request leaves (rule 8.1): this is what a stop waits for."""
SYNC_TRIES: Final = 5
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """`advice`: what to do; empty when all is well."""

    level: Level
    name: str
    text: str
    advice: str = ""


def ok(name: str, said: str) -> Finding:
    return Finding(Level.OK, name, said)


def warn(name: str, said: str, advice: str) -> Finding:
    return Finding(Level.WARN, name, said, advice)


def fail(name: str, said: str, advice: str) -> Finding:
    return Finding(Level.FAIL, name, said, advice)


def as_text(findings: Sequence[Finding]) -> str:
    lines = []
    width = max(len(each.name) for each in findings)
    for each in findings:
        lines.append(f"{each.level:<4}  {each.name:<{width}}  {each.text}")
        if each.advice:
            lines.append(f"{'':<{width + 6}}  -> {each.advice}")
    count = {level: sum(1 for each in findings if each.level is level) for level in Level}
    lines += ["", f"{count[Level.OK]} ok, {count[Level.WARN]} warnings, {count[Level.FAIL]} failures"]
    return "\n".join(lines)


def of(name: str, findings: Iterable[Finding]) -> list[Finding]:
    """The same, told to be of one symbol or account of several."""
    return [msgspec.structs.replace(each, name=f"{name} {each.name}") for each in findings]


class Files(NamedTuple):
    """The state file of one symbol."""

    state: Path
    symbol: str


def on_this_machine(settings: Settings, states: Mapping[str, Files]) -> list[Finding]:
    """What needs no exchange: folder, disk, state, service, files. `states`: the state file of each that is traded, by
    its name. In a fleet the states are in its store.
    """
    folders = dict.fromkeys(files.state.parent for files in states.values())
    findings = [finding for folder in folders for finding in _folder(folder)]
    for name, files in states.items():
        own = [*(() if settings.fleet else _state(files.state, files.symbol)), *_service(files.state)]
        findings += own if len(states) == 1 else of(name, own)
    if not settings.fleet and settings.accounts is None:
        traded = {*settings.traded, *(files.symbol for files in states.values())}
        findings += [
            fail("open trades", each.text, f"SYMBOLS must name {each.symbol} too")
            for each in left_behind(settings, traded)
        ]
    return [*findings, *_signals(settings.signal_file), *_secrets(settings)]


def _folder(folder: Path) -> Iterator[Finding]:
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK):
        yield fail("state folder", f"{existing} can't be written by this user", "choose another STATE_FN, or chown it")
        return
    if existing != folder:
        yield ok("state folder", f"{folder} is made at the first start")
    elif folder.stat().st_mode & OTHERS:
        yield warn("state folder", f"{folder} is open to other users", f"chmod 700 {folder}")
    else:
        yield ok("state folder", f"{folder} is writable, and closed to others")
    free = shutil.disk_usage(existing).free
    said = f"{free // 1024 // 1024} MiB free on {existing}"
    if free < DISK_FAIL:
        yield fail("disk space", said, "free some: nothing is sent while the state can't be written")
    elif free < DISK_WARN:
        yield warn("disk space", said, "free some: the journal grows by some MiB a day")
    else:
        yield ok("disk space", said)
    yield _sync(existing)


def _sync(folder: Path) -> Finding:
    """How long a save takes: the very operations of one."""
    file = folder / f".executor-doctor-{os.getpid()}"
    took = []
    try:
        for _ in range(SYNC_TRIES):
            began = time.perf_counter()
            replace_file(RealFileSystem(), file, b"x" * 8192)
            took.append((time.perf_counter() - began) * 1000)
        file.unlink()
    except OSError as error:
        return fail("disk sync", f"{folder}: {error.strerror or error}", "see what the disk says (dmesg)")
    typical = statistics.median(took)
    said = f"a save takes {typical:.1f} ms"
    if typical > SYNC_FAIL_MS:
        return fail("disk sync", said, "put STATE_FN on a local disk: every order waits for this")
    if typical > SYNC_WARN_MS:
        return warn("disk sync", said, "put STATE_FN on a faster local disk: every order waits for this")
    return ok("disk sync", said)


def _state(path: Path, symbol: str) -> Iterator[Finding]:
    try:
        loaded = saved(path)
        state = None if loaded is None else state_of(loaded.value)
    except StateError as error:
        yield fail("state file", str(error), "restore a copy, or move the files away to have the trade rebuilt")
        return
    if loaded is None or state is None:
        yield ok("state file", f"{path} is not there yet: a first start")
        return
    if state.symbol != symbol:
        yield fail("state file", f"{path} is of {state.symbol}, not of {symbol}", "check SYMBOL and STATE_FN")
        return
    if loaded.source == "previous":
        yield warn("state file", f"{path} {loaded.fault}", "nothing: the state before it is used; keep it for a report")
    else:
        held = "no trade is open" if state.position is None else f"trade {state.position.trade} is open"
        yield ok("state file", f"sound, {held}")
    if path.exists() and path.stat().st_mode & OTHERS:
        yield warn("state file", f"{path} can be read by other users", f"chmod 600 {path}")
    if state.halted:
        yield warn("entries", f"halted: {state.halted}", "see `executor check`; then `executor resume`")
    elif state.paused:
        yield warn("entries", "paused", "`executor resume` allows entries again")


def _service(state: Path) -> Iterator[Finding]:
    try:
        ask(state, Request("ping"), timeout=5)
    except NotRunningError:
        stale = " (its socket is left over from a kill, which is harmless)" if socket_path(state).exists() else ""
        yield ok("service", f"not running{stale}")
    except ControlError as error:
        yield fail("service", str(error), "run this as the service's user; if it hangs, see its log and restart it")
    else:
        yield ok("service", "running, and answers on its socket")


def _signals(file: Path) -> Iterator[Finding]:
    try:
        found = file.stat()
    except FileNotFoundError:
        yield warn("signal file", f"{file} is not there yet", "let your signal source write it; it may come later")
        return
    except OSError as error:
        yield fail("signal file", f"{file} can't be looked at: {error.strerror}", "chmod or chown its folders")
        return
    if not stat.S_ISREG(found.st_mode):
        yield fail("signal file", f"{file} is not a regular file", "set SIGNAL_FILE to a file of lines")
    elif not os.access(file, os.R_OK):
        yield fail("signal file", f"{file} can't be read by this user", f"chmod or chown {file}")
    else:
        yield ok("signal file", f"{file}, {found.st_size} bytes")


def _secrets(settings: Settings) -> Iterator[Finding]:
    file = settings.binance_private_key_file
    if file is None:
        return
    if not file.exists():
        yield fail("key file", f"{file} is not there", "check BINANCE_PRIVATE_KEY_FILE")
    elif file.stat().st_mode & OTHERS:
        yield fail("key file", f"{file} can be read by other users", f"chmod 600 {file}")
    else:
        yield ok("key file", f"{file} is closed to others")
