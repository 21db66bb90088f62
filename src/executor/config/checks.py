"""Checks over several settings, or over what they point to. Each names the settings that it reads: it is run
when those are sound by themselves, so that one run reports every fault and no fault twice.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from os.path import isfile  # unlike Path.is_file, False for a path that no file can have
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from executor.config.choices import BinanceEnv, BorrowMode, Confirmation, SideEffect, TradeMode, TrailMode
from executor.config.endpoints import environment_of
from executor.config.faults import Fault
from executor.config.kinds import HIDDEN, as_text, is_address, is_loopback
from executor.config.own_files import clashes, uses
from executor.config.private import others_that_read, private
from executor.config.settings import Settings


class OneOf(NamedTuple):
    """Settings of which exactly one counts, and the one that holds when none is set."""

    names: tuple[str, ...]
    default_name: str
    default: Decimal


ONE_OF: Final = (
    OneOf(("QTY", "QTY_USD", "RISK_USD"), "QTY_USD", Decimal(100)),
    OneOf(
        ("TRAIL_DISTANCE_USD", "TRAIL_DISTANCE_PCT", "TRAIL_DISTANCE_R_MULT"),
        "TRAIL_DISTANCE_R_MULT",
        Decimal(1),
    ),
)
ONE_OF_DEFAULTS: Final[Mapping[str, Decimal]] = {group.default_name: group.default for group in ONE_OF}
URLS: Final = ("BINANCE_REST_URL", "BINANCE_WS_API_URL", "BINANCE_STREAM_URL")
NOT_SET: Final = "not set"
SHORTEST_SECRET: Final = 16

Find = Callable[[Settings], Iterator[Fault]]


@dataclass(frozen=True, slots=True)
class Check:
    reads: frozenset[str]
    find: Find


CHECKS: Final[list[Check]] = []


def _check(*reads: str) -> Callable[[Find], Find]:
    def register(find: Find) -> Find:
        CHECKS.append(Check(frozenset(reads), find))
        return find

    return register


def _value(settings: Settings, name: str) -> object:
    return getattr(settings, name.lower())


def _only_one(*names: str) -> Find:
    def find(settings: Settings) -> Iterator[Fault]:
        given = [name for name in names if _value(settings, name)]
        if len(given) > 1:
            was = ", ".join(f"{name}={as_text(_value(settings, name))} ({settings.origin(name)})" for name in given)
            yield Fault(" and ".join(given), was, "only one of them")

    return find


for _names in (("SYMBOL", "SYMBOLS"), *(group.names for group in ONE_OF)):
    _check(*_names)(_only_one(*_names))


@_check("TRADE_MODE", "BINANCE_ENV")
def _margin_somewhere(settings: Settings) -> Iterator[Fault]:
    env = settings.binance_env
    if settings.trade_mode is TradeMode.MARGIN and env in (BinanceEnv.TESTNET, BinanceEnv.DEMO):
        must = f"spot on BINANCE_ENV={env}: Binance has margin on its live exchange alone; BINANCE_ENV=paper has it too"
        yield Fault("TRADE_MODE", "'margin'", must)


@_check("TRADE_MODE", "MARGIN_ISOLATED")
def _which_account(settings: Settings) -> Iterator[Fault]:
    if settings.trade_mode is TradeMode.MARGIN and settings.margin_isolated is None:
        must = (
            "set, since it decides which account is at risk: true, the isolated one of the pair; false, the cross one"
        )
        yield Fault("MARGIN_ISOLATED", NOT_SET, must)


@_check("TRADE_MODE", "MARGIN_BORROW_MODE")
def _borrow_mode(settings: Settings) -> Iterator[Fault]:
    if settings.trade_mode is TradeMode.MARGIN and settings.margin_borrow_mode is not BorrowMode.MANUAL:
        must = (
            "manual: orders that borrow and repay by themselves can fail to do so in silence, so Executor borrows and "
            "repays itself, and sees what became of it"
        )
        yield Fault("MARGIN_BORROW_MODE", repr(str(settings.margin_borrow_mode)), must)


@_check("TRADE_MODE", "MARGIN_SIDE_EFFECT")
def _side_effect(settings: Settings) -> Iterator[Fault]:
    if settings.trade_mode is TradeMode.MARGIN and settings.margin_side_effect is not SideEffect.NO_SIDE_EFFECT:
        must = (
            "unset, or NO_SIDE_EFFECT: an order's own borrowing and repaying can fail in silence, and each "
            "replaced order borrows anew; MARGIN_BORROW_MODE=manual, the default, borrows and repays"
        )
        yield Fault("MARGIN_SIDE_EFFECT", repr(str(settings.margin_side_effect)), must)


@_check("MARGIN_LEVEL_MIN", "MARGIN_LEVEL_ALERT", "MARGIN_LEVEL_REDUCE")
def _ladder(settings: Settings) -> Iterator[Fault]:
    """An entry must not be what sets off its own end (rule 11.10)."""
    reduce = settings.margin_level_reduce
    if reduce is None:
        return
    for name in ("MARGIN_LEVEL_ALERT", "MARGIN_LEVEL_MIN"):
        level = _value(settings, name)
        if isinstance(level, Decimal) and level <= reduce:
            yield Fault(name, repr(as_text(level)), f"above MARGIN_LEVEL_REDUCE={as_text(reduce)}")


@_check("BINANCE_ENV", "SYMBOL", "SYMBOLS")
def _symbol(settings: Settings) -> Iterator[Fault]:
    paper = settings.binance_env is BinanceEnv.PAPER
    if not settings.traded and not paper:
        must = f"set, or SYMBOLS for several: BINANCE_ENV={settings.binance_env} has no symbol of its own"
        yield Fault("SYMBOL", NOT_SET, must)
    if len(settings.symbols) > 1 and paper:
        yield Fault("SYMBOLS", repr(as_text(settings.symbols)), "one symbol on BINANCE_ENV=paper: a recording has one")


@_check("SYMBOLS", "STATE_FN", "JOURNAL_FN")
def _file_per_symbol(settings: Settings) -> Iterator[Fault]:
    for name, file in (("STATE_FN", settings.state_fn), ("JOURNAL_FN", settings.journal_fn)):
        if len(settings.symbols) > 1 and file is not None and "{symbol}" not in file:
            yield Fault(name, repr(file), "a name with {symbol} in it, since SYMBOLS has several and each has its own")


@_check("BINANCE_ENV", *URLS)
def _urls(settings: Settings) -> Iterator[Fault]:
    for name in URLS:
        url = _value(settings, name)
        if settings.binance_env is BinanceEnv.CUSTOM and url is None:
            yield Fault(name, NOT_SET, "set: BINANCE_ENV=custom has no URLs of its own")
        if settings.binance_env is BinanceEnv.PAPER and url is not None:
            must = "unset on the embedded paper exchange; BINANCE_ENV=custom trades on an exchange elsewhere"
            yield Fault(name, repr(url), must)


@_check("BINANCE_ENV", "BINANCE_API_KEY")
def _api_key(settings: Settings) -> Iterator[Fault]:
    if settings.binance_env is not BinanceEnv.PAPER and settings.binance_api_key is None:
        yield Fault("BINANCE_API_KEY", NOT_SET, f"set for BINANCE_ENV={settings.binance_env}")


@_check("BINANCE_API_KEY", "BINANCE_API_SECRET", "TELEGRAM_BOT_TOKEN")
def _written_in_full(settings: Settings) -> Iterator[Fault]:
    """What travels in headers, signatures and addresses: anything else was copied along with it."""
    for name in ("BINANCE_API_KEY", "BINANCE_API_SECRET", "TELEGRAM_BOT_TOKEN"):
        secret = _value(settings, name)
        text = secret.get_secret_value() if isinstance(secret, SecretStr) else ""
        if not text.isascii() or not text.isprintable():
            yield Fault(name, HIDDEN, "letters, digits and signs of ASCII alone: exactly what was given out")


@_check("BINANCE_ENV", "BINANCE_API_SECRET", "BINANCE_PRIVATE_KEY_FILE")
def _one_key(settings: Settings) -> Iterator[Fault]:
    both = "BINANCE_API_SECRET and BINANCE_PRIVATE_KEY_FILE"
    match settings.binance_api_secret, settings.binance_private_key_file:
        case None, None if settings.binance_env is not BinanceEnv.PAPER:
            yield Fault(both, NOT_SET, f"one of them set for BINANCE_ENV={settings.binance_env}")
        case secret, path if secret is not None and path is not None:
            yield Fault(both, "both set", "only one of them")
        case _, path if path is not None and not isfile(path):  # noqa: PTH113
            yield Fault("BINANCE_PRIVATE_KEY_FILE", repr(str(path)), "a file that exists")
        case _, path if path is not None and (open_to := others_that_read(path)):
            yield Fault("BINANCE_PRIVATE_KEY_FILE", f"the file {str(path)!r}, which {open_to} can read", private(path))
        case _:
            pass


@_check("BINANCE_PRIVATE_KEY_FILE", "BINANCE_PRIVATE_KEY_PASSPHRASE")
def _passphrase(settings: Settings) -> Iterator[Fault]:
    if settings.binance_private_key_passphrase is not None and settings.binance_private_key_file is None:
        yield Fault("BINANCE_PRIVATE_KEY_PASSPHRASE", "set", "unset, as long as BINANCE_PRIVATE_KEY_FILE is not set")


@_check("BINANCE_ENV", "LIVE_CONFIRM")
def _live(settings: Settings) -> Iterator[Fault]:
    if settings.binance_env is BinanceEnv.LIVE and settings.live_confirm is not Confirmation.YES:
        yield Fault("LIVE_CONFIRM", repr(str(settings.live_confirm)), "yes: BINANCE_ENV=live trades with real money")


def _addresses(settings: Settings) -> dict[str, str]:
    """Where this trades, by the setting that says so; empty where a URL is missing, or on paper."""
    urls = settings.endpoints
    return {} if urls is None or not all(urls) else dict(zip(URLS, urls, strict=True))


@_check("BINANCE_ENV", "LIVE_CONFIRM", *URLS)
def _live_addresses(settings: Settings) -> Iterator[Fault]:
    """An address of the live exchange is live trading, whatever the environment is called."""
    if settings.binance_env is BinanceEnv.LIVE or settings.live_confirm is Confirmation.YES:
        return
    for name, url in _addresses(settings).items():
        if environment_of(url) is BinanceEnv.LIVE:
            must = f"yes: {name}={url} is the live exchange, with BINANCE_ENV={settings.binance_env} too"
            yield Fault("LIVE_CONFIRM", repr(str(settings.live_confirm)), must)
            return


@_check("BINANCE_ENV", *URLS)
def _one_exchange(settings: Settings) -> Iterator[Fault]:
    """Orders, their reports and prices are of one exchange, or stops stand by another's prices."""
    known = {name: env for name, url in _addresses(settings).items() if (env := environment_of(url)) is not None}
    if len(set(known.values())) < 2:
        return
    rest, *others = known.items()
    for name, env in others:
        if env is not rest[1]:
            was = f"{_addresses(settings)[name]!r}, which is {env}"
            yield Fault(
                name, was, f"of the same exchange as {rest[0]}={_addresses(settings)[rest[0]]}, which is {rest[1]}"
            )


