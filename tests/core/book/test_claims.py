"""What a trade needs of what lies free in an account that several symbols share (rules 2.6, 11.2)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.core.build import (
    MARGIN_RULES,
    POLICY,
    RULES,
    START,
    D,
    Script,
    both_sides,
    entering,
    make_report,
    protected,
    repaying,
    unprotected,
)

from executor.core.book import debt as debts
from executor.core.book.claims import claims, on_spot, stands
from executor.core.book.levels import stop_limit
from executor.core.model.events import Verb
from executor.core.model.ids import Role
from executor.core.model.loans import Debt
from executor.core.model.policy import EntryMode, Layout
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closing, Entering, Reason
from executor.core.model.values import ZERO, Direction, OrderStatus


def claimed(script: Script, *, ahead: bool = True) -> dict[str, Decimal]:
    """Those that are not zero."""
    found = claims(script.state, script.policy, script.rules, ahead=ahead)
    return {asset: amount for asset, amount in found.items() if amount}


def needs(direction: Direction) -> tuple[str, Decimal]:
    """What the entry spends."""
    return ("USDT", D("301.5")) if direction is Direction.LONG else ("LTC", D(3))


def for_exits(direction: Direction, brings: str = "99.5") -> dict[str, Decimal]:
    """What a short's exits lock beyond what its entry `brings`, which nobody lends it (rule 2.6)."""
    if direction is Direction.LONG:
        return {}
    buys = debts.gross(D(3), MARGIN_RULES.worst_keep(), MARGIN_RULES.step) + MARGIN_RULES.step
    return {"USDT": buys * LOCK - 3 * D(brings) * D("0.999")}


def borrowing(direction: Direction) -> Script:
    script = Script(direction, POLICY, MARGIN_RULES)
    script.signal()
    return script


def test_who_has_no_trade_on_borrowed_money_needs_nothing() -> None:
    assert claimed(Script(rules=MARGIN_RULES)) == {}
    assert claimed(protected(rules=RULES)) == {}


@both_sides
def test_what_an_entry_is_to_spend_is_claimed_until_it_has_left(direction: Direction) -> None:
    script = borrowing(direction)
    asset, need = needs(direction)
    assert claimed(script) == {asset: need, **for_exits(direction)}
    assert claimed(script, ahead=False) == for_exits(direction)  # what is free may be another's as well, who came first
    while not script.pending or script.kinds() != ["ENTRY"]:
        script.accept()
    # The loan has come, and lies there; or the entry has filled already, and what it has brought.
    brought = {"LTC": D(3)} if direction is Direction.LONG else for_exits(direction, "0")
    assert claimed(script) == claimed(script, ahead=False) == {asset: need, **brought}
    script.accept()
    left = {"USDT": D("1.5")} if direction is Direction.LONG else {}  # the limit is lower than what Plan B may pay
    assert claimed(script) == left | for_exits(direction)


@both_sides
def test_a_loan_that_the_entry_has_not_spent_is_claimed_until_it_is_given_back(direction: Direction) -> None:
    script = entering(direction, POLICY, MARGIN_RULES)
    owed = script.state.debts[0].own
    script.command(Verb.CANCEL_ENTRY)
    while script.named() != "Repaying":
        script.accept()
    asset, need = needs(direction)
    assert claimed(script) == {asset: min(owed, need)}


UNSPENT = D("1.5")
"""Of the loan: Plan B might have had to pay more than the limit. It is given back at the end."""


@both_sides
def test_while_its_exits_stand_a_trade_needs_what_it_will_give_back(direction: Direction) -> None:
    found = claimed(protected(direction, rules=MARGIN_RULES))
    assert found == ({"USDT": UNSPENT} if direction is Direction.LONG else {})


@both_sides
def test_what_an_exit_has_brought_is_claimed_for_the_debt(direction: Direction) -> None:
    script = protected(direction, rules=MARGIN_RULES)
    script.fill(Role.TP1)
    part = script.order(Role.TP1)
    found = claims(script.state, script.policy, script.rules, ahead=True)
    if direction is Direction.LONG:
        assert found["USDT"] == part.value + UNSPENT
    else:
        assert found["LTC"] == part.cum_qty * D("0.999")


def test_what_a_long_holds_without_a_stop_is_claimed() -> None:
    script = protected(rules=MARGIN_RULES)
    script.vanish(Role.SL)
    assert claimed(script) == {"LTC": script.leg(3).qty, "USDT": UNSPENT}


