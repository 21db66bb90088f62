"""What an embedded paper run leaves behind: its account and its market end with it, so that no later run goes on from
there.
"""

from pathlib import Path
from typing import Final

import structlog

from executor.config import BinanceEnv, Settings
from executor.core.model.state import SCHEMA_VERSION
from executor.service.market import is_paper
from executor.service.store.document import saved
from executor.service.store.journal import files_of
from executor.service.store.state_store import StateError, StateStore, StateUnwritable
from executor.signals.position import position_path

log = structlog.get_logger(__name__)

LAST: Final = ".last"


def set_paper_files_aside(settings: Settings, symbol: str) -> None:
    """What an embedded run has left behind is renamed to `*.last`, in place of an earlier paper run's and of nothing
    else. Any other state is left alone, and refused later where it is of another exchange; so is what stands beside
    none: nothing says whose it is.

    The place in the signal file is no part of that market: the next paper run reads on from there. A run on another
    exchange does not, for what was written since the last one may have been meant for paper.

    Raises StateUnwritable.
    """
    state_path = settings.state_path(symbol)
    if not _of_paper(state_path):
        return
    store = StateStore(state_path, schema_version=SCHEMA_VERSION)
    journal, trades, place = settings.journal_path(symbol), settings.trades_path(symbol), position_path(state_path)
    kept = settings.binance_env is BinanceEnv.PAPER
    # The state comes last: should this be interrupted, the next start does the rest.
    singles = [*([] if kept else [place]), store.write_ahead, store.previous, store.path]
    logs = [each for each in (journal, trades) if not each.is_char_device()]  # /dev/null stays where it is
    suffix = _free_suffix(store.path, [*logs, *singles])
    try:
        for path in logs:
            for earlier in _files(path.with_name(path.name + suffix)):
                earlier.unlink()
            for each in _files(path):  # the rotated ones too: they make one list under the new name
                each.rename(path.with_name(path.name + suffix + each.name[len(path.name) :]))
        for path in singles:
            if path.exists():
                path.replace(path.with_name(path.name + suffix))
    except OSError as error:
        raise StateUnwritable(store.path, error) from error
    log.info("paper_files_set_aside", state=str(store.path), suffix=suffix)
    if not kept:
        log.warning(
            "signal_place_forgotten", text="signals written since the last paper run may be paper's: see SIGNAL_START"
        )


def _of_paper(state: Path) -> bool:
    """Whether there is a state, and it is of an embedded exchange."""
    try:
        found = saved(state)
    except StateError:
        return False
    return found is not None and is_paper(found.value.venue)


def _files(path: Path) -> list[Path]:
    return files_of(path) if path.parent.exists() else []


def _free_suffix(state: Path, paths: list[Path]) -> str:
    """The first under which there is nothing, or what an earlier paper run has left."""
    suffix, number = LAST, 1
    while any(path.with_name(path.name + suffix).exists() for path in paths) and not _of_paper(
        state.with_name(state.name + suffix)
    ):
        number += 1
        suffix = f"{LAST}-{number}"
    return suffix
