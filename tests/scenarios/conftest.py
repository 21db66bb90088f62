"""Where the services of these tests keep their files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

MEMORY: Final = Path("/dev/shm")  # noqa: S108  (a folder of our own is made in it)
ROOM: Final = 256 * 2**20


def _has_room(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory, where there is one: a service syncs its state some twenty times in a trade, and on a disk each of them
    takes milliseconds in which nothing is computed. What a sync is for is shown by the tests of the store.
    """
    if not _has_room(MEMORY):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="executor-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
