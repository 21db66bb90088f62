"""A trade that lets ended orders go acts like one that keeps them all, however long it lives and whatever happens."""

from collections.abc import Callable
from decimal import Decimal
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.build import DONE, POLICY, RULES, Script, closing, protected, trailing

from executor.core.book import retire
from executor.core.model.events import AnyEvent, Reported
from executor.core.model.facts import Why
from executor.core.model.intents import Command
from executor.core.model.policy import Layout, Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closed
from executor.core.model.values import Direction, OrderStatus
from executor.core.transition import Step

D = Decimal
ALL = 1_000_000


class Sized(Script):
    """Keeps no more ended orders than it has to, or all of them."""

    many = kept = 0
    most = 0

    def feed(self, event: AnyEvent) -> Step:
        with patch.object(retire, "MANY", self.many), patch.object(retire, "KEPT", self.kept):
            step = super().feed(event)
        if step.state.position is not None:
            self.most = max(self.most, len(step.state.position.orders))
        return step


def sized(script: Script, many: int, kept: int) -> Sized:
    """`script` from here on with those bounds."""
    made = Sized(script.direction, script.policy, script.rules)
    made.__dict__.update(script.__dict__)
    made.book, made.lists, made.balances = dict(script.book), dict(script.lists), dict(script.balances)
    made.pending, made.sent, made.notes, made.events = list(script.pending), [], [], []
    made.many, made.kept = many, kept
    return made


class Pair:
    """One that keeps everything and one that lets go: whatever happens, happens to both."""

    def __init__(self, data: st.DataObject, script: Script, kept: int) -> None:
        self.everything = sized(script, ALL, ALL)
        self.little = sized(script, 0, kept)
        self.sides = (self.everything, self.little)
        self.draw = data.draw
        self.late = False
        self.acts = [self.rise, self.rise, self.accept, self.accept, self.accept, self.fall, self.wait]
        self.acts += [self.refuse, self.lose, self.restart, self.again, self.fill, self.fill_late]

    def rise(self, sign: int = 1) -> None:
        step = sign * self.everything.direction.sign * D(self.draw(st.integers(1, 40))) / 100
        for side in self.sides:
            side.quote(side.px(side.last + step), after=1_000)

    def fall(self) -> None:
        self.rise(-1)

    def wait(self) -> None:
        ms = self.draw(st.sampled_from([1, 1_000, 3_000, 20_000]))
        for side in self.sides:
            side.wait(ms)

    def accept(self) -> None:
        for side in self.sides:
            if side.pending:
                side.accept()

    def refuse(self) -> None:
        why = self.draw(st.sampled_from([Why.OTHER, Why.RATE_LIMIT, Why.NOT_SENT, Why.INSUFFICIENT_BALANCE]))
        for side in self.sides:
            command = next((i for i, r in enumerate(side.pending) if isinstance(r, Command)), None)
            if command is not None:
                side.pending.insert(0, side.pending.pop(command))
                side.refuse(why)

    def lose(self) -> None:
        arrived = self.draw(st.booleans())
        for side in self.sides:
            if side.pending:
                side.lose(arrived=arrived)

    def restart(self) -> None:
        for side in self.sides:
            side.restart()

    def again(self) -> None:
        client_id = self.draw(st.sampled_from(sorted(self.everything.book)))
        for side in self.sides:
            side.push(client_id)

    def fill(self) -> None:
        working = [i for i, r in self.everything.book.items() if r.status not in DONE]
        if working and self.draw(st.integers(0, 4)) == 0:
            for side in self.sides:
                side.feed(Reported(at=side.now, report=side.execute(working[-1])))

    def fill_late(self) -> None:
        """An order turns out to have filled before it was cancelled, against what was said of it then."""
        book = self.everything.book
        ended = [i for i, r in book.items() if r.status is OrderStatus.CANCELED and not r.cum_qty]
        if not ended or not self.late or self.draw(st.integers(0, 9)):
            return
        client_id = self.draw(st.sampled_from(ended))
        for side in self.sides:
            side.unchecked = True  # what has replaced it can sell the same until that is cancelled
            side.book[client_id] = replace(side.execute(client_id), status=OrderStatus.CANCELED)
            side.push(client_id)

    def live(self, steps: int) -> None:
        for _ in range(steps):
            if self.everything.state.position is None:
                break
            self.draw(st.sampled_from(self.acts))()
            self.must_agree()

    def must_agree(self) -> None:
        """In what they ask for and tell. When an order ended that was let go is not known: it may name the end."""
        assert self.little.sent == self.everything.sent
        told = [[n for n in side.notes if not self.late or n.event != "trade_closed"] for side in self.sides]
        assert told[0] == told[1]


def over(side: Sized) -> bool:
    return side.state.position is None


def played_out(side: Sized) -> Closed:
    """The faults are over: the price falls through the stop, and what is asked for is carried out."""
    for _ in range(200):
        side.settle()
        for client_id in sorted(side.book):
            if over(side):
                return side.closed
            side.push(client_id)
        if not side.pending and not over(side):
            side.quote(90, after=1_000)
    raise AssertionError(side.position)


@settings(max_examples=150)
@given(
    st.data(),
    st.sampled_from(Direction),
    st.sampled_from(Layout),
    st.sampled_from([protected, trailing, closing]),
    st.sampled_from([2, 5]),
    st.booleans(),
)
def test_what_is_let_go_makes_no_difference(
    data: st.DataObject,
    direction: Direction,
    layout: Layout,
    make: Callable[[Direction, Policy, SymbolRules], Script],
    kept: int,
    cancel_replace: bool,
) -> None:
    rules = replace(RULES, cancel_replace_allowed=cancel_replace)
    pair = Pair(data, make(direction, replace(POLICY, layout=layout), rules), kept)
    pair.late = data.draw(st.booleans())
    pair.live(60)
    everything, little = (played_out(side) for side in pair.sides)
    pair.must_agree()
    if pair.late:
        little = replace(little, reason=everything.reason)
    assert little == everything
