"""Commission (faqs/commission_faq.md): of what is received, or in BNB, trade by trade."""

from decimal import Decimal

from tests.paper.engine.desk import BUY, LTC, ME, SELL, Desk, d, row

from executor.paper.liquidity import LiquidityModel
from executor.paper.model import CommissionRates


def paid(desk: Desk) -> list[tuple[Decimal, str]]:
    return [(fill.commission, fill.commission_asset) for fill in desk.engine.my_trades(ME, LTC)]


def test_a_buy_pays_in_base_and_a_sell_in_quote() -> None:
    desk = Desk(balances={"USDT": d(1000)})
    desk.market(BUY, "2")
    assert paid(desk) == [(d("0.002"), "LTC")]
    assert desk.free("LTC") == d("1.998")
    desk.market(SELL, "1")
    assert paid(desk)[1] == (d("0.08"), "USDT")


def test_maker_taker_buyer_and_seller_rates_add_up() -> None:
    desk = Desk()
    rates = CommissionRates(maker=d("0.0002"), taker=d("0.0004"), buyer=d("0.0001"), seller=d("0.0003"))
    desk.engine.set_commission(ME, LTC, rates)
    assert desk.engine.commission(ME, LTC) == rates
    desk.market(BUY, "1")
    desk.market(SELL, "1")
    desk.limit(BUY, "1", "79.00")
    desk.trade("79.00")
    assert paid(desk) == [(d("0.0005"), "LTC"), (d("0.056"), "USDT"), (d("0.0003"), "LTC")]


def test_a_free_account_pays_nothing() -> None:
    desk = Desk()
    desk.engine.set_commission(ME, LTC, CommissionRates(maker=d(0), taker=d(0)))
    desk.market(BUY, "1")
    assert paid(desk) == [(d(0), "LTC")]
    assert desk.engine.commissions_paid() == {}


def test_a_fraction_of_the_last_digit_is_rounded_up() -> None:
    desk = Desk()
    desk.engine.set_commission(ME, LTC, CommissionRates(taker=d("0.00012345")))
    desk.market(BUY, "1.001")
    assert paid(desk) == [(d("0.00012358"), "LTC")]


def test_bnb_pays_at_a_discount_at_its_price_in_quote() -> None:
    desk = Desk(balances={"USDT": d(1000), "BNB": d(1)})
    desk.engine.set_bnb_burn(ME, enabled=True)
    assert desk.engine.bnb_burn(ME)
    desk.engine.set_bnb_price("USDT", d(600))
    desk.market(BUY, "2")
    assert paid(desk) == [(d("0.00020003"), "BNB")]
    assert desk.free("LTC") == 2
    assert desk.free("BNB") == 1 - paid(desk)[0][0]


def test_bnb_s_price_is_its_last_trade_where_nobody_set_one() -> None:
    desk = Desk(rows=[row(), row("BNBUSDT")], balances={"USDT": d(1000), "BNB": d(1)})
    desk.engine.set_bnb_burn(ME, enabled=True)
    desk.market(BUY, "1")
    desk.trade("800.10", symbol="BNBUSDT")
    desk.market(SELL, "0.5")
    assert [asset for _, asset in paid(desk)] == ["LTC", "BNB"]
    assert paid(desk)[1][0] == d("0.00003750")


def test_one_order_may_pay_in_two_assets_when_bnb_runs_out() -> None:
    desk = Desk(balances={"USDT": d(1000), "BNB": d("0.00015")}, liquidity=LiquidityModel.tight(d("80.08"), 3))
    desk.engine.set_bnb_burn(ME, enabled=True)
    desk.engine.set_bnb_price("USDT", d(600))
    desk.market(BUY, "2")
    assert [asset for _, asset in paid(desk)] == ["BNB", "LTC"]


def test_where_base_is_bnb_the_commission_comes_out_of_the_position() -> None:
    desk = Desk(rows=[row("BNBUSDT")], balances={"USDT": d(1000)}, opening=None)
    desk.engine.set_bnb_burn(ME, enabled=True)
    desk.trade("600.00", symbol="BNBUSDT")
    desk.market(BUY, "1", symbol="BNBUSDT")
    assert desk.free("BNB") == 1 - d("0.00075")


def test_where_quote_is_bnb_it_pays_for_itself() -> None:
    desk = Desk(rows=[row(quoteAsset="BNB")], balances={"BNB": d(1000), "LTC": d(5)})
    desk.engine.set_bnb_burn(ME, enabled=True)
    desk.market(SELL, "1")
    assert paid(desk) == [(d("0.06"), "BNB")]


def test_every_commission_is_counted() -> None:
    desk = Desk()
    desk.market(BUY, "2")
    desk.market(SELL, "1")
    assert desk.engine.commissions_paid() == {"LTC": d("0.002"), "USDT": d("0.08")}
