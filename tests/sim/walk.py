"""Where the market goes: a drawn walk with moods, or the bundled recording."""

from decimal import Decimal
from typing import Final

from tests.sim import setup as world_setup
from tests.sim.choices import Choices
from tests.sim.setup import Market, Setup

from executor.core.model.state import Position
from executor.core.model.values import ZERO

PATIENCE: Final = 12  # steps after which an open trade meets a trend, so that runs come to their ends
MOVES: Final = (0, 1, -1, 2, -2, 4, -4, 14, -14)
TAPE_SCALE: Final = 4  # the recording is quiet beside the stops of these trades
_REGIMES: Final = (
    (0.2, 0.2, 0.1, 0.1, 0.0, 0.0),
    (0.2, 0.1, 0.3, 0.0, 0.25, 0.0),
    (0.1, 0.2, 0.0, 0.3, 0.0, 0.25),
)


class Walk:
    """One run's market."""

    def __init__(self, choices: Choices, setup: Setup, *, patience: int = PATIENCE) -> None:
        self._patience = patience
        self._choices = choices
        self._setup = setup
        self._steps = 0
        self._regime = 0
        self._open_for = 0

    def after(self, price: Decimal, *, trading: bool) -> Decimal:
        """The next price, not rounded. `trading`: a trade is open."""
        self._steps += 1
        market = self._setup.market
        if self._setup.tape >= 0:
            prices = world_setup.tape()
            begin = prices[self._setup.tape]
            moved = prices[(self._setup.tape + self._steps) % len(prices)] / begin - 1
            return market.price * (1 + moved * TAPE_SCALE)
        self._open_for = self._open_for + 1 if trading else 0
        if self._choices.mood((0, 0, 0, 0, 0, 0, 0, 1)) or self._open_for == self._patience:
            self._regime = int(self._choices.mood((1, 2) if self._open_for >= self._patience else (0, 1, 2)))
        return price + MOVES[self._choices.weigh("move", _REGIMES[self._regime])] * market.unit


def way_to_the_stops(position: Position | None, price: Decimal, market: Market) -> Decimal:
    """How far, and which way, it must move from `price` to be beyond everything that protects the trade."""
    if position is None:
        return ZERO
    sign = -position.plan.direction.sign
    levels = [position.plan.stop, *(leg.stop for leg in position.legs if leg.stop is not None)]
    farthest = max(sign * (level - price) for level in levels)
    return sign * (max(farthest, ZERO) + 100 * market.unit)
