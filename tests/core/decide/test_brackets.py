"""Entries that bring their exits with them (rule 13)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import DONE, POLICY, RULES, START, Script, both_sides, entering, make_report, protected

from executor.core.invariants import unsound
from executor.core.model.events import Absent, Answered, OpenOrdersSeen, Reported, Verb
from executor.core.model.facts import Balance, Done, Why
from executor.core.model.ids import Role, list_of, parse
from executor.core.model.intents import CancelList, CancelOrder, PlaceBracket, PlaceOco, PlaceOrder, placed
from executor.core.model.orders import SHOWN_MS
from executor.core.model.policy import EntryMode, Layout, PlanBOrder
from executor.core.model.state import Closing, End, Entering, Order, OrderPhase, Protected, Reason, Unprotected
from executor.core.model.values import Direction, OrderStatus, OrderType, TimeInForce

D = Decimal
BRACKET = replace(POLICY, layout=Layout.BRACKET)
PARTS = replace(BRACKET, entry_timeout_ms=20_000)


def brackets(script: Script) -> list[PlaceBracket]:
    return [request for request in script.sent if isinstance(request, PlaceBracket)]


def _pending_again(script: Script) -> tuple[Order, ...]:
    """The trade's orders as they are while nothing was told of the exits' end."""
    return tuple(
        replace(o, phase=OrderPhase.WORKING, end=None, status=OrderStatus.PENDING_NEW) if o.is_exit else o
        for o in script.position.orders
    )


def bare(script: Script) -> bool:
    return bool(script.position.exposure.since)


# --- sent ---------------------------------------------------------------------------------------------------------


@both_sides
def test_each_leg_is_entered_with_its_exits(direction: Direction) -> None:
    """13.1: one list for each leg, all ids on record before any of it is sent."""
    script = entering(direction, BRACKET, working=False)
    first, second, third = (r for r in script.pending if isinstance(r, PlaceBracket))
    assert [r.entry.qty for r in (first, second, third)] == [1, 1, 1]
    assert all(r.entry.price == D(100) and r.entry.time_in_force is TimeInForce.GTC for r in (first, second, third))
    assert all(r.entry.side is direction.entry_side and r.stop.side is direction.exit_side for r in (first, third))
    assert [r.target.price if r.target else None for r in (first, second, third)] == [
        script.px(102),
        script.px(104),
        None,
    ]
    assert {r.stop.stop_price for r in (first, second, third)} == {script.px(98)}
    known = {o.id: o for o in script.position.orders}
    for request in (first, second, third):
        assert set(placed(request)) <= known.keys()
        for client_id in placed(request):
            name = parse(client_id)
            assert name is not None
            assert list_of(name) == request.list_id
            assert known[client_id].awaits == ("" if client_id == request.entry.id else request.entry.id)


@both_sides
def test_a_full_fill_is_covered_without_a_request(direction: Direction) -> None:
    """13.1: the exchange has placed the exits by itself."""
    script = entering(direction, BRACKET)
    script.sent.clear()
    script.fill_entry()
    assert isinstance(script.phase, Protected)
    assert not bare(script)
    assert not script.sent
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert [leg.qty for leg in script.position.legs] == [o.hands_on for o in script.position.orders if o.is_entry]
    assert not any(o.awaits for o in script.position.orders)


@both_sides
def test_after_the_fill_it_is_a_trade_of_ocos(direction: Direction) -> None:
    """13.1: breakeven, trail and close as with OCO: a list of exits is cancelled as a list."""
    script = protected(direction, BRACKET)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    assert any(isinstance(request, CancelList) for request in script.sent)
    script.settle()
    assert script.position.target_hit
    assert len(script.orders(Role.TP2)) == 2
    script.command(Verb.FLATTEN)
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


@pytest.mark.parametrize(
    ("changes", "direction"),
    [
        ({"opo_allowed": False}, Direction.LONG),
        ({"oto_allowed": False}, Direction.LONG),
        ({"oto_allowed": False}, Direction.SHORT),
    ],
)
def test_where_the_symbol_has_no_such_lists_it_is_entered_as_with_oco(
    changes: dict[str, bool], direction: Direction
) -> None:
    """13.1: and OTO alone does for a short."""
    script = entering(direction, BRACKET, replace(RULES, **changes))
    assert not brackets(script)
    script.fill_entry()
    assert script.kinds() == ["OCO1", "OCO2", "SL"]
    assert brackets(entering(Direction.SHORT, BRACKET, replace(RULES, opo_allowed=False)))


def test_an_entry_at_market_brings_no_exits() -> None:
    """13.1: an order list begins with a limit order."""
    script = entering(policy=replace(BRACKET, entry_mode=EntryMode.MARKET_ONLY), working=False)
    assert script.kinds() == ["ENTRY"]


def test_legs_too_small_once_commission_is_taken_are_entered_together() -> None:
    """13.3: filters are checked beforehand, commission subtracted."""
    script = entering(policy=replace(BRACKET, qty=D("0.155")), working=False)
    assert script.kinds() == ["ENTRY1", "ENTRY2"]
    assert [r.entry.qty for r in brackets(script)] == [D("0.077"), D("0.078")]
    tight = entering(policy=replace(BRACKET, qty=D("0.055")), working=False)
    assert tight.kinds() == ["ENTRY1"]


def test_where_no_leg_can_bring_its_exits_the_entry_goes_alone() -> None:
    rules = replace(RULES, min_qty=D("0.051"))
    script = entering(policy=replace(BRACKET, qty=D("0.0515")), rules=replace(rules, step=D("0.0001")), working=False)
    assert brackets(script)
    coarse = replace(RULES, step=D("0.001"), min_qty=D("0.052"), fee_unit=D("0.0005"))
    script = entering(policy=replace(BRACKET, qty=D("0.054")), rules=coarse, working=False)
    assert script.kinds() == ["ENTRY"]


@both_sides
def test_places_for_all_orders_of_the_lists_must_be_free(direction: Direction) -> None:
    """2.6, 13.1: entries and exits are all open at once."""
    script = Script(direction, BRACKET, replace(RULES, max_orders=7))
    script.signal()
    assert script.state.refused == {"exits": 1}
    script = Script(direction, BRACKET, replace(RULES, max_order_lists=2))
    script.signal()
    assert script.state.refused == {"exits": 1}
    assert entering(direction, BRACKET, replace(RULES, max_orders=8, max_order_lists=3)).live()


# --- what the exits are placed for --------------------------------------------------------------------------------


def test_commission_that_the_account_pays_leaves_all_that_was_bought_to_the_exits() -> None:
    """13.3 (faqs/opo.md): taken from what is free, where there is enough; what the exchange has placed counts."""
    script = entering(policy=BRACKET)
    script.pays_fee = True
    script.fill_entry()
    assert isinstance(script.phase, Protected)
    assert [leg.qty for leg in script.position.legs] == [1, 1, 1]
    script.quote("97.9", after=1_000)
    for role in (Role.SL1, Role.SL2, Role.SL):
        script.fill(role)
    script.settle()
    assert script.closed.dust == D("-0.003")


def test_what_is_less_than_a_step_in_each_leg_is_dust() -> None:
    """13.3, 3.4: each leg is cut to whole steps; two crumbs together are not bare."""
    script = entering(policy=replace(BRACKET, qty=D("2.1")))
    script.fill_entry()
    assert isinstance(script.phase, Protected)
    assert [leg.qty for leg in script.position.legs] == [D("0.699")] * 3
    assert not bare(script)


def test_an_exit_that_is_told_of_before_its_entry_is_no_sale_of_what_is_not_held() -> None:
    """5.1: it was placed, so the entry has filled; that one is looked up."""
    script = entering(policy=BRACKET)
    entry = script.order(Role.ENTRY1)
    script.execute(entry.id)
    stop = script.order(Role.SL1).id
    script.execute(stop)
    script.push(stop)
    assert script.order(Role.ENTRY1).hands_on == D("0.999")
    assert script.order(Role.ENTRY1).check
    assert script.order(Role.SL1).end is End.FILLED
    script.settle()
    assert script.order(Role.ENTRY1).end is End.FILLED


# --- a part ---------------------------------------------------------------------------------------------------------


@both_sides
def test_a_part_is_watched_and_after_a_while_covered(direction: Direction) -> None:
    """13.2: the list keeps it locked, so it is cancelled; an interim stop covers the part, the rest is entered anew."""
    script = entering(direction, PARTS)
    script.fill(Role.ENTRY1)
    script.fill(Role.ENTRY2, "0.4")
    script.sent.clear()
    assert bare(script)
    assert not script.kinds()
    script.wait(1_999)
    assert not script.kinds()
    script.wait(1)
    assert script.kinds() == ["CancelOrder"]
    script.accept()
    assert script.kinds() == ["QueryQuote", "SL"]
    script.settle()
    assert not bare(script)
    entry = script.order(Role.ENTRY2)
    assert (entry.qty, entry.phase) == (D("0.6"), OrderPhase.WORKING)
    script.fill_entry()
    script.settle()
    assert isinstance(script.phase, Protected)
    assert sum((leg.qty for leg in script.position.legs), D(0)) == (D("2.997") if direction.is_long else D(3)) - (
        D("0.001") if direction.is_long else D(0)
    )
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


def test_a_part_that_goes_on_filling_is_left_alone() -> None:
    """13.2: each fill begins the wait anew."""
    script = entering(policy=PARTS)
    script.fill(Role.ENTRY1, "0.3")
    script.wait(1_500)
    script.fill(Role.ENTRY1, "0.3")
    script.wait(1_500)
    assert not script.kinds()
    script.wait(500)
    assert script.kinds() == ["CancelOrder"]


def test_an_entry_that_fills_while_it_is_cancelled_keeps_its_exits() -> None:
    """13.2: it goes by its own id, and not as a list: the exits that it has brought stay."""
    script = entering(policy=PARTS)
    script.fill(Role.ENTRY1, "0.3")
    script.wait(2_000)
    assert all(isinstance(request, CancelOrder) for request in script.pending)
    script.execute(script.order(Role.ENTRY1).id)
    script.accept()
    script.settle()
    assert script.order(Role.ENTRY1).end is End.FILLED
    assert script.order(Role.SL1).live


def test_what_a_part_leaves_and_is_too_small_does_not_end_the_others() -> None:
    """13.2: they rest until their time; what is left over is bought with them, or not at all."""
    script = entering(policy=PARTS)
    script.fill(Role.ENTRY1, "0.97")
    script.sleep()
    script.settle()
    assert script.order(Role.ENTRY2).live
    assert script.order(Role.ENTRY3).live
    script.fill_entry()
    script.settle()
    assert isinstance(script.phase, Protected | Unprotected | Entering)


def test_a_part_that_can_bring_no_exits_is_entered_without() -> None:
    """13.2: below what its exits ask for, above what an entry does."""
    rules = replace(RULES, min_notional=D(50))
    script = entering(policy=PARTS, rules=rules)
    script.fill(Role.ENTRY1, "0.495")
    script.sleep()
    script.settle()
    assert script.order(Role.ENTRY).qty == D("0.505")
    assert script.order(Role.ENTRY2).live


@both_sides
def test_the_part_is_sold_when_the_price_reaches_the_stop(direction: Direction) -> None:
    """13.2, 6.4: by software, the list cancelled first."""
    script = entering(direction, PARTS)
    script.fill(Role.ENTRY1, "0.4")
    script.quote("97.9", after=100)
    script.quote("97.9", after=3_100)
    script.settle()
    assert script.closed.reason is Reason.SL
    assert script.closed.qty == D("0.4")


@both_sides
def test_nothing_more_is_entered_once_a_part_has_left_at_its_target(direction: Direction) -> None:
    """13.1: what has come to its target is over."""
    script = entering(direction, PARTS)
    script.fill(Role.ENTRY1)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    assert script.closed.reason is Reason.TP
    assert not any(r.status not in DONE for r in script.book.values())


def test_a_rest_that_fits_no_leg_goes_to_one_that_has_its_exits() -> None:
    """3.4, 13.2: a target's pair is cancelled and placed anew for it."""
    policy = replace(PARTS, split=(D(1), D(1), D(0)), entry_mode=EntryMode.LIMIT_ONLY, qty=D(2), entry_timeout_ms=4_000)
    script = entering(policy=policy)
    script.fill(Role.ENTRY1)
    script.fill(Role.ENTRY2, "0.04")
    script.sleep()
    script.settle()
    while script.named() == "Entering":
        script.sleep()
        script.settle()
    assert [leg.qty for leg in script.position.legs] == [D("1.038")]
    assert script.order(Role.TP1).qty == D("1.038")
    assert isinstance(script.phase, Protected)


