"""Recorded markets in files: trades and klines as CSV, plain or gzipped.

Each file starts with a header line; columns are found by name, in any order, others are ignored. Times are integer
milliseconds (UTC). A reader can be walked any number of times, holds one row at a time, and stops at the first row
that is not right with an error that names file, line and field.

| reader | columns |
|---|---|
| `TradeFile` | `time_ms`, `price`, `qty`, `is_buyer_maker` (true/false), `trade_id` or `agg_trade_id` |
| `KlineFile` | `open_time_ms`, `open`, `high`, `low`, `close`, `volume` |
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from importlib.resources import files
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Protocol, TextIO, TypeVar

from executor.paper.engine.market_data import MarketTrade
from executor.paper.errors import RecordingError

DEMO_SYMBOL: Final = "LTCUSDT"
_DEMO_TRADES: Final = "LTCUSDT-spot-aggTrades-demo-20250621T1900Z-0100Z.csv.gz"
_EXCHANGE_INFO: Final = "exchange-info.json"
_SYMBOL_IN_NAME: Final = re.compile(r"([A-Z0-9]{5,20})[-_.]")


_T = TypeVar("_T")


class _Reader(Protocol):
    """What is used of a `csv.reader`."""

    @property
    def line_num(self) -> int:
        """The line read last, from 1 on."""


def symbol_of(path: Path) -> str:
    """The symbol that a recording's name begins with, as in LTCUSDT-trades.csv. Raises RecordingError."""
    match = _SYMBOL_IN_NAME.match(path.name)
    if match is None:
        raise RecordingError(
            f"the symbol is not given (SYMBOL, or --symbol of `executor paper`), and the recording's name {path.name!r}"
            " does not begin with one"
        )
    return match[1]


@dataclass(slots=True, frozen=True)
class RecordedKline:
    """One kline of a file; `volume` in base asset."""

    open_time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(slots=True, frozen=True)
class TradeFile:
    """Recorded trades, in time order; rows whose time runs backwards are an error."""

    path: Path

    def __iter__(self) -> Iterator[MarketTrade]:
        last = 0
        columns = (("time_ms",), ("price",), ("qty",), ("is_buyer_maker",), ("trade_id", "agg_trade_id"))
        for row in _rows(self.path, columns):
            time, price, qty, flag, number = row.values()
            try:
                trade = MarketTrade(
                    time=_time(time),
                    price=_positive(price),
                    qty=_positive(qty),
                    buyer_is_maker=_flag(flag),
                    trade_id=_whole(number),
                )
            except ValueError:
                raise row.wrong((_time, _positive, _positive, _flag, _whole)) from None
            if trade.time < last:
                raise row.error(0, f"a time of {last} or later")
            last = trade.time
            yield trade


@dataclass(slots=True, frozen=True)
class KlineFile:
    """Recorded klines, strictly later one after the other."""

    path: Path

    def __iter__(self) -> Iterator[RecordedKline]:
        last = -1
        columns = (("open_time_ms",), ("open",), ("high",), ("low",), ("close",), ("volume",))
        for row in _rows(self.path, columns):
            kline = RecordedKline(
                open_time=row.read(0, _time),
                open=row.read(1, _positive),
                high=row.read(2, _positive),
                low=row.read(3, _positive),
                close=row.read(4, _positive),
                volume=row.read(5, _amount),
            )
            if kline.open_time <= last:
                raise row.error(0, f"a time after {last}")
            if kline.low > min(kline.open, kline.close):
                raise row.error(3, "no more than open and close")
            if kline.high < max(kline.open, kline.close):
                raise row.error(2, "no less than open and close")
            last = kline.open_time
            yield kline


def demo_trades() -> TradeFile:
    """The recording that ships with the package: six hours of LTCUSDT in which the price swept and fell."""
    return TradeFile(_data_path(_DEMO_TRADES))


def demo_signals() -> Path:
    """Signals for the recording that ships with the package, in the shape of rule 2.1; made up, to show each ending."""
    return _data_path("demo-signals.jsonl")


def bundled_exchange_info() -> dict[str, Any]:
    """The exchangeInfo that ships with the package: rate limits, and rows of LTCUSDT, BTCUSDT, ETHUSDT, BNBUSDT."""
    info: dict[str, Any] = json.loads(_data_path(_EXCHANGE_INFO).read_text(encoding="utf-8"))
    return info


def _data_path(name: str) -> Path:
    return Path(str(files("executor.paper").joinpath("data", name)))


class _Row:
    """The line of a file at which its reader is, with the columns asked for."""

    __slots__ = ("_names", "_path", "_pick", "_reader", "cells")

    def __init__(self, path: Path, reader: "_Reader", names: Sequence[str], indices: Sequence[int]) -> None:
        self._path = path
        self._reader = reader
        self._names = names
        self._pick = itemgetter(*indices)
        self.cells: Sequence[str] = ()

    def values(self) -> tuple[str, ...]:
        """The text of each column."""
        values: tuple[str, ...] = self._pick(self.cells)
        return values

    def read(self, column: int, read: Callable[[str], _T]) -> _T:
        """The value of a column; a reader's ValueError says what it must be."""
        try:
            return read(self.values()[column])
        except ValueError as error:
            raise self.error(column, str(error)) from None

    def wrong(self, readers: Sequence[Callable[[str], object]]) -> RecordingError:
        """What the first of the columns' readers that refuses its value says."""
        for column, read in enumerate(readers):
            try:
                read(self.values()[column])
            except ValueError as error:
                return self.error(column, str(error))
        raise AssertionError("no column is wrong")

    def error(self, column: int, must_be: str) -> RecordingError:
        where = f"{self._path}, line {self._reader.line_num}"
        return RecordingError(f"{where}: {self._names[column]} is {self.values()[column]!r}, must be {must_be}")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8", newline="") as unpacked:
                yield unpacked
        else:
            with path.open(encoding="utf-8", newline="") as plain:
                yield plain
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise RecordingError(f"{path}: cannot be read: {error}") from error


def _rows(path: Path, columns: Sequence[tuple[str, ...]]) -> Iterator[_Row]:
    """Rows with `columns`, each of which may go by one of several names. It is one row that moves on."""
    with _opened(path) as lines:
        reader = csv.reader(lines)
        header = next(reader, None)
        if header is None:
            raise RecordingError(f"{path}: is empty, must start with a header line")
        names = [_find(path, header, choices) for choices in columns]
        row = _Row(path, reader, names, [header.index(name) for name in names])
        for cells in reader:
            if len(cells) != len(header):
                where = f"{path}, line {reader.line_num}"
                raise RecordingError(f"{where}: has {len(cells)} fields, must have {len(header)} as the header")
            row.cells = cells
            yield row


def _find(path: Path, header: Sequence[str], choices: tuple[str, ...]) -> str:
    for name in choices:
        if name in header:
            return name
    raise RecordingError(f"{path}: the header line {','.join(header)!r} must have a column {' or '.join(choices)}")


_FLAGS: Final = {"true": True, "false": False}


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number")
    return int(text)


def _time(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("milliseconds, a whole number")
    return int(text)


def _amount(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError("a number of 0 or more") from None
    if not value.is_finite() or value < 0:
        raise ValueError("a number of 0 or more")
    return value


@lru_cache(maxsize=1 << 16)  # a recording says the same prices and quantities again and again
def _positive(text: str) -> Decimal:
    value = _amount(text)
    if value == 0:
        raise ValueError("more than 0")
    return value


def _flag(text: str) -> bool:
    flag = _FLAGS.get(text.lower())
    if flag is None:
        raise ValueError("true or false")
    return flag
