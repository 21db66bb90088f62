"""What a service starts on: the state from its disk, an older one brought up to date, or what the exchange tells.

The same functions of the core, in the same cases, as `executor.service.recovery` calls.
"""

from tests.sim.setup import Setup
from tests.sim.wire import Wire

from executor.core.model.events import Reported, TradesSeen
from executor.core.model.facts import Fill, OrderReport
from executor.core.model.intents import QueryOrder, QueryTrades
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.recover import rebuild
from executor.core.recover.catchup import catch_up
from executor.core.transition import empty
from executor.simulate.direct import Direct


def starting_state(
    state: State | None, old: bool, wire: Wire, direct: Direct, setup: Setup, symbol: SymbolRules, now: int
) -> tuple[State, bool]:
    """From the `state` on disk, which may be `old`; and whether the disk knew of no trade."""
    if state is not None and not old:
        return state, False
    shown = rebuild.merge(direct.open_orders(), wire.order_history().values()).values()
    history = (*shown, *_looked_up(direct, rebuild.not_shown(shown), now))
    fills = {report.id: _fills(direct, report, now) for report in history}
    if state is not None and state.position is not None:
        return catch_up(state, state.position, history, fills, setup.policy, symbol, now)[0], False
    made = rebuild.restore(
        state or empty(direct.symbol),
        open_orders=direct.open_orders(),
        history=history,
        fills=fills,
        policy=setup.policy,
        rules=symbol,
        now=now,
    )
    return made.state, True


def _looked_up(direct: Direct, names: tuple[str, ...], now: int) -> list[OrderReport]:
    seen = [direct.read(QueryOrder(seq=0, id=name, exchange_id=0), now) for name in names]
    return [event.report for event in seen if isinstance(event, Reported)]


def _fills(direct: Direct, report: OrderReport, now: int) -> tuple[Fill, ...]:
    seen = direct.read(QueryTrades(seq=0, id=report.id, exchange_id=report.exchange_id), now)
    assert isinstance(seen, TradesSeen)
    return seen.fills
