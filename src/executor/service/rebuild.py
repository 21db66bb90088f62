"""Start-up without the newest state: what the disk does not know is had from the exchange, or it is told why not.

With an older state, what the exchange remembers of its trade is folded in (rule 9.2); without any, the trade is rebuilt
from the exchange alone (rule 9.3).
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from executor.core import ids, recovery
from executor.core.facts import Fill, OrderReport
from executor.core.intents import Level
from executor.core.policy import Policy
from executor.core.recovery import Restored, merge
from executor.core.rules import SymbolRules
from executor.core.state import State
from executor.exchange.port import Exchange

log = structlog.get_logger(__name__)

MARGIN_MS: Final = 60_000
"""A trade's first order may be older by the exchange's clock than the trade is by ours."""
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


async def catch_up(
    exchange: Exchange,
    state: State,
    policy: Policy,
    rules: SymbolRules,
    recv_window: int,
    sleep: Callable[[float], Awaitable[None]],
) -> State:
    """`state`, behind which newer ones were lost, brought up to the exchange. Raises ReadError.

    A request of a lost step may still be on its way, and the exchange may take a while to show it: what it does not
    show is believed never to have been placed only when no request can be carried out any more, `recv_window` (ms) from
    now on, and DOUBT_SETTLE_SEC has passed (rule 8.3).
    """
    wait_ms = recv_window + policy.doubt_settle_ms
    log.warning("catching_up", wait_sec=wait_ms / 1000, why="what was sent after this state may still arrive")
    await sleep(wait_ms / 1000)
    position = state.position
    if position is None:
        return await from_exchange(exchange, state, policy, rules)
    history = await exchange.history(position.opened - MARGIN_MS)
    return _told(recovery.catch_up(state, merge(await exchange.open_orders(), history).values(), exchange.now()))


async def from_exchange(exchange: Exchange, state: State, policy: Policy, rules: SymbolRules) -> State:
    """`state`, which holds no trade, with what the exchange knows of one. Raises ReadError."""
    shown = await look_back(exchange)
    restored = recovery.restore(
        state,
        open_orders=shown.open_orders,
        history=shown.history,
        fills=shown.fills,
        policy=policy,
        rules=rules,
        now=exchange.now(),
    )
    return _told(restored)


def _told(restored: Restored) -> State:
    for note in restored.notes:
        say = log.error if note.level is Level.ALERT else log.info
        say(note.event, alert=note.level is Level.ALERT, text=note.text)
    return restored.state
