"""What `executor why` and `/why` tell: right on a known run (tests/golden/why.txt), and never failing on trades that
met everything: faults, crashes, lost states, hands. A thousand trades and more: `python -m tests.ops.stories`.
"""

from collections import deque
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from msgspec.structs import replace
from tests.ops.samples import Walk
from tests.ops.stories import Journaled, check_life, lived, names_in
from tests.sim.choices import Choices

from executor.core.model.events import AnyEvent, Commanded, SignalSeen, Tick, Verb
from executor.core.model.intents import Level, Notify
from executor.core.model.policy import Policy
from executor.core.model.signal import Signal
from executor.core.model.state import Closed
from executor.core.model.values import Direction
from executor.core.model.verdict import Refusal
from executor.core.transition import Step
from executor.ops import story
from executor.ops.memoir import MOMENTS_MAX, Memoir
from executor.ops.replay import Told
from executor.ops.why import why
from executor.service.store.journal import Journal
from executor.service.store.records import Took

SEEDS = 60
GOLDEN: Final = Path(__file__).parents[1] / "golden" / "why_bundled.txt"


def bundled_stories() -> str:
    """What `executor why` says of each signal and each order of the bundled recording."""
    told: list[Told] = []

    def keep(event: AnyEvent, step: Step) -> None:
        told.append(Told(len(told), "", event, step, None))

    policy = Policy(notional=Decimal(100), allow_short=True, base_fees_leave=True)
    for _ in Walk(policy, keep).steps():
        pass
    names = check_life(told)
    orders = sorted(names.orders, key=lambda name: (name.split("_")[1], int(name.rsplit("_", 1)[1])))
    about = [*sorted(names.signals, key=lambda name: int(name.rpartition("-")[2])), *orders]
    return "\n\n".join(f"$ executor why {name}\n{story.tell(told, name)}" for name in about) + "\n"


def test_the_stories_of_the_bundled_run_read_as_they_were_looked_at() -> None:
    """`python -m tests.ops.test_story` writes the golden text anew after a change that is meant; look at it."""
    assert bundled_stories() == GOLDEN.read_text("utf-8")


@pytest.mark.parametrize("batch", range(3))
def test_every_order_trade_and_signal_of_simulated_lives_has_its_story(batch: int) -> None:
    orders = trades = 0
    for seed in range(batch * SEEDS // 3, (batch + 1) * SEEDS // 3):
        names = check_life(lived(seed).told)
        orders, trades = orders + len(names.orders), trades + len(names.trades)
    assert (orders > 100, trades > 20) == (True, True)


@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 12))
async def test_the_short_answer_never_fails_either(seed: int, tmp_path: Path) -> None:
    """What `/why` says: from what was put down from somewhere in between, the journal's end and the list of trades."""
    world = lived(seed)
    with Journal(tmp_path / "journal") as journal:
        for each in world.told:
            journal.append(Took(event=each.event))
    closed: dict[str, Closed] = {}
    for each in world.told:
        if (last := each.step.state.last_closed) is not None:
            closed[last.trade] = last
    first = len(world.told) * (seed % 4) // 4
    memoir = Memoir(world.told[first].step.state, world.told[first].event.at)
    for each in world.told[first + 1 :]:
        memoir.observe(each.event, each.step)
    state = world.told[-1].step.state
    loop = cast("Any", SimpleNamespace(state=state, closed=deque(closed.values()), memoir=memoir if seed % 4 else None))
    names = names_in(world.told)
    for trade in names.trades & closed.keys():
        said = await why(loop, trade, journal.path)
        assert f"trade {trade}" in said.partition("\n")[0]
        assert f"signal {closed[trade].signal}" in said
        assert len(said) < 4_000
    for order in sorted(names.orders)[:5]:
        assert "journal" not in await why(loop, order, journal.path)  # no fault of reading it
    for about in ("", "nobody-knows-this", *sorted(names.signals)[:5]):
        assert isinstance(await why(loop, about, journal.path), str)


async def test_the_short_answer_has_the_commands_of_its_own_trade_alone(tmp_path: Path) -> None:
    world = next(each for each in map(lived, range(SEEDS)) if each.told[-1].step.state.last_closed is not None)
    closed = world.told[-1].step.state.last_closed
    assert closed is not None
    begun = int(closed.trade)
    with Journal(tmp_path / "journal") as journal:
        for at, verb, price in (
            (begun - 1, Verb.PAUSE, None),
            (begun + 1, Verb.FLATTEN, None),
            (begun + 2, Verb.MOVE_STOP, Decimal("81.25")),
            (closed.closed, Verb.FLATTEN, None),
            (closed.closed + 1, Verb.RESUME, None),
        ):
            journal.append(Took(event=Commanded(at=at, verb=verb, price=price)))
    loop = cast("Any", SimpleNamespace(state=world.told[-1].step.state, closed=deque([closed]), memoir=None))
    _, _, _, *lines = (await why(loop, closed.trade, journal.path)).splitlines()
    assert [line.partition("  ")[2] for line in lines] == [
        "the operator: flatten",
        "the operator: move_stop 81.25",
        "the operator: flatten",
    ]


def test_what_is_put_down_is_what_the_journal_tells() -> None:
    """The same lines; of no more trades than are kept, and of none more moments than that; the open one is kept."""
    told: list[Told] = []

    def keep(event: AnyEvent, step: Step) -> None:
        told.append(Told(len(told), "", event, step, None))

    walk = Walk(Policy(notional=Decimal(100), allow_short=True), keep)
    memoir = Memoir(walk.session.state, 0)
    for _ in walk.steps():
        pass
    for each in told:
        memoir.observe(each.event, each.step)
    for trade in names_in(told).trades:
        assert memoir.begins(trade)
        _, *lines = story.tell(told, trade).splitlines()
        assert [line.strip() for line in memoir.lines(trade, "")] == [line.strip() for line in lines]
    assert "is open" in "".join(memoir.refusal("demo-5"))
    state = next(each.step.state for each in reversed(told) if each.step.state.position is not None)
    assert state.position is not None
    step = replace(told[-1].step, state=state, notes=(Notify(Level.INFO, "it", "happened"),))
    for n in range(2 * MOMENTS_MAX):
        signal = Signal(key=f"late-{n}", at=n, direction=Direction.LONG, price=Decimal(80))
        refused = SignalSeen(at=n, signal=signal, quote=None, balances={}, klines=())
        memoir.observe(refused, replace(step, verdict=Refusal("too late")))
        memoir.observe(Tick(at=n), step)
    first, *rest = memoir.lines(state.position.trade, "")
    assert "signal demo-11: long" in first
    assert len([line for line in (first, *rest) if not line.startswith(" ")]) == MOMENTS_MAX
    assert not [*memoir.refusal("late-0")]


def test_what_nobody_knows_is_an_error_that_names_the_latest() -> None:
    world = Journaled(Choices(plan=[]))
    world.run()
    with pytest.raises(
        story.NotInJournal, match=r"EX_9_SL_1 is no trade, order or signal of this journal; the latest are "
    ):
        story.tell(world.told, "EX_9_SL_1")
    with pytest.raises(story.NotInJournal, match="knows of no signal and no trade yet"):
        story.tell([], "")


if __name__ == "__main__":
    GOLDEN.write_text(bundled_stories(), "utf-8")