def test_what_a_short_s_exits_will_lock_is_claimed_while_they_do_not_stand() -> None:
    script = protected(Direction.SHORT, rules=MARGIN_RULES)
    script.vanish(Role.SL)
    stop = script.leg(3).stop
    assert stop is not None
    limit = stop_limit(stop, Direction.SHORT, script.policy, script.rules)
    assert claimed(script) == {"USDT": script.leg(3).qty * limit}
    closing = Closing(reason=Reason.FLATTEN, since=1)
    script.state = replace(script.state, position=replace(script.position, phase=closing))
    assert claimed(script) == {"USDT": script.leg(3).qty * script.last * D("1.02")}


@both_sides
def test_what_an_exit_that_is_being_moved_sets_free_is_claimed_before_its_cancel_is_answered(
    direction: Direction,
) -> None:
    """Another symbol that repays just then took it, and the stop was refused for lack of balance."""
    script = protected(direction, rules=MARGIN_RULES)
    before, leg = claimed(script), script.leg(1)
    script.quote(100)
    script.command(Verb.MOVE_STOP, "99")
    assert script.kinds() == ["CancelList"]
    now = claimed(script)
    assert leg.stop is not None
    if direction is Direction.LONG:
        assert now == {**before, "LTC": leg.qty}
    else:
        assert now["USDT"] >= leg.qty * stop_limit(leg.stop, direction, script.policy, script.rules)


@both_sides
def test_so_is_what_an_entry_or_a_pair_of_exits_sets_free(direction: Direction) -> None:
    script = entering(direction, POLICY, MARGIN_RULES)
    script.command(Verb.CANCEL_ENTRY)
    assert script.kinds() == ["CancelOrder"]
    asset, need = needs(direction)
    assert claimed(script) == {asset: min(script.state.debts[0].own, need), **for_exits(direction, "100")}
    script = protected(direction, rules=MARGIN_RULES)
    held = sum((leg.qty for leg in script.position.legs), ZERO)
    script.command(Verb.FLATTEN)
    assert "CancelList" in script.kinds()
    asset = "LTC" if direction is Direction.LONG else "USDT"
    assert claimed(script)[asset] >= held * (1 if direction is Direction.LONG else script.last)


def test_a_rest_that_is_being_repaid_is_claimed_as_far_as_it_was_brought() -> None:
    script = repaying()
    assert claimed(script) == {"USDT": script.state.debts[0].own}
    assert script.lender.debt("USDT") != Debt()


# --- on Spot ----------------------------------------------------------------------------------------------------------


def on_spot_of(script: Script, since: int | None = None, *, for_exits: bool = True) -> dict[str, Decimal]:
    """Those that are not zero; without `since`, of balances that were asked for just now."""
    since = script.now + 1 if since is None else since
    found = on_spot(script.state, script.policy, script.rules, since, for_exits=for_exits)
    return {asset: amount for asset, amount in found.items() if amount}


def test_on_spot_who_has_no_trade_needs_nothing_and_a_loan_has_its_own_sum() -> None:
    assert on_spot_of(Script()) == {}
    assert on_spot_of(protected(rules=MARGIN_RULES)) == {}


LOCK = stop_limit(D(102), Direction.SHORT, POLICY, RULES)
BRINGS = D("99.5") * D("0.999")  # what Plan B may sell for at the least


def test_on_spot_a_short_needs_what_its_exits_lock_beyond_what_its_entry_brings() -> None:
    """2.6: whether the entry rests, is to be placed again, or has filled and its exits are on their way."""
    script = entering(Direction.SHORT)
    assert on_spot_of(script) == {"USDT": 3 * (LOCK - BRINGS)}
    assert on_spot_of(script, START) == {"USDT": 3 * (LOCK - BRINGS), "LTC": D(3)}  # its lock may not show yet
    script.fill("ENTRY", "1")
    script.settle()
    assert on_spot_of(script) == {"USDT": 2 * (LOCK - BRINGS)}
    assert on_spot_of(script, START) == {"USDT": LOCK + 2 * (LOCK - BRINGS), "LTC": D(2)}
    script.wait(90_000)
    script.accept("CancelOrder")
    assert on_spot_of(script) == {"USDT": 2 * (LOCK - BRINGS), "LTC": D(2)}  # Plan B asks for the price
    script = unprotected(Direction.SHORT)
    assert on_spot_of(script) == {"USDT": 3 * LOCK}
    script.settle()
    assert on_spot_of(script) == {}


def test_on_spot_a_long_needs_what_it_holds_and_what_is_to_be_bought() -> None:
    script = entering()
    assert on_spot_of(script) == {"USDT": D("1.5")}  # the limit is lower than what Plan B may pay
    assert on_spot_of(script, START) == {"USDT": D("301.5")}
    assert on_spot_of(script, for_exits=False) == {}
    assert on_spot_of(script, START, for_exits=False) == {"USDT": D(300)}
    script.fill("ENTRY", "1")
    script.settle()
    assert on_spot_of(script) == {"USDT": D("1.0")}
    script = unprotected()
    assert on_spot_of(script) == {"LTC": D("2.997")}
    script.settle()
    assert on_spot_of(script) == {}


