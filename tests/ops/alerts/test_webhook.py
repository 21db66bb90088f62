"""Alerts as signed JSON to any address."""

import asyncio
import hashlib
import hmac
import json

import httpx
import pytest
import respx

from executor.config import Topic
from executor.ops.alerts import webhook as module
from executor.ops.alerts.alert import Alert
from executor.ops.alerts.channel import NotTakenError
from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.queue import AlertQueue, Waiting
from executor.ops.alerts.webhook import AGAIN_REFUSED_S, ITEMS_MAX, WebhookChannel

URL = "https://alerts.example.com/in?token=mark-of-the-address"
SECRET = "a key of the tests, long enough"
NOW_MS = 1_750_000_000_123


def item(text: str = "closing at market") -> Waiting:
    alert = Alert(event="failsafe", text=text, at=NOW_MS, severity=Severity.CRITICAL, symbol="LTCUSDT")
    return AlertQueue().push(3, alert)


async def send(secret: str | None = SECRET) -> None:
    async with httpx.AsyncClient() as http:
        await WebhookChannel(http, URL, secret, "Executor", lambda: NOW_MS).send([item("ü")])


@respx.mock
async def test_it_is_signed_over_time_and_body() -> None:
    route = respx.post(URL).respond(204)
    await send()
    request = route.calls[0].request
    body = request.content
    expected = hmac.new(SECRET.encode(), b"1750000000." + body, hashlib.sha256).hexdigest()
    assert request.headers["X-Executor-Signature"] == expected
    assert request.headers["X-Executor-Time"] == "1750000000"
    assert request.headers["X-Executor-Delivery"] == "3"
    assert request.headers["Content-Type"] == "application/json"
    told = json.loads(body)
    assert (told["severity"], told["alerts"][0]["event"], told["alerts"][0]["text"]) == ("critical", "failsafe", "ü")


@respx.mock
async def test_without_a_key_it_is_not_signed() -> None:
    route = respx.post(URL).respond(200)
    await send(secret=None)
    assert "X-Executor-Signature" not in route.calls[0].request.headers


@respx.mock
@pytest.mark.parametrize(
    ("answer", "again_in", "hopeless"),
    [
        (httpx.Response(500), None, False),
        (httpx.Response(503, headers={"Retry-After": "30"}), 30.0, False),
        (httpx.Response(429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), None, False),
        (httpx.Response(429, headers={"Retry-After": "9" * 400}), None, False),
        (httpx.Response(503, headers={"Retry-After": "31536000"}), None, False),
        (httpx.Response(429, headers={b"Retry-After": "²".encode()}), None, False),
        (httpx.Response(401), AGAIN_REFUSED_S, False),
        (httpx.Response(404), AGAIN_REFUSED_S, False),
        (httpx.Response(301, headers={"Location": "https://elsewhere.example.com"}), AGAIN_REFUSED_S, False),
        (httpx.Response(400), None, True),
        (httpx.Response(413), None, True),
        (httpx.ConnectError(f"no route to {URL}"), None, False),
        (httpx.ReadTimeout(URL), None, False),
    ],
)
async def test_what_is_not_taken(answer: httpx.Response | Exception, again_in: float | None, hopeless: bool) -> None:
    route = respx.post(URL)
    route.side_effect = [answer]
    with pytest.raises(NotTakenError) as error:
        await send()
    assert (error.value.again_in, error.value.hopeless) == (again_in, hopeless)
    assert "mark-of-the-address" not in str(error.value)
    assert route.call_count == 1


def test_it_takes_every_kind_and_so_many_at_once() -> None:
    channel = WebhookChannel(httpx.AsyncClient(), URL)
    assert all(channel.wants(topic) and channel.loud(topic) for topic in Topic)
    assert channel.room([item()] * ITEMS_MAX)
    assert not channel.room([item()] * (ITEMS_MAX + 1))


async def test_an_answer_that_comes_in_drops_holds_up_no_other_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_S", 0.3)
    hung_up = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not (writer.is_closing() or reader.at_eof()):
            writer.write(b"y")
            await asyncio.sleep(0.05)
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server, httpx.AsyncClient(trust_env=False) as http:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(NotTakenError, match="in time"):
            await WebhookChannel(http, url).send([item()])
        async with asyncio.timeout(5):
            await hung_up.wait()
