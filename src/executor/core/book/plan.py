"""From signal to plan (rules 2.1-2.4): prices on the tick, a size on the step, legs that the filters carry."""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import Final

from executor.core.book.levels import safer, stop_limit, swing_extreme
from executor.core.model.facts import Kline
from executor.core.model.policy import EntryMode, Layout, Policy, StopMode
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import Plan
from executor.core.model.values import ZERO, Direction, ceil_to, floor_to, plain, units

WIDENED_MAX: Final = 2
"""How many times as wide as it was set the tick may make a stop's distance: so much more is lost there."""

Split = tuple[Decimal, Decimal, Decimal]


class PlanError(Exception):
    """The signal can't become a trade; the text names the value and the rule it breaks."""


def make_plan(
    signal: Signal,
    policy: Policy,
    rules: SymbolRules,
    klines: Sequence[Kline] | None,
) -> Plan:
    """Raises PlanError."""
    rules = rules.for_plans
    direction = signal.direction
    entry = _entry(signal, policy, rules)
    stop = _stop(signal, entry, policy, rules, klines)
    r = abs(entry - stop)
    targets = _targets(signal, entry, r, policy, rules)
    _check_order(direction, entry, stop, targets)
    qty = rules.whole(_size(signal, entry, r, policy))
    plan = Plan(direction=direction, entry=entry, stop=stop, targets=targets, qty=qty, r=r)
    _check_size(plan, policy, rules)
    return plan


def split(qty: Decimal, plan: Plan, policy: Policy, rules: SymbolRules) -> Split | None:
    """`qty`, which is held, in legs 1, 2, 3 by the weights, each able to pass the filters (rule 2.4).

    Where three legs can't, two (no trailing leg); where two can't, one; None where not even one can. The operator's own
    filters shape the legs where they can, and leave nothing out: that is judged by the exchange's alone (rule 2.3b).
    """
    shaped = planned_split(qty, plan, policy, rules) if rules.own is not None else None
    if shaped is None:
        return _split(qty, plan, policy, rules)
    rest = rules.whole(qty) - sum(shaped, ZERO)
    last = max(i for i, leg in enumerate(shaped) if leg)
    one, two, three = (leg + rest if i == last else leg for i, leg in enumerate(shaped))
    return one, two, three


def planned_split(qty: Decimal, plan: Plan, policy: Policy, rules: SymbolRules) -> Split | None:
    """The legs of a size that is only planned: by the operator's own filters too."""
    return _split(qty, plan, policy, rules.for_plans)


def full_legs(plan: Plan, policy: Policy, rules: SymbolRules) -> Split:
    """The legs of a full entry at the highest commission."""
    return split(rules.whole(plan.qty * rules.worst_keep()), plan, policy, rules) or (ZERO, ZERO, ZERO)


def targets_beside(plan: Plan, policy: Policy, rules: SymbolRules) -> list[tuple[Decimal, Decimal]]:
    """Quantity and price of the targets of a full entry that lock base, or quote, beside the stop of the whole: PLAIN's
    (rule 4.3).
    """
    if policy.layout is not Layout.PLAIN:
        return []
    return list(zip(full_legs(plan, policy, rules), plan.targets, strict=False))


def bracket_split(plan: Plan, policy: Policy, rules: SymbolRules) -> Split | None:
    """The planned size in entries of one leg each, able to pass the filters with what is left of them when commission
    was taken (rule 13.3).
    """
    return _split(plan.qty, plan, policy, rules.for_plans, entered=True)


def split_rest(qty: Decimal, legs: Sequence[int], plan: Plan, policy: Policy, rules: SymbolRules) -> Split | None:
    """`qty`, which is held, in those of `legs` that are still to be sized, the first ones where not all can be."""
    weights = _weights(plan, policy)
    lowest = _lowest_sales(plan, policy, rules)
    free = [n for n in legs if weights[n - 1] > 0]
    for many in range(len(free), 0, -1):
        w1, w2, w3 = (weights[n - 1] if n in free[:many] else ZERO for n in (1, 2, 3))
        sizes = _sizes(qty, (w1, w2, w3), rules)
        if all(rules.carries(sizes[n - 1], lowest[n - 1]) for n in free[:many]):
            return sizes
    return None


def bears(leg: int, qty: Decimal, plan: Plan, policy: Policy, rules: SymbolRules) -> bool:
    """Whether an entry of `qty` can bring the exits of the leg with it, commission taken (rule 13.3)."""
    return rules.carries(qty, plan.entry) and rules.carries(
        _after_commission(qty, plan, rules), _lowest_sales(plan, policy, rules)[leg - 1]
    )


def _split(qty: Decimal, plan: Plan, policy: Policy, rules: SymbolRules, *, entered: bool = False) -> Split | None:
    w1, w2, w3 = _weights(plan, policy)
    lowest = _lowest_sales(plan, policy, rules)
    for weights in ((w1, w2, w3), (w1, w2, ZERO), (w1, ZERO, ZERO)):
        legs = _sizes(qty, weights, rules)
        kept = [_after_commission(leg, plan, rules) for leg in legs] if entered else legs
        if all(
            rules.carries(leg, price) for leg, price, weight in zip(kept, lowest, weights, strict=True) if weight > 0
        ):
            return legs
    return None


def _weights(plan: Plan, policy: Policy) -> Split:
    w1, w2, w3 = policy.split
    return w1, w2 if len(plan.targets) > 1 else ZERO, w3


def _sizes(qty: Decimal, weights: Split, rules: SymbolRules) -> Split:
    one, two, three = split_units(units(qty, rules.step), weights)
    return rules.step * one, rules.step * two, rules.step * three


