"""How much is owed, whose debt it is, and what a short must buy to be rid of it (rules 11.3, 11.4, 11.6, 11.9).

Of an account the exchange tells one debt for each asset, whoever made it. What of it is ours is kept by what we
borrowed and repaid, and by how it grew between two readings: interest is shared by what each owes. What neither
explains was done by somebody else, and is believed when it is seen twice (8.6).
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from executor.core.model.loans import PRECISION, Credit, Debt, LoanKind, MarginAccount, Others, OwnDebt
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Position, State
from executor.core.model.values import ONE, ZERO, Direction, ceil_to, floor_to

RESERVED_HOURS: Final = 3
"""Of interest that a short's exits buy beforehand, a step at most: what is charged while they wait."""
LEFT_OVER_STEPS: Final = 3
"""What a short buys beyond its debt, for the rounding of its orders, is dust and not sold back (rule 11.6)."""
_SLACK: Final = 10 * PRECISION
"""How much less than expected may be owed because somebody rounds otherwise."""
LARGEST_CHARGE: Final = Decimal(100)
"""A debt of which it is not known what of it was repaid, the loan or its interest, has not grown by interest when it
has grown by more than a hundredth of it between two readings.
"""
_UNSPENT: Final = Decimal(50)
"""A loan may be larger by a fiftieth than what its entry has spent."""
_OTHERS_INTEREST: Final = Decimal(1_000)
"""What others of this service owe may have grown by a thousandth since they last looked."""


# --- the account's debts ----------------------------------------------------------------------------------------------


def find(debts: Iterable[OwnDebt], asset: str) -> OwnDebt:
    """That of `asset`; an empty one where nothing was ever owed or seen of it."""
    return next((debt for debt in debts if debt.asset == asset), OwnDebt(asset=asset))


def with_debt(state: State, debt: OwnDebt) -> State:
    """`state` with `debt` in the place of the one of its asset; itself when nothing changes."""
    known = find(state.debts, debt.asset)
    if known == debt:
        return state
    others = tuple(each for each in state.debts if each.asset != debt.asset)
    return replace(state, debts=(*others, debt))


def owed(debts: Iterable[OwnDebt]) -> dict[str, Decimal]:
    """What we owe, by asset."""
    return {debt.asset: debt.own for debt in debts if debt.own > 0}


def of_new_trade(debt: OwnDebt) -> OwnDebt:
    """A trade begins: what it borrows and is charged is counted from here on."""
    lent = debt.borrowed or debt.lent_last
    debt = replace(debt, borrowed=ZERO, repaid=ZERO, by_hand=ZERO, lent_last=lent)
    return replace(debt, charged=ZERO, converted=ZERO, charged_most=ZERO)


def moved(debt: OwnDebt, kind: LoanKind, amount: Decimal, principal: Decimal | None = None) -> OwnDebt:
    """A loan or repayment of ours is done. `principal`: what of a repayment was not for interest, if that is known."""
    sign = 1 if kind is LoanKind.BORROW else -1
    principal = amount if kind is LoanKind.BORROW else principal
    return replace(
        debt,
        own=max(debt.own + sign * amount, ZERO),
        moved=debt.moved + sign * amount,
        principal=None if debt.principal is None or principal is None else debt.principal + sign * principal,
        ever=debt.ever + sign * amount,
        given=debt.given + (amount if kind is LoanKind.REPAY else ZERO),
        borrowed=debt.borrowed + (amount if kind is LoanKind.BORROW else ZERO),
        repaid=debt.repaid + (amount if kind is LoanKind.REPAY else ZERO),
    )


