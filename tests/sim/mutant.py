"""What a deliberate bug is, and what comes of hunting it."""

from typing import Final

import msgspec

CORE: Final = "src/executor/core"
ON_THE_WIRE: Final = "tests.crash.hunt"
SIMULATION: Final = ("src/executor", "tests/sim", "tests/crash", "tests/service/simdisk.py")


class Mutant(msgspec.Struct, frozen=True):
    """`also`: a second (old, new) in the same file, where a guard behind the first would make up for it. `bench`: what
    hunts it, a module and its words; one on the wire needs all of `tests`.
    """

    name: str
    path: str
    old: str
    new: str
    also: tuple[str, str] | None = None
    bench: str = "tests.sim.hunt"

    @property
    def parts(self) -> tuple[str, ...]:
        """Of the tree, what has to be there for its bench."""
        return ("src/executor", "tests") if self.bench.startswith(ON_THE_WIRE) else SIMULATION


class Found(msgspec.Struct, frozen=True):
    """`check`: the first violation; empty when none came. `runs`: how many runs it took."""

    check: str
    runs: int
    seconds: float