@both_sides
def test_on_spot_what_is_on_its_way_locks_nothing_that_is_known(direction: Direction) -> None:
    """A request may hang longer than the balances take: what it will lock counted as locked, and was spent twice."""
    script = Script(direction)
    script.signal()
    asset, need = needs(direction)
    assert on_spot_of(script)[asset] == need
    since = script.now + 1
    script.now += 10
    script.accept()
    assert on_spot_of(script, since)[asset] == need
    script.now += 10
    assert on_spot_of(script).get(asset) == (D("1.5") if direction is Direction.LONG else None)


def test_on_spot_so_do_exits_on_their_way() -> None:
    script = unprotected(Direction.SHORT)
    since = script.now + 1
    script.now += 10
    while script.pending:
        script.accept()
    assert on_spot_of(script, since) == {"USDT": 3 * LOCK}


def test_on_spot_what_an_entry_has_spent_since_is_not_free_for_exits() -> None:
    """It had filled before the other signal's turn came, whose balances were older: a short's exits found nothing."""
    script = entering()
    script.fill("ENTRY", "1")
    assert on_spot_of(script, START)["USDT"] == 2 * D("100.5") + 100
    assert on_spot_of(script, START, for_exits=False)["USDT"] == 200
    script = unprotected()
    assert on_spot_of(script, START) == {"USDT": D(300), "LTC": D("2.997")}
    assert on_spot_of(script, START, for_exits=False) == {"LTC": D("2.997")}


def test_on_spot_an_entry_that_is_over_needs_nothing_more() -> None:
    script = entering(Direction.SHORT)
    script.command(Verb.CANCEL_ENTRY)
    script.accept("CancelOrder")
    assert on_spot_of(script) == {}


@both_sides
def test_on_spot_a_trade_whose_targets_are_not_known_needs_what_it_holds(direction: Direction) -> None:
    """Rules 9.2, 9.3: as one that was rebuilt, or that the operator has closed by its orders alone."""
    script = entering(direction)
    script.fill("ENTRY", "1")
    script.settle()
    plan = replace(script.position.plan, targets=())
    for phase in (Entering(give_up_at=0, end=Reason.EXTERNAL), Closing(reason=Reason.FLATTEN, since=START)):
        script.state = replace(script.state, position=replace(script.position, plan=plan, phase=phase))
        found = on_spot_of(script, START)
        assert found["LTC"] == (D("0.999") if direction is Direction.LONG else 2)
        assert found["USDT"] > (199 if direction is Direction.LONG else 101)


@both_sides
def test_on_spot_plain_s_stop_needs_all_of_it_again_beside_the_targets(direction: Direction) -> None:
    """4.3: each has a lock of its own. What a stop that is moved needs counted as what the targets leave of it, and
    another symbol's entry took the rest.
    """
    script = protected(direction, replace(POLICY, layout=Layout.PLAIN))
    held = sum((leg.qty for leg in script.position.legs if not leg.n), ZERO)
    asset, lock = ("LTC", D(1)) if direction is Direction.LONG else ("USDT", LOCK)
    assert on_spot_of(script) == {}
    script.vanish(Role.SL)
    assert on_spot_of(script) == {asset: held * lock}
    script = protected(direction, replace(POLICY, layout=Layout.PLAIN))
    script.vanish(Role.TP1)
    assert on_spot_of(script) == {asset: script.leg(1).qty * lock}
    script.command(Verb.FLATTEN)
    part = held - script.leg(2).qty
    assert on_spot_of(script)[asset] >= part


@both_sides
@pytest.mark.parametrize("rules", [RULES, MARGIN_RULES])
def test_plain_s_targets_are_needed_from_the_entry_on(direction: Direction, rules: SymbolRules) -> None:
    """4.3: admitted for what they lock beside the stop, a trade counted it as needed only once they were to be placed;
    another symbol's entry took it meanwhile.
    """

    def needed(layout: Layout) -> dict[str, Decimal]:
        script = Script(direction, replace(POLICY, layout=layout), rules)
        script.lender.add("USDT", D(1_000))
        script.lender.add("LTC", D(10))
        script.signal()
        script.settle()
        if rules.margin is None:
            return on_spot(script.state, script.policy, rules, script.now + 1)
        return dict(claims(script.state, script.policy, rules, ahead=True))

    plain, pairs = needed(Layout.PLAIN), needed(Layout.OCO)
    asset, price = ("LTC", (1, 1)) if direction is Direction.LONG else ("USDT", (98, 96))
    each = D("0.999")  # of 2.997, what is left of 3 at the highest commission
    assert plain[asset] - pairs[asset] == sum((each * D(at) for at in price), ZERO)
    assert {key: plain[key] for key in plain if key != asset} == {key: pairs[key] for key in pairs if key != asset}


