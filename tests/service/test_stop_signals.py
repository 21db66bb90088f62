"""What ends a service in order (rule 9.5)."""

import asyncio
import os
import signal

import pytest

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
    assert signal.getsignal(number) in (before, signal.SIG_DFL, signal.default_int_handler)


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
