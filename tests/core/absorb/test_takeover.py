"""The operator's word on what could not be rebuilt (rule 9.3): adopt, flatten, forget."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import DONE, POLICY, RULES, Script, awake, both_sides

from executor.core.absorb.takeover import Takeover, judge
from executor.core.model.events import OpenOrdersSeen, Resolve, Resolved
from executor.core.model.facts import OrderReport, Why
from executor.core.model.policy import EntryMode, Layout
from executor.core.model.state import Closing, Entering, Protected, Reason
from executor.core.model.values import Direction, OrderStatus, OrderType
from executor.core.model.verdict import MOVED, Ignored, Refusal
from executor.core.transition import empty

D = Decimal


def orphan(direction: Direction = Direction.LONG, *, layout: Layout = Layout.OCO, filled: str | None = "all") -> Script:
    """A trade whose state is lost: `filled` of its entry, None for nothing."""
    script = Script(direction, replace(POLICY, layout=layout))
    script.fee_asset = "USDT"
    script.signal()
    script.settle()
    if filled is not None:
        if filled == "all":
            script.fill_entry()
        else:
            script.fill("ENTRY", filled)
        script.settle()
    return lose(script)


def lose(script: Script) -> Script:
    script.pending.clear()
    script.notes.clear()
    script.state = replace(empty(script.rules.symbol), market=script.state.market)
    return script


def word(script: Script, how: Resolve, **more: object) -> Resolved:
    """With the book as evidence."""
    told = dict(script.book)
    event = Resolved(
        at=script.now,
        how=how,
        reports=tuple(replace(report, fills=()) for report in told.values()),
        fills={key: report.fills for key, report in told.items()},
    )
    return replace(event, **more)


def live(script: Script) -> list[OrderReport]:
    return [report for report in script.book.values() if report.status not in DONE]


def refusal(script: Script, event: Resolved) -> str:
    before = script.state
    script.feed(event)
    assert awake(script.state) == awake(before)
    assert isinstance(script.verdict, Refusal | Ignored)
    return script.verdict.why


@pytest.mark.parametrize("layout", list(Layout))
@both_sides
def test_adopted_orders_are_cancelled_and_new_exits_go_out(direction: Direction, layout: Layout) -> None:
    script = orphan(direction, layout=layout)
    before = {report.id for report in live(script)}
    script.feed(word(script, Resolve.ADOPT, stop=script.px(99)))
    assert script.verdict == MOVED
    assert isinstance(script.phase, Entering)
    assert script.told() == ["operator_adopt"]
    script.settle()
    assert isinstance(script.phase, Protected)
    assert not before & {report.id for report in live(script)}
    assert {leg.stop for leg in script.position.legs if leg.stop} == {script.px(99)}
    assert [leg.target for leg in script.position.legs if leg.target] == [script.px(101), script.px(102)]


@both_sides
def test_what_a_target_has_sold_is_not_held_any_more(direction: Direction) -> None:
    script = orphan(direction)
    script.state = replace(script.state, position=None)
    script.execute(next(r.id for r in live(script) if "TP1" in r.id))
    script.feed(word(script, Resolve.ADOPT, stop=script.px(99), targets=(script.px(103), script.px(105))))
    script.settle()
    assert sum((leg.qty for leg in script.position.legs), D(0)) == 2
    assert script.position.plan.targets == (script.px(103), script.px(105))
    assert not script.position.target_hit


@both_sides
def test_an_entry_that_is_still_open_is_cancelled_and_what_it_bought_is_protected(direction: Direction) -> None:
    script = orphan(direction, filled="1")
    script.feed(word(script, Resolve.ADOPT, stop=script.px(98)))
    script.settle()
    assert isinstance(script.phase, Protected)
    assert sum((leg.qty for leg in script.position.legs), D(0)) == 1


@both_sides
def test_flattened_means_cancelled_sold_and_closed(direction: Direction) -> None:
    script = orphan(direction)
    script.feed(word(script, Resolve.FLATTEN))
    assert isinstance(script.phase, Closing)
    script.settle()
    assert script.closed.reason is Reason.FLATTEN
    assert script.closed.qty == 3
    assert not live(script)


def test_a_trade_that_never_bought_is_flattened_by_its_cancels_alone() -> None:
    script = orphan(filled=None)
    event = word(script, Resolve.FLATTEN)
    made = judge(script.state, event, script.policy, script.rules)
    assert isinstance(made, Takeover)
    assert made.lines[-1] == "there is nothing to sell"
    script.feed(event)
    script.settle()
    assert script.closed.qty == 0


@both_sides
@pytest.mark.parametrize("mode", [EntryMode.LIMIT_ONLY, EntryMode.MARKET_ONLY])
def test_a_stray_entry_that_never_filled_is_flattened_where_no_price_is_known(
    direction: Direction, mode: EntryMode
) -> None:
    """Rule 10.6: a market order that found nobody has no price of its own either."""
    script = orphan(direction, filled=None)
    script.policy = replace(script.policy, entry_mode=mode)
    (entry,) = script.book.values()
    script.book[entry.id] = replace(entry, price=entry.price if mode is EntryMode.LIMIT_ONLY else D(0))
    script.state = replace(empty(script.rules.symbol))
    script.feed(word(script, Resolve.FLATTEN))
    script.settle()
    assert script.closed.qty == 0
    assert not live(script)


@both_sides
def test_a_stray_entry_that_fills_before_its_cancel_is_sold_where_no_price_is_known(direction: Direction) -> None:
    """Rules 3.2, 10.6."""
    script = orphan(direction, filled=None)
    (entry,) = script.book.values()
    script.book[entry.id] = replace(entry, price=D(0))
    script.state = replace(empty(script.rules.symbol))
    script.feed(word(script, Resolve.FLATTEN))
    script.execute(entry.id, price=D(100))
    script.settle()
    assert script.closed.qty == 3
    assert script.closed.reason is Reason.FLATTEN
    assert any(report.type is OrderType.MARKET and report.cum_qty for report in script.book.values())


def test_a_state_that_was_left_with_a_plan_of_zero_is_closed_too() -> None:
    """What an earlier version left on the disk: each start died of it."""
    script = orphan(filled=None)
    script.state = replace(empty(script.rules.symbol))
    script.feed(word(script, Resolve.FLATTEN))
    plan = replace(script.position.plan, entry=D(0), stop=D(0))
    script.state = awake(replace(script.state, position=replace(script.position, plan=plan)))
    script.restart()
    script.settle()
    assert script.closed.qty == 0


def test_forgotten_orders_are_remembered_and_halt_nothing() -> None:
    script = orphan()
    event = word(script, Resolve.FORGET)
    reports = tuple(live(script))
    script.feed(OpenOrdersSeen(at=script.now, reports=reports, asked_at=script.now))
    assert script.state.halted
    script.feed(event)
    assert {report.id for report in reports} < set(script.state.ignored)
    assert not script.state.halted
    script.feed(OpenOrdersSeen(at=script.now, reports=reports, asked_at=script.now))
    assert not script.state.halted
    assert "nothing to forget" in refusal(script, event)


def test_a_forgotten_trade_is_neither_adopted_nor_flattened() -> None:
    script = orphan()
    script.feed(word(script, Resolve.FORGET))
    for how in (Resolve.ADOPT, Resolve.FLATTEN):
        assert "no trade of ours" in refusal(script, word(script, how, stop=D(99)))


def test_ids_that_nobody_can_read_are_forgotten_too_and_adopted_never() -> None:
    script = orphan()
    strange = (replace(live(script)[0], id="EX_what"),)
    assert "no trade of ours" in refusal(script, word(script, Resolve.ADOPT, reports=strange, stop=D(99)))
    script.feed(word(script, Resolve.FORGET, reports=strange, fills={}))
    assert script.state.ignored == ("EX_what",)


def test_what_is_held_without_any_order_can_be_adopted_flattened_and_forgotten() -> None:
    for how, told in (
        (Resolve.ADOPT, "no order of it is open"),
        (Resolve.FLATTEN, "sell 3 LTC at market"),
        (Resolve.FORGET, "look no more after 3 LTC"),
    ):
        script = orphan()
        for report in live(script):
            script.book[report.id] = replace(report, status=OrderStatus.CANCELED)
        made = judge(script.state, word(script, how, stop=D(99)), script.policy, script.rules)
        assert isinstance(made, Takeover)
        assert told in "; ".join(made.lines)


def test_a_trade_on_record_as_closed_holds_nothing() -> None:
    script = orphan()
    script.feed(word(script, Resolve.FLATTEN))
    script.settle()
    left = {key: report for key, report in script.book.items() if "FLATTEN" not in key}
    script.book = left  # as if the history lagged behind
    assert "no trade of ours" in refusal(script, word(script, Resolve.FLATTEN))


def test_a_trade_whose_entry_cannot_be_read_is_not_touched() -> None:
    script = orphan()
    script.book = {key: report for key, report in script.book.items() if "ENTRY" not in key}
    assert "no trade of ours" in refusal(script, word(script, Resolve.FLATTEN))


def test_of_several_trades_one_is_named() -> None:
    script = orphan()
    first = dict(script.book)
    script.now += 1_000_000
    script.signal()
    script.settle()
    script.fill("ENTRY")
    script.settle()
    trade = script.position.trade
    lose(script)
    script.book |= first
    assert "name one with --trade" in refusal(script, word(script, Resolve.FLATTEN))
    assert "no trade 7" in refusal(script, word(script, Resolve.FLATTEN, trade="7"))
    script.feed(word(script, Resolve.FLATTEN, trade=trade))
    assert script.position.trade == trade


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, "a stop price is needed"),
        ({"stop": D("99.005")}, "the stop: "),
        ({"stop": D(99), "targets": (D("101.001"),)}, "TP1: "),
        ({"stop": D(99), "targets": (D(102), D(101))}, "prices out of order"),
        ({"stop": D("0.01")}, "too small for an exit"),
    ],
)
def test_wishes_that_make_no_sense_are_refused_by_name(more: dict[str, object], why: str) -> None:
    script = orphan()
    assert why in refusal(script, word(script, Resolve.ADOPT, **more))


@both_sides
def test_a_stop_that_the_price_has_passed_is_refused(direction: Direction) -> None:
    script = orphan(direction)
    quote = script.state.market.quote
    assert quote is not None
    passed = replace(quote, last=script.px(97))
    assert "is past the stop" in refusal(script, word(script, Resolve.ADOPT, stop=script.px(98), quote=passed))


def test_a_short_s_targets_go_down() -> None:
    script = orphan(Direction.SHORT)
    event = word(script, Resolve.ADOPT, stop=D(102), targets=(D(98), D(99)))
    assert "must be below the one before" in refusal(script, event)


def test_nothing_held_is_nothing_to_adopt() -> None:
    script = orphan(filled=None)
    assert "holds nothing to protect" in refusal(script, word(script, Resolve.ADOPT, stop=D(99)))


def test_while_a_trade_is_open_none_of_it_makes_sense() -> None:
    script = orphan()
    script.feed(word(script, Resolve.ADOPT, stop=D(99)))
    script.settle()
    for how in Resolve:
        assert "is open, and looked after" in refusal(script, word(script, how, stop=D(99)))
    assert script.rules == RULES


@both_sides
def test_a_trade_that_is_older_than_it_may_be_held_is_held_from_its_adoption_on(direction: Direction) -> None:
    """Rules 6.7, 9.3: the word was to protect it."""
    script = lose(orphan(direction))
    script.policy = replace(script.policy, max_hold_ms=3_600_000)
    script.now += 7_200_000
    script.feed(word(script, Resolve.ADOPT, stop=script.px(98)))
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert script.next_timer() is not None
    script.quote("100.5", after=3_599_999)
    assert script.named() == "Protected"
    script.quote("100.5", after=1)
    script.settle()
    assert script.closed.reason is Reason.MAX_HOLD


@both_sides
def test_an_adopted_order_that_no_cancel_rids_the_book_of_leaves_the_rest_not_without_exits(
    direction: Direction,
) -> None:
    """Rule 8.7: what it can't sell is covered beside it; it goes on being cancelled."""
    script = orphan(direction)
    stays = next(r.id for r in live(script) if "_SL_" in r.id)
    script.feed(word(script, Resolve.ADOPT, stop=script.px(98)))
    for _ in range(40):
        while script.pending:
            about = getattr(script.pending[0], "id", "")
            if about == stays and script.kinds()[0] == "CancelOrder":
                script.refuse(Why.UNKNOWN_ORDER)
            else:
                script.accept()
        script.wait(500)
    assert isinstance(script.phase, Protected)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert script.order("SL").id == stays
    assert {script.order("SL1").stop_price, script.order("SL2").stop_price} == {script.px(98)}
    script.book[stays] = replace(script.book[stays], status=OrderStatus.CANCELED)
    script.push(stays)
    script.settle()
    assert script.order("SL").id != stays
    assert isinstance(script.phase, Protected)
