"""Every setting: its name, type, default and meaning. The checks, the README table, `.env.example` and
`executor config` are all made from here.

A field `qty_usd` is the setting `QTY_USD`; the sentence below it is what people read. `None` means "not set".
Amounts are exact decimals. Times are seconds, as decimals, save where the sentence says otherwise
(`kinds.to_ms` gives the core's milliseconds).
"""

from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, cast

from annotated_types import Ge, Le
from pydantic import AliasChoices, Field, PrivateAttr, SecretStr

from executor.config import choices, kinds
from executor.config.endpoints import ENDPOINTS, MARGIN_STREAMS, Endpoints
from executor.config.group import Group, Origin
from executor.config.keys import override_key
from executor.config.kinds import Unset
from executor.config.margin_settings import MarginSettings

OF_THE_EXCHANGE: Final = Unset("the exchange's")


class ExchangeSettings(Group):
    """Exchange"""

    binance_env: choices.BinanceEnv = choices.BinanceEnv.PAPER
    """The exchange: the embedded paper exchange, Binance's testnet, demo mode or live, or the three URLs."""

    binance_rest_url: kinds.HttpUrl | None = None
    """Base URL of the REST API, without /api; overrides that of BINANCE_ENV."""

    binance_ws_api_url: kinds.WebSocketUrl | None = None
    """URL of the WebSocket API, such as ws://127.0.0.1:9100/ws-api/v3; overrides that of BINANCE_ENV."""

    binance_stream_url: kinds.WebSocketUrl | None = None
    """Base URL of the market streams, without /ws; overrides that of BINANCE_ENV."""

    binance_margin_stream_url: Annotated[kinds.WebSocketUrl | None, Unset("as BINANCE_ENV or the streams")] = None
    """Base URL of the cross margin account's risk stream, without /ws; overrides that of BINANCE_ENV."""

    binance_api_key: SecretStr | None = None
    """The API key; needed everywhere but on paper."""

    binance_api_secret: SecretStr | None = None
    """The secret of an HMAC key pair."""

    binance_private_key_file: Path | None = None
    """The PEM file of an Ed25519 or RSA private key, in place of BINANCE_API_SECRET."""

    binance_private_key_passphrase: SecretStr | None = None
    """The passphrase of BINANCE_PRIVATE_KEY_FILE, where it has one."""

    live_confirm: choices.Confirmation = choices.Confirmation.NO
    """Live trading starts only when this says yes."""

    recv_window: Annotated[int, Ge(100), Le(60_000)] = 5000
    """Milliseconds within which the exchange must receive a request, else it refuses it."""

    order_transport: choices.OrderTransport = choices.OrderTransport.WS
    """How orders travel: over REST, or over the WebSocket API on a connection of their own (REST while it is down)."""

    symbol: Annotated[kinds.Symbol | None, Unset("paper: the recording's; else required")] = None
    """The symbol that is traded."""

    symbols: Annotated[kinds.Symbols, Unset("SYMBOL alone")] = ()
    """The symbols that are traded, in place of SYMBOL; STATE_FN must hold {symbol} when there are several."""

    trade_mode: choices.TradeMode = choices.TradeMode.SPOT
    """The account that is traded with: the Spot wallet, or a margin account (see MARGIN_ISOLATED)."""


class FileSettings(Group):
    """Files"""

    state_fn: kinds.FileTemplate = "data/state/executor_state.json"
    """The state file; {symbol} in it stands for the symbol."""

    journal_fn: Annotated[kinds.FileTemplate | None, Unset("beside the state")] = None
    """The journal, to which every event is appended; {symbol} in it stands for the symbol."""

    secrets_dir: Annotated[Path | None, Unset("/run/secrets where there is one")] = None
    """A folder with one file per secret, each named like its setting."""


class SignalSettings(Group):
    """Signals"""

    signal_file: Annotated[Path, Field(validation_alias=AliasChoices("SIGNAL_FILE", "DELTASCOUT_LOG"))] = Path(
        "data/signals.jsonl"
    )
    """The JSONL file that signals are read from as it grows; DELTASCOUT_LOG is its older name."""

    signal_start: choices.SignalStart = choices.SignalStart.END
    """Where a file that was not followed before is picked up; later starts go on where the last ended, but for one
    elsewhere after a paper run."""

    max_signal_age_sec: kinds.Lifetime = Decimal(600)
    """Seconds after which a signal is too old to act on."""


