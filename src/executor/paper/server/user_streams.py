"""The user data stream: which connections hear of which account, and how events reach them."""

from typing import Any

import orjson

from executor.paper.engine.exchange import Engine
from executor.paper.replay.clock import Clock
from executor.paper.server import open_choices, render
from executor.paper.server.connection import Connection
from executor.paper.server.faults import FaultPlan


class UserStreams:
    """Subscriptions by account. Events go out in the order in which the engine made them."""

    def __init__(self, engine: Engine, clock: Clock, accounts: list[str], faults: FaultPlan | None) -> None:
        self._engine = engine
        self._clock = clock
        self._faults = faults
        self._listeners: dict[str, dict[tuple[Connection, int], None]] = {name: {} for name in accounts}

    def subscribe(self, account: str, connection: Connection, subscription_id: int) -> None:
        self._listeners[account][connection, subscription_id] = None

    def unsubscribe(self, account: str, connection: Connection, subscription_id: int) -> None:
        self._listeners[account].pop((connection, subscription_id), None)

    def flush(self) -> bool:
        """Send what has happened since the last call; whether anything has. Without a listener it is lost."""
        happened = False
        for account, listeners in self._listeners.items():
            events = self._engine.drain_events(account)
            if not events:
                continue
            happened = True
            if listeners:
                now_ms = self._clock.now_ms()
                choices = self._engine.choices
                for event in open_choices.ordered(choices, events):
                    self._push(open_choices.written(choices, render.event(event, now_ms)), listeners)
        return happened

    def _push(self, event: dict[str, Any], listeners: dict[tuple[Connection, int], None]) -> None:
        body = orjson.dumps(event)
        fault = None if self._faults is None else self._faults.on_push("user", event)
        for connection, subscription_id in listeners:
            connection.push(b'{"subscriptionId":%d,"event":%b}' % (subscription_id, body), fault)