def test_a_rest_too_small_for_its_leg_is_entered_with_another() -> None:
    """13.2: two parts are cancelled at once; what the one has left can bring no exits of its own."""
    script = entering(policy=PARTS)
    script.fill(Role.ENTRY2, "0.4")
    script.fill(Role.ENTRY3, "0.97")
    script.wait(2_000)
    script.settle()
    assert (script.order(Role.ENTRY2).qty, len(script.orders(Role.ENTRY3))) == (D("0.63"), 1)


def twice_covered(direction: Direction) -> tuple[Script, Order, Order]:
    """Of a part, cancelled, 0.4 are held. Its stop was lost and sent again (8.3b), and is there after all; then the
    entries fill, and nothing is told of their exits.
    """
    script, first, second = kept_apart(direction)
    for entry in [o for o in script.position.orders if o.is_entry and o.live]:
        script.feed(Reported(at=script.now, report=script.execute(entry.id)))
    return script, first, second


def kept_apart(direction: Direction) -> tuple[Script, Order, Order]:
    """As `twice_covered`, while the entries rest."""
    script = entering(direction, PARTS)
    script.state = replace(script.state, position=replace(script.position, spare=D(3)))
    script.fill(Role.ENTRY1, "0.4")
    script.wait(2_000)
    script.accept("CancelOrder")
    script.lose("SL")
    script.balances["LTC"] = Balance(D("3.3996")) if direction.is_long else Balance(D("0.6"), D(2))
    script.settle()
    while len(interim(script)) == 1:
        script.sleep()
        script.settle()
    first, second = interim(script)
    assert first.beside
    script.place(first.id, OrderStatus.NEW)
    return script, first, second


