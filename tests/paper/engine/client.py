"""A client of the engine, so that a test says only what it is about."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from executor.core.model.values import OrderSide, OrderType, TimeInForce
from executor.paper.engine.exchange import Engine
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.model import (
    AccountPosition,
    Event,
    ExecutionReport,
    Leg,
    ListPlaced,
    ListStatus,
    NewOco,
    NewOrder,
    Order,
    Placed,
    Reject,
)
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import bundled_exchange_info

BUY, SELL = OrderSide.BUY, OrderSide.SELL
GTC, IOC, FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
LTC = "LTCUSDT"
ME = "me"
T0 = 1_750_532_400_000


def d(value: str | int) -> Decimal:
    return Decimal(value)


def row(symbol: str = LTC, **changes: Any) -> dict[str, Any]:
    """A bundled exchangeInfo row with some fields changed; `filters` are added or replaced by type."""
    found: dict[str, Any] = next(each for each in bundled_exchange_info()["symbols"] if each["symbol"] == symbol)
    new_filters = {each["filterType"]: each for each in changes.pop("filters", [])}
    dropped = set(changes.pop("without", ()))
    kept = [new_filters.pop(each["filterType"], each) for each in found["filters"] if each["filterType"] not in dropped]
    return {**found, **changes, "filters": [*kept, *new_filters.values()]}


@dataclass
class Client:
    """One account on an exchange whose market stands at 80.00 bid, 80.01 asked."""

    balances: Mapping[str, Decimal] = field(default_factory=lambda: {"USDT": d(10_000), "LTC": d(100)})
    rows: Iterable[Mapping[str, Any]] = field(default_factory=lambda: [row()])
    liquidity: LiquidityModel = field(default_factory=LiquidityModel)
    rate_limits: Iterable[Mapping[str, Any]] = ()
    exchange_filters: Iterable[Mapping[str, Any]] = ()
    opening: str | None = "80.00"
    now: int = T0

    def __post_init__(self) -> None:
        self.engine = Engine(
            [Symbol.from_exchange_info(each) for each in self.rows],
            liquidity=self.liquidity,
            rate_limits=self.rate_limits,
            exchange_filters=self.exchange_filters,
        )
        self.engine.open_account(ME, self.balances)
        self._trades = 0
        if self.opening is not None:
            self.trade(self.opening)

    # --- the market ---

    def trade(self, price: str, qty: str = "1000", *, buyer_is_maker: bool = True, symbol: str = LTC) -> None:
        self._trades += 1
        self.engine.on_trade(symbol, self._trades, d(price), d(qty), buyer_is_maker, self.now)

    def wait(self, ms: int) -> None:
        self.now += ms

    # --- requests ---

    def place(self, side: OrderSide, kind: OrderType, qty: str | None = None, **fields: Any) -> Placed:
        return self.engine.place_order(fields.pop("account", ME), request(side, kind, qty, **fields), self.now)

    def limit(self, side: OrderSide, qty: str, price: str, tif: TimeInForce = TimeInForce.GTC, **fields: Any) -> Order:
        return self.place(side, OrderType.LIMIT, qty, price=price, time_in_force=tif, **fields).order

    def market(self, side: OrderSide, qty: str | None = None, **fields: Any) -> Placed:
        return self.place(side, OrderType.MARKET, qty, **fields)

    def stop_limit(self, side: OrderSide, qty: str, stop: str, price: str, **fields: Any) -> Order:
        fields.setdefault("time_in_force", TimeInForce.GTC)
        return self.place(side, OrderType.STOP_LOSS_LIMIT, qty, stop_price=stop, price=price, **fields).order

    def oco(self, side: OrderSide, qty: str, target: str, stop: str, stop_limit: str, **fields: Any) -> ListPlaced:
        return self.engine.place_oco(ME, oco(side, qty, target, stop, stop_limit, **fields), self.now)

    def cancel(self, order: Order | int) -> Order:
        order_id = order if isinstance(order, int) else order.order_id
        return self.engine.cancel_order(ME, LTC, self.now, order_id=order_id).order

    # --- looking ---

    def order(self, order: Order | int) -> Order:
        order_id = order if isinstance(order, int) else order.order_id
        return self.engine.order(ME, LTC, order_id=order_id)

    def free(self, asset: str) -> Decimal:
        return self.engine.balance(ME, asset).free

    def locked(self, asset: str) -> Decimal:
        return self.engine.balance(ME, asset).locked

    def events(self) -> list[Event]:
        return self.engine.drain_events(ME)

    def reports(self) -> list[ExecutionReport]:
        return [event for event in self.events() if isinstance(event, ExecutionReport)]


def request(side: OrderSide, kind: OrderType, qty: str | None = None, **fields: Any) -> NewOrder:
    for name in ("price", "stop_price", "iceberg_qty", "quote_order_qty"):
        if isinstance(fields.get(name), str):
            fields[name] = d(fields[name])
    return NewOrder(
        symbol=fields.pop("symbol", LTC), side=side, type=kind, quantity=None if qty is None else d(qty), **fields
    )


def oco(side: OrderSide, qty: str, target: str, stop: str, stop_limit: str, **fields: Any) -> NewOco:
    """A LIMIT_MAKER target and a STOP_LOSS_LIMIT stop, on the sides of the market where they belong."""
    target_leg = Leg(type=OrderType.LIMIT_MAKER, price=d(target), client_order_id=fields.pop("target_id", None))
    stop_leg = Leg(
        type=OrderType.STOP_LOSS_LIMIT,
        stop_price=d(stop),
        price=d(stop_limit),
        time_in_force=GTC,
        client_order_id=fields.pop("stop_id", None),
    )
    above, below = (target_leg, stop_leg) if side is SELL else (stop_leg, target_leg)
    return NewOco(symbol=LTC, side=side, quantity=d(qty), above=above, below=below, **fields)


def refused(code: int, message: str | None = None) -> Any:
    """Expect a `Reject` with this code, and this message or any."""

    def fits(reject: BaseException) -> bool:
        return isinstance(reject, Reject) and reject.code == code and message in {None, reject.message}

    return pytest.raises(Reject, check=fits)


def summary(events: Iterable[Event]) -> list[str]:
    """Events in a few words each: `NEW 1 NEW`, `list 1 ALL_DONE`, `position`."""
    lines = []
    for event in events:
        if isinstance(event, ExecutionReport):
            lines.append(f"{event.execution_type} {event.order.order_id} {event.order.status}")
        elif isinstance(event, ListStatus):
            lines.append(f"list {event.order_list.order_list_id} {event.order_list.list_status_type}")
        elif isinstance(event, AccountPosition):
            lines.append("position")
        else:
            lines.append(type(event).__name__)
    return lines
