"""Which faults there are, and each run's own mix of them (swarm: most faults are off in most runs, some are wild)."""

from collections import Counter
from collections.abc import Container
from typing import Final

from tests.sim.choices import Choices

from executor.core.model.state import State

COMMAND: Final = (
    "request_lost",
    "answer_lost",
    "answer_late",
    "executed_late",
    "executed_at_last",
    "5xx_executed",
    "5xx_not_executed",
    "5xx_executed_late",
    "refused",
    "not_sent",
    "banned",
    "fill_during_cancel",
    "cancel_behind",
    "half_done",
    "garbled",
    "refused_oddly",
    "cancels_refused",
    "locked_longer",
)
LOAN: Final = (
    "request_lost",
    "answer_lost",
    "answer_late",
    "executed_late",
    "executed_at_last",
    "5xx_executed",
    "5xx_not_executed",
    "5xx_executed_late",
    "refused",
    "not_sent",
    "banned",
    "garbled",
    "refused_oddly",
    "loan_pending",
    "loan_fails",
    "interest_before",
    "interest_after",
)
"""What happens to a loan or a repayment."""
READ: Final = ("read_lost", "read_5xx", "read_stale", "read_late", "read_banned", "read_garbled")
PUSH: Final = ("push_lost", "push_twice", "push_late", "stream_gap")
OUTSIDE: Final = (
    "cancelled_by_hand",
    "sold_by_hand",
    "price_jump",
    "clock_step",
    "clock_drift",
    "disk_full",
    "killed",
    "state_lost",
    "state_rotten",
    "met_in_the_group",
)
MARGIN: Final = (
    "interest",
    "liquidated",
    "borrowed_by_hand",
    "repaid_by_hand",
    "transferred_by_hand",
    "interest_in_bnb",
)
"""What happens to a margin account without a request."""
CRASH: Final = ("crash_before", "crash_torn_old", "crash_torn_new", "crash_torn_damaged")
PAUSE: Final = ("suspended",)
OTHER: Final = ("partial_fill", "exits_refused")
ALL: Final = (*COMMAND, *READ, *PUSH, *OUTSIDE, *CRASH, *PAUSE, *OTHER)
ON_MARGIN: Final = tuple(kind for kind in (*LOAN, *MARGIN) if kind not in ALL)
LATER: Final = frozenset({"cancels_refused", "locked_longer", "interest_in_bnb", "met_in_the_group"})
"""Kinds that came when there were seeds already."""
ODD: Final = frozenset({"garbled", "refused_oddly", "cancels_refused", "locked_longer", "read_garbled"})
"""Answers that no document has."""
PAUSES: Final = (3_000, 1_000, 7_000, 120_000)
"""How long a process is suspended (ms); recvWindow is 5,000."""

