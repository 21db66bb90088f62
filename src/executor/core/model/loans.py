"""What is borrowed and given back on margin (rule 11): the account's debts as facts, what of them is ours, and the one
loan or repayment that is under way.

A loan has no client id, so its number here is not known to the exchange: it is found again by its records and by the
debt, both of which are read before it is asked for (rule 11.3).

    Loan: Submitted -> {Booked, Unresolved} -> Closed(done | refused | failed | never)

Amounts are in units of the asset they are of. Its precision is eight digits on every account of Binance.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from executor.core.model.facts import Balance, Why
from executor.core.model.values import ZERO, Count

PRECISION: Final = Decimal("1E-8")


class LoanKind(StrEnum):
    BORROW = "BORROW"
    REPAY = "REPAY"


class Debt(msgspec.Struct, frozen=True):
    """What an account owes of one asset."""

    principal: Decimal = ZERO
    interest: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.principal + self.interest


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """Margin levels of the account at which the exchange lends no more, warns, and liquidates."""

    borrow: Decimal
    call: Decimal
    liquidation: Decimal


class AssetTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What may be borrowed of one asset. `fault`: why nothing may, empty where it may."""

    fault: str = ""
    min_borrow: Decimal = ZERO
    min_repay: Decimal = ZERO


class MarginTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The account that a symbol is traded with, part of its rules. `fault`: why it can't be traded there."""

    isolated: bool
    bars: Bars
    base: AssetTerms = AssetTerms()
    quote: AssetTerms = AssetTerms()
    fault: str = ""


class Others(msgspec.Struct, frozen=True):
    """What the other symbols of this service owe of an asset on the same account: `owed` in all, as last read, and
    `moved`: all that they ever borrowed less all that they ever repaid; `claimed`: what their trades still need of what
    is free of it; `unclaimed`: what they may owe besides, as fills explain it of trades whose records are lost.
    `repaid`: all that they ever repaid.
    """

    owed: Decimal = ZERO
    moved: Decimal = ZERO
    claimed: Decimal = ZERO
    unclaimed: Decimal = ZERO
    repaid: Decimal = ZERO


class MarginAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The account as it was read, asked for at `asked_at` (ms).

    `assets` and `liabilities` are worth so much in quote with a unit of base at `price`; where that is 0, a price could
    not be had, and neither is known. `level`: their ratio as the
    exchange tells it, None without a debt (it is no ratio then); `liquidation_price`: where the exchange tells one.
    `debts`: by asset, those that are not zero. `others`: by asset, of a shared account; `beside`: which those are,
    with the number of the newest loan of each; `unsettled`: a loan of theirs is under way, so that a debt does not tell
    whose it is.
    """

    asked_at: int
    balances: dict[str, Balance]
    debts: dict[str, Debt] = {}
    assets: Decimal = ZERO
    liabilities: Decimal = ZERO
    price: Decimal = ZERO
    level: Decimal | None = None
    liquidation_price: Decimal | None = None
    others: dict[str, Others] = {}
    beside: dict[str, int] = {}
    unsettled: bool = False

    def free(self, asset: str) -> Decimal:
        balance = self.balances.get(asset)
        return balance.free if balance is not None else ZERO

    def available(self, asset: str) -> Decimal:
        """What is free of it, and not needed by trades of other symbols."""
        return max(self.free(asset) - self.others.get(asset, Others()).claimed, ZERO)

    def total(self, asset: str) -> Decimal:
        balance = self.balances.get(asset)
        return balance.total if balance is not None else ZERO

    def debt(self, asset: str) -> Debt:
        return self.debts.get(asset, Debt())


class RecordStatus(StrEnum):
    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"


class LoanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the exchange's own list of loans or repayments. `manual`: asked for, not by an order's side effect."""

    tran_id: int
    kind: LoanKind
    asset: str
    amount: Decimal
    status: RecordStatus
    time: int
    principal: Decimal = ZERO
    interest: Decimal = ZERO
    manual: bool = True


class Records(msgspec.Struct, frozen=True):
    """Which rows the list held when it was last asked for, at `asked_at` (ms); `unread`: since when (ms) it can't be
    read, 0 where it was. `newest`: when (ms) the last of them that was not refused was made, and for how much.
    """

    kind: LoanKind
    asset: str
    asked_at: int
    ids: tuple[int, ...]
    unread: Count = 0
    newest: int = 0
    amount: Decimal = ZERO


class Borrowable(msgspec.Struct, frozen=True):
    """The most of `asset` that the account may borrow now."""

    asset: str
    amount: Decimal
    asked_at: int


class Booked(msgspec.Struct, frozen=True, tag="booked"):
    """A loan or a repayment was accepted under this number; whether it is done, its record tells."""

    tran_id: int


class LoanPhase(StrEnum):
    SUBMITTED = "submitted"
    BOOKED = "booked"
    UNRESOLVED = "unresolved"
    CLOSED = "closed"


