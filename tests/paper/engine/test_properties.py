"""Whatever is asked of the engine, in any order: the books add up, and the same requests give the same events."""

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.paper.engine.audit import Audit
from tests.paper.engine.client import LTC, T0, d, row

from executor.core.model.values import OrderSide, OrderType, TimeInForce
from executor.paper.engine.book import fires_on_fall
from executor.paper.engine.exchange import Engine
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.model import (
    CancelReplace,
    CancelReplaceMode,
    CancelRestriction,
    CommissionRates,
    Leg,
    NewOco,
    NewOrder,
    NewOto,
    NewOtoco,
    Order,
    Reject,
    StpMode,
)
from executor.paper.engine.symbol import Symbol

ACCOUNTS = ("ann", "bob")
DEPOSITS = {
    "ann": {"USDT": d(700), "LTC": d(9), "BNB": d("0.003")},
    "bob": {"USDT": d(100_000), "LTC": d(1_000)},
}
BASE = d(80)
"""Requests are drawn around this price and moved to the last one when sent, so that most of them make sense."""

Operation = tuple[Callable[..., object], tuple[Any, ...]]

near = st.integers(min_value=-6, max_value=6).map(lambda ticks: BASE + Decimal(ticks) / 100)
away = st.sampled_from([-1, 1, 2, 3, 4, 5, 6]).map(lambda ticks: Decimal(ticks) / 100)
quantities = st.sampled_from(["0.100", "0.999", "1.000", "2.500", "7.777"]).map(Decimal)
sides = st.sampled_from(OrderSide)
types = st.sampled_from(OrderType)
accounts = st.sampled_from(ACCOUNTS)
client_ids = st.sampled_from([None, None, *(f"id{number}" for number in range(6))])
nth = st.integers(min_value=0, max_value=5)
deltas = st.sampled_from([10, 12, 15])


@st.composite
def new_orders(draw: st.DrawFn, kinds: st.SearchStrategy[OrderType] = types, side: OrderSide | None = None) -> NewOrder:
    kind = draw(kinds)
    side = side or draw(sides)
    limit = kind not in {OrderType.MARKET, OrderType.STOP_LOSS, OrderType.TAKE_PROFIT}
    algo = kind not in {OrderType.MARKET, OrderType.LIMIT, OrderType.LIMIT_MAKER}
    by_quote = kind is OrderType.MARKET and draw(st.booleans())
    delta = draw(st.none() | st.none() | deltas) if algo else None
    falls = fires_on_fall(side, kind)
    stop = BASE + (-draw(away) if falls else draw(away))
    price = draw(near)
    if kind is OrderType.LIMIT_MAKER:
        price = BASE + (-draw(away) if side is OrderSide.BUY else draw(away))
    return NewOrder(
        symbol=LTC,
        side=side,
        type=kind,
        quantity=None if by_quote else draw(quantities),
        quote_order_qty=draw(quantities) * 40 if by_quote else None,
        price=price if limit else None,
        stop_price=stop if algo and (delta is None or draw(st.booleans())) else None,
        trailing_delta=delta,
        time_in_force=(
            draw(st.sampled_from([TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]))
            if limit and kind is not OrderType.LIMIT_MAKER
            else None
        ),
        client_order_id=draw(client_ids),
        stp_mode=draw(st.none() | st.sampled_from(StpMode)),
    )


@st.composite
def legs(draw: st.DrawFn, kinds: list[OrderType], side: OrderSide) -> Leg:
    order = draw(new_orders(st.sampled_from(kinds), side))
    return Leg(
        type=order.type,
        price=order.price,
        stop_price=order.stop_price,
        trailing_delta=order.trailing_delta,
        time_in_force=order.time_in_force,
    )


@st.composite
def pairs(draw: st.DrawFn, side: OrderSide) -> tuple[Leg, Leg]:
    maker = OrderType.LIMIT_MAKER
    target = draw(legs([maker, maker, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT], side))
    stop = draw(legs([OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT], side))
    return (target, stop) if side is OrderSide.SELL else (stop, target)


@st.composite
def ocos(draw: st.DrawFn) -> NewOco:
    side = draw(sides)
    above, below = draw(pairs(side))
    return NewOco(symbol=LTC, side=side, quantity=draw(quantities), above=above, below=below)


working_orders = st.sampled_from([OrderType.LIMIT, OrderType.LIMIT, OrderType.LIMIT_MAKER])


@st.composite
def otos(draw: st.DrawFn) -> NewOto:
    pays_out = draw(st.booleans())
    working = draw(new_orders(working_orders, OrderSide.BUY if pays_out else None))
    pending = draw(new_orders(side=OrderSide.SELL if pays_out else None))
    if pays_out:
        pending.quantity = pending.quote_order_qty = None
    return NewOto(working=working, pending=pending, pays_out=pays_out)


@st.composite
def otocos(draw: st.DrawFn) -> NewOtoco:
    quantity = draw(st.none() | quantities)
    working = draw(new_orders(working_orders, OrderSide.BUY if quantity is None else None))
    side = OrderSide.SELL if quantity is None else draw(sides)
    above, below = draw(pairs(side))
    return NewOtoco(
        working=working, pending_side=side, pending_quantity=quantity, pending_above=above, pending_below=below
    )


def moved(order: Any, distance: Decimal) -> Any:
    """A copy of an order or leg with its prices moved."""
    return replace(
        order,
        price=None if order.price is None else order.price + distance,
        stop_price=None if order.stop_price is None else order.stop_price + distance,
    )