class WebhookSettings(Group):
    """Webhook"""

    webhook_port: kinds.Port = 0
    """TCP port on which signals are taken over HTTP as POST /signal; 0 = off."""

    webhook_host: kinds.Host = "127.0.0.1"
    """Address that the webhook listens on."""

    webhook_secret: SecretStr | None = None
    """Secret that a signal shows, in the header X-Webhook-Secret or as "secret" in its JSON."""

    webhook_hmac_secret: SecretStr | None = None
    """Key of the signatures of signed signals; without WEBHOOK_SECRET, only signed ones are taken."""

    webhook_window_sec: Annotated[int, Ge(1), Le(3600)] = 60
    """Seconds that the time of a signed signal may differ from this machine's."""

    webhook_allow: Annotated[kinds.Networks, Unset("any")] = ()
    """Networks that signals may come from."""

    webhook_trusted_proxy: Annotated[kinds.Networks, Unset("none")] = ()
    """Networks of the proxies whose X-Forwarded-For is believed."""

    webhook_max_bytes: Annotated[int, Ge(256), Le(65_536)] = 16_384
    """Bytes that a signal may have."""

    webhook_rate_per_min: Annotated[int, Ge(1), Le(10_000)] = 30
    """Requests a minute that one source may make."""

    webhook_total_per_min: Annotated[int, Ge(1), Le(10_000)] = 60
    """Signals a minute that are taken from all sources together."""


class EntrySettings(Group):
    """Entry"""

    entry_mode: choices.EntryMode = choices.EntryMode.LIMIT_THEN_MARKET
    """A limit order and Plan B for what it leaves, the limit order alone, or a market order."""

    entry_offset_usd: kinds.Offset = Decimal(0)
    """Quote units added to the reference price of a long and taken from that of a short."""

    live_entry_timeout_sec: kinds.Interval = Decimal(90)
    """Seconds after which an entry that is not filled is cancelled."""

    planb_max_dev_usd: kinds.Amount = Decimal(0)
    """Plan B: quote units that the price may be away from the entry; 0 = no bound."""

    planb_max_dev_r_mult: kinds.Amount = Decimal("0.25")
    """Plan B: multiples of R that the price may be away from the entry; 0 = no bound."""

    planb_require_price: bool = True
    """Plan B: only with a fresh price at hand."""

    planb_abort_if_past_tp1: bool = True
    """Plan B: not when the price is past the first target."""

    planb_order: choices.PlanBOrder = choices.PlanBOrder.MARKET
    """Plan B: a market order, or a limit order at the guard's price that fills at once or not at all."""


class SizeSettings(Group):
    """Size"""

    qty: kinds.Positive | None = None
    """Size of a trade in base units; exactly one of QTY, QTY_USD and RISK_USD may be set."""

    qty_usd: kinds.Positive | None = None
    """Size of a trade in quote units; exactly one of QTY, QTY_USD and RISK_USD may be set."""

    risk_usd: kinds.Positive | None = None
    """Quote units lost if the stop fills at its price; exactly one of the three may be set."""

    qty_step: Annotated[kinds.Positive | None, OF_THE_EXCHANGE] = None
    """Step of planned quantities in base units; a multiple of the exchange's own, by which what is held is judged."""

    tick_size: Annotated[kinds.Positive | None, OF_THE_EXCHANGE] = None
    """Step of planned prices in quote units; a multiple of the exchange's own."""

    min_qty: Annotated[kinds.Positive | None, OF_THE_EXCHANGE] = None
    """Smallest planned quantity in base units; at least the exchange's own, by which what is held is judged."""

    min_notional: Annotated[kinds.Positive | None, OF_THE_EXCHANGE] = None
    """Smallest planned value in quote units; at least the exchange's own, by which what is held is judged."""

    qty_split: kinds.Split = (Decimal(1), Decimal(1), Decimal(1))
    """Weights of the three legs: out at the first target, out at the second, trailed."""


