"""What a campaign on the wire has done and found."""

import msgspec


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One life of the daemon. Times in ms; `ready` 0: it died before it traded."""

    moment: str
    began: int
    ready: int
    ended: int
    spawned: bool


class Nap(msgspec.Struct, frozen=True):
    """A time in which the daemon was suspended (SIGSTOP), in ms."""

    since: int
    until: int


class Report(msgspec.Struct, kw_only=True):
    """`start_ms`: from the start of a process until it traded, by how it was started. `bare_ms`, `at_work_ms`: per
    trade (`exchange_books.TradeTruth`), sorted. `garbage`: by the way on which it came; `log_readers`: lives whose log
    was read badly; `watchers`: requests that met a bad Telegram, and pages that were never read.
    """

    seed: int
    kills: int = 0
    terms: int = 0
    naps: int = 0
    seconds: float = 0.0
    trades: int = 0
    filled: int = 0
    orders: int = 0
    deaths: dict[str, int] = {}
    phases: dict[str, int] = {}
    faults: dict[str, int] = {}
    garbage: dict[str, int] = {}
    log_readers: dict[str, int] = {}
    watchers: dict[str, int] = {}
    readings: dict[str, int] = {}
    reasons: dict[str, int] = {}
    start_ms: dict[str, list[int]] = {}
    bare_ms: list[int] = []
    at_work_ms: list[int] = []
    bare_longest_ms: int = 0
    bare_up_longest_ms: int = 0
    alerts: dict[str, int] = {}
    violations: list[str] = []
