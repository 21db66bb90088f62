"""What a process of several accounts keeps beside their states is its own: no other process of this machine uses it."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from executor.config import Settings
from executor.service.store.lock import Locked, LockError, StateLock


@contextlib.contextmanager
def alone(settings: Settings, accounts: Mapping[str, Settings], outbox: Path) -> Iterator[None]:
    """While the body runs. A node of a fleet has what is beside all its accounts' states: their journals, and what it
    has seen. With files each state is locked when its account begins, and only the `outbox` is everybody's.

    Raises LockError, in words that name the setting.
    """
    with contextlib.ExitStack() as locks:
        if not settings.fleet:
            _take(locks, outbox, "ACCOUNTS: these accounts", "stop that one first")
        else:
            for account, own in accounts.items():
                first = own.state_path(own.traded[0])
                must = f"STATE_FN must lead each node of a machine to a folder of its own, not to {first.parent}"
                _take(locks, first.with_name(first.name + ".node"), f"the files of {account}", must)
        yield


def _take(locks: contextlib.ExitStack, path: Path, what: str, must: str) -> None:
    try:
        locks.enter_context(StateLock(path))
    except Locked as error:
        raise LockError(f"{what} are in use by {error.holder or 'another process'} ({error.path}): {must}") from error
