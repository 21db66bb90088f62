"""A margin account as operators see it: whose, at which level, what is owed, and what is being done about it."""

from decimal import Decimal
from typing import Final

import msgspec

from executor.core.book import margin_level
from executor.core.model.loans import LoanKind, OwnDebt
from executor.core.model.rules import SymbolRules
from executor.core.model.state import State
from executor.core.model.values import plain, rounded
from executor.ops import text

KINDS: Final = ("isolated margin", "cross margin")
"""The end of a venue in a state file."""


class DebtStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Of one asset. `owed`: by Executor now, interest included; `borrowed`, `interest`, `repaid`: of the trade at hand,
    or the last one; `foreign`: what the account owes beside.
    """

    asset: str
    owed: str
    borrowed: str
    interest: str
    repaid: str
    foreign: str


class MarginStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`level`: null without a debt, when there is none, and when no service runs; `liquidation_price`: quote per base.
    `doing`: the loan or repayment that is under way, empty when none is.
    """

    account: str
    level: str | None
    liquidation_price: str | None
    debts: list[DebtStatus]
    doing: str


def margin_of(state: State, rules: SymbolRules | None) -> MarginStatus | None:
    """None on Spot. `rules` None: from a state file alone."""
    kind = next((each for each in KINDS if state.venue.endswith(each)), None)
    if kind is None:
        return None
    account = state.market.margin
    level = margin_level.level_of(account) if account is not None else None
    price = None
    if account is not None and rules is not None and rules.margin is not None:
        price = margin_level.liquidation_price(account, rules, rules.margin.bars)
        price = rounded(price, rules.tick) if price is not None else None
    return MarginStatus(
        account=kind,
        level=plain(rounded(level, Decimal("0.0001"))) if level is not None else None,
        liquidation_price=plain(price) if price is not None else None,
        debts=[_debt(each) for each in sorted(state.debts, key=lambda debt: debt.asset) if _matters(each)],
        doing=_doing(state),
    )


def _matters(debt: OwnDebt) -> bool:
    return bool(debt.own or debt.foreign or debt.borrowed or debt.repaid or debt.charged)


def _debt(debt: OwnDebt) -> DebtStatus:
    return DebtStatus(
        asset=debt.asset,
        owed=plain(debt.own),
        borrowed=plain(debt.borrowed),
        interest=plain(debt.charged),
        repaid=plain(debt.repaid),
        foreign=plain(debt.foreign),
    )


def _doing(state: State) -> str:
    loan = state.loan
    if loan is not None and loan.open:
        what = "loan of" if loan.kind is LoanKind.BORROW else "repayment of"
        return f"{what} {text.short(loan.amount)} {loan.asset}: {loan.phase}"
    return "what is owed is being repaid" if state.repaying is not None else ""


def lines(margin: MarginStatus) -> list[tuple[str, str]]:
    """For `executor status`."""
    found = [("account", margin.account), ("margin level", _level(margin))]
    if margin.liquidation_price is not None:
        found.append(("liquidation at", margin.liquidation_price))
    found += [(f"debt {each.asset}", debt_text(each)) for each in margin.debts]
    if margin.doing:
        found.append(("under way", margin.doing))
    return found


def _level(margin: MarginStatus) -> str:
    if margin.level is not None:
        return margin.level
    owed = any(Decimal(each.owed) for each in margin.debts)
    return "not known" if owed else f"{text.NONE} (nothing is owed)"


def debt_text(debt: DebtStatus) -> str:
    told = f"{_short(debt.owed)} owed"
    if Decimal(debt.borrowed):
        told += f"; borrowed {_short(debt.borrowed)}, interest {_short(debt.interest)}, repaid {_short(debt.repaid)}"
    if Decimal(debt.foreign):
        told += f"; and {_short(debt.foreign)} not of Executor's making"
    return told


def _short(figure: str) -> str:
    return text.short(Decimal(figure))