def _after_commission(qty: Decimal, plan: Plan, rules: SymbolRules) -> Decimal:
    """Whole steps that are left of an entry's `qty`, at the highest commission; a short pays it in quote."""
    return rules.whole(qty - rules.most_commission(qty)) if plan.direction is Direction.LONG else qty


def split_units(n: int, weights: tuple[Decimal, Decimal, Decimal]) -> tuple[int, int, int]:
    """`n` whole steps by weight: each leg gets the floor of its share, the last that has a weight gets the rest."""
    total = sum(weights, ZERO)
    shares = [int((n * w / total).to_integral_value(ROUND_FLOOR)) for w in weights]
    last = max(i for i, w in enumerate(weights) if w > 0)
    shares[last] = 0
    shares[last] = n - sum(shares)
    return shares[0], shares[1], shares[2]


def target_of(leg: int, plan: Plan) -> Decimal | None:
    """Leg 1 leaves at the first target, leg 2 at the second, leg 3 at none."""
    return plan.targets[leg - 1] if 1 <= leg <= len(plan.targets) and leg < 3 else None


def _lowest_sales(plan: Plan, policy: Policy, rules: SymbolRules) -> list[Decimal]:
    """The lowest prices that legs 1, 2 and 3 may be sold at: their stop's limit, for a short their target's."""
    stopped = min(plan.stop, stop_limit(plan.stop, plan.direction, policy, rules))
    targets = (target_of(1, plan), target_of(2, plan), None)
    return [stopped if target is None else min(stopped, target) for target in targets]


def _entry(signal: Signal, policy: Policy, rules: SymbolRules) -> Decimal:
    offset = signal.direction.sign * policy.entry_offset
    wished = signal.entry if signal.entry is not None else signal.price + offset
    # Away from being harder to fill: a buyer's limit up, a seller's down.
    price = ceil_to(wished, rules.tick) if signal.direction is Direction.LONG else floor_to(wished, rules.tick)
    if (fault := rules.price_fault(price)) is not None:
        raise PlanError(f"entry: {fault}")
    return price


def _stop(
    signal: Signal, entry: Decimal, policy: Policy, rules: SymbolRules, klines: Sequence[Kline] | None
) -> Decimal:
    direction = signal.direction
    if signal.stop is not None:
        wished = signal.stop
    else:
        wished = entry - direction.sign * entry * policy.stop_pct
        if policy.stop_mode is StopMode.SWING:
            if not klines:
                raise PlanError("STOP_MODE=SWING needs one-minute klines, and none could be read")
            extreme = swing_extreme(klines[-policy.swing_mins :], direction)
            if extreme is not None and safer(extreme, wished, direction) == wished:
                wished = extreme
    price = floor_to(wished, rules.tick) if direction is Direction.LONG else ceil_to(wished, rules.tick)
    if (fault := rules.price_fault(price)) is not None:
        raise PlanError(f"stop: {fault}")
    wanted, made = direction.sign * (entry - wished), direction.sign * (entry - price)
    if made > WIDENED_MAX * wanted > 0:
        raise PlanError(
            f"stop: {plain(wanted.normalize())} away from the entry was wanted, and the tick makes it {plain(made)}; "
            f"it must be at least a tick, {plain(rules.tick)}"
        )
    return price


def _targets(signal: Signal, entry: Decimal, r: Decimal, policy: Policy, rules: SymbolRules) -> tuple[Decimal, ...]:
    sign = signal.direction.sign
    wished = signal.targets or tuple(entry + sign * r * m for m in policy.target_r)
    rounded = tuple(
        floor_to(t, rules.tick) if signal.direction is Direction.LONG else ceil_to(t, rules.tick) for t in wished
    )
    for i, price in enumerate(rounded, 1):
        if (fault := rules.price_fault(price)) is not None:
            raise PlanError(f"TP{i}: {fault}")
    return rounded


def _check_order(direction: Direction, entry: Decimal, stop: Decimal, targets: tuple[Decimal, ...]) -> None:
    ladder = [stop, entry, *targets]
    climbing = ladder if direction is Direction.LONG else ladder[::-1]
    if any(a >= b for a, b in pairwise(climbing)):
        names = ("stop", "entry", *(f"TP{i}" for i in range(1, len(targets) + 1)))
        got = ", ".join(f"{n} {plain(v)}" for n, v in zip(names, ladder, strict=True))
        wanted = " < ".join(names) if direction is Direction.LONG else " > ".join(names)
        raise PlanError(f"prices out of order for a {direction}: {got}; must be {wanted}")


def _size(signal: Signal, entry: Decimal, r: Decimal, policy: Policy) -> Decimal:
    qty, notional, risk = signal.qty, signal.notional, signal.risk
    if qty is None and notional is None and risk is None:
        qty, notional, risk = policy.qty, policy.notional, policy.risk
    if qty is not None:
        return qty
    if notional is not None:
        return notional / entry
    if risk is not None:
        return risk / r
    raise PlanError("no size: one of QTY, QTY_USD, RISK_USD must be set")


def _check_size(plan: Plan, policy: Policy, rules: SymbolRules) -> None:
    said = f"{plain(plan.qty)} {rules.base}"
    at_market = policy.entry_mode is EntryMode.MARKET_ONLY
    fault = (rules.market_fault if at_market else rules.size_fault)(plan.qty, plan.entry)
    if fault is not None:
        raise PlanError(f"size {said} at {plain(plan.entry)} breaks the filters: {fault}")
    kept = rules.whole(plan.qty * rules.worst_keep())
    if planned_split(kept, plan, policy, rules) is None:
        raise PlanError(f"size {said} less commission is too small for one exit at the stop's limit price")
