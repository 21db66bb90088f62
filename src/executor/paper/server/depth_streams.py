"""The diff stream of a book (`<symbol>@depth`): what a client needs to keep its copy of a snapshot up to date.

Each message carries the absolute quantity of every level that may have changed since the one before, those that are
gone as 0: the present levels, and all that were ever seen in between. So it is right for a copy that began with a
snapshot taken at any time in between, too (web-socket-streams.md, "How to manage a local order book correctly").
"""

from decimal import Decimal

from executor.core.model.values import ZERO
from executor.paper.engine.market_data import Depth
from executor.paper.server.render import Json, amount

Levels = tuple[tuple[Decimal, Decimal], ...]


class DepthDiff:
    """What one diff stream has told of its book. `note` the book whenever it may have moved, `take` what to push."""

    __slots__ = ("_asks", "_bids", "_told")

    def __init__(self, book: Depth) -> None:
        self._told = book.last_update_id
        self._bids: set[Decimal] = set()
        self._asks: set[Decimal] = set()
        self.note(book)

    def note(self, book: Depth) -> None:
        self._bids.update(price for price, _ in book.bids)
        self._asks.update(price for price, _ in book.asks)

    def take(self, book: Depth, symbol: str, now_ms: int) -> Json | None:
        """The next message; None if nothing has happened since the last."""
        if book.last_update_id == self._told:
            return None
        self.note(book)
        message = {
            "e": "depthUpdate",
            "E": now_ms,
            "s": symbol,
            "U": self._told + 1,
            "u": book.last_update_id,
            "b": _rows(self._bids, book.bids, falling=True),
            "a": _rows(self._asks, book.asks, falling=False),
        }
        self._told = book.last_update_id
        self._bids = {price for price, _ in book.bids}
        self._asks = {price for price, _ in book.asks}
        return message


def _rows(seen: set[Decimal], levels: Levels, *, falling: bool) -> list[list[str]]:
    now = dict(levels)
    return [[amount(price), amount(now.get(price, ZERO))] for price in sorted(seen, reverse=falling)]
