from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.build import START, Script, awake, closing, entering, make_report, protected, trailing, unprotected

from executor.core.book.edit import with_order
from executor.core.model.events import Absent, OpenOrdersSeen, Reported, TradesSeen, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.intents import QueryOpenOrders, QueryOrder
from executor.core.model.orders import SECOND_LOOKS
from executor.core.model.state import End, OrderPhase, Reason
from executor.core.model.values import OrderSide, OrderStatus
from executor.core.model.verdict import MOVED, Ignored, Refusal

D = Decimal


def hear(script: Script, client_id: str, **changes: object) -> None:
    script.feed(Reported(at=script.now, report=replace(script.book[client_id], **changes)))


def test_the_same_report_twice_changes_nothing() -> None:
    """Rule 5.1."""
    script = entering()
    script.fill(Role.ENTRY, "1")
    before = script.state
    hear(script, script.order(Role.ENTRY).id)
    assert script.verdict == Ignored("nothing new")
    assert awake(script.state) == awake(before)


def test_an_older_report_never_undoes_a_newer_one() -> None:
    """Rule 5.1."""
    script = entering()
    client_id = script.order(Role.ENTRY).id
    old = script.book[client_id]
    script.fill(Role.ENTRY, "1")
    script.feed(Reported(at=script.now, report=old))
    assert script.order(Role.ENTRY).cum_qty == 1


def test_reports_of_other_trades_and_of_strangers_are_ignored() -> None:
    script = protected()
    for other in ("EX_1_TP1_1", "web_1"):
        hear(script, script.order(Role.SL).id, id=other)
        assert script.verdict == Ignored(f"{other} is not of the open trade")


def test_reports_without_a_trade_are_ignored() -> None:
    script = protected()
    told = script.book[script.order(Role.SL).id]
    script = Script()
    script.feed(Reported(at=START, report=told))
    assert script.verdict == Ignored("no trade is open")


@pytest.mark.parametrize(
    "changes", [{"exchange_id": 999}, {"side": OrderSide.BUY}, {"qty": D(9)}, {"cum_qty": D("0.9999")}]
)
def test_an_impossible_fact_is_refused_and_halts_new_entries(changes: dict[str, object]) -> None:
    script = protected()
    hear(script, script.order(Role.SL).id, **changes)
    assert isinstance(script.verdict, Refusal)
    assert script.state.halted == script.verdict.why
    assert script.told() == ["impossible_report"]


def test_a_fill_is_told_with_its_price() -> None:
    script = entering()
    script.fill(Role.ENTRY, "1.5")
    assert script.notes[-1].text.endswith("_ENTRY_0: 1.5 at 100, 1.5 of 3")


@pytest.mark.parametrize(
    ("role", "rev", "leg", "list_id"),
    [(Role.TP1, 20, 1, "OCO1_19"), (Role.SL2, 20, 2, "OCO2_18"), (Role.SL, 20, 3, ""), (Role.TRAIL, 20, 3, "")],
)
def test_an_order_of_the_trade_that_is_not_on_record_is_adopted(role: Role, rev: int, leg: int, list_id: str) -> None:
    """Rules 1, 9.2: its place is known from its id, which is never given out again."""
    script = protected()
    client_id = f"EX_{START}_{role}_{rev}"
    stop = script.order(Role.SL)
    script.unchecked = True
    script.feed(
        Reported(
            at=START,
            report=make_report(replace(stop, id=client_id), list_exchange_id=5 if list_id else -1),
        )
    )
    order = next(o for o in script.position.orders if o.id == client_id)
    assert (order.role, order.leg, order.phase) == (role, leg, OrderPhase.WORKING)
    assert order.list_id == (f"EX_{START}_{list_id}" if list_id else "")
    assert script.position.revs == rev + 1
    assert "order_adopted" in script.told()


def test_an_adopted_stop_of_an_entry_is_the_interim_one() -> None:
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.settle()
    script.unchecked = True
    stop = replace(script.order(Role.SL), id=f"EX_{START}_SL_20")
    script.feed(Reported(at=START, report=make_report(stop)))
    assert next(o for o in script.position.orders if o.id == stop.id).leg == 0


