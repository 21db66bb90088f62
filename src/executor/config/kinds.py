"""The kinds of values that settings have: how each is read from text, written as text, and described.

What a value must be is said once, by the constraints in the type; the sentence in an error and in the README
is derived from them (`must_be`), or stands beside the parser where the form is its own (`Must`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Final, get_args, get_origin
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr
from pydantic.fields import FieldInfo

from executor.config.choices import Sound, Topic

HIDDEN: Final = "***"

# A bound on every amount, so that no typing slip ("1e999") becomes a number with a thousand digits.
LARGEST: Final = Decimal(10) ** 12
FINEST_PLACES: Final = 18
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAPPED_BITS: Final = 96
DAY_SEC: Final = Decimal(86_400)


@dataclass(frozen=True, slots=True)
class Must:
    """What a value of this kind must be, as the end of the sentence "it must be ..."."""

    text: str


@dataclass(frozen=True, slots=True)
class Unset:
    """What holds while a setting has no value of its own, in a few words for the table of defaults."""

    text: str


def _exact(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -FINEST_PLACES:
        raise ValueError(f"more than {FINEST_PLACES} decimal places")
    return value if value or exponent <= 0 else Decimal(0)  # "0e101" is no more than 0


def _whole_ms(value: Decimal) -> Decimal:
    value = _exact(value)
    if value * 1000 % 1:
        raise ValueError("finer than a millisecond")
    return value


def _symbol(text: str) -> str:
    if not text.isalnum() or text != text.upper() or not 3 <= len(text) <= 40:
        raise ValueError("not a symbol")
    return text


def _symbols(text: str) -> tuple[str, ...]:
    symbols = tuple(_symbol(part.strip()) for part in text.split(","))
    if len(set(symbols)) < len(symbols):
        raise ValueError("one of them twice")
    return symbols


def _url(*schemes: str) -> AfterValidator:
    def check(text: str) -> str:
        url = urlsplit(text)
        try:
            well_formed = url.scheme in schemes and _can_be_looked_up(url.hostname or "") and url.port != 0
        except ValueError as error:
            raise ValueError("no such port") from error
        if not well_formed or url.username is not None or url.query or url.fragment:
            raise ValueError("not a base URL")
        return text.rstrip("/")

    return AfterValidator(check)


def _can_be_looked_up(host: str) -> bool:
    """Whether a name server could be asked for it at all: what has an empty label, or one of more than 63 letters, no
    library turns into a question.
    """
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False


def is_address(text: str) -> bool:
    """Whether `text` is where an HTTP request can go: with a query perhaps, without a user's name in it."""
    try:
        url = urlsplit(text)
        sound = url.scheme in {"http", "https"} and url.port != 0 and url.username is None
        return sound and _can_be_looked_up(url.hostname or "")
    except ValueError:  # no such port, no such host
        return False


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, whatever a name server says."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _file_template(text: str) -> str:
    rest = text.replace("{symbol}", "").replace("{account}", "")
    folder = text.endswith("/") or Path(text).name in {"", ".."}
    if folder or "{" in rest or "}" in rest or "\0" in rest:
        raise ValueError("not a file name")
    return text


def _decimals(text: str) -> tuple[Decimal, ...]:
    numbers = tuple(map(read_decimal, text.split(",")))
    if not all(0 <= number <= LARGEST for number in numbers):
        raise ValueError("out of range")
    return tuple(map(_exact, numbers))


def _nodes(text: str) -> tuple[str, ...]:
    nodes = tuple(part.strip() for part in text.removeprefix("etcd://").split(","))
    if not text.startswith("etcd://") or len(set(nodes)) < len(nodes):
        raise ValueError("not a cluster")
    for node in nodes:
        url = urlsplit(f"http://{node}")
        if not _can_be_looked_up(url.hostname or "") or not url.port or url.path or url.username is not None:
            raise ValueError("not a node")
    return nodes


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(_as_it_is(ip_network(part.strip())) for part in text.split(","))


