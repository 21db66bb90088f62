"""How far the signal file has been judged, whatever the order in which its lines are."""

from hypothesis import given
from hypothesis import strategies as st

from executor.service.inlets import under_way
from executor.service.inlets.under_way import Place, UnderWay
from executor.signals.position import Position


def at(number: int) -> Position:
    return Position(1, number, "")


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 12))
def test_the_place_is_behind_the_last_line_before_which_all_are_judged(finished: list[int], compact_at: int) -> None:
    """Each number reads one more line and judges the one that is so many behind it, unless it is judged already."""
    lines, limit = UnderWay(), under_way.COMPACT_AT
    under_way.COMPACT_AT = lines._compact_at = compact_at  # type: ignore[misc]
    try:
        places: list[Place] = []
        done: set[int] = set()
        known = 0
        for back in finished:
            places.append(lines.add(at(len(places) + 1)))
            which = len(places) - 1 - back
            if which >= 0 and which not in done:
                lines.finish(places[which])
                done.add(which)
            passed = lines.take_passed()
            reached = next(n for n in range(len(places) + 1) if n not in done)
            assert (known if passed is None else passed.offset) == reached
            known = reached
    finally:
        under_way.COMPACT_AT = limit  # type: ignore[misc]


def test_a_line_that_is_not_judged_keeps_no_others() -> None:
    lines = UnderWay()
    lines.add(at(1))
    for number in range(2, 100_000):
        lines.finish(lines.add(at(number)))
    assert len(lines) < 5 * under_way.COMPACT_AT
    assert lines.take_passed() is None