class StopSettings(Group):
    """Stop and targets"""

    tp_r_list: kinds.Targets = (Decimal(1), Decimal(2))
    """Distance of the targets from the entry in multiples of R."""

    stop_mode: choices.StopMode = choices.StopMode.PCT
    """The stop of a signal that brings none: SL_PCT away, or beyond the last swing where that is farther."""

    sl_pct: kinds.PositiveFraction = Decimal("0.002")
    """Distance of the stop from the entry as a fraction of its price (0.002 = 0.2 %)."""

    swing_mins: Annotated[int, Ge(1), Le(1000)] = 180
    """Minutes that STOP_MODE=SWING looks back."""

    sl_limit_gap_ticks: kinds.Count = 2
    """Ticks between a stop's trigger and its limit price; the larger of this and SL_LIMIT_GAP_PCT counts."""

    sl_limit_gap_pct: kinds.Fraction = Decimal("0.001")
    """The same gap as a fraction of the trigger price."""

    exit_layout: choices.ExitLayout = choices.ExitLayout.OCO
    """Exits as order lists that lock the base once, as plain orders that need spare inventory on Spot, or as lists that
    the entry brings with it (BRACKET): the exchange places them in the instant of the fill."""

    bracket_part_sec: kinds.Seconds = Decimal(2)
    """EXIT_LAYOUT=BRACKET: seconds without a further fill, then a partly filled entry is cancelled and covered."""

    sl_after_tp1: choices.SlAfterTp1 = choices.SlAfterTp1.BREAKEVEN
    """What the stops do after the first target: move to the entry and its costs, or stay."""

    be_offset_ticks: kinds.Count = 0
    """Ticks that a breakeven stop stands better than the entry and its costs."""


class TrailSettings(Group):
    """Trailing"""

    trail_activate_after_tp2: bool = True
    """The third leg's stop starts to trail when the second target is filled."""

    trail_mode: choices.TrailMode = choices.TrailMode.DISTANCE
    """Trail behind the best price, behind the last swing, or by the exchange's own trailing order."""

    trail_distance_usd: kinds.Positive | None = None
    """Trailing distance in quote units; exactly one of the three TRAIL_DISTANCE settings may be set."""

    trail_distance_pct: kinds.PositiveFraction | None = None
    """Trailing distance as a fraction of the best price; exactly one of the three may be set."""

    trail_distance_r_mult: kinds.Positive | None = None
    """Trailing distance in multiples of R; exactly one of the three may be set."""

    trail_step_usd: kinds.Amount = Decimal(0)
    """Least move of a trailing stop in quote units; 0 = one tick."""

    trail_update_every_sec: kinds.Interval = Decimal(1)
    """Least seconds between two moves of a trailing stop."""

    trail_swing_lookback: Annotated[int, Ge(3), Le(1000)] = 240
    """One-minute bars that TRAIL_MODE=SWING looks back."""

    trail_swing_lr: Annotated[int, Ge(1), Le(100)] = 2
    """Bars on each side that confirm a swing."""

    trail_swing_buffer_usd: kinds.Amount = Decimal(0)
    """Quote units that the stop stays beyond the swing."""


class WatchSettings(Group):
    """Watching"""

    poll_sec: kinds.Interval = Decimal("1.0")
    """Seconds between two looks at the orders while any is live."""

    poll_idle_sec: kinds.Interval = Decimal(10)
    """The same while none is live."""

    user_stream: bool = True
    """Listen to the exchange's pushed updates beside the looks; without it the looks alone must do."""


class FailsafeSettings(Group):
    """When things fail"""

    exits_retry_every_sec: kinds.Interval = Decimal(1)
    """Seconds between two tries to place exits that were refused."""

    failsafe_exits_max_tries: Annotated[int, Ge(1), Le(1000)] = 5
    """Refused tries after which the failsafe acts."""

    failsafe_exits_grace_sec: kinds.LongGrace = Decimal(10)
    """Seconds without a stop after which the failsafe acts."""

    failsafe_flatten: bool = True
    """The failsafe closes the position at market; false halts with an alert instead."""

    sl_watchdog_grace_sec: kinds.Grace = Decimal(3)
    """Seconds beyond the stop price before an unfilled or missing stop is replaced by a market order."""

    absence_grace_sec: kinds.Grace = Decimal(2)
    """Least seconds between the two looks that must both miss an order before it counts as gone."""

    doubt_settle_sec: kinds.LongGrace = Decimal(10)
    """Seconds past a request's window before an order that was never found counts as never placed."""

    max_hold_sec: kinds.Seconds = Decimal(0)
    """Seconds after which a trade is closed at market; 0 = never."""


