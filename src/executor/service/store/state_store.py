"""The state file: replaced atomically, checked when read, its last good predecessor kept (rules 8.1, 9.2,
10.5).

On disk, beside each other:

    executor_state.json               the state: JSON for people, `schema_version` and `checksum` first
    executor_state.json.prev          the state before it
    executor_state.json.ahead         the state while the service runs, a moment before the file shows it (`ahead`)
    executor_state.json.tmp           the next one while it is written; means nothing until it is renamed
    executor_state.json.damaged-<utc> a file that failed its checks, set aside for a person to look at; also a folder,
                                      a pipe or a device that stood in the place of one of these

A save writes and syncs `.tmp`, gives the current file the second name `.prev` by a hard link, renames `.tmp`
over the current name, and syncs the folder. The current name is never without a whole file, and the
predecessor costs two operations on the folder but no sync of its own. Where the file system has no hard links
the current file is renamed to `.prev`; a crash right then leaves only `.prev`, which `load` takes.

`commit` is the quick way, on which orders wait: one sync of the write-ahead copy makes the state durable. `publish`
then replaces the current file without a sync of its own, in its own time and from any thread. After a crash in
between, or a power cut, the current file may be old or torn, and the copy is taken. `save` puts all of it in order
and removes the copy.
"""

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import Final, Generic, Literal, NoReturn, TypeVar

import msgspec
import structlog

from executor.files import (
    NO_HARD_LINKS,
    FileSystem,
    NoRegularFileError,
    RealFileSystem,
    TooBigError,
    damaged_name,
)
from executor.service.store import codec
from executor.service.store.port import StoreUnwritable
from executor.service.store.write_ahead import WriteAhead

log = structlog.get_logger(__name__)

T = TypeVar("T")

SIZE_MAX: Final = 16 * 1024 * 1024
"""A state is some kilobytes; a file a thousand times as large is no state, and must not fill the memory."""

PUBLISH_AFTER_S: Final = 0.05
"""The state file shows a step so much later: what one fill sets off is written for people once, when it is over."""
STALE: Final = "is older than its write-ahead copy"
"""What a crash leaves of a current file that was about to be replaced; nothing is wrong with it."""

_ENVELOPE: Final = re.compile(
    rb'\{"schema_version":(?P<version>[0-9]{1,9}),"checksum":"(?P<checksum>[0-9a-f]{64})",(?P<rest>.*)\}',
    re.DOTALL,
)


class StateError(Exception):
    """The state file can't be used. The text names the file and says what a person can do."""


class StateUnwritable(StateError, StoreUnwritable):  # noqa: N818  (the names say what the file is)
    """The state could not be written: after this the disk holds the state before it or the new one, whole."""

    def __init__(self, path: Path, reason: OSError) -> None:
        super().__init__(f"state file {path} can't be written: {_words(reason, path)}")
        self.path = path
        self.reason = reason


class StateUnreadable(StateError):  # noqa: N818
    """The operating system refused to read a state file that is there."""

    def __init__(self, path: Path, reason: OSError) -> None:
        super().__init__(f"state file {path} can't be read: {_words(reason, path)}")
        self.path = path
        self.reason = reason


class StateDamaged(StateError):  # noqa: N818
    """Neither the state file nor its predecessor can be used. Both are left as they are. `reasons`: path →
    why.
    """

    def __init__(self, reasons: Mapping[Path, str]) -> None:
        found = "; ".join(f"{path} {why}" for path, why in reasons.items())
        super().__init__(
            f"no usable state: {found}. Nothing was changed. Restore one of them from a copy, or move them"
            " away to have the trade rebuilt from the exchange's open orders (rule 9.3)"
        )
        self.reasons = dict(reasons)


class StateTooNew(StateError):  # noqa: N818
    """The file was written by a later version of Executor; it is left as it is."""

    def __init__(self, path: Path, *, found: int, known: int) -> None:
        super().__init__(
            f"state file {path} has schema_version {found}, this version of Executor reads up to {known}:"
            " start the version that wrote it, or a later one"
        )
        self.path = path
        self.found = found
        self.known = known


class StateForeign(StateError):  # noqa: N818
    """A sound state, but not ours (another symbol's); it is left as it is."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"state file {path} is not this trade's: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """A state read from disk. `fault`: what was wrong with the current file when `source` is another
    one; `set_aside`: where that file was put (None when it was not there, or merely old).
    """

    value: T
    source: Literal["current", "ahead", "previous"]
    fault: str = ""
    set_aside: Path | None = None


class Age(Enum):
    """How old a state from the disk is."""

    NEWEST = auto()
    """It is certain that nothing newer was lost."""
    VOUCHED = auto()
    """The write-ahead copy vouches for it: unless that copy is as old itself, put back together with it."""
    UNKNOWN = auto()
    """The service had ended in order, and nothing says that this is not an older state, put back by somebody."""
    OLD = auto()
    """Newer ones were lost."""


class _Damage(Exception):  # noqa: N818
    """Why the content of one file can't be used; goes into a sentence after the file's name."""


class _Missing(_Damage):
    pass


class _Versioned(msgspec.Struct):
    schema_version: int


class StateStore:
    """One state file. It trusts that nobody else writes it meanwhile: `StateLock` sees to that (rule 9.4)."""

    publish_after_s = PUBLISH_AFTER_S

    def __init__(
        self,
        path: Path,
        *,
        schema_version: int,
        fs: FileSystem | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`path` may be a symbolic link: the file that it points to is the one that is replaced."""
        self.path = Path(os.path.realpath(path))
        self.previous = self.path.with_name(self.path.name + ".prev")
        self.schema_version = schema_version
        self._temporary = self.path.with_name(self.path.name + ".tmp")
        self._fs = RealFileSystem() if fs is None else fs
        self.write_ahead = self.path.with_name(self.path.name + ".ahead")
        self._write_ahead = WriteAhead(self.write_ahead, self._fs)
        self._committed: bytes | None = None
        """What `commit` wrote last and the current file does not show yet."""
        self._shown = False
        self._replacing = threading.Lock()
        self._clock = clock

    def save(self, document: object) -> str:
        """Replace the state by `document`, a struct or mapping; when this returns, it survives a power cut.
        Returns the document's checksum.

        Raises:
            StateUnwritable: the disk is full, the folder is read-only, …; the old or the new state is on
                disk, whole.
            CodecError: `document` can't be written as JSON; nothing was touched.
        """
        data, checksum = _seal(document, self.schema_version)
        with self._replacing:
            try:
                if copied := self._write_ahead.exists():
                    self._write_ahead.write(data)  # it must not be older than the state, should its removal be lost
                self._fs.write_synced(self._temporary, codec.pretty(data))
                self._replace()
                self._fs.sync_folder(self.path.parent)
                if copied:
                    self._write_ahead.remove()
                self._fs.release()
            except OSError as error:
                self._give_up(error)
            self._committed = None
        return checksum

    def commit(self, document: object, *, durable: bool = True) -> str:
        """When this returns, the state survives the process and, where `durable`, a power cut, as after `save`; in a
        fraction of the time. The current file shows it after the next `publish`. Returns the document's checksum.

        Raises StateUnwritable and CodecError as `save` does.
        """
        data, checksum = _seal(document, self.schema_version)
        try:
            self._write_ahead.write(data, durable=durable)
        except OSError as error:
            raise StateUnwritable(self.path, error) from error
        self._committed = data
        if not self._shown:
            self.publish()  # a copy without a state file beside it would look like a loss
        return checksum

    @property
    def pending(self) -> bool:
        """Nothing ever is: `commit` and `save` write at once."""
        return False

    async def written(self) -> None:
        """What was committed is there."""

    def take(self, names: Collection[str]) -> None:
        """Signals lie in a file of their own, whose reader remembers its place: none is taken from here."""
        assert not names

    def publish(self) -> None:
        """Have the current file show what was committed last. May run in a thread beside `commit`. Raises
        StateUnwritable: then nothing is lost, and the next one tries again.
        """
        with self._replacing:
            data, self._committed = self._committed, None
            if data is None:
                return
            try:
                self._fs.write(self._temporary, codec.pretty(data))
                self._replace()
            except OSError as error:
                if self._committed is None:  # a commit beside this may have brought a newer one
                    self._committed = data
                self._give_up(error)
            self._shown = True

    def _replace(self) -> None:
        self._keep_previous()
        self._fs.rename(self._temporary, self.path)

    def _give_up(self, error: OSError) -> NoReturn:
        with contextlib.suppress(OSError):  # the first error is the one to tell; a leftover means nothing
            self._fs.remove(self._temporary)
        raise StateUnwritable(self.path, error) from error

    def load(
        self,
        type: type[T],  # noqa: A002
        *,
        foreign: Callable[[T], str | None] = lambda _: None,
        unsound: Callable[[T], str | None] = lambda _: None,
    ) -> Loaded[T] | None:
        """The state on disk, None when there is no file at all.

        A current file that fails its checks is set aside and its predecessor taken (rule 9.2); so is whatever is no
        file, in the place of one of ours: nothing could be written there. `unsound` is the
        last of these: it says how a state contradicts itself, None when it does not. `foreign` says why a sound
        state is not this trade's, None when it is.

        Raises:
            StateDamaged: neither file can be used; nothing was changed.
            StateTooNew, StateForeign: left as it is.
            StateUnreadable: the operating system refused to read.
            StateUnwritable: a damaged file could not be set aside.
        """
        found = self.peek(type, foreign=foreign, unsound=unsound)
        self._make_room()
        if found is None or not found.fault or found.fault == STALE or not self._fs.exists(self.path):
            return found
        return Loaded(found.value, found.source, found.fault, self._set_aside(self.path))

    def _make_room(self) -> None:
        """Set aside what is no file in the place of one beside the state. An empty write-ahead copy takes the place of
        such a one: that the newest state was lost must be known to a start after this one too.
        """
        for path in (self.previous, self._temporary, self._write_ahead.temporary, self.write_ahead):
            try:
                self._fs.read(path, 0)
            except NoRegularFileError:
                self._make_way(path)
            except OSError:  # whoever needs it will tell
                pass

    def _make_way(self, path: Path) -> None:
        """What can't be moved (a mount) does not end a start that has a trade to look after: whoever needs the place
        will tell.
        """
        fault, lost = f"{path} is no file", path == self.write_ahead
        try:
            if lost:
                self._fs.write_synced(self._write_ahead.temporary, b"")
            aside = self._set_aside(path)
            if lost:
                self._fs.rename(self._write_ahead.temporary, path)
                self._fs.sync_folder(path.parent)
        except (OSError, StateUnwritable) as error:
            log.error("state_damaged", alert=True, fault=f"{fault}, and stays there: {error}", set_aside="")
        else:
            log.error("state_damaged", alert=True, fault=fault, set_aside=str(aside))

    def peek(
        self,
        type: type[T],  # noqa: A002
        *,
        foreign: Callable[[T], str | None] = lambda _: None,
        unsound: Callable[[T], str | None] = lambda _: None,
    ) -> Loaded[T] | None:
        """As `load`, but changes nothing on disk: for readers beside the running service."""

        def decode(data: bytes, path: Path) -> T:
            value = _unseal(data, path, self.schema_version, type)
            if (contradiction := unsound(value)) is not None:
                raise _Damage(f"contradicts itself: {contradiction}")
            if (reason := foreign(value)) is not None:
                raise StateForeign(path, reason)
            return value

        current: T | _Damage
        try:
            current = self._read(self.path, decode)
        except _Damage as damage:
            current = damage
        try:
            ahead = self._read_write_ahead(decode)
        except _Damage:
            ahead = None
        if ahead is not None and ahead != current:
            return Loaded(ahead, "ahead", str(current) if isinstance(current, _Damage) else STALE)
        if not isinstance(current, _Damage):
            return Loaded(current, "current")
        try:
            value = self._read(self.previous, decode)
        except _Damage as damage:
            if isinstance(current, _Missing) and isinstance(damage, _Missing):
                return None
            raise StateDamaged({self.path: str(current), self.previous: str(damage)}) from damage
        return Loaded(value, "previous", str(current))

    def age(self, loaded: Loaded[T]) -> Age:
        """How far what `load` or `peek` gave may be behind the service's last state. Raises StateUnreadable."""
        try:
            if loaded.source == "previous" or self._write_ahead.torn():
                return Age.OLD
            return Age.VOUCHED if self._write_ahead.exists() else Age.UNKNOWN
        except OSError as error:
            raise StateUnreadable(self.write_ahead, error) from error

    def _read_write_ahead(self, decode: Callable[[bytes, Path], T]) -> T | None:
        try:
            data = self._write_ahead.read()
        except OSError as error:
            raise StateUnreadable(self.write_ahead, error) from error
        return None if data is None else decode(data, self.write_ahead)

    def _read(self, path: Path, decode: Callable[[bytes, Path], T]) -> T:
        try:
            data = self._fs.read(path, SIZE_MAX)
        except FileNotFoundError:
            raise _Missing("is not there") from None
        except (TooBigError, NoRegularFileError) as error:
            raise _Damage(f"is {error.strerror}") from error
        except OSError as error:
            raise StateUnreadable(path, error) from error
        return decode(data, path)

    def _keep_previous(self) -> None:
        if not self._fs.exists(self.path):
            return  # the first save, or the current file was set aside and `.prev` is still the last good one
        if self._fs.exists(self.previous):
            self._fs.remove(self.previous)
        try:
            self._fs.link(self.path, self.previous)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            self._fs.rename(self.path, self.previous)

    def _set_aside(self, path: Path) -> Path:
        target = damaged_name(path, self._clock(), self._fs.exists)
        try:
            self._fs.rename(path, target)
            self._fs.sync_folder(path.parent)
        except OSError as error:
            raise StateUnwritable(path, error) from error
        return target


