"""What a request says, read name by name with Binance's own complaints (-1100 … -1130).

A handler takes each parameter it knows from `Params`; what is left over at the end was not known (-1104).
Values arrive as text (query string, form body) or as JSON values (WebSocket API); both are read as text, so
that one handler serves both transports.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, TypeVar
from urllib.parse import unquote_plus

import orjson

from executor.paper.server import errors

E = TypeVar("E")
Refusal = Callable[[], errors.ApiError]

NUMBER: Final = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
INTEGER: Final = r"^[0-9]{1,20}$"
CLIENT_ID: Final = r"^[a-zA-Z0-9-_]{1,36}$"
SYMBOL: Final = r"^[\w\-._&&[^a-z]]{1,50}$"
"""As the exchange prints it: letters and digits of any script, without the small Latin ones."""
SYMBOLS: Final = r"""^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$"""

_NUMBER: Final = re.compile(NUMBER)
_INTEGER: Final = re.compile(INTEGER)
_CLIENT_ID: Final = re.compile(CLIENT_ID)
_SYMBOL: Final = re.compile(r"(?:(?![a-z])[\w\-.]){1,50}\Z")
_QUOTED: Final = re.compile(r'"(?:(?![a-z])[\w\-.]){1,50}"\Z')
_INT64_MAX: Final = 2**63 - 1

FIRST_IN_MICROSECONDS: Final = 10**14
"""From here on a time is in microseconds: as milliseconds it would be the year 5138, as microseconds it is 1973."""


class Params:
    """The parameters of one request. Reading a name marks it as known; `finish` complains about the rest."""

    __slots__ = ("_read", "_values")

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def any_named(self, names: frozenset[str]) -> bool:
        """Whether one of `names` was sent."""
        return not names.isdisjoint(self._values)

    def peek(self, name: str) -> str | None:
        """The raw value, without marking the name as known."""
        return self._values.get(name)

    def optional_text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None:
            return None
        self._read.add(name)
        if not value:
            raise errors.empty(name)
        return value

    def text(self, name: str) -> str:
        value = self.optional_text(name)
        if value is None:
            raise errors.missing(name)
        return value

    def optional_symbol(self, name: str = "symbol") -> str | None:
        value = self.optional_text(name)
        if value is not None and not _SYMBOL.match(value):
            raise errors.illegal_characters(name, SYMBOL)
        return value

    def symbol(self, name: str = "symbol") -> str:
        value = self.optional_symbol(name)
        if value is None:
            raise errors.missing(name)
        return value

    def optional_client_id(self, name: str) -> str | None:
        value = self.optional_text(name)
        if value is not None and not _CLIENT_ID.match(value):
            raise errors.illegal_characters(name, CLIENT_ID)
        return value

    def optional_decimal(self, name: str) -> Decimal | None:
        value = self.optional_text(name)
        if value is None:
            return None
        if not _NUMBER.match(value):
            raise errors.illegal_characters(name, NUMBER)
        return Decimal(value)

    def decimal(self, name: str) -> Decimal:
        value = self.optional_decimal(name)
        if value is None:
            raise errors.missing(name)
        return value

    def optional_integer(self, name: str) -> int | None:
        value = self.optional_text(name)
        if value is None:
            return None
        if not _INTEGER.match(value):
            raise errors.illegal_characters(name, INTEGER)
        number = int(value)
        if number > _INT64_MAX:
            raise errors.overflowed(name)
        return number

    def integer(self, name: str) -> int:
        value = self.optional_integer(name)
        if value is None:
            raise errors.missing(name)
        return value

    def optional_time(self, name: str) -> int | None:
        """A time in ms, sent as such or in microseconds (rest-api.md, "General API Information")."""
        value = self.optional_integer(name)
        return value if value is None or value < FIRST_IN_MICROSECONDS else value // 1000

    def limit(self, default: int, most: int) -> int:
        """`limit`: at least 1, silently cut to `most`, as Binance does."""
        value = self.optional_integer("limit")
        if value is None:
            return default
        if value < 1:
            raise errors.illegal_characters("limit", INTEGER)
        return min(value, most)

    def optional_choice(self, name: str, choices: Mapping[str, E], refusal: Refusal | None = None) -> E | None:
        """One of `choices`; anything else is `refusal`, by default -1130."""
        value = self.optional_text(name)
        if value is None:
            return None
        found = choices.get(value)
        if found is None:
            raise errors.invalid_data(name) if refusal is None else refusal()
        return found

    def choice(self, name: str, choices: Mapping[str, E], refusal: Refusal | None = None) -> E:
        found = self.optional_choice(name, choices, refusal)
        if found is None:
            raise errors.missing(name)
        return found

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.optional_text(name)
        if value is None:
            return default
        lowered = value.lower()
        if lowered not in ("true", "false"):
            raise errors.illegal_characters(name, "true|false")
        return lowered == "true"

    def optional_symbols(self) -> list[str] | None:
        """`symbols`: a JSON array of names without white space (-1100), each named once (-1151)."""
        value = self.optional_text("symbols")
        if value is None:
            return None
        names = value[1:-1].split(",") if len(value) > len("[]") else []
        if value[:1] + value[-1:] != "[]" or not all(_QUOTED.match(name) for name in names):
            raise errors.illegal_characters("symbols", SYMBOLS)
        names = [name[1:-1] for name in names]
        if len(set(names)) != len(names):
            raise errors.duplicate_symbols()
        return names

    def known(self, *names: str) -> None:
        """Mark names as read that something else (signature, clock) has looked at."""
        for name in names:
            if name in self._values:
                self._read.add(name)

    def finish(self) -> None:
        """Raise -1104 when a parameter was sent that nobody asked for."""
        if len(self._read) != len(self._values):
            raise errors.unread(len(self._read), len(self._values))


def check_time_unit(unit: str | None) -> None:
    """Times are told in milliseconds only: -1020 for microseconds, -1194 for what is no unit."""
    if unit is None or unit in ("MILLISECOND", "millisecond"):
        return
    if unit in ("MICROSECOND", "microsecond"):
        raise errors.unsupported()
    raise errors.invalid_time_unit()


def parse_form(text: str) -> dict[str, str]:
    """Names and values of a query string or form body; a name sent twice is refused (-1101)."""
    values: dict[str, str] = {}
    if not text:
        return values
    for part in text.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        if "%" in name or "+" in name:
            name = unquote_plus(name)
        if name in values:
            raise errors.duplicate_values(name)
        values[name] = unquote_plus(value) if "%" in value or "+" in value else value
    return values


def json_text(value: object) -> str:
    """A JSON value of a WebSocket request, as the text a query string would carry."""
    if isinstance(value, str):
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    return orjson.dumps(value).decode()
