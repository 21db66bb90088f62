"""A recorded market, played to the engine as market time in a run of its own; `live` plays it on the wall clock.

`Replay` moves a `MarketClock`. It goes to whatever comes first, the next recorded trade or the next sleeper, and only
while all is quiet: nobody has a request in hand, a message unread or a thought unfinished. So an embedded run is the
same each time, and as fast as the work in it allows.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from operator import call
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.replay.clock import MarketClock

SPEED_DEFAULT: Final = 150.0
CALM_PASSES: Final = 4
"""So many passes of the event loop in a row must find all quiet: a message needs one to leave, one to arrive."""

LAP_GAP_MS: Final = 1_000

_BATCH: Final = 4_096
_PATIENCE: Final = 64
_POLL_S: Final = 0.0005
_DEBT_MAX_S: Final = 0.25


class AtEnd(StrEnum):
    """What follows the last recorded trade."""

    EXIT = "exit"
    """The replay ends: `ended` is set."""
    LOOP = "loop"
    """The recording starts again, later and with new trade ids."""
    HOLD = "hold"
    """Time goes on and the price stays."""


class Tape(msgspec.Struct, frozen=True):
    """The recorded trades of one symbol, in the order of their times; `trades` can be read any number of times."""

    symbol: str
    trades: Iterable[MarketTrade]

    def play(self, *, again: bool, on_lap: Callable[[int], None] = lambda _: None) -> Iterator[MarketTrade]:
        """The trades, once or for ever. Each lap starts a second after the last and goes on with its ids. `on_lap` is
        told, before the first trade of each further lap, by how many ms that is later than recorded.

        Raises ValueError if there is no trade.
        """
        later_ms = higher_id = 0
        while True:
            first: MarketTrade | None = None
            last: MarketTrade | None = None
            for trade in self.trades:
                first = first or trade
                last = trade
                yield _shift(trade, later_ms, higher_id) if later_ms else trade
            if first is None or last is None:
                raise ValueError(f"the recording of {self.symbol} has no trade")
            if not again:
                return
            later_ms += last.time - first.time + LAP_GAP_MS
            higher_id += last.trade_id - first.trade_id + 1
            on_lap(later_ms)


class Audience(Protocol):
    """Who hears of each trade after the engine has: the server."""

    @property
    def market_is_watched(self) -> bool:
        """Whether each trade is sent to somebody."""

    def on_trade(self, symbol: str, trade: MarketTrade) -> bool:
        """Pass a trade on; whether it touched an account."""

    def quiet(self) -> bool:
        """Whether there is nothing left to pass on, and nothing being worked on."""


class Replay:
    """Moves market time through a recording. `run` it beside the server; `ended` is set when an EXIT replay is done.

    `speed` bounds market time by so many times wall time; 0 is no bound. What else must be quiet before time moves
    is said with `wait_for`. A predicate must not wait for something that only market time brings.
    """

    def __init__(
        self,
        tape: Tape,
        engine: Engine,
        clock: MarketClock,
        audience: Audience,
        *,
        speed: float = SPEED_DEFAULT,
        at_end: AtEnd = AtEnd.EXIT,
    ) -> None:
        if speed < 0:
            raise ValueError(f"speed must be 0 (unbounded) or positive, not {speed}")
        self._symbol = tape.symbol
        self._trades = tape.play(again=at_end is AtEnd.LOOP, on_lap=self._begin_lap)
        self._engine = engine
        self._clock = clock
        self._audience = audience
        self._speed = speed
        self._at_end = at_end
        self._quiet: list[Callable[[], bool]] = [audience.quiet]
        self._anchor_ms = float(clock.now_ms())
        self._anchor_s = 0.0
        self.ended = asyncio.Event()
        self.trades_played = 0
        self.later_ms = 0
        """By how much the trades that are played come later than they were recorded: laps of a LOOP."""
        self._lap = asyncio.Event()

    def _begin_lap(self, later_ms: int) -> None:
        self.later_ms = later_ms
        begun, self._lap = self._lap, asyncio.Event()
        begun.set()

    @property
    def loops(self) -> bool:
        """Whether the recording begins anew at its end."""
        return self._at_end is AtEnd.LOOP

    async def next_lap(self) -> int:
        """Return when the recording begins anew: by how many ms it is then later than recorded."""
        await self._lap.wait()
        return self.later_ms

    def wait_for(self, quiet: Callable[[], bool]) -> None:
        """Let time stand still while `quiet()` is false."""
        self._quiet.append(quiet)

    async def run(self) -> None:
        """Play the recording. With LOOP and HOLD this ends only when it is cancelled."""
        self._anchor_ms, self._anchor_s = float(self._clock.now_ms()), asyncio.get_running_loop().time()
        trade = next(self._trades, None)
        while trade is not None:
            await self._settle()
            wake_ms = self._clock.next_wake_ms()
            if wake_ms is not None and wake_ms <= trade.time:
                await self._wake(wake_ms)
            elif await self._paced(trade.time):
                trade = self._play_until(trade, wake_ms)
        await self._settle()
        if self._at_end is AtEnd.HOLD:
            await self.hold()
        self.ended.set()

    def _play_until(self, trade: MarketTrade | None, wake_ms: int | None) -> MarketTrade | None:
        """Play trades up to the next sleeper, or to one that somebody must hear of first; the first not played."""
        may_reach_ms = self._may_reach_ms()
        for _ in range(_BATCH):
            if trade is None or (wake_ms is not None and trade.time >= wake_ms) or trade.time > may_reach_ms:
                break
            touched = self._play(trade)
            trade = next(self._trades, None)
            if touched or self._audience.market_is_watched:
                break
        return trade

    def _play(self, trade: MarketTrade) -> bool:
        self._clock.advance_to(max(trade.time, self._clock.now_ms()))
        self._engine.on_trade(
            self._symbol, trade.trade_id, trade.price, trade.qty, trade.buyer_is_maker, self._clock.now_ms()
        )
        self.trades_played += 1
        return self._audience.on_trade(self._symbol, trade)

    async def hold(self) -> None:
        """Let time go on at the last price, from sleeper to sleeper, until cancelled."""
        while True:
            await self._clock.until_someone_sleeps()
            await self._settle()
            wake_ms = self._clock.next_wake_ms()
            if wake_ms is not None:
                await self._wake(wake_ms)

    async def _wake(self, wake_ms: int) -> None:
        if await self._paced(wake_ms):
            self._clock.advance_to(wake_ms)

    async def _paced(self, target_ms: int) -> bool:
        """Whether time may move to `target_ms` at once. If not, wait; much may have changed after that."""
        early_ms = target_ms - self._may_reach_ms()
        if early_ms <= 0:
            return True
        await asyncio.sleep(early_ms / self._speed / 1000)
        return False

    def _may_reach_ms(self) -> float:
        """How far `speed` lets time go by now. A replay that was held up catches up a quarter of a second at most."""
        if self._speed == 0:
            return float("inf")
        now_s = asyncio.get_running_loop().time()
        reach_ms = self._anchor_ms + (now_s - self._anchor_s) * self._speed * 1000
        debt_ms = reach_ms - self._clock.now_ms() - _DEBT_MAX_S * self._speed * 1000
        if debt_ms > 0:
            reach_ms -= debt_ms
            self._anchor_ms, self._anchor_s = reach_ms, now_s
        return reach_ms

    async def _settle(self) -> None:
        """Return when the loop has found all quiet several times running."""
        calm = passes = 0
        while calm < CALM_PASSES:
            passes += 1
            await asyncio.sleep(0 if passes < _PATIENCE else _POLL_S)
            calm = calm + 1 if all(map(call, self._quiet)) else 0


def _shift(trade: MarketTrade, later_ms: int, higher_id: int) -> MarketTrade:
    return replace(trade, time=trade.time + later_ms, trade_id=trade.trade_id + higher_id)
