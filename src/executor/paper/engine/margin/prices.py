"""Index prices: what an asset is worth in USDT by the last trades of the markets here."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from executor.core.model.values import ONE, ZERO
from executor.paper.engine.book import Book

USDT: Final = "USDT"


class IndexPrices:
    """`set` fixes the index of a symbol, as where it strays from the market's own last price."""

    __slots__ = ("_bitcoin", "_books", "_fixed")

    def __init__(self, books: Mapping[str, Book], bitcoin: Decimal) -> None:
        self._books = books
        self._bitcoin = bitcoin
        self._fixed: dict[str, Decimal] = {}

    def set(self, symbol: str, price: Decimal | None) -> None:
        """Fix a symbol's index price; None lets it follow the market again."""
        if price is None:
            self._fixed.pop(symbol, None)
        else:
            self._fixed[symbol] = price

    def of(self, symbol: str) -> Decimal | None:
        """None before the symbol's first trade."""
        fixed = self._fixed.get(symbol)
        if fixed is not None:
            return fixed
        book = self._books.get(symbol)
        return None if book is None else book.tape.last

    def worth(self, asset: str) -> Decimal:
        """In USDT, by the asset's own market or through one other; 0 where no market tells."""
        if asset == USDT:
            return ONE
        direct = self._direct(asset, USDT)
        if direct is not None:
            return direct
        for book in self._books.values():
            rules = book.rules
            if asset not in (rules.base, rules.quote):
                continue
            other = rules.quote if asset == rules.base else rules.base
            first, second = self._direct(asset, other), self._direct(other, USDT)
            if first is not None and second is not None:
                return first * second
        return self._bitcoin if asset == "BTC" else ZERO

    def _direct(self, asset: str, other: str) -> Decimal | None:
        price = self.of(asset + other)
        if price is not None:
            return price
        inverse = self.of(other + asset)
        return 1 / inverse if inverse else None
