"""What a loop's inbox gives, and in which order."""

import asyncio
from decimal import Decimal

from executor.core.model.events import AnyEvent, QuoteSeen, Tick
from executor.core.model.facts import Quote
from executor.service.inbox import Inbox

PRICE = QuoteSeen(at=1, quote=Quote(at=1, bid=Decimal(1), ask=Decimal(2), last=Decimal(1)))


async def drained(inbox: Inbox) -> list[AnyEvent | None]:
    """What it gives until it is empty; None: a heartbeat."""
    found: list[AnyEvent | None] = []
    while not inbox.empty():
        delivery = await inbox.take()
        found.append(None if delivery is None else delivery.event)
    return found


async def test_a_price_lets_everything_else_by() -> None:
    inbox = Inbox()
    first, second = Tick(at=1), Tick(at=2)
    for event in (PRICE, first, second):
        inbox.tell(event)
    assert await drained(inbox) == [first, second, PRICE]


def price(at: int, last: int, seq: int = 0) -> QuoteSeen:
    return QuoteSeen(at=at, quote=Quote(at=at, bid=Decimal(1), ask=Decimal(2), last=Decimal(last)), seq=seq)


async def test_of_prices_the_newest_waits_and_what_it_was_just_before() -> None:
    """An hour of a full disk is not gone through price by price."""
    inbox = Inbox()
    for at in range(0, 3_600_000, 1_000):
        inbox.tell(price(at, at // 1_000))
    inbox.tell(Tick(at=5))
    assert inbox.waiting == 2
    tick, newest = await drained(inbox)
    assert tick == Tick(at=5)
    assert isinstance(newest, QuoteSeen)
    assert (newest.at, [quote.at for quote in newest.before]) == (3_599_000, [3_597_000, 3_598_000])
    inbox.tell(price(3_600_000, 1))
    assert await drained(inbox) == [price(3_600_000, 1)]


async def test_prices_that_were_asked_for_are_told_each() -> None:
    inbox = Inbox()
    asked = asyncio.ensure_future(inbox.ask(price(1, 1), ()))
    await asyncio.sleep(0)
    inbox.tell(price(2, 2, seq=7))
    inbox.tell(price(3, 3))
    inbox.tell(price(4, 4, seq=8))
    assert await drained(inbox) == [price(1, 1), price(2, 2, seq=7), price(3, 3), price(4, 4, seq=8)]
    asked.cancel()


async def test_one_heartbeat_is_on_its_way_behind_the_events_before_it() -> None:
    inbox = Inbox()
    inbox.tell(PRICE)
    inbox.tell(Tick(at=1))
    inbox.beat()
    inbox.beat()
    inbox.tell(Tick(at=2))
    assert inbox.waiting == 3, "a heartbeat is no event"
    assert await drained(inbox) == [Tick(at=1), None, Tick(at=2), PRICE]
    inbox.beat()
    assert await drained(inbox) == [None], "another one, once that has come through"
