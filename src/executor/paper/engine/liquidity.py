"""How much the market offers to an order that takes: the one thing a recording of trades does not tell.

A taker meets price levels one tick apart, starting at the opposite best price. Each level offers
`level_notional` worth of the quote asset (the first one offers the recorded quantity instead where recorded
quotes give it). What is taken from a level stays gone until the market's next trade or quote. After
`levels` levels the book is empty: the rest of a market or IOC order expires. Live orders of the exchange's
accounts stand between the levels at their own prices and are taken first. Nothing here is random.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.values import ZERO, OrderSide, floor_to
from executor.paper.engine.account import LiveOrder, quote_amount
from executor.paper.engine.book import Book
from executor.paper.engine.model import StpMode

ENDLESS: Final = Decimal("1E12")
"""Quantity of a level that never runs out: above any LOT_SIZE."""


class LiquidityModel(msgspec.Struct, frozen=True):
    """`level_notional` in quote asset per level; None for levels that never run out."""

    level_notional: Decimal | None = Decimal(250_000)
    levels: int = 20

    @classmethod
    def unlimited(cls) -> "LiquidityModel":
        """Everything trades at the best price: no slippage."""
        return cls(level_notional=None, levels=1)

    @classmethod
    def tight(cls, level_notional: Decimal, levels: int) -> "LiquidityModel":
        """A thin book: takers slip a tick per `level_notional` and keep a rest after `levels` levels."""
        return cls(level_notional=level_notional, levels=levels)

    def offers(self, book: Book, side: OrderSide) -> Iterator[tuple[Decimal, Decimal]]:
        """(price, quantity) of the market that a taker of `side` meets, best first, none of them empty."""
        price = book.tape.best_for(side)
        if price == 0:
            return
        recorded = book.tape.best_qty_for(side)
        step = book.tape.tick if side is OrderSide.BUY else -book.tape.tick
        for level in range(self.levels):
            if price <= 0:
                return
            if self.level_notional is None:
                yield price, ENDLESS
            else:
                offered = recorded if level == 0 and recorded is not None else self.level_notional / price
                left = floor_to(offered - book.taken.get((side, price), ZERO), book.tape.step)
                if left > 0:
                    yield price, left
            price += step


class Step(msgspec.Struct, frozen=True):
    """One match of a taker: with a resting order (`maker`) or with the market (None).

    `prevented` marks a match with an order of the same account that self-trade prevention stops.
    """

    price: Decimal
    qty: Decimal
    maker: LiveOrder | None = None
    prevented: bool = False


class TakerPlan(msgspec.Struct, frozen=True):
    """What a taker would do now: `qty` and `quote` count the trades alone.

    `wanted` is the quantity that a quote budget stands for: what it trades, what prevention takes from it, and what
    it could still trade at the last price when the book was empty.
    """

    steps: tuple[Step, ...]
    qty: Decimal
    quote: Decimal
    wanted: Decimal


def plan_taker(
    model: LiquidityModel,
    book: Book,
    order: LiveOrder,
    *,
    limit: Decimal | None,
    quote_budget: Decimal | None = None,
) -> TakerPlan:
    """Walk the other side of the book from the best price, changing nothing.

    `limit` is the worst price allowed, None for none. With `quote_budget` the quantity is what that much quote buys
    or is sold for, in whole steps.
    """
    buys = order.side is OrderSide.BUY
    mode = order.stp_mode
    left = order.open_qty
    budget = quote_budget
    steps: list[Step] = []
    total = spent = wanted = ZERO
    for price, offered, maker in _merged(model, book, order.side):
        if budget is not None:
            left = floor_to(budget / price, book.tape.step)
        if left <= 0 or (limit is not None and (price > limit if buys else price < limit)):
            break
        qty = min(left, offered)
        own = maker is not None and maker.account is order.account and mode is not StpMode.NONE
        steps.append(Step(price, qty, maker, prevented=own))
        if own and mode is StpMode.EXPIRE_MAKER:
            continue
        if own and mode in {StpMode.EXPIRE_TAKER, StpMode.EXPIRE_BOTH}:
            wanted += left
            left = ZERO
            break
        amount = quote_amount(order.rules, price, qty)
        left -= qty
        wanted += qty
        if budget is not None:
            budget -= amount
        if not own:
            total += qty
            spent += amount
        if left <= 0 and qty < offered:
            break  # the level could give more: what is left of a budget buys nothing here, so it goes no further
    return TakerPlan(tuple(steps), total, spent, wanted + max(left, ZERO))


def _merged(model: LiquidityModel, book: Book, side: OrderSide) -> Iterator[tuple[Decimal, Decimal, LiveOrder | None]]:
    """Resting orders and the market's levels, best price first; at one price resting orders lead."""
    makers = iter([entry[-1] for entry in book.makers_for(side)])
    maker = next(makers, None)
    buys = side is OrderSide.BUY
    for price, qty in model.offers(book, side):
        while maker is not None and (maker.price <= price if buys else maker.price >= price):
            yield maker.price, maker.open_qty, maker
            maker = next(makers, None)
        yield price, qty, None
    while maker is not None:
        yield maker.price, maker.open_qty, maker
        maker = next(makers, None)
