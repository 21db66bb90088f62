"""How much the market offers to an order that takes: the one thing a recording of trades does not tell.

A taker meets price levels one tick apart, starting at the opposite best price. Each level offers `level_notional`
worth of quote asset (the first level offers the recorded quantity instead when a recorded quote gives one). What is
taken from a level stays gone until the next trade or quote of the market. After `levels` levels the book is empty:
the rest of a market or IOC order expires. Nothing here is random.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(slots=True, frozen=True)
class LiquidityModel:
    """`level_notional` in quote asset per level, None for a first level that never runs out."""

    level_notional: Decimal | None = Decimal(250_000)
    levels: int = 20

    @classmethod
    def unlimited(cls) -> "LiquidityModel":
        """Everything trades at the best price: no slippage."""
        return cls(level_notional=None, levels=1)

    @classmethod
    def tight(cls, level_notional: Decimal, levels: int) -> "LiquidityModel":
        """A thin book: takers slip a tick per `level_notional` and are left with a rest after `levels` levels."""
        return cls(level_notional=level_notional, levels=levels)
