"""Of several symbols one whose reads fail, or hang, at the start: it joins the others once they work (rule 9.1)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.scenarios.harness import AFTER_TP1, Harness, World, harness

from executor.core.model.events import Verb
from executor.core.model.facts import OrderReport
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.core.model.verdict import Refusal
from executor.exchange.binance import BinanceExchange
from executor.paper.server.faults import Answer, FaultPlan, RequestFault
from executor.service.loop import NOT_CAUGHT_UP

PUSHED: Final = World(Direction.LONG, "OCO", pushes=True)
SYMBOLS: Final = ("LTCUSDT", "ETHUSDT", "BNBUSDT")
EXITS: Final = ["SL", "SL1", "SL2", "TP1", "TP2"]
GATEWAY: Final = RequestFault(execute=False, answer=Answer(502, b"bad gateway", "text/html"))
HANGS_S: Final = 24.0
"""Until a read that is not answered is given up."""


class Down(FaultPlan):
    """`read` fails by `fault`; of one symbol alone, where that is named."""

    def __init__(self, fault: RequestFault, read: str, symbol: str = "") -> None:
        self.on = False
        self._fault, self._read, self._symbol = fault, read, symbol

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        meant = not self._symbol or params.get("symbol") == self._symbol
        return self._fault if self.on and meant and path.endswith(self._read) else None


@asynccontextmanager
async def trading(folder: Path, down: Down) -> AsyncIterator[Harness]:
    """Trades of the first two symbols are open, the service has been stopped, and the read is down."""
    async with harness(folder, PUSHED, symbols=SYMBOLS, faults=down, balances={"USDT": "10000"}) as b:
        for b.symbol in SYMBOLS[1::-1]:
            await b.enter()
            await b.move(0)
        assert b.symbol == "LTCUSDT"
        await b.stop()
        down.on = True
        yield b


async def begin(b: Harness, *, ready: tuple[str, ...]) -> None:
    b._task = asyncio.create_task(b._serve(b.settings()))
    async with asyncio.timeout(60):  # the others wait for the late one by the wall clock: market time is held back
        while not all(s in b.loops and b.loops[s].ready.is_set() for s in ready):
            await asyncio.sleep(0.02)
            await b.settle()
            if (wake := b.clock.next_wake_ms()) is not None:
                b.clock.advance_to(wake)


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("wait_s", [0.0, 0.3])
async def test_a_trade_whose_orders_can_not_be_read_at_the_start_is_taken_up_when_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_s: float, *, hangs: bool
) -> None:
    monkeypatch.setattr("executor.service.symbol_session.FIRST_TRY_S", wait_s)
    down, read = Down(GATEWAY, "allOrders", "LTCUSDT"), BinanceExchange.history

    async def history(self: BinanceExchange, since: int) -> tuple[OrderReport, ...]:
        if hangs and down.on and self.symbol == "LTCUSDT":
            await b.patient.sleep(HANGS_S)
        return await read(self, since)

    monkeypatch.setattr(BinanceExchange, "history", history)
    async with trading(tmp_path, down) as b:
        await begin(b, ready=("ETHUSDT", "BNBUSDT"))
        late = b.loops["LTCUSDT"]
        assert not late.ready.is_set()
        assert late.state.position is not None
        step = await b.command(Verb.FLATTEN)
        assert step.verdict == Refusal(NOT_CAUGHT_UP)
        b.symbol = "ETHUSDT"
        await b.move(-1)
        await b.ends(Reason.SL)
        down.on = False
        await b.until(late.ready.is_set, within=300)
        b.symbol = "LTCUSDT"
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN)


async def test_an_end_before_that_leaves_its_state_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.service.symbol_session.FIRST_TRY_S", 0.0)
    down = Down(GATEWAY, "allOrders", "LTCUSDT")
    async with trading(tmp_path, down) as b:
        path = b.settings().state_path("LTCUSDT")
        before = path.read_bytes()
        for _ in range(2):
            await begin(b, ready=("ETHUSDT", "BNBUSDT"))
            await b.move(1, then=0)  # a fill that it does not hear of
            await b.stop()
            assert path.read_bytes() == before
            assert not path.with_name(f"{path.name}.ahead").exists()
        down.on = False
        await b.start()
        await b.wait(5)
        assert b.roles() == AFTER_TP1["OCO"]


async def test_symbols_without_a_trade_whose_rules_can_not_be_read_trade_when_they_can(tmp_path: Path) -> None:
    down = Down(GATEWAY, "exchangeInfo")
    async with trading(tmp_path, down) as b:
        await b.start()
        assert set(b.loops) == set(SYMBOLS)
        assert b.roles() == EXITS
        b.symbol = "BNBUSDT"
        await b.signal()
        assert b.state.refused == {"barred": 1}
        down.on = False
        await b.wait(70)
        await b.signal()
        assert b.roles() == ["ENTRY"]
