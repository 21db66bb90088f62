from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import (
    MARGIN_RULES,
    POLICY,
    RULES,
    START,
    Script,
    both_sides,
    closing,
    entering,
    protected,
    unprotected,
)

from executor.core.decide.closing import UNREAD_MS
from executor.core.model.events import Reported, Verb
from executor.core.model.facts import Balance, Why
from executor.core.model.ids import Role
from executor.core.model.intents import CancelOrder, QueryOpenOrders
from executor.core.model.loans import Debt
from executor.core.model.orders import SHOWN_MS
from executor.core.model.policy import EntryMode, Layout
from executor.core.model.state import Closing, End, Market, OrderPhase, Reason
from executor.core.model.values import Direction, OrderStatus, OrderType

D = Decimal


def selling(direction: Direction = Direction.LONG, *, stood_ms: int = 0) -> Script:
    """Everything is cancelled; what is held is being sold."""
    script = protected(direction)
    script.wait(stood_ms)
    script.command(Verb.FLATTEN)
    for _ in range(3):
        script.accept()
    assert script.kinds() == ["FLATTEN"]
    return script


def looked(script: Script) -> Script:
    """The second looks of rule 6.3 are had."""
    while "QueryOrder" in script.kinds():
        script.accept("QueryOrder")
    return script


@both_sides
def test_everything_is_cancelled_before_what_is_held_is_sold(direction: Direction) -> None:
    """Rules 6.2, 7.1."""
    script = closing(direction)
    assert script.kinds() == ["CancelOrder", "CancelList", "CancelList"]
    script.accept()
    script.accept()
    assert "FLATTEN" not in script.kinds()
    script.accept()
    assert script.kinds() == ["FLATTEN"]
    sale = script.order(Role.FLATTEN)
    assert (sale.side, sale.qty) == (direction.exit_side, sum(script.position.split))
    script.settle()
    assert all(r.status is not OrderStatus.NEW for r in script.book.values())


@both_sides
def test_a_rest_that_a_raised_filter_makes_too_small_is_told_of(direction: Direction) -> None:
    """Rule 3.6: it is closed as dust, but worth more than what rounding leaves."""
    script = closing(direction)
    script.rules = replace(script.rules, min_qty=D(5))
    script.settle()
    assert script.closed.reason is Reason.FLATTEN
    assert abs(script.closed.dust) > 2
    what = "2.997 LTC are left over" if direction is Direction.LONG else "3 LTC are not bought back"
    assert said(script, "left_over") == f"{what}: no order is taken for so little"


@pytest.mark.parametrize(
    ("free", "by_hand", "left", "then"),
    [
        (D(0), D(0), "3.00003", "3.00003 are owed still"),
        (D(10), D(0), "3.00003", "the account's own has repaid the debt"),
        (D(0), D(2), "1.00003", "1.00003 are owed still"),
        (D(0), D("2.99"), "", ""),
    ],
)
def test_what_a_short_on_margin_has_not_bought_back_is_owed_or_repaid(
    free: Decimal, by_hand: Decimal, left: str, then: str
) -> None:
    """Rules 3.6, 11.7: it was told as so much less than nothing that is left over, also where others had repaid it."""
    script = protected(Direction.SHORT, rules=MARGIN_RULES)
    owed = script.lender.debt("LTC")
    script.lender.debts["LTC"] = Debt(owed.principal - by_hand, owed.interest)
    for _ in range(2):
        script.read_account(after=SHOWN_MS)
    while script.pending:
        script.accept()
    script.rules = replace(script.rules, min_qty=D(5))
    script.lender.add("LTC", free)
    script.command(Verb.FLATTEN)
    while script.state.position is not None:
        script.accept() if script.pending else script.sleep()
    assert script.closed.dust == D("-3.00003")
    rest = f"{left} LTC are not bought back: no order is taken for so little; {then}"
    assert said(script, "left_over") == (rest if left else "")


