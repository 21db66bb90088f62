"""Several accounts, on files and in a fleet: what a person is told of each; commands reach whoever trades it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.fleet.cluster import Cluster, needs_etcd, running
from tests.fleet.world import ENTRY, FleetWorld
from tests.ops.telegram.fake_bot import TOKEN, FakeBot, status

NOBODY = cast("Cluster", SimpleNamespace(endpoints=("http://127.0.0.1:9",), setting=""))


def spoken(bot: FakeBot) -> dict[str, str]:
    return {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_CHAT_ID": "-100",
        "TELEGRAM_USERS": "7",
        "TELEGRAM_API_URL": bot.url,
        "LIVE_ENTRY_TIMEOUT_SEC": "60",
    }


@asynccontextmanager
async def on_files(folder: Path, *accounts: str) -> AsyncIterator[tuple[FleetWorld, FakeBot]]:
    bot = FakeBot()
    async with bot.serving():
        world = FleetWorld(folder, NOBODY, accounts)
        async with world.serving(**spoken(bot)):
            yield world, bot


@asynccontextmanager
async def in_a_fleet(folder: Path, *accounts: str, **settings: str) -> AsyncIterator[tuple[FleetWorld, FakeBot]]:
    bot = FakeBot()
    async with bot.serving(), running(folder, 1) as cluster:
        world = FleetWorld(folder, cluster, accounts)
        async with world.serving(**spoken(bot), **settings):
            yield world, bot


async def enter(world: FleetWorld, node: str) -> None:
    world.touch(ENTRY + Decimal("0.08"))
    world.say(node, world.line())
    await world.until(lambda: all(len(world.open_ids(a)) == 1 for a in world.accounts))
    await world.lead("0")
    await world.until(lambda: all(len(world.open_ids(a)) == 5 for a in world.accounts))


async def told(world: FleetWorld, bot: FakeBot, *words: str, since: int = 0, within: float = 120.0) -> str:
    """The first message since the `since`-th that has all the words."""

    def found() -> list[str]:
        return [text for text in bot.texts[since:] if all(word in text for word in words)]

    try:
        await world.until(lambda: bool(found()), within)
    except TimeoutError:
        raise AssertionError(f"{words} not in {bot.texts[since:]}\n{world.logs()}") from None
    return found()[0]


async def asked(world: FleetWorld, bot: FakeBot, command: str, *words: str) -> str:
    """The answer to a command, given once somebody listens: what is sent before is not carried out."""
    await listening(world, bot)
    since = len(bot.texts)
    bot.write(command)
    return await told(world, bot, *words, since=since)


async def listening(world: FleetWorld, bot: FakeBot, since: int = 0) -> None:
    """Return when a node asks for what comes next, by the `since`-th call or a later: older commands are behind it."""
    await world.until(
        lambda: any(method == "getUpdates" and params.get("timeout") for method, params in bot.calls[since:])
    )


def buttons(bot: FakeBot, account: str) -> dict[str, str]:
    """Those of the last question about the account's trade."""
    rows = [
        each["reply_markup"]["inline_keyboard"][0]
        for each in bot.said
        if each.get("reply_markup") and f"<b>{account} " in each["text"]
    ]
    return {button["text"]: button["callback_data"] for button in rows[-1]}


async def test_accounts_on_files_are_told_of_by_name_and_commanded_by_name(tmp_path: Path) -> None:
    async with on_files(tmp_path, "alice", "bob") as (world, bot):
        node = await world.start("n1")
        for account in ("alice", "bob"):
            await told(world, bot, f"<b>started</b> {account}\nLTCUSDT: no trade")
        await enter(world, "n1")
        for account in ("alice", "bob"):
            await told(world, bot, f"<b>trade opened</b> {account} LTCUSDT")
        both = await asked(world, bot, "/status", "<b>alice LTCUSDT</b>", "<b>bob LTCUSDT</b>")
        assert both.count("2.997 covered by stops") == 2
        one = await asked(world, bot, "/status Bob", "<b>bob LTCUSDT</b>")
        assert "alice" not in one
        assert "Whose? /resume ACCOUNT" in await asked(world, bot, "/resume", "Whose?")
        await asked(world, bot, "/pause alice", "alice LTCUSDT: no new entries")
        await told(world, bot, "<b>paused</b> alice LTCUSDT")
        await asked(world, bot, "/flatten bob", "Close it at market?", "<b>bob LTCUSDT</b>")
        bot.press(buttons(bot, "bob")["Close at market"])
        await told(world, bot, "bob LTCUSDT: being closed at market")
        await told(world, bot, "<b>trade closed</b> bob LTCUSDT", "FLATTEN")
        assert len(world.open_ids("alice")) == 5
        assert not world.open_ids("bob")
        await asked(world, bot, "/trades", "account", "bob", "FLATTEN")
        await asked(world, bot, "/why bob", "bob: LTCUSDT trade", "FLATTEN")
        await asked(world, bot, "/why", "Whose?")
        await asked(world, bot, "/check", "alice", "as expected")
        assert not [text for text in bot.texts if "telegram conflict" in text]
        bot.write("/status", user=8)
        node.send(signal.SIGTERM)
        assert await node.end() == 0


