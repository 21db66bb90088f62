"""Commands are taken from those alone who may give them, at most once, whatever Telegram and the machine do."""

import asyncio
import contextlib
import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import httpx
import pytest
import structlog
from aiohttp import web
from tests.ops.telegram.fake_bot import TOKEN, FakeBot, Fault, body, cut, lost, page, status

from executor.ops.alerts.pace import ANSWERS, GAP_S, PER_MINUTE, Pace
from executor.ops.telegram import api
from executor.ops.telegram import listener as module
from executor.ops.telegram import place as place_module
from executor.ops.telegram.answers import FIRST_MAX, LOOKS_MAX
from executor.ops.telegram.api import BotApi, UnreachableError
from executor.ops.telegram.chat import Chat
from executor.ops.telegram.commands import COMMANDS, Reply
from executor.ops.telegram.listener import AT_ONCE, Listener
from executor.ops.telegram.place import FilePlace, Keeper, NotOursError, place_path
from executor.ops.telegram.traded import LATE_S
from executor.ops.telegram.updates import Chat as TheirChat
from executor.ops.telegram.updates import Message


class Spy:
    """Stands for the commands: remembers what came, answers plainly; `on_call` runs before the answer."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, list[str]]] = []
        self.pressed_data: list[str] = []
        self.shown_data: list[str] = []
        self.replies = [Reply("<b>fine</b>")]
        self.replies_to: dict[str, list[Reply]] = {}
        self.on_call: Callable[[], Awaitable[None] | None] = lambda: None
        self.on_press: Callable[[str], Awaitable[None] | None] = lambda _: None

    async def answer(self, command: str, words: Sequence[str]) -> list[Reply]:
        self.heard.append((command, list(words)))
        if (waited := self.on_call()) is not None:
            await waited
        return self.replies_to.get(command, self.replies)

    async def pressed(self, data: str) -> str:
        self.pressed_data.append(data)
        if (waited := self.on_press(data)) is not None:
            await waited
        return "being closed: can&#x27;t tell when"

    def shown(self, data: str) -> None:
        self.shown_data.append(data)


class Bench:
    def __init__(self, bot: FakeBot, http: httpx.AsyncClient, folder: Path) -> None:
        self.bot = bot
        self.spy = Spy()
        self.slept: list[float] = []
        self.conflicts: list[str] = []
        self.chat = Chat(BotApi(http, TOKEN, bot.url), "-100")
        self.place = place_path(folder / "state.json")
        self.monotonic = 0.0
        self.pace = Pace()
        self.passing = asyncio.Event()
        self.passing.set()
        self.listener = self.made()

    def made(self, keeper: Keeper | None = None) -> Listener:
        return Listener(
            self.chat,
            (7, 8),
            self.spy,  # type: ignore[arg-type]  # as far as it is used
            keeper or FilePlace(self.place),
            pace=self.pace,
            on_conflict=self.conflicts.append,
            sleep=self.sleep,
            monotonic=lambda: self.monotonic,
        )

    async def sleep(self, seconds: float) -> None:
        """At once, unless time stands still."""
        await self.passing.wait()
        self.slept.append(seconds)
        self.monotonic += seconds
        await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """From when it has dropped what is old."""
        task = asyncio.create_task(self.listener.run())
        try:
            await self.until(lambda: self.polls > 0)
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            await task

    @property
    def polls(self) -> int:
        return sum(1 for method, params in self.bot.calls if method == "getUpdates" and params["timeout"])

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not there():  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.005)

    async def quiet(self) -> None:
        """Until everything so far is done: what comes after it has been confirmed."""
        last = self.bot.write("nothing that is a command")
        await self.until(lambda: self.bot.confirmed >= last)

    def full(self, messages: int = PER_MINUTE) -> None:
        """So many messages have gone within this minute, and time stands still."""
        for _ in range(messages):
            self.pace.take(self.monotonic - GAP_S)
        self.passing.clear()

    @property
    def offset(self) -> int:
        return int(json.loads(self.place.read_bytes())["offset"])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with FakeBot((-100, -1001)).serving() as bot, httpx.AsyncClient(trust_env=False) as http:
        yield Bench(bot, http, tmp_path)


async def test_it_introduces_itself_to_its_chat_alone(bench: Bench) -> None:
    async with bench.listening():
        await bench.until(lambda: bool(bench.bot.commands))
    assert bench.bot.commands["scope"] == {"type": "chat", "chat_id": "-100"}
    assert [each["command"] for each in bench.bot.commands["commands"]] == [name for name, _ in COMMANDS]


async def test_a_list_of_commands_that_is_not_taken_keeps_none_from_being_carried_out(bench: Bench) -> None:
    """It is only shown: where Telegram limits it for hours, or refuses it for good, nothing was heard."""
    bench.bot.fail("setMyCommands", status(429, retry_after=3600), status(400, "Bad Request: chat not found"))
    bench.passing.clear()
    async with bench.listening():
        bench.bot.write("/pause")
        await bench.until(lambda: bool(bench.bot.said))
        bench.passing.set()
        await bench.until(lambda: not bench.bot.faults["setMyCommands"])
    assert bench.slept == [3600.0]
    assert bench.bot.commands == {}


async def test_it_polls_long_and_for_messages_and_buttons_alone(bench: Bench) -> None:
    async with bench.listening():
        pass
    (asked,) = [params for method, params in bench.bot.calls if method == "getUpdates" and params["timeout"]]
    assert asked["timeout"] >= 20
    assert asked["allowed_updates"] == ["message", "callback_query"]


async def test_a_command_is_answered(bench: Bench) -> None:
    async with bench.listening():
        bench.bot.write("/pause ethusdt now")
        await bench.until(lambda: bool(bench.bot.said))
    assert bench.spy.heard == [("pause", ["ethusdt", "now"])]
    assert bench.bot.said[0]["text"] == "<b>fine</b>"


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("/status@ExecutorBot", 1),
        ("/STATUS@executorbot", 1),
        ("/status@OtherBot", 0),
        ("status", 0),
        ("please /status", 0),
        ("/", 0),
        ("", 0),
        ("/ status", 0),
    ],
)
async def test_what_is_a_command_for_this_bot(bench: Bench, text: str, heard: int) -> None:
    async with bench.listening():
        bench.bot.write(text)
        await bench.quiet()
    assert len(bench.spy.heard) == heard


async def test_strangers_are_ignored_and_counted(bench: Bench) -> None:
    with structlog.testing.capture_logs() as logs:
        async with bench.listening():
            bench.bot.write("/flatten", user=9)
            bench.bot.write("/flatten", chat=-999)
            bench.bot.write("/flatten", user=7, chat=7)
            bench.bot.update(
                message={"message_id": 1, "date": 1, "chat": {"id": -100, "type": "channel"}, "text": "/x"}
            )
            bench.bot.press("data", user=9)
            bench.bot.press("data", chat=-999)
            bench.bot.write("just talk", user=9)
            await bench.quiet()
    assert (bench.spy.heard, bench.spy.pressed_data, bench.bot.said) == ([], [], [])
    assert bench.listener.strangers == 6
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["telegram_stranger"]


async def test_an_edited_message_is_no_command(bench: Bench) -> None:
    async with bench.listening():
        bench.bot.update(edited_message={"message_id": 1, "date": 1, "chat": {"id": -100}, "text": "/flatten"})
        await bench.quiet()
    assert bench.spy.heard == []


async def test_what_was_sent_before_the_start_is_dropped_and_told(bench: Bench) -> None:
    for n in range(120):  # more than one page
        bench.bot.write("/flatten" if n in (3, 110) else f"talk {n}")
    last = bench.bot.write("/pause", user=9)
    async with bench.listening():
        await bench.until(lambda: bool(bench.bot.said))
        assert bench.offset == last + 1
    assert bench.spy.heard == []
    assert bench.bot.texts == ["Sent before the service started, and not carried out: /flatten, /flatten"]
    assert bench.bot.confirmed == last


async def test_the_place_is_on_disk_before_the_command_is_carried_out(bench: Bench) -> None:
    seen: list[int] = []
    bench.spy.on_call = lambda: seen.append(bench.offset)
    async with bench.listening():
        first = bench.bot.write("/pause")
        second = bench.bot.write("/resume")
        await bench.until(lambda: len(bench.bot.said) == 2)
    assert seen == [first + 1, second + 1]
    assert bench.place.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("what", ["pipe", "folder", "large"])
async def test_what_stands_in_the_place_of_the_place_is_no_number(tmp_path: Path, what: str) -> None:
    """A pipe was waited on for ever, in a thread that the process's end waits for."""
    path = tmp_path / "place"
    match what:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.touch()
            os.truncate(path, 1 << 40)
    assert await asyncio.wait_for(FilePlace(path).read(), 5) == 0


