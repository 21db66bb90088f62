"""Rule 8.3d: what is signed is chosen before the state is written, and is part of the request on disk."""

import msgspec
import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RULES, START, D, Script, closing, entering, protected, trailing, unprotected

from executor.core.model.events import Commanded, Tick, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.intents import Command, Stamp, placed
from executor.core.model.policy import TrailMode
from executor.core.model.state import Entering, OrderPhase, Owed
from executor.core.transition import transition

STAMPED = replace(POLICY, recv_window_ms=3_000)


def commands(script: Script) -> list[Command]:
    return [request for request in script.pending if isinstance(request, Command)]


def test_a_request_carries_the_exchange_s_time_and_the_window_that_it_is_signed_with() -> None:
    script = entering(policy=STAMPED, working=False)
    (request,) = commands(script)
    assert request.stamp == Stamp(START, 3_000)
    assert request.stamp.fence == START + 3_000


def test_the_stamp_is_the_clock_s_word_not_the_event_s_where_the_two_differ() -> None:
    """An event may have waited, and the state's time never goes back."""
    script = entering(policy=STAMPED)
    step = transition(script.state, Commanded(at=START - 500, verb=Verb.CANCEL_ENTRY), STAMPED, RULES, START + 42)
    (request,) = (r for r in step.requests if isinstance(r, Command))
    assert request.stamp == Stamp(START + 42, 3_000)
    assert step.state.market.now == START


@pytest.mark.parametrize("made", [unprotected, closing, trailing])
def test_whatever_changes_something_is_stamped(made: object) -> None:
    script = made(policy=STAMPED)  # type: ignore[operator]
    script.settle()
    script.quote("106", after=2_000)
    assert all(r.stamp is not None and r.stamp.recv_window == 3_000 for r in script.sent if isinstance(r, Command))


def test_without_a_window_nothing_is_stamped_and_nothing_of_it_is_written() -> None:
    script = entering(working=False)
    (request,) = commands(script)
    assert request.stamp is None
    assert b"stamp" not in msgspec.json.encode(script.state.outbox)


def test_a_request_is_too_old_when_half_of_its_window_has_passed() -> None:
    stamp = Stamp(START, 3_000)
    assert not stamp.too_old(START + 1_500)
    assert stamp.too_old(START + 1_501)


# --- a start ----------------------------------------------------------------------------------------------------------


def test_after_a_start_each_order_s_fence_is_its_own_stamp_s() -> None:
    """Not the start's: whoever sent it may be suspended, and send it yet."""
    script = unprotected(policy=STAMPED)
    asked = {name: r.stamp for r in commands(script) for name in placed(r) if r.stamp is not None}  # type: ignore[arg-type]
    script.now += 60_000
    script.restart()
    doubtful = [o for o in script.position.orders if o.phase is OrderPhase.UNRESOLVED]
    assert len(doubtful) == 5
    assert all(o.fence == asked[o.id].fence == START + 3_000 for o in doubtful)


def test_a_replacement_s_fence_is_its_stamp_s_and_its_old_order_is_only_looked_at() -> None:
    script = trailing(policy=STAMPED)
    script.settle()
    script.quote("106", after=2_000)
    (request,) = commands(script)
    assert request.stamp is not None
    script.now += 10_000
    script.restart()
    new = script.order(Role.TRAIL)
    assert (new.phase, new.fence) == (OrderPhase.UNRESOLVED, request.stamp.fence)
    assert any(o.phase is OrderPhase.WORKING and o.check and o.cancelling for o in script.position.orders)


def test_after_a_start_on_an_older_file_without_stamps_the_fence_is_the_start_s() -> None:
    script = entering(policy=STAMPED, working=False)
    bare = tuple(Owed(owed.at, msgspec.structs.replace(owed.request, stamp=None)) for owed in script.state.outbox)
    script.state = replace(script.state, outbox=bare)
    script.now += 60_000
    script.restart()
    assert script.order(Role.ENTRY).fence == script.now + 5_000


def test_a_fence_that_has_passed_is_not_waited_for_again() -> None:
    """Two looks, the later past the fence and DOUBT_SETTLE_SEC, and the list of all orders: after a long time down all
    come at once.
    """
    script = entering(policy=STAMPED, working=False)
    script.now += 60_000
    script.restart()
    script.accept("QueryOrder")
    script.wait(250)
    assert script.kinds() == ["QueryOrder", "QueryAllOrders"]
    script.accept("QueryAllOrders")
    script.accept("QueryOrder")
    assert "doubt_settled" in script.told()


# --- withdrawn --------------------------------------------------------------------------------------------------------


def test_an_exit_that_was_withdrawn_is_decided_anew_at_once_and_counts_no_try() -> None:
    script = unprotected(policy=STAMPED)
    before = len(commands(script))
    script.now += 2_000
    script.refuse(Why.WITHDRAWN)
    fresh = commands(script)[-1]
    assert len(commands(script)) == before
    assert fresh.stamp == Stamp(script.now, 3_000)
    assert all(leg.tries == 0 for leg in script.position.legs)


def test_an_entry_that_was_withdrawn_is_decided_anew_at_once() -> None:
    script = entering(policy=STAMPED, working=False)
    script.now += 2_000
    script.refuse(Why.WITHDRAWN)
    assert isinstance(script.phase, Entering)
    assert script.kinds() == ["QueryQuote"]  # where the price has gone meanwhile (rule 3.3b)
    script.accept()
    assert script.kinds() == ["ENTRY"]


def test_an_entry_that_was_withdrawn_after_its_timeout_is_not() -> None:
    script = entering(policy=replace(STAMPED, entry_timeout_ms=1_000), working=False)
    script.now += 2_000
    script.refuse(Why.WITHDRAWN)
    assert "ENTRY" not in script.kinds()


def test_a_market_order_to_close_that_was_withdrawn_is_decided_anew_at_once() -> None:
    script = closing(policy=STAMPED)
    while script.kinds() != ["FLATTEN"]:
        script.accept()
    script.now += 2_000
    script.refuse(Why.WITHDRAWN)
    looks = script.kinds()
    assert set(looks) == {"QueryOrder"}  # what its predecessors may have sold after all (rule 6.3)
    for _ in looks:
        script.accept()
    assert script.kinds() == ["FLATTEN"]


def test_a_cancel_that_was_withdrawn_is_looked_at_before_it_is_asked_for_again() -> None:
    script = closing(policy=STAMPED)
    script.now += 2_000
    script.refuse(Why.WITHDRAWN)
    assert "QueryOrder" in script.kinds()
    script.settle()
    script.sleep()
    script.settle()
    assert script.state.position is None


def test_a_trailing_order_that_was_withdrawn_does_not_end_the_exchange_s_trailing() -> None:
    script = trailing(policy=replace(STAMPED, trail_mode=TrailMode.NATIVE))
    assert any(o.trailing_delta for o in script.position.orders)
    script = protected(policy=replace(STAMPED, trail_mode=TrailMode.NATIVE))
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.quote("104.1", after=1_000)
    script.fill(Role.TP2)
    while not any(kind.startswith("replace") for kind in script.kinds()):
        script.accept()
    script.now += 2_000
    script.refuse(Why.WITHDRAWN)
    for _ in range(5):
        script.settle()
        script.quote(D("104.1"), after=2_000)
    assert any(o.trailing_delta and o.live for o in script.position.orders)


def test_time_alone_changes_no_stamp_that_is_on_disk() -> None:
    script = entering(policy=STAMPED, working=False)
    owed = script.state.outbox
    script.feed(Tick(at=START + 900))
    assert script.state.outbox == owed
