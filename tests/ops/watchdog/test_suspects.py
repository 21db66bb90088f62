"""In a life without faults nothing is found; what is amiss is named. The comparisons alone, in a wandering market."""

import random
from collections import Counter
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.ops.samples import ACCOUNT, SYMBOL, rules

from executor.core.model.events import Commanded, Verb
from executor.core.model.facts import Balance
from executor.core.model.policy import Layout, Policy, TrailMode
from executor.core.model.signal import Signal
from executor.core.model.values import Direction
from executor.ops.check import check
from executor.ops.watchdog.suspects import of_holdings, of_orders, of_time
from executor.paper.engine.exchange import Engine
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import bundled_exchange_info
from executor.simulate.direct import Direct
from executor.simulate.session import Session

CONFIRM_MS = 2_500
START_MS = 1_750_000_000_000
CENT = Decimal("0.01")
Keys = set[tuple[str, str]]


class Life:
    """A market that wanders, and a trade whenever there is none: no fault anywhere."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        row = next(row for row in bundled_exchange_info()["symbols"] if row["symbol"] == SYMBOL)
        self.engine = Engine([Symbol.from_exchange_info(row)])
        self.engine.open_account(ACCOUNT, {"USDT": Decimal(1_000_000), "LTC": Decimal(100)})
        self.direct = Direct(self.engine, ACCOUNT, SYMBOL)
        policy = Policy(
            notional=Decimal(100),
            allow_short=True,
            layout=self.draw.choice(list(Layout)),
            trail_mode=self.draw.choice([TrailMode.DISTANCE, TrailMode.NATIVE]),
            cooldown_ms=1_000,
            cooldown_abort_ms=1_000,
            lock_ms=0,
        )
        self.now, self.price, self.number = START_MS, Decimal(100), 0
        self.trade()
        self.session = Session(self.direct, policy, rules(), None)
        self.closed: list[str] = []

    def trade(self) -> None:
        self.number += 1
        step = self.draw.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3]) * self.draw.choice([1, 1, 1, 4])
        self.price = min(max(self.price + step * CENT, Decimal(80)), Decimal(120))
        self.engine.on_trade(SYMBOL, self.number, self.price, Decimal(50), self.draw.random() < 0.5, self.now)

    def pass_by(self, ms: int) -> None:
        """Trades of the market, and what is due, until so much time has passed."""
        until = self.now + ms
        while self.now < until:
            then = min(self.now + self.draw.randint(100, 1_500), until)
            while (due := self.session.next_timer()) is not None and due <= then:
                self.now = max(self.now, due)
                self.session.tick(self.now)
            self.now = then
            self.trade()
            self.session.market(self.now)
            self.session.price(self.now)
            last = self.session.state.last_closed
            if last is not None and last.trade not in self.closed[-1:]:
                self.closed.append(last.trade)

    def enter(self) -> None:
        direction = self.draw.choice(list(Direction))
        key = f"s{self.number}"
        signal = Signal(key=key, at=self.now, direction=direction, price=self.price)
        self.session.signal(signal, self.now)

    def look(self) -> Keys:
        state, shown, policy = self.session.state, self.direct.open_orders(), self.session.policy
        found = check(state, shown, policy, rules())
        suspects = [
            *of_time(state, policy, self.now),
            *of_orders(state, shown, found, set(self.closed[-50:]), policy, self.now),
            *of_holdings(state, self.direct.balances(), rules()),
        ]
        return {each.key for each in suspects}

    def round(self) -> Keys:
        """As the watchdog believes it: what two looks show."""
        before = self.look()
        if not before:
            return before
        self.pass_by(CONFIRM_MS)
        return before & self.look()


def live(seed: int, trades: int) -> tuple[int, Counter[tuple[str, str]]]:
    life, found = Life(seed), Counter[tuple[str, str]]()
    while len(life.closed) < trades:
        if life.session.state.position is None:
            life.enter()
        elif life.draw.random() < 0.02:
            life.session.feed(Commanded(at=life.now, verb=Verb.FLATTEN), life.now)
        life.pass_by(life.draw.randint(500, 30_000))
        found.update(life.round())
    return len(life.closed), found


@pytest.mark.parametrize("seed", range(8))
def test_trades_without_faults_have_no_findings(seed: int) -> None:
    trades, found = live(seed, 25)
    assert trades >= 25
    assert found == Counter()


def test_what_is_sold_elsewhere_is_found() -> None:
    life = Life(1)
    while life.session.state.position is None or not life.session.state.position.legs:
        if life.session.state.position is None:
            life.enter()
        life.pass_by(2_000)
    state = life.session.state
    assert state.position is not None
    if state.position.plan.direction is Direction.LONG:
        (suspect,) = of_holdings(state, {"LTC": Balance(Decimal("0.001"))}, rules())
        assert suspect.finding == "balance_short"
    assert list(of_holdings(replace(state, position=None), {}, rules())) == []
