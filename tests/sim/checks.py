"""What must hold as seen from outside: from what the exchange really has and did, not from what the core believes."""

from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace
from tests.sim import setup as world_setup
from tests.sim.debts import Debts
from tests.sim.exposure import Held

from executor.core.book.ledger import committed, holding
from executor.core.book.levels import is_safer, safer
from executor.core.model.ids import ENTRIES, Role, is_ours, parse
from executor.core.model.policy import Layout
from executor.core.model.rules import SymbolRules
from executor.core.model.state import Closed, Closing, Order, OrderPhase, Position, Reason, State
from executor.core.model.values import ZERO, Direction, OrderSide, OrderStatus, OrderType, ceil_to, plain
from executor.paper.engine.account import LiveOrder
from executor.paper.engine.model import ExecutionReport, ExecutionType
from executor.simulate.direct import Direct

ALERT_SLACK_MS: Final = 8_000  # beyond the failsafe's grace: a look around, a direct query, the answer's way
CALM_MS: Final = 120_000
_FIGURE: Final = Decimal("0.00000002")  # two roundings
BARELY: Final = Decimal("0.99")  # what passes NOTIONAL by so little may fail it at its stop's limit price
STOPS: Final = frozenset({OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT})
STEPS_OVER: Final = 4  # each of three exits rounds up, and one hour more of interest may have been expected
CLAIMED_MORE: Final = Decimal(
    50
)  # of a debt that is not on record, so little beside the entry counts as its own (11.12)
KNOWN_SLACK_MS: Final = 1_500  # the disk's retry


class Told(msgspec.Struct, frozen=True):
    """What the service knows and says, ms in its own time: `at` its last alert, `began` its start, `bare_since` when
    it believes that the position became bare (0: it does not), `blind` whether it could not see what the exchange has,
    `reckoned` the base it takes for paid because the entry's commissions could not be read: sold at the close (3.4).
    """

    now: int = 0
    at: int = 0
    began: int = 0
    bare_since: int = 0
    blind: bool = False
    grace: int = 0
    reckoned: Decimal = ZERO


def taken_as_paid(position: Position | None, rules: SymbolRules) -> Decimal:
    """Base that may be held all the same: the guess in place of commissions that could not be read."""
    return holding(position, rules).guessed if position is not None and position.guess_fees else ZERO


class Truth:
    """One trade as the exchange has it. `by_hand`: somebody else has sold it, `taken` of it. `stops`: by leg, the
    safest level that a stop is known to have stood at; `known`: the same, when the stop with that id was decided.
    `behind`: orders of which less was told than had filled, `hidden` in all, with the base that buying back has cost:
    what stands was sized before that. `stopped`: PLAIN's stop of the whole has begun to sell. `lent`: commission that
    the exchange may have taken from what the account had before, so that exits sell all that was bought (faqs/opo.md).
    `carried`: what an earlier trade has left owed of base, and nothing in the account repays: a short buys it along.
    `loosened`: what was on its way when somebody else cancelled an exit, and with it freed base. `gone`: what the
    account of a long has once been short of, taken by another hand: base that is there later is that hand's own.
    """

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.entered = ZERO
        self.left = ZERO
        self.entry_fee = ZERO
        self.base = ZERO
        self.fees: Counter[str] = Counter()
        self.cash = ZERO
        self.prices: list[Decimal] = []
        self.commissions: dict[str, Decimal] = {}
        self.taken = ZERO
        self.gone = ZERO
        self.stops: dict[int, Decimal] = {}
        self.known: dict[str, Decimal | None] = {}
        self.hidden = ZERO
        self.lent = ZERO
        self.stopped = False
        self.carried = ZERO
        self.loosened: set[str] = set()
        self.seen: set[str] = set()
        self.by_hand = False
        self.older = False  # its newest state was lost once
        self.behind: list[str] = []

    @property
    def held(self) -> Decimal:
        return self.entered - self.entry_fee - self.left - self.taken


