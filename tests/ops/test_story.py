"""What `executor why` tells: right on a known run, and never failing on trades that met everything."""

import pytest
from tests.sim.choices import Choices
from tests.sim.world import World

from executor.core.model.events import AnyEvent
from executor.core.model.state import State
from executor.core.transition import Step
from executor.ops import story
from executor.ops.replay import Told

SEEDS = 60


class Journaled(World):
    """A simulated service whose every step is kept as a journal would tell it again."""

    told: list[Told]

    def stepped(self, event: AnyEvent, before: State, step: Step) -> None:
        if not hasattr(self, "told"):
            self.told = []
        self.told.append(Told(len(self.told), "", event, step, None))
        super().stepped(event, before, step)


@pytest.mark.parametrize("batch", range(3))
def test_every_order_of_simulated_trades_has_its_story(batch: int) -> None:
    """Faults, crashes, lost states, hands: each order of each trade can be asked about, and says something."""
    orders = 0
    for seed in range(batch * SEEDS // 3, (batch + 1) * SEEDS // 3):
        world = Journaled(Choices(77_000_000 + seed))
        world.run()
        names = {
            order.id
            for told in world.told
            if told.step.state.position is not None
            for order in told.step.state.position.orders
        }
        for name in names:
            said = story.tell(world.told, name)
            assert name in said.partition("\n")[0]
            assert len(said.splitlines()) > 1
        trades = {name.split("_")[1] for name in names}
        for trade in trades:
            said = story.tell(world.told, trade)
            assert f"trade {trade}" in said
        orders += len(names)
    assert orders > 100


def test_what_nobody_knows_is_an_error_that_names_the_latest() -> None:
    world = Journaled(Choices(plan=[]))
    world.run()
    with pytest.raises(
        story.NotInJournal, match=r"EX_9_SL_1 is no trade, order or signal of this journal; the latest are "
    ):
        story.tell(world.told, "EX_9_SL_1")
    with pytest.raises(story.NotInJournal, match="knows of no signal and no trade yet"):
        story.tell([], "")
