"""A margin account in the simulated world: what is asked of it goes through the adapter's own writing and reading.

So the account that a request is for is the one that its parameters name, and what the service sees is what it reads in
the exchange's own JSON.
"""

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec
import orjson
from tests.sim.setup import ACCOUNT, QUOTE, Setup

from executor.core.model.events import AnyEvent, BorrowableSeen, LiquidationsSeen, LoansSeen, MarginSeen
from executor.core.model.facts import Done, NotTried, Refused, ReplaceOutcome, Why
from executor.core.model.intents import (
    Borrow,
    CancelList,
    CancelOrder,
    LoanCommand,
    MarginRead,
    OrderCommand,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    QueryBorrowable,
    QueryLiquidations,
    QueryLoans,
    QueryMargin,
    ReplaceOrder,
)
from executor.core.model.loans import Bars, Booked, Borrowable, LoanKind, LoanRecord, MarginAccount, MarginTerms
from executor.exchange.binance import named
from executor.exchange.wire import margin as wire
from executor.paper.engine import model
from executor.paper.engine.exchange import Engine
from executor.paper.engine.margin.account import MarginAccount as Lender
from executor.paper.engine.margin.model import Fate
from executor.paper.engine.margin.transfers import margin_name
from executor.paper.server.call import Call
from executor.paper.server.limits import Limits
from executor.paper.server.margin import accounts, loans
from executor.paper.server.params import Params
from executor.simulate.direct import Direct, refusal

CROSS: Final = "cross"
ISOLATED: Final = "isolated"
_KEPT_MS: Final = 2_500
_LIMITS: Final = Limits()


def pair_of(setup: Setup) -> str:
    """The pair of the isolated account; empty for the cross one."""
    return setup.market.symbol if setup.margin == ISOLATED else ""


def open_account(engine: Engine, setup: Setup, now: int) -> None:
    """Move all that the setup has to its margin account, which that opens."""
    pair = pair_of(setup)
    if len(engine.symbols()) > 1:
        engine.on_trade("BNBUSDT", 1, Decimal(600), Decimal(1), buyer_is_maker=True, now=now)
    kind = "MAIN_ISOLATED_MARGIN" if pair else "MAIN_MARGIN"
    for asset, amount in setup.balances.items():
        if amount:
            engine.margin.transfer(ACCOUNT, kind, asset, amount, now, target=pair)
    engine.set_bnb_burn(margin_name(ACCOUNT, pair), enabled=setup.burn and not pair)