def interim(script: Script) -> list[Order]:
    return [o for o in script.orders(Role.SL) if not o.leg]


def brought(script: Script) -> list[Order]:
    return [o for o in script.position.orders if o.is_exit and o.leg and o.live]


@both_sides
@pytest.mark.parametrize("told", [False, True])
def test_two_stops_kept_apart_that_both_fill_beside_exits_brought_by_entries(
    direction: Direction, *, told: bool
) -> None:
    """8.3b, 10.1: what both have sold too much is no fault of exits that nothing is told of yet, or that are being
    cancelled.
    """
    script, first, second = twice_covered(direction)
    script.feed(Reported(at=script.now, report=script.execute(second.id)))
    if told:
        for exit_ in brought(script):
            script.push(exit_.id)
        assert all(o.cancelling or o.is_target for o in brought(script))
    script.feed(Reported(at=script.now, report=script.execute(first.id)))
    assert isinstance(script.phase, Closing)
    assert len(brought(script)) == 5
    script.settle()
    for _ in range(20):
        if script.state.position is None:
            break
        script.sleep()
        script.settle()
    assert script.closed.reason is Reason.SL
    assert script.closed.dust <= RULES.step


def test_what_two_stops_kept_apart_have_sold_excuses_no_exit_that_stands() -> None:
    """8.3b, 10.1: nor more than they have sold beyond one of them."""
    script, first, second = twice_covered(Direction.SHORT)
    for stop in (second, first):
        script.feed(Reported(at=script.now, report=script.execute(stop.id)))

    def found(**changes: object) -> list[str]:
        orders = tuple(replace(o, **changes) if o in brought(script) else o for o in script.position.orders)
        state = replace(script.state, position=replace(script.position, orders=orders))
        return [s for s in unsound(state, script.policy, RULES) if s.startswith("10.1")]

    too_much = ["10.1: 2.600 could be sold, 2.200 are held"]
    assert found() == []
    assert found(awaits="", cancelling=True) == []
    assert found(awaits="", check=True) == []  # its cancel waits for the look
    assert found(awaits="", check=False) == too_much
    more = replace(script.position, orders=(*script.position.orders, replace(second, id=f"{second.id}9", leg=4)))
    state = replace(script.state, position=more)
    assert any(s.startswith("10.1") for s in unsound(state, script.policy, RULES))


