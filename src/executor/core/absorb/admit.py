"""Admission: whether a signal becomes a trade now (rule 2.5). A refused signal changes nothing but its count."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from executor.core.absorb import credit, loans, market
from executor.core.book import brackets
from executor.core.book import debt as debts
from executor.core.book.borrowing import lowest_sale
from executor.core.book.levels import beyond, past, stop_limit
from executor.core.book.plan import PlanError, full_legs, make_plan, target_of, targets_beside
from executor.core.model.events import SignalMalformed, SignalSeen
from executor.core.model.facts import Balance, OrderReport, Quote
from executor.core.model.intents import Level, Notify
from executor.core.model.policy import EntryMode, Layout, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import Day, Entering, Plan, Position, Seen, State
from executor.core.model.values import ALGO_TYPES, ONE, ZERO, Direction, OrderType, plain
from executor.core.model.verdict import MOVED, Absorbed, Refusal

DAY_MS: Final = 86_400_000
IDS_MS: Final = 2 * DAY_MS
"""A signal's own `id` is remembered so long, whatever time it is told with."""
IDS_MAX: Final = 200
"""Of the newest of them so many, for the state is written before each order: they are 12 to 30 kB of it. Where signals
come every few minutes they are remembered for hours, not for days.
"""
_SEEN_MAX: Final = 2_000
_NO_ID_OF: Final = frozenset({"too_old", "duplicate"})
"""Refused so, a signal takes no other's place among the ids, and does not begin its time anew."""


def absorb(state: State, event: SignalSeen | SignalMalformed, policy: Policy, rules: SymbolRules) -> Absorbed:
    match event:
        case SignalSeen():
            return _take(state, event, policy, rules)
        case SignalMalformed():
            text = f"{event.fault}: {event.text}"
            return _refuse(state, "malformed", text, text)
        case _ as unreachable:
            assert_never(unreachable)


def _take(state: State, event: SignalSeen, policy: Policy, rules: SymbolRules) -> Absorbed:
    signal, now = event.signal, state.market.now
    if event.quote is not None:
        state = market.quote(state, event.quote, rules).state
    notes: tuple[Notify, ...] = ()
    if event.margin is not None:
        read = loans.account(state, event.margin, policy, rules)
        state, notes = read.state, read.notes
    judged = judge(state, event, policy, rules)
    state = _remembered(state, signal, policy, judged.kind if isinstance(judged, NotAdmitted) else "")
    if isinstance(judged, NotAdmitted):
        refused = _refuse(state, judged.kind, judged.text, f"{signal.key}: {judged.text}")
        return replace(refused, notes=(*notes, *refused.notes))
    day = day_at(state, now)
    if judged.credit is not None:
        state = replace(state, debts=tuple(map(debts.of_new_trade, state.debts)))
    state = replace(
        state,
        position=judged,
        locked_until=now + policy.lock_ms,
        day=replace(day, trades=day.trades + 1),
    )
    plan = judged.plan
    text = (
        f"{plan.direction} {plain(plan.qty)} {rules.base}: entry {plain(plan.entry)}, stop {plain(plan.stop)}, "
        f"targets {', '.join(map(plain, plan.targets))}"
    )
    return Absorbed(state, MOVED, (*notes, Notify(Level.INFO, "trade_opened", text)))


def _remembered(state: State, signal: Signal, policy: Policy, refused: str) -> State:
    """`state` with the signal among those that were judged; `refused`: as what, empty for one that was taken.

    Not one for another symbol: in a file that several services read it would take their places, and its `id` may be
    that of one for this symbol.
    """
    now = state.market.now
    if refused == "symbol" or (signal.named and refused == "duplicate"):
        return state
    state = replace(state, seen=_with_seen(state.seen, signal, now, _age_ms(policy), _SEEN_MAX))
    if signal.named and refused not in _NO_ID_OF:
        state = replace(state, ids=_with_seen(state.ids, signal, now, IDS_MS, IDS_MAX))
    return state


