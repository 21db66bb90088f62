"""Start-up without the newest state: what the disk does not know is had from the exchange, or it is told why not.

With an older state, what the exchange remembers of its trade is folded in (rule 9.2); without any, the trade is rebuilt
from the exchange alone (rule 9.3).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
import structlog

from executor.core.model import ids
from executor.core.model.facts import Fill, OrderReport
from executor.core.model.intents import Level, Notify
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Position, State
from executor.core.recover import catchup
from executor.core.recover.rebuild import merge, not_shown, restore
from executor.exchange.port import Exchange, ReadError
from executor.service.store.state_store import Age

log = structlog.get_logger(__name__)

MARGIN_MS: Final = 60_000
"""A trade's first order may be older by the exchange's clock than the trade is by ours."""
LOOK_BACK_MS: Final = 24 * 3_600_000
"""How far back a trade that has no open order is looked for; one that has is read from its own beginning."""

LOOK_BACK_MOST_MS: Final = 30 * LOOK_BACK_MS
"""A trade with an open order that is older than this is not read from its beginning: a day takes 20 of request weight
at least, and an order with a made-up name would begin in 1970. It is told of, not rebuilt (rule 9.3).
"""


VOUCHED_S: Final = 3.0
"""So long a start waits for what could prove its write-ahead copy an old one: a position may be bare."""


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


async def read_history(exchange: Exchange, trade: str = "") -> Shown:
    """Of `trade` too, where it is named, whose fills can be asked for later: there is a state. Raises ReadError."""
    open_orders = await exchange.open_orders()
    live = {name.trade for report in open_orders if (name := ids.parse(report.id)) is not None}
    named = live | {trade} if trade else live
    history = await exchange.history(_since(named, exchange.now()))
    history = (*history, *await _awaiting(exchange, merge(open_orders, history)))
    ours = merge(open_orders, history)
    trades = {key: name.trade for key in ours if (name := ids.parse(key)) is not None}
    wanted = named | {max(trades.values(), key=int, default="")}
    fills: dict[str, tuple[Fill, ...]] = {}
    for key, each in trades.items():
        if each in wanted and ours[key].cum_qty:
            try:
                fills[key] = await exchange.trades(ours[key].exchange_id)
            except ReadError as error:
                if not trade:
                    raise
                log.warning("look_failed", what=f"trades of {key}", error=str(error))
    return Shown(open_orders, history, fills)


def _since(trades: Iterable[str], now: int) -> int:
    """From when on the history is read that is to hold those trades."""
    begun = [int(each) - MARGIN_MS for each in trades if int(each) >= now - LOOK_BACK_MOST_MS]
    return min([now - LOOK_BACK_MS, *begun])


async def _awaiting(exchange: Exchange, ours: dict[str, OrderReport]) -> tuple[OrderReport, ...]:
    """The exits of open entries that no list shows, each looked up by its own id."""
    found = [await exchange.order(client_id) for client_id in not_shown(ours.values())]
    return tuple(report for report in found if report is not None)


async def catch_up(
    exchange: Exchange,
    state: State,
    age: Age,
    policy: Policy,
    rules: SymbolRules,
    recv_window: int,
    sleep: Callable[[float], Awaitable[None]],
) -> State:
    """`state` with what the exchange shows of requests that left after it. Raises ReadError.

    Where a newer state was lost, such a request may still be on its way: what the exchange does not show was never
    placed only when none can be carried out any more, `recv_window` (ms) from now on, and DOUBT_SETTLE_SEC has passed
    (rule 8.3).
    """
    position = state.position
    if age is Age.NEWEST or (age is not Age.OLD and position is None):
        return state
    if age is Age.VOUCHED and position is not None:
        if not (sent := await _sent_since(exchange, state, position)):
            return state
        log.warning("copy_put_back", text=f"the newest state on the disk knows nothing of {', '.join(sent)}")
        age = Age.OLD
    if age is Age.OLD:
        await _let_arrive(policy, recv_window, sleep)
    if position is None:
        return await from_exchange(exchange, state, policy, rules)
    shown = await read_history(exchange, position.trade)
    lost = age is Age.OLD
    state, notes = catchup.catch_up(
        state, position, shown.reports, shown.fills, policy, rules, exchange.now(), lost=lost, listed=shown.history
    )
    _tell(notes)
    return state


async def _sent_since(exchange: Exchange, state: State, position: Position) -> tuple[str, ...]:
    """What was sent after a state that its write-ahead copy vouches for: then both were put back, from a copy of the
    folder or of the machine. Nothing, where the exchange can't say so at once: the trade must not wait for that.
    """
    try:
        async with asyncio.timeout(VOUCHED_S):
            open_orders = await exchange.open_orders()
            history = await exchange.history(_since([position.trade], exchange.now()))
    except (ReadError, TimeoutError) as error:
        log.warning("look_failed", what="orders sent after the state", error=str(error) or "no answer in time")
        return ()
    sent = catchup.sent_since(position, tuple(merge(open_orders, history).values()))
    return tuple(name for name in sent if name not in state.ignored)


async def begin(
    exchange: Exchange,
    state: State,
    policy: Policy,
    rules: SymbolRules,
    recv_window: int,
    sleep: Callable[[float], Awaitable[None]],
) -> State:
    """`state`, an empty one in place of none on the disk, with what the exchange knows of a trade. Raises ReadError.

    Where the exchange shows orders of ours there was a state, and all of it was lost: as in `catch_up` with an old one.
    """
    shown = await read_history(exchange)
    if shown.reports:
        await _let_arrive(policy, recv_window, sleep)
        shown = await read_history(exchange)
    return _restored(exchange, shown, state, policy, rules)


async def from_exchange(exchange: Exchange, state: State, policy: Policy, rules: SymbolRules) -> State:
    """`state`, which holds no trade, with what the exchange shows now of one. Raises ReadError."""
    return _restored(exchange, await read_history(exchange), state, policy, rules)


async def _let_arrive(policy: Policy, recv_window: int, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Return when nothing that was sent before can be carried out any more (rule 8.3)."""
    wait_s = (recv_window + policy.doubt_settle_ms) / 1000
    log.warning("newer_state_lost", waits_sec=wait_s, until="nothing that was sent can still arrive")
    await sleep(wait_s)


def _restored(exchange: Exchange, shown: Shown, state: State, policy: Policy, rules: SymbolRules) -> State:
    restored = restore(
        state,
        open_orders=shown.open_orders,
        history=shown.history,
        fills=shown.fills,
        policy=policy,
        rules=rules,
        now=exchange.now(),
    )
    _tell(restored.notes)
    return restored.state


def _tell(notes: Iterable[Notify]) -> None:
    for note in notes:
        say = log.error if note.level is Level.ALERT else log.info
        say(note.event, alert=note.level is Level.ALERT, text=note.text)
