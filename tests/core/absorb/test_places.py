"""Before the entry it is known that the exits can be placed (rule 2.6)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import POLICY, RICH, RULES, START, make_quote, make_signal

from executor.core.model.events import SignalSeen
from executor.core.model.facts import OrderReport
from executor.core.model.policy import Layout, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.values import Direction, OrderSide, OrderStatus, OrderType
from executor.core.model.verdict import MOVED, Refusal, Verdict
from executor.core.transition import empty, transition

D = Decimal
PLAIN = replace(POLICY, layout=Layout.PLAIN)


def others(*types: OrderType, list_id: int = -1) -> tuple[OrderReport, ...]:
    """Open orders of another program."""
    return tuple(
        OrderReport(
            id=f"web_{n}",
            exchange_id=n,
            side=OrderSide.SELL,
            type=kind,
            status=OrderStatus.NEW,
            qty=D(1),
            list_exchange_id=list_id if list_id < 0 else list_id + n,
        )
        for n, kind in enumerate(types, 1)
    )


def judged(
    rules: SymbolRules,
    orders: tuple[OrderReport, ...] | None = (),
    policy: Policy = POLICY,
    direction: Direction = Direction.LONG,
    reference: Decimal | None = None,
) -> Verdict:
    event = SignalSeen(
        at=START,
        signal=make_signal(direction),
        quote=make_quote(100),
        balances=RICH,
        klines=None,
        open_orders=orders,
        reference=reference,
    )
    return transition(empty("LTCUSDT"), event, policy, rules).verdict


def why(verdict: Verdict) -> str:
    assert isinstance(verdict, Refusal)
    return verdict.why


STOP, LIMIT = OrderType.STOP_LOSS_LIMIT, OrderType.LIMIT


@pytest.mark.parametrize(
    ("limits", "orders", "policy", "filter_name"),
    [
        ({"max_algo_orders": 5}, others(STOP, STOP), POLICY, ""),
        ({"max_algo_orders": 5}, others(STOP, STOP, STOP), POLICY, "MAX_NUM_ALGO_ORDERS"),
        ({"max_algo_orders": 5}, others(OrderType.TAKE_PROFIT, STOP, STOP), POLICY, "MAX_NUM_ALGO_ORDERS"),
        ({"max_algo_orders": 5}, others(LIMIT, LIMIT, LIMIT), POLICY, ""),
        ({"max_algo_orders": 5}, others(STOP, STOP, STOP), PLAIN, ""),
        ({"max_algo_orders": 3}, others(STOP, STOP, STOP), PLAIN, "MAX_NUM_ALGO_ORDERS"),
        ({"max_orders": 7}, others(LIMIT, LIMIT), POLICY, ""),
        ({"max_orders": 7}, others(LIMIT, LIMIT, STOP), POLICY, "MAX_NUM_ORDERS"),
        ({"max_orders": 5}, others(LIMIT, LIMIT), PLAIN, ""),
        ({"max_orders": 5}, others(LIMIT, LIMIT, STOP), PLAIN, "MAX_NUM_ORDERS"),
        ({"max_order_lists": 4}, others(LIMIT, LIMIT, list_id=10), POLICY, ""),
        ({"max_order_lists": 4}, others(LIMIT, LIMIT, STOP, list_id=10), POLICY, "MAX_NUM_ORDER_LISTS"),
        ({"max_order_lists": 1}, (), PLAIN, ""),
    ],
)
def test_places_that_others_have_taken_are_counted(
    limits: dict[str, int], orders: tuple[OrderReport, ...], policy: Policy, filter_name: str
) -> None:
    verdict = judged(replace(RULES, **limits), orders, policy)
    if filter_name:
        assert why(verdict).startswith(f"{filter_name}: the exits need ")
    else:
        assert verdict == MOVED


def test_without_the_open_orders_nothing_is_entered() -> None:
    assert why(judged(RULES, None)) == "the open orders could not be read"


@pytest.mark.parametrize(
    ("band", "direction", "fault"),
    [
        ({"ask_up": D("1.05"), "ask_down": D("0.95")}, Direction.LONG, ""),
        ({"ask_up": D("1.03"), "ask_down": D("0.95")}, Direction.LONG, "TP2: PERCENT_PRICE_BY_SIDE: 104"),
        (
            {"ask_up": D("1.05"), "ask_down": D("0.98")},
            Direction.LONG,
            "the stop's limit: PERCENT_PRICE",
        ),
        ({"bid_up": D("1.05"), "bid_down": D("0.97")}, Direction.SHORT, "TP2: PERCENT_PRICE_BY_SIDE: 96"),
        ({"ask_up": D("1.01"), "ask_down": D("0.99")}, Direction.SHORT, ""),
    ],
)
def test_exits_outside_of_the_band_are_refused_with_the_filter_named(
    band: dict[str, Decimal], direction: Direction, fault: str
) -> None:
    verdict = judged(replace(RULES, **band), direction=direction)
    if fault:
        assert why(verdict).startswith(fault)
    else:
        assert verdict == MOVED


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        (None, ""),
        (D(100), ""),
        (D(96), "TP1: PERCENT_PRICE_BY_SIDE: 102 is outside of 91.20 to 100.80, "),
        (D(105), "the stop's limit: PERCENT_PRICE_BY_SIDE: "),
    ],
)
def test_the_band_is_also_taken_around_the_price_that_the_exchange_reckons_from(
    reference: Decimal | None, fault: str
) -> None:
    """After a jump the average is far from the last price, and comes nearer while the entry waits."""
    verdict = judged(replace(RULES, ask_up=D("1.05"), ask_down=D("0.95")), reference=reference)
    assert why(verdict).startswith(fault) if fault else verdict == MOVED


def test_a_target_worth_more_than_the_filters_allow_is_refused() -> None:
    alone = replace(POLICY, split=(D(1), D(0), D(0)))
    said = why(judged(replace(RULES, max_notional=D(304)), policy=alone))
    assert said == "an exit of 2.997 at 102: NOTIONAL: 305.694 USDT is above the maximum 304"
