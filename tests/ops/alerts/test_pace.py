"""Twenty a minute, and the graver always finds room."""

import random

from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.pace import ANSWERS, PER_MINUTE, SHARE, Pace


def drive(pace: Pace, severity: Severity, seconds: float, start: float = 0.0) -> list[float]:
    now, sent = start, []
    while now < start + seconds:
        wait = pace.wait(now, SHARE[severity])
        if wait == 0:
            pace.take(now)
            sent.append(now)
        now += max(wait, 0.001)
    return sent


def busiest(sent: list[float]) -> int:
    return max(sum(1 for other in sent if first <= other < first + 60) for first in sent)


def test_no_minute_has_more_than_twenty() -> None:
    for severity in Severity:
        assert busiest(drive(Pace(), severity, 600)) == SHARE[severity]
    assert SHARE[Severity.WARNING] < ANSWERS < SHARE[Severity.CRITICAL] == PER_MINUTE == 20


def test_what_is_critical_goes_within_a_second_of_a_minute_that_is_full_of_the_rest() -> None:
    pace = Pace()
    drive(pace, Severity.WARNING, 30)
    assert pace.wait(30.0, SHARE[Severity.WARNING]) > 10
    assert pace.wait(30.0, SHARE[Severity.CRITICAL]) <= 1


def test_any_mixture_stays_within_the_limit() -> None:
    draw, pace, now, sent = random.Random(7), Pace(), 0.0, []
    for _ in range(2_000):
        severity = draw.choice(list(Severity))
        wait = pace.wait(now, SHARE[severity])
        if wait == 0:
            pace.take(now)
            sent.append(now)
        now += draw.choice([0.01, 0.2, wait])
    assert busiest(sent) <= PER_MINUTE
