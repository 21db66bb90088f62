"""What the streams tell, brought to the loop of its symbol; and of which symbols prices are wanted."""

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from executor.core.model.events import AnyEvent
from executor.core.model.facts import OrderReport, Quote
from executor.core.transition import Step
from executor.exchange.streams.market_stream import HeardAt, MarketStream
from executor.exchange.streams.user_stream import UserEvent
from executor.exchange.transport.supervised import Connected, Lost, Told
from executor.ops.metrics import StreamWatch
from executor.service.loop import Loop

REPORT: Final = b'"executionReport"'

log = structlog.get_logger(__name__)


class PushRouter:
    """Takes both streams' events. A loop that is not ready yet is told nothing, and that they are up once it is."""

    def __init__(self, loops: Mapping[str, Loop], watch: StreamWatch) -> None:
        self._loops = loops
        self._watch = watch
        self.on_event: list[Callable[[UserEvent | Connected | Lost], None]] = []
        """Each is called with what the user stream tells, before the loops are."""
        self._reported: Loop | None = None
        """Whose report came last, while it may be at work on it."""
        self._user: Connected | None = None
        self._unpushed: set[str] = set()
        self._market: Connected | None = None
        for symbol, loop in loops.items():
            loop.on_ready.append(self._catcher_up(symbol, loop))

    def on_user_event(self, event: UserEvent | Connected | Lost) -> None:
        self._watch.observe(event)
        for callback in self.on_event:
            callback(event)
        match event:
            case Told(symbol, Connected() | Lost() as change):
                self._tell_one(symbol, change)
            case Told(symbol, OrderReport() as report):
                loop = self._reported = self._loops[symbol]
                if loop.ready.is_set():
                    loop.poller.on_user_event(report)
            case Connected() | Lost():
                _say(event, "user")
                self._user = event if isinstance(event, Connected) else None
                self._unpushed.clear()
                for loop in self._ready():
                    loop.poller.on_user_event(event)
            case _:
                pass  # balances are asked for when they matter

    def _tell_one(self, symbol: str, change: Connected | Lost) -> None:
        """The stream is up, and whether anything is pushed of `symbol` is another matter."""
        if isinstance(change, Lost):
            self._unpushed.add(symbol)
        else:
            self._unpushed.discard(symbol)
        loop = self._loops[symbol]
        if loop.ready.is_set():
            loop.poller.on_user_event(change)

    def prefers(self, message: bytes) -> bool:
        """Whether the loop of the last report is still at work on it: until it is done, nothing but another report is
        looked at. A fill brings a price and balances with it, and they come before its exits have left.
        """
        if self._reported is not None and not self._reported.taking:
            self._reported = None
        return self._reported is not None and REPORT not in message

    def on_price_event(self, event: Told[Quote] | Connected | Lost) -> None:
        match event:
            case Told(symbol, quote):
                self._loops[symbol].poller.on_price_event(quote)
            case Connected() | Lost():
                _say(event, "market")
                self._market = event if isinstance(event, Connected) else None
                for loop in self._ready():
                    loop.poller.on_price_event(event)

    def _ready(self) -> list[Loop]:
        return [loop for loop in self._loops.values() if loop.ready.is_set()]

    def _catcher_up(self, symbol: str, loop: Loop) -> Callable[[], None]:
        def catch_up() -> None:
            if self._user is not None and symbol not in self._unpushed:
                loop.poller.on_user_event(self._user)
            if self._market is not None:
                loop.poller.on_price_event(self._market)

        return catch_up


def _say(event: Connected | Lost, stream: str) -> None:
    match event:
        case Connected():
            log.info("stream_connected", stream=stream)
        case Lost():
            log.warning("stream_lost", stream=stream, reason=event.reason)


class Feed:
    """The pushed prices of one symbol. `reopen` is told what was left out of them."""

    def __init__(self, market: MarketStream, symbol: str, reopen: Callable[[str, str, int], None]) -> None:
        self._market = market
        self._symbol = symbol
        self._reopen = reopen

    def heard(self) -> HeardAt:
        return self._market.heard(self._symbol)

    def know(self, quote: Quote) -> tuple[str, ...]:
        return self._market.know(self._symbol, quote)

    def dead(self, half: str, now: int) -> None:
        self._reopen(self._symbol, half, now)


def follow_trades(market: MarketStream, symbol: str, loop: Loop) -> None:
    """Have the prices of `symbol` while a trade of it is open."""
    following = False

    def on_step(_event: AnyEvent, step: Step) -> None:
        nonlocal following
        is_open = step.state.position is not None
        if is_open is not following:
            following = is_open
            (market.follow if is_open else market.leave)(symbol)

    loop.on_step.append(on_step)