class MarginDirect(Direct):
    """The account, as the service's adapter asks for it and reads it."""

    def __init__(self, engine: Engine, setup: Setup) -> None:
        self.pair = pair_of(setup)
        super().__init__(engine, margin_name(ACCOUNT, self.pair), setup.market.symbol)
        self._named = wire.Account(self.pair)
        self._past: deque[tuple[int, tuple[object, ...], MarginAccount]] = deque()

    @property
    def lender(self) -> Lender:
        return self.engine.margin.account(ACCOUNT, self.pair)

    # --- commands -------------------------------------------------------------------------------------------------

    def command(self, request: OrderCommand, now: int) -> Done | Refused | ReplaceOutcome:
        if isinstance(request, ReplaceOrder):
            return ReplaceOutcome(Refused(Why.OTHER, 0, "no such request on margin"), NotTried())
        self.engine.margin.advance(now)
        try:
            self._find(self._written(request))
        except model.Reject as reject:
            return refusal(reject)
        outcome = super().command(request, now)
        self.engine.margin.after(now)
        return outcome

    def lend(self, request: LoanCommand, now: int, fate: Fate | None = None) -> Booked | Refused:
        """`fate`: how it goes on where it is accepted."""
        margin = self.engine.margin
        margin.advance(now)
        kind = LoanKind.BORROW if isinstance(request, Borrow) else LoanKind.REPAY
        asked = wire.lend(self._named, kind, request.asset, request.amount)
        try:
            account = self._find(asked)
            if fate is not None:
                account.next_fates.append(fate)
            act = margin.borrow if asked["type"] == "BORROW" else margin.repay
            record = act(account, asked["asset"], Decimal(asked["amount"]), now)
        except model.Reject as reject:
            self.lender.next_fates.clear()
            return refusal(reject)
        margin.watch(now)
        return wire.booked(orjson.dumps({"tranId": record.tran_id}))

    def _written(self, request: OrderCommand) -> wire.Params:
        match request:
            case PlaceOrder():
                return wire.place(self._named, self.symbol, request.order)
            case PlaceOco():
                return wire.oco(self._named, self.symbol, request.list_id, request.target, request.stop)
            case CancelOrder():
                return wire.about(self._named, self.symbol, **named(request.id, request.exchange_id))
            case CancelList():
                return wire.about(self._named, self.symbol, listClientOrderId=request.list_id)
            case ReplaceOrder() | PlaceBracket():
                raise AssertionError(f"no request of a margin account: {request}")

    def _find(self, asked: wire.Params) -> Lender:
        """The account that the parameters name; cross where they do not say. AssertionError: it is another one."""
        pair = asked.get("symbol", "") if asked.get("isIsolated") == "TRUE" else ""
        assert pair == self.pair, f"a request is for the account {pair or CROSS}"
        return self.engine.margin.account(ACCOUNT, pair)

    # --- reads ----------------------------------------------------------------------------------------------------

    def margin_account(self, asked_at: int, now: int, as_of: int = 0) -> MarginAccount:
        """As it is, or as it was at `as_of` (ms)."""
        self.engine.margin.advance(now)
        if as_of:
            was = next((shown for time, _, shown in reversed(self._past) if time <= as_of), None)
            if was is not None:
                return msgspec.structs.replace(was, asked_at=asked_at)
        call = self._call(now)
        if self.pair:
            body = accounts.isolated_accounts(call, Params({"symbols": self.pair}))
            return wire.isolated_account(orjson.dumps(body), self.pair, asked_at)
        bitcoin = self.last() if self.symbol == f"BTC{QUOTE}" else self.engine.margin.prices.worth("BTC")
        body = accounts.cross_account(call, Params({}))
        return wire.cross_account(wire.cross(orjson.dumps(body)), asked_at, price=self.last(), btc_price=bitcoin)

    def remember(self, now: int) -> None:
        """Keep what the account shows now, for reads that are behind."""
        account = self.lender
        money = account.money
        owed = tuple((asset, debt.principal, debt.interest) for asset, debt in account.debts.items())
        key = (money.update_time, len(account.accruals), len(account.records), len(money.events), owed)
        if self._past and (self._past[-1][1] == key or now < self._past[-1][0]):
            return
        self._past.append((now, key, self.margin_account(0, now)))
        while len(self._past) > 1 and self._past[1][0] < now - _KEPT_MS:
            self._past.popleft()

    def records(self, kind: LoanKind, asset: str, since: int, now: int) -> tuple[LoanRecord, ...]:
        asked = wire.records_since(self._named, kind, asset, since)
        return wire.records(orjson.dumps(loans.loan_records(self._call(now), Params(asked))), kind)

    def read_margin(self, request: MarginRead, asked_at: int, now: int, as_of: int = 0) -> Callable[[int], AnyEvent]:
        """What it makes of its answer, given when that arrives."""
        seq = request.seq
        for time in (as_of, now) if as_of else (now,):  # what has come to pass by then belongs to it
            self.engine.margin.advance(time)
            self.remember(time)
        match request:
            case QueryMargin():
                shown = self.margin_account(asked_at, now, as_of)
                return lambda at: MarginSeen(at=at, account=shown, seq=seq)
            case QueryLoans():
                shown = self.margin_account(asked_at, now, as_of)
                rows = self.records(request.kind, request.asset, request.since, now)
                if as_of:
                    rows = tuple(row for row in rows if row.time <= as_of)
                return lambda at: LoansSeen(
                    at=at,
                    kind=request.kind,
                    asset=request.asset,
                    account=shown,
                    records=rows,
                    asked_at=asked_at,
                    seq=seq,
                )
            case QueryBorrowable():
                asked = {"asset": request.asset, **self._named.told_apart}
                body = loans.max_borrowable(self._call(now), Params(asked))
                most = Borrowable(request.asset, wire.borrowable(orjson.dumps(body)), asked_at)
                return lambda at: BorrowableSeen(at=at, borrowable=most, seq=seq)
            case QueryLiquidations():
                asked = {"startTime": str(request.since), **self._named.told_apart}
                times = wire.liquidations(
                    orjson.dumps(accounts.liquidations(self._call(now), Params(asked))), self._named
                )
                return lambda at: LiquidationsSeen(at=at, times=times, asked_at=asked_at, seq=seq)

    def _call(self, now: int) -> Call:
        return Call(self.engine, _LIMITS, ACCOUNT, now)


def terms(setup: Setup, engine: Engine) -> MarginTerms:
    """The account's own terms, as the service reads them when it starts."""
    pair = pair_of(setup)
    bars = engine.margin.terms.bars(pair)
    return MarginTerms(isolated=bool(pair), bars=Bars(borrow=bars.borrow, call=bars.call, liquidation=bars.liquidation))
