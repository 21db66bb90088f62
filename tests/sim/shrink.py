"""Makes a failing plan small: leaves out choices, then lowers the rest, as long as it fails in the same way (ddmin)."""

import re
from collections.abc import Callable, Sequence

from tests.sim.choices import Choice

Fails = Callable[[list[Choice]], bool]


def symptom(broken: Sequence[str]) -> str:
    """Which check, without the figures of this one run; empty for a sound run."""
    return re.sub(r"[0-9][0-9.]*", "#", broken[0].partition("(")[0])[:60] if broken else ""


def shrink(plan: Sequence[Choice], fails: Fails, *, tries: int = 2_000) -> list[Choice]:
    """The smallest failing plan found in so many runs."""
    left = [tries]

    def still(candidate: list[Choice]) -> bool:
        left[0] -= 1
        return left[0] > 0 and fails(candidate)

    best = _drop(list(plan), still)
    for i, (label, nth, value) in enumerate(best):
        for smaller in range(1, value):
            candidate = [*best[:i], (label, nth, smaller), *best[i + 1 :]]
            if still(candidate):
                best = candidate
                break
    return _drop(best, still)


def _drop(plan: list[Choice], still: Fails) -> list[Choice]:
    size = max(len(plan) // 2, 1)
    while plan:
        dropped = False
        start = 0
        while start < len(plan):
            candidate = plan[:start] + plan[start + size :]
            if still(candidate):
                plan, dropped = candidate, True
            else:
                start += size
        if size == 1 and not dropped:
            break
        size = max(size // 2, 1)
    return plan