@_check("BINANCE_ENV", "LIVE_CONFIRM", *URLS)
def _encrypted(settings: Settings) -> Iterator[Fault]:
    """The key is in every request; what is not encrypted may be read and changed on its way."""
    real = settings.binance_env is BinanceEnv.LIVE or settings.live_confirm is Confirmation.YES
    for name, url in _addresses(settings).items():
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname or ""
        if scheme in {"https", "wss"} or is_loopback(host) or not (real or environment_of(url)):
            continue
        must = f"{'https' if scheme == 'http' else 'wss'}://, or this machine's own (127.0.0.1): keys travel by it"
        yield Fault(name, repr(url), must)


@_check("WATCHDOG_EVERY_SEC")
def _watchdog_pace(settings: Settings) -> Iterator[Fault]:
    if 0 < settings.watchdog_every_sec < 1:
        was = repr(as_text(settings.watchdog_every_sec))
        yield Fault("WATCHDOG_EVERY_SEC", was, "0 for off, or at least 1: each round asks the exchange")


@_check("SIGNAL_FILE")
def _signal_file(settings: Settings) -> Iterator[Fault]:
    if "\0" in str(settings.signal_file):
        yield Fault("SIGNAL_FILE", repr(str(settings.signal_file)), "a file name")


@_check("STATE_FN", "JOURNAL_FN", "SIGNAL_FILE", "SYMBOL", "SYMBOLS")
def _own_files(settings: Settings) -> Iterator[Fault]:
    if len(settings.symbols) > 1 and any(
        "{symbol}" not in file for file in (settings.state_fn, settings.journal_fn or "{symbol}")
    ):
        return  # `_file_per_symbol` says so
    told: set[str] = set()
    for first, second in clashes(uses(settings)):
        if second.setting not in told:
            told.add(second.setting)
            was = f"{as_text(_value(settings, second.setting))!r}, where {second.what} comes to {second.path}"
            yield Fault(second.setting, was, f"a name that keeps it apart from {first.what} ({first.setting})")