def test_a_stop_that_stands_is_the_level_in_force() -> None:
    """Rule 10.4: and it ends a row of refusals."""
    script = trailing()
    script.settle()
    script.quote("106", after=2_000)
    script.settle()
    assert script.leg(3).stop == script.order(Role.TRAIL).stop_price
    assert script.leg(3).tries == 0


def test_a_stop_that_stood_unseen_is_a_level_in_force_too() -> None:
    """Rule 10.4: accepted, and cancelled by hand before anybody heard of it."""
    script = trailing()
    script.settle()
    script.quote("106", after=2_000)
    moved = script.order(Role.TRAIL)
    assert moved.phase is OrderPhase.SUBMITTED
    assert script.leg(3).stop != moved.stop_price
    script.feed(Reported(at=script.now, report=make_report(moved, status=OrderStatus.CANCELED)))
    assert script.leg(3).stop == moved.stop_price


def test_a_stop_that_the_engine_rejected_never_stood() -> None:
    script = trailing()
    script.settle()
    before = script.leg(3).stop
    script.quote("106", after=2_000)
    moved = script.order(Role.TRAIL)
    script.feed(Reported(at=script.now, report=make_report(moved, status=OrderStatus.REJECTED), seq=999))
    assert script.leg(3).stop == before


@pytest.mark.parametrize("answered", ["before", "after"])
def test_a_refusal_that_is_pushed_as_well_changes_nothing(answered: str) -> None:
    """Rule 8.8: with it, whenever it comes, the trade does what it does without it."""

    def trade(*, pushed: bool) -> Script:
        script = trailing()
        script.settle()
        script.quote("106", after=2_000)
        moved = script.order(Role.TRAIL)
        push = Reported(at=script.now, report=make_report(moved, status=OrderStatus.REJECTED, exchange_id=-1))
        if pushed and answered == "after":
            script.feed(push)
        script.refuse(Why.WOULD_TRIGGER)
        if pushed and answered == "before":
            script.feed(push)
        return script

    with_it, without_it = trade(pushed=True), trade(pushed=False)
    assert with_it.position.legs == without_it.position.legs
    assert with_it.sent == without_it.sent
    assert [n.event for n in with_it.notes] == [n.event for n in without_it.notes]


# --- absence ----------------------------------------------------------------------------------------------------------


def test_one_miss_of_an_accepted_order_proves_nothing_and_two_apart_do() -> None:
    """Rule 8.6."""
    script = protected()
    script.wait(10_000)
    stop = script.order(Role.SL)
    del script.book[stop.id]
    script.feed(OpenOrdersSeen(at=script.now + 1, reports=tuple(script.book.values()), asked_at=script.now + 1))
    script.now += 1
    assert script.order(Role.SL).check
    script.accept("QueryOrder")
    assert script.order(Role.SL).phase is OrderPhase.WORKING
    script.wait(2_000)
    script.accept("QueryOrder")
    assert script.orders(Role.SL)[0].end is End.GONE
    assert "order_gone" in script.told()
    assert script.kinds() == ["SL"]


def test_a_look_from_before_the_order_was_told_of_is_no_miss() -> None:
    """Rule 8.6: the answer to a look for an order in doubt comes after the push that tells of it."""
    script = protected()
    stop = script.order(Role.SL)
    script.vanish(Role.SL)
    script.wait(1)
    again = script.order(Role.SL)
    assert again.id != stop.id
    asked_at = script.now
    script.lose(arrived=True)
    script.wait(2_500)
    script.push(again.id)
    for asked in (asked_at, script.now - 1):
        script.feed(Absent(at=script.now, id=again.id, asked_at=asked))
    assert not script.order(Role.SL).misses
    script.feed(Absent(at=script.now, id=again.id, asked_at=script.now))
    assert script.order(Role.SL).misses == 1


def test_an_order_just_sent_may_be_missing_from_a_list() -> None:
    script = protected()
    script.feed(OpenOrdersSeen(at=script.now, reports=(), asked_at=script.now))
    assert script.kinds() == []


