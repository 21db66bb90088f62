"""What a node remembers of its fleet's store, on its own disk: so that it notices when an older copy was put back.

A copy that was restored is whole and knows of nothing later; only somebody outside can tell that its revisions have
gone back. Such a store's states are old ones: newer ones were lost, and an operator is to say that the exchange shall
tell what has happened since (`executor fleet adopt --from-exchange`). That begins a new generation.
"""

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import structlog

from executor.files import RealFileSystem, make_folder, replace_file
from executor.service.store import codec

log = structlog.get_logger(__name__)

SIZE_MAX: Final = 4096


class Memory(msgspec.Struct, frozen=True):
    """The newest revision that was seen of the fleet's store, and of which generation that was."""

    fleet: str = ""
    generation: int = 0
    revision: int = 0

    def is_newer(self, generation: int, revision: int) -> bool:
        """Than a store that was asked *after* all this was known, and was at `revision`: then that is an older one.
        What was asked at the same time may have been answered in any order, and says nothing.
        """
        return generation < self.generation or (generation == self.generation and revision <= self.revision)


class Witness:
    """Nothing is raised for a disk that can't be used: then nothing is remembered beyond this process."""

    def __init__(self, path: Path | None, fleet: str) -> None:
        """`path` None: nothing is kept."""
        self._path = path
        self._fs = RealFileSystem()
        self._told = False
        self._saving = asyncio.Lock()
        self.memory = self._read(fleet)
        self._saved = self.memory

    def saw(self, generation: int, revision: int) -> None:
        """Remember it, if it is newer."""
        known = self.memory
        if (generation, revision) > (known.generation, known.revision):
            self.memory = Memory(known.fleet, generation, revision)

    async def save(self) -> None:
        """Write down what is new, out of the way; one at a time, as both would write to one file."""
        if self._path is not None:
            async with self._saving:
                if self.memory != self._saved:
                    await asyncio.to_thread(self._save, self._path, self.memory)

    def _save(self, path: Path, memory: Memory) -> None:
        try:
            make_folder(path.parent)
            replace_file(self._fs, path, msgspec.json.encode(memory))
            self._saved, self._told = memory, False
        except OSError as error:
            if not self._told:
                log.warning("fleet_memory_unwritable", path=str(path), error=error.strerror or str(error))
            self._told = True

    def _read(self, fleet: str) -> Memory:
        if self._path is None:
            return Memory(fleet)
        try:
            found = codec.decode(self._fs.read(self._path, SIZE_MAX), type=Memory)
        except FileNotFoundError:
            return Memory(fleet)
        except (OSError, codec.CodecError) as error:
            log.warning("fleet_memory_unreadable", path=str(self._path), error=str(error))
            return Memory(fleet)
        return found if found.fleet == fleet else Memory(fleet)