async def test_nothing_changes_while_the_disk_takes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with bench.listening():
        monkeypatch.setattr(place_module, "replace_file", full)
        bench.bot.write("/pause")
        bench.bot.write("/status")
        bench.bot.press("data")
        await bench.until(lambda: len(bench.bot.said) == 3)
    assert bench.spy.heard == [("status", [])]
    assert bench.spy.pressed_data == []
    assert "Not carried out" in bench.bot.texts[0]


async def test_a_lost_answer_repeats_no_command(bench: Bench) -> None:
    async with bench.listening():
        bench.bot.fail("getUpdates", lost, lost)
        bench.bot.write("/pause")
        await bench.until(lambda: bool(bench.bot.said))
        await bench.quiet()
    assert bench.spy.heard == [("pause", [])]


async def test_a_button(bench: Bench) -> None:
    bench.spy.replies = [Reply("sure?", (("Close", "1:ab:y"), ("No", "1:ab:n")))]
    async with bench.listening():
        bench.bot.write("/flatten")
        await bench.until(lambda: bool(bench.bot.said))
        bench.bot.press("1:ab:y")
        await bench.until(lambda: bool(bench.bot.edited))
    assert len(bench.bot.said) == 2
    row = bench.bot.said[0]["reply_markup"]["inline_keyboard"][0]
    assert row == [{"text": "Close", "callback_data": "1:ab:y"}, {"text": "No", "callback_data": "1:ab:n"}]
    assert bench.spy.shown_data == ["1:ab:y", "1:ab:n"]
    assert bench.spy.pressed_data == ["1:ab:y"]
    assert bench.bot.answered[0]["text"] == "being closed: can't tell when"  # a note has no markup
    assert bench.bot.edited[0]["message_id"] == 1
    assert "reply_markup" not in bench.bot.edited[0]