@pytest.mark.parametrize("kind", ["SL", "OCO1"])
def test_an_acceptance_heard_of_after_a_list_without_its_order_is_looked_at(kind: str) -> None:
    """Rule 8.6: an order may have been taken away again before its own acceptance is heard of."""
    script = unprotected()
    script.wait(1)
    script.feed(OpenOrdersSeen(at=script.now, reports=(), asked_at=script.now))
    assert "QueryOrder" not in script.kinds()  # none has an answer yet
    step = script.accept(kind)
    asked = [r.id for r in step.requests if isinstance(r, QueryOrder)]
    assert asked == [o.id for o in script.position.orders if o.phase is OrderPhase.WORKING]
    assert asked
    script.settle()
    assert not any(o.check for o in script.position.orders)


def test_what_has_ended_with_its_acceptance_is_not_looked_at() -> None:
    script = unprotected()
    script.wait(1)
    script.feed(OpenOrdersSeen(at=script.now, reports=(), asked_at=script.now))
    script.answer_with(OrderStatus.CANCELED, "SL")
    assert script.orders(Role.SL)[0].end is End.CANCELED
    assert not script.orders(Role.SL)[0].check


def test_absence_of_what_is_not_ours_or_has_ended_is_ignored() -> None:
    script = protected()
    script.feed(Absent(at=script.now, id="EX_1_TP1_1", asked_at=script.now))
    assert script.verdict == Ignored("EX_1_TP1_1 is not of the open trade")
    entry = script.order(Role.ENTRY).id
    script.feed(Absent(at=script.now, id=entry, asked_at=script.now, seq=77))
    assert script.verdict == Ignored(f"{entry} has ended")


def test_doubt_is_settled_by_two_misses_past_the_fence() -> None:
    """Rule 8.3."""
    script = entering(working=False)
    script.lose()
    first = script.order(Role.ENTRY)
    while script.orders(Role.ENTRY)[0].end is None:
        script.settle()
        if script.orders(Role.ENTRY)[0].end is None:
            script.sleep()
    assert script.orders(Role.ENTRY)[0].end is End.NEVER
    assert script.now >= first.fence + 10_000
    assert "doubt_settled" in script.told()


def second_look() -> tuple[Script, str]:
    """The stop was cancelled and its leg sold at market: it is looked at once more. The stop's id."""
    script = protected()
    script.quote("97", after=1_000)
    script.wait(3_000)
    script.accept("CancelOrder")
    stop = script.orders(Role.SL)[0]
    script.accept("FLATTEN")
    assert stop.recheck
    return script, stop.id


def test_the_second_look_is_had_once() -> None:
    """Rule 6.3."""
    script, _ = second_look()
    script.accept("QueryOrder")
    assert not script.orders(Role.SL)[0].recheck


def test_a_second_look_that_does_not_find_the_order_is_had_again_and_what_it_sold_counts() -> None:
    """Rules 6.3, 8.6: the exchange took the order, so it is the answer that is behind."""
    script, stop = second_look()
    truth = script.book.pop(stop)
    script.accept("QueryOrder")
    assert script.orders(Role.SL)[0].recheck
    assert "QueryOrder" not in script.kinds()
    script.book[stop] = replace(truth, cum_qty=D("0.5"), cum_quote=D(48))
    while "QueryOrder" not in script.kinds():
        script.sleep()
    script.accept("QueryOrder")
    assert not script.orders(Role.SL)[0].recheck
    assert script.orders(Role.SL)[0].cum_qty == D("0.5")


def test_second_looks_that_never_find_the_order_end_with_an_alert() -> None:
    """Rule 8.7."""
    script, stop = second_look()
    del script.book[stop]
    times = []
    while script.orders(Role.SL)[0].recheck:
        if "QueryOrder" in script.kinds():
            script.accept("QueryOrder")
            times.append(script.now)
        else:
            script.sleep()
    assert len(times) == 6
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses == sorted(pauses)
    assert script.told().count("second_look_failed") == 1


