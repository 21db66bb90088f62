"""Where settings are read from: the environment, `.env`, and files that hold one secret each.

Nothing is judged here but whether a source can be read; `loading` puts the values together and checks them.
"""

import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from os.path import isdir  # unlike Path.is_dir, False for a path that no folder can have
from pathlib import Path
from typing import Final, NamedTuple

from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from executor.config.faults import Fault
from executor.config.group import Origin
from executor.config.keys import SEPARATOR, override_key
from executor.config.kinds import HIDDEN, is_secret
from executor.config.private import others_that_read, private
from executor.config.settings import GROUPS, Settings
from executor.files import NoRegularFileError, RealFileSystem, TooBigError

STANDARD_SECRETS_DIR: Final = Path("/run/secrets")
FILE_SUFFIX: Final = "_FILE"

# A name in the environment that begins like this and nearly is one of ours was meant to be ours. Other programs share
# the environment, so with shorter prefixes it must be nearer.
OUR_PREFIXES: Final = (
    "ABSENCE_", "ACCOUNTS", "ALERT_", "BE_", "BINANCE_", "BRACKET_", "COOLDOWN_", "DELTASCOUT_", "DOUBT_", "ENTRY_",
    "EXITS_", "EXIT_LAYOUT", "FAILSAFE_", "FLEET", "LIVE_ENTRY", "LOCK_", "MARGIN_", "MAX_DAILY_", "MAX_HOLD_",
    "MAX_POSITION_", "MAX_SIGNAL_", "MAX_TRADES_", "PAPER_", "PLANB_", "QTY_", "RISK_USD", "SIGNAL_", "SL_", "STATE_",
    "SWING_", "TELEGRAM_", "TP_R_", "TRADE_MODE", "TRAIL_", "WEBHOOK_",
)  # fmt: skip


OURS: Final = "EXECUTOR"
NEAR: Final = 0.8
NEARER: Final = 0.9
"""How much a name must be like one of ours, and how much one that does not begin so."""

READ_OTHERWISE: Final = re.compile(
    r"\s*+(?:(?P<export>export\s)|\w++\s*+=\s*+(?!['\"])[^\n#\\]*+(?:(?<=\s)(?P<comment>#)|(?P<backslash>\\)))"
)
"""What systemd's `EnvironmentFile` (systemd.exec(5)) or Docker reads otherwise than the commands do. It never goes back
(`*+`): a line of nothing but spaces may be as long as the file.
"""

ENV_FILE_MAX: Final = 1024 * 1024
"""Bytes; one with every setting has some thousands."""

SECRET_MAX: Final = 64 * 1024
"""Bytes; the longest that makes sense has some thousands."""

UNKNOWN_TOLD: Final = 50
NAME_MAX: Final = 80
"""So many names that are no settings are told of, and so much of each: to look for what one was meant to be takes time.
"""

QUOTES: Final = "'\""
"""`docker run --env-file` leaves them: a state would be kept in a folder whose name begins with one."""

MAY_BE_OVERRIDE: Final = re.compile(rf"[A-Za-z0-9]{{3,40}}{SEPARATOR}[A-Za-z]\w*", re.ASCII)


class Override(NamedTuple):
    """A value for one symbol, as it was found: nothing is known yet of the symbol and the setting."""

    symbol: str
    name: str
    text: str
    origin: Origin

    @property
    def key(self) -> str:
        return override_key(self.symbol, self.name)


@dataclass(slots=True)
class Found:
    """What the sources hold: each setting's text and origin by current name, the overrides by key, and what was wrong
    or odd.
    """

    texts: dict[str, str] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    overrides: dict[str, Override] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, text: str, origin: Origin) -> None:
        """Keep a value, unless a source that goes before this one has already given it."""
        if name not in self.texts:
            self.texts[name] = text
            self.origins[name] = origin

    def add_override(self, key: str, text: str, origin: Origin) -> None:
        """The same for what may be a value for one symbol."""
        symbol, _, name = key.partition(SEPARATOR)
        self.overrides.setdefault(key, Override(symbol, name, text, origin))


def setting_names(name: str, info: FieldInfo) -> tuple[str, ...]:
    """The names by which a field's setting is given, the current one first."""
    alias = info.validation_alias
    if alias is None or isinstance(alias, str):
        return (name.upper(),)
    return tuple(str(choice) for choice in getattr(alias, "choices", ()))


FIELDS: Final[Mapping[str, FieldInfo]] = {
    name.upper(): info for group in GROUPS for name, info in group.model_fields.items()
}
SECRETS: Final = tuple(name for name, info in FIELDS.items() if is_secret(info))
OLDER_NAMES: Final[Mapping[str, str]] = {
    older: names[0]
    for names in (setting_names(name, info) for name, info in Settings.model_fields.items())
    for older in names[1:]
}
KNOWN_NAMES: Final = frozenset([*FIELDS, *OLDER_NAMES, *(name + FILE_SUFFIX for name in SECRETS)])