async def test_another_reader_is_waited_out_and_told(bench: Bench) -> None:
    bench.bot.fail("getUpdates", *[status(409, "Conflict: terminated by other getUpdates request")] * 3)
    async with bench.listening():
        bench.bot.write("/status")
        await bench.until(lambda: bool(bench.bot.said))
    assert len(bench.conflicts) == 3
    assert bench.slept.count(30.0) == 3


FAULTS = [
    (status(429, "Too Many Requests: retry after 41", retry_after=41), 41.0),
    (status(500), 1.0),
    (page(502), 1.0),
    (cut, 1.0),
    (body(b"\xff"), 1.0),
    (body(b'{"ok":true,"result":7}'), 1.0),
    (body(b'{"ok":true,"result":[{"no":"number"}]}'), 1.0),
    (status(401, "Unauthorized"), 300.0),
]
ALL = [(method, *fault) for method in ("getMe", "getUpdates") for fault in FAULTS]


@pytest.mark.parametrize(("method", "fault", "pause"), [*ALL, ("setMyCommands", status(429, retry_after=41), 41.0)])
async def test_whatever_goes_wrong_is_waited_out(bench: Bench, method: str, fault: Fault, pause: float) -> None:
    bench.bot.fail(method, fault)
    async with bench.listening():
        bench.bot.write("/status")
        await bench.until(lambda: bool(bench.bot.said))
    assert bench.slept[0] == pause
    assert bench.spy.heard == [("status", [])]


