"""One symbol's state in the fleet's store: each write compares the epoch, so that who has lost the account can't write.

A write is one transaction: "the account is still mine, and the state is the one that I wrote last -> the state, and the
signals that it consumes are gone". What a lost answer leaves open is found out by the next try: its comparison fails,
and the state that is there says who wrote it.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from executor.core.model.state import SCHEMA_VERSION
from executor.service.store.document import Document, contradiction
from executor.service.store.etcd import (
    Answered,
    Etcd,
    EtcdError,
    Refused,
    Unreachable,
    Value,
    created_is,
    delete,
    get,
    mark,
    modified_is,
    put,
)
from executor.service.store.fleet_keys import Keys
from executor.service.store.port import Fenced, StoreUnwritable
from executor.service.store.state_store import Age, StateDamaged, StateError, StateForeign, pack, unpack
from executor.service.store.timings import Timings

log = structlog.get_logger(__name__)

PUBLISH_AFTER_S: Final = 1.0
"""What the exchange would tell again waits so long for what has to be written anyway: a fleet's accounts share etcd."""
LOAD_WITHIN_S: Final = 10.0
"""An owner that has just claimed asks for its states so long: elections take seconds, and a position may be bare."""
LOAD_AGAIN_S: Final = 0.2
TRIES: Final = 8
"""Tries of one write whose answers get lost, or meet one's own earlier one."""


class StoreUnreachable(StoreUnwritable):
    """etcd has no majority, or this node no way to it."""


class StateRestored(StateError):  # noqa: N818
    """The state is of another cluster, or of a later time than this cluster knows: etcd was restored from a copy."""

    def __init__(self, account: str, symbol: str, why: str) -> None:
        super().__init__(
            f"state of {account}, {symbol}: {why}. Newer states may be lost, and another fleet may still be trading. "
            f" See docs/fleet.md"
        )


class Claim(msgspec.Struct, frozen=True):
    """That this node owns an account. `epoch`: the revision at which it became so; it only ever grows. `generation`:
    when (ms) an operator last had the fleet go on from a copy of the store; 0: never.
    """

    account: str
    node: str
    epoch: int
    cluster: str
    generation: int = 0


class Envelope(msgspec.Struct, frozen=True):
    """What lies under a state's key: the state, and who wrote it as which write of its time as owner. `restored`: an
    operator has said that newer states may be lost, and that the exchange is to tell.
    """

    epoch: int
    seq: int
    node: str
    cluster: str
    state: msgspec.Raw
    restored: bool = False


