"""What the streams tell, on its way to the loops: a report goes before whatever comes with it."""

import asyncio
from decimal import Decimal
from typing import Any, cast

from executor.core.model.facts import OrderReport
from executor.core.model.values import OrderSide, OrderStatus, OrderType
from executor.exchange.transport.supervised import Connected, Lost, Told
from executor.ops.metrics import StreamWatch
from executor.service.loop import Loop
from executor.service.push_router import PushRouter

REPORT = OrderReport(
    id="EX_1_ENTRY_0", exchange_id=1, side=OrderSide.BUY, type=OrderType.LIMIT, status=OrderStatus.NEW, qty=Decimal(1)
)
PRICE = b'{"stream":"ltcusdt@trade","data":{"e":"trade"}}'
PUSHED = b'{"subscriptionId":0,"event":{"e":"executionReport"}}'


class Working:
    """A loop, as far as the router sees one."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready.set()
        self.on_ready: list[Any] = []
        self.taking = False
        self.poller = self
        self.heard: list[object] = []

    def on_user_event(self, event: object) -> None:
        self.heard.append(event)
        self.taking = True


def test_prices_and_balances_wait_while_a_loop_is_at_work_on_a_report_and_another_report_does_not() -> None:
    idle, working = Working(), Working()
    loops = {"BTCUSDT": cast(Loop, idle), "LTCUSDT": cast(Loop, working)}
    router = PushRouter(loops, StreamWatch())
    idle.taking = True
    assert not router.prefers(PRICE)  # at work, but on nothing that was reported
    router.on_user_event(Told("LTCUSDT", REPORT))
    assert working.heard == [REPORT]
    assert router.prefers(PRICE)
    assert not router.prefers(PUSHED)
    working.taking = False
    assert not router.prefers(PRICE)
    working.taking = True
    assert not router.prefers(PRICE)  # on something else


def test_of_a_symbol_whose_account_is_not_pushed_the_others_connection_says_nothing() -> None:
    up, mute, late = Working(), Working(), Working()
    late.ready.clear()
    router = PushRouter(
        {"BTCUSDT": cast(Loop, up), "LTCUSDT": cast(Loop, mute), "ABCUSDT": cast(Loop, late)}, StreamWatch()
    )
    for event in (Connected(), Told("LTCUSDT", Lost("no account")), Told("ABCUSDT", Lost("no account"))):
        router.on_user_event(event)
    assert up.heard == [Connected()]
    assert mute.heard == [Connected(), Lost("no account")]
    for catch_up in late.on_ready:
        catch_up()
    assert late.heard == []
    router.on_user_event(Told("ABCUSDT", Connected()))
    for catch_up in late.on_ready:
        catch_up()
    assert late.heard == [Connected()]
    router.on_user_event(Connected())
    assert mute.heard == [Connected(), Lost("no account"), Connected()]
