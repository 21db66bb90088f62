"""An exit that is gone without a fill, and not by us: by whose wish, and is it put back (rule 6.6)?"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from executor.core.book.ledger import expected_base
from executor.core.decide import liquidation, missing
from executor.core.decide.draft import Draft
from executor.core.model.facts import Balance
from executor.core.model.ids import Role
from executor.core.model.intents import Level
from executor.core.model.state import End, Leg, Order, OrderPhase, Reason
from executor.core.model.values import ZERO, Direction

_BY_OTHERS: Final = frozenset({End.CANCELED, End.EXPIRED, End.GONE})
_AGAIN_MS: Final = (0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000)
STOOD_MS: Final = 60_000
"""An exit that has stood for so long begins the row of pauses anew."""


def put_back(draft: Draft, leg: Leg) -> bool:
    """Whether the bare leg may be placed now: it never was, or was moved or refused, which is ours; else it was taken
    away.
    """
    past_orders = [o for o in draft.position.orders if o.leg == leg.n and o.is_exit]
    if not past_orders:
        return True
    last = past_orders[-1]
    group = [o for o in past_orders if o.list_id == last.list_id] if last.list_id else [last]
    alone = _ended_alone(group)
    group = alone or group
    if any(_ours(o) for o in group):
        return True
    if not liquidation.still_there(draft, max(o.closed_at for o in group)):
        return False
    if group[-1].id == leg.ended_last:
        return draft.now >= leg.back_at
    if not alone and _by_a_hand(group):
        return _taken_away(draft, leg, group)
    return _ended(draft, leg, group)


def _ended_alone(group: list[Order]) -> list[Order]:
    """Of a list, the side that had ended while the other stood, which was cancelled for it: that is the exchange's
    doing, whatever it calls it. A hand that cancels one side cancels both (rest-api.md).
    """
    if not any(o.cancelling and not o.live and o.end in _BY_OTHERS for o in group):
        return []
    return [o for o in group if o.end in _BY_OTHERS and not (o.cancelling or o.awaits)]


def _ours(order: Order) -> bool:
    """Whether it was cancelled, refused, never sent, never placed (rule 13.3) or filled; or lives: in doubt, and kept
    apart (rule 8.3b).
    """
    return (
        order.live
        or bool(order.awaits)
        or order.cancelling
        or order.end in (End.REFUSED, End.NEVER, End.FILLED)
        or order.role is Role.FLATTEN
    )


def _by_a_hand(group: Sequence[Order]) -> bool:
    """Whether somebody cancelled them. The side of a list that has triggered or traded tells it, else both: when the
    exchange ends one side it may call the other cancelled (docs/exchange-choices.md).
    """
    told_by = [o for o in group if o.triggered_at or o.cum_qty] or group
    return all(o.end is End.CANCELED for o in told_by)


def _taken_away(draft: Draft, leg: Leg, group: Sequence[Order]) -> bool:
    """By a hand: put back once. Again, and the trade is that hand's."""
    names = _names(group)
    if leg.vanished:
        draft.note(
            Level.ALERT, "exit_vanished_again", f"{names}: left alone now, the trade is closed as external", group
        )
        draft.close(Reason.EXTERNAL, abandon=True)
        return False
    draft.note(Level.ALERT, "exit_vanished", f"{names}: not by us; put back once", group)
    at = max(o.closed_at for o in group)
    draft.put_leg(replace(leg, vanished=leg.vanished + 1, back_at=at + draft.policy.absence_grace_ms))
    return True


def sold_with_them(draft: Draft) -> bool:
    """Whether the hand that took all exits away has sold the position as well: then it is that hand's (rule 6.6). That
    is looked at once they stand again. Where the account has no other base that they could sell, the exchange refuses
    them, and nothing is asked here; and one that took some of them may have sold that other base.
    """
    position, policy, rules = draft.position, draft.policy, draft.rules
    since = max((leg.back_at for leg in position.legs if leg.vanished), default=0)
    if not since <= draft.now < since + policy.quote_max_age_ms or position.plan.direction is Direction.SHORT:
        return False
    at = since - policy.absence_grace_ms
    if position.credit is not None or not all(_taken_too(draft, leg, at) for leg in position.legs):
        return False
    expected = expected_base(position, rules)
    if expected is None or not rules.market_piece(rules.whole(position.spare or ZERO), draft.price):
        return False
    if draft.market.balances_at < since:
        draft.query_balances()
        return False
    there = draft.market.balances.get(rules.base, Balance(ZERO)).total
    if rules.whole(expected - there) < draft.tally.sellable:
        return False
    missing.sold_elsewhere(draft)
    draft.close(Reason.EXTERNAL, abandon=True)
    return True


def _taken_too(draft: Draft, leg: Leg, at: int) -> bool:
    """Whether the leg's exit was taken away as well, and stands again; or the leg was over before (ms)."""
    if not leg.vanished:
        return not any(o.leg == leg.n and (o.live or o.closed_at > at) for o in draft.position.orders)
    return leg.leave is None and any(o.phase is OrderPhase.WORKING for o in draft.live(leg.n))


def _ended(draft: Draft, leg: Leg, group: Sequence[Order]) -> bool:
    """By the exchange, which is nobody's wish: put back as often as it happens, in growing pauses, while the price is
    watched. Each cause is told once.
    """
    last = group[-1]
    stood = last.closed_at - last.sent_at >= STOOD_MS
    ended = 1 if stood else leg.ended + 1
    cause = str(last.end if last.status is None or last.end is End.GONE else last.status)
    due = last.closed_at + _AGAIN_MS[min(ended, len(_AGAIN_MS)) - 1]
    if cause != leg.ended_as:
        text = f"{_names(group)}: {cause}, ended by the exchange; put back, as often as it happens"
        draft.note(Level.ALERT, "exit_ended", text, group)
    draft.put_leg(replace(leg, ended=ended, ended_as=cause, ended_last=last.id, back_at=due))
    return draft.now >= due


def _names(group: Sequence[Order]) -> str:
    return ", ".join(o.id for o in group)
