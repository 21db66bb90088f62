"""Cases from public bug reports and real inputs: each the smallest input that shows a fault once found.

Beside this module lies one file a case: trades (`.json` with a `script`: settings, signal, what the exchange does, what
is expected), bodies and files as they come in. `{now}` and the times in them are made current here.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.scenarios.harness import Harness, World, harness

from executor.core.model.values import Direction
from executor.paper.server import FaultPlan

HERE: Final = Path(__file__).parent
WORLD: Final = World(Direction.LONG, "OCO", pushes=True)
FUNDS: Final = {"USDT": "10000"}
POLLED: Final = World(Direction.LONG, "OCO", pushes=False)


class Case(msgspec.Struct, frozen=True):
    """A trade as told in its file: entry 59000, stop 58000, so that R is 1000."""

    script: tuple[str, ...]
    expected: str
    env: dict[str, str] = {}
    signal: dict[str, Any] = {}
    seen: str = ""


def case(name: str) -> Case:
    return msgspec.json.decode((HERE / f"{name}.json").read_bytes(), type=Case)


@asynccontextmanager
async def trading(
    folder: Path,
    name: str,
    *,
    faults: FaultPlan | None = None,
    world: World = WORLD,
    balances: Mapping[str, str] = FUNDS,
    **settings: str,
) -> AsyncIterator[Harness]:
    """The service on BTCUSDT at 60000, with the case's settings."""
    own = {name: value for name, value in case(name).env.items() if name.isupper()}
    given: dict[str, Any] = {"QTY_USD": "3000", **own, **settings}
    async with harness(
        folder, world, symbol="BTCUSDT", entry="59000", r="1000", balances=balances, faults=faults, **given
    ) as b:
        await b.move(1)
        yield b


async def signal(b: Harness, name: str) -> None:
    """The case's signal, now; its entry rests at 59000."""
    told = {key: value for key, value in case(name).signal.items() if key not in {"ts", "symbol", "side", "stop"}}
    await b.signal(**{"targets": None, **told})  # its stop is where the bench has it: at -1 R
    assert b.roles() == ["ENTRY"], b.story()


async def opened(b: Harness, name: str) -> None:
    """The case's signal, its entry filled in full, all exits out."""
    await signal(b, name)
    await b.move(0)
    assert b.roles() == ["SL", "SL1", "SL2", "TP1", "TP2"], b.story()
