"""Liquidation and hands: what is gone is a fact, and is not put back (rule 11.11)."""

from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.build import MARGIN_RULES, POLICY, START, D, Script, both_sides, protected, unprotected

from executor.core.model.events import LiquidationsSeen, Verb
from executor.core.model.facts import Why
from executor.core.model.ids import Role
from executor.core.model.intents import PlaceOco, PlaceOrder, QueryLiquidations, Repay
from executor.core.model.loans import Debt
from executor.core.model.policy import EntryMode, Layout
from executor.core.model.state import Closed, Reason
from executor.core.model.values import ZERO, Direction, OrderStatus


def taken(direction: Direction, *, liquidated: bool, exits: bool = True, tries: int = 0) -> Script:
    """Somebody closes the trade and repays its debt; its exits are gone with it. `tries`: refused so often before."""
    script = protected(direction, rules=MARGIN_RULES)
    legs = tuple(replace(leg, tries=tries) for leg in script.position.legs)
    script.state = replace(script.state, position=replace(script.position, legs=legs))
    script.now += 1_000
    script.lender.debts.clear()
    script.lender.holdings = {"USDT": D(20), "LTC": ZERO}
    if liquidated:
        script.lender.liquidated = (START + 900,)
    script.sent.clear()
    if exits:
        for client_id, told in list(script.book.items()):
            if told.status is OrderStatus.NEW:
                gone = OrderStatus.EXPIRED if liquidated else OrderStatus.CANCELED
                script.book[client_id] = replace(told, status=gone)
                script.push(client_id)
    return script


def over(script: Script) -> Closed:
    for _ in range(200):
        if script.state.position is None:
            return script.closed
        if script.pending:
            script.accept()
        elif script.next_timer() is not None:
            script.sleep()
        else:
            script.read_account(after=1_000)
    raise AssertionError(f"still open: {script.named()}")


def placed(script: Script) -> list[object]:
    return [request for request in script.sent if isinstance(request, PlaceOrder | PlaceOco | Repay)]


@both_sides
@pytest.mark.parametrize("liquidated", [True, False])
def test_a_trade_that_is_gone_is_closed_and_nothing_is_put_back(direction: Direction, *, liquidated: bool) -> None:
    script = taken(direction, liquidated=liquidated)
    closed = over(script)
    assert closed.reason is (Reason.LIQUIDATED if liquidated else Reason.EXTERNAL)
    assert placed(script) == []
    assert "left_over" not in script.told()  # which is about filters
    assert closed.debt_left == {}
    event = "liquidated" if liquidated else "closed_elsewhere"
    assert script.told().count(event) == 1


def test_what_is_gone_is_looked_for_in_pauses_that_grow_and_believed_no_later() -> None:
    """Rules 8.6, 8.7: two shorts that were liquidated within ten seconds had the account looked at 18 times."""
    script = taken(Direction.SHORT, liquidated=True)
    began, asked = script.now, []
    while script.state.position is not None:
        if script.pending:
            asked += [script.now for kind in script.kinds() if kind == "QueryMargin"]
            script.accept()
        else:
            script.sleep()
    looks = sorted(set(asked))
    assert 3 <= len(looks) <= 6
    pauses = [after - before for before, after in pairwise(looks)]
    assert pauses[:-1] == sorted(pauses[:-1])
    assert looks[-1] - began <= POLICY.absence_grace_ms + 100
    assert script.closed.reason is Reason.LIQUIDATED


def test_an_account_that_shows_nothing_of_a_long_once_is_looked_at_again() -> None:
    """Rule 8.6: it was older than the entry's fill; the exits are put back, not given up."""
    script = protected(rules=MARGIN_RULES)
    script.now += 500
    held = dict(script.lender.holdings)
    script.lender.holdings = {"USDT": D(20), "LTC": ZERO}
    for client_id, told in list(script.book.items()):
        if told.status is OrderStatus.NEW:
            script.book[client_id] = replace(told, status=OrderStatus.EXPIRED)
            script.push(client_id)
    script.settle()
    assert script.position.short_at
    script.lender.holdings = held
    script.wait(3_000)
    script.settle()
    assert script.named() == "Protected"


