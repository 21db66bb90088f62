"""Settings that are one of a few words. They are spelled as in the environment; letter case is free."""

from enum import StrEnum
from typing import Self


class Choice(StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        wanted = str(value).casefold()
        return next((choice for choice in cls if choice.value.casefold() == wanted), None)


class BinanceEnv(Choice):
    PAPER = "paper"
    TESTNET = "testnet"
    DEMO = "demo"
    LIVE = "live"
    CUSTOM = "custom"


class OrderTransport(Choice):
    REST = "rest"
    WS = "ws"


class TradeMode(Choice):
    SPOT = "spot"
    MARGIN = "margin"


class BorrowMode(Choice):
    """Rule 11.1: there is one way. The other is known so that it can be refused with the reason."""

    MANUAL = "manual"
    AUTO = "auto"


class SideEffect(Choice):
    """Rule 11.1, as `BorrowMode`."""

    NO_SIDE_EFFECT = "NO_SIDE_EFFECT"
    MARGIN_BUY = "MARGIN_BUY"
    AUTO_REPAY = "AUTO_REPAY"
    AUTO_BORROW_REPAY = "AUTO_BORROW_REPAY"


class ForeignDebt(Choice):
    """Rule 11.4."""

    REFUSE = "refuse"
    ALLOW = "allow"


class SignalStart(Choice):
    END = "end"
    BEGIN = "begin"


class EntryMode(Choice):
    """Rule 3.1."""

    LIMIT_THEN_MARKET = "LIMIT_THEN_MARKET"
    LIMIT_ONLY = "LIMIT_ONLY"
    MARKET_ONLY = "MARKET_ONLY"


class PlanBOrder(Choice):
    """Rule 3.3."""

    MARKET = "MARKET"
    LIMIT_IOC = "LIMIT_IOC"


class StopMode(Choice):
    """Rule 2.2."""

    PCT = "PCT"
    SWING = "SWING"


class ExitLayout(Choice):
    """Rules 4.2, 4.3 and 13.1."""

    OCO = "OCO"
    PLAIN = "PLAIN"
    BRACKET = "BRACKET"


class SlAfterTp1(Choice):
    """Rule 5.2."""

    BREAKEVEN = "BREAKEVEN"
    KEEP = "KEEP"


class TrailMode(Choice):
    """Rule 5.4."""

    DISTANCE = "DISTANCE"
    SWING = "SWING"
    NATIVE = "NATIVE"


class PaperAtEnd(Choice):
    EXIT = "exit"
    LOOP = "loop"
    HOLD = "hold"


class LogFormat(Choice):
    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class LogLevel(Choice):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Confirmation(Choice):
    NO = "no"
    YES = "yes"


class Sound(Choice):
    """How a kind of alert is sent to Telegram."""

    ON = "on"
    SILENT = "silent"
    OFF = "off"


class Topic(Choice):
    """The kinds of alerts, as TELEGRAM_NOTIFY names them."""

    OPENED = "opened"
    CLOSED = "closed"
    REFUSED = "refused"
    DOUBT = "doubt"
    HALT = "halt"
    RESTART = "restart"
    FINDING = "finding"
    TROUBLE = "trouble"
    DAILY = "daily"