def said(script: Script, event: str) -> str:
    return "".join(note.text for note in script.notes if note.event == event)


@pytest.mark.parametrize(("much", "worth"), [(D("0.01"), D(1)), (D(1), D(400))])
def test_the_dust_of_rounding_is_not_told_of(much: Decimal, worth: Decimal) -> None:
    """A hundredth of what was bought, or less than any order."""
    script = closing()
    script.rules = replace(script.rules, min_qty=D(5) if much == 1 else D("0.001"), min_notional=worth)
    script.settle()
    assert script.closed.dust < 3
    assert "left_over" not in script.told()


def test_the_trade_ends_only_after_a_last_look_at_the_open_orders() -> None:
    """Rule 7.1."""
    script = selling()
    script.accept()
    assert script.kinds() == ["QueryOrder"] * 5
    for _ in range(5):
        script.accept()
    assert script.kinds() == ["QueryOpenOrders"]
    script.accept()
    assert script.closed.reason is Reason.FLATTEN


def test_a_clock_that_is_set_back_costs_no_look_after_look() -> None:
    """Rule 8.7: after a restart, the entry ended at a time that is yet to come."""
    script = Script()
    script.signal()
    script.settle()
    script.fill(Role.ENTRY)
    script.settle()
    script.now -= 20_000
    script.state = replace(script.state, market=Market())  # as it is read from the disk
    script.restart()
    script.settle()
    script.command(Verb.FLATTEN)
    script.settle()
    assert script.closed.reason is Reason.FLATTEN
    assert sum(isinstance(request, QueryOpenOrders) for request in script.sent) == 1


def test_a_second_look_that_failed_is_had_before_the_end() -> None:
    """Rule 6.3."""
    script = selling()
    script.accept()
    script.lose("QueryOrder")
    for _ in range(4):
        script.accept("QueryOrder")
    assert script.kinds() == []
    script.sleep()
    assert script.kinds() == ["QueryOrder"]
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def paces(script: Script, tries: int) -> list[int]:
    """The pauses between so many sales that are refused."""
    pauses = []
    for _ in range(tries):
        script.refuse(Why.MARKET_CLOSED, "FLATTEN")
        refused = script.now
        assert looked(script).kinds() == []
        while "FLATTEN" not in script.kinds():
            script.sleep()
        pauses.append(script.now - refused)
    return pauses


def test_a_refused_sale_is_repeated_at_its_pace_and_told_every_so_often() -> None:
    """Rules 8.7, 10.6: in growing pauses; new entries are halted until somebody has looked."""
    script = selling()
    assert paces(script, 5) == [1_000] * 5
    assert script.told().count("close_failed") == 1
    assert not script.state.halted
    assert paces(script, 7) == [2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 32_000]
    assert script.told().count("close_failed") == 2
    assert "have failed" in script.state.halted


def sizes(script: Script, largest: str) -> list[Decimal]:
    """What is tried until the trade is over, where a filter refuses what is larger than `largest`."""
    tried = []
    while script.state.position is not None:
        if "FLATTEN" in script.kinds():
            qty = script.order(Role.FLATTEN).qty
            tried.append(qty)
            if qty > D(largest):
                script.refuse(Why.FILTER, "FLATTEN")
                continue
        if script.pending:
            script.accept()
        else:
            script.sleep()
    return tried


@both_sides
def test_a_size_that_a_filter_refuses_twice_is_halved_until_it_is_taken(direction: Direction) -> None:
    """Rule 8.7; an account's MAX_ASSET is in none of the symbol's filters (filters.md)."""
    script = selling(direction)
    whole = script.order(Role.FLATTEN).qty
    began = script.now
    tried = sizes(script, "0.8")
    half, quarter = (D("1.5"), D("0.75")) if direction is Direction.SHORT else (D("1.499"), D("0.75"))
    assert tried[:7] == [whole, whole, half, half, *[quarter] * 3]
    assert len(tried) == 8
    assert sum(tried[4:]) == whole
    assert script.closed.reason is Reason.FLATTEN
    assert script.now - began < 10_000


