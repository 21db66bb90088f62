"""Which faults a fleet meets beside those of the exchange and its wire, and each run's own mix of them.

Steps: the places where a node may be suspended or killed: before and after each word with the store, before a request
leaves (signed already), after it has left, when its answer is there.
"""

from collections import Counter
from typing import Final

from tests.sim.choices import Choices

STORE: Final = ("store_refused", "store_no_leader", "store_request_lost", "store_answer_lost", "store_late")
STEP: Final = ("paused", "killed")
OUTSIDE: Final = (
    "node_paused",
    "node_killed",
    "node_stopped",
    "drain",
    "hung",
    "store_cut",
    "store_cut_silent",
    "exchange_cut",
    "no_majority",
    "watch_broken",
    "clock_step",
    "clock_drift",
    "price_jump",
)
EVERYWHERE: Final = frozenset({"no_majority", "price_jump"})
ALL: Final = (*STORE, *STEP, *OUTSIDE)
STEPS: Final = (
    *(
        f"{when} {kind}"
        for kind in ("claim", "release", "write", "signal", "renew", "read")
        for when in ("before", "after")
    ),
    "signed",
    "sent",
    "executed",
    "answered",
)
NEAR: Final = frozenset({"signed", "sent", "answered"})
"""Steps near the exchange: they are few, and matter most."""
OF_THE_NODE: Final = frozenset({"before renew", "after renew"})
"""Steps that a node makes once, however many accounts it has."""
PAUSES: Final = (4_000, 900, 8_000, 25_000, 120_000)
"""How long a process is suspended (ms): less and more than a lease, than recvWindow, than the fence."""

_STORE: Final = (0.0, 0.0, 0.005, 0.02, 0.06)
_STEP: Final = (0.0, 0.0, 0.0005, 0.002, 0.006)
_OUTSIDE: Final = (0.0, 0.0, 0.003, 0.01)


class FleetFaults:
    """Says what goes wrong, and counts it by kind and step. Quiet once `calm`.

    `crowd`: so many accounts share a node. What suspends or kills one of them does so to all, so that it comes as much
    more seldom at the steps of each: an account meets as many as it would alone.
    """

    def __init__(self, choices: Choices, *, wild: bool, crowd: float = 1.0) -> None:
        self._choices = choices
        self.calm = False
        self.tally: Counter[tuple[str, str]] = Counter()
        mood = choices.mood if wild else lambda _: 0.0
        self._store = [mood(_STORE) for _ in STORE]
        self._step = [mood(_STEP) for _ in STEP]
        self._of_many = [weight / max(crowd, 1.0) for weight in self._step]
        self._near = [5 * weight for weight in self._of_many]
        self._outside = [mood(_OUTSIDE) for _ in OUTSIDE]
        of_a_node = zip(OUTSIDE, self._outside, strict=True)
        self._of_a_node = [0.0 if kind in EVERYWHERE else weight for kind, weight in of_a_node]

    def store(self, kind: str) -> str:
        return self._pick("store", kind, STORE, self._store)

    def step(self, where: str) -> str:
        weights = self._near if where in NEAR else self._step if where in OF_THE_NODE else self._of_many
        return self._pick("step", where, STEP, weights)

    def outside(self, *, everywhere: bool) -> str:
        """What happens to one node, or `everywhere`."""
        return self._pick("outside", "", OUTSIDE, self._outside if everywhere else self._of_a_node)

    def detail(self, label: str, n: int) -> int:
        return 0 if self.calm else self._choices.choose(f"fleet:{label}", n)

    def pause(self) -> int:
        return PAUSES[self.detail("pause", len(PAUSES))]

    def _pick(self, label: str, where: str, names: tuple[str, ...], weights: list[float]) -> str:
        if self.calm:
            return ""
        value = self._choices.weigh(f"fleet:{label}:{where}", weights)
        if not value:
            return ""
        name = names[value - 1]
        self.tally[name, where or "any time"] += 1
        return name
