"""`executor margin`: the margin account as Executor sees it, and what of its debts is Executor's own."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.book import debt as debts
from executor.core.book import margin_level
from executor.core.model.events import MarginSeen
from executor.core.model.loans import MarginAccount, Others
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.model.values import ZERO, plain, rounded
from executor.exchange.port import MarginExchange
from executor.ops import text
from executor.ops.margin import MarginStatus, margin_of
from executor.service.loop import Loop

_HEADER: Final = ("asset", "free", "locked", "borrowed", "interest", "Executor's", "others'")
_DIGITS: Final = Decimal("0.0001")


class AssetRow(msgspec.Struct, frozen=True, kw_only=True):
    """`borrowed`, `interest`: the account's, as the exchange tells them; `own`: what of both Executor owes with this
    symbol, `others`: what other symbols of this service owe; the rest of the debt is nobody's here.
    """

    asset: str
    free: str
    locked: str
    borrowed: str
    interest: str
    own: str
    others: str


class MarginView(msgspec.Struct, frozen=True, kw_only=True):
    """`worth`, `owed`: of the whole account, in units of `quote`. The three levels are those of rule 11.10, `bars` the
    exchange's: lends no more, warns, liquidates.
    """

    symbol: str
    quote: str
    status: MarginStatus
    worth: str
    owed: str
    bars: tuple[str, str, str]
    level_min: str
    level_alert: str
    level_reduce: str
    fault: str
    assets: list[AssetRow]


def view(state: State, account: MarginAccount, policy: Policy, rules: SymbolRules) -> MarginView:
    """Of an account that was just read."""
    terms = rules.margin
    assert terms is not None
    shown = msgspec.structs.replace(state, market=msgspec.structs.replace(state.market, margin=account))
    status = margin_of(shown, rules)
    assert status is not None
    steps = margin_level.ladder(policy, terms.bars)
    named = {rules.base, rules.quote, *account.balances, *account.debts}
    return MarginView(
        symbol=rules.symbol,
        quote=rules.quote,
        status=status,
        worth=plain(rounded(account.assets, _DIGITS)),
        owed=plain(rounded(account.liabilities, _DIGITS)),
        bars=(plain(terms.bars.borrow), plain(terms.bars.call), plain(terms.bars.liquidation)),
        level_min=plain(steps.least),
        level_alert=plain(steps.alert),
        level_reduce=plain(steps.reduce),
        fault=terms.fault,
        assets=[_row(asset, account, state, account.others) for asset in sorted(named)],
    )


async def view_now(loop: Loop) -> MarginView:
    """Of the account as it is now. Raises ReadError; AssertionError on Spot."""
    exchange = loop.exchange
    assert isinstance(exchange, MarginExchange)
    with loop.at_work():
        account = await exchange.margin_account()
    await loop.ask(MarginSeen(at=loop.now(), account=account))
    return view(loop.state, account, loop.engine.policy, loop.engine.rules)


def _row(asset: str, account: MarginAccount, state: State, others: Mapping[str, Others]) -> AssetRow:
    balance, debt = account.balances.get(asset), account.debt(asset)
    return AssetRow(
        asset=asset,
        free=plain(balance.free if balance is not None else ZERO),
        locked=plain(balance.locked if balance is not None else ZERO),
        borrowed=plain(debt.principal),
        interest=plain(debt.interest),
        own=plain(debts.find(state.debts, asset).own),
        others=plain(others.get(asset, Others()).owed),
    )


def as_text(found: MarginView) -> str:
    status = found.status
    level = status.level or f"{text.NONE} (nothing is owed)"
    borrow, call, liquidation = found.bars
    pairs = [
        ("account", status.account),
        ("margin level", level),
        ("liquidation at", status.liquidation_price or text.NONE),
        ("worth", f"{_short(found.worth)} {found.quote}, owed {_short(found.owed)} {found.quote}"),
        ("the exchange", f"lends down to {borrow}, warns at {call}, liquidates at {liquidation}"),
        (
            "Executor",
            f"no entry below {found.level_min} at its stop, alert below {found.level_alert}, closed below "
            + found.level_reduce,
        ),
    ]
    if found.fault:
        pairs.append(("no entries", found.fault))
    if status.doing:
        pairs.append(("under way", status.doing))
    rows = [
        (row.asset, *map(_or_dash, (row.free, row.locked, row.borrowed, row.interest, row.own, row.others)))
        for row in found.assets
    ]
    table = text.columns(_HEADER, rows, right=_HEADER[1:])
    return f"{found.symbol}\n{text.fields(pairs, indent='  ')}\n\n{table}"


def _or_dash(figure: str) -> str:
    return _short(figure) if Decimal(figure) else text.NONE


def _short(figure: str) -> str:
    return text.short(Decimal(figure))
