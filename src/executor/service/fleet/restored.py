"""What an operator says after etcd was restored from a copy: newer states may be lost, the exchange is to tell."""

import time

import msgspec

from executor.service.store.etcd import Etcd, EtcdError, created_is, modified_is, put
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import envelope_in


class StillOwned(Exception):  # noqa: N818  (it says what the accounts are)
    """Somebody trades the accounts: no state of theirs is an old one."""


async def adopt_from_exchange(etcd: Etcd, keys: Keys) -> list[str]:
    """Mark each state as one that newer ones may have been lost of, and begin a new generation, so that nodes that know
    of later revisions go on; the accounts and symbols whose state was marked. Raises StillOwned, StateError, EtcdError.
    """
    owners, _ = await etcd.range(keys.owners)
    if owners:
        names = ", ".join(f"{keys.name_in(each.key)} by {each.text}" for each in owners)
        raise StillOwned(f"owned and traded: {names}")
    cluster = (await etcd.txn([], [])).cluster
    states, _ = await etcd.range(keys.states())
    for value in states:
        old = envelope_in(value)
        marked = msgspec.structs.replace(old, epoch=0, seq=0, cluster=cluster, restored=True)
        own = keys.owner(keys.names_in(value.key)[0])
        compare = [modified_is(value.key, value.modified), created_is(own, 0)]
        done = await etcd.txn(compare, [put(value.key, msgspec.json.encode(marked))])
        if not done.succeeded:
            raise EtcdError(f"{value.key} has changed meanwhile: somebody trades it; run this again")
    await etcd.put(keys.generation, str(time.time_ns() // 1_000_000).encode())
    return [" ".join(keys.names_in(value.key)) for value in states]
