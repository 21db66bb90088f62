import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from tests.paper.server.exchange_kit import START_MS, SYMBOL, Kit, market_stream, rest, running, ws_api

from executor.paper.engine.market_data import MarketTrade
from executor.paper.replay.clock import MarketClock, WallClock
from executor.paper.replay.live import LivePlay
from executor.paper.replay.market import LAP_GAP_MS, AtEnd, Replay, Tape


def trades(*prices: str, every_ms: int = 1_000) -> list[MarketTrade]:
    return [
        MarketTrade(
            trade_id=i,
            price=Decimal(price),
            qty=Decimal(1),
            buyer_is_maker=True,
            time=START_MS + 1_000 + i * every_ms,
        )
        for i, price in enumerate(prices)
    ]


@asynccontextmanager
async def replaying(
    recorded: list[MarketTrade], *, speed: float = 0, at_end: AtEnd = AtEnd.EXIT
) -> AsyncIterator[tuple[Kit, Replay]]:
    async with running(last_price=None) as kit:
        yield kit, Replay(Tape(SYMBOL, recorded), kit.engine, kit.market_clock, kit.server, speed=speed, at_end=at_end)


async def test_a_replay_plays_every_trade_and_ends() -> None:
    recorded = trades(*["100"] * 10_000)
    async with replaying(recorded) as (kit, replay):
        await asyncio.wait_for(replay.run(), 10)
        assert replay.ended.is_set()
        assert replay.trades_played == 10_000
        assert kit.clock.now_ms() == recorded[-1].time


async def test_sleepers_wake_between_the_trades_at_their_own_times() -> None:
    async with replaying(trades("100", "101", "102", every_ms=60_000)) as (kit, replay):
        seen: list[tuple[int, Decimal | None]] = []

        async def watcher() -> None:
            while not replay.ended.is_set():
                await kit.clock.sleep(25)
                seen.append((kit.clock.now_ms() - START_MS, kit.engine.last_price(SYMBOL)))

        task = asyncio.create_task(watcher())
        await asyncio.wait_for(replay.run(), 10)
        task.cancel()
        assert seen == [
            (25_000, Decimal(100)),
            (50_000, Decimal(100)),
            (75_000, Decimal(101)),
            (100_000, Decimal(101)),
        ]


async def test_time_stands_still_while_somebody_is_not_quiet() -> None:
    async with replaying(trades("100", "101")) as (kit, replay):
        busy = True
        replay.wait_for(lambda: not busy)
        task = asyncio.create_task(replay.run())
        for _ in range(50):
            await asyncio.sleep(0)
        assert kit.clock.now_ms() == START_MS
        busy = False
        await asyncio.wait_for(task, 10)
        assert replay.trades_played == 2


async def test_a_client_in_the_same_loop_sees_each_fill_at_its_own_market_time() -> None:
    """A client that reacts to a fill at once is never overtaken by the market."""
    recorded = trades("100", *[str(99 - i) for i in range(20)])

    async def run() -> list[tuple[str, int]]:
        async with replaying(recorded) as (kit, replay), rest(kit) as client, ws_api(kit) as stream:
            await stream.signed("userDataStream.subscribe.signature")
            asking = False
            replay.wait_for(lambda: not asking)
            seen: list[tuple[str, int]] = []

            async def follow() -> None:
                nonlocal asking
                while True:
                    event = await stream.next_event()
                    if event["e"] == "executionReport" and event["X"] == "FILLED":
                        asking = True
                        seen.append((event["L"], kit.clock.now_ms() - START_MS))
                        price = str(int(float(event["L"])) - 3)
                        await client.limit(price=price, quantity="1")
                        assert client.status == 200
                        asking = False

            kit.engine.on_trade(SYMBOL, 0, Decimal(100), Decimal(1), True, START_MS)
            await client.limit(price="97", quantity="1")
            task = asyncio.create_task(follow())
            await asyncio.wait_for(replay.run(), 20)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return seen

    first = await run()
    assert len(first) >= 4
    assert first == await run()


