"""A symbol's rules as a run reads them: again and again, and with a trade open never without any.

What the exchange shows may cease to fit what is set (a coarser tick under TICK_SIZE), and the symbol may be gone from
its list, or they can't be read at a start. With a trade open none of it ends the service: it goes on by the exchange's
own filters, or by the last rules that were read, which are kept beside the state for that; entries are refused until
they are read and fit.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import structlog
from msgspec.structs import replace

from executor.config import Settings, SettingsError
from executor.core.model.rules import SymbolRules
from executor.core.model.state import SCHEMA_VERSION
from executor.exchange.binance import BinanceExchange
from executor.exchange.margin import UNTOLD
from executor.exchange.port import NotListedError, ReadError, RulesUnreadError
from executor.exchange.wire.rules import RATE_MAX
from executor.files import RealFileSystem, replace_file
from executor.service.policy import own_filters
from executor.service.store import codec
from executor.service.store.document import saved
from executor.service.store.state_store import StateError, pack, unpack

log = structlog.get_logger(__name__)

SIZE_MAX = 64 * 1024
_LEAST, _MOST = Decimal("1E-18"), Decimal("1E+19")
"""No number of any symbol's rules lies beyond: sums with it would be rounded."""


def rules_path(state: Path) -> Path:
    """Beside the state."""
    return state.with_name(state.name + ".rules")


def kept_rules(state: Path, symbol: str) -> SymbolRules | None:
    """Those that were read last, where they can be used; where they are there and can't, that is told."""
    path = rules_path(state)
    try:
        found = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        fault = error.strerror or str(error)
    except (codec.CodecError, StateError) as error:
        fault = str(error)
    else:
        fault = _fault_of(found, symbol)
        if not fault:
            return found
    log.warning("kept_rules_unusable", path=str(path), why=fault)
    return None


def _read(path: Path) -> SymbolRules:
    """Under their checksum, like a state: a flipped bit makes another tick, which looks like one. Those of versions
    before have none. Raises OSError, CodecError, StateError.
    """
    data = RealFileSystem().read(path, SIZE_MAX)
    if b'"checksum"' in data:
        return unpack(data, path, SCHEMA_VERSION, SymbolRules)
    return codec.decode(data, SymbolRules)


def _fault_of(rules: SymbolRules, symbol: str) -> str:
    """Why no order can be reckoned by them; empty where one can."""
    if rules.symbol != symbol:
        return f"they are those of {rules.symbol}"
    for name in ("tick", "step"):
        if getattr(rules, name) <= 0:
            return f"{name} is {getattr(rules, name)}, must be above 0"
    for name, value in _numbers(rules):
        if value < 0:
            return f"{name} is {value}, must not be below 0"
        if value >= _MOST or 0 < value < _LEAST:
            return f"{name} is {value!s:.40}, must be 0, or from {_LEAST} to below {_MOST}"
    if max(rules.maker_fee, rules.taker_fee) > RATE_MAX:
        return f"a commission of {max(rules.maker_fee, rules.taker_fee)}, must be at most {RATE_MAX}"
    return rules.contradiction


def _numbers(rules: msgspec.Struct, within: str = "") -> Iterator[tuple[str, Decimal | int]]:
    """Each number in them, with its name, however deep it stands."""
    for name in rules.__struct_fields__:
        value = getattr(rules, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, msgspec.Struct):
                yield from _numbers(each, f"{within}{name}.")
            elif isinstance(each, Decimal | int):
                yield f"{within}{name}", each


