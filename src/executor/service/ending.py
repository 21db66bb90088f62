"""What an end of the service leaves open, and what is said of it (rule 9.5)."""

from collections.abc import Callable
from decimal import Decimal

from executor.core.book.ledger import covered, holding, sellable
from executor.core.model.intents import Level, Notify
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closing, Position, State
from executor.core.model.values import ZERO, plain


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
    return rules.whole(-holding(position, rules).held) if position is not None else ZERO


def say_what_is_left(state: State, rules: SymbolRules, say: Callable[[Notify], None]) -> None:
    if left := bare(state, rules):
        text = f"{plain(left)} {rules.base} without a stop on the exchange, and nobody watches now"
        say(Notify(Level.ALERT, "stopped_bare", text))
        return
    position = closing(state)
    if position is None:
        return
    standing = [f"{order.id} is not cancelled" for order in position.orders if order.live]
    if over := oversold(state, rules):
        standing.append(f"{plain(over)} {rules.base} sold too much are not bought back")
    text = f"the trade is being closed, and is not over: {', '.join(standing) or 'a last look is owed'}"
    say(Notify(Level.ALERT, "stopped_closing", f"{text}; the next start goes on with it"))
