"""The stranger's margin account, cross or of the pair, from Binance's margin documents alone: loans, debts, terms.

Orders are the book's; here are the account that they are on, what it owes, and what `/sapi/v1` says of both. What the
documents leave open is drawn for each run.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from tests.stranger.book import Book
from tests.stranger.mood import BASE, QUOTE, STEP, SYMBOL, ZERO, Refused, now_ms, real_ms

UNIT = Decimal("1e-8")
PRICES = {"BTC": Decimal(50_000), "BNB": Decimal(500), QUOTE: Decimal(1)}
"""In quote, beside the pair's own."""
BARS = {"normalBar": "1.5", "marginCallBar": "1.3", "forceLiquidationBar": "1.1"}
NORMAL = Decimal("1.5")


@dataclass
class MarginMood:
    isolated: bool = False
    rate: Decimal = Decimal("0.00001")
    """Of an hour."""
    rounds: str = ROUND_CEILING
    record: str = "confirmed"
    """An accepted loan is `confirmed`, `pending` for `record_ms`, or done and `unrecorded` for so long."""
    record_ms: int = 0
    fails: float = 0.0
    """How many of those pending fail."""
    busy_ms: int = 100
    no_debt_level: str = "999"
    small_rest: int = 0
    """Its code, where a repayment may not leave next to nothing of a debt."""
    funds_code: int = -2010
    bare_fields: bool = False
    """Orders have no orderListId, trades no quoteQty."""
    token_s: int = 86_400
    no_stock: float = 0.0
    foreign: Decimal = ZERO
    """What the account owes of the base before anything is traded."""
    unlisted: frozenset[str] = frozenset()
    """Assets that have no price in quote."""

    @classmethod
    def drawn(cls, rng: random.Random) -> "MarginMood":
        return cls(
            isolated=rng.random() < 0.5,
            rate=Decimal(rng.choice(["0.00001", "0.0000057", "0.0002"])),
            rounds=rng.choice([ROUND_CEILING, ROUND_FLOOR]),
            record=rng.choice(["confirmed", "pending", "unrecorded"]),
            record_ms=rng.choice([100, 700, 2_500]),
            fails=rng.choice([0.0, 0.0, 0.15]),
            busy_ms=rng.choice([0, 100, 1_200]),
            no_debt_level=rng.choice(["999.00000000", "0.00000000"]),
            small_rest=rng.choice([0, 0, -3015, -3024]),
            funds_code=rng.choice([-2010, -3041]),
            bare_fields=rng.random() < 0.5,
            token_s=rng.choice([86_400, 62]),
            no_stock=rng.choice([0.0, 0.0, 0.15]),
            foreign=Decimal(rng.choice(["0", "0", "0", "0.25"])),
            unlisted=frozenset(rng.choice([[], [], ["BTC"]])),
        )


