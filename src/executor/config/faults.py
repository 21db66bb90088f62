"""What is wrong with the settings, said to the person who wrote them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the setting, what it was (secrets hidden), and what it must be."""

    name: str
    was: str
    must: str

    def __str__(self) -> str:
        return f"{self.name}: was {self.was}; must be {self.must}"


class SettingsError(Exception):
    """Settings that Executor will not start with. Holds every fault found, not only the first."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = "1 setting is" if len(self.faults) == 1 else f"{len(self.faults)} settings are"
        super().__init__("\n".join([f"{count} wrong:", *(f"  {fault}" for fault in self.faults)]))
