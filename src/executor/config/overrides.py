"""Settings for one symbol: which may be set so, and what is wrong or odd about those that were found.

`BTCUSDT__QTY_USD=50` goes before QTY_USD for BTCUSDT, wherever the two were set.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from executor.config.faults import Fault
from executor.config.group import Origin
from executor.config.keys import override_key
from executor.config.margin_settings import MarginSettings
from executor.config.settings import (
    EntrySettings,
    FailsafeSettings,
    LimitSettings,
    SizeSettings,
    StopSettings,
    TrailSettings,
)
from executor.config.sources import KNOWN_NAMES, OUR_PREFIXES, Override

_GROUPS: Final = (
    EntrySettings,
    SizeSettings,
    StopSettings,
    TrailSettings,
    FailsafeSettings,
    LimitSettings,
    MarginSettings,
)
_OF_ALL: Final = frozenset({"MARGIN_BORROW_MODE", "MARGIN_SIDE_EFFECT"})
PER_SYMBOL: Final = (
    frozenset(["MAX_SIGNAL_AGE_SEC", *(name.upper() for group in _GROUPS for name in group.model_fields)]) - _OF_ALL
)
NEAR: Final = 0.8


@dataclass(slots=True)
class Judged:
    """The overrides of a trade's setting for a symbol that is traded; and what is said of the rest."""

    good: list[Override] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def judge(found: Iterable[Override], traded: Sequence[str]) -> Judged:
    """Sort out what was found. Another program's variable that only looks alike is passed over."""
    judged = Judged()
    for override in found:
        if override.symbol in traded and override.name in PER_SYMBOL:
            judged.good.append(override)
        elif _meant(override, traded):
            judged.faults.append(Fault(override.key, "set", _must(override, traded)))
        elif override.origin is Origin.ENV_FILE:
            judged.warnings.append(f"{override.key} in the {override.origin} is not a setting")
    return judged


def _meant(override: Override, traded: Sequence[str]) -> bool:
    """Whether it was meant to be a setting of ours."""
    name = override.name.upper()
    ours = name.startswith(OUR_PREFIXES) and (name in KNOWN_NAMES or _near(name, PER_SYMBOL) is not None)
    return override.symbol.upper() in traded or name in PER_SYMBOL or ours


def _must(override: Override, traded: Sequence[str]) -> str:
    symbol, name = _near(override.symbol.upper(), traded), _near(override.name.upper(), PER_SYMBOL)
    if override.name in KNOWN_NAMES and override.name not in PER_SYMBOL:
        return f"unset: {override.name} holds for all symbols alike"
    must = "a setting of a trade, after the symbol and two underscores"
    if override.symbol not in traded:
        must = f"of a symbol that is traded ({', '.join(traded) or 'neither SYMBOL nor SYMBOLS is set'})"
    return must if symbol is None or name is None else f"{must}; did you mean {override_key(symbol, name)}?"


def _near(word: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(word, known, n=1, cutoff=NEAR)), None)
