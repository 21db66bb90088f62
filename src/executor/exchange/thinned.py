"""Prices as they are passed on to a trade: what a decision can depend on, and no more."""

from decimal import Decimal
from itertools import pairwise
from typing import Final

from executor.core.model.facts import Quote

FRESH_MS: Final = 1_000
"""A price that is no new extreme is passed on this often."""
EXTREME_MS: Final = 100
"""A new highest or lowest price of the trade is passed on at most this often."""


class ThinnedPrices:
    """Pushed prices, of which only the extremes and now and then the last are passed on.

    A decision depends on the best and the worst price of a trade, and on a fresh one. What is passed on keeps the order
    in which it came.
    """

    def __init__(self) -> None:
        self._waiting: list[Quote] = []
        self._newest: Quote | None = None
        self._given_at = 0
        self._low: Decimal | None = None
        self._high: Decimal | None = None

    def forget(self) -> None:
        """Another trade: its extremes are its own. The newest price stays known."""
        self._low = self._high = None
        self._given_at = 0
        self._waiting = [self._newest] if self._newest is not None else []

    @property
    def waiting(self) -> bool:
        """Whether something was taken that is not passed on yet."""
        return bool(self._waiting)

    def take(self, quote: Quote) -> None:
        self._newest = quote
        kept = self._waiting
        low = min((each.last for each in kept), default=None)
        high = max((each.last for each in kept), default=None)
        # of those that wait: the lowest, the highest and the newest
        self._waiting = [each for each in kept if each.last in (low, high)][-2:] if low != high else kept[:1]
        self._waiting.append(quote)

    def wait_ms(self, now: int) -> int:
        """How long what waits is to wait."""
        extreme = any(
            self._low is None or self._high is None or not self._low <= each.last <= self._high
            for each in self._waiting
        )
        return self._given_at + (EXTREME_MS if extreme else FRESH_MS) - now

    def give(self, now: int) -> list[Quote]:
        given, self._waiting = self._waiting, []
        self._given_at = now
        for quote in given:
            self._low = quote.last if self._low is None else min(self._low, quote.last)
            self._high = quote.last if self._high is None else max(self._high, quote.last)
        return _telling(given)


def _telling(quotes: list[Quote]) -> list[Quote]:
    """The last one, and before it those of another price than their successor."""
    return [quote for quote, after in pairwise(quotes) if quote.last != after.last] + quotes[-1:]
