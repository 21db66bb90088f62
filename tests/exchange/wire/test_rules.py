"""Filters, flags and fees of one symbol."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from tests.exchange.stub import EXCHANGE_INFO, Say, Stub, error

from executor.core.model.rules import SymbolRules
from executor.core.model.values import OrderType
from executor.exchange.binance import BinanceExchange
from executor.exchange.port import ReadError, StartError
from executor.exchange.wire import rules

GOLDEN = Path(__file__).parents[2] / "golden" / "binance"
FREE = rules.account_commission(b'{"commissionRates":{"maker":"0","taker":"0"}}')


def read(name: str, symbol: str, fees: rules.Commission = FREE) -> SymbolRules | None:
    return rules.symbol_rules(rules.exchange_info((GOLDEN / f"{name}.json").read_bytes()), symbol, fees)


@pytest.mark.parametrize("rates", [b"{}", b'{"maker":"0.001"}', b'{"taker":"0.001"}'])
def test_rates_that_are_not_told_are_not_zero(rates: bytes) -> None:
    """Exits would be of more than is held (rule 3.4), and breakeven would not cover what it cost (rule 5.2)."""
    with pytest.raises(msgspec.DecodeError):
        rules.account_commission(b'{"commissionRates":' + rates + b"}")
    with pytest.raises(msgspec.DecodeError):
        rules.commission(b'{"standardCommission":' + rates + b"}")


def test_an_answer_without_symbols_does_not_say_that_ours_is_not_listed() -> None:
    with pytest.raises(msgspec.DecodeError):
        rules.exchange_info(b"{}")


def test_todays_filters() -> None:
    fees = rules.commission(
        b'{"symbol":"BTCUSDT",'
        b'"standardCommission":{"maker":"0.001","taker":"0.002","buyer":"0.0001","seller":"0.0003"},'
        b'"taxCommission":{"maker":"0.0005","taker":"0.0006","buyer":"0","seller":"0"},'
        b'"specialCommission":{"maker":"0.00001","taker":"0.00002","buyer":"0","seller":"0"},'
        b'"discount":{"enabledForAccount":true,"discount":"0.75"}}'
    )
    assert read("exchange_info", "BTCUSDT", fees) == SymbolRules(
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        tick=Decimal("0.01"),
        step=Decimal("0.00001"),
        min_price=Decimal("0.01"),
        max_price=Decimal(1000000),
        min_qty=Decimal("0.00001"),
        max_qty=Decimal(9000),
        market_step=Decimal(0),
        market_min_qty=Decimal(0),
        market_max_qty=Decimal(120),
        min_notional=Decimal(5),
        max_notional=Decimal(9000000),
        bid_up=Decimal(5),
        bid_down=Decimal("0.2"),
        ask_up=Decimal(4),
        ask_down=Decimal("0.25"),
        average_mins=5,
        trailing_above=(10, 2000),
        trailing_below=(11, 2001),
        max_algo_orders=5,
        max_orders=200,
        max_order_lists=20,
        maker_fee=Decimal("0.00181"),
        taker_fee=Decimal("0.00292"),
        fee_unit=Decimal("1E-8"),
    )


def test_older_filters_and_a_symbol_that_rests() -> None:
    found = read("exchange_info_old_filters", "OLDUSDT")
    assert found is not None
    assert not found.tradable
    assert not found.oco_allowed
    assert not found.trailing_allowed
    assert not found.cancel_replace_allowed
    assert (found.bid_up, found.bid_down, found.ask_up, found.ask_down) == (
        Decimal(5),
        Decimal("0.2"),
    ) * 2
    assert found.min_notional == 10
    assert found.order_types == (OrderType.LIMIT, OrderType.MARKET)


@pytest.mark.parametrize("status", ["CANCEL_ONLY", "HALT", "BREAK", "END_OF_DAY", "SOMETHING_NEW"])
async def test_only_trading_is_tradable(stub: Stub, exchange: BinanceExchange, status: str) -> None:
    symbol = EXCHANGE_INFO["symbols"][0] | {"status": status}  # type: ignore[index]
    stub.script("GET exchangeInfo", Say(json={"symbols": [symbol]}))
    rules = await exchange.rules()
    assert (rules.tradable, rules.strange) == (False, status == "SOMETHING_NEW")


async def test_an_unlisted_symbol_is_named(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET exchangeInfo", error(400, -1121, "Invalid symbol."), Say(json={"symbols": []}))
    for _ in range(2):
        with pytest.raises(StartError, match="BTCUSDT"):
            await exchange.rules()


async def test_a_host_without_commission_rates_shows_them_with_the_account(
    stub: Stub, exchange: BinanceExchange
) -> None:
    stub.script("GET account/commission", Say(status=404, text="", content_type="text/html"))
    rates = {"maker": "0.0010", "taker": "0.0012", "buyer": "0", "seller": "0"}
    stub.script("GET account", Say(json={"balances": [], "commissionRates": rates}))
    found = await exchange.rules()
    assert (found.maker_fee, found.taker_fee) == (Decimal("0.001"), Decimal("0.0012"))


async def test_a_key_refused_for_commission_is_not_hidden_by_the_fallback(
    stub: Stub, exchange: BinanceExchange
) -> None:
    stub.script("GET account/commission", error(401, -2015, "Invalid API-key, IP, or permissions for action."))
    asked = stub.count("GET account")
    with pytest.raises(ReadError, match="-2015"):
        await exchange.rules()
    assert stub.count("GET account") == asked


async def test_filters_that_can_not_be_read_are_no_unlisted_symbol(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script("GET exchangeInfo", error(400, -1100, "Illegal characters found in parameter 'symbol'."))
    with pytest.raises(ReadError, match="-1100"):
        await exchange.rules()


async def test_the_weight_limit_is_the_exchanges(exchange: BinanceExchange) -> None:
    await exchange.rules()
    assert exchange.connection.budget.limit == 1000


@pytest.mark.parametrize(
    ("limits", "weight"),
    [
        (b"null", None),
        (b"{}", None),
        (
            b'[{"rateLimitType":"OF_TOMORROW"},{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1}]',
            None,
        ),
        (b'[7,{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":"1","limit":"600","x":[]}]', 600),
    ],
)
def test_limits_that_cannot_be_read_do_not_hide_the_symbols(limits: bytes, weight: int | None) -> None:
    info = rules.exchange_info(b'{"rateLimits":' + limits + b',"symbols":[{"symbol":"BTCUSDT"}]}')
    assert (info.weight_per_minute, len(info.symbols)) == (weight, 1)
