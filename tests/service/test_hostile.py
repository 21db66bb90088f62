"""Whatever stands in a file, a signal, or a request to the control socket: it is read, or said to be no such thing."""

import contextlib
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.hostile import bodies

from executor.core.model.signal import Signal
from executor.core.model.state import SCHEMA_VERSION
from executor.core.transition import empty
from executor.ops.alerts.outbox import Outbox
from executor.service.asking import Request
from executor.service.inlets.access import DeniedError, Keys, address_of, source_of
from executor.service.inlets.webhook import _texts
from executor.service.store import codec
from executor.service.store.document import Document, contradiction, document_of
from executor.service.store.journal import JournalCorrupt, JournalReader
from executor.service.store.lock import _holder
from executor.service.store.records import Record
from executor.service.store.state_store import StateError, StateStore, seal
from executor.service.store.trades import read_trades
from executor.signals.alert import line_of, secret_in
from executor.signals.parse import Malformed, SignalFault, parse_signal, read_object
from executor.signals.position import BEGINNING, PositionFile

STATE: Final = seal(document_of(empty("BTCUSDT", "paper")), SCHEMA_VERSION)
POSITION: Final = b'{"path":"/x/signals.jsonl","position":{"inode":5,"offset":0,"fingerprint":"x"}}'
HOLDER: Final = b'{"pid":1,"host":"h","started":"2026-01-01T00:00:00+00:00"}'
ASKED: Final = [
    b'{"verb":"move-stop","price":"81.20"}',
    b'{"verb":"logs","count":5}',
    b'{"verb":"resolve","takeover":{"how":"adopt","trade":"1","stop":"80","targets":["81","82"]}}',
]
SIGNALS: Final = [
    b'{"ts":1750000000000,"id":"s1","symbol":"LTCUSDT","side":"long","price":"100","stop":"98","targets":["102","104"]}',
    b'{"ts":"2026-03-01T10:15:00Z","action":"PEAK","kind":"long","price":81258.08}',
    (
        b'{"secret":"0123456789abcdef","ticker":"BINANCE:LTCUSDT","action":"buy","close":"100","id":"x",'
        b'"timenow":"2026-03-01T10:15Z","market_position":"long","prev_market_position":"flat"}'
    ),
]
quick: Final = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(bodies(STATE))
def test_a_state_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "state.json"
    for name in (path, path.with_name("state.json.prev"), path.with_name("state.json.ahead")):
        name.write_bytes(data)
    with contextlib.suppress(StateError):
        StateStore(path, schema_version=SCHEMA_VERSION).peek(Document, unsound=contradiction)


@quick
@given(st.lists(bodies(HOLDER), max_size=3))
def test_a_journal_and_the_list_of_trades(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"\n".join([*lines, b""]))
    kind: Any = Record
    with contextlib.suppress(JournalCorrupt):
        list(JournalReader(path, kind))
    with contextlib.suppress(JournalCorrupt):
        list(read_trades(path))


@quick
@given(bodies(POSITION, HOLDER))
def test_the_small_files_beside_the_state(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "small"
    path.write_bytes(data)
    found = PositionFile(path).load(Path("/x/signals.jsonl"))
    assert found is None or found == BEGINNING or found.offset >= 0 or found.offset < 0
    with path.open("rb") as file:
        _holder(file.fileno())
    Outbox(path).close()


def test_a_place_that_is_no_place_is_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"x" * 200_000)
    assert PositionFile(path).load(Path("/x/signals.jsonl")) == BEGINNING


@given(bodies(*ASKED))
def test_a_request_to_the_control_socket(data: bytes) -> None:
    try:
        found = codec.decode(codec.unambiguous(data), type=Request)
    except codec.CodecError:
        return
    codec.encode(found)


@given(bodies(*SIGNALS))
def test_a_line_of_the_signal_file(data: bytes) -> None:
    found = parse_signal(data)
    codec.encode(found)
    if isinstance(found, Malformed):
        assert found.fault.isprintable()
        assert found.text.isprintable()


@given(bodies(*SIGNALS))
def test_the_body_of_a_webhook(data: bytes) -> None:
    try:
        fields = read_object(data)
    except SignalFault as fault:
        codec.encode(Malformed(str(fault), ""))
        return
    secret_in(fields)
    list(_texts(fields))
    with contextlib.suppress(SignalFault):
        assert isinstance(parse_signal(line_of(fields, 1_750_000_000_000)), Signal | Malformed)


@given(
    st.dictionaries(
        st.sampled_from(["X-Webhook-Secret", "X-Webhook-Time", "X-Webhook-Signature"]), st.text(), max_size=3
    ),
    st.binary(),
    st.lists(st.text(), max_size=3),
)
def test_the_headers_of_a_webhook(headers: dict[str, str], body: bytes, forwarded: list[str]) -> None:
    peer = address_of("127.0.0.1")
    assert peer is not None
    source_of(peer, forwarded, ())
    with contextlib.suppress(DeniedError):
        Keys("0123456789abcdef", "fedcba9876543210", 60).check(headers, body, "", 1_750_000_000.0)


@pytest.mark.parametrize("depth", [400, 900, 5_000])
def test_a_body_that_is_nested_as_deep_as_can_be_read(depth: int) -> None:
    data = b'{"id":' + b"[" * depth + b"]" * depth + b"}"
    try:
        fields = read_object(data)
    except SignalFault:
        return
    list(_texts(fields))
    with contextlib.suppress(SignalFault):
        line_of(fields, 1_750_000_000_000)
