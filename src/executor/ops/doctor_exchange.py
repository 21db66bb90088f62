"""The doctor's look at the exchange: clock, key, symbol rules against the settings, balances for the layout."""

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.config import BinanceEnv, Settings
from executor.core.absorb.admit import NotAdmitted, judge
from executor.core.book import brackets
from executor.core.book.plan import split
from executor.core.model.events import SignalSeen
from executor.core.model.facts import Balance, Kline, Quote
from executor.core.model.loans import MarginAccount
from executor.core.model.policy import Layout, Policy, TrailMode
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import Market, Plan
from executor.core.model.values import ZERO, Direction, OrderType, plain
from executor.core.transition import empty
from executor.exchange.binance import BinanceExchange
from executor.exchange.margin import MarginExchange
from executor.exchange.permissions import KeyPermissions, key_permissions
from executor.exchange.port import ReadError
from executor.ops import text
from executor.ops.doctor import Finding, fail, ok, warn
from executor.ops.doctor_margin import about_key as about_loans
from executor.ops.doctor_margin import on_the_margin

OFFSET_WARN_MS: Final = 1_000
LATENCY_WARN_MS: Final = 500
WEIGHT_WARN: Final = 50  # per cent
NEEDED: Final = (OrderType.LIMIT, OrderType.MARKET, OrderType.STOP_LOSS_LIMIT)
HAS_WALLET: Final = (BinanceEnv.LIVE, BinanceEnv.CUSTOM)


async def on_the_account(settings: Settings, exchange: BinanceExchange) -> list[Finding]:
    """What is the same for all symbols: the way to the exchange, the clock, the key. Reads only. Raises ReadError when
    the exchange stops answering meanwhile.
    """
    began = time.perf_counter()
    await exchange.quote()
    latency = (time.perf_counter() - began) * 1000
    return [*_reach(exchange, latency), *await _key(settings, exchange)]


async def on_the_symbol(exchange: BinanceExchange, policy: Policy, rules: SymbolRules) -> list[Finding]:
    """The symbol's rules, and what would become of a signal now. Reads only. Raises ReadError."""
    quote = await exchange.quote()
    account = await exchange.margin_account() if isinstance(exchange, MarginExchange) else None
    balances = account.balances if account is not None else await exchange.balances()
    klines = await exchange.klines(policy.swing_mins)
    found = [*_symbol(policy, rules), *_sizes(policy, rules, quote, balances, klines, exchange.now(), account)]
    if isinstance(exchange, MarginExchange) and account is not None:
        found += await on_the_margin(exchange, account, policy, rules, quote)
    return found


def _reach(exchange: BinanceExchange, latency: float) -> Iterator[Finding]:
    said = f"answers in {latency:.0f} ms"
    if latency > LATENCY_WARN_MS:
        yield warn("exchange", said, "use a machine nearer to the exchange: every stop waits this long")
    else:
        yield ok("exchange", said)
    offset = exchange.connection.clock.offset
    said = f"{offset} ms off the exchange's"
    if abs(offset) > OFFSET_WARN_MS:
        yield warn("clock", f"{said}; corrected for", "run an NTP service: a clock that jumps makes requests fail")
    else:
        yield ok("clock", said)
    budget = exchange.connection.budget
    used = 100 * budget.used // budget.limit
    said = f"{budget.used} of {budget.limit} request weight used in this minute"
    if used > WEIGHT_WARN:
        yield warn("rate limit", said, "other programs on this address use it up: give Executor its own")
    else:
        yield ok("rate limit", said)


async def _key(settings: Settings, exchange: BinanceExchange) -> list[Finding]:
    accepted = ok("key", "accepted, the account may trade")
    if settings.binance_env not in HAS_WALLET:
        return [accepted]
    try:
        key = await key_permissions(exchange.connection)
        on_margin = about_loans(key) if isinstance(exchange, MarginExchange) else ()
        return [accepted, *about_key(key), *on_margin]
    except ReadError as error:
        advice = "look at the key's page: no withdrawals, only your address"
        return [accepted, warn("key permissions", f"could not be read: {error}", advice)]


def about_key(key: KeyPermissions) -> Iterator[Finding]:
    if not key.spot:
        yield fail("key permissions", "the key may not trade on Spot", "enable Spot trading for the key")
    if key.withdrawals:
        yield fail("key permissions", "the key may WITHDRAW", "take that away: Executor never needs it")
    if not key.ip_restrict:
        yield warn("key permissions", "the key works from any address", "restrict it to this machine's address")
    if key.spot and not key.withdrawals and key.ip_restrict:
        yield ok("key permissions", "trades, does not withdraw, from named addresses only")