class LimitSettings(Group):
    """Limits"""

    cooldown_sec: kinds.Seconds = Decimal(180)
    """Seconds without a new entry after a trade has closed."""

    cooldown_abort_sec: kinds.Seconds = Decimal(30)
    """Seconds without a new entry after an entry was refused or given up."""

    lock_sec: kinds.Seconds = Decimal(15)
    """Seconds after a signal was taken in which no other is."""

    max_position_usd: kinds.Amount = Decimal(0)
    """Largest position in quote units; 0 = no bound."""

    max_trades_per_day: kinds.Count = 0
    """Most trades in a day (UTC); 0 = no bound."""

    max_daily_loss_usd: kinds.Amount = Decimal(0)
    """Loss in quote units after which no trade is opened until the next day (UTC); 0 = no bound."""

    allow_short: bool = False
    """Take short signals too; on Spot a short sells inventory first, on margin it borrows (there unset means true)."""


class PaperSettings(Group):
    """Paper exchange"""

    paper_recording: Annotated[Path | None, Unset("bundled")] = None
    """The recorded trades that the paper exchange replays."""

    paper_signals: Annotated[Path | None, Unset("those of the bundled recording")] = None
    """Signals that come with the recording: each is appended to SIGNAL_FILE when market time reaches it."""

    paper_speed: kinds.Speed = Decimal(150)
    """How many times faster than recorded they are replayed; 0 = as fast as the work allows."""

    paper_at_end: choices.PaperAtEnd = choices.PaperAtEnd.EXIT
    """What happens at the recording's end: stop, start it again, or stay at the last price."""

    paper_balances: kinds.Balances = Field(default_factory=lambda: MappingProxyType({"USDT": Decimal(10_000)}))
    """What the paper account holds at first."""

    paper_port: kinds.Port = 0
    """TCP port on loopback where the paper exchange listens; 0 = any free one."""

    paper_api_key: SecretStr = SecretStr("paper")
    """The API key that the paper exchange accepts."""

    paper_api_secret: SecretStr = SecretStr("paper")
    """The secret that goes with it."""


class OperationSettings(Group):
    """Operation"""

    http_host: kinds.Host = "127.0.0.1"
    """Address that the live page, health, metrics and status are served on."""

    http_port: kinds.Port = 8080
    """TCP port of the same; 0 = off."""

    http_token: SecretStr | None = None
    """What a reader there must show; needed where HTTP_HOST is another address than loopback."""

    log_format: choices.LogFormat = choices.LogFormat.AUTO
    """Log lines for people, for machines, or as the terminal tells (console on one, json otherwise)."""

    log_level: choices.LogLevel = choices.LogLevel.INFO
    """The least severe messages that are logged."""


class AlertSettings(Group):
    """Watchdog and alerts"""

    watchdog_every_sec: kinds.Seconds = Decimal(60)
    """Seconds between two rounds of the watchdog, which compares the exchange with the state; 0 = off."""

    telegram_bot_token: SecretStr | None = None
    """Token of the Telegram bot that sends alerts."""

    telegram_chat_id: kinds.ChatId | None = None
    """The chat that alerts are sent to, and that commands are taken from."""

    telegram_users: Annotated[kinds.UserIds, Unset("nobody")] = ()
    """Numbers of the Telegram users who may give commands in that chat; a fleet reads it on one node."""

    telegram_notify: Annotated[kinds.Notify, Unset("all on")] = Field(default_factory=lambda: MappingProxyType({}))
    """How each kind of alert is sent to Telegram: with a sound (on), without one (silent), or not at all (off)."""

    telegram_api_url: kinds.HttpUrl = "https://api.telegram.org"
    """Base URL of the Bot API, for those who run a server of it themselves."""

    alert_webhook_url: SecretStr | None = None
    """An address that alerts are sent to as JSON by POST, beside Telegram or in its place."""

    alert_webhook_secret: SecretStr | None = None
    """Key of the signature (HMAC-SHA256) that goes with each of those."""


class FleetSettings(Group):
    """Accounts and fleet"""

    accounts: Annotated[Path | None, Unset("one account: these settings")] = None
    """A folder with one env file per account, named after it: alice.env; each has keys and symbols of its own."""

    fleet: Annotated[kinds.FleetNodes, Unset("none: state in files")] = ()
    """The etcd cluster in which several machines keep the state of their accounts, so that each has one owner."""

    fleet_name: kinds.Name = "executor"
    """The fleet's name: several may live in one cluster."""

    fleet_node: Annotated[kinds.Name | None, Unset("the host's name")] = None
    """This machine's name in the fleet."""

    fleet_ttl_sec: Annotated[int, Ge(2), Le(60)] = 5
    """Seconds without a sign of life after which another machine takes this one's accounts over."""

    fleet_ca: Path | None = None
    """The PEM file with the authority that the cluster's certificates are of; with it etcd is spoken to over TLS."""

    fleet_cert: Path | None = None
    """The PEM file with this machine's certificate for the cluster."""

    fleet_key: Path | None = None
    """The PEM file with the key of FLEET_CERT."""


