"""What holds for every test: no settings of this machine, no traffic beyond loopback, no deadlines."""

import gc
import ipaddress
import os
import signal
import socket
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from hypothesis import settings as hypothesis_settings

from executor.config.sources import KNOWN_NAMES

# Machines that run tests are slow by turns, so examples have no deadline; CI tries the same ones each time.
hypothesis_settings.register_profile("local", deadline=None, print_blob=True)
hypothesis_settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "local")

HERE: Final = Path(__file__).parent
WAITING: Final = {
    *(HERE / name for name in ("attack", "fleet", "stranger")),
    *(
        HERE / f"crash/test_{name}.py"
        for name in ("brackets", "kill", "lost_state", "margin_kill", "operator", "restart", "suspended")
    ),
}
"""Tests that wait for processes of their own more than they compute."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread those that wait over the others, between their modules and not to the end: so no process that runs tests
    waits with nothing but such tests, and no processor waits for the last of them.
    """
    waiting = [item for item in items if not WAITING.isdisjoint((item.path, *item.path.parents))]
    others = [item for item in items if WAITING.isdisjoint((item.path, *item.path.parents))]
    spread: list[pytest.Item] = []
    placed = seen = 0
    for _, module in groupby(others, lambda item: item.path):
        tests = list(module)
        seen += len(tests)
        due = min(len(waiting), len(waiting) * seen * 10 // (len(others) * 9))
        spread += [*tests, *waiting[placed:due]]
        placed = due
    items[:] = [*spread, *waiting[placed:]]


def pytest_configure() -> None:
    """What is imported and collected is no garbage, and each process that runs tests has all of it: to look for some in
    it takes two fifths of the time of a collection, and again of every full look after it. Tests make little garbage
    that refers to itself, and are over soon: to look for it at every 700 objects takes a twentieth of their time.

    Processes inherit it when a signal is ignored, and a shell has those in the background ignore Ctrl-C: what tests
    start would never end by it.
    """
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _no_settings_of_this_machine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in KNOWN_NAMES:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _loggers_are_not_kept() -> Iterator[None]:
    """A logger that has once been used keeps the stream it was set up with, which is closed with that test."""
    configure = structlog.configure

    def kept_by_none(*args: Any, **kwargs: Any) -> None:
        configure(*args, **{**kwargs, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", kept_by_none)
        yield


@pytest.fixture(autouse=True)
def _logging_is_as_it_was() -> Iterator[None]:
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


def _is_loopback(host: object) -> bool:
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    """A test that would reach another machine fails at the attempt, before a packet leaves."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def allow(sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise AssertionError(f"a test tried to connect to {address}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        allow(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        allow(self, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_loopback(host):
            raise AssertionError(f"a test tried to look up {host!r}")
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield
