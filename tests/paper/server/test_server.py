"""Starting, stopping, and where the exchange may listen."""

import aiohttp
import pytest
from tests.paper.server.exchange_kit import API_KEY, rest, running

from executor.paper.server import Credential, HmacSecret, PaperServer, PortInUse


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.com", "::", ""])  # noqa: S104 - refused
async def test_other_machines_are_kept_out(host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        async with running(host=host):
            pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_goes_by_its_names(host: str) -> None:
    async with running(host=host) as kit, rest(kit) as client:
        assert kit.urls.rest_url.startswith(f"http://{host}:")
        assert kit.urls.rest_url.endswith("/api")
        assert kit.urls.ws_api_url.endswith("/ws-api/v3")
        assert await client.public("/api/v3/ping") == {}


async def test_a_port_in_use_is_named() -> None:
    async with running() as kit:
        port = int(kit.urls.base_url.rsplit(":", 1)[1])
        with pytest.raises(PortInUse, match=f"port {port} of 127.0.0.1 is in use") as caught:
            async with running(port=port):
                pass
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)


async def test_a_key_of_an_unknown_account_is_found_at_once() -> None:
    async with running() as kit:
        with pytest.raises(KeyError, match="stranger"):
            PaperServer(kit.engine, kit.clock, {API_KEY: Credential("stranger", HmacSecret("s"))})


async def test_after_a_stop_nobody_answers_and_a_second_stop_is_nothing() -> None:
    async with running() as kit, rest(kit) as client:
        assert await client.public("/api/v3/ping") == {}
        await kit.server.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.public("/api/v3/ping")
        await kit.server.stop()


async def test_it_is_quiet_when_nothing_is_in_hand() -> None:
    async with running() as kit, rest(kit) as client:
        assert kit.server.quiet()
        await client.limit()
        assert kit.server.quiet()
        assert kit.server.requests_in_flight == 0


@pytest.mark.parametrize("path", ["/ws-api/v3", "/ws", "/ws/btcusdt@trade", "/stream?streams=btcusdt@trade"])
async def test_a_plain_request_to_a_websocket_address_is_refused(path: str) -> None:
    async with running() as kit, rest(kit) as client:
        await client.raw("GET", path, headers={})
        assert client.status == 400