def test_a_close_ends_though_second_looks_show_an_ended_order_as_working_for_ever() -> None:
    """Rules 8.7, 10.6: each look has its pause, and there is a last one."""
    script = closing()
    while "FLATTEN" not in script.kinds():
        script.accept()
    stop, times = script.orders(Role.SL)[0].id, []
    truth = script.book[stop]
    while script.state.position is not None:
        looks = [r for r in script.pending[:1] if isinstance(r, QueryOrder) and r.id == stop]
        times += [script.now for _ in looks]
        script.book[stop] = replace(truth, status=OrderStatus.NEW) if looks else truth
        script.accept() if script.pending else script.sleep()
    assert script.closed.reason is Reason.FLATTEN
    assert len(times) == SECOND_LOOKS
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses == sorted(pauses)
    assert script.told().count("second_look_failed") == 1


@pytest.mark.parametrize("lists_fail_until", [0, 120_000])
def test_a_close_ends_though_one_order_can_never_be_read(lists_fail_until: int) -> None:
    """Rules 6.3, 8.7, 10.6: not while nothing can be read, for then what it sold may be told yet."""
    script = closing()
    while "FLATTEN" not in script.kinds():
        script.accept()
    stop, began, looks = script.orders(Role.SL)[0].id, script.now, 0
    while script.state.position is not None and script.now < began + 300_000:
        first = script.pending[0] if script.pending else None
        if isinstance(first, QueryOrder) and first.id == stop:
            looks += 1
            script.lose("QueryOrder")
        elif isinstance(first, QueryOpenOrders) and script.now < began + lists_fail_until:
            script.lose("QueryOpenOrders")
        else:
            script.accept() if script.pending else script.sleep()
    assert script.closed.reason is Reason.FLATTEN
    assert script.told().count("second_look_failed") == 1
    assert lists_fail_until <= script.now - began < lists_fail_until + 60_000
    assert SECOND_LOOKS < looks <= SECOND_LOOKS + 2 + lists_fail_until // 3_000


def test_a_close_ends_though_an_ended_order_is_listed_as_open_for_ever() -> None:
    """Rules 7.1, 8.7, 10.6: in growing pauses, and not in silence."""
    script = closing()
    while "QueryOpenOrders" not in script.kinds():
        script.accept() if script.pending else script.sleep()
    stop, began = script.orders(Role.SL)[0].id, script.now
    script.book[stop] = replace(script.book[stop], status=OrderStatus.NEW)
    lists = 0
    while script.state.position is not None:
        lists += script.kinds().count("QueryOpenOrders")
        script.accept() if script.pending else script.sleep()
    assert script.closed.reason is Reason.FLATTEN
    assert (lists < 20, 60_000 <= script.now - began < 120_000) == (True, True)
    assert script.told().count("ended_listed") == 1
    assert stop in script.state.halted


def test_a_second_look_at_an_order_that_was_never_there_is_enough() -> None:
    """Rule 6.3: it never had a number at the exchange."""
    script, stop = second_look()
    del script.book[stop]
    script.unchecked = True
    bent = replace(script.orders(Role.SL)[0], exchange_id=0)
    script.state = replace(script.state, position=with_order(script.position, bent))
    script.accept("QueryOrder")
    assert not script.orders(Role.SL)[0].recheck
    assert "second_look_failed" not in script.told()


@pytest.mark.parametrize("whole", [False, True])
def test_a_second_look_that_shows_the_order_working_is_stale_and_had_again(whole: bool) -> None:
    """Rules 6.3, 8.6: an order that was cancelled can't work again."""
    script = protected()
    if whole:
        script.command(Verb.FLATTEN)
        while "CancelOrder" in script.kinds() or "CancelList" in script.kinds():
            script.accept()
    else:
        script.quote("97", after=1_000)
        script.wait(3_000)
        script.accept("CancelOrder")
    stop = script.orders(Role.SL)[0]
    script.accept("FLATTEN")
    truth = script.book[stop.id]
    script.book[stop.id] = replace(truth, status=OrderStatus.NEW)
    looks = [r for r in script.pending if isinstance(r, QueryOrder)]
    assert stop.id in {r.id for r in looks}
    for look in looks:
        script.accept("QueryOrder")
        assert look not in script.pending
    again = script.orders(Role.SL)[0]
    assert again.recheck
    assert again.phase is OrderPhase.CLOSED
    assert stop.id not in {r.id for r in script.pending if isinstance(r, QueryOrder)}
    script.book[stop.id] = truth
    while script.now < again.ask_at:
        script.sleep()
    script.accept("QueryOrder")
    assert script.state.position is None or not script.orders(Role.SL)[0].recheck


