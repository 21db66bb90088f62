"""Settings from their sources, checked: all right, or every fault at once."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from executor.config.checks import CHECKS, ONE_OF
from executor.config.faults import Fault, SettingsError
from executor.config.kinds import HIDDEN, is_secret, must_be
from executor.config.settings import Settings
from executor.config.sources import FIELDS, Found, gather

LONGEST_SHOWN = 80


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
    """Read and check the settings.

    Each setting is taken from the first of: `environ` (default: the process's), `env_file` (a missing one is
    empty; None reads none), the secrets folder, its default. An empty value counts as not set.

    Raises:
        SettingsError: with every fault, when any setting is wrong or a source cannot be read.
    """
    found = gather(os.environ if environ is None else environ, env_file)
    wrong, faults = _wrong_by_themselves(found.texts)
    sound = {name: text for name, text in found.texts.items() if name not in wrong}
    for group in ONE_OF:
        if not any(name in found.texts for name in group.names):
            sound[group.default_name] = str(group.default)
    settings = _build(sound, found)
    faults += [fault for check in CHECKS if wrong.isdisjoint(check.reads) for fault in check.find(settings)]
    if found.faults or faults:
        raise SettingsError([*found.faults, *faults])
    return settings


def _wrong_by_themselves(texts: Mapping[str, str]) -> tuple[set[str], list[Fault]]:
    try:
        Settings.model_validate(texts)
    except ValidationError as error:
        wrong = {
            str(detail["loc"][0]): f" ({detail['ctx']['error']})" if detail["type"] == "value_error" else ""
            for detail in error.errors(include_input=False, include_url=False)
        }
        faults = [
            Fault(name, _shown(name, texts[name]) + wrong[name], must_be(field))
            for name, field in FIELDS.items()
            if name in wrong
        ]
        return set(wrong), faults
    return set(), []


def _build(texts: Mapping[str, str], found: Found) -> Settings:
    settings = Settings.model_validate(texts)
    settings._origins = {name: found.origins[name] for name in texts if name in found.origins}  # noqa: SLF001
    settings._warnings = tuple(found.warnings)  # noqa: SLF001
    return settings


def _shown(name: str, text: str) -> str:
    """A faulty value as it was written, short, without what may be secret in it."""
    if is_secret(FIELDS[name]):
        return HIDDEN
    before, at, after = text.rpartition("@")
    if at and "://" in before:
        text = f"{before.partition('://')[0]}://{HIDDEN}@{after}"
    return repr(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…")
