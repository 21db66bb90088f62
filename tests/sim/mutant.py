"""What a deliberate bug is, and what comes of hunting it."""

from typing import Final

import msgspec

CORE: Final = "src/executor/core"


class Mutant(msgspec.Struct, frozen=True):
    """`also`: a second (old, new) in the same file, where a guard behind the first would make up for it. `bench`: which
    simulation hunts it.
    """

    name: str
    path: str
    old: str
    new: str
    also: tuple[str, str] | None = None
    bench: str = "tests.sim.hunt"


class Found(msgspec.Struct, frozen=True):
    """`check`: the first violation; empty when none came. `runs`: how many runs it took."""

    check: str
    runs: int
    seconds: float