def closes_with_what_is_left(script: Script, left: str) -> None:
    """The exits that stand are cancelled beside the entries, and what is left is sold."""
    assert isinstance(script.phase, Closing)
    assert all(o.cancelling or o.check for o in script.position.orders if o.live and not o.awaits)
    script.settle()
    while script.state.position is not None:
        script.sleep()
        script.settle()
    sold = [request.order for request in script.sent if isinstance(request, PlaceOrder)][-1]
    assert (sold.type, sold.qty) == (OrderType.MARKET, D(left))
    assert script.closed.reason is Reason.SL
    assert abs(script.closed.dust) < 2 * RULES.step


@both_sides
@pytest.mark.parametrize("looked_at", [False, True])
def test_what_two_stops_kept_apart_have_sold_too_much_stands_for_sale_no_longer(
    direction: Direction, *, looked_at: bool
) -> None:
    """8.3b, 10.1: no cancel of an entry that rests is waited for, only a look at what is to be cancelled."""
    script, first, second = kept_apart(direction)
    script.fill(Role.ENTRY2)
    script.feed(Reported(at=script.now, report=script.execute(second.id)))
    assert isinstance(script.phase, Entering)
    assert not any(o.cancelling for o in brought(script))
    if looked_at:  # a list that lags behind has left them out
        script.now += 10
        entries = tuple(script.book[o.id] for o in script.position.orders if o.is_entry and o.live)
        script.feed(OpenOrdersSeen(at=script.now, reports=entries, asked_at=script.now))
    script.feed(Reported(at=script.now, report=script.execute(first.id)))
    closes_with_what_is_left(script, "0.6")


