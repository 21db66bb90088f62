"""What a start reads of the exchange when the newest state is lost (rules 9.2, 9.3)."""

from typing import cast

from msgspec.structs import replace
from tests.core.build import DONE, POLICY, RULES, Script, both_sides, entering

from executor.core.model.facts import Fill, OrderReport
from executor.core.model.policy import Layout
from executor.core.model.state import Entering, OrderPhase
from executor.core.model.values import Direction, OrderStatus
from executor.core.transition import empty
from executor.exchange.port import Exchange
from executor.service.recovery import from_exchange, read_history

BRACKET = replace(POLICY, layout=Layout.BRACKET)


class HidesPending:
    """An exchange whose lists leave out what awaits its entry; `asked`: the ids that were looked up by themselves."""

    def __init__(self, script: Script) -> None:
        self.book = script.book
        self.time = script.now
        self.asked: list[str] = []

    def now(self) -> int:
        return self.time

    async def open_orders(self) -> tuple[OrderReport, ...]:
        return tuple(r for r in self.book.values() if r.status not in (*DONE, OrderStatus.PENDING_NEW))

    async def history(self, since: int) -> tuple[OrderReport, ...]:
        return tuple(r for r in self.book.values() if r.status is not OrderStatus.PENDING_NEW)

    async def order(self, client_id: str, exchange_id: int = 0) -> OrderReport | None:
        assert not exchange_id
        self.asked.append(client_id)
        return self.book.get(client_id)

    async def trades(self, exchange_id: int) -> tuple[Fill, ...]:
        return next(r.fills for r in self.book.values() if r.exchange_id == exchange_id)


@both_sides
async def test_exits_that_no_list_shows_are_looked_up_by_the_ids_that_their_entry_tells(direction: Direction) -> None:
    """Rules 13.4, 8.8: the trade is rebuilt with its stops and targets, not left to enter without them."""
    script = entering(direction, BRACKET)
    exchange = HidesPending(script)
    state = await from_exchange(cast("Exchange", exchange), empty("LTCUSDT"), BRACKET, RULES)
    assert state.position is not None
    assert isinstance(state.position.phase, Entering)
    assert state.position.plan == script.position.plan
    assert {(o.id, o.awaits, o.phase) for o in state.position.orders} == {
        (o.id, o.awaits, OrderPhase.WORKING) for o in script.position.orders
    }
    assert sorted(exchange.asked) == sorted(o.id for o in script.position.orders if o.is_exit)


async def test_exits_that_are_not_there_either_are_left_out() -> None:
    script = entering(policy=BRACKET)
    script.book = {k: r for k, r in script.book.items() if r.status is not OrderStatus.PENDING_NEW}
    shown = await read_history(cast("Exchange", HidesPending(script)))
    assert {report.id for report in shown.reports} == set(script.book)