def test_a_size_that_moves_with_the_price_is_no_other_one() -> None:
    script = closing()
    script.rules = replace(RULES, max_notional=D(200))
    for _ in range(3):
        script.accept()
    tried = []
    for price in ("99", "101", "100", "99"):
        tried.append(script.order(Role.FLATTEN).qty)
        script.refuse(Why.FILTER, "FLATTEN")
        looked(script)
        script.quote(price)
        while "FLATTEN" not in script.kinds():
            script.sleep()
    assert tried == [D(2), D("2.020"), D("1.010"), D("1.010")]


def test_a_smaller_size_is_doubled_once_it_has_stood_so_often() -> None:
    """A filter that refused for a while only must not leave a close with crumbs; one that goes on costs two tries."""
    script = selling()
    whole = script.order(Role.FLATTEN).qty
    tried = sizes(script, "0.1")
    small = tried[10]
    assert tried[10:18] == [small] * 8
    assert tried[18:20] == [2 * small] * 2
    assert tried[20:28] == [small] * 8
    assert sum(qty for qty in tried if qty <= D("0.1")) == whole


def test_when_the_least_is_refused_as_well_the_whole_is_tried_again() -> None:
    script = selling()
    whole = script.order(Role.FLATTEN).qty
    tried = []
    for _ in range(14):
        tried.append(script.order(Role.FLATTEN).qty)
        script.refuse(Why.FILTER, "FLATTEN")
        looked(script)
        while "FLATTEN" not in script.kinds():
            script.sleep()
    assert len(set(tried)) == 6
    assert tried[10] == tried[11] == min(tried) >= D("0.05")
    assert tried[12:] == [whole] * 2
    assert "close_failed" in script.told()


def test_a_sale_that_finds_nobody_is_repeated_sooner_and_halts_nothing() -> None:
    script = selling()
    pauses = []
    for _ in range(12):
        script.answer_with(OrderStatus.EXPIRED, "FLATTEN")
        ended = script.now
        looked(script)
        while "FLATTEN" not in script.kinds():
            script.sleep()
        pauses.append(script.now - ended)
    assert pauses == [1_000] * 5 + [2_000] + [4_000] * 6
    assert not script.state.halted


def test_a_short_buys_back_what_the_account_can_pay_for() -> None:
    """Rule 6.6b: somebody else has spent half of the quote."""
    script = selling(Direction.SHORT)
    script.refuse(Why.INSUFFICIENT_BALANCE, "FLATTEN")
    looked(script)
    script.balances["USDT"] = Balance(D(150))
    script.accept("QueryBalances")
    script.wait(1_000)
    assert script.kinds() == ["FLATTEN"]
    assert script.order(Role.FLATTEN).qty == D("1.485")
    script.settle()
    assert script.closed.reason is Reason.FLATTEN
    assert [r.cum_qty for r in script.book.values() if r.type is OrderType.MARKET][-2:] == [D("1.485"), D("1.515")]


def test_a_short_that_can_pay_for_nothing_is_tried_and_told_of() -> None:
    script = selling(Direction.SHORT)
    script.balances["USDT"] = Balance(D(1))
    for _ in range(5):
        script.refuse(Why.INSUFFICIENT_BALANCE, "FLATTEN")
        looked(script)
        script.accept("QueryBalances")
        while "FLATTEN" not in script.kinds():
            script.sleep()
    assert script.order(Role.FLATTEN).qty == D(3)
    assert "close_failed" in script.told()


