"""Orders as they reach the exchange."""

from decimal import Decimal
from typing import Final

import pytest
from tests.exchange.stub import START_MS, Stub, placed, signed_well

from executor.core.model.intents import NewOrder
from executor.core.model.values import OrderSide, OrderType, TimeInForce
from executor.exchange.binance import BinanceExchange
from executor.exchange.wire import params

QTY: Final = Decimal("0.00100000")
PRICE: Final = Decimal("60000.00")
STOP_PRICE: Final = Decimal("59100.00")


def order(type_: OrderType, side: OrderSide = OrderSide.SELL, **more: Decimal | int | TimeInForce) -> NewOrder:
    return NewOrder(id="EX_1_SL_1", side=side, type=type_, qty=QTY, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sent", "terms"),
    [
        (order(OrderType.LIMIT, price=PRICE), {"price": "60000.00", "timeInForce": "GTC"}),
        (
            order(OrderType.LIMIT, price=PRICE, time_in_force=TimeInForce.IOC),
            {"price": "60000.00", "timeInForce": "IOC"},
        ),
        (order(OrderType.LIMIT_MAKER, price=PRICE), {"price": "60000.00"}),
        (order(OrderType.MARKET), {}),
        (
            order(OrderType.STOP_LOSS_LIMIT, price=PRICE, stop_price=STOP_PRICE),
            {"price": "60000.00", "stopPrice": "59100.00", "timeInForce": "GTC"},
        ),
        (order(OrderType.STOP_LOSS, stop_price=STOP_PRICE), {"stopPrice": "59100.00"}),
        (order(OrderType.STOP_LOSS, trailing_delta=150), {"trailingDelta": "150"}),
        (
            order(OrderType.STOP_LOSS_LIMIT, price=PRICE, trailing_delta=150),
            {"price": "60000.00", "trailingDelta": "150", "timeInForce": "GTC"},
        ),
    ],
)
async def test_each_type_sends_what_it_needs_and_no_more(
    stub: Stub, exchange: BinanceExchange, sent: NewOrder, terms: dict[str, str]
) -> None:
    stub.script("POST order", placed)
    await exchange.place(sent)
    seen = stub.last("POST order")
    signature = seen.params.pop("signature")
    assert seen.params == {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": sent.type.value,
        "quantity": "0.00100000",
        "newClientOrderId": "EX_1_SL_1",
        "newOrderRespType": "FULL",
        "recvWindow": "3000",
        "timestamp": str(START_MS),
        **terms,
    }
    assert len(signature) == 64
    assert signed_well(seen)
    assert seen.headers["X-MBX-APIKEY"] == "stub-key"


@pytest.mark.parametrize("text", ["1E+3", "1E-8", "0.00000010", "100000000", "0.1"])
async def test_numbers_never_have_an_exponent(stub: Stub, exchange: BinanceExchange, text: str) -> None:
    stub.script("POST order", placed)
    number = Decimal(text)
    await exchange.place(
        NewOrder(id="EX_1_TP1_1", side=OrderSide.SELL, type=OrderType.LIMIT_MAKER, qty=number, price=number)
    )
    seen = stub.last("POST order")
    assert set(seen.params["price"]) <= set("0123456789.")
    assert Decimal(seen.params["price"]) == Decimal(seen.params["quantity"]) == number
    assert signed_well(seen)


@pytest.mark.parametrize(
    ("side", "target_at", "stop_at"),
    [(OrderSide.SELL, "above", "below"), (OrderSide.BUY, "below", "above")],
)
def test_an_oco_stands_around_the_price(side: OrderSide, target_at: str, stop_at: str) -> None:
    target = NewOrder(id="EX_1_TP1_2", side=side, type=OrderType.LIMIT_MAKER, qty=QTY, price=PRICE)
    stop = NewOrder(
        id="EX_1_SL1_3",
        side=side,
        type=OrderType.STOP_LOSS_LIMIT,
        qty=QTY,
        price=Decimal("59000.00"),
        stop_price=STOP_PRICE,
    )
    assert params.oco("BTCUSDT", "EX_1_OCO1_1", target, stop) == {
        "symbol": "BTCUSDT",
        "side": side.value,
        "quantity": "0.00100000",
        "listClientOrderId": "EX_1_OCO1_1",
        "newOrderRespType": "FULL",
        f"{target_at}Type": "LIMIT_MAKER",
        f"{target_at}ClientOrderId": "EX_1_TP1_2",
        f"{target_at}Price": "60000.00",
        f"{stop_at}Type": "STOP_LOSS_LIMIT",
        f"{stop_at}ClientOrderId": "EX_1_SL1_3",
        f"{stop_at}Price": "59000.00",
        f"{stop_at}StopPrice": "59100.00",
        f"{stop_at}TimeInForce": "GTC",
    }