def from_base(engine: Engine) -> Decimal:
    return (engine.last_price(LTC) or BASE) - BASE


def place(engine: Engine, account: str, order: NewOrder, now: int) -> None:
    engine.place_order(account, moved(order, from_base(engine)), now)


def place_oco(engine: Engine, account: str, asked: NewOco, now: int) -> None:
    far = from_base(engine)
    engine.place_oco(account, replace(asked, above=moved(asked.above, far), below=moved(asked.below, far)), now)


def place_oto(engine: Engine, account: str, asked: NewOto, now: int) -> None:
    far = from_base(engine)
    engine.place_oto(account, replace(asked, working=moved(asked.working, far), pending=moved(asked.pending, far)), now)


def place_otoco(engine: Engine, account: str, asked: NewOtoco, now: int) -> None:
    far = from_base(engine)
    above, below = moved(asked.pending_above, far), moved(asked.pending_below, far)
    engine.place_otoco(
        account, replace(asked, working=moved(asked.working, far), pending_above=above, pending_below=below), now
    )


def live(engine: Engine, account: str, number: int) -> Order:
    """One of the account's open orders; an unknown one if it has none."""
    orders = engine.open_orders(account, LTC)
    if not orders:
        raise Reject(-2013, "nothing to choose from")
    return orders[number % len(orders)]


def cancel(engine: Engine, account: str, number: int, restriction: CancelRestriction | None, now: int) -> None:
    order = live(engine, account, number)
    engine.cancel_order(account, LTC, now, order_id=order.order_id, restrictions=restriction)


def cancel_unknown(engine: Engine, account: str, order_id: int, now: int) -> None:
    engine.cancel_order(account, LTC, now, order_id=order_id)


def amend(engine: Engine, account: str, number: int, quantity: Decimal, client_id: str | None, now: int) -> None:
    order = live(engine, account, number)
    engine.amend_order(account, LTC, quantity, now, order_id=order.order_id, new_client_order_id=client_id)


def cancel_replace(
    engine: Engine, account: str, number: int, mode: CancelReplaceMode, order: NewOrder, now: int
) -> None:
    old = live(engine, account, number)
    new = moved(order, from_base(engine))
    engine.cancel_replace(account, CancelReplace(mode=mode, new_order=new, cancel_order_id=old.order_id), now)


def cancel_list(engine: Engine, account: str, number: int, now: int) -> None:
    lists = engine.open_order_lists(account)
    if lists:
        list_id = lists[number % len(lists)].order_list_id
        engine.cancel_order_list(account, LTC, now, order_list_id=list_id)


def trade(engine: Engine, price: Decimal, quantity: Decimal, buyer_is_maker: bool, now: int) -> None:
    engine.on_trade(LTC, now - T0, price + from_base(engine), quantity, buyer_is_maker, now)


def quote(engine: Engine, bid: Decimal, quantity: Decimal, now: int) -> None:
    bid += from_base(engine)
    engine.on_quote(LTC, bid, quantity, bid + d("0.02"), quantity, now)


trades = st.tuples(st.just(trade), st.tuples(near, quantities, st.booleans()))
operations: st.SearchStrategy[Operation] = st.one_of(
    trades,
    trades,
    trades,
    st.tuples(st.just(quote), st.tuples(near, quantities)),
    st.tuples(st.just(place), st.tuples(accounts, new_orders())),
    st.tuples(st.just(place), st.tuples(accounts, new_orders())),
    st.tuples(st.just(place_oco), st.tuples(accounts, ocos())),
    st.tuples(st.just(place_oto), st.tuples(accounts, otos())),
    st.tuples(st.just(place_otoco), st.tuples(accounts, otocos())),
    st.tuples(st.just(cancel), st.tuples(accounts, nth, st.none() | st.sampled_from(CancelRestriction))),
    st.tuples(st.just(cancel_unknown), st.tuples(accounts, nth)),
    st.tuples(st.just(cancel_list), st.tuples(accounts, nth)),
    st.tuples(st.just(amend), st.tuples(accounts, nth, quantities, client_ids)),
    st.tuples(st.just(cancel_replace), st.tuples(accounts, nth, st.sampled_from(CancelReplaceMode), new_orders())),
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
@given(liquidity=liquidity_models, steps=st.lists(operations, min_size=10, max_size=40))
def test_whatever_is_asked_the_books_add_up(liquidity: LiquidityModel, steps: list[Operation]) -> None:
    audit: Audit | None = None

    def check(engine: Engine) -> None:
        nonlocal audit
        audit = audit or Audit(engine, DEPOSITS)
        audit.check()

    run(liquidity, steps, check)


@settings(max_examples=60, deadline=None)
@given(liquidity=liquidity_models, steps=st.lists(operations, min_size=10, max_size=40))
def test_the_same_requests_give_the_same_events(liquidity: LiquidityModel, steps: list[Operation]) -> None:
    def events(engine: Engine) -> str:
        return repr([engine.drain_events(name) for name in ACCOUNTS])

    first = events(run(liquidity, steps, lambda _: None))
    assert events(run(liquidity, steps, lambda _: None)) == first


@settings(max_examples=150, deadline=None)
@given(liquidity=liquidity_models, steps=st.lists(operations, min_size=8, max_size=25), last=operations)
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
