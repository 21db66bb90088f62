"""The request weight of this address: how much of the minute is used, who must wait, and when nobody may ask.

Weight is counted in fixed minutes of the exchange's clock (web-socket-api.md, "How to interpret rate
limits"). The exchange's own count arrives with every answer and includes other programs of this address; what
is in flight is added.

Watching many symbols is spread over the minute, first come, first served: else it would use up the minute's share in
seconds, and be blind for the rest of it.
"""

import asyncio
import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import structlog

from executor.core.model.facts import Refused, Why
from executor.exchange.port import ReadError
from executor.exchange.transport.clock import ExchangeClock
from executor.exchange.transport.sapi_budget import SapiBudget
from executor.exchange.transport.trickle import Trickle
from executor.exchange.wire.answer import Answer
from executor.exchange.wire.calls import Call, Urgency
from executor.exchange.wire.outcomes import Fault

MINUTE_MS: Final = 60_000
CEILING: Final[dict[Urgency, int]] = {Urgency.ROUTINE: 80, Urgency.LOOKUP: 95}
"""Per cent of the limit up to which a read is sent; the rest is kept for commands."""
BURST: Final = 20
"""Per cent of the limit; once so much of a minute is used, watching is spread over the rest of it."""
PATIENCE_MS: Final = MINUTE_MS + 1_000
"""A read waits for the next minute, but not for the end of a long ban."""
FIRST_BAN_MS: Final = 2 * MINUTE_MS
ORDERS_WINDOW_MS: Final = 10_000
"""The shorter window of the order count."""
EXITS_PACE_MAX_MS: Final = 60_000
"""So often exits are tried where the order count wants none for longer: a fill takes of it at any moment."""
OVERLOAD_MS: Final = 5_000
"""An exchange that is overloaded wants to be left alone for a while, and a position wants its stop."""
OPENED_LOOK_MS: Final = 500
"""So often whoever waits for a time that is only guessed looks whether the way has been opened meanwhile."""
LONGEST_BAN_MS: Final = 3 * 24 * 60 * MINUTE_MS
"""Bans last from two minutes to three days (rest-api.md, "IP Limits"): whoever tells of a later end tells nothing."""
LONGEST_LIMIT_MS: Final = 5 * MINUTE_MS
"""The longest window of a limit of requests (RAW_REQUESTS): short of a ban a later end tells nothing."""
LONGEST_COUNT_MS: Final = 24 * 60 * MINUTE_MS
LONG_WINDOWS: Final = ("HOUR", "DAY")
"""Words of a refusal that speak of a longer window of the order count, which is a day at the most (rest-api.md)."""
UNMEASURED_MS: Final = 15 * MINUTE_MS
"""A moment of the exchange's clock is believed for so long before that clock is read: where this machine's is
hours behind, a ban of seconds would last for hours, in which nothing can be asked, the time no more than the rest.
"""
LIMIT_LEAST: Final = 100
"""Of a minute's weight; a smaller one is no limit that anybody could trade under."""
DEFAULT_LIMIT: Final = 6_000
"""REQUEST_WEIGHT per minute until exchangeInfo tells."""

_log = structlog.get_logger(__name__)

