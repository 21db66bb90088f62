"""What people read about the settings: `executor config`, `.env.example`, `docs/settings.md`, the README's table."""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from executor.config.checks import ONE_OF_DEFAULTS
from executor.config.group import Origin
from executor.config.keys import override_key
from executor.config.kinds import as_text, is_secret, must_be, unset_means
from executor.config.overrides import PER_SYMBOL
from executor.config.settings import GROUPS, Settings
from executor.config.sources import FILE_SUFFIX

WIDTH: Final = 110
_PER_SYMBOL: Final = "May differ per symbol"
_TABLE_HEAD: Final = ("| name | default | must be | meaning |", "|---|---|---|---|")

FIRST: Final = (
    "BINANCE_ENV",
    "SYMBOL",
    "BINANCE_API_KEY",
    "BINANCE_API_SECRET",
    "LIVE_CONFIRM",
    "SIGNAL_FILE",
    "STATE_FN",
    "QTY_USD",
    "SL_PCT",
    "TP_R_LIST",
    "MAX_TRADES_PER_DAY",
    "MAX_DAILY_LOSS_USD",
)
"""What a newcomer decides: where, what, with which key, how much, and how much of it at most."""


@dataclass(frozen=True, slots=True)
class Description:
    """What there is to say about one setting."""

    group: str
    name: str
    default: str  # as it would be written in the environment; empty for none
    default_note: str  # in place of a default that is worked out at start
    must: str
    meaning: str
    secret: bool
    per_symbol: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as it is now."""

    group: str
    name: str
    value: str
    default: str
    origin: Origin
    meaning: str


def descriptions() -> Iterator[Description]:
    """Every setting, in the order in which people read them."""
    for group in GROUPS:
        for field_name, field in group.model_fields.items():
            name = field_name.upper()
            yield Description(
                group=(group.__doc__ or "").strip(),
                name=name,
                default=_default(name, field),
                default_note=unset_means(field),
                must=must_be(field),
                meaning=_meanings(group.__module__).get((group.__name__, field_name), ""),
                secret=is_secret(field),
                per_symbol=name in PER_SYMBOL,
            )


@cache
def _meanings(module: str) -> dict[tuple[str, str], str]:
    """What stands below each setting in the source. The library would read it at every start, for a tenth of its time;
    here only those do who show it.
    """
    try:
        source = ast.parse(inspect.getsource(sys.modules[module]))
    except OSError:  # what is compiled may be all that there is
        return {}
    return {
        (group.name, field.target.id): " ".join(below.value.value.split())
        for group in source.body
        if isinstance(group, ast.ClassDef)
        for field, below in pairwise(group.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def rows(settings: Settings) -> list[Row]:
    """Every setting, then what is set for one symbol alone, under the symbol's name."""
    shared = [_row(setting, settings, setting.group, setting.name) for setting in descriptions()]
    own = [
        _row(setting, settings.of(symbol), symbol, override_key(symbol, setting.name))
        for symbol in settings.traded
        for setting in descriptions()
        if setting.name in settings.of(symbol).overridden
    ]
    return shared + own


def _row(setting: Description, settings: Settings, group: str, name: str) -> Row:
    return Row(
        group=group,
        name=name,
        value=as_text(getattr(settings, setting.name.lower())),
        default=setting.default or setting.default_note,
        origin=settings.origin(setting.name),
        meaning=setting.meaning,
    )


def table(settings: Settings) -> str:
    """For a terminal: one line a setting, under its heading; `-` where there is no value."""
    cells = [(row.name, row.value or "-", row.default or "-", str(row.origin)) for row in rows(settings)]
    header = ("NAME", "VALUE", "DEFAULT", "FROM")
    widths = [max(len(line[column]) for line in [header, *cells]) for column in range(3)]

    def line(cell: tuple[str, str, str, str]) -> str:
        padded = [text.ljust(width) for text, width in zip(cell[:3], widths, strict=True)]
        return "  ".join([*padded, cell[3]]).rstrip()

    lines = [line(header)]
    for group, members in groupby(zip(rows(settings), cells, strict=True), key=lambda pair: pair[0].group):
        lines += ["", group, *(line(cell) for _, cell in members)]
    return "\n".join(lines)


