"""What is no HTTP request: the library answers it by itself, and tells nobody but its logger.

That logger writes nothing: whoever sends such things would fill the log with tracebacks. It counts, and hands on why.
"""

import logging
from collections.abc import Callable
from typing import Final

from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from executor.service.inlets.access import DeniedError

_WORDS_MAX: Final = 80
_REFUSED: Final = 400


def parser_log(on_refused: Callable[[str | None, DeniedError], None]) -> logging.Logger:
    """A logger for the library. `on_refused` hears whose bytes were no request, and why."""
    logger = logging.Logger("webhook", logging.DEBUG)  # noqa: LOG001  no logger that others share
    logger.addHandler(_Refusals(on_refused))
    return logger


class _Refusals(logging.Handler):
    def __init__(self, on_refused: Callable[[str | None, DeniedError], None]) -> None:
        super().__init__()
        self._on_refused = on_refused

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            remote = record.args[0] if isinstance(record.args, tuple) and record.args else None
            self._on_refused(None if remote is None else str(remote), DeniedError(_REFUSED, _why(error)))


def _why(error: HttpProcessingError) -> str:
    """In the library's words, without the bytes that it quotes: a secret may be among them."""
    if isinstance(error, LineTooLong):
        return "a line of its head is too long for a signal's"
    if "HTTPS" in error.message:
        return "HTTPS, where plain HTTP is spoken: send to http://, or through a proxy that ends the TLS"
    said = error.message.partition("\n")[0].partition('"')[0].partition("b'")[0].strip(" :.")[:_WORDS_MAX]
    return f"no HTTP request: {said or type(error).__name__}"
