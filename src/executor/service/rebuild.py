"""Start-up without a state: the trade is rebuilt from the exchange alone, or it is told why not (rule 9.3)."""

from typing import Final

import msgspec
import structlog

from executor.core import ids
from executor.core.facts import Fill, OrderReport
from executor.core.intents import Level
from executor.core.policy import Policy
from executor.core.recovery import Restored, merge, restore
from executor.core.rules import SymbolRules
from executor.core.state import State
from executor.exchange.port import Exchange

log = structlog.get_logger(__name__)

LOOK_BACK_MS: Final = 24 * 3_600_000
"""How far back a trade that has no open order is looked for; one that has is read from its own beginning."""


class Shown(msgspec.Struct, frozen=True):
    """What the exchange shows of the symbol: `open_orders` all, `history` as far back as read, `fills` by client order
    id, of the trades that have an open order and of the last one.
    """

    open_orders: tuple[OrderReport, ...]
    history: tuple[OrderReport, ...]
    fills: dict[str, tuple[Fill, ...]]

    @property
    def reports(self) -> tuple[OrderReport, ...]:
        """What is known best of each order of ours."""
        return tuple(merge(self.open_orders, self.history).values())


async def look_back(exchange: Exchange) -> Shown:
    """Raises ReadError."""
    open_orders = await exchange.open_orders()
    live = {name.trade for report in open_orders if (name := ids.parse(report.id)) is not None}
    history = await exchange.history(min([exchange.now() - LOOK_BACK_MS, *map(int, live)]))
    ours = merge(open_orders, history)
    named = {key: name.trade for key in ours if (name := ids.parse(key)) is not None}
    wanted = live | {max(named.values(), key=int, default="")}
    fills = {
        key: await exchange.trades(ours[key].exchange_id)
        for key, trade in named.items()
        if trade in wanted and ours[key].cum_qty
    }
    return Shown(open_orders, history, fills)


async def from_exchange(exchange: Exchange, state: State, policy: Policy, rules: SymbolRules) -> State:
    """`state`, which holds no trade, with what the exchange knows of one. Raises ReadError."""
    shown = await look_back(exchange)
    restored: Restored = restore(
        state,
        open_orders=shown.open_orders,
        history=shown.history,
        fills=shown.fills,
        policy=policy,
        rules=rules,
        now=exchange.now(),
    )
    for note in restored.notes:
        say = log.error if note.level is Level.ALERT else log.info
        say(note.event, alert=note.level is Level.ALERT, text=note.text)
    return restored.state
