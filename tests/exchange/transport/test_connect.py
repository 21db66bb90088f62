"""Start-up: what is proven before the first order, and what is said when it can't be."""

import logging
from typing import Any

import pytest
from tests.exchange.stub import KEY, SECRET, START_MS, ManualClock, Say, Stub, connected, error, signed_well

from executor.core.model.facts import Unknown
from executor.core.model.intents import Stamp
from executor.exchange import binance
from executor.exchange.binance import connect
from executor.exchange.port import StartError
from executor.exchange.transport.auth import DEMO, LIVE, TESTNET, Credentials, Endpoints
from executor.exchange.transport.client import BinanceClient

GOOD = Credentials.hmac(KEY, SECRET)


@pytest.mark.parametrize(
    "say",
    [
        error(401, -2014, "API-key format invalid."),
        error(401, -2015, "Invalid API-key, IP, or permissions for action."),
        error(400, -1022, "Signature for this request is not valid."),
        Say(status=401, text="", content_type="text/html"),
    ],
)
async def test_refused_keys_are_explained(stub: Stub, clock: ManualClock, say: Say) -> None:
    stub.script("GET account/commission", say)
    with pytest.raises(StartError, match="refuses the API key") as refused:
        await connect(stub.endpoints, GOOD, "BTCUSDT", clock)
    assert SECRET not in str(refused.value)
    assert KEY not in str(refused.value)
    assert stub.endpoints.rest_url in str(refused.value)


async def test_an_account_that_may_not_trade_is_explained(stub: Stub, clock: ManualClock) -> None:
    stub.script("GET account", Say(json={"canTrade": False, "balances": []}))
    with pytest.raises(StartError, match="may not trade"):
        await connect(stub.endpoints, GOOD, "BTCUSDT", clock)


async def test_an_unlisted_symbol_is_named(stub: Stub, clock: ManualClock) -> None:
    stub.script("GET exchangeInfo", error(400, -1121, "Invalid symbol."))
    with pytest.raises(StartError, match="'NOSUCH'"):
        await connect(stub.endpoints, GOOD, "NOSUCH", clock)


async def test_a_host_that_is_not_there_is_named(clock: ManualClock, unused_tcp_port: int) -> None:
    nowhere = Endpoints(f"http://127.0.0.1:{unused_tcp_port}", "", "")
    with pytest.raises(StartError, match=str(unused_tcp_port)):
        await connect(nowhere, GOOD, "BTCUSDT", clock)


async def test_a_host_that_is_no_exchange_is_named(stub: Stub, clock: ManualClock) -> None:
    stub.script("GET time", Say(status=404, text="<html>", content_type="text/html"))
    with pytest.raises(StartError, match="can't be used"):
        await connect(stub.endpoints, GOOD, "BTCUSDT", clock)


@pytest.mark.parametrize("window", [0, -1, 60_001])
async def test_a_receive_window_out_of_range_is_refused(stub: Stub, clock: ManualClock, window: int) -> None:
    with pytest.raises(StartError, match="recv_window"):
        await connect(stub.endpoints, GOOD, "BTCUSDT", clock, window)


@pytest.mark.parametrize(
    ("request_", "say"),
    [
        ("GET ping", Say(status=404, text="")),
        ("GET exchangeInfo", error(400, -1121, "Invalid symbol.")),
        ("GET account", error(401, -2015, "Invalid API-key, IP, or permissions for action.")),
        ("GET account", Say(json={"canTrade": False, "balances": []})),
    ],
)
async def test_a_failed_start_leaves_nothing_open(
    stub: Stub, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, request_: str, say: Say
) -> None:
    clients: list[BinanceClient] = []

    def build(*args: Any) -> BinanceClient:
        clients.append(BinanceClient(*args))
        return clients[-1]

    monkeypatch.setattr(binance, "BinanceClient", build)
    stub.script(request_, say)
    with pytest.raises(StartError):
        await connect(stub.endpoints, GOOD, "BTCUSDT", clock)
    assert [client.session.closed for client in clients] == [True]


@pytest.mark.parametrize("suffix", ["", "/", "/api", "/api/"])
async def test_the_base_url_may_be_written_either_way(stub: Stub, clock: ManualClock, suffix: str) -> None:
    endpoints = Endpoints(stub.endpoints.rest_url + suffix, "", "")
    exchange = await connect(endpoints, GOOD, "BTCUSDT", clock)
    await exchange.close()
    assert stub.count("GET ping") == 5


async def test_the_clock_is_set_before_anything_is_signed(stub: Stub, clock: ManualClock) -> None:
    stub.time = START_MS + 3_600_000
    async with connected(stub, clock) as exchange:
        assert exchange.now() == START_MS + 3_600_000
        clock.at += 10
        assert exchange.now() == START_MS + 3_600_010
    for seen in stub.seen:
        if "signature" in seen.params:
            assert int(seen.params["timestamp"]) == START_MS + 3_600_000
            assert seen.params["recvWindow"] == "3000"
            assert signed_well(seen)


async def test_a_change_is_signed_with_the_stamp_that_it_is_given(stub: Stub, clock: ManualClock) -> None:
    """Rule 8.3d: not with the time at which it is sent."""
    async with connected(stub, clock) as exchange:
        stub.script("DELETE order", error(503, -1001, "Internal error."))
        stamp = Stamp(START_MS - 1_234, 4_321)
        outcome = await exchange.cancel("EX_1_SL_1", stamp)
        seen = stub.last("DELETE order")
        assert (seen.params["timestamp"], seen.params["recvWindow"]) == (str(stamp.timestamp), "4321")
        assert signed_well(seen)
        assert isinstance(outcome, Unknown)
        assert outcome.fence == stamp.fence


async def test_the_clock_is_set_anew_on_demand(stub: Stub, clock: ManualClock) -> None:
    async with connected(stub, clock) as exchange:
        stub.time = START_MS - 250
        await exchange.sync_clock()
        assert exchange.now() == START_MS - 250


def test_the_known_environments() -> None:
    assert len({LIVE, TESTNET, DEMO}) == 3
    for endpoints in (LIVE, TESTNET, DEMO):
        assert endpoints.rest_url.startswith("https://")
        assert endpoints.ws_api_url.startswith("wss://")
        assert endpoints.stream_url.startswith("wss://")


async def test_logs_show_no_secret(stub: Stub, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(stub, clock) as exchange:
        stub.script("GET order", *[Say(status=503, text="")] * 9)
        await exchange.cancel("EX_1_SL_1")
    assert SECRET not in caplog.text


async def test_the_library_holds_no_secret(stub: Stub) -> None:
    client = BinanceClient(stub.endpoints, GOOD)
    assert not [name for name, value in vars(client).items() if isinstance(value, str) and SECRET in value]
    await client.close_connection()
