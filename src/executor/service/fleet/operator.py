"""An operator's end of a fleet's commands: a word is put into the store and waited for; the owner's is `commands`."""

import asyncio
import time
from time import monotonic
from typing import Final

import msgspec

from executor.service.asking import Answer, ControlError, NotRunningError, Request
from executor.service.store import codec
from executor.service.store.etcd import Etcd, Refused, Value, created_is, delete, get, put
from executor.service.store.fleet_keys import Keys

LOOK_S: Final = 0.05


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
