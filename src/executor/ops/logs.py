"""Log lines: one event name per happening; for people on a terminal, JSON for machines."""

import atexit
import json
import logging
import os
import sys
from collections import deque
from typing import Final

from executor.config import LogFormat, LogLevel
from executor.ops.log_library import structlog
from executor.ops.log_writer import LogWriter

STDERR: Final = 2
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


def take_over_stderr(log_format: LogFormat) -> LogWriter | None:
    """Have everything that this process says on stderr written by a thread, from now on until it ends (rule 8.9): log
    lines, warnings, tracebacks. None where something else stands in stderr's place.
    """
    if sys.stderr is not sys.__stderr__:
        return None
    for descriptor in range(STDERR + 1):  # one that is closed would become the next file that is opened
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    as_json = not _for_people(log_format)

    def lost(count: int) -> str:
        line = {"event": "log_lines_lost", "level": "warning", "count": count}
        return f"{json.dumps(line) if as_json else f'[warning  ] log_lines_lost count={count}'}\n"

    writer = LogWriter(STDERR, lost)
    sys.stderr = writer
    atexit.register(writer.finish)
    return writer


def _for_people(log_format: LogFormat) -> bool:
    return log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and sys.stderr.isatty())


def set_up(log_format: LogFormat, level: LogLevel) -> None:
    """Log to stderr from now on, so that a command's own output stays clean."""
    console = _for_people(log_format)
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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
