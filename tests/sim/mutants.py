"""Does the bench bite? Deliberate bugs, one at a time, in a copy of the program; each must be found within a minute.

    python -m tests.sim.mutants            all of them, as a table
    python -m tests.sim.mutants NAME ...   some
    python -m tests.sim.mutants --by-the-book   those that only an odd exchange shows, on one that is not: none is found

A mutant is a text put in place of another in one source file. Those of `tests/sim/shell.py` stand for bugs of the
service's loop, which that file models. The table of all is kept in `mutants.txt` beside this file.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
from tests.sim.mutant import CORE, Found, Mutant
from tests.sim.odd_mutants import ODD_MUTANTS

ROOT: Final = Path(__file__).parents[2]
TABLE: Final = Path(__file__).with_name("mutants.txt")
SECONDS: Final = 60
FLEET: Final = "src/executor/service/fleet"
BY_THE_BOOK: Final = "by-the-book"
STORE: Final = "src/executor/service/store/fleet_store.py"


MUTANTS_OF_ONE: Final = (
    Mutant(
        "sent before it is on disk",
        "tests/sim/shell.py",
        "        if differs(before, step.state) and not self._persist(step.state):\n            return False\n",
        "        for request in step.requests:\n            self._send(request)\n"
        "        if differs(before, step.state) and not self._persist(step.state):\n            return False\n"
        "        step = Step(step.state, (), step.notes, step.verdict)\n",
    ),
    Mutant(
        "a full disk is ignored",
        "tests/sim/shell.py",
        "            self.alerted_at = self.clock.now()  # the loop logs it as an alert\n            return False\n",
        "            return True\n",
    ),
    Mutant(
        "stamped as it is sent",
        f"{CORE}/transition.py",
        "    return Stamp(now or state.market.now, policy.recv_window_ms) if policy.recv_window_ms else None\n",
        "    return None\n",
    ),
    Mutant(
        "unknown taken for refused",
        f"{CORE}/absorb/answers.py",
        "            return FoldedReports(_doubted(position, sent, outcome.fence, now), MOVED, (note,))",
        "            return _refused(position, tuple(the_order(position, i) for i in sent), "
        'Refused(Why.OTHER, 0, ""), now, policy)',
    ),
    Mutant(
        "sent again without the fence",
        f"{CORE}/model/orders.py",
        "    return order.fence + policy.doubt_settle_ms",
        "    return 1",
    ),
    Mutant(
        "the fence without its margin",
        f"{CORE}/model/orders.py",
        "    return order.fence + policy.doubt_settle_ms",
        "    return order.fence",
    ),
    Mutant(
        "one look settles a doubt",
        f"{CORE}/model/orders.py",
        "    if order.phase is OrderPhase.UNRESOLVED and _proven(order, misses, asked_at, settled):",
        "    if order.phase is OrderPhase.UNRESOLVED:",
    ),
    Mutant(
        "absence believed at once",
        f"{CORE}/model/orders.py",
        "        if _proven(order, misses, asked_at, due):",
        "        if True:",
    ),
    Mutant(
        "the fee is not subtracted",
        f"{CORE}/book/ledger.py",
        "    held = entered - fee - guessed + lent - left - position.gone",
        "    held = entered - left - position.gone",
    ),
    Mutant(
        "commission in base is counted as left over",
        f"{CORE}/book/summary.py",
        "                paid += fill.fee\n",
        "                gained -= fill.fee * fill.price\n",
    ),
    Mutant(
        "an older report is believed",
        f"{CORE}/model/orders.py",
        "    if report.cum_qty > cum_qty:\n        cum_qty, cum_quote = report.cum_qty, report.cum_quote\n",
        "    cum_qty, cum_quote = report.cum_qty, report.cum_quote\n",
    ),
    Mutant(
        "an ended order comes back",
        f"{CORE}/model/orders.py",
        "    if phase is not _CLOSED or (end in REVOCABLE and not rejected):",
        "    if True:",
    ),
    Mutant(
        "a fill after the end is dropped",
        f"{CORE}/model/orders.py",
        "    fills = _union(order.fills, report.fills)\n    cum_qty",
        "    if order.phase is OrderPhase.CLOSED:\n        return order\n"
        "    fills = _union(order.fills, report.fills)\n    cum_qty",
    ),
    Mutant(
        "a fill told twice counts twice",
        f"{CORE}/model/orders.py",
        "    added = [f for f in new if f.trade_id not in have]",
        "    added = list(new)",
    ),
    Mutant(
        "a cancel is not confirmed",
        f"{CORE}/absorb/answers.py",
        "            position = with_order(position, replace(order, check=order.check or unsure, ask_at=wait))",
        "            position = with_order(\n                position, replace(order, phase=OrderPhase.CLOSED, "
        "end=End.CANCELED, closed_at=now)\n            )",
    ),
    Mutant(
        "sold before the cancel is confirmed",
        f"{CORE}/decide/legs.py",
        "            _cancel(draft, leg, live, left)\n        return\n",
        "            _cancel(draft, leg, live, left)\n",
    ),
    Mutant(
        "a leg in doubt is sold again",
        f"{CORE}/decide/legs.py",
        "    doubtful = [o for o in live if o.phase is _UNRESOLVED]\n",
        "    doubtful: list[Order] = []\n    live = [o for o in live if o.phase is OrderPhase.WORKING]\n",
    ),
    Mutant(
        "8.3b without looking at the balance",
        f"{CORE}/decide/sent_again.py",
        "    locked_apart = _locked_apart(draft, group)\n",
        "    locked_apart = bool(group)\n",
    ),
    Mutant(
        "a market order beside an exit in doubt",
        f"{CORE}/decide/doubt.py",
        "    return any(waits_for_look(draft, o) or (o.beside and o.phase is OrderPhase.UNRESOLVED) for o in mine)\n",
        "    return any(waits_for_look(draft, o) for o in mine)\n",
    ),
    Mutant(
        "the stop is lowered",
        f"{CORE}/decide/stops.py",
        "        raised = live.stop_price is not None and "
        "levels.is_safer(level, live.stop_price, draft.position.plan.direction)\n",
        "        raised = level != live.stop_price\n",
        (
            "    return trail if far else None\n",
            "    return trail\n",
        ),
    ),
    Mutant(
        "what works is not looked up at a restart",
        f"{CORE}/absorb/restart.py",
        "            return replace(order, check=True, ask_at=0, heard_at=min(order.heard_at, now), looks=0)",
        "            return order",
    ),
    Mutant(
        "what was in flight is forgotten at a restart",
        f"{CORE}/absorb/restart.py",
        "            return orders.doubt(replace(order, looks=0), fence, now)",
        "            return replace(order, phase=OrderPhase.CLOSED, end=End.NEVER, closed_at=now)",
        (
            "from executor.core.model.state import Closing, Order, OrderPhase, State",
            "from executor.core.model.state import Closing, End, Order, OrderPhase, State",
        ),
    ),
    Mutant(
        "at a restart the fence is the past",
        f"{CORE}/absorb/restart.py",
        "            return orders.doubt(replace(order, looks=0), fence, now)",
        "            return orders.doubt(order, now - 60_000, now)",
    ),
    Mutant(
        "orders are placed before the look-up is done",
        f"{CORE}/decide/doubt.py",
        "    return any(\n        o.live and not o.looks and (o.check",
        "    return False and any(\n        o.live and not o.looks and (o.check",
    ),
    Mutant(
        "both sides of an OCO count",
        f"{CORE}/book/ledger.py",
        "            sold[order.leg] = sold.get(order.leg, ZERO) + order.cum_qty\n",
        "            sold[order.leg] = sold.get(order.leg, ZERO) + (1 + bool(order.list_id)) * order.cum_qty\n",
    ),
    Mutant(
        "closed while orders are live",
        f"{CORE}/decide/closing.py",
        "    if live and not _stuck(draft, live):\n        return None\n",
        "",
        ("    if live:\n        return None\n    if _look_again", "    if _look_again"),
    ),
    Mutant(
        "closed without selling the rest",
        f"{CORE}/decide/closing.py",
        "    if not phase.abandon and _trade_rest(draft, phase):\n        return None\n",
        "",
    ),
    Mutant(
        "no software stop",
        f"{CORE}/decide/stops.py",
        "    grace = draft.policy.watchdog_grace_ms\n    if leg.stop is None:",
        "    grace = draft.policy.watchdog_grace_ms\n    if grace:",
    ),
    Mutant(
        "a bare position is silent",
        f"{CORE}/transition.py",
        '        Level.ALERT,\n        "unprotected",\n',
        '        Level.INFO,\n        "unprotected",\n',
    ),
    Mutant(
        "an adopted order's id is given out again",
        f"{CORE}/absorb/reports.py",
        "    return replace(position, revs=max(position.revs, name.rev + 1)), order",
        "    return position, order",
    ),
    Mutant(
        "an exit taken away is not missed",
        f"{CORE}/absorb/reports.py",
        "            position = with_order(position, replace(order, check=True))\n    phase",
        "            position = with_order(position, order)\n    phase",
    ),
    Mutant(
        "the entry is bought twice after a doubt",
        f"{CORE}/decide/entry.py",
        "    live = [o for o in entries if o.live]\n",
        "    live = [o for o in entries if o.phase is OrderPhase.WORKING]\n",
        (
            "    unborn = last.end in (End.REFUSED, End.NEVER)\n",
            "    unborn = last.end in (End.REFUSED, End.NEVER, None)\n",
        ),
    ),
    Mutant(
        "signals are taken while halted",
        f"{CORE}/absorb/admit.py",
        "    if state.halted:\n",
        "    if state.halted and not state.symbol:\n",
    ),
    Mutant(
        "an id without its revision",
        f"{CORE}/decide/draft.py",
        "        self.update(orders=(*position.orders, order), revs=position.revs + 1)\n",
        "        self.update(orders=(*position.orders, order), revs=position.revs + (position.revs < 6))\n",
    ),
    Mutant(
        "a fee paid in a third asset is taken off the base",
        f"{CORE}/book/ledger.py",
        "                if fill.fee_asset == rules.base:\n",
        "                if fill.fee_asset:\n",
    ),
    Mutant(
        "Plan B buys what the entry has bought again",
        f"{CORE}/decide/entry.py",
        "sum([o.qty if o.live else o.cum_qty for o in entries], ZERO)",
        "ZERO",
    ),
    Mutant(
        "a rebuilt entry forgets its other legs",
        f"{CORE}/recover/rebuild.py",
        "        qty = max(entered, *(order.qty for order in self.entries))\n",
        "        qty = max(order.qty for order in self.entries)\n",
    ),
    Mutant(
        "an entry that is told of after its exits holds nothing",
        f"{CORE}/book/ledger.py",
        "        if not (order.cum_qty or order.hands_on) or order.role is _DEBT:",
        "        if not order.cum_qty or order.role is _DEBT:",
    ),
    Mutant(
        "what exits were placed for is not held",
        f"{CORE}/book/ledger.py",
        "        if order.hands_on is None:\n",
        "        if True:\n",
    ),
    Mutant(
        "nobody remembers what exits were placed for",
        f"{CORE}/absorb/reports.py",
        "        return brackets.placed(position, after, now)",
        "        return position",
    ),
    Mutant(
        "a part is covered while its list keeps it",
        f"{CORE}/book/ledger.py",
        "    return received(entry, rules) if entry.live or (live and entry.end is End.FILLED) else ZERO",
        "    return received(entry, rules) if live and entry.end is End.FILLED else ZERO",
    ),
    Mutant(
        "exits are placed beside those that the entry brings",
        f"{CORE}/decide/entry.py",
        "    if phase.end is not Reason.SL and brackets.unsettled(draft):",
        "    if False:",
    ),
    Mutant(
        "an exit is never known to be placed",
        f"{CORE}/model/orders.py",
        "    return placed_for(order, report.qty or order.qty)",
        "    return cut_to(order, report.qty)",
    ),
    Mutant(
        "each leg enters for all",
        f"{CORE}/decide/entry.py",
        "            brackets.enter(draft, leg, piece, plan.entry)",
        "            brackets.enter(draft, leg, qty, plan.entry)",
    ),
    Mutant(
        "what has its exits is sized anew",
        f"{CORE}/decide/entry.py",
        "    if stood:\n",
        "    if False:\n",
    ),
    Mutant(
        "the time without a stop starts anew at each start",
        f"{CORE}/absorb/restart.py",
        "    position = replace(position, orders=wondered, phase=phase)\n",
        "    bare = replace(position.exposure, since=now if position.exposure.since else 0)\n"
        "    position = replace(position, orders=wondered, phase=phase, exposure=bare)\n",
    ),
    Mutant(
        "nobody wakes up for the alert",
        f"{CORE}/decide/timers.py",
        "        times.append(max(position.exposure.since, position.alerted_at) + policy.failsafe_grace_ms)\n",
        "        times.append(0)\n",
    ),
    Mutant(
        "an alert is not repeated",
        f"{CORE}/transition.py",
        "    draft.update(alerted_at=draft.now)\n",
        "    draft.update(alerted_at=draft.now + 3_600_000)\n",
    ),
    Mutant(
        "one leg's market order sells the other's part too",
        f"{CORE}/decide/legs.py",
        "    if leg.n:  # leg 0 stands beside targets: what is to be cancelled first is for the next decision\n"
        "        sell_at_market(draft, solved, leave, [], draft.left(leg))\n",
        "    sell_at_market(draft, solved, leave, [], draft.tally.sellable)\n",
    ),
    Mutant(
        "what was sold before its cancel is not looked at again",
        f"{CORE}/decide/doubt.py",
        "    if not order.recheck or order.live:\n",
        "    if order.recheck or order.live:\n",
        (
            "        if order.phase is _CLOSED and not (order.recheck or order.check):\n",
            "        if order.phase is _CLOSED:\n",
        ),
    ),
    Mutant(
        "what was sold twice is not bought back",
        f"{CORE}/decide/closing.py",
        "    qty = rules.market_piece(max(held.held + held.beyond - standing, short, ZERO), draft.price)\n",
        "    qty = rules.market_piece(max(held.held + held.beyond - standing, ZERO), draft.price)\n",
    ),
    Mutant(
        "a signal is taken twice",
        f"{CORE}/absorb/admit.py",
        "    if was_seen(state, signal.key, policy):\n",
        "    if was_seen(state, signal.symbol, policy):\n",
    ),
    Mutant(
        "the pause after a trade is skipped",
        f"{CORE}/transition.py",
        "        cooldown_until=draft.now + pause,\n",
        "        cooldown_until=draft.now,\n",
    ),
    Mutant(
        "the trail follows the last price",
        f"{CORE}/absorb/market.py",
        "    if trail is not None and levels.is_safer(seen.last, trail.best, direction):\n",
        "    if trail is not None and seen.last != trail.best:\n",
    ),
    Mutant(
        "a ban is asked through",
        f"{CORE}/absorb/refusals.py",
        "else max(now + policy.exits_retry_ms, refused.retry_at)\n",
        "else now + policy.exits_retry_ms\n",
    ),
    Mutant(
        "exits are tried again without a pause",
        f"{CORE}/absorb/refusals.py",
        "    return now if refused.why is Why.WITHDRAWN else max(now + policy.exits_retry_ms, refused.retry_at)\n",
        "    return max(now, refused.retry_at)\n",
        ("        tries=tries,\n", "        tries=leg.tries,\n"),
    ),
    Mutant(
        "a look is had again without a pause",
        f"{CORE}/model/orders.py",
        "    return pauses[min(looks, len(pauses)) - 1]\n",
        "    return pauses[0] * (looks - looks)\n",
    ),
    Mutant(
        "a market order is sent again without a pause",
        f"{CORE}/model/orders.py",
        "    return max(order.closed_at + pause, order.ask_at)\n",
        "    return max(order.closed_at + pause - pause, order.ask_at)\n",
    ),
    Mutant(
        "a read that failed is had again at once",
        f"{CORE}/absorb/answers.py",
        "            return replace(position, ask_at=now + _READ_AGAIN_MS)\n",
        "            return replace(position, ask_at=now)\n",
        (
            "            again_at = max(looked.ask_at, now + pause)\n",
            "            again_at = looked.ask_at\n",
        ),
    ),
    Mutant(
        "fills of what was sent after an older state are left out",
        f"{CORE}/recover/catchup.py",
        "    folded = fold_all(position, tuple(exits), now, policy)\n",
        "    folded = fold_all(position, tuple(e for e in exits if e.id in known), now, policy)\n",
    ),
)

IN_A_FLEET: Final = "tests.sim.fleet.run --hunt"
FLEET_MUTANTS: Final = (
    Mutant(
        "fleet: stamped as it is sent",
        f"{CORE}/transition.py",
        "    return Stamp(now or state.market.now, policy.recv_window_ms) if policy.recv_window_ms else None\n",
        "    return None\n",
        bench=IN_A_FLEET,
    ),
    Mutant(
        "fleet: the fence is the time of the claim",
        f"{CORE}/absorb/restart.py",
        "            return orders.doubt(replace(order, looks=0), fence, now)",
        "            return orders.doubt(replace(order, looks=0), now, now)",
        bench=IN_A_FLEET,
    ),
    Mutant(
        "fleet: written without comparing the epoch",
        STORE,
        "        compare = [created_is(self._own, claim.epoch), modified_is(self._key, self._revision)]\n",
        "        compare = [modified_is(self._key, self._revision)]\n",
        bench=IN_A_FLEET,
    ),
    Mutant(
        "fleet: sent before it is in the store",
        STORE,
        "        return self._durable\n",
        "        return False\n",
        bench=IN_A_FLEET,
    ),
    Mutant(
        "fleet: a signal is acknowledged before it is in the store",
        f"{FLEET}/signals.py",
        "                if not error.sent:\n                    raise\n                continue\n",
        "                return True\n",
        bench=IN_A_FLEET,
    ),
    Mutant(
        "fleet: the state is read before the account is claimed",
        STORE,
        "        owners, states = self._asked(done)\n        self._check_cluster(done)\n",
        (
            "        from executor.service.store import etcd_wire\n"
            "        from executor.service.store.etcd import _range, _value\n"
            '        asked = {**_range(self._key, prefix=False), "revision": str(max(1, self.claim.epoch - 3))}\n'
            '        body = await self._etcd._call("kv/range", asked, etcd_wire.Ranged, changes=False)\n'
            "        owners, states = done.found[0], tuple(map(_value, body.kvs))\n"
            "        self._check_cluster(done)\n"
        ),
        (
            "        if envelope.epoch != self.claim.epoch:\n",
            "        if envelope.epoch > self.claim.epoch:\n",
        ),
        bench=IN_A_FLEET,
    ),
    Mutant(
        "fleet: the lease is renewed whether or not the loops turn",
        f"{FLEET}/node.py",
        "            if claims.renews(len(self.owned), len(stuck)):\n",
        "            if True:\n",
        (
            "            for account in stuck:\n                self._drop_stuck(account)\n",
            "",
        ),
        bench=IN_A_FLEET,
    ),
    Mutant(
        "fleet: a signal stays when it is taken",
        STORE,
        "        success = [put(self._key, msgspec.json.encode(envelope)), mark(self._key), *map(delete, takes)]\n",
        "        success = [put(self._key, msgspec.json.encode(envelope)), mark(self._key)]\n",
        bench=IN_A_FLEET,
    ),
    Mutant(
        "fleet: a claim whose answer was lost is nobody's",
        f"{FLEET}/claims.py",
        "        if owner.node == node and owner.lease == lease and account not in busy\n",
        "        if owner.node == node and owner.lease == lease and account not in busy and not lease\n",
        bench=IN_A_FLEET,
    ),
)
OF_ONE_ACCOUNT: Final = "tests.sim.many.run --hunt"
BESIDE: Final = "src/executor/service/cross_account.py"
MANY_MUTANTS: Final = (
    Mutant(
        "many: what other symbols need is free",
        BESIDE,
        "    return replace(event, claimed=dict(found))\n",
        "    return replace(event, claimed=dict.fromkeys(found, Decimal()))\n",
        bench=OF_ONE_ACCOUNT,
    ),
    Mutant(
        "many: trades are numbered by their own state alone",
        f"{CORE}/absorb/admit.py",
        "trade=trade_id(state, now, event.newest),",
        "trade=trade_id(state, now),",
        bench=OF_ONE_ACCOUNT,
    ),
    Mutant(
        "many: a debt is judged while others borrow",
        "src/executor/exchange/neighbours.py",
        "        unsettled = self._busy or changed or self._neighbours.unsettled()\n",
        "        unsettled = changed and not changed\n",
        bench=OF_ONE_ACCOUNT,
    ),
)
MUTANTS: Final = (*MUTANTS_OF_ONE, *ODD_MUTANTS, *FLEET_MUTANTS, *MANY_MUTANTS)


def mutated(mutant: Mutant) -> str:
    """The text of its module with the bug in it. ValueError when its place is gone."""
    text = (ROOT / mutant.path).read_text()
    for old, new in ((mutant.old, mutant.new), *([mutant.also] if mutant.also else [])):
        if text.count(old) != 1:
            raise ValueError(f"mutant {mutant.name!r}: {mutant.path} has its place {text.count(old)} times, not once")
        text = text.replace(old, new)
    return text


def plant(mutant: Mutant, folder: Path) -> None:
    """A copy of the program and its bench in `folder`, with the bug in it. ValueError when its place is gone."""
    for part in (*mutant.parts, "pyproject.toml"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "corpus"))
        else:
            shutil.copy(ROOT / part, folder / part)
    (folder / mutant.path).write_text(mutated(mutant))


def hunt(mutant: Mutant, seconds: float = SECONDS, where: str = "") -> Found:
    """`where`: "margin" for runs on margin alone, BY_THE_BOOK for an exchange that is as the documents have it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plant(mutant, folder)
        run = subprocess.run(
            [sys.executable, "-m", *mutant.bench.split(), str(seconds), *where.split()],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{folder}:{folder / 'src'}", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
    return msgspec.json.decode(run.stdout, type=Found)


def missed(mutants: Sequence[Mutant], where: str, tell: Callable[[str], object]) -> int:
    """Hunt each, tell a line of the table each, and count those that were not found."""
    lost = 0
    with ThreadPoolExecutor(2) as pool:
        for mutant, found in zip(mutants, pool.map(lambda mutant: hunt(mutant, where=where), mutants), strict=True):
            lost += not found.check
            what = found.check or "NOT FOUND"
            tell(f"{mutant.name:56} {what[:60]:60} {found.runs:6} runs {found.seconds:6.1f} s\n")
    return lost


def main(names: Sequence[str], mutants: Sequence[Mutant] = MUTANTS, kept: Path = TABLE, where: str = "") -> int:
    chosen = [mutant for mutant in mutants if not names or mutant.name in names]
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        sys.stdout.write(lines[-1])
        sys.stdout.flush()

    lost = missed(chosen, where, tell)
    tell(f"{len(chosen) - lost} of {len(chosen)} found\n")
    if not names:
        kept.write_text("".join(lines))
    return 1 if lost else 0


def by_the_book() -> int:
    """How many of `ODD_MUTANTS` are found without an odd exchange: none is to be."""
    found = len(ODD_MUTANTS) - missed(ODD_MUTANTS, BY_THE_BOOK, sys.stdout.write)
    sys.stdout.write(f"{found} of {len(ODD_MUTANTS)} found by the book\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(by_the_book() if sys.argv[1:] == ["--by-the-book"] else main(sys.argv[1:]))
