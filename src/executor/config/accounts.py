"""Several accounts: one env file each, in the folder that ACCOUNTS names.

`alice.env` is the account `alice`. What it sets goes before what holds for all, wherever that was set: keys, symbols,
sizes. What the process has only once (its ports, its log, the fleet) can't be set there.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from executor.config.checks import ONE_OF
from executor.config.choices import BinanceEnv
from executor.config.faults import Fault, SettingsError
from executor.config.loading import load_settings
from executor.config.own_files import clashes, uses
from executor.config.settings import (
    AlertSettings,
    FleetSettings,
    OperationSettings,
    PaperSettings,
    Settings,
    WebhookSettings,
)
from executor.config.sources import KNOWN_NAMES, MAY_BE_OVERRIDE, Found, read_env_file, unknown_in_file

SUFFIX: Final = ".env"
ALONE: Final = "main"
"""The account of a fleet whose nodes have no folder of accounts."""
STATE_FN: Final = "data/state/{account}/{symbol}.json"
"""Where an account's state is kept, if nobody says otherwise."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
OF_ALL: Final = frozenset(
    ["SECRETS_DIR"]
    + [
        name.upper()
        for group in (AlertSettings, FleetSettings, OperationSettings, PaperSettings, WebhookSettings)
        for name in group.model_fields
    ]
)


def load_accounts(
    settings: Settings, environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")
) -> dict[str, Settings]:
    """The settings of each account, by its name, in the order of the names; `settings` are those of all.

    Raises:
        SettingsError: with every fault of every account.
    """
    found, faults = sound_accounts(settings, environ, env_file)
    if faults:
        raise SettingsError([fault for each in faults.values() for fault in each])
    return found


def sound_accounts(
    settings: Settings, environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")
) -> tuple[dict[str, Settings], dict[str, list[Fault]]]:
    """The settings of each account that has no fault, as from `load_accounts`, and the faults of the others: those have
    open trades that a file which is half written somewhere else must not leave alone.

    Raises:
        SettingsError: with every fault, where no account is sound.
    """
    folder = settings.accounts
    assert folder is not None
    environ = os.environ if environ is None else environ
    files, faults = _files(folder)
    found: dict[str, Settings] = {}
    for name, path in files.items():
        if name in faults:
            continue
        try:
            found[name] = _load(name, path, environ, env_file, several=len(files) > 1)
        except SettingsError as error:
            faults[name] = [Fault(f"{name}: {fault.name}", fault.was, fault.must) for fault in error.faults]
    for name, fault in _shared(found):
        faults.setdefault(name, []).append(fault)
        found.pop(name, None)
    if not found:
        raise SettingsError([fault for each in faults.values() for fault in each])
    return found, faults


def _files(folder: Path) -> tuple[dict[str, Path], dict[str, list[Fault]]]:
    """By name, and what is wrong with some of the names. Raises SettingsError."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX) and path.name != SUFFIX)
    except OSError as error:
        must = f"a folder that can be read ({error.strerror})"
        raise SettingsError([Fault("ACCOUNTS", repr(str(folder)), must)]) from error
    if not paths:
        must = f"a folder with a file per account, such as alice{SUFFIX}"
        raise SettingsError([Fault("ACCOUNTS", repr(str(folder)), must)])
    named = {path.name.removesuffix(SUFFIX): path for path in paths}
    bad = [name for name in named if not _NAME.fullmatch(name)]
    must = "an account's name of letters, digits, dots, hyphens and underscores"
    return named, {name: [Fault(str(named[name]), repr(name), must)] for name in bad}


def _load(name: str, path: Path, environ: Mapping[str, str], env_file: Path | None, *, several: bool) -> Settings:
    if not os.path.exists(path):  # noqa: PTH110  (False, too, where that can't be told)
        must = "a file that is there: without its own settings it would trade by those of all"
        raise SettingsError([Fault(str(path), "a link to nothing, or gone meanwhile", must)])
    read = Found()
    own = {key: text for key, text in read_env_file(path, read).items() if text.strip()}
    faults = [
        *read.faults,
        *(Fault(key, "set", "unset: it holds for all accounts alike") for key in own if key in OF_ALL),
    ]
    if faults:
        raise SettingsError(faults)
    replaced = {each for group in ONE_OF if not own.keys().isdisjoint(group.names) for each in group.names}
    replaced |= {"SYMBOL", "SYMBOLS"} if own.keys() & {"SYMBOL", "SYMBOLS"} else set()
    kept = {key: text for key, text in environ.items() if key not in replaced}
    # The file's own names are blanked in the env file of all, so that none of them is taken beside the account's.
    merged = {"STATE_FN": STATE_FN, **_of_file(env_file, replaced), **kept, **_ours(own), "ACCOUNTS": ""}
    settings = load_settings(merged, None, account=name)
    if settings.binance_env is BinanceEnv.PAPER:
        must = "another than paper: the embedded exchange has one account; `executor paper` serves several"
        raise SettingsError([Fault("BINANCE_ENV", "'paper'", must)])
    for setting, file in (("STATE_FN", settings.state_fn), ("JOURNAL_FN", settings.journal_fn)):
        if several and file is not None and "{account}" not in file and setting not in own:
            must = "a name with {account} in it, since there are several accounts and each has its own"
            raise SettingsError([Fault(setting, repr(file), must)])
    settings._warnings = (*settings.warnings, *read.warnings, *unknown_in_file(own, path))  # noqa: SLF001
    return settings


def _ours(own: Mapping[str, str]) -> dict[str, str]:
    """What may be a setting; what is none is told of once, by the file's own name."""
    return {key: text for key, text in own.items() if key in KNOWN_NAMES or MAY_BE_OVERRIDE.fullmatch(key)}


def _of_file(env_file: Path | None, without: set[str]) -> dict[str, str]:
    if env_file is None:
        return {}
    given = read_env_file(env_file, Found())  # what is wrong with it, the settings of all have said
    return {key: text for key, text in given.items() if text.strip() and key not in without}


def _shared(found: Mapping[str, Settings]) -> list[tuple[str, Fault]]:
    """What two accounts may not have in common, with the second one's name: a key would count twice against its limits,
    a file be written twice.
    """
    faults: list[tuple[str, Fault]] = []
    keys: dict[str, str] = {}
    for name, settings in found.items():
        key = settings.binance_api_key.get_secret_value() if settings.binance_api_key is not None else ""
        if key and keys.setdefault(key, name) != name:
            faults.append((name, Fault(f"{name}: BINANCE_API_KEY", f"that of {keys[key]}", "a key of its own")))
    told: set[tuple[str, str]] = set()
    for first, second in clashes(use for settings in found.values() for use in uses(settings)):
        where = second.account, second.setting
        if first.account != second.account and where not in told:
            told.add(where)
            was = f"{second.path}, {second.what}, as {first.what} of {first.account}"
            faults.append((second.account, Fault(f"{second.account}: {second.setting}", was, "a file of its own")))
    return faults


def named(settings: Settings, account: str) -> Settings:
    """`settings` as those of an account."""
    for each in (settings, *settings._of.values()):  # noqa: SLF001
        each._account = account  # noqa: SLF001
    return settings
