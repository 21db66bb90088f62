"""What else befalls a trade: other hands on the account, the symbol's terms and status, bans, streams that end."""

import asyncio
import random
from decimal import Decimal

from tests.stranger.book import Book
from tests.stranger.mood import BASE, QUOTE, STEP, ZERO, Clock, Order, Refused, Terms, now_ms
from tests.stranger.server import Exchange

OURS = "EX_"
TERMS: dict[str, dict[str, str | int]] = {
    "coarser": {"tick": "0.05", "step": "0.01"},
    "finer": {"tick": "0.001", "step": "0.0001"},
    "dearer": {"notional": "30"},
    "narrower": {"band": "0.018"},
    "fewer": {"algo": 2},
    "fewest": {"algo": 1},
    "no_oco": {"oco": False},
    "no_replace": {"replaces": False},
}
ALGO = {"algo_full": 5, "algo_some": 2}
READS = ["order", "order", "openOrders", "account", "myTrades", "ticker/24hr", "exchangeInfo", "allOrders"]
READS += ["account/commission", "ping", "avgPrice", "exchangeInfo"]
ENDED = {"maintenance": "EXPIRED", "match": "EXPIRED_IN_MATCH"}
"""All of ours, or one, ended by the exchange."""
ALWAYS = [
    "own_order",
    *ALGO,
    *TERMS,
    "halt",
    "break",
    "cancel_only",
    "auction_of_tomorrow",
    "mute",
    "refuses",
    "shutdown",
    "terminated",
]
ALWAYS += ["fees", "down", "down", "closed", "clock", "ban", "cancel_stop", "cancel_stop", *ENDED, "amend"]
ALWAYS += ["cancel_target", "cancel_all", "cancel_entry", "bnb_runs_out"]
ALWAYS += ["entry_expired", "entry_matched", "prevented", "prevented", "locked_elsewhere", "disabled", "unlisted"]
ENTRY_ENDED = {"entry_expired": "EXPIRED", "entry_matched": "EXPIRED_IN_MATCH"}
"""The entry, by the exchange."""
ON_MARGIN = [
    "charged",
    "liquidated",
    "closed_by_hand",
    "repaid_by_hand",
    "repaid_whole",
    "borrowed_by_hand",
    "moved_out",
    "moved_in",
]
WITH_SPARE = ["spare_sold", "spare_out", "more_in"]
"""The trade has no part in it."""
WITH_NOTHING_SPARE = ["sell_part", "sell_all", "sell_crumb"]
"""Where the account holds more than the trade, what another hand sells is not the trade's."""


