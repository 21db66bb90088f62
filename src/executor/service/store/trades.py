"""The list of finished trades, one JSON line each, beside the state: what `executor report` shows."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import structlog

from executor.core.model.state import Closed
from executor.files import damaged_name
from executor.service.store.codec import CodecError
from executor.service.store.journal import Journal, JournalCorrupt, JournalError, JournalReader, JournalUnwritable

log = structlog.get_logger(__name__)

FILE_SIZE = 16 * 1024 * 1024
FILES_KEPT = 100


RECENT = 500
"""Trades kept in memory: more than a day has, at the shortest cooldown that makes sense."""


class TradeList:
    """Appends each finished trade once, also one that was closed right before a crash or is an older state's.
    `recent`: the last of them, oldest first.
    """

    def __init__(self, path: Path, *, patient: bool = False) -> None:
        """A list that can't be read is set aside: it must not keep an open trade from its service. `patient`: nor must
        one that can't be used at all; else that raises JournalUnwritable.
        """
        self._path = path
        self.recent: deque[Closed] = deque(maxlen=RECENT)
        try:
            self._read()
        except JournalError as error:
            if not patient:
                raise
            log.error("trade_list_unusable", alert=True, error=str(error))
        self._journal = Journal(path, file_size=FILE_SIZE, files_kept=FILES_KEPT, patient=patient)

    def _read(self) -> None:
        path, known = self._path, set[str]()
        while True:
            try:
                for trade in read_trades(path):
                    if trade.trade not in known:  # what stands before the damage is read twice
                        self.recent.append(trade)
                        known.add(trade.trade)
            except JournalCorrupt as error:
                aside = _set_aside(error.path)
                log.error("trade_list_damaged", alert=True, fault=str(error), set_aside=str(aside))
            else:
                break

    def add(self, closed: Closed) -> None:
        """A trade that can't be listed is told of, and trading goes on: the state file holds it as `last_closed`."""
        if any(closed.trade == each.trade for each in self.recent):
            return
        self.recent.append(closed)
        try:
            self._journal.append(closed)
        except (JournalError, CodecError) as error:
            log.error("trade_not_listed", alert=True, trade=closed.trade, error=str(error))

    def close(self) -> None:
        self._journal.close()


def _set_aside(path: Path) -> Path:
    target = damaged_name(path)
    try:
        path.rename(target)
    except OSError as error:
        raise JournalUnwritable(path, error) from error
    return target


def read_trades(path: Path) -> Iterator[Closed]:
    """All listed trades, oldest first; none when there is no list yet. Raises JournalCorrupt."""
    if path.exists():
        for entry in JournalReader(path, Closed):
            yield entry.record
