"""Markets on the wall clock, for a paper exchange that stands alone: recorded ones, and ones that stand still.

Either may be moved while it runs: the price jumps, or walks, to where it is told, and what is recorded goes on from
there in proportion.
"""

import asyncio
from decimal import Decimal
from typing import Final, Protocol

from executor.core.model.values import ceil_to, floor_to
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.model import SymbolStatus
from executor.paper.replay.clock import WallClock
from executor.paper.replay.market import AtEnd, Audience, Tape

STEP_MS: Final = 100
"""How often the price moves while it walks."""

_TRADES_A_TURN: Final = 16

_DEEP: Final = Decimal(1_000_000)
"""Quote that a trade of a moved price carries: enough to fill what rests on its way."""


class LiveMarket(Protocol):
    """One symbol's market as it runs."""

    symbol: str
    playing: bool

    async def run(self) -> None:
        """Play until the end, if there is one."""

    async def move(self, price: Decimal, *, over_ms: int = 0, qty: Decimal | None = None) -> None:
        """Bring the last price to `price`: at once in one jump, or in even steps over a time."""


class _Moving:
    """What both kinds of market share: trades of their own on the way to a price."""

    def __init__(self, symbol: str, engine: Engine, clock: WallClock, audience: Audience) -> None:
        self.symbol = symbol
        self.playing = True
        self._engine = engine
        self._clock = clock
        self._audience = audience
        self._moving = asyncio.Lock()

    async def move(self, price: Decimal, *, over_ms: int = 0, qty: Decimal | None = None) -> None:
        """See `LiveMarket`. Two moves of one market come one after the other.

        Raises ValueError: the price is not above 0, or not in whole ticks.
        """
        tick = self._engine.symbol(self.symbol).price.grid
        if price <= 0 or price != floor_to(price, tick):
            raise ValueError(f"price is {price}, must be above 0 and a multiple of {self.symbol}'s tick {tick}")
        async with self._moving:
            start = self._engine.last_price(self.symbol) or price
            steps = max(1, over_ms // STEP_MS)
            for step in range(1, steps + 1):
                if steps > 1:
                    await self._clock.sleep(STEP_MS / 1000)
                way = start + (price - start) * step / steps
                self._trade(price if step == steps else floor_to(way, tick), qty)

    def _trade(self, price: Decimal, qty: Decimal | None) -> None:
        rules = self._engine.symbol(self.symbol)
        amount = ceil_to(_DEEP / price, rules.lot.grid) if qty is None else qty
        falls = price < (self._engine.last_price(self.symbol) or price)
        trade_id = self._engine.next_trade_id(self.symbol)
        self._play(MarketTrade(trade_id=trade_id, price=price, qty=amount, buyer_is_maker=falls, time=0))

    def _play(self, trade: MarketTrade) -> None:
        """Let a trade happen now; nothing trades while the symbol's status is not TRADING."""
        if self._engine.symbol(self.symbol).status is not SymbolStatus.TRADING:
            return
        now_ms = self._clock.now_ms()
        self._engine.on_trade(self.symbol, trade.trade_id, trade.price, trade.qty, trade.buyer_is_maker, now_ms)
        self._audience.on_trade(
            self.symbol,
            MarketTrade(
                trade_id=trade.trade_id,
                price=trade.price,
                qty=trade.qty,
                buyer_is_maker=trade.buyer_is_maker,
                time=now_ms,
            ),
        )


class StillPlay(_Moving):
    """A market that stands at a price until it is moved."""

    def __init__(self, symbol: str, price: Decimal, engine: Engine, clock: WallClock, audience: Audience) -> None:
        """Raises ValueError: the price is not in whole ticks."""
        super().__init__(symbol, engine, clock, audience)
        tick = engine.symbol(symbol).price.grid
        if price <= 0 or price != floor_to(price, tick):
            raise ValueError(f"price of {symbol} is {price}, must be above 0 and a multiple of its tick {tick}")
        self._trade(price, None)

    async def run(self) -> None:
        """Without an end."""
        await asyncio.Event().wait()


class LivePlay(_Moving):
    """Plays a recording on the wall clock: its first trade now, the others as much later as they were recorded.

    `speed` stretches or squeezes the recording; the exchange's clock stays the wall clock. While `playing` is False the
    price stands, and the recording goes on where it was.
    """

    def __init__(
        self,
        tape: Tape,
        engine: Engine,
        clock: WallClock,
        audience: Audience,
        *,
        speed: float = 1.0,
        at_end: AtEnd = AtEnd.LOOP,
    ) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be positive, not {speed}")
        super().__init__(tape.symbol, engine, clock, audience)
        self._tape = tape
        self._speed = speed
        self._at_end = at_end
        self._recorded: Decimal | None = None
        self._scale: Decimal | None = None
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Play the recording. With LOOP and HOLD this ends only when it is cancelled."""
        start_ms = self._clock.now_ms()
        first_ms: int | None = None
        for played, trade in enumerate(self._tape.play(again=self._at_end is AtEnd.LOOP), 1):
            first_ms = trade.time if first_ms is None else first_ms
            at_ms = start_ms + round((trade.time - first_ms) / self._speed)
            # Of trades that are due already, others than this market get a turn now and then.
            if played % _TRADES_A_TURN == 0 or at_ms > self._clock.now_ms():
                await self._clock.sleep_until(at_ms)
            if not self.playing:
                start_ms += await self._wait()
            self._recorded = trade.price
            self._play(self._shifted(trade))
        if self._at_end is AtEnd.HOLD:
            await asyncio.Event().wait()
        self.ended.set()

    def _trade(self, price: Decimal, qty: Decimal | None) -> None:
        super()._trade(price, qty)
        if self._recorded:
            self._scale = price / self._recorded

    def _shifted(self, trade: MarketTrade) -> MarketTrade:
        """A recorded trade of a market that was moved: its price in the same proportion."""
        if self._scale is None:
            return trade
        tick = self._engine.symbol(self.symbol).price.grid
        return MarketTrade(
            trade_id=self._engine.next_trade_id(self.symbol),
            price=max(tick, floor_to(trade.price * self._scale, tick)),
            qty=trade.qty,
            buyer_is_maker=trade.buyer_is_maker,
            time=trade.time,
        )

    async def _wait(self) -> int:
        """Stand still until told to go on; how long that was, in ms."""
        since = self._clock.now_ms()
        while not self.playing:
            await self._clock.sleep(STEP_MS / 1000)
        return self._clock.now_ms() - since