class Settings(
    ExchangeSettings,
    FileSettings,
    SignalSettings,
    WebhookSettings,
    EntrySettings,
    SizeSettings,
    StopSettings,
    TrailSettings,
    WatchSettings,
    FailsafeSettings,
    LimitSettings,
    MarginSettings,
    PaperSettings,
    OperationSettings,
    AlertSettings,
    FleetSettings,
):
    """All settings, frozen. `load_settings` makes checked ones."""

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)
    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _env_file: str = PrivateAttr(default="")
    _of: dict[str, "Settings"] = PrivateAttr(default_factory=dict)
    _overridden: tuple[str, ...] = PrivateAttr(default=())
    _account: str = PrivateAttr(default="")

    def origin(self, name: str) -> Origin:
        """Where the setting `name` (as in the environment) came from. Raises KeyError for an unknown one."""
        if name.lower() not in type(self).model_fields:
            raise KeyError(name)
        return self._origins.get(name, Origin.DEFAULT)

    def source(self, name: str) -> str:
        """The same in words, an env file with its whole path."""
        origin = self.origin(name)
        return self._env_file if origin is Origin.ENV_FILE and self._env_file else str(origin)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd but does not stop a start, such as names that are not known; one sentence each."""
        return self._warnings

    @property
    def account(self) -> str:
        """The account that these settings are of; empty where there is only one, and it has no name."""
        return self._account

    @property
    def traded(self) -> tuple[str, ...]:
        """The symbols that are set; empty only on paper, where the recording has one."""
        return self.symbols if self.symbol is None else (self.symbol,)

    def of(self, symbol: str) -> "Settings":
        """The settings that hold for one symbol: its overrides applied and `symbol` set.

        Raises:
            KeyError: for a symbol that is not traded.
        """
        if symbol in self._of:
            return self._of[symbol]
        if symbol not in (self.traded or (symbol,)):
            raise KeyError(symbol)
        return self if symbol == self.symbol else self.model_copy(update={"symbol": symbol})

    @property
    def overridden(self) -> tuple[str, ...]:
        """The settings, such as QTY_USD, that were set for this symbol alone; empty as long as there are several."""
        return self._overridden

    def key(self, name: str) -> str:
        """What `name` was set as: BTCUSDT__QTY_STEP where it was set for this symbol alone, else QTY_STEP."""
        return override_key(self.symbol, name) if self.symbol and name in self._overridden else name

    @property
    def endpoints(self) -> Endpoints | None:
        """The exchange's URLs, or None on paper: the embedded exchange knows its own once it listens."""
        if self.binance_env is choices.BinanceEnv.PAPER:
            return None
        own = ENDPOINTS.get(self.binance_env, Endpoints("", "", ""))
        return Endpoints(
            self.binance_rest_url or own.rest,
            self.binance_ws_api_url or own.ws_api,
            self.binance_stream_url or own.stream,
        )

    @property
    def margin_stream_url(self) -> str:
        """Where the risk stream of a cross account is; empty on the embedded exchange."""
        own = MARGIN_STREAMS.get(self.binance_env, "")
        return self.binance_margin_stream_url or self.binance_stream_url or own

    def state_path(self, symbol: str) -> Path:
        return self._path(self.state_fn, symbol)

    def journal_path(self, symbol: str) -> Path:
        """Beside the state, named after it, where JOURNAL_FN does not say otherwise."""
        if self.journal_fn is not None:
            return self._path(self.journal_fn, symbol)
        return self._beside(symbol, ".journal.jsonl")

    def trades_path(self, symbol: str) -> Path:
        """The list of finished trades, beside the state and named after it."""
        return self._beside(symbol, ".trades.jsonl")

    def _beside(self, symbol: str, suffix: str) -> Path:
        """`suffix` in place of the state's own, or behind it where the state's own is what tells states apart."""
        state, own = self.state_path(symbol), Path(self.state_fn).suffix
        if own and "{symbol}" not in own and "{account}" not in own:
            return state.with_suffix(suffix)
        return state.with_name(state.name + suffix)

    def _path(self, template: str, symbol: str) -> Path:
        return Path(template.replace("{symbol}", symbol).replace("{account}", self._account))


GROUPS: Final = cast("tuple[type[Group], ...]", Settings.__bases__)
"""The headings, in the order in which people read them."""
