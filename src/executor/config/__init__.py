"""Settings: what there is to set, where it is read from, and what it must be.

`load_settings` is the way in; everything that a person reads about a setting is made from `settings`. This
room knows nothing of the others.
"""

from executor.config.choices import (
    BinanceEnv,
    EntryMode,
    ExitLayout,
    ForeignDebt,
    LogFormat,
    LogLevel,
    OrderTransport,
    PaperAtEnd,
    PlanBOrder,
    SignalStart,
    SlAfterTp1,
    Sound,
    StopMode,
    Topic,
    TradeMode,
    TrailMode,
)
from executor.config.endpoints import Endpoints
from executor.config.faults import Fault, SettingsError
from executor.config.group import Origin
from executor.config.kinds import to_ms
from executor.config.loading import load_paper_settings, load_settings
from executor.config.settings import PaperSettings, Settings

__all__ = [
    "BinanceEnv",
    "Endpoints",
    "EntryMode",
    "ExitLayout",
    "Fault",
    "ForeignDebt",
    "LogFormat",
    "LogLevel",
    "OrderTransport",
    "Origin",
    "PaperAtEnd",
    "PaperSettings",
    "PlanBOrder",
    "Settings",
    "SettingsError",
    "SignalStart",
    "SlAfterTp1",
    "Sound",
    "StopMode",
    "Topic",
    "TradeMode",
    "TrailMode",
    "load_paper_settings",
    "load_settings",
    "to_ms",
]