def gather(environ: Mapping[str, str], env_file: Path | None) -> Found:
    """Everything that is set, each setting from the first of: environment, `env_file`, secrets folder."""
    found = Found()
    in_file = read_env_file(env_file, found) if env_file is not None else {}
    found.warnings.extend(unknown_in_file(in_file, env_file))
    found.warnings.extend(_near_misses(environ))
    for given, origin in ((environ, Origin.ENVIRONMENT), (in_file, Origin.ENV_FILE)):
        if given:  # the library looks for each setting by itself, which takes longer than all else here
            _take_named(given, origin, found)
    _take_folder(found)
    return found


def bare(text: str) -> str:
    """Without the white space around it, and without the byte order mark that some editors put at a file's beginning:
    in a secret neither can be seen, nor would it be right.
    """
    return text.strip().strip("\ufeff").strip()


def _is_text(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES


class _Given(EnvSettingsSource):
    """The library's reading of an environment, from a mapping that is handed in."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {name: bare(text) for name, text in given.items() if bare(text)}
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._given


def _take_named(given: Mapping[str, str], origin: Origin, found: Found) -> None:
    for key, text in _Given(given)().items():
        was = HIDDEN if key in SECRETS else ascii(text)
        if not _is_text(text):  # bytes of the environment that are no UTF-8: no request, log or file could hold them
            found.faults.append(Fault(key, was, "text in UTF-8"))
        elif not _is_quoted(text):
            found.add(OLDER_NAMES.get(key, key), text, origin)
        elif key in SECRETS:
            found.warnings.append(f"{key} begins and ends with a quote, and both are a part of it")
            found.add(key, text, origin)
        else:
            found.faults.append(Fault(key, was, "without the quotes, which whoever set it has left as they are"))
    for key, text in given.items():
        if MAY_BE_OVERRIDE.fullmatch(key) and bare(text):
            found.add_override(key, bare(text), origin)
    for older, current in OLDER_NAMES.items():
        if bare(given.get(older, "")) and bare(given.get(current, "")):
            found.warnings.append(f"{older} is ignored: {current}, its newer name, is set too")
    _take_secret_files(given, origin, found)


def _take_secret_files(given: Mapping[str, str], origin: Origin, found: Found) -> None:
    for secret in SECRETS:
        path = bare(given.get(secret + FILE_SUFFIX, ""))
        if not path:
            continue
        if bare(given.get(secret, "")):
            both = f"{secret} and {secret}{FILE_SUFFIX}"
            found.faults.append(Fault(both, f"both set in the {origin}", "only one of them"))
        elif secret not in found.texts:
            _take_secret(secret, Path(path), secret + FILE_SUFFIX, found)


def _take_folder(found: Found) -> None:
    folder = STANDARD_SECRETS_DIR
    if (chosen := found.texts.get("SECRETS_DIR")) is not None:
        folder = Path(chosen)
        if not isdir(folder):  # noqa: PTH112
            found.faults.append(Fault("SECRETS_DIR", repr(chosen), "a folder that exists"))
            return
    if not isdir(folder):  # noqa: PTH112
        return
    try:
        files = _by_name(sorted(path for path in folder.iterdir() if path.is_file()), found)
    except OSError as error:
        found.faults.append(Fault("SECRETS_DIR", repr(str(folder)), f"readable ({error.strerror})"))
        return
    for secret in SECRETS:
        if secret in files and secret not in found.texts:
            _take_secret(secret, files[secret], secret, found)
    for name in files:
        if MAY_BE_OVERRIDE.fullmatch(name) and name.partition(SEPARATOR)[2] in SECRETS:
            found.add_override(name, HIDDEN, Origin.SECRETS_FILE)


def _by_name(paths: Iterable[Path], found: Found) -> dict[str, Path]:
    """The files by their names in capitals; two of one secret are a fault, unless another source goes before both."""
    files: dict[str, Path] = {}
    for path in paths:
        name = path.name.upper()
        first = files.setdefault(name, path)
        if first is not path and name in SECRETS and name not in found.texts:
            was = f"in two files of {str(path.parent)!r}, {first.name} and {path.name}"
            found.faults.append(Fault(name, was, "in one of them: nothing says which counts"))
    return files


def _take_secret(secret: str, path: Path, named_by: str, found: Found) -> None:
    if guards_something(secret) and (open_to := others_that_read(path)):
        found.faults.append(Fault(named_by, f"the file {str(path)!r}, which {open_to} can read", private(path)))
        return
    try:
        text = bare(RealFileSystem().read(path, SECRET_MAX).decode("utf-8"))
    except (NoRegularFileError, TooBigError):
        found.faults.append(Fault(named_by, f"{str(path)!r}", f"a regular file of at most {SECRET_MAX} bytes"))
    except OSError as error:
        found.faults.append(Fault(named_by, f"the file {str(path)!r}", f"readable ({error.strerror})"))
    except ValueError:  # not UTF-8, or a path that no file can have
        found.faults.append(Fault(named_by, f"the file {str(path)!r}", "a text file in UTF-8"))
    else:
        if text:
            found.add(secret, text, Origin.SECRETS_FILE)
        else:
            found.faults.append(Fault(named_by, f"the empty file {str(path)!r}", "a file that holds the secret"))


def guards_something(secret: str) -> bool:
    """Whether anything is lost when others read it: the paper account's keys open a toy."""
    return not secret.startswith("PAPER_")


def _judge_env_file(path: Path, given: Mapping[str, str], found: Found) -> None:
    held = [name for name in SECRETS if guards_something(name) and bare(given.get(name, ""))]
    if held and (open_to := others_that_read(path)):
        found.faults.append(Fault(str(path), f"a file with {held[0]}, which {open_to} can read", private(path)))


def read_env_file(path: Path, found: Found) -> dict[str, str]:
    """The file's names and texts, taken literally: `$` in a secret is not an invitation to expand it."""
    try:
        what = path.stat()
        if not stat.S_ISREG(what.st_mode) or what.st_size > ENV_FILE_MAX:  # a pipe would be waited on
            found.faults.append(Fault(str(path), "none", f"a regular file of at most {ENV_FILE_MAX} bytes"))
            return {}
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}
    except OSError as error:
        found.faults.append(Fault(str(path), "not readable", f"readable ({error.strerror})"))
        return {}
    except UnicodeDecodeError:
        found.faults.append(Fault(str(path), "not text", "a text file in UTF-8"))
        return {}
    given: dict[str, str] = {}
    for binding in bindings:
        if binding.error or (binding.key is not None and binding.value is None):
            # The line itself is not shown: it may hold half a secret.
            where = f"{path} line {binding.original.line}"
            found.faults.append(Fault(where, "not understood", "NAME=value, a comment or blank"))
        elif binding.key is not None and binding.value is not None:
            if odd := READ_OTHERWISE.match(binding.original.string):
                found.warnings.append(f"{path} line {binding.original.line}: {_read_otherwise(odd, binding.key)}")
            if binding.key in given:
                found.warnings.append(f"{binding.key} is set twice in {path}: the last one counts")
            given[binding.key] = binding.value
    _judge_env_file(path, given, found)
    return given


