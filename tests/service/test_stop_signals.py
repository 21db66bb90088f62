"""What ends a service in order (rule 9.5)."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from tests.service.test_self_watchdog import FIRST

from executor.service.stop_signals import stopping_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_each_of_them_ends_it_however_often_it_comes(number: signal.Signals) -> None:
    ends = asyncio.Queue[bool]()
    before = signal.getsignal(number)
    with stopping_on_signals(lambda: ends.put_nowait(True)):
        for _ in range(2):
            os.kill(os.getpid(), number)
            async with asyncio.timeout(5):
                await ends.get()
    assert signal.getsignal(number) == before


async def test_a_hang_up_that_was_turned_off_ends_nothing() -> None:
    """As nohup does for what is to outlive its terminal."""
    ends: list[bool] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals(lambda: ends.append(True)):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.05)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ends == []


TOLD_AT_ONCE = """
import os, signal, sys
from executor.__main__ import main

class First:
    def find_spec(self, name, *_):
        os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, First())
sys.argv = ["executor", "--version"]
main()
"""


@pytest.mark.skipif(not FIRST, reason="unshare(1) is not here")
def test_the_first_process_of_a_container_is_ended_while_it_is_imported_still() -> None:
    """A signal that is left to the system's default is lost on one of its kind: `docker stop` took ten seconds."""
    done = subprocess.run([*FIRST, sys.executable, "-c", TOLD_AT_ONCE], timeout=20, check=False, capture_output=True)
    assert done.returncode == 128 + signal.SIGTERM, done
