"""Log lines, and those that are kept."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from executor.config import LogFormat, LogLevel
from executor.ops import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_the_last_lines_are_kept_as_json_whatever_is_printed(
    log_format: LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    logs.set_up(log_format, LogLevel.INFO)
    log = structlog.get_logger()
    for n in range(logs.KEPT + 5):
        log.info("counted", n=n)
    log.debug("not_said")
    kept = [json.loads(line) for line in logs.recent(logs.KEPT * 2)]
    assert [line["n"] for line in kept] == list(range(5, logs.KEPT + 5))
    assert json.loads(logs.recent(1)[0])["event"] == "counted"
    assert logs.recent(0) == []
    assert len(out.getvalue().splitlines()) == logs.KEPT + 5


def test_a_service_s_log_loads_no_library_for_colours() -> None:
    """4 MB; a command that has it already keeps it."""
    told = "import executor.cli.run, sys; print('rich' in sys.modules); import rich; print(rich.__name__)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "rich"]