@both_sides
def test_what_an_interim_stop_is_told_late_to_have_sold_stands_for_sale_no_longer(direction: Direction) -> None:
    """3.5, 5.5, 10.1: it was replaced by a larger one, which has filled."""
    script = entering(direction, PARTS)
    script.fill(Role.ENTRY1, "0.4")
    script.wait(2_000)
    script.settle()
    script.fill(Role.ENTRY2)
    script.fill(Role.ENTRY1, "0.3")
    script.wait(2_000)
    script.settle()
    first, second = interim(script)
    assert second.replaces == first.id
    script.feed(Reported(at=script.now, report=script.execute(second.id)))
    assert isinstance(script.phase, Entering)
    script.book[first.id] = replace(script.execute(first.id, "0.2"), status=OrderStatus.CANCELED)
    script.push(first.id)
    closes_with_what_is_left(script, "0.799" if direction.is_long else "0.8")


# --- refused --------------------------------------------------------------------------------------------------------


@both_sides
def test_exits_that_are_refused_at_their_moment_are_placed_at_once(direction: Direction) -> None:
    """13.3"""
    script = entering(direction, BRACKET)
    script.refuses_exits = True
    script.fill(Role.ENTRY1)
    assert script.kinds() == ["SL"]  # the interim stop: the others still rest
    script.settle()
    script.refuses_exits = False
    script.fill_entry()
    script.settle()
    assert isinstance(script.phase, Protected)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    assert any(isinstance(request, PlaceOco) for request in script.sent)
    assert not [event for event in script.told() if event.startswith("exit_")]


@both_sides
def test_a_bracket_that_is_refused_is_entered_as_with_oco(direction: Direction) -> None:
    """13.1: for a reason of its own; one that was only late goes out again as it was."""
    script = entering(direction, BRACKET, working=False)
    script.refuse(Why.FILTER, "ENTRY3")
    script.settle()
    script.sleep()
    script.settle()
    assert script.order(Role.ENTRY).qty == 1
    script.fill_entry()
    script.settle()
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]
    late = entering(direction, BRACKET, working=False)
    late.refuse(Why.RATE_LIMIT, "ENTRY3")
    late.settle()
    late.sleep()
    late.settle()
    assert len(late.orders(Role.ENTRY3)) == 2
    assert not late.orders(Role.ENTRY)


def test_a_pushed_refusal_of_a_list_is_one_of_its_entry() -> None:
    """5.5: whichever of its orders is told of first."""
    script = entering(policy=BRACKET, working=False)
    order = script.order(Role.TP1)
    script.feed(Reported(at=script.now, report=make_report(order, OrderStatus.REJECTED, exchange_id=-1)))
    assert isinstance(script.phase, Entering)
    assert script.phase.retry_at == script.now + POLICY.exits_retry_ms