@_check("TRAIL_MODE", "TRAIL_SWING_LOOKBACK", "TRAIL_SWING_LR")
def _swing(settings: Settings) -> Iterator[Fault]:
    least = 2 * settings.trail_swing_lr + 1
    if settings.trail_mode is TrailMode.SWING and settings.trail_swing_lookback < least:
        must = f"at least {least}, the bars that one swing takes with TRAIL_SWING_LR={settings.trail_swing_lr}"
        yield Fault("TRAIL_SWING_LOOKBACK", repr(str(settings.trail_swing_lookback)), must)


@_check("QTY_USD", "MAX_POSITION_USD")
def _within_limit(settings: Settings) -> Iterator[Fault]:
    size, limit = settings.qty_usd, settings.max_position_usd
    if size is not None and 0 < limit < size:
        must = f"at most MAX_POSITION_USD={as_text(limit)}, or every signal would be refused"
        yield Fault("QTY_USD", repr(as_text(size)), must)


@_check("BINANCE_ENV", "PAPER_RECORDING")
def _recording(settings: Settings) -> Iterator[Fault]:
    path = settings.paper_recording
    if settings.binance_env is BinanceEnv.PAPER and path is not None and not isfile(path):  # noqa: PTH113
        yield Fault("PAPER_RECORDING", repr(str(path)), "a file that exists")