def read(debt: OwnDebt, account: MarginAccount, grace_ms: int) -> OwnDebt:
    """`debt` with what the account shows now."""
    if account.unsettled:
        return debt
    shown, others = account.debt(debt.asset), account.others.get(debt.asset, Others())
    debt = _beside(debt, account, others)
    if not debt.own and not debt.moved:
        if _is_late(debt, shown, others):
            late = shown.total
            return _seen(replace(debt, own=late, charged=debt.charged + late, named=False), shown, others)
        if not _may_be_late(debt, shown, others) or _believed(debt, account, grace_ms):
            return _seen(replace(debt, foreign=_foreign(shown, others)), shown, others)
        return _doubted(debt, account)
    grown = _grown(debt, shown, others)
    if _adds_up(debt, shown, others):
        return _seen(debt, shown, others)
    if _is_interest(debt, shown, others, grown):
        return _seen(_charged(debt, grown, shown, others), shown, others)
    if _is_converted(debt, shown, others, grown):
        return _seen(_converted(debt, -grown, shown, others), shown, others)
    if not _believed(debt, account, grace_ms):
        return _doubted(debt, account)
    return _seen(_by_hand(debt, grown, shown, others), shown, others)


def _doubted(debt: OwnDebt, account: MarginAccount) -> OwnDebt:
    return replace(debt, doubted_at=debt.doubted_at or account.asked_at)


def _believed(debt: OwnDebt, account: MarginAccount, grace_ms: int) -> bool:
    """Whether what the account shows was seen before, so long ago (rule 8.6)."""
    return bool(debt.doubted_at) and account.asked_at - debt.doubted_at >= grace_ms


def _may_be_late(debt: OwnDebt, shown: Debt, others: Others) -> bool:
    """Whether what the account shows while we owe nothing may be from before a repayment, or a loan, of others of this
    service.
    """
    repaid, lent = others.repaid != debt.others_repaid, others.moved > debt.others_moved
    more, less = _foreign(shown, others) - debt.foreign, others.owed - shown.total
    slack = max(debt.foreign, others.owed) / _OTHERS_INTEREST
    return (repaid and more > slack) or (lent and less > slack)


def _beside(debt: OwnDebt, account: MarginAccount, others: Others) -> OwnDebt:
    """`debt` as it is beside the symbols that share the account now. Where one of them is there no more, or is new, or
    knows no more of its own loans, the sums that they ever moved say nothing of what was done since: of what was owed
    then all that they don't owe, and we neither, is somebody else's; and what they owe beyond it, they have borrowed.
    """
    then, now = debt.beside, account.beside
    if then == now:
        return debt
    debt = replace(debt, beside=now)
    if then.keys() == now.keys() and all(n <= now[symbol] for symbol, n in then.items()):
        return debt
    theirs = debt.seen.total + debt.moved - debt.own
    borrowed = _unless_interest(others.owed - theirs, others)
    return replace(debt, foreign=_beyond(theirs, others), others_moved=others.moved - borrowed)


def less_shown(debt: OwnDebt, account: MarginAccount) -> bool:
    """Whether the account has shown, once, that somebody else has repaid some of `debt`."""
    others = account.others.get(debt.asset, Others())
    return debt.in_question and _grown(debt, account.debt(debt.asset), others) < -_SLACK


def _grown(debt: OwnDebt, shown: Debt, others: Others) -> Decimal:
    """What more is owed than when it was last believed, but for what this service has moved since."""
    return shown.total - (debt.seen.total + debt.moved + others.moved - debt.others_moved)


def _is_interest(debt: OwnDebt, shown: Debt, others: Others, grown: Decimal) -> bool:
    """Whether interest explains that the debt has `grown`. What is lent grows by loans alone, so where it is known how
    much of it should be left, all else is interest, however long nobody has looked; a repayment pays interest first,
    so where it is not known how much there was, what is left of the debt may be either.
    """
    if grown < -_SLACK:
        return False
    lent = _lent(debt, others)
    if lent is not None:
        return shown.principal <= lent
    borrowed = max(debt.moved, ZERO) + max(others.moved - debt.others_moved, ZERO)
    most = max((debt.seen.total + borrowed) / LARGEST_CHARGE, _SLACK)
    others_repaid = _repaid_beside(debt, others)  # our interest too, first of all: what was lent is less paid by it
    return grown <= most and (others_repaid or shown.principal <= debt.seen.principal + borrowed)


def _is_late(debt: OwnDebt, shown: Debt, others: Others) -> bool:
    """Whether what is owed while we owe nothing is interest on what we have repaid: it may be charged for an hour that
    was over by then, and show only later (rules 8.8, 11.7). Somebody else's would be on a loan, or beside what they
    owed before.
    """
    if shown.principal or debt.foreign or others.owed:
        return False
    return ZERO < shown.interest <= max(debt.borrowed, debt.lent_last) / LARGEST_CHARGE


