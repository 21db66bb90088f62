"""What happens to the account beside the trade: a level that falls, a liquidation, hands that repay and borrow (rules
11.4, 11.7, 11.10, 11.11).
"""

from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from tests.scenarios.harness import Harness, World
from tests.scenarios.test_margin import LONG, OCO, SHORT, borrowed_asset, margin

from executor.core.book import margin_level
from executor.core.model.events import Commanded, Verb
from executor.core.model.facts import Why
from executor.core.model.loans import Bars
from executor.core.model.state import Protected, Reason
from executor.core.model.values import Direction, OrderSide, OrderType
from executor.core.transition import Step

D = Decimal
WORLDS: Final = pytest.mark.parametrize("world", OCO, ids=str)
LOOK_S: Final = 12.0
"""An account is looked at so often at least while a trade is open."""


def bars(b: Harness) -> Bars:
    terms = b.loop.engine.rules.margin if b.loop is not None else None
    assert terms is not None
    return terms.bars


def set_level(b: Harness, level: Decimal) -> None:
    """Move the index so that the account stands at `level`; the market's own price stays."""
    quote_held, base_held = b.lender.held(b.quote), b.lender.held(b.base)
    quote_owed, base_owed = b.lender.debt(b.quote).total, b.lender.debt(b.base).total
    price = (level * quote_owed - quote_held) / (base_held - level * base_owed)
    b.engine.margin.prices.set(b.symbol, price.quantize(D("1E-8")))
    b.engine.margin.watch(b.clock.now_ms())
    b.server.on_quote(b.symbol)


async def repay(b: Harness, asset: str) -> Step:
    assert b.loop is not None
    step = await b.loop.ask(Commanded(at=b.loop.now(), verb=Verb.REPAY, asset=asset))
    await b.wait(10)
    return step


@WORLDS
async def test_a_falling_level_is_told_of_and_then_ends_the_trade_before_the_exchange_does(
    tmp_path: Path, world: World
) -> None:
    async with margin(tmp_path, world) as b:
        await b.enter()
        steps = margin_level.ladder(b.loop.engine.policy, bars(b)) if b.loop is not None else None
        assert steps is not None
        set_level(b, steps.alert + D("0.01"))
        await b.wait(LOOK_S)
        assert "margin_level" not in b.alerts()
        set_level(b, steps.alert - D("0.01"))
        await b.wait(LOOK_S)
        assert b.alerts().count("margin_level") == 1
        (told,) = [entry for entry in b.log if entry["event"] == "margin_level"]
        assert "; liquidation at " in told["text"]
        await b.wait(LOOK_S)
        assert b.alerts().count("margin_level") == 1  # once is enough
        assert isinstance(b.position.phase, Protected)
        set_level(b, steps.reduce - D("0.005"))
        closed = await b.ends(Reason.MARGIN_LEVEL)
        assert b.alerts().count("margin_level") == 2
        assert b.owed() == closed.debt_left == {}
        assert not b.lender.liquidations
        b.adds_up_on_margin(closed)