async def test_market_watchers_get_every_trade_before_the_next() -> None:
    async with replaying(trades(*[str(100 + i) for i in range(50)])) as (kit, replay):
        async with market_stream(kit, "/ws/btcusdt@trade") as stream:
            lags: list[int] = []

            async def follow() -> None:
                for _ in range(50):
                    trade = await stream.receive()
                    lags.append(kit.clock.now_ms() - trade["T"])

            task = asyncio.create_task(follow())
            await asyncio.wait_for(replay.run(), 10)
            await asyncio.wait_for(task, 5)
        assert lags == [0] * 50


async def test_speed_bounds_market_time_by_wall_time() -> None:
    loop = asyncio.get_running_loop()
    async with replaying(trades("100", "101", "102"), speed=20) as (_, replay):
        began = loop.time()
        await asyncio.wait_for(replay.run(), 10)
        assert loop.time() - began >= 3_000 / 20 / 1_000 - 0.001  # 3 s of market


async def test_a_loop_goes_on_with_later_times_and_new_ids() -> None:
    recorded = trades("100", "101")
    laps = Tape(SYMBOL, recorded).play(again=True)
    played = [next(laps) for _ in range(6)]
    assert [t.trade_id for t in played] == [0, 1, 2, 3, 4, 5]
    assert [t.time - played[0].time for t in played] == [
        lap * (1_000 + LAP_GAP_MS) + step for lap in range(3) for step in (0, 1_000)
    ]
    async with replaying(recorded, at_end=AtEnd.LOOP) as (kit, replay):
        task = asyncio.create_task(replay.run())
        await asyncio.wait_for(kit.clock.sleep(60), 5)
        assert replay.trades_played > 20
        assert not replay.ended.is_set()
        task.cancel()


async def test_a_held_market_keeps_its_price_while_time_goes_on() -> None:
    async with replaying(trades("100"), at_end=AtEnd.HOLD) as (kit, replay):
        task = asyncio.create_task(replay.run())
        await asyncio.wait_for(kit.clock.sleep(3_600), 5)
        assert kit.clock.now_ms() == START_MS + 3_600_000
        assert kit.engine.last_price(SYMBOL) == Decimal(100)
        assert not replay.ended.is_set()
        task.cancel()


async def test_an_empty_recording_says_so() -> None:
    with pytest.raises(ValueError, match="BTCUSDT has no trade"):
        next(Tape(SYMBOL, []).play(again=True))


@pytest.mark.parametrize("speed", [-1.0, -0.001])
async def test_a_negative_speed_is_refused(speed: float) -> None:
    async with running() as kit:
        with pytest.raises(ValueError, match="speed"):
            Replay(Tape(SYMBOL, trades("1")), kit.engine, kit.market_clock, kit.server, speed=speed)
        with pytest.raises(ValueError, match="speed"):
            LivePlay(Tape(SYMBOL, trades("1")), kit.engine, WallClock(), kit.server, speed=speed)


async def test_a_live_play_stamps_trades_with_the_wall_clock() -> None:
    clock = WallClock()
    async with running(clock=clock, last_price=None) as kit:
        before = clock.now_ms()
        live = LivePlay(
            Tape(SYMBOL, trades("100", "101", "102")), kit.engine, clock, kit.server, speed=100, at_end=AtEnd.EXIT
        )
        await asyncio.wait_for(live.run(), 5)
        assert live.ended.is_set()
        shown = kit.engine.recent_trades(SYMBOL)
        assert [t.price for t in shown] == [100, 101, 102]
        assert before <= shown[0].time
        assert shown[-1].time - shown[0].time >= 19


async def test_a_market_that_began_before_the_clock_is_caught_up_at_once() -> None:
    clock = MarketClock(START_MS + 10_000)
    async with running(clock=clock, last_price=None) as kit:
        replay = Replay(Tape(SYMBOL, trades("100", "101")), kit.engine, clock, kit.server, speed=0)
        await asyncio.wait_for(replay.run(), 5)
        assert clock.now_ms() == START_MS + 10_000
