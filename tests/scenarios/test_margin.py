"""Trades on borrowed money, the real service against the paper exchange: every ending leaves no debt, and the account
adds up to the last unit of interest (rule 11).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace
from tests.scenarios.harness import AFTER_TP1, BITCOIN, EXITS, Harness, World, harness

from executor.core.model.events import Verb
from executor.core.model.state import Borrowing, Reason
from executor.core.model.values import ZERO, Direction
from executor.paper.server.faults import FaultPlan, RequestFault

D = Decimal
ALL: Final = [
    World(side, layout, pushes=(i + j + k) % 2 == 0, margin=account)
    for i, side in enumerate(Direction)
    for j, layout in enumerate(("OCO", "PLAIN"))
    for k, account in enumerate(("isolated", "cross"))
]
OCO: Final = [world for world in ALL if world.layout == "OCO"]
SHORT: Final = World(Direction.SHORT, "OCO", pushes=True, margin="isolated")
LONG: Final = World(Direction.LONG, "OCO", pushes=False, margin="cross")

FINDINGS: Final = frozenset({"balance_moved", "balance_short", "sells_beyond_held", "exit_missing", "foreign_order"})

every_world = pytest.mark.parametrize("world", ALL, ids=str)
oco_worlds = pytest.mark.parametrize("world", OCO, ids=str)
both = pytest.mark.parametrize("world", [SHORT, LONG], ids=str)


@asynccontextmanager
async def margin(folder: Path, world: World, **more: Any) -> AsyncIterator[Harness]:
    """A third of a long is the account's own; a short's base is all borrowed. PLAIN's targets need what it says."""
    long = world.side is Direction.LONG
    funds = {"USDT": "200" if long else "1000", "LTC": "3" if long and world.layout == "PLAIN" else "0"}
    async with harness(folder, world, balances={**funds, **more.pop("balances", {})}, **more) as b:
        yield b


def borrowed_asset(b: Harness) -> str:
    return b.quote if b.world.side is Direction.LONG else b.base


async def test_what_is_borrowed_is_what_is_missing_and_what_is_owed_is_given_back(tmp_path: Path) -> None:
    async with margin(tmp_path, LONG) as b:
        await b.signal()
        await b.wait(2)
        price = D("100.49")  # Plan B may pay a quarter of R and a half ... at most
        (debt,) = b.owed()
        assert debt == "USDT"
        lent = b.lent()["USDT"]
        assert D(100) <= lent <= 3 * price - 200
        await b.move(0)
        assert b.roles() == EXITS["OCO"]
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert closed.borrowed == {"USDT": lent}
        assert closed.interest["USDT"] > 0
        assert b.owed() == closed.debt_left == {}
        b.adds_up_on_margin(closed)


