"""A daemon on a margin account starts, watches it and stops; its state is taken for no other account's (rule 11)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.exchange.stub import HELD, PAIR, Say, Stub, running_stub
from tests.exchange.test_margin_start import SAPI, settings_of

from executor.config import Settings
from executor.core.model.events import Commanded, Verb
from executor.core.model.loans import Debt
from executor.service import app
from executor.service.loop import Loop
from executor.service.store.state_store import StateError

OWING = {
    "assets": [{**PAIR, "marginLevel": "6", "quoteAsset": {**HELD, "asset": "USDT", "free": "60", "borrowed": 10}}]
}


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with running_stub() as stub:
        yield stub


def on_files(stub: Stub, folder: Path, *, isolated: bool = True, **more: str) -> Settings:
    files = {"STATE_FN": str(folder / "state.json"), "SIGNAL_FILE": str(folder / "signals.jsonl")}
    quiet = {"USER_STREAM": "false", "HTTP_PORT": "0", "WATCHDOG_EVERY_SEC": "0"}
    return settings_of(stub, isolated=isolated, **files, **quiet, **more)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Loop]:
    """The loop of a service that is up; it is stopped at the end."""
    met: list[Loop] = []
    task = asyncio.create_task(app.run(settings, met.append))
    while not met:
        await asyncio.sleep(0.01)
        if task.done():
            task.result()
    loop = met[0]
    async with asyncio.timeout(20):
        await loop.ready.wait()
        yield loop
        loop.stop()
        await task


async def test_it_starts_looks_at_its_account_and_stops(stub: Stub, tmp_path: Path) -> None:
    async with running(on_files(stub, tmp_path)) as loop:
        await loop.until(lambda state: state.market.margin is not None)
        assert loop.state.venue == f"{stub.endpoints.rest_url} isolated margin"
        assert loop.engine.policy.allow_short
        assert loop.engine.policy.trail_every_ms == 5_000
    asked = [seen for seen in stub.seen if seen.path.startswith(SAPI + "margin/")]
    assert asked
    assert stub.count("GET openOrders") == 0  # nobody looks at the orders of the Spot account
    named = [seen for seen in asked if seen.path.endswith("Orders")]
    assert named
    assert all(seen.params["isIsolated"] == "TRUE" for seen in named)


async def test_a_state_of_one_account_is_not_taken_for_one_of_another(stub: Stub, tmp_path: Path) -> None:
    async with running(on_files(stub, tmp_path)) as loop:
        await loop.ask(Commanded(at=loop.now(), verb=Verb.PAUSE))
    with pytest.raises(StateError, match=r"isolated margin', not on '.* cross margin'"):
        async with running(on_files(stub, tmp_path, isolated=False)):
            pass


async def test_a_debt_that_no_trade_explains_halts_nothing_and_is_told_with_what_resolves_it(
    stub: Stub, tmp_path: Path
) -> None:
    stub.script(f"GET {SAPI}margin/isolated/account", *[Say(json=OWING)] * 9)
    with capture_logs() as log:
        async with running(on_files(stub, tmp_path)) as loop:
            await loop.until(lambda state: state.market.margin is not None)
            assert loop.state.market.margin is not None
            assert loop.state.market.margin.debts == {"USDT": Debt(loop.state.market.margin.debts["USDT"].principal)}
            assert not loop.state.halted
    (told,) = [entry for entry in log if entry["event"] == "foreign_debt"]
    assert told["alert"]
    assert "`executor repay USDT` gives it back" in told["text"]
