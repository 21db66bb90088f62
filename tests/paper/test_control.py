"""The control endpoint: what it does to a served exchange, what it refuses, and who may ask."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from binance import AsyncClient
from tests.paper.test_standalone import HEADER

from executor.paper.engine.choices import all_choices
from executor.paper.replay.market import AtEnd
from executor.paper.replay.recording import bundled_exchange_info
from executor.paper.server import PortInUse
from executor.paper.standalone import PaperAccount, Serving, Standalone, StandaloneError, serve

FUNDS = {"USDT": Decimal(10_000), "LTC": Decimal(10)}
STOP = {
    "side": "SELL",
    "type": "STOP_LOSS_LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "stopPrice": "79",
    "price": "78.9",
}


class ServedPaper:
    """A served exchange, the control endpoint's client, and a trader's for each account."""

    def __init__(self, serving: Serving, session: aiohttp.ClientSession) -> None:
        self.serving = serving
        self.session = session
        self.status = 0

    async def tell(self, verb: str, **body: Any) -> Any:
        async with self.session.post(f"{self.serving.control}/{verb}", json=body) as response:
            self.status = response.status
            return await response.json()

    async def refused(self, verb: str, **body: Any) -> str:
        answer = await self.tell(verb, **body)
        assert self.status == 400, answer
        return str(answer["error"])

    async def ask(self, path: str) -> Any:
        async with self.session.get(f"{self.serving.control}/{path}") as response:
            self.status = response.status
            return await response.json()

    async def price(self, symbol: str = "LTCUSDT") -> Decimal:
        return Decimal((await self.ask("state"))["symbols"][symbol]["price"])

    def trader(self, name: str = "paper") -> AsyncClient:
        client = AsyncClient(name, name, session_params={})
        client.API_URL = self.serving.urls.rest_url
        return client


@asynccontextmanager
async def served_paper(**changes: Any) -> AsyncIterator[ServedPaper]:
    """By default one account, and LTCUSDT standing at 80."""
    defaults: dict[str, Any] = {"still": {"LTCUSDT": Decimal(80)}, "control_port": 0}
    defaults["accounts"] = (PaperAccount(balances=FUNDS),)
    stop = asyncio.Event()
    started: asyncio.Future[Serving] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(Standalone(**{**defaults, **changes}), started=started.set_result, stop=stop))
    try:
        serving.add_done_callback(lambda _: started.cancelled() or started.done() or started.cancel())
        try:
            await asyncio.wait_for(asyncio.shield(started), 10)
        except asyncio.CancelledError:
            await serving  # with what went wrong
            raise
        async with aiohttp.ClientSession() as session:
            yield ServedPaper(started.result(), session)
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(serving, return_exceptions=True), 10)


async def placed(trader: AsyncClient, **order: Any) -> Any:
    return await trader.create_order(symbol="LTCUSDT", newOrderRespType="RESULT", **{**STOP, **order})


async def test_a_price_that_jumps_fills_what_rests_and_triggers_what_waits() -> None:
    async with served_paper() as at:
        trader = at.trader()
        buy = await placed(trader, side="BUY", type="LIMIT", price="79.5", stopPrice=None)
        stop = await placed(trader)
        await at.tell("move", price="78")
        assert await at.price() == 78
        assert (await trader.get_order(symbol="LTCUSDT", orderId=buy["orderId"]))["status"] == "FILLED"
        gapped = await trader.get_order(symbol="LTCUSDT", orderId=stop["orderId"])
        assert (gapped["status"], gapped["isWorking"]) == ("NEW", True), "triggered, and left behind by the price"
        await at.tell("move", percent=5, over_s=0.3)
        assert await at.price() == Decimal("81.9")
        assert (await trader.get_order(symbol="LTCUSDT", orderId=stop["orderId"]))["status"] == "FILLED"
        await trader.close_connection()


async def test_what_is_recorded_goes_on_from_a_moved_price_in_proportion(tmp_path: Path) -> None:
    path = tmp_path / "LTCUSDT-trades.csv"
    rows = [f"{1_700_000_000_000 + 50 * i},{100 + i % 2},1,true,{i}\n" for i in range(2_000)]
    path.write_text(HEADER + "".join(rows), "utf-8")
    async with served_paper(recordings=(path,), still={}) as at:
        await asyncio.sleep(0.1)
        await at.tell("play", playing=False)
        before = await at.price()
        await asyncio.sleep(0.2)
        assert await at.price() == before
        await at.tell("move", price="50")
        await at.tell("play", playing=True)
        seen = set()
        for _ in range(20):
            await asyncio.sleep(0.02)
            seen.add(await at.price())
        assert len(seen) > 1
        assert all(Decimal(49) <= price <= Decimal(51) for price in seen)


async def test_a_halted_symbol_takes_no_order_and_stands_still() -> None:
    async with served_paper() as at:
        trader = at.trader()
        stop = await placed(trader)
        await at.tell("status", status="HALT")
        with pytest.raises(Exception, match=r"Market is closed\."):
            await placed(trader)
        await at.tell("move", price="70")
        assert await at.price() == 80
        await trader.cancel_order(symbol="LTCUSDT", orderId=stop["orderId"])
        await at.tell("status", status="TRADING")
        assert (await placed(trader))["status"] == "NEW"
        await trader.close_connection()


async def test_sockets_are_cut_and_kept_away() -> None:
    async with served_paper() as at, at.session.ws_connect(at.serving.urls.stream_url + "/ws/ltcusdt@trade") as socket:
        assert (await at.ask("state"))["sockets"] == 1
        await at.tell("cut", away_s=0.5)
        assert (await socket.receive(timeout=5)).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await at.session.ws_connect(at.serving.urls.ws_api_url)
        await asyncio.sleep(0.6)
        async with at.session.ws_connect(at.serving.urls.ws_api_url):
            pass


async def test_a_fault_meets_as_many_requests_as_it_is_for_over_either_transport() -> None:
    async with served_paper() as at:
        trader = at.trader()
        await at.tell("fault", request="POST /api/v3/order*", times=2, execute=False, status=503)
        for _ in range(2):
            with pytest.raises(Exception, match="Internal error"):
                await placed(trader)
        assert (await placed(trader))["status"] == "NEW"
        assert len(await trader.get_open_orders(symbol="LTCUSDT")) == 1
        await at.tell("fault", request="POST /api/v3/order", status=418, code=-1003, msg="banned", retry_after_s=7)
        async with at.session.ws_connect(at.serving.urls.ws_api_url) as socket:
            await socket.send_str(json.dumps({"id": "a", "method": "order.place", "params": {"apiKey": "paper"}}))
            while "error" not in (answer := await socket.receive_json(timeout=5)):
                pass
            assert (answer["id"], answer["status"]) == ("a", 400), "a request that is no good does not reach the fault"
        state = await at.ask("state")
        assert (state["faults_met"], state["faults"][0]["status"]) == (2, 418)
        with pytest.raises(Exception, match="banned") as banned:
            await placed(trader)
        assert banned.value.response.headers["Retry-After"] == "7"  # type: ignore[attr-defined]
        await at.tell("fault", seconds=0.3, request="GET *", status=502)
        with pytest.raises(Exception, match="Internal error"):
            await trader.get_account()
        await asyncio.sleep(0.4)
        await trader.get_account()
        await at.tell("fault", times=9, request="GET *", status=502)
        await at.tell("clear")
        await trader.get_account()
        await trader.close_connection()


async def test_pushes_are_lost_doubled_or_late() -> None:
    async with served_paper() as at, at.session.ws_connect(at.serving.urls.stream_url + "/ws/ltcusdt@trade") as socket:
        await asyncio.sleep(0.1)
        await at.tell("push", kind="market", event="trade", copies=0)
        await at.tell("push", kind="market", event="trade", copies=2)
        for price in ("80.01", "80.02", "80.03"):
            await at.tell("move", price=price)
        seen = [(await socket.receive_json(timeout=5))["p"][:5] for _ in range(3)]
        assert seen == ["80.02", "80.02", "80.03"]


@pytest.mark.parametrize("by_exchange", [False, True])
async def test_orders_are_cancelled_by_other_hands_or_by_the_exchange(by_exchange: bool) -> None:
    async with served_paper() as at:
        trader = at.trader()
        await placed(trader, newClientOrderId="stop")
        await trader.create_oco_order(
            symbol="LTCUSDT", side="SELL", quantity="1", aboveType="LIMIT_MAKER", abovePrice="90",
            belowType="STOP_LOSS", belowStopPrice="70", aboveClientOrderId="target",
        )  # fmt: skip
        await at.tell("cancel", order="stop", by_exchange=by_exchange)
        await at.tell("cancel", by_exchange=by_exchange)
        ended = await trader.get_all_orders(symbol="LTCUSDT")
        reasons = ["EXCHANGE_CANCELED", "OCO_TRIGGER", "EXCHANGE_CANCELED"]
        if by_exchange:
            assert [order["status"] for order in ended] == ["EXPIRED"] * 3
            assert sorted(order["expiryReason"] for order in ended) == sorted(reasons)
        else:
            assert [order["status"] for order in ended] == ["CANCELED"] * 3
        assert "must be an open order" in await at.refused("cancel", order="stop")
        balances = (await at.ask("state"))["accounts"]["paper"]["balances"]
        assert balances["LTC"] == {"free": "10", "locked": "0"}
        await trader.close_connection()


async def test_balances_are_withdrawn_and_locked() -> None:
    async with served_paper() as at:
        await at.tell("balance", asset="LTC", delta="-4")
        state = await at.tell("balance", asset="LTC", delta="1", lock=True)
        assert state["accounts"]["paper"]["balances"]["LTC"] == {"free": "5", "locked": "1"}
        assert "insufficient balance" in await at.refused("balance", asset="LTC", delta="-6")


async def test_choices_are_shown_and_changed() -> None:
    async with served_paper() as at:
        shown = await at.ask("choices")
        assert [row["name"] for row in shown] == [choice.name for choice in all_choices()]
        assert (await at.tell("choices", oco_done="triggered"))["choices"]["oco_done"] == "triggered"
        assert "must be one of" in await at.refused("choices", oco_done="maybe")


async def test_several_accounts_and_symbols_are_told_apart() -> None:
    accounts = tuple(PaperAccount(name, name, name, FUNDS) for name in ("ann", "bob"))
    still = {"LTCUSDT": Decimal(80), "BTCUSDT": Decimal(60_000)}
    async with served_paper(accounts=accounts, still=still) as at:
        ann, bob = at.trader("ann"), at.trader("bob")
        await placed(ann)
        assert await bob.get_open_orders() == []
        await at.tell("move", symbol="BTCUSDT", price="61000")
        state = await at.ask("state")
        assert {name: row["price"] for name, row in state["symbols"].items()} == {"LTCUSDT": "80", "BTCUSDT": "61000"}
        assert [len(state["accounts"][name]["orders"]) for name in ("ann", "bob")] == [1, 0]
        assert await at.refused("move", price="1") == "symbol is '', must be one of LTCUSDT, BTCUSDT"
        assert "account is 'eve', must be one of ann, bob" in await at.refused(
            "balance", account="eve", asset="LTC", delta=1
        )
        await ann.close_connection()
        await bob.close_connection()


@pytest.mark.parametrize(
    ("verb", "body", "fault"),
    [
        ("move", {}, "one of them must be given"),
        ("move", {"price": "1", "percent": "1"}, "one of them must be given"),
        ("move", {"price": "80.001"}, "must be above 0 and a multiple of LTCUSDT's tick 0.01"),
        ("move", {"price": "0"}, "must be above 0"),
        ("move", {"price": "1", "over_s": -1}, "over_s is -1"),
        ("move", {"price": "1", "colour": "red"}, "unknown field `colour`"),
        ("move", {"symbol": "NONE", "price": "1"}, "symbol is 'NONE', must be one of LTCUSDT"),
        ("status", {"status": "ASLEEP"}, "Invalid enum value 'ASLEEP'"),
        ("cut", {"away_s": 1e9}, "away_s is"),
        ("fault", {"times": 0}, ">= 1"),
        ("push", {"copies": 11}, "<= 10"),
        ("play", {}, "missing required field `playing`"),
    ],
)
async def test_what_cannot_be_done_is_said_and_changes_nothing(verb: str, body: dict[str, Any], fault: str) -> None:
    async with served_paper() as at:
        before = await at.ask("state")
        assert fault in await at.refused(verb, **body)
        after = await at.ask("state")
        assert {**after, "time": 0} == {**before, "time": 0}


@pytest.mark.parametrize("verb", ["move", "choices", "fault", "balance", "status", "cancel"])
async def test_whatever_is_sent_is_answered_and_changes_nothing(verb: str) -> None:
    odd = [
        b"\xff", b"[" * 5_000, b"null", b"[]", b"{", b"\0" * 100, b'{"a":{}}', b'{"symbol":"\\ud800"}',
        b'{"price":"NaN","symbol":"LTCUSDT"}', b'{"price":"1E+999999","symbol":"LTCUSDT"}',
        b'{"price":' + b"9" * 4_500 + b"}", b'{"asset":"USDT","delta":"Infinity"}',
        b'{"price":"-Infinity","symbol":"LTCUSDT","over_ms":1e400}',
    ]  # fmt: skip
    async with served_paper() as at:
        headers = {"Content-Type": "application/json"}
        for body in odd:
            async with at.session.post(f"{at.serving.control}/{verb}", data=body, headers=headers) as answer:
                assert answer.status in {400, 404}, (body, await answer.text())
        assert await at.price() == 80


async def test_it_lists_what_it_can_do() -> None:
    async with served_paper() as at:
        listed = await at.ask("")
        assert listed["POST /move"]["fields"] == ["symbol", "price", "percent", "over_s", "qty"]
        assert listed["POST /status"]["does"].startswith("Set a symbol's status")
        assert "nothing" in (await at.ask("nowhere"))["error"]
        assert at.status == 404
        assert "nothing" in (await at.tell("nowhere"))["error"]
        assert at.status == 404


async def test_a_page_in_a_browser_cannot_ask() -> None:
    async with served_paper() as at:
        url = f"{at.serving.control}/move"
        async with at.session.post(url, data='{"price":"70"}', headers={"Content-Type": "text/plain"}) as response:
            assert response.status == 415
        async with at.session.post(url, json={"price": "70"}, headers={"Host": "evil.example"}) as response:
            assert response.status == 403
        async with at.session.get(f"{at.serving.control}/state", headers={"Host": "[::1]:80"}) as response:
            assert response.status == 200
        assert await at.price() == 80


async def test_without_a_control_port_there_is_no_control() -> None:
    async with served_paper(control_port=None) as at:
        assert at.serving.control == ""


async def test_a_port_that_is_taken_is_named() -> None:
    async with served_paper() as at:
        port = int(at.serving.control.rpartition(":")[2])
        with pytest.raises(PortInUse, match=f"port {port} of 127.0.0.1 is in use"):
            async with served_paper(control_port=port):
                pass


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"still": {"LTCUSDT": Decimal("80.001")}}, "price of LTCUSDT is 80.001, must be above 0"),
        ({"still": {"NONE": Decimal(1)}}, "symbol is 'NONE', must be one of"),
        ({"symbols": ("LTCUSDT", "BTCUSDT"), "still": {}}, "must be one for each of 1 recordings"),
        ({"symbols": ("LTCUSDT",), "still": {"LTCUSDT": Decimal(1)}}, "must be one for each of 0 recordings"),
    ],
)
async def test_what_cannot_be_served_is_named(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(StandaloneError, match=fault):
        async with served_paper(**changes):
            pass


async def test_several_recordings_play_at_once_and_the_last_ends_it(tmp_path: Path) -> None:
    paths = []
    for name, price in (("BTCUSDT-a.csv", 60_000), ("ETHUSDT-b.csv", 3_000)):
        paths.append(tmp_path / name)
        paths[-1].write_text(HEADER + "".join(f"{1000 + i * 100},{price},1,true,{i}\n" for i in range(3)), "utf-8")
    prices: dict[str, Any] = {}
    async with served_paper(recordings=tuple(paths), still={}, at_end=AtEnd.HOLD, speed=10) as at:
        await asyncio.sleep(0.2)
        prices = {name: row["price"] for name, row in (await at.ask("state"))["symbols"].items()}
    assert prices == {"BTCUSDT": "60000", "ETHUSDT": "3000"}
    ended = Standalone(recordings=tuple(paths), at_end=AtEnd.EXIT, speed=10)
    await asyncio.wait_for(serve(ended, started=lambda _: None, stop=asyncio.Event()), 5)


async def test_a_saved_exchange_info_brings_other_symbols(tmp_path: Path) -> None:
    row = {**bundled_exchange_info()["symbols"][0], "symbol": "币安人生USDT", "baseAsset": "币安人生"}
    path = tmp_path / "info.json"
    path.write_text(json.dumps({"symbols": [row]}), "utf-8")
    async with served_paper(still={"币安人生USDT": Decimal("0.25")}, exchange_info=path) as at:
        assert await at.price("币安人生USDT") == Decimal("0.25")
    for text, fault in (("{}", "cannot be read"), ("[]", "must be an answer"), ('{"symbols":[{"symbol":"X"}]}', "X")):
        path.write_text(text, "utf-8")
        with pytest.raises(StandaloneError, match=fault):
            async with served_paper(still={"X": Decimal(1)}, exchange_info=path):
                pass


async def test_margin_accounts_are_opened_and_told_what_to_do() -> None:
    margin = {"": {"USDT": Decimal(1000)}, "LTCUSDT": {"LTC": Decimal(5)}}
    async with served_paper(accounts=(PaperAccount(balances=FUNDS, margin=margin),)) as at:
        await at.tell("loan", kind="BORROW", asset="USDT", amount="100")
        await at.tell("interest", asset="USDT", hourly_rate="0.01", hours=2)
        state = await at.tell("index", price="80")
        assert state["margin"]["paper~cross"]["debts"] == {"USDT": {"borrowed": "100", "interest": "2.00062500"}}
        assert state["margin"]["paper~LTCUSDT"]["level"] is None
        await at.tell("loans", pending_s=60, fails=True)
        assert (
            await at.refused("loan", kind="REPAY", asset="USDT", amount="200")
            == "-3015 Repay amount exceeds borrow amount."
        )
        state = await at.tell("loan", kind="REPAY", asset="USDT", amount="2")
        assert len(state["margin"]["paper~cross"]["pending"]) == 1
        state = await at.tell("liquidate")
        assert state["margin"]["paper~cross"]["debts"] == {}
        await at.tell("transfer", type="MARGIN_MAIN", asset="USDT", amount="500")
        state = await at.tell("balance", account="paper~LTCUSDT", asset="LTC", delta="1")
        assert Decimal(state["accounts"]["paper~LTCUSDT"]["balances"]["LTC"]["free"]) == 6
        await at.tell("loan", kind="BORROW", asset="LTC", amount="1", pair="LTCUSDT")
        state = await at.tell("loan", kind="REPAY", asset="LTC", pair="LTCUSDT")
        assert state["margin"]["paper~LTCUSDT"]["debts"] == {}
        assert "amount: must be given" in await at.refused("loan", kind="BORROW", asset="LTC")
        assert "times is 0" in await at.refused("loans", times=0)
        assert "pending_s is -1" in await at.refused("loans", pending_s=-1)
        for price in ("-5", "0"):
            assert f"price is {price}, must be above 0" in await at.refused("index", price=price)
        await at.refused("loan", kind="BORROW", asset="USDT", amount="-1")
        await at.refused("transfer", type="MAIN_MARGIN", asset="USDT", amount="-1")
        assert "hours is -1" in await at.refused("interest", hours=-1)
        assert "both or none" in await at.refused("interest", asset="LTC")
        assert "hourly_rate is 2" in await at.refused("interest", asset="LTC", hourly_rate="2")


async def test_a_margin_account_gets_no_more_than_there_is() -> None:
    what = Standalone(
        still={"LTCUSDT": Decimal(80)}, accounts=(PaperAccount(margin={"LTCUSDT": {"USDT": Decimal(1)}}),)
    )
    with pytest.raises(StandaloneError, match=r"USDT=1 for the isolated margin account of LTCUSDT of paper: Balance"):
        await serve(what, started=lambda _: None, stop=asyncio.Event())


async def test_the_engines_own_name_finds_a_margin_account() -> None:
    async with served_paper(accounts=(PaperAccount(balances=FUNDS, margin={"": {"USDT": Decimal(10)}}),)) as at:
        assert "must be one of paper" in await at.refused("balance", account="ann", asset="USDT", delta="1")
