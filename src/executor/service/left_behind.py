"""Trades of symbols that are not traded any more: their states are still there, and nobody looks after them."""

import re
from collections.abc import Collection
from glob import escape, glob
from pathlib import Path
from typing import Final, NamedTuple

from executor.config import Settings
from executor.core.model.state import State
from executor.service.store.document import saved, state_of
from executor.service.store.state_store import StateError

_SYMBOL: Final = "{symbol}"


class LeftBehind(NamedTuple):
    """An open trade that no setting names; `path` is its state."""

    symbol: str
    trade: str
    path: Path

    @property
    def text(self) -> str:
        return (
            f"{self.symbol} has trade {self.trade} open ({self.path}), and is not traded here any more: stops that "
            f"stand on the exchange work, nothing moves or replaces them. Put {self.symbol} back into SYMBOLS until "
            "the trade is over; if it has been closed elsewhere, move that file away"
        )


class Kept(NamedTuple):
    """A state that lies where STATE_FN has it; None where it can't be read."""

    symbol: str
    path: Path
    state: State | None


def left_behind(settings: Settings, traded: Collection[str]) -> list[LeftBehind]:
    """Of whatever exchange: the same files would be used for it."""
    return [
        LeftBehind(symbol, state.position.trade, path)
        for symbol, path, state in kept_states(settings, traded)
        if state is not None and state.position is not None
    ]


def kept_states(settings: Settings, but: Collection[str]) -> list[Kept]:
    """Those that lie where STATE_FN has them, of whatever symbol `but` these."""
    template = str(settings.state_path(_SYMBOL))
    if _SYMBOL not in template:
        return []
    parts = template.split(_SYMBOL)
    first, second, *more = map(re.escape, parts)
    same = "(?P=symbol)".join([f"{first}(?P<symbol>[A-Z0-9]{{3,40}}){second}", *more])
    found = []
    for name in sorted(glob("*".join(map(escape, parts)))):  # noqa: PTH207  (its pattern may be absolute)
        match = re.fullmatch(same, name)
        if match is None or match["symbol"] in but:
            continue
        try:
            loaded = saved(Path(name))
        except StateError:
            found.append(Kept(match["symbol"], Path(name), None))
            continue
        if loaded is not None and loaded.value.symbol == match["symbol"]:
            found.append(Kept(match["symbol"], Path(name), state_of(loaded.value)))
    return found
