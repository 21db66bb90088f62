"""Commands from the chat: fetched by long polling, taken at most once, from those alone who may give them.

An update's number is on disk before its command is carried out: a crash in between loses the command, and never repeats
it. What was sent before the start is dropped, and told to be; so is what was minutes on its way, but for `/pause`.
Strangers are not answered, but counted. What is answered goes out beside this (`answers`): a command is carried out
when it comes, although no answer may go yet.
"""

import asyncio
import html
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final

import msgspec
import structlog

from executor.ops import text
from executor.ops.alerts.pace import Pace
from executor.ops.telegram.answers import Answers
from executor.ops.telegram.api import BotError, UnreachableError
from executor.ops.telegram.chat import Chat
from executor.ops.telegram.commands import COMMANDS, Commands, Reply
from executor.ops.telegram.place import Keeper, NotOursError
from executor.ops.telegram.traded import LATE_S
from executor.ops.telegram.updates import CallbackQuery, Message, Update, updates, username

log = structlog.get_logger(__name__)

POLL_S: Final = 50
"""Seconds that Telegram keeps a question open while there is nothing to tell."""
ANSWER_WITHIN_S: Final = 70.0
KINDS: Final = ["message", "callback_query"]
"""An edited message is no command: it is not even asked for."""
NUMBERS_LAST_S: Final = 3 * 24 * 3600.0
CONFLICT_WAIT_S: Final = 30.0
REFUSED_WAIT_S: Final = 300.0
WAIT_MAX_S: Final = 60.0
SOONEST_S: Final = 1.0
"""A question that is answered with nothing at once, instead of being kept open, is asked again no sooner."""
AT_ONCE: Final = 10
"""So many questions in a row may be answered at once with updates; then they too are asked no sooner."""
PRESSES_AT_ONCE: Final = 16
STRANGER_TOLD_EVERY_S: Final = 600.0
READ_ONLY: Final = frozenset({"status", "check", "trades", "why", "help", "start"})
"""Commands that change nothing, and are answered also while the disk takes nothing."""

AT_ANY_AGE: Final = READ_ONLY | {"pause"}
"""What can do no harm, however late it comes."""


