"""An account of the matching engine, closed: its end balances against its own fills."""

import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from executor.core.model.values import ZERO, OrderSide
from executor.ops.account import Account, Booking, balance
from executor.paper.engine.exchange import Engine
from executor.paper.engine.margin.model import LoanStatus, LoanType

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
    loans, owed = _borrowed(engine, account)
    return balance(start, bookings, end, left, trade_open=trade_open, loans=loans, owed=owed)


def _borrowed(engine: Engine, account: str) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Of a margin account, by asset: borrowed less repaid, and what is owed still, interest included."""
    found = next((each for each in engine.margin.accounts() if each.money.name == account), None)
    loans: dict[str, Decimal] = {}
    for record in found.records if found is not None else ():
        if record.status is LoanStatus.CONFIRMED:
            sign = 1 if record.type is LoanType.BORROW else -1
            loans[record.asset] = loans.get(record.asset, ZERO) + sign * record.amount
    owed = {asset: debt.total for asset, debt in found.debts.items() if debt.total} if found is not None else {}
    return loans, owed
