"""What really happened, from the exchange's own books: each trade's fills and stops, and the time it stood bare.

Nothing here asks the daemon. Trades are told apart by their orders' ids (rule 1).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model import ids
from executor.core.model.ids import ENTRIES, STOPS, TARGETS
from executor.core.model.values import ZERO, OrderSide, floor_to
from executor.paper.engine.exchange import Engine
from executor.paper.engine.model import Fill, Order

ALL: Final = 1_000_000_000
FOREVER: Final = 1 << 62


class Span(msgspec.Struct, frozen=True):
    """From `since` until before `until` (ms) at most `qty` of what was held had no stop."""

    since: int
    until: int
    qty: Decimal

    @property
    def ms(self) -> int:
        return self.until - self.since


class TradeTruth(msgspec.Struct, frozen=True, kw_only=True):
    """One trade as the exchange saw it. `left`: base that it kept (positive) or sold too much (negative), commissions
    in base included; `lowest`: the least it ever held; `bare`: the spans in which some of what was held had neither a
    stop nor a target that was being filled; `at_work`: those in which only such a target had it. The exchange ends the
    stop of an OCO with its target's first fill, so the market alone says how long the rest has none (rule 5.6).
    """

    trade: str
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    held: Decimal
    left: Decimal
    lowest: Decimal
    bare: tuple[Span, ...]
    at_work: tuple[Span, ...]

    @property
    def lent(self) -> Decimal:
        """Commission in base of entries that bring their exits: where enough is free, the exchange takes it from there
        (faqs/opo.md), and the exits sell all that was bought.
        """
        brackets = {o.order_id for o in self.orders if ids.leg_of(_role(o)) and _role(o) in ENTRIES}
        return sum((f.commission for f in self.fills if f.order_id in brackets and f.is_buyer), Decimal(0))

    @property
    def live(self) -> list[Order]:
        return [order for order in self.orders if not order.status.is_final]

    def ended(self, at: int) -> "TradeTruth":
        """The same of a trade that told at `at` (ms) what it leaves behind: nobody is to cover that from then on."""
        cut = (Span(span.since, min(span.until, at), span.qty) for span in self.bare if span.since < at)
        return msgspec.structs.replace(self, bare=tuple(cut))

    @property
    def bare_ms(self) -> int:
        return sum(span.ms for span in self.bare)

    @property
    def bare_longest_ms(self) -> int:
        return max((span.ms for span in self.bare), default=0)


class Books(msgspec.Struct, frozen=True):
    trades: tuple[TradeTruth, ...]
    twice: tuple[str, ...]
    """Client order ids that name two orders."""


def read(engine: Engine, account: str, symbol: str, now: int) -> Books:
    orders = [order for order in engine.all_orders(account, symbol, limit=ALL) if ids.is_ours(order.client_order_id)]
    fills: defaultdict[int, list[Fill]] = defaultdict(list)
    for fill in engine.my_trades(account, symbol, from_id=0, limit=ALL):
        fills[fill.order_id].append(fill)
    by_trade: defaultdict[str, list[Order]] = defaultdict(list)
    for order in orders:
        name = ids.parse(order.client_order_id)
        assert name is not None, f"{order.client_order_id} is no id of ours"
        by_trade[name.trade].append(order)
    rules = engine.symbol(symbol)
    trades = tuple(
        _trade(trade, mine, {o.order_id: fills[o.order_id] for o in mine}, rules.base, rules.lot.grid, now)
        for trade, mine in sorted(by_trade.items())
    )
    counted = Counter(order.client_order_id for order in orders)
    return Books(trades, tuple(name for name, count in counted.items() if count > 1))


def _trade(
    trade: str, orders: Sequence[Order], fills: dict[int, list[Fill]], base: str, step: Decimal, now: int
) -> TradeTruth:
    entries = [order for order in orders if _role(order) in ENTRIES]
    side = (entries or list(orders))[0].side
    long = side is OrderSide.BUY
    every = sorted((fill for each in fills.values() for fill in each), key=lambda fill: (fill.time, fill.trade_id))
    held = lowest = left = ZERO
    changes: list[tuple[int, Decimal]] = []
    for fill in every:
        enters = fill.is_buyer == long
        fee = fill.commission if fill.commission_asset == base else ZERO
        step_in = fill.qty - (fee if long else ZERO) if enters else -fill.qty
        held += step_in
        lowest = min(lowest, held)
        changes.append((fill.time, step_in))
        left += (fill.qty if fill.is_buyer else -fill.qty) - fee
    stops = [order for order in orders if _role(order) in STOPS]
    targets = [order for order in orders if _role(order) in TARGETS]
    bare = _spans(_uncovered(changes, stops, targets, fills, step), now)
    without = _spans(_uncovered(changes, stops, [], fills, step), now)
    return TradeTruth(
        trade=trade,
        orders=tuple(orders),
        fills=tuple(every),
        held=held,
        left=left,
        lowest=lowest,
        bare=bare,
        at_work=tuple(span for span in without if not any(_meet(span, other) for other in bare)),
    )


def _meet(one: Span, other: Span) -> bool:
    return one.since < other.until and other.since < one.until


def _uncovered(
    held: Iterable[tuple[int, Decimal]],
    stops: Sequence[Order],
    targets: Sequence[Order],
    fills: dict[int, list[Fill]],
    step: Decimal,
) -> list[tuple[int, Decimal]]:
    """From when on how much is held, in whole steps, that no stop would sell, and no target that is being filled."""
    moves: defaultdict[int, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for at, change in held:
        moves[at][0] += change
    for order in (*stops, *targets):
        mine = fills[order.order_id]
        since = order.time if order in stops else min((fill.time for fill in mine), default=FOREVER)
        until = order.update_time if order.status.is_final else FOREVER
        left = order.orig_qty
        moves[since][1] += left
        for fill in mine:
            moves[fill.time][1] -= fill.qty
            left -= fill.qty
        moves[max(since, until)][1] -= left
    found = []
    have = cover = ZERO
    for at in sorted(moves):
        have, cover = have + moves[at][0], cover + moves[at][1]
        found.append((at, max(max(floor_to(have, step), ZERO) - cover, ZERO)))
    return found


def _spans(uncovered: Sequence[tuple[int, Decimal]], now: int) -> tuple[Span, ...]:
    """The spans of time in which it is above zero, up to `now`."""
    spans: list[Span] = []
    since, most = 0, ZERO
    for at, qty in (*uncovered, (now, ZERO)):
        if most and not qty and min(at, now) > since:
            spans.append(Span(since, min(at, now), most))
        if qty and not most:
            since = at
        most = max(most, qty) if qty else ZERO
    return tuple(spans)


def _role(order: Order) -> ids.Role:
    name = ids.parse(order.client_order_id)
    assert name is not None
    return name.role