@both_sides
def test_what_stands_is_what_the_account_has_locked(direction: Direction) -> None:
    assert stands(Script(direction).state, RULES) == {}
    long = direction is Direction.LONG
    script = entering(direction)
    assert stands(script.state, RULES) == ({"USDT": 300, "LTC": 0} if long else {"LTC": 3, "USDT": 0})
    script = protected(direction)
    held = sum((leg.qty for leg in script.position.legs), ZERO)
    assert stands(script.state, RULES)["LTC" if long else "USDT"] >= held * (1 if long else 97)


@both_sides
def test_what_an_entry_has_brought_is_not_free_before_anybody_has_told_of_it(direction: Direction) -> None:
    """Less is locked than is known to stand: another symbol's short sold the base, or its entry spent the quote."""
    spends, gets, brought = ("USDT", "LTC", D(3)) if direction is Direction.LONG else ("LTC", "USDT", 3 * BRINGS)
    script = entering(direction)
    known = on_spot(script.state, POLICY, RULES, script.now + 1)
    found = on_spot(script.state, POLICY, RULES, script.now + 1, untold={spends})
    assert found[gets] - known[gets] == brought
    assert on_spot(script.state, POLICY, RULES, script.now + 1, untold={gets}) == known
    script = entering(direction, POLICY, MARGIN_RULES)
    before, after = (claims(script.state, POLICY, MARGIN_RULES, ahead=True, untold=each) for each in ((), {spends}))
    assert after[gets] - before[gets] == brought


@both_sides
def test_what_an_exit_may_have_brought_is_claimed_for_the_debt_before_anybody_has_told_of_it(
    direction: Direction,
) -> None:
    """Less is locked than its exits lock, or the one that closes it has no answer yet: what they brought lies free, and
    another symbol would take it for spare.
    """
    script = protected(direction, rules=MARGIN_RULES)
    debt = script.state.debts[0].own
    spends, owed = ("LTC", "USDT") if direction is Direction.LONG else ("USDT", "LTC")
    before, after, other = (
        claims(script.state, POLICY, MARGIN_RULES, ahead=True, untold=each) for each in ((), {spends}, {owed})
    )
    assert (before[owed], after[owed]) == (UNSPENT if owed == "USDT" else 0, debt)
    assert other == before
    script.command(Verb.FLATTEN)
    while script.kinds() != ["FLATTEN"]:
        script.accept()
    assert claimed(script)[owed] == debt


@both_sides
@pytest.mark.parametrize("rules", [RULES, MARGIN_RULES])
def test_nor_is_what_an_entry_at_market_has_brought_that_tells_of_its_first_fill_alone(
    direction: Direction, rules: SymbolRules
) -> None:
    """It never waits in the book, so that the rest has filled as well: a short of another symbol sold a part of it."""
    script = Script(direction, replace(POLICY, entry_mode=EntryMode.MARKET_ONLY), rules)
    script.signal()
    while "ENTRY" not in script.kinds():
        script.accept()
    entry = script.order(Role.ENTRY)
    told = make_report(entry, OrderStatus.PARTIALLY_FILLED, cum_qty=D(1), cum_quote=D(100), working=True)
    script.book[entry.id] = told
    script.push(entry.id)
    if rules.margin is None:
        found = dict(on_spot(script.state, script.policy, rules, script.now + 1))
    else:
        found = dict(claims(script.state, script.policy, rules, ahead=True))
    spends, gets = ("USDT", "LTC") if direction is Direction.LONG else ("LTC", "USDT")
    assert found[gets] >= (D("2.99") if gets == "LTC" else 2 * BRINGS)
    assert found[spends] >= (2 if spends == "LTC" else 200)
    assert not stands(script.state, rules)[spends]


def test_what_was_bought_for_the_debt_is_claimed_for_it_too() -> None:
    """Rule 11.6: a short of another symbol sold it as spare, and it was bought again, and a third time."""
    script = repaying(Direction.SHORT)
    known = script.lender.debt("LTC")
    script.lender.debts["LTC"] = Debt(known.principal, D("0.1"))
    while "DEBT" not in script.kinds():
        script.accept() if script.pending else script.sleep()
    assert claimed(script)["LTC"] == debts.find(script.state.debts, "LTC").own
    script.accept("DEBT")
    assert claimed(script)["LTC"] == debts.find(script.state.debts, "LTC").own
