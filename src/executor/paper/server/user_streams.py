"""The user data streams, and margin's risk stream: which connections hear of which account, and how."""

from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from executor.paper.engine.exchange import Engine
from executor.paper.replay.clock import Clock
from executor.paper.server import open_choices, render
from executor.paper.server.connection import Connection
from executor.paper.server.faults import FaultPlan
from executor.paper.server.listen_keys import ListenKeys


class _Until(msgspec.Struct):
    """How long a subscription lasts (ms; None: as the connection does), and what is to be done at its end."""

    ends_ms: int | None = None
    end: Callable[[], None] | None = None


class UserStreams:
    """Subscriptions by account. Events go out in the order in which the engine made them."""

    def __init__(
        self, engine: Engine, clock: Clock, accounts: list[str], faults: FaultPlan | None, keys: ListenKeys
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._faults = faults
        self._keys = keys
        self._listeners: dict[str, dict[tuple[Connection, int], _Until]] = {name: {} for name in accounts}
        self._risk: dict[Connection, tuple[str, bool]] = {}
        self._some_end = False

    def subscribe(self, account: str, connection: Connection, subscription_id: int) -> None:
        self._listeners[account][connection, subscription_id] = _Until()

    def subscribe_until(
        self, account: str, connection: Connection, subscription_id: int, ends_ms: int, end: Callable[[], None]
    ) -> None:
        """Until `ends_ms`, or longer where it is called again before that; then `end` is called."""
        listeners = self._listeners.setdefault(account, {})
        known = listeners.get((connection, subscription_id))
        latest = ends_ms if known is None or known.ends_ms is None else max(ends_ms, known.ends_ms)
        listeners[connection, subscription_id] = _Until(latest, end)
        self._some_end = True

    def unsubscribe(self, account: str, connection: Connection, subscription_id: int) -> None:
        self._listeners[account].pop((connection, subscription_id), None)

    def knows_key(self, key: str) -> bool:
        """Whether this is a running key of a risk stream."""
        return self._keys.key_owner(key, self._clock.now_ms()) is not None

    def subscribe_risk(self, key: str, connection: Connection, *, combined: bool) -> None:
        self._risk[connection] = (key, combined)

    def unsubscribe_risk(self, connection: Connection) -> None:
        self._risk.pop(connection, None)

    def flush(self) -> bool:
        """Send what has happened since the last call; whether anything has. Without a listener it is lost."""
        happened = False
        if self._some_end:
            self._end_those_over()
        if self._engine.margin.active:
            for name in self._engine.margin.names():
                self._listeners.setdefault(name, {})
            self._flush_risk()
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

    def _end_those_over(self) -> None:
        now_ms = self._clock.now_ms()
        for listeners in self._listeners.values():
            for until in list(listeners.values()):
                if until.end is not None and until.ends_ms is not None and until.ends_ms <= now_ms:
                    until.end()
        self._some_end = any(
            until.ends_ms is not None for listeners in self._listeners.values() for until in listeners.values()
        )

    def _flush_risk(self) -> None:
        now_ms = self._clock.now_ms()
        for account in self._engine.margin.accounts():
            events, account.risk = account.risk, []
            for event in events if self._risk else ():
                body = render.risk_event(event, now_ms)
                fault = None if self._faults is None else self._faults.on_push("risk", body)
                for connection, (key, combined) in self._risk.items():
                    if self._keys.key_owner(key, now_ms) == account.owner:
                        connection.push(orjson.dumps({"stream": key, "data": body} if combined else body), fault)

    def _push(self, event: dict[str, Any], listeners: dict[tuple[Connection, int], _Until]) -> None:
        body = orjson.dumps(event)
        fault = None if self._faults is None else self._faults.on_push("user", event)
        for connection, subscription_id in listeners:
            connection.push(b'{"subscriptionId":%d,"event":%b}' % (subscription_id, body), fault)
