"""A cross account that several symbols of a service trade: it tells one debt of an asset, whoever of them made it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Protocol

from msgspec.structs import replace

from executor.core.model.facts import Balance, Refused, Why
from executor.core.model.loans import LoanKind, LoanRecord, MarginAccount, Others

NOT_ITS_TURN: Final = Refused(Why.LOAN_BUSY, 0, "not sent: a loan of another symbol on this account is under way")


class Neighbours(Protocol):
    """The other symbols that this service trades on the same account, which has one debt of an asset for all."""

    def debts(self, balances: Mapping[str, Balance] | None = None) -> Mapping[str, Others]:
        """What they owe, and need of what is free, by asset; of these `balances`, where they are at hand."""

    def loans(self) -> Mapping[str, int]:
        """How many loans each of them has made, by symbol."""

    def unsettled(self) -> bool:
        """Whether a loan of theirs is under way."""

    def take_turn(self) -> bool:
        """Whether no other loan of the account is under way, so that one of ours may be asked for."""

    def not_theirs(self, kind: LoanKind, rows: tuple[LoanRecord, ...]) -> tuple[LoanRecord, ...]:
        """Of the exchange's records those that are not of a loan of theirs."""


class LookBeside:
    """One look at the account, from now on: what it shows tells whose a debt is where none of them moved any in it."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._before, self._busy = neighbours.debts(), neighbours.unsettled()

    def over(self, shown: MarginAccount) -> MarginAccount:
        """The account that it has `shown`, with what they owe and need of it now."""
        before, after = self._before, self._neighbours.debts(shown.balances)
        changed = any(_moved(before, asset) != _moved(after, asset) for asset in {*before, *after})
        unsettled = self._busy or changed or self._neighbours.unsettled()
        return replace(shown, others=dict(after), beside=dict(self._neighbours.loans()), unsettled=unsettled)


def _moved(others: Mapping[str, Others], asset: str) -> tuple[Decimal, Decimal]:
    known = others.get(asset, Others())
    return known.moved, known.repaid
