"""Which node of a fleet reads the updates of a bot that several of them speak by: Telegram gives them to one alone.

The seat is a key on a lease of its own: whoever makes it reads, and a node that dies or hangs leaves it to another. As
with accounts the lease is only for who tries. That no command is carried out twice rests on the transaction which keeps
the place before each of them: it compares who holds the seat, so that a node which was suspended while it read takes
nothing when it wakes.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

import structlog

from executor.ops.telegram.listener import Listener
from executor.ops.telegram.place import Keeper, NotOursError, encoded, offset_in
from executor.service.store.etcd import Etcd, EtcdError, created_is, get, put
from executor.service.store.fleet_keys import Keys

log = structlog.get_logger(__name__)

TTL_S: Final = 10
LOOK_S: Final = 2.0
LEAVE_S: Final = 2.0


class Seat:
    """Held since `revision`, on `lease`. `sure`: that it was so within the lease's time."""

    def __init__(self, etcd: Etcd, keys: Keys, bot: str, revision: int, lease: int) -> None:
        self.lease = lease
        self._etcd = etcd
        self._seat = keys.bot_seat(bot)
        self._place = keys.bot_place(bot)
        self._revision = revision
        self._clock = asyncio.get_running_loop().time
        self._renewed = self._clock()

    @property
    def sure(self) -> bool:
        return self._clock() - self._renewed < TTL_S

    async def read(self) -> int:
        try:
            found = await self._etcd.read(self._place)
        except EtcdError as error:
            log.warning("telegram_place_not_read", error=str(error))
            return 0
        return offset_in(found.value) if found is not None else 0

    async def keep(self, offset: int) -> str:
        try:
            done = await self._etcd.txn([created_is(self._seat, self._revision)], [put(self._place, encoded(offset))])
        except EtcdError as error:
            log.warning("telegram_place_not_kept", error=str(error))
            return "etcd does not answer"
        if not done.succeeded:
            raise NotOursError("another node reads the bot's updates")
        return ""

    async def lost(self) -> None:
        """Renew the lease; return when it has ended. While etcd does not answer nobody else can have taken the seat."""
        while True:
            await asyncio.sleep(TTL_S / 3)
            try:
                if await self._etcd.keep_alive(self.lease) <= 0:
                    return
            except EtcdError as error:
                log.info("bot_seat_not_renewed", why=str(error))
            else:
                self._renewed = self._clock()


class BotReader:
    """`run` it beside the node called `node`. `listener_of`: who listens, while a seat is held."""

    def __init__(
        self, etcd: Etcd, keys: Keys, node: str, token: str, listener_of: Callable[[Keeper], Listener]
    ) -> None:
        self._etcd = etcd
        self._keys = keys
        self._node = node
        self._bot = hashlib.sha256(token.encode()).hexdigest()[:16]
        self._listener_of = listener_of
        self.seat: Seat | None = None

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                seat = await self._take()
            except EtcdError as error:
                log.info("bot_seat_not_taken", why=str(error))
                seat = None
            if seat is None:
                await asyncio.sleep(LOOK_S)
            else:
                await self._hold(seat)

    async def _take(self) -> Seat | None:
        """The seat, where nobody has it. Raises EtcdError."""
        key = self._keys.bot_seat(self._bot)
        if await self._etcd.read(key) is not None:
            return None
        lease = await self._etcd.grant(TTL_S)
        taking = [put(key, self._node.encode(), lease=lease)]
        done = await self._etcd.txn([created_is(key, 0)], taking, [get(key)])
        revision = done.revision
        if not done.succeeded:
            (found,) = done.found
            if not found or found[0].lease != lease:  # else it is ours: the answer to an earlier try was lost
                await self._etcd.revoke(lease)
                return None
            revision = found[0].created
        return Seat(self._etcd, self._keys, self._bot, revision, lease)

    async def _hold(self, seat: Seat) -> None:
        log.info("telegram_read_here", node=self._node)
        self.seat = seat
        listening = asyncio.create_task(self._listener_of(seat).run(), name="telegram commands")
        losing = asyncio.create_task(seat.lost(), name="bot seat")
        try:
            await asyncio.wait({listening, losing}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
        except NotOursError as error:
            log.info("telegram_read_elsewhere", why=str(error))
        finally:
            self.seat = None
            for task in (listening, losing):
                task.cancel()
            await asyncio.gather(listening, losing, return_exceptions=True)
            await self._leave(seat)

    async def _leave(self, seat: Seat) -> None:
        """At once, so that another need not wait for the lease's end."""
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._etcd.revoke(seat.lease)
        except (EtcdError, TimeoutError) as error:
            log.info("bot_seat_not_left", why=str(error) or type(error).__name__)