def _is_converted(debt: OwnDebt, shown: Debt, others: Others, grown: Decimal) -> bool:
    """Whether the exchange has taken interest in another asset, as BNB: of what was lent nothing is gone, or where that
    is not known, no more than interest. Whether it shows that interest in the debt before, Binance's documents leave
    open (rule 8.8).
    """
    lent = _lent(debt, others)
    return grown < 0 and (shown.principal == lent if lent is not None else -grown <= debt.seen.interest)


def _lent(debt: OwnDebt, others: Others) -> Decimal | None:
    """What should be left of what was lent, without interest; None where that is not known."""
    by_others = others.moved - debt.others_moved
    if debt.principal is None or _repaid_beside(debt, others):
        return None
    return debt.seen.principal + debt.principal + by_others


def _adds_up(debt: OwnDebt, shown: Debt, others: Others) -> bool:
    """Whether others of this service, who have repaid since it was last read, owe all that we do not: what they were
    charged on a loan that came and went in between.
    """
    left = shown.total - debt.own - others.owed - debt.foreign
    return _repaid_beside(debt, others) and abs(left) <= _SLACK


def _repaid_beside(debt: OwnDebt, others: Others) -> bool:
    """Whether others of this service have repaid since it was last read, whatever they borrowed besides: interest first
    of all, ours too.
    """
    return others.repaid != debt.others_repaid or others.moved < debt.others_moved


def _foreign(shown: Debt, others: Others) -> Decimal:
    """What is owed while we owe nothing: somebody else's, but for what others of this service owe, or tell whose it is
    where they have borrowed and nothing but interest is left (see `_is_late`).
    """
    if not shown.principal and others.moved:
        return ZERO
    return _beyond(shown.total, others)


def _beyond(theirs: Decimal, others: Others) -> Decimal:
    """What of the debts of others is somebody else's than this service's."""
    return _unless_interest(theirs - others.owed, others)


def _unless_interest(amount: Decimal, others: Others) -> Decimal:
    """`amount`, but for what they may have been charged since they looked, and for their roundings."""
    return amount if amount > others.owed / _OTHERS_INTEREST else ZERO


def _charged(debt: OwnDebt, grown: Decimal, shown: Debt, others: Others) -> OwnDebt:
    """It has grown by interest: ours is in proportion to what we owed meanwhile."""
    if not debt.foreign and not others.owed:
        return replace(debt, own=shown.total, charged=debt.charged + shown.total - debt.own)
    return _shared(debt, grown, others)


def _shared(debt: OwnDebt, grown: Decimal, others: Others) -> OwnDebt:
    meanwhile = debt.own - min(debt.moved, ZERO)
    share = min(ceil_to(grown * meanwhile / (meanwhile + debt.foreign + others.owed), PRECISION), grown)
    foreign = debt.foreign + grown - share if debt.foreign else ZERO
    return replace(debt, own=max(debt.own + share, ZERO), charged=debt.charged + share, foreign=foreign)


def _converted(debt: OwnDebt, gone: Decimal, shown: Debt, others: Others) -> OwnDebt:
    """It has shrunk by interest: ours is in proportion, as when it was charged. What that cost stays counted."""
    if not debt.foreign and not others.owed:
        part = max(debt.own - shown.total, ZERO)
        return replace(debt, own=debt.own - part, converted=debt.converted + part)
    return _less(debt, gone, others)


def _less(debt: OwnDebt, gone: Decimal, others: Others) -> OwnDebt:
    """Of interest that is `gone`, ours is in proportion; none where we owe nothing."""
    whole = debt.own + debt.foreign + others.owed
    part = min(floor_to(gone * debt.own / whole, PRECISION), debt.own) if debt.own else ZERO
    foreign = max(debt.foreign - (gone - part), ZERO) if debt.foreign else ZERO
    return replace(debt, own=debt.own - part, foreign=foreign, converted=debt.converted + part)