async def test_long_trouble_is_told_ever_more_seldom(bench: Bench) -> None:
    bench.bot.fail("getMe", *[status(500)] * 20)
    with structlog.testing.capture_logs() as logs:
        async with bench.listening():
            pass
    assert [line["tries"] for line in logs if line["event"] == "telegram_not_heard"] == [1, 2, 4, 8, 16]
    assert max(bench.slept) == 60.0
    assert TOKEN not in str(logs)


async def test_an_update_that_can_not_be_read_does_not_block_the_next(bench: Bench) -> None:
    async with bench.listening():
        bench.bot.update(message={"message_id": "odd"})
        bench.bot.update(callback_query={"id": 5})
        bench.bot.write("/status")
        await bench.until(lambda: bool(bench.bot.said))
    assert bench.spy.heard == [("status", [])]


@pytest.mark.parametrize("before", [False, True], ids=["while it listens", "before the start"])
async def test_a_chat_that_became_a_supergroup_is_followed(bench: Bench, before: bool) -> None:
    if before:
        bench.bot.write("", migrate_to_chat_id=-1001)
    async with bench.listening():
        if not before:
            bench.bot.write("", migrate_to_chat_id=-1001)
        bench.bot.write("/status", chat=-1001)
        await bench.until(lambda: bool(bench.bot.said))
        bench.bot.write("/status", chat=-100)
        await bench.quiet()
    assert bench.spy.heard == [("status", [])]
    assert bench.bot.said[0]["chat_id"] == "-1001"


async def test_an_answer_that_is_not_taken_is_tried_a_few_times(bench: Bench) -> None:
    async with bench.listening():
        bench.bot.fail("sendMessage", status(500), status(429, retry_after=9))
        bench.bot.write("/status")
        await bench.until(lambda: bool(bench.bot.said))
        assert 9.0 in bench.slept
        bench.bot.fail("sendMessage", *[cut] * 3)
        bench.bot.write("/status")
        await bench.until(lambda: not bench.bot.faults["sendMessage"])
        bench.bot.fail("sendMessage", status(400, "Bad Request: odd"))
        bench.bot.write("/status")
        await bench.until(lambda: not bench.bot.faults["sendMessage"])
        await bench.until(lambda: len(bench.spy.heard) == 3)
    assert len(bench.bot.said) == 1
    assert len(bench.spy.heard) == 3


async def test_a_long_answer_is_cut_with_its_markup_closed(bench: Bench) -> None:
    bench.spy.replies = [Reply("<pre>" + "row\n" * 2_000 + "</pre>"), Reply("row\n" * 2_000)]
    async with bench.listening():
        bench.bot.write("/trades")
        await bench.until(lambda: len(bench.bot.said) == 2)
    assert bench.bot.texts[0].endswith("\n…</pre>")
    assert bench.bot.texts[1].endswith("\n…")


async def test_answers_keep_the_pace(bench: Bench) -> None:
    async with bench.listening():
        for so_far in (20, 40):
            for _ in range(20):
                bench.bot.write("/status")
            await bench.until(lambda so_far=so_far: len(bench.bot.said) == so_far)  # type: ignore[misc]
    assert bench.monotonic >= 60