@every_world
async def test_both_targets_and_the_trail(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        await b.enter()
        assert b.roles() == EXITS[world.layout]
        assert set(b.owed()) == {borrowed_asset(b)}
        await b.move(1)
        assert b.roles() == AFTER_TP1[world.layout]
        await b.move(2)
        assert len(b.open()) == 1
        await b.move(4, then=8)
        assert b.stops() == {b.at(3)}
        await b.move(3)
        closed = await b.ends(Reason.TRAIL)
        assert Decimal("1.6") < closed.r < 2
        assert b.owed() == {}
        b.adds_up_on_margin(closed)


@every_world
async def test_the_stop_ends_it_all(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        await b.enter()
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert b.owed() == {}
        b.adds_up_on_margin(closed)


@every_world
async def test_the_first_target_then_breakeven(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        await b.enter()
        await b.move(1, then=8)
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN)
        assert b.owed() == {}
        b.adds_up_on_margin(closed)


@oco_worlds
async def test_flatten_closes_and_repays(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        await b.enter()
        await b.command(Verb.FLATTEN)
        closed = await b.ends(Reason.FLATTEN)
        assert b.owed() == {}
        b.adds_up_on_margin(closed)


@oco_worlds
async def test_an_entry_that_is_never_filled_gives_the_loan_back(tmp_path: Path, world: World) -> None:
    """Rule 11.8. A short owes its first hour of what it has none of: it is bought, or carried and named (8.3)."""
    async with margin(tmp_path, world, LIVE_ENTRY_TIMEOUT_SEC="5", ENTRY_MODE="LIMIT_ONLY") as b:
        await b.signal()
        await b.wait(8)
        closed = await b.ends(Reason.ENTRY_TIMEOUT)
        assert b.owed() == closed.debt_left
        assert all(left < D("0.001") for left in closed.debt_left.values())
        b.adds_up_on_margin(closed)


async def test_a_reserve_of_base_pays_the_first_hour_of_a_short_that_is_never_filled(tmp_path: Path) -> None:
    settings = {"LIVE_ENTRY_TIMEOUT_SEC": "5", "ENTRY_MODE": "LIMIT_ONLY"}
    async with margin(tmp_path, SHORT, balances={"LTC": "0.001"}, **settings) as b:
        await b.signal()
        await b.wait(8)
        closed = await b.ends(Reason.ENTRY_TIMEOUT)
        assert closed.debt_left == b.owed() == {}
        b.adds_up_on_margin(closed)


@both
async def test_interest_of_hours_is_repaid_to_the_last_unit(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        await b.enter()
        for _ in range(3):
            b.engine.margin.charge(b.lender, b.clock.now_ms())
            await b.wait(5)
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert len(b.lender.accruals) == 4
        assert b.owed() == closed.debt_left == {}
        b.adds_up_on_margin(closed)


async def test_several_trades_one_after_the_other_add_up(tmp_path: Path) -> None:
    async with margin(tmp_path, SHORT, COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        trades = []
        for _ in range(3):
            await b.enter()
            await b.move(-1)
            trades.append(await b.ends(Reason.SL))
            await b.move(0)
        assert b.owed() == {}
        b.adds_up_on_margin(*trades)


async def test_several_symbols_share_the_cross_account_and_each_repays_its_own(tmp_path: Path) -> None:
    symbols = ("LTCUSDT", "ABCUSDT")
    async with margin(tmp_path, LONG, symbols=symbols, balances={"USDT": "300"}) as b:
        for b.symbol in symbols:
            await b.signal(symbol=b.symbol)
        for b.symbol in symbols:
            await b.move(0)
        await b.wait(3)
        states = {symbol: loop.state for symbol, loop in b.loops.items()}
        owed = {symbol: sum((debt.own for debt in state.debts), ZERO) for symbol, state in states.items()}
        assert all(state.position is not None for state in states.values()), b.story()
        shares = sum(owed.values(), ZERO) - b.owed()["USDT"]
        assert 0 <= shares <= D("0.00000002"), owed  # each share of the interest is rounded up
        for b.symbol in symbols:
            await b.move(-1)
        await b.until(lambda: all(loop.state.position is None for loop in b.loops.values()))
        assert b.owed() == {}
        assert not any(debt.own or debt.foreign for loop in b.loops.values() for debt in loop.state.debts)


@pytest.mark.parametrize("lost", [("LTCUSDT", "ABCUSDT"), ("LTCUSDT",), ("ABCUSDT",)], ids=" ".join)
@pytest.mark.parametrize("side", Direction)
async def test_several_symbols_whose_states_are_all_lost_repay_what_the_cross_account_owes(
    tmp_path: Path, side: Direction, lost: tuple[str, ...]
) -> None:
    """Each waited for the other to find out what of the debt is its own: nothing was repaid, and no level watched."""
    symbols, world = ("LTCUSDT", "ABCUSDT"), replace(LONG, side=side)
    funds = {"USDT": "300" if side is Direction.LONG else "1000"}
    async with margin(tmp_path, world, symbols=symbols, balances=funds) as b:
        for b.symbol in symbols:
            await b.signal(symbol=b.symbol)
        for b.symbol in symbols:
            await b.move(0)
        await b.wait(3)
        await b.stop()
        for symbol in lost:
            for path in b.folder.glob(f"{symbol}.json*"):
                path.unlink()
        await b.start()
        await b.wait(10)
        assert b.said("trade_rebuilt") == len(lost)
        owed = sum((debt.own for loop in b.loops.values() for debt in loop.state.debts), ZERO)
        assert 0 <= owed - sum(b.owed().values(), ZERO) <= D("0.00000002"), b.story()
        for b.symbol in symbols:
            await b.move(-1)
        await b.until(lambda: all(loop.state.position is None for loop in b.loops.values()))
        assert b.owed() == {}
        assert not any(debt.own or debt.foreign for loop in b.loops.values() for debt in loop.state.debts)
        assert not b.said("foreign_debt"), b.story()


@pytest.mark.parametrize("second", ["true", "false"], ids=["isolated", "cross"])
@pytest.mark.parametrize("pushes", [True, False], ids=["push", "poll"])
async def test_each_symbol_trades_on_the_account_that_is_set_for_it(tmp_path: Path, second: str, pushes: bool) -> None:
    """Several isolated pairs in one process, or one of them beside the cross account."""
    world = World(Direction.LONG, "OCO", pushes=pushes, margin="isolated")
    symbols = ("LTCUSDT", "ABCUSDT")
    settings = {"ABCUSDT__MARGIN_ISOLATED": second}
    async with margin(tmp_path, world, symbols=symbols, started=False, **settings) as b:
        b.engine.on_trade("BTCUSDT", 1, BITCOIN, D(1), buyer_is_maker=False, now=b.clock.now_ms())
        b.engine.adjust_balance("paper", "USDT", D(150), b.clock.now_ms())
        kind, pair = ("MAIN_ISOLATED_MARGIN", "ABCUSDT") if second == "true" else ("MAIN_MARGIN", "")
        b.engine.margin.transfer("paper", kind, "USDT", D(150), b.clock.now_ms(), target=pair)
        await b.start()
        venues = {symbol: loop.state.venue.partition(" ")[2] for symbol, loop in b.loops.items()}
        assert venues == {"LTCUSDT": "isolated margin", "ABCUSDT": f"{'isolated' if pair else 'cross'} margin"}
        for b.symbol in symbols:
            await b.signal(symbol=b.symbol)
        for b.symbol in symbols:
            await b.move(0)
        await b.wait(3)
        accounts = {each.symbol: each for each in b.engine.margin.accounts()}
        for symbol, account in (("LTCUSDT", accounts["LTCUSDT"]), ("ABCUSDT", accounts[pair])):
            assert len(b.engine.open_orders(account.money.name, symbol)) == 5, b.story()
            assert {debt.own for debt in b.loops[symbol].state.debts} == {account.debt("USDT").total}
        for b.symbol in symbols:
            await b.move(-1)
        await b.until(lambda: all(loop.state.position is None for loop in b.loops.values()))
        assert not any(each.owes for each in accounts.values())


async def test_nothing_is_borrowed_while_nothing_is_missing(tmp_path: Path) -> None:
    async with margin(tmp_path, LONG, balances={"USDT": "1000"}) as b:
        await b.enter()
        assert b.owed() == {}
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert closed.borrowed == {}


async def test_a_loan_above_the_bound_is_refused_with_the_figures(tmp_path: Path) -> None:
    async with margin(tmp_path, LONG, MARGIN_MAX_BORROW_USD="50") as b:
        await b.signal()
        assert b.state.refused == {"max_borrow": 1}
        assert b.lent() == {}


async def test_a_stop_that_would_leave_too_low_a_level_is_refused(tmp_path: Path) -> None:
    async with margin(tmp_path, LONG, balances={"USDT": "60"}, MARGIN_LEVEL_MIN="1.4") as b:
        await b.signal()
        assert b.state.refused == {"margin_level": 1}
        (told,) = [entry for entry in b.log if entry["event"] == "signal_refused"]
        assert "at the stop 99" in told["text"]


async def test_nothing_left_to_lend_is_no_entry(tmp_path: Path) -> None:
    async with margin(tmp_path, SHORT) as b:
        b.engine.margin.terms.stock["LTC"] = D(1)
        await b.signal()
        await b.wait(3)
        closed = await b.ends(Reason.BORROW_REFUSED)
        assert closed.qty == 0
        assert b.owed() == {}
        assert "borrow_refused" in b.alerts()


@pytest.mark.parametrize("world", [SHORT, World(Direction.SHORT, "OCO", pushes=False, margin="cross"), LONG], ids=str)
async def test_the_watchdog_finds_nothing_in_trades_on_borrowed_money(tmp_path: Path, world: World) -> None:
    """Loans, interest and what is bought back beyond the debt are no hand's doing."""
    async with margin(tmp_path, world, WATCHDOG_EVERY_SEC="5", COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        for _ in range(2):
            await b.wait(12)
            await b.enter(then=12)
            await b.wait(12)
            b.engine.margin.charge(b.lender, b.clock.now_ms())
            await b.move(-1, then=15)
            await b.ends(Reason.SL)
            await b.move(0, then=15)
        assert b.alerts() == [], b.story()
        assert not [entry for entry in b.log if entry["event"] in FINDINGS], b.story()


@both
async def test_orders_of_margin_are_on_the_margin_account_alone(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        await b.enter()
        assert b.open()
        assert b.engine.open_orders("paper") == []
        assert not isinstance(b.position.phase, Borrowing)
        assert b.state.venue.endswith(f"{world.margin} margin")


class SlowOrders(FaultPlan):
    """Orders of `symbol` take a while on their way."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        slow = (method, path, params.get("symbol")) == ("POST", "/sapi/v1/margin/order", self._symbol)
        return RequestFault(delay_before_ms=600) if slow else None


@pytest.mark.parametrize("slow", ["LTCUSDT", "ABCUSDT"])
async def test_of_two_symbols_that_are_signalled_at_once_neither_spends_the_other_s_loan(
    tmp_path: Path, slow: str
) -> None:
    """They share one account: what one has borrowed lies free there until its entry has left (rule 11.2)."""
    symbols = ("LTCUSDT", "ABCUSDT")
    async with margin(tmp_path, LONG, symbols=symbols, balances={"USDT": "300"}, faults=SlowOrders(slow)) as b:
        for b.symbol in symbols:
            await b.signal(symbol=b.symbol, then=0)
        await b.wait(6)
        standing = [order for symbol in symbols for order in b.engine.open_orders(b.account, symbol)]
        assert [order.orig_qty for order in standing] == [D(3), D(3)], b.story()
        lacked = 2 * D("300.75") - D(300)  # Plan B may pay a quarter more than the limit
        assert sum((record.amount for record in b.lender.records), ZERO) == lacked
        assert not any(loop.state.refused for loop in b.loops.values())