def _age_ms(policy: Policy) -> int:
    return policy.max_signal_age_ms + policy.clock_tolerance_ms


def _with_seen(seen: tuple[Seen, ...], signal: Signal, now: int, age_ms: int, most: int) -> tuple[Seen, ...]:
    kept = [s for s in seen if s.at >= now - age_ms and s.key != signal.key]
    return (*kept[1 - most :], Seen(signal.key, max(signal.at, now)))


def was_seen(state: State, key: str, policy: Policy) -> bool:
    """Whether a signal of this key was judged, as far back as is remembered."""
    now = state.market.now
    kinds = ((state.seen, now - _age_ms(policy)), (state.ids, now - IDS_MS))
    return any(s.key == key and s.at >= since for kept, since in kinds for s in kept)


def _refuse(state: State, kind: str, why: str, text: str) -> Absorbed:
    counted = replace(state, refused={**state.refused, kind: state.refused.get(kind, 0) + 1})
    return Absorbed(counted, Refusal(why), (Notify(Level.WARNING, "signal_refused", text),))


class NotAdmitted(msgspec.Struct, frozen=True):
    """`kind` is counted, `text` is for people: what was wrong, what it was, what it must be."""

    kind: str
    text: str


def refused_beforehand(
    state: State, event: SignalSeen, policy: Policy, rules: SymbolRules, now: int
) -> NotAdmitted | None:
    """Why the signal is refused at `now` (ms) whatever the exchange would say: then it need not be asked (rule 2.5)."""
    return _beforehand(replace(state, market=replace(state.market, now=now)), event, policy, rules)


def _beforehand(state: State, event: SignalSeen, policy: Policy, rules: SymbolRules) -> NotAdmitted | None:
    refusal = _about_signal(state, event, policy) or _about_moment(state, policy) or _about_limits(state, event, policy)
    if refusal is not None:
        return refusal
    if rules.barred:
        return NotAdmitted("barred", f"entries are refused: {rules.barred}")
    if not rules.tradable:
        return NotAdmitted("market_closed", f"{rules.symbol} is not open for trading")
    return None


def judge(state: State, event: SignalSeen, policy: Policy, rules: SymbolRules) -> Position | NotAdmitted:
    refusal = _beforehand(state, event, policy, rules)
    if refusal is not None:
        return refusal
    try:
        plan = make_plan(event.signal, policy, rules, event.klines)
    except PlanError as fault:
        return NotAdmitted("plan", str(fault))
    if event.quote is None or min(event.quote.last, event.quote.bid, event.quote.ask) <= 0:
        return NotAdmitted("no_price", "no price at hand")
    refusal = (
        _about_age(event.quote, state.market.now, policy)
        or _about_exits(event, event.quote, plan, policy, rules)
        or _about_price(event.quote, plan, policy)
        or _about_money(event, event.quote, plan, policy, rules)
    )
    if refusal is not None:
        return refusal
    now = state.market.now
    assert event.balances is not None
    position = Position(
        trade=trade_id(state, now, event.newest),
        signal=event.signal.key,
        opened=now,
        plan=plan,
        phase=Entering(give_up_at=now + policy.entry_timeout_ms),
        spare=_spare(event, rules),
    )
    if rules.margin is None:
        return position
    try:
        granted = credit.grant(state, position, event.margin, rules.margin, policy, rules)
    except credit.NotGranted as denied:
        return NotAdmitted(denied.kind, str(denied))
    assert granted.credit is not None
    return replace(granted, credit=replace(granted.credit, shared=rules.base in event.claimed))


def _spare(event: SignalSeen, rules: SymbolRules) -> Decimal | None:
    """Base that is there before the trade; of one that other symbols trade as well what none of them needs, and where
    nothing is borrowed it is not kept: what they buy and sell tells nothing of this trade.
    """
    assert event.balances is not None
    if rules.base not in event.claimed:
        return event.balances.get(rules.base, Balance(ZERO)).total
    return event.margin.available(rules.base) if event.margin is not None else None


