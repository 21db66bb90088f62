"""Commission: taken from what was bought, from BNB, or from both; the exits sell what is held (rules 3.4, 3.6)."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.scenarios.harness import EXITS, Harness, World, harness

from executor.core.model.state import Closed, Reason
from executor.core.model.values import ZERO, Direction

LONG, SHORT = World(Direction.LONG, "OCO", pushes=True), World(Direction.SHORT, "OCO", pushes=True)
polled_too = pytest.mark.parametrize("world", [LONG, World(Direction.LONG, "OCO", pushes=False)], ids=["push", "poll"])
EXACTLY = {"USDT": "250"}
"""What 2.5 LTC at 100 cost, and nothing else."""


async def to_the_stop(b: Harness) -> Closed:
    await b.enter()
    assert b.roles() == EXITS["OCO"]
    await b.move(-1)
    closed = await b.ends(Reason.SL)
    b.adds_up(closed)
    return closed


@polled_too
async def test_without_bnb_the_exits_sell_what_is_held(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, balances=EXACTLY, QTY="2.5") as b:
        closed = await to_the_stop(b)
        assert closed.qty == Decimal("2.5")
        assert closed.qty1 + closed.qty2 + closed.qty3 == Decimal("2.497")
        assert closed.dust == Decimal("0.0005")
        assert closed.commissions["LTC"] == Decimal("0.0025")


@polled_too
async def test_with_bnb_all_that_was_bought_is_sold(tmp_path: Path, world: World) -> None:
    async with harness(tmp_path, world, balances={**EXACTLY, "BNB": "1"}, burn=True, QTY="2.5") as b:
        closed = await to_the_stop(b)
        assert closed.qty1 + closed.qty2 + closed.qty3 == Decimal("2.5")
        assert closed.dust == 0
        assert set(closed.commissions) == {"BNB"}


@polled_too
async def test_bnb_that_runs_out_between_two_fills(tmp_path: Path, world: World) -> None:
    """1 LTC at 100 costs 0.00015 BNB; the second fill finds less than it needs and pays in LTC."""
    async with harness(tmp_path, world, balances={**EXACTLY, "BNB": "0.0002"}, burn=True, QTY="2.5") as b:
        await b.signal()
        await b.move(0, qty="1", then=0)
        await b.move(0)
        assert b.roles() == EXITS["OCO"]
        assert sum(b.position.split) == Decimal("2.498")
        await b.move(-1)
        closed = await b.ends(Reason.SL)
        assert closed.commissions["BNB"] >= Decimal("0.00015")
        assert closed.commissions["LTC"] == Decimal("0.0015")
        assert closed.dust == Decimal("0.0005")
        b.adds_up(closed)


@pytest.mark.parametrize("burn", [False, True])
@pytest.mark.parametrize("bnb", ["0", "1"])
async def test_bnb_itself_is_traded(tmp_path: Path, burn: bool, bnb: str) -> None:
    money = {"USDT": "1500", "BNB": bnb}
    async with harness(tmp_path, LONG, symbol="BNBUSDT", balances=money, burn=burn, entry="500", r="5") as b:
        closed = await to_the_stop(b)
        assert closed.qty == 3
        assert sum((closed.qty1, closed.qty2, closed.qty3), ZERO) < 3


@pytest.mark.parametrize("burn", [False, True])
async def test_a_short_buys_back_what_it_sold(tmp_path: Path, burn: bool) -> None:
    """It sells inventory and pays in quote; what its exits pay in base is missing in the end."""
    money = {"LTC": "2.5", "USDT": "5", "BNB": "1" if burn else "0"}
    async with harness(tmp_path, SHORT, balances=money, burn=burn, QTY="2.5") as b:
        closed = await to_the_stop(b)
        assert closed.qty1 + closed.qty2 + closed.qty3 == Decimal("2.5")
        assert closed.dust == (ZERO if burn else Decimal("-0.0025"))


async def test_no_commission_at_all(tmp_path: Path) -> None:
    async with harness(tmp_path, LONG, balances=EXACTLY, fees="0", QTY="2.5") as b:
        closed = await to_the_stop(b)
        assert closed.commissions == {}
        assert closed.dust == 0


@pytest.mark.parametrize("fees", ["0.001", "0.01"])
async def test_a_fee_that_takes_whole_steps(tmp_path: Path, fees: str) -> None:
    async with harness(tmp_path, LONG, balances=EXACTLY, fees=fees, QTY="2.5") as b:
        closed = await to_the_stop(b)
        assert 0 <= closed.dust < Decimal("0.001")