@pytest.mark.parametrize(("side", "qty"), [(OrderSide.BUY, QTY), (OrderSide.SELL, Decimal("0.002"))])
def test_the_orders_of_an_oco_share_side_and_quantity(side: OrderSide, qty: Decimal) -> None:
    target = NewOrder(id="EX_1_TP1_2", side=OrderSide.SELL, type=OrderType.LIMIT_MAKER, qty=QTY, price=PRICE)
    stop = NewOrder(id="EX_1_SL1_3", side=side, type=OrderType.STOP_LOSS_LIMIT, qty=qty, price=PRICE, stop_price=PRICE)
    with pytest.raises(ValueError, match="EX_1_OCO1_1"):
        params.oco("BTCUSDT", "EX_1_OCO1_1", target, stop)


def bracket(side: OrderSide, qty: Decimal = QTY) -> tuple[NewOrder, NewOrder, NewOrder]:
    """An entry on `side`, its stop and its target."""
    entry = NewOrder(id="EX_1_ENTRY1_3", side=side, type=OrderType.LIMIT, qty=QTY, price=PRICE)
    stop = NewOrder(
        id="EX_1_SL1_2", side=side.opposite, type=OrderType.STOP_LOSS_LIMIT, qty=qty, price=PRICE, stop_price=STOP_PRICE
    )
    target = NewOrder(id="EX_1_TP1_1", side=side.opposite, type=OrderType.LIMIT_MAKER, qty=qty, price=PRICE)
    return entry, stop, target


@pytest.mark.parametrize(
    ("side", "target_at", "stop_at", "sized"),
    [
        (OrderSide.BUY, "pendingAbove", "pendingBelow", {}),
        (OrderSide.SELL, "pendingBelow", "pendingAbove", {"pendingQuantity": "0.00100000"}),
    ],
)
def test_an_entry_brings_a_pair_of_exits(side: OrderSide, target_at: str, stop_at: str, sized: dict[str, str]) -> None:
    """Rule 13.1: what a buy has received pays for its exits, which name no quantity (-1225)."""
    entry, stop, target = bracket(side)
    assert params.bracket("BTCUSDT", "EX_1_OCO1_0", entry, stop, target) == {
        "symbol": "BTCUSDT",
        "listClientOrderId": "EX_1_OCO1_0",
        "newOrderRespType": "FULL",
        "workingSide": side.value,
        "workingQuantity": "0.00100000",
        "workingType": "LIMIT",
        "workingClientOrderId": "EX_1_ENTRY1_3",
        "workingPrice": "60000.00",
        "workingTimeInForce": "GTC",
        "pendingSide": side.opposite.value,
        **sized,
        f"{target_at}Type": "LIMIT_MAKER",
        f"{target_at}ClientOrderId": "EX_1_TP1_1",
        f"{target_at}Price": "60000.00",
        f"{stop_at}Type": "STOP_LOSS_LIMIT",
        f"{stop_at}ClientOrderId": "EX_1_SL1_2",
        f"{stop_at}Price": "60000.00",
        f"{stop_at}StopPrice": "59100.00",
        f"{stop_at}TimeInForce": "GTC",
    }


def test_an_entry_brings_a_stop_alone() -> None:
    entry, stop, _ = bracket(OrderSide.BUY)
    found = params.bracket("BTCUSDT", "EX_1_OCO3_0", entry, stop, None)
    pending = {name: value for name, value in found.items() if name.startswith("pending")}
    assert pending == {
        "pendingSide": "SELL",
        "pendingType": "STOP_LOSS_LIMIT",
        "pendingClientOrderId": "EX_1_SL1_2",
        "pendingPrice": "60000.00",
        "pendingStopPrice": "59100.00",
        "pendingTimeInForce": "GTC",
    }


def test_the_orders_of_a_bracket_belong_together() -> None:
    entry, stop, target = bracket(OrderSide.BUY)
    other = bracket(OrderSide.BUY, Decimal("0.002"))[1]
    for wrong in ((entry, other, target), (entry, stop, bracket(OrderSide.SELL)[2])):
        with pytest.raises(ValueError, match="EX_1_OCO1_0"):
            params.bracket("BTCUSDT", "EX_1_OCO1_0", *wrong)