def test_a_sale_that_was_asked_to_wait_is_not_repeated_before() -> None:
    script = selling()
    script.refuse(Why.RATE_LIMIT, retry_at=script.now + 120_000)
    looked(script)
    script.wait(119_000)
    assert script.kinds() == []
    script.wait(1_000)
    assert script.kinds() == ["FLATTEN"]
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_a_sale_that_found_nobody_is_repeated_at_its_pace() -> None:
    script = selling()
    script.pending.clear()
    script.state = replace(script.state, outbox=())
    script.place(script.order(Role.FLATTEN).id, OrderStatus.EXPIRED)
    assert looked(script).kinds() == []
    script.sleep()
    assert script.kinds()[-1] == "FLATTEN"


def test_a_position_that_somebody_else_sold_is_given_up() -> None:
    """Rules 6.6, 8.6: seen twice, both times so much later that the entry must show."""
    script = selling(stood_ms=10_000)
    script.balances["LTC"] = Balance(D("0.01"))
    script.refuse(Why.INSUFFICIENT_BALANCE)
    looked(script)
    script.wait(2_000)
    assert script.kinds() == ["QueryBalances"]
    script.accept()
    assert "sold_elsewhere" not in script.told()  # seen once
    script.wait(2_000)
    assert script.kinds() == ["QueryBalances"]
    script.accept()
    assert "sold_elsewhere" in script.told()
    script.settle()
    assert script.closed.reason is Reason.EXTERNAL


def test_a_position_that_is_still_there_is_sold_again() -> None:
    script = selling()
    script.refuse(Why.INSUFFICIENT_BALANCE)
    looked(script)
    script.wait(1_000)
    script.accept("QueryBalances")
    assert script.kinds() == ["FLATTEN"]


def test_a_short_is_never_given_up_for_its_balance() -> None:
    script = selling(Direction.SHORT)
    script.refuse(Why.INSUFFICIENT_BALANCE)
    script.wait(1_000)
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def test_a_large_position_is_sold_in_pieces() -> None:
    script = closing(rules=replace(RULES, market_max_qty=D(2)))
    script.settle()
    assert [r.qty for i, r in script.book.items() if "FLATTEN" in i] == [D(2), D("0.997")]


@both_sides
@pytest.mark.parametrize("arrived", [False, True])
def test_what_no_order_in_doubt_may_sell_is_sold_at_once(direction: Direction, arrived: bool) -> None:
    """Rules 8.3, 10.1, 10.6: the doubt's part alone waits until it is settled."""
    script = unprotected(direction)
    script.accept("OCO1")
    script.accept("OCO2")
    script.lose("SL", arrived=arrived)
    doubted = script.order(Role.SL)
    script.command(Verb.FLATTEN)
    script.accept("CancelList")
    assert "FLATTEN" not in script.kinds()
    script.accept("CancelList")
    assert "FLATTEN" in script.kinds()
    assert script.order(Role.FLATTEN).qty == script.position.split[0] + script.position.split[1]
    script.settle()
    while not arrived and script.now < doubted.fence + 10_000:
        assert len(script.orders(Role.FLATTEN)) == 1
        script.sleep()
        if script.now < doubted.fence + 10_000:
            script.settle()
    script.settle()
    assert script.closed.reason is Reason.FLATTEN
    assert abs(script.closed.dust) <= D("0.003")  # a short's commissions, in base


def test_a_piece_in_doubt_keeps_no_other_piece_from_being_sold() -> None:
    """Nor does it count as one that failed."""
    script = closing(rules=replace(RULES, market_max_qty=D(1)))
    for _ in range(3):
        script.accept()
    script.lose("FLATTEN")
    assert script.kinds() == ["QueryOrder", "FLATTEN"]
    script.accept("FLATTEN")
    assert script.order(Role.FLATTEN).qty == 1
    first, second = script.orders(Role.FLATTEN)[:2]
    assert first.phase is OrderPhase.UNRESOLVED
    assert second.end is End.FILLED
    assert script.phase == Closing(reason=Reason.FLATTEN, since=script.now)


