"""The clock that the service believes in is wrong by what the faults say, and by no more."""

from tests.sim.timeline import ServiceClock, Timeline


def test_a_drift_begins_when_it_begins() -> None:
    timeline = Timeline()
    clock = ServiceClock(timeline)
    timeline.run_until(timeline.now + 300_000)
    clock.let_drift(20)
    assert clock.stamp() == timeline.now
    timeline.run_until(timeline.now + 10_000)
    assert clock.stamp() == timeline.now + 200


def test_what_a_drift_has_gained_stays_with_the_next() -> None:
    timeline = Timeline()
    clock = ServiceClock(timeline)
    clock.bend(700)
    clock.let_drift(20)
    timeline.run_until(timeline.now + 10_000)
    clock.let_drift(-50)
    assert clock.stamp() == timeline.now + 900
    timeline.run_until(timeline.now + 10_000)
    assert clock.stamp() == timeline.now + 400
    clock.sync()
    assert clock.stamp() == timeline.now
