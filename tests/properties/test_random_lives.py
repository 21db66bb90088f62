"""Random lives of a trade: whatever the exchange, the market and the operator do, the rules of section 10 hold.

Every step of a `Script` is checked against the invariants: never sold twice (10.1), never bare and uncounted (10.2), no
orders without a trade (10.3), the stop never against the position (10.4).
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.build import (
    DONE,
    POLICY,
    RULES,
    Script,
    awake,
    closing,
    entering,
    make_quote,
    protected,
    trailing,
    unprotected,
)

from executor.core.absorb.clock import SET_BACK_MS
from executor.core.decide.timers import next_timer
from executor.core.model import events
from executor.core.model.events import AnyEvent, Verb
from executor.core.model.facts import Balance, Refused, ReplaceOutcome, Unknown, Why
from executor.core.model.ids import Role
from executor.core.model.intents import Command, NewOrder, PlaceOco, PlaceOrder, ReplaceOrder, Request
from executor.core.model.policy import AfterTp1, EntryMode, Layout, PlanBOrder, Policy, TrailMode
from executor.core.model.state import Order, State
from executor.core.model.values import Direction, OrderStatus
from executor.core.model.verdict import Refusal
from executor.core.transition import Step, transition
from executor.service.store.codec import decode, encode
from executor.service.store.document import Document, differs, document_of, state_of
from executor.service.store.records import Began, Record

D = Decimal
T = TypeVar("T")
policies = st.builds(
    lambda entry, planb, layout, after, trail, flatten: replace(
        POLICY,
        entry_mode=entry,
        planb_order=planb,
        layout=layout,
        after_tp1=after,
        trail_mode=trail,
        failsafe_flatten=flatten,
    ),
    st.sampled_from(EntryMode),
    st.sampled_from(PlanBOrder),
    st.sampled_from(Layout),
    st.sampled_from(AfterTp1),
    st.sampled_from(TrailMode),
    st.booleans(),
)
prices = st.integers(9_600, 10_600).map(lambda cents: D(cents) / 100)
directions = st.sampled_from(Direction)
REFUSALS = [Why.OTHER, Why.FILTER, Why.RATE_LIMIT, Why.NOT_SENT, Why.WOULD_TRIGGER, Why.WOULD_MATCH, Why.PRICE_RELATION]


def fills(script: Script, order: Order) -> bool:
    """Whether the exchange can fill it: a bracket's exit is not on the book before its entry has filled (13.1)."""
    told = script.book.get(order.id)
    return told is not None and told.status not in {*DONE, OrderStatus.PENDING_NEW} and told.qty > told.cum_qty


class Life:
    """One script and the dice. `faults`: whether answers may be lost and refused, or processes end."""

    def __init__(self, data: st.DataObject, script: Script, *, faults: bool) -> None:
        self.data = data
        self.script = script
        self.states: list[State] = []
        acts: list[Callable[[], object]] = [self.accept, self.accept, self.accept, self.quote, self.wait, self.fill]
        if faults:
            acts += [self.refuse, self.lose, self.vanish, self.again, self.restart, self.command]
        self.acts = acts

    def live(self, steps: int) -> None:
        for _ in range(steps):
            if self.script.state.position is None:
                return
            self.draw(st.sampled_from(self.acts))()
            self.states.append(self.script.state)

    def draw(self, what: st.SearchStrategy[T]) -> T:
        return self.data.draw(what)

    def accept(self) -> None:
        if self.script.pending:
            self.script.accept()

    def quote(self) -> None:
        self.script.quote(self.draw(prices), after=self.draw(st.sampled_from([0, 10, 1_000])))

    def wait(self) -> None:
        self.script.wait(self.draw(st.sampled_from([1, 250, 1_000, 3_000, 90_000])))

    def fill(self) -> None:
        script = self.script
        working = [o for o in script.position.orders if fills(script, o)]
        if not working:
            return
        order = self.draw(st.sampled_from(working))
        told = script.book[order.id]
        left = int((told.qty - told.cum_qty) / RULES.step)
        qty = self.draw(st.integers(1, left)) * RULES.step
        report = script.execute(order.id, qty)
        if self.draw(st.booleans()):
            script.feed(events.Reported(at=script.now, report=report))

    def refuse(self) -> None:
        kinds = [r for r in self.script.pending if isinstance(r, Command)]
        if kinds:
            first = self.script.pending.index(kinds[0])
            self.script.pending.insert(0, self.script.pending.pop(first))
            self.script.refuse(self.draw(st.sampled_from(REFUSALS)))

    def lose(self) -> None:
        if self.script.pending:
            self.script.lose(arrived=self.draw(st.booleans()))

    def vanish(self) -> None:
        script = self.script
        working = [o for o in script.position.orders if o.id in script.book and script.book[o.id].status not in DONE]
        if working:
            order = self.draw(st.sampled_from(working))
            script.book[order.id] = replace(script.book[order.id], status=OrderStatus.CANCELED)
            script.push(order.id)

    def again(self) -> None:
        if self.script.book:
            self.script.push(self.draw(st.sampled_from(sorted(self.script.book))))

    def restart(self) -> None:
        for request in self.script.pending:
            if isinstance(request, Command) and self.draw(st.booleans()):
                self.script.exchange_takes(request)
        self.script.restart()

    def command(self) -> None:
        verb = self.draw(st.sampled_from([Verb.CANCEL_ENTRY, Verb.MOVE_STOP, Verb.PAUSE, Verb.RESUME, Verb.FLATTEN]))
        self.script.command(verb, self.draw(prices))


