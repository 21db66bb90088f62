"""Everything a run leaves to chance goes through `Choices`: what was chosen is the run's plan.

A plan is a list of `(label, nth, value)`: the nth choice under that label took that value. Whatever a plan does not
name takes the value 0, and 0 is always the quiet one: no fault, no move, the product's default. So a plan can be cut
anywhere and still is a plan, which is what makes shrinking simple; and a plan kept for years names what it needs, not
how often other dice happened to be thrown before.
"""

import random
from collections.abc import Iterable, Sequence

Choice = tuple[str, int, int]
_ROUNDING = 1e-9  # far more than what adding up a few dozen weights can be off by


class Choices:
    """With a seed it draws and records; without one it replays `plan`."""

    def __init__(self, seed: int | None = None, plan: Iterable[Choice] = ()) -> None:
        self.made: list[Choice] = []
        self._counts: dict[str, int] = {}
        self._seed = seed
        self._rng = None if seed is None else random.Random(seed)
        self._plan = {(label, nth): value for label, nth, value in plan}

    def choose(self, label: str, n: int, odds: float | None = None) -> int:
        """A number below `n`. Drawn evenly, or with `odds` something else than 0."""
        nth = self._counts.get(label, 0)
        self._counts[label] = nth + 1
        if self._rng is None:
            value = min(self._plan.get((label, nth), 0), n - 1)
        elif odds is None:
            value = self._rng.randrange(n)
        elif odds and n > 1 and self._rng.random() < odds:
            value = self._rng.randrange(1, n)
        else:
            return 0
        if value:
            self.made.append((label, nth, value))
        return value

    def weigh(self, label: str, weights: Sequence[float]) -> int:
        """Value i + 1 with probability `weights[i]`, else 0."""
        nth = self._counts.get(label, 0)
        self._counts[label] = nth + 1
        if self._rng is None:
            value = min(self._plan.get((label, nth), 0), len(weights))
        else:
            dart = self._rng.random()
            value = _hit(dart, weights) if dart < sum(weights) + _ROUNDING else 0  # mostly it is far beyond them
        if value:
            self.made.append((label, nth, value))
        return value

    def mood(self, options: Sequence[float], name: str = "") -> float:
        """A weight of the run itself. It bends what is drawn and is not part of the plan: the draws are. `name`: one
        drawn by itself, so that a fault that is new leaves what a seed meant to the others as it was.
        """
        if self._rng is None:
            return 0.0
        return random.Random(f"{self._seed} {name}").choice(options) if name else self._rng.choice(options)


class ChoicesOf(Choices):
    """One part's share of a run's choices: the same dice and the same plan, its labels under the part's `name`."""

    def __init__(self, whole: Choices, name: str) -> None:
        self.made, self._counts = whole.made, whole._counts
        self._seed, self._rng, self._plan = whole._seed, whole._rng, whole._plan
        self._name = f"{name}/"

    def choose(self, label: str, n: int, odds: float | None = None) -> int:
        return super().choose(self._name + label, n, odds)

    def weigh(self, label: str, weights: Sequence[float]) -> int:
        return super().weigh(self._name + label, weights)

    def mood(self, options: Sequence[float], name: str = "") -> float:
        return super().mood(options, self._name + name if name else "")


def _hit(dart: float, weights: Sequence[float]) -> int:
    """Which of the weights, laid end to end, the dart hits, counted from 1; 0 where it is beyond them."""
    for i, weight in enumerate(weights, 1):
        dart -= weight
        if dart < 0:
            return i
    return 0