@both_sides
def test_that_an_exit_was_pending_told_after_its_refusal_undoes_nothing(direction: Direction) -> None:
    """13.3, 5.1: the answer to a list whose entry filled at once shows its exits as they were when it was taken."""
    script = entering(direction, BRACKET, working=False)
    request = next(r for r in script.pending if isinstance(r, PlaceBracket))
    script.exchange_takes(request)
    answer = tuple(script.book[name] for name in placed(request))
    filled = script.trade(Role.ENTRY1)
    script.feed(Reported(at=script.now, report=filled))
    for role in (Role.TP1, Role.SL1):
        order = script.order(role)
        number = script.book[order.id].exchange_id
        script.book[order.id] = make_report(order, OrderStatus.REJECTED, exchange_id=number, list_exchange_id=7)
        script.push(order.id)
    assert script.kinds()[-1] == "SL"  # the interim stop, at once
    script.pending.remove(request)
    script.feed(Answered(at=script.now, seq=request.seq, outcome=Done((filled, *answer[1:]))))
    assert not any(o.live for o in script.position.orders if o.role in (Role.TP1, Role.SL1))
    script.settle()
    script.fill_entry()
    script.settle()
    assert isinstance(script.phase, Protected)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


# --- in time, in doubt ----------------------------------------------------------------------------------------------


@both_sides
def test_its_time_is_up_and_plan_b_brings_exits_too(direction: Direction) -> None:
    """13.4, 3.3: at the guard's price, at once or not."""
    script = entering(direction, BRACKET)
    script.fill(Role.ENTRY1)
    script.wait(BRACKET.entry_timeout_ms)
    assert script.kinds() == ["CancelOrder", "CancelOrder"]
    script.settle()
    assert [o.time_in_force for o in script.position.orders if o.is_planb] == [TimeInForce.IOC] * 2
    assert {o.price for o in script.position.orders if o.is_planb} == {script.px("100.5")}
    script.fill_entry()
    script.settle()
    assert isinstance(script.phase, Protected)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


def test_plan_b_without_a_guard_goes_at_market() -> None:
    """13.4: no price bounds what it may pay."""
    policy = replace(BRACKET, planb_max_dev_r=D(0), planb_order=PlanBOrder.MARKET)
    script = entering(policy=policy)
    script.wait(policy.entry_timeout_ms)
    script.settle()
    assert script.order(Role.PLANB).type is OrderType.MARKET


@both_sides
def test_a_plan_b_that_is_refused_goes_without_exits(direction: Direction) -> None:
    script = entering(direction, BRACKET)
    script.wait(BRACKET.entry_timeout_ms)
    for _ in range(3):
        script.accept("CancelOrder")
    script.accept("QueryQuote")
    for role in ("PLANB1", "PLANB2", "PLANB3"):
        script.refuse(Why.INSUFFICIENT_BALANCE, role)
    script.sleep()
    script.settle()
    assert script.order(Role.PLANB).qty == 3


@both_sides
def test_a_list_half_known_is_looked_up_order_by_order(direction: Direction) -> None:
    """13.4, 8.3: the answer is lost, one of its orders was pushed."""
    script = entering(direction, BRACKET, working=False)
    script.lose("ENTRY1", arrived=True)
    entry = script.order(Role.ENTRY1).id
    script.push(entry)
    exits = {(o.phase, o.check) for o in script.position.orders if o.role in (Role.TP1, Role.SL1)}
    assert exits == {(OrderPhase.WORKING, True)}  # a list is taken whole
    script.settle()
    assert {o.phase for o in script.position.orders} == {OrderPhase.WORKING}
    script.fill_entry()
    assert isinstance(script.phase, Protected)


