"""Operators' words to an account, wherever its owner is: put into the store, carried out by the owner, answered there.

A word that changes the state is gone with the transaction that writes that state: it is carried out once, whoever dies.
It hangs on a lease as long as whoever said it waits: nobody's word is carried out later, on another trade.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

import msgspec
import structlog

from executor.service.inlets.control import (
    CHANGING,
    Answer,
    ControlError,
    NotRunningError,
    Request,
    answer_to,
    encoded,
    fault_of,
)
from executor.service.loop import Loop
from executor.service.store import codec
from executor.service.store.etcd import Etcd, EtcdError, Refused, Value, created_is, delete, get, put
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Claim

log = structlog.get_logger(__name__)

ANSWER_S: Final = 60
AGAIN_S: Final = 0.5
LOOK_S: Final = 0.05


class StoredCommands:
    """The owner's end: `run` it beside the account's loops."""

    def __init__(self, etcd: Etcd, keys: Keys, claim: Callable[[], Claim]) -> None:
        """`claim`: by which the account is owned, once `run` is called."""
        self._etcd = etcd
        self._keys = keys
        self._claim_of = claim
        self._under_way: set[str] = set()

    @property
    def _claim(self) -> Claim:
        return self._claim_of()

    async def run(self, loops: Mapping[str, Loop]) -> None:
        """For ever."""
        prefix = self._keys.commands(self._claim.account)
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    found, revision = await self._etcd.range(prefix)
                    for value in sorted(found, key=lambda each: each.created):
                        self._begin(tasks, value, loops)
                    async for changes, _ in self._etcd.watch(prefix, revision + 1):
                        for change in changes:
                            if change.value is not None:
                                self._begin(tasks, change.value, loops)
                except EtcdError as error:
                    log.info("commands_watch_again", why=str(error))
                    await asyncio.sleep(AGAIN_S)

    def _begin(self, tasks: asyncio.TaskGroup, value: Value, loops: Mapping[str, Loop]) -> None:
        if value.key not in self._under_way:
            self._under_way.add(value.key)
            names = self._keys.names_in(value.key, 3)
            if names:
                tasks.create_task(self._obey(value, loops, *names[1:]), name="command")
            else:
                log.warning("command_for_nobody", key=value.key, text="the key is no command's; it is left where it is")

    async def _obey(self, value: Value, loops: Mapping[str, Loop], symbol: str, id: str) -> None:  # noqa: A002
        try:
            answer = await self._answer(value, loops.get(symbol), symbol)
            await self._give(value, id, answer)
        except EtcdError as error:
            log.warning("command_not_answered", key=value.key, error=str(error))
        finally:
            self._under_way.discard(value.key)

    async def _answer(self, value: Value, loop: Loop | None, symbol: str) -> Answer:
        if loop is None:
            return Answer(False, f"{self._claim.account} does not trade {symbol} on {self._claim.node}")
        try:
            request = codec.decode(codec.unambiguous(value.value), type=Request)
        except codec.CodecError as error:
            return Answer(False, f"not a request that {self._claim.node} can read: {error}")
        if (fault := fault_of(request)) is not None:
            return Answer(False, fault)
        return await answer_to(loop, request, (value.key,) if request.verb in CHANGING else ())

    async def _give(self, value: Value, id: str, answer: Answer) -> None:  # noqa: A002
        """Only the owner's answer counts: one that has lost the account meanwhile says nothing."""
        lease = await self._etcd.grant(ANSWER_S)
        own = self._keys.owner(self._claim.account)
        said = put(self._keys.answer(id), encoded(answer), lease=lease)
        await self._etcd.txn([created_is(own, self._claim.epoch)], [delete(value.key), said])


class Said(msgspec.Struct, frozen=True):
    """A word that waits for its answer."""

    key: str
    revision: int
    answer: str


class Operator:
    """An operator's end, on any machine that reaches the store."""

    def __init__(self, etcd: Etcd, keys: Keys, *, ttl_s: int) -> None:
        self._etcd = etcd
        self._keys = keys
        self._patience_s = ttl_s + 3.0
        """So long an account may be without an owner: somebody takes it over."""

    async def ask(self, account: str, symbol: str, request: Request, *, timeout: float = 30.0) -> Answer:  # noqa: ASYNC109
        """What the account's owner answers. Raises NotRunningError when it has none, ControlError when it does not
        answer: then the word is taken back. Raises EtcdError.
        """
        said = await self._say(account, symbol, request, timeout)
        began = seen = monotonic()
        owner = ""
        while monotonic() - began < timeout:
            done = await self._etcd.txn([], [get(said.answer), get(self._keys.owner(account))])
            answers, owners = done.found
            if answers:
                return _decoded(answers[0], owner)
            if owners:
                owner, seen = owners[0].text, monotonic()
            elif monotonic() - seen > self._patience_s:
                break
            await asyncio.sleep(LOOK_S)
        done = await self._etcd.txn([created_is(said.key, said.revision)], [delete(said.key)])
        if not done.succeeded:
            raise ControlError(f"{owner} took the command and gave no answer: see `executor status`")
        if monotonic() - seen > self._patience_s:
            raise NotRunningError(f"no node owns {account}: see `executor fleet status`")
        raise ControlError(f"{owner} did not answer within {timeout:.0f} s; the command was taken back")

    async def _say(self, account: str, symbol: str, request: Request, timeout: float) -> Said:  # noqa: ASYNC109
        id = f"{time.time_ns()}"  # noqa: A001
        key = self._keys.command(account, symbol, id)
        try:
            lease = await self._etcd.grant(int(timeout) + 5)
        except Refused as error:
            raise ControlError(f"etcd takes no command: {error}") from error
        done = await self._etcd.txn([created_is(key, 0)], [put(key, codec.encode(request), lease=lease)], [get(key)])
        revision = done.revision
        if not done.succeeded:  # an answer was lost on the way, and the word is there, or has been carried out
            revision = done.found[0][0].created if done.found[0] else -1
        return Said(key, revision, self._keys.answer(id))


def _decoded(found: Value, owner: str) -> Answer:
    try:
        return codec.decode(found.value, type=Answer)
    except codec.CodecError as error:
        raise ControlError(f"{owner} gave no answer that can be read: {error}") from error
