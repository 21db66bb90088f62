"""Whether an account adds up: start balances and fills against end balances, to the last unit of commission."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

import msgspec

from executor.core.model.ids import is_ours
from executor.core.model.values import ZERO, OrderSide, plain
from executor.ops import text


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """One fill of the account, or the sum of `fills`: base `qty` against `quote_qty`, and what was taken for it."""

    side: OrderSide
    base: str
    quote: str
    qty: Decimal
    quote_qty: Decimal
    commission: Decimal
    commission_asset: str
    fills: int = 1


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One asset: start + traded - commission + loans must be the end; the end is free and locked together. `loans`:
    borrowed less repaid, interest that was repaid among it; `owed`: what is owed of it at the end.
    """

    asset: str
    start: Decimal
    traded: Decimal
    commission: Decimal
    end: Decimal
    loans: Decimal = ZERO
    owed: Decimal = ZERO

    @property
    def difference(self) -> Decimal:
        return self.end - (self.start + self.traded - self.commission + self.loans)


class Account(msgspec.Struct, frozen=True):
    """`left`: client ids of open orders that are Executor's; `trade_open`: they belong to a trade that is not over."""

    lines: tuple[Line, ...]
    fills: int
    left: tuple[str, ...]
    trade_open: bool = False

    @property
    def faults(self) -> list[str]:
        """What must not be: an asset that does not add up, an order without a trade (rules 7.1, 10.3)."""
        found = [
            f"{line.asset}: {plain(line.difference)} more than its fills explain"
            for line in self.lines
            if line.difference
        ]
        if self.left and not self.trade_open:
            found.append(f"{len(self.left)} orders are open without a trade: {', '.join(self.left)}")
        return found


def balance(
    start: Mapping[str, Decimal],
    bookings: Iterable[Booking],
    end: Mapping[str, Decimal],
    open_orders: Iterable[str],
    *,
    trade_open: bool = False,
    loans: Mapping[str, Decimal] = MappingProxyType({}),
    owed: Mapping[str, Decimal] = MappingProxyType({}),
) -> Account:
    """`end`: total balances by asset; `open_orders`: the client ids of all open orders. On margin, by asset: `loans`,
    borrowed less repaid, and `owed`, what is owed still.
    """
    traded: dict[str, Decimal] = {}
    paid: dict[str, Decimal] = {}
    count = 0
    for each in bookings:
        sign = 1 if each.side is OrderSide.BUY else -1
        _add(traded, each.base, sign * each.qty)
        _add(traded, each.quote, -sign * each.quote_qty)
        _add(paid, each.commission_asset, each.commission)
        count += each.fills
    named = sorted(asset for asset in {*start, *end, *traded, *paid, *loans, *owed} if asset)
    lines = tuple(
        Line(
            asset=asset,
            start=start.get(asset, ZERO),
            traded=traded.get(asset, ZERO),
            commission=paid.get(asset, ZERO),
            end=end.get(asset, ZERO),
            loans=loans.get(asset, ZERO),
            owed=owed.get(asset, ZERO),
        )
        for asset in named
    )
    return Account(lines, count, tuple(name for name in open_orders if is_ours(name)), trade_open)


def as_text(account: Account) -> str:
    lent = any(line.loans or line.owed for line in account.lines)
    header = ("account", "start", "traded", "commission", *(["loans"] if lent else []), "end", "difference")
    rows = [
        (
            line.asset,
            *map(_figure, (line.start, line.traded, -line.commission)),
            *([_figure(line.loans)] if lent else []),
            *map(_figure, (line.end, line.difference)),
        )
        for line in account.lines
    ]
    owed = {line.asset: line.owed for line in account.lines if line.owed}
    whose = " of the trade that is still open" if account.trade_open and account.left else ""
    verdict = _verdict(account.faults)
    return "\n".join(
        [
            text.columns(header, rows, right=header[1:]),
            "",
            text.fields(
                [
                    ("open EX_ orders", f"{len(account.left)}{whose}"),
                    *([("owed", text.amounts(owed) if owed else "nothing")] if lent else []),
                    ("balances", verdict),
                ]
            ),
        ]
    )


def _verdict(faults: Sequence[str]) -> str:
    return "add up over all fills" if not faults else "\n".join(faults)


def _figure(value: Decimal) -> str:
    return text.short(value)


def _add(amounts: dict[str, Decimal], asset: str, amount: Decimal) -> None:
    amounts[asset] = amounts.get(asset, ZERO) + amount