class Listener:
    """`users`: the numbers of those who may command; `place` outlives the process. `on_conflict` is called when another
    program reads the bot's updates. `strangers`: how often somebody else tried.
    """

    def __init__(
        self,
        chat: Chat,
        users: Collection[int],
        commands: Commands,
        place: Keeper,
        *,
        pace: Pace | None = None,
        on_conflict: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.strangers = 0
        self._wall = wall
        self._chat = chat
        self._users = frozenset(users)
        self._commands = commands
        self._place = place
        self._answers = Answers(chat, pace or Pace(), shown=commands.shown, sleep=sleep, monotonic=monotonic)
        self._pressing = asyncio.Semaphore(PRESSES_AT_ONCE)
        self._on_conflict = on_conflict
        self._sleep = sleep
        self._monotonic = monotonic
        self._offset = 0
        self._name = ""
        self._dropped: list[str] = []
        self._in_doubt: list[str] = []
        self._heard = monotonic()
        self._failures = 0
        self._in_a_row = 0
        self._stranger_told = -STRANGER_TOLD_EVERY_S

    async def run(self) -> None:
        """Listen, until cancelled. Raises NotOursError, where another process has begun to."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._answers.begin(tasks)
                await self._until_done(self._introduce)
                tasks.create_task(self._offer(), name="telegram commands")
                await self._until_done(self._drop_older)
                while True:
                    await self._until_done(partial(self._listen, tasks))
        except ExceptionGroup as group:
            if group.subgroup(NotOursError) is None:
                raise
            raise NotOursError("another process reads the bot's updates") from group

    # --- with patience ----------------------------------------------------------------------------------------------

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do it, however often it takes, with pauses that suit what went wrong."""
        while True:
            try:
                await step()
            except UnreachableError as error:
                await self._wait(str(error), 0.0)
            except msgspec.DecodeError:
                await self._wait("an answer that can't be read", 0.0)
            except BotError as error:
                if error.code == 409:
                    self._on_conflict(error.description)
                await self._wait(str(error), _pause(error))
            else:
                self._failures = 0
                return

    async def _wait(self, why: str, least: float) -> None:
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …
            log.warning("telegram_not_heard", why=why, tries=self._failures)
        await self._sleep(max(least, min(2.0 ** min(self._failures - 1, 6), WAIT_MAX_S)))

    # --- the dialogue -----------------------------------------------------------------------------------------------

    async def _introduce(self) -> None:
        """Learn the bot's own name."""
        self._name = username(await self._chat.api.call("getMe", {})).lower()

    async def _offer(self) -> None:
        """Show the commands to the chat alone. They are carried out without that as well."""
        offered = [{"command": name, "description": meaning} for name, meaning in COMMANDS]
        scope = {"type": "chat", "chat_id": self._chat.id}
        await self._answers.beside("setMyCommands", {"commands": offered, "scope": scope})

    async def _drop_older(self) -> None:
        """What was sent before the start is too old to be carried out: it is told, and forgotten. What an earlier run
        has taken and not confirmed may have been carried out, or not: it is told as that.
        """
        taken = await self._place.read()
        while found := await self._fetch(0):
            for each in found:
                if each.message is not None:
                    self._follow(each.message)
                if word := self._word_of(each):
                    (self._in_doubt if each.update_id < taken else self._dropped).append(word)
            self._offset = max(each.update_id for each in found) + 1
        await self._place.keep(self._offset)
        if self._in_doubt:
            self._say(f"Taken before the service ended, and perhaps not carried out: {_list(self._in_doubt)}")
        if self._dropped:
            self._say(f"Sent before the service started, and not carried out: {_list(self._dropped)}")

    def _word_of(self, update: Update) -> str:
        """The command of an update that would have been obeyed."""
        message = update.message
        if message is None or not self._may(message):
            return ""
        command = self._command(message.text)
        return f"/{command[0]}" if command is not None else ""

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        asked = self._monotonic()
        found = await self._fetch(POLL_S)
        if not found and (early := asked + SOONEST_S - self._monotonic()) > 0:
            await self._sleep(early)
        for update in found:
            self._heard = self._monotonic()
            self._offset = update.update_id + 1
            unsafe = await self._place.keep(self._offset)
            if update.message is not None:
                await self._hear(update.message, unsafe)
            elif update.callback_query is not None:
                await self._pressing.acquire()
                tasks.create_task(self._feel(update.callback_query, unsafe), name="telegram button")

    async def _fetch(self, wait_s: int) -> list[Update]:
        if self._in_a_row >= AT_ONCE:
            await self._sleep(SOONEST_S)
        began = self._monotonic()
        # After a week without one, numbers begin anew anywhere; what was taken has long been confirmed by then.
        idle = self._monotonic() - self._heard > NUMBERS_LAST_S
        asked = {"offset": None if idle else self._offset or None, "timeout": wait_s, "allowed_updates": KINDS}
        found = updates(await self._chat.api.call("getUpdates", asked, timeout=ANSWER_WITHIN_S))
        self._in_a_row = self._in_a_row + 1 if found and self._monotonic() - began < SOONEST_S else 0
        fresh = found if idle else [each for each in found if each.update_id >= self._offset]
        if found and not fresh:  # what is told again is never carried out again
            raise UnreachableError("updates that were taken before")
        # once each and in order, in whichever they come: after a later one, an earlier one would be asked for again
        return sorted({each.update_id: each for each in fresh}.values(), key=lambda each: each.update_id)

    # --- who, and what ----------------------------------------------------------------------------------------------

    def _may(self, message: Message) -> bool:
        sender = message.sender
        return str(message.chat.id) == self._chat.id and sender is not None and sender.id in self._users

    def _follow(self, message: Message) -> bool:
        """Go where the chat has gone; whether that is what the message tells."""
        moved = message.migrate_to_chat_id
        if moved is None or str(message.chat.id) != self._chat.id:
            return False
        self._chat.move(str(moved))
        return True

    async def _hear(self, message: Message, unsafe: str) -> None:
        """`unsafe`: why the update could come again after it was carried out; empty where it can't."""
        if self._follow(message):
            return
        command = self._command(message.text)
        if command is None:
            return
        if not self._may(message):
            self._count_stranger(str(message.chat.id), message.sender.id if message.sender is not None else 0)
            return
        name, words = command
        if name not in AT_ANY_AGE and (age := self._age(message)) > LATE_S:
            log.warning("telegram_late", verb=name, words=" ".join(words), seconds=age)
            ago = text.span(age * 1000)
            self._say(f"Sent {ago} ago, and not carried out: /{html.escape(name)}. Send it again if it still holds.")
            return
        log.info("operator", verb=name, by="telegram", words=" ".join(words))
        if unsafe and name not in READ_ONLY:
            self._say(f"Not carried out: {html.escape(unsafe)}, so it could be carried out twice.")
        elif name in READ_ONLY:
            self._answers.look(partial(self._commands.answer, name, words))
        else:
            for reply in await self._commands.answer(name, words):
                self._answers.say(reply)

    async def _feel(self, query: CallbackQuery, unsafe: str) -> None:
        """In a task of its own: each button is good once, for one trade, and waits for no other's."""
        try:
            message = query.message
            if message is None or str(message.chat.id) != self._chat.id or query.sender.id not in self._users:
                self._count_stranger("a button", query.sender.id)
                return
            log.info("operator", verb="button", by="telegram", data=query.data)
            said = f"Not carried out: {html.escape(unsafe)}." if unsafe else await self._commands.pressed(query.data)
            self._answers.pressed(query.id, said)
            self._say(said)
            self._answers.disarm(message.message_id)
        finally:
            self._pressing.release()

    def _age(self, message: Message) -> int:
        """Seconds that it was on its way, by Telegram's clock; by this machine's only where that is not told."""
        now = self._chat.api.clock_s or int(self._wall())
        return now - message.date if message.date > 0 else 0

    def _say(self, text: str) -> None:
        self._answers.say(Reply(text))

    def _command(self, text: str) -> tuple[str, list[str]] | None:
        """Name and words of a command that is meant for this bot; None for anything else."""
        first, *words = text.split() or [""]
        name, at, bot = first.removeprefix("/").partition("@")
        if not first.startswith("/") or not name or (at and bot.lower() != self._name):
            return None
        return name.lower(), words

    def _count_stranger(self, where: str, who: int) -> None:
        self.strangers += 1
        if self._monotonic() - self._stranger_told >= STRANGER_TOLD_EVERY_S:
            self._stranger_told = self._monotonic()
            log.warning("telegram_stranger", chat=where, user=who, so_far=self.strangers)


def _list(words: list[str]) -> str:
    return ", ".join(html.escape(word) for word in words[-10:])


def _pause(error: BotError) -> float:
    """Seconds before Telegram wants to be asked again."""
    match error.code:
        case 409:
            return CONFLICT_WAIT_S
        case 429:
            return error.parameters.retry_after or 1.0
        case 401 | 403 | 404:
            return REFUSED_WAIT_S
        case _:
            return 0.0
