"""Commission (faqs/commission_faq.md): of what is received, or in BNB, trade by trade."""

from decimal import Decimal

from tests.paper.engine.client import BUY, LTC, ME, SELL, Client, d, row

from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.model import CommissionRates


def paid(client: Client) -> list[tuple[Decimal, str]]:
    return [(fill.commission, fill.commission_asset) for fill in client.engine.my_trades(ME, LTC)]


def test_a_buy_pays_in_base_and_a_sell_in_quote() -> None:
    client = Client(balances={"USDT": d(1000)})
    client.market(BUY, "2")
    assert paid(client) == [(d("0.002"), "LTC")]
    assert client.free("LTC") == d("1.998")
    client.market(SELL, "1")
    assert paid(client)[1] == (d("0.08"), "USDT")


def test_maker_taker_buyer_and_seller_rates_add_up() -> None:
    client = Client()
    rates = CommissionRates(maker=d("0.0002"), taker=d("0.0004"), buyer=d("0.0001"), seller=d("0.0003"))
    client.engine.set_commission(ME, LTC, rates)
    assert client.engine.commission(ME, LTC) == rates
    client.market(BUY, "1")
    client.market(SELL, "1")
    client.limit(BUY, "1", "79.00")
    client.trade("79.00")
    assert paid(client) == [(d("0.0005"), "LTC"), (d("0.056"), "USDT"), (d("0.0003"), "LTC")]


def test_a_free_account_pays_nothing() -> None:
    client = Client()
    client.engine.set_commission(ME, LTC, CommissionRates(maker=d(0), taker=d(0)))
    client.market(BUY, "1")
    assert paid(client) == [(d(0), "LTC")]
    assert client.engine.commissions_paid() == {}


def test_a_fraction_of_the_last_digit_is_rounded_up() -> None:
    client = Client()
    client.engine.set_commission(ME, LTC, CommissionRates(taker=d("0.00012345")))
    client.market(BUY, "1.001")
    assert paid(client) == [(d("0.00012358"), "LTC")]


def test_bnb_pays_at_a_discount_at_its_price_in_quote() -> None:
    client = Client(balances={"USDT": d(1000), "BNB": d(1)})
    client.engine.set_bnb_burn(ME, enabled=True)
    assert client.engine.bnb_burn(ME)
    client.engine.set_bnb_price("USDT", d(600))
    client.market(BUY, "2")
    assert paid(client) == [(d("0.00020003"), "BNB")]
    assert client.free("LTC") == 2
    assert client.free("BNB") == 1 - paid(client)[0][0]


def test_bnb_s_price_is_its_last_trade_where_nobody_set_one() -> None:
    client = Client(rows=[row(), row("BNBUSDT")], balances={"USDT": d(1000), "BNB": d(1)})
    client.engine.set_bnb_burn(ME, enabled=True)
    client.market(BUY, "1")
    client.trade("800.10", symbol="BNBUSDT")
    client.market(SELL, "0.5")
    assert [asset for _, asset in paid(client)] == ["LTC", "BNB"]
    assert paid(client)[1][0] == d("0.00003750")


def test_one_order_may_pay_in_two_assets_when_bnb_runs_out() -> None:
    client = Client(balances={"USDT": d(1000), "BNB": d("0.00015")}, liquidity=LiquidityModel.tight(d("80.08"), 3))
    client.engine.set_bnb_burn(ME, enabled=True)
    client.engine.set_bnb_price("USDT", d(600))
    client.market(BUY, "2")
    assert [asset for _, asset in paid(client)] == ["BNB", "LTC"]


def test_where_base_is_bnb_the_commission_comes_out_of_the_position() -> None:
    client = Client(rows=[row("BNBUSDT")], balances={"USDT": d(1000)}, opening=None)
    client.engine.set_bnb_burn(ME, enabled=True)
    client.trade("600.00", symbol="BNBUSDT")
    client.market(BUY, "1", symbol="BNBUSDT")
    assert client.free("BNB") == 1 - d("0.00075")


def test_where_quote_is_bnb_it_pays_for_itself() -> None:
    client = Client(rows=[row(quoteAsset="BNB")], balances={"BNB": d(1000), "LTC": d(5)})
    client.engine.set_bnb_burn(ME, enabled=True)
    client.market(SELL, "1")
    assert paid(client) == [(d("0.06"), "BNB")]


def test_every_commission_is_counted() -> None:
    client = Client()
    client.market(BUY, "2")
    client.market(SELL, "1")
    assert client.engine.commissions_paid() == {"LTC": d("0.002"), "USDT": d("0.08")}
