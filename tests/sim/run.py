"""Runs plans: one (replayed and told), or many (`make soak`)."""

from tests.sim.choices import Choice, Choices
from tests.sim.world import Result, World


def by_seed(seed: int, *, verbose: bool = False) -> Result:
    return World(Choices(seed), verbose=verbose).run()


def by_plan(plan: list[Choice], *, verbose: bool = False) -> Result:
    return World(Choices(plan=plan), verbose=verbose).run()