def test_what_a_fill_after_the_cancel_sold_too_much_is_bought_back() -> None:
    """Rule 6.3."""
    script = selling()
    stop = script.order(Role.SL)
    script.accept("FLATTEN")
    script.execute(stop.id)
    script.push(stop.id)
    assert "oversold" in looked(script).told()
    script.settle()
    assert script.closed.reason is Reason.FLATTEN
    assert abs(script.closed.dust) < D("0.002")


def test_what_is_bought_back_is_not_bought_again_while_that_is_in_doubt() -> None:
    """Rules 6.3, 8.3."""
    script = selling()
    stop = script.order(Role.SL)
    script.accept("FLATTEN")
    script.execute(stop.id)
    script.push(stop.id)
    looked(script)
    script.lose("BUYBACK", arrived=True)
    assert script.kinds() == ["QueryOrder"]
    script.settle()
    assert len([i for i in script.book if "BUYBACK" in i]) == 1
    assert abs(script.closed.dust) < D("0.002")


def test_nothing_is_bought_back_while_the_entry_may_have_bought_it() -> None:
    """Rules 6.3, 8.3: its cancel is not answered, and it has filled whole meanwhile."""
    script = entering()
    entry = script.trade(Role.ENTRY, qty="0.75")
    script.push(entry.id)
    script.accept("SL")
    stop = script.order(Role.SL)
    script.command(Verb.FLATTEN)
    unanswered = script.pending.pop(0)
    assert isinstance(unanswered, CancelOrder)
    assert unanswered.id == entry.id
    script.accept("CancelOrder")
    script.wait(1_000)
    script.accept("FLATTEN")
    script.execute(stop.id)
    script.push(stop.id)
    script.execute(entry.id)
    script.wait(1_000)
    script.accept("QueryOrder")
    script.wait(1_000)
    assert "oversold" not in script.told()
    script.pending.append(unanswered)
    script.to_the_end()
    assert not [name for name in script.book if "BUYBACK" in name]
    assert abs(script.closed.dust) < D("0.01")


def test_commissions_are_read_before_anything_is_sold_and_before_the_sum() -> None:
    script = entering(policy=replace(POLICY, entry_mode=EntryMode.MARKET_ONLY), working=False)
    script.command(Verb.FLATTEN)
    told = script.pending[0]
    script.exchange_takes(told)
    entry = script.order(Role.ENTRY).id
    full = script.book[entry]
    script.book[entry] = replace(full, fills=())
    script.push(entry)
    script.pending.clear()
    script.state = replace(script.state, outbox=())
    script.wait(1)
    assert script.kinds() == ["QueryTrades"]
    script.book[entry] = full
    script.accept()
    assert script.kinds() == ["FLATTEN"]
    sale = script.pending[0]
    script.exchange_takes(sale)
    exit_id = script.order(Role.FLATTEN).id
    full = script.book[exit_id]
    script.book[exit_id] = replace(full, fills=())
    script.pending.clear()
    script.state = replace(script.state, outbox=())
    script.push(exit_id)
    assert script.kinds() == ["QueryTrades"]
    script.lose()
    script.book[exit_id] = full
    script.wait(UNREAD_MS[0])
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


def unpriced(script: Script, role: Role) -> None:
    """It fills; what it paid is not told."""
    told = script.trade(role)
    script.book[told.id] = replace(told, fills=())
    script.push(told.id)


def guessing() -> Script:
    """Protected, with the entry's commission reckoned only: it could not be read."""
    script = entering()
    unpriced(script, Role.ENTRY)
    script.lose("QueryTrades")
    script.settle()
    return script


def test_one_read_that_fails_leaves_the_others_their_answers() -> None:
    script = guessing()
    unpriced(script, Role.TP1)
    script.push(script.order(Role.SL1).id)
    script.command(Verb.FLATTEN)
    while script.kinds()[0] != "QueryTrades":
        script.accept()
    assert script.kinds() == ["QueryTrades"] * 2
    script.pending.reverse()
    script.lose()  # the exit's; the entry's is on its way
    assert script.kinds() == ["QueryTrades"]
    script.accept()
    assert script.kinds() == ["FLATTEN"]