class Hands:
    def __init__(self, book: Book, exchange: Exchange, rng: random.Random) -> None:
        self.book, self.exchange, self.rng = book, exchange, rng
        self.touched = False
        """Another hand has had what is the trade's."""
        self.gone = False
        """All that the trade held is gone."""
        self.moved = ZERO
        """Base of the account's, not the trade's, that has come; or gone: below zero."""
        self._count = 0
        self._locked: list[tuple[str, Decimal]] = []
        """What another service has locked."""

    def drawn(self, *, spare: bool) -> str:
        if self.rng.random() < 0.25:
            return ""
        if self.exchange.lender is not None and self.rng.random() < 0.25:
            return self.rng.choice(ON_MARGIN)
        if spare and self.exchange.lender is None and self.rng.random() < 0.2:
            return self.rng.choice(WITH_SPARE)
        return self.rng.choice(ALWAYS if spare else ALWAYS + WITH_NOTHING_SPARE)

    async def befall(self, name: str) -> None:
        """Carry it out at some moment of the next seconds."""
        await asyncio.sleep(self.rng.choice([0.0, 0.3, 0.3]) * (1 + self.rng.random() * 13))
        if not name:
            return
        self.exchange.went_wrong[f"befell {name}"] += 1
        if name in {"halt", "break", "cancel_only", "auction_of_tomorrow", "session_of_tomorrow"}:
            self.book.terms.status, self.book.terms.takes = name.upper(), name == "session_of_tomorrow"
            await asyncio.sleep(self.rng.choice([2, 2, 12]) + self.rng.random() * 4)
            self.book.terms.status, self.book.terms.takes = "TRADING", False
        elif name in {"shutdown", "terminated", "closed"}:
            await self.exchange.end_streams(name)
        elif name == "unlisted":
            self.book.terms.listed = False
            await asyncio.sleep(2 + self.rng.random() * 6)
            self.book.terms.listed = True
        elif name in TERMS:
            for term, value in TERMS[name].items():
                setattr(self.book.terms, term, Decimal(value) if isinstance(value, str) else value)
        elif name == "fees":
            self.book.mood.fee_asset = (
                QUOTE if self.book.mood.fee_asset != QUOTE or "BNB" not in self.book.free else "BNB"
            )
        elif name in {"mute", "refuses", "clock", "ban", "down", "disabled"}:
            self._way(name)
        else:
            self._hand(name)

    def _way(self, name: str) -> None:
        if name == "mute":
            self.exchange.mute_until = now_ms() + 15_000
        elif name == "refuses":
            self.exchange.refuses_until = now_ms() + 15_000
        elif name == "disabled":
            self.exchange.disabled_until = now_ms() + self.rng.choice([2_000, 6_000])
        elif name == "down":
            self.exchange.down, self.exchange.down_until = self.rng.choice(READS), now_ms() + 20_000
        elif name == "clock":
            Clock.ahead += self.rng.choice([-3_000, 3_000, 900, -20_000, 20_000])
        else:
            self.exchange.ban(2 + self.rng.random() * 4)

    def _hand(self, name: str) -> None:
        known = {
            "own_order": lambda: self._order("BUY", "LIMIT", "0.2", price="85"),
            "prevented": self._prevented,
            "locked_elsewhere": self._lock_elsewhere,
            "amend": self._amend,
            "bnb_runs_out": self._bnb_runs_out,
        }
        if name in known:
            known[name]()
        elif name in ALGO:
            for _ in range(ALGO[name]):
                self._order("BUY", "STOP_LOSS_LIMIT", "0.1", price="116", stop="115")
        elif name in ENDED or name in ENTRY_ENDED:
            self._ended(name)
        elif name in ON_MARGIN:
            self._on_margin(name)
        elif name in WITH_SPARE:
            self._beside(name)
        elif name.startswith("cancel_"):
            self._cancel(self._cancelled(name))
        else:
            self._sell(name)

    def _ended(self, name: str) -> None:
        if name in ENTRY_ENDED:
            self.book.end_all(self._cancelled("cancel_entry"), ENTRY_ENDED[name])
            return
        ours = self._ours()
        self.rng.shuffle(ours)
        self.book.end_all(ours if name == "maintenance" else ours[:1], ENDED[name])

    def calm(self) -> None:
        """What is not ours goes, and everything is as it was; the clock stays where it is."""
        self.book.terms = Terms()
        if "BNB" in self.book.free:
            self.book.free["BNB"] = max(self.book.free["BNB"], Decimal(1))
        if self.exchange.lender is not None:
            self.exchange.lender.give_back()
        self.exchange.mute_until = self.exchange.refuses_until = self.exchange.banned_until = 0
        self.exchange.down_until = self.exchange.disabled_until = 0
        for asset, amount in self._locked:
            self.book.lock_elsewhere(asset, -amount)
        self._locked.clear()
        self._cancel([o for o in self.book.orders if o.open and not o.client.startswith(OURS)])

    def _amend(self) -> None:
        whole = [o for o in self._ours() if o.is_stop and not o.cum and not o.working]
        whole += [o for o in self._entering() if not o.cum]
        whole = [o for o in whole if o.qty >= STEP * 200]
        if whole:
            o = self.rng.choice(whole)
            self._count += 1
            client = o.client if self.rng.random() < 0.5 else f"web_{self._count}"
            self.book.amend(o, (o.qty / 2 // STEP) * STEP, client)

    def _prevented(self) -> None:
        """A part of an order that rests alone, or of a list's entry, meets another of the account."""
        alone = [o for o in self._ours() if o.bound and o.working and not o.is_stop]
        alone += [o for o in self._entering() if o.working and o.list_id in self.book.lists]
        alone = [o for o in alone if o.left >= STEP * 200]
        if alone:
            o = self.rng.choice(alone)
            self.book.prevent(o, (o.left / 2 // STEP) * STEP)

    def _entering(self) -> list[Order]:
        """Entries that rest, and what awaits them in a quantity of its own."""
        ours = [o for o in self.book.orders if o.open and o.client.startswith(OURS)]
        lists = self.book.lists
        waiting = [o for o in ours if o.status == "PENDING_NEW" and not lists[o.list_id]["pays_out"]]
        return [o for o in ours if "ENTRY" in o.client and o.working] + waiting

    def _lock_elsewhere(self) -> None:
        """A part of the quote; of base only where the trade has no part in it."""
        spare = self.exchange.lender is None and self.book.free[BASE] > Decimal(20)
        asset = self.rng.choice([BASE, QUOTE]) if spare else QUOTE
        amount = (self.book.free[asset] * Decimal("0.2")).quantize(STEP)
        self._locked.append((asset, amount))
        self.book.lock_elsewhere(asset, amount)

    def _on_margin(self, name: str) -> None:
        lender = self.exchange.lender
        assert lender is not None
        if name == "closed_by_hand":
            self._cancel(self._cancelled("cancel_all"))
            self._gone(lender.close_by_hand())
        elif name == "liquidated":
            self._gone(lender.liquidate())
        elif name == "charged":
            lender.hour()
        elif name == "borrowed_by_hand":
            asset, amount = self.rng.choice([(BASE, "0.2"), (QUOTE, "30")])
            lender.borrow_by_hand(asset, Decimal(amount))
        elif name == "moved_out":
            lender.move_out(QUOTE, (self.book.free[QUOTE] / 3).quantize(STEP))
        elif name == "moved_in":
            asset, amount = self.rng.choice([(BASE, "0.5"), (QUOTE, "50")])
            self.book.moved(asset, Decimal(amount))
            self.moved += Decimal(amount) if asset == BASE else ZERO
        else:
            owed = QUOTE if lender.owed(QUOTE) else BASE
            self.touched |= lender.repay_by_hand(owed, whole=name == "repaid_whole")

    def _gone(self, gone: bool) -> None:
        self.touched, self.gone = self.touched or gone, self.gone or gone

    def _ours(self) -> list[Order]:
        return [
            o
            for o in self.book.orders
            if o.open and o.client.startswith(OURS) and o.status != "PENDING_NEW" and "ENTRY" not in o.client
        ]

    def _cancelled(self, name: str) -> list[Order]:
        if name == "cancel_entry":
            return [o for o in self.book.orders if o.open and o.client.startswith(OURS) and "ENTRY" in o.client]
        ours = self._ours()
        return ours if name == "cancel_all" else [o for o in ours if o.is_stop == (name == "cancel_stop")][:1]

    def _bnb_runs_out(self) -> None:
        """Commissions are in BNB, as far as there is any: two more, at the most."""
        if "BNB" in self.book.free:
            self.book.mood.fee_asset, self.book.free["BNB"] = "BNB", Decimal("0.00012")
            self.book.told_account()

    def _beside(self, name: str) -> None:
        """Base beside the trade is sold, is taken out, or comes."""
        free = (self.book.free[BASE] * Decimal("0.4")).quantize(STEP)
        if name == "spare_sold":
            before = self.book.free[BASE]
            self._market("SELL", free)
            self.moved += self.book.free[BASE] - before
        else:
            amount = Decimal(2) if name == "more_in" else -free
            self.book.moved(BASE, amount)
            self.moved += amount

    def _cancel(self, orders: list[Order]) -> None:
        for o in orders:
            if o.open:
                self._count += 1
                self.book.cancel(str(o.id), None, f"web_{self._count}")

    def _order(self, side: str, kind: str, qty: str, *, price: str, stop: str = "") -> None:
        self._count += 1
        p = {"side": side, "type": kind, "quantity": qty, "price": price, "newClientOrderId": f"web_{self._count}"}
        try:
            self.book.place(p | ({"stopPrice": stop} if stop else {}))
        except Refused:
            self.exchange.went_wrong["another hand's order was refused"] += 1

    def _sell(self, name: str) -> None:
        held = self.book.free[BASE] + self.book.locked[BASE]
        if held < 1 or any(o.open and "ENTRY" in o.client for o in self.book.orders):
            return
        self.touched = True
        part = {"sell_part": Decimal("0.3"), "sell_all": Decimal(1), "sell_crumb": Decimal("0.06")}[name]
        ours = self._ours()
        while self.book.free[BASE] < held * part and ours:
            self._cancel([ours.pop()])
        qty = (min(self.book.free[BASE], held * part) // STEP) * STEP
        self._market("SELL", qty)

    def _market(self, side: str, qty: Decimal) -> None:
        self._count += 1
        p = {"side": side, "type": "MARKET", "quantity": str(qty), "newClientOrderId": f"web_{self._count}"}
        try:
            self.book.place(p)
        except Refused:
            self.exchange.went_wrong["another hand's order was refused"] += 1
