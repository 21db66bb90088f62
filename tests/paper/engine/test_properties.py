"""Whatever is asked of the engine, in any order: the books add up, and the same requests give the same events."""

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.paper.engine.audit import Audit
from tests.paper.engine.desk import LTC, T0, d, row

from executor.core.values import OrderSide, OrderType, TimeInForce
from executor.paper.engine import Engine
from executor.paper.liquidity import LiquidityModel
from executor.paper.model import (
    CancelReplace,
    CancelReplaceMode,
    CancelRestriction,
    CommissionRates,
    Leg,
    NewOco,
    NewOrder,
    NewOto,
    NewOtoco,
    Reject,
    StpMode,
)
from executor.paper.symbol import Symbol

ACCOUNTS = ("ann", "bob")
DEPOSITS = {
    "ann": {"USDT": d(2_000), "LTC": d(25), "BNB": d("0.003")},
    "bob": {"USDT": d(100_000), "LTC": d(1_000)},
}
Operation = tuple[Callable[..., object], tuple[Any, ...]]

prices = st.integers(min_value=7_985, max_value=8_015).map(lambda ticks: Decimal(ticks) / 100)
quantities = st.sampled_from([100, 999, 1_000, 2_500, 7_777, 20_000]).map(lambda steps: Decimal(steps) / 1000)
sides = st.sampled_from(OrderSide)
types = st.sampled_from(OrderType)
accounts = st.sampled_from(ACCOUNTS)
client_ids = st.sampled_from([None, *(f"id{number}" for number in range(6))])
order_ids = st.integers(min_value=1, max_value=15)
deltas = st.sampled_from([10, 12, 50])


@st.composite
def new_orders(draw: st.DrawFn, kinds: st.SearchStrategy[OrderType] = types) -> NewOrder:
    kind, side = draw(kinds), draw(sides)
    limit = kind not in {OrderType.MARKET, OrderType.STOP_LOSS, OrderType.TAKE_PROFIT}
    algo = kind not in {OrderType.MARKET, OrderType.LIMIT, OrderType.LIMIT_MAKER}
    by_quote = kind is OrderType.MARKET and draw(st.booleans())
    delta = draw(st.none() | deltas) if algo else None
    return NewOrder(
        symbol=LTC,
        side=side,
        type=kind,
        quantity=None if by_quote else draw(quantities),
        quote_order_qty=draw(quantities) * 40 if by_quote else None,
        price=draw(prices) if limit else None,
        stop_price=draw(prices) if algo and (delta is None or draw(st.booleans())) else None,
        trailing_delta=delta,
        time_in_force=draw(st.sampled_from(TimeInForce)) if limit and kind is not OrderType.LIMIT_MAKER else None,
        client_order_id=draw(client_ids),
        stp_mode=draw(st.none() | st.sampled_from(StpMode)),
    )


@st.composite
def legs(draw: st.DrawFn, kinds: list[OrderType]) -> Leg:
    order = draw(new_orders(st.sampled_from(kinds)))
    return Leg(
        type=order.type,
        price=order.price,
        stop_price=order.stop_price,
        trailing_delta=order.trailing_delta,
        time_in_force=order.time_in_force,
    )


targets = legs([OrderType.LIMIT_MAKER, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT])
stops = legs([OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT])


@st.composite
def ocos(draw: st.DrawFn) -> NewOco:
    side = draw(sides)
    target, stop = draw(targets), draw(stops)
    above, below = (target, stop) if side is OrderSide.SELL else (stop, target)
    return NewOco(symbol=LTC, side=side, quantity=draw(quantities), above=above, below=below)


@st.composite
def otos(draw: st.DrawFn) -> NewOto:
    pays_out = draw(st.booleans())
    working = draw(new_orders(st.sampled_from([OrderType.LIMIT, OrderType.LIMIT_MAKER])))
    pending = draw(new_orders())
    if pays_out:
        working.side, pending.side, pending.quantity = OrderSide.BUY, OrderSide.SELL, None
    return NewOto(working=working, pending=pending, pays_out=pays_out)


@st.composite
def otocos(draw: st.DrawFn) -> NewOtoco:
    working = draw(new_orders(st.sampled_from([OrderType.LIMIT, OrderType.LIMIT_MAKER])))
    side = draw(sides)
    quantity = draw(st.none() | quantities)
    if quantity is None:
        working.side, side = OrderSide.BUY, OrderSide.SELL
    target, stop = draw(targets), draw(stops)
    above, below = (target, stop) if side is OrderSide.SELL else (stop, target)
    return NewOtoco(
        working=working, pending_side=side, pending_quantity=quantity, pending_above=above, pending_below=below
    )


def cancel(engine: Engine, account: str, order_id: int, restriction: CancelRestriction | None, now: int) -> None:
    engine.cancel_order(account, LTC, now, order_id=order_id, restrictions=restriction)


def amend(engine: Engine, account: str, order_id: int, quantity: Decimal, client_id: str | None, now: int) -> None:
    engine.amend_order(account, LTC, quantity, now, order_id=order_id, new_client_order_id=client_id)