class Outside:
    def __init__(self, direct: Direct, setup: world_setup.Setup, rules: SymbolRules) -> None:
        self.direct = direct
        self.setup = setup
        self.rules = rules
        self.broken: list[str] = []
        self.trades: dict[str, Truth] = {}
        self.opened = 0
        self.closed: Counter[str] = Counter()
        self.bare_since = 0
        self.newest = ""
        self.followed = ""
        self.seized = ""
        self._silent = 0
        self._known_at: tuple[int, int] | None = None
        self._watched_at = 0
        self._told = Told()
        self._placed: set[str] = set()
        self._beside: set[str] = set()
        self._delta: dict[str, Decimal] = {}
        self.saved: Callable[[], State] | None = None
        self.debts: Debts | None = None
        self.excused_ids = False

    # --- as it happens -----------------------------------------------------------------------------------------------

    def placed(self, client_id: str) -> None:
        """The exchange has taken an order under `client_id`."""
        if client_id in self._placed:
            self.broken.append(f"W1 (rule 1): {client_id} names two orders")
        self._placed.add(client_id)
        if self.saved is not None and not self.excused_ids:
            position = self.saved().position
            if position is None or all(order.id != client_id for order in position.orders):
                self.broken.append(f"W2 (8.1): {client_id} is at the exchange and not on disk")

    def reported(self, reports: list[ExecutionReport]) -> None:
        touched: set[str] = set()
        for event in reports:
            order = event.order
            if event.execution_type is ExecutionType.TRADE:
                self._traded(event)
            name = parse(order.client_order_id)
            if name is not None:
                touched.add(name.trade)
        for trade in touched:
            truth = self.trades.get(trade)
            if truth is not None:
                self._sold_once(trade, truth)

    def seize(self) -> None:
        """What the trade at hand holds, or will once its entry fills, is not its own doing any more."""
        self.seized = self.followed
        truth = self.trades.get(self.followed)
        if truth is not None:
            truth.by_hand = True

    def cancelled_by_hand(self) -> None:
        """Somebody else is about to cancel an order of the trade at hand: the base that it frees lets in what was kept
        apart by the lock alone (8.3b), and nobody here can know before it shows.
        """
        position = self._saved_position()
        if position is not None and (truth := self.trades.get(position.trade)) is not None:
            sent = (OrderPhase.SUBMITTED, OrderPhase.UNRESOLVED)
            truth.loosened.update(o.id for o in position.orders if o.phase in sent)

    def _traded(self, event: ExecutionReport) -> None:
        order = event.order
        sign = 1 if order.side is OrderSide.BUY else -1
        self._add(order.symbol.removesuffix(self.rules.quote), sign * event.last_qty)
        self._add(self.rules.quote, -sign * event.last_quote_qty)
        if event.commission_asset:
            self._add(event.commission_asset, -event.commission)
        truth = self._truth_of(event)
        if truth is None:
            return
        if order.side is truth.direction.entry_side:
            truth.entered += event.last_qty
            if truth.direction is Direction.LONG and event.commission_asset == self.rules.base:
                truth.entry_fee += event.commission
                if order.order_list_id != -1:
                    truth.lent += event.commission
                if (name := parse(order.client_order_id)) is not None and name.role is Role.BUYBACK:
                    truth.hidden += event.commission
        else:
            truth.left += event.last_qty
            truth.stopped |= order.type in STOPS and self.setup.policy.layout is Layout.PLAIN
        truth.base += sign * event.last_qty
        truth.cash -= sign * event.last_quote_qty
        truth.prices.append(event.last_price)
        if event.commission_asset and event.commission:
            asset = event.commission_asset
            truth.commissions[asset] = truth.commissions.get(asset, ZERO) + event.commission
            if asset == self.rules.base:
                truth.base -= event.commission
            elif asset == self.rules.quote:
                truth.cash -= event.commission

    def _truth_of(self, event: ExecutionReport) -> Truth | None:
        """The trade that a fill is of, which may begin with it."""
        order = event.order
        name = parse(order.client_order_id)
        if name is None:
            return None
        truth = self.trades.get(name.trade)
        if truth is None:
            if name.role is Role.DEBT:
                return None  # of an entry that never filled, the debt's dust (11.8)
            if name.role not in ENTRIES:
                self.broken.append(f"W3: {order.client_order_id} traded before any entry")
                return None
            direction = Direction.LONG if order.side is OrderSide.BUY else Direction.SHORT
            truth = self.trades[name.trade] = Truth(direction)
            truth.by_hand = name.trade == self.seized
            if self.debts is not None and self._buys_back(truth):
                truth.carried = self.debts.carried(name.trade)
            self.opened += 1
            self.newest = name.trade
        return truth

    def deposited(self, asset: str, amount: Decimal) -> None:
        self._add(asset, amount)

    def traded(self, asset: str) -> Decimal:
        """What fills, fees and deposits have added to the account's balance."""
        return self._delta.get(asset, ZERO)

    def _add(self, asset: str, amount: Decimal) -> None:
        self._delta[asset] = self._delta.get(asset, ZERO) + amount

    def _sold_once(self, trade: str, truth: Truth, *, late: bool = True) -> None:
        """10.1, from what is really open and really sold. PLAIN's stop of the whole overlaps its targets by design
        (4.3): beside it nothing sells more than is held, and it alone no more than was ever held.

        Not judged once somebody has sold by hand: what is left of the balance is theirs, and rule 6.6 puts exits back
        once. Nor between the first fill of PLAIN's stop and the cancel of its targets, which is the price of 4.3.
        `late`: an exit in doubt beside which another was sent may come in, and stand until it is cancelled (8.3c).
        """
        if truth.by_hand:
            return
        selling = whole = ZERO
        lists: set[int] = set()
        beside = self._sent_beside(trade) if late else set()
        plain_layout = self.setup.policy.layout is Layout.PLAIN
        for order in self.open_of(trade):
            if order.side is not truth.direction.exit_side or order.client_order_id in beside:
                continue
            if order.status is OrderStatus.PENDING_NEW:
                continue
            if plain_layout and order.type in STOPS:
                whole += order.open_qty
                continue
            if order.order_list_id != -1:
                if order.order_list_id in lists:
                    continue
                lists.add(order.order_list_id)
            selling += order.open_qty
        held, most = self._bounds(truth, self._sold_beside(trade, beside))
        if selling > held and not truth.stopped:
            self.broken.append(f"W3 (10.1): {plain(selling)} can be sold, {plain(held)} are held by trade {trade}")
        if whole > most:
            self.broken.append(f"W3 (4.3): the stop would sell {plain(whole)}, more than trade {trade} ever held")

    def _sent_beside(self, trade: str) -> set[str]:
        """The exits in doubt beside which others were sent (8.3c), also where the state that said so was lost. A lock
        that keeps them apart (8.3b) does so until base comes free that nobody here has freed (`_loosened`).
        """
        position = self._saved_position()
        if position is not None and position.trade == trade:
            all_apart = any(o.apart for o in position.orders) and self._loosened(position)
            loosened = self.trades[trade].loosened
            self._beside.update(
                o.id for o in position.orders if o.beside or (o.apart and (all_apart or o.id in loosened))
            )
        return self._beside

    def _saved_position(self) -> Position | None:
        return self.saved().position if self.saved is not None else None

    def _loosened(self, position: Position) -> bool:
        """Whether somebody else has brought in what exits lock, as by a loan of base that no long asks for, or
        self-trade prevention has freed what one of them had locked (faqs/stp_faq.md).
        """
        lent = self.debts is not None and self.debts.direct.lender.debt(self.rules.base).total > 0
        mine = f"EX_{position.trade}_"
        prevented = any(o.prevented_qty for o in self._orders() if o.client_order_id.startswith(mine))
        return (lent and position.plan.direction is Direction.LONG) or prevented

    def _sold_beside(self, trade: str, beside: AbstractSet[str]) -> Decimal:
        """What such exits have sold, and was not bought back yet."""
        if not beside:
            return ZERO
        mine = f"EX_{trade}_"
        late = [o for o in self._orders() if o.client_order_id in beside and o.client_order_id.startswith(mine)]
        done = sum((o.executed_qty for o in late), ZERO)
        return max(done - _bought_back(self, trade), ZERO)

    def _bounds(self, truth: Truth, beside: Decimal) -> tuple[Decimal, Decimal]:
        """What may still be sold (or bought back) now, and the most that ever may."""
        held, most = truth.held, truth.entered - truth.entry_fee
        if self._buys_back(truth):
            held, most = self._to_buy(truth, truth.left), self._to_buy(truth, ZERO)
        return max(held + truth.lent + beside, ZERO) + truth.hidden, most

    def _buys_back(self, truth: Truth) -> bool:
        """Whether it is a short on credit: what it buys must pay interest and its own commission, too (11.6)."""
        return self.debts is not None and truth.direction is Direction.SHORT

    def _to_buy(self, truth: Truth, bought: Decimal) -> Decimal:
        """The most that a short on credit may still buy when it has bought so much: three steps for three roundings.
        With its state lost a little of somebody else's debt counts as its own, and is bought as well (11.12).
        """
        assert self.debts is not None
        base = self.rules.base
        taken = self.debts.converted[base]  # what stands was sized before it was, and is not moved for it
        interest = self.debts.direct.lender.debt(base).interest + taken
        # They are sized before it is known in which asset commission is paid; an earlier trade's rest is bought along.
        fees = max(truth.commissions.get(base, ZERO), bought * (1 - self.rules.worst_keep())) if bought else ZERO
        claimed = min(self.debts.foreign[base], truth.entered / CLAIMED_MORE) if self.debts.forgot else ZERO
        ours = max(truth.entered + interest, self.debts.at_most_ours(base) + taken) + claimed
        net = max(ours + fees - bought, ZERO)
        return ceil_to(net / self.rules.worst_keep(), self.rules.step) + STEPS_OVER * self.rules.step

    def open_of(self, trade: str = "") -> list[LiveOrder]:
        live = self.direct.engine._accounts[self.direct.account].open.get(self.direct.symbol, {})
        return [o for o in live.values() if o.client_order_id.startswith(f"EX_{trade}")]

    def kept_back(self, client_id: str, qty: Decimal) -> None:
        """The exchange has not told of `qty` that this order traded: so much may be sold twice, and bought back."""
        name = parse(client_id)
        if name is not None and name.trade in self.trades:
            self.trades[name.trade].behind.append(client_id)
            self.trades[name.trade].hidden += qty

    # --- after each step ---------------------------------------------------------------------------------------------

    def stepped(self, before: State, after: State) -> None:
        old, new = before.position, after.position
        self.followed = new.trade if new is not None else ""
        if new is not None and (old is None or old.trade != new.trade) and before.halted:
            self.broken.append(f"W8: trade {new.trade} was opened while halted: {before.halted}")
        if new is not None and new is not old:
            self._stops(after)
            self._sold_beside_doubt(old, new)
            self._bought_back(new)
            begun = isinstance(new.phase, Closing) and (old is None or not isinstance(old.phase, Closing))
            if begun and self.debts is not None:
                self.debts.closing(new)
            if old is not None and old.exposure.since and not new.exposure.since:
                self.forget()  # it took the position for covered, or for sold
            if old is not None and old.trail is not None and new.trail is not None:
                best, last = new.trail.best, old.trail.best
                if is_safer(last, best, new.plan.direction):
                    self.broken.append(f"W4 (5.4): the best price went back from {plain(last)} to {plain(best)}")
        closed = after.last_closed
        if closed is not None and closed is not before.last_closed and new is None and old is not None:
            self._closed(closed, old)
            if self.debts is not None:
                self.debts.closed(after, closed)

    def _stops(self, state: State) -> None:
        """10.4, from the stops that the exchange took: none is behind one that was known to have stood when it was
        decided (one in doubt may come in after the next was sent; the safer of the two stays).
        """
        position = state.position
        assert position is not None
        truth = self.trades.get(position.trade)
        if truth is None or not position.legs:
            return
        stops = [o for o in position.orders if o.stop_price is not None and o.is_stop]
        for order in stops:
            if not order.exchange_id or order.id in truth.seen:
                continue
            truth.seen.add(order.id)
            level, best = order.stop_price, truth.stops.get(order.leg)
            assert level is not None
            bound = truth.known.get(order.id, best)
            if bound is not None and is_safer(bound, level, truth.direction):
                self.broken.append(f"W4 (10.4): {order.id} at {plain(level)}, the leg had {plain(bound)}")
            truth.stops[order.leg] = level if best is None else safer(level, best, truth.direction)
        for order in stops:
            truth.known.setdefault(order.id, truth.stops.get(order.leg))

    def _sold_beside_doubt(self, old: Position | None, new: Position) -> None:
        """8.3, by what was known when it was decided: what is told of while it is on its way, nobody could reckon."""
        known = {o.id for o in old.orders} if old is not None else set()
        for order in new.orders:
            if order.role is not Role.FLATTEN or order.id in known:
                continue
            if (doubted := _doubted_beside(new, order, self.rules)) is not None:
                self.broken.append(f"W3 (8.3): {order.id} sells what {doubted}, which is in doubt, may sell as well")

    def _bought_back(self, position: Position) -> None:
        """6.3: only what was sold twice is bought back, by a leg beyond its part or by the whole trade."""
        back = [o for o in position.orders if o.role is Role.BUYBACK]
        truth = self.trades.get(position.trade)
        if not back or truth is None or back[-1].id in truth.seen:
            return
        truth.seen.add(back[-1].id)
        done = {o.client_order_id: o.executed_qty for o in self._orders()}
        over = ZERO
        for leg in position.legs:
            sold = sum((done.get(o.id, ZERO) for o in position.orders if o.is_exit and o.leg == leg.n), ZERO)
            over += max(sold - leg.qty, ZERO) if leg.n else ZERO
        bought = sum((done.get(o.id, ZERO) for o in back[:-1]), ZERO)
        if back[-1].qty > max(over - bought, -truth.held):
            self.broken.append(f"W12 (6.3): {plain(back[-1].qty)} bought back, {plain(over - bought)} were sold twice")

    def _orders(self) -> list[LiveOrder]:
        return list(self.direct.engine._accounts[self.direct.account].orders.values())

    def _closed(self, closed: Closed, last: Position) -> None:
        self.closed[str(closed.reason)] += 1
        for order in self.open_of(closed.trade):
            self.broken.append(f"W7 (7.1): {order.client_order_id} is open after the trade's close")
        truth = self.trades.get(closed.trade)
        if truth is None:
            if closed.qty:
                self.broken.append(f"W6: {closed.trade} closed with {plain(closed.qty)}, nothing was traded")
            return
        if truth.entered - _bought_back(self, closed.trade) != closed.qty:
            self.broken.append(f"W6: {closed.trade} says {plain(closed.qty)} entered, it was {plain(truth.entered)}")
        if last.guess_fees or not all(_looked_again(last, client_id) for client_id in truth.behind):
            return
        if closed.commissions != truth.commissions:
            self.broken.append(f"W6: {closed.trade} says {closed.commissions} paid, it was {truth.commissions}")
        if self.debts is not None and truth.by_hand:
            return
        if closed.dust + closed.interest.get(self.rules.base, ZERO) + last.gone != truth.base:
            self.broken.append(f"W6: {closed.trade} says dust {plain(closed.dust)}, it is {plain(truth.base)}")
        self._profit(closed, truth)
        self._left_over(closed, truth)

    def _profit(self, closed: Closed, truth: Truth) -> None:
        """7.2: what the account has gained, with what is left of the base at a price of the trade."""
        gained = truth.cash - closed.interest.get(self.rules.quote, ZERO)
        rest = truth.base - closed.interest.get(self.rules.base, ZERO)
        least, most = sorted((gained + rest * min(truth.prices), gained + rest * max(truth.prices)))
        if not least - _FIGURE <= closed.pnl <= most + _FIGURE:
            self.broken.append(
                f"W6 (7.2): {closed.trade} says {plain(closed.pnl)} gained, it was {plain(least)} to {plain(most)}"
            )

    def _left_over(self, closed: Closed, truth: Truth) -> None:
        """7.1: nothing but dust is held, and nothing was sold twice."""
        much = (self.rules.min_notional * 2 + 1) / closed.stop_planned
        if closed.reason is Reason.EXTERNAL or truth.by_hand:
            return  # rule 6.6 leaves it to whoever took its exits away
        over = -truth.held
        if self._buys_back(truth):  # what pays interest and its own commission was bought, not sold twice
            over -= closed.interest.get(self.rules.base, ZERO) + truth.commissions.get(self.rules.base, ZERO)
            over -= truth.carried  # a rest that an earlier one left is taken along (11.7)
            if self.debts is not None and self.debts.forgot:
                over -= truth.entered / CLAIMED_MORE
        if over > much:
            self.broken.append(f"W6 (6.3): {closed.trade} closed, {plain(-truth.held)} were sold twice")
        if truth.held > much:
            self.broken.append(f"W6 (7.1): {closed.trade} closed with {plain(truth.held)} held")

    # --- now and then ------------------------------------------------------------------------------------------------

    def watch(self, now: int, told: Told, trade: str | None) -> None:
        """I5: bare for longer than its deadline, and nobody was told, or not again a grace later. Time counts where it
        passes both in truth (`now`, ms) and for the service.
        """
        last, self._told = self._told, told
        passed = min(now - self._watched_at, told.now - last.now)
        self._watched_at = now
        self._miss(trade)
        if trade not in self.trades or not self.bare(trade, told.reckoned):
            self.sound()
            return
        self.bare_since = self.bare_since or told.now
        # By a clock that was set back, what is new may be dated before what was told last.
        spoken = told.at >= last.now or told.at != last.at
        begun = told.began >= last.now or told.began != last.began
        if spoken:
            self._known_at = None  # somebody knows
        elif begun and self._known_at is not None:
            # It had been known before the crash, and on disk: the deadline runs on.
            self._silent = min(told.grace, now - self._known_at[0], told.now - self._known_at[1])
            return
        if told.bare_since != last.bare_since:
            self._known_at = None  # it took the position for covered meanwhile: a deadline of its own
        if told.bare_since and self._known_at is None:
            self._known_at = now, told.now
        if spoken or begun or told.bare_since != last.bare_since or told.blind:
            self._silent = 0
            return
        self._silent += passed
        if self._silent > told.grace + (KNOWN_SLACK_MS if told.bare_since else ALERT_SLACK_MS):
            known = "" if told.bare_since else ", and the service takes it for covered"
            self.broken.append(f"W5: bare for {self._silent / 1000:.1f} s without an alert{known}")

    def sound(self) -> None:
        """Nothing is bare, if only for a moment: what is bare after it has a deadline of its own."""
        self._silent = self.bare_since = 0
        self._known_at = None

    def remembers(self, saved: State | None) -> None:
        """What is on the disk that a service starts on: of a spell that is not there no deadline runs on."""
        position = saved.position if saved is not None else None
        if position is None or position.exposure.since != self._told.bare_since:
            self.forget()

    def forget(self) -> None:
        """What the service knew is lost with its state."""
        self._known_at = None

    def bare(self, trade: str, reckoned: Decimal = ZERO) -> Decimal:
        """What no stop stands behind, where an order could still be placed for it; less what is `reckoned` as paid."""
        held = self.rules.whole(self._to_cover(self.trades[trade]) - reckoned)
        if held <= 0:
            return ZERO
        bare = held - self.covered(trade)
        price = self.direct.engine.last_price(self.direct.symbol) or ZERO
        return bare if bare > 0 and self.rules.carries(bare, price) else ZERO

    def _to_cover(self, truth: Truth) -> Decimal:
        """What is held, or is still to be bought back: on margin, where somebody else has repaid or the exchange has
        liquidated, no more than the account has, or lacks of what is owed.
        """
        if self.debts is None or not truth.by_hand:
            return truth.held
        base = self.rules.base
        there = self.debts.direct.lender.held(base)
        most = there if truth.direction is Direction.LONG else self.debts.ours(base) - there
        return max(min(truth.held - truth.gone, most), ZERO)

    def _miss(self, trade: str | None) -> None:
        """What of a long's base another hand or the exchange has taken is gone from the trade (11.11)."""
        truth = self.trades.get(trade or "")
        if truth is None or self.debts is None or not truth.by_hand or truth.direction is Direction.SHORT:
            return
        truth.gone = max(truth.gone, truth.held - self.debts.direct.lender.held(self.rules.base))

    def met(self, trade: str) -> set[Held]:
        """What, at this moment, a rule or the market lets stand without a stop."""
        met = set()
        for order in self.open_of(trade):
            name = parse(order.client_order_id)
            if order.is_working and order.type in STOPS:
                met.add(Held.MARKET)
            elif name is not None and name.role in {Role.TP1, Role.TP2} and order.executed_qty:
                met.add(Held.TARGET)
            elif name is not None and name.role in ENTRIES and self.covered(trade):
                met.add(Held.GROWING)
        return met

    def covered(self, trade: str) -> Decimal:
        total = ZERO
        for order in self.open_of(trade):
            name = parse(order.client_order_id)
            if (
                name is not None
                and name.role in {Role.SL, Role.SL1, Role.SL2, Role.TRAIL}
                and not (order.is_working or order.status is OrderStatus.PENDING_NEW)
            ):
                total += order.open_qty
        return total

    # --- in the calm -------------------------------------------------------------------------------------------------

    def has_time(self, now: int, grace: int) -> bool:
        """Whether the trade has become bare so lately that nobody need have been told (ms, the service's time)."""
        return bool(self.bare_since) and now - self.bare_since < grace + KNOWN_SLACK_MS

    def must_be_safe(self, state: State, alerted_at: int, now: int) -> None:
        """Liveness: flat, covered, or somebody was told of it as it is now (ms, the service's time)."""
        position = state.position
        if self.broken or position is None:
            return
        truth = self.trades.get(position.trade)
        if truth is not None:
            self._sold_once(position.trade, truth, late=False)
        if unsafe := self.unsafe(state, alerted_at, now):
            self.broken.append(unsafe)

    def unsafe(self, state: State, alerted_at: int, now: int) -> str:
        """Why the trade is not safe; empty where it is."""
        position = state.position
        if position is None:
            return ""
        truth = self.trades.get(position.trade)
        reckoned = taken_as_paid(position, self.rules)
        held = self._to_cover(truth) if truth is not None else ZERO
        bare = self.rules.whole(held - reckoned) - self.covered(position.trade)
        told = alerted_at >= max(self.bare_since, 1)
        if bare > 0 and self.rules.carries(bare, position.plan.stop * BARELY) and not told:
            what = f"{plain(bare)} are bare: {type(position.phase).__name__}"
            return f"L1: calm for {CALM_MS // 1000} s, and {what}"
        if any(owed.at < now - 30_000 for owed in state.outbox):
            return f"L2: {state.outbox[0].request!r} is owed for ever"
        return ""

    def must_be_over(self, state: State, alerted_at: int) -> None:
        """Every stop was passed: the trade has ended, or it is halted and somebody was told."""
        if self.broken or (state.halted and alerted_at):
            return
        if state.position is not None:
            self.broken.append(f"L3: every stop was passed, and the trade is not over: {state.position.phase!r}")
        elif self.debts is not None:
            self.debts.over(state)
        if state.position is None and (left := self.ours_open()):
            self.broken.append(f"L4 (10.3): flat, and {', '.join(left)} stand at the exchange")

    def balances(self) -> None:
        """Δbalance = fills less fees, to the last digit."""
        for asset, balance in self.direct.balances().items():
            expected = self.setup.balances.get(asset, ZERO) + self.traded(asset)
            if self.debts is not None:
                expected += self.debts.changed(asset)
            if balance.total != expected:
                self.broken.append(f"W6: {asset} is {plain(balance.total)}, fills and fees make {plain(expected)}")

    def ours_open(self) -> list[str]:
        return [order.client_order_id for order in self.open_of() if is_ours(order.client_order_id)]


