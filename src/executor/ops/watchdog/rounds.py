"""The watchdog's rounds: look, look again, and do what the finding asks for (rule 12). No trade is decided here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
import structlog

from executor.core.model import ids
from executor.core.model.events import AnyEvent, Found, OpenOrdersSeen, Tick
from executor.core.model.facts import PASSING, UNSENT, Balance, Done, OrderReport, Outcome, Refused, Why
from executor.core.model.intents import Command, Stamp
from executor.core.model.state import State
from executor.core.model.values import short
from executor.core.transition import Step
from executor.exchange.port import ReadError
from executor.exchange.streams.events import BalanceMoved
from executor.exchange.transport.budget import Budget
from executor.exchange.transport.supervised import Told
from executor.ops import check as ops_check
from executor.ops.watchdog.books import MOVED, Books
from executor.ops.watchdog.suspects import Suspect, of_holdings, of_orders, of_time
from executor.service.loop import Loop
from executor.waiting import nap

log = structlog.get_logger(__name__)

CONFIRM_S: Final = 2.5
"""Between the two looks; longer than a report may be on its way (rule 8.6)."""
AFTER_CLOSE_S: Final = 3.0
TELL_AGAIN_MS: Final = 600_000
"""What has been told and stands is told again this often."""
BUDGET_SHARE: Final = 0.5
"""A round is left out where the minute's request weight is used up to so much: trading needs the rest."""
TURN_WITHIN_S: Final = 10.0
FOREIGN_KEPT: Final = 1_000
LEFT_ROUNDS: Final = 3
"""A ghost that so many rounds could not cancel is told of."""

GHOST: Final = "ghost_order"
BACK: Final = "order_back"
OVER: Final = "sells_beyond_held"
HANDED: Final = frozenset(
    {"exit_missing", "exit_resized", "exit_renamed", "uncovered", "order_adopted", "stray_orders", BACK}
)
TOLD_BY_DECIDER: Final = frozenset({"order_adopted", "stray_orders"})
"""The decider tells of these itself, with what it makes of them."""
HALTING: Final = frozenset({"exit_moved", OVER, "stop_lowered", "balance_short", "invariant_broken"})
PUSHED: Final = "state_stuck"


class Look(msgspec.Struct, frozen=True):
    """What one look has shown. `asked_at`: when the open orders were asked for (ms)."""

    state: State
    shown: tuple[OrderReport, ...]
    asked_at: int
    balances: dict[str, Balance]
    suspects: dict[tuple[str, str], Suspect]


