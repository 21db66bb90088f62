"""The pages of several accounts: one for each, and the list of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.ops.reports.test_page import Reader
from tests.scenarios.harness import Harness, World, harness

from executor.core.model.values import Direction
from executor.ops.alerts.alerts import Alerts
from executor.ops.http_accounts import AccountsHttp
from executor.ops.page import feed
from executor.ops.page.access import PageAccess
from executor.ops.page.accounts import AccountPages
from executor.service.loop import Loop

WORLD: Final = World(Direction.LONG, "OCO", pushes=True)


class Served:
    """`b`'s loops as those of `alice`, and of another whose name is as odd as a name may be."""

    def __init__(self, b: Harness, access: PageAccess | None = None) -> None:
        self.alerts = Alerts(None, ())
        self.loops: dict[str, dict[str, Loop]] = {"alice": dict(b.loops), "bob.1-x_y": dict(b.loops)}
        self.pages = AccountPages(self.alerts)
        self.http = AccountsHttp("127.0.0.1", 0, lambda: self.loops, dict, access=access, pages=self.pages)
        self.beside = {name: self.pages.attendant(name) for name in self.loops}

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"http://127.0.0.1:{self.http.port}{path}", headers=headers)

    async def first_frame(self, account: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.http.port}/account/{account}/events"
        async with httpx.AsyncClient(trust_env=False) as client, client.stream("GET", url) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    found: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    return found
        raise AssertionError("no frame came")


@asynccontextmanager
async def served(b: Harness, access: PageAccess | None = None) -> AsyncIterator[Served]:
    found = Served(b, access)
    tasks = [asyncio.create_task(each.run(found.loops[name])) for name, each in found.beside.items()]
    tasks.append(asyncio.create_task(found.http.run()))
    await asyncio.sleep(0.05)
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_list_tells_what_each_holds_and_leads_to_its_page(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b, served(b) as web:
        reader = Reader((await web.get("/")).text)
        assert "script" not in reader.tags
        assert sum("no trade is open" in words for _, words in reader.words) == 2
        await b.enter()
        told = await web.get("/", Accept="text/html")
        assert told.headers["Content-Security-Policy"].startswith("default-src 'none'")
        reader = Reader(told.text)
        links = [
            value for name, value in reader.attributes if name == "href" and value and value.startswith("account/")
        ]
        assert links == ["account/alice/", "account/bob.1-x_y/"]
        assert sum(words == "long, protected" for _, words in reader.words) == 2
        assert [words for tag, words in reader.words if tag == "title"] == [
            "alice LTCUSDT long - bob.1-x_y LTCUSDT long - Executor"
        ]
        for link in links:
            page = await web.get(f"/{link}")
            assert (page.status_code, '<script src="static/page.js"' in page.text) == (200, True)
            for path in ("static/page.js", "static/page.css", "status", "healthz", "metrics"):
                assert (await web.get(f"/{link}{path}")).status_code == 200, path
            assert (await web.get(f"/{link}".rstrip("/"))).headers["Location"] == link.removeprefix("account/")
        assert (await web.get("/static/page.css")).status_code == 200


async def test_a_page_shows_its_account_and_the_alerts_of_no_other(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b, served(b) as web:
        await b.enter()
        for account in ("alice", "bob.1-x_y", ""):
            web.alerts.tell("state_unwritable", f"about {account or 'all'}", account=account)
        frame = await web.first_frame("alice")
        (shown,) = frame["symbols"]
        assert (frame["account"], frame["whole"], shown["status"]["position"]["side"]) == ("alice", True, "long")
        assert [note["text"] for note in shown["notes"] if note["text"].startswith("about")] == [
            "about all",
            "about alice",
        ]
        other = await web.first_frame("bob.1-x_y")
        assert "about alice" not in json.dumps(other)
        assert json.loads((await web.get("/account/alice/status")).text)[0]["symbol"] == "LTCUSDT"


@pytest.mark.parametrize(
    "path",
    [
        "/account/carl/",
        "/account/carl/events",
        "/account/carl",
        "/account/..%2f..%2fetc/",
        "/account/alice%00/",
        "/account//events",
        "/account/alice/static/..%2f..%2faccess.py",
        "/account/alice/static/page.html",
        "/account/%3Cscript%3E/",
        "/static/..%2faccess.py",
        "/account/alice/nothing",
    ],
)
async def test_what_is_not_there_is_not_found(tmp_path: Path, path: str) -> None:
    async with harness(tmp_path, WORLD) as b, served(b) as web:
        answer = await web.get(path)
        assert answer.status_code == 404
        assert "<script>" not in answer.text


async def test_nobody_reads_a_page_without_the_token_or_under_another_name(tmp_path: Path) -> None:
    paths = ("/", "/account/alice/", "/account/alice/events", "/account/alice/status", "/account/alice/healthz")
    async with harness(tmp_path, WORLD) as b:
        async with served(b, PageAccess("0.0.0.0", "t" * 30)) as web:  # noqa: S104
            assert {(await web.get(path)).status_code for path in paths} == {401}
        async with served(b) as web:
            assert {(await web.get(path, Host="evil.example")).status_code for path in paths} == {421}


async def test_all_pages_together_have_room_for_as_many_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.ops.page.accounts.CLIENTS_MAX", 2)
    async with harness(tmp_path, WORLD) as b, served(b) as web:
        looking = [await asyncio.open_connection("127.0.0.1", web.http.port) for _ in range(3)]
        answers = []
        for (reader, writer), account in zip(looking, ("alice", "bob.1-x_y", "alice"), strict=True):
            writer.write(f"GET /account/{account}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answers.append((await asyncio.wait_for(reader.readline(), 5)).split()[1])
        assert answers == [b"200", b"200", b"503"]
        assert feed.CLIENTS_MAX > 2
        for _, writer in looking:
            writer.close()


async def test_an_account_that_has_ended_has_no_page_any_more(tmp_path: Path) -> None:
    async with harness(tmp_path, WORLD) as b:
        async with served(b) as web:
            assert "alice" in web.pages
            del web.loops["alice"]
            assert (await web.get("/account/alice/")).status_code == 404
            assert "alice" not in (await web.get("/")).text
        assert "alice" not in web.pages
        assert web.alerts.on_alert == []