async def test_a_command_is_carried_out_although_no_answer_may_go_yet(bench: Bench) -> None:
    async with bench.listening():
        bench.full()
        for command in ("/status", "/pause", "/flatten"):
            bench.bot.write(command)
        bench.bot.press("1:ab:y")
        await bench.until(lambda: bool(bench.spy.pressed_data))
        await bench.until(
            lambda: bool(bench.bot.answered)
        )  # whoever presses waits for it, and it costs the chat nothing
        await bench.quiet()  # and it listens on
        assert bench.spy.heard == [("pause", []), ("flatten", [])]
        assert not bench.bot.said
        bench.passing.set()
        await bench.until(lambda: len(bench.bot.said) == 4)
    assert bench.spy.heard[-1] == ("status", [])
    assert bench.monotonic >= 59


async def test_what_was_dropped_is_told_without_keeping_the_first_command(bench: Bench) -> None:
    bench.bot.write("/flatten")
    bench.full()
    async with bench.listening():
        bench.bot.write("/pause")
        await bench.until(lambda: bench.spy.heard == [("pause", [])])
        assert not bench.bot.said
        bench.passing.set()
        await bench.until(lambda: len(bench.bot.said) == 2)
    assert bench.bot.texts == ["Sent before the service started, and not carried out: /flatten", "<b>fine</b>"]


async def test_a_question_goes_before_answers_that_only_tell_and_the_oldest_of_those_give_way(bench: Bench) -> None:
    bench.spy.replies_to = {"flatten": [Reply("sure?", (("Close", "1:ab:y"),))]}
    with structlog.testing.capture_logs() as logs:
        async with bench.listening():
            bench.full()
            for _ in range(LOOKS_MAX + 10):
                bench.bot.write("/status")
            bench.bot.write("/flatten")
            for _ in range(LOOKS_MAX - 1):
                bench.bot.write("/trades")
            await bench.quiet()
            bench.passing.set()
            await bench.until(lambda: len(bench.bot.said) == LOOKS_MAX + 2)
    assert bench.bot.texts[:3] == ["sure?", "<b>fine</b>", "29 older questions are not answered: too many at once."]
    assert [name for name, _ in bench.spy.heard] == ["flatten", "status", *["trades"] * (LOOKS_MAX - 1)]
    left_out = [line["so_far"] for line in logs if line["event"] == "telegram_answer_left_out"]
    assert left_out == [1, 2, 4, 8, 16]


async def test_a_question_is_not_dropped_for_any_number_of_outcomes(bench: Bench) -> None:
    bench.spy.replies_to = {"flatten": [Reply("sure?", (("Close", "1:ab:y"),))]}
    async with bench.listening():
        bench.full()
        for command in ("/pause", "/flatten", *["/resume"] * FIRST_MAX):
            bench.bot.write(command)
        await bench.quiet()
        bench.passing.set()
        await bench.until(lambda: len(bench.bot.said) == FIRST_MAX)
    assert bench.bot.texts[0] == "sure?"
    assert len(bench.spy.heard) == FIRST_MAX + 2


async def test_answers_that_only_tell_leave_room_in_the_minute_for_a_question(bench: Bench) -> None:
    bench.spy.replies_to = {"flatten": [Reply("sure?")]}
    async with bench.listening():
        bench.full(ANSWERS)
        bench.bot.write("/status")
        bench.bot.write("/flatten")
        await bench.until(lambda: bool(bench.bot.said))
        assert bench.bot.texts == ["sure?"]
        assert bench.spy.heard == [("flatten", [])]


async def test_a_look_is_made_when_its_answer_may_go(bench: Bench) -> None:
    async with bench.listening():
        bench.full()
        bench.bot.write("/status")
        bench.bot.write("/check")
        await bench.quiet()
        assert not bench.spy.heard
        bench.passing.set()
        await bench.until(lambda: len(bench.bot.said) == 2)
    assert bench.spy.heard == [("status", []), ("check", [])]


