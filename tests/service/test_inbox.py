"""What a loop's inbox gives, and in which order."""

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
    for event in (PRICE, first, PRICE, second):
        inbox.tell(event)
    assert await drained(inbox) == [first, second, PRICE, PRICE]


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