def trade_id(state: State, now: int, beside: int = 0) -> str:
    """The trade's start in ms; later than the last one's, and than the newest of the account's other symbols, `beside`,
    so that no id is ever given twice (rule 1).
    """
    return str(max(now, newest_trade(state) + 1, beside + 1))


def newest_trade(state: State) -> int:
    """The number of the newest trade that the state knows of; 0 where there was none."""
    known = (state.position, state.last_closed)
    return max([int(each.trade) for each in known if each is not None], default=0)


def day_at(state: State, now: int) -> Day:
    """Today's counts; fresh ones when a new UTC day has begun."""
    number = now // DAY_MS
    return state.day if state.day.number == number else Day(number=number)


def _about_signal(state: State, event: SignalSeen, policy: Policy) -> NotAdmitted | None:
    signal, now = event.signal, state.market.now
    if signal.symbol and signal.symbol != state.symbol:
        return NotAdmitted("symbol", f"signal is for {signal.symbol}, this trades {state.symbol}")
    if was_seen(state, signal.key, policy):
        return NotAdmitted("duplicate", "this signal was seen before")
    age = now - signal.at
    if age > policy.max_signal_age_ms:
        most = f"{policy.max_signal_age_ms / 1000:g}"
        return NotAdmitted("too_old", f"{age / 1000:.1f} s old, MAX_SIGNAL_AGE_SEC is {most}: it must not be older")
    if -age > policy.clock_tolerance_ms:
        tolerance = policy.clock_tolerance_ms / 1000
        text = (
            f"ts is {-age / 1000:.1f} s in the future, must be at most {tolerance:.0f} s ahead of the exchange's clock"
        )
        return NotAdmitted("future", text)
    return None


def _about_moment(state: State, policy: Policy) -> NotAdmitted | None:
    now = state.market.now
    if state.position is not None:
        return NotAdmitted("trade_open", f"trade {state.position.trade} is open")
    if state.halted:
        return NotAdmitted("halted", f"halted: {state.halted}")
    if state.paused:
        return NotAdmitted("paused", "entries are paused")
    if now < state.cooldown_until:
        left = f"{(state.cooldown_until - now) / 1000:.1f} s"
        return NotAdmitted("cooldown", f"cooldown for another {left}, {_cooldown(state, policy)}")
    if now < state.locked_until:
        left = f"{(state.locked_until - now) / 1000:.1f} s"
        return NotAdmitted("lock", f"locked for another {left}, LOCK_SEC is {policy.lock_ms / 1000:g}")
    return None


def _cooldown(state: State, policy: Policy) -> str:
    """The setting that it goes by (rule 7.3)."""
    if state.last_closed is not None and not state.last_closed.qty:
        return f"COOLDOWN_ABORT_SEC is {policy.cooldown_abort_ms / 1000:g}"
    return f"COOLDOWN_SEC is {policy.cooldown_ms / 1000:g}"


def _about_limits(state: State, event: SignalSeen, policy: Policy) -> NotAdmitted | None:
    if event.signal.direction is Direction.SHORT and not policy.allow_short:
        return NotAdmitted("short", "shorts are off (ALLOW_SHORT)")
    day = day_at(state, state.market.now)
    if policy.max_trades_per_day and day.trades >= policy.max_trades_per_day:
        return NotAdmitted(
            "daily_trades", f"{day.trades} trades today, MAX_TRADES_PER_DAY is {policy.max_trades_per_day}"
        )
    if policy.max_daily_loss and -day.pnl >= policy.max_daily_loss:
        limit = plain(policy.max_daily_loss)
        return NotAdmitted("daily_loss", f"{plain(-day.pnl)} lost today, MAX_DAILY_LOSS_USD is {limit}")
    return None


