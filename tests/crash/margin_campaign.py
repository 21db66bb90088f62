"""The campaign on a margin account: the real daemon trades on borrowed money and is killed over and over (rule 11).

The account is kept at about `OWN`, so that a long lacks quote, and a short all of its base. Besides what holds on Spot:
each trade has borrowed once, what its entry needed; and what is owed in the end is known.
"""

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tests.crash import exchange_books
from tests.crash.campaign import ACCOUNT, BALANCES, ENTRY, QTY, SYMBOL, Campaign

from executor.core.book import debt as debts
from executor.core.model.ids import Role, parse
from executor.core.model.state import Closed
from executor.core.model.values import ZERO, Direction
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.model import LoanStatus, LoanType
from executor.paper.engine.margin.transfers import margin_name
from executor.paper.engine.model import Reject

CROSS: Final = "cross"
ISOLATED: Final = "isolated"
OWN: Final = Decimal(250)
"""Quote of the account between trades: a long of 3 at 100 borrows the rest."""
ROOM: Final = Decimal(40)
MOST: Final = Decimal("1.02")
"""What an entry needs may be reckoned at a price a little worse than the planned one."""
STEPS_OVER: Final = 4
"""A short's exits round up each, and one hour more of interest may have been expected."""

CLOCKS_MS: Final = 250
"""The daemon reckons the exchange's clock, and may be ahead of it."""


class MarginCampaign(Campaign):
    """`kind`: "cross" or "isolated"; the rest as in `Campaign`."""

    def __init__(self, folder: Path, *, kind: str, **wanted: Any) -> None:
        self._pair = SYMBOL if kind == ISOLATED else ""
        self._moved = ZERO
        super().__init__(folder, **wanted)

    @property
    def lender(self) -> MarginAccount:
        return self.engine.margin.account(ACCOUNT, self._pair)

    def _open_account(self) -> str:
        self.engine.open_account(ACCOUNT, BALANCES)
        self._transfer(OWN)
        self._moved = ZERO
        return margin_name(ACCOUNT, self._pair)

    def _transfer(self, amount: Decimal) -> None:
        """From Spot to the margin account, or back where it is negative."""
        kinds = ("MAIN_ISOLATED_MARGIN", "ISOLATED_MARGIN_MAIN") if self._pair else ("MAIN_MARGIN", "MARGIN_MAIN")
        pair, now = self._pair, self.clock.now_ms()
        if amount > 0:
            self.engine.margin.transfer(ACCOUNT, kinds[0], "USDT", amount, now, target=pair)
        else:
            self.engine.margin.transfer(ACCOUNT, kinds[1], "USDT", -amount, now, source=pair)
        self._moved += amount

    def settings(self) -> dict[str, str]:
        return {
            "TRADE_MODE": "margin",
            "MARGIN_ISOLATED": "true" if self._pair else "false",
            "MARGIN_TRAIL_EVERY_SEC": "0.2",
        }

    def say(self, side: Direction) -> None:
        lacks = OWN - self.lender.free("USDT")
        if abs(lacks) > ROOM and self.is_flat():
            with suppress(Reject):  # what is owed still may hold it back
                self._transfer(lacks)
        super().say(side)

    # --- what must hold -------------------------------------------------------------------------------------------

    def _charged(self, asset: str) -> Decimal:
        return sum((row.interest for row in self.lender.accruals if row.asset == asset), ZERO)

    def _slack(self, trade: exchange_books.TradeTruth) -> Decimal:
        """A short buys back interest and its own commission as well, each exit rounded up, and a debt's rest (11.6)."""
        if not trade.orders or trade.orders[0].side is Direction.LONG.entry_side:
            return trade.lent
        rests = {order.order_id for order in trade.orders if _role(order.client_order_id) is Role.DEBT}
        bought = sum((fill.qty for fill in trade.fills if fill.order_id in rests), ZERO)
        fees = sum((fill.commission for fill in trade.fills if fill.commission_asset == "LTC"), ZERO)
        return bought + fees + self._charged("LTC") + STEPS_OVER * self.engine.symbol(SYMBOL).lot.grid

    def _left(self, closed: Closed) -> Decimal:
        return closed.dust + closed.interest.get("LTC", ZERO)

    def _audit_account(self, closed: Sequence[Closed]) -> None:
        totals, fees, spent = self._totals(), {"LTC": ZERO, "USDT": ZERO}, ZERO
        for fill in self.engine.my_trades(self.account, SYMBOL, from_id=0, limit=exchange_books.ALL):
            fees[fill.commission_asset] += fill.commission
            spent += -fill.quote_qty if fill.is_buyer else fill.quote_qty
        told: dict[str, Decimal] = {}
        for trade in closed:
            for asset, amount in trade.commissions.items():
                told[asset] = told.get(asset, ZERO) + amount
        if {asset: amount for asset, amount in fees.items() if amount} != told:
            self.fault(f"commissions: paid {fees}, told {told}")
        lent, bought = self.engine.margin.lent, sum((trade.left for trade in self.books().trades), ZERO)
        expected = {"LTC": bought, "USDT": spent - fees["USDT"] + self._moved}
        for asset, by_fills in expected.items():
            gained = totals.get(asset, ZERO) - self.start_totals.get(asset, ZERO)
            if gained != by_fills + lent.get(asset, ZERO):
                self.fault(f"{asset}: gained {gained}, by fills {by_fills}, lent {lent.get(asset, ZERO)}")
        if locked := [b for b in self.engine.balances(self.account) if b.locked]:
            self.fault(f"still locked: {locked}")
        self._audit_loans(closed)

    def _audit_loans(self, closed: Sequence[Closed]) -> None:
        made = [r for r in self.lender.records if r.status is LoanStatus.CONFIRMED and r.type is LoanType.BORROW]
        for trade in closed:
            asset, need = ("USDT", QTY * ENTRY * MOST) if trade.direction is Direction.LONG else ("LTC", QTY)
            mine = [r for r in made if r.asset == asset and trade.opened - CLOCKS_MS <= r.time <= trade.closed]
            lent = sum((r.amount for r in mine), ZERO)
            if lent > need:
                self.fault(f"trade {trade.trade} borrowed {lent} {asset}, it needed {need}\n{self.story(trade.trade)}")
            if lent != trade.borrowed.get(asset, ZERO):
                self.fault(f"trade {trade.trade} tells of {trade.borrowed} borrowed, it was {lent} {asset}")
            made = [r for r in made if r not in mine]
        if made:
            self.fault(f"borrowed for no trade: {made}")
        state = self.on_disk()
        for asset, debt in self.lender.debts.items():
            known = debts.find(state.debts if state is not None else (), asset).own
            if debt.total and not known:
                self.fault(f"{debt.total} {asset} are owed that nobody knows of")
            if debt.total and self.lender.free(asset) >= debt.total:
                self.fault(f"{debt.total} {asset} are owed and free, and not repaid")


def _role(client_id: str) -> Role | None:
    name = parse(client_id)
    return name.role if name is not None else None