class FleetSymbolStore:
    """`SymbolStore` on etcd. `took`: how long its writes have taken."""

    publish_after_s = PUBLISH_AFTER_S

    def __init__(self, etcd: Etcd, keys: Keys, claim: Claim, symbol: str) -> None:
        self.claim = claim
        self.symbol = symbol
        self.took = Timings()
        self._etcd = etcd
        self._keys = keys
        self._key = keys.state(claim.account, symbol)
        self._own = keys.owner(claim.account)
        self._revision = 0
        self._staged: bytes | None = None
        self._durable = False
        self._takes: set[str] = set()
        self._seq = 0
        self._fenced = ""
        self._writing = asyncio.Lock()

    @property
    def revision(self) -> int:
        """At which the state was written last; 0: it was not."""
        return self._revision

    # --- the port -------------------------------------------------------------------------------------------------

    def commit(self, document: object, *, durable: bool = True) -> str:
        data, checksum = pack(document, SCHEMA_VERSION)
        self._staged = data
        self._durable = self._durable or durable
        return checksum

    def save(self, document: object) -> str:
        return self.commit(document)

    def take(self, names: Collection[str]) -> None:
        self._takes.update(names)
        self._durable = True

    @property
    def pending(self) -> bool:
        return self._durable

    def publish(self) -> None:
        """Whoever wants to see it asks etcd."""

    async def written(self) -> None:
        """Raises Fenced, StoreUnreachable."""
        async with self._writing:
            while self._staged is not None:
                await self._write(self._staged)

    # --- the start ------------------------------------------------------------------------------------------------

    async def load_soon(self, venue: str) -> tuple[Document | None, Age]:
        """`load`, again and again for a while where etcd does not answer. Raises the same."""
        clock = asyncio.get_running_loop().time
        until = clock() + LOAD_WITHIN_S
        while True:
            try:
                return await self.load(venue)
            except StoreUnreachable as error:
                if clock() >= until:
                    raise
                log.warning("state_not_read", key=self._key, error=str(error), text="asked for again")
            await asyncio.sleep(LOAD_AGAIN_S)

    async def load(self, venue: str) -> tuple[Document | None, Age]:
        """The state as its last owner left it, None when there was none; to be asked for once the account is claimed.

        Raises Fenced, StateError, StoreUnreachable.
        """
        try:
            done = await self._etcd.txn([], [get(self._own), get(self._key)])
        except EtcdError as error:
            raise StoreUnreachable(str(error)) from error
        owners, states = self._asked(done)
        self._check_cluster(done)
        self._check_owner(
            owners
        )  # a node that was suspended since it claimed: a later owner's state is no older store's
        if not states:
            return None, Age.NEWEST
        found = states[0]
        self._revision = found.modified
        where = Path(self._key)
        envelope = envelope_in(found)
        if not envelope.restored:
            self._judge(envelope)
        document = document_in(found)
        if document.symbol != self.symbol:
            raise StateForeign(where, f"it is of {document.symbol}, not of {self.symbol}")
        if document.venue != venue:
            raise StateForeign(where, f"its orders are on {document.venue!r}, not on {venue!r}: check BINANCE_ENV")
        return document, Age.OLD if envelope.restored else Age.NEWEST

    def _judge(self, envelope: Envelope) -> None:
        account = self.claim.account
        if envelope.cluster != self.claim.cluster:
            why = f"it was written to another etcd cluster ({envelope.cluster}, this is {self.claim.cluster})"
            raise StateRestored(account, self.symbol, why)
        if envelope.epoch > self.claim.epoch:
            why = f"it was written in epoch {envelope.epoch}, and this cluster has only come to {self.claim.epoch}"
            raise StateRestored(account, self.symbol, why)

    # --- a write --------------------------------------------------------------------------------------------------

    async def _write(self, data: bytes) -> None:
        if self._fenced:
            raise Fenced(self._fenced)
        takes = tuple(self._takes)
        clock = asyncio.get_running_loop().time
        began = clock()
        for _ in range(TRIES):
            self._seq += 1
            answer = await self._try(data, takes)
            if answer is not None:
                self._revision = answer
                break
        else:
            raise StoreUnreachable(f"{self._key}: no write came through in {TRIES} tries")
        self.took.add(clock() - began)
        self._takes.difference_update(takes)
        if self._staged is data:
            self._staged = None
            self._durable = bool(self._takes)

    async def _try(self, data: bytes, takes: Collection[str]) -> int | None:
        """The revision that it was written at; None where another try is needed. Raises Fenced, StoreUnreachable."""
        claim = self.claim
        envelope = Envelope(claim.epoch, self._seq, claim.node, claim.cluster, msgspec.Raw(data))
        compare = [created_is(self._own, claim.epoch), modified_is(self._key, self._revision)]
        success = [put(self._key, msgspec.json.encode(envelope)), mark(self._key), *map(delete, takes)]
        try:
            done = await self._etcd.txn(compare, success, [get(self._own), get(self._key)])
        except Unreachable as error:
            raise StoreUnreachable(str(error)) from error
        except Refused as error:
            raise StoreUnreachable(f"{self._key}: {error}") from error
        self._check_cluster(done)
        if done.succeeded:
            self._check_written(done)
            return done.revision
        owners, states = self._asked(done)
        self._check_owner(owners)
        self._find_own(states)
        return None

    def _asked(self, done: Answered) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        """Who owns the account, and its state. Raises StoreUnreachable where the answer is about something else."""
        owners, states = done.found
        if any(each.key != self._own for each in owners) or any(each.key != self._key for each in states):
            raise StoreUnreachable(f"{self._key}: etcd answered to something else than was asked")
        return owners, states

    def _check_written(self, done: Answered) -> None:
        """An answer that came twice (a proxy, a reused connection) may be that to an earlier write, or to another's:
        this one has changed this key just now. Raises StoreUnreachable.
        """
        (found,) = done.found
        if [(self._key, done.revision)] != [(each.key, each.modified) for each in found] or (
            done.revision <= max(self._revision, self.claim.epoch)
        ):
            raise StoreUnreachable(f"{self._key}: etcd answered to something else than was asked")

    def _check_cluster(self, done: Answered) -> None:
        """A copy of the store that runs beside it holds the same keys at the same revisions, and takes what is written:
        that is not where the account is owned.
        """
        if done.cluster != self.claim.cluster:
            self._fence(f"{self.claim.account}: cluster {done.cluster} answered, it is owned in {self.claim.cluster}")

    def _check_owner(self, owners: tuple[Value, ...]) -> None:
        mine = bool(owners) and owners[0].created == self.claim.epoch
        if mine:
            return
        who = f"{owners[0].text} since epoch {owners[0].created}" if owners else "nobody"
        self._fence(f"{self.claim.account} is owned by {who}, not by {self.claim.node} in epoch {self.claim.epoch}")

    def _find_own(self, states: tuple[Value, ...]) -> None:
        """The account is ours, and the state is not the one that we knew: it must be a write of ours whose answer was
        lost. Nobody else can have written it.
        """
        if not states:
            self._fence(f"{self._key} was taken away")
        envelope = envelope_in(states[0])
        if envelope.epoch != self.claim.epoch:
            self._fence(f"{self._key} was written in epoch {envelope.epoch}, not in {self.claim.epoch}")
        self._revision = states[0].modified

    def _fence(self, why: str) -> Any:
        self._fenced = why
        raise Fenced(why)


def envelope_in(found: Value) -> Envelope:
    """What lies under a state's key. Raises StateError."""
    try:
        return msgspec.json.decode(found.value, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateDamaged({Path(found.key): f"is no state of a fleet: {error}"}) from error


def document_in(found: Value) -> Document:
    """The state that lies under its key, sound. Raises StateError."""
    where = Path(found.key)
    document = unpack(bytes(envelope_in(found).state), where, SCHEMA_VERSION, Document)
    if (fault := contradiction(document)) is not None:
        raise StateDamaged({where: f"contradicts itself: {fault}"})
    return document
