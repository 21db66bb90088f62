"""Plain tables and the words for times and amounts that every report shares."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.model.events import Verb
from executor.core.model.values import plain
from executor.service.store import codec

GAP: Final = "  "
NONE: Final = "-"
_ITS_OWN: Final = {
    Verb.END: "the service is about to end (9.5)",
    Verb.RETRY: "the service is about to end: what waits for its pause is tried at once (9.5)",
}


def columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = (), gap: str = GAP
) -> str:
    """Rows under their header, each column as wide as its widest cell; those named in `right` end at the right."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    aligned = [
        gap.join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join(aligned)


def fields(pairs: Sequence[tuple[str, str]], *, indent: str = "") -> str:
    """Names and values below each other; a value of several lines stays in its column."""
    width = max((len(name) for name, _ in pairs), default=0)
    pad = "\n" + indent + " " * width + GAP
    return "\n".join(f"{indent}{name:<{width}}{GAP}{value.replace(chr(10), pad)}".rstrip() for name, value in pairs)


def who_says(verb: Verb) -> str:
    """A command, and whose it is: some are the service's own."""
    return _ITS_OWN.get(verb, f"the operator: {verb}")


def when(ms: int, form: str) -> str:
    """A time in that form (UTC), or as the number that it is where no calendar has it: a state may hold any."""
    try:
        return datetime.fromtimestamp(ms // 1000, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def instant(ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC, such as 2025-06-21T19:02:00.046Z."""
    return when(ms, f"%Y-%m-%dT%H:%M:%S.{ms % 1000:03d}Z")


def moment(ms: int) -> str:
    """The same for people, to the second."""
    return when(ms, "%Y-%m-%d %H:%M:%S")


def span(ms: int) -> str:
    """A duration as h:mm:ss, with days before it where there are any."""
    days, seconds = divmod(max(ms, 0) // 1000, 86_400)
    clock = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{days}d {clock}" if days else clock


def seconds(ms: int) -> str:
    """Milliseconds as seconds with three digits."""
    return plain(Decimal(ms).scaleb(-3))


def short(value: Decimal) -> str:
    """Without the zeros that only say how it was computed."""
    if not value:
        return "0"
    text = plain(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def amounts(by_asset: dict[str, Decimal]) -> str:
    """`0.001223 LTC, 0.0993894 USDT`."""
    return ", ".join(f"{short(value)} {asset}" for asset, value in sorted(by_asset.items())) or NONE


def json(value: object) -> str:
    """JSON for programs, laid out so that people can read it too; every Decimal in plain digits."""
    return msgspec.json.format(codec.encode(value), indent=2).decode()
