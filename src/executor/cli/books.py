"""An account of the matching engine, closed: its end balances against its own fills."""

import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from executor.core.model.values import OrderSide
from executor.ops.account import Account, Booking, balance
from executor.paper.engine.exchange import Engine

ALL: Final = sys.maxsize


def close_books(engine: Engine, account: str, start: Mapping[str, Decimal], *, trade_open: bool = False) -> Account:
    """`start`: what the account was opened with; `trade_open`: its open orders belong to a trade that is not over."""
    bookings = [
        Booking(
            side=OrderSide.BUY if fill.is_buyer else OrderSide.SELL,
            base=symbol.base,
            quote=symbol.quote,
            qty=fill.qty,
            quote_qty=fill.quote_qty,
            commission=fill.commission,
            commission_asset=fill.commission_asset,
        )
        for symbol in engine.symbols()
        for fill in engine.my_trades(account, symbol.name, from_id=0, limit=ALL)
    ]
    symbols = {symbol.name: symbol for symbol in engine.symbols()}
    bookings += [
        Booking(
            side=OrderSide.BUY if bought else OrderSide.SELL,
            base=symbols[name].base,
            quote=symbols[name].quote,
            qty=sums.qty,
            quote_qty=sums.quote_qty,
            commission=sums.commission,
            commission_asset=asset,
            fills=sums.fills,
        )
        for (name, bought, asset), sums in engine.carried(account).items()
    ]
    end = {each.asset: each.free + each.locked for each in engine.balances(account)}
    left = [order.client_order_id for order in engine.open_orders(account)]
    return balance(start, bookings, end, left, trade_open=trade_open)
