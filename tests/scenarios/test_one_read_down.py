"""One read of the exchange is down, alone: while a trade runs, and at a start. What is not needed to look after the
trade keeps nobody from doing so (rule 9.1), and entries wait for what they need.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.harness import AFTER_TP1, World, harness

from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.exchange.port import StartError
from executor.paper.server.faults import Answer, PushFault, RequestFault

DOWN = Answer(503, b'{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}')
LONG = World(Direction.LONG, "OCO", pushes=True)
SHORT_ON_MARGIN = World(Direction.SHORT, "OCO", pushes=True, margin="isolated")
EXITS = ["SL", "SL1", "SL2", "TP1", "TP2"]


class Down:
    """The reads named are answered 503."""

    def __init__(self) -> None:
        self.reads: frozenset[str] = frozenset()

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        down = method == "GET" and path.removeprefix("/api/v3/").removeprefix("/sapi/v1/") in self.reads
        return RequestFault(execute=False, answer=DOWN) if down else None

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        return None


@pytest.mark.parametrize(
    "reads",
    [
        {"ping"},
        {"exchangeInfo"},
        {"account/commission"},
        {"account"},
        {"account", "account/commission", "exchangeInfo"},
    ],
    ids=lambda reads: "+".join(sorted(reads)),
)
async def test_the_trade_is_looked_after_and_entries_wait(tmp_path: Path, reads: set[str]) -> None:
    down = Down()
    async with harness(tmp_path, LONG, faults=down) as b:
        await b.move(1)
        await b.signal(1, 2)
        await b.move(0)
        assert b.roles() == EXITS
        await b.stop()
        down.reads = frozenset(reads)
        await b.start()
        ruled = "exchangeInfo" not in reads
        assert b.alerts().count("rules_not_read") == (not ruled)
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN)
        if ruled:
            return
        await b.wait(200)
        await b.signal(1, 2)
        assert b.state.refused["barred"] == 1
        down.reads = frozenset()
        await b.wait(70)
        await b.move(1)
        await b.signal(1, 2)
        assert b.roles() == ["ENTRY"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("pushes", [False, True])
@pytest.mark.parametrize("read", ["order", "openOrders", "account", "myTrades", "ticker/24hr"])
async def test_a_trade_goes_from_its_fill_to_its_end_without_a_read(
    tmp_path: Path, read: str, *, pushes: bool, restart: bool
) -> None:
    """What it tells is had in another way (rule 8.7), and what tells nothing that is needed is not waited for."""
    down = Down()
    async with harness(tmp_path, World(Direction.LONG, "OCO", pushes=pushes), faults=down) as b:
        await b.move(1)
        await b.signal(1, 2)
        assert b.roles() == ["ENTRY"]
        down.reads = frozenset({read})
        if restart:
            await b.stop()
        await b.move(0)
        if restart:
            await b.start()
        await b.wait(20)
        assert b.roles() == EXITS
        await b.move(1)
        await b.wait(10)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("-0.5")
        await b.wait(60)
        await b.ends(Reason.BREAKEVEN)


async def test_a_position_that_is_bare_gets_its_stops(tmp_path: Path) -> None:
    down = Down()
    async with harness(tmp_path, LONG, faults=down) as b:
        await b.move(1)
        await b.signal(1, 2)
        await b.stop()
        await b.move(0)
        assert b.roles() == []
        down.reads = frozenset({"exchangeInfo", "account/commission", "ping"})
        await b.start()
        assert b.roles() == EXITS


async def test_without_a_trade_the_start_says_what_is_down(tmp_path: Path) -> None:
    down = Down()
    async with harness(tmp_path, LONG, faults=down) as b:
        await b.stop()
        down.reads = frozenset({"exchangeInfo"})
        with pytest.raises(StartError, match="can't be reached: GET exchangeInfo"):
            await b.start()
        down.reads = frozenset()
        await b.start()


async def test_on_margin_the_accounts_terms_are_such_a_read(tmp_path: Path) -> None:
    down = Down()
    async with harness(tmp_path, SHORT_ON_MARGIN, faults=down) as b:
        await b.move(1)
        await b.signal(1, 2)
        await b.move(0)
        before = b.roles()
        assert before == EXITS
        await b.stop()
        down.reads = frozenset({"margin/isolatedMarginTier", "margin/isolated/allPairs", "margin/allAssets"})
        await b.start()
        assert b.roles() == before
        assert b.alerts().count("rules_not_read") == 1
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