def ended(script: Script) -> None:
    """The faults are over and the operator wants out: the trade must come to its end, and leave nothing behind."""
    if script.state.position is not None:
        script.command(Verb.FLATTEN)
    for _ in range(400):
        script.settle()
        if script.state.position is None:
            break
        for client_id in sorted(script.book):
            script.push(client_id)
        if not script.pending:
            script.wait(1_000)
    assert script.state.position is None, script.position
    assert [r.id for r in script.book.values() if r.status not in DONE] == []


@settings(max_examples=150)
@given(st.data(), directions, policies, st.booleans())
def test_whatever_happens_the_invariants_hold_and_the_trade_ends(
    data: st.DataObject, direction: Direction, policy: Policy, cancel_replace: bool
) -> None:
    script = Script(direction, policy, replace(RULES, cancel_replace_allowed=cancel_replace))
    script.signal()
    life = Life(data, script, faults=True)
    life.live(40)
    ended(script)


@settings(max_examples=50)
@given(st.data(), directions, policies)
def test_every_state_is_one_that_can_be_restarted_from(
    data: st.DataObject, direction: Direction, policy: Policy
) -> None:
    """Rule 10.5: it is the same after a trip through its file, and through the journal."""
    script = Script(direction, policy)
    script.signal()
    life = Life(data, script, faults=True)
    life.states.append(script.state)
    life.live(25)
    for state in life.states:
        assert not differs(state_of(decode(encode(document_of(state)), Document)), state)
        began = Began(version="1", why="start", policy=policy, rules=RULES, state=state)
        assert decode(encode(began), Record) == began


# --- mirrored ---------------------------------------------------------------------------------------------------------


def mirrored(request: Request, direction: Direction) -> object:
    """What is asked, with a short's prices as a long's."""

    def order(new: NewOrder) -> object:
        script_price = [
            None if p is None else (p if direction is Direction.LONG else 200 - p) for p in (new.price, new.stop_price)
        ]
        return (new.id, new.side is direction.exit_side, new.type, new.qty, *script_price)

    match request:
        case PlaceOrder():
            return order(request.order)
        case PlaceOco():
            return (request.list_id, order(request.target), order(request.stop))
        case ReplaceOrder():
            return (request.cancel_id, order(request.order))
        case _:
            return request


@settings(max_examples=80)
@given(
    st.data(),
    st.sampled_from(EntryMode),
    st.sampled_from([Layout.OCO, Layout.PLAIN]),  # a long's bracket sells what was bought, a short's what it was told
    st.sampled_from([TrailMode.DISTANCE, TrailMode.SWING]),
)
def test_a_short_is_a_long_in_the_mirror(
    data: st.DataObject, entry: EntryMode, layout: Layout, trail: TrailMode
) -> None:
    """Rule 1: prices reflected around the entry give mirrored requests. Without commissions, which are no mirror."""
    policy = replace(POLICY, entry_mode=entry, layout=layout, trail_mode=trail, gap_pct=D(0))
    rules = replace(RULES, taker_fee=D(0), maker_fee=D(0))
    long, short = Script(Direction.LONG, policy, rules), Script(Direction.SHORT, policy, rules)
    sides = (long, short)
    for side in sides:
        side.fee_asset = "BNB"
        side.signal()
    for _ in range(30):
        if long.state.position is None:
            break
        _both(data, sides)
        assert long.kinds() == short.kinds()
        assert [mirrored(r, Direction.LONG) for r in long.sent] == [mirrored(r, Direction.SHORT) for r in short.sent]
        assert (long.state.position is None) == (short.state.position is None)
    if long.state.position is None:
        assert long.closed.reason is short.closed.reason
        assert long.closed.r == short.closed.r


def _both(data: st.DataObject, sides: tuple[Script, Script]) -> None:
    """The same thing happens on both sides of the mirror."""
    act = data.draw(st.sampled_from(["accept", "accept", "quote", "wait", "fill", "refuse"]))
    price = data.draw(prices)
    working = [o for o in sides[0].position.orders if fills(sides[0], o)]
    order = data.draw(st.sampled_from(working)) if working else None
    why = data.draw(st.sampled_from([Why.FILTER, Why.WOULD_TRIGGER, Why.WOULD_MATCH]))
    for side in sides:
        pending = bool(side.pending)
        if act == "accept" and pending:
            side.accept()
        elif act == "quote":
            side.quote(price, after=500)
        elif act == "wait":
            side.wait(1_000)
        elif act == "fill" and order is not None:
            report = side.execute(order.id)
            side.feed(events.Reported(at=side.now, report=report))
        elif act == "refuse" and pending and isinstance(side.pending[0], Command):
            side.refuse(why)


