"""Margin accounts on the matching engine: loans, interest, levels, side effects, transfers, liquidation."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.paper.server.exchange_kit import symbol_row

from executor.core.model.values import OrderSide, OrderStatus, OrderType, TimeInForce
from executor.paper.engine.choices import (
    ExchangeChoices,
    InterestRounding,
    LoanBusy,
    LoanRecord,
    MarginFunds,
    RestTooSmall,
)
from executor.paper.engine.exchange import Engine
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.lending import HOUR_MS
from executor.paper.engine.margin.model import (
    Fate,
    InterestType,
    LevelChange,
    LevelStatus,
    LoanStatus,
    LoanType,
    SideEffect,
)
from executor.paper.engine.model import BalanceUpdate, Leg, NewOco, NewOrder, Placed, Reject
from executor.paper.engine.symbol import Symbol

D = Decimal
ME = "me"
PAIR = "BTCUSDT"
T0 = 1_750_532_400_000 // HOUR_MS * HOUR_MS + 60_000
ZERO = D(0)


class World:
    """An engine whose bitcoin stands at 60000 and ether at 3000, and one owner with a margin account."""

    def __init__(self, pair: str = PAIR, own: dict[str, str] | None = None, **choices: Any) -> None:
        rows = [symbol_row(), symbol_row("ETHUSDT", "ETH")]
        self.engine = Engine([Symbol.from_exchange_info(row) for row in rows], choices=ExchangeChoices(**choices))
        self.engine.open_account(ME, {"USDT": D(100_000), "BTC": D(10), "ETH": D(10)})
        self.margin = self.engine.margin
        self.now = T0
        self.trade("60000")
        self.trade("3000", "ETHUSDT")
        self.pair = pair
        for asset, amount in (own or {"USDT": "1000"}).items():
            kind = "MAIN_ISOLATED_MARGIN" if pair else "MAIN_MARGIN"
            self.margin.transfer(ME, kind, asset, D(amount), self.now, target=pair)
        self.account: MarginAccount = self.margin.account(ME, pair)

    def trade(self, price: str, symbol: str = PAIR) -> None:
        self.now += 1
        self.engine.on_trade(symbol, self.engine.next_trade_id(symbol), D(price), D(1000), True, self.now)

    def order(
        self, side: OrderSide, qty: str, price: str | None = None, effect: str = "NO_SIDE_EFFECT", **more: Any
    ) -> Placed:
        order = NewOrder(
            symbol=PAIR,
            side=side,
            type=OrderType.MARKET if price is None else OrderType.LIMIT,
            quantity=D(qty),
            price=None if price is None else D(price),
            time_in_force=None if price is None else TimeInForce.GTC,
        )
        return self.margin.place(
            self.account,
            order,
            SideEffect(effect),
            self.now,
            lambda: self.engine.place_order(self.account.money.name, order, self.now),
            **more,
        )[0]

    def borrow(self, asset: str, amount: str) -> Any:
        return self.margin.borrow(self.account, asset, D(amount), self.now)

    def repay(self, asset: str, amount: str | Decimal) -> Any:
        return self.margin.repay(self.account, asset, D(amount), self.now)

    def owed(self, asset: str) -> Decimal:
        return self.account.debt(asset).total

    def to_hour(self, hours: int = 1) -> None:
        self.now = (self.now // HOUR_MS + hours) * HOUR_MS
        self.margin.advance(self.now)

    def check_money(self) -> None:
        """What all accounts hold, the market and commissions got, and lenders lent, is what was paid in."""
        deposited = {"USDT": D(100_000), "BTC": D(10), "ETH": D(10)}
        for asset, amount in deposited.items():
            held = sum(
                (each.free.get(asset, ZERO) + each.locked.get(asset, ZERO) for each in self.engine._accounts.values()),
                ZERO,
            )
            paid = self.engine.commissions_paid().get(asset, ZERO) + self.engine.market_gain().get(asset, ZERO)
            assert held + paid - self.margin.lent.get(asset, ZERO) == amount, asset


def refused(code: int, act: Callable[[], object]) -> None:
    with pytest.raises(Reject) as told:
        act()
    assert told.value.code == code


@pytest.mark.parametrize("pair", ["", PAIR])
def test_a_loan_lands_in_free_and_owes_its_first_hour_at_once(pair: str) -> None:
    world = World(pair)
    record = world.borrow("BTC", "0.01")
    debt = world.account.debt("BTC")
    assert (world.account.free("BTC"), debt.principal, debt.interest) == (D("0.01"), D("0.01"), D("0.00000006"))
    assert (record.status, record.principal) == (LoanStatus.CONFIRMED, D("0.01"))
    (row,) = world.account.accruals
    assert (row.type, row.interest) == (InterestType.ON_BORROW, D("0.00000006"))
    world.check_money()


def test_each_full_hour_costs_another_however_short_it_was() -> None:
    world = World()
    world.now = T0 // HOUR_MS * HOUR_MS + HOUR_MS - 300_000  # 13:55
    world.borrow("BTC", "0.01")
    world.now += 600_000  # 14:05
    world.margin.advance(world.now)
    assert world.account.debt("BTC").interest == D("0.00000012"), "two hours, as the FAQ's example"
    world.to_hour(3)
    assert world.account.debt("BTC").interest == D("0.00000030")
    assert {row.type for row in world.account.accruals[1:]} == {InterestType.PERIODIC}


def test_interest_is_rounded_as_chosen() -> None:
    assert World(interest_rounding=InterestRounding.DOWN).borrow("BTC", "0.01").tran_id
    world = World(interest_rounding=InterestRounding.DOWN)
    world.borrow("BTC", "0.01")
    assert world.account.debt("BTC").interest == D("0.00000005")


def test_a_repayment_pays_interest_first() -> None:
    world = World(own={"USDT": "1000", "BTC": "0.01"})
    world.borrow("BTC", "0.01")
    record = world.repay("BTC", "0.005")
    assert (record.interest, record.principal) == (D("0.00000006"), D("0.00499994"))
    assert world.owed("BTC") == D("0.00500006")
    refused(-3015, lambda: world.repay("BTC", "0.00500007"))
    world.repay("BTC", world.owed("BTC"))
    assert not world.account.owes
    world.check_money()


def test_an_aborted_short_cannot_repay_its_interest_from_the_borrowed_coins_alone() -> None:
    world = World()
    world.borrow("BTC", "0.01")
    refused(-3041, lambda: world.repay("BTC", world.owed("BTC")))
    world.repay("BTC", "0.01")
    assert world.owed("BTC") == D("0.00000006")


@pytest.mark.parametrize(("choice", "code"), [(RestTooSmall.REFUSED, -3024), (RestTooSmall.REFUSED_AS_EXCESS, -3015)])
def test_a_rest_too_small_may_be_refused(choice: RestTooSmall, code: int) -> None:
    world = World(small_rest=choice)
    world.borrow("BTC", "0.01")
    refused(code, lambda: world.repay("BTC", "0.01"))
    assert world.owed("BTC") == D("0.01000006")


def test_no_more_is_lent_than_the_level_allows() -> None:
    world = World()
    most, _ = world.margin.most(world.account, "USDT")
    assert most == D(4000), "five times the own money: level 1.25 after the loan"
    refused(-3006, lambda: world.borrow("USDT", "4000.00000001"))
    world.borrow("USDT", "4000")
    assert world.margin.level(world.account) == D("1.24999218"), "the first hour's interest is owed as well"


def test_too_large_an_isolated_loan_may_have_a_code_of_its_own() -> None:
    refused(-11008, lambda: World(isolated_limit_own_code=True).borrow("USDT", "5000"))
    refused(-3006, lambda: World("", isolated_limit_own_code=True).borrow("USDT", "5000"))


def test_what_is_not_lent_is_refused_by_its_code() -> None:
    world = World()
    refused(-3027, lambda: world.borrow("ETH", "1"))
    refused(-3013, lambda: world.borrow("USDT", "0"))
    refused(-1111, lambda: world.borrow("USDT", "1.000000001"))
    world.margin.terms.min_borrow["USDT"] = D(10)
    refused(-3013, lambda: world.borrow("USDT", "9"))
    world.margin.terms.stock["USDT"] = D(20)
    refused(-3045, lambda: world.borrow("USDT", "21"))
    world.borrow("USDT", "20")
    refused(-3045, lambda: world.borrow("USDT", "10"))
    world.margin.terms.unborrowable.add("BTC")
    refused(-3012, lambda: world.borrow("BTC", "0.01"))
    world.account.borrow_enabled = False
    refused(-3014, lambda: world.borrow("BTC", "0.01"))
    world.account.repay_enabled = False
    refused(-3036, lambda: world.repay("USDT", "20"))
    world.account.repay_enabled = True
    world.margin.terms.min_repay["USDT"] = D(5)
    refused(-3016, lambda: world.repay("USDT", "4"))


def test_accounts_that_were_never_opened_are_told_apart() -> None:
    world = World("")
    refused(-11001, lambda: world.margin.account(ME, PAIR))
    refused(-3003, lambda: world.margin.account("nobody"))
    refused(-1121, lambda: world.margin.open(ME, "NOPE"))
    world.margin.terms.barred.add("ETHUSDT")
    refused(-3028, lambda: world.margin.open(ME, "ETHUSDT"))


def test_a_pending_loan_is_neither_money_nor_debt_until_it_is_settled() -> None:
    world = World(loan_record=LoanRecord.PENDING)
    record = world.borrow("BTC", "0.01")
    assert (record.status, world.account.free("BTC"), world.owed("BTC")) == (LoanStatus.PENDING, ZERO, ZERO)
    refused(-3007, lambda: world.borrow("USDT", "10"))
    world.now += 1000
    world.margin.advance(world.now)
    assert (record.status, world.account.free("BTC")) == (LoanStatus.CONFIRMED, D("0.01"))


def test_a_pending_loan_may_fail_and_then_nothing_has_changed() -> None:
    world = World()
    world.account.next_fates.append(Fate(pending_ms=5_000, fails=True))
    record = world.borrow("BTC", "0.01")
    world.now += 5_000
    world.margin.advance(world.now)
    assert (record.status, world.owed("BTC")) == (LoanStatus.FAILED, ZERO)
    assert world.borrow("BTC", "0.01").status is LoanStatus.CONFIRMED


def test_a_pending_repayment_fails_where_its_money_has_gone() -> None:
    world = World()
    world.borrow("BTC", "0.01")
    world.account.next_fates.append(Fate(pending_ms=1_000))
    record = world.repay("BTC", "0.005")
    world.order(OrderSide.SELL, "0.01")
    world.now += 1_000
    world.margin.advance(world.now)
    assert (record.status, world.owed("BTC")) == (LoanStatus.FAILED, D("0.01000006"))


def test_a_second_loan_within_a_tenth_of_a_second_may_be_too_soon() -> None:
    world = World(loan_busy=LoanBusy.BRIEFLY)
    world.borrow("BTC", "0.01")
    refused(-3007, lambda: world.borrow("BTC", "0.01"))
    world.now += 100
    world.borrow("BTC", "0.01")


def test_a_record_may_show_late() -> None:
    world = World(loan_record=LoanRecord.LATER)
    world.borrow("BTC", "0.01")
    assert world.margin.records(world.account, LoanType.BORROW, world.now) == []
    assert len(world.margin.records(world.account, LoanType.BORROW, world.now + 1_500)) == 1
    assert world.owed("BTC") > 0


def test_margin_buy_borrows_what_the_order_lacks_and_a_cancel_gives_it_back() -> None:
    world = World()
    placed = world.order(OrderSide.BUY, "0.05", "59000", "MARGIN_BUY", repays_at_cancel=True)
    assert world.account.debt("USDT").principal == D(1950)
    world.engine.cancel_order(world.account.money.name, PAIR, world.now, order_id=placed.order.order_id)
    world.margin.after(world.now)
    assert world.owed("USDT") == D("0.01218750"), "the interest of the hour stays"
    kept = world.order(OrderSide.BUY, "0.05", "59000", "MARGIN_BUY")
    world.engine.cancel_order(world.account.money.name, PAIR, world.now, order_id=kept.order.order_id)
    world.margin.after(world.now)
    assert world.owed("USDT") > 1900
    world.check_money()


def test_an_order_that_is_refused_takes_its_loan_with_it() -> None:
    world = World()
    world.engine.drain_events(world.account.money.name)
    refused(-1013, lambda: world.order(OrderSide.BUY, "0.05", "59000.001", "MARGIN_BUY"))
    assert (world.account.owes, world.account.records, world.account.accruals) == (False, [], [])
    assert not [e for e in world.engine.drain_events(world.account.money.name) if isinstance(e, BalanceUpdate)]
    assert world.account.free("USDT") == 1000
    world.check_money()


def test_auto_repay_repays_with_what_is_received() -> None:
    world = World()
    world.borrow("BTC", "0.01")
    world.order(OrderSide.SELL, "0.01")
    world.order(OrderSide.BUY, "0.01", "60001", "AUTO_REPAY")
    assert world.owed("BTC") == D("0.00001006"), "less its commission: an exact buy-back leaves a debt of dust"
    assert world.account.records[-1].origin == "AUTO"
    world.check_money()


def test_auto_borrow_repay_does_both() -> None:
    world = World()
    world.order(OrderSide.SELL, "0.02", None, "AUTO_BORROW_REPAY")
    assert world.account.debt("BTC").principal == D("0.02")
    world.order(OrderSide.BUY, "0.02004", None, "AUTO_BORROW_REPAY")
    assert not world.account.owes


def test_an_oco_may_borrow_for_its_dearer_leg() -> None:
    world = World()
    oco = NewOco(
        symbol=PAIR,
        side=OrderSide.BUY,
        quantity=D("0.05"),
        above=Leg(type=OrderType.STOP_LOSS, stop_price=D(61000)),
        below=Leg(type=OrderType.LIMIT_MAKER, price=D(59000)),
    )
    name = world.account.money.name
    _, borrowed = world.margin.place(
        world.account, oco, SideEffect.MARGIN_BUY, world.now, lambda: world.engine.place_oco(name, oco, world.now)
    )
    assert borrowed == ("USDT", D(2050))


def test_without_a_side_effect_an_order_needs_its_funds() -> None:
    refused(-2010, lambda: World().order(OrderSide.SELL, "0.01"))
    refused(-3041, lambda: World(margin_funds=MarginFunds.MARGIN_CODE).order(OrderSide.SELL, "0.01"))


def test_trading_may_be_barred() -> None:
    world = World("")
    world.margin.terms.barred.add(PAIR)
    refused(-3021, lambda: world.order(OrderSide.BUY, "0.001"))
    world.account.trade_enabled = False
    refused(-3022, lambda: world.order(OrderSide.BUY, "0.001"))


def test_the_level_is_worth_over_debt_and_none_without_a_debt() -> None:
    world = World()
    assert world.margin.level(world.account) is None
    world.borrow("BTC", "0.05")
    world.order(OrderSide.SELL, "0.05")
    level = world.margin.level(world.account)
    assert level is not None
    assert level.quantize(D("0.001")) == D("1.332"), "4000 less the commission over 3000"
    price = world.account.liquidation_price("BTC", "USDT", D("1.15"))
    assert D(69_400) < price < D(69_566), "as the example of the FAQ"


def test_a_long_is_liquidated_below_and_a_short_above() -> None:
    world = World()
    world.borrow("USDT", "2000")
    world.order(OrderSide.BUY, "0.049")
    price = world.account.liquidation_price("BTC", "USDT", D("1.15"))
    assert price < 60000
    assert World().account.liquidation_price("BTC", "USDT", D("1.15")) == 0


def test_levels_are_told_and_at_the_last_the_account_is_liquidated() -> None:
    world = World("")
    world.borrow("BTC", "0.03")
    world.order(OrderSide.SELL, "0.03")
    world.order(OrderSide.BUY, "0.01", "50000")
    for price in ("70000", "74000", "86000"):
        world.trade(price)
    told = [event.status for event in world.account.risk if isinstance(event, LevelChange)]
    assert told == [
        LevelStatus.NORMAL,
        LevelStatus.MARGIN_CALL,
        LevelStatus.FORCE_LIQUIDATION,
        LevelStatus.EXCESSIVE,
    ]
    assert not world.account.owes
    assert world.engine.open_orders(world.account.money.name) == []
    (gone,) = [order for order in world.engine.all_orders(world.account.money.name, PAIR) if order.price == 50000]
    assert gone.status is OrderStatus.EXPIRED
    (row,) = world.account.liquidations
    assert (row.side, row.executed_qty) == ("BUY", D("0.03007"))
    assert world.account.bad_debts == {}
    world.check_money()


def test_what_a_liquidation_cannot_pay_is_written_off_and_kept() -> None:
    world = World()
    world.borrow("BTC", "0.06")
    world.order(OrderSide.SELL, "0.06")
    world.trade("90000")
    assert not world.account.owes
    assert world.account.bad_debts["BTC"] > 0
    assert world.account.free("USDT") < 1
    world.check_money()


def test_a_long_that_is_liquidated_keeps_what_is_left() -> None:
    world = World()
    world.borrow("USDT", "3000")
    world.order(OrderSide.BUY, "0.066")
    world.trade("51500")
    assert not world.account.owes
    assert world.account.held("BTC") < D("0.00001")
    assert world.account.free("USDT") > 0
    world.check_money()


def test_a_liquidation_may_be_forced_at_any_time() -> None:
    world = World()
    world.account.next_fates.append(Fate(pending_ms=10_000))
    world.borrow("USDT", "100")
    world.margin.liquidate(world.account, world.now)
    assert world.account.records[-1].status is LoanStatus.FAILED
    world.borrow("USDT", "100")
    world.margin.liquidate(world.account, world.now)
    assert not world.account.owes
    world.check_money()


def test_an_index_price_may_stray_from_the_market() -> None:
    world = World()
    world.borrow("BTC", "0.05")
    world.order(OrderSide.SELL, "0.05")
    world.margin.prices.set(PAIR, D(90000))
    world.margin.watch(world.now)
    assert not world.account.owes
    world.margin.prices.set(PAIR, None)
    assert world.margin.prices.of(PAIR) == 60000


def test_interest_may_be_taken_in_bnb() -> None:
    rows = [symbol_row(), symbol_row("BNBUSDT", "BNB")]
    engine = Engine([Symbol.from_exchange_info(row) for row in rows])
    engine.open_account(ME, {"USDT": D(1000), "BNB": D(1)})
    engine.on_trade(PAIR, 1, D(60000), D(1), True, T0)
    engine.on_trade("BNBUSDT", 1, D(600), D(1), True, T0)
    for asset, amount in (("USDT", "1000"), ("BNB", "0.00001")):
        engine.margin.transfer(ME, "MAIN_MARGIN", asset, D(amount), T0)
    account = engine.margin.account(ME)
    account.in_bnb = True
    engine.margin.borrow(account, "BTC", D("0.01"), T0)
    assert (account.debt("BTC").interest, account.free("BNB")) == (ZERO, D("0.000004"))
    assert account.accruals[0].type is InterestType.ON_BORROW_CONVERTED
    engine.margin.charge(account, T0, 1)
    assert account.debt("BTC").interest == D("0.00000006"), "there is not enough BNB left"


def test_transfers_open_accounts_and_leave_the_level_alone() -> None:
    world = World()
    refused(-1102, lambda: world.margin.transfer(ME, "MAIN_MOON", "USDT", D(1), world.now))
    refused(-1102, lambda: world.margin.transfer(ME, "MAIN_ISOLATED_MARGIN", "USDT", D(1), world.now))
    refused(-3027, lambda: world.margin.transfer(ME, "MAIN_ISOLATED_MARGIN", "ETH", D(1), world.now, target=PAIR))
    refused(-3041, lambda: world.margin.transfer(ME, "MAIN_MARGIN", "USDT", D(1_000_000), world.now))
    refused(-3003, lambda: world.margin.transfer(ME, "MARGIN_MAIN", "USDT", D(1), world.now))
    refused(-1111, lambda: world.margin.transfer(ME, "MAIN_MARGIN", "USDT", D(0), world.now))
    world.borrow("USDT", "500")
    assert world.margin.transferable(world.account, "USDT") == D("499.99375000")
    refused(-3020, lambda: world.margin.transfer(ME, "ISOLATED_MARGIN_MAIN", "USDT", D(500), world.now, source=PAIR))
    world.margin.transfer(ME, "ISOLATED_MARGIN_MAIN", "USDT", D(499), world.now, source=PAIR)
    assert [row.type for row in world.account.transfers] == ["MAIN_ISOLATED_MARGIN", "ISOLATED_MARGIN_MAIN"]
    world.account.transfer_in_enabled = False
    refused(-3018, lambda: world.margin.transfer(ME, "MAIN_ISOLATED_MARGIN", "USDT", D(1), world.now, target=PAIR))
    world.account.transfer_out_enabled = False
    refused(-3005, lambda: world.margin.transfer(ME, "ISOLATED_MARGIN_MAIN", "USDT", D(1), world.now, source=PAIR))
    world.check_money()


def test_worth_is_told_by_any_market_that_leads_there() -> None:
    rows = [symbol_row("ETHBTC", "ETH", "BTC"), symbol_row()]
    engine = Engine([Symbol.from_exchange_info(row) for row in rows])
    prices = engine.margin.prices
    assert (prices.worth("BTC"), prices.worth("ETH"), prices.worth("XRP")) == (D(60_000), ZERO, ZERO)
    engine.on_trade("ETHBTC", 1, D("0.05"), D(1), True, T0)
    engine.on_trade(PAIR, 1, D(50000), D(1), True, T0)
    assert (prices.worth("ETH"), prices.worth("BTC")) == (D(2500), D(50000))


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["borrow", "repay", "buy", "sell", "hour", "price", "liquidate", "transfer"]),
        st.sampled_from(["BTC", "USDT"]),
        st.decimals("0.00000001", "1", places=8),
    ),
    max_size=25,
)


@given(ACTS, st.sampled_from(["", PAIR]))
def test_whatever_is_done_every_unit_is_accounted_for(acts: list[tuple[str, str, Decimal]], pair: str) -> None:
    world = World(pair, {"USDT": "5000", "BTC": "0.1"})
    for what, asset, part in acts:
        try:
            if what == "borrow":
                world.borrow(asset, str((part * (5 if asset == "BTC" else 5000)).quantize(D("1E-8"))))
            elif what == "repay":
                world.repay(asset, (world.owed(asset) * part).quantize(D("1E-8")))
            elif what in ("buy", "sell"):
                side = OrderSide.BUY if what == "buy" else OrderSide.SELL
                effect = ("NO_SIDE_EFFECT", "MARGIN_BUY", "AUTO_REPAY", "AUTO_BORROW_REPAY")[int(part * 1000) % 4]
                qty = f"{part.quantize(D('0.00001')):f}"
                price = None if asset == "BTC" else str(int(55000 + part * 10000))
                world.order(side, qty, price, effect, repays_at_cancel=part > D("0.5"))
            elif what == "hour":
                world.to_hour()
            elif what == "price":
                world.trade(str(int(30000 + part * 60000)))
            elif what == "liquidate":
                world.margin.liquidate(world.account, world.now)
            else:
                kind = "ISOLATED_MARGIN_MAIN" if pair else "MARGIN_MAIN"
                world.margin.transfer(ME, kind, asset, part, world.now, source=pair)
        except Reject:
            pass
        world.check_money()
        for asset_ in ("BTC", "USDT"):
            debt = world.account.debt(asset_)
            assert debt.principal >= 0
            assert debt.interest >= 0
            assert world.account.free(asset_) >= 0
