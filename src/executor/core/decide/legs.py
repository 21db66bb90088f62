"""What tending any leg shares: when it may be acted on, placed anew, sold at market (rules 4.6, 6.2, 6.6, 8.3)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, assert_never

from msgspec.structs import replace

from executor.core.book.edit import the_leg
from executor.core.book.ledger import covers
from executor.core.book.levels import beyond, past
from executor.core.decide import doubt, in_place, liquidation, missing
from executor.core.decide.draft import Draft
from executor.core.decide.market_sales import may_sell_again, sized
from executor.core.decide.missing import Stock
from executor.core.decide.sent_again import may_send_again
from executor.core.model import ids
from executor.core.model.facts import Quote
from executor.core.model.ids import Role
from executor.core.model.intents import Level
from executor.core.model.orders import exits_again_after
from executor.core.model.state import End, Leave, Leg, Order, OrderPhase, Reason
from executor.core.model.values import ZERO, Direction, OrderType, plain

_SUBMITTED: Final = OrderPhase.SUBMITTED  # to look up a member of an enum takes ten times as long
_UNRESOLVED: Final = OrderPhase.UNRESOLVED
BACKOFF_TIMES: Final = 29  # a target that keeps being refused while its leg is covered is no emergency


def standing(draft: Draft, leg: Leg, left: Decimal) -> list[Order] | None:
    """The leg's live orders when it may be acted on; None while something of it is in flight or in doubt (6.2, 8.3)."""
    own = [o for o in draft.position.orders if o.leg == leg.n]
    if not own:
        return own
    live: list[Order] = []
    for order in own:
        if not order.live:
            if order.check:
                _ask_about(draft, leg)
                return None  # refused in words that don't tell why: a look tells first whether it is there
        elif order.is_exit:
            live.append(order)
    if any(o.check or draft.commanded(o) or o.phase is _SUBMITTED for o in live):
        return None
    doubtful = [o for o in live if o.phase is _UNRESOLVED]
    if not doubtful:
        return live
    known = [o for o in live if o.phase is OrderPhase.WORKING]
    if all(o.misses and o.replaces for o in doubtful) and {o.replaces for o in doubtful} == {o.id for o in known}:
        return known  # it stands, so none of those that are to replace it does (rule 8.3e)
    if known or left <= 0:
        return None
    return [] if may_send_again(draft, leg, doubtful) else None


def surplus(draft: Draft, live: list[Order]) -> bool:
    """Whether more than one exit of a leg stands, and so all but one are being cancelled: an order that was called
    refused or gone may be there after all, beside the one sent in its place. The safer stop stays, else the newer.
    """
    if len(live) < 2:
        return False
    standing_exits = exits([order for order in live if order.role is not Role.FLATTEN])
    if len(standing_exits) < 2:
        return False
    kept = safest(standing_exits, draft.position.plan.direction)
    extra = [o for each in standing_exits if each is not kept for o in each]
    if not any(o.cancelling for o in extra):
        draft.note(Level.ALERT, "surplus_exit", f"{', '.join(o.id for o in extra)}: there after all; cancelled", extra)
    draft.cancel(extra, recheck=True)
    return True


def exits(orders: Sequence[Order]) -> list[list[Order]]:
    """The exits that these orders make: single ones, and lists with both of their sides."""
    groups: dict[str, list[Order]] = {}
    for order in orders:
        groups.setdefault(order.list_id or order.id, []).append(order)
    return list(groups.values())


def safest(standing_exits: Sequence[list[Order]], direction: Direction) -> list[Order]:
    """The exit to keep of several of one leg: the one with the safer stop, else the newer."""
    return max(standing_exits, key=lambda each: max(_safety(order, direction) for order in each))


def _safety(order: Order, direction: Direction) -> tuple[bool, Decimal, int]:
    """Greater is better to keep."""
    name = ids.parse(order.id)
    assert name is not None
    level = order.stop_price or ZERO
    return order.is_stop, direction.sign * level, name.rev