# --- events out of nowhere --------------------------------------------------------------------------------------------


def any_event(data: st.DataObject, script: Script) -> AnyEvent:
    """Any kind of event, about known orders or none, whether or not it makes sense."""
    now = script.now + data.draw(st.sampled_from([-5, 0, 1, 5_000, 200_000]))
    seqs = [r.seq for r in script.pending] + [0, 999]
    seq = data.draw(st.sampled_from(seqs))
    known = sorted(script.book) or ["EX_1_SL_1"]
    client_id = data.draw(st.sampled_from([*known, "EX_1_SL_1", "web"]))
    report = script.book.get(client_id) or replace(next(iter(script.book.values())), id=client_id)
    odd = replace(
        report,
        status=data.draw(st.sampled_from(OrderStatus)),
        cum_qty=report.qty * data.draw(st.sampled_from([0, 1, 3])) / 2,
        cum_quote=report.qty * 50,
    )
    quote = make_quote(data.draw(prices), now)
    request = next((r for r in script.pending if r.seq == seq), None)
    refused = Refused(data.draw(st.sampled_from(Why)), -1, "no")
    outcome: Refused | Unknown | ReplaceOutcome = refused if data.draw(st.booleans()) else Unknown("?", now)
    if isinstance(request, ReplaceOrder):
        outcome = ReplaceOutcome(refused, Unknown("?", now))
    read = 0 if isinstance(request, Command) else seq
    choices: list[AnyEvent] = [
        events.Tick(at=now),
        events.Started(at=now, fence=now),
        events.SignalMalformed(at=now, text="?", fault="?"),
        events.Reported(at=now, report=odd, seq=read),
        events.Absent(at=now, id=client_id, asked_at=now, seq=read),
        events.TradesSeen(at=now, id=client_id, fills=report.fills),
        events.OpenOrdersSeen(at=now, reports=(odd,), asked_at=now),
        events.BalancesSeen(at=now, balances={"LTC": Balance(data.draw(prices))}),
        events.QuoteSeen(at=now, quote=quote),
        events.KlinesSeen(at=now, klines=script.klines()),
        events.ReadFailed(at=now, seq=read, text="?"),
        events.Commanded(at=now, verb=data.draw(st.sampled_from(Verb)), price=data.draw(prices)),
        events.Answered(at=now, seq=seq, outcome=outcome),
    ]
    return data.draw(st.sampled_from(choices))


@settings(max_examples=150)
@given(st.data(), directions, st.sampled_from([entering, unprotected, protected, trailing, closing]))
def test_no_event_in_no_state_raises_and_what_can_not_be_halts(
    data: st.DataObject, direction: Direction, make: Callable[[Direction], Script]
) -> None:
    script = make(direction)
    state = script.state
    for _ in range(8):
        event = any_event(data, script)
        step = transition(state, event, script.policy, script.rules)
        if isinstance(step.verdict, Refusal) and isinstance(event, events.Reported):
            assert step.state.halted
        gone_back = state.market.now - step.state.market.now
        assert gone_back <= 0 or (gone_back >= SET_BACK_MS and step.state.market.now == event.at)
        state = step.state


# --- decisions left out -----------------------------------------------------------------------------------------------


class Doubting(Script):
    """Beside each step, the one that would have been without any rest."""

    rested = 0

    def feed(self, event: AnyEvent) -> Step:
        other = transition(awake(self.state), event, self.policy, self.rules)
        before = self.state.market.quiet
        step = super().feed(event)
        assert (step.requests, step.notes, step.verdict) == (other.requests, other.notes, other.verdict)
        assert awake(step.state) == awake(other.state)
        assert next_timer(step.state, self.policy) == next_timer(awake(step.state), self.policy)
        self.rested += before is not None and step.state.market.quiet is before
        return step


@settings(max_examples=100)
@given(st.data(), directions, policies)
def test_a_decision_that_is_left_out_would_have_decided_nothing(
    data: st.DataObject, direction: Direction, policy: Policy
) -> None:
    script = Doubting(direction, policy)
    script.signal()
    life = Life(data, script, faults=True)
    life.acts = [*life.acts, life.quote, life.quote, life.quote, life.wait]
    life.live(60)


def test_most_quotes_are_left_out() -> None:
    script = Doubting()
    script.signal()
    script.settle()
    script.fill(Role.ENTRY)
    script.settle()
    script.wait(2_000)
    for cents in range(-100, 100):
        script.quote(D(100) + D(cents) / 100, after=50)
    assert script.rested > 190
