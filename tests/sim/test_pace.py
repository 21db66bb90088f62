"""What the simulation allows the service to send (rules 8.5, 8.7)."""

from tests.sim.pace import CANCELS_IN_A_BURST, READS_OF_A_START, SAME_IN_A_BURST, Pace

from executor.core.model.intents import CancelOrder, QueryOrder, QueryQuote

LOOK = QueryOrder(seq=3, id="EX_1_SL_0", exchange_id=0)


def test_the_same_read_is_had_so_often_and_no_more() -> None:
    told: list[str] = []
    pace = Pace(told.append)
    for i in range(SAME_IN_A_BURST):
        pace.sent(LOOK, 1_000 + i * 500)
    assert not told
    pace.sent(LOOK, 9_000)
    assert len(told) == 1
    assert "W14 (8.7)" in told[0]


def test_a_start_looks_everything_up_anew() -> None:
    """Rule 9.1: each life has its own looks; what one life repeats is pressed as before."""
    told: list[str] = []
    pace = Pace(told.append)
    for start in (1_000, 3_500, 6_000):
        pace.started(start)
        for i in range(SAME_IN_A_BURST // 3 + 2):
            pace.sent(LOOK, start + i * 100)
    assert not told
    for i in range(SAME_IN_A_BURST // 3 + 3 * READS_OF_A_START):
        pace.sent(LOOK, 7_000 + i * 100)
    assert told


def test_a_cancel_that_is_refused_each_time_slows_down() -> None:
    """Less often than a look: one a second is too many, but for one more at each start."""
    told: list[str] = []
    pace = Pace(told.append)
    pace.started(500)
    for second in range(CANCELS_IN_A_BURST + 1):
        pace.sent(CancelOrder(seq=second, id="EX_1_SL_0"), 900 + second * 900)
    assert not told
    pace.sent(CancelOrder(seq=99, id="EX_1_SL_0"), 10_100)
    assert len(told) == 1


def test_what_is_polled_is_no_repeat_of_what_is_asked_for() -> None:
    """4.7: without a price stream and with exits refused, both are had each second."""
    told: list[str] = []
    pace = Pace(told.append)
    for second in range(11):
        pace.sent(QueryQuote(seq=0), second * 1_000, poll=True)
        pace.sent(QueryQuote(seq=second), second * 1_000 + 80)
    assert not told
