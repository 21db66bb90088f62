"""A recorded market and its signals, carried out at once: what would these settings have done?

Nothing takes time but the market, as in an embedded run: a request is answered at the moment it is sent, a signal is
seen at the next look into its file, and an open trade asks for the price as often.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, pairwise
from typing import Final

import msgspec

from executor.core.model.events import AnyEvent, Commanded, SignalSeen, Verb
from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import Closed
from executor.core.model.verdict import Refusal
from executor.core.transition import Step
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.model import KlinePath
from executor.paper.engine.tape import kline_trades
from executor.paper.replay.recording import RecordedKline
from executor.simulate.direct import Direct
from executor.simulate.session import Session

LOOK_EVERY_MS: Final = 250
"""Between two looks into the signal file where time is the market's (`service.inlets.intake`)."""
_LONGEST_MS: Final = 86_400_000  # a day: what a single kline is taken for
_WAKES_MAX: Final = 100_000  # after the market's end: more is a trade that cannot be closed


class Untaken(msgspec.Struct, frozen=True):
    """A signal that made no trade."""

    signal: str
    at: int
    why: str


class Outcome(msgspec.Struct, kw_only=True):
    """`first`, `last`: the market's time span, ms; `steps`: transitions made; `trades`: recorded trades played."""

    closed: list[Closed] = []
    untaken: list[Untaken] = []
    trades: int = 0
    steps: int = 0
    first: int = 0
    last: int = 0


class Simulation:
    """One account of `engine` trades one symbol. `run` plays; the engine holds the account's end state after that.
    `on_step` sees every step.
    """

    def __init__(
        self,
        engine: Engine,
        account: str,
        policy: Policy,
        rules: SymbolRules,
        *,
        poll_ms: int | None = 1_000,
        on_step: Callable[[AnyEvent, Step], None] | None = None,
    ) -> None:
        self.outcome = Outcome()
        self._now = 0
        self._on_step = on_step
        self._engine = engine
        self._symbol = rules.symbol
        self._session = Session(Direct(engine, account, rules.symbol), policy, rules, self._hear, poll_ms=poll_ms)

    def run(self, trades: Iterable[MarketTrade], signals: Sequence[Signal]) -> Outcome:
        """Play `trades`, which must be in the order of their times. What is open at the end is closed at market."""
        waiting = sorted(signals, key=lambda signal: signal.at)[::-1]
        for trade in trades:
            if not self.outcome.trades:
                self.outcome.first = trade.time
                waiting = self._drop_early(waiting)
            while waiting and self._heard(waiting[-1]) <= trade.time:
                signal = waiting.pop()
                self._pass_time(self._heard(signal))
                self._session.signal(signal, self._heard(signal))
            self._pass_time(trade.time)
            self._play(trade)
        for signal in reversed(waiting):
            self._miss(signal, "after the recording's end")
        self._close()
        self.outcome.steps = self._session.steps
        return self.outcome

    def _drop_early(self, waiting: list[Signal]) -> list[Signal]:
        for signal in reversed(waiting):
            if signal.at <= self.outcome.first:
                self._miss(signal, "before the recording's first trade")
        return [signal for signal in waiting if signal.at > self.outcome.first]

    def _miss(self, signal: Signal, why: str) -> None:
        self.outcome.untaken.append(Untaken(signal.key, signal.at, why))

    def _heard(self, signal: Signal) -> int:
        """When a signal is seen: at the next look into the signal file, as in an embedded run."""
        return self.outcome.first - (self.outcome.first - signal.at) // LOOK_EVERY_MS * LOOK_EVERY_MS

    def _pass_time(self, until: int) -> None:
        """What time alone has made due up to `until`: deadlines, and the price that an open trade is to know."""
        while True:
            timer, price = self._session.next_timer(), self._session.next_price(self._now)
            due = min((at for at in (timer, price) if at is not None), default=until + 1)
            if due > until:
                break
            self._now = max(due, self._now)
            if price is not None and price <= due:
                self._session.price(self._now)
            else:
                self._session.tick(due)
        self._now = until

    def _play(self, trade: MarketTrade) -> None:
        self._engine.on_trade(self._symbol, trade.trade_id, trade.price, trade.qty, trade.buyer_is_maker, trade.time)
        self.outcome.trades += 1
        self.outcome.last = trade.time
        if self._session.state.position is not None:
            self._session.market(trade.time)

    def _close(self) -> None:
        now = self.outcome.last
        if self._open():
            self._session.feed(Commanded(at=now, verb=Verb.FLATTEN), now)
        for _ in range(_WAKES_MAX):
            due = self._session.next_timer()
            if not self._open() or due is None:
                return
            self._session.tick(due)
        raise AssertionError(f"the trade does not close: {self._session.state.position!r}")

    def _open(self) -> bool:
        return self._session.state.position is not None

    def _hear(self, event: AnyEvent, step: Step) -> None:
        if self._on_step is not None:
            self._on_step(event, step)
        if isinstance(event, SignalSeen) and isinstance(step.verdict, Refusal):
            self._miss(event.signal, step.verdict.why)
        closed = step.state.last_closed
        if closed is not None and (not self.outcome.closed or closed is not self.outcome.closed[-1]):
            self.outcome.closed.append(closed)


def trades_of(klines: Iterable[RecordedKline], path: KlinePath, step: Decimal) -> Iterator[MarketTrade]:
    """Each kline as four trades: open, low, high, close, or open, high, low, close.

    A kline is as long as the time to the next one, or as the shortest before it: minutes may be missing.
    """
    number = 1
    interval = _LONGEST_MS
    for kline, after in pairwise(chain(klines, (None,))):
        assert kline is not None
        if after is not None:
            interval = min(interval, after.open_time - kline.open_time)
        yield from _four(kline, interval, path, step, number)
        number += 4


def _four(kline: RecordedKline, interval: int, path: KlinePath, step: Decimal, number: int) -> Iterator[MarketTrade]:
    middle = (kline.low, kline.high) if path is KlinePath.LOW_FIRST else (kline.high, kline.low)
    prices = (kline.open, *middle, kline.close)
    for trade_id, price, qty, buyer_is_maker, time in kline_trades(
        prices, kline.volume, kline.open_time, interval, first_id=number, step=step
    ):
        yield MarketTrade(trade_id=trade_id, price=price, qty=qty, buyer_is_maker=buyer_is_maker, time=time)
