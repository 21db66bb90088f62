"""The story of every order, trade and signal of simulated lives: `python -m tests.ops.stories --trades 1000`."""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.sim.choices import Choices
from tests.sim.world import World

from executor.core.model.events import AnyEvent, SignalSeen
from executor.core.model.state import State
from executor.core.transition import Step
from executor.ops import story
from executor.ops.replay import Told

FIRST_SEED = 77_000_000


class Journaled(World):
    """A simulated service whose every step is kept as a journal would tell it again."""

    told: list[Told]

    def stepped(self, event: AnyEvent, before: State, step: Step) -> None:
        if not hasattr(self, "told"):
            self.told = []
        self.told.append(Told(len(self.told), "", event, step, None))
        super().stepped(event, before, step)


class Names(NamedTuple):
    """What can be asked about in one life."""

    orders: set[str]
    trades: set[str]
    signals: set[str]


def lived(seed: int) -> Journaled:
    world = Journaled(Choices(FIRST_SEED + seed))
    world.run()
    return world


def names_in(told: list[Told]) -> Names:
    positions = [each.step.state.position for each in told]
    return Names(
        {order.id for position in positions if position is not None for order in position.orders},
        {position.trade for position in positions if position is not None},
        {each.event.signal.key for each in told if isinstance(each.event, SignalSeen)},
    )


def check_life(told: list[Told]) -> Names:
    """Ask about everything: each answer is about what was asked, and says something."""
    names = names_in(told)
    for name in names.orders:
        said = story.tell(told, name)
        assert name in said.partition("\n")[0], said
        assert len(said.splitlines()) > 1, said
    for trade in names.trades:
        said = story.tell(told, trade)
        assert f"trade {trade}" in said.partition("\n")[0], said
        assert len(said.splitlines()) > 1, said
    for signal in names.signals:
        said = story.tell(told, signal)
        assert f"signal {signal}" in said, said
        assert len(said.splitlines()) > 1, said
    return names


def lives(first: int) -> Iterator[tuple[int, Names]]:
    """For ever, each with its seed."""
    while True:
        yield first, check_life(lived(first).told)
        first += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=1000, help="ask until so many trades have been asked about")
    parser.add_argument("--seed", type=int, default=0, help="the first life")
    wanted = parser.parse_args()
    began, orders, trades, signals = time.monotonic(), 0, 0, 0
    for seed, names in lives(wanted.seed):
        orders, trades, signals = orders + len(names.orders), trades + len(names.trades), signals + len(names.signals)
        if trades >= wanted.trades:
            print(  # noqa: T201  (it is a program)
                f"seeds {wanted.seed} to {seed}: {trades} trades, {orders} orders, {signals} signals, each with its"
                f" story, in {time.monotonic() - began:.0f} s"
            )
            return


if __name__ == "__main__":
    main()
