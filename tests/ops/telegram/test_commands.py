"""What the chat's commands answer and do, on a service that trades."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.ops.telegram.fake_bot import markup_fault
from tests.scenarios.harness import Harness, World, harness

from executor.core.model.events import AnyEvent, Commanded, Verb
from executor.core.model.state import Reason
from executor.core.model.values import Direction
from executor.core.transition import Step
from executor.ops.telegram import traded as module
from executor.ops.telegram.commands import COMMANDS, Commands, Reply
from executor.ops.telegram.confirm import OPEN_MAX, VALID_S, Questions
from executor.ops.telegram.traded import traded_of
from executor.ops.why import remember
from executor.service.inbox import always

WORLD = World(Direction.LONG, "OCO", pushes=True)


class Operator:
    """The commands of a running service, with a clock for questions."""

    def __init__(self, bench: Harness) -> None:
        self.bench = bench
        self.monotonic = 0.0
        self.commands = Commands(lambda: traded_of(bench.loops), Questions(lambda: self.monotonic))

    async def replies(self, line: str) -> list[Reply]:
        """As the listener calls it, while time passes for the service."""
        name, *words = line.split()
        asked = asyncio.create_task(self.commands.answer(name, words))
        while not asked.done():
            await self.bench.settle()
            await asyncio.sleep(0.001)
        for reply in asked.result():
            assert markup_fault(reply.text) == ""
        return asked.result()

    async def say(self, line: str) -> str:
        return "\n".join(reply.text for reply in await self.replies(line))

    async def press(self, reply: Reply, label: str) -> str:
        return await self.commands.pressed(dict(reply.buttons)[label])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Harness]:
    async with harness(tmp_path, WORLD) as found:
        yield found


@pytest.fixture
def operator(bench: Harness) -> Operator:
    return Operator(bench)


def test_a_question_is_good_for_a_minute_from_when_it_is_shown() -> None:
    now = 0.0
    questions = Questions(lambda: now)
    (_, yes), _ = questions.ask("LTCUSDT", "7")
    now = VALID_S + 30
    questions.shown(yes)
    now += VALID_S - 1
    question, close, _ = questions.take(yes)
    assert question is not None
    assert close
    questions.shown(yes)
    assert questions.take(yes)[0] is None


async def test_help_names_every_command(operator: Operator) -> None:
    for line in ("help", "start", "nonsense"):
        told = await operator.say(line)
        assert all(f"/{name}: " in told for name, _ in COMMANDS)
    assert "/nonsense is no command" in await operator.say("nonsense")


async def test_status_without_and_with_a_trade(operator: Operator, bench: Harness) -> None:
    assert "no trade is open" in await operator.say("status")
    await bench.enter()
    told = await operator.say("status")
    assert "long 2.997 held, 2.997 covered by stops, protected" in told
    assert "entry 100" in told
    assert "last price 100" in told
    assert "entries: " in told
    await bench.move(-1)
    await bench.ends(Reason.SL)
    assert "last: long SL" in await operator.say("status")


async def test_a_symbol_can_be_named(operator: Operator) -> None:
    assert "LTCUSDT" in await operator.say("status ltcusdt")
    assert "not traded here, but LTCUSDT" in await operator.say("status ETHUSDT")
    assert "not traded here" in await operator.say("flatten <b>")


async def test_check_looks_at_the_exchange(operator: Operator, bench: Harness) -> None:
    await bench.enter()
    assert "as expected" in await operator.say("check")


async def test_a_check_that_is_not_answered_says_so(
    operator: Operator, bench: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_WITHIN_S", 0.05)

    async def never() -> None:
        await asyncio.Event().wait()

    assert bench.loop is not None
    monkeypatch.setattr(bench.loop.exchange, "open_orders", never)
    assert "did not answer within" in await operator.say("check")


async def test_trades_are_listed_the_newest_first(operator: Operator, bench: Harness) -> None:
    assert "No trade has been finished" in await operator.say("trades")
    await bench.enter()
    await bench.move(-1)
    await bench.ends(Reason.SL)
    told = await operator.say("trades")
    assert "LTCUSDT" in told
    assert " SL " in told


async def test_pause_and_resume(operator: Operator, bench: Harness) -> None:
    assert await operator.say("pause") == "LTCUSDT: no new entries"
    assert bench.state.paused
    assert "entries: paused" in await operator.say("status")
    assert await operator.say("resume") == "LTCUSDT: entries are allowed"
    assert not bench.state.paused


async def test_a_command_that_waits_says_so_and_for_how_long(
    operator: Operator, bench: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours later, when there was room on the disk again, it was carried out."""
    monkeypatch.setattr(module, "OBEY_WITHIN_S", 0.01)
    heard: list[Callable[[], bool]] = []

    assert bench.loop is not None
    ask = bench.loop.ask

    async def waits(event: AnyEvent, wanted: Callable[[], bool] = always) -> Step:
        if isinstance(event, Commanded):
            heard.append(wanted)
            await asyncio.Event().wait()
        return await ask(event)

    monkeypatch.setattr(bench.loop, "ask", waits)
    assert "waits its turn: see" in await operator.say("pause")
    assert "waits its turn, 5 minutes at the most: see" in await operator.say("resume")
    assert [wanted() for wanted in heard] == [True, True]
    await bench.wait(module.LATE_S + 1)
    monkeypatch.setattr(bench.loop.exchange, "now", lambda: 0)  # that clock was set back meanwhile
    assert [wanted() for wanted in heard] == [True, False]
    assert bench.said("command_given_up") == 1