def _about_exits(event: SignalSeen, quote: Quote, plan: Plan, policy: Policy, rules: SymbolRules) -> NotAdmitted | None:
    """Exits that the symbol does not take are refused before there is anything to protect (rules 2.6, 4.2)."""
    legs = [(qty, target_of(n, plan)) for n, qty in enumerate(full_legs(plan, policy, rules), 1) if qty > 0]
    paired = policy.layout is not Layout.PLAIN
    needed = (OrderType.STOP_LOSS_LIMIT, OrderType.LIMIT_MAKER if paired else OrderType.LIMIT, OrderType.MARKET)
    if lacking := [str(kind) for kind in needed if kind not in rules.order_types]:
        return NotAdmitted("exits", f"{rules.symbol} takes no {', '.join(lacking)} orders, which the exits need")
    if paired and not rules.oco_allowed:
        return NotAdmitted("exits", f"{rules.symbol} takes no OCO, EXIT_LAYOUT must be PLAIN")
    stops = len(legs) if paired else 1
    if paired and 0 < rules.max_algo_orders < stops:
        most = f"{rules.symbol} takes {rules.max_algo_orders} at once"
        return NotAdmitted("exits", f"the exits are {stops} stops, {most}: EXIT_LAYOUT=PLAIN needs one")
    targets = sum(target is not None for _, target in legs)
    needs = (stops, stops + targets, targets if paired else 0)
    if brackets.wanted(policy, rules, plan.direction):  # each leg is a list, with the entry in it (rule 13.1)
        needs = (stops, stops + targets + len(legs), len(legs))
    # Between now and the exits the average comes nearer to the last price: what fits around both fits all the way.
    around = [quote.last, *([] if event.reference is None else [event.reference])]
    return _about_places(event.open_orders, needs, rules) or _about_values(around, plan, legs, policy, rules)


def _about_places(
    open_orders: tuple[OrderReport, ...] | None, needs: tuple[int, int, int], rules: SymbolRules
) -> NotAdmitted | None:
    """Whether there are places left for as many stops, orders and lists, other hands' orders counted (rule 2.6)."""
    if open_orders is None:
        return NotAdmitted("no_orders", "the open orders could not be read")
    taken = (
        sum(report.type in ALGO_TYPES for report in open_orders),
        len(open_orders),
        len({report.list_exchange_id for report in open_orders if report.list_exchange_id >= 0}),
    )
    limits = (
        ("MAX_NUM_ALGO_ORDERS", "stops", rules.max_algo_orders),
        ("MAX_NUM_ORDERS", "orders", rules.max_orders),
        ("MAX_NUM_ORDER_LISTS", "order lists", rules.max_order_lists),
    )
    for (name, what, most), need, have in zip(limits, needs, taken, strict=True):
        if most and have + need > most:
            text = f"{name}: the exits need {need} {what}, {have} are open, {rules.symbol} takes {most} at once"
            return NotAdmitted("exits", text)
    return None


def _about_values(
    around: Sequence[Decimal],
    plan: Plan,
    legs: Sequence[tuple[Decimal, Decimal | None]],
    policy: Policy,
    rules: SymbolRules,
) -> NotAdmitted | None:
    """Whether every exit's price and value pass the filters, around each of the prices that may count (rule 2.6)."""
    side = plan.direction.exit_side
    limit = stop_limit(plan.stop, plan.direction, policy, rules)
    named = [("the stop's limit", limit), *((f"TP{i}", target) for i, target in enumerate(plan.targets[:2], 1))]
    for name, price in named:
        faults = [rules.price_fault(price), *(rules.percent_fault(price, side, each) for each in around)]
        fault = next((each for each in faults if each is not None), None)
        if fault is not None:
            return NotAdmitted("exits", f"{name}: {fault}")
    for qty, target in legs:
        for price in (limit, target or limit):
            if (fault := rules.size_fault(qty, price)) is not None:
                return NotAdmitted("exits", f"an exit of {plain(qty)} at {plain(price)}: {fault}")
    return None