async def test_a_look_that_takes_its_time_keeps_no_command_and_no_outcome(bench: Bench) -> None:
    looked = asyncio.Event()

    async def slow() -> None:
        if bench.spy.heard[-1] == ("check", []):
            await looked.wait()

    bench.spy.on_call = slow
    async with bench.listening():
        bench.bot.write("/check")
        await bench.until(lambda: bool(bench.spy.heard))
        bench.bot.write("/pause")
        await bench.until(lambda: len(bench.bot.said) == 1)
        assert bench.spy.heard == [("check", []), ("pause", [])]
        looked.set()
        await bench.until(lambda: len(bench.bot.said) == 2)


async def test_a_button_that_takes_its_time_keeps_no_other_and_no_command(bench: Bench) -> None:
    closed = asyncio.Event()

    async def slow(_: str) -> None:
        if len(bench.spy.pressed_data) == 1:
            await closed.wait()

    bench.spy.on_press = slow
    async with bench.listening():
        bench.bot.press("1:ab:y")
        bench.bot.press("2:cd:y")
        bench.bot.write("/pause")
        await bench.until(lambda: len(bench.bot.said) == 2)
        assert bench.spy.pressed_data == ["1:ab:y", "2:cd:y"]
        assert bench.spy.heard == [("pause", [])]
        closed.set()
        await bench.until(lambda: len(bench.bot.said) == 3)


async def test_it_ends_where_another_process_has_begun_to_listen(bench: Bench) -> None:
    class Lost(FilePlace):
        async def keep(self, offset: int) -> str:
            if bench.polls:
                raise NotOursError("another node reads the bot's updates")
            return await super().keep(offset)

    running = asyncio.create_task(bench.made(Lost(bench.place)).run())
    await bench.until(lambda: bench.polls > 0)
    bench.bot.write("/pause")
    with pytest.raises(NotOursError):
        await running
    assert not bench.spy.heard


async def test_a_defect_in_a_look_ends_it_so_that_it_is_told_of_and_begun_anew(bench: Bench) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    bench.spy.on_call = broken
    running = asyncio.create_task(bench.listener.run())
    await bench.until(lambda: bench.polls > 0)
    bench.bot.write("/status")
    with pytest.raises(ExceptionGroup) as raised:
        await running
    assert raised.value.subgroup(ZeroDivisionError) is not None


async def test_after_a_week_of_silence_numbers_begin_anew_anywhere(bench: Bench) -> None:
    async with bench.listening():
        bench.bot.write("/status")
        await bench.until(lambda: len(bench.bot.said) == 1)
        await bench.quiet()
        bench.monotonic += module.NUMBERS_LAST_S + 1
        bench.bot.fail("getUpdates", status(500))
        before = bench.polls
        bench.bot._polls += 1  # the poll that is under way ends
        await bench.until(lambda: bench.polls > before)
        bench.bot._next = 10  # Telegram draws another number
        bench.bot.write("/status")
        await bench.until(lambda: len(bench.bot.said) == 2)


KILLED = """
    import asyncio, os, signal, sys
    from pathlib import Path
    import httpx
    from executor.ops.telegram.api import BotApi
    from executor.ops.telegram.chat import Chat
    from executor.ops.telegram.commands import Reply
    from executor.ops.telegram.listener import Listener
    from executor.ops.telegram.place import FilePlace

    url, token, place, done = sys.argv[1:5]

    class Deadly:
        def shown(self, data):
            raise AssertionError

        async def answer(self, command, words):
            if command == "pause":
                os.kill(os.getpid(), signal.SIGKILL)
            with open(done, "a") as file:
                file.write(command + "\\n")
            return [Reply("done")]

    async def main():
        async with httpx.AsyncClient(trust_env=False) as http:
            await Listener(Chat(BotApi(http, token, url), "-100"), (7,), Deadly(), FilePlace(Path(place))).run()

    asyncio.run(main())
"""