def may_place(draft: Draft, leg: Leg) -> bool:
    """Whether the bare leg may be placed now, with what is left of it."""
    if draft.now < leg.retry_at:
        return False
    if leg.puzzled_at and not _puzzle(draft, leg):
        return False
    if leg.poor and not _still_there(draft, leg):
        return False
    if leg.stop is None and leg.tries >= draft.policy.failsafe_tries:
        return draft.now >= leg.retry_at + BACKOFF_TIMES * draft.policy.exits_retry_ms
    return True


def _ask_about(draft: Draft, leg: Leg) -> None:
    """What has to be known after a refusal before the leg is placed again: the price and what the account owns."""
    quote = draft.market.quote
    if leg.puzzled_at and (quote is None or quote.at < leg.puzzled_at):
        draft.query_quote()
    if leg.poor and draft.position.plan.direction is Direction.LONG and not balances_known(draft, leg):
        draft.query_balances()


def balances_known(draft: Draft, leg: Leg) -> bool:
    """Whether what the account owns was read after the leg was last refused, or as good as that."""
    since = max(leg.refused_at, 1)
    return draft.market.balances_at >= since or missing.seen_whole(draft, since)


def _puzzle(draft: Draft, leg: Leg) -> bool:
    """An OCO was refused for its price relation: a fresh quote says which side was crossed (rule 4.6). Where none can
    be had for so long, the exits are tried again, and that is counted (rules 4.7, 8.7).
    """
    quote = draft.market.quote
    if quote is None or quote.at < leg.puzzled_at:
        if draft.now < leg.puzzled_at + draft.policy.quote_max_age_ms:
            draft.query_quote()
            return False
        leave = None
    else:
        leave = _crossed(leg, quote, draft.position.plan.direction)
    if leave is None:
        # The price has come back since: try again, and count it, so that a riddle without an answer ends in 4.7.
        tries = leg.tries + 1
        retry_at = leg.puzzled_at + exits_again_after(tries, draft.policy)
        draft.put_leg(replace(leg, puzzled_at=0, tries=tries, retry_at=retry_at))
        return False
    solved = replace(leg, leave=leave, puzzled_at=0)
    draft.put_leg(solved)
    if leg.n:  # leg 0 stands beside targets: what is to be cancelled first is for the next decision
        sell_at_market(draft, solved, leave, [], draft.left(leg))
    return False


def _crossed(leg: Leg, quote: Quote, direction: Direction) -> Leave | None:
    """The side that the last price is past, unless the book stands on the other side of it: then that price is older
    than the book, or the market has turned. The exits are tried again, and that is counted.
    """
    above, below = (leg.target, leg.stop) if direction is Direction.LONG else (leg.stop, leg.target)
    turned = (above is not None and 0 < quote.ask < above, below is not None and quote.bid > below)
    of_target, of_stop = turned if direction is Direction.LONG else turned[::-1]
    if leg.target is not None and past(quote.last, leg.target, direction):
        return None if of_target else Leave.TARGET
    return Leave.STOP if leg.stop is not None and beyond(quote.last, leg.stop, direction) and not of_stop else None


def _still_there(draft: Draft, leg: Leg) -> bool:
    """Refused for lack of balance: is the position still there, or a part of it (rules 6.6, 6.6b)?"""
    match missing.take_stock(draft, max(leg.refused_at, 1)):
        case Stock.WHOLE:
            return True
        case Stock.UNKNOWN:
            # What has become of a cancel may be unknown for long: the leg is tried again, and counted (4.7, 8.7).
            unproven = missing.changing(draft) and not draft.position.short_at
            return unproven and draft.now >= leg.refused_at + draft.policy.quote_max_age_ms
        case Stock.PART:
            missing.write_off(draft, leg)
            return True
        case Stock.NOTHING:
            missing.sold_elsewhere(draft)
            draft.close(Reason.EXTERNAL, abandon=True)
            return False
        case _ as unreachable:
            assert_never(unreachable)