def replace(engine: Engine, account: str, order_id: int, mode: CancelReplaceMode, order: NewOrder, now: int) -> None:
    engine.cancel_replace(account, CancelReplace(mode=mode, new_order=order, cancel_order_id=order_id), now)


def cancel_list(engine: Engine, account: str, list_id: int, now: int) -> None:
    engine.cancel_order_list(account, LTC, now, order_list_id=list_id)


def trade(engine: Engine, price: Decimal, quantity: Decimal, buyer_is_maker: bool, now: int) -> None:
    engine.on_trade(LTC, now - T0, price, quantity, buyer_is_maker, now)


def quote(engine: Engine, bid: Decimal, quantity: Decimal, now: int) -> None:
    engine.on_quote(LTC, bid, quantity, bid + d("0.02"), quantity, now)


operations: st.SearchStrategy[Operation] = st.one_of(
    st.tuples(st.just(trade), st.tuples(prices, quantities, st.booleans())),
    st.tuples(st.just(trade), st.tuples(prices, quantities, st.booleans())),
    st.tuples(st.just(trade), st.tuples(prices, quantities, st.booleans())),
    st.tuples(st.just(quote), st.tuples(prices, quantities)),
    st.tuples(st.just(Engine.place_order), st.tuples(accounts, new_orders())),
    st.tuples(st.just(Engine.place_order), st.tuples(accounts, new_orders())),
    st.tuples(st.just(Engine.place_oco), st.tuples(accounts, ocos())),
    st.tuples(st.just(Engine.place_oto), st.tuples(accounts, otos())),
    st.tuples(st.just(Engine.place_otoco), st.tuples(accounts, otocos())),
    st.tuples(st.just(cancel), st.tuples(accounts, order_ids, st.none() | st.sampled_from(CancelRestriction))),
    st.tuples(st.just(cancel_list), st.tuples(accounts, st.integers(min_value=1, max_value=6))),
    st.tuples(st.just(amend), st.tuples(accounts, order_ids, quantities, client_ids)),
    st.tuples(st.just(replace), st.tuples(accounts, order_ids, st.sampled_from(CancelReplaceMode), new_orders())),
    st.tuples(st.just(Engine.cancel_open_orders), st.tuples(accounts, st.just(LTC))),
)

liquidity_models = st.sampled_from(
    [LiquidityModel(), LiquidityModel.unlimited(), LiquidityModel.tight(d(400), 3), LiquidityModel.tight(d(90), 1)]
)


def new_engine(liquidity: LiquidityModel) -> Engine:
    rules = row(filters=[{"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 12}])
    engine = Engine([Symbol.from_exchange_info(rules)], liquidity=liquidity)
    for name, balances in DEPOSITS.items():
        engine.open_account(name, balances, bnb_burn=True)
    engine.set_bnb_price("USDT", d(600))
    engine.set_commission("bob", LTC, CommissionRates(maker=d("0.00075"), taker=d("0.00123456"), buyer=d("0.0001")))
    engine.on_trade(LTC, 1, d("80.00"), d(10), True, T0)
    return engine


def run(liquidity: LiquidityModel, steps: list[Operation], after: Callable[[Engine], None]) -> Engine:
    engine = new_engine(liquidity)
    for number, (operation, arguments) in enumerate(steps, 1):
        with suppress(Reject):
            operation(engine, *arguments, T0 + number * 7)
        after(engine)
    return engine


@settings(max_examples=250, deadline=None)
@given(liquidity=liquidity_models, steps=st.lists(operations, min_size=5, max_size=40))
def test_whatever_is_asked_the_books_add_up(liquidity: LiquidityModel, steps: list[Operation]) -> None:
    audit: Audit | None = None

    def check(engine: Engine) -> None:
        nonlocal audit
        audit = audit or Audit(engine, DEPOSITS)
        audit.check()

    run(liquidity, steps, check)


@settings(max_examples=60, deadline=None)
@given(liquidity=liquidity_models, steps=st.lists(operations, min_size=5, max_size=40))
def test_the_same_requests_give_the_same_events(liquidity: LiquidityModel, steps: list[Operation]) -> None:
    def events(engine: Engine) -> str:
        return repr([engine.drain_events(name) for name in ACCOUNTS])

    first = events(run(liquidity, steps, lambda _: None))
    assert events(run(liquidity, steps, lambda _: None)) == first


@settings(max_examples=150, deadline=None)
@given(liquidity=liquidity_models, steps=st.lists(operations, max_size=25), last=operations)
def test_a_refused_request_changes_nothing(liquidity: LiquidityModel, steps: list[Operation], last: Operation) -> None:
    engine = run(liquidity, steps, lambda _: None)
    for name in ACCOUNTS:
        engine.drain_events(name)

    def look() -> str:
        return repr(
            [(engine.open_orders(name), engine.balances(name), engine.open_order_lists(name)) for name in ACCOUNTS]
        )

    before = look()
    operation, arguments = last
    try:
        operation(engine, *arguments, T0 + 10_000)
    except Reject:
        assert look() == before
        assert [engine.drain_events(name) for name in ACCOUNTS] == [[], []]
