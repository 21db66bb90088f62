"""What `executor doctor` makes of what etcd's members show."""

from email.utils import formatdate

import pytest

from executor.ops.doctor_fleet import clock, fsync_p99
from executor.ops.fleet import MemberRow
from executor.service.store.etcd import Look

NOW = 1_764_000_000.0
MEMBER = MemberRow(member="e0", url="", version="3.5.0", leader=True, learner=False, size=0, fault="")


@pytest.mark.parametrize(
    ("ahead", "took", "level"),
    [
        (0.0, 0.01, "ok"),
        (0.9, 0.01, "ok"),
        (-1.4, 0.01, "ok"),
        (0.0, 9.0, "ok"),  # a busy machine: the answer was late, the clock is not
        (6.0, 9.0, "ok"),  # nobody can tell: that may have been when it was asked
        (-6.0, 9.0, "warn"),
        (4.0, 0.01, "warn"),
        (-4.0, 0.01, "warn"),
        (20.0, 9.0, "warn"),
    ],
)
def test_a_members_clock_is_judged_by_when_it_answered(ahead: float, took: float, level: str) -> None:
    told = formatdate(NOW + ahead, usegmt=True)
    assert clock(MEMBER, Look("", told, asked=NOW, answered=NOW + took)).level == level


def test_a_member_that_tells_no_time_has_no_wrong_one() -> None:
    assert clock(MEMBER, Look("", "", asked=NOW, answered=NOW)).level == "ok"


def test_how_long_a_sync_takes_is_read_from_the_histogram() -> None:
    rows = {"0.001": 980, "0.002": 985, "0.004": 999, "+Inf": 1000}
    metrics = "".join(
        f'etcd_disk_wal_fsync_duration_seconds_bucket{{le="{bound}"}} {count}\n' for bound, count in rows.items()
    )
    assert fsync_p99(metrics) == 0.004
    assert fsync_p99("") is None
