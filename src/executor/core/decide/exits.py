"""Decide while open (rules 4-6): which exits ought to be live, which are, and the smallest safe step between them.

Each leg is tended by itself, from its orders' facts alone: bare -> placed, in doubt -> looked up, at the wrong level
-> moved, past its stop -> sold at market. So no sequence of fills, refusals and restarts has a flow of its own.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from executor.core.book.edit import the_leg
from executor.core.book.ledger import committed, covers, held_since, layout_of
from executor.core.decide import failsafe, joined, liquidation, margin_level, single_stops, stops, targets, vanished
from executor.core.decide.draft import Draft
from executor.core.decide.reasons import exit_reason
from executor.core.model.ids import Role
from executor.core.model.intents import Level
from executor.core.model.state import Closing, Leave, Leg, Order, OrderPhase, Reason


def decide(draft: Draft) -> None:
    """A trade that holds nothing any more is finished first (rule 6.1), one whose time is up is closed (rule 6.7)."""
    if margin_level.tend(draft) or liquidation.tend(draft):
        return
    position, rules, policy = draft.position, draft.rules, draft.policy
    sellable = any(rules.market_piece(draft.left(leg), draft.price) for leg in position.legs)
    if (not sellable and not _at_work(draft)) or _was_closing(draft):
        draft.close(exit_reason(draft))
        return
    if policy.max_hold_ms and draft.now - held_since(position) >= policy.max_hold_ms:
        draft.close(Reason.MAX_HOLD)
        return
    _enter_no_more(draft)
    liquidation.take_off(draft)
    joined.join(draft)
    joined.take_in(draft)
    if vanished.sold_with_them(draft) or failsafe.failsafe(draft):
        return
    lacking = failsafe.oversold(draft)
    if isinstance(draft.position.phase, Closing) or (lacking and failsafe.buys_back(draft)):
        return
    _note_targets(draft)
    stops.activate_trail(draft)
    strays = _strays(draft)
    if isinstance(draft.position.phase, Closing):
        return
    for n in [leg.n for leg in draft.position.legs]:
        _tend(draft, n, strays, lacking=lacking)
        if isinstance(draft.position.phase, Closing):
            return


def _was_closing(draft: Draft) -> bool:
    """Whether a part of the whole was sold at market, and no leg's: the state that says why is lost (rule 9.2). Each
    leg's exits would be for all that is left (rule 10.1).
    """
    position = draft.position
    whole = any(o.cum_qty and not o.leg for o in position.orders if o.role is Role.FLATTEN)
    return whole and all(leg.n for leg in position.legs)


def _enter_no_more(draft: Draft) -> None:
    """An entry that was taken for gone, refused or never sent, and is there after all, is cancelled: what was to be
    entered is (rule 2.3). What it has filled by then gets an exit as any late fill.
    """
    entries = [o for o in draft.position.orders if o.is_entry and o.live]
    draft.dismiss(entries)
    news = [o for o in entries if draft.commanded(o) and not o.cancelling]
    if news:
        text = f"{', '.join(o.id for o in news)}: an entry that is there after all; cancelled, as the entry is over"
        draft.note(Level.ALERT, "entry_back", text, news)


def _tend(draft: Draft, n: int, strays: Sequence[Order], *, lacking: bool) -> None:
    """One leg. Where a stray may sell a part of what it is for, or that is `lacking` and being bought back (rule 6.3),
    it waits for that one's end, and the price is watched: the trade is closed at the stop, as only that sells what is
    left beside a doubt (rules 6.4, 8.3).
    """
    leg = the_leg(draft.position, n)
    if leg.stop is not None and leg.leave is None and draft.left(leg) > 0:
        leg = stops.note_due(draft, leg, leg.stop)
    if (strays or lacking) and not _fits_beside(draft, leg):
        if (leg.leave or stops.watch(draft, leg, [*strays, *draft.live(n)])) is Leave.STOP:
            single_stops.leave_whole(draft, leg)
    elif leg.target is not None:
        targets.tend(draft, leg, leg.target)
    else:
        single_stops.tend(draft, leg)


def _strays(draft: Draft) -> list[Order]:
    """The interim stop gives way to the final exits (rules 3.5, 4.1); what of it still lives. One that stands covers
    its part for as long as another of them is in doubt: cancelled, it would leave that part bare until the doubt has
    settled, as nothing else may be sent for it (rule 8.3).
    """
    position = draft.position
    numbers = {leg.n for leg in position.legs}
    strays = [o for o in draft.live() if o.leg not in numbers]
    if strays and all(o.phase is OrderPhase.WORKING for o in strays):
        draft.cancel(strays, recheck=True)
    if 0 not in numbers and any(o.cum_qty for o in position.orders if not o.leg and o.is_stop):
        draft.close(Reason.SL)
    return strays


def _fits_beside(draft: Draft, leg: Leg) -> bool:
    """Whether nothing else could sell what the leg is for, the interim stop included (rules 8.3, 10.1)."""
    left = draft.left(leg)
    if left <= 0:
        return True
    others = tuple(o for o in draft.position.orders if o.leg != leg.n)
    selling = committed(replace(draft.position, orders=others), layout=layout_of(draft.position))
    return left <= draft.tally.sellable - selling


def _note_targets(draft: Draft) -> None:
    if draft.position.target_hit:
        return
    position = draft.position
    for leg in position.legs:
        if leg.target is None or draft.left(leg) > 0:
            continue
        sold_there = leg.leave is Leave.TARGET
        if any(o.leg == leg.n and o.cum_qty and (o.is_target or sold_there) for o in position.orders):
            draft.update(target_hit=True)
            return


def _at_work(draft: Draft) -> bool:
    """A partly filled order may have less left than could be sold anew; it keeps working (rule 5.6). So does a short's
    stop when the price has fallen so far that its quantity is worth less than NOTIONAL asks for.
    """
    held = {leg.n for leg in draft.position.legs if draft.left(leg) > 0}
    return any((o.cum_qty or (covers(o, draft.position) and o.leg in held)) and not o.cancelling for o in draft.live())
