"""The two assets of a symbol where the exchange can't be asked: from what its fills paid commission in."""

from collections.abc import Iterable
from typing import NamedTuple


class Assets(NamedTuple):
    """Empty where it is not known."""

    base: str
    quote: str


def assets_of(symbol: str, paid_in: Iterable[str]) -> Assets:
    """A commission is paid in base, quote or a third asset (BNB): the first two are ends of the symbol's name."""
    known = sorted(set(paid_in))
    quote = next((a for a in known if symbol.endswith(a) and len(a) < len(symbol)), "")
    if quote:
        return Assets(symbol.removesuffix(quote), quote)
    base = next((a for a in known if symbol.startswith(a) and len(a) < len(symbol)), "")
    return Assets(base, symbol.removeprefix(base)) if base else Assets("", "")