def test_what_the_interim_stop_sold_after_its_cancel_is_found_before_the_trade_is_summed_up() -> None:
    """Rule 6.3: its cancel's answer told less than had filled."""
    script = entering()
    script.fill(Role.ENTRY, "1")
    script.settle()
    interim = script.orders(Role.SL)[0]
    script.fill(Role.ENTRY)
    script.accept("CancelOrder")
    assert script.orders(Role.SL)[0].recheck
    script.settle()
    for role in (Role.SL1, Role.SL2, Role.SL):
        script.fill(role)
    truth = script.book[interim.id]
    script.book[interim.id] = replace(truth, status=OrderStatus.NEW)
    looks = 0
    while script.state.position is not None:
        if not script.pending:
            script.sleep()
            continue
        looks += isinstance(script.pending[0], QueryOrder) and script.pending[0].id == interim.id
        script.accept()
        if looks == 2:
            script.book[interim.id] = truth
    assert looks == 3
    assert script.closed.reason is Reason.SL


def test_a_fill_that_the_second_look_finds_is_bought_back() -> None:
    """Rule 6.3: double fill."""
    script = protected()
    script.quote("97", after=1_000)
    script.wait(3_000)
    script.accept("CancelOrder")
    stop = script.order(Role.SL)
    script.accept("FLATTEN")
    script.book[stop.id] = replace(script.book[stop.id], status=OrderStatus.CANCELED)
    script.execute(stop.id)
    script.accept("QueryOrder")
    assert "oversold" in script.told()
    assert "BUYBACK" in script.kinds()
    script.settle()
    assert script.closed.reason is Reason.SL
    assert abs(script.closed.dust) < D("0.01")


# --- trades -----------------------------------------------------------------------------------------------------------


def test_trades_of_what_is_not_ours_and_old_trades_are_ignored() -> None:
    script = protected()
    script.feed(TradesSeen(at=script.now, id="EX_1_TP1_1", fills=()))
    assert script.verdict == Ignored("EX_1_TP1_1 is not of the open trade")
    entry = script.order(Role.ENTRY)
    script.feed(TradesSeen(at=script.now, id=entry.id, fills=entry.fills))
    assert script.verdict == Ignored("nothing new")


def test_trades_that_lag_behind_are_asked_again_later_and_then_reckoned_without() -> None:
    """Rule 8.6: never in a tight loop."""
    script = entering()
    told = script.trade(Role.ENTRY)
    script.book[told.id] = replace(told, fills=())
    script.push(told.id)
    script.accept("SL")
    for _ in range(3):
        assert not script.position.guess_fees
        script.accept("QueryTrades")
        assert "QueryTrades" not in script.kinds()
        script.wait(1_000)
    assert script.position.guess_fees
    assert script.position.entered


# --- the list of open orders ------------------------------------------------------------------------------------------


def test_open_orders_of_no_trade_halt_and_are_told_once() -> None:
    """Rule 10.3."""
    script = protected()
    stray = replace(script.book[script.order(Role.SL).id], id="EX_1_TP1_1")
    flat = Script()
    for _ in range(2):
        flat.feed(OpenOrdersSeen(at=START, reports=(stray, replace(stray, id="web_1")), asked_at=START))
    assert flat.state.halted == "open orders that belong to no trade here: EX_1_TP1_1"
    assert flat.told() == ["stray_orders"]
    flat.state = replace(flat.state, halted="trade 1 can't be rebuilt, found: EX_1_TP1_1")
    second = replace(stray, id="EX_1_TP2_3")
    for _ in range(3):
        flat.feed(OpenOrdersSeen(at=START, reports=(stray, second), asked_at=START))
    assert [note.order for note in flat.notes] == ["EX_1_TP1_1", "EX_1_TP2_3"], "each is told once"
    assert flat.state.halted.endswith("open orders that belong to no trade here: EX_1_TP2_3")


