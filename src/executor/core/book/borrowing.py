"""What an entry costs, and how much of it must be borrowed (rule 11.2)."""

from decimal import Decimal

import msgspec

from executor.core.model.loans import PRECISION, AssetTerms, MarginTerms
from executor.core.model.policy import EntryMode, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Plan
from executor.core.model.values import ZERO, Direction, ceil_to, floor_to


class Need(msgspec.Struct, frozen=True):
    """The entry spends `amount` of `asset` at the most."""

    asset: str
    amount: Decimal


def planb_bounds(plan: Plan, policy: Policy) -> list[Decimal]:
    """How far the price may be from the entry (rule 3.3), by each bound that is set; quote per base."""
    bounds = [policy.planb_max_dev] if policy.planb_max_dev else []
    if policy.planb_max_dev_r:
        bounds.append(policy.planb_max_dev_r * plan.r)
    return bounds


def worst_price(plan: Plan, policy: Policy, rules: SymbolRules) -> Decimal:
    """The worst price that Plan B may pay: the guard's, never TP1 or worse where that is guarded."""
    sign = plan.direction.sign
    worst = [plan.entry + sign * bound for bound in planb_bounds(plan, policy)]
    if policy.planb_abort_past_tp1 or not worst:
        worst.append(plan.targets[0] - sign * rules.tick)
    if plan.direction is Direction.LONG:
        return floor_to(min(worst), rules.tick)
    return ceil_to(max(worst), rules.tick)


def need(plan: Plan, policy: Policy, rules: SymbolRules) -> Need:
    """A long spends quote, at its own price or, where it may buy at market, at the guard's; a short spends base."""
    if plan.direction is Direction.SHORT:
        return Need(rules.base, plan.qty)
    price = plan.entry
    if policy.entry_mode is not EntryMode.LIMIT_ONLY:
        price = max(price, worst_price(plan, policy, rules))
    return Need(rules.quote, plan.qty * price)


def missing(needed: Decimal, free: Decimal, terms: AssetTerms) -> Decimal:
    """What must be borrowed so that `needed` is there: nothing where it is, never less than the exchange lends."""
    lacks = ceil_to(needed - free, PRECISION)
    return max(lacks, terms.min_borrow) if lacks > 0 else ZERO


def terms_of(asset: str, terms: MarginTerms, rules: SymbolRules) -> AssetTerms:
    return terms.base if asset == rules.base else terms.quote