def _as_it_is(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """An IPv4 one in IPv6's clothes (`::ffff:192.0.2.7`) without them, as addresses are compared."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]+", text) or not _can_be_looked_up(text):
        raise ValueError("not a host")
    return text


def _user_ids(text: str) -> tuple[int, ...]:
    users = tuple(part.strip() for part in text.split(","))
    if not all(re.fullmatch(r"[1-9][0-9]{0,18}", user) for user in users):
        raise ValueError("not numbers of users")
    return tuple(map(int, users))


def _notify(text: str) -> Mapping[Topic, Sound]:
    wanted: dict[Topic, Sound] = {}
    for part in text.split(","):
        topic, sign, sound = (piece.strip() for piece in part.partition("="))
        if not sign or topic in wanted:
            raise ValueError("not kind=on, kind=silent or kind=off, each once")
        wanted[Topic(topic)] = Sound(sound)
    return wanted


def _from_text(parse: Callable[[str], object]) -> BeforeValidator:
    """Parse text, and leave a value that is none (a default) to the checks that follow."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _split(weights: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    if weights[0] <= 0:
        raise ValueError("the first leg is always there")
    return weights


def _targets(multiples: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    if len(multiples) not in (1, 2) or multiples[0] <= 0 or list(multiples) != sorted(set(multiples)):
        raise ValueError("not ascending")
    return multiples


def _balances(text: str) -> Mapping[str, Decimal]:
    balances: dict[str, Decimal] = {}
    for part in text.split(","):
        asset, sign, amount = part.strip().partition("=")
        if not sign or not asset.isalnum() or asset != asset.upper() or asset in balances:
            raise ValueError("not ASSET=amount")
        (balances[asset],) = _decimals(amount)
    return balances


Amount = Annotated[Decimal, Ge(Decimal(0)), Le(LARGEST), AfterValidator(_exact)]
Offset = Annotated[Decimal, Ge(-LARGEST), Le(LARGEST), AfterValidator(_exact)]
Speed = Annotated[Decimal, Ge(Decimal(0)), Le(Decimal(1_000_000)), AfterValidator(_exact)]
Positive = Annotated[Decimal, Gt(Decimal(0)), Le(LARGEST), AfterValidator(_exact)]
Fraction = Annotated[Decimal, Ge(Decimal(0)), Lt(Decimal(1)), AfterValidator(_exact)]
PositiveFraction = Annotated[Decimal, Gt(Decimal(0)), Lt(Decimal(1)), AfterValidator(_exact)]
Level = Annotated[Decimal, Gt(Decimal(1)), Le(Decimal(1000)), AfterValidator(_exact)]
Seconds = Annotated[Decimal, Ge(Decimal(0)), Le(366 * DAY_SEC), AfterValidator(_whole_ms)]
Interval = Annotated[Decimal, Ge(Decimal("0.1")), Le(DAY_SEC), AfterValidator(_whole_ms)]
"""Between two requests, or two looks: ten a second at the most, or they would use up the exchange's limits."""
Grace = Annotated[Decimal, Ge(Decimal("0.1")), Le(DAY_SEC), AfterValidator(_whole_ms)]
"""For which something is waited that takes a moment even when all is well."""
LongGrace = Annotated[Decimal, Ge(Decimal(1)), Le(DAY_SEC), AfterValidator(_whole_ms)]
"""For which something is waited whose absence costs money: less would take each ordinary delay for it."""
Lifetime = Annotated[Decimal, Ge(Decimal(1)), Le(366 * DAY_SEC), AfterValidator(_whole_ms)]
Count = Annotated[int, Ge(0), Le(1_000_000)]
Port = Annotated[int, Ge(0), Le(65_535)]
Symbol = Annotated[str, AfterValidator(_symbol), Must("a symbol as the exchange spells it, such as BTCUSDT")]
HttpUrl = Annotated[str, _url("http", "https"), Must("a base URL such as http://127.0.0.1:9100")]
WebSocketUrl = Annotated[str, _url("ws", "wss"), Must("a base URL such as ws://127.0.0.1:9100")]
FileTemplate = Annotated[
    str,
    AfterValidator(_file_template),
    Must("a file name, in which {symbol} may stand for the symbol and {account} for the account"),
]
Host = Annotated[
    str,
    AfterValidator(_host),
    Must("a host name or IP address"),
]
ChatId = Annotated[
    str,
    AfterValidator(lambda text: text if re.fullmatch(r"-?[0-9]+|@\w+", text) else _refuse("not a chat")),
    Must("a chat's number, or @name of a channel"),
]
Split = Annotated[
    tuple[Decimal, Decimal, Decimal],
    _from_text(_decimals),
    AfterValidator(_split),
    Must("three numbers with commas between, none below 0 and the first above 0"),
]
Targets = Annotated[
    tuple[Decimal, ...],
    _from_text(_decimals),
    AfterValidator(_targets),
    Must("one or two numbers above 0 with a comma between, the smaller first"),
]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    _from_text(_networks),
    Must("IP addresses or networks with commas between, such as 192.0.2.7,198.51.100.0/24"),
]
Symbols = Annotated[
    tuple[str, ...],
    _from_text(_symbols),
    Must("symbols as the exchange spells them with commas between, each once, such as BTCUSDT,ETHUSDT"),
]
UserIds = Annotated[
    tuple[int, ...], _from_text(_user_ids), Must("numbers of Telegram users with commas between, such as 4711,815")
]
Notify = Annotated[
    Mapping[Topic, Sound],
    _from_text(_notify),
    AfterValidator(MappingProxyType),
    PlainSerializer(dict, return_type=dict[Topic, Sound]),
    Must(
        "kind=on, kind=silent or kind=off with commas between, such as opened=silent,daily=off; the kinds are "
        + ", ".join(Topic)
    ),
]
Name = Annotated[
    str,
    AfterValidator(lambda text: text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text) else _refuse("no name")),
    Must("a name of letters, digits, dots, hyphens and underscores"),
]
FleetNodes = Annotated[
    tuple[str, ...],
    _from_text(_nodes),
    Must("etcd:// and its nodes as host:port with commas between, such as etcd://h1:2379,h2:2379,h3:2379"),
]
Balances = Annotated[
    Mapping[str, Decimal],
    _from_text(_balances),
    AfterValidator(MappingProxyType),
    PlainSerializer(dict, return_type=dict[str, Decimal]),
    Must("ASSET=amount with commas between, such as USDT=10000,BTC=0.5"),
]


