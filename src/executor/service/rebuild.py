"""Start-up without a state: the trade is rebuilt from the exchange alone, or the operator is told why not (rule 9.3)."""

from typing import Final

import structlog

from executor.core import ids
from executor.core.intents import Level
from executor.core.policy import Policy
from executor.core.recovery import Restored, restore
from executor.core.rules import SymbolRules
from executor.core.state import State
from executor.exchange.binance import BinanceExchange

log = structlog.get_logger(__name__)

LOOK_BACK_MS: Final = 24 * 3_600_000
"""How far back a trade that has no open order is looked for; one that has is read from its own beginning."""


async def from_exchange(exchange: BinanceExchange, state: State, policy: Policy, rules: SymbolRules) -> State:
    """`state`, which holds no trade, with what the exchange knows of one. Raises ReadError."""
    now = exchange.now()
    open_orders = await exchange.open_orders()
    began = [int(name.trade) for report in open_orders if (name := ids.parse(report.id)) is not None]
    history = await exchange.history(min([now - LOOK_BACK_MS, *began]))
    ours = {report.id: report for report in (*history, *open_orders) if ids.is_ours(report.id) and report.cum_qty}
    fills = {report.id: await exchange.trades(report.exchange_id) for report in ours.values()}
    restored: Restored = restore(
        state, open_orders=open_orders, history=history, fills=fills, policy=policy, rules=rules, now=now
    )
    for note in restored.notes:
        say = log.error if note.level is Level.ALERT else log.info
        say(note.event, alert=note.level is Level.ALERT, text=note.text)
    return restored.state
