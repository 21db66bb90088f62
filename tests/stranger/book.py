"""An exchange's book of one symbol, written from Binance's documents alone: it shares no line with the paper exchange.

Where the documents leave something open, each run draws what it does (`Mood`). Money is `Decimal`; times are ms.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import ROUND_DOWN, ROUND_FLOOR, Decimal
from typing import Any

from tests.stranger.mood import BASE, QUOTE, STEP, SYMBOL, TICK, ZERO, Mood, Order, Refused, Terms, now_ms, real_ms


class Book:
    """`push(kind, event)` is called for each event, in the order in which things happen."""

    def __init__(self, mood: Mood, rng: random.Random, balances: dict[str, Decimal], price: Decimal) -> None:
        self.mood, self.rng, self.last = mood, rng, price
        self.free = dict(balances)
        self.locked: dict[str, Decimal] = dict.fromkeys(balances, ZERO)
        self.orders: list[Order] = []
        self.lists: dict[int, dict[str, Any]] = {}
        self.made_smaller = False
        """An entry was, whose exits are not: they are for more than it brings until they are cut."""
        self.push: Callable[[dict[str, Any]], None] = lambda _: None
        self.trades: list[dict[str, Any]] = []
        self.terms = Terms()
        self.accepted: Counter[str] = Counter()
        """How often an order came under which id of its own: never twice."""
        self._ids = rng.randrange(10**6, 10**9) + (2**53 if mood.big_ids else 0)
        self._counts = Counter({"order": 0, "list": -1, "trade": -1})
        self.shown_from = 0
        """No read of the account tells of before (ms, by the clock that never steps)."""
        self.accounts: list[tuple[int, dict[str, tuple[Decimal, Decimal]]]] = []
        self._told: dict[str, tuple[Decimal, Decimal]] = {}
        """What positions have told of."""
        self._note_account()

    def _number(self, kind: str) -> int:
        self._ids += 1
        self._counts[kind] += 1
        return self._counts[kind] if self.mood.own_numbers else self._ids

    # --- words ----------------------------------------------------------------------------------------------------

    def text(self, value: Decimal) -> str:
        return f"{value:.{self.mood.digits}f}"

    def whole(self, o: Order) -> str:
        """What it was traded for in all."""
        return f"{o.quote:.{self.mood.quote_digits}f}"

    def number(self, value: int) -> int | str:
        return str(value) if self.mood.numbers_as_text else value

    def snapshot(self, o: Order) -> dict[str, Any]:
        shot: dict[str, Any] = {
            "symbol": SYMBOL,
            "orderId": self.number(o.id),
            "orderListId": self.number(o.list_id),
            "clientOrderId": o.client,
            "price": self.text(o.price),
            "origQty": self.text(o.qty),
            "executedQty": self.text(o.cum),
            "origQuoteOrderQty": self.text(ZERO),
            "cummulativeQuoteQty": self.whole(o),
            "status": o.status,
            "timeInForce": o.tif,
            "type": o.type,
            "side": o.side,
            "stopPrice": self.text(o.stop),
            "icebergQty": self.text(ZERO),
            "time": o.created,
            "updateTime": o.updated,
            "isWorking": o.working,
            "workingTime": o.working_at,
            "selfTradePreventionMode": "EXPIRE_MAKER",
        }
        if o.status == "EXPIRED" and self.mood.expiry != "untold":
            shot["expiryReason"] = self._reason(o)
        if o.prevented and self.mood.prevented_told:
            shot["preventedQuantity"] = self.text(o.prevented)
        if o.status == "PENDING_NEW" and not o.qty:
            del shot["origQty"]
        if o.status == "CANCELED" and self.mood.shows_cancel_id and o.cancel_id:
            shot["clientOrderId"] = o.cancel_id
        if self.mood.sparse:
            for name in ("origQuoteOrderQty", "icebergQty", "workingTime", "selfTradePreventionMode", "expiryReason"):
                shot.pop(name, None)
        if o.odd and o.open and o.status != "PENDING_NEW":
            shot["status"] = "RESTING_TOMORROW"
        if self.mood.extra:
            shot["aThingOfTomorrow"] = {"deep": [1, None, "x"]}
        return shot

    def _reason(self, o: Order) -> str:
        return o.reason if self.mood.expiry == "told" else "FOR_A_REASON_OF_TOMORROW"

    def answer(self, o: Order) -> dict[str, Any]:
        """The RESULT or FULL form of a new order's answer."""
        shot = self.snapshot(o)
        shot["clientOrderId"] = o.client
        for name in ("time", "updateTime", "isWorking", "icebergQty"):
            shot.pop(name, None)
        if not o.is_stop:
            del shot["stopPrice"]
        shot["transactTime"] = o.updated
        shot["fills"] = [
            {
                "price": self.text(f["price"]),
                "qty": self.text(f["qty"]),
                "commission": f"{f['fee']:.8f}",
                "commissionAsset": f["asset"],
                "tradeId": f["id"],
            }
            for f in o.fills
        ]
        return shot

    def _note(self, o: Order) -> None:
        o.updated = now_ms()
        o.history.append((real_ms(), self.snapshot(o)))

    def _note_account(self) -> None:
        self.accounts.append((real_ms(), {a: (self.free[a], self.locked[a]) for a in self.free}))
        del self.accounts[:-2_000]

    def lag(self, most: int) -> int:
        """How far a read of now lags, that may lag by `most` (ms)."""
        return most if not self.mood.jitter or self.rng.random() < 0.4 else 0

    def seen(self, o: Order, lag: int) -> dict[str, Any] | None:
        """The order as a reader that lags by `lag` ms sees it."""
        until = real_ms() - self.lag(lag)
        shots = [shot for at, shot in o.history if at <= until]
        return shots[-1] if shots else None

    def account_until(self) -> int:
        """The moment that a read of the account tells of."""
        return max(self.shown_from, real_ms() - self.lag(self.mood.account_lag_ms))

    def account_seen(self, until: int) -> dict[str, tuple[Decimal, Decimal]]:
        """What was free and locked then."""
        return next((rows for at, rows in reversed(self.accounts) if at <= until), self.accounts[0][1])

    # --- money ----------------------------------------------------------------------------------------------------

    def _need(self, side: str, qty: Decimal, price: Decimal) -> tuple[str, Decimal]:
        return (BASE, qty) if side == "SELL" else (QUOTE, qty * price)

    def _lock(self, asset: str, amount: Decimal) -> None:
        if self.free[asset] < amount:
            raise Refused(self.mood.refusal_code, self._words("Account has insufficient balance for requested action."))
        self.free[asset] -= amount
        self.locked[asset] += amount

    def _bind(self, o: Order) -> None:
        """What an order of no list binds."""
        if o.is_stop and not o.working and not self.mood.stops_lock:
            asset, amount = self._need(o.side, o.qty, o.price)
            if self.free[asset] < amount:
                raise Refused(
                    self.mood.refusal_code, self._words("Account has insufficient balance for requested action.")
                )
            return
        self._lock(*self._need(o.side, o.left, o.price))
        o.bound = True

    def _unlock(self, asset: str, amount: Decimal) -> None:
        self.locked[asset] -= amount
        self.free[asset] += amount
        assert self.locked[asset] >= 0, (asset, self.locked[asset])

    def _words(self, text: str) -> str:
        return "No." if self.mood.unknown_words else text

    # --- placing --------------------------------------------------------------------------------------------------

    def _filters(self, side: str, kind: str, qty: Decimal, price: Decimal, stop: Decimal) -> None:
        if self.terms.shut:
            raise Refused(self.rng.choice([-2010, -1013]), "Market is closed.")
        if qty <= 0 or qty % self.terms.step:
            raise Refused(-1013, "Filter failure: LOT_SIZE")
        for value in (price, stop):
            if value % self.terms.tick:
                raise Refused(-1013, "Filter failure: PRICE_FILTER")
        band = self.terms.band
        if price and not self.last * (1 - band) <= price <= self.last * (1 + band):
            raise Refused(-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
        if self.mood.filters == "usual" and (price or self.last) * qty < self.terms.notional:
            raise Refused(-1013, "Filter failure: NOTIONAL")
        if stop and sum(o.open and o.is_stop and o.status != "PENDING_NEW" for o in self.orders) >= self.terms.algo:
            raise Refused(-1013, "Filter failure: MAX_NUM_ALGO_ORDERS")

    def _relation(self, side: str, kind: str, price: Decimal, stop: Decimal) -> None:
        if stop and ((side == "SELL" and stop >= self.last) or (side == "BUY" and stop <= self.last)):
            raise Refused(self.mood.refusal_code, self._words(self.mood.trigger_text))
        if kind == "LIMIT_MAKER" and (
            (side == "SELL" and price <= self.last) or (side == "BUY" and price >= self.last)
        ):
            raise Refused(self.mood.refusal_code, self._words("Order would immediately match and take."))

    def _new(self, p: dict[str, str], kind: str, *, client: str, qty: Decimal, price: Decimal, stop: Decimal) -> Order:
        if any(o.open and o.client == client for o in self.orders):
            raise Refused(self.mood.refusal_code, self._words("Duplicate order sent."))
        at = now_ms()
        tif = p.get("timeInForce", "GTC")
        odd = self.mood.odd_status and self.rng.random() < 0.3
        number = self._number("order")
        return Order(number, client, p["side"], kind, qty, price, stop, tif, created=at, updated=at, odd=odd)

    def place(self, p: dict[str, str]) -> Order:
        side, kind = p["side"], p["type"]
        qty, price, stop = Decimal(p["quantity"]), Decimal(p.get("price", 0)), Decimal(p.get("stopPrice", 0))
        self._filters(side, kind, qty, price, stop)
        client = p.get("newClientOrderId") or f"x{self._ids}"
        o = self._new(p, kind, client=client, qty=qty, price=price, stop=stop)
        try:
            self._relation(side, kind, price, stop)
            if kind != "MARKET":
                self._bind(o)
        except Refused:
            if self.mood.push_rejected:
                o.status = "REJECTED"
                self._report(o, "REJECTED")
            raise
        self.orders.append(o)
        self.accepted[client] += 1
        if kind == "MARKET":
            asset, amount = self._need(side, qty, self.last + (self.mood.walks - 1) * TICK)
            if self.free[asset] < amount:
                self.orders.remove(o)
                self.accepted[client] -= 1
                raise Refused(
                    self.mood.refusal_code, self._words("Account has insufficient balance for requested action.")
                )
            self._note(o)
            self._report(o, "NEW")
            self._take(o)
            return o
        if not stop:
            o.working, o.working_at = True, now_ms()
        self._note(o)
        self._report(o, "NEW")
        self.told_account()
        if kind == "LIMIT" and not stop:
            self._match(o, None, takes=True)
            if o.tif == "IOC" and o.open:
                self._end(o, *self._unfilled())
        return o

    def _take(self, o: Order) -> None:
        part = o.qty
        if self.rng.random() < self.mood.market_expires:
            part = (o.qty * Decimal(self.rng.choice(["0", "0.4"]))).quantize(STEP)
        for worse, piece in enumerate(self._pieces(part)):
            away = worse * TICK
            self._fill(o, piece, self.last + (away if o.side == "BUY" else -away), locked=False)
        if o.left:
            o.status, _, o.reason = self._unfilled()
            self._note(o)
            self._report(o, self._execution(o.status))
            self.told_account()

    def _pieces(self, qty: Decimal) -> list[Decimal]:
        """What of it is traded at the best price, at the next one, and so on."""
        size = (qty / self.mood.walks).quantize(STEP, rounding=ROUND_DOWN)
        pieces = [size] * (self.mood.walks - 1) if size else []
        return [each for each in (*pieces, qty - sum(pieces, ZERO)) if each]

    def _unfilled(self) -> tuple[str, None, str]:
        """How an order that takes ends with a rest."""
        reason = self.mood.taker_ends
        return ("EXPIRED_IN_MATCH", None, "NONE") if reason == "IN_MATCH" else ("EXPIRED", None, reason)

    def place_oco(self, p: dict[str, str]) -> dict[str, Any]:
        if not self.terms.oco:
            raise Refused(self.mood.refusal_code, self._words("OCO orders are not supported for this symbol."))
        side, qty = p["side"], Decimal(p["quantity"])
        legs = []
        for name in ("above", "below"):
            kind = p[f"{name}Type"]
            price, stop = Decimal(p.get(f"{name}Price", 0)), Decimal(p.get(f"{name}StopPrice", 0))
            self._filters(side, kind, qty, price, stop)
            client = p.get(f"{name}ClientOrderId") or f"y{self._ids}{name}"
            legs.append(self._new(p, kind, client=client, qty=qty, price=price, stop=stop))
        target, stopping = sorted(legs, key=lambda o: o.is_stop)
        below, above = sorted((target.price, stopping.stop))
        if not below < self.last < above or (side == "SELL") != (target.price > stopping.stop):
            raise Refused(
                self.mood.refusal_code, self._words("The relationship of the prices for the orders is not correct.")
            )
        self._lock(*self._need(side, qty, max(o.price for o in legs)))
        number = self._number("list")
        row: dict[str, Any] = {
            "id": number,
            "client": p.get("listClientOrderId") or f"l{self._ids}",
            "at": now_ms(),
            "legs": legs,
            "pair": legs,
            "working": None,
            "kind": "OCO",
            "status": "EXEC_STARTED",
            "locked": max(o.price for o in legs),
        }
        self.lists[number] = row
        target.working, target.working_at = True, now_ms()
        for o in legs:
            o.list_id = number
            self.orders.append(o)
            self.accepted[o.client] += 1
            self._note(o)
        if self.mood.lists_first:
            self._list_event(row)
        for o in legs:
            self._report(o, "NEW")
        if not self.mood.lists_first:
            self._list_event(row)
        self.told_account()
        return row

    def list_answer(self, row: dict[str, Any], *, reports: bool) -> dict[str, Any]:
        done = row["status"] == "ALL_DONE" and real_ms() >= row["told_done"]
        legs = row["legs"][::-1] if self.mood.legs_reversed else row["legs"]
        told: dict[str, Any] = {
            "orderListId": self.number(row["id"]),
            "contingencyType": row["kind"],
            "listStatusType": "ALL_DONE" if done else "EXEC_STARTED",
            "listOrderStatus": "ALL_DONE" if done else "EXECUTING",
            "listClientOrderId": row["client"],
            "transactionTime": now_ms(),
            "symbol": SYMBOL,
            "orders": [{"symbol": SYMBOL, "orderId": self.number(o.id), "clientOrderId": o.client} for o in legs],
        }
        if reports:
            told["orderReports"] = [self.answer(o) for o in legs]
        return told

    # --- cancelling -----------------------------------------------------------------------------------------------

    def find(self, order_id: str | None, client: str | None) -> Order | None:
        for o in reversed(self.orders):
            if (order_id is not None and str(o.id) == order_id) or (order_id is None and o.client == client):
                return o
        return None

    def found(self, order_id: str | None, client: str | None) -> Order | None:
        """What a query finds: a cancelled order by the ids that the mood leaves it."""
        if order_id is None and self.mood.cancelled_id != "own":
            for o in reversed(self.orders):
                if o.status == "CANCELED" and client in {o.client, o.cancel_id}:
                    known = {"cancel": {o.cancel_id}, "both": {o.client, o.cancel_id}}.get(
                        self.mood.cancelled_id, set()
                    )
                    return o if client in known else None
        return self.find(order_id, client)

    def tell_refused(self, p: dict[str, str]) -> None:
        """A refused order is pushed as REJECTED."""
        qty, price, stop = Decimal(p["quantity"]), Decimal(p.get("price", 0)), Decimal(p.get("stopPrice", 0))
        o = self._new(p, p["type"], client=p["newClientOrderId"], qty=qty, price=price, stop=stop)
        o.status = "REJECTED"
        self._report(o, "REJECTED")

    def cancel(self, order_id: str | None, client: str | None, cancel_id: str | None) -> Order:
        o = self.find(order_id, client)
        if self.terms.status in {"HALT", "BREAK"}:
            raise Refused(-2011, "Market is closed.")
        if o is None or not o.open:
            raise Refused(-2011, "Unknown order sent.")
        if o.list_id in self.lists:
            self._end_list(self.lists[o.list_id], cancel_id)
        else:
            self._end(o, "CANCELED", cancel_id)
        return o

    def cancel_list(self, list_id: str | None, client: str | None, cancel_id: str | None) -> dict[str, Any]:
        if self.terms.status in {"HALT", "BREAK"}:
            raise Refused(-2011, "Market is closed.")
        for row in self.lists.values():
            if str(row["id"]) == list_id or (list_id is None and row["client"] == client):
                if row["status"] == "ALL_DONE":
                    break
                self._end_list(row, cancel_id)
                return row
        raise Refused(-2011, "Unknown order list sent." if self.rng.random() < 0.5 else "Unknown order sent.")

    def _end_list(self, row: dict[str, Any], cancel_id: str | None) -> None:
        for o in row["legs"]:
            if o.open:
                self._end(o, "CANCELED", cancel_id)
        self._done(row)

    def _done(self, row: dict[str, Any]) -> None:
        """It is over; that is told at once, or later."""
        if row["status"] == "ALL_DONE":
            return
        late = self.mood.lists_done_late_ms
        row["status"], row["told_done"] = "ALL_DONE", real_ms() + late
        if late:
            asyncio.get_running_loop().call_later(late / 1000, self._list_event, row)
        else:
            self._list_event(row)

    def amend(self, o: Order, qty: Decimal, client: str) -> None:
        """Less of it, under another name where `client` is one; of an OCO both sides. The entry of a list and what
        awaits it are amended on their own (order_amend_keep_priority.md).
        """
        row = self.lists.get(o.list_id)
        if row is not None and o is row["working"]:
            self._unlock(*self._need(o.side, o.qty - qty, o.price))
            self.made_smaller, row = True, None
        elif o.bound or (row is not None and o.status != "PENDING_NEW"):
            self._unlock(*self._need(o.side, o.qty - qty, row["locked"] if row is not None else o.price))
        was, o.client = o.client, client
        o.born = o.born or was
        for each in row["pair"] if row is not None else [o]:
            each.qty = qty
            self._note(each)
            self._report(each, "REPLACED", old=was if each is o else each.client)
        self.told_account()

    def end_all(self, orders: Iterable[Order] | None = None, status: str = "EXPIRED") -> None:
        """The exchange ends what is open, or `orders` with their lists."""
        ended = [o for o in (self.orders if orders is None else orders) if o.open]
        of_lists = {o.list_id for o in ended} & self.lists.keys()
        for o in dict.fromkeys([*ended, *(o for number in of_lists for o in self.lists[number]["legs"])]):
            if o.open:
                self._end(o, status, None, "EXCHANGE_CANCELED" if status == "EXPIRED" else "NONE")
        for number in of_lists:
            self._done(self.lists[number])

    def trade_away(self, side: str, qty: Decimal, client: str) -> Order:
        """The exchange trades for the account, at the last price."""
        o = self._new({"side": side}, "MARKET", client=client, qty=qty, price=ZERO, stop=ZERO)
        self.orders.append(o)
        self._note(o)
        self._report(o, "NEW")
        self._fill(o, qty, self.last, locked=False)
        return o

    def _end(self, o: Order, status: str, cancel_id: str | None = None, reason: str = "NONE") -> None:
        was_list, waited = o.list_id in self.lists, o.status == "PENDING_NEW"
        o.status, o.reason, o.working = status, reason, False
        o.cancel_id = cancel_id or f"c{o.id}"
        if not was_list:
            if o.bound:
                self._unlock(*self._need(o.side, o.left, o.price))
        elif not waited:
            self._free_in_list(o, self.lists[o.list_id])
        self._note(o)
        self._report(o, self._execution(status))
        self.told_account()

    def _execution(self, status: str) -> str:
        if status == "EXPIRED_IN_MATCH" and self.mood.ends_as_prevention:
            return "TRADE_PREVENTION"
        return "EXPIRED" if status.startswith("EXPIRED") else status

    def _free_in_list(self, o: Order, row: dict[str, Any]) -> None:
        if o is row["working"]:
            self._unlock(*self._need(o.side, o.left, o.price))
            self._pay_out(row)
        elif not any(x.open for x in row["pair"] if x is not o):
            sold = sum((x.cum for x in row["pair"]), ZERO)
            self._unlock(*self._need(o.side, o.qty - sold, row["locked"]))

    # --- trading --------------------------------------------------------------------------------------------------

    def touch(self, price: Decimal, qty: Decimal | None = None) -> None:
        """The market trades at `price`; what rests there or better is filled with at most `qty`."""
        self.last = price
        if self.terms.status in {"HALT", "BREAK"}:
            return
        for o in [o for o in self.orders if o.open and o.is_stop and not o.working and o.status != "PENDING_NEW"]:
            if (o.side == "SELL" and price <= o.stop) or (o.side == "BUY" and price >= o.stop):
                if o.list_id not in self.lists and not o.bound:
                    try:
                        self._lock(*self._need(o.side, o.left, o.price))
                    except Refused:
                        self._end(o, "EXPIRED", None, "REJECTED")
                        continue
                    o.bound = True
                if self.rng.random() < self.mood.stops_die:
                    self._die(o)
                    continue
                o.working, o.working_at = True, now_ms()
                self._sibling(o)
                self._note(o)
                if self.mood.trigger_told:
                    self._report(o, "NEW")
        for o in [o for o in self.orders if o.open and o.working]:
            self._match(o, qty)

    def _die(self, o: Order) -> None:
        """It is refused as it triggers; of a list, the other side ends with it, or stands."""
        if not self.mood.half_ends:
            self._sibling(o)
        self._end(o, "EXPIRED", None, "REJECTED")
        row = self.lists.get(o.list_id)
        if row is not None and not any(each.open for each in row["legs"]):
            self._done(row)

    def prevent(self, o: Order, qty: Decimal) -> None:
        """Self-trade prevention takes `qty` of an order that rests, alone or as the entry of a list (DECREMENT,
        stp_faq.md); the rest stays.
        """
        self.made_smaller |= o.list_id in self.lists
        self._unlock(*self._need(o.side, qty, o.price))
        o.prevented += qty
        self._note(o)
        self._report(o, "TRADE_PREVENTION", taken=qty)
        self.told_account()

    def _match(self, o: Order, qty: Decimal | None, *, takes: bool = False) -> None:
        crosses = (o.side == "SELL" and self.last >= o.price) or (o.side == "BUY" and self.last <= o.price)
        if not crosses or not o.open:
            return
        part = o.left if qty is None else min(o.left, qty)
        if self.mood.crumbs and part > STEP * 30:
            part = max(STEP * 10, (o.qty * Decimal("0.03")).quantize(STEP))
        elif self.rng.random() < self.mood.partial and part > STEP * 10:
            part = (part * Decimal("0.37")).quantize(STEP)
        if not part:
            return
        maker = not o.is_stop and not (takes and self.mood.improves)
        self._sibling(o)
        self._fill(o, part, o.price if maker else self.last, locked=True)

    def _sibling(self, o: Order) -> None:
        """The exchange ends the other side of a list once one has triggered or traded."""
        row = self.lists.get(o.list_id)
        if row is None or o is row["working"]:
            return
        for other in row["pair"]:
            if other is not o and other.open:
                self._end(other, self.mood.sibling, None, "OCO_TRIGGER")
        if self.mood.half_list_done:
            self._done(row)

    def _fill(self, o: Order, qty: Decimal, price: Decimal, *, locked: bool) -> None:
        paid, got = (BASE, QUOTE) if o.side == "SELL" else (QUOTE, BASE)
        spent, received = (qty, qty * price) if o.side == "SELL" else (qty * price, qty)
        if locked:
            row = self.lists.get(o.list_id)
            paired = row is not None and o is not row["working"]
            bound = qty if o.side == "SELL" else qty * (row["locked"] if row and paired else o.price)
            self.locked[paid] -= bound
            self.free[paid] += bound - spent
        else:
            self.free[paid] -= spent
        in_kind = self.mood.fee_asset == QUOTE or (self.mood.crumbs and self.rng.random() < 0.5)
        asset = got if in_kind or self.free.get("BNB", ZERO) < Decimal("0.0001") else "BNB"
        rate = self.mood.fee_rate
        fee = (received * rate).quantize(Decimal("1e-8")) if asset == got or not rate else Decimal("0.00001234")
        if self.mood.crumbs and asset == "BNB" and rate:
            fee = Decimal(self.rng.randrange(1, 10**5)).scaleb(-8)
        self.free[got] += received
        self.free[asset] -= fee
        self._keep_locked(o, received, fee if asset == got else ZERO)
        o.cum += qty
        o.quote += (qty * price).quantize(Decimal(1).scaleb(-self.mood.quote_digits), rounding=ROUND_DOWN)
        o.status = "FILLED" if not o.left else "PARTIALLY_FILLED"
        number = self._number("trade")
        fill = {"id": number, "price": price, "qty": qty, "fee": fee, "asset": asset, "time": now_ms(), "order": o}
        fill["at"] = real_ms()
        o.fills.append(fill)
        self.trades.append(fill)
        if o.status == "FILLED":
            o.working = False
        self._note(o)
        if self.mood.accounts_first:
            self.told_account()
        self._report(o, "TRADE", fill)
        row = self.lists.get(o.list_id)
        if row is not None and o is row["working"]:
            if o.status == "FILLED":
                self._activate(row)
        elif row is not None and o.status == "FILLED":
            self._done(row)
        self.told_account()

    # --- lists whose exits wait for an entry -------------------------------------------------------------------------

    def place_bracket(self, p: dict[str, str], *, pays_out: bool, pair: bool) -> dict[str, Any]:
        """OTO, OTOCO; OPO, OPOCO (`pays_out`): the pending orders' quantity is what the working one brought."""
        kind, side = p["workingType"], p["workingSide"]
        qty, price = Decimal(p["workingQuantity"]), Decimal(p["workingPrice"])
        if pays_out and ("pendingQuantity" in p or side != "BUY" or p["pendingSide"] != "SELL"):
            raise Refused(-1225, "Parameter 'pendingQuantity' sent when not required.")
        self._filters(side, kind, qty, price, ZERO)
        client = p.get("workingClientOrderId") or f"w{self._ids}"
        tif = p.get("workingTimeInForce", "GTC")
        working = self._new({"side": side, "timeInForce": tif}, kind, client=client, qty=qty, price=price, stop=ZERO)
        self._relation(side, kind, price, ZERO)
        exits: list[Order] = []
        for name in ("pendingAbove", "pendingBelow") if pair else ("pending",):
            left, stop = Decimal(p.get(f"{name}Price", 0)), Decimal(p.get(f"{name}StopPrice", 0))
            own = {"side": p["pendingSide"], "timeInForce": p.get(f"{name}TimeInForce", "GTC")}
            size = ZERO if pays_out else Decimal(p["pendingQuantity"])
            client = p.get(f"{name}ClientOrderId") or f"p{self._ids}{name}"
            exits.append(self._new(own, p[f"{name}Type"], client=client, qty=size, price=left, stop=stop))
        self._lock(*self._need(side, qty, price))
        number = self._number("list")
        row: dict[str, Any] = {
            "id": number, "client": p.get("listClientOrderId") or f"l{self._ids}", "at": now_ms(), "kind": "OTO",
            "legs": [working, *exits], "pair": exits, "working": working, "pays_out": pays_out, "received": ZERO,
            "status": "EXEC_STARTED", "locked": max(o.price for o in exits),
        }  # fmt: skip
        self.lists[number] = row
        working.working, working.working_at = True, now_ms()
        for o in row["legs"]:
            o.list_id = row["id"]
            o.status = "NEW" if o is working else "PENDING_NEW"
            self.orders.append(o)
            self.accepted[o.client] += 1
            self._note(o)
            self._report(o, "NEW")
        self._list_event(row)
        self.told_account()
        row["answer"] = self.list_answer(row, reports=True)
        self._match(working, None, takes=True)
        return row

    def _keep_locked(self, o: Order, received: Decimal, fee: Decimal) -> None:
        """What an OPO's entry brings stays locked until its exits are placed; commission may come from free funds."""
        row = self.lists.get(o.list_id)
        if row is None or o is not row["working"] or not row["pays_out"]:
            return
        kept = received if self.mood.fee_from_free and self.free[BASE] - received >= 0 else received - fee
        row["received"] += kept
        self.free[BASE] -= kept
        self.locked[BASE] += kept

    def _pay_out(self, row: dict[str, Any]) -> None:
        if row.get("received"):
            self._unlock(BASE, row["received"])
            row["received"] = ZERO

    def _activate(self, row: dict[str, Any]) -> None:
        exits: list[Order] = [o for o in row["pair"] if o.open]
        if row["pays_out"]:
            step = self.terms.step
            whole = (row["received"] / step).to_integral_value(ROUND_FLOOR) * step
            self._pay_out(row)
            for o in exits:
                o.qty = whole
        try:
            self._at_its_moment(exits)
            self._lock(*self._need(exits[0].side, exits[0].qty, row["locked"]))
        except Refused:
            for o in exits:
                o.status, o.reason = "EXPIRED", "REJECTED"
                self._note(o)
                self._report(o, "EXPIRED")
            self._done(row)
            return
        for o in exits:
            o.status = "NEW"
            o.working = not o.is_stop
            o.working_at = now_ms() if o.working else -1
            self._note(o)
            self._report(o, "NEW")
        self._list_event(row)

    def _at_its_moment(self, exits: list[Order]) -> None:
        if self.rng.random() < self.mood.pending_refused:
            raise Refused(-2010, "refused when its moment came")
        for o in exits:
            self._filters(o.side, o.type, o.qty, o.price, o.stop)
            self._relation(o.side, o.type, o.price, o.stop)

    # --- what is pushed -------------------------------------------------------------------------------------------

    def _report(
        self, o: Order, execution: str, fill: dict[str, Any] | None = None, old: str = "", taken: Decimal = ZERO
    ) -> None:
        ended = execution == "CANCELED" and o.cancel_id
        self.push(
            {
                "e": "executionReport", "E": now_ms(), "s": SYMBOL, "c": o.cancel_id if ended else o.client,
                "S": o.side, "o": o.type, "f": o.tif, "q": self.text(o.qty), "p": self.text(o.price),
                "P": self.text(o.stop), "F": self.text(ZERO), "g": o.list_id, "C": o.client if ended else old,
                "x": execution, "X": o.status, "r": "NONE" if execution != "REJECTED" else "INSUFFICIENT_BALANCES",
                "i": self.number(o.id), "l": self.text(fill["qty"] if fill else ZERO), "z": self.text(o.cum),
                "L": self.text(fill["price"] if fill else ZERO), "n": f"{fill['fee']:.8f}" if fill else "0",
                "N": fill["asset"] if fill and fill["fee"] else None, "T": now_ms(), "v": 3,
                "t": fill["id"] if fill else -1,
                "I": self._ids, "w": o.working, "m": False, "M": False, "O": o.created, "Z": self.whole(o),
                "Y": f"{fill['qty'] * fill['price'] if fill else ZERO:.8f}", "Q": self.text(ZERO),
                "W": o.working_at, "V": "EXPIRE_MAKER",
                **({"eR": self._reason(o)} if o.status == "EXPIRED" and self.mood.expiry != "untold" else {}),
                **({"zz": "tomorrow"} if self.mood.extra else {}),
                **({"v": 3, "A": self.text(o.prevented), "B": self.text(taken), "u": 1, "U": 2,
                    "pl": self.text(taken), "pL": self.text(o.price), "pY": "0", "Cs": SYMBOL} if taken else {}),
            }
        )  # fmt: skip

    def _list_event(self, row: dict[str, Any]) -> None:
        done = row["status"] == "ALL_DONE"
        legs = [{"s": SYMBOL, "i": self.number(o.id), "c": o.client} for o in row["legs"]]
        self.push(
            {
                "e": "listStatus", "E": now_ms(), "s": SYMBOL, "g": row["id"], "c": row["kind"], "l": row["status"],
                "L": "ALL_DONE" if done else "EXECUTING", "r": "NONE", "C": row["client"], "T": now_ms(), "O": legs,
            }
        )  # fmt: skip

    def moved(self, asset: str, amount: Decimal) -> None:
        """From another wallet; below zero: to it."""
        self.free[asset] += amount
        self.push({"e": "balanceUpdate", "E": now_ms(), "a": asset, "d": f"{amount:.8f}", "T": now_ms()})
        self.told_account()

    def lock_elsewhere(self, asset: str, amount: Decimal) -> None:
        """Another service locks a part of what is free; below zero: lets go of it (externalLockUpdate)."""
        self.free[asset] -= amount
        self.locked[asset] += amount
        self.push({"e": "externalLockUpdate", "E": now_ms(), "a": asset, "d": f"{amount:.8f}", "T": now_ms()})
        self.told_account()

    def told_account(self) -> None:
        self._note_account()
        whole = {a: (self.free[a], self.locked[a]) for a in self.free}
        told = {a: row for a, row in whole.items() if not self.mood.changed_only or self._told.get(a) != row}
        self._told = whole
        rows = [{"a": a, "f": self.text(free), "l": self.text(locked)} for a, (free, locked) in told.items()]
        self.push({"e": "outboundAccountPosition", "E": now_ms(), "u": now_ms(), "B": rows})