@both_sides
def test_the_failsafe_looks_first_whether_the_exchange_has_closed_the_trade(direction: Direction) -> None:
    """Its exits had been refused before: gone as well, they count as bare for too long."""
    script = taken(direction, liquidated=True, tries=POLICY.failsafe_tries)
    assert over(script).reason is Reason.LIQUIDATED
    assert placed(script) == []


@both_sides
def test_the_failsafe_goes_on_where_the_trade_is_still_there(direction: Direction) -> None:
    script = protected(direction, rules=MARGIN_RULES)
    legs = tuple(replace(leg, tries=POLICY.failsafe_tries) for leg in script.position.legs)
    script.state = replace(script.state, position=replace(script.position, legs=legs))
    script.now += 1_000
    for client_id, told in list(script.book.items()):
        if told.status is OrderStatus.NEW:
            script.book[client_id] = replace(told, status=OrderStatus.EXPIRED)
            script.push(client_id)
    assert over(script).reason is Reason.FAILSAFE


def test_what_is_owed_after_a_liquidation_is_told_and_repaid_as_far_as_there_is() -> None:
    script = taken(Direction.LONG, liquidated=True)
    script.lender.debts["USDT"] = Debt(D(50), D("0.1"))
    closed = over(script)
    assert closed.reason is Reason.LIQUIDATED
    assert script.lender.debt("USDT").total == D("30.1")
    assert closed.debt_left == {"USDT": D("30.1")}


def test_a_short_whose_debt_was_repaid_by_hand_is_over_though_its_exits_stand() -> None:
    script = taken(Direction.SHORT, liquidated=False, exits=False)
    closed = over(script)
    assert closed.reason is Reason.EXTERNAL
    assert placed(script) == []
    assert all(told.status is not OrderStatus.NEW for told in script.book.values())


@both_sides
def test_an_exit_that_vanished_while_the_holdings_are_there_is_put_back(direction: Direction) -> None:
    script = protected(direction, rules=MARGIN_RULES)
    script.now += 1_000
    script.vanish("SL")
    assert script.kinds() == ["QueryMargin"]
    script.accept()
    assert script.kinds() == ["SL"]
    script.settle()
    assert script.named() == "Protected"


@pytest.mark.parametrize("borrowed", ["0", "0.01"])
def test_a_short_that_sold_its_own_base_is_not_gone_where_nothing_is_owed(borrowed: str) -> None:
    """Found by the simulation: a hand cancelled its stop, and all of it was left unwatched as liquidated."""
    script = Script(Direction.SHORT, POLICY, MARGIN_RULES)
    script.lender.add("LTC", D(3) - D(borrowed))
    script.signal()
    script.settle()
    script.fill_entry()
    script.settle()
    assert script.lender.debt("LTC").principal == D(borrowed)
    script.now += 1_000
    script.vanish("SL")
    script.accept("QueryMargin")
    assert script.kinds() == ["SL"]


def test_a_debt_that_is_in_doubt_is_read_again_first() -> None:
    script = protected(Direction.SHORT, rules=MARGIN_RULES)
    script.now += 1_000
    debts, script.lender.debts = script.lender.debts, {}
    script.vanish("SL")
    script.accept()
    assert not script.pending
    script.lender.debts = debts  # it was a stale look
    script.sleep()
    assert script.kinds() == ["QueryMargin"]
    script.accept()
    assert script.kinds() == ["SL"]


def bought(script: Script) -> bool:
    return any(isinstance(r, PlaceOrder) and "FLATTEN" in r.order.id for r in script.sent)