async def test_what_was_not_sent_when_the_process_was_killed_is_sent_after_the_next_start(tmp_path: Path) -> None:
    async with on_files(tmp_path, "alice", "bob") as (world, bot):
        node = await world.start("n1")
        await told(world, bot, "started")
        bot.fail("sendMessage", *[status(503)] * 1000)
        bot.fail("sendPhoto", *[status(503)] * 1000)
        await enter(world, "n1")
        outbox = tmp_path / "n1" / "alice" / "LTCUSDT.json.alerts"
        await world.until(lambda: outbox.read_text().count('"trade_opened"') >= 2)
        node.send(signal.SIGKILL)
        await node.end()
        assert not [text for text in bot.texts if "trade opened" in text]
        bot.faults.clear()
        await world.start("n1")
        for account in ("alice", "bob"):
            await told(world, bot, f"<b>trade opened</b> {account} LTCUSDT")


async def test_accounts_trade_where_nobody_is_told(tmp_path: Path) -> None:
    world = FleetWorld(tmp_path, NOBODY, ("alice", "bob"))
    async with world.serving():
        await world.start("n1")
        await enter(world, "n1")


@needs_etcd
async def test_one_node_reads_the_bot_for_the_whole_fleet_and_another_when_it_dies(tmp_path: Path) -> None:
    accounts = ("alice", "bob", "carol", "dave")
    # Twenty messages a minute: with those of opened trades the last would wait for the next one.
    async with in_a_fleet(tmp_path, *accounts, TELEGRAM_NOTIFY="opened=off") as (world, bot):
        owners = dict(zip(accounts, ("n1", "n2", "n1", "n2"), strict=True))
        for account, owner in owners.items():
            await world.etcd.put(world.keys.want(account), owner.encode())
        await world.start("n1")
        reader, other = await seated(world, "n1"), "n2"  # which never has the first one's accounts while that lives
        await world.start("n2")
        for account, owner in owners.items():
            await world.owned(account, by=owner.__eq__)
        await world.trading()
        await enter(world, "n1")
        every = await asked(world, bot, "/status", *(f"<b>{account} LTCUSDT</b>" for account in accounts))
        assert every.count("covered by stops") == 4
        far = next(account for account in accounts if owners[account] == other)
        await asked(world, bot, f"/pause {far}", f"{far} LTCUSDT: no new entries")
        await told(world, bot, f"<b>paused</b> {far} LTCUSDT")
        await asked(world, bot, f"/why {far}", f"{far}: LTCUSDT trade")
        await asked(world, bot, f"/check {far}", far, "as expected")
        await asked(world, bot, f"/flatten {far}", "Close it at market?")
        bot.press(buttons(bot, far)["Close at market"])
        await told(world, bot, f"{far} LTCUSDT: being closed at market")
        await told(world, bot, f"<b>trade closed</b> {far} LTCUSDT", "FLATTEN")
        await asked(world, bot, "/trades", far, "FLATTEN")
        world.nodes[reader].send(signal.SIGKILL)
        await world.nodes[reader].end()
        since, before = len(bot.calls), len(bot.texts)
        await seated(world, other)
        await listening(world, bot, since)
        await world.owned(by=lambda name: name == other)
        every = await asked(world, bot, "/status", *(f"<b>{account} LTCUSDT</b>" for account in accounts))
        assert every.count("covered by stops") == 3
        for account in accounts:
            if owners[account] == reader:
                words = (f"on {other}", f"<b>started</b> {account}", "LTCUSDT: long")
                await told(world, bot, *words, since=before)
        assert not [text for text in bot.texts if "telegram conflict" in text]


@needs_etcd
async def test_a_suspended_reader_that_wakes_carries_no_command_out(tmp_path: Path) -> None:
    async with in_a_fleet(tmp_path, "alice") as (world, bot):
        await world.start("n1")
        await world.owned()
        await told(world, bot, "started")
        await seated(world, "n1")
        await listening(world, bot)
        await world.start("n2")
        await world.until(lambda: bool(world.nodes["n2"].said("ready")) or bool(world.nodes["n2"].lines()))
        world.nodes["n1"].send(signal.SIGSTOP)
        bot.write("/pause")  # taken by n1's poll, which answers while it stands
        await seated(world, "n2")
        await told(world, bot, "not carried out: /pause")
        world.nodes["n1"].send(signal.SIGCONT)
        await asked(world, bot, "/status", "entries: allowed")
        assert not [text for text in bot.texts if "no new entries" in text]


async def seat(world: FleetWorld) -> str:
    """Who reads the bot's updates."""
    found: list[Any] = (await world.etcd.range(world.keys.root + "bot/"))[0]
    return next((value.text for value in found if value.key.endswith("/seat")), "")


async def seated(world: FleetWorld, name: str) -> str:
    """The node of that name, once it reads them."""
    async with asyncio.timeout(90):
        while await seat(world) != name:  # noqa: ASYNC110  # the store tells nobody here
            await asyncio.sleep(0.1)
    return name
