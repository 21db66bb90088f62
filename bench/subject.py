"""Executor as users run it, with one ear more: it tells the venue when it is ready, and when a trade is over.

python -m bench.subject PLACE      (settings as always: from the environment)
"""

import socket
import sys

import msgspec

from bench.scenario import Place
from executor.config import load_settings
from executor.config.accounts import ALONE, named
from executor.core.model.state import State
from executor.ops import logs
from executor.service import app, runner
from executor.service.accounts import run_accounts
from executor.service.loop import Loop


class Reporter:
    """Sends notes to the venue."""

    def __init__(self, place: Place) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(place.notes)
        self._attached = False

    def attach(self, loop: Loop) -> None:
        if not self._attached:
            runner.settle_memory()
        self._attached = True
        loop.add_task("bench", lambda: self._tell(loop))

    async def _tell(self, loop: Loop) -> None:
        self._socket.send(f"ready {loop.state.symbol}".encode())
        while True:
            await loop.until(_open)
            await loop.until(_flat)
            self._socket.send(f"flat {loop.state.symbol}".encode())


def _open(state: State) -> bool:
    return state.position is not None


def _flat(state: State) -> bool:
    return state.position is None


def main() -> None:
    place = msgspec.json.decode(sys.argv[1], type=Place)
    settings = load_settings(env_file=None)
    logs.set_up(settings.log_format, settings.log_level)
    reporter = Reporter(place)
    if settings.fleet:
        runner.run(run_accounts(settings, {ALONE: named(settings, ALONE)}, reporter.attach))
    else:
        runner.run(app.run(settings, reporter.attach))


if __name__ == "__main__":
    main()