def found_nobody(reports: list[ExecutionReport]) -> bool:
    """Whether a market order out of a position has ended unfilled, or half filled: the book was empty."""
    return any(
        report.order.type is OrderType.MARKET
        and report.execution_type is ExecutionType.EXPIRED
        and (name := parse(report.order.client_order_id)) is not None
        and name.role not in ENTRIES
        for report in reports
    )


def _doubted_beside(position: Position, order: Order, rules: SymbolRules) -> str | None:
    """The exit in doubt beside which the market order sells what that may sell: only a stop may (8.3c)."""
    held = holding(position, rules)
    there = replace(position, orders=tuple(o for o in position.orders if o.id != order.replaces))
    if committed(there, layout=Layout.OCO) <= held.held + held.beyond:
        return None  # there is enough for all of them
    doubtful = (o for o in position.orders if o.beside and o.phase is OrderPhase.UNRESOLVED)
    return next((o.id for o in doubtful if order.leg in {0, o.leg}), None)


def _looked_again(position: Position, client_id: str) -> bool:
    """Whether rule 6.3 had the order looked at once more: a market order was sent in its place."""
    order = next((o for o in position.orders if o.id == client_id), None)
    return order is not None and any(
        o.role is Role.FLATTEN and o.cum_qty and o.leg in {0, order.leg} and o.sent_at >= order.closed_at
        for o in position.orders
    )


def _bought_back(outside: Outside, trade: str) -> Decimal:
    prefix = f"EX_{trade}_{Role.BUYBACK}"
    return sum((o.executed_qty for o in outside._orders() if o.client_order_id.startswith(prefix)), ZERO)