def _about_age(quote: Quote, now: int, policy: Policy) -> NotAdmitted | None:
    """What else was read for the signal may have waited for its turn: an old price says nothing (rules 2.6, 3.3)."""
    age = now - quote.at
    if age <= policy.quote_max_age_ms:
        return None
    most = policy.quote_max_age_ms / 1000
    return NotAdmitted("no_price", f"the price at hand is {age / 1000:.1f} s old, must be at most {most:.0f} s")


def _about_price(quote: Quote, plan: Plan, policy: Policy) -> NotAdmitted | None:
    if beyond(quote.last, plan.stop, plan.direction):
        return NotAdmitted("past_stop", f"price {plain(quote.last)} is past the stop {plain(plan.stop)}")
    if policy.entry_mode is EntryMode.MARKET_ONLY and past(quote.last, plan.targets[0], plan.direction):
        return NotAdmitted("past_target", f"price {plain(quote.last)} is past TP1 {plain(plan.targets[0])}")
    return None


def _about_money(event: SignalSeen, quote: Quote, plan: Plan, policy: Policy, rules: SymbolRules) -> NotAdmitted | None:
    notional = plan.qty * plan.entry
    if policy.max_position and notional > policy.max_position:
        limit = plain(policy.max_position)
        return NotAdmitted("max_position", f"{plain(notional)} {rules.quote}, MAX_POSITION_USD is {limit}")
    if event.balances is None:
        return NotAdmitted("no_balance", "the balances could not be read")
    needs = _needs(quote, plan, policy, rules)
    if rules.margin is not None:
        needs = needs[1:]  # what the entry itself lacks is borrowed
    for asset, needed, purpose in needs:
        account = event.margin
        free = account.available(asset) if account is not None else _free(event, asset)
        if free < needed:
            missing = plain(needed - free)
            text = f"{purpose} needs {plain(needed)} {asset}, free are {plain(free)}: {missing} {asset} missing"
            return NotAdmitted("balance", text)
    return None


def _free(event: SignalSeen, asset: str) -> Decimal:
    """What is free of the account's balance, and no other trade needs."""
    balances = event.balances or {}
    return max(balances.get(asset, Balance(ZERO)).free - event.claimed.get(asset, ZERO), ZERO)


def _needs(quote: Quote, plan: Plan, policy: Policy, rules: SymbolRules) -> list[tuple[str, Decimal, str]]:
    """What entry and exits lock, beyond what the entry itself brings (rules 2.5, 4.3)."""
    price = plan.entry
    if policy.entry_mode is EntryMode.MARKET_ONLY:
        price = quote.ask if plan.direction is Direction.LONG else quote.bid
    beside = targets_beside(plan, policy, rules)
    if plan.direction is Direction.LONG:
        needs = [(rules.quote, plan.qty * price, "the entry")]
        if beside:
            spare = sum((qty for qty, _ in beside), ZERO)
            needs.append((rules.base, spare, "EXIT_LAYOUT=PLAIN (targets beside the stop)"))
        return needs
    limit = stop_limit(plan.stop, plan.direction, policy, rules)
    bought, sold_at = plan.qty, lowest_sale(plan, quote.bid, policy, rules)
    if rules.margin is not None:  # a loan is bought back with the buy's own commission (rule 11.6)
        bought = debts.gross(plan.qty, rules.worst_keep(), rules.step) + rules.step
    locked = limit * bought + sum((qty * target for qty, target in beside), ZERO)
    proceeds = plan.qty * sold_at * (ONE - rules.taker_fee)
    return [
        (rules.base, plan.qty, "the short entry"),
        (rules.quote, max(locked - proceeds, ZERO), "the short's exits"),
    ]
