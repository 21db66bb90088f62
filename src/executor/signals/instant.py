"""Instants as signals write them, to ms since the epoch, without a float."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

EARLIEST: Final = 946_684_800_000  # 2000-01-01
LATEST: Final = 4_102_444_800_000  # 2100-01-01, itself not included
"""In ms. Within these bounds a number of seconds can't be mistaken for one of milliseconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_NUMBER: Final = re.compile(r"(?P<whole>[0-9]{1,18})(?:\.(?P<fraction>[0-9]{1,18}))?")
_ISO: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,18}))?)?"
    r" ?(?P<zone>[Zz]|UTC|(?P<sign>[+-])(?P<zone_hour>[0-9]{2})(?::?(?P<zone_minute>[0-9]{2}))?)?"
)


def parse_instant(text: str) -> int | None:
    """Ms since the epoch, cut down to whole ones; None when `text` is no instant from 2000 to 2099.

    ISO 8601 with `T` or a space, with `Z` or an offset, UTC without; or seconds or milliseconds since the
    epoch.
    """
    text = text.strip()
    number = _NUMBER.fullmatch(text)
    if number:
        return _from_number(int(number["whole"]), number["fraction"] or "")
    iso = _ISO.fullmatch(text)
    return _from_iso(iso) if iso else None


def readable_minute(at: int) -> str:
    """The minute that contains `at` (ms), e.g. `2026-03-01T10:15Z`."""
    return (_EPOCH + at * _MS).strftime("%Y-%m-%dT%H:%MZ")


def _from_number(whole: int, fraction: str) -> int | None:
    seconds = whole * 1000 + _thousandths(fraction)
    return next((at for at in (seconds, whole) if EARLIEST <= at < LATEST), None)


def _from_iso(found: re.Match[str]) -> int | None:
    zone = UTC
    try:
        if found["sign"]:
            offset = timedelta(hours=int(found["zone_hour"]), minutes=int(found["zone_minute"] or 0))
            if int(found["zone_minute"] or 0) > 59:
                return None
            zone = timezone(-offset if found["sign"] == "-" else offset)
        clock = f"{found['hour']}:{found['minute']}:{found['second'] or '00'}"
        moment = datetime.fromisoformat(f"{found['date']}T{clock}")
        at = (moment.replace(tzinfo=zone) - _EPOCH) // _MS + _thousandths(found["fraction"] or "")
    except (ValueError, OverflowError):  # no such day, hour or zone
        return None
    return at if EARLIEST <= at < LATEST else None


def _thousandths(fraction: str) -> int:
    return int(fraction[:3].ljust(3, "0"))
