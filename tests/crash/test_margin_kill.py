"""The real daemon on a margin account, killed at the moments at which money is borrowed and given back: nothing is
borrowed twice, nothing is repaid twice, and no debt is forgotten (rules 11.3, 11.12).
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from tests.crash.daemon import Daemon, ForkServer

from executor.core.model.ids import is_ours
from executor.core.model.values import Direction
from executor.paper.engine.exchange import Engine
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.model import LoanStatus, LoanType
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.clock import WallClock
from executor.paper.replay.recording import bundled_exchange_info
from executor.paper.server import Credential, FaultPlan, HmacSecret, Limits, PaperServer, RequestFault, Urls
from executor.service.store.trades import read_trades

SYMBOL: Final = "LTCUSDT"
KEY: Final = "paper"
OWN: Final = {Direction.LONG: Decimal(200), Direction.SHORT: Decimal(1_000)}
LOAN: Final = "/sapi/v1/margin/borrow-repay"
PATIENCE_S: Final = 40.0
TURN_S: Final = 0.1
LOOKS: Final = 3
"""So often the market is looked at at each price, once the loan is there and the daemon is up."""

BEFORE, AFTER = False, True
MOMENTS: Final = {
    "the loan is asked for": ("POST", LOAN, "BORROW", BEFORE),
    "the loan is made": ("POST", LOAN, "BORROW", AFTER),
    "the loan is looked for": ("GET", LOAN, "BORROW", AFTER),
    "the entry is placed": ("POST", "/sapi/v1/margin/order", "", AFTER),
    "the exits are placed": ("POST", "/sapi/v1/margin/order/oco", "", AFTER),
    "an exit is cancelled": ("DELETE", "/sapi/v1/margin/orderList", "", AFTER),
    "the repayment is asked for": ("POST", LOAN, "REPAY", BEFORE),
    "the repayment is made": ("POST", LOAN, "REPAY", AFTER),
    "the repayment is looked for": ("GET", LOAN, "REPAY", AFTER),
}


class Rig(FaultPlan):
    """A paper exchange in this process, a daemon in another one, and a moment at which that is killed, once."""

    def __init__(self, folder: Path, side: Direction, moment: str) -> None:
        self.side = side
        self.clock = WallClock()
        limits = Limits(request_weight_per_minute=100_000)
        rows = bundled_exchange_info()["symbols"]
        self.engine = Engine([Symbol.from_exchange_info(row) for row in rows], rate_limits=limits.announce())
        self.engine.open_account(KEY, {"USDT": OWN[side]})
        self.engine.margin.transfer(KEY, "MAIN_ISOLATED_MARGIN", "USDT", OWN[side], self.clock.now_ms(), target=SYMBOL)
        keys = {KEY: Credential(KEY, HmacSecret(KEY))}
        self.server = PaperServer(self.engine, self.clock, keys, limits=limits, faults=self)
        self.daemon: Daemon | None = None
        self.killed = asyncio.Event()
        self._moment = MOMENTS[moment]
        self._folder = folder
        self._trade_id = 0
        self._price = Decimal(0)

    @property
    def account(self) -> MarginAccount:
        return self.engine.margin.account(KEY, SYMBOL)

    @property
    def name(self) -> str:
        return self.account.money.name

    def confirmed(self, kind: LoanType) -> list[Decimal]:
        return [r.amount for r in self.account.records if r.type is kind and r.status is LoanStatus.CONFIRMED]

    def owed(self) -> dict[str, Decimal]:
        return {asset: debt.total for asset, debt in self.account.debts.items() if debt.total}

    # --- the fault plan -------------------------------------------------------------------------------------------

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        verb, where, kind, executed = self._moment
        if self.killed.is_set() or (method, path) != (verb, where) or (kind and params.get("type") != kind):
            return None
        assert self.daemon is not None
        self.daemon.send(signal.SIGKILL)
        self.killed.set()
        return RequestFault(execute=executed, disconnect=True)

    # --- the market -----------------------------------------------------------------------------------------------

    def touch(self, r: str) -> None:
        price = Decimal(100) + self.side.sign * Decimal(r)
        falling = price < self._price
        self._price, self._trade_id = price, self._trade_id + 1
        now = self.clock.now_ms()
        self.engine.on_trade(SYMBOL, self._trade_id, price, Decimal(1_000), falling, now)
        trade = MarketTrade(trade_id=self._trade_id, price=price, qty=Decimal(1_000), buyer_is_maker=falling, time=now)
        self.server.on_trade(SYMBOL, trade)

    def say(self) -> None:
        sign = self.side.sign
        row = {
            "ts": self.clock.now_ms(), "id": "one", "symbol": SYMBOL, "side": str(self.side), "price": "100",
            "stop": str(100 - sign), "targets": [str(100 + sign), str(100 + 2 * sign)],
        }  # fmt: skip
        (self._folder / "signals.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")

    # --- the daemon -----------------------------------------------------------------------------------------------

    def environ(self, urls: Urls) -> dict[str, str]:
        return {
            "BINANCE_ENV": "custom", "BINANCE_REST_URL": urls.base_url, "BINANCE_WS_API_URL": urls.ws_api_url,
            "BINANCE_STREAM_URL": urls.stream_url, "BINANCE_API_KEY": KEY, "BINANCE_API_SECRET": KEY,
            "SYMBOL": SYMBOL, "TRADE_MODE": "margin", "MARGIN_ISOLATED": "true", "QTY": "3", "HTTP_PORT": "0",
            "STATE_FN": str(self._folder / "state.json"), "SIGNAL_FILE": str(self._folder / "signals.jsonl"),
            "SIGNAL_START": "begin", "RECV_WINDOW": "1000", "DOUBT_SETTLE_SEC": "1", "POLL_SEC": "0.25",
            "LIVE_ENTRY_TIMEOUT_SEC": "20", "ABSENCE_GRACE_SEC": "0.3", "LOG_FORMAT": "json",
            "WATCHDOG_EVERY_SEC": "0", "MARGIN_TRAIL_EVERY_SEC": "0.2", "SL_WATCHDOG_GRACE_SEC": "0.5",
        }  # fmt: skip

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Callable[[], Any]]:
        self.touch("0")
        urls = await self.server.start()
        log = self._folder / "log.jsonl"
        try:
            async with ForkServer() as fork_server:

                async def start() -> Daemon:
                    self.daemon = await fork_server.start(self.environ(urls), log)
                    return self.daemon

                try:
                    yield start
                finally:
                    if self.daemon is not None:
                        self.daemon.send(signal.SIGKILL)
                        await self.daemon.end()
        finally:
            await self.server.stop()


@pytest.mark.parametrize("side", list(Direction))
@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_while(tmp_path: Path, side: Direction, moment: str) -> None:
    rig = Rig(tmp_path, side, moment)
    finished = tmp_path / "state.trades.jsonl"
    path = ("0.05", "0.05", "0", "0", "1.05", "1.05", "0", "-0.2", "-1.1", "-1.2")
    async with rig.serving() as start:
        daemon = await start()
        rig.touch("0.05")
        rig.say()
        async with asyncio.timeout(PATIENCE_S):
            looks = 0
            while True:
                if not daemon.running:
                    assert rig.killed.is_set(), daemon.output()
                    daemon = await start()
                if finished.exists() and list(read_trades(finished)):
                    break
                await asyncio.sleep(TURN_S)
                if rig.confirmed(LoanType.BORROW) and (daemon.said("ready") or not rig.killed.is_set()):
                    rig.touch(path[min(looks // LOOKS, len(path) - 1)])
                    looks += 1
            await asyncio.sleep(0.1)
        assert not daemon.traceback(), daemon.output()
        (closed,) = read_trades(finished)
        assert rig.killed.is_set(), "the moment has never come"
        (lent,) = rig.confirmed(LoanType.BORROW)
        assert list(closed.borrowed.values()) == [lent]
        assert rig.owed() == closed.debt_left
        assert all(left < Decimal("0.001") for left in closed.debt_left.values()), daemon.output()
        repaid = sum(rig.confirmed(LoanType.REPAY))
        charged = sum(accrual.interest for accrual in rig.account.accruals)
        assert repaid + sum(rig.owed().values()) == lent + charged
        assert [o for o in rig.engine.open_orders(rig.name) if is_ours(o.client_order_id)] == []
