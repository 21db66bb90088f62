"""When exits fail: refusals that leave the position bare (rule 4.7), and quantity that was sold twice (rule 6.3)."""

from collections.abc import Sequence
from itertools import takewhile

from msgspec.structs import replace

from executor.core.book.ledger import bare_since, covers
from executor.core.decide import doubt, liquidation
from executor.core.decide.draft import Draft
from executor.core.decide.legs import balances_known
from executor.core.model.facts import PASSING
from executor.core.model.ids import Role
from executor.core.model.intents import Level
from executor.core.model.orders import sell_again_at
from executor.core.model.state import End, Leg, Order, OrderPhase, Reason, Unprotected
from executor.core.model.values import ZERO, OrderType, plain


def failsafe(draft: Draft) -> bool:
    """Rule 4.7: exits that keep being refused while the position is bare close it, or at least are not silent."""
    position, policy, phase = draft.position, draft.policy, draft.position.phase
    if not position.exposure.since or not isinstance(phase, Unprotected):
        return False
    if _unsold(draft):
        return True
    bare = [leg for leg in position.legs if leg.tries and _is_bare(draft, leg)]
    waited = max([draft.now - bare_since(position, leg) for leg in bare], default=0)
    late = waited >= policy.failsafe_grace_ms and draft.now >= phase.deadline
    if not late and not any(leg.tries >= policy.failsafe_tries for leg in bare):
        return False
    if any(_gone_at(draft, leg) and not liquidation.still_there(draft, _gone_at(draft, leg)) for leg in bare):
        return True  # the exchange may have closed the trade itself (11.11): that is found out first
    text = f"exits refused {max(leg.tries for leg in bare)} times, {waited / 1000:.1f} s without a stop"
    if policy.failsafe_flatten:
        draft.note(Level.ALERT, "failsafe", f"{text}: closing at market")
        draft.close(Reason.FAILSAFE)
        return True
    draft.halted = draft.halted or text
    if any(_is_tried(draft, leg) for leg in bare):
        draft.note(Level.ALERT, "failsafe_off", f"{text}; FAILSAFE_FLATTEN is off")
    return False


def _unsold(draft: Draft) -> bool:
    """Market sales of a bare leg that the exchange takes and fills nothing of count as exits that are refused; whether
    the trade is closed for them. Exits of other legs that stand are better than one more such sale, and stay (8.7).
    """
    position, policy = draft.position, draft.policy
    unsold = [leg for leg in position.legs if leg.empty >= policy.failsafe_tries and _is_bare(draft, leg)]
    if not unsold:
        return False
    worst = max(unsold, key=lambda leg: leg.empty)
    text = f"{worst.empty} market sales of leg {worst.n} came to nothing"
    if policy.failsafe_flatten and not any(covers(o, position) for o in draft.live()):
        draft.note(Level.ALERT, "failsafe", f"{text}: closing at market")
        draft.close(Reason.FAILSAFE)
        return True
    draft.halted = draft.halted or text
    return False


def resume(draft: Draft) -> None:
    """While nobody was there nothing was tried: after a restart the grace begins anew, but neither the tries nor the
    account of unprotected time do (rules 4.7, 9.1).
    """
    phase = draft.position.phase
    if isinstance(phase, Unprotected):
        draft.enter(replace(phase, deadline=draft.now + draft.policy.failsafe_grace_ms))


def _is_bare(draft: Draft, leg: Leg) -> bool:
    """Whether the leg lacks its stop; one whose stop the whole carries has none to lack (rule 4.3)."""
    if leg.stop is None or draft.left(leg) <= 0:
        return False
    return not any(covers(o, draft.position) for o in draft.live(leg.n))


def _is_tried(draft: Draft, leg: Leg) -> bool:
    """Whether the leg goes out again now: its pause is over, and nothing is waited for."""
    known = not leg.puzzled_at and not (leg.poor and not balances_known(draft, leg))
    return known and draft.now >= leg.retry_at and not draft.live(leg.n)


def _gone_at(draft: Draft, leg: Leg) -> int:
    """When an exit of the leg was last ended by others than us; 0 if never."""
    ended = (o for o in draft.position.orders if o.leg == leg.n and o.is_exit and o.end in (End.EXPIRED, End.CANCELED))
    return max((o.closed_at for o in ended if not o.cancelling), default=0)


def oversold(draft: Draft) -> bool:
    """A leg that sold more than its part, by a fill after its cancel, is bought back at once (rule 6.3). Whether that
    is under way: then there is less than the legs are for.
    """
    position, rules = draft.position, draft.rules
    if not draft.tally.sold:
        return False
    over = sum([draft.tally.oversold(leg) for leg in position.legs], ZERO)
    if not over:
        return False
    back = [o for o in position.orders if o.role is Role.BUYBACK]
    over = rules.whole(over - sum((o.cum_qty for o in back), ZERO))
    over = rules.market_piece(over, draft.price)
    if not over:
        return False
    if any(o.live for o in back):
        return True
    failed = list(takewhile(lambda order: order.end is not End.FILLED, reversed(back)))
    if failed and not _passing(failed, draft.policy.failsafe_tries):
        draft.note(
            Level.ALERT, "buyback_failed", f"{plain(over)} {rules.base} sold twice: the rest closes against it", back
        )
        draft.close(Reason.FAILSAFE)
        return True
    if failed and draft.now < sell_again_at(failed[0], 0, draft.policy):
        return True
    if not failed:
        draft.note(Level.ALERT, "oversold", f"{plain(over)} {rules.base} sold twice: bought back at market")
    draft.place(draft.order(Role.BUYBACK, position.plan.direction.entry_side, OrderType.MARKET, over))
    return True


def buys_back(draft: Draft) -> bool:
    """Whether the answer to a buy-back is due any moment, so that all may stay as it is for it."""
    return any(
        o.role is Role.BUYBACK and o.phase is OrderPhase.SUBMITTED and draft.now < doubt.unanswered_at(o)
        for o in draft.position.orders
    )


def _passing(failed: Sequence[Order], tries: int) -> bool:
    """Whether a buy-back is sent once more after those that `failed`, the newest of them first: nothing was said of the
    order itself, or it found nobody, and not for ever (rules 8.2, 8.7).
    """
    refused = failed[0].end is End.REFUSED and failed[0].refusal not in PASSING
    return not refused and len(failed) < tries
