"""How far a bot's updates have been taken: kept before a command is carried out, so that none is carried out twice."""

import asyncio
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from executor.decoding import decode
from executor.files import RealFileSystem, replace_file

log = structlog.get_logger(__name__)

SIZE_MAX: Final = 4096
"""Bytes; a number has some twenty."""


class NotOursError(Exception):
    """Another process reads the bot's updates by now: this one takes no further command."""


class Place(msgspec.Struct, frozen=True):
    """What is kept: the next update that is not taken yet."""

    offset: int


class Keeper(Protocol):
    """Where it is kept."""

    async def read(self) -> int:
        """The next update that no earlier run has taken; 0 where that is not known."""

    async def keep(self, offset: int) -> str:
        """Have it kept; why it is not, empty where it is. Raises NotOursError."""


class FilePlace:
    """In a file of this process alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> int:
        try:
            return offset_in(await asyncio.to_thread(RealFileSystem().read, self._path, SIZE_MAX))
        except FileNotFoundError:
            return 0
        except OSError as error:
            log.warning("telegram_place_not_read", error=error.strerror or str(error))
            return 0

    async def keep(self, offset: int) -> str:
        try:
            await asyncio.to_thread(replace_file, RealFileSystem(), self._path, encoded(offset))
        except OSError as error:
            log.warning("telegram_place_not_kept", error=error.strerror or str(error))
            return "the disk takes nothing"
        return ""


def encoded(offset: int) -> bytes:
    return msgspec.json.encode(Place(offset))


def offset_in(data: bytes) -> int:
    """0 where it can't be read: then nothing is known to have been taken."""
    try:
        return decode(data, Place).offset
    except msgspec.DecodeError as error:
        log.warning("telegram_place_unreadable", error=str(error))
        return 0


def place_path(state: Path) -> Path:
    """Beside the state."""
    return state.with_name(state.name + ".telegram")