def seal(document: object, schema_version: int) -> bytes:
    """The state file's bytes: `document`'s members after `schema_version` and `checksum`.

    The checksum is the SHA-256 of the compact JSON of everything else, `schema_version` included; so white
    space may change, nothing else. These two members stay as they are in every schema version.
    """
    return codec.pretty(_seal(document, schema_version)[0])


def checksum(document: object, schema_version: int) -> str:
    """The checksum that the state file of `document` carries."""
    return _seal(document, schema_version)[1]


def pack(document: object, schema_version: int) -> tuple[bytes, str]:
    """As `seal`, on one line, and the checksum: for a store that people do not read."""
    return _seal(document, schema_version)


def unpack(data: bytes, where: Path, schema_version: int, type: type[T]) -> T:  # noqa: A002
    """The document that `pack` or `seal` made. Raises StateDamaged, StateTooNew."""
    try:
        return _unseal(data, where, schema_version, type)
    except _Damage as damage:
        raise StateDamaged({where: str(damage)}) from damage


def _seal(document: object, schema_version: int) -> tuple[bytes, str]:
    encoded = codec.encode(document)
    if not encoded.startswith(b'{"') or encoded.startswith(b'{"schema_version"'):
        raise codec.CodecError("the state must be an object with members and without a schema_version")
    rest = encoded[1:-1]
    checksum = _checksum(b"%d" % schema_version, rest)
    return b'{"schema_version":%d,"checksum":"%s",%s}' % (schema_version, checksum, rest), checksum.decode()


