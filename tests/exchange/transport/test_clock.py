"""The exchange's time: steady, whatever is done to this machine's clock, and through its suspension."""

import asyncio
import time

import pytest
from tests.exchange.stub import START_MS, ManualClock, Say, Stub, connected, error

from executor.exchange.port import ReadError
from executor.exchange.transport.clock import QUICK_MS, WAKE_EVERY_S, ExchangeClock, SystemClock


class Machine:
    """This machine's two clocks, in ms; `awake` is what its event loop counts."""

    def __init__(self) -> None:
        self.wall = START_MS
        self.steady = 5_000
        self.slept: list[float] = []

    def clock(self) -> SystemClock:
        return SystemClock(lambda: self.wall * 1_000_000, lambda: self.steady * 1_000_000)

    def passes(self, ms: int) -> None:
        self.wall += ms
        self.steady += ms

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passes(round(seconds * 1000))


@pytest.mark.parametrize("step", [-3_600_000, -1, 1, 86_400_000])
def test_a_step_of_the_machines_clock_does_not_move_the_exchanges(step: int) -> None:
    """A step back would freeze every deadline until time has caught up, one ahead would fire them all."""
    machine = Machine()
    clock = ExchangeClock(machine.clock())
    clock.adopt(START_MS, START_MS, START_MS + 250)
    machine.passes(1_000)
    machine.wall += step
    assert clock.now_ms() == START_MS + 1_250
    machine.passes(10)
    assert clock.now_ms() == START_MS + 1_260


async def test_measured_after_a_step_it_is_where_it_was() -> None:
    machine = Machine()
    clock = ExchangeClock(machine.clock())
    clock.adopt(clock.local_ms(), clock.local_ms(), START_MS)
    machine.wall -= 7_200_000
    asked = clock.local_ms()
    machine.passes(40)
    clock.adopt(asked, clock.local_ms(), START_MS + 20)
    assert clock.now_ms() == START_MS + 40


async def test_a_sleep_counts_the_time_of_a_suspension(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()

    async def suspended_once(seconds: float) -> None:
        await machine.sleep(seconds)
        if len(machine.slept) == 2:
            machine.passes(3_600_000)

    monkeypatch.setattr(asyncio, "sleep", suspended_once)
    await machine.clock().sleep(300)
    assert machine.slept == [WAKE_EVERY_S, WAKE_EVERY_S]


async def test_a_sleep_lasts_as_long_as_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    monkeypatch.setattr(asyncio, "sleep", machine.sleep)
    await machine.clock().sleep(WAKE_EVERY_S * 2 + 1)
    assert machine.slept == [WAKE_EVERY_S, WAKE_EVERY_S, 1]
    machine.slept.clear()
    await machine.clock().sleep(0.25)
    assert machine.slept == [0.25]


async def test_a_suspension_that_the_local_clock_did_not_count_is_found_by_the_exchanges_refusal(
    stub: Stub, clock: ManualClock
) -> None:
    """Where the system has no clock that runs through it."""
    async with connected(stub, clock) as exchange:
        stub.time = START_MS + 3_600_000
        refused = error(400, -1021, "Timestamp for this request is outside of the recvWindow.")
        stub.script("GET openOrders", refused, Say(json=[]))
        assert await exchange.open_orders() == ()
        assert exchange.now() >= START_MS + 3_600_000


@pytest.mark.parametrize("off", [-3_600_000, 1_500, 3_600_000])
async def test_a_time_that_is_wrong_once_moves_no_clock(stub: Stub, clock: ManualClock, off: int) -> None:
    """An hour ahead for one answer, every order in doubt would have counted as never sent (8.3)."""
    async with connected(stub, clock) as exchange:
        for wrong in (off, 2 * off):
            stub.script("GET time", Say(json={"serverTime": clock.at + wrong}))
            await exchange.sync_clock()
            assert exchange.now() == clock.at
        told = [Say(json={"serverTime": clock.at + n * off}) for n in range(1, 5)]
        stub.script("GET time", *told)
        with pytest.raises(ReadError, match="contradict"):
            await exchange.sync_clock()
        assert exchange.now() == clock.at
        stub.script("GET time", told[0], told[0])
        await exchange.sync_clock()
        assert exchange.now() == clock.at + off


async def test_a_start_that_is_told_a_wrong_time_once_asks_again(stub: Stub, clock: ManualClock) -> None:
    stub.script("GET time", Say(json={"serverTime": clock.at + 3_600_000}))
    async with connected(stub, clock) as exchange:
        assert exchange.now() == clock.at


def test_the_servers_time_belongs_to_the_middle_of_the_question() -> None:
    clock = ExchangeClock(ManualClock(1_000))
    clock.adopt(asked=1_000, answered=1_200, server_time=5_100)
    assert clock.offset == 4_000
    assert clock.now_ms() == 5_000


@pytest.mark.parametrize(
    ("before", "after"),
    [(0, 0), (3_000, 3_000), (4_600, 4_500), (-2_000, -500)],
    ids=["may be right", "may be right as well", "was ahead", "was behind"],
)
def test_a_slow_answer_moves_the_clock_only_as_far_as_it_must_have_been_wrong(before: int, after: int) -> None:
    """Else one hiccup of the network would make time stand still for seconds, or run ahead of the exchange's."""
    clock = ExchangeClock(ManualClock(0))
    clock.adopt(asked=0, answered=0, server_time=before)
    clock.adopt(asked=0, answered=10 * QUICK_MS, server_time=4_500)
    assert clock.offset == after


async def test_the_system_clock_is_this_machines() -> None:
    first = SystemClock().now_ms()
    assert abs(first - time.time_ns() // 1_000_000) < 1_000
    await SystemClock().sleep(0)
    assert 0 <= SystemClock().now_ms() - first < 1_000
