"""The first of a kind at once, repeats together with their count, and nothing is ever lost or merged downwards."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.ops.alerts.alert import Alert
from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.queue import ONCE_MAX, PAUSES_MS, TEXTS_KEPT, AlertQueue, Waiting

T0 = 1_750_000_000_000


def alert(event: str = "exit_vanished", at: int = T0, text: str = "x", **more: object) -> Alert:
    severity = more.pop("severity", Severity.WARNING)
    return Alert(event=event, text=text, at=at, severity=severity, **more)  # type: ignore[arg-type]


def tell(queue: AlertQueue, found: list[Waiting], now: int) -> None:
    for each in found:
        queue.settle(each.key, each.count, now)


def test_the_first_is_due_at_once_and_its_repeats_a_minute_after() -> None:
    queue = AlertQueue()
    queue.push(1, alert())
    (first,) = queue.due(T0)
    assert (first.count, first.texts) == (1, ("x",))
    tell(queue, [first], T0)
    for n in range(2, 19):
        queue.push(n, alert(at=T0 + n))
    assert queue.due(T0 + PAUSES_MS[0] - 1) == []
    assert queue.next_due() == T0 + PAUSES_MS[0]
    (repeats,) = queue.due(T0 + PAUSES_MS[0])
    assert (repeats.count, repeats.since, repeats.n) == (17, T0 + 2, 18)


def test_the_pauses_grow_while_it_goes_on() -> None:
    queue, now, told = AlertQueue(), T0, []
    for n in range(3 * 3600):  # once a second, for three hours
        queue.push(n, alert(at=now))
        found = queue.due(now)
        told += [(now - T0) // 1000 for _ in found]
        tell(queue, found, now)
        now += 1000
    assert told == [0, 60, 360, 1260, 4860, 8460]


def test_after_a_silence_it_is_news_again() -> None:
    queue = AlertQueue()
    queue.push(1, alert())
    tell(queue, queue.due(T0), T0)
    later = T0 + 2 * PAUSES_MS[0] + 1
    queue.push(2, alert(at=later))
    assert [each.count for each in queue.due(later)] == [1]


def test_the_graver_goes_first_and_is_no_repeat_of_the_lesser() -> None:
    queue = AlertQueue()
    queue.push(1, alert("trade_opened", severity=Severity.INFO, trade="1"))
    queue.push(2, alert(severity=Severity.WARNING))
    queue.push(3, alert(severity=Severity.CRITICAL))
    assert [each.key.severity for each in queue.due(T0)] == [Severity.CRITICAL, Severity.WARNING, Severity.INFO]


def test_what_comes_while_a_message_is_on_its_way_waits_on() -> None:
    queue = AlertQueue()
    queue.push(1, alert())
    taken = queue.due(T0)
    queue.push(2, alert(at=T0 + 500, text="y"))
    tell(queue, taken, T0 + 1000)
    (rest,) = queue.waiting()
    assert (rest.count, rest.n, rest.due) == (1, 2, T0 + 1000 + PAUSES_MS[0])


def test_different_words_of_one_kind_are_kept_the_last_of_them() -> None:
    queue = AlertQueue()
    for n in range(9):
        queue.push(n, alert(text=f"order {n % 5}"))
    (waiting,) = queue.waiting()
    assert waiting.texts == ("order 1", "order 2", "order 3")
    assert len(waiting.texts) == TEXTS_KEPT


def test_each_trade_is_its_own_news_until_there_are_too_many() -> None:
    queue = AlertQueue()
    for n in range(ONCE_MAX + 50):
        queue.push(n, alert("trade_closed", trade=str(n), severity=Severity.INFO))
    counts = sorted(each.count for each in queue.waiting())
    assert counts == [1] * ONCE_MAX + [50]
    tell(queue, queue.due(T0), T0)
    assert len(queue) == 0
    queue.push(999, alert("trade_closed", trade="a", severity=Severity.INFO))
    assert queue.waiting()[0].key.trade == "a"


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    queue = AlertQueue()
    queue.push(1, alert())
    tell(queue, queue.due(T0), T0)
    queue.push(2, alert(at=T0 - 1000))  # a little: it is a repeat, and waits as one
    assert queue.next_due() == T0 - 1000 + PAUSES_MS[0]
    queue.push(3, alert(at=T0 - 3_600_000))
    (found,) = queue.due(T0 - 3_600_000)
    assert found.count == 2


@pytest.mark.parametrize("ahead", [120_000, 1_800_000, 7_200_000, 400 * 86_400_000])
def test_what_was_raised_while_the_clock_was_ahead_goes_at_once(ahead: int) -> None:
    """An alert, and each that was merged into it, waited until the clock was there again."""
    queue = AlertQueue()
    queue.push(1, alert(at=T0 + ahead))
    assert [each.count for each in queue.due(T0)] == [1]
    tell(queue, queue.due(T0 + ahead), T0 + ahead)  # told while it was ahead, too
    queue.push(2, alert(at=T0 + ahead + 1000))
    queue.push(3, alert(at=T0))
    assert [each.count for each in queue.due(T0 + PAUSES_MS[0])] == [2]
    tell(queue, queue.due(T0 + PAUSES_MS[0]), T0 + PAUSES_MS[0])
    queue.push(4, alert(at=T0 + PAUSES_MS[0] + 1000))
    assert queue.due(T0 + PAUSES_MS[0] + 1000) == []  # and it is paced as ever
    assert len(queue.due(T0 + PAUSES_MS[0] + PAUSES_MS[1])) == 1


@given(st.lists(st.tuples(st.integers(-(10**11), 10**11), st.booleans()), max_size=40))
def test_however_the_clock_is_set_nothing_waits_longer_than_the_longest_pause(story: list[tuple[int, bool]]) -> None:
    queue, now = AlertQueue(), T0
    for n, (step, sends) in enumerate(story):
        now += step
        queue.push(n, alert(at=now))
        if sends:
            tell(queue, queue.due(now), now)
    tell(queue, queue.due(now), now)
    assert len(queue.due(now + PAUSES_MS[-1])) == len(queue)


EVENTS = st.sampled_from(["exit_vanished", "unprotected", "trade_closed", "state_unwritable", "new_kind"])


@given(
    st.lists(
        st.tuples(EVENTS, st.sampled_from(Severity), st.integers(0, 200_000), st.integers(1, 4), st.booleans()),
        max_size=60,
    )
)
def test_whatever_happens_each_alert_is_told_of_exactly_once(
    story: list[tuple[str, Severity, int, int, bool]],
) -> None:
    queue, now = AlertQueue(), T0
    raised: Counter[tuple[str, Severity]] = Counter()
    told: Counter[tuple[str, Severity]] = Counter()
    for n, (event, severity, pause, trade, sends) in enumerate(story):
        now += pause
        queue.push(n, alert(event, at=now, severity=severity, trade=str(trade)))
        raised[event, severity] += 1
        if sends:
            for each in queue.due(now):
                told[each.key.event, each.key.severity] += each.count
                queue.settle(each.key, each.count, now)
    now += 10 * PAUSES_MS[-1]
    for each in queue.due(now):
        told[each.key.event, each.key.severity] += each.count
        queue.settle(each.key, each.count, now)
    assert told == raised
    assert len(queue) == 0
    assert queue.next_due() is None
