"""PAPER_AT_END=loop: every round trades like the first, and nothing is kept of rounds long past."""

import asyncio
import gc
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.cli.kit import START_MS, ramp, recording, signals

from executor.cli.books import close_books
from executor.config import load_settings
from executor.core.model.state import Reason
from executor.paper.engine import tape
from executor.paper.engine.exchange import Engine
from executor.service import app, embedded
from executor.service.embedded import ACCOUNT, Embedded, again
from executor.service.loop import Loop
from executor.service.store.trades import read_trades
from executor.signals.parse import Malformed, parse_signal

ROUNDS = 9
SETTLED = 4
"""Rounds after which everything that is bounded is full."""
ORDERS, TRADES, PUSHED = 20, 200, 10
OF_THE_LAST = {"Alert", "Attempt", "ClientId", "Closed"}
"""Of these the last hundreds are kept: the page's alerts and trades, parsed names, requests in cancelled timers."""


class Watched(Embedded):
    made: "Watched"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        Watched.made = self


def kept(engine: Engine, loop: Loop) -> dict[str, int]:
    """What the exchange and the service remember, by name."""
    account = engine._accounts[ACCOUNT]
    market = engine._books["LTCUSDT"].tape
    gc.collect()
    ours = Counter(
        type(each).__name__ for each in gc.get_objects() if str(type(each).__module__).startswith("executor.")
    )
    return {
        "orders": len(account.orders),
        "ids": len(account.newest),
        "lists": len(account.lists) + len(account.list_by_client),
        "fills": sum(map(len, account.fills.values())),
        "trades": len(market.trades),
        "bars": len(market._bars),
        "seen": len(loop.state.seen),
        "closed": len(loop.closed),
        "objects": sum(count for name, count in ours.items() if name not in OF_THE_LAST),
    }


async def test_every_round_trades_and_what_is_kept_stays_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape, "TRADES_KEPT", TRADES)
    monkeypatch.setattr(embedded, "BARS_KEPT", 30)
    monkeypatch.setattr(embedded, "ORDERS_KEPT", ORDERS)
    monkeypatch.setattr("executor.ops.watchdog.stream.KEPT", PUSHED)
    monkeypatch.setattr(embedded, "Embedded", Watched)
    market = recording(tmp_path, ramp("100.2", "100", "103", "102", "100", "98.5", "100.2", steps=12))
    wanted = signals(
        tmp_path,
        {"ts": START_MS + 2_000, "id": "one", "side": "long", "price": "100", "stop": "99"},
        {"ts": START_MS + 200_000, "side": "long", "price": "100", "stop": "99"},
    )
    names = {
        "PAPER_AT_END": "loop",
        "PAPER_SPEED": "0",
        "PAPER_BALANCES": "USDT=10000,LTC=50",
        "PAPER_RECORDING": str(market),
        "PAPER_SIGNALS": str(wanted),
        "COOLDOWN_SEC": "1",
        "COOLDOWN_ABORT_SEC": "1",
        "HTTP_PORT": "0",
        "STATE_FN": str(tmp_path / "state.json"),
        "SIGNAL_FILE": str(tmp_path / "signals.jsonl"),
    }
    settings = load_settings(names, None)
    loops: list[Loop] = []
    running = asyncio.create_task(app.run(settings, loops.append))
    sizes: list[dict[str, int]] = []
    done: list[int] = []

    async def follow() -> None:
        while not loops:  # noqa: ASYNC110  # it begins when it can
            await asyncio.sleep(0.01)
        for _ in range(ROUNDS):
            await Watched.made.replay.next_lap()
            sizes.append(kept(Watched.made.engine, loops[0]))
            done.append(len(list(read_trades(tmp_path / "state.trades.jsonl"))))
        loops[0].stop()

    async with asyncio.timeout(120):
        watching = asyncio.create_task(follow())
        await asyncio.wait({running, watching}, return_when=asyncio.FIRST_EXCEPTION)
        await watching
        await running
    assert [after - before for before, after in zip([0, *done], done, strict=False)] == [done[0]] * ROUNDS, done
    assert done[0] == 2
    assert {trade.reason for trade in read_trades(tmp_path / "state.trades.jsonl")} <= {Reason.TRAIL, Reason.SL}
    early, late = sizes[SETTLED - 1], sizes[-1]
    assert late["orders"] <= ORDERS * 5 // 4 + 10
    assert late["trades"] <= TRADES * 9 // 8
    for name in ("orders", "ids", "lists", "fills", "trades", "bars"):
        assert late[name] <= early[name] * 1.3 + 10, (name, sizes)
    assert late["objects"] <= early["objects"] * 1.1, sizes
    books = close_books(Watched.made.engine, ACCOUNT, {"USDT": Decimal(10000), "LTC": Decimal(50)}, trade_open=True)
    assert not books.faults, "what was forgotten still adds up"
    assert books.fills > sizes[-1]["fills"]


@pytest.mark.parametrize(
    "line",
    [
        '{"ts":"2025-06-21T19:02:00Z","id":"demo-1","symbol":"LTCUSDT","side":"long","price":81.70,"stop":81.40}',
        '{"ts":1750532520000,"symbol":"LTCUSDT","side":"short","price":"0.1000000000000000055","stop":0.3}',
        '{"ts_utc":"2025-06-21 19:02:00","symbol":"LTCUSDT","kind":"long","price":81.7}',
        '{"ts":"2025-06-21T19:02:00Z","ts_utc":"2025-06-21 19:02:00","kind":"long","price":81.7,"symbol":"LTCUSDT"}',
        '{"ts":"2025-06-21T19:02:00Z","action":"PEAK","kind":"long","price":81.7}',
    ],
)
def test_a_signal_of_a_later_lap_is_the_same_but_later_and_another(line: str) -> None:
    first = parse_signal(line)
    assert not isinstance(first, Malformed)
    later = parse_signal(again(line, first, 3_600_000, 2))
    assert not isinstance(later, Malformed)
    assert later.at == first.at + 3_600_000
    assert later.key != first.key
    told = json.loads(again(line, first, 0, 1))
    assert all(name in told for name in json.loads(line))
    assert (later.direction, later.price, later.stop, later.symbol) == (
        first.direction,
        first.price,
        first.stop,
        first.symbol,
    )