def held_symbols(settings: Settings, symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Those with a trade open, as far as a state on disk says so, whose rules are known from before."""
    return tuple(
        symbol
        for symbol in symbols
        if trade_open(settings, symbol) and kept_rules(settings.state_path(symbol), symbol) is not None
    )


def trade_open(settings: Settings, symbol: str) -> bool:
    """Whether a state on disk says so; one that can't be used says nothing."""
    with contextlib.suppress(StateError):
        found = saved(settings.state_path(symbol))
        return found is not None and found.value.position is not None
    return False


class RulesReader:
    """Reads one symbol's rules. `begin` once, then `again` as often as is wished. `keep` puts what was read on disk: a
    start does not wait for it.
    """

    def __init__(self, exchange: BinanceExchange, settings: Settings, state: Path) -> None:
        self._exchange = exchange
        self._settings = settings
        self._state = state
        self._last: SymbolRules | None = None
        self._kept: SymbolRules | None = None
        self._unkept = False
        """That they can't be put on disk has been told."""
        self._told = ""

    async def begin(self, *, trade_open: bool) -> SymbolRules:
        """Raises NotListedError, SettingsError or ReadError; with a trade open, or where they can't be read now, only
        what leaves no rules to go by.
        """
        fault = self._exchange.fault
        if fault is not None:
            known = trade_open or isinstance(fault, RulesUnreadError)
            kept = kept_rules(self._state, self._exchange.symbol) if known else None
            if kept is None:
                raise fault
            return self._unlisted(kept, fault)
        shown = self._exchange.shown or await self._exchange.rules()
        self._last = self._fitted(shown) if trade_open else own_filters(shown, self._settings)
        return self._last

    async def again(self) -> SymbolRules:
        """Raises ReadError."""
        assert self._last is not None, "it has begun"
        try:
            shown = await self._exchange.rules()
        except NotListedError as error:
            return self._unlisted(self._last, error)
        if (shown.base, shown.quote) != (self._last.base, self._last.quote):
            raise ReadError(
                f"{shown.symbol} is told to be {shown.base} in {shown.quote}: a symbol's assets never change"
            )
        rules = self._fitted(self._with_bars(shown))
        if not rules.barred and self._told:
            log.info("rules_fit_again", symbol=rules.symbol)
            self._told = ""
        self._last = rules
        await self.keep()
        return rules

    def _with_bars(self, shown: SymbolRules) -> SymbolRules:
        """With the last bars of a margin account that tells none, as its pair is taken off margin: it still liquidates
        by them, and what is open there is to be closed before (rule 11.10).
        """
        last = self._last.margin if self._last is not None else None
        if shown.margin is None or last is None or shown.margin.bars != UNTOLD:
            return shown
        return replace(shown, margin=replace(shown.margin, bars=last.bars))

    async def keep(self) -> None:
        """Have the rules that were read last on disk, for a start that can't read any; out of the way, as a disk may
        take its time.
        """
        rules = self._last
        if rules is None or rules == self._kept:
            return
        path = rules_path(self._state)
        try:
            await asyncio.to_thread(replace_file, RealFileSystem(), path, pack(rules, SCHEMA_VERSION)[0] + b"\n")
        except OSError as error:
            if not self._unkept:
                log.warning("rules_not_kept", path=str(path), error=error.strerror or str(error))
            self._unkept = True
        else:
            self._kept, self._unkept = rules, False

    def _fitted(self, shown: SymbolRules) -> SymbolRules:
        """With what is set, or, where that does not fit any more, without it and without entries."""
        try:
            return own_filters(shown, self._settings)
        except SettingsError as error:
            why = "; ".join(map(str, error.faults))
            if self._told != why:
                log.error("filters_unfit", alert=True, symbol=shown.symbol, text=why)
            return self._barred(shown, why)

    def _unlisted(self, last: SymbolRules, fault: NotListedError) -> SymbolRules:
        why = str(fault)
        if self._told != why and isinstance(fault, RulesUnreadError):
            log.error("rules_not_read", alert=True, symbol=last.symbol, text=why)
        elif self._told != why:
            log.error("not_listed", alert=True, symbol=last.symbol, text=why)
        return self._barred(last, why)

    def _barred(self, rules: SymbolRules, why: str) -> SymbolRules:
        self._told = why
        self._last = replace(rules, barred=why)
        return self._last
