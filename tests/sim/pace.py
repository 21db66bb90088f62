"""An upper bound on what the service sends (rules 8.5, 8.7): how often the same, how much a minute, how fast in all.

A request is the same as another if it asks for the same of the same order, or places the same order, under whatever id.
What the exchange tells in between does not start the count anew: each repeat has a pace, whatever comes back. So the
bounds are what the paces of the rules come to, and what starts over at each restart.

What the poller asks at its own interval is no repeat of what a decision wants to know, and is counted by itself: with
no price stream and exits refused each second, each of the two is had once a second, as both must.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from executor.core.model.ids import parse
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    Command,
    LoanCommand,
    NewOrder,
    PlaceOco,
    PlaceOrder,
    QueryAllOrders,
    QueryBalances,
    QueryKlines,
    QueryOpenOrders,
    QueryOrder,
    QueryQuote,
    QueryTrades,
    ReplaceOrder,
    Request,
)
from executor.exchange.wire import calls

BURST_MS: Final = 10_000
MINUTE_MS: Final = 60_000
SAME_IN_A_BURST: Final = 15
"""Of one request in ten seconds. Exits are tried again each second (4.7), those of three legs of the same size up to
five times each before their pauses grow, and what they ask for is the same; looks and cancels begin with four in the
first second and slow down; a quote is had once a second.
"""
QUOTES_IN_A_BURST: Final = 20
"""Each exit that is refused for an unknown cause has the price looked at anew (8.8), which decides what is done next:
up to five times for each of three legs whose refusals come at moments of their own, and what was asked for before.
"""
CANCELS_IN_A_BURST: Final = 9
"""Of one cancel, or of the same in one order's place: six where it is refused each time, at pauses that double; one
more at each start, and some after an operator's word or a refusal that passes.
"""
READS_OF_A_START: Final = 4
"""A start looks everything up at once (9.1), and three times more within about a second: what the life before it had
asked is not known.
"""
SAME_IN_A_MINUTE: Final = 75
COMMANDS_IN_A_BURST: Final = 45
"""Of all that changes something: less than half of what Binance allows an account in ten seconds (100 orders)."""
WEIGHT_IN_A_MINUTE: Final = 1_500
"""A quarter of what an address may use, with one symbol, a position in trouble and restarts in it."""
_WEIGHTS: Final = {
    QueryOrder: calls.ORDER.weight,
    QueryTrades: calls.TRADES.weight,
    QueryOpenOrders: calls.OPEN_ORDERS.weight,
    QueryAllOrders: 2 * calls.ALL_ORDERS.weight,  # the first by time, the rest by number
    QueryBalances: calls.ACCOUNT.weight,
    QueryQuote: calls.TICKER.weight,
    QueryKlines: calls.KLINES.weight,
}


class Pace:
    """`on_pressed` hears of each bound that is passed. Times in true ms."""

    def __init__(self, on_pressed: Callable[[str], None]) -> None:
        self._on_pressed = on_pressed
        self._same: defaultdict[tuple[bool, str | Request], deque[int]] = defaultdict(deque)
        self._commands: deque[int] = deque()
        self._starts: deque[int] = deque()
        self._weights: deque[tuple[int, int]] = deque()
        self._weight = 0
        self.most: defaultdict[tuple[str, str], int] = defaultdict(int)
        """The most of each that there was: what the bounds are measured by."""

    def started(self, now: int) -> None:
        self._starts.append(now)
        while self._starts[0] <= now - MINUTE_MS:
            self._starts.popleft()

    def sent(self, request: Request, now: int, *, poll: bool = False) -> None:
        """`poll`: asked by the poller, whatever is decided."""
        same = poll, named(request)
        times = self._same[same]
        times.append(now)
        while times[0] <= now - MINUTE_MS:
            times.popleft()
        burst = _since(times, now - BURST_MS)
        starts = _since(self._starts, now - BURST_MS)
        if isinstance(request, CancelOrder | CancelList | ReplaceOrder):
            bound = CANCELS_IN_A_BURST + starts
        else:
            usual = QUOTES_IN_A_BURST if isinstance(request, QueryQuote) else SAME_IN_A_BURST
            bound = usual + (0 if isinstance(request, Command) else READS_OF_A_START * starts)
        kind = type(request).__name__
        if self._passes(kind, "ten seconds", burst, bound):
            self._tell(f"{_told(same)} {burst} times in ten seconds")
        if self._passes(kind, "a minute", len(times), SAME_IN_A_MINUTE):
            self._tell(f"{_told(same)} {len(times)} times in a minute")
        if isinstance(request, Command):
            commands = self._commands
            commands.append(now)
            while commands[0] <= now - BURST_MS:
                commands.popleft()
            if self._passes("commands", "ten seconds", len(commands), COMMANDS_IN_A_BURST):
                self._tell(f"{len(commands)} commands in ten seconds")
        self._weigh(_WEIGHTS.get(type(request), 1), now)

    def _weigh(self, weight: int, now: int) -> None:
        self._weights.append((now, weight))
        self._weight += weight
        while self._weights[0][0] <= now - MINUTE_MS:
            self._weight -= self._weights.popleft()[1]
        if self._passes("weight", "a minute", self._weight, WEIGHT_IN_A_MINUTE):
            self._tell(f"{self._weight} of request weight in a minute")

    def _passes(self, what: str, span: str, count: int, bound: int) -> bool:
        """Whether so many of `what` in `span` are more than `bound`; the most of each is kept."""
        self.most[what, span] = max(self.most[what, span], count)
        return count > bound

    def _tell(self, text: str) -> None:
        self._on_pressed(f"W14 (8.7): {text}")


def _since(times: deque[int], when: int) -> int:
    """How many of these, the latest last, are after `when`."""
    count = 0
    for time in reversed(times):
        if time <= when:
            break
        count += 1
    return count


def _told(same: tuple[bool, str | Request]) -> str:
    polled, request = same
    return f"poll {request}" if polled else f"{request}"


def named(request: Request) -> str | Request:
    """The request, without what makes it another one each time: its number, its stamp, the ids that it gives."""
    match request:
        case PlaceOrder():
            return f"place {_order(request.order)}"
        case PlaceOco():
            return f"place {_order(request.target)} or {_order(request.stop)}"
        case ReplaceOrder():
            return f"replace {request.cancel_id} by {_order(request.order)}"
        case _ if isinstance(request, Command) and not isinstance(request, LoanCommand):
            return replace(request, seq=0, stamp=None)
        case _:
            return replace(request, seq=0)


def _order(order: NewOrder) -> str:
    name = parse(order.id)
    assert name is not None
    return f"{name.trade} {name.role} {order.qty} {order.price} {order.stop_price} {order.trailing_delta}"