class Watchdog:
    """One for all `loops` of a service. `rounds`: how many it has made; `found`: what it has believed, newest last."""

    def __init__(self, loops: Mapping[str, Loop], budget: Budget, every_s: float) -> None:
        self.rounds = 0
        self.found: list[Suspect] = []
        self._loops = tuple(loops.values())
        self._budget = budget
        self._every_s = every_s
        self.books = Books(self._loops)
        self.before_round: list[Callable[[], Awaitable[None]]] = []
        self._told: dict[tuple[str, str, str], int] = {}
        self._foreign: dict[tuple[str, int], None] = {}
        self._left: dict[tuple[str, str], int] = {}
        self._soon = asyncio.Event()
        self._closed = {id(loop): loop.state.last_closed for loop in self._loops}
        for loop in self._loops:
            loop.on_step.append(self._on_step)

    async def run(self) -> None:
        """Make rounds, until cancelled."""
        clock = self._loops[0].clock
        while True:
            await nap(self._loops[0].clock.sleep, self._every_s, self._soon)
            if self._soon.is_set():
                self._soon.clear()
                await clock.sleep(AFTER_CLOSE_S)
            await self.round()

    async def round(self) -> None:
        """Look at everything once; what looks wrong is looked at again, and believed when it still does."""
        if self._budget.used > self._budget.limit * BUDGET_SHARE:
            log.info("watchdog_waits", used=self._budget.used, limit=self._budget.limit)
            return
        self.rounds += 1
        for look in self.before_round:
            await look()
        await asyncio.gather(*(self._turn(loop) for loop in self._loops))
        looks = await self._look_at([loop for loop in self._loops if loop.ready.is_set()])
        suspicious = {loop: look for loop, look in looks.items() if look is not None and look.suspects}
        if not suspicious:
            return
        await self._loops[0].clock.sleep(CONFIRM_S)
        for loop, after in (await self._look_at(list(suspicious))).items():
            before = suspicious[loop]
            if after is not None:
                believed = [each for key, each in after.suspects.items() if key in before.suspects]
                await self._act(loop, after, believed)

    def hear(self, event: object) -> None:
        """What the user stream tells: somebody else's order shows a foreign hand, a transfer explains a balance."""
        match event:
            case Told(symbol, OrderReport() as report):
                loop = next((loop for loop in self._loops if loop.state.symbol == symbol), None)
                if loop is not None:
                    self._about_foreign(loop, (report,), news=True)
            case BalanceMoved(_, asset, delta):
                self.books.explain(asset, delta)
            case _:
                pass

    # --- looking ----------------------------------------------------------------------------------------------------

    async def _look_at(self, loops: list[Loop]) -> dict[Loop, Look | None]:
        """All at once: one request may serve them all."""
        return dict(zip(loops, await asyncio.gather(*map(self._look, loops)), strict=True))

    async def _look(self, loop: Loop) -> Look | None:
        """One comparison; None where the exchange could not be asked, or where something was under way."""
        with loop.at_work():
            before = loop.state
            try:
                balances = await loop.exchange.balances()
                asked_at = loop.now()  # as late as can be: what is sent upon this look is stamped with it
                shown = await loop.exchange.open_orders()
            except ReadError as error:
                log.info("watchdog_look_failed", error=str(error))
                return None
            state = loop.state
            suspects = list(of_time(state, loop.engine.policy, loop.now()))
            if not _moving(state) and _same(before, state):
                found = ops_check.check(state, shown, loop.engine.policy, loop.engine.rules)
                finished = {trade.trade for trade in loop.closed}
                suspects += [
                    *of_orders(state, shown, found, finished, loop.engine.policy, loop.now()),
                    *of_holdings(state, balances, loop.engine.rules),
                    *self._off_books(loop, balances),
                ]
        self._about_foreign(loop, shown, news=self.rounds > 1)
        return Look(state, shown, asked_at, balances, {each.key: each for each in suspects})

    def _off_books(self, loop: Loop, balances: Mapping[str, Balance]) -> list[Suspect]:
        """Of the loop's own base, once: every loop of it would find the same."""
        base = loop.engine.rules.base
        if loop is not next(each for each in self._loops if each.engine.rules.base == base):
            return []
        if any(_moving(each.state) for each in self._loops if each.engine.rules.base == base):
            return []
        return [each for each in self.books.compare(balances) if each.about == base]

    def _about_foreign(self, loop: Loop, shown: tuple[OrderReport, ...], *, news: bool) -> None:
        """Orders of others: those that were there at the first look are no news; each later one is told of once."""
        for report in shown:
            key = loop.state.symbol, report.exchange_id
            if ids.is_ours(report.id) or key in self._foreign or self._is_renamed(loop, report):
                continue
            self._foreign[key] = None
            if len(self._foreign) > FOREIGN_KEPT:
                del self._foreign[next(iter(self._foreign))]
            if news:
                level = report.price or report.stop_price
                price = f" at {short(level)}" if level else ""
                text = f"{report.id}: {report.side} {short(report.qty)}{price}, {report.status}"
                self._tell(loop, Suspect("foreign_order", report.id, text, (report.id,)))

    def _is_renamed(self, loop: Loop, report: OrderReport) -> bool:
        position = loop.state.position
        return position is not None and any(o.exchange_id == report.exchange_id for o in position.orders)

    async def _turn(self, loop: Loop) -> None:
        """Whether the loop's consumer comes round at all."""
        try:
            with loop.at_work():
                async with asyncio.timeout(TURN_WITHIN_S):
                    await loop.come_round()
        except TimeoutError:
            text = f"the loop has not come round for {TURN_WITHIN_S:.0f} s"
            log.error("state_stuck", alert=True, symbol=loop.state.symbol, text=text)

    # --- acting -----------------------------------------------------------------------------------------------------

    async def _act(self, loop: Loop, look: Look, believed: list[Suspect]) -> None:
        self.found = [*self.found, *believed][-100:]
        ghosts = [each for each in believed if each.finding == GHOST]
        if ghosts:
            await self._cancel_ghosts(loop, look, ghosts)
        if any(each.finding in (GHOST, BACK) for each in believed):
            # What they would sell was counted: the next round tells whether too much is left.
            believed = [each for each in believed if each.finding != OVER]
        if any(each.finding in HANDED for each in believed):
            loop.tell(OpenOrdersSeen(at=loop.now(), reports=look.shown, asked_at=look.asked_at))
        for each in believed:
            if each.finding == PUSHED:
                loop.tell(Tick(at=loop.now()))
            if each.finding not in TOLD_BY_DECIDER and each.finding != GHOST:
                self._tell(loop, each)
        self.books.settle(look.balances, [each.about for each in believed if each.finding == MOVED])

    async def _cancel_ghosts(self, loop: Loop, look: Look, ghosts: list[Suspect]) -> None:
        """Cancel ghosts, and see whether they are gone: by our id, else by the exchange's own. Each is signed with the
        time of the look that it is for, and not sent when that is long ago: what was suspended since acts on nothing
        that somebody else may have decided about meanwhile (rule 8.3d).

        What comes too late for that, or is held up by the exchange, is left to the next round, and told of when several
        have left it.
        """
        numbers = {report.id: report.exchange_id for report in look.shown}
        window = loop.engine.policy.recv_window_ms
        stamp = Stamp(look.asked_at, window) if window else None
        outcomes: dict[str, Outcome] = {}
        tried: set[str] = set()
        with loop.at_work():
            for ghost in ghosts:
                outcome = await _cancel(loop, ghost.about, stamp)
                if not _is(outcome, UNSENT):
                    tried.add(ghost.about)
                    if not isinstance(outcome, Done) and (number := numbers.get(ghost.about, 0)):
                        outcome = await _cancel(loop, ghost.about, stamp, number)
                outcomes[ghost.about] = outcome
            try:
                standing = {report.id for report in await loop.exchange.open_orders()} if tried else set[str]()
            except ReadError as error:
                log.info("watchdog_look_failed", error=str(error))
                return  # the next round sees
        gone = tried - standing
        left = [each for each in ghosts if each.about not in gone and _is(outcomes[each.about], PASSING)]
        self._leave(loop, left, outcomes)
        for ghost in ghosts:
            if ghost not in left:
                self._conclude(loop, ghost, outcomes[ghost.about], gone=ghost.about in gone)

    def _leave(self, loop: Loop, ghosts: list[Suspect], outcomes: Mapping[str, Outcome]) -> None:
        """To the next round: nothing has been said of these orders themselves."""
        symbol, window = loop.state.symbol, loop.engine.policy.recv_window_ms
        times = {ghost.about: self._left.get((symbol, ghost.about), 0) + 1 for ghost in ghosts}
        others = {key: count for key, count in self._left.items() if key[0] != symbol}
        self._left = others | {(symbol, about): count for about, count in times.items()}
        for ghost in ghosts:
            rounds, why = times[ghost.about], _why(outcomes[ghost.about])
            log.info("ghost_left", order=ghost.about, rounds=rounds, why=why)
            if rounds >= LEFT_ROUNDS:
                text = f"{ghost.text}: could not be cancelled in {rounds} rounds with RECV_WINDOW={window}: {why}"
                self._tell(loop, Suspect(ghost.finding, ghost.about, text, ghost.orders))

    def _conclude(self, loop: Loop, ghost: Suspect, outcome: Outcome, *, gone: bool) -> None:
        done = "cancelled" if gone else f"could not be cancelled: {_why(outcome)}"
        loop.tell(
            Found(
                at=loop.now(),
                finding=ghost.finding,
                text=f"{ghost.text}: {done}",
                order=ghost.about,
                halts=not gone,
                gone=(ghost.about,) if gone else (),
            )
        )

    def _tell(self, loop: Loop, found: Suspect) -> None:
        """By way of the decider, so that it is in the journal; the same again only after a while."""
        key, now = (loop.state.symbol, *found.key), loop.now()
        if key in self._told and now - self._told[key] < TELL_AGAIN_MS:
            return
        self._told = {k: at for k, at in self._told.items() if now - at < TELL_AGAIN_MS} | {key: now}
        loop.tell(
            Found(
                at=now,
                finding=found.finding,
                text=found.text,
                order=" ".join(found.orders),
                halts=found.finding in HALTING,
            )
        )

    # --- when -------------------------------------------------------------------------------------------------------

    def _on_step(self, _event: AnyEvent, step: Step) -> None:
        """After each close, and where entries are halted, a round comes soon."""
        loop = next(each for each in self._loops if each.state.symbol == step.state.symbol)
        closed = step.state.last_closed
        if closed is not self._closed[id(loop)] or any(note.event == "stray_orders" for note in step.notes):
            self._closed[id(loop)] = closed
            self._soon.set()


async def _cancel(loop: Loop, order: str, stamp: Stamp | None, number: int = 0) -> Outcome:
    """WITHDRAWN where the stamp is too old to send it."""
    if stamp is not None and stamp.too_old(loop.now()):
        return Refused(Why.WITHDRAWN, 0, "not sent: the look at it was long ago")
    return await loop.exchange.cancel(order, stamp, number)


def _why(outcome: Outcome) -> str:
    return outcome.text if isinstance(outcome, Refused) else "it still stands"


def _is(outcome: Outcome, whys: frozenset[Why]) -> bool:
    return isinstance(outcome, Refused) and outcome.why in whys


def _moving(state: State) -> bool:
    """Whether something is under way that changes orders."""
    return bool(state.started) or any(isinstance(owed.request, Command) for owed in state.outbox)


def _same(before: State, after: State) -> bool:
    """Whether no order has changed meanwhile."""
    old = before.position.orders if before.position is not None else ()
    new = after.position.orders if after.position is not None else ()
    return old == new and before.last_closed is after.last_closed
