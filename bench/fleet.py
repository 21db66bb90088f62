"""What states cost in etcd: many accounts, each written once a second."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.scenario import now_us
from executor.service.store.etcd import Etcd, created_is, put
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Claim, FleetSymbolStore

EVERY_S: Final = 1.0
SYMBOL: Final = "LTCUSDT"


class Padded(msgspec.Struct):
    """As large as a state."""

    n: int
    text: str


def scratch() -> str:
    """On the disk of the working folder; /tmp may be memory."""
    folder = Path("build")
    folder.mkdir(exist_ok=True)
    return str(folder)


async def writes(endpoints: Sequence[str], accounts: int, seconds: float, size: int) -> list[float]:
    """How long each write took, in microseconds."""
    etcd, keys = Etcd(endpoints, call_s=10.0), Keys(f"bench-{accounts}")
    taken: list[float] = []
    try:
        names = [f"a{number:03d}" for number in range(accounts)]
        stores = await asyncio.gather(*(_claimed(etcd, keys, name) for name in names))
        end = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(_write(store, end, size, taken) for store in stores))
    finally:
        await etcd.close()
    return taken


async def _claimed(etcd: Etcd, keys: Keys, account: str) -> FleetSymbolStore:
    own = keys.owner(account)
    done = await etcd.txn([created_is(own, 0)], [put(own, b"bench")])
    return FleetSymbolStore(etcd, keys, Claim(account, "bench", done.revision, done.cluster), SYMBOL)


async def _write(store: FleetSymbolStore, end: float, size: int, taken: list[float]) -> None:
    clock = asyncio.get_running_loop().time
    due = clock() + random.random() * EVERY_S
    number = 0
    while due < end:
        await asyncio.sleep(max(0.0, due - clock()))
        number += 1
        store.commit(Padded(number, "x" * size))
        began = now_us()
        await store.written()
        taken.append(now_us() - began)
        due += EVERY_S
