"""What the stranger serves, over whichever door it is asked for: Spot's and margin's orders, reads, lists."""

import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.stranger.book import Book
from tests.stranger.lender import PRICES, Lender
from tests.stranger.listing import exchange_info
from tests.stranger.mood import FINAL, SYMBOL, TICK, Order, Refused, now_ms, real_ms
from tests.stranger.params import check


class Served:
    """`unmet`: what came that no document has, or that is not for the account that is traded with."""

    def __init__(self, book: Book, rng: random.Random, lender: Lender | None) -> None:
        self.book, self.rng, self.lender = book, rng, lender
        self.orders_10s: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self.unmet: list[str] = []
        self.disabled_until = 0
        """New orders are refused until then, as disabled on this account (ms, the exchange's clock)."""

    def serve(self, method: str, what: str, p: dict[str, str]) -> Any:
        try:
            check(f"{method} {what}", p)
        except Refused as error:
            self.unmet.append(f"{method} {what}: {error.text} {p}")
            raise
        if what.startswith("sapi/"):
            return self._serve_margin(method, what.removeprefix("sapi/"), p)
        if self.lender is not None and (method != "GET" or what == "openOrders"):
            self.unmet.append(f"on Spot, with margin traded: {method} {what}")
        name = f"{method} {what}"
        known: dict[str, Callable[[dict[str, str]], Any]] = {
            "GET ping": lambda _: {},
            "GET time": lambda _: {"serverTime": self._time()},
            "GET exchangeInfo": lambda _: self._listed(),
            "GET account": lambda _: self._account(),
            "GET account/commission": lambda _: self._commission(),
            "GET order": self._order,
            "GET openOrders": self._open_orders,
            "GET allOrders": self._all_orders,
            "GET myTrades": self._my_trades,
            "GET orderList": self._order_list,
            "GET openOrderList": lambda _: [
                told
                for told in (self.book.list_answer(r, reports=False) for r in self.book.lists.values())
                if told["listStatusType"] != "ALL_DONE"
            ],
            "GET allOrderList": lambda _: [self.book.list_answer(r, reports=False) for r in self.book.lists.values()],
            "GET referencePrice": lambda _: self._reference(),
            "GET ticker/price": self._price,
            "GET ticker/bookTicker": self._book_ticker,
            "GET ticker/24hr": self._day,
            "GET avgPrice": lambda _: {"mins": 5, "price": self.book.text(self.book.last), "closeTime": now_ms()},
            "GET klines": lambda _: [],
            "GET rateLimit/order": lambda _: [],
            "POST order/test": lambda _: {},
            "POST order": lambda p: self._placed(self.book.place, p),
            "POST orderList/oco": self._oco,
            "POST orderList/oto": lambda p: self.book.place_bracket(p, pays_out=False, pair=False)["answer"],
            "POST orderList/otoco": lambda p: self.book.place_bracket(p, pays_out=False, pair=True)["answer"],
            "POST orderList/opo": lambda p: self.book.place_bracket(p, pays_out=True, pair=False)["answer"],
            "POST orderList/opoco": lambda p: self.book.place_bracket(p, pays_out=True, pair=True)["answer"],
            "POST order/cancelReplace": self._replace,
            "DELETE order": self._cancel,
            "DELETE orderList": self._cancel_list,
        }
        if name not in known:
            self.unmet.append(name)
            raise Refused(-1000, "Not found", 404)
        self._allowed(method, what)
        if method != "GET" and what != "order/test":
            self._unfilled(3 if what.endswith(("otoco", "opoco")) else 2 if what.startswith("orderList/") else 1)
        return known[name](p)

    def _listed(self) -> Any:
        if not self.book.terms.listed:
            raise Refused(-1121, "Invalid symbol.")
        mood, margin = self.book.mood, self.lender is not None
        return exchange_info(self.book.terms, brackets=mood.brackets, margin=margin, shown=mood.filters)

    def _serve_margin(self, method: str, what: str, p: dict[str, str]) -> Any:
        lender, name = self.lender, f"{method} {what}"
        if lender is None:
            raise Refused(-3003, "Margin account does not exist.")
        known = lender.serves() | {
            "POST margin/order": lambda p: self._placed(self.book.place, self._plain(p)),
            "POST margin/order/oco": lambda p: self._oco(self._newer(self._plain(p))),
            "DELETE margin/order": self._cancel,
            "DELETE margin/orderList": self._cancel_list,
            "GET margin/order": self._order,
            "GET margin/openOrders": self._open_orders,
            "GET margin/allOrders": self._all_orders,
            "GET margin/myTrades": self._my_trades,
            "GET margin/allOrderList": lambda _: [
                self.book.list_answer(r, reports=False) for r in self.book.lists.values()
            ],
        }
        if name not in known:
            self.unmet.append(name)
            raise Refused(-1000, "Not found", 404)
        self._allowed(method, what)
        lender.settle()
        if "rder" in what or "Trades" in what:
            lender.whose(p)
        try:
            return self._as_margin(known[name](p))
        except Refused as error:
            if "insufficient balance" in error.text and lender.mood.funds_code != error.code:
                raise Refused(lender.mood.funds_code, "The system does not have enough balance.") from error
            raise

    def disabled(self) -> bool:
        return now_ms() < self.disabled_until

    def _allowed(self, method: str, what: str) -> None:
        if method == "POST" and "order" in what and self.disabled():
            raise Refused(-2010, "This action is disabled on this account.")

    def _plain(self, p: dict[str, str]) -> dict[str, str]:
        if p.get("sideEffectType", "NO_SIDE_EFFECT") != "NO_SIDE_EFFECT":
            self.unmet.append(f"an order with a side effect: {p}")
        return p

    def _newer(self, p: dict[str, str]) -> dict[str, str]:
        """The older form of an OCO in the words of Spot's."""
        limit, stop = ("above", "below") if p["side"] == "SELL" else ("below", "above")
        told: dict[str, str] = {k: p[k] for k in ("side", "quantity", "listClientOrderId") if k in p}
        told |= {f"{limit}Type": "LIMIT_MAKER", f"{limit}Price": p["price"], f"{stop}Type": "STOP_LOSS_LIMIT"}
        told |= {f"{stop}StopPrice": p["stopPrice"], f"{stop}Price": p["stopLimitPrice"]}
        told[f"{limit}ClientOrderId"] = p["limitClientOrderId"]
        told[f"{stop}ClientOrderId"] = p["stopClientOrderId"]
        return told

    def _as_margin(self, answer: Any) -> Any:
        """Margin's answers tell whose account; the samples of some lack what Spot's have."""
        assert self.lender is not None
        if isinstance(answer, list):
            return [self._as_margin(each) for each in answer]
        if not isinstance(answer, dict) or "symbol" not in answer or not {"orderId", "orders"} & answer.keys():
            return answer
        told = answer | {"isIsolated": self.lender.mood.isolated}
        if self.lender.mood.bare_fields and "orderId" in told:
            for name in ("orderListId", "workingTime", "quoteQty", "origQuoteOrderQty", "expiryReason"):
                told.pop(name, None)
        return told

    def _unfilled(self, count: int) -> None:
        window = real_ms() // 10_000
        self.orders_10s[window] += count
        if self.orders_10s[window] > 50:
            raise Refused(-1015, "Too many new orders; current limit is 50 orders per 10 SECOND.", 429)

    def _placed(self, place: Callable[[dict[str, str]], Order], p: dict[str, str]) -> Any:
        o = place(p)
        kind = p.get("newOrderRespType") or ("FULL" if o.type in {"MARKET", "LIMIT"} else "ACK")
        kind = "ACK" if self.rng.random() < self.book.mood.acks else kind
        told = self.book.answer(o)
        if self.rng.random() < self.book.mood.answers_early:
            none = self.book.text(Decimal(0))
            told |= {"status": "NEW", "executedQty": none, "cummulativeQuoteQty": none, "fills": []}
            told.pop("expiryReason", None)
        if kind == "ACK":
            return {k: told[k] for k in ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")}
        if kind == "RESULT":
            del told["fills"]
        return told

    def _oco(self, p: dict[str, str]) -> Any:
        return self.book.list_answer(self.book.place_oco(p), reports=self.rng.random() >= self.book.mood.acks)

    def _cancelled(self, o: Order, cancel_id: str | None) -> dict[str, Any]:
        told = self.book.answer(o)
        del told["fills"]
        told["origClientOrderId"] = o.client
        told["clientOrderId"] = cancel_id or f"c{o.id}"
        return told

    def _cancel(self, p: dict[str, str]) -> Any:
        cancel_id = p.get("newClientOrderId")
        o = self.book.cancel(p.get("orderId"), p.get("origClientOrderId"), cancel_id)
        row = self.book.lists.get(o.list_id)
        if row is not None and not self.book.mood.cancel_tells_one:
            told = self.book.list_answer(row, reports=False)
            told["orderReports"] = [self._cancelled(x, cancel_id) for x in row["legs"]]
            return told
        return self._cancelled(o, cancel_id)

    def _cancel_list(self, p: dict[str, str]) -> Any:
        cancel_id = p.get("newClientOrderId")
        row = self.book.cancel_list(p.get("orderListId"), p.get("listClientOrderId"), cancel_id)
        told = self.book.list_answer(row, reports=False)
        told["orderReports"] = [self._cancelled(x, cancel_id) for x in row["legs"]]
        return told

    def _replace(self, p: dict[str, str]) -> Any:
        if not self.book.terms.replaces:
            raise Refused(-2010, "This symbol does not support cancel-replace.")
        side, kind = p["side"], p["type"]
        qty, price, stop = Decimal(p["quantity"]), Decimal(p.get("price", 0)), Decimal(p.get("stopPrice", 0))
        old = self.book.find(p.get("cancelOrderId"), p.get("cancelOrigClientOrderId"))
        if old is not None and old.open and old.is_stop:
            old.stop, kept = Decimal(0), old.stop  # it does not count against what takes its place
            try:
                self.book._filters(side, kind, qty, price, stop)
            finally:
                old.stop = kept
        else:
            self.book._filters(side, kind, qty, price, stop)
        told: dict[str, Any] = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED"}
        cancel_id = p.get("cancelNewClientOrderId")
        try:
            o = self.book.cancel(p.get("cancelOrderId"), p.get("cancelOrigClientOrderId"), cancel_id)
            told["cancelResponse"] = self._cancelled(o, cancel_id)
        except Refused as error:
            told.update(
                cancelResult="FAILURE", cancelResponse={"code": error.code, "msg": error.text}, newOrderResponse=None
            )
            raise Refused(-2022, "Order cancel-replace failed.", 400, told) from error
        try:
            told["newOrderResponse"] = self._placed(self._replacing, p)
            told["newOrderResult"] = "SUCCESS"
        except Refused as error:
            told.update(newOrderResult="FAILURE", newOrderResponse={"code": error.code, "msg": error.text})
            raise Refused(-2021, "Order cancel-replace partially failed.", 409, told) from error
        return told

    def _replacing(self, p: dict[str, str]) -> Order:
        if self.rng.random() < self.book.mood.replace_fails:
            if self.book.mood.replace_pushes:
                self.book.tell_refused(p)
            raise Refused(-2010, "Account has insufficient balance for requested action.")
        return self.book.place(p)

    def _time(self) -> int:
        if self.book.mood.time_jumps and self.rng.random() < 0.05:
            return now_ms() + self.rng.choice([-3_600_000, 3_600_000, 20_000])
        return now_ms()

    def _order(self, p: dict[str, str]) -> Any:
        o = self.book.found(p.get("orderId"), p.get("origClientOrderId"))
        shot = self.book.seen(o, self.book.mood.order_lag_ms) if o is not None else None
        if shot is None:
            raise Refused(-2013, "Order does not exist.")
        return self._read(shot)

    def _read(self, shot: dict[str, Any]) -> dict[str, Any]:
        over = self.book.mood.quote_untold and shot["status"] in FINAL and Decimal(shot["executedQty"])
        return shot | {"cummulativeQuoteQty": "-1.00000000"} if over else shot

    def _open_orders(self, _: dict[str, str]) -> Any:
        seen = [self.book.seen(o, self.book.mood.list_lag_ms) for o in self.book.orders[-200:]]
        return [s for s in seen if s is not None and s["status"] not in FINAL]

    def _all_orders(self, p: dict[str, str]) -> Any:
        first, since = int(p.get("orderId", 0)), int(p.get("startTime", 0))
        seen = [
            self._read(o.history[-1][1]) for o in self.book.orders if o.history and o.id >= first and o.created >= since
        ]
        return seen[: int(p.get("limit", 500))] if first or since else seen[-int(p.get("limit", 500)) :]

    def _my_trades(self, p: dict[str, str]) -> Any:
        wanted = p.get("orderId")
        rows = [f for f in self.book.trades if wanted is None or str(f["order"].id) == wanted]
        rows = [
            f
            for f in rows
            if f["id"] >= int(p.get("fromId", 0)) and f["at"] <= real_ms() - self.book.lag(self.book.mood.trades_lag_ms)
        ]
        return [
            {
                "symbol": SYMBOL,
                "id": f["id"],
                "orderId": self.book.number(f["order"].id),
                "orderListId": f["order"].list_id,
                "price": self.book.text(f["price"]),
                "qty": self.book.text(f["qty"]),
                "quoteQty": f"{f['price'] * f['qty']:.8f}",
                "commission": f"{f['fee']:.8f}",
                "commissionAsset": f["asset"],
                "time": f["time"],
                "isBuyer": f["order"].side == "BUY",
                "isMaker": False,
                "isBestMatch": True,
            }
            for f in rows[-500:]
        ]

    def _order_list(self, p: dict[str, str]) -> Any:
        for row in self.book.lists.values():
            if p.get("orderListId") == str(row["id"]) or p.get("origClientOrderId") == row["client"]:
                return self.book.list_answer(row, reports=False)
        raise Refused(-2018, "Order list does not exist.")

    def _reference(self) -> Any:
        if not self.book.mood.brackets:
            raise Refused(-2043, "This symbol does not have a reference price.")
        price = self.book.text(self.book.last) if self.book.mood.extra else None
        return {"symbol": SYMBOL, "referencePrice": price, "timestamp": now_ms()}

    def _price(self, p: dict[str, str]) -> Any:
        if p.get("symbol", SYMBOL) != SYMBOL:
            raise Refused(-1121, "Invalid symbol.")
        if p.get("symbolStatus", self.book.terms.status) != self.book.terms.status:
            raise Refused(-1220, "The symbol's status does not match the requested symbolStatus.")
        return {"symbol": SYMBOL, "price": self.book.text(self.book.last)}

    def _day(self, p: dict[str, str]) -> Any:
        other = p.get("symbol", SYMBOL).removesuffix("USDT")
        if p.get("symbol", SYMBOL) == SYMBOL:
            return self._ticker() | {"lastPrice": self.book.text(self.book.last), "closeTime": now_ms()}
        if other not in PRICES or (self.lender is not None and other in self.lender.mood.unlisted):
            raise Refused(-1121, "Invalid symbol.")
        price = self.book.text(PRICES[other])
        return {"symbol": p["symbol"], "bidPrice": price, "askPrice": price, "lastPrice": price}

    def _book_ticker(self, p: dict[str, str]) -> Any:
        if p.get("symbol", SYMBOL) != SYMBOL:
            raise Refused(-1121, "Invalid symbol.")
        return self._ticker()

    def _ticker(self) -> Any:
        last = self.book.last
        return {
            "symbol": SYMBOL,
            "bidPrice": self.book.text(last - TICK),
            "bidQty": "100",
            "askPrice": self.book.text(last + TICK),
            "askQty": "100",
        }

    def _account(self) -> Any:
        rows = self.book.account_seen(self.book.account_until())
        balances = [
            {"asset": a, "free": self.book.text(f), "locked": self.book.text(k)}
            for a, (f, k) in rows.items()
            if f or k or self.book.mood.zero_balances
        ]
        return {
            "makerCommission": 10,
            "takerCommission": 10,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": self._rates(),
            "canTrade": not self.disabled(),
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": now_ms(),
            "accountType": "SPOT",
            "balances": balances,
            "permissions": ["SPOT"],
            "uid": 354937868,
        }

    def _rates(self) -> dict[str, str]:
        rate = f"{self.book.mood.fee_rate:.8f}"
        return {"maker": rate, "taker": rate, "buyer": "0.00000000", "seller": "0.00000000"}

    def _commission(self) -> Any:
        rates = self._rates()
        none = dict.fromkeys(rates, "0.00000000")
        bnb = self.book.mood.fee_asset == "BNB"
        return {
            "symbol": SYMBOL,
            "standardCommission": rates,
            "specialCommission": none,
            "taxCommission": none,
            "discount": {"enabledForAccount": bnb, "enabledForSymbol": bnb, "discountAsset": "BNB", "discount": "0.75"},
        }
