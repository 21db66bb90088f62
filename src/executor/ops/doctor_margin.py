"""The doctor's look at a margin account: what it needs beyond Spot, before the first trade is made with it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.book.borrowing import need, terms_of
from executor.core.book.margin_level import ladder, level_of
from executor.core.book.plan import PlanError, make_plan
from executor.core.model.facts import Kline, Quote
from executor.core.model.loans import MarginAccount, MarginTerms
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.values import ZERO, Direction, plain, rounded
from executor.decoding import Row, decode
from executor.exchange.margin import NO_LOANS, MarginExchange
from executor.exchange.permissions import KeyPermissions
from executor.exchange.port import ReadError
from executor.exchange.wire import margin
from executor.ops import text
from executor.ops.doctor import Finding, fail, ok, warn

RESERVE_HOURS: Final = 3
"""Of interest on the largest short that ought to lie in the account: an entry that never fills owes the first at once.
"""
BNB: Final = "BNB"


class _Rate(Row, frozen=True, rename="camel"):
    asset: str
    next_hourly_interest_rate: Decimal


class _Burn(msgspec.Struct, frozen=True):
    interest: bool = msgspec.field(name="interestBNBBurn", default=False)


def about_key(key: KeyPermissions) -> Iterator[Finding]:
    if key.margin is None:
        yield warn("margin key", "the exchange does not say whether the key may borrow", "the first loan tells")
    elif key.margin:
        yield ok("margin key", "may borrow and repay")
    else:
        yield fail("margin key", "the key may not borrow and repay", NO_LOANS)


async def on_the_margin(
    exchange: MarginExchange, account: MarginAccount, policy: Policy, rules: SymbolRules, quote: Quote
) -> list[Finding]:
    """What the account, its pair and its assets allow. Reads only. Raises ReadError."""
    terms = rules.margin
    assert terms is not None
    findings = [*_account(exchange, account, rules), *_pair(rules, terms), _levels(policy, terms)]
    for direction in (Direction.LONG, Direction.SHORT) if policy.allow_short else (Direction.LONG,):
        findings += await _loan(exchange, account, policy, rules, quote, direction)
    findings += await _interest(exchange, account)
    return findings


def _account(exchange: MarginExchange, account: MarginAccount, rules: SymbolRules) -> Iterator[Finding]:
    kind = exchange.account.kind
    level = level_of(account)
    worth = f"{text.short(rounded(account.assets, rules.tick))} {rules.quote}"
    if not account.assets and account.price:
        yield fail("margin account", f"{kind}, open, and empty", "transfer collateral to it: see docs/margin.md")
    elif level is None:
        yield ok("margin account", f"{kind}, worth {worth}, nothing owed")
    else:
        yield ok("margin account", f"{kind}, worth {worth}, level {level:.4f}")
    for asset, debt in sorted(account.debts.items()):
        said = f"{text.short(debt.total)} {asset} owed already"
        if asset in (rules.base, rules.quote):
            advice = f"`executor margin` shows whose it is; `executor repay {asset}` gives it back"
            yield warn("margin debts", said, advice)
        else:
            yield warn("margin debts", said, "not touched by this symbol's trades; it lowers the account's level")


def _pair(rules: SymbolRules, terms: MarginTerms) -> Iterator[Finding]:
    if terms.fault:
        yield fail("margin pair", terms.fault, "the message says what to do")
    for asset in (rules.base, rules.quote):
        fault = terms_of(asset, terms, rules).fault
        side = "shorts" if asset == rules.base else "longs"
        if fault:
            yield warn("margin assets", fault, f"{side} that have to borrow it are refused")
        else:
            yield ok("margin assets", f"{asset} can be borrowed, for {side}")


def _levels(policy: Policy, terms: MarginTerms) -> Finding:
    bars, steps = terms.bars, ladder(policy, terms.bars)
    said = (
        f"the exchange lends down to {plain(bars.borrow)}, warns at {plain(bars.call)}, liquidates at "
        f"{plain(bars.liquidation)}; entries leave {plain(steps.least)}, alert at {plain(steps.alert)}, closed at "
        f"{plain(steps.reduce)}"
    )
    if steps.reduce <= bars.liquidation:
        return fail("margin levels", said, "MARGIN_LEVEL_REDUCE must be above the level of liquidation")
    if steps.alert <= steps.reduce or steps.least <= steps.reduce:
        return fail("margin levels", said, "MARGIN_LEVEL_MIN and _ALERT must be above MARGIN_LEVEL_REDUCE")
    return ok("margin levels", said)


async def _loan(
    exchange: MarginExchange,
    account: MarginAccount,
    policy: Policy,
    rules: SymbolRules,
    quote: Quote,
    direction: Direction,
) -> list[Finding]:
    """What one trade would borrow now, and whether so much is to be had; of a short, the reserve for its interest."""
    name = f"a {direction}'s loan"
    signal = Signal(key="doctor", at=quote.at, direction=direction, price=quote.last)
    klines: tuple[Kline, ...] = ()
    try:
        plan = make_plan(signal, policy, rules, klines)
    except PlanError:
        return []  # told of where sizes are looked at
    wanted = need(plan, policy, rules)
    lacks = max(wanted.amount - account.free(wanted.asset), ZERO)
    said = f"{text.short(lacks)} {wanted.asset} of {text.short(wanted.amount)} needed"
    try:
        most = await exchange.borrowable(wanted.asset)
    except ReadError as error:
        advice = "transfer collateral to the account: see docs/margin.md"
        return [warn(name, f"what may be borrowed could not be read: {error}", advice)]
    if lacks > most:
        advice = "more collateral, or a smaller size; where the exchange has none to lend, later"
        return [fail(name, f"{said}, {text.short(most)} can be borrowed now", advice)]
    found = [ok(name, f"{said}, up to {text.short(most)} can be borrowed now")]
    if direction is Direction.SHORT:
        found += await _reserve(exchange, account, wanted.asset, lacks)
    return found


async def _reserve(exchange: MarginExchange, account: MarginAccount, asset: str, loan: Decimal) -> list[Finding]:
    rate = await _rate(exchange, asset)
    if rate is None:
        return []
    reserve = rounded(loan * rate * RESERVE_HOURS, Decimal("1E-8"))
    free = account.free(asset)
    said = f"{text.short(free)} {asset} free; {RESERVE_HOURS} hours of interest on a short are {text.short(reserve)}"
    if free < reserve:
        advice = (
            f"keep some {asset} in the account: a short that never fills owes its first hour, too little to be bought"
        )
        return [warn("base reserve", said, advice)]
    return [ok("base reserve", said)]


async def _rate(exchange: MarginExchange, asset: str) -> Decimal | None:
    asked = {"assets": asset, "isIsolated": "TRUE" if exchange.account.isolated else "FALSE"}
    try:
        rates = await exchange.connection.read(
            margin.NEXT_RATE, asked, lambda reply: decode(reply.body, tuple[_Rate, ...])
        )
    except ReadError:
        return None
    return next((each.next_hourly_interest_rate for each in rates if each.asset == asset), None)


async def _interest(exchange: MarginExchange, account: MarginAccount) -> list[Finding]:
    """Whether interest is paid in BNB, and out of what."""
    try:
        burn = await exchange.connection.read(margin.BNB_BURN, {}, lambda reply: decode(reply.body, _Burn))
    except ReadError:
        return []
    if not burn.interest:
        return [ok("interest", "is paid in the asset that is owed")]
    if exchange.account.isolated:
        return [
            ok("interest", "BNB for interest is on, which an isolated account holds none of: paid in the asset owed")
        ]
    if not account.free(BNB):
        advice = "transfer some BNB to the cross account, or turn it off on the exchange's fee page"
        return [
            warn("interest", "BNB for interest is on, and the account has no BNB: it is paid in the asset owed", advice)
        ]
    return [ok("interest", f"is paid in BNB ({text.short(account.free(BNB))} free)")]
