"""Watching a symbol: the streams tell at once, polls make sure (rules 8.6, 6.4; architecture: the way of an event).

While the user stream is sound, orders are looked at now and then only; the moment it is lost, silent where it should
have spoken, or back after a gap, they are looked at directly: nothing is believed lost or found on the stream's word
alone. Prices come by stream as well, thinned out to what a decision can depend on, and are asked for where none come.
"""

import asyncio
import contextlib
from decimal import Decimal
from typing import Final, Protocol

import msgspec
import structlog

from executor.core.model import ids
from executor.core.model.events import AnyEvent, OpenOrdersSeen, QuoteSeen, Reported
from executor.core.model.facts import OrderReport, Quote
from executor.core.model.state import Entering, Order, OrderPhase, State
from executor.core.model.values import OrderSide, OrderType
from executor.core.transition import Step
from executor.exchange.port import Exchange, ReadError
from executor.exchange.thinned import ThinnedPrices
from executor.exchange.transport.clock import LocalClock
from executor.exchange.transport.supervised import Connected, Lost
from executor.service.price_proof import PriceProof
from executor.waiting import nap

log = structlog.get_logger(__name__)

SAFETY_NET_S: Final = 60.0
"""Between two polls of the orders while the user stream is sound: 6 of request weight a minute."""
ENTRY_NET_S: Final = 5.0
"""The same while an entry waits for its fill, which would leave a position bare: 48 a minute. A stream that is dead and
still answers pings is told by nothing else.
"""
SUSPICION_S: Final = 0.5
"""How long after the price went through an order its report may take before the orders are looked at."""
SAME_MOMENT: Final = 0.1
"""A share of the time between two polls: one that comes this much too early is the one that was due."""
ENTRY_SHARE: Final = 0.5
"""An entry is looked at twice as often as other orders: its fill is what leaves a position bare."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between polls, where no stream tells."""

    poll: float = 1.0
    idle_poll: float = 10.0
    sync_clock: float = 300.0
    reload_rules: float = 3600.0
    recv_window_ms: int = 5000
    together: bool = False
    """Others watch other symbols over the same connection: polls fall together, so that one request serves many."""


class Host(Protocol):
    """The loop, as far as watching needs it."""

    exchange: Exchange
    clock: LocalClock
    timing: Timing

    @property
    def state(self) -> State: ...

    def now(self) -> int: ...

    def tell(self, event: AnyEvent) -> None: ...

    async def ask(self, event: AnyEvent) -> Step: ...

    def at_work(self) -> contextlib.AbstractContextManager[None]: ...


