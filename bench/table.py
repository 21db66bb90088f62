"""Samples into percentiles, percentiles into a table."""

import statistics
from collections.abc import Iterable
from typing import Final

import msgspec
from hdrh.histogram import HdrHistogram

LARGEST_US: Final = 3_600_000_000
DIGITS: Final = 3


class Figures(msgspec.Struct, frozen=True):
    """Milliseconds."""

    count: int
    median: float
    p99: float
    largest: float


class Row(msgspec.Struct, frozen=True):
    name: str
    figures: Figures | None = None
    value: float | None = None
    unit: str = ""
    remark: str = ""


def figures(samples: Iterable[float]) -> Figures:
    """`samples` in microseconds."""
    taken = list(samples)
    histogram = HdrHistogram(1, LARGEST_US, DIGITS)
    for sample in taken:
        histogram.record_value(max(1, round(sample)))
    return Figures(
        len(taken),
        round(statistics.median(taken) / 1000, 3),
        histogram.get_value_at_percentile(99) / 1000,
        round(max(taken) / 1000, 3),
    )


def text(rows: Iterable[Row]) -> str:
    lines = [f"{'':58} {'count':>6} {'median':>9} {'p99':>9} {'max':>9}   ms"]
    for row in rows:
        if row.figures is not None:
            f = row.figures
            lines.append(f"{row.name:58} {f.count:6} {f.median:9.2f} {f.p99:9.2f} {f.largest:9.2f}   {row.remark}")
        elif row.value is not None:
            lines.append(f"{row.name:58} {row.value:16,.1f} {row.unit}   {row.remark}")
        else:
            lines.append(f"\n{row.name}")
    return "\n".join(line.rstrip() for line in lines)