def test_commissions_that_could_not_be_read_are_asked_for_again_before_the_trade_is_summed_up() -> None:
    script = entering()
    told = script.trade(Role.ENTRY)
    script.book[told.id] = replace(told, fills=())
    script.push(told.id)
    script.lose("QueryTrades")
    script.settle()
    script.command(Verb.FLATTEN)
    while "FLATTEN" not in script.kinds():
        script.lose("QueryTrades") if "QueryTrades" in script.kinds() else script.accept()
    script.settle()
    assert script.state.position is not None
    for pause in UNREAD_MS[:3]:
        script.wait(pause - 1)
        assert script.kinds() == []
        script.wait(1)
        assert script.kinds() == ["QueryTrades"]
        script.lose()
    script.book[told.id] = told
    script.wait(UNREAD_MS[3])
    script.settle()
    assert script.closed.commissions == {"LTC": D("0.003"), "USDT": script.closed.commissions["USDT"]}


@pytest.mark.parametrize("lost", [99, 1])
def test_they_are_not_asked_for_for_ever(lost: int) -> None:
    """Rule 8.7: whether they can't be read, or a list that can be read goes on lacking them."""
    script = guessing()
    script.command(Verb.FLATTEN)
    while script.state.position is not None:
        assert script.now - START < 60_000
        if "QueryTrades" in script.kinds() and lost:
            lost -= 1
            script.lose("QueryTrades")
        elif script.kinds():
            script.accept()
        else:
            timer = script.next_timer()
            assert timer is not None
            script.wait(timer - script.now)
    assert script.closed.reason is Reason.FLATTEN


def test_what_may_be_commission_only_is_not_bought_back() -> None:
    """Rule 6.3: only what was sold twice."""
    script = guessing()
    stop = script.order(Role.SL)
    script.command(Verb.FLATTEN)
    while "FLATTEN" not in script.kinds():
        script.lose("QueryTrades") if "QueryTrades" in script.kinds() else script.accept()
    script.accept()
    script.execute(stop.id)
    script.push(stop.id)
    looked(script)
    back = script.order(Role.BUYBACK)
    assert back.qty == stop.qty - D("0.003")


@pytest.mark.parametrize(
    ("told", "read", "bought"), [(True, True, "0.397"), (False, True, "0.397"), (False, False, "0.396")]
)
def test_what_legs_were_cut_to_is_not_all_that_was_held(told: bool, read: bool, bought: str) -> None:
    """Rules 6.3, 13.3: three entries of 0.4 bring 1.1988, their exits stand for 1.197; 1.596 are sold. With commissions
    unread, what each leg was cut by may be commission or not.
    """
    script = entering(policy=replace(POLICY, layout=Layout.BRACKET, qty=D("1.2")))
    for order in [o for o in script.position.orders if o.is_entry]:
        filled = script.execute(order.id)
        script.feed(Reported(at=script.now, report=filled if told else replace(filled, fills=())))
    for order in script.position.orders:
        if order.awaits:
            script.push(order.id)
    assert sum(leg.qty for leg in script.position.legs) == D("1.197")
    stop = script.order(Role.SL)
    script.command(Verb.FLATTEN)
    while "BUYBACK" not in script.kinds():
        if "FLATTEN" in script.kinds():
            script.accept("FLATTEN")
            script.execute(stop.id)
            script.push(stop.id)
        elif not script.pending:
            script.sleep()
        else:
            script.lose("QueryTrades") if "QueryTrades" in script.kinds() and not read else script.accept()
    assert script.order(Role.BUYBACK).qty == D(bought)


def test_the_other_side_of_an_oco_that_filled_is_looked_at_not_cancelled() -> None:
    script = protected()
    script.quote("102", after=1_000)
    told = script.trade(Role.TP1)
    script.push(told.id)
    script.command(Verb.FLATTEN)
    while script.pending:
        script.accept()
    assert [o.role for o in script.position.orders if o.live] == ["SL1"]
    script.sleep()
    script.settle()
    assert script.closed.reason is Reason.FLATTEN