def as_json(settings: Settings) -> str:
    """For programs: a list of objects; values as they would be written in the environment."""
    return json.dumps([asdict(row) for row in rows(settings)], indent=2)


def env_example() -> str:
    """The text of `.env.example`: every setting at its default, commented out."""
    lines = [
        *_comment("Settings of Executor. Copy this file to .env and remove the # before what you change."),
        *_comment("Made by `make docs` from the program's own list; `executor config` shows what is in effect."),
        *_comment(
            f'With SYMBOLS=BTCUSDT,ETHUSDT a setting that says "{_PER_SYMBOL}" can be set for one of them alone, as in'
            " BTCUSDT__QTY_USD=50, which goes before QTY_USD wherever the two are set."
        ),
    ]
    for group, members in _grouped():
        lines += ["", f"##### {group}"]
        for setting in members:
            note = f" Default: {setting.default_note}." if setting.default_note else ""
            file = f" Or name a file that holds it: {setting.name}{FILE_SUFFIX}." if setting.secret else ""
            own = f" {_PER_SYMBOL}." if setting.per_symbol else ""
            lines += ["", *_comment(f"{setting.meaning} It must be {setting.must}.{note}{file}{own}")]
            lines.append(f"#{setting.name}={setting.default}")
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """The text of `docs/settings.md`: how settings are read, and a table under each heading."""
    lines = [
        "# Settings",
        "",
        "Made by `make docs` from the program's own list; `executor config` shows every setting, its value and where",
        "it came from.",
        "",
        "Each setting is an environment variable. Where a name is given more than once, the first of these counts: the",
        "environment, the file `.env` (start from `.env.example`; `executor --env-file FILE` reads another), a file",
        "per secret in `SECRETS_DIR`, the default. A secret may also be read from a file that the environment or",
        "`.env` names: `BINANCE_API_SECRET_FILE=/path/to/file`. All wrong settings are reported at once, and nothing",
        "starts with one.",
        "",
        "With several symbols in `SYMBOLS`, a setting marked \\* can be set for one of them alone:",
        "`BTCUSDT__QTY_USD=50` goes before `QTY_USD` for BTCUSDT, wherever the two are set. Of settings that exclude",
        "each other, one for the symbol takes the place of the one for all. `executor config` lists them by symbol.",
    ]
    for group, members in _grouped():
        lines += ["", f"## {group}", "", *_TABLE_HEAD, *map(_markdown_row, members)]
    return "\n".join([*lines, ""])


def markdown_first() -> str:
    """The README's table: the settings that matter first."""
    found = {setting.name: setting for setting in descriptions()}
    return "\n".join([*_TABLE_HEAD, *(_markdown_row(found[name]) for name in FIRST), ""])


def _markdown_row(setting: Description) -> str:
    default = f"`{setting.default}`" if setting.default else setting.default_note
    name = (
        f"`{setting.name}`"
        + (f" `{setting.name}{FILE_SUFFIX}`" if setting.secret else "")
        + (r" \*" if setting.per_symbol else "")
    )
    return f"| {name} | {default} | {setting.must} | {setting.meaning} |"


def _grouped() -> Iterator[tuple[str, Iterator[Description]]]:
    yield from groupby(descriptions(), key=attrgetter("group"))


def _default(name: str, field: FieldInfo) -> str:
    default = ONE_OF_DEFAULTS.get(name, field.get_default(call_default_factory=True))
    # A secret's default is no secret: it is what a paper account accepts until told otherwise.
    return default.get_secret_value() if isinstance(default, SecretStr) else as_text(default)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH - 2)]
