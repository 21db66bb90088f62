"""A fleet's store, for commands: each opens it, asks, and ends with a clear word where it can't be reached.

Most commands are about no fleet: what speaks to a store is imported once there is one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from executor.cli import exits
from executor.cli.context import Place
from executor.cli.output import fail
from executor.config import Settings
from executor.core.model.state import State
from executor.exchange.port import StartError
from executor.service.asking import Answer, Request
from executor.service.store.document import state_of

if TYPE_CHECKING:
    from executor.service.store.etcd import Etcd
    from executor.service.store.fleet_keys import Keys

T = TypeVar("T")


def in_store(settings: Settings, act: "Callable[[Etcd, Keys], Awaitable[T]]") -> T:
    """What `act` returns. Ends the command when the store can't be reached, or refuses."""
    from executor.service.fleet.opening import open_etcd  # noqa: PLC0415
    from executor.service.store.etcd import EtcdError  # noqa: PLC0415
    from executor.service.store.fleet_keys import Keys  # noqa: PLC0415

    async def opened() -> T:
        etcd = open_etcd(settings)
        try:
            return await act(etcd, Keys(settings.fleet_name))
        finally:
            await etcd.close()

    try:
        return asyncio.run(opened())
    except EtcdError as error:
        fail(f"the fleet's store can't be used: {error}", exits.UNAVAILABLE)
    except StartError as error:
        fail(error, exits.BAD_SETTINGS)


def ask_owner(place: Place, request: Request, *, timeout: float) -> Answer:
    """What the account's owner answers. Raises NotRunningError, ControlError."""
    from executor.service.fleet.operator import Operator  # noqa: PLC0415

    async def ask(etcd: "Etcd", keys: "Keys") -> Answer:
        operator = Operator(etcd, keys, ttl_s=place.settings.fleet_ttl_sec)
        return await operator.ask(place.account, place.symbol, request, timeout=timeout)

    return in_store(place.settings, ask)


def stored_state(place: Place) -> State | None:
    """The state as its last owner left it; None when there is none yet. Raises StateError."""
    from executor.service.store.fleet_store import document_in  # noqa: PLC0415

    async def read(etcd: "Etcd", keys: "Keys") -> State | None:
        found = await etcd.read(keys.state(place.account, place.symbol))
        return state_of(document_in(found)) if found is not None else None

    return in_store(place.settings, read)


def not_in_a_fleet(place: Place, what: str) -> None:
    """Ends a command that would act beside the service where another machine may own the account."""
    if place.fleet:
        fail(
            f"no node owns {place.account}, and {what} goes through its owner alone: start a node, then run this again",
            exits.UNAVAILABLE,
        )
