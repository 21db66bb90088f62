"""Log lines: one event name per happening; for people on a terminal, JSON for machines."""

import logging
import sys
from collections import deque
from typing import Final

import structlog

from executor.config import LogFormat, LogLevel

KEPT: Final = 1_000
"""Lines kept for `executor logs`: some hours of an open trade, a few hundred kilobytes."""

_recent: Final[deque[str]] = deque(maxlen=KEPT)
_as_json: Final = structlog.processors.JSONRenderer()


def recent(count: int) -> list[str]:
    """The last `count` lines that were logged, oldest first, as JSON, whatever LOG_FORMAT says."""
    return list(_recent)[-count:] if count > 0 else []


def _remember(
    logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    _recent.append(str(_as_json(logger, name, dict(event))))
    return event


def set_up(log_format: LogFormat, level: LogLevel) -> None:
    """Log to stderr from now on, so that a command's own output stays clean."""
    console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _remember,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.value]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
