"""A state file written before ended orders were let go: it is read, and gets smaller from its first step on."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from tests.core.build import RULES, Script, trailing

from executor.core.book import retire
from executor.core.invariants import unsound
from executor.core.model.ids import Role
from executor.core.model.state import SCHEMA_VERSION, Reason
from executor.service.store.document import Document, contradiction, document_of, state_of
from executor.service.store.state_store import StateStore, seal


def older(script: Script) -> dict[str, object]:
    """The document of its state, as it was laid out then."""
    document: dict[str, object] = msgspec.to_builtins(document_of(script.state), builtin_types=(Decimal,))
    position = document["position"]
    assert isinstance(position, dict)
    del position["retired"]
    return document


def test_it_is_read_and_gets_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StateStore(tmp_path / "executor_state.json", schema_version=SCHEMA_VERSION)
    with monkeypatch.context() as then:
        then.setattr(retire, "MANY", 1_000_000)
        script = trailing()
        for _ in range(300):
            script.quote(script.last + Decimal("0.05"), after=1_000)
            script.settle()
        store.save(older(script))
    large = len(store.path.read_bytes())
    loaded = store.load(Document, unsound=contradiction)
    assert loaded is not None
    script.state = state_of(loaded.value)
    assert unsound(script.state, script.policy, RULES) == []
    script.restart()
    script.settle()
    assert len(script.position.orders) <= retire.MANY
    assert script.position.retired > 250
    assert len(seal(document_of(script.state), SCHEMA_VERSION)) < large / 5
    script.quote(script.last + Decimal("0.05"), after=1_000)
    script.settle()
    script.fill(Role.TRAIL)
    script.settle()
    assert script.closed.reason is Reason.TRAIL
