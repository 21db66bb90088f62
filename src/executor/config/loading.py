"""Settings from their sources, checked: all right, or every fault at once."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from executor.config.checks import CHECKS, ONE_OF, URLS
from executor.config.choices import TradeMode
from executor.config.faults import Fault, SettingsError
from executor.config.group import Origin
from executor.config.keys import override_key
from executor.config.kinds import HIDDEN, is_loopback, is_secret, must_be
from executor.config.overrides import PER_SYMBOL, judge
from executor.config.settings import GROUPS, ExchangeSettings, FileSettings, PaperSettings, Settings
from executor.config.sources import FIELDS, FILE_SUFFIX, Override, gather

LONGEST_SHOWN = 80
KEYS_OF = {**dict.fromkeys(URLS, "BINANCE_API_KEY"), "TELEGRAM_API_URL": "TELEGRAM_BOT_TOKEN"}
"""What is sent to an address that can be set."""
OF_AN_ACCOUNT = frozenset(
    name.upper()
    for group in GROUPS
    if group in (ExchangeSettings, FileSettings)
    for name in group.model_fields
    if name != "secrets_dir"
)
"""What is judged for each account, not for all."""


def load_settings(
    environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env"), *, account: str = ""
) -> Settings:
    """Read and check the settings.

    Each setting is taken from the first of: `environ` (default: the process's), `env_file` (a missing one is
    empty; None reads none), the secrets folder, its default. An empty value counts as not set. A value for one symbol
    goes before one for all; where a single symbol is traded, what is returned is what holds for it. `account`: whose
    settings they are; where ACCOUNTS names a folder, what is returned is what the accounts have in common.

    Raises:
        SettingsError: with every fault, when any setting is wrong or a source cannot be read.
    """
    found = gather(os.environ if environ is None else environ, env_file)
    wrong, faults = _wrong_by_themselves(found.texts)
    sound = {name: text for name, text in found.texts.items() if name not in wrong}
    settings = _build(sound, found.origins, wrong)
    settings._account = account  # noqa: SLF001
    settings._env_file = "" if env_file is None else str(env_file.resolve())  # noqa: SLF001
    if settings.accounts is not None:
        faults += _wrong_together(settings, {*wrong, *OF_AN_ACCOUNT})
        if found.faults or faults:
            raise SettingsError([*found.faults, *faults])
        settings._warnings = tuple(found.warnings)  # noqa: SLF001
        return settings
    faults += _wrong_together(settings, wrong)
    warnings = [*found.warnings, *_odd_addresses(settings)]
    if wrong.isdisjoint(("SYMBOL", "SYMBOLS")) and not (settings.symbol and settings.symbols):
        judged = judge(found.overrides.values(), settings.traded)
        faults += judged.faults
        warnings += judged.warnings
        for symbol in settings.traded:
            own = [override for override in judged.good if override.symbol == symbol]
            settings._of[symbol], more = _of_symbol(symbol, own, sound, found.origins, wrong)  # noqa: SLF001
            faults += more
    if found.faults or faults:
        raise SettingsError([*found.faults, *faults])
    for each in (settings, *settings._of.values()):  # noqa: SLF001
        each._env_file = settings._env_file  # noqa: SLF001
        each._warnings = tuple(warnings)  # noqa: SLF001
        each._account = account  # noqa: SLF001
    return settings.of(settings.traded[0]) if len(settings.traded) == 1 else settings


def load_paper_settings(
    environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")
) -> tuple[PaperSettings, frozenset[str]]:
    """Those of the paper exchange alone, whatever the others are; and the names of those that are set anywhere.

    Raises:
        SettingsError: with every fault of theirs.
    """
    found = gather(os.environ if environ is None else environ, env_file)
    ours = {name.upper() for name in PaperSettings.model_fields}
    texts = {name: text for name, text in found.texts.items() if name in ours}
    _, faults = _wrong_by_themselves(texts)
    others = FIELDS.keys() - ours
    own = [fault for fault in found.faults if fault.name.split()[0].removesuffix(FILE_SUFFIX) not in others]
    if own or faults:
        raise SettingsError([*own, *faults])
    return PaperSettings.model_validate(texts), frozenset(texts)


def _odd_addresses(settings: Settings) -> Iterator[str]:
    """Addresses that the env file gives to keys which it does not hold: the file of a folder that one merely stands in
    must not send them elsewhere unseen.
    """
    for name, secret in KEYS_OF.items():
        url, key = (getattr(settings, each.lower()) for each in (name, secret))
        held = settings.origin(secret)
        if url is None or key is None or settings.origin(name) is not Origin.ENV_FILE or held is Origin.ENV_FILE:
            continue
        if not is_loopback(urlsplit(url).hostname or ""):
            yield f"{name} is set by {settings.source(name)}, and {secret}, which goes there, by the {held}"


def _of_symbol(
    symbol: str,
    overrides: Collection[Override],
    texts: Mapping[str, str],
    origins: Mapping[str, Origin],
    wrong: Collection[str],
) -> tuple[Settings, list[Fault]]:
    """The settings of one symbol, from those of all (`texts`, sound by themselves), and what its own do wrong."""
    own = {override.name: override.text for override in overrides}
    own_wrong, faults = _wrong_by_themselves(own)
    # One of several settings of which one counts: a symbol's own takes the place of whichever was set for all.
    replaced = {name for group in ONE_OF if not own.keys().isdisjoint(group.names) for name in group.names}
    kept = {name: text for name, text in texts.items() if name not in replaced}
    own_sound = {name: text for name, text in own.items() if name not in own_wrong}
    where = {**origins, **{override.name: override.origin for override in overrides}}
    where["SYMBOL"] = origins.get("SYMBOL", origins.get("SYMBOLS", Origin.DEFAULT))
    settings = _build({**kept, **own_sound, "SYMBOL": symbol}, where, {*wrong, *own_wrong})
    settings._overridden = tuple(name for name in FIELDS if name in own)  # noqa: SLF001
    faults += _wrong_together(settings, {*wrong, *own_wrong}, among=own)
    return settings, [_named_by(symbol, fault) for fault in faults]


def _named_by(symbol: str, fault: Fault) -> Fault:
    names = [override_key(symbol, name) if name in PER_SYMBOL else name for name in fault.name.split(" and ")]
    return Fault(" and ".join(names), fault.was, fault.must)


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


def _wrong_together(settings: Settings, wrong: Collection[str], *, among: Collection[str] | None = None) -> list[Fault]:
    """What the checks find that read nothing `wrong` by itself and, where `among` is given, something of it."""
    return [
        fault
        for check in CHECKS
        if check.reads.isdisjoint(wrong) and (among is None or not check.reads.isdisjoint(among))
        for fault in check.find(settings)
    ]


def _build(texts: Mapping[str, str], origins: Mapping[str, Origin], wrong: Collection[str]) -> Settings:
    """`texts` are sound by themselves. Of several settings of which one counts, the default's has a value when nobody
    tried to give any. On margin shorts are on unless somebody says otherwise.
    """
    defaults = {
        group.default_name: str(group.default)
        for group in ONE_OF
        if not any(name in texts or name in wrong for name in group.names)
    }
    if texts.get("TRADE_MODE", "").casefold() == TradeMode.MARGIN and "ALLOW_SHORT" not in texts:
        defaults["ALLOW_SHORT"] = "true"
    settings = Settings.model_validate({**texts, **defaults})
    settings._origins = {name: origins[name] for name in texts if name in origins}  # noqa: SLF001
    return settings


def _shown(name: str, text: str) -> str:
    """A faulty value as it was written, short, without what may be secret in it."""
    if is_secret(FIELDS[name]):
        return HIDDEN
    before, at, after = text.rpartition("@")
    if at and "://" in before:
        text = f"{before.partition('://')[0]}://{HIDDEN}@{after}"
    return repr(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…")
