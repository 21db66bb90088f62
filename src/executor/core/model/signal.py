"""A trade signal, as the core understands it (rule 2.1)."""

from decimal import Decimal

import msgspec

from executor.core.model.values import Direction


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One wish to trade. `at`: ms since the epoch; prices in quote per base.

    `key` identifies it across restarts: its `id`, where it is `named`, else side + minute + price (rule 2.5). Of `qty`
    (base), `notional` (quote) and `risk` (quote lost at the stop) at most one is set; `symbol` is empty when the signal
    names none.
    """

    key: str
    at: int
    direction: Direction
    price: Decimal
    symbol: str = ""
    entry: Decimal | None = None
    stop: Decimal | None = None
    targets: tuple[Decimal, ...] = ()
    qty: Decimal | None = None
    notional: Decimal | None = None
    risk: Decimal | None = None
    named: bool = False
