"""An account becomes a node's, and nobody's again: one transaction each."""

import structlog

from executor.service.store.etcd import Etcd, EtcdError, created_is, delete, get, put
from executor.service.store.fleet_keys import Keys
from executor.service.store.fleet_store import Claim

log = structlog.get_logger(__name__)


async def claim(etcd: Etcd, keys: Keys, account: str, node: str, lease: int) -> Claim | None:
    """None where somebody has it. Raises EtcdError: then it may be ours all the same, and the view will tell."""
    own = keys.owner(account)
    mine = put(own, node.encode(), lease=lease)
    done = await etcd.txn([created_is(own, 0)], [mine, get(keys.generation)])
    if not done.succeeded:
        return None
    generation = done.found[0][0].number if done.found and done.found[0] else 0
    return Claim(account, node, done.revision, done.cluster, generation)


async def release(etcd: Etcd, keys: Keys, account: str, epoch: int) -> None:
    """Nobody owns it any more, if its owner still was the one of `epoch`. What could not be given back is given back
    once the view shows that it was not.
    """
    own = keys.owner(account)
    try:
        await etcd.txn([created_is(own, epoch)], [delete(own)])
    except EtcdError as error:
        log.warning("not_released", account=account, error=str(error), text="tried again, or it ends with the lease")
