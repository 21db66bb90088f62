"""What the invariants say of a step, worked out once: the node's guard asks, and so does the bench where the step has
come into the store. They are pure, and asked of the same two states.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from executor.core import guard, invariants
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State

KEPT: Final = 256
"""Steps on their way to the store, many times over."""


class Judged:
    """`invariants.violations`, remembering its latest answers by the very objects that it was asked about."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], tuple[tuple[object, ...], list[str]]] = {}
        """With what was asked about: as long as that lives, nothing else has its identity."""

    def violations(self, before: State, after: State, policy: Policy, rules: SymbolRules) -> list[str]:
        asked = (before, after, policy, rules)
        key = tuple(map(id, asked))
        known = self._known.pop(key, None)  # nobody asks a third time
        if known is not None:
            return known[1]
        found = invariants.violations(before, after, policy, rules)
        self._known[key] = asked, found
        if len(self._known) > KEPT:
            del self._known[next(iter(self._known))]
        return found


@contextmanager
def asked_of(judged: Judged) -> Iterator[None]:
    """The service's guard asks it meanwhile."""
    before = guard.violations  # type: ignore[attr-defined]
    guard.violations = judged.violations  # type: ignore[attr-defined]
    try:
        yield
    finally:
        guard.violations = before  # type: ignore[attr-defined]