# --- flatten ----------------------------------------------------------------------------------------------------------


async def test_flatten_asks_and_yes_closes(operator: Operator, bench: Harness) -> None:
    await bench.enter()
    (question,) = await operator.replies("flatten")
    assert "Close it at market?" in question.text
    assert bench.state.position is not None
    assert await operator.press(question, "Close at market") == "LTCUSDT: being closed at market"
    await bench.ends(Reason.FLATTEN)


async def test_no_is_no_for_good(operator: Operator, bench: Harness) -> None:
    await bench.enter()
    (question,) = await operator.replies("flatten")
    assert "nothing is done" in await operator.press(question, "No")
    assert "void" in await operator.press(question, "Close at market")
    await bench.wait(2)
    assert bench.state.position is not None


async def test_a_yes_counts_once(operator: Operator, bench: Harness) -> None:
    await bench.enter()
    (question,) = await operator.replies("flatten")
    await operator.press(question, "Close at market")
    assert "void" in await operator.press(question, "Close at market")
    await bench.ends(Reason.FLATTEN)


async def test_after_a_minute_it_is_void(operator: Operator, bench: Harness) -> None:
    await bench.enter()
    (question,) = await operator.replies("flatten")
    operator.monotonic = VALID_S
    assert "good for 60 s" in await operator.press(question, "Close at market")
    await bench.wait(2)
    assert bench.state.position is not None


async def test_after_the_trade_it_is_void_also_for_the_next_one(operator: Operator, bench: Harness) -> None:
    await bench.enter()
    (question,) = await operator.replies("flatten")
    await bench.move(-1)
    await bench.ends(Reason.SL)
    (another,) = await operator.replies("flatten")
    assert another == Reply("No trade is open.")
    assert "has ended meanwhile" in await operator.press(question, "Close at market")


async def test_a_yes_closes_no_other_trade_whatever_lay_ahead_of_it(
    bench: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the trade and the command's turn, that trade may end, and another begin."""
    await bench.enter()
    monkeypatch.setattr(module, "is_open", lambda *_: True)
    (traded,) = traded_of(bench.loops)
    told = await traded.obey(Verb.FLATTEN, "7")
    assert not told.done
    assert "trade 7 has ended meanwhile" in told.text
    await bench.wait(2)
    assert bench.state.position is not None


async def test_a_button_of_another_run_is_void(operator: Operator, bench: Harness) -> None:
    await bench.enter()
    (question,) = await operator.replies("flatten")
    assert "void" in await Operator(bench).press(question, "Close at market")
    for data in ("", ":::", "1:2", "x" * 64):
        assert "void" in await operator.commands.pressed(data)
    trade, nonce, _ = question.buttons[0][1].split(":")
    assert "void" in await operator.commands.pressed(f"{trade}9:{nonce}:y")
    assert "void" in await operator.press(question, "Close at market")  # somebody has played with it


def test_so_many_questions_wait_at_once() -> None:
    questions = Questions(lambda: 0.0)
    first = questions.ask("A", "1")
    later = [questions.ask("A", str(n)) for n in range(OPEN_MAX)]
    assert questions.take(first[0][1])[0] is None
    assert questions.take(later[-1][0][1])[1]


# --- why --------------------------------------------------------------------------------------------------------------


async def test_why_tells_of_the_open_and_of_finished_trades(operator: Operator, bench: Harness) -> None:
    assert "Nothing is known" in await operator.say("why")
    await bench.enter()
    told = await operator.say("why")
    assert "signal: long at 100" in told
    assert "2 filled" not in told
    assert " ENTRY_0 BUY at 100: FILLED, 3 of 3 filled" in told
    trade = bench.position.trade
    order = bench.one("SL").client_order_id
    await bench.wait(1)  # its report may be on its way yet
    assert f"{order.removeprefix(f'EX_{trade}_')} SELL at 99: NEW" in await operator.say(f"why {order}")
    await bench.move(-1)
    await bench.ends(Reason.SL)
    for about in ("", trade, "s1", "LTCUSDT", "ltcusdt"):
        assert "the stop was reached" in await operator.say(f"why {about}")


async def test_why_tells_each_decision_with_its_rule_as_it_happened(operator: Operator, bench: Harness) -> None:
    """Orders go by their names without the trade's, and may be asked for so; what was refused is told too."""
    assert bench.loop is not None
    remember(bench.loop)
    await bench.enter()
    told = await operator.say("why")
    assert "signal s1: long at 100" in told
    assert "→ sends ENTRY_0 BUY 3 at 100 (LIMIT): the entry of the plan (3.1)" in told
    assert "ENTRY_0 is FILLED, 3 of 3 filled at 100 on average" in told
    assert "the stop behind what is held (4.1)" in told
    await bench.signal()
    assert "is open" in await operator.say("why s2")
    stop = bench.one("SL").client_order_id
    short = stop.removeprefix(f"EX_{bench.position.trade}_")
    assert await operator.say(f"why {short.lower()}") == await operator.say(f"why {stop}")
    await bench.move(-1)
    await bench.ends(Reason.SL)
    assert "closing: SL, the stop was reached" in await operator.say("why")


async def test_why_of_what_is_not_known(operator: Operator, bench: Harness) -> None:
    await bench.enter()
    for about in ("EX_1_SL_1", "17", "<b>"):
        assert "Nothing is known" in await operator.say(f"why {about}")
