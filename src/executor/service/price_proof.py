"""Whether pushed prices still tell where the market is, and when that is made sure of by asking (rules 6.4, 8.6, 8.7).

Best prices and trades are two streams over one connection, and either may end while the other, and the connection, go
on. So each has a time of its own. A market without a trade for minutes is ordinary, and its last price right: what is
asked for depends on what would be missed.

- Software watches a level where no stop does, and no trade is told of: within seconds, unless the best prices are told
  of and the near one stays off that level, for then nothing can have traded there.
- Everything else: now and then.

A price that has changed without a word is what proves a stream dead; the connection is then opened anew.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final, Protocol

import structlog

from executor.core.book.levels import beyond
from executor.core.model.facts import Quote
from executor.core.model.state import Entering, Position
from executor.core.model.values import Direction
from executor.exchange.streams.market_stream import HeardAt

log = structlog.get_logger(__name__)

SILENCE_S: Final = 30.0
"""Best prices or trades of which nothing is told for so long are made sure of by asking."""
CLOSE_SILENCE_S: Final = 2.0
"""The same while software watches in place of a stop: at the most 60 of request weight a minute."""
CLOSE_LOOK_S: Final = 1.0
PUSHED_WITHIN_MS: Final = 5_000
"""A push comes within milliseconds: what has not come by then has been left out."""
REOPEN_AFTER_MS: Final = 60_000
REOPEN_LATEST_MS: Final = 3_600_000
"""Between two connections opened anew: twice as long each time, up to this."""


class PriceFeed(Protocol):
    """One symbol's pushed prices."""

    def heard(self) -> HeardAt: ...

    def know(self, quote: Quote) -> tuple[str, ...]:
        """`quote` was asked for. Which halves of it have changed without being told."""

    def dead(self, half: str, now: int) -> None:
        """What changed has not been told."""


class PriceProof:
    """For one symbol. `feed`: where its prices are pushed from; without one, the quotes themselves tell when."""

    def __init__(self) -> None:
        self.feed: PriceFeed | None = None
        self._position: Position | None = None
        self._levels: tuple[Decimal, ...] = ()
        self._newest: Quote | None = None
        self._at_level = False
        self._touched_at = 0
        self._asked_at = 0
        self._missing: dict[str, int] = {}

    def on_position(self, position: Position | None) -> bool:
        """Whether it is watched more closely from now on."""
        if position is self._position:
            return False
        self._position, before = position, self._levels
        self._levels = _watched(position)
        if position is None:
            self._at_level = False
        elif self._levels != before and self._newest is not None:
            self._look_at(self._newest, position.plan.direction)
        return bool(self._levels) and not before

    def on_pushed(self, quote: Quote) -> None:
        self._newest = quote
        if self._levels and self._position is not None:
            self._look_at(quote, self._position.plan.direction)

    def on_asked(self, quote: Quote) -> None:
        """What was asked for, whoever asked."""
        self._asked_at = max(self._asked_at, quote.at)
        if self.feed is not None:
            for half in self.feed.know(quote):
                self._missing.setdefault(half, quote.at)

    def on_gap(self) -> None:
        """The connection is another one."""
        self._missing.clear()
        self._at_level = False

    @property
    def look_s(self) -> float:
        """When to look again whether to ask."""
        close = self._levels or self._missing or self._entering
        return CLOSE_LOOK_S if close else SILENCE_S

    def due(self, now: int) -> bool:
        """Whether to ask now."""
        heard = self._heard()
        self._judge(heard, now)
        book, last = max(heard.book_at, self._asked_at), max(heard.traded_at, self._asked_at)
        if self._levels and not _within(CLOSE_SILENCE_S, last, now):
            touched = self._at_level or self._touched_at >= last
            if touched or not _within(CLOSE_SILENCE_S, heard.book_at, now):
                return True
        # each trade changes the best prices or what is offered there: one without them is told by half a stream, and
        # what an entry may pay depends on the other half
        if self._entering and last - book > CLOSE_SILENCE_S * 1000:
            return True
        return not _within(SILENCE_S, min(book, last), now)

    @property
    def _entering(self) -> bool:
        return self._position is not None and isinstance(self._position.phase, Entering)

    def _heard(self) -> HeardAt:
        if self.feed is not None:
            return self.feed.heard()
        at = self._newest.at if self._newest is not None else 0
        return HeardAt(at, at)

    def _look_at(self, quote: Quote, direction: Direction) -> None:
        near = quote.bid if direction.is_long else quote.ask
        self._at_level = near <= 0 or any(beyond(near, level, direction) for level in self._levels)
        if self._at_level:
            self._touched_at = quote.at

    def _judge(self, heard: HeardAt, now: int) -> None:
        """Say that a half is dead of which nothing was told since it changed."""
        for half, since in tuple(self._missing.items()):
            spoken = heard.of(half) >= since
            if spoken or now - since >= PUSHED_WITHIN_MS:
                del self._missing[half]
                if not spoken and self.feed is not None:
                    self.feed.dead(half, now)


class Reopening:
    """Opens a stream anew that is up and leaves something out: each time after a longer pause (rule 8.7)."""

    def __init__(self, reopen: Callable[[], None]) -> None:
        self._reopen = reopen
        self._pause_ms = 0
        self._at = 0

    def __call__(self, symbol: str, half: str, now: int) -> None:
        """`now`: ms."""
        since = now - self._at
        if self._pause_ms and 0 <= since < self._pause_ms:
            return
        sound = not self._pause_ms or since > 2 * REOPEN_LATEST_MS
        self._pause_ms = REOPEN_AFTER_MS if sound else min(2 * self._pause_ms, REOPEN_LATEST_MS)
        self._at = now
        text = (
            f"the price of {symbol} changed, and the market stream told of no {half}; opened anew, asked for meanwhile"
        )
        log.error("stream_dead", alert=True, symbol=symbol, text=text)
        self._reopen()


def _within(seconds: float, at: int, now: int) -> bool:
    return 0 <= now - at < seconds * 1000


def _watched(position: Position | None) -> tuple[Decimal, ...]:
    """The levels at which software sells, where no stop on the exchange does (rules 6.4, 6.4b)."""
    if position is None:
        return ()
    bare = bool(position.exposure.since)
    levels = [leg.watched for leg in position.legs if bare or leg.due is not None]
    found = tuple(level for level in levels if level is not None)
    return found or ((position.plan.stop,) if bare else ())