def _refuse(reason: str) -> str:
    raise ValueError(reason)


def to_ms(seconds: Decimal) -> int:
    """Seconds as a setting gives them, in whole milliseconds as the core counts time; always exact."""
    return int(seconds * 1000)


def as_text(value: object) -> str:
    """A setting's value as written in the environment; secrets hidden, nothing for an unset one."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Decimal():
            return format(value, "f")
        case SecretStr():
            return HIDDEN
        case Enum():
            return str(value.value)
        case tuple():
            return ",".join(as_text(part) for part in value)
        case Mapping():
            return ",".join(f"{name}={as_text(part)}" for name, part in value.items())
        case _:
            return str(value)


def read_decimal(text: str) -> Decimal:
    """A number written with ASCII digits and a point. `Decimal` alone takes 1_5 for 15, and the digits of any script.

    Raises ValueError.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError("not a number")
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        raise ValueError("out of range") from None


def is_number(field: FieldInfo) -> bool:
    return _kind(field.annotation)[0] in (int, Decimal)


def is_secret(field: FieldInfo) -> bool:
    return _kind(field.annotation)[0] is SecretStr


def unset_means(field: FieldInfo) -> str:
    """What holds while the setting has no value: nothing to say, or the words of its `Unset`."""
    return next((facet.text for facet in field.metadata if isinstance(facet, Unset)), "")


def must_be(field: FieldInfo) -> str:
    """What a setting must be, in words, from its type and constraints."""
    base, facets = _kind(field.annotation)
    facets = [*facets, *field.metadata]
    for facet in facets:
        if isinstance(facet, Must):
            return facet.text
    if isinstance(base, type) and issubclass(base, Enum):
        *first, last = (str(choice.value) for choice in base)
        return f"{', '.join(first)} or {last}"
    if base is bool:
        return "true or false"
    if base in (int, Decimal):
        return ("a whole number" if base is int else "a number") + _range(facets)
    if base is Path:
        return "a path"
    return "text"


def _kind(annotation: Any) -> tuple[Any, list[Any]]:
    """The type and its constraints, without `| None`."""
    if get_origin(annotation) is Annotated:
        base, *facets = get_args(annotation)
        inner, inner_facets = _kind(base)
        return inner, [*inner_facets, *facets]
    options = [option for option in get_args(annotation) if option is not NoneType]
    if NoneType in get_args(annotation) and len(options) == 1:
        return _kind(options[0])
    return annotation, []


def _range(facets: list[Any]) -> str:
    lower, upper, joined = "", "", " and at most"
    for facet in facets:
        match facet:
            case Ge(ge=bound):
                lower, joined = f" from {as_text(bound)}", " to"
            case Gt(gt=bound):
                lower = f" above {as_text(bound)}"
            case Le(le=bound):
                upper = as_text(bound)
            case Lt(lt=bound):
                upper = f"below {as_text(bound)}"
            case _:
                continue
    joined = " and" if upper.startswith("below") and joined != " to" else joined
    return f"{lower}{joined} {upper}"
