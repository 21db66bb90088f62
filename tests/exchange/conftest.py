from collections.abc import AsyncIterator

import pytest
from tests.exchange.stub import ManualClock, Stub, connected, running_stub

from executor.exchange.binance import BinanceExchange


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with running_stub() as stub:
        yield stub


@pytest.fixture
async def exchange(stub: Stub, clock: ManualClock) -> AsyncIterator[BinanceExchange]:
    async with connected(stub, clock) as exchange:
        yield exchange