@WORLDS
async def test_a_liquidation_is_a_fact_and_nothing_is_put_back(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        await b.enter()
        standing = len(b.orders())
        b.engine.margin.liquidate(b.lender, b.clock.now_ms())
        b.server.on_quote(b.symbol)
        closed = await b.ends(Reason.LIQUIDATED)
        assert "liquidated" in b.alerts()
        assert len(b.orders()) == standing
        assert closed.debt_left == b.owed()
        assert b.said("trade_closed") == 1


@pytest.mark.parametrize("world", [LONG, World(Direction.LONG, "OCO", pushes=True, margin="isolated")], ids=str)
async def test_a_part_repaid_by_hand_is_told_of_and_not_repaid_again(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        await b.enter()
        await b.move(1, then=10)
        b.engine.margin.repay(b.lender, "USDT", D(50), b.clock.now_ms())
        await b.wait(LOOK_S)
        assert b.alerts().count("debt_repaid_elsewhere") == 1
        await b.move("0.1")
        closed = await b.ends(Reason.BREAKEVEN)
        assert b.owed() == closed.debt_left == {}
        repaid = [record.amount for record in b.lender.records if record.type == "REPAY"]
        assert len(repaid) == 2


async def test_a_short_bought_back_and_repaid_by_hand_is_over(tmp_path: Path) -> None:
    async with margin(tmp_path, SHORT) as b:
        await b.enter()
        b.place_by_hand("by-hand", OrderSide.BUY, "3.004", type=OrderType.MARKET)
        b.engine.margin.repay(b.lender, "LTC", b.lender.debt("LTC").total, b.clock.now_ms())
        closed = await b.ends(Reason.EXTERNAL)
        assert "closed_elsewhere" in b.alerts()
        assert b.owed() == closed.debt_left == {}
        assert b.sent("FLATTEN") == []


@pytest.mark.parametrize("world", [SHORT, LONG], ids=str)
async def test_a_debt_that_a_hand_makes_while_a_trade_is_open_is_left_alone_and_given_back_on_the_operator_s_word(
    tmp_path: Path, world: World
) -> None:
    async with margin(tmp_path, world, COOLDOWN_SEC="0", LOCK_SEC="0") as b:
        asset = borrowed_asset(b)
        await b.enter()
        b.engine.margin.borrow(b.lender, asset, D(1), b.clock.now_ms())
        await b.wait(LOOK_S)
        assert b.alerts().count("foreign_debt") == 1
        await b.move(-1)
        await b.ends(Reason.SL)
        assert set(b.owed()) == {asset}
        assert D(1) <= b.owed()[asset] < D("1.001")
        await b.move(0)
        await b.signal()
        assert b.state.refused == {"foreign_debt": 1}
        (told,) = [entry for entry in b.log if entry["event"] == "signal_refused"]
        assert f"executor repay {asset}" in told["text"]
        b.engine.adjust_balance(b.account, asset, D("0.01"), b.clock.now_ms())
        await repay(b, asset)
        assert b.owed() == {}
        await b.signal()
        assert b.state.position is not None


async def test_what_can_t_be_repaid_is_carried_named_and_repaid_once_there_is_enough(tmp_path: Path) -> None:
    """Rule 11.7: the loss ate more than the account's own money; other collateral holds the level up."""
    async with margin(tmp_path, LONG, balances={"BTC": "0.01"}) as b:
        await b.enter()
        b.touch(D(20))
        closed = await b.ends(Reason.SL, refusals=[Why.WOULD_TRIGGER])
        (left,) = closed.debt_left.values()
        assert left > 10
        assert closed.debt_left == b.owed()
        (told,) = [entry for entry in b.log if entry["event"] == "debt_left"]
        assert told["alert"]
        assert "`executor repay USDT` gives them back" in told["text"]
        b.adds_up_on_margin(closed)
        await b.restart()
        assert b.alerts().count("debt_left") == 2  # each start tells of it anew
        b.engine.adjust_balance(b.account, "USDT", left + 1, b.clock.now_ms())
        await repay(b, "USDT")
        assert b.owed() == {}
        assert not any(debt.own for debt in b.state.debts)


async def test_repay_is_refused_while_a_trade_is_open(tmp_path: Path) -> None:
    async with margin(tmp_path, SHORT) as b:
        await b.enter()
        step = await repay(b, "LTC")
        assert "what it owes is repaid when it is over" in str(step.verdict)


def forget(folder: Path) -> None:
    for path in folder.glob("state.json*"):
        path.unlink()


def told(b: Harness, event: str) -> list[dict[str, Any]]:
    return [entry for entry in b.log if entry["event"] == event]


@pytest.mark.parametrize("world", [SHORT, LONG], ids=str)
async def test_the_state_is_lost_and_the_trade_is_rebuilt_with_its_debt(tmp_path: Path, world: World) -> None:
    """Rule 11.12: of the debt, what its fills explain is its own."""
    async with margin(tmp_path, world) as b:
        await b.enter()
        owed = b.owed()
        await b.stop()
        forget(tmp_path)
        await b.start()
        await b.wait(3)
        assert {debt.asset: debt.own for debt in b.state.debts if debt.own} == owed
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert b.owed() == closed.debt_left == {}
