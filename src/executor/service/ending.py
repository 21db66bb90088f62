"""What an end of the service leaves open, and what is said of it (rule 9.5)."""

from collections.abc import Callable
from decimal import Decimal

from executor.core.absorb.loans import named
from executor.core.book.debt import owed
from executor.core.book.ledger import covered, holding, sellable, sold_too_much
from executor.core.model.intents import Level, Notify
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closing, Entering, Order, Position, State
from executor.core.model.values import ZERO, plain, short


def bare(state: State, rules: SymbolRules) -> Decimal:
    """Base that is held without a stop on the exchange."""
    position = state.position
    return max(sellable(position, rules) - covered(position), ZERO) if position is not None else ZERO


def closing(state: State) -> Position | None:
    """The trade that is being closed."""
    position = state.position
    return position if position is not None and isinstance(position.phase, Closing) else None


def oversold(state: State, rules: SymbolRules) -> Decimal:
    """Base that was sold too much and not bought back."""
    position = state.position
    return rules.whole(sold_too_much(position, holding(position, rules))) if position is not None else ZERO


def say_what_is_left(state: State, rules: SymbolRules, say: Callable[[Notify], None]) -> None:
    if left := bare(state, rules):
        text = f"{plain(left)} {rules.base} without a stop on the exchange, and nobody watches now"
        say(Notify(Level.ALERT, "stopped_bare", text))
    elif (position := closing(state)) is not None:
        _say_closing(position, oversold(state, rules), rules, say)
    if entries := _entering(state):
        names = ", ".join(order.id for order in entries)
        text = f"{names}: open still, as far as is known; what fills before the next start has no stop until then"
        say(Notify(Level.ALERT, "stopped_entering", text, " ".join(order.id for order in entries)))
    if debts := _owed(state):
        say(Notify(Level.ALERT, "stopped_owing", f"{', '.join(debts)}; the next start goes on with it"))


def _say_closing(position: Position, over: Decimal, rules: SymbolRules, say: Callable[[Notify], None]) -> None:
    standing = [f"{order.id} is not cancelled" for order in position.orders if order.live]
    if over:
        standing.append(f"{plain(over)} {rules.base} sold too much are not bought back")
    text = f"the trade is being closed, and is not over: {', '.join(standing) or 'a last look is owed'}"
    say(Notify(Level.ALERT, "stopped_closing", f"{text}; the next start goes on with it"))


def _entering(state: State) -> list[Order]:
    """Entries that stay open, save those that bring their exits (rule 13.1); those of a close are named by it."""
    position = state.position
    if position is None or not isinstance(position.phase, Entering):
        return []
    return [order for order in position.orders if order.is_entry and order.live and not order.list_id]


def _owed(state: State) -> list[str]:
    """What is owed, and loans and repayments on their way (rule 11)."""
    said = [f"{named(state.loan)} is under way"] if state.loan is not None and state.loan.open else []
    return said + [f"{short(left)} {asset} are owed, and interest goes on" for asset, left in owed(state.debts).items()]
