"""A state behind which newer ones were lost (rule 9.2), brought up to what the exchange shows.

The plan is on record, and the rest are facts: what was sent meanwhile is taken up by its ids. Nothing is decided
between two of these facts: an exit that is not known yet would be sent a second time.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from executor.core.absorb import all_orders, loans
from executor.core.absorb.reports import fold_all
from executor.core.book import retire
from executor.core.book.edit import find_order
from executor.core.decide import entry, legs
from executor.core.decide.draft import Draft
from executor.core.model import ids
from executor.core.model.facts import Fill, OrderReport
from executor.core.model.ids import ENTRIES, Role
from executor.core.model.intents import Level, Notify
from executor.core.model.loans import Loan, LoanEnd, LoanKind, LoanPhase
from executor.core.model.orders import confirmed
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Borrowing, End, Entering, OrderPhase, Position, Repaying, State
from executor.core.model.values import OrderStatus


def catch_up(
    state: State,
    position: Position,
    reports: Sequence[OrderReport],
    fills: Mapping[str, tuple[Fill, ...]],
    policy: Policy,
    rules: SymbolRules,
    now: int,
    *,
    lost: bool = True,
    listed: Sequence[OrderReport] = (),
) -> tuple[State, tuple[Notify, ...]]:
    """`state`, whose trade is `position`, with all that the exchange remembers of that trade. To be called before
    `Started`, when nothing that was sent can still arrive. `fills`: by client order id. `lost`: newer states certainly
    were; else that is so only if something was sent after this one. `listed`: all orders of the symbol since the trade
    began, other hands' too: one in doubt may be there under another id (rule 8.8).
    """
    mine = [
        replace(report, fills=fills.get(report.id, report.fills))
        for report in reports
        if (name := ids.parse(report.id)) is not None and name.trade == position.trade
    ]
    doubted = [order for order in position.orders if order.live and not order.exchange_id]
    renamed = all_orders.identified(position, doubted, listed, policy)
    shown = {report.id for report in mine}
    mine += [report for name, report in renamed.items() if name not in shown]
    mine.sort(key=_rev)
    sent = sent_since(position, mine)
    mine = [_believed(position, report, sent) for report in mine]
    over = {order.id for order in position.orders if not order.live}
    if lost:
        position = _without_doubt(position, mine, now)
    state = replace(state, market=replace(state.market, now=max(state.market.now, now)))
    first = _of_entries(mine)
    entered = fold_all(position, first, now, policy)
    position = entered.position
    borrowing = isinstance(position.phase, Borrowing)
    if first and isinstance(position.phase, Borrowing):
        state, position = _lent(state, position, position.phase, now)
    exits = [report for report in mine if report not in first]
    if isinstance(position.phase, Entering) and any(report.id in sent for report in exits):
        position = _open_up(state, position, policy, rules)
    folded = fold_all(position, tuple(exits), now, policy)
    notes = [*all_orders.renamed(renamed, listed)]
    notes += [note for note in (*entered.notes, *folded.notes) if note.event != "order_adopted"]
    if sent:
        text = f"sent after the state at hand, and taken up again: {', '.join(sent)}"
        notes.append(Notify(Level.ALERT, "orders_taken_up", text, " ".join(sent)))
    halted = state.halted or entered.fault or folded.fault
    position = _beside(_ours(folded.position, over), sent) if lost or sent else folded.position
    if borrowing and (lost or sent) and position.credit is not None:  # a loan may have been made that is not on record
        position = replace(position, credit=replace(position.credit, unclaimed=True))
    state = replace(state, position=position, halted=halted)
    return _maybe_repaid(state, position, now) if lost else state, tuple(notes)


def sent_since(position: Position, reports: Sequence[OrderReport]) -> tuple[str, ...]:
    """The orders of its trade that the state at hand does not know: they were sent after it."""
    known = {order.id for order in position.orders}
    return tuple(
        report.id
        for report in reports
        if (name := ids.parse(report.id)) is not None
        and name.trade == position.trade
        and report.id not in known
        and not retire.was_retired(position, report.id)
    )


def _believed(position: Position, report: OrderReport, sent: Sequence[str]) -> OrderReport:
    """An exit that is FILLED with less than its quantity, which met another order of the account (faqs/stp_faq.md): a
    state that was lost has believed it, where its leg was placed anew since; else this is the second time.
    """
    name = ids.parse(report.id)
    assert name is not None
    leg, order = ids.leg_of(name.role), find_order(position, report.id)
    if report.status is not OrderStatus.FILLED or not leg or order is None:
        return report
    since = [later for client_id in sent if (later := ids.parse(client_id)) is not None]
    if any(ids.leg_of(later.role) == leg and later.rev > name.rev for later in since):
        return replace(report, qty=min(report.qty, report.cum_qty))
    return confirmed(order, report)


def _of_entries(reports: Sequence[OrderReport]) -> tuple[OrderReport, ...]:
    """The entries, and then the exits that came with them (rule 13.1)."""
    entries = [report for report in reports if _role(report) in ENTRIES]
    lists = {report.list_exchange_id for report in entries if report.list_exchange_id >= 0}
    return *entries, *(r for r in reports if r.list_exchange_id in lists and _role(r) not in ENTRIES)


def _lent(state: State, position: Position, phase: Borrowing, now: int) -> tuple[State, Position]:
    """An entry was sent, and none is before its loan is there (rule 11.3): what was asked for has been lent."""
    loan = state.loan
    if loan is not None and loan.open and loan.kind is LoanKind.BORROW:
        state = loans.closed(state, loan, LoanEnd.DONE, now)
    return state, replace(position, phase=Entering(give_up_at=phase.give_up_at))


def _maybe_repaid(state: State, position: Position, now: int) -> State:
    """While repaying, a newer state may have been that of a repayment: as one in doubt it is settled by its record and
    by the debt, and not taken for somebody else's (rules 11.3, 11.4).
    """
    loan, debt = state.loan, next((debt for debt in state.debts if debt.own > 0), None)
    if not isinstance(position.phase, Repaying) or debt is None or (loan is not None and loan.open):
        return state
    asked = Loan(
        n=loan.n + 1 if loan is not None else 1,
        kind=LoanKind.REPAY,
        asset=debt.asset,
        amount=debt.own,
        sent_at=position.phase.work.since,
        follows=loan.end if loan is not None else None,
        before=debt.seen,
        known=loan.records if loan is not None else (),
        phase=LoanPhase.UNRESOLVED,
        fence=now,
        alerted_at=now,
    )
    return replace(state, loan=asked)


def _open_up(state: State, position: Position, policy: Policy, rules: SymbolRules) -> Position:
    """Exits were sent that the state knows no legs for: if the entry was complete, they follow from what it brought, as
    they did then.
    """
    draft = Draft(state, position, policy, rules)
    if not any(order.is_entry and order.live for order in position.orders) and entry.size_exits(draft):
        draft.update(entered=state.market.now)
    return draft.position


def _without_doubt(position: Position, reports: Sequence[OrderReport], now: int) -> Position:
    """What was in doubt then and is not shown now was never placed; what took its place may have been (rule 8.3). Not
    what awaits an entry that is shown, open or filled: the exchange need not show that (rule 8.8).
    """
    shown = {report.id for report in reports}
    entered = {r.id for r in reports if not r.status.is_final or r.status is OrderStatus.FILLED}
    orders = tuple(
        replace(order, phase=OrderPhase.CLOSED, end=End.NEVER, closed_at=now, check=False, unlisted=True)
        if order.phase in (OrderPhase.SUBMITTED, OrderPhase.UNRESOLVED)
        and order.id not in shown
        and order.awaits not in entered
        else order
        for order in position.orders
    )
    return replace(position, orders=orders)


def _rev(report: OrderReport) -> int:
    name = ids.parse(report.id)
    assert name is not None
    return name.rev


def _role(report: OrderReport) -> Role:
    name = ids.parse(report.id)
    assert name is not None
    return name.role


def _ours(position: Position, over: set[str]) -> Position:
    """Exits that were cancelled meanwhile: by us, as far as anybody can tell; so they are put back where one is due.
    `over`: those that had ended before.
    """
    orders = tuple(
        replace(order, cancelling=True)
        if order.is_exit and order.end is End.CANCELED and order.id not in over
        else order
        for order in position.orders
    )
    return replace(position, orders=orders)


def _beside(position: Position, sent: Sequence[str]) -> Position:
    """Of one leg two exits stand: the one that was sent since was sent again, while the other was in doubt (8.3b). One
    of them is cancelled as any that is there after all (10.1).
    """
    twins: set[str] = set()
    for n in [leg.n for leg in position.legs]:
        mine = [o for o in position.orders if o.leg == n and o.is_exit and o.live]
        if len(legs.exits(mine)) > 1 and any(o.id in sent for o in mine):
            twins |= {o.id for o in mine}
    orders = tuple(replace(order, back=True) if order.id in twins else order for order in position.orders)
    return replace(position, orders=orders)