async def test_a_kill_between_an_update_and_its_command_loses_it_and_never_repeats_it(
    bench: Bench, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    program = [sys.executable, "-c", textwrap.dedent(KILLED), bench.bot.url, TOKEN, str(bench.place), str(done)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen(program, env=environ)  # noqa: ASYNC220
    try:
        await bench.until(lambda: bench.polls > 0)
        fatal = bench.bot.write("/pause")
        await asyncio.to_thread(first.wait, 20)
        assert first.returncode == -signal.SIGKILL
        assert bench.offset == fatal + 1  # it was on disk before
        before = bench.polls
        second = subprocess.Popen(program, env=environ)  # noqa: ASYNC220
        try:
            await bench.until(lambda: bench.polls > before)
            bench.bot.write("/status")
            await bench.until(lambda: done.exists() and done.read_text().endswith("status\n"))
            assert second.poll() is None  # a second /pause would have killed it
        finally:
            second.kill()
            second.wait()
    finally:
        first.kill()
        first.wait()
    assert done.read_text() == "status\n"
    assert any("perhaps not carried out: /pause" in text for text in bench.bot.texts)


async def test_what_is_told_again_is_carried_out_once(bench: Bench) -> None:
    """Whoever stands in Telegram's place may not know what a confirmation is."""
    async with bench.listening():
        number = bench.bot.write("/pause")
        await bench.until(lambda: bool(bench.spy.heard))
        message = {"message_id": 1, "chat": {"id": -100}, "from": {"id": 7}, "text": "/pause"}
        again = json.dumps({"ok": True, "result": [{"update_id": number, "message": message}]}).encode()
        bench.bot.fail("getUpdates", *[body(again)] * 3)
        await bench.quiet()
        bench.bot.write("/pause")
        await bench.until(lambda: len(bench.spy.heard) > 1)
    assert len(bench.spy.heard) == 2
    assert [each for each in bench.slept if each in (1.0, 2.0, 4.0)] == [1.0, 2.0, 4.0]


async def test_what_was_sent_before_the_start_and_is_told_again_and_again_keeps_it_from_nothing(bench: Bench) -> None:
    message = {"message_id": 1, "chat": {"id": -100}, "from": {"id": 7}, "text": "/pause"}
    again = json.dumps({"ok": True, "result": [{"update_id": 5, "message": message}]}).encode()
    bench.bot.fail("getUpdates", *[body(again)] * 4)
    async with bench.listening():
        await bench.quiet()
    assert bench.spy.heard == []
    assert bench.slept[:3] == [1.0, 2.0, 4.0]


async def test_a_question_that_is_not_kept_open_is_asked_again_no_sooner_than_after_a_second(bench: Bench) -> None:
    async with bench.listening():
        bench.bot.fail("getUpdates", *[body(b'{"ok":true,"result":[]}')] * 5)
        bench.bot.write("nothing that is a command")
        await bench.until(lambda: len(bench.slept) >= 5)
        await bench.quiet()
    assert bench.slept[:5] == [1.0] * 5


async def test_updates_without_an_end_are_asked_for_at_a_pace(bench: Bench) -> None:
    async with bench.listening():
        told = [b'{"ok":true,"result":[{"update_id":%d}]}' % (10_000 + number) for number in range(AT_ONCE + 5)]
        bench.bot.fail("getUpdates", *map(body, told))
        bench.bot.write("nothing that is a command")
        await bench.until(lambda: len(bench.slept) >= 5)
    assert bench.slept[:5] == [1.0] * 5


async def test_an_answer_without_an_end_is_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "ANSWER_MAX", 100_000)
    bench.bot.fail("getMe", body(b" " * 200_000))
    with pytest.raises(UnreachableError, match="too long"):
        await bench.chat.api.call("getMe", {})


async def test_an_answer_that_comes_in_drops_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "WHOLE_S", 0.1)

    async def drip(_bot: FakeBot, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                await answer.write(b" ")
                await asyncio.sleep(0.05)
        return answer

    bench.bot.fail("getMe", drip)
    with pytest.raises(UnreachableError, match="in time"):
        await bench.chat.api.call("getMe", {}, timeout=0.3)


async def test_what_was_on_its_way_for_minutes_is_told_and_not_carried_out_but_for_a_pause(bench: Bench) -> None:
    """Telegram was away for hours: a /resume of before was meant for another moment."""
    async with bench.listening():
        bench.bot.write("/resume", age=3 * 3600)
        bench.bot.write("/flatten BTCUSDT", age=LATE_S + 60)
        bench.bot.write("/pause", age=3 * 3600)
        bench.bot.write("/status", age=3 * 3600)
        bench.bot.write("/resume", age=LATE_S - 60)
        bench.bot.write("/resume", date=0)  # not told when
        bench.bot.write("/resume", age=-3600)
        await bench.until(lambda: len(bench.spy.heard) == 5 and len(bench.bot.texts) >= 7)
    assert sorted(name for name, _ in bench.spy.heard) == ["pause", "resume", "resume", "resume", "status"]
    late = [each for each in bench.bot.texts if "not carried out" in each]
    assert len(late) == 2
    assert late[0].startswith("Sent 3:0")
    assert late[0].endswith("ago, and not carried out: /resume. Send it again if it still holds.")


async def test_a_machine_whose_clock_is_hours_off_still_obeys(bench: Bench) -> None:
    """How late a command is, Telegram's own clock tells: this machine's is asked only where that is not told."""
    listener = bench.listener
    listener._wall = lambda: time.time() + 9 * 3600
    now = int(time.time())
    fresh = Message(1, TheirChat(-100), date=now)
    bench.chat.api.clock_s = now
    assert listener._age(fresh) == 0
    bench.chat.api.clock_s = 0
    assert listener._age(fresh) >= 9 * 3600
    assert listener._age(Message(1, TheirChat(-100))) == 0


@pytest.mark.parametrize(
    "date", ["", "soon", "Tue, 99999999999 Nov 2026 10:00:00 GMT", "Fri, 27 Nov 2026 10:00:00 GMT"]
)
def test_a_clock_that_is_told_oddly_is_none(date: str) -> None:
    assert api._clock(date) == (1_795_773_600 if date.startswith("Fri") else 0)


def told(*numbers: object, text: str = "/pause") -> bytes:
    """An answer with one command for each number."""
    message = {"message_id": 1, "date": int(time.time()), "chat": {"id": -100}, "from": {"id": 7}, "text": text}
    rows = [{"update_id": number, "message": message} for number in numbers]
    return json.dumps({"ok": True, "result": rows}).encode()


async def test_a_number_that_can_be_none_hides_no_update_and_sets_no_place(bench: Bench) -> None:
    async with bench.listening():
        bench.bot.fail("getUpdates", body(told(-5, 2**53, 10**400, 1.5, 1003, None)))
        await bench.quiet()
        await bench.until(lambda: len(bench.spy.heard) == 1)
        assert bench.offset == 1004
        bench.bot._next = 1003
        bench.bot.write("/pause")
        await bench.until(lambda: len(bench.spy.heard) == 2)


async def test_updates_that_come_twice_or_in_another_order_are_taken_once_each(bench: Bench) -> None:
    async with bench.listening():
        bench.bot.fail("getUpdates", body(told(1105, 1103, 1105, 1104)))
        await bench.quiet()
        await bench.until(lambda: bench.offset == 1106)
    assert len(bench.spy.heard) == 3


async def test_an_answer_that_is_packed_is_not_unpacked(bench: Bench) -> None:
    """Some kilobytes may be gigabytes."""
    packed = web.Response(body=gzip.compress(told(1)), headers={"Content-Encoding": "gzip"})
    bench.bot.fail("getMe", lambda _bot, _request: packed)
    with pytest.raises(UnreachableError):
        await bench.chat.api.call("getMe", {})