def _read_otherwise(odd: re.Match[str], name: str) -> str:
    if odd["export"]:
        return f"systemd and Docker do not know `export`, and would leave {name} out: without it"
    what = "a comment behind the value is a part of it" if odd["comment"] else "a backslash is taken away"
    return f"for systemd {what}, and so {name} would be another: " + (
        "a line of its own" if odd["comment"] else "quotes"
    )


def unknown_in_file(names: Iterable[str], path: Path | None) -> Iterator[str]:
    unknown = [name for name in names if name not in KNOWN_NAMES and not MAY_BE_OVERRIDE.fullmatch(name)]
    for name in unknown[:UNKNOWN_TOLD]:
        near = get_close_matches(name[:NAME_MAX].upper(), KNOWN_NAMES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield f"{name[:NAME_MAX]} in {path} is not a setting{hint}"
    if len(unknown) > UNKNOWN_TOLD:
        yield f"{len(unknown) - UNKNOWN_TOLD} more names in {path} are not settings"


def _near_misses(environ: Mapping[str, str]) -> Iterator[str]:
    symbols = {symbol.strip() for name in ("SYMBOL", "SYMBOLS") for symbol in environ.get(name, "").upper().split(",")}
    for name in sorted(environ):
        if name in KNOWN_NAMES or MAY_BE_OVERRIDE.fullmatch(name):
            continue
        if (meant := _meant(name.upper(), symbols)) is not None:
            yield f"{name} in the environment is not a setting; did you mean {meant}?"


def _meant(name: str, symbols: Collection[str]) -> str | None:
    """The setting that a name was meant to be, which may as well be another program's."""
    begin, _, rest = name.partition("_")
    setting = rest.lstrip("_")
    if begin in symbols and setting in FIELDS:
        return override_key(begin, setting)
    if begin == OURS and setting in FIELDS:
        return setting
    cutoff = NEAR if name.startswith(OUR_PREFIXES) else NEARER
    return next(iter(get_close_matches(name, KNOWN_NAMES, n=1, cutoff=cutoff)), None)
