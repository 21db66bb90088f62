"""What the environment says of proxies and certificates: heeded, or named; it ends nothing (rule 8.9)."""

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ops.telegram.fake_bot import TOKEN, FakeBot

from executor.config import Settings, load_settings
from executor.ops.doctor import Level
from executor.ops.doctor_alerts import on_alerts
from executor.ops.outgoing import about_exchange, covered, http_client, proxy_of
from executor.ops.telegram.api import BotApi

TELEGRAM = "https://api.telegram.org"


def settings(**more: str) -> Settings:
    return load_settings({"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "-100", **more}, None)


def remarks(environ: Mapping[str, str], **more: str) -> tuple[str, ...]:
    made = http_client(settings(**more), environ)
    asyncio.run(made.client.aclose())
    return made.remarks


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_covered"),
    [
        ("", TELEGRAM, False),
        ("*", TELEGRAM, True),
        ("telegram.org", TELEGRAM, True),
        (".telegram.org", TELEGRAM, True),
        ("*.telegram.org", TELEGRAM, True),
        ("gram.org", TELEGRAM, False),
        ("API.Telegram.ORG", TELEGRAM, True),
        ("telegram.org:443", TELEGRAM, True),
        ("telegram.org:8443", TELEGRAM, False),
        ("10.0.0.0/8", "http://10.1.2.3:80", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.1.2.3", "http://10.1.2.3:9", True),
        ("localhost,127.0.0.1,::1,10.0.0.0/8,fd00:1234:5678::/64", "http://[fd00:1234:5678::9]:81", True),
        ("localhost,127.0.0.1,::1,10.0.0.0/8,fd00:1234:5678::/64", TELEGRAM, False),
        ("[::1]", "http://[::1]:80", True),
        ("::1", "http://[::1]", True),
        ("fd00::/8,[::,:::,a b,//,http://,*.,.,telegram.org:port", TELEGRAM, False),
        ("https://telegram.org", TELEGRAM, True),
    ],
)
def test_a_list_of_exceptions_is_read_for_what_it_says(no_proxy: str, url: str, *, is_covered: bool) -> None:
    assert covered(urlsplit(url), no_proxy) is is_covered


def test_the_variable_of_the_scheme_goes_before_the_one_for_all() -> None:
    target = urlsplit(TELEGRAM)
    environ = {"ALL_PROXY": "socks5://127.0.0.1:1", "https_proxy": "127.0.0.1:2", "HTTP_PROXY": "http://127.0.0.1:3"}
    found = proxy_of(target, environ)
    assert found is not None
    assert (found.name, found.url) == ("https_proxy", "http://127.0.0.1:2")
    assert remarks(environ) == ()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"ALL_PROXY": "socks5://me:hunter2@127.0.0.1:1080"},
            (
                "ALL_PROXY was 'socks5://***@127.0.0.1:1080', must be a proxy's URL such as http://127.0.0.1:3128: "
                "for SOCKS the package socksio is missing; alerts leave without a proxy"
            ),
        ),
        (
            {"HTTPS_PROXY": "ftp://127.0.0.1:21"},
            (
                "HTTPS_PROXY was 'ftp://127.0.0.1:21', must be a proxy's URL such as http://127.0.0.1:3128; "
                "alerts leave without a proxy"
            ),
        ),
        (
            {"HTTPS_PROXY": "http://127.0.0.1:99999"},
            (
                "HTTPS_PROXY was 'http://127.0.0.1:99999', must be a proxy's URL such as http://127.0.0.1:3128; "
                "alerts leave without a proxy"
            ),
        ),
        (
            {"SSL_CERT_FILE": "/no/ca.pem"},
            (
                "SSL_CERT_FILE was '/no/ca.pem', must be a PEM file with certificates (No such file or directory); "
                "alerts go by the authorities that come with the library"
            ),
        ),
        (
            {"SSL_CERT_DIR": "/nowhere"},
            (
                "SSL_CERT_DIR was '/nowhere', must be a folder with certificates (No such file or directory); "
                "alerts go by the authorities that come with the library"
            ),
        ),
    ],
)
def test_what_can_not_be_used_is_named_with_its_value_and_what_it_must_be(environ: dict[str, str], said: str) -> None:
    assert remarks(environ) == (said,)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nonsense", "utf-8")
    (said,) = remarks({"SSL_CERT_FILE": str(path)})
    assert said.startswith(f"SSL_CERT_FILE was {str(path)!r}, must be a PEM file with certificates (")
    path.unlink()
    os.mkfifo(path)  # nor is a pipe waited on
    (said,) = remarks({"SSL_CERT_FILE": str(path)})
    assert "(not a regular file)" in said


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["socks5://", "http://[", "http://[::1", "http://a:b@c:d", "[fd00::/64", "::1/200", "//", "http://%", "\n", "é"]
)
NAMES = ("HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@given(st.dictionaries(st.sampled_from(NAMES), TEXT))
def test_no_environment_keeps_the_client_from_being_made(environ: dict[str, str]) -> None:
    for url in (TELEGRAM, "http://[::1]:80", "http://10.0.0.1:9"):
        made = http_client(settings(TELEGRAM_API_URL=url), environ)
        assert all("hunter2" not in each for each in made.remarks)
        asyncio.run(made.client.aclose())


async def test_a_proxy_that_can_be_used_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        made = http_client(settings(), {"HTTPS_PROXY": f"http://127.0.0.1:{port}"})
        async with made.client as http:
            asking = asyncio.create_task(http.get(TELEGRAM, timeout=5))
            taken, _ = await asyncio.to_thread(listener.accept)
            with taken:
                assert (await asyncio.to_thread(taken.recv, 100)).startswith(b"CONNECT api.telegram.org:443 ")
            with pytest.raises(httpx.HTTPError):
                await asking


def test_of_the_exchange_each_variable_is_told_once() -> None:
    values = {"BINANCE_ENV": "testnet", "SYMBOL": "BTCUSDT", "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s"}
    testnet = load_settings(values, None)
    (said,) = about_exchange(testnet, {"HTTPS_PROXY": "http://127.0.0.1:3128", "HTTP_PROXY": "http://127.0.0.1:3128"})
    assert said.startswith("HTTPS_PROXY is 'http://127.0.0.1:3128', and is not used for the exchange")
    assert about_exchange(testnet, {"HTTPS_PROXY": "http://127.0.0.1:3128", "NO_PROXY": "binance.vision"}) == ()
    assert about_exchange(settings(), {"HTTPS_PROXY": "http://127.0.0.1:3128"}) == ()


async def test_the_doctor_asks_telegram_and_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(**more: Any) -> tuple[Level, str]:
        (finding,) = await on_alerts(settings(**more))
        return finding.level, finding.text

    async with FakeBot().serving() as bot:
        assert await found(TELEGRAM_API_URL=bot.url) == (
            Level.OK,
            "go to Telegram as @ExecutorBot, to the chat -100, beside the log",
        )
        level, text = await found(TELEGRAM_API_URL=bot.url, TELEGRAM_CHAT_ID="-7")
        assert (level, "chat not found" in text) == (Level.WARN, True)
        assert bot.said == []
    assert await found(TELEGRAM_API_URL=bot.url) == (Level.WARN, "Telegram can't be reached: no connection")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    findings = await on_alerts(settings(TELEGRAM_API_URL=bot.url))
    assert [each.name for each in findings] == ["environment", "alerts"]


async def test_what_one_answer_leaves_behind_is_in_the_way_of_no_later_request() -> None:
    """A cookie that no header can hold kept every later alert and command from being asked for."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=\x01; path=/\r\nContent-Length: 27\r\n\r\n")
        writer.write(b'{"ok":true,"result":"fine"}')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, http_client(settings()).client as http:
        bot = BotApi(http, TOKEN, url)
        for _ in range(2):
            assert bytes(await bot.call("getMe", {})) == b'"fine"'
    assert not any(b"Cookie" in each for each in asked)
