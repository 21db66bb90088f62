"""What must hold, read from the stranger's own books, from the list of trades, and from the log."""

import json
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.stranger.book import Book
from tests.stranger.hands import OURS
from tests.stranger.lender import Lender
from tests.stranger.mood import BASE, QUOTE, STEP, ZERO, Order, now_ms, real_ms
from tests.stranger.server import Exchange

DUST = Decimal("0.07")
SAME_MOST = 40
"""So often at the most the same request may be sent within ten seconds."""
WEIGHT_MOST = 3_000
"""A minute's weight of one symbol."""
DEAF_MOST = 10
"""Requests during a ban that was told."""
BARE_MOST_MS = {False: 25_000, True: 60_000}
"""Without a stop and with the service up, in the calm and in a storm."""
PLAIN_MOST_MS = {False: 5_000, True: 30_000}
"""Where PLAIN's stop has sold, targets are still on sale until they are cancelled; and what an entry has brought that
was made smaller, until it is cut.
"""
EXPOSED_MOST_MS = {False: 8_000, True: 30_000}
"""The same, with the price past the stop."""


SILENT_MS = 4_000
"""Without any request: polls come each second."""
SILENT_MOST_MS = dict.fromkeys((False, True), 65_000)
"""A 429 that does not say for how long holds reads up until the minute of its weight is over."""

LENT_BASE, LENT_QUOTE = Decimal("3.1"), Decimal(320)
"""More than any trade needs: something was borrowed twice."""
OWED_MOST = Decimal("0.7")
"""In quote: so much may be owed after a trade, where it is named."""


class Cover:
    """Watches over what is held at each price. `begin` each trade with its stop; `up`: whether the service has been up
    for some seconds; `rough`: whether something goes wrong on purpose.
    """

    def __init__(self, book: Book, exchange: Exchange, layout: str, *, short: bool) -> None:
        self.book, self.exchange, self.layout, self.short = book, exchange, layout, short
        lender = exchange.lender
        self.start = book.free[BASE] - (lender.borrowed[BASE] if lender is not None else ZERO)
        self.faults: list[str] = []
        self.stop, self.sign, self.dust, self.most = ZERO, 1, DUST, ZERO
        self.bare_most = self.exposed_most = 0
        self._since: dict[str, int] = {}
        self._rough = False
        self._over = 0
        self._lent: set[str] = set()

    def begin(self, stop: Decimal, sign: int) -> None:
        self.stop, self.sign, self.dust, self.most = stop, sign, DUST, ZERO

    def held(self) -> Decimal:
        """What the trade holds: bought less sold since the start (a short: below zero)."""
        lender = self.exchange.lender
        lent = lender.borrowed[BASE] if lender is not None else ZERO
        return self.book.free[BASE] + self.book.locked[BASE] - lent - self.start

    def look(self, *, up: bool, rough: bool, touched: bool) -> None:
        held = self.held()
        self.most = max(self.most, abs(held))
        self.dust = max(self.dust, self.book.terms.notional / self.book.last * Decimal("1.1"))
        if self.exchange.lender is not None:
            self._lent_twice(self.exchange.lender)
        if not self.short and held < -self._from_free():
            self.faults.append(f"sold {-held} more than was bought")
            self.start += held
        side = "SELL" if held > 0 else "BUY"
        live = [o for o in self.book.orders[-80:] if o.open and o.status != "PENDING_NEW"]
        if not up and self.layout == "PLAIN":
            self._over = 0  # its targets can't be cancelled while the service is down
        elif not touched:
            self._oversold(abs(held), [o for o in live if o.side == side and self._exit(o)])
        at_work = [o for o in live if o.side == side and (o.is_stop or o.cum or o.type == "MARKET")]
        entering = any(o.side != side and o.client.startswith(OURS) for o in live)
        may = up and not self.book.terms.shut and now_ms() > self.exchange.banned_until
        may = may and not self.exchange.disabled()
        bare = abs(held) - sum((o.left for o in at_work), ZERO) > self.dust and not entering and may
        self._rough = rough or (self._rough and bare)
        asked = self.exchange.asked[-1][0] if self.exchange.asked else real_ms()
        self._spell("silent", SILENT_MOST_MS, lasts=up and real_ms() - asked > SILENT_MS)
        past = (self.stop - self.book.last) * self.sign >= 0
        self.bare_most = max(self.bare_most, self._spell("bare", BARE_MOST_MS, lasts=bare))
        self.exposed_most = max(self.exposed_most, self._spell("exposed", EXPOSED_MOST_MS, lasts=bare and past))

    def _from_free(self) -> Decimal:
        """An OPO's entry may pay its commission from what is free beside the trade (faqs/opo.md)."""
        return Decimal("0.004") if self.layout == "BRACKET" and self.book.mood.fee_from_free else ZERO

    def _lent_twice(self, lender: Lender) -> None:
        for asset, most in ((BASE, LENT_BASE), (QUOTE, LENT_QUOTE)):
            lent = lender.borrowed[asset] - lender.foreign(asset)
            if lent > most and asset not in self._lent:
                self._lent.add(asset)
                self.faults.append(f"{lent} {asset} borrowed: {lender.records[-3:]}")

    def _exit(self, o: Order) -> bool:
        return o.client.startswith(OURS) and "ENTRY" not in o.client and "PLANB" not in o.client

    def _oversold(self, held: Decimal, exits: list[Order]) -> None:
        """Never more on sale than held (10.1); PLAIN's stop of the whole is beside its targets (4.3)."""
        if self.layout == "PLAIN":
            exits = [o for o in exits if not o.is_stop]
        lists: defaultdict[int, Decimal] = defaultdict(Decimal)
        alone, waiting = ZERO, ZERO
        for o in exits:
            if o.list_id >= 0:
                lists[o.list_id] = max(lists[o.list_id], o.left)
            elif o.bound or o.side == "BUY":
                alone += o.left
            else:
                waiting += o.left
        # A stop that locks nothing takes what it sells as it triggers: two find no more than what is free then.
        offered = alone + sum(lists.values(), ZERO) + min(waiting, self.book.free[BASE])
        room = (STEP if not self.short else STEP * 4) + self._from_free()
        if self.exchange.lender is not None and exits and exits[0].side == "BUY":
            room += self.most / 200  # the last buys commission and interest of the whole as well (11.6)
        if offered <= held + room:
            self._over = 0
            return
        self._over = self._over or real_ms()
        slow = self.layout == "PLAIN" or self.book.made_smaller
        allowed = PLAIN_MOST_MS[self._rough] if slow else 0
        if real_ms() - self._over >= allowed:
            self._over = 10**15
            rows = ", ".join(f"{o.client} {o.left} {o.status}" for o in exits)
            self.faults.append(f"on sale {offered} of {held} held: {rows}")

    def _spell(self, name: str, most: dict[bool, int], *, lasts: bool) -> int:
        """How long it has lasted (ms); a spell too long is a fault, once."""
        now = real_ms()
        if not lasts:
            self._since.pop(name, None)
            return 0
        since = self._since.setdefault(name, now)
        if now - since > most[self._rough]:
            rows = ", ".join(f"{o.client} {o.type} {o.left} {o.status}" for o in self.book.orders[-12:])
            self.faults.append(f"{name} for {now - since} ms, held {self.held()} at {self.book.last}: {rows}")
            self._since[name] = now + 10**9
        return max(0, now - since)