@pytest.mark.parametrize("of", ["a leg", "the whole"])
@pytest.mark.parametrize("then", ["gone", "stale", "unread"])
def test_what_may_have_been_bought_back_by_somebody_else_is_not_bought_at_market(of: str, then: str) -> None:
    """Rules 8.6, 8.7, 11.11: the debt was shown to be gone, once, when the price was past both targets."""
    script = (unprotected if of == "a leg" else protected)(Direction.SHORT, rules=MARGIN_RULES)
    debts, script.lender.debts = script.lender.debts, {}
    script.read_account(after=500)
    if of == "a leg":
        script.quote("104.1", after=100)
        script.refuse(Why.PRICE_RELATION, "OCO1")
        script.refuse(Why.PRICE_RELATION, "OCO2")
    else:
        script.command(Verb.FLATTEN)
    while "QueryMargin" not in script.kinds():
        if script.pending:
            script.accept()
        else:
            script.sleep()
    assert not bought(script)
    if then == "stale":
        script.lender.debts = debts
    elif then == "unread":
        script.lose("QueryMargin")
        script.wait(POLICY.absence_grace_ms + 2_000)
    for _ in range(12):
        if script.state.position is None or bought(script):
            break
        if script.pending:
            script.accept()
        else:
            script.sleep()
    assert bought(script) == (then != "gone")


def test_a_part_that_was_repaid_by_hand_leaves_the_rest_covered() -> None:
    script = protected(Direction.SHORT, POLICY, MARGIN_RULES)
    debt = script.lender.debts["LTC"]
    script.lender.debts["LTC"] = Debt(debt.principal - 1, debt.interest)
    for _ in range(3):
        script.read_account(after=2_000)
    script.settle()
    assert script.told().count("debt_repaid_elsewhere") == 1
    assert script.named() == "Protected"
    assert script.position.credit is not None
    assert script.position.credit.accrued == D("-0.99997")


def repaid_in_part(part: str, layout: Layout = Layout.OCO) -> Script:
    """Somebody repays a part of a short's debt with coins of their own; it was seen twice."""
    script = Script(Direction.SHORT, replace(POLICY, layout=layout), MARGIN_RULES)
    script.lender.add("USDT", D(10_000))
    script.signal()
    script.settle()
    script.fill_entry()
    script.settle()
    debt = script.lender.debts["LTC"]
    script.lender.debts["LTC"] = Debt(debt.principal - D(part), debt.interest)
    for _ in range(2):
        script.read_account(after=2_000)
    script.settle()
    return script


@pytest.mark.parametrize(
    ("part", "legs"),
    [
        ("0.5", ["1.001", "1.001", "0.501"]),
        ("1.5", ["1.001", "0.501", "0"]),
        ("1.98", ["1.022", "0", "0"]),  # 0.021 alone is less than NOTIONAL takes
        ("2.5", ["0.501", "0", "0"]),
    ],
)
def test_what_somebody_else_has_repaid_is_not_bought_back(part: str, legs: list[str]) -> None:
    """Rules 6.6b, 11.6: the last legs go first, and what stands is cut to what is owed still."""
    script = repaid_in_part(part)
    assert script.told().count("part_missing") == 1
    assert [leg.qty for leg in script.position.legs] == [D(qty) for qty in legs]
    assert script.named() == "Protected"
    stops = [order for order in script.position.orders if order.live and order.is_stop]
    assert sum(stop.qty for stop in stops) == sum(map(D, legs))
    script.quote("97.9", after=1_000)
    for stop in stops:
        script.fill(stop.role)
    script.to_the_end()
    assert script.closed.reason is Reason.SL
    assert script.lender.debts["LTC"].total == ZERO
    assert script.lender.holdings["LTC"] < D("0.003")


