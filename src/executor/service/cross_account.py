"""What the symbols of one account know of each other: it has one purse, and a cross account tells one debt of an asset,
whoever of them made it.

Loans are asked for one at a time: one whose answer is lost is found by its amount, and two alike could not be told
apart (rule 11.3).
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Protocol

from msgspec.structs import replace

from executor.core.absorb.admit import newest_trade
from executor.core.book import debt as debts
from executor.core.book.claims import claims, on_spot, stands
from executor.core.model.events import SignalSeen
from executor.core.model.facts import Balance
from executor.core.model.loans import Loan, LoanKind, LoanPhase, LoanRecord, Others
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Repaying, State
from executor.core.model.values import ZERO, Direction

KEPT: Final = 100
"""Records are asked for as far back as a minute or two: each of its loans is among the newest so many."""


class Trading(Protocol):
    """One symbol of the account, as far as the others know it: its engine."""

    @property
    def state(self) -> State: ...

    @property
    def policy(self) -> Policy: ...

    @property
    def rules(self) -> SymbolRules: ...


def told_beside(others: Sequence[Trading], sharing: Sequence[Trading], event: SignalSeen) -> SignalSeen:
    """The signal with what it has to know of the account's `others`: their newest trade; and of those that are
    `sharing` its purse what they need, by asset that they trade, of the balances that were read for it. On borrowed
    money that is told with the account.
    """
    event = replace(event, newest=max((newest_trade(each.state) for each in others), default=0))
    if event.balances is None or not sharing:
        return event
    since, pays = event.asked_at, event.signal.direction is Direction.SHORT
    untold = _untold(sharing, event.balances)
    found = defaultdict[str, Decimal](Decimal)
    for each in sharing:
        rules = each.rules
        found |= {asset: found[asset] for asset in (rules.base, rules.quote)}
        needs = on_spot(each.state, each.policy, rules, since, for_exits=pays, untold=untold)
        for asset, claim in needs.items():
            found[asset] += claim
    return replace(event, claimed=dict(found))


def _untold(traded: Iterable[Trading], balances: Mapping[str, Balance]) -> set[str]:
    """The assets of which less is locked than orders of all that are `traded` lock: one of them has traded since."""
    locks = defaultdict[str, Decimal](Decimal)
    for each in traded:
        for asset, lock in stands(each.state, each.rules).items():
            locks[asset] += lock
    return {asset for asset, lock in locks.items() if balances.get(asset, Balance(ZERO)).locked < lock}


class CrossAccount:
    """One for all that is traded on a cross account, by symbol."""

    def __init__(self, traded: Mapping[str, Trading]) -> None:
        self._traded = traded
        self._turn = ""
        self._made = {symbol: deque[int](maxlen=KEPT) for symbol in traded}
        """The numbers of their loans and repayments, as far as they are known."""

    def neighbours_of(self, symbol: str) -> "NeighboursOf":
        return NeighboursOf(self, symbol)

    def others(self, symbol: str) -> list[State]:
        return [each.state for each in self.beside(symbol)]

    @property
    def traded(self) -> list[Trading]:
        return list(self._traded.values())

    def beside(self, symbol: str) -> list[Trading]:
        return [each for name, each in self._traded.items() if name != symbol]

    def note(self) -> None:
        """Remember the number of each one's newest loan: once it has another, that one's record is still its own."""
        for symbol, made in self._made.items():
            loan = self.state_of(symbol).loan
            if loan is not None and loan.tran_id and loan.tran_id not in made:
                made.append(loan.tran_id)

    def made_beside(self, symbol: str) -> set[int]:
        self.note()
        return {number for name, made in self._made.items() if name != symbol for number in made}

    def state_of(self, symbol: str) -> State:
        return self._traded[symbol].state

    def take_turn(self, symbol: str) -> bool:
        """Whether `symbol` may ask for a loan: whoever had the turn last has none under way any more."""
        holder = self._traded.get(self._turn)
        if holder is not None and self._turn != symbol and _open(holder.state) is not None:
            return False
        if not self._turn and any(_in_doubt(state) for state in self.others(symbol)):
            return False  # one from before this start
        self._turn = symbol
        return True


class NeighboursOf:
    """`executor.exchange.neighbours.Neighbours` of one symbol."""

    def __init__(self, account: CrossAccount, symbol: str) -> None:
        self._account = account
        self._symbol = symbol

    def debts(self, balances: Mapping[str, Balance] | None = None) -> Mapping[str, Others]:
        self._account.note()
        found: dict[str, Others] = {}
        own = self._account.state_of(self._symbol)
        untold = _untold(self._account.traded, balances) if balances is not None else set()
        for each in self._account.beside(self._symbol):
            for debt in each.state.debts:
                known = found.get(debt.asset, Others())
                owed, moved = known.owed + debt.own, known.moved + debt.ever
                found[debt.asset] = replace(known, owed=owed, moved=moved, repaid=known.repaid + debt.given)
            ahead = _ahead(each.state, own)
            for asset, claim in claims(each.state, each.policy, each.rules, ahead=ahead, untold=untold).items():
                known = found.get(asset, Others())
                ours = ZERO if ahead or not _repays(each.state) else _interest_missing(own, asset)
                found[asset] = replace(known, claimed=known.claimed + max(claim - ours, ZERO))
            for asset, part in _unclaimed(each.state).items():
                known = found.get(asset, Others())
                found[asset] = replace(known, unclaimed=known.unclaimed + part)
        return found

    def loans(self) -> Mapping[str, int]:
        others = self._account.others(self._symbol)
        return {state.symbol: state.loan.n if state.loan is not None else 0 for state in others}

    def unsettled(self) -> bool:
        """Of several whose debts are not on record any more, the one that was opened first finds out its own first."""
        own = self._account.state_of(self._symbol)
        return any(
            _open(state) is not None or (_unclaimed(state) and (not _unclaimed(own) or _ahead(state, own)))
            for state in self._account.others(self._symbol)
        )

    def take_turn(self) -> bool:
        return self._account.take_turn(self._symbol)

    def not_theirs(self, kind: LoanKind, rows: tuple[LoanRecord, ...]) -> tuple[LoanRecord, ...]:
        """A record that fits a loan in doubt of theirs that was asked for before ours is theirs until that is settled,
        as is one whose number they know.
        """
        own = _place(self._account.state_of(self._symbol))
        others = self._account.others(self._symbol)
        known = self._account.made_beside(self._symbol)
        earlier = {
            (loan.asset, loan.amount)
            for state in others
            if (loan := _open(state)) is not None and loan.kind is kind and _place(state) < own
        }
        return tuple(row for row in rows if row.tran_id not in known and (row.asset, row.amount) not in earlier)


def _open(state: State) -> Loan | None:
    return state.loan if state.loan is not None and state.loan.open else None


def _ahead(state: State, of: State) -> bool:
    """Whether the trade of `state` was opened before that of the other, if that has one yet."""
    if state.position is None or of.position is None:
        return of.position is None
    return (state.position.opened, state.symbol) < (of.position.opened, of.symbol)


def _repays(state: State) -> bool:
    return state.position is not None and isinstance(state.position.phase, Repaying)


def _interest_missing(state: State, asset: str) -> Decimal:
    """What a trade that repays owes beyond its loan, where that is no more than interest. Of several that lack nothing
    else the one that was opened first takes it of what the others keep for their own debts: they would wait for each
    other, and none could be rid of all that it owes (rule 11.7).
    """
    debt = debts.find(state.debts, asset)
    beyond = debt.own - debt.borrowed
    return beyond if _repays(state) and not debt.repaid and 0 < beyond <= debt.borrowed / debts.LARGEST_CHARGE else ZERO


def _place(state: State) -> tuple[int, str]:
    """Whose loan was asked for first."""
    return (state.loan.sent_at if state.loan is not None else 0), state.symbol


def _in_doubt(state: State) -> bool:
    loan = _open(state)
    return loan is not None and loan.phase is not LoanPhase.SUBMITTED


def _unclaimed(state: State) -> Mapping[str, Decimal]:
    """What a trade may owe whose debt is not on record yet, by asset (rule 11.12)."""
    position = state.position
    if position is None or position.credit is None or not position.credit.unclaimed:
        return {}
    return {position.credit.asset: debts.explained(position, position.credit)}