@both_sides
def test_an_exit_is_there_as_long_as_its_entry_whether_or_not_a_look_finds_it(direction: Direction) -> None:
    """8.8, 10.1: reads need not show what is pending. It is no exit that was never sent, beside which another goes."""
    script = entering(direction, BRACKET, working=False)
    script.lose("ENTRY1", arrived=True)
    hidden = {o.id: script.book.pop(o.id) for o in map(script.order, (Role.TP1, Role.SL1))}
    script.settle()
    script.wait(1_000)
    while script.now < script.order(Role.ENTRY1).sent_at + 19_000:
        script.settle()
        script.wait(500)
    assert {o.phase for o in map(script.order, (Role.TP1, Role.SL1))} == {OrderPhase.WORKING}
    script.book |= hidden
    script.sent.clear()
    script.feed(Reported(at=script.now, report=script.trade(Role.ENTRY1)))
    assert not script.sent
    for name in hidden:
        script.push(name)
    assert not bare(script)
    assert "order_gone" not in script.told()


@both_sides
def test_with_an_entry_that_was_called_never_sent_its_exits_are_back(direction: Direction) -> None:
    """13.4, 8.3: an order list is taken whole."""
    script = entering(direction, PARTS, working=False)
    script.lose("ENTRY3", arrived=True)
    first = script.order(Role.ENTRY3).id
    theirs = (first, script.order(Role.SL).id)
    hidden = {name: script.book.pop(name) for name in theirs}
    while any(o.live for o in script.position.orders if o.id in theirs):
        script.accept() if script.pending else script.sleep()
    script.pending = [r for r in script.pending if not isinstance(r, PlaceBracket)]
    script.state = replace(script.state, outbox=())
    script.book |= hidden
    script.push(first)
    back = {o.id: (o.phase, o.back) for o in script.position.orders if o.id in theirs}
    assert back == dict.fromkeys(theirs, (OrderPhase.WORKING, True))


def test_exits_that_went_with_their_entry_are_no_riddle_where_no_look_finds_them() -> None:
    """13.4: nobody is alarmed for what never was on the book."""
    script = entering(policy=replace(BRACKET, entry_mode=EntryMode.LIMIT_ONLY))
    script.wait(BRACKET.entry_timeout_ms)
    for _ in range(3):
        script.accept("CancelOrder")
    script.state = replace(script.state, position=replace(script.position, orders=_pending_again(script)))
    for name in [o.id for o in script.position.orders if o.is_exit]:
        del script.book[name]
    for _ in range(40):
        if script.state.position is not None:
            script.accept() if script.pending else script.sleep()
    assert script.closed.reason is Reason.ENTRY_TIMEOUT
    assert "order_gone" not in script.told()


@both_sides
def test_exits_that_nobody_tells_of_are_looked_at(direction: Direction) -> None:
    """13.1, 8.2: an entry has filled, and the pushes of its exits are lost: covered once a look has shown it."""
    script = entering(direction, BRACKET)
    for role in (Role.ENTRY1, Role.ENTRY2, Role.ENTRY3):
        told = script.trade(role)
        script.feed(Reported(at=script.now, report=told))
    assert bare(script)
    assert script.named() == "Entering"
    assert not script.kinds()
    script.sleep()
    script.settle()
    assert isinstance(script.phase, Protected)


def test_an_exit_that_still_shows_as_pending_is_looked_at_again() -> None:
    """8.6, 8.7: reads may be stale; what has filled is believed, the exits awaited in growing pauses, not for ever."""
    script = entering(policy=BRACKET)
    for role in (Role.ENTRY1, Role.ENTRY2, Role.ENTRY3):
        told = script.trade(role)
        for other in script._siblings(told.id):
            script.book[other] = replace(script.book[other], status=OrderStatus.PENDING_NEW)
        script.feed(Reported(at=script.now, report=told))
    pauses = []
    for _ in range(5):
        before = script.now
        script.sleep()
        pauses.append(script.now - before)
        script.settle()
    assert script.named() == "Entering"
    assert pauses == [250, 500, 1_000, 2_000, 4_000]
    while script.named() == "Entering" and script.now < START + 20_000:
        script.sleep()
        script.settle()
    assert isinstance(script.phase, Protected)  # the lists are cancelled, and others stand in their place
    assert [request for request in script.sent if isinstance(request, CancelList)]
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


