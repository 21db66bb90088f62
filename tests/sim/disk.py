"""Where the simulated service keeps its state: a quick model for the many runs, the real store for the enumeration.

The quick model has the store's contract (tests/service/test_store.py proves it of the real one): after `save` the state
is there; a crash in the middle leaves the old state or the new one, or a damaged file whose predecessor is the old one.
"""

from enum import IntEnum
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import replace
from tests.service.simdisk import SimDisk

from executor.core.model.state import SCHEMA_VERSION, Market, State
from executor.service.store.document import Document, document_of, state_of
from executor.service.store.state_store import StateStore


class Torn(IntEnum):
    """What a crash in the middle of a save leaves behind."""

    OLD = 0
    NEW = 1
    DAMAGED = 2


class Disk(Protocol):
    def save(self, state: State) -> None:
        """OSError or StateUnwritable when the disk is full."""

    def load(self) -> State | None: ...


class QuickDisk:
    """Holds states, which never change, and gives them back as they come out of their encoding. `full`: every save
    fails; `damaged`: the current file can't be read.
    """

    def __init__(self) -> None:
        self.current: State | None = None
        self.previous: State | None = None
        self.full = False
        self.damaged = False

    def save(self, state: State) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self._write(state)

    def tear(self, state: State, torn: Torn) -> None:
        """A crash in the middle of saving `state`."""
        if torn is not Torn.OLD:
            self._write(state)
            self.damaged = torn is Torn.DAMAGED

    def _write(self, state: State) -> None:
        # A damaged file is set aside: it never becomes the predecessor.
        if not self.damaged:
            self.previous = self.current
        self.current, self.damaged = state, False

    def spoil(self) -> bool:
        """The current file rots, if its predecessor is there to be used (rule 9.2); whether it did."""
        self.damaged = self.damaged or self.previous is not None
        return self.previous is not None

    def wipe(self) -> None:
        self.current = self.previous = None
        self.damaged = False

    def load(self) -> State | None:
        found = self.previous if self.damaged else self.current
        return None if found is None else decode(encode(found))


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(State)
_NOTHING = Market()


def encode(state: State) -> bytes:
    return _ENCODER.encode(replace(state, market=_NOTHING))


def decode(data: bytes) -> State:
    return _DECODER.decode(data)


class StoreDisk:
    """The real state store, used as the service does, on a disk that forgets what was not synced."""

    PATH = Path("/state/executor_state.json")

    def __init__(self, disk: SimDisk) -> None:
        self.mount(disk)

    def mount(self, disk: SimDisk) -> None:
        self.disk = disk
        self._store = StateStore(self.PATH, schema_version=SCHEMA_VERSION, fs=disk)

    def save(self, state: State) -> None:
        self._store.commit(document_of(state))
        self.disk.write_out()  # what the last one did to the state file
        self._store.publish()

    def load(self) -> State | None:
        loaded = self._store.load(Document)
        return None if loaded is None else state_of(loaded.value)
