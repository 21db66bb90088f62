import pytest

from executor.ops import logs


@pytest.fixture(autouse=True)
def _logs_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that runs in this process must not set up logging for the tests after it."""
    monkeypatch.setattr(logs, "set_up", lambda *_: None)