@pytest.mark.parametrize("there", ["0.5", "0"])
def test_what_was_repaid_with_base_that_the_exits_had_bought_is_still_to_be_bought(there: str) -> None:
    """Rules 1, 11.6: less is owed, and as much less is there: the stops stay as they are. `there`: base that the
    account has besides, which counts as what was taken first.
    """
    script = protected(Direction.SHORT, POLICY, MARGIN_RULES)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    stops = [order for order in script.position.orders if order.live and order.is_stop]
    covered = sum(stop.qty for stop in stops)
    debt = script.lender.debts["LTC"]
    script.lender.debts["LTC"] = Debt(debt.principal - D("0.5"), debt.interest)
    script.lender.holdings["LTC"] += D(there) - D("0.5")
    for _ in range(4):
        script.read_account(after=2_000)
    script.settle()
    assert script.told().count("debt_repaid_elsewhere") == 1
    assert ("part_missing" in script.told()) == (there != "0")
    stops = [order for order in script.position.orders if order.live and order.is_stop]
    assert (sum(stop.qty for stop in stops) == covered) == (there == "0")
    assert script.named() == "Protected"


def test_what_was_repaid_with_base_that_was_borrowed_and_not_sold_is_still_to_be_bought() -> None:
    """Rules 1, 11.6: of the entry a part alone was sold, and the rest of the loan lies there: less is owed, and as much
    less is there. Found by the simulation: 30 of 90 million were left without a stop.
    """
    script = Script(Direction.SHORT, replace(POLICY, entry_mode=EntryMode.LIMIT_ONLY), MARGIN_RULES)
    script.signal()
    script.settle()
    script.fill(Role.ENTRY, "1")
    script.wait(POLICY.entry_timeout_ms + 1_000)
    script.settle()
    assert script.named() == "Protected"
    held = script.position.legs
    debt = script.lender.debts["LTC"]
    script.lender.holdings["LTC"] = debt.principal - 1
    script.read_account(after=4_000)
    script.lender.debts["LTC"] = Debt(debt.principal - D("0.5"), debt.interest)
    script.lender.holdings["LTC"] -= D("0.5")
    for _ in range(4):
        script.read_account(after=2_000)
    script.settle()
    assert script.told().count("debt_repaid_elsewhere") == 1
    assert "part_missing" not in script.told()
    assert script.position.legs == held
    stops = [order for order in script.position.orders if order.live and order.is_stop]
    assert sum(stop.qty for stop in stops) >= 1


def test_an_account_of_before_a_trade_does_not_tell_what_was_taken_from_its_exits() -> None:
    """What an exit has just bought is not missing where the account may be from before it (8.6)."""
    script = repaid_in_part("0.5")
    assert script.position.credit is not None
    accrued = script.position.credit.accrued
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.lender.holdings["LTC"] = ZERO
    script.read_account(after=POLICY.absence_grace_ms - 500)
    assert script.position.credit.accrued == accrued
    script.read_account(after=2_000)
    assert script.position.credit.accrued == accrued + D("0.5")


def test_a_crumb_of_the_debt_that_was_repaid_moves_no_exit() -> None:
    """Commissions that turn out lower leave as much."""
    script = repaid_in_part("0.005")
    assert script.told().count("debt_repaid_elsewhere") == 1
    assert "part_missing" not in script.told()
    assert [leg.qty for leg in script.position.legs] == [D("1.001"), D("1.001"), D("1.002")]
    assert script.named() == "Protected"


def test_plain_exits_are_cut_to_what_is_owed_still() -> None:
    script = repaid_in_part("1.5", Layout.PLAIN)
    assert {leg.n: leg.qty for leg in script.position.legs} == {0: D("1.502"), 1: D("1.001"), 2: D("0.501")}
    assert script.order(Role.SL).qty == D("1.502")
    assert script.named() == "Protected"


