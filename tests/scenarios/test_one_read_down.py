"""One read of the exchange is down, alone: while a trade runs, and at a start. What is not needed to look after the
trade keeps nobody from doing so (rule 9.1), and entries wait for what they need.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.scenarios.harness import AFTER_TP1, World, harness

from executor.core.model.events import Verb
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.exchange.port import StartError
from executor.paper.server.faults import Answer, FaultPlan, RequestFault

DOWN = Answer(503, b'{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}')
LONG = World(Direction.LONG, "OCO", pushes=True)
SHORT_ON_MARGIN = World(Direction.SHORT, "OCO", pushes=True, margin="isolated")
EXITS = ["SL", "SL1", "SL2", "TP1", "TP2"]


class Down(FaultPlan):
    """The reads named are answered 503."""

    def __init__(self) -> None:
        self.reads: frozenset[str] = frozenset()

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        down = method == "GET" and path.removeprefix("/api/v3/").removeprefix("/sapi/v1/") in self.reads
        return RequestFault(execute=False, answer=DOWN) if down else None


@pytest.mark.parametrize(
    "reads",
    [
        {"ping"},
        {"time"},
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


async def test_on_margin_a_fill_that_nobody_pushed_is_heard_of_without_looks_at_orders(tmp_path: Path) -> None:
    down = Down()
    async with harness(tmp_path, World(Direction.SHORT, "OCO", pushes=False, margin="isolated"), faults=down) as b:
        await b.move(1)
        await b.signal(1, 2)
        down.reads = frozenset({"margin/order"})
        await b.move(0)
        await b.wait(20)
        assert b.roles() == EXITS


ANSWERS = {
    "503": Answer(503, b'{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}'),
    "429": Answer(429, b'{"code":-1003,"msg":"Too many requests."}'),
    "-1021": Answer(400, b'{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}'),
}


class ChangeDown(Down):
    """One request that changes something is answered so, and never carried out."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.change = ""
        self._answer = answer

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        down = f"{method} {path.removeprefix('/sapi/v1/')}" == self.change
        return RequestFault(execute=False, answer=self._answer) if down else None


@pytest.mark.parametrize("answer", ANSWERS)
async def test_where_no_list_is_taken_each_leg_has_a_stop_alone(tmp_path: Path, answer: str) -> None:
    """Rules 4.1, 8.7: from the fill on, and where lists are to be moved after the first target."""
    down = ChangeDown(ANSWERS[answer])
    async with harness(tmp_path, SHORT_ON_MARGIN, faults=down) as b:
        await b.move(1)
        await b.signal(1, 2)
        down.change = "POST margin/order/oco"
        await b.move(0)
        await b.wait(75)
        assert b.roles() == ["SL", "SL1", "SL2"]
        await b.move(1)
        await b.wait(30)
        assert b.roles() == ["SL", "SL2"]
        await b.move("-0.5")
        await b.wait(60)
        assert b.state.position is None
        assert b.state.last_closed is not None
        assert b.state.last_closed.reason is Reason.BREAKEVEN


@pytest.mark.parametrize("answer", ANSWERS)
async def test_where_no_list_can_be_cancelled_its_orders_are(tmp_path: Path, answer: str) -> None:
    down = ChangeDown(ANSWERS[answer])
    async with harness(tmp_path, SHORT_ON_MARGIN, faults=down) as b:
        await b.move(1)
        await b.signal(1, 2)
        await b.move(0)
        down.change = "DELETE margin/orderList"
        await b.command(Verb.FLATTEN)
        await b.wait(90)
        assert b.roles() == []
        assert b.state.position is None


async def test_where_no_list_is_known_of_nothing_is_sold_for_a_price_of_before(tmp_path: Path) -> None:
    """The first book that the price stream tells of comes before the trade that the entry was filled by: the last price
    is still at the target then.
    """
    down = ChangeDown(Answer(404, b"<html>Not Found</html>"))
    async with harness(tmp_path, LONG, faults=down, ORDER_TRANSPORT="rest") as b:
        await b.move(1)
        await b.signal(1, 2)
        down.change = "POST /api/v3/orderList/oco"
        await b.move(0)
        await b.wait(30)
        assert b.roles() == ["SL", "SL1", "SL2"]
        assert b.alerts() == []