# --- hurried at the end of the service (rule 9.5) ---------------------------------------------------------------------


def test_a_market_order_that_waits_for_its_pause_goes_out_once_more_at_once() -> None:
    script = closing()
    while "FLATTEN" not in script.kinds():
        script.accept()
    script.refuse(Why.AUTH, "FLATTEN")
    script.settle()
    assert "FLATTEN" not in script.kinds()
    script.command(Verb.RETRY)
    assert "FLATTEN" in script.kinds()
    script.refuse(Why.AUTH, "FLATTEN")
    script.settle()
    assert "FLATTEN" not in script.kinds()
    script.wait(1_000)
    assert "FLATTEN" in script.kinds()


def test_what_the_exchange_wants_to_wait_for_waits() -> None:
    script = closing()
    while "FLATTEN" not in script.kinds():
        script.accept()
    script.refuse(Why.RATE_LIMIT, "FLATTEN", retry_at=script.now + 5_000)
    script.settle()
    script.command(Verb.RETRY)
    assert "FLATTEN" not in script.kinds()
    script.wait(5_000)
    assert "FLATTEN" in script.kinds()


def test_a_cancel_that_waits_for_its_pause_goes_out_once_more_at_once() -> None:
    script = closing()
    stop = script.order(Role.SL).id
    for wait in (True, True, False):
        while script.kinds():
            if "CancelOrder" in script.kinds():
                script.refuse(Why.OTHER, "CancelOrder")
            else:
                script.accept()
        if wait:
            script.sleep()
    assert script.order(Role.SL).live
    assert "CancelOrder" not in script.kinds()
    script.command(Verb.RETRY)
    looked(script)
    assert [r.id for r in script.pending if isinstance(r, CancelOrder)] == [stop]


@both_sides
def test_a_cancel_that_is_not_answered_keeps_nothing_else_from_being_sold(direction: Direction) -> None:
    """Rules 6.2, 10.6: an answer may take as long as the request waits for it; what it is about counts as standing."""
    script = closing(direction)
    script.accept()
    script.accept()
    assert script.kinds() == ["CancelList"]
    script.sleep()
    assert script.now == START + 1_000
    assert script.kinds() == ["CancelList", "FLATTEN"]
    first = script.order(Role.FLATTEN)
    assert first.qty == script.leg(1).qty + script.leg(3).qty
    script.accept("FLATTEN")
    script.accept("CancelList")
    looked(script)
    assert script.order(Role.FLATTEN).qty == script.leg(2).qty
    script.to_the_end()
    assert script.closed.reason is Reason.FLATTEN


def test_an_exit_that_is_not_answered_keeps_nothing_else_from_being_sold() -> None:
    script = unprotected()
    script.accept("OCO1")
    script.accept("SL")
    script.command(Verb.FLATTEN)
    script.accept("CancelList")
    script.accept("CancelOrder")
    assert script.kinds() == ["OCO2"]
    script.sleep()
    assert script.order(Role.FLATTEN).qty == script.leg(1).qty + script.leg(3).qty
    script.to_the_end()
    assert script.closed.dust == 0


def test_commissions_that_are_not_told_in_time_hold_up_no_sale() -> None:
    """Rule 3.4: they are asked for while the exits are cancelled, and what may be commission is sold later."""
    script = guessing()
    script.command(Verb.FLATTEN)
    assert script.kinds()[-1] == "QueryTrades"
    for _ in range(3):
        script.accept()
    assert script.kinds() == ["QueryTrades"]
    script.sleep()
    assert script.now == START + 1_000
    assert script.kinds() == ["QueryTrades", "FLATTEN"]
    assert script.order(Role.FLATTEN).qty == D("2.997")
    script.to_the_end()
    assert script.closed.reason is Reason.FLATTEN