class Poller:
    """Asks for one symbol's orders and price: `orders` and `prices` run beside the loop, and are told by the `on_…`
    methods what streams and loop have to say.

    `orders_pushed`, `prices_pushed`: whether the stream is sound.
    """

    def __init__(self, host: Host) -> None:
        self.orders_pushed = False
        self.prices_pushed = False
        self.connected = asyncio.Event()
        """The user stream has been up once."""
        self._host = host
        self._poll_wanted = asyncio.Event()
        self._price_wanted = asyncio.Event()
        self._unseen = False
        """The last look has failed: until one succeeds, no stream's word is enough."""
        self._rhythm = asyncio.Event()
        """A trade begins: the next look may be due sooner."""
        self._was_open = False
        self.price_proof = PriceProof()
        self._thinned = ThinnedPrices()
        self._due: asyncio.Task[None] | None = None
        self._suspicion: asyncio.Task[None] | None = None
        self._strays = False
        self._after_strays: asyncio.Task[None] | None = None

    # --- told -----------------------------------------------------------------------------------------------------

    def poll_now(self) -> None:
        """Look at the orders now, not at the next turn."""
        self._poll_wanted.set()

    def on_user_event(self, event: OrderReport | Connected | Lost) -> None:
        match event:
            case OrderReport():
                self._host.tell(Reported(at=self._host.now(), report=event))
                if not event.status.is_final and self._is_stray(event):
                    self._strays = True  # an order with our name that no trade here has made: see what else there is
                    if self._after_strays is None:
                        self._after_strays = asyncio.create_task(self._look_after_strays(), name="strays")
            case Connected():
                self.orders_pushed = True
                self.connected.set()
                self.poll_now()  # what happened without the stream is not known
            case Lost():
                self.orders_pushed = False
                self.poll_now()

    def on_price_event(self, event: Quote | Connected | Lost) -> None:
        match event:
            case Quote():
                self._thinned.take(event)
                self.price_proof.on_pushed(event)
                if self._host.state.position is not None:
                    self._pass_on()
            case Connected():
                self.prices_pushed = True
                self.price_proof.on_gap()
            case Lost():
                self.prices_pushed = False
                self._price_wanted.set()

    def on_step(self, event: AnyEvent, step: Step) -> None:
        """To be told of every step: a trade that begins or ends changes the rhythm, a price may tell of a lost fill."""
        is_open = step.state.position is not None
        if is_open is not self._was_open:
            self._was_open = is_open
            self._thinned.forget()
            if not self.orders_pushed:
                self.poll_now()
            if is_open:
                self._rhythm.set()
                self._price_wanted.set()
        if self.price_proof.on_position(step.state.position) and self.prices_pushed:
            self._price_wanted.set()
        if isinstance(event, QuoteSeen) and event.seq:
            self.price_proof.on_asked(event.quote)
        if isinstance(event, QuoteSeen) and self.orders_pushed and self._suspicion is None and _passed(step.state):
            self._suspicion = asyncio.create_task(self._suspect(), name="suspicion")

    def _is_stray(self, report: OrderReport) -> bool:
        name, position = ids.parse(report.id), self._host.state.position
        return name is not None and (position is None or name.trade != position.trade)

    # --- orders ---------------------------------------------------------------------------------------------------

    async def orders(self) -> None:
        """Look at the orders for ever, as often as is needed."""
        while True:
            called = self._poll_wanted.is_set() or self._unseen
            self._poll_wanted.clear()
            began = self._host.now()
            with self._host.at_work():
                whole = called and self.orders_pushed  # after a gap nothing is known, not of the entry alone
                self._unseen = not ((not whole and await self._poll_entry()) or await self.poll_orders())
            await self._rest(began)

    async def _rest(self, began: int) -> None:
        """Until the next look is due, from look to look, or called for; the rhythm may change meanwhile."""
        due = False
        while not due and not self._poll_wanted.is_set():
            self._rhythm.clear()
            due = await nap(self._host.clock.sleep, self._left(self._pause(), began), self._poll_wanted, self._rhythm)

    def _left(self, pause: float, began: int) -> float:
        """Seconds until a look that comes `pause` after the one that `began` then, or together with those of others."""
        now = self._host.now()
        return _until_next(pause, now) if self._host.timing.together else max(0.0, pause - max(0, now - began) / 1000)

    def _pause(self) -> float:
        timing = self._host.timing
        position = self._host.state.position
        if self.orders_pushed and not self._unseen:
            entering = position is not None and isinstance(position.phase, Entering)
            return max(ENTRY_NET_S if entering else SAFETY_NET_S, timing.poll)
        if position is None:
            return timing.idle_poll
        return timing.poll * ENTRY_SHARE if isinstance(position.phase, Entering) else timing.poll

    async def poll_orders(self) -> bool:
        """Ask for the open orders; whether there was an answer."""
        asked_at = self._host.now()
        try:
            reports = await self._host.exchange.open_orders()
        except ReadError as error:
            log.warning("look_failed", what="open orders", error=str(error))
            return False
        await self._host.ask(OpenOrdersSeen(at=self._host.now(), reports=reports, asked_at=asked_at))
        return True

    async def _poll_entry(self) -> bool:
        """An entry alone is asked for by itself: cheaper, and its end is told at once. Whether it was."""
        order = None if self._host.timing.together else _single_entry(self._host.state)
        if order is None:
            return False
        try:
            report = await self._host.exchange.order(order.id, order.exchange_id)
        except ReadError as error:
            log.warning("look_failed", what="entry", error=str(error))
            return False
        if report is None:
            return False  # the list of open orders begins the proof that it is gone (rule 8.6)
        await self._host.ask(Reported(at=self._host.now(), report=report))
        return True

    async def _suspect(self) -> None:
        """The price went through an order of which nothing was reported: the stream may be dead without knowing it."""
        await self._host.clock.sleep(SUSPICION_S)
        if self.orders_pushed and _passed(self._host.state):
            log.info("report_missing", looks="at the orders")
            self.poll_now()
            await self._host.clock.sleep(self._host.timing.poll)  # and not again at once
        self._suspicion = None

    async def _look_after_strays(self) -> None:
        """Once now, and once more after each pause in which others were told: a trade's late fills are many."""
        while self._strays:
            self._strays = False
            self.poll_now()
            await self._host.clock.sleep(self._host.timing.poll)
        self._after_strays = None

    # --- prices ---------------------------------------------------------------------------------------------------

    async def prices(self) -> None:
        """Ask for the price while a trade is open, where no stream tells it or what one tells may be old."""
        while True:
            self._price_wanted.clear()
            if self._host.state.position is None:
                await self._price_wanted.wait()
                continue
            began = self._host.now()
            if not self.prices_pushed or self.price_proof.due(began):
                with self._host.at_work():
                    await self._ask_price()
            pause = self.price_proof.look_s if self.prices_pushed else self._host.timing.poll
            await nap(self._host.clock.sleep, self._left(pause, began), self._price_wanted)

    async def _ask_price(self) -> None:
        try:
            quote = await self._host.exchange.quote()
        except ReadError as error:
            log.warning("look_failed", what="price", error=str(error))
            return
        self.price_proof.on_asked(quote)
        await self._host.ask(QuoteSeen(at=self._host.now(), quote=quote))

    def _pass_on(self) -> None:
        wait = self._thinned.wait_ms(self._host.now())
        if wait <= 0:
            if self._due is not None:
                self._due.cancel()
                self._due = None
            if given := self._thinned.give(self._host.now()):
                self._host.tell(QuoteSeen(at=self._host.now(), quote=given[-1], before=tuple(given[:-1])))
        elif self._due is None:
            self._due = asyncio.create_task(self._pass_on_later(wait), name="price due")

    async def _pass_on_later(self, wait: int) -> None:
        await self._host.clock.sleep(wait / 1000)
        self._due = None
        if self._host.state.position is not None:
            self._pass_on()

    def end(self) -> None:
        """Let nothing of it run on."""
        for task in (self._due, self._suspicion, self._after_strays):
            if task is not None:
                task.cancel()