def _symbol(policy: Policy, rules: SymbolRules) -> Iterator[Finding]:
    if not rules.tradable:
        yield fail("symbol", f"{rules.symbol} is not open for trading", "choose another SYMBOL, or wait")
    missing = [str(kind) for kind in NEEDED if kind not in rules.order_types]
    if missing:
        yield fail("symbol", f"{rules.symbol} has no {', '.join(missing)} orders", "choose another SYMBOL")
    if policy.layout is not Layout.PLAIN and not rules.oco_allowed:
        yield fail("symbol", f"{rules.symbol} allows no OCO lists", "EXIT_LAYOUT=PLAIN")
    elif policy.layout is Layout.BRACKET and (fault := brackets.lacking(policy, rules)):
        yield warn("symbol", fault, "nothing, if that will do; else another symbol")
    if policy.trail_mode is TrailMode.NATIVE and not rules.trailing_allowed:
        yield fail("symbol", f"{rules.symbol} allows no trailing orders", "TRAIL_MODE=DISTANCE or SWING")
    yield from _stops(policy, rules)
    if not rules.cancel_replace_allowed and rules.margin is None:  # on margin nobody has it
        yield warn("symbol", f"{rules.symbol} has no cancel-replace", "a moved stop leaves a moment without one")
    fees = f"fees {text.short(rules.maker_fee * 100)} / {text.short(rules.taker_fee * 100)} %"
    steps = f"tick {plain(rules.tick)}, step {plain(rules.step)}, least notional {text.short(rules.min_notional)}"
    yield ok("symbol", f"{rules.symbol}: {steps}, {fees}")


def _stops(policy: Policy, rules: SymbolRules) -> Iterator[Finding]:
    """MAX_NUM_ALGO_ORDERS counts stops (filters.md): one a leg with OCO (rule 4.2), one in all with PLAIN (4.3)."""
    most = rules.max_algo_orders
    needed = sum(1 for weight in policy.split if weight) if policy.layout is not Layout.PLAIN else 1
    said = f"{rules.symbol} takes {most} stops at once, and EXIT_LAYOUT={policy.layout} has {needed}"
    if 0 < most < needed:
        yield fail("stops", said, "EXIT_LAYOUT=PLAIN, or fewer legs in QTY_SPLIT")
    elif most == needed:
        yield warn("stops", said, "leave the symbol to Executor: a stop of anybody else's takes the place of its own")


def _sizes(
    policy: Policy,
    rules: SymbolRules,
    quote: Quote,
    balances: dict[str, Balance],
    klines: tuple[Kline, ...],
    now: int,
    account: MarginAccount | None = None,
) -> Iterator[Finding]:
    """What would become of a plain signal at the price of this moment: filters, split, money."""
    directions = (Direction.LONG, Direction.SHORT) if policy.allow_short else (Direction.LONG,)
    for direction in directions:
        signal = Signal(key="doctor", at=now, direction=direction, price=quote.last)
        event = SignalSeen(at=now, signal=signal, quote=quote, balances=balances, klines=klines, margin=account)
        state = replace(empty(rules.symbol), market=Market(now=now, quote=quote))
        judged = judge(state, event, policy, rules)
        if isinstance(judged, NotAdmitted):
            yield fail(f"a {direction}", f"would be refused: {judged.text}", _ADVICE.get(judged.kind, _ADVICE[""]))
            continue
        yield _legs(judged.plan, policy, rules)


def _legs(plan: Plan, policy: Policy, rules: SymbolRules) -> Finding:
    name = f"a {plan.direction}"
    kept = rules.whole(plan.qty * rules.worst_keep())
    sizes = split(kept, plan, policy, rules) or (ZERO, ZERO, ZERO)
    legs = [size for size in sizes if size]
    wanted = sum(1 for weight in policy.split if weight)
    said = f"{plain(plan.qty)} {rules.base} at {plain(plan.entry)} in {len(legs)} legs of {_listed(legs)}"
    if len(legs) < wanted:
        return warn(name, f"{said}, not {wanted}", "a larger size, or QTY_SPLIT: each leg must pass the filters")
    return ok(name, said)


def _listed(sizes: list[Decimal]) -> str:
    return ", ".join(plain(size) for size in sizes)


_ADVICE: Final = {
    "balance": "put the missing amount into the account, or trade a smaller size",
    "plan": "change the size or the stop: see QTY, QTY_USD, RISK_USD, SL_PCT",
    "max_position": "raise MAX_POSITION_USD, or trade a smaller size",
    "margin_level": "more collateral, a smaller size, or a nearer stop; see MARGIN_LEVEL_MIN",
    "max_borrow": "raise MARGIN_MAX_BORROW_USD, or trade a smaller size",
    "borrow": "hold enough of the asset, or wait until it is lent again",
    "market_closed": "wait until the symbol is open",
    "": "see the reason; the setting is named in it",
}