_UNTIL: Final = re.compile(r"banned until ([0-9]{13})(?![0-9])")
_COUNT: Final = re.compile(r"[0-9]{1,12}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_USED: Final = "X-MBX-USED-WEIGHT-1M"
_ORDERS_10S: Final = "X-MBX-ORDER-COUNT-10S"
_ORDERS_1D: Final = "X-MBX-ORDER-COUNT-1D"


class Budget:
    """`limit` and `used` are of the running minute; the `closed_until`s are ms, exchange clock. `orders_10s` and
    `orders_1d`: the account's orders in these windows, as the exchange last told. `hurried`: the service is starting,
    and until it knows its orders every read is as urgent as one that resolves a doubt (rule 9.1).
    """

    def __init__(self, clock: ExchangeClock) -> None:
        self._clock = clock
        self.limit = DEFAULT_LIMIT
        self.closed_until = 0
        self.banned_until = 0
        self.sapi = SapiBudget(clock)
        self.orders_closed_until = 0
        self.entries_closed_until = 0
        self.untold = Trickle()
        """Where the exchange has asked to slow down, and not said until when."""
        self.exits = Trickle(EXITS_PACE_MAX_MS)
        """While the order count wants no orders for longer than its short window."""
        self._crowded = Trickle()
        """Where orders are refused because of connections."""
        self.orders_10s = 0
        self.orders_1d = 0
        self.hurried = False
        self._limit_told = False
        self._told_until = 0
        self._minute = -1
        self._counted = 0
        self._in_flight = 0
        self._watched_at = 0
        self._watched_weight = 0
        self._turn = asyncio.Lock()
        clock.followers.append(self._shift)

    def _shift(self, by: int) -> None:
        """The clock was set by so much: what is closed is so for as long as before."""
        self.closed_until += by
        self.banned_until += by
        self.orders_closed_until += by
        self.entries_closed_until += by
        self._told_until += by
        self._watched_at += by
        self.untold.shift(by)
        self.exits.shift(by)
        self._crowded.shift(by)
        self.sapi.shift(by)

    @property
    def used(self) -> int:
        self._roll()
        return self._counted + self._in_flight

    def refusal(self, call: Call, *, enters: bool = False) -> Refused | None:
        """Why a command must not be sent now: only an order by the exchange to stop holds one back. `enters`: it would
        begin a trade, or add to one.
        """
        now = self._clock.now_ms()
        until = max(self._closed_for(call), self._trickle(call).command_at(now))
        if call.orders:
            until = max(until, self.orders_closed_until)
            until = max(until, self.entries_closed_until if enters else self.exits.command_at(now))
        if now >= until:
            return None
        return Refused(Why.RATE_LIMIT, 0, f"not sent: the exchange's rate limit holds until {until}", until)

    def closed_for_ms(self) -> int:
        """How long the exchange, by its own word, wants no requests but on the margin's side; 0 where it takes them."""
        return max(0, max(self.banned_until, self.closed_until) - self._clock.now_ms())

    def _closed_for(self, call: Call) -> int:
        """Until when (ms) the exchange wants no such request: a ban holds for all, another limit for its own side."""
        return max(self.banned_until, self.sapi.closed_until(call) if call.sapi else self.closed_until)

    def _trickle(self, call: Call) -> Trickle:
        return self.sapi.untold(call) if call.sapi else self.untold

    async def admit(self, call: Call) -> None:
        """Return when a read may be sent. Raises `ReadError` when that is too far off."""
        if not call.paced or self.hurried:
            await self._room(call)
            return
        async with self.sapi.turn(call) if call.sapi else self._turn:
            await self._room(call)
            while wait := self.sapi.pause_ms(call) if call.sapi else self._pause_ms(call):
                await self._clock.sleep(wait / 1000)

    async def _room(self, call: Call) -> None:
        while wait := self._wait_ms(call):
            if wait > PATIENCE_MS:
                raise ReadError(f"{call}: the exchange's rate limit holds until {self._clock.now_ms() + wait}")
            self._tell(call, wait)
            guessed = self._trickle(call).closed(self._clock.now_ms())
            await self._clock.sleep((min(wait, OPENED_LOOK_MS) if guessed else wait) / 1000)

    def begin(self, call: Call) -> int:
        """Count a request as it leaves; the returned mark goes to `end`."""
        self._roll()
        if call.urgency is Urgency.COMMAND:
            self._trickle(call).sent(self._clock.now_ms())
            if call.orders:
                self.exits.sent(self._clock.now_ms())
        if call.sapi:
            return self.sapi.begin(call, watching=call.paced and not self.hurried)
        self._in_flight += call.charged
        if call.paced and not self.hurried:
            self._watched_at, self._watched_weight = self._clock.now_ms(), call.charged
        return self._minute

    def end(self, call: Call, mark: int, headers: Mapping[str, str] | None) -> None:
        """Count it as answered, with the answer's headers, or as lost (None)."""
        self._roll()
        if call.sapi:
            self.sapi.end(call, mark, headers)
            return
        self._in_flight -= call.charged
        told = _number(headers, _USED)
        # a count of the minute in which it was asked says nothing about the next one, and one that is above the limit
        # is no count: whoever is above it is refused, which closes by itself
        if told is None or mark != self._minute or told > self.limit:
            self._counted += call.charged
        else:
            self._counted = max(self._counted, told)
        if (orders := _number(headers, _ORDERS_10S)) is not None:
            self.orders_10s = orders
        if (orders := _number(headers, _ORDERS_1D)) is not None:
            self.orders_1d = orders

    def passed(self, call: Call, sent_at: int) -> None:
        """A request of that moment (ms, exchange clock) was served."""
        self._trickle(call).passed(sent_at)
        if call.orders:
            self.exits.passed(sent_at)
        if call.urgency is Urgency.COMMAND:
            self._crowded.passed(sent_at)

    def limit_told(self, limit: int | None) -> None:
        """What exchangeInfo calls the weight of a minute; None where it names none."""
        self._limit_told = True
        if limit is not None and limit >= LIMIT_LEAST:
            self.limit = limit

    def charge(self, weight: int) -> None:
        """Count what no answer will tell of: a WebSocket connection."""
        self._roll()
        self._counted += weight

    def heed(self, answer: Answer, fault: Fault, call: Call | None = None, *, enters: bool = False) -> int:
        """Obey an answer (to `call`) that asks to slow down. Returns when to try again (ms, exchange clock), else 0.
        `enters` as in `refusal`.
        """
        now = self._clock.now_ms()
        until = _told_until(answer, fault, now, measured=self._clock.measured)
        if fault.code == -1015 or (fault.code == -2021 and answer.status == 429):
            return self._too_many_orders(now, until, enters=enters)
        if answer.status == 418:
            until = until or now + FIRST_BAN_MS
            self.banned_until = max(self.banned_until, until)
            self.closed_until = max(self.closed_until, until)
            self._tell(call, until - now)
        elif answer.status == 429 or fault.code == -1003:
            if not until:
                return self._slow_down(now, call)
            if call is not None and call.sapi:
                self.sapi.close(call, until)
            else:
                self.closed_until = max(self.closed_until, until)
        elif fault.code == -1008:
            until = until or now + OVERLOAD_MS
        elif fault.code == -1034:
            until = self._crowded.close(now, now + MINUTE_MS)  # an order is no connection: it is tried again soon
        return until

    def _too_many_orders(self, now: int, told: int, *, enters: bool) -> int:
        """The order count is above its limit, until `told` (ms) where that is known. Until the short window is over
        nothing more is sent. Where it is to last longer, as for the day, entries wait for its end; but each fill takes
        of the count (faqs/order_count_decrement.md), so what leaves a position or covers it is tried on, slowly.
        """
        window = now + ORDERS_WINDOW_MS - now % ORDERS_WINDOW_MS
        until = told or window
        if until <= now + ORDERS_WINDOW_MS:
            self.orders_closed_until = max(self.orders_closed_until, until)
            return until
        self.orders_closed_until = max(self.orders_closed_until, window)
        self.entries_closed_until = max(self.entries_closed_until, until)
        again_at = self.exits.close(now, until)
        return until if enters else max(again_at, window)

    def _slow_down(self, now: int, call: Call | None) -> int:
        """Nobody says how long: most likely until the minute's end."""
        trickle = self.untold if call is None else self._trickle(call)
        known = trickle.closed(now)
        at = trickle.close(now, now + MINUTE_MS - now % MINUTE_MS)
        if not known:
            _log.warning("slowed_down", request=str(call or "stream"), reads="wait", orders="go on, slowly")
        return at

    def _tell(self, call: Call | None, wait: int) -> None:
        """A wait is never silent, nor a ban; one line is enough for all that wait for the same moment."""
        until = self._clock.now_ms() + wait
        if until > self._told_until:
            self._told_until = until
            request = str(call or "stream")
            _log.warning("rate_limit", request=request, used=self.used, limit=self.limit, seconds=wait / 1000)

    def _wait_ms(self, call: Call) -> int:
        now = self._clock.now_ms()
        if now < self._closed_for(call):
            return self._closed_for(call) - now
        urgency = max(call.urgency, Urgency.LOOKUP) if self.hurried else call.urgency
        trickle = self._trickle(call)
        if trickle.closed(now) and urgency is not Urgency.COMMAND:
            if urgency is Urgency.ROUTINE:
                return trickle.reads_wait_until - now
            if not trickle.lets_look(now):
                return trickle.next_look - now
        if call.sapi:
            return 0 if call.urgency is Urgency.COMMAND else self.sapi.wait_ms(call)
        if self.hurried and not self._limit_told:
            return 0  # a start with a position bare is not held up by a guess: the limit is in its first answers
        room = self.limit * CEILING.get(urgency, 100) // 100
        if call.urgency is Urgency.COMMAND or self.used + call.charged <= room or not self.used:
            return 0
        return MINUTE_MS - now % MINUTE_MS

    def _pause_ms(self, call: Call) -> int:
        """How long watching must wait, so that what is left for it lasts to the end of the minute."""
        now, used = self._clock.now_ms(), self.used
        if used + call.charged <= self.limit * BURST // 100:
            return 0
        left = max(1, self.limit * CEILING[Urgency.ROUTINE] // 100 - used)
        due = self._watched_at + self._watched_weight * (MINUTE_MS - now % MINUTE_MS) / left
        return max(0, math.ceil(due - now))

    def _roll(self) -> None:
        minute = self._clock.now_ms() // MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            self._counted = 0


def _told_until(answer: Answer, fault: Fault, now: int, *, measured: bool) -> int:
    """The latest of the moments (ms, exchange clock) that an answer tells, in its header, its data or its text alone;
    0 for none. Before the clock is measured a number of seconds goes before all moments.
    """
    text = _UNTIL.search(fault.msg)
    # the text alone speaks of a ban below 418
    of_orders = fault.code == -1015 and any(unit in fault.msg.upper() for unit in LONG_WINDOWS)
    longest = LONGEST_BAN_MS if answer.status == 418 else LONGEST_COUNT_MS if of_orders else LONGEST_LIMIT_MS
    header = answer.headers.get("Retry-After", "").strip()
    seconds = (_seconds(header, now), longest)
    moments = [(_date(header), longest), (answer.retry_at, longest), (int(text[1]) if text else 0, LONGEST_BAN_MS)]
    if measured:
        return _latest([seconds, *moments], now)
    return _latest([seconds], now) or min(_latest(moments, now), now + UNMEASURED_MS)


def _latest(told: list[tuple[int, int]], now: int) -> int:
    """Of moments that are no further off than they can be."""
    return max((until for until, most in told if now < until <= now + most), default=0)


def _seconds(text: str, now: int) -> int:
    """The moment (ms, exchange clock) in so many seconds; 0 for what is no number."""
    return now + math.ceil(float(text) * 1000) if _SECONDS.fullmatch(text) else 0


def _date(text: str) -> int:
    """The moment (ms, exchange clock) of a date as HTTP has them; 0 for what is none."""
    try:
        date = parsedate_to_datetime(text)
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()) * 1000
    except (ValueError, OverflowError):
        return 0


def _number(headers: Mapping[str, str] | None, name: str) -> int | None:
    text = headers.get(name) if headers is not None else None
    return int(text) if text is not None and _COUNT.fullmatch(text) else None