class Lender:
    """`wrong`: what came for another account than the one that is traded with, or with what no document has."""

    def __init__(self, book: Book, mood: MarginMood, rng: random.Random) -> None:
        self.book, self.mood, self.rng = book, mood, rng
        self.borrowed: dict[str, Decimal] = dict.fromkeys(book.free, ZERO)
        self.interest: dict[str, Decimal] = dict.fromkeys(book.free, ZERO)
        self.borrowed[BASE] = mood.foreign
        self.records: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self.lent: Counter[str] = Counter()
        self.repaid: dict[str, Decimal] = dict.fromkeys(book.free, ZERO)
        self.by_hand = False
        """Others have repaid something, of whichever debt."""
        self.lent_to_hands: dict[str, Decimal] = dict.fromkeys(book.free, ZERO)
        """What others have borrowed since, and have not given back."""
        self.mixed = set[str]()
        """Assets in which others have borrowed: whose the interest is, is anybody's guess."""
        self.debts: list[tuple[int, dict[str, tuple[Decimal, Decimal]]]] = []
        """What was owed when: principal and interest."""
        self.liquidations: list[dict[str, Any]] = []
        self.tokens: dict[str, int] = {}
        self.listen_key = ""
        self._busy_until = 0
        self._note()
        self._ids = rng.randrange(10**8, 10**9)

    # --- debts ----------------------------------------------------------------------------------------------------

    def owed(self, asset: str) -> Decimal:
        return self.borrowed[asset] + self.interest[asset]

    def foreign(self, asset: str) -> Decimal:
        """What others have borrowed of it."""
        return self.lent_to_hands[asset] + (self.mood.foreign if asset == BASE else ZERO)

    def hour(self) -> None:
        """A full hour: each debt pays for it."""
        for asset, amount in self.borrowed.items():
            self.interest[asset] += self._rent(amount)
        self._note()

    def _note(self) -> None:
        self.debts.append((real_ms(), {a: (self.borrowed[a], self.interest[a]) for a in self.borrowed}))
        del self.debts[:-500]

    def _rent(self, amount: Decimal) -> Decimal:
        return (amount * self.mood.rate).quantize(UNIT, rounding=self.mood.rounds)

    def price(self, asset: str) -> Decimal:
        return self.book.last if asset == BASE else PRICES[asset]

    def _sums(self) -> tuple[Decimal, Decimal]:
        """What is held and what is owed, in quote."""
        held = sum(((self.book.free[a] + self.book.locked[a]) * self.price(a) for a in self.book.free), ZERO)
        return held, sum((self.owed(a) * self.price(a) for a in self.book.free), ZERO)

    def _level(self) -> str:
        held, owed = self._sums()
        return f"{held / owed:.8f}" if owed else self.mood.no_debt_level

    def _room(self, asset: str) -> Decimal:
        held, owed = self._sums()
        room = (held - NORMAL * owed) / (NORMAL - 1) / self.price(asset)
        return max(ZERO, room).quantize(UNIT, rounding=ROUND_FLOOR)

    def _lend(self, p: dict[str, str]) -> Any:
        self.whose(p)
        if self.mood.isolated and p.get("symbol") != SYMBOL:
            self.wrong.append(f"a loan of no pair: {p}")
            raise Refused(-11001, "Isolated margin account does not exist.")
        asset, amount, kind = p["asset"], Decimal(p["amount"]), p["type"]
        now = real_ms()
        self.settle()
        if now < self._busy_until or any(r["status"] == "PENDING" for r in self.records):
            raise Refused(-3007, "You have pending transaction, please try again later.")
        self._judge(kind, asset, amount)
        self._ids += 1
        self._busy_until = now + self.mood.busy_ms
        due = now + (self.mood.record_ms if self.mood.record != "confirmed" else 0)
        self.records.append(
            {"txId": self._ids, "asset": asset, "amount": amount, "kind": kind, "at": now_ms(), "due": due,
             "status": "PENDING" if self.mood.record == "pending" else "CONFIRMED",
             "principal": ZERO, "interest": ZERO, "type": "MANUAL"}
        )  # fmt: skip
        if self.mood.record != "pending":
            self._carry_out(self.records[-1])
        return {"tranId": self._ids}

    def _judge(self, kind: str, asset: str, amount: Decimal) -> None:
        if amount <= 0 or amount % UNIT:
            raise Refused(-1111, "Precision is over the maximum defined for this asset.")
        if kind == "BORROW":
            if self.rng.random() < self.mood.no_stock:
                raise Refused(-3045, "The system does not have enough asset now.")
            if amount > self._room(asset):
                raise Refused(-11008 if self.mood.isolated else -3006, "Exceeding the maximum borrow limit.")
        else:
            rest = self.owed(asset) - amount
            if rest < 0:
                raise Refused(-3015, "Repay amount exceeds borrow amount.")
            if amount > self.book.free[asset]:
                raise Refused(-3041, "Balance is not enough.")
            if self.mood.small_rest and 0 < rest < Decimal("0.0001"):
                raise Refused(self.mood.small_rest, "The unpaid debt is too small after this repayment.")

    def settle(self) -> None:
        """What was pending, and is due, is done or fails."""
        for row in self.records:
            if row["status"] == "PENDING" and row["due"] <= real_ms():
                row["status"] = "CONFIRMED"
                if self.rng.random() < self.mood.fails or (
                    row["kind"] == "REPAY" and row["amount"] > self.book.free[row["asset"]]
                ):
                    row["status"] = "FAILED"
                else:
                    self._carry_out(row)

    def _carry_out(self, row: dict[str, Any]) -> None:
        asset, amount = row["asset"], row["amount"]
        if row["kind"] == "BORROW":
            self.lent[asset] += not row.get("by_hand")
            self.borrowed[asset] += amount
            self.interest[asset] += self._rent(amount)
            self.book.free[asset] += amount
            row["principal"] = amount
        else:
            row["interest"] = min(amount, self.interest[asset])
            row["principal"] = amount - row["interest"]
            self.interest[asset] -= row["interest"]
            self.borrowed[asset] -= row["principal"]
            self.book.free[asset] -= amount
            self.repaid[asset] += amount
        delta = amount if row["kind"] == "BORROW" else -amount
        self._note()
        self.book.free[asset] -= delta
        self.book.moved(asset, delta)

    # --- what others do -------------------------------------------------------------------------------------------

    def repay_by_hand(self, asset: str, *, whole: bool) -> bool:
        """A part of what is owed, or all, as far as there is something."""
        self.by_hand = True
        amount = min(self.book.free[asset], (self.owed(asset) / (1 if whole else 3)).quantize(UNIT))
        if amount > 0:
            self._lend_at_once("REPAY", asset, amount)
        return amount > 0

    def borrow_by_hand(self, asset: str, amount: Decimal) -> None:
        if amount <= self._room(asset):
            self._lend_at_once("BORROW", asset, amount)
            self.lent_to_hands[asset] += amount
            self.mixed.add(asset)

    def give_back(self) -> None:
        """What was borrowed by hand, as far as there is something."""
        for asset, lent in self.lent_to_hands.items():
            amount = min(lent, self.book.free[asset], self.owed(asset))
            if amount > 0:
                self._lend_at_once("REPAY", asset, amount)
                self.lent_to_hands[asset] -= amount

    def move_out(self, asset: str, amount: Decimal) -> None:
        """To another wallet, where the level allows it."""
        held, owed = self._sums()
        if amount > 0 and held - amount * self.price(asset) >= 2 * owed:
            self.book.moved(asset, -amount)

    def liquidate(self) -> bool:
        """Orders end, what was bought is sold and what was sold is bought at market, and what is owed is repaid. Reads
        show it at once: whoever is told of the debt of before can't know, and buys what was bought already.
        """
        long, short = self.owed(QUOTE) > 0, self.owed(BASE) > self.mood.foreign
        if not long and not short:
            return False
        self.book.end_all()
        self._close(short=short, prefix="liq", how="AUTO")
        return True

    def close_by_hand(self) -> bool:
        """The same by a hand, which has cancelled what stood in its way."""
        long, short = self.owed(QUOTE) > 0, self.owed(BASE) > self.mood.foreign
        if long or short:
            self._close(short=short, prefix="web_x", how="MANUAL")
        return long or short

    def _close(self, *, short: bool, prefix: str, how: str) -> None:
        self.by_hand = True
        have = self.book.free[BASE]
        missing = (self.owed(BASE) * Decimal("1.002") - have) if short else -have
        qty = (abs(missing) / STEP).to_integral_value(ROUND_CEILING if missing > 0 else ROUND_FLOOR) * STEP
        if qty > 0:
            client = f"{prefix}{self.rng.randrange(10**9)}"
            o = self.book.trade_away("BUY" if missing > 0 else "SELL", qty, client)
            self.liquidations += [] if how == "MANUAL" else [
                {"avgPrice": str(self.book.last), "executedQty": str(qty), "orderId": o.id, "price": "0",
                 "qty": str(qty), "side": o.side, "symbol": SYMBOL, "timeInForce": "GTC",
                 "isIsolated": self.mood.isolated, "updatedTime": now_ms()}
            ]  # fmt: skip
        for asset in (BASE, QUOTE):
            amount = min(self.book.free[asset], self.owed(asset))
            if amount > 0:
                self._lend_at_once("REPAY", asset, amount, how)
        self.book.shown_from = real_ms()

    def _lend_at_once(self, kind: str, asset: str, amount: Decimal, how: str = "MANUAL") -> None:
        self._ids += 1
        row = {"txId": self._ids, "asset": asset, "amount": amount, "kind": kind, "at": now_ms(), "due": real_ms(),
               "status": "CONFIRMED", "principal": ZERO, "interest": ZERO, "type": how, "by_hand": True}  # fmt: skip
        self.records.append(row)
        self._carry_out(row)

    # --- what is asked --------------------------------------------------------------------------------------------

    def whose(self, p: dict[str, str]) -> None:
        if (p.get("isIsolated", "FALSE").upper() == "TRUE") != self.mood.isolated:
            self.wrong.append(f"for the other account: {p}")
            raise Refused(-2013, "Order does not exist.")

    def serves(self) -> dict[str, Callable[[dict[str, str]], Any]]:
        """What is asked of `/sapi/v1`, beside orders."""
        return {
            "POST margin/borrow-repay": self._lend,
            "GET margin/borrow-repay": self._rows,
            "GET margin/maxBorrowable": self._borrowable,
            "GET margin/account": self._cross,
            "GET margin/isolated/account": self._pair,
            "GET margin/tradeCoeff": lambda _: BARS,
            "GET margin/isolatedMarginTier": self._tiers,
            "GET margin/allPairs": lambda _: [self._listed() | {"id": 351637150141315861}],
            "GET margin/isolated/allPairs": lambda _: [self._listed()],
            "GET margin/allAssets": lambda _: [self._asset(a) for a in self.book.free],
            "GET margin/forceLiquidationRec": lambda _: {"rows": self.liquidations, "total": len(self.liquidations)},
            "GET margin/next-hourly-interest-rate": lambda p: [
                {"asset": a, "nextHourlyInterestRate": f"{self.mood.rate:.8f}"} for a in p["assets"].split(",")
            ],
            "GET bnbBurn": lambda _: {"spotBNBBurn": self.book.mood.fee_asset == "BNB", "interestBNBBurn": False},
            "GET account/apiRestrictions": lambda _: self._key(),
            "POST userListenToken": self._token,
            "POST margin/listen-key": lambda _: {"listenKey": self._key_of_risk()},
            "PUT margin/listen-key": lambda _: {},
        }

    def _rows(self, p: dict[str, str]) -> Any:
        self.settle()
        if (p.get("isolatedSymbol") == SYMBOL) != self.mood.isolated:
            return {"rows": [], "total": 0}
        until = real_ms()
        rows = [
            r
            for r in reversed(self.records)
            if r["kind"] == p["type"]
            and p.get("asset") in {None, r["asset"]}
            and p.get("txId") in {None, str(r["txId"])}
            and r["at"] >= int(p.get("startTime", 0))
            and (self.mood.record != "unrecorded" or r["due"] <= until)
        ]
        size, page = min(100, int(p.get("size", 10))), int(p.get("current", 1))
        told = [
            {"txId": r["txId"], "asset": r["asset"], "amount": f"{r['amount']:.8f}", "status": r["status"],
             "principal": f"{r['principal']:.8f}", "interest": f"{r['interest']:.8f}", "timestamp": r["at"],
             "type": r["type"], **({"isolatedSymbol": SYMBOL} if self.mood.isolated else {})}
            for r in rows[(page - 1) * size : page * size]
        ]  # fmt: skip
        return {"rows": told, "total": len(rows)}

    def _borrowable(self, p: dict[str, str]) -> Any:
        return {"amount": f"{self._room(p['asset']):.8f}", "borrowLimit": "60000"}

    def _held(self, asset: str, until: int) -> dict[str, Any]:
        """As it was at `until`: reads of the account lag."""
        free, locked = self.book.account_seen(until)[asset]
        debts = next((rows for at, rows in reversed(self.debts) if at <= until), self.debts[0][1])
        borrowed, interest = debts[asset]
        return {
            "asset": asset, "free": f"{free:.8f}", "locked": f"{locked:.8f}",
            "borrowed": f"{borrowed:.8f}", "interest": f"{interest:.8f}",
            "netAsset": f"{free + locked - borrowed - interest:.8f}",
        }  # fmt: skip

    def _cross(self, _: dict[str, str]) -> Any:
        self.settle()
        held, owed = (each / PRICES["BTC"] for each in self._sums())
        until = self.book.account_until()
        assets = [self._held(a, until) for a in self.book.free]
        if self.mood.isolated:
            held, owed, assets = ZERO, ZERO, []
        return {
            "created": True, "borrowEnabled": True, "tradeEnabled": True, "transferInEnabled": True,
            "transferOutEnabled": True, "accountType": "MARGIN_1", "marginLevel": self._level(),
            "collateralMarginLevel": self._level(), "totalAssetOfBtc": f"{held:.8f}",
            "totalLiabilityOfBtc": f"{owed:.8f}", "totalNetAssetOfBtc": f"{held - owed:.8f}",
            "TotalCollateralValueInUSDT": f"{held * PRICES['BTC']:.8f}", "userAssets": assets,
        }  # fmt: skip

    def _pair(self, p: dict[str, str]) -> Any:
        self.settle()
        if not self.mood.isolated or SYMBOL not in p.get("symbols", SYMBOL):
            return {"assets": []}
        until = self.book.account_until()
        both = {
            name: self._held(asset, until)
            | {"borrowEnabled": True, "repayEnabled": True, "netAssetOfBtc": "0", "totalAsset": "0"}
            for name, asset in (("baseAsset", BASE), ("quoteAsset", QUOTE))
        }
        owes = self._sums()[1] > 0
        row = {
            "symbol": SYMBOL, "isolatedCreated": True, "enabled": True, "tradeEnabled": True,
            "marginLevel": self._level(), "marginLevelStatus": "NORMAL" if owes else "EXCESSIVE",
            "marginRatio": "10.00000000", "indexPrice": f"{self.book.last:.8f}",
            "liquidatePrice": "0.00000000", "liquidateRate": "0.00000000",
        }  # fmt: skip
        return {"assets": [both | row]}

    def _tiers(self, _: dict[str, str]) -> Any:
        return [
            {"symbol": SYMBOL, "tier": n, "effectiveMultiple": "3", "initialRiskRatio": "1.5",
             "liquidationRiskRatio": "1.18", "baseAssetMaxBorrowable": most, "quoteAssetMaxBorrowable": most}
            for n, most in ((1, "9000"), (2, "90000"))
        ]  # fmt: skip

    def _listed(self) -> dict[str, Any]:
        return {"base": BASE, "quote": QUOTE, "symbol": SYMBOL, "isMarginTrade": True, "isBuyAllowed": True,
                "isSellAllowed": True}  # fmt: skip

    def _asset(self, asset: str) -> dict[str, Any]:
        return {"assetFullName": asset, "assetName": asset, "isBorrowable": True, "isMortgageable": True,
                "userMinBorrow": "0.00000000", "userMinRepay": "0.00000000"}  # fmt: skip

    def _key(self) -> dict[str, Any]:
        return {"ipRestrict": True, "createTime": 1_623_840_271_000, "enableReading": True, "enableMargin": True,
                "enableSpotAndMarginTrading": True, "enableWithdrawals": False, "enableInternalTransfer": False,
                "permitsUniversalTransfer": False, "enableVanillaOptions": False, "enableFutures": False}  # fmt: skip

    # --- streams --------------------------------------------------------------------------------------------------

    def _token(self, p: dict[str, str]) -> Any:
        if (p.get("isIsolated", "false").lower() == "true") != self.mood.isolated:
            self.wrong.append(f"a listen token of the other account: {p}")
        if self.mood.isolated and p.get("symbol") != SYMBOL:
            self.wrong.append(f"a listen token of no pair: {p}")
        token = f"token{self.rng.randrange(10**12)}"
        self.tokens[token] = now_ms() + self.mood.token_s * 1000
        return {"token": token, "expirationTime": self.tokens[token]}

    def _key_of_risk(self) -> str:
        self.listen_key = self.listen_key or f"risk{self.rng.randrange(10**12)}"
        return self.listen_key

    def listens(self, token: str | None) -> int:
        """Until when a subscription by `token` lasts (ms). Refused where there is no such token."""
        until = self.tokens.get(token or "", 0)
        if until <= now_ms():
            raise Refused(-1209, "Invalid listenToken.")
        return until