@_check("BINANCE_ENV", "PAPER_PORT", "HTTP_PORT", "WEBHOOK_PORT")
def _ports(settings: Settings) -> Iterator[Fault]:
    paper = settings.paper_port if settings.binance_env is BinanceEnv.PAPER else 0
    taken = {settings.http_port: "HTTP_PORT"}
    for name, port in (("WEBHOOK_PORT", settings.webhook_port), ("PAPER_PORT", paper)):
        if port and port in taken:
            yield Fault(name, repr(str(port)), f"another port than {taken[port]}")
        taken.setdefault(port, name)


@_check("HTTP_TOKEN")
def _token(settings: Settings) -> Iterator[Fault]:
    token = settings.http_token
    if token is not None and len(token.get_secret_value()) < SHORTEST_SECRET:
        must = f"at least {SHORTEST_SECRET} characters, such as `openssl rand -hex 32` prints"
        yield Fault("HTTP_TOKEN", HIDDEN, must)


@_check("HTTP_HOST", "HTTP_PORT", "HTTP_TOKEN")
def _readers(settings: Settings) -> Iterator[Fault]:
    if settings.http_token is None and settings.http_port and not is_loopback(settings.http_host):
        must = f"set, or whoever reaches HTTP_HOST={settings.http_host} could see position and profit"
        yield Fault("HTTP_TOKEN", NOT_SET, must)