def test_a_short_of_which_the_rest_was_repaid_by_hand_is_over() -> None:
    """Rule 11.11: its target had bought a part."""
    script = protected(Direction.SHORT, POLICY, MARGIN_RULES)
    script.quote("102.1", after=1_000)
    script.fill(Role.TP1)
    script.settle()
    script.lender.debts["LTC"] = Debt(D(1), D("0.00003"))
    assert over(script).reason is Reason.EXTERNAL


def test_while_it_is_found_out_who_repaid_a_debt_nothing_of_it_is_bought() -> None:
    script = taken(Direction.SHORT, liquidated=False, exits=False)
    for _ in range(2):
        script.read_account(after=2_000)
    assert "QueryLiquidations" in script.kinds()
    for _ in range(3):
        script.lose("QueryLiquidations")
        while script.pending:
            script.accept()
        script.sleep()
    assert script.live() == []


@both_sides
def test_liquidations_that_can_not_be_read_keep_no_trade_open(direction: Direction) -> None:
    """Rule 8.7."""
    script = taken(direction, liquidated=True, exits=direction is Direction.LONG)
    since = script.now
    while script.state.position is not None and script.now < since + 60_000:
        if "QueryLiquidations" in script.kinds():
            script.lose("QueryLiquidations")
        elif script.pending:
            script.accept()
        else:
            script.read_account(after=1_000)
    assert script.closed.reason is Reason.EXTERNAL
    assert script.closed.closed - since < POLICY.failsafe_grace_ms + 10_000
    (said,) = [note.text for note in script.notes if note.event == "closed_elsewhere"]
    assert "or liquidated: the list of liquidations can't be read" in said


def test_after_a_restart_liquidations_are_asked_for_once() -> None:
    """Rule 8.7: no account was read since, that a list could be too old for. Found by the simulation."""
    script = taken(Direction.SHORT, liquidated=True, exits=False)
    script.read_account(after=2_000)
    script.read_account(after=2_000)
    script.restart()
    script.sent.clear()
    while script.state.position is not None and script.named() != "Closing":
        script.now += 80
        script.accept() if script.pending else script.sleep()
    assert [type(request).__name__ for request in script.sent].count("QueryLiquidations") == 1
    assert "liquidated" in script.told()


def test_a_clock_that_is_set_back_costs_no_look_after_look_at_liquidations() -> None:
    script = taken(Direction.SHORT, liquidated=False, exits=False)
    script.read_account(after=2_000)
    script.read_account(after=2_000)
    (seq,) = [request.seq for request in script.pending if isinstance(request, QueryLiquidations)]
    script.feed(LiquidationsSeen(at=script.now, times=(), asked_at=script.now - 60_000, seq=seq))
    assert script.named() == "Closing"


def ended(script: Script) -> None:
    """The exchange ends leg 3's stop, and the account can't be read."""
    script.now += 1_000
    stop = script.order(Role.SL)
    script.book[stop.id] = replace(script.book[stop.id], status=OrderStatus.EXPIRED)
    script.push(stop.id)


def unread(script: Script, ms: int) -> None:
    """So long nothing of the account is answered but the list of liquidations."""
    begun = script.now
    while script.now - begun < ms:
        while script.pending:
            if script.kinds()[0] == "QueryMargin":
                script.lose("QueryMargin")
            else:
                script.accept()
        script.wait(500)


@both_sides
def test_an_exit_that_the_exchange_ended_is_put_back_though_the_account_can_not_be_read(direction: Direction) -> None:
    """Rules 6.6, 8.7: the lock decides for a long, the list of liquidations for a short."""
    script = protected(direction, rules=MARGIN_RULES)
    ended(script)
    unread(script, 5_000)
    assert "SL" in script.live()


def test_a_short_that_was_liquidated_gets_no_exit_though_the_account_can_not_be_read() -> None:
    """Rule 11.11."""
    script = protected(Direction.SHORT, rules=MARGIN_RULES)
    script.lender.liquidated = (START + 900,)
    ended(script)
    unread(script, 20_000)
    assert "SL" not in script.live()