def _by_hand(debt: OwnDebt, grown: Decimal, shown: Debt, others: Others) -> OwnDebt:
    """Somebody else has borrowed, or repaid: their own debt first. Interest of the same time is shared all the same,
    charged or taken in another asset: as that is a guess beside what others owe, no more than that gone from ours was
    not ours.
    """
    lent = _lent(debt, others)
    theirs = shown.principal - lent if lent is not None else grown
    if theirs > 0:
        debt = _shared(debt, grown - theirs, others) if theirs < grown else _less(debt, theirs - grown, others)
        grown = theirs
    foreign = max(debt.foreign + grown, ZERO)
    own = min(debt.own, max(shown.total - others.owed - foreign, ZERO))
    gone = debt.own - own
    if (debt.foreign or others.owed) and gone <= debt.charged - debt.converted:
        return replace(debt, own=own, foreign=foreign, charged=debt.charged - gone)
    return replace(debt, own=own, foreign=foreign, by_hand=debt.by_hand + gone)


def _seen(debt: OwnDebt, shown: Debt, others: Others) -> OwnDebt:
    """As each of several rounds its share of the interest by itself, ours may come to a unit more than there is."""
    debt = replace(debt, own=min(debt.own, shown.total))
    most = max(debt.charged_most, debt.charged - debt.converted)
    debt = replace(debt, seen=shown, moved=ZERO, principal=ZERO, others_moved=others.moved, doubted_at=0)
    debt = replace(debt, others_repaid=others.repaid)
    return debt if most == debt.charged_most else replace(debt, charged_most=most)


def unclaimed(direction: Direction, spent: Decimal, rules: SymbolRules) -> Credit | None:
    """The money of a trade whose debt is not on record, and whose entry has spent so much; None on Spot."""
    if rules.margin is None:
        return None
    asset = rules.quote if direction is Direction.LONG else rules.base
    return Credit(asset=asset, need=spent, spare=spent, unclaimed=True)


def claimed(debt: OwnDebt, account: MarginAccount, explained: Decimal, spent: Decimal = ZERO) -> OwnDebt:
    """`debt` where it is not on record what of it is ours: what the trade's fills explain (rule 11.12), and a little
    more, as the loan was for the worst price that they could have had. Other symbols whose records are lost as well
    have their part of it. `spent`: so much of a loan has been sold; what of it, or of what is known to have been
    borrowed, is not owed any more, somebody else has repaid.

    Where an older record makes the whole of what is owed, with interest, that is believed instead: it tells what of it
    is somebody else's, and fills can't (rule 11.4).
    """
    shown, others = account.debt(debt.asset), account.others.get(debt.asset, Others())
    debt = _beside(debt, account, others)
    grown = _grown(debt, shown, others)
    known = (debt.own or debt.moved) and debt.own <= shown.total and spent <= debt.borrowed
    if known and _is_interest(debt, shown, others, grown):
        return _seen(_charged(debt, grown, shown, others), shown, others)
    rest, lent = max(shown.total - others.owed, ZERO), max(shown.principal - others.owed, ZERO)
    explain = explained + others.unclaimed
    theirs = lent - explain if lent - explain > explain / _UNSPENT else ZERO
    ours = min(ceil_to(rest * (lent - theirs) / lent, PRECISION), rest) if lent else rest
    own = min(ceil_to(ours * explained / explain, PRECISION), ours) if others.unclaimed else ours
    foreign = rest - ours
    borrowed = min(explained, own, lent - theirs)
    gone = max(spent - borrowed, debt.borrowed - debt.repaid - borrowed, ZERO)
    charged = own - borrowed
    borrowed += gone
    made = replace(debt, own=own, foreign=foreign, borrowed=borrowed, by_hand=gone)
    return _seen(replace(made, charged=charged, converted=ZERO, charged_most=ZERO), shown, others)


def explained(position: Position, credit: Credit) -> Decimal:
    """What of `credit.asset` the trade's entry has spent, or was to spend."""
    entries = [order for order in position.orders if order.is_entry]
    long = position.plan.direction is Direction.LONG
    return max(credit.need, sum((order.value if long else order.cum_qty for order in entries), ZERO))