def sell_at_market(draft: Draft, leg: Leg, leave: Leave, live: list[Order], left: Decimal) -> None:
    """Cancel, confirm, then sell what is still held of the leg (rule 6.2).

    Not while another leg's order in doubt is kept from the book by the lock on the base (rule 8.3b): what is cancelled
    would let it in, and it would sell this leg's part as well (rule 10.1).
    """
    if live and doubt.kept_apart(draft):
        return
    if leg.leave is None:
        draft.note(
            Level.WARNING, "leg_at_market", f"leg {leg.n}: {leave} at {plain(draft.price)}, sold at market", live
        )
        draft.put_leg(replace(leg, leave=leave))
    if any(o.role is Role.FLATTEN for o in live):
        return
    if live:
        if draft.rules.market_piece(left, draft.price) or not all(covers(o, draft.position) for o in live):
            _cancel(draft, leg, live, left)
        return
    if doubt.forbids_sale(draft, leg) or liquidation.repaid_perhaps(draft):
        return
    leg = the_leg(draft.position, leg.n)
    if draft.now < leg.retry_at or (leg.poor and not _may_try(draft, leg)):
        return
    left = draft.left(the_leg(draft.position, leg.n))
    sold = [o for o in draft.position.orders if o.role is Role.FLATTEN and o.leg == leg.n]
    qty = sized(draft, sold, draft.rules.market_piece(left, draft.price))
    if qty and not (sold and not may_sell_again(draft, leg.n, sold[-1])):
        side = draft.position.plan.direction.exit_side
        if leg.poor and not doubt.kept_apart(draft):  # the lock lets less than the whole in beside one in doubt
            qty = missing.affordable(draft, qty, side)
        draft.place(draft.order(Role.FLATTEN, side, OrderType.MARKET, qty, leg=leg.n))


def _may_try(draft: Draft, leg: Leg) -> bool:
    """Whether a sale that was refused for lack of balance is tried again now: what the account has free is known then,
    or could not be read for a while (rules 6.6b, 8.7).
    """
    if _tried_elsewhere(draft, leg):
        return False
    if draft.position.plan.direction is Direction.LONG:
        return _still_there(draft, leg)
    if draft.market.balances_at >= leg.refused_at or draft.now >= leg.refused_at + draft.policy.quote_max_age_ms:
        return True
    draft.query_balances()
    return False


def _tried_elsewhere(draft: Draft, leg: Leg) -> bool:
    """Whether another leg is to find out for both: of those that are sold at market and were refused for lack of
    balance, only the first is tried until a sale is taken again (rule 8.7).
    """
    sales = [o for o in draft.position.orders if o.role is Role.FLATTEN]
    answered = [o for o in sales if o.phase is not _SUBMITTED]
    if not answered or answered[-1].end is not End.REFUSED:
        return False
    if any(o.phase is _SUBMITTED and draft.now < doubt.unanswered_at(o) for o in sales):
        return True
    first = next((other for other in draft.position.legs if _waits_for_balance(draft, other)), leg)
    return first.n != leg.n


def _waits_for_balance(draft: Draft, leg: Leg) -> bool:
    if leg.leave is None or not leg.poor or draft.live(leg.n) or doubt.forbids_sale(draft, leg):
        return False
    return bool(draft.rules.market_piece(draft.left(leg), draft.price))


def _cancel(draft: Draft, leg: Leg, live: list[Order], left: Decimal) -> None:
    """Where cancels alone keep failing, cancel and sale go in one request (rule 8.7)."""
    alone = len(live) == 1 and not doubt.forbids_sale(draft, leg)
    if not (alone and in_place.sell(draft, live[0], left)):
        draft.cancel(live, recheck=True)
