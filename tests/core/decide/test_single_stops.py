from decimal import Decimal

from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, RULES, both_sides, entering, protected, trailing, unprotected

from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.policy import Layout
from executor.core.model.state import Closing, Leave, Protected, Reason
from executor.core.model.values import Direction, OrderStatus

D = Decimal
PLAIN = replace(POLICY, layout=Layout.PLAIN)


@both_sides
def test_a_stop_refused_past_its_level_is_sold_at_market_at_once(direction: Direction) -> None:
    """Rules 4.6, 6.5."""
    script = unprotected(direction)
    script.quote("97.5")
    script.refuse(Why.WOULD_TRIGGER, "SL")
    assert script.leg(3).leave is Leave.STOP
    assert script.kinds()[-1] == "FLATTEN"
    script.accept("FLATTEN")
    assert script.order(Role.FLATTEN).leg == 3


@both_sides
def test_a_stop_that_does_not_fill_in_its_grace_is_cancelled_and_sold_at_market(direction: Direction) -> None:
    """Rules 6.2, 6.4, 6.5."""
    script = protected(direction)
    script.quote("97", after=1_000)
    assert script.kinds() == []
    script.wait(3_000)
    assert script.kinds() == ["CancelList", "CancelList", "CancelOrder"]
    script.settle()
    assert script.closed.reason is Reason.SL
    assert script.closed.exit_slippage > 0


def test_a_price_that_comes_back_within_the_grace_sells_nothing() -> None:
    script = protected()
    script.quote("98", after=1_000)
    script.quote("98.1", after=2_999)
    script.wait(10_000)
    assert script.kinds() == []


@both_sides
def test_the_plain_stop_covers_the_whole_as_soon_as_the_entry_is_complete(direction: Direction) -> None:
    """Rules 3.5, 4.1: the pause between two interim stops is over with the entry."""
    script = entering(direction, PLAIN)
    script.fill(Role.ENTRY, "1")
    script.settle()
    covered = script.order(Role.SL).qty
    script.fill(Role.ENTRY)
    assert script.kinds() == ["TP1", "TP2", "replace SL"]
    assert script.order(Role.SL).qty == sum(script.position.split) > covered
    script.settle()
    assert script.live() == ["SL", "TP1", "TP2"]
    assert isinstance(script.phase, Protected)


@both_sides
def test_without_cancel_replace_a_stop_is_cancelled_and_placed_anew(direction: Direction) -> None:
    """Rules 5.4, 5.5: as often as it may, and never further back."""
    script = trailing(direction, rules=replace(RULES, cancel_replace_allowed=False))
    script.settle()
    script.quote("110", after=2_000)
    assert script.kinds() == ["CancelOrder"]
    script.quote("111")
    script.accept()
    assert script.kinds() == ["TRAIL"]
    assert script.order(Role.TRAIL).stop_price == script.px("109")
    script.settle()
    script.quote("112", after=500)
    assert script.kinds() == []
    script.wait(500)
    assert script.kinds() == ["CancelOrder"]
    script.settle()
    assert script.order(Role.TRAIL).stop_price == script.px("110")


@both_sides
def test_without_cancel_replace_the_interim_stop_follows_as_well(direction: Direction) -> None:
    """Rule 3.5."""
    script = entering(direction, rules=replace(RULES, cancel_replace_allowed=False))
    script.fill(Role.ENTRY, "1")
    script.settle()
    script.fill(Role.ENTRY, "1")
    script.wait(1_000)
    assert script.kinds() == ["CancelOrder"]
    script.accept()
    assert script.kinds() == ["SL"]
    assert script.order(Role.SL).qty == script.rules.whole(2 * (1 - script.rules.taker_fee * direction.is_long))


def test_the_plain_stop_that_fails_closes_the_whole_trade() -> None:
    """Rule 6.5."""
    script = protected(policy=PLAIN)
    script.quote("97", after=1_000)
    script.wait(3_000)
    assert isinstance(script.phase, Closing)
    script.settle()
    assert script.closed.reason is Reason.SL
    assert abs(script.closed.dust) < D("0.001")


def test_the_plain_stop_trails_what_the_targets_leave() -> None:
    """Rules 5.2, 5.4."""
    script = protected(policy=PLAIN)
    script.quote("104", after=1_000)
    for role in (Role.TP1, Role.TP2):
        script.fill(role)
    script.settle()
    script.quote("110", after=1_000)
    script.settle()
    assert script.live() == ["TRAIL"]
    stop = script.order(Role.TRAIL)
    assert (stop.qty, stop.stop_price) == (D("0.999"), D(108))
    script.quote("108", after=1_000)
    script.fill(Role.TRAIL)
    script.settle()
    assert script.closed.reason is Reason.TRAIL


def test_the_plain_stop_is_dismissed_when_the_targets_have_sold_everything() -> None:
    """Rule 6.1."""
    script = protected(policy=replace(PLAIN, split=(D(1), D(1), D(0))))
    script.quote("104", after=1_000)
    script.fill(Role.TP1)
    script.fill(Role.TP2)
    script.settle()
    assert script.closed.reason is Reason.TP
    assert all(r.status != "NEW" for r in script.book.values())


@both_sides
def test_a_move_that_fails_puts_the_stop_back_at_its_old_level(direction: Direction) -> None:
    """Rule 5.5: cancelled, but the new one refused."""
    script = trailing(direction)
    script.settle()
    before = script.leg(3).stop
    script.quote("106", after=2_000)
    assert script.kinds() == ["replace TRAIL"]
    script.refuse(Why.WOULD_TRIGGER)
    assert script.leg(3).stop == before
    assert script.kinds()[-1] in ("SL", "TRAIL")
    assert script.order(Role.SL).stop_price == before or script.order(Role.TRAIL).stop_price == before


@both_sides
def test_a_move_that_finds_the_stop_filled_counts_the_fill(direction: Direction) -> None:
    """Rule 5.5: the cancel failed because it filled."""
    script = trailing(direction)
    script.settle()
    script.quote("106", after=2_000)
    assert script.kinds() == ["replace TRAIL"]
    script.execute(script.orders(Role.TRAIL)[-2].id)
    script.settle()
    assert script.closed.reason is Reason.TRAIL


@both_sides
def test_on_margin_a_stop_that_was_moved_is_looked_at_once_more_when_the_next_stands(direction: Direction) -> None:
    """Rules 6.3, 11.5: its cancel may have told less than it had traded, and no lock keeps a short's second one out."""
    script = trailing(direction, POLICY, MARGIN_RULES)
    first = script.position.orders[-1]
    script.quote("108", after=6_000)
    assert script.kinds() == ["CancelOrder"]
    script.accept("CancelOrder")
    assert script.kinds() == ["TRAIL"]
    script.execute(first.id, "0.5")
    script.book[first.id] = replace(script.book[first.id], status=OrderStatus.CANCELED)
    script.accept("TRAIL")
    assert script.kinds() == ["QueryOrder"]
    script.now += 10
    script.settle()
    [stop] = [o for o in script.position.orders if o.live]
    assert abs(stop.qty - (first.qty - D("0.5"))) <= MARGIN_RULES.step
    assert not any(o.recheck for o in script.position.orders)