@_check("WEBHOOK_PORT", "WEBHOOK_SECRET", "WEBHOOK_HMAC_SECRET")
def _webhook(settings: Settings) -> Iterator[Fault]:
    given = {
        name: secret.get_secret_value()
        for name in ("WEBHOOK_SECRET", "WEBHOOK_HMAC_SECRET")
        if isinstance(secret := _value(settings, name), SecretStr)
    }
    if settings.webhook_port and not given:
        must = "one of them set, or anybody could send signals to WEBHOOK_PORT"
        yield Fault("WEBHOOK_SECRET and WEBHOOK_HMAC_SECRET", NOT_SET, must)
    for name, secret in given.items():
        if len(secret) < SHORTEST_SECRET:
            yield Fault(name, HIDDEN, f"at least {SHORTEST_SECRET} characters, such as `openssl rand -hex 32` prints")


@_check("BINANCE_ENV", "FLEET", "ACCOUNTS")
def _fleet(settings: Settings) -> Iterator[Fault]:
    if settings.fleet and settings.binance_env is BinanceEnv.PAPER and settings.accounts is None:
        must = "another than paper in a fleet: the embedded exchange ends with its machine"
        yield Fault("BINANCE_ENV", "'paper'", must)


@_check("FLEET_CA", "FLEET_CERT", "FLEET_KEY")
def _fleet_files(settings: Settings) -> Iterator[Fault]:
    if (settings.fleet_cert is None) != (settings.fleet_key is None):
        missing = "FLEET_CERT" if settings.fleet_cert is None else "FLEET_KEY"
        yield Fault(missing, NOT_SET, "set, since the other of FLEET_CERT and FLEET_KEY is")
    if settings.fleet_cert is not None and settings.fleet_ca is None:
        yield Fault("FLEET_CA", NOT_SET, "set, since FLEET_CERT is: the nodes are verified by it")
    for name in ("FLEET_CA", "FLEET_CERT", "FLEET_KEY"):
        path = _value(settings, name)
        if isinstance(path, Path) and not isfile(path):  # noqa: PTH113
            yield Fault(name, repr(str(path)), "a file that exists")
    if settings.fleet_key is not None and (open_to := others_that_read(settings.fleet_key)):
        file = settings.fleet_key
        yield Fault("FLEET_KEY", f"the file {str(file)!r}, which {open_to} can read", private(file))


@_check("TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID")
def _telegram(settings: Settings) -> Iterator[Fault]:
    if (settings.telegram_bot_token is None) != (settings.telegram_chat_id is None):
        missing = "TELEGRAM_BOT_TOKEN" if settings.telegram_bot_token is None else "TELEGRAM_CHAT_ID"
        yield Fault(missing, NOT_SET, "set, since the other of TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID is")


@_check("TELEGRAM_CHAT_ID", "TELEGRAM_USERS")
def _commands(settings: Settings) -> Iterator[Fault]:
    chat = settings.telegram_chat_id
    if not settings.telegram_users:
        return
    if chat is None:
        yield Fault("TELEGRAM_CHAT_ID", NOT_SET, "set, since TELEGRAM_USERS is: commands are taken from that chat")
    elif chat.startswith("@"):
        must = "a chat's number, since TELEGRAM_USERS is set: in a channel nobody can be told apart"
        yield Fault("TELEGRAM_CHAT_ID", repr(chat), must)


@_check("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET")
def _alert_webhook(settings: Settings) -> Iterator[Fault]:
    url, secret = settings.alert_webhook_url, settings.alert_webhook_secret
    if url is not None and not is_address(url.get_secret_value()):
        yield Fault("ALERT_WEBHOOK_URL", HIDDEN, "an address such as https://alerts.example.com/executor")
    if url is None and secret is not None:
        yield Fault("ALERT_WEBHOOK_URL", NOT_SET, "set, since ALERT_WEBHOOK_SECRET is")
    if secret is not None and len(secret.get_secret_value()) < SHORTEST_SECRET:
        must = f"at least {SHORTEST_SECRET} characters, such as `openssl rand -hex 32` prints"
        yield Fault("ALERT_WEBHOOK_SECRET", HIDDEN, must)
