"""What the engine says about the market it was fed: prices, averages, tickers, klines, trades, depth."""

from decimal import Decimal
from random import Random

import pytest
from tests.paper.engine.client import BUY, LTC, ME, SELL, T0, Client, d, refused, row

from executor.core.model.values import ZERO, OrderStatus
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.market_data import BookTicker
from executor.paper.engine.model import KlinePath
from executor.paper.engine.symbol import Symbol
from executor.paper.engine.tape import BARS_KEPT, SPARE, TRADES_KEPT, RawTrade, Tape
from executor.paper.replay.recording import demo_trades

MINUTE = 60_000


def best(client: Client) -> tuple[str, str]:
    ticker = client.engine.book_ticker(LTC)
    return str(ticker.bid), str(ticker.ask)


class TestQuotes:
    def test_without_recorded_quotes_they_follow_the_trades(self) -> None:
        client = Client(opening=None)
        assert best(client) == ("0", "0")
        steps = [
            ("80.00", True, ("80.00", "80.01")),
            ("80.02", False, ("80.00", "80.02")),
            ("79.99", True, ("79.99", "80.02")),
            ("80.03", True, ("80.03", "80.04")),
            ("79.95", False, ("79.94", "79.95")),
        ]
        for price, buyer_is_maker, expected in steps:
            client.trade(price, buyer_is_maker=buyer_is_maker)
            assert best(client) == expected

    def test_a_side_that_nobody_trades_at_follows_at_a_distance(self) -> None:
        client = Client(opening="80.00")
        client.trade("78.00")
        assert best(client) == ("78.00", "78.03")
        client.trade("82.00", buyer_is_maker=False)
        assert best(client) == ("81.96", "82.00")

    def test_recorded_quotes_stand_until_the_next_one(self) -> None:
        client = Client()
        client.engine.on_quote(LTC, d("79.90"), d(3), d("80.10"), d(4), client.now)
        client.trade("80.00")
        assert best(client) == ("79.90", "80.10")
        ticker = client.engine.book_ticker(LTC)
        assert (ticker.bid_qty, ticker.ask_qty) == (d(3), d(4))

    def test_a_recorded_quantity_is_what_the_first_level_offers(self) -> None:
        client = Client()
        client.engine.on_quote(LTC, d("79.90"), d(3), d("80.10"), d(4), client.now)
        fills = client.market(BUY, "5").fills
        assert [(fill.price, fill.qty) for fill in fills] == [(d("80.10"), d(4)), (d("80.11"), d(1))]

    def test_a_quote_fills_and_triggers_nothing(self) -> None:
        client = Client()
        order = client.limit(BUY, "1", "79.50")
        client.engine.on_quote(LTC, d("79.00"), d(3), d("79.10"), d(4), client.now)
        assert client.order(order).status is OrderStatus.NEW

    @pytest.mark.parametrize(("bid", "ask", "when"), [("80.00", "80.00", T0), ("80.00", "80.01", T0 - 1)])
    def test_a_crossed_or_older_quote_is_an_error(self, bid: str, ask: str, when: int) -> None:
        client = Client()
        client.engine.on_quote(LTC, d("79.00"), d(3), d("79.10"), d(4), T0)
        with pytest.raises(ValueError, match=LTC):
            client.engine.on_quote(LTC, d(bid), d(1), d(ask), d(1), when)

    def test_depth_shows_what_takers_meet(self) -> None:
        client = Client(liquidity=LiquidityModel.tight(d("800.2"), 3))
        client.market(BUY, "4")
        depth = client.engine.depth(LTC)
        assert depth.asks == ((d("80.01"), d("6.001")), (d("80.02"), d("10")), (d("80.03"), d("9.998")))
        assert depth.bids[0] == (d("80.00"), d("10.002"))
        assert len(client.engine.depth(LTC, limit=1).bids) == 1

    def test_depth_ends_at_the_price_of_nothing(self) -> None:
        fine = row(filters=[{"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "0", "tickSize": "1"}])
        client = Client(rows=[fine], opening="3")
        assert [price for price, _ in client.engine.depth(LTC).bids] == [3, 2, 1]


class TestAverages:
    def test_the_average_weighs_by_volume_and_forgets_after_its_minutes(self) -> None:
        client = Client(opening=None)
        assert client.engine.avg_price(LTC, client.now) is None
        client.trade("80.00", "1")
        client.wait(MINUTE)
        client.trade("90.00", "3")
        assert client.engine.avg_price(LTC, client.now) == d("87.5")
        assert client.engine.avg_price(LTC, client.now + 4 * MINUTE) == 90
        client.trade("100.00", "3")
        assert client.engine.avg_price(LTC, client.now) == 95
        assert client.engine.avg_price(LTC, client.now, mins=1) == 95

    def test_with_no_trade_in_its_minutes_it_is_the_last_price(self) -> None:
        client = Client()
        assert client.engine.avg_price(LTC, client.now + 6 * MINUTE) == 80
        assert client.engine.avg_price(LTC, client.now, mins=0) == 80

    def test_the_ticker_of_24_hours(self) -> None:
        client = Client(opening=None)
        client.trade("70.00", "1")
        client.wait(24 * 60 * MINUTE + MINUTE)
        for price in ("80.00", "82.00", "79.00", "81.00"):
            client.trade(price, "2")
        ticker = client.engine.ticker(LTC, client.now)
        assert (ticker.high, ticker.low, ticker.last) == (d(82), d(70), d(81))
        client.wait(MINUTE)
        ticker = client.engine.ticker(LTC, client.now)
        assert (ticker.high, ticker.low, ticker.last, ticker.last_qty) == (d(82), d(70), d(81), d(2))
        assert (ticker.volume, ticker.quote_volume, ticker.weighted_avg) == (d(8), d(644), d("80.5"))
        assert (ticker.count, ticker.first_id, ticker.last_id, ticker.prev_close) == (4, 2, 5, d(70))


def test_a_day_asked_for_at_each_trade_is_the_day_asked_for_once() -> None:
    """What lies before the newest minute is kept summed up, while minutes come, pass without a trade, and grow old."""
    draw = Random(1)
    book = BookTicker(symbol=LTC, bid=ZERO, bid_qty=ZERO, ask=ZERO, ask_qty=ZERO)
    trades: list[RawTrade] = []
    asked, now = Tape(LTC, Decimal("0.01"), Decimal("0.001")), 1_750_000_000_000
    for number in range(1, 80):
        now += draw.choice((0, 1, 20_000, 61_000, 600_000, 30_000_000))
        price, qty = Decimal(draw.randrange(9_000, 11_000)).scaleb(-2), Decimal(draw.randrange(1, 9_999)).scaleb(-3)
        trades.append((number, price, qty, draw.random() < 0.5, now))
        asked.add_trade(trades[-1])
        told = asked.ticker(now, book)
        once = Tape(LTC, Decimal("0.01"), Decimal("0.001"))
        for trade in trades:
            once.add_trade(trade)
        day = [trade for trade in trades if trade[4] // 60_000 >= (now - 86_400_000) // 60_000]
        assert told == once.ticker(now, book)
        assert (told.volume, told.count) == (sum(trade[2] for trade in day), len(day))
        assert (told.first_id, told.last_id) == (day[0][0], number)


class TestKlines:
    def test_minutes_without_trades_repeat_the_close(self) -> None:
        client = Client(opening=None)
        client.trade("80.00", "1", buyer_is_maker=False)
        client.trade("81.00", "2")
        client.wait(2 * MINUTE)
        client.trade("79.00", "1")
        first, gap, last = client.engine.klines(LTC)
        assert (first.open, first.high, first.low, first.close) == (d(80), d(81), d(80), d(81))
        assert (first.volume, first.quote_volume, first.trades) == (d(3), d(242), 2)
        assert (first.taker_buy_volume, first.taker_buy_quote_volume) == (d(1), d(80))
        assert (gap.open, gap.close, gap.volume, gap.trades) == (d(81), d(81), d(0), 0)
        assert (last.open_time, last.close_time) == (T0 + 2 * MINUTE, T0 + 3 * MINUTE - 1)

    def test_longer_intervals_are_made_of_minutes_and_start_on_their_own_grid(self) -> None:
        client = Client(opening=None)
        for price in range(60, 75):
            client.trade(str(price), "1")
            client.wait(MINUTE)
        five = client.engine.klines(LTC, 5 * MINUTE)
        assert [(each.open, each.close, each.trades) for each in five] == [
            (d(60), d(64), 5),
            (d(65), d(69), 5),
            (d(70), d(74), 5),
        ]
        assert all(each.open_time % (5 * MINUTE) == 0 for each in five)
        assert [each.open for each in client.engine.klines(LTC, 5 * MINUTE, limit=2)] == [65, 70]
        assert [each.open for each in client.engine.klines(LTC, 7 * MINUTE, limit=1)] == [72]
        assert [each.open for each in client.engine.klines(LTC, 3 * MINUTE, start_time=T0 + 1, limit=2)] == [63, 66]
        assert [each.open for each in client.engine.klines(LTC, 5 * MINUTE, end_time=T0 + 5 * MINUTE)] == [60, 65]

    def test_minutes_are_forgotten_after_some_weeks(self) -> None:
        client = Client()
        for _ in range(3):
            client.wait(BARS_KEPT * MINUTE)
            client.trade("80.00")
            assert client.engine.klines(LTC, limit=1)[0].open == 80
        assert len(client.engine.klines(LTC, limit=10 * BARS_KEPT)) <= BARS_KEPT + BARS_KEPT // SPARE + 1

    @pytest.mark.parametrize("interval", [0, 1000, 90_000])
    def test_only_whole_minutes(self, interval: int) -> None:
        with refused(-1120, "Invalid interval."):
            Client().engine.klines(LTC, interval)

    def test_klines_of_the_demo_recording_add_up(self) -> None:
        client = Client(opening=None)
        volume = d(0)
        for trade in demo_trades():
            client.engine.on_trade(LTC, trade.trade_id, trade.price, trade.qty, trade.buyer_is_maker, trade.time)
            volume += trade.qty
        for interval in (1, 3, 5, 15, 60):
            klines = client.engine.klines(LTC, interval * MINUTE, limit=1000)
            assert len(klines) == 360 / interval
            assert sum(each.volume for each in klines) == volume
            assert sum(each.trades for each in klines) == 39_869
            assert (min(each.low for each in klines), max(each.high for each in klines)) == (d("78.60"), d("81.90"))


class TestPlayedKlines:
    def play(self, client: Client, path: KlinePath, volume: str = "10") -> None:
        client.engine.on_kline(LTC, T0, d(80), d(82), d(78), d(81), d(volume), path=path)

    @pytest.mark.parametrize(
        ("path", "prices"),
        [(KlinePath.LOW_FIRST, [80, 78, 82, 81]), (KlinePath.HIGH_FIRST, [80, 82, 78, 81])],
    )
    def test_four_prices_share_the_volume(self, path: KlinePath, prices: list[int]) -> None:
        client = Client(opening=None)
        self.play(client, path)
        trades = client.engine.recent_trades(LTC)
        assert [trade.price for trade in trades] == prices
        assert [trade.qty for trade in trades] == [d("2.5")] * 4
        assert [trade.time - T0 for trade in trades] == [0, 15_000, 30_000, 59_999]
        kline = client.engine.klines(LTC)[0]
        assert (kline.open, kline.high, kline.low, kline.close) == (d(80), d(82), d(78), d(81))
        assert kline.volume == 10

    def test_the_order_decides_which_leg_of_an_oco_goes(self) -> None:
        for path, winner in ((KlinePath.LOW_FIRST, 1), (KlinePath.HIGH_FIRST, 2)):
            client = Client()
            client.oco(SELL, "1", "81.50", "78.50", "77.00")
            self.play(client, path)
            assert client.order(winner).status is OrderStatus.FILLED

    def test_without_volume_nothing_traded(self) -> None:
        client = Client(opening=None)
        self.play(client, KlinePath.LOW_FIRST, volume="0")
        assert client.engine.last_price(LTC) is None

    def test_less_than_four_steps_of_volume_reach_the_close_at_least(self) -> None:
        client = Client(opening=None)
        self.play(client, KlinePath.LOW_FIRST, volume="0.003")
        assert [trade.price for trade in client.engine.recent_trades(LTC)] == [81]

    def test_a_kline_that_contradicts_itself_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="open 80 and close 90 must lie in 78 to 82"):
            Client().engine.on_kline(LTC, T0, d(80), d(82), d(78), d(90), d(1))


class TestTrades:
    def test_the_newest_or_from_somewhere_on(self) -> None:
        client = Client(opening=None)
        for price in range(70, 80):
            client.trade(str(price), "1")
            client.wait(10)
        find = client.engine.recent_trades
        assert [trade.trade_id for trade in find(LTC, limit=3)] == [8, 9, 10]
        assert [trade.trade_id for trade in find(LTC, from_id=3, limit=2)] == [3, 4]
        assert [trade.trade_id for trade in find(LTC, start_time=T0 + 15, end_time=T0 + 40)] == [3, 4, 5]

    def test_old_trades_are_forgotten_but_not_their_klines(self) -> None:
        client = Client(opening=None)
        price, qty = d(80), d(1)
        many = TRADES_KEPT + TRADES_KEPT // SPARE
        for number in range(many + 2):
            client.engine.on_trade(LTC, number, price, qty, True, T0 + number)
        assert client.engine.recent_trades(LTC, from_id=0, limit=1)[0].trade_id == many - TRADES_KEPT + 1
        assert sum(each.trades for each in client.engine.klines(LTC)) == many + 2


class TestAccountQueries:
    def test_orders_and_trades_by_time_and_id(self) -> None:
        client = Client()
        for _ in range(4):
            client.market(SELL, "1")
            client.wait(10)
        engine = client.engine
        assert [order.order_id for order in engine.all_orders(ME, LTC, limit=2)] == [3, 4]
        assert [order.order_id for order in engine.all_orders(ME, LTC, order_id=2, limit=2)] == [2, 3]
        window = engine.all_orders(ME, LTC, start_time=T0 + 5, end_time=T0 + 20)
        assert [order.order_id for order in window] == [2, 3]
        assert [fill.order_id for fill in engine.my_trades(ME, LTC, order_id=3)] == [3]
        assert [fill.trade_id for fill in engine.my_trades(ME, LTC, from_id=3)] == [3, 4]
        assert engine.my_trades(ME, LTC, order_id=99) == []
        assert engine.account_update_time(ME) == T0 + 30

    def test_open_orders_of_all_symbols_oldest_first(self) -> None:
        client = Client(rows=[row(), row("ETHUSDT")])
        client.trade("2500.00", symbol="ETHUSDT")
        client.limit(BUY, "0.1", "2000.00", symbol="ETHUSDT")
        client.limit(BUY, "1", "70.00")
        client.limit(BUY, "0.1", "2000.00", symbol="ETHUSDT")
        assert [order.order_id for order in client.engine.open_orders(ME)] == [1, 2, 3]
        assert [order.order_id for order in client.engine.open_orders(ME, "ETHUSDT")] == [1, 3]
        with refused(-1121):
            client.engine.open_orders(ME, "NOPE")

    def test_accounts_are_opened_once_with_what_they_have(self) -> None:
        client = Client()
        with pytest.raises(ValueError, match="open already"):
            client.engine.open_account(ME, {})
        with pytest.raises(ValueError, match="balance of USDT is -1"):
            client.engine.open_account("poor", {"USDT": d(-1)})
        with pytest.raises(KeyError, match="stranger"):
            client.engine.balances("stranger")
        assert [each.asset for each in client.engine.balances(ME)] == ["LTC", "USDT"]

    def test_new_filters_apply_to_new_orders(self) -> None:
        client = Client()
        client.limit(BUY, "1", "79.00")
        coarse = row(filters=[{"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "90", "stepSize": "1"}])
        client.engine.replace_symbol(Symbol.from_exchange_info(coarse))
        with refused(-1013, "Filter failure: LOT_SIZE"):
            client.limit(BUY, "1.5", "79.00")
        assert client.engine.symbol(LTC).lot.grid == 1
        assert [each.name for each in client.engine.symbols()] == [LTC]
