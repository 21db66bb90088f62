"""What a run of several symbols trades: which share a quote, which a base, and how much of each is in the one purse."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from tests.sim import setup as world_setup
from tests.sim.choices import Choices, ChoicesOf
from tests.sim.setup import LTC, MARKETS, OTHER_QUOTE, SPOT, Market, Setup

from executor.core.model.policy import Layout
from executor.core.model.values import ZERO

NAMES: Final = "abc"
TRADES: Final = 4
BITCOIN: Final = MARKETS[1]
TWINS: Final = tuple(replace(each, symbol=each.base + OTHER_QUOTE, quote=OTHER_QUOTE) for each in (LTC, BITCOIN))
"""Of the base of another one, in another quote that is worth as much."""
RICH: Final = 20_000
SPARE: Final = 50_000
"""Worth, in quote."""
ENOUGH: Final = Decimal("1.02")
"""What all of them need at once, with commission."""


class Group(msgspec.Struct, frozen=True):
    """`setups`: of each symbol, by its name in the run; all that concerns the account or the process is the same in
    each. `follows`: whose prices a twin has.
    """

    setups: dict[str, Setup]
    follows: dict[str, str]

    @property
    def common(self) -> Setup:
        return next(iter(self.setups.values()))

    @property
    def markets(self) -> list[Market]:
        return [setup.market for setup in self.setups.values()]


def draw(choices: Choices, *, kinds: Sequence[str] = SPOT) -> Group:
    """The defaults are the quiet choice everywhere. `kinds`: of accounts."""
    kind = kinds[choices.choose("many:account", len(kinds))]
    markets, follows = _markets(choices)
    drawn: dict[str, Setup] = {}
    for name, market in zip(NAMES, markets, strict=False):
        drawn[name] = world_setup.draw(ChoicesOf(choices, name), trades=TRADES, kinds=(kind,), markets=(market,))
    first = drawn["a"]
    balances = _on_margin(drawn.values()) if kind else _purse(choices, list(drawn.values()))
    if first.burn:
        balances["BNB"] = first.balances["BNB"]
    shared: dict[str, Any] = {
        name: getattr(first, name) for name in ("burn", "thin", "pushes", "poll", "step", "latency", "exchange")
    }
    setups = {name: replace(setup, **shared, balances=balances) for name, setup in drawn.items()}
    return Group(setups, follows)


def _markets(choices: Choices) -> tuple[list[Market], dict[str, str]]:
    """Two or three: of one quote, or the first two of one base."""
    count = (2, 3)[choices.choose("many:symbols", 2)]
    if not choices.choose("many:shared", 2):
        first = choices.choose("many:first", len(MARKETS))
        return [MARKETS[(first + n) % len(MARKETS)] for n in range(count)], {}
    n = choices.choose("many:twins", len(TWINS))
    one = (LTC, BITCOIN)[n]
    others = [each for each in MARKETS if each is not one]
    third = others[choices.choose("many:third", len(others))]
    return [one, TWINS[n], third][:count], {"b": "a"}


def _on_margin(setups: Sequence[Setup] | Any) -> dict[str, Decimal]:
    """What each of them has drawn for itself, together."""
    total: dict[str, Decimal] = {}
    for setup in setups:
        for asset in (setup.market.base, setup.market.quote):
            total[asset] = total.get(asset, ZERO) + setup.balances[asset]
    return total


def _purse(choices: Choices, setups: Sequence[Setup]) -> dict[str, Decimal]:
    """Of each asset enough for whatever they do, or just enough for all at once, or for the largest alone, or next to
    nothing of a quote where there is base to sell.
    """
    balances: dict[str, Decimal] = {}
    stocked = {each.market.base for each in setups if each.balances[each.market.base]}
    for base in dict.fromkeys(each.market.base for each in setups):
        of_it = [each for each in setups if each.market.base == base]
        market = of_it[0].market
        worth = (Decimal(SPARE), _at_once(of_it), _largest(of_it))[choices.choose("many:stock", 3)]
        rules = world_setup.rules(market.symbol)
        balances[base] = rules.whole(worth / market.price) if base in stocked else ZERO
    for quote in dict.fromkeys(each.market.quote for each in setups):
        in_it = [each for each in setups if each.market.quote == quote]
        worths = (Decimal(RICH), _at_once(in_it), _largest(in_it), Decimal(2))
        n = choices.choose("many:purse", len(worths))
        if worths[n] == 2 and not any(balances[each.market.base] for each in in_it):
            n = 1
        balances[quote] = worths[n].quantize(Decimal("0.01"))
    return balances


def _worth(setup: Setup) -> Decimal:
    return (setup.policy.notional or ZERO) * (2 if setup.policy.layout is Layout.PLAIN else 1) * ENOUGH


def _at_once(setups: Sequence[Setup]) -> Decimal:
    return sum((_worth(each) for each in setups), ZERO)


def _largest(setups: Sequence[Setup]) -> Decimal:
    return max(_worth(each) for each in setups)
