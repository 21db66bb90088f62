"""Lives without faults, looked at by the watchdog's comparisons: none of them may find anything (`make quiet`).

python -m tests.ops.watchdog.quiet --trades 10000 --seed 1

Exit code 1 on a finding
"""

import argparse
import random
import sys
import time
from collections import Counter, deque
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

from tests.ops.samples import ACCOUNT, SYMBOL, rules

from executor.core.model.events import Commanded, Verb
from executor.core.model.policy import Layout, Policy, TrailMode
from executor.core.model.signal import Signal
from executor.core.model.state import Closed, State
from executor.core.model.values import Direction
from executor.ops.check import check
from executor.ops.watchdog.books import Books
from executor.ops.watchdog.suspects import of_holdings, of_orders, of_time
from executor.paper.engine.exchange import Engine
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import bundled_exchange_info
from executor.simulate.direct import Direct
from executor.simulate.session import Session

CONFIRM_MS = 2_500
LIFE = 50
START_MS = 1_750_000_000_000
CENT = Decimal("0.01")
Keys = set[tuple[str, str]]


class _AsLoop:
    """As far as the books look at a loop."""

    def __init__(self, life: "Life") -> None:
        self._life = life
        self.engine = SimpleNamespace(rules=rules())

    @property
    def state(self) -> State:
        return self._life.session.state

    @property
    def closed(self) -> deque[Closed]:
        return self._life.finished


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
            trail_mode=self.draw.choice(list(TrailMode)),
            cooldown_ms=1_000,
            cooldown_abort_ms=1_000,
            lock_ms=0,
        )
        self.now, self.price, self.number = START_MS, Decimal(100), 0
        self.trade()
        self.session = Session(self.direct, policy, rules(), None)
        self.closed: list[str] = []
        self.looks = 0
        self.found = Counter[tuple[str, str]]()
        self.finished: deque[Closed] = deque(maxlen=100)
        self.books = Books([cast("Any", _AsLoop(self))])

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
                self.finished.append(last)

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
            *self.books.compare(self.direct.balances()),
        ]
        return {each.key for each in suspects}

    def round(self) -> Keys:
        """As the watchdog believes it: what two looks show."""
        before = self.look()
        if not before:
            return before
        self.pass_by(CONFIRM_MS)
        return before & self.look()


def lived(seed: int, trades: int) -> Life:
    """A life of so many trades, in which each round was looked at."""
    life = Life(seed)
    while len(life.closed) < trades:
        if life.session.state.position is None:
            life.enter()
        elif life.draw.random() < 0.02:
            life.session.feed(Commanded(at=life.now, verb=Verb.FLATTEN), life.now)
        life.pass_by(life.draw.randint(500, 30_000))
        life.looks += 1
        life.found.update(life.round())
    return life


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    begun, trades, looks, seed = time.process_time(), 0, 0, wanted.seed
    found = Counter[tuple[str, str]]()
    while trades < wanted.trades:
        life = lived(seed, min(LIFE, wanted.trades - trades))
        trades, looks = trades + len(life.closed), looks + life.looks
        found.update(life.found)
        for finding, about in life.found:
            sys.stdout.write(f"seed {seed}: {finding} {about}\n")
        seed += 1
    took = time.process_time() - begun
    lives = seed - wanted.seed
    sys.stdout.write(
        f"{trades} trades without faults in {lives} lives, {looks} rounds: {found.total()} findings "
        f"({took:.0f} s of CPU)\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
