import json
from decimal import Decimal

import msgspec
import pytest
from msgspec.structs import replace
from tests.ops.samples import Walk, closed, rules

from executor.core.absorb.admit import DAY_MS
from executor.core.model.policy import Layout, Policy
from executor.core.model.state import Day, Market, State
from executor.core.model.values import ZERO, Direction
from executor.ops import status, text

POLICY = Policy(notional=Decimal(100), allow_short=True)


@pytest.mark.parametrize("layout", Layout)
def test_the_state_file_alone_tells_what_the_service_does(layout: Layout) -> None:
    """With the symbol's rules unknown, held and covered come out the same through whole trades."""
    walk = Walk(replace(POLICY, layout=layout))
    before: object = None
    seen = 0
    for _ in walk.steps():
        state = walk.session.state
        if state.position is None or state.position.orders == before:
            continue
        before = state.position.orders
        there = status.status_of(state, rules(), running=True, now=state.market.now).position
        here = status.status_of(state, None, running=False, now=state.market.now).position
        assert there is not None
        assert here is not None
        assert Decimal(there.covered) == Decimal(here.covered)
        if any(order.fills for order in state.position.orders):
            assert Decimal(there.held) == Decimal(here.held)
            assert Decimal(there.unprotected) == Decimal(here.unprotected)
            seen += 1
    assert seen > 15


def test_json_is_stable_and_plain() -> None:
    walk = Walk(POLICY)
    for _ in walk.steps():
        if walk.session.state.position is not None and walk.session.state.position.trail is not None:
            break
    found = status.status_of(walk.session.state, rules(), running=True, now=walk.session.state.market.now)
    told = json.loads(text.json(found))
    assert set(told) == {
        "symbol",
        "running",
        "at",
        "recovering",
        "paused",
        "halted",
        "last_price",
        "position",
        "last_closed",
        "cooldown_until",
        "trades_today",
        "pnl_today",
        "refused",
        "requests_open",
        "margin",
    }
    assert msgspec.convert(told, status.Status) == found
    assert "live stop" in status.as_text(found)


def test_the_live_stop_is_the_one_reached_first() -> None:
    walk = Walk(POLICY)
    for _ in walk.steps():
        position = walk.session.state.position
        if position is None:
            continue
        stops = {o.stop_price for o in position.orders if o.live and o.is_stop and o.stop_price is not None}
        if len(stops) > 1:
            sign = position.plan.direction.sign
            assert status.live_stop(position) == max(stops, key=lambda price: sign * price)
            return
        assert status.live_stop(position) == (stops.pop() if stops else None)


@pytest.mark.parametrize("direction", Direction)
def test_how_far_the_price_is_from_the_entry(direction: Direction) -> None:
    """In the plan's R, towards profit on either side; nothing before there is a fill."""
    walk = Walk(POLICY)
    seen = 0
    for _ in walk.steps():
        state = walk.session.state
        position, quote = state.position, state.market.quote
        if position is None or quote is None or position.plan.direction is not direction:
            continue
        found = status.status_of(state, rules(), running=True, now=state.market.now).position
        assert found is not None
        if found.entry_avg is None:
            assert found.price_r is None
            continue
        plan = position.plan
        away = direction.sign * (quote.last - Decimal(found.entry_avg)) / abs(plan.entry - plan.stop)
        assert found.price_r is not None
        assert abs(Decimal(found.price_r) - away) <= Decimal("0.005")
        seen += 1
    assert seen > 15


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State(symbol="LTCUSDT"), "allowed"),
        (State(symbol="LTCUSDT", paused=True), "paused"),
        (State(symbol="LTCUSDT", halted="10.1: what"), "halted: 10.1: what"),
        (State(symbol="LTCUSDT", cooldown_until=1_750_000_000_000), "cooldown until 2025-06-15T15:06:40.000Z"),
        (State(symbol="LTCUSDT", last_closed=closed()), "long SL: -0.5662085, -1.5432 R"),
        (State(symbol="LTCUSDT", refused={"too_old": 2}), "2 too_old"),
        (State(symbol="LTCUSDT", day=Day(1, 3, Decimal("-1.5")), market=Market(now=DAY_MS)), "3 trades, -1.5 profit"),
        (State(symbol="LTCUSDT", day=Day(1, 3, Decimal("-1.5")), market=Market(now=2 * DAY_MS)), "0 trades, 0 profit"),
        (State(symbol="LTCUSDT", cooldown_until=1, market=Market(now=2)), "allowed"),
        (State(symbol="LTCUSDT", started=1), "not running"),
    ],
)
def test_what_is_said(state: State, said: str) -> None:
    assert said in status.as_text(status.status_of(state, None, running=False, now=state.market.now))


def test_a_start_that_is_not_done() -> None:
    found = status.status_of(State(symbol="LTCUSDT", started=1), rules(), running=True, now=1)
    assert found.recovering
    assert "looking up its orders" in status.as_text(found)
    assert Decimal(found.pnl_today) == ZERO
