"""A symbol whose state is in use keeps no other from looking after its trade (rule 9.4)."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from tests.core.build import protected
from tests.service.test_keys import NOWHERE

from executor.config import Settings, load_settings
from executor.core.model.state import SCHEMA_VERSION
from executor.core.transition import empty
from executor.ops.alerts.alerts import Alerts
from executor.service import app
from executor.service.account import AccountRun
from executor.service.market import Market
from executor.service.state_locks import RESTLESS_MAX, StateLocks
from executor.service.store.document import document_of
from executor.service.store.lock import Locked, LockUnusable, StateLock
from executor.service.store.state_store import StateStore
from executor.service.supervisor import Supervisor
from executor.service.wiring import _kept_position, telling_the_end
from executor.signals.position import Position, PositionFile, position_path

OTHER = "BTCUSDT"


def traded(folder: Path) -> Settings:
    symbols = f"{OTHER},{protected().state.symbol}"
    own = {"SYMBOL": "", "SYMBOLS": symbols, "BINANCE_API_SECRET": "s", "STATE_FN": str(folder / "{symbol}.json")}
    return load_settings({**NOWHERE, **own}, None)


def keep(folder: Path, symbol: str = protected().state.symbol, *, is_open: bool) -> None:
    store = StateStore(folder / f"{symbol}.json", schema_version=SCHEMA_VERSION)
    store.save(document_of(protected().state if is_open else empty(symbol)))


async def left_out(main: Coroutine[Any, Any, object]) -> Any:
    """What a run that goes on tells of the one that it has left out."""
    with structlog.testing.capture_logs() as log:
        run = asyncio.create_task(main)
        try:
            async with asyncio.timeout(5):
                while not (told := [line for line in log if line["event"] == "not_started"]):
                    assert not run.done(), run.result()
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0)
            assert not run.done(), run.result()
        finally:
            run.cancel()
            await asyncio.wait({run})
    (line,) = told
    return line


async def test_with_a_trade_open_the_others_begin_and_it_is_told_of(tmp_path: Path) -> None:
    """One lock ended the start of all, again and again, and nobody looked after the trade."""
    settings = traded(tmp_path)
    with StateLock(tmp_path / f"{OTHER}.json"):
        keep(tmp_path, is_open=False)
        with pytest.raises(Locked):
            await app.run(settings)
        with pytest.raises(Locked):
            await AccountRun(settings).run()
        keep(tmp_path, is_open=True)
        for told in (await left_out(app.run(settings)), await left_out(AccountRun(settings).run())):
            assert (told["symbol"], told["alert"], "stop that one first" in told["error"]) == (OTHER, True, True)
        with pytest.raises(Locked):  # in a fleet the account is another node's then
            await AccountRun(settings, lambda _: pytest.fail("it has not begun")).run()


async def test_so_is_one_whose_lock_file_can_not_be_used(tmp_path: Path) -> None:
    """Where it is the one with the trade, and nobody is looked after, that is waited for."""
    (tmp_path / f"{OTHER}.json.lock").mkdir()
    keep(tmp_path, is_open=False)
    with pytest.raises(LockUnusable):
        await app.run(traded(tmp_path))
    keep(tmp_path, is_open=True)
    assert (await left_out(app.run(traded(tmp_path))))["symbol"] == OTHER


def test_what_another_process_holds_is_told_before_what_may_become_usable(tmp_path: Path) -> None:
    settings = traded(tmp_path)
    (tmp_path / f"{OTHER}.json.lock").mkdir()
    with StateLock(settings.state_path(settings.traded[1])), StateLocks(settings, settings.traded) as locks:
        locks.take()
        assert (locks.held, locks.enough) == ((), False)
        assert isinstance(locks.fault, Locked)


class Closed:
    async def close(self) -> None:
        pass


class Loops:
    """One loop: nothing of it is being opened or closed once `calm` says so."""

    def __init__(self, calm: Callable[[], bool]) -> None:
        self.state = protected().state
        self._calm = calm
        self.on_stop: list[object] = []
        self.on_ready: list[object] = []

    def exposed(self) -> bool:
        return not self._calm()

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(
    ("calm_from", "is_open", "joins_at"), [(5, True, 5), (20, True, RESTLESS_MAX), (20, False, 20)]
)
async def test_once_it_is_free_the_run_begins_anew_with_it_in_a_calm_moment(
    calm_from: int, joins_at: int, tmp_path: Path, *, is_open: bool
) -> None:
    """It had the lock while it waited for one, however long: no command could look after the one left out."""
    settings, looks = traded(tmp_path), 0
    keep(tmp_path, OTHER, is_open=is_open)
    holder = StateLock(tmp_path / f"{OTHER}.json").acquire()

    async def sleep(_: float) -> None:
        nonlocal looks
        if looks > 1:
            with StateLock(tmp_path / f"{OTHER}.json"):  # whoever wants it has it
                assert not supervisor.again
        looks += 1
        if looks == 2:
            holder.release()

    supervisor = Supervisor({"LTCUSDT": Loops(lambda: looks >= calm_from)})  # type: ignore[dict-item]
    with StateLocks(settings, settings.traded) as locks:
        locks.take()
        assert tuple(locks.missing) == (OTHER,)
        await locks.join(supervisor, sleep)
        assert (looks, supervisor.again, locks.held) == (joins_at, True, settings.traded)
        with pytest.raises(Locked):
            StateLock(tmp_path / f"{OTHER}.json").acquire()


async def test_an_account_keeps_its_locks_as_it_begins_anew(tmp_path: Path) -> None:
    """It gave them back: whoever took and left one again and again had all of its trades begun anew again and again."""
    settings, rounds = traded(tmp_path), []
    keep(tmp_path, is_open=True)
    holder = StateLock(tmp_path / f"{OTHER}.json").acquire()

    class Anew(AccountRun):
        async def _reach(self, market: Market) -> dict[str, Any]:
            return dict.fromkeys(market.symbols, SimpleNamespace(connection=Closed()))

        async def _serve(self, market: Market, exchanges: object, locks: StateLocks) -> bool:
            del exchanges
            rounds.append(market.symbols)
            holder.release()
            locks.take()
            with pytest.raises(Locked):
                StateLock(tmp_path / f"{OTHER}.json").acquire()
            return len(rounds) == 1

    await Anew(settings).run()
    assert rounds == [settings.traded[1:], settings.traded]


def test_who_is_told_to_stop_does_not_begin_anew() -> None:
    """SIGTERM while a run ended in order to begin anew was lost."""
    for told in ((Supervisor.begin_anew, Supervisor.stop), (Supervisor.stop, Supervisor.begin_anew)):
        supervisor = Supervisor({})
        for each in told:
            each(supervisor)
        assert not supervisor.again


@pytest.mark.parametrize("again", [False, True])
def test_the_end_of_a_run_that_begins_anew_is_not_told_as_the_service_s(*, again: bool) -> None:
    alerts = Alerts(None, ())
    with telling_the_end(alerts, lambda: again):
        pass
    assert [each.event for each in alerts.recent] == ([] if again else ["stopped"])


def test_the_place_in_the_signal_file_goes_from_one_state_to_another(tmp_path: Path) -> None:
    """It was that beside the first state that could be locked: another's was not read, and an old one again."""
    settings = traded(tmp_path)
    first, second = (settings.state_path(symbol) for symbol in settings.traded)
    source, places = tmp_path / "signals.jsonl", [Position(1, 10, "a"), Position(1, 20, "b")]
    PositionFile(position_path(first)).save(source, places[0])
    alone = _kept_position(settings, settings.traded[1:])
    assert alone.load(source) == places[0]
    alone.save(source, places[1])
    assert alone.path == position_path(second)
    os.utime(position_path(first), (1, 1))
    assert _kept_position(settings, settings.traded).load(source) == places[1]
