"""What the steps tell of a trade's way."""

import functools
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from tests.ops.samples import ACCOUNT, START, SYMBOL, rules

from executor.core.model.events import AnyEvent
from executor.core.model.policy import Policy
from executor.core.model.signal import Signal
from executor.core.model.state import Closed
from executor.core.model.values import Direction, OrderSide
from executor.core.transition import Step
from executor.ops.reports.paths import POINTS_MAX, PriceAt, Recorder, TradePath, thinned, way_of
from executor.paper.engine.exchange import Engine
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import bundled_exchange_info, demo_signals, demo_trades
from executor.signals.parse import parse_signal
from executor.simulate.market import Simulation

POLICY: Final = Policy(notional=Decimal(100), allow_short=True)


def simulation(on_step: Callable[[AnyEvent, Step], None]) -> Simulation:
    row = next(row for row in bundled_exchange_info()["symbols"] if row["symbol"] == SYMBOL)
    engine = Engine([Symbol.from_exchange_info(row)])
    engine.open_account(ACCOUNT, START)
    return Simulation(engine, ACCOUNT, POLICY, rules(), on_step=on_step)


def signals() -> list[Signal]:
    found = [parse_signal(line) for line in demo_signals().read_text("utf-8").splitlines()]
    return [signal for signal in found if isinstance(signal, Signal)]


@functools.cache
def bundled() -> tuple[dict[str, Closed], dict[str, TradePath]]:
    """The bundled recording's trades, and their ways."""
    recorder, closed = Recorder(), dict[str, Closed]()

    def observe(event: AnyEvent, step: Step) -> None:
        recorder.observe(event, step)
        last = step.state.last_closed
        if last is not None:
            closed[last.trade] = last

    simulation(observe).run(demo_trades(), signals())
    return closed, recorder.finished


def test_every_fill_of_a_trade_is_on_its_way() -> None:
    closed, paths = bundled()
    assert len(closed) >= 5
    assert {trade.direction for trade in closed.values()} == set(Direction)
    for trade in closed.values():
        path = paths[trade.trade]
        into = OrderSide.BUY if trade.direction is Direction.LONG else OrderSide.SELL
        assert sum(fill.qty for fill in path.fills if fill.side == into) == trade.qty
        assert [fill.at for fill in path.fills] == sorted(fill.at for fill in path.fills)


def test_the_stop_s_path_is_steps_that_never_go_against_the_trade() -> None:
    closed, paths = bundled()
    moved = 0
    for trade in closed.values():
        stops = [each.stop for each in paths[trade.trade].stops if each.stop is not None]
        sign = trade.direction.sign
        assert all((after - before) * sign >= 0 for before, after in pairwise(stops))
        moved += len(set(stops)) > 1
    assert moved


def test_time_without_a_stop_is_what_the_trade_says_it_was() -> None:
    closed, paths = bundled()
    for trade in closed.values():
        bare = [span.until - span.since for span in paths[trade.trade].bare]
        assert (sum(bare), max(bare, default=0)) == (trade.unprotected_ms, trade.unprotected_longest_ms)


def test_the_price_is_followed_from_the_signal_to_the_close_in_bounded_space() -> None:
    closed, paths = bundled()
    for trade in closed.values():
        way = way_of(paths[trade.trade])
        assert 2 <= len(way) <= POINTS_MAX + len(paths[trade.trade].fills)
        assert [point.at for point in way] == sorted(point.at for point in way)
        assert way[0].at - trade.opened < 2_000
        assert trade.closed - way[-1].at < 5_000


def test_a_trade_takes_no_more_space_than_is_given_to_it() -> None:
    recorder = Recorder(40)
    simulation(recorder.observe).run(demo_trades(), signals())
    assert list(recorder.finished) == list(bundled()[1])
    for trade, path in recorder.finished.items():
        whole = bundled()[1][trade]
        assert len(path.prices) <= 40
        assert path.fills == whole.fills
        assert min(point.price for point in path.prices) == min(point.price for point in whole.prices)


prices = st.lists(st.decimals(1, 1000, places=2), min_size=1, max_size=4 * POINTS_MAX)


@given(prices)
def test_thinning_keeps_the_highest_and_the_lowest(values: list[Decimal]) -> None:
    points = [PriceAt(at, price) for at, price in enumerate(values)]
    kept = thinned(points)
    assert len(kept) <= len(points) // 2 + 2
    assert (min(p.price for p in kept), max(p.price for p in kept)) == (min(values), max(values))
    assert [p.at for p in kept] == sorted(p.at for p in kept)
    assert set(kept) <= set(points)
