"""Requests carried out on the exchange, with the stamp that was chosen for them (rule 8.3d)."""

from typing import Any, cast

from tests.core.build import make_report, make_signal

from executor.core.model.events import Answered
from executor.core.model.facts import Done, NotTried, Refused, ReplaceOutcome, Why
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    Command,
    NewOrder,
    PlaceOco,
    PlaceOrder,
    ReplaceOrder,
    Stamp,
)
from executor.core.model.values import OrderSide, OrderType
from executor.exchange.port import Exchange
from executor.service.dispatcher import perform

NOW = 1_700_000_000_000
ORDER = NewOrder(id="EX_1_SL_1", side=OrderSide.SELL, type=OrderType.MARKET, qty=make_signal().price)


class Counter:
    """An exchange at `now` that notes with which stamps it is asked."""

    def __init__(self, now: int) -> None:
        self._now = now
        self.stamps: list[Stamp | None] = []

    def now(self) -> int:
        return self._now

    async def _done(self, *args: Any) -> Done:
        self.stamps.append(args[-1])
        return Done((make_report(ORDER),))

    place = place_oco = cancel_list = _done

    async def cancel(self, name: str, stamp: Stamp | None, exchange_id: int) -> Done:
        return await self._done(name, exchange_id, stamp)

    async def replace(self, *args: Any) -> ReplaceOutcome:
        self.stamps.append(args[-1])
        return ReplaceOutcome(Done(), NotTried())


def each(stamp: Stamp | None) -> list[Command]:
    return [
        PlaceOrder(seq=1, stamp=stamp, order=ORDER),
        PlaceOco(seq=2, stamp=stamp, list_id="EX_1_OCO1_2", target=ORDER, stop=ORDER),
        CancelOrder(seq=3, stamp=stamp, id=ORDER.id),
        CancelList(seq=4, stamp=stamp, list_id="EX_1_OCO1_2", ids=(ORDER.id,)),
        ReplaceOrder(seq=5, stamp=stamp, cancel_id=ORDER.id, order=ORDER),
    ]


async def test_every_change_is_signed_with_its_own_stamp() -> None:
    exchange, stamp = Counter(NOW + 2_500), Stamp(NOW, 5_000)
    for request in each(stamp):
        await perform(cast(Exchange, exchange), request)
    assert exchange.stamps == [stamp] * 5


async def test_what_has_no_stamp_is_stamped_as_it_is_sent() -> None:
    exchange = Counter(NOW)
    for request in each(None):
        await perform(cast(Exchange, exchange), request)
    assert exchange.stamps == [None] * 5


async def test_a_change_whose_turn_comes_after_half_of_its_window_is_withdrawn_and_not_sent() -> None:
    exchange = Counter(NOW + 2_501)
    for request in each(Stamp(NOW, 5_000)):
        event = await perform(cast(Exchange, exchange), request)
        assert isinstance(event, Answered)
        assert isinstance(event.outcome, Refused)
        assert event.outcome.why is Why.WITHDRAWN
        assert (
            event.outcome.text == "withdrawn: 2501 ms old when its turn came, and the exchange would take it for 5000"
        )
    assert exchange.stamps == []


async def test_a_stamp_from_a_clock_that_was_ahead_is_sent_and_left_to_the_exchange() -> None:
    exchange = Counter(NOW - 700)
    await perform(cast(Exchange, exchange), each(Stamp(NOW, 5_000))[0])
    assert exchange.stamps == [Stamp(NOW, 5_000)]