class CancelDown(Down):
    """Cancels of single orders are answered so, over either way, and never carried out; None: the connection is cut."""

    def __init__(self, answer: Answer | None) -> None:
        super().__init__()
        self._answer = answer
        self.paths: tuple[str, ...] = ("DELETE /api/v3/order", "WS order.cancel", "DELETE /sapi/v1/margin/order")

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if f"{method} {path}" not in self.paths:
            return None
        return RequestFault(execute=False, answer=self._answer, disconnect=self._answer is None)


CANCELS = {
    **ANSWERS,
    "404": Answer(404, b"<html>Not Found</html>"),
    "-2010": Answer(400, b'{"code":-2010,"msg":"This is not possible now."}'),
    "cut": None,
}


@pytest.mark.parametrize("how", ["watch", "flatten"])
@pytest.mark.parametrize("transport", ["rest", "ws"])
@pytest.mark.parametrize("answer", CANCELS)
async def test_where_no_single_order_can_be_cancelled_jumped_stops_are_sold_all_the_same(
    tmp_path: Path, answer: str, transport: str, how: str
) -> None:
    """Rules 6.5, 8.7: by their lists, or by a cancel-replace with the sale."""
    down = CancelDown(CANCELS[answer])
    async with harness(tmp_path, LONG, faults=down, ORDER_TRANSPORT=transport) as b:
        await b.move(1)
        await b.signal(1, 2)
        await b.move(0)
        await b.move(-5, then=0.5)
        assert b.roles() == ["SL", "SL1", "SL2"]
        if how == "flatten":
            await b.command(Verb.FLATTEN)
        await b.wait(75)
        assert b.roles() == []
        assert b.state.position is None
        assert not b.state.halted
        b.adds_up(b.closed)


@pytest.mark.parametrize("answer", CANCELS)
async def test_where_nothing_is_left_to_cancel_an_order_with_it_is_named(tmp_path: Path, answer: str) -> None:
    """Rule 8.7: on margin there is no cancel-replace."""
    down = CancelDown(CANCELS[answer])
    async with harness(tmp_path, SHORT_ON_MARGIN, faults=down) as b:
        await b.move(1)
        await b.signal(1, 2)
        await b.move(0)
        await b.move(-5, then=0.5)
        await b.wait(75)
        assert "SL" in b.roles()
        assert "cancel_failed" in b.alerts()
        down.paths = ()
        await b.wait(75)
        assert b.roles() == []
        assert b.state.position is None


@pytest.mark.parametrize("pushes", [False, True])
@pytest.mark.parametrize("read", ["openOrders", "ticker/24hr"])
async def test_trades_of_several_symbols_go_on_without_a_read_that_they_share(
    tmp_path: Path, read: str, *, pushes: bool
) -> None:
    """Rule 8.7: each symbol has a way of its own."""
    down, symbols = Down(), ("LTCUSDT", "ETHUSDT", "BNBUSDT")
    world = World(Direction.LONG, "OCO", pushes=pushes)
    async with harness(tmp_path, world, symbols=symbols, balances={"USDT": "1000000"}, faults=down) as b:
        for b.symbol in symbols:
            await b.move(1)
            await b.signal(1, 2)
            assert b.roles() == ["ENTRY"]
        down.reads = frozenset({read})
        for b.symbol in symbols:
            await b.move(0)
        await b.wait(30)
        for b.symbol in symbols:
            assert b.roles() == EXITS
            await b.move(1)
        await b.wait(20)
        for b.symbol in symbols:
            assert b.roles() == AFTER_TP1["OCO"]
            await b.move("-0.5")
        await b.wait(60)
        for b.symbol in symbols:
            await b.ends(Reason.BREAKEVEN)
