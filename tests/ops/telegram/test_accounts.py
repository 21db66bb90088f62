"""Commands where there are several accounts: whom they are about, and what is said of those that can't be asked."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.ops.samples import closed
from tests.ops.telegram.fake_bot import markup_fault

from executor.core.model.events import Verb
from executor.core.model.state import Closed
from executor.ops import check as ops_check
from executor.ops import status as ops_status
from executor.ops.telegram.commands import QUESTIONS_AT_ONCE, Commands
from executor.ops.telegram.traded import NotToldError, Told, ended


class Desk:
    """A symbol of an account; `trade`: the open one's id; `away`: why it can't be asked."""

    def __init__(self, account: str, symbol: str, trade: str = "", away: str = "") -> None:
        self.account = account
        self.symbol = symbol
        self.trade = trade
        self.away = away
        self.obeyed: list[tuple[Verb, str]] = []
        self.closed: list[Closed] = []

    def _ask(self) -> None:
        if self.away:
            raise NotToldError(self.away)

    async def status(self) -> ops_status.Status:
        self._ask()
        found = ops_status.flat(self.symbol)
        if not self.trade:
            return found
        position = ops_status.PositionStatus(
            trade=self.trade,
            signal="s",
            side="long",
            phase="protected",
            opened=f"2026-11-26T00:00:0{len(self.trade)}Z",
            entered=None,
            planned_qty="1",
            planned_entry="100",
            planned_stop="99",
            targets=[],
            entry_avg=None,
            held="1",
            covered="1",
            unprotected="0",
            unprotected_since=None,
            live_stop="99",
            legs=[],
            orders=[],
        )
        return type(found)(**{name: getattr(found, name) for name in found.__struct_fields__} | {"position": position})

    async def check(self) -> ops_check.Check:
        raise NotToldError(self.away or "still changing")

    async def trades(self) -> Sequence[Closed]:
        self._ask()
        return self.closed

    async def why(self, about: str) -> str:
        self._ask()
        return f"{self.symbol} {about or 'newest'}" if about in ("", self.trade) and self.trade else ""

    async def obey(self, verb: Verb, trade: str = "") -> Told:
        if self.away:
            return Told(False, self.away)
        if trade and trade != self.trade:
            return Told(False, ended(trade))
        self.obeyed.append((verb, trade))
        return Told(True)


@pytest.fixture
def desks() -> list[Desk]:
    return [
        Desk("alice", "LTCUSDT", "71"),
        Desk("alice", "ETHUSDT"),
        Desk("bob", "LTCUSDT", "8"),
        Desk("c<d", "LTCUSDT", away="no node owns c<d"),
    ]


async def say(desks: list[Desk], line: str) -> str:
    return "\n".join(text for text, _ in await replies(desks, line))


async def replies(desks: list[Desk], line: str) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    name, *words = line.split()
    found = await commands_of(desks).answer(name, words)
    assert all(markup_fault(reply.text) == "" for reply in found)
    return [(reply.text, reply.buttons) for reply in found]


def commands_of(desks: list[Desk]) -> Commands:
    return Commands(lambda: desks)


async def test_an_account_a_symbol_or_both_can_be_named(desks: list[Desk]) -> None:
    assert (await say(desks, "status")).count("no trade is open") == 1
    told = await say(desks, "status ALICE")
    assert "alice LTCUSDT" in told
    assert "alice ETHUSDT" in told
    assert "bob" not in told
    told = await say(desks, "status ltcusdt")
    assert "alice LTCUSDT" in told
    assert "bob LTCUSDT" in told
    assert "ETHUSDT" not in told
    assert "bob" not in await say(desks, "status alice LTCUSDT")
    assert "ETHUSDT is not traded here, but LTCUSDT" in await say(desks, "status bob ETHUSDT")
    told = await say(desks, "status dora")
    assert "dora is not traded here" in told
    assert "Accounts: alice, bob, c&lt;d" in told


async def test_who_can_t_be_asked_is_shown_and_keeps_nobody_from_the_rest(desks: list[Desk]) -> None:
    assert "<b>c&lt;d LTCUSDT</b>: no node owns c&lt;d" in await say(desks, "status")
    assert "c&lt;d LTCUSDT: no node owns" in await say(desks, "pause")
    assert "c&lt;d LTCUSDT: no node owns" in await say(desks, "flatten")
    assert "c&lt;d LTCUSDT: no node owns" in await say(desks, "trades")
    assert "no node owns" in await say(desks, "check c<d")
    assert "no node owns" in await say(desks, "why c<d")
    assert [desk.obeyed for desk in desks] == [[(Verb.PAUSE, "")], [(Verb.PAUSE, "")], [(Verb.PAUSE, "")], []]


async def test_entries_are_resumed_only_of_whom_it_is_said(desks: list[Desk]) -> None:
    assert "Whose? /resume ACCOUNT, or /resume all" in await say(desks, "resume")
    assert not any(desk.obeyed for desk in desks)
    await say(desks, "resume bob")
    assert [len(desk.obeyed) for desk in desks] == [0, 0, 1, 0]
    await say(desks, "resume all")
    assert [len(desk.obeyed) for desk in desks] == [1, 1, 2, 0]
    await say(desks, "resume all ETHUSDT")
    assert [len(desk.obeyed) for desk in desks] == [1, 2, 2, 0]


async def test_why_wants_an_account_or_an_id(desks: list[Desk]) -> None:
    assert "Whose? /why ACCOUNT" in await say(desks, "why")
    assert await say(desks, "why alice") == "alice: LTCUSDT newest"
    assert "bob: LTCUSDT 8" in await say(desks, "why 8")
    assert "Nothing is known of 9." in await say(desks[:3], "why 9")


async def test_trades_of_all_accounts_are_one_list(desks: list[Desk]) -> None:
    desks[0].closed = [closed(trade="1", closed=1_000)]
    desks[2].closed = [closed(trade="2", closed=90_000_000)]
    lines = (await say(desks, "trades")).splitlines()
    assert lines[0].removeprefix("<pre>").split() == ["account", "closed", "symbol", "side", "why", "result", "R"]
    assert [line.split()[0] for line in lines[1:3]] == ["bob", "alice"]


async def test_each_open_trade_is_asked_about_by_itself_and_closed_by_its_own_button(desks: list[Desk]) -> None:
    commands = commands_of(desks)
    first, second, fault = await commands.answer("flatten", [])
    assert "<b>alice LTCUSDT</b>" in first.text
    assert "<b>bob LTCUSDT</b>" in second.text
    assert "c&lt;d" in fault.text
    assert await commands.pressed(dict(second.buttons)["Close at market"]) == "bob LTCUSDT: being closed at market"
    assert [desk.obeyed for desk in desks] == [[], [], [(Verb.FLATTEN, "8")], []]
    desks[0].trade = "72"
    said = await commands.pressed(dict(first.buttons)["Close at market"])
    assert said == "alice LTCUSDT: trade 71 has ended meanwhile. Nothing is done."
    assert not desks[0].obeyed


async def test_a_button_of_an_account_that_is_gone_does_nothing(desks: list[Desk]) -> None:
    commands = commands_of(desks)
    (reply,) = await commands.answer("flatten", ["bob"])
    del desks[2]
    said = await commands.pressed(dict(reply.buttons)["Close at market"])
    assert said == "bob LTCUSDT is not traded at the moment. Nothing is done."


async def test_many_open_trades_are_not_asked_about_all_at_once() -> None:
    desks = [Desk(f"a{number}", "LTCUSDT", str(number)) for number in range(QUESTIONS_AT_ONCE + 1)]
    ((text, buttons),) = await replies(desks, "flatten")
    assert text.startswith("9 trades are open: say /flatten ACCOUNT")
    assert not buttons
    assert len(await replies(desks, "flatten a3")) == 1


async def test_help_tells_of_the_accounts(desks: list[Desk]) -> None:
    assert "Accounts: alice, bob, c&lt;d" in await say(desks, "help")
    assert "Accounts" not in await say([Desk("", "LTCUSDT")], "help")
    assert await say([], "status") == "No account is traded at the moment."


async def test_no_more_are_asked_at_the_same_time_than_there_is_room_for() -> None:
    under_way = most = 0

    class Slow(Desk):
        async def obey(self, verb: Verb, trade: str = "") -> Told:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            return await super().obey(verb, trade)

    desks: list[Desk] = [Slow(f"a{number}", "LTCUSDT") for number in range(100)]
    told = await say(desks, "pause")
    assert len(told.splitlines()) == 100
    assert most == 16
