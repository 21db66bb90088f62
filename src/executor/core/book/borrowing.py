"""What an entry costs, how much of it must be borrowed, and how much may be (rules 11.2, 11.10)."""

from decimal import Decimal

import msgspec

from executor.core.book.margin_level import ladder, reckoning, with_entry
from executor.core.model.loans import PRECISION, AssetTerms, MarginAccount, MarginTerms
from executor.core.model.policy import EntryMode, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Plan
from executor.core.model.values import ZERO, Direction, ceil_to, floor_to, plain, short


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


def lowest_sale(plan: Plan, bid: Decimal, policy: Policy, rules: SymbolRules) -> Decimal:
    """The lowest price that a short's entry may be sold at: the book's `bid`, or the guard's of Plan B (rule 3.3)."""
    if policy.entry_mode is EntryMode.MARKET_ONLY:
        return min(plan.entry, bid)
    return (
        plan.entry if policy.entry_mode is EntryMode.LIMIT_ONLY else min(plan.entry, worst_price(plan, policy, rules))
    )


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


class Bound(msgspec.Struct, frozen=True):
    """Which bound a loan would break: `kind` is counted, `text` is for people."""

    kind: str
    text: str


def broken_bound(
    loan: Decimal,
    account: MarginAccount,
    plan: Plan,
    terms: MarginTerms,
    policy: Policy,
    rules: SymbolRules,
    *,
    before: Decimal = ZERO,
) -> Bound | None:
    """Which bound a loan of `loan` breaks, as the account is now: the operator's, with what was borrowed for the same
    entry `before`, or the level's at the stop. None where both hold.
    """
    whole = before + loan
    worth = whole * plan.entry if plan.direction is Direction.SHORT else whole
    if policy.max_borrow and worth > policy.max_borrow:
        limit = plain(policy.max_borrow)
        return Bound("max_borrow", f"a loan worth {short(worth)} {rules.quote}, MARGIN_MAX_BORROW_USD is {limit}")
    least = ladder(policy, terms.bars).least
    level = with_entry(reckoning(account, rules), plan, loan, rules).level(plan.stop)
    if level is not None and level < least:
        set_by = (
            "the account's margin call, MARGIN_LEVEL_MIN is not set" if policy.level_min is None else "MARGIN_LEVEL_MIN"
        )
        return Bound(
            "margin_level",
            f"at the stop {plain(plan.stop)} the margin level would be {level:.4f}, must be at least {plain(least)} "
            f"({set_by})",
        )
    return None
