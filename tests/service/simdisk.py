"""A disk in memory that forgets what was not synced: for enumerating every crash of a sequence of file
operations.

Fault model. At a crash

- a file whose content was not synced holds any of: what was last synced, nothing, the first half, zeros of
  full length, all of it (a torn or lost write; delayed allocation);
- of the changes to names since the folder was last synced any subset survives, in any combination (file
  systems promise an order only to those who sync), and a rename may have left its source name behind;
- of what is overwritten in place each half holds what it held at any time since it was synced;
- nothing else is lost: synced content under a synced name is there.

Each operation has a crash point before it, and one between the writing and the syncing of a file.
`operations_left` counts down to the crash: the operation that would take it below zero raises `Crashed`
instead.
"""

import errno
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from executor.files import TooBigError


class Crashed(BaseException):
    """The machine stopped; no code of the program runs after this, so nothing may catch it."""


@dataclass
class _Inode:
    content: bytes = b""
    synced: bytes = b""
    overwritten: dict[int, list[bytes]] = field(default_factory=dict)  # by offset: what has been there since the sync

    @property
    def outcomes(self) -> list[bytes]:
        now = self.content
        if now == self.synced:
            return [now]
        if self.overwritten:
            return list(dict.fromkeys(map(self._with, itertools.product(*map(_halves, self.overwritten.values())))))
        return list(dict.fromkeys([self.synced, b"", now[: len(now) // 2], b"\0" * len(now), now]))

    def overwrite(self, offset: int, data: bytes) -> None:
        self.content = self.content[:offset] + data + self.content[offset + len(data) :]
        written = self.overwritten.setdefault(offset, [b""])
        longest = max(len(data), len(written[-1]))
        written[:] = [part + self.synced[offset + len(part) : offset + longest] for part in written]
        written.append(self.content[offset : offset + longest])

    def _with(self, parts: tuple[bytes, ...]) -> bytes:
        """The content with each overwritten part as given."""
        content = self.synced
        for offset, part in zip(self.overwritten, parts, strict=True):
            content = content[:offset] + part + content[offset + len(part) :]
        return content


def _halves(parts: list[bytes]) -> list[bytes]:
    """Each half as it was at some time."""
    half = len(parts[0]) // 2
    return list(dict.fromkeys(a[:half] + b[half:] for a in parts for b in parts))


Names = dict[Path, _Inode]
Change = dict[Path, _Inode | None]  # names set and names taken away, together


@dataclass
class SimDisk:
    """Implements `executor.files.FileSystem`. `failures`: errno by operation name, raised each time until
    removed.
    """

    hard_links: bool = True
    operations_left: int | None = None
    failures: dict[str, int] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    _durable: Names = field(default_factory=dict)
    _changes: list[list[Change]] = field(default_factory=list)  # per operation: the ways in which it may survive

    def read(self, path: Path, limit: int) -> bytes:
        self._reach("read", path)
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if len(self.names[path].content) > limit:
            raise TooBigError(errno.EFBIG, f"larger than {limit} bytes", str(path))
        return self.names[path].content

    def exists(self, path: Path) -> bool:
        self._reach("exists", path)
        return path in self.names

    def write_synced(self, path: Path, data: bytes) -> None:
        self._reach("write", path)
        if path in self.names:
            self._change([{path: None}])
        inode = _Inode()
        self._change([{path: inode}])
        inode.content = data
        self._reach("sync", path)
        self.sync_content(inode)

    def write(self, path: Path, data: bytes) -> None:
        self._reach("write_unsynced", path)
        if path in self.names:
            self._change([{path: None}])
        inode = _Inode()
        self._change([{path: inode}])
        inode.content = data

    def release(self) -> None:
        """Nothing is kept open here."""

    def overwrite(self, path: Path, offset: int, data: bytes, *, synced: bool) -> None:
        self._reach("overwrite", path)
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        inode = self.names[path]
        inode.overwrite(offset, data)
        if synced:
            self._reach("sync", path)
            self.sync_content(inode)

    def sync_file(self, path: Path) -> None:
        self._reach("sync", path)
        self.sync_content(self.names[path])

    def sync_content(self, inode: _Inode) -> None:
        inode.synced = inode.content
        inode.overwritten = {}

    def link(self, source: Path, target: Path) -> None:
        self._reach("link", source)
        if not self.hard_links:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(source))
        if target in self.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        self._change([{target: self.names[source]}])

    def rename(self, source: Path, target: Path) -> None:
        self._reach("rename", source)
        inode = self.names[source]
        if self.names.get(target) is inode:
            return  # POSIX: two names of one file, both stay
        self._change([{source: None, target: inode}, {target: inode}])

    def remove(self, path: Path) -> None:
        self._reach("remove", path)
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        self._change([{path: None}])

    def sync_folder(self, folder: Path) -> None:
        self._reach("sync_folder", folder)
        self._durable = dict(self.names)
        self._changes = []

    def write_out(self) -> None:
        """What the system does by itself after a while: everything is durable."""
        for inode in self.names.values():
            self.sync_content(inode)
        self._durable = dict(self.names)
        self._changes = []

    def after_crash(self) -> Iterator["SimDisk"]:
        """Every disk that the crash may leave behind, each once."""
        seen: set[tuple[tuple[Path, bytes], ...]] = set()
        for names in self._surviving_names():
            inodes = list({id(inode): inode for inode in names.values()}.values())
            for contents in itertools.product(*(inode.outcomes for inode in inodes)):
                copies = {id(i): _Inode(c, c) for i, c in zip(inodes, contents, strict=True)}
                left = {path: copies[id(inode)] for path, inode in names.items()}
                shape = tuple(sorted((path, inode.content) for path, inode in left.items()))
                if shape not in seen:
                    seen.add(shape)
                    yield SimDisk(hard_links=self.hard_links, names=dict(left), _durable=dict(left))

    def _surviving_names(self) -> Iterator[Names]:
        for survived in itertools.product(*([{}, *ways] for ways in self._changes)):
            names = dict(self._durable)
            for change in survived:
                _apply(names, change)
            yield names

    def _change(self, ways: list[Change]) -> None:
        _apply(self.names, ways[0])
        self._changes.append(ways)

    def _reach(self, operation: str, path: Path) -> None:
        if self.operations_left is not None:
            if self.operations_left == 0:
                raise Crashed
            self.operations_left -= 1
        self.log.append(f"{operation} {path.name}")
        if operation in self.failures:
            code = self.failures[operation]
            raise OSError(code, os.strerror(code), str(path))


def _apply(names: Names, change: Change) -> None:
    for path, inode in change.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode
