"""Alerts come in without waiting, go out at their pace, and outlive the process."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from tests.ops.alerts.kit import START_MS, Recorder, Time

from executor.config import Topic
from executor.ops.alerts.alerts import RECENT, TEND_EVERY_S, Alerts, outbox_path
from executor.ops.alerts.channel import NotTakenError
from executor.ops.alerts.kinds import Severity
from executor.ops.alerts.noted import noted
from executor.ops.alerts.outbox import SIZE_MAX, Outbox
from executor.ops.alerts.sender import WAIT_CRITICAL_S, WAIT_MAX_S


@pytest.fixture
def time() -> Time:
    return Time()


def made(tmp_path: Path, time: Time, *channels: Recorder) -> Alerts:
    return Alerts(
        Outbox(tmp_path / "s.alerts"), channels, now_ms=time.now_ms, sleep=time.sleep, monotonic=time.monotonic
    )


@contextlib.asynccontextmanager
async def running(alerts: Alerts) -> AsyncIterator[None]:
    task = asyncio.create_task(alerts.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        alerts.close()


async def test_the_first_goes_at_once(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        await time.pass_by(100)
        alerts.tell("failsafe", "closing at market", symbol="LTCUSDT", trade="7", orders="EX_7_SL_1")
        await time.pass_by(0.5)
    ((at, (item,)),) = channel.messages
    assert at == 100.5
    assert (item.alert.symbol, item.alert.trade, item.key.severity) == ("LTCUSDT", "7", Severity.CRITICAL)
    assert alerts.waiting == {"recorder": 0}
    assert alerts.raised == {("failsafe", Severity.CRITICAL): 1}


async def test_a_storm_is_a_few_messages_and_nothing_of_it_is_lost(tmp_path: Path, time: Time) -> None:
    """1,000 events of every severity in half a minute."""
    channel = Recorder(time)
    alerts = made(tmp_path, time, channel)
    events = ["trade_closed", "exit_vanished", "state_file_behind", "unprotected", "close_failed", "signal_refused"]
    async with running(alerts):
        for n in range(1_000):
            alerts.tell(events[n % len(events)], f"text {n}", symbol=f"S{n % 3}", trade=str(n))
            if n % 20 == 0:
                await time.pass_by(0.6)
        await time.pass_by(3 * 3600, step=5)
    sent = [at for at, _ in channel.messages]
    for first in sent:
        assert sum(1 for other in sent if first <= other < first + 60) <= 20
    assert len(sent) < 70
    told: Counter[str] = Counter()
    for item in channel.items:
        told[item.key.event] += item.count
    assert told == Counter(events[n % len(events)] for n in range(1_000))
    first_by_severity = {
        severity: min(at for at, items in channel.messages for i in items if i.key.severity is severity)
        for severity in Severity
    }
    assert first_by_severity[Severity.CRITICAL] <= 2
    assert (tmp_path / "s.alerts").stat().st_size < 2 * SIZE_MAX


async def test_the_graver_are_not_held_up_by_the_rest(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time, room=1)
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        for n in range(100):
            alerts.tell("trade_closed", "x", trade=str(n))
        await time.pass_by(20)
        alerts.tell("unprotected", "bare", symbol="LTCUSDT")
        before = time.seconds
        await time.pass_by(3)
        at = next(at for at, items in channel.messages if items[0].key.event == "unprotected")
        assert at - before <= 2
    assert len(channel.messages) < 20


async def test_a_channel_that_is_down_is_tried_again_and_told_the_newest(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    channel.refusals = [NotTakenError("ConnectError") for _ in range(5)]
    alerts = made(tmp_path, time, channel)
    with structlog.testing.capture_logs() as logs:
        async with running(alerts):
            alerts.tell("exit_vanished", "first")
            await time.pass_by(10)
            alerts.tell("exit_vanished", "second")
            await time.pass_by(60)
    assert [round(b - a) for a, b in zip(channel.tries, channel.tries[1:], strict=False)] == [1, 2, 4, 8, 16]
    ((_, (item,)),) = channel.messages
    assert (item.count, item.texts) == (2, ("first", "second"))
    assert [(line["event"], line.get("tries")) for line in logs] == [
        ("alert_not_sent", 1),
        ("alert_not_sent", 2),
        ("alert_not_sent", 4),
        ("alerts_taken_again", None),
    ]


async def test_however_long_it_is_down_it_is_tried_every_two_minutes(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    channel.refusals = [NotTakenError("ReadTimeout") for _ in range(40)]
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        alerts.tell("exit_vanished", "x")
        await time.pass_by(2 * 3600, step=1)
    assert len(channel.messages) == 1
    assert max(b - a for a, b in zip(channel.tries, channel.tries[1:], strict=False)) <= WAIT_MAX_S + 2


async def test_what_is_critical_does_not_wait_for_a_long_pause(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    channel.refusals = [NotTakenError("ReadTimeout") for _ in range(8)]
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        alerts.tell("exit_vanished", "x")
        await time.pass_by(140)  # the pauses are minutes by now
        alerts.tell("unprotected", "bare")
        await time.pass_by(WAIT_CRITICAL_S + 2)
    assert {item.key.event for item in channel.items} == {"unprotected", "exit_vanished"}


async def test_a_wish_for_silence_is_obeyed_also_by_what_is_critical(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    channel.refusals = [NotTakenError("too many messages", again_in=90.0)]
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        alerts.tell("exit_vanished", "x")
        await time.pass_by(5)
        alerts.tell("unprotected", "bare")
        await time.pass_by(84)
        assert channel.messages == []
        await time.pass_by(5)
    assert len(channel.messages) == 1


async def test_what_will_never_be_taken_does_not_keep_the_others_from_it(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    channel.refusals = [NotTakenError("400 text is too odd", hopeless=True)]
    alerts = made(tmp_path, time, channel)
    with structlog.testing.capture_logs() as logs:
        async with running(alerts):
            alerts.tell("exit_vanished", "odd")
            await time.pass_by(2)
            alerts.tell("failsafe", "next")
            await time.pass_by(3)
    assert [item.alert.text for item in channel.items] == ["next"]
    assert [(line["event"], line["text"]) for line in logs] == [("alert_given_up", "odd")]


async def test_one_channel_that_hangs_holds_up_neither_the_other_nor_who_tells(tmp_path: Path, time: Time) -> None:
    hanging, sound = Recorder(time, "hanging"), Recorder(time, "sound")
    hanging.hang = asyncio.Event()
    alerts = made(tmp_path, time, hanging, sound)
    async with running(alerts):
        for n in range(50):
            alerts.tell("trade_closed", "x", trade=str(n))
        await time.pass_by(20)
        assert sum(item.count for item in sound.items) == 50
        assert alerts.waiting["hanging"] == 50
    again = made(tmp_path, time, Recorder(time, "hanging"))
    assert again.waiting == {"hanging": 50}


async def test_kinds_that_are_off_or_silent(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    channel.off, channel.silent = {Topic.DAILY}, {Topic.OPENED}
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        alerts.tell("daily_summary", "nobody wants this")
        alerts.tell("trade_opened", "quiet", trade="1")
        alerts.tell("trade_closed", "loud", trade="1")
        await time.pass_by(5)
    assert [[item.key.event for item in items] for _, items in channel.messages] == [["trade_opened"], ["trade_closed"]]


# --- across restarts --------------------------------------------------------------------------------------------------


async def test_what_was_not_sent_is_sent_after_the_restart_and_nothing_twice(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        alerts.tell("failsafe", "sent")
        await time.pass_by(2)
    alerts.tell("exit_vanished", "not sent")  # nobody runs any more: as in a process that is killed
    later = Recorder(time)
    again = made(tmp_path, time, later)
    assert again.waiting == {"recorder": 1}
    async with running(again):
        await time.pass_by(5)
    assert [item.alert.text for item in later.items] == ["not sent"]
    third = made(tmp_path, time, Recorder(time))
    assert third.waiting == {"recorder": 0}


async def test_repeats_stay_repeats_across_a_restart(tmp_path: Path, time: Time) -> None:
    """A service that dies again and again says so once a minute at most, then less often."""
    messages = 0
    for _ in range(60):
        channel = Recorder(time)
        alerts = made(tmp_path, time, channel)
        async with running(alerts):
            alerts.tell("died", "RuntimeError: see the log")
            await time.pass_by(5)
        messages += len(channel.messages)
    assert messages == 2  # at once and after a minute; the third is due after five more


async def test_a_channel_that_is_gone_keeps_nothing_and_a_new_one_begins_empty(tmp_path: Path, time: Time) -> None:
    alerts = made(tmp_path, time, Recorder(time, "old"))
    alerts.tell("failsafe", "x")
    again = made(tmp_path, time, Recorder(time, "new"))
    assert again.waiting == {"new": 0}
    assert again._n == 1


async def test_marks_are_remembered(tmp_path: Path, time: Time) -> None:
    alerts = made(tmp_path, time)
    alerts.mark("daily", "1")
    alerts.mark("daily", "2")
    assert made(tmp_path, time).marked("daily") == "2"
    assert made(tmp_path, time).marked("none") == ""


async def test_damage_is_told(tmp_path: Path, time: Time) -> None:
    (tmp_path / "s.alerts").write_bytes(b"rubbish\n")
    alerts = made(tmp_path, time, Recorder(time))
    assert [alert.event for alert in alerts.recent] == ["alerts_damaged"]


async def test_the_file_is_written_anew_when_it_has_grown(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        for n in range(2_000):
            alerts.tell("exit_vanished", "x" * 200)
            if n % 100 == 0:
                await time.pass_by(1)
        await time.pass_by(30)
        await asyncio.sleep(0.05)  # the sync is a thread's
        await time.pass_by(30)
        assert (tmp_path / "s.alerts").stat().st_size < SIZE_MAX
    again = made(tmp_path, time, Recorder(time))
    waiting = sum(each.count for each in again.senders["recorder"].queue.waiting())
    assert waiting + sum(item.count for item in channel.items) == 2_000


async def test_a_disk_that_takes_nothing_costs_nothing_else(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Recorder(time)
    alerts = made(tmp_path, time, channel)
    real = os.write

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    async with running(alerts):
        await time.pass_by(1)
        monkeypatch.setattr(os, "write", full)
        alerts.tell("failsafe", "told all the same")
        await time.pass_by(2)
        assert [item.alert.text for item in channel.items] == ["told all the same"]
        channel.refusals = [NotTakenError("down", again_in=1e9)]
        alerts.tell("exit_vanished", "waits")
        await time.pass_by(1)
        monkeypatch.setattr(os, "write", real)
        await time.pass_by(2 * TEND_EVERY_S)
    assert made(tmp_path, time, Recorder(time)).waiting == {"recorder": 1}


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tests.ops.alerts.kit import Recorder, Time
    from executor.ops.alerts.alerts import Alerts
    from executor.ops.alerts.outbox import Outbox
    alerts = Alerts(Outbox(Path(sys.argv[1])), [Recorder(Time())])
    alerts.tell("failsafe", "the last words", trade="1")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_right_after_an_alert_loses_nothing(tmp_path: Path, time: Time) -> None:
    path = tmp_path / "s.alerts"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[3])])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path)], env=environ, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    alerts = Alerts(Outbox(path), [Recorder(time)])
    (waiting,) = alerts.senders["recorder"].queue.waiting()
    assert waiting.alert.text == "the last words"


# --- what comes in ----------------------------------------------------------------------------------------------------


async def test_log_lines_that_are_alerts_are_told_with_their_context(tmp_path: Path, time: Time) -> None:
    alerts = made(tmp_path, time)
    with structlog.contextvars.bound_contextvars(symbol="BNBUSDT"):
        alerts.overhear(None, "error", {"event": "state_unwritable", "alert": True, "error": "full", "trade": None})
        alerts.overhear(None, "error", {"event": "nothing", "error": "full"})
        with noted():
            alerts.overhear(None, "error", {"event": "failsafe", "alert": True, "text": "a note"})
    alerts.overhear(None, "error", {"event": "webhook_failed", "alert": True, "text": "why", "status": 500})
    alerts.overhear(None, "error", {"event": "unheard_of", "alert": True, "order": "EX_1_SL_1", "trade": "1"})
    told = [(each.event, each.symbol, each.text, each.orders, each.trade) for each in alerts.recent]
    assert told == [
        ("state_unwritable", "BNBUSDT", "error full", "", ""),
        ("webhook_failed", "", "why (status 500)", "", ""),
        ("unheard_of", "", "", "EX_1_SL_1", "1"),
    ]
    assert alerts.recent[-1].severity is Severity.WARNING


async def test_any_text_can_be_told(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    alerts = made(tmp_path, time, channel)
    for text in ("\ud800", "\x00\x1b[31m", "x" * 100_000, "𝔘" * 5_000, "", "\n\n"):
        alerts.tell("failsafe", text, orders=text)
    assert Outbox(tmp_path / "s.alerts").damaged == 0
    assert all(len(each.text) <= 600 for each in alerts.recent)
    assert alerts.recent[1].text == "[31m"


async def test_an_account_or_symbol_that_is_no_text_can_be_told_of(tmp_path: Path, time: Time) -> None:
    """The name of a file in the folder of accounts may be any bytes."""
    channel = Recorder(time)
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        odd = os.fsdecode(b"b\xff")
        alerts.tell("account_left_out", "x", account=odd, symbol=odd, trade=odd, orders=odd, facts={"why": odd})
        await time.pass_by(1)
    (item,) = channel.items
    assert (item.alert.account, item.alert.symbol, item.alert.facts) == ("b?", "b?", {"why": "b?"})


async def test_memory_is_bounded(tmp_path: Path, time: Time) -> None:
    alerts = made(tmp_path, time, Recorder(time))
    for n in range(5_000):
        alerts.tell("trade_closed", "x", trade=str(n), symbol=f"S{n % 5}")
    assert len(alerts.recent) == RECENT
    assert alerts.waiting["recorder"] <= 210
    assert sum(each.count for each in alerts.senders["recorder"].queue.waiting()) == 5_000


async def test_of_the_recent_ones_the_least_grave_give_way_first(tmp_path: Path, time: Time) -> None:
    alerts = made(tmp_path, time)
    alerts.tell("failsafe", "grave")
    for n in range(2 * RECENT):
        alerts.tell("trade_closed", f"{n}")
    assert [each.text for each in alerts.recent[:2]] == ["grave", f"{RECENT + 1}"]
    for n in range(RECENT):
        alerts.tell("failsafe", f"{n}")
    assert {each.event for each in alerts.recent} == {"failsafe"}
    assert [each.text for each in alerts.recent] == [f"{n}" for n in range(RECENT)]


async def test_whoever_listens_hears_each(tmp_path: Path, time: Time) -> None:
    alerts, heard = made(tmp_path, time), list[str]()
    alerts.on_alert.append(lambda alert: heard.append(alert.event))
    alerts.tell("paused", "x")
    assert heard == ["paused"]


async def test_the_end_waits_for_what_is_due_and_no_longer(tmp_path: Path, time: Time) -> None:
    channel = Recorder(time)
    alerts = made(tmp_path, time, channel)
    async with running(alerts):
        alerts.tell("stopped", "")
        await alerts.flush()
        assert [item.key.event for item in channel.items] == ["stopped"]


def test_the_outbox_is_beside_the_state() -> None:
    assert outbox_path(Path("/data/state.json")) == Path("/data/state.json.alerts")


def test_times_are_this_machines(tmp_path: Path, time: Time) -> None:
    alerts = made(tmp_path, time)
    alerts.tell("paused", "x")
    assert alerts.recent[0].at == START_MS
    assert Alerts(None, ()).now_ms() > START_MS