def test_exits_of_an_entry_that_has_gone_are_gone_with_it() -> None:
    """13.4: the answer to its cancel names it alone: the exits are looked at, and cancelled if they show still."""
    script = entering(policy=BRACKET)
    script.wait(BRACKET.entry_timeout_ms)
    script.quote("104", after=10)
    for role in (Role.ENTRY1, Role.ENTRY2, Role.ENTRY3):
        order = script.order(role)
        script.book[order.id] = replace(script.book[order.id], status=OrderStatus.CANCELED)
        script.push(order.id)
    script.pending.clear()
    script.state = replace(script.state, outbox=())
    looks = 0
    for _ in range(12):
        if script.state.position is None or "CancelOrder" in script.kinds():
            break
        script.sleep()
        while "QueryOrder" in script.kinds():
            script.accept("QueryOrder")
            looks += 1
        script.pending = [r for r in script.pending if not isinstance(r, PlaceOrder)]
    assert looks >= 10
    assert "CancelOrder" in script.kinds()


@both_sides
def test_closing_takes_the_entries_and_with_them_what_awaits_them(direction: Direction) -> None:
    """13.4, 6.2: no exit is cancelled beside its entry: that would take the list with it."""
    script = entering(direction, BRACKET)
    script.fill(Role.ENTRY1)
    script.sent.clear()
    script.command(Verb.FLATTEN)
    cancelled = {name for r in script.sent if isinstance(r, CancelOrder) for name in [parse(r.id)] if name}
    assert {name.role for name in cancelled} == {Role.ENTRY2, Role.ENTRY3}
    assert [r for r in script.sent if isinstance(r, CancelList)]
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


@both_sides
def test_a_restart_looks_everything_up_and_goes_on(direction: Direction) -> None:
    """13.4, 9.1: killed between entry and fill: the exits stand, and are supervised again."""
    script = entering(direction, BRACKET)
    for role in (Role.ENTRY1, Role.ENTRY2, Role.ENTRY3):
        script.trade(role)
    script.restart()
    script.settle()
    assert isinstance(script.phase, Protected)
    assert script.live() == ["SL", "SL1", "SL2", "TP1", "TP2"]


@both_sides
def test_a_look_that_began_before_the_fill_does_not_begin_the_proof_that_an_exit_is_gone(direction: Direction) -> None:
    """8.6, 8.8: while it awaited its entry no look need have found it, and an answer may come however late."""
    script = entering(direction, BRACKET)
    asked_at, first, entry = script.now, script.order(Role.SL1), script.order(Role.ENTRY1)
    script.now += BRACKET.absence_grace_ms + 1_000
    filled = replace(script.book[entry.id], status=OrderStatus.FILLED, cum_qty=entry.qty, cum_quote=entry.qty * 100)
    script.feed(Reported(at=script.now, report=filled))
    script.now += 100
    script.feed(Absent(at=script.now, id=first.id, asked_at=asked_at))
    script.feed(Absent(at=script.now, id=first.id, asked_at=script.now))
    assert script.order(Role.SL1).phase is OrderPhase.WORKING
    script.now += SHOWN_MS
    script.feed(Absent(at=script.now, id=first.id, asked_at=script.now))
    assert script.order(Role.SL1).end is End.GONE


def test_what_awaits_its_entry_need_not_be_listed_as_open() -> None:
    """8.8: whether it is, the documents leave open."""
    script = entering(policy=BRACKET)
    hidden = {k: r for k, r in script.book.items() if r.status is OrderStatus.PENDING_NEW}
    for client_id in hidden:
        del script.book[client_id]
    script.wait(100)
    script.feed(OpenOrdersSeen(at=script.now, reports=tuple(script.book.values()), asked_at=script.now))
    assert not any(o.check for o in script.position.orders)
    script.book |= hidden


@both_sides
def test_an_entry_that_comes_back_beside_the_exits_goes_with_what_it_brings(direction: Direction) -> None:
    """Rules 2.3, 13.2: the list was called never sent, and another one entered in its place."""
    script = entering(direction, BRACKET, working=False)
    first = next(r for r in script.pending if isinstance(r, PlaceBracket))
    script.exchange_takes(first)
    script.refuse(Why.NOT_SENT)
    while script.named() == "Entering":
        script.settle()
        script.sleep() if len(script.orders(Role.ENTRY1)) < 2 else script.fill_entry()
    script.settle()
    exits = script.live()
    script.push(first.entry.id)
    script.settle()
    assert all(script.book[client_id].status.is_final for client_id in placed(first))
    assert (script.named(), script.live()) == ("Protected", exits)