def paces(exchange: Exchange) -> list[str]:
    """How often, how much, and what no document has."""
    faults: list[str] = []
    seen: Counter[tuple[int, str, str]] = Counter()
    for at, what, own in exchange.asked:
        if own:
            seen[(at // 10_000, what, own)] += 1
    for (at, what, own), times in sorted(seen.items()):
        if times > SAME_MOST:
            faults.append(f"{what} {own}: {times} times in ten seconds (at {at})")
    for minute, weight in exchange.weights.items():
        if weight > WEIGHT_MOST:
            faults.append(f"weight {weight} in minute {minute}")
    if exchange.deaf_to_bans > DEAF_MOST:
        faults.append(f"{exchange.deaf_to_bans} requests although a ban was told")
    faults += [f"an id given twice: {own}" for own, times in exchange.book.accepted.items() if times > 1]
    return faults + [f"asked for what is not there: {what}" for what in dict.fromkeys(exchange.unmet)]


def books(folder: Path, book: Book) -> list[str]:
    """The list of trades against the exchange's own books: each trade once, with its averages and commissions."""
    faults: list[str] = []
    fills: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for f in book.trades:
        client = f["order"].born or f["order"].client
        if client.startswith(OURS):
            fills[client.split("_")[1]].append(f)
    told: Counter[str] = Counter()
    # Where the trades themselves could not be read in time, a sum of fewer digits is all that is known.
    cents = Decimal("1e-7") if book.mood.quote_digits == 8 else Decimal("0.1")
    path = folder / "state.trades.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(line)["record"]
        told[row["trade"]] += 1
        found = _differs(row, fills[row["trade"]], cents)
        faults += [f"trade {row['trade']} ({row['reason']}): {fault}" for fault in found]
    for trade, rows in fills.items():
        if told[trade] != 1 and rows:
            faults.append(f"trade {trade}: {told[trade]} times in the list of trades, {len(rows)} fills")
    return faults


def recorded(folder: Path, book: Book) -> bool:
    """Whether the newest trade with a fill is in the list of trades."""
    ours = (f["order"].born or f["order"].client for f in reversed(book.trades))
    newest = next((client for client in ours if client.startswith(OURS)), "")
    path = folder / "state.trades.jsonl"
    return not newest or (path.exists() and f'"{newest.split("_")[1]}"' in path.read_text())


def _differs(row: dict[str, Any], fills: list[dict[str, Any]], cents: Decimal) -> list[str]:
    entering = "BUY" if row["direction"] == "long" else "SELL"
    commissions: defaultdict[str, Decimal] = defaultdict(Decimal)
    for f in fills:
        commissions[f["asset"]] += f["fee"]
    found: list[str] = []
    said = {a: Decimal(v) for a, v in row["commissions"].items() if Decimal(v)}
    real = {a: v for a, v in commissions.items() if v}
    if said != real:
        found.append(f"commissions {said}, on the exchange {real}")
    entries = [f for f in fills if f["order"].side == entering and _enters(f["order"])]
    if len([f for f in fills if f["order"].side == entering]) != len(entries):
        return found  # something was bought back: what belongs to the exits is told elsewhere
    if row["reason"] == "EXTERNAL":
        return found  # what was bought for a debt that hands have changed is no exit
    exits = [f for f in fills if f["order"].side != entering and "DEBT" not in f["order"].client]
    for name, rows in (("entry_avg", entries), ("exit_avg", exits)):
        qty = sum((f["qty"] for f in rows), ZERO)
        average = sum((f["qty"] * f["price"] for f in rows), ZERO) / qty if qty else None
        if (row[name] is None) != (average is None) or (
            average is not None and abs(Decimal(row[name]) - average) > cents
        ):
            found.append(f"{name} {row[name]}, on the exchange {average}")
    return found


def _enters(o: Order) -> bool:
    return "ENTRY" in o.client or "PLANB" in o.client


def debt(lender: Lender, asset: str) -> Decimal:
    """What trades have left owed of it, in quote."""
    return (lender.owed(asset) - lender.foreign(asset) * Decimal("1.05")) * lender.price(asset)


def lent_and_told(folder: Path, lender: Lender) -> tuple[dict[str, Decimal], dict[str, Decimal], dict[str, str]]:
    """What was lent, what the list of trades says of it, and what the last of them says is left."""
    told: defaultdict[str, Decimal] = defaultdict(Decimal)
    lent: defaultdict[str, Decimal] = defaultdict(Decimal)
    left: dict[str, str] = {}
    path = folder / "state.trades.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(line)["record"]
        left = row["debt_left"]
        for asset, amount in row["borrowed"].items():
            told[asset] += Decimal(amount)
    for row in lender.records:
        if row["status"] == "CONFIRMED" and row["kind"] == "BORROW" and not row.get("by_hand"):
            lent[row["asset"]] += row["amount"]
    return lent, told, left


def loans(folder: Path, lender: Lender) -> list[str]:
    """What was borrowed and what is left, against what the list of trades says."""
    faults = list(lender.wrong)
    if lender.borrowed[BASE] < lender.mood.foreign and not lender.by_hand:
        faults.append(f"of a foreign debt of {lender.mood.foreign}, {lender.borrowed[BASE]} are left")
    lent, told, left = lent_and_told(folder, lender)
    for asset in lender.borrowed:
        if lent.get(asset, ZERO) != told.get(asset, ZERO):
            faults.append(f"{lent[asset]} {asset} lent, the list of trades says {told[asset]}")
        if not lender.by_hand and asset not in lender.mixed and (asset != BASE or not lender.mood.foreign):
            owed = lender.owed(asset)
            if owed and not Decimal(left.get(asset, "0")):
                faults.append(f"{owed} {asset} owed at the end, and not named: {left}")
    return faults


def log_faults(log: Path) -> tuple[list[str], Counter[str], Counter[str]]:
    """Faults of one life's log, its alerts, and how its trades ended."""
    faults: list[str] = []
    alerts: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        if "Traceback" in line:
            faults.append(f"{log.name}: a traceback")
        if not line.startswith("{"):
            continue
        row: dict[str, Any] = json.loads(line)
        if row.get("alert"):
            alerts[row["event"]] += 1
        if row["event"] in {"closed", "trade_closed"}:
            ended[str(row.get("reason", row.get("text", "")))[:40]] += 1
    return faults, alerts, ended
