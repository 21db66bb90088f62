"""Money of a fill: what is paid, what is received, and the commission (faqs/commission_faq.md).

Every unit is accounted for: balances of all accounts + `commissions` + `market` (what the recorded market
gained) stay equal, asset by asset, to what was deposited.
"""

from decimal import ROUND_UP, Decimal
from typing import Final

import msgspec

from executor.core.model.values import ZERO, OrderSide
from executor.paper.engine.account import Account, LiveOrder, quote_amount
from executor.paper.engine.book import Book
from executor.paper.engine.model import CommissionRates
from executor.paper.engine.symbol import Symbol

DEFAULT_RATES: Final = CommissionRates()
BNB: Final = "BNB"
_EIGHT_PLACES: Final = Decimal("1E-8")


class Settlement(msgspec.Struct, frozen=True):
    """`quote` is the fill's quote quantity."""

    quote: Decimal
    commission: Decimal
    commission_asset: str


class Ledger:
    """Settles fills. `commissions` and `market` are amounts by asset; those of `market` may be negative."""

    __slots__ = ("_bnb_prices", "_books", "commissions", "market")

    def __init__(self, books: dict[str, Book]) -> None:
        self._books = books
        self._bnb_prices: dict[str, Decimal] = {}
        self.commissions: dict[str, Decimal] = {}
        self.market: dict[str, Decimal] = {}

    def set_bnb_price(self, asset: str, price: Decimal) -> None:
        self._bnb_prices[asset] = price

    def settle(self, order: LiveOrder, price: Decimal, qty: Decimal, *, maker: bool, lent: bool = True) -> Settlement:
        """Move the money of one fill; `order` already counts it as executed, so its need has shrunk. `lent`: whether
        what is free pays the commission of an OPO's working order, where there is enough.
        """
        rules, account = order.rules, order.account
        quote = quote_amount(rules, price, qty)
        need = order.need()
        released = order.reserved - need
        order.reserved = need
        if order.side is OrderSide.BUY:
            account.change(rules.quote, released - quote, -released)
            account.change(rules.base, qty)
            self._pay_market(rules, -qty, quote)
        else:
            account.change(rules.base, released - qty, -released)
            account.change(rules.quote, quote)
            self._pay_market(rules, qty, -quote)
        commission, asset = self._commission(order, price, qty, quote, maker=maker)
        if commission:
            account.change(asset, -commission)
            self.commissions[asset] = self.commissions.get(asset, ZERO) + commission
        paying = order.order_list
        if paying is not None and paying.pays_out and order is paying.working:
            reduces = asset == rules.base and not lent
            kept = qty - commission if reduces or self._reduces_proceeds(order, qty, asset) else qty
            paying.proceeds += kept
            account.change(rules.base, -kept, kept)
        return Settlement(quote, commission, asset)

    def rates(self, account: Account, symbol: str) -> CommissionRates:
        return account.rates.get(symbol, DEFAULT_RATES)

    def _commission(
        self, order: LiveOrder, price: Decimal, qty: Decimal, quote: Decimal, *, maker: bool
    ) -> tuple[Decimal, str]:
        """Of what is received, rounded up to its commission precision: the exchange does not lose by it."""
        rules = order.rules
        rates = self.rates(order.account, order.symbol)
        rate = rates.maker if maker else rates.taker
        if order.side is OrderSide.BUY:
            rate += rates.buyer
            received_asset, received, precision = rules.base, qty, rules.base_commission_precision
        else:
            rate += rates.seller
            received_asset, received, precision = rules.quote, quote, rules.quote_commission_precision
        if rate == 0:
            return ZERO, received_asset
        if order.account.bnb_burn:
            bnb_price = self._bnb_price(rules, price)
            if bnb_price is not None:
                in_bnb = (quote * rate * rates.discount / bnb_price).quantize(_EIGHT_PLACES, ROUND_UP)
                if in_bnb <= order.account.free.get(BNB, ZERO):
                    return in_bnb, BNB
        return (received * rate).quantize(Decimal(1).scaleb(-precision), ROUND_UP), received_asset

    def _bnb_price(self, rules: Symbol, price: Decimal) -> Decimal | None:
        """The price of one BNB in the symbol's quote asset; None if nobody knows it."""
        if rules.quote == BNB:
            return Decimal(1)
        if rules.base == BNB:
            return price
        given = self._bnb_prices.get(rules.quote)
        if given is not None:
            return given
        book = self._books.get(BNB + rules.quote)
        return None if book is None else book.tape.last

    def _reduces_proceeds(self, order: LiveOrder, qty: Decimal, commission_asset: str) -> bool:
        """Whether commission comes out of what an OPO's working order bought, which is locked for its pending orders.

        It is taken from free funds where there are enough, never where base is BNB (faqs/opo.md).
        """
        base = order.rules.base
        return commission_asset == base and (base == BNB or order.account.free[base] < qty)

    def _pay_market(self, rules: Symbol, base: Decimal, quote: Decimal) -> None:
        self.market[rules.base] = self.market.get(rules.base, ZERO) + base
        self.market[rules.quote] = self.market.get(rules.quote, ZERO) + quote