class LoanEnd(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    NEVER = "never"  # in doubt, and proven never to have been carried out (rule 11.3)


class Loan(msgspec.Struct, frozen=True, kw_only=True):
    """A loan or a repayment, and what is known of it.

    `follows`: how the one before it ended; `before`: the account's debt of the asset when it was asked for, `known`:
    the records that were there, and those of the loans shortly before it. `fence`: its request can't be carried out
    later (ms). `looks`: how often it was looked for, `misses`: of those after the fence, if it has one, that found no
    trace of it; `ask_at`: when to look (again), of a refused one before when the exchange wants no other. `shown_at`:
    since when the debt shows it done, and no record says so, which is believed when seen twice (8.6). `alerted_at`:
    when it was last told that it takes long.
    `closed_at`: since when the account shows how it ended.
    """

    n: int
    kind: LoanKind
    asset: str
    amount: Decimal
    sent_at: int
    follows: LoanEnd | None = None
    before: Debt = Debt()
    known: tuple[int, ...] = ()
    phase: LoanPhase = LoanPhase.SUBMITTED
    end: LoanEnd | None = None
    tran_id: int = 0
    fence: int = 0
    looks: Count = 0
    misses: Count = 0
    ask_at: int = 0
    shown_at: int = 0
    closed_at: int = 0
    alerted_at: int = 0
    refusal: Why | None = None

    @property
    def open(self) -> bool:
        """Whether it may still change the debt, as far as is known."""
        return self.phase is not LoanPhase.CLOSED

    @property
    def records(self) -> tuple[int, ...]:
        """What is no record of a later loan, though a list that is stale need not show it then (rule 8.6)."""
        return (*self.known, self.tran_id) if self.tran_id else self.known


class OwnDebt(msgspec.Struct, frozen=True, kw_only=True):
    """What of an account's debt is ours (rule 11.4). `own` and `foreign`: owed by us and by others than this service,
    interest included, as of `seen`, the account's debt as last believed, and what we `moved` since: borrowed less
    repaid; of its `principal` so much, None where that is not known, as by a repayment that no record tells of.
    `others_moved`, `others_repaid`: as in `Others`, when it was read, of those `beside`. `ever`: all that we moved, and
    `given` what of that we repaid, for the others.
    `doubted_at`: since when the account shows a debt that our loans and interest do not explain: believed when seen
    twice (8.6). `named`: with no trade open any more, it was told that so much is owed still.

    Of the trade at hand, or the last one: what it `borrowed` and `repaid`, the interest that it was `charged`, what of
    that the exchange has `converted`, taken in another asset, and what somebody else has repaid `by_hand`;
    `charged_most`: the most that it was charged less what was converted by then. `lent_last`: what was borrowed of the
    asset by the last trade before it that has borrowed any.
    """

    asset: str
    own: Decimal = ZERO
    foreign: Decimal = ZERO
    seen: Debt = Debt()
    moved: Decimal = ZERO
    principal: Decimal | None = ZERO
    others_moved: Decimal = ZERO
    others_repaid: Decimal = ZERO
    beside: dict[str, int] = {}
    ever: Decimal = ZERO
    given: Decimal = ZERO
    doubted_at: int = 0
    named: bool = False
    borrowed: Decimal = ZERO
    repaid: Decimal = ZERO
    charged: Decimal = ZERO
    by_hand: Decimal = ZERO
    converted: Decimal = ZERO
    charged_most: Decimal = ZERO
    lent_last: Decimal = ZERO

    @property
    def in_question(self) -> bool:
        """Whether something of it may be owed by us no more."""
        return self.own > 0 and bool(self.doubted_at)

    @property
    def lapsed(self) -> Decimal:
        """What of the interest that orders may have been sized by was taken in another asset since."""
        return self.charged_most - (self.charged - self.converted)


class Repayment(msgspec.Struct, frozen=True, kw_only=True):
    """What is owed is being given back (rule 11.7), since `since`. `judged`: the number of the newest loan whose end
    was taken note of; `again`: failures in a row, `exact`: those because the sum did not fit the debt; `ask_at`: not
    before (ms); `bought`: how often what the debt lacks was bought; `whole`: the exchange takes all of it or nothing.
    `short_at`: since when the account shows less than is owed: believed when seen twice (8.6).
    """

    since: int
    judged: int = 0
    again: Count = 0
    exact: int = 0
    ask_at: int = 0
    bought: int = 0
    whole: bool = False
    short_at: int = 0


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """An open trade's money: its entry spends `need` of `asset`, of which `spare` was free before. `accrued`: what a
    short owes in base beyond what it borrowed; what must be bought back with it (rule 11.6), `lapsed`: how much more
    that was before interest was taken in another asset. `unclaimed`: its debt is not on record, what its fills explain
    of the account's is its own (11.12). `warned`: it was told that the level is low. `shared`: another symbol trades
    its base as well, so that how much of it there is tells nothing of this trade.
    """

    asset: str
    need: Decimal = ZERO
    spare: Decimal = ZERO
    accrued: Decimal = ZERO
    lapsed: Decimal = ZERO
    unclaimed: bool = False
    warned: bool = False
    shared: bool = False
