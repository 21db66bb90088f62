"""What must hold of the account as a whole, by the exchange's own books: whose base and money it is, and whose ids.

Only what other hands leave alone is judged so: once somebody has cancelled, sold or moved anything, what is missing may
be their doing.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from tests.sim.checks import STOPS, Outside, Truth

from executor.core.book.levels import stop_limit
from executor.core.model.facts import Balance, Done, Refused, ReplaceOutcome, Why
from executor.core.model.ids import ENTRIES, Role, parse
from executor.core.model.intents import NewOrder, OrderCommand, PlaceOco, PlaceOrder, ReplaceOrder
from executor.core.model.policy import Layout
from executor.core.model.state import Closed, Reason
from executor.core.model.values import ONE, ZERO, Direction, OrderStatus, OrderType, plain

INTEREST: Final = Decimal("1.005")
"""A short on credit buys back no more than so much of what it sold; what it lacks beyond that may be anybody's."""
NOT_EXITS: Final = ENTRIES | {Role.BUYBACK, Role.DEBT}


class Books:
    """`handled`: another hand was at the account."""

    def __init__(self, broken: list[str]) -> None:
        self.broken = broken
        self.handled = False
        self._owner: dict[str, str] = {}
        self._trades: dict[str, str] = {}

    # --- whose ids ---------------------------------------------------------------------------------------------------

    def placed(self, symbol: str, client_id: str) -> None:
        """Rule 1: an id names one order of the account, whatever its symbol."""
        owner = self._owner.setdefault(client_id, symbol)
        if owner != symbol:
            self.broken.append(f"N1 (rule 1): {client_id} names an order of {owner} and one of {symbol}")

    def opened(self, symbol: str, trade: str) -> None:
        owner = self._trades.setdefault(trade, symbol)
        if owner != symbol:
            self.broken.append(f"N1 (rule 1): trade {trade} is one of {owner} and one of {symbol}")

    # --- whose base and money ----------------------------------------------------------------------------------------

    def answered(self, outside: Outside, request: OrderCommand, outcome: Done | Refused | ReplaceOutcome) -> None:
        """No exit is refused for want of what its own trade has: another symbol's order has that."""
        refused = outcome.place if isinstance(outcome, ReplaceOutcome) else outcome
        if self.handled or not isinstance(refused, Refused) or refused.why is not Why.INSUFFICIENT_BALANCE:
            return
        order = _exit_of(request)
        name = parse(order.id) if order is not None else None
        if order is None or name is None or name.role in NOT_EXITS:
            return
        truth = outside.trades.get(name.trade)
        if truth is not None and order.side is truth.direction.exit_side and _covers(outside, truth, name.trade, order):
            self.broken.append(
                f"N2 (2.6): {order.id} of {outside.direct.symbol} is refused for its balance: {plain(order.qty)} of "
                f"{plain(truth.held)} that it holds, {_free(outside.direct.balances())} are free"
            )

    def closed(self, symbol: str, closed: Closed) -> None:
        if closed.reason is Reason.EXTERNAL and not self.handled:
            self.broken.append(f"N3 (6.6): {closed.trade} of {symbol} was closed by nobody's hand")

    # --- in the end --------------------------------------------------------------------------------------------------

    def balances(self, outsides: Sequence[Outside], begun_with: Mapping[str, Decimal]) -> None:
        """Of each asset there is what fills and fees of all of them make, to the last digit."""
        for asset, balance in outsides[0].direct.balances().items():
            expected = begun_with.get(asset, ZERO) + sum((each.traded(asset) for each in outsides), ZERO)
            if (debts := outsides[0].debts) is not None:
                expected += debts.changed(asset)
            if balance.total != expected:
                made = plain(expected)
                self.broken.append(f"W6: {asset} is {plain(balance.total)}, fills and fees of all make {made}")


def _exit_of(request: OrderCommand) -> NewOrder | None:
    match request:
        case PlaceOrder() | ReplaceOrder():
            return request.order
        case PlaceOco():
            return request.stop
        case _:
            return None


def _covers(outside: Outside, truth: Truth, trade: str, order: NewOrder) -> bool:
    """Whether what the trade holds, less what its other exits lock, carries `order` as well; PLAIN's targets and its
    stop each lock it for themselves.
    """
    apart = outside.setup.policy.layout is Layout.PLAIN
    lists: set[int] = set()
    standing = ZERO
    for each in outside.open_of(trade):
        if each.side is not order.side or each.status is OrderStatus.PENDING_NEW:
            continue
        if each.order_list_id != -1:
            if each.order_list_id in lists:
                continue
            lists.add(each.order_list_id)
        if not apart or (each.type in STOPS) is (order.type in STOPS):
            standing += each.open_qty
    held = truth.held
    if truth.direction is Direction.SHORT:
        if order.type is OrderType.MARKET or not _was_reckoned(outside, order):
            return False
        held *= INTEREST if outside.debts is not None else ONE
    return held - standing >= order.qty


def _was_reckoned(outside: Outside, order: NewOrder) -> bool:
    """Whether a short's exit costs no more than the stop did by which the trade was admitted."""
    position = outside.saved().position if outside.saved is not None else None
    if position is None or order.price is None:
        return False
    planned = stop_limit(position.plan.stop, Direction.SHORT, outside.setup.policy, outside.rules)
    return order.price <= planned


def _free(balances: Mapping[str, Balance]) -> str:
    return ", ".join(f"{plain(each.free)} {asset}" for asset, each in balances.items() if each.total)