REFUSALS: Final[tuple[tuple[int, int, str], ...]] = (
    # HTTP status, code, text: one of each verdict in facts.md's tables
    (400, -1013, "Filter failure: LOT_SIZE"),
    (400, -2010, "Account has insufficient balance for requested action."),
    (400, -2010, "Order would trigger immediately."),
    (400, -2010, "Order would immediately match and take."),
    (400, -2010, "The relationship of the prices for the orders is not correct."),
    (400, -2010, "Market is closed."),
    (400, -2010, "This action is disabled on this account."),
    (400, -2010, "This symbol is restricted for this account."),
    (400, -1015, "Too many new orders."),
    (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    (400, -1022, "Signature for this request is not valid."),
    (400, -1111, "Precision is over the maximum defined for this asset."),
    (400, -1008, "Server is currently overloaded with other requests."),
    (400, -1016, "This service is no longer available."),
    (401, -2015, "Invalid API-key, IP, or permissions for action."),
    (429, -1003, "Too much request weight used."),
    (403, 0, "blocked"),
    (400, -1102, "Mandatory parameter was not sent."),
    (400, -2010, "Duplicate order sent."),
    (400, -1007, "Timeout waiting for response from backend server."),
    (400, -1006, "An unexpected response was received from the message bus."),
    (400, -1000, "An unknown error occurred while processing the request."),
    (400, -1001, "Internal error; unable to process your request."),
)
ODD_REFUSALS: Final[tuple[tuple[int, int, str], ...]] = (
    # what no document has: the default of whoever reads it must be safe
    (400, -2010, "Stop price would trigger immediately."),
    (400, -2010, "This order can not be taken right now."),
    (400, -2011, "The order is being worked on."),
    (400, -9999, "A code of a later day."),
    (400, 0, "no code at all"),
    (422, -2010, ""),
    (404, 0, "<html>not here</html>"),
)
LOAN_REFUSALS: Final[tuple[tuple[int, int, str], ...]] = (
    (400, -3006, "Your borrow amount has exceed maximum borrow amount."),
    (400, -3007, "You have pending transaction, please try again later."),
    (400, -3000, "Internal server error."),
    (400, -3044, "System busy."),
    (400, -3012, "Borrow is banned for this asset."),
    (400, -3015, "Repay amount exceeds borrow amount."),
    (400, -3024, "The unpaid debt is too small after this repayment."),
    (400, -3036, "This account is not allowed to repay."),
    (400, -3041, "Balance is not enough."),
    (400, -3045, "The system doesn't have enough asset now."),
    (400, -3067, "A pair that is banned."),
    (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    (401, -2015, "Invalid API-key, IP, or permissions for action."),
    (429, -1003, "Too much request weight used."),
    (400, -1007, "Timeout waiting for response from backend server."),
    (400, -9999, "A code of a later day."),
)
_WEIGHTS: Final = (0.0, 0.0, 0.01, 0.03, 0.08)
_LOAN_WEIGHTS: Final = (0.0, 0.0, 0.03, 0.08, 0.15)
_OUTSIDE_WEIGHTS: Final = (0.0, 0.0, 0.0, 0.003, 0.01)
_CRASH_WEIGHTS: Final = (0.0, 0.0, 0.0003, 0.001, 0.005)


def phase_of(state: State) -> str:
    position = state.position
    return "Flat" if position is None else type(position.phase).__name__


class Faults:
    """Says what goes wrong, and counts it by kind and phase of the trade. Quiet once `calm`. `by_the_book`: only what
    the documents have, read plainly.
    """

    def __init__(self, choices: Choices, *, wild: bool, margin: bool = False, by_the_book: bool = False) -> None:
        self._choices = choices
        self.by_the_book = by_the_book
        self.calm = False
        self.tally: Counter[tuple[str, str]] = Counter()
        self.kinds: list[str] = []
        self.readings: tuple[str, ...] = ()
        self.read_in: Counter[tuple[str, str]] = Counter()
        self._phase = "Flat"
        mood = choices.mood if wild else lambda _: 0.0
        self._command = [mood(_WEIGHTS) for kind in COMMAND if kind not in LATER]
        self._command += [choices.mood(_WEIGHTS, kind) if wild else 0.0 for kind in COMMAND if kind in LATER]
        self._read = [mood(_WEIGHTS) for _ in READ]
        self._push = [mood(_WEIGHTS) for _ in PUSH]
        self._outside = [mood(_OUTSIDE_WEIGHTS) for kind in OUTSIDE if kind not in LATER]
        self._outside += [choices.mood(_OUTSIDE_WEIGHTS, kind) if wild else 0.0 for kind in OUTSIDE if kind in LATER]
        self._crash = [mood(_CRASH_WEIGHTS) for _ in CRASH]
        self._stops = self._crash[:1]
        self._pause = [mood(_CRASH_WEIGHTS) for _ in PAUSE]
        self._partial = mood((0.0, 0.1, 0.4))
        self._loan = [mood(_LOAN_WEIGHTS) for _ in LOAN] if margin else []
        self._margin = [mood(_OUTSIDE_WEIGHTS) for kind in MARGIN if kind not in LATER] if margin else []
        if self._margin:
            self._margin += [choices.mood(_OUTSIDE_WEIGHTS, kind) if wild else 0.0 for kind in MARGIN if kind in LATER]
        self._refused = mood((0.0, 0.0, 0.05, 0.3))

    def leave_out(self, kinds: Container[str]) -> None:
        """Of what comes from outside none of these is drawn."""
        self._outside = [0.0 if kind in kinds else each for kind, each in zip(OUTSIDE, self._outside, strict=True)]
        if self._margin:
            self._margin = [0.0 if kind in kinds else each for kind, each in zip(MARGIN, self._margin, strict=True)]

    @property
    def phase(self) -> str:
        return self._phase

    @phase.setter
    def phase(self, phase: str) -> None:
        """Each reading of what the documents leave open is counted once for each phase that is entered under it."""
        if phase != self._phase:
            self.read_in.update((reading, phase) for reading in self.readings)
        self._phase = phase

    def command(self, kind: str) -> str:
        return self._pick(f"command:{kind}", COMMAND, self._command)

    def loan(self, kind: str) -> str:
        return self._pick(f"loan:{kind}", LOAN, self._loan)

    def margin(self) -> str:
        return self._pick("margin", MARGIN, self._margin)

    def read(self, kind: str) -> str:
        return self._pick(f"read:{kind}", READ, self._read)

    def push(self) -> str:
        return self._pick("push", PUSH, self._push)

    def outside(self) -> str:
        return self._pick("outside", OUTSIDE, self._outside)

    def crash(self, where: str) -> str:
        """`where`: persist may tear, the other boundaries only stop."""
        if where == "persist":
            return self._pick("crash:persist", CRASH, self._crash)
        return self._pick(f"crash:{where}", CRASH[:1], self._stops)

    def pause(self) -> int:
        """For how long (ms) the process is suspended before it sends what is on disk; 0: not at all."""
        return PAUSES[self.detail("pause", len(PAUSES))] if self._pick("pause", PAUSE, self._pause) else 0

    def partial(self, n: int) -> int:
        if self.calm:
            return 0
        value = self._choices.choose("volume", n, self._partial)
        if value:
            self.count("partial_fill")
        return value

    def exits_refused(self) -> bool:
        """Whether the exchange refuses what an entry has brought when its moment comes (rule 13.3)."""
        return bool(self._pick("exits_refused", ("exits_refused",), [self._refused]))

    def detail(self, label: str, n: int) -> int:
        return self._choices.choose(label, n)

    def count(self, kind: str) -> None:
        self.tally[kind, self.phase] += 1
        self.kinds.append(kind)

    def _pick(self, label: str, names: tuple[str, ...], weights: list[float]) -> str:
        if self.calm:
            return ""
        value = self._choices.weigh(label, weights)
        name = names[value - 1] if value else ""
        if not name or (self.by_the_book and name in ODD):
            return ""
        self.count(name)
        return name
