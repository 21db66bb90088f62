"""The comparison with the exchange, over whole simulated days and over every way to be wrong."""

from collections import Counter
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.ops.samples import Walk, rules

from executor.core.model.facts import OrderReport
from executor.core.model.intents import CancelOrder
from executor.core.model.policy import Layout, Policy, TrailMode
from executor.core.model.state import OrderPhase, Owed, Protected, State
from executor.core.model.values import OrderSide, OrderStatus, OrderType
from executor.core.transition import empty
from executor.ops.check import Check, Kind, as_text, check

POLICY = Policy(notional=Decimal(100), allow_short=True)


def look(walk: Walk) -> Check:
    return check(walk.session.state, walk.direct.open_orders(), walk.session.policy, rules())


def resizing(state: State) -> bool:
    """An interim stop may wait a second before it follows the entry's next fill (rule 3.5)."""
    assert state.position is not None
    since = state.position.exposure.since
    return since > 0 and state.market.now - since <= 1_000


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("trail", TrailMode)
def test_whatever_the_market_does_the_exits_are_as_expected(layout: Layout, trail: TrailMode) -> None:
    walk = Walk(replace(POLICY, layout=layout, trail_mode=trail))
    seen: Counter[tuple[int, int]] = Counter()
    state: State | None = None
    for _ in walk.steps():
        if state is not None and state.position is walk.session.state.position:
            continue  # nothing new to compare
        state = walk.session.state
        found = look(walk)
        assert all(each.kind is Kind.BARE and resizing(state) for each in found.faults), as_text(found)
        if found.settled and state.position is not None and isinstance(state.position.phase, Protected):
            seen[found.exits, found.open] += 1
    flat = look(walk)
    assert (flat.sound, flat.exits, flat.open, flat.phase) == (True, 0, 0, "flat")
    # Rule 4.5: three exits in five open orders with OCO and BRACKET, in three with PLAIN; then two; then one.
    wanted = {(3, 5), (2, 3), (1, 1)} if layout is not Layout.PLAIN else {(3, 3), (2, 2), (1, 1)}
    assert wanted <= seen.keys()


@pytest.fixture(scope="module")
def covered() -> tuple[State, tuple[OrderReport, ...]]:
    """A long right after its entry, all three exits out."""
    walk = Walk(POLICY)
    for _ in walk.steps():
        if look(walk).exits == 3:
            break
    return walk.session.state, walk.direct.open_orders()


def kinds(found: Check) -> set[Kind]:
    return {each.kind for each in found.findings}


Open = tuple[State, tuple[OrderReport, ...]]


def test_as_expected(covered: Open) -> None:
    found = check(*covered, POLICY, rules())
    assert (found.sound, found.settled, found.findings) == (True, True, ())
    assert "as expected" in as_text(found)


@pytest.mark.parametrize("gone", range(5))
def test_any_order_that_is_missing_is_named(covered: Open, gone: int) -> None:
    state, orders = covered
    found = check(state, (*orders[:gone], *orders[gone + 1 :]), POLICY, rules())
    assert not found.sound
    missing = [each for each in found.findings if each.kind is Kind.MISSING]
    assert [each.order for each in missing] == [orders[gone].id]
    assert "not as expected" in as_text(found)
    assert orders[gone].id in as_text(found)


def stray(name: str) -> OrderReport:
    return OrderReport(
        id=name,
        exchange_id=99,
        side=OrderSide.SELL,
        type=OrderType.LIMIT,
        status=OrderStatus.NEW,
        qty=Decimal(1),
        price=Decimal(90),
    )


def test_orders_that_ought_not_to_be_there(covered: Open) -> None:
    state, orders = covered
    assert state.position is not None
    own = check(state, (*orders, stray(f"EX_{state.position.trade}_TP1_99")), POLICY, rules())
    assert Kind.EXTRA in kinds(own)
    foreign = check(state, (*orders, stray("EX_1_TP1_1")), POLICY, rules())
    assert Kind.FOREIGN in kinds(foreign)
    unreadable = check(state, (*orders, stray("EX_what")), POLICY, rules())
    assert Kind.FOREIGN in kinds(unreadable)
    others = check(state, (*orders, stray("web_1")), POLICY, rules())
    assert (kinds(others), others.sound, others.open) == ({Kind.NOTE}, True, 5)


def test_no_trade_no_orders() -> None:
    found = check(empty("LTCUSDT"), (stray("EX_1_SL_1"),), POLICY, rules())
    assert (kinds(found), found.sound, found.open) == ({Kind.FOREIGN}, False, 1)
    assert check(empty("LTCUSDT"), (), POLICY, rules()).sound


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("qty", Decimal("0.001")),
        ("stop_price", Decimal(1)),
        ("price", Decimal(1)),
        ("side", OrderSide.BUY),
        ("type", OrderType.MARKET),
    ],
)
def test_an_order_that_is_not_as_it_was_sent(covered: Open, field: str, value: object) -> None:
    state, orders = covered
    wrong = replace(orders[-1], **{field: value})
    found = check(state, (*orders[:-1], wrong), POLICY, rules())
    assert Kind.DIFFERENT in kinds(found)
    assert not found.sound


def test_what_ended_and_is_still_open(covered: Open) -> None:
    state, orders = covered
    assert state.position is not None
    ended = tuple(
        replace(order, phase=OrderPhase.CLOSED, end="canceled") if order.id == orders[-1].id else order
        for order in state.position.orders
    )
    found = check(replace(state, position=replace(state.position, orders=ended)), orders, POLICY, rules())
    assert {Kind.EXTRA, Kind.BARE} <= kinds(found)


def test_a_request_under_way_leaves_the_question_open(covered: Open) -> None:
    state, orders = covered
    owed = replace(state, outbox=(Owed(1, CancelOrder(seq=1, id=orders[0].id)),))
    found = check(owed, orders, POLICY, rules())
    assert (found.sound, found.settled) == (True, False)
    assert "changing right now" in as_text(found)
    recovering = check(replace(state, started=1), orders, POLICY, rules())
    assert not recovering.settled


def test_a_broken_invariant_is_found(covered: Open) -> None:
    state, orders = covered
    assert state.position is not None
    plan = replace(state.position.plan, qty=Decimal("0.001"))
    found = check(replace(state, position=replace(state.position, plan=plan)), orders, POLICY, rules())
    assert Kind.INVARIANT in kinds(found)