def _until_next(seconds: float, now: int) -> float:
    """Until the next of the moments that are `seconds` apart on the exchange's clock, `now` in ms."""
    step = max(1, round(seconds * 1000))
    left = step - now % step
    return (left if left > step * SAME_MOMENT else left + step) / 1000


def _single_entry(state: State) -> Order | None:
    """The entry, where it is the only live order of the trade and known to the exchange."""
    position = state.position
    if position is None or not isinstance(position.phase, Entering):
        return None
    live = [order for order in position.orders if order.live]
    if len(live) != 1 or not live[0].is_entry or live[0].phase is not OrderPhase.WORKING:
        return None
    return live[0]


def _passed(state: State) -> bool:
    """Whether the last price lies beyond a working order that should have filled or triggered there; one at market
    should have, wherever the price is.
    """
    position, quote = state.position, state.market.quote
    if position is None or quote is None:
        return False
    return any(order.phase is OrderPhase.WORKING and _is_past(order, quote.last) for order in position.orders)


def _is_past(order: Order, last: Decimal) -> bool:
    sells = order.side is OrderSide.SELL
    if order.stop_price is not None and not order.triggered_at:
        return last < order.stop_price if sells else last > order.stop_price
    if order.price is None:
        return order.type is OrderType.MARKET
    return last > order.price if sells else last < order.price
