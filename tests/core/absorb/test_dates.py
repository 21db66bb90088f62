"""Nothing is told as of a moment that can't be: the clock may be set back while an answer is on its way."""

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, START, Script, both_sides, entering, make_quote, protected

from executor.core.absorb import dates
from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
    AnyEvent,
    BorrowableSeen,
    Event,
    LiquidationsSeen,
    LoansSeen,
    MarginSeen,
    OpenOrdersSeen,
    QuoteSeen,
    SignalSeen,
    Tick,
)
from executor.core.model.intents import QueryBalances, QueryMargin
from executor.core.model.loans import Borrowable, LoanKind, MarginAccount
from executor.core.model.signal import Signal
from executor.core.model.state import Owed, State
from executor.core.model.values import ZERO, Direction

AHEAD = 20_000
NOW = START + 5_000


def told(at: int, seq: int = 0) -> list[AnyEvent]:
    """Whatever has a time of its own, as of `at`."""
    account, quote = MarginAccount(asked_at=at, balances={}), make_quote(100, at)
    signal = Signal(key="", at=NOW, direction=Direction.LONG, price=quote.last)
    answers: list[AnyEvent] = [
        Absent(at=NOW, id="", asked_at=at, seq=seq),
        OpenOrdersSeen(at=NOW, reports=(), asked_at=at, seq=seq),
        AllOrdersSeen(at=NOW, reports=(), asked_at=at, seq=seq),
        LiquidationsSeen(at=NOW, times=(), asked_at=at, seq=seq),
        LoansSeen(
            at=NOW,
            kind=LoanKind.REPAY,
            asset="USDT",
            account=account,
            records=(),
            asked_at=at,
            seq=seq,
            fault="HTTP 503",
        ),
        MarginSeen(at=NOW, account=account, seq=seq),
        BorrowableSeen(at=NOW, borrowable=Borrowable("USDT", ZERO, at), seq=seq),
        QuoteSeen(at=NOW, quote=quote, seq=seq),
    ]
    pushed: list[AnyEvent] = [QuoteSeen(at=NOW, quote=quote, before=(quote,)), _signal(signal, account, at)]
    return answers if seq else [*answers, *pushed]


def _signal(signal: Signal, account: MarginAccount, at: int) -> SignalSeen:
    return SignalSeen(at=NOW, signal=signal, quote=make_quote(100, at), balances=None, klines=None, margin=account)


def at_now(state: State) -> State:
    return replace(state, market=replace(state.market, now=NOW))


@pytest.mark.parametrize(("event", "expected"), list(zip(told(NOW + AHEAD), told(NOW), strict=True)))
def test_nothing_is_told_as_of_later_than_now(event: AnyEvent, expected: Event) -> None:
    state = at_now(Script().state)
    assert dates.dated(state, event) == expected
    assert dates.dated(state, expected) == expected


@pytest.mark.parametrize(("event", "expected"), list(zip(told(NOW - 800, 3), told(NOW - 500, 3), strict=True)))
def test_an_answer_is_not_of_before_its_question(event: AnyEvent, expected: Event) -> None:
    state = replace(at_now(Script().state), outbox=(Owed(NOW - 500, QueryMargin(seq=3)),))
    assert dates.dated(state, event) == expected
    assert dates.dated(replace(state, outbox=()), event) == event


def test_what_has_no_time_of_its_own_is_told_as_it_is() -> None:
    event = Tick(at=NOW)
    assert dates.dated(Script().state, event) is event


@both_sides
def test_a_price_from_before_the_clock_was_set_back_keeps_no_later_one_away(direction: Direction) -> None:
    """The software stop would see none until the clock has caught up (rule 6.4)."""
    script = protected(direction)
    ahead = script.now
    script.now -= AHEAD
    script.feed(QuoteSeen(at=script.now, quote=make_quote(100, ahead)))
    script.quote("99", after=100)
    quote = script.state.market.quote
    assert quote is not None
    assert quote.last == script.px("99")


def test_a_look_from_before_the_clock_was_set_back_costs_no_read_after_read() -> None:
    """Rule 8.7: found by the simulation, where balances were read without a pause until the clock had caught up."""
    script = entering()
    script.fill_entry()
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL")
    order, ahead = script.order("SL"), script.now
    script.pending.clear()
    script.now -= AHEAD
    script.feed(Absent(at=script.now, id=order.id, asked_at=ahead))
    asked = 0
    for _ in range(20):
        asked += any(isinstance(request, QueryBalances) for request in script.pending)
        script.now += 100
        script.accept() if script.pending else script.feed(Tick(at=script.now))
    assert asked <= 2


def test_a_doubted_debt_is_not_in_doubt_until_the_clock_has_caught_up() -> None:
    script = protected(rules=MARGIN_RULES)
    script.lender.debts.clear()
    script.read_account()
    script.now -= AHEAD
    for _ in range(4):
        script.read_account(after=1_000)
    assert "debt_repaid_elsewhere" in script.told()
