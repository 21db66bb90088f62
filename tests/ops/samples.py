"""Finished trades, and a market that walks through them, for the tests of what operators see."""

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from hypothesis import strategies as st
from msgspec.structs import replace

from executor.core.model.policy import Policy
from executor.core.model.rules import SymbolRules
from executor.core.model.signal import Signal
from executor.core.model.state import SCHEMA_VERSION, Closed, Reason
from executor.core.model.values import ZERO, Direction
from executor.core.transition import empty
from executor.exchange.wire import rules as rule_book
from executor.paper.engine.exchange import Engine
from executor.paper.engine.market_data import MarketTrade
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import bundled_exchange_info, demo_signals, demo_trades
from executor.service.store.document import Orders, document_of
from executor.service.store.state_store import StateStore
from executor.signals.parse import parse_signal
from executor.simulate.direct import Direct
from executor.simulate.session import Session

SYMBOL: Final = "LTCUSDT"
ACCOUNT: Final = "a"
START: Final = {"USDT": Decimal(10_000), "LTC": Decimal(50)}


def closed(**changes: Any) -> Closed:
    values: dict[str, Any] = {
        "trade": "1750532520046",
        "signal": "demo-1",
        "symbol": SYMBOL,
        "direction": Direction.LONG,
        "reason": Reason.SL,
        "opened": 1_750_532_520_046,
        "entered": 1_750_532_520_100,
        "closed": 1_750_533_996_926,
        "entry_planned": Decimal("81.70"),
        "stop_planned": Decimal("81.40"),
        "targets_planned": (Decimal("82.00"), Decimal("82.30")),
        "entry_avg": Decimal("81.70000000"),
        "exit_avg": Decimal("81.40000000"),
        "qty": Decimal("1.22300000"),
        "qty1": Decimal("0.407"),
        "qty2": Decimal("0.407"),
        "qty3": Decimal("0.407"),
        "commissions": {"LTC": Decimal("0.00122300"), "USDT": Decimal("0.09938940")},
        "pnl": Decimal("-0.56620850"),
        "r": Decimal("-1.5432"),
        "entry_slippage": Decimal("0E-8"),
        "exit_slippage": Decimal("0E-8"),
        "dust": Decimal("0.00077700"),
        "unprotected_ms": 149,
        "unprotected_longest_ms": 120,
    }
    return Closed(**values | changes)


_money = st.decimals(-100_000, 100_000, places=8)
_times = st.integers(1_600_000_000_000, 1_900_000_000_000)
trades = st.builds(
    closed,
    trade=_times.map(str),
    direction=st.sampled_from(Direction),
    reason=st.sampled_from(Reason),
    opened=_times,
    entry_planned=st.decimals("0.01", 99_999, places=2),
    entry_avg=st.none() | st.decimals("0.01", 99_999, places=8),
    exit_avg=st.none() | st.decimals("0.01", 99_999, places=8),
    qty=st.decimals(0, 9_999, places=3),
    commissions=st.dictionaries(st.sampled_from(["LTC", "USDT", "BNB"]), st.decimals(0, 10, places=8)),
    pnl=st.decimals(-9_999, 9_999, places=8),
    r=st.decimals(-99, 99, places=4),
    dust=_money,
    unprotected_ms=st.integers(0, 99_999),
    unprotected_longest_ms=st.integers(0, 99_999),
).map(lambda trade: msgspec.structs.replace(trade, closed=trade.opened + 3_600_000))


def contradictory(path: Path) -> None:
    """A state file whose sum is right and whose two halves disagree, with a sound one before it."""
    store = StateStore(path, schema_version=SCHEMA_VERSION)
    sound = document_of(empty(SYMBOL))
    store.save(sound)
    none = Orders(entry=(), tp1=(), tp2=(), sl=(), qty1=ZERO, qty2=ZERO, qty3=ZERO)
    store.save(msgspec.structs.replace(sound, orders=none))


@cache
def rules() -> SymbolRules:
    fees = msgspec.convert(
        {"standardCommission": {"maker": "0.001", "taker": "0.001"}}, type=rule_book.Commission, strict=False
    )
    info = rule_book.exchange_info(msgspec.json.encode(bundled_exchange_info()))
    found = rule_book.symbol_rules(info, SYMBOL, fees)
    assert found is not None
    return found


@cache
def _turns() -> tuple[MarketTrade, ...]:
    """The trades of the bundled recording at which its price changed."""
    last = Decimal(0)
    found = []
    for trade in demo_trades():
        if trade.price != last:
            found.append(trade)
        last = trade.price
    return tuple(found)


class Walk:
    """The bundled recording and its signals through the core and the matching engine; `steps` stops after each change
    of the price during which a position was open. A trade that the recording leaves open ends at its stop.
    """

    def __init__(self, policy: Policy, on_step: Any = None) -> None:
        row = next(row for row in bundled_exchange_info()["symbols"] if row["symbol"] == SYMBOL)
        self.engine = Engine([Symbol.from_exchange_info(row)])
        self.engine.open_account(ACCOUNT, START)
        self.direct = Direct(self.engine, ACCOUNT, SYMBOL)
        self.session = Session(self.direct, policy, rules(), on_step)

    def steps(self) -> Iterator[int]:
        signals = [parse_signal(line) for line in demo_signals().read_text("utf-8").splitlines()]
        waiting = [signal for signal in signals if isinstance(signal, Signal)][::-1]
        session = self.session
        for trade in self._trades():
            while waiting and waiting[-1].at <= trade.time:
                signal = waiting.pop()
                session.signal(signal, signal.at)
            while (due := session.next_timer()) is not None and due < trade.time:
                session.tick(due)
            self.engine.on_trade(SYMBOL, trade.trade_id, trade.price, trade.qty, trade.buyer_is_maker, trade.time)
            if session.state.position is not None:
                session.market(trade.time)
                yield trade.time

    def _trades(self) -> Iterator[MarketTrade]:
        last = None
        for last in _turns():
            yield last
        assert last is not None
        while stops := [o.stop_price for o in self.engine.open_orders(ACCOUNT, SYMBOL) if o.stop_price]:
            last = replace(last, trade_id=last.trade_id + 1, price=max(stops), time=last.time + 60_000)
            yield last
