"""Operators' words to an account, wherever its owner is: put into the store, carried out by the owner, answered there.

A word that changes the state is gone with the transaction that writes that state: it is carried out once, whoever dies.
It hangs on a lease as long as whoever said it waits: nobody's word is carried out later, on another trade.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from executor.service.asking import Answer, Request
from executor.service.inlets.control import CHANGING, answer_to, encoded, fault_of
from executor.service.loop import Loop
from executor.service.store import codec
from executor.service.store.etcd import Etcd, EtcdError, Value, created_is, delete, put
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Claim

log = structlog.get_logger(__name__)

ANSWER_S: Final = 60
AGAIN_S: Final = 0.5


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
                    begun = frozenset(self._under_way)  # what ends while the question is under way may be in the answer
                    found, revision = await self._etcd.range(prefix)
                    for value in sorted(found, key=lambda each: each.created):
                        if value.key not in begun:
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