def test_a_list_older_than_the_close_accuses_nobody() -> None:
    """Rule 8.6."""
    script = closing()
    told = script.book[script.order(Role.SL).id]
    script.settle()
    script.feed(OpenOrdersSeen(at=script.now, reports=(told,), asked_at=script.now))
    assert script.state.halted == ""
    script.now += 2_000
    script.feed(OpenOrdersSeen(at=script.now, reports=(told,), asked_at=script.now))
    assert script.state.halted


def test_a_list_that_lags_behind_is_asked_again_a_little_later() -> None:
    """Rule 7.1."""
    script = closing()
    stop = script.order(Role.SL)
    while script.kinds() != ["QueryOpenOrders"]:
        script.accept()
    lagging = script.book[stop.id]
    script.book[stop.id] = replace(lagging, status=OrderStatus.NEW)
    script.accept()
    assert script.kinds() == []
    script.book[stop.id] = lagging
    script.sleep()
    assert script.kinds() == ["QueryOpenOrders"]
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_trades_of_more_than_was_sent_are_not_believed() -> None:
    """What is held is reckoned by them; they are asked for again, in pauses, and then it goes on without."""
    script = entering()
    told = script.trade(Role.ENTRY)
    many = replace(told.fills[0], trade_id=999, qty=D(1_000))
    script.book[told.id] = replace(told, fills=())
    script.push(told.id)
    script.accept("SL")
    script.book[told.id] = replace(told, fills=(*told.fills, many))
    for _ in range(3):
        assert not script.position.guess_fees
        script.accept("QueryTrades")
        assert isinstance(script.verdict, Refusal)
        assert "QueryTrades" not in script.kinds()
        script.wait(1_000)
    assert script.position.guess_fees
    assert script.told().count("impossible_report") == 1
    assert script.state.halted
    assert script.order(Role.ENTRY).cum_qty == told.cum_qty
    script.feed(TradesSeen(at=script.now, id=told.id, fills=(many,)))
    assert isinstance(script.verdict, Refusal)
    script.settle()
    assert script.order(Role.ENTRY).fills == ()


def test_a_list_with_an_impossible_report_halts() -> None:
    script = protected()
    told = replace(script.book[script.order(Role.SL).id], exchange_id=999)
    script.feed(OpenOrdersSeen(at=START, reports=(told,), asked_at=START))
    assert isinstance(script.verdict, Refusal)
    assert script.state.halted


def test_an_impossible_report_in_a_list_keeps_no_other_from_being_heard() -> None:
    """A target that has begun to fill has lost its stop side: that must be known, whoever stands under another's id."""
    script = unprotected()
    script.settle()
    wrong = replace(script.book[script.order(Role.SL).id], exchange_id=999)
    script.quote("102", after=1_000)
    script.trade(Role.TP1, "0.5")
    reports = (wrong, *(report for report in script.book.values() if report.id != wrong.id))
    script.feed(OpenOrdersSeen(at=script.now, reports=reports, asked_at=script.now))
    assert isinstance(script.verdict, Refusal)
    assert script.order(Role.TP1).cum_qty == D("0.5")


def test_an_impossible_report_is_told_once_while_it_halts() -> None:
    """Rule 8.7: each list shows it again."""
    script = protected()
    wrong = replace(script.book[script.order(Role.SL).id], exchange_id=999)
    other = replace(script.book[script.order(Role.TP1).id], exchange_id=998)
    for reports in ((wrong,), (wrong,), (wrong, other), (other, wrong)):
        script.feed(OpenOrdersSeen(at=script.now, reports=reports, asked_at=START))
    assert script.told().count("impossible_report") == 2
    assert [wrong.id in script.state.halted, other.id in script.state.halted] == [True, True]
    script.command(Verb.RESUME)
    script.feed(OpenOrdersSeen(at=script.now, reports=(wrong,), asked_at=START))
    assert script.told().count("impossible_report") == 3
    assert script.state.halted


def test_a_list_tells_of_fills_too() -> None:
    script = unprotected()
    script.settle()
    script.quote("102", after=1_000)
    script.trade(Role.TP1, "0.5")
    script.feed(OpenOrdersSeen(at=script.now, reports=tuple(script.book.values()), asked_at=script.now))
    assert script.verdict == MOVED
    assert script.order(Role.TP1).cum_qty == D("0.5")