def _unseal(data: bytes, path: Path, known: int, type: type[T]) -> T:  # noqa: A002
    if not data.strip():
        raise _Damage("is empty")
    try:
        text = codec.compact(data)
    except codec.CodecError as error:
        raise _Damage(f"is not JSON: {error}") from error
    match = _ENVELOPE.fullmatch(text)
    version = int(match["version"]) if match else _version(text)
    # Newer before damaged: a later version's file must not be set aside for a reason that only it can judge.
    if version > known:
        raise StateTooNew(path, found=version, known=known)
    if match is None:
        raise _Damage("does not begin with schema_version and checksum")
    if match["checksum"] != _checksum(match["version"], match["rest"]):
        raise _Damage("does not match its checksum")
    if version < known:
        raise _Damage(f"has schema_version {version}, which this version of Executor can't read")
    try:
        return codec.decode(b"{%s}" % match["rest"], type=type)
    except codec.CodecError as error:
        raise _Damage(f"does not hold a state: {error}") from error


def _version(text: bytes) -> int:
    try:
        return codec.decode(text, type=_Versioned).schema_version
    except codec.CodecError:
        return 0


def _checksum(version: bytes, rest: bytes) -> bytes:
    return hashlib.sha256(b'{"schema_version":%s,%s}' % (version, rest)).hexdigest().encode()


def _words(reason: OSError, path: Path) -> str:
    """With the file that it is about, where that is one beside the state."""
    about = f" ({reason.filename})" if reason.filename not in {None, str(path)} else ""
    return f"{reason.strerror or reason}{about}"
