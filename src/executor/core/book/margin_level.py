"""The margin level: what the account is worth against what it owes, now, at another price, after an entry (rule 11.10).

With no debt there is no level: nothing is ever compared then.
"""

from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.loans import Bars, MarginAccount
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Plan
from executor.core.model.values import ZERO, Direction

_HALF: Final = Decimal(2)


class Ladder(msgspec.Struct, frozen=True):
    """Levels below which there is no entry, an alert, and no trade any more."""

    least: Decimal
    alert: Decimal
    reduce: Decimal


def ladder(policy: Policy, bars: Bars) -> Ladder:
    """The operator's levels, else the account's own bars: its margin call, and half-way from there to liquidation."""
    return Ladder(
        bars.call if policy.level_min is None else policy.level_min,
        bars.call if policy.level_alert is None else policy.level_alert,
        (bars.call + bars.liquidation) / _HALF if policy.level_reduce is None else policy.level_reduce,
    )


class Reckoning(msgspec.Struct, frozen=True):
    """What an account holds and owes as functions of the price of base, in quote: a constant part and units of base."""

    quote_held: Decimal
    base_held: Decimal
    quote_owed: Decimal
    base_owed: Decimal

    def level(self, price: Decimal) -> Decimal | None:
        """None without a debt."""
        owed = self.quote_owed + self.base_owed * price
        return (self.quote_held + self.base_held * price) / owed if owed > 0 else None

    def price_at(self, level: Decimal) -> Decimal | None:
        """The price of base at which the level is `level`; None where there is no such price."""
        slope = self.base_held - level * self.base_owed
        if not slope:
            return None
        price = (level * self.quote_owed - self.quote_held) / slope
        return price if price > 0 else None


def reckoning(account: MarginAccount, rules: SymbolRules) -> Reckoning:
    """Other assets than the two of the symbol, in a cross account, stay at their price."""
    base_held, base_owed = account.total(rules.base), account.debt(rules.base).total
    return Reckoning(
        account.assets - base_held * account.price,
        base_held,
        account.liabilities - base_owed * account.price,
        base_owed,
    )


def with_entry(before: Reckoning, plan: Plan, borrowed: Decimal, rules: SymbolRules) -> Reckoning:
    """The account once the whole entry has filled at its price, on a loan of `borrowed`; commission at the highest
    rate.
    """
    cost, qty, keep = plan.qty * plan.entry, plan.qty, rules.worst_keep()
    if plan.direction is Direction.LONG:
        return Reckoning(
            before.quote_held + borrowed - cost,
            before.base_held + qty * keep,
            before.quote_owed + borrowed,
            before.base_owed,
        )
    return Reckoning(
        before.quote_held + cost * keep,
        before.base_held + borrowed - qty,
        before.quote_owed,
        before.base_owed + borrowed,
    )


def level_of(account: MarginAccount) -> Decimal | None:
    """The level as it is: the exchange's own figure, else the one that assets and liabilities make; None without a
    debt.
    """
    return account.level if account.level is not None else _reckoned(account)


def _reckoned(account: MarginAccount) -> Decimal | None:
    return account.assets / account.liabilities if account.liabilities > ZERO else None


def doubtful(account: MarginAccount, policy: Policy, bars: Bars) -> bool:
    """Whether the level that the exchange tells would end the trade, and what it tells of assets and liabilities would
    not: one of the two is wrong, and a single reading does not say which.
    """
    level, own, least = account.level, _reckoned(account), ladder(policy, bars).reduce
    return level is not None and own is not None and level < least <= own


def below(account: MarginAccount, bar: Decimal) -> bool:
    """Whether the level is below `bar` by the exchange's own figure and by assets and liabilities, as far as they are
    told; never without a debt.
    """
    told = [level for level in (account.level, _reckoned(account)) if level is not None]
    return bool(told) and max(told) < bar


def liquidation_price(account: MarginAccount, rules: SymbolRules, bars: Bars) -> Decimal | None:
    """Where the exchange liquidates, as it says itself or as it is reckoned; None without a debt."""
    if level_of(account) is None:
        return None
    if account.liquidation_price is not None or not account.price:
        return account.liquidation_price
    return reckoning(account, rules).price_at(bars.liquidation)