def sold_on_credit(position: Position, credit: Credit) -> Decimal:
    """What a short's entry has sold beyond what was there without a loan; nothing of a long."""
    if position.plan.direction is Direction.LONG:
        return ZERO
    sold = sum((order.cum_qty for order in position.orders if order.is_entry), ZERO)
    return max(sold - credit.spare, ZERO)


# --- buying back ------------------------------------------------------------------------------------------------------


def accrued(debt: OwnDebt, spare: Decimal) -> Decimal:
    """What is owed beyond what the trade borrowed: interest, and what an earlier one left, where the base that was
    there before, `spare`, does not repay that. Negative where somebody else has repaid of it.
    """
    charged = debt.charged - debt.converted
    earlier = debt.own + debt.repaid - debt.borrowed - charged + debt.by_hand
    return charged - debt.by_hand + earlier - min(max(earlier, ZERO), spare)


def kept(position: Position, rules: SymbolRules) -> Decimal:
    """The fraction of a bought quantity that is left after its commission; all of it, where the trade pays in a third
    asset. A trade without commission tells of none: it may name no asset, and the next one may cost some.
    """
    own, fills = (rules.base, rules.quote), (fill for order in position.orders for fill in order.fills)
    return ONE if any(fill.fee and fill.fee_asset not in own for fill in fills) else rules.worst_keep()


def gross(net: Decimal, kept_part: Decimal, step: Decimal) -> Decimal:
    """What must be bought, in whole steps, so that `net` is left of it (rule 11.6)."""
    return ceil_to(net / kept_part, step)


def sized(position: Position) -> Decimal:
    """What the exits are for in all."""
    return next((leg.qty for leg in position.legs if not leg.n), sum((leg.qty for leg in position.legs), ZERO))


def bought(position: Position, rules: SymbolRules, left: Decimal) -> Decimal:
    """What the account has got of the `left` that a short's exits have traded."""
    keep, net = kept(position, rules), left
    for order in position.orders:
        if order.cum_qty and order.is_exit:
            net -= sum((fill.fee for fill in order.fills if fill.fee_asset == rules.base), ZERO)
            net -= order.unpriced_qty * (ONE - keep)
    return net


def to_buy_back(
    position: Position, credit: Credit, rules: SymbolRules, entered: Decimal, left: Decimal
) -> tuple[Decimal, Decimal, Decimal]:
    """As `Holding`'s `held`, `beyond` and `most`, for a short on borrowed money that has sold `entered` and bought
    `left`.

    What the exits were sized for is what is held: interest that comes on top while they stand is bought by the last
    buy, and interest that is taken in another asset leaves what is bought for it to the account; no exit is moved for
    either. Nor does interest that is shared otherwise with others, when it is read anew after a lost state, make any of
    them too large.
    """
    keep, step = kept(position, rules), rules.step
    net = bought(position, rules, left)
    interest, lapsed = max(credit.accrued, ZERO), credit.lapsed
    reserve = min(interest * RESERVED_HOURS, step)
    for_exits, reserved = sized(position), min((interest + lapsed) * RESERVED_HOURS, step)
    most = gross(entered + interest + lapsed + reserved, rules.worst_keep(), step) + step - left
    could = max(for_exits, sum((leg.qty for leg in position.legs if leg.n), ZERO))
    most = max(most, min(could - left, most + entered / _OTHERS_INTEREST))
    if not entered:
        return ZERO, ZERO, most  # nothing is sold yet, and what the loan has cost meanwhile is no position
    need = entered + credit.accrued - net
    if need <= 0:
        over = net - entered - interest - lapsed  # what somebody else has repaid was not bought twice
        return min(step * LEFT_OVER_STEPS - over, ZERO), ZERO, most
    wanted = gross(need + reserve, keep, step)
    held = min(gross(need + lapsed + reserved, keep, step), max(for_exits - left, ZERO)) if for_exits else wanted
    beyond = wanted - held
    if beyond > gross(interest + reserve + left - net, keep, step) + step * LEFT_OVER_STEPS:
        return wanted, ZERO, most  # neither interest nor commission: the exits are for less than was sold
    return held, beyond, most
