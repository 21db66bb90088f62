"""A margin account is looked at though nothing is owed that anybody knows of (rule 11.12)."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace
from tests.scenarios.harness import World, harness
from tests.scenarios.test_margin_level import bars, set_level

from executor.core.model.events import Tick
from executor.core.model.facts import Why
from executor.core.model.loans import MarginAccount
from executor.core.model.state import Reason
from executor.core.model.values import ZERO, Direction
from executor.exchange.margin import MarginExchange
from executor.paper.server.faults import Answer, FaultPlan, RequestFault
from executor.service.loop import Loop
from executor.service.margin_watch import IDLE_S, OWED_S, UNREAD_S

ISOLATED: Final = World(Direction.LONG, "OCO", pushes=False, margin="isolated")
CROSS: Final = World(Direction.LONG, "OCO", pushes=False, margin="cross")
ACCOUNTS: Final = ("/sapi/v1/margin/account", "/sapi/v1/margin/isolated/account")

both = pytest.mark.parametrize("world", [ISOLATED, CROSS], ids=str)


class Looks(FaultPlan):
    """Counts the looks at the account; while `failing`, each is answered by 503."""

    def __init__(self) -> None:
        self.seen = 0
        self.failing = False

    def on_request(self, _method: str, path: str, _params: Mapping[str, str]) -> RequestFault | None:
        if path not in ACCOUNTS:
            return None
        self.seen += 1
        return RequestFault(execute=False, answer=Answer(503, b"{}")) if self.failing else None


class Prices(FaultPlan):
    """While `failing`, every read of prices is answered by 503."""

    def __init__(self) -> None:
        self.failing = False

    def on_request(self, _method: str, path: str, _params: Mapping[str, str]) -> RequestFault | None:
        if not self.failing or not path.startswith("/api/v3/ticker"):
            return None
        return RequestFault(execute=False, answer=Answer(503, b"{}"))


@both
async def test_a_debt_that_comes_up_while_nothing_is_owed_is_told_of(tmp_path: Path, world: World) -> None:
    """As of a loan that was PENDING when the state that knew of it was lost."""
    async with harness(tmp_path, world, balances={"USDT": "200"}) as b:
        await b.wait(5)
        b.engine.margin.borrow(b.lender, "USDT", Decimal(50), b.clock.now_ms())
        await b.wait(60)
        assert b.alerts() == []
        await b.wait(IDLE_S)
        assert b.alerts() == ["foreign_debt"], b.story()
        (debt,) = [debt for debt in b.state.debts if debt.asset == "USDT"]
        assert debt.foreign == b.owed()["USDT"]


async def test_an_account_of_which_nothing_is_owed_is_looked_at_seldom(tmp_path: Path) -> None:
    looks = Looks()
    async with harness(tmp_path, ISOLATED, balances={"USDT": "200"}, faults=looks, WATCHDOG_EVERY_SEC="0") as b:
        await b.wait(5)
        before = looks.seen
        await b.wait(3 * IDLE_S + 1)
        assert looks.seen - before == 3


async def test_a_look_that_fails_is_had_again(tmp_path: Path) -> None:
    """At the start, too: a debt of which nobody was told would not be until the next signal."""
    looks = Looks()
    async with harness(tmp_path, ISOLATED, balances={"USDT": "200"}, faults=looks, WATCHDOG_EVERY_SEC="0") as b:
        await b.wait(5)
        b.engine.margin.borrow(b.lender, "USDT", Decimal(50), b.clock.now_ms())
        looks.failing = True
        await b.wait(IDLE_S)
        assert b.alerts() == []
        looks.failing = False
        await b.wait(OWED_S + 1)
        assert b.alerts() == ["foreign_debt"], b.story()


async def test_an_account_that_can_not_be_read_while_a_trade_owes_is_told_of(tmp_path: Path) -> None:
    """Its level may fall without a word else."""
    looks = Looks()
    async with harness(tmp_path, CROSS, balances={"USDT": "200"}, faults=looks, WATCHDOG_EVERY_SEC="0") as b:
        await b.enter()
        looks.failing = True
        await b.wait(UNREAD_S - 10)
        assert "margin_unread" not in b.alerts()
        await b.wait(25)
        assert b.alerts().count("margin_unread") == 1, b.story()
        looks.failing = False
        await b.wait(UNREAD_S + 5)
        assert b.alerts().count("margin_unread") == 1


async def test_an_account_that_tells_neither_level_nor_price_while_a_trade_owes_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness(tmp_path, CROSS, balances={"USDT": "200"}, WATCHDOG_EVERY_SEC="0") as b:
        await b.enter()
        assert b.loop is not None
        exchange = b.loop.exchange
        assert isinstance(exchange, MarginExchange)
        read = exchange.margin_account

        async def untold() -> MarginAccount:
            return replace(await read(), level=None, price=ZERO, assets=ZERO, liabilities=ZERO)

        monkeypatch.setattr(exchange, "margin_account", untold)
        await b.wait(UNREAD_S + 15)
        assert b.alerts().count("margin_unread") == 1, b.story()


@both
async def test_without_prices_the_level_is_seen_all_the_same(tmp_path: Path, world: World) -> None:
    """Another program of this address has used up what prices may cost, say (rule 11.10)."""
    prices = Prices()
    async with harness(tmp_path, world, balances={"USDT": "200"}, faults=prices, WATCHDOG_EVERY_SEC="0") as b:
        await b.enter()
        prices.failing = True
        set_level(b, bars(b).call - Decimal("0.01"))
        await b.wait(40)
        assert b.alerts().count("margin_level") == 1, b.story()


async def test_the_level_of_a_debt_that_is_carried_with_no_trade_open_is_told_once_it_is_low(tmp_path: Path) -> None:
    async with harness(tmp_path, CROSS, balances={"USDT": "200", "BTC": "0.01"}, WATCHDOG_EVERY_SEC="0") as b:
        await b.enter()
        b.touch(Decimal(20))  # the loss eats more than the account's own quote
        await b.ends(Reason.SL, refusals=[Why.WOULD_TRIGGER])
        await b.wait(OWED_S + 5)
        assert "margin_level" not in b.alerts()
        call, worth = bars(b).call, b.lender.held("BTC")
        owed, quote = b.lender.debt("USDT").total, b.lender.held("USDT")
        b.engine.margin.prices.set("BTCUSDT", ((call - Decimal("0.02")) * owed - quote) / worth)
        await b.wait(2 * OWED_S + 5)
        assert b.alerts().count("margin_level") == 1, b.story()


class Leap(Looks):
    """While `leaping`, the clock is found to have leapt ahead as each look is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.leaping: Loop | None = None

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if path in ACCOUNTS and self.leaping is not None:
            self.leaping.post(Tick(at=self.leaping.now() + 1, ahead=2_000), lambda _step: None)
        return super().on_request(method, path, params)


async def test_a_look_from_before_the_clock_leapt_ahead_is_had_again(tmp_path: Path) -> None:
    """It is not believed (rule 8.6), and the next one in vain would be minutes later."""
    looks = Leap()
    async with harness(tmp_path, ISOLATED, balances={"USDT": "200"}, faults=looks, WATCHDOG_EVERY_SEC="0") as b:
        await b.wait(5)
        b.engine.margin.borrow(b.lender, "USDT", Decimal(50), b.clock.now_ms())
        looks.leaping = b.loop
        await b.wait(IDLE_S)
        assert b.alerts() == []
        looks.leaping = None
        await b.wait(OWED_S + 1)
        assert b.alerts() == ["foreign_debt"], b.story()
