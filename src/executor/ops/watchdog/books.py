"""Whether the account's balances fit the fills of all trades here: what no fill explains, another hand has moved."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from executor.core.book import debt
from executor.core.model.facts import Balance
from executor.core.model.loans import Loan
from executor.core.model.values import ZERO, OrderSide, short
from executor.ops.watchdog.suspects import Suspect
from executor.service.loop import Loop

MOVED: Final = "balance_moved"


class _Base(msgspec.Struct, frozen=True):
    """An asset as it stood when it was last found in order. `flow`: what all trades here had brought of it by then."""

    total: Decimal
    flow: Decimal


class Books:
    """Looks at the base assets of `loops`. What is quote of one and base of another is left out: prices move it too."""

    def __init__(self, loops: Iterable[Loop]) -> None:
        self._loops = tuple(loops)
        self._known: dict[str, _Base] = {}
        self._explained: dict[str, Decimal] = {}
        self._seen: dict[int, str] = {}
        self._earlier: dict[int, Decimal] = {id(loop): ZERO for loop in self._loops}

    def explain(self, asset: str, delta: Decimal) -> None:
        """A deposit, a withdrawal or a transfer, as the exchange has told it. A loan of ours may be told so, too, or
        not: it is counted by itself.
        """
        if any(_is_loan(loop.state.loan, asset, delta) for loop in self._loops):
            return
        self._explained[asset] = self._explained.get(asset, ZERO) + delta

    def compare(self, balances: Mapping[str, Balance]) -> list[Suspect]:
        """What does not fit; nothing while some commission is not known yet."""
        found: list[Suspect] = []
        flows = self._flows()
        quotes = {loop.engine.rules.quote for loop in self._loops}
        for asset, flow in flows.items():
            if asset in quotes or flow is None:
                continue
            total = balances.get(asset, Balance(ZERO)).total
            known = self._known.get(asset)
            if known is None:
                self.accept(asset, total, flow)
                continue
            off = (total - known.total) - (flow - known.flow) - self._explained.get(asset, ZERO)
            if abs(off) >= self._step(asset):
                text = f"{short(abs(off))} {asset} {'more' if off > 0 else 'less'} than fills here explain"
                found.append(Suspect(MOVED, asset, text))
        return found

    def settle(self, balances: Mapping[str, Balance], told: Iterable[str] = ()) -> None:
        """Go on from here: of the assets in `told`, whose difference has been told of."""
        flows = self._flows()
        for asset in told:
            flow = flows.get(asset)
            if flow is not None:
                self.accept(asset, balances.get(asset, Balance(ZERO)).total, flow)

    def accept(self, asset: str, total: Decimal, flow: Decimal) -> None:
        self._known[asset] = _Base(total, flow)
        self._explained.pop(asset, None)

    def _step(self, asset: str) -> Decimal:
        return min(loop.engine.rules.step for loop in self._loops if loop.engine.rules.base == asset)

    def _flows(self) -> dict[str, Decimal | None]:
        """By base asset, what the trades here have brought since the start; None while a commission is not known."""
        flows: dict[str, Decimal | None] = {}
        for loop in self._loops:
            base = loop.engine.rules.base
            earlier, now = self._finished(loop) + _moved(loop), _open_flow(loop)
            before = flows.get(base, ZERO)
            if base in flows and _is_alone(loop):
                before = None  # each pair has an account of its own
            flows[base] = None if now is None or before is None else before + earlier + now
        return flows

    def _finished(self, loop: Loop) -> Decimal:
        """Of trades that have ended since the first look: what they left over, or lack."""
        key, last = id(loop), loop.state.last_closed
        if key not in self._seen:
            self._seen[key] = last.trade if last is not None else ""
        elif last is not None and last.trade != self._seen[key]:
            news = []
            for trade in reversed(loop.closed):
                if trade.trade == self._seen[key]:
                    break
                news.append(trade.dust + trade.interest.get(loop.engine.rules.base, ZERO))
            self._earlier[key] += sum(news, ZERO)
            self._seen[key] = last.trade
        return self._earlier[key]


def _is_loan(loan: Loan | None, asset: str, delta: Decimal) -> bool:
    return loan is not None and (loan.asset, loan.amount) == (asset, abs(delta))


def _is_alone(loop: Loop) -> bool:
    terms = loop.engine.rules.margin
    return terms is not None and terms.isolated


def _moved(loop: Loop) -> Decimal:
    """What the loop has borrowed of its base on margin, less what it has repaid."""
    return debt.find(loop.state.debts, loop.engine.rules.base).ever


def _open_flow(loop: Loop) -> Decimal | None:
    position, base = loop.state.position, loop.engine.rules.base
    flow = ZERO
    for order in position.orders if position is not None else ():
        if order.unpriced_qty > 0:
            return None
        flow += order.cum_qty if order.side is OrderSide.BUY else -order.cum_qty
        flow -= sum((fill.fee for fill in order.fills if fill.fee_asset == base), ZERO)
    return flow
