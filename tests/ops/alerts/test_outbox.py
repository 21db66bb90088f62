"""What was raised survives the process; a disk that takes nothing keeps nobody waiting."""

import errno
import os
from pathlib import Path

import msgspec
import pytest
import structlog
from msgspec.structs import replace

from executor.ops.alerts.alert import Alert
from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.outbox import Before, Done, Mark, Outbox, Raised, Record
from executor.ops.alerts.queue import TEXTS_KEPT, Key, Known
from executor.ops.alerts.wording import TEXT_MAX


def raised(n: int) -> Raised:
    alert = Alert(event="failsafe", text=f"text {n} – ü", at=n, severity=Severity.CRITICAL, facts={"a": "b"})
    return Raised(n=n, alert=alert, to=("telegram",))


RECORDS: list[Record] = [raised(1), Mark("daily", "20000"), raised(2), Done("telegram", 1, 1, 5)]


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "s.alerts")
    for record in RECORDS:
        outbox.append(record)
    again = Outbox(tmp_path / "s.alerts")  # the first was not closed: as after a kill
    assert again.records == RECORDS
    assert (again.damaged, again.behind) == (0, False)
    assert (tmp_path / "s.alerts").stat().st_mode & 0o777 == 0o600
    outbox.close()
    again.close()


def test_what_hundreds_of_accounts_wait_to_tell_is_there_again(tmp_path: Path) -> None:
    """Each of ten kinds, with the texts that are kept of repeats."""
    texts = ("t" * TEXT_MAX,) * TEXTS_KEPT
    waiting: list[Record] = [
        Raised(n=n, alert=replace(raised(n).alert, account=f"A{n % 400}"), to=("telegram",), count=9, texts=texts)
        for n in range(4_000)
    ]
    Outbox(tmp_path / "s.alerts").rewrite(waiting)
    again = Outbox(tmp_path / "s.alerts")
    assert again.aside is None
    assert again.records == waiting


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Outbox(tmp_path / "none").records == []


def test_a_line_that_was_cut_is_left_out_and_not_grown_onto(tmp_path: Path) -> None:
    path = tmp_path / "s.alerts"
    outbox = Outbox(path)
    for record in RECORDS:
        outbox.append(record)
    outbox.close()
    with path.open("ab") as file:
        file.write(b'{"type":"raised","n":3')
    again = Outbox(path)
    assert again.records == RECORDS
    assert again.behind  # to be written anew before anything is appended
    again.rewrite(again.records)
    again.append(raised(4))
    again.close()
    assert Outbox(path).records == [*RECORDS, raised(4)]


_KEY = b'{"event":"failsafe","symbol":"","severity":2}'
_RAISED = b'{"type":"raised","n":1,"to":["telegram"],"alert":{"event":"failsafe","text":"x","severity":2,"at":'
ODD_NUMBERS = (
    b'{"type":"before","by":"telegram","known":{"key":' + _KEY + b',"sent":1,"times":-9,"heard":1}}\n',
    b'{"type":"before","by":"telegram","known":{"key":' + _KEY + b',"sent":1,"times":0,"heard":1}}\n',
    _RAISED + b"-1000000000000000000}}\n",
    _RAISED + b'1},"count":2,"since":1000000000000000000}\n',
    _RAISED + b'1},"count":-2}\n',
    b'{"type":"done","by":"telegram","n":1,"count":0,"at":1}\n',
    b'{"type":"done","by":"telegram","n":1,"count":1,"at":5000000000000}\n',
)


@pytest.mark.parametrize("rubbish", [b"\xff\xfe\n", b"[1]\n", b"{}\n", b"[" * 100_000 + b"\n", b"\n", *ODD_NUMBERS])
def test_damaged_lines_are_counted_and_the_rest_is_read(tmp_path: Path, rubbish: bytes) -> None:
    path = tmp_path / "s.alerts"
    outbox = Outbox(path)
    outbox.append(raised(1))
    outbox.close()
    with path.open("ab") as file:
        file.write(rubbish)
    more = Outbox(path)
    more.append(raised(2))
    more.close()
    again = Outbox(path)
    assert (again.records, again.damaged) == ([raised(1), raised(2)], 1)


def test_a_full_disk_is_told_once_and_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(tmp_path / "s.alerts")
    outbox.append(raised(1))
    real = os.write

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with structlog.testing.capture_logs() as logs:
        monkeypatch.setattr(os, "write", full)
        for n in range(2, 5):
            outbox.append(raised(n))
        outbox.rewrite([raised(1)])
        monkeypatch.setattr(os, "write", real)
        outbox.rewrite([raised(n) for n in range(1, 5)])
    assert [line["event"] for line in logs] == ["alerts_not_on_disk", "alerts_on_disk_again"]
    assert not outbox.behind
    assert not (tmp_path / "s.alerts.new").exists()
    outbox.close()
    assert Outbox(tmp_path / "s.alerts").records == [raised(n) for n in range(1, 5)]


def test_a_short_write_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(tmp_path / "s.alerts")
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:10]))
    outbox.append(raised(1))
    assert outbox.behind
    monkeypatch.undo()
    outbox.rewrite([raised(1)])
    outbox.close()
    assert Outbox(tmp_path / "s.alerts").records == [raised(1)]


def test_a_path_that_can_not_be_used_costs_nothing_but_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outbox = Outbox(tmp_path / "file" / "s.alerts")
    assert outbox.behind
    outbox.append(raised(1))
    outbox.rewrite([raised(1)])
    outbox.sync()
    outbox.close()
    assert outbox.behind


def test_a_sync_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(tmp_path / "s.alerts")
    outbox.append(raised(1))

    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with structlog.testing.capture_logs() as logs:
        outbox.sync()
        outbox.sync()  # there is nothing new to sync
    assert [line["event"] for line in logs] == ["alerts_not_synced"]


def test_the_records_of_odd_numbers_are_sound_but_for_those() -> None:
    """Else the lines above would be damaged for another reason."""
    known = Known(key=Key("failsafe", "", Severity.CRITICAL), sent=1, times=9, heard=1)
    sound = [Before("telegram", known), raised(1), msgspec.structs.replace(raised(1), count=2, since=1)]
    assert [decoded(msgspec.json.encode(each)) for each in sound] == sound
    for line in ODD_NUMBERS:
        with pytest.raises(msgspec.ValidationError, match="Expected `int`"):
            decoded(line)


def decoded(line: bytes) -> Record:
    return msgspec.json.decode(line, type=Record)  # type: ignore[no-any-return]
