"""The margin account over real sockets: whose it is on every request, what is lent, what is in doubt (rule 11)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.exchange.stub import Say, Seen, Stub, error, signed_well

from executor.core.model.facts import NotTried, Refused, Unknown, Why
from executor.core.model.intents import NewOrder
from executor.core.model.loans import Booked, Debt, LoanKind
from executor.core.model.values import OrderSide, OrderType
from executor.exchange import port
from executor.exchange.binance import BinanceExchange
from executor.exchange.margin import MarginExchange
from executor.exchange.wire.margin import Account

D = Decimal
ASSET = {"free": "1", "locked": "0", "borrowed": "0", "interest": "0"}
PAIR = {
    "assets": [
        {
            "symbol": "BTCUSDT",
            "indexPrice": "100",
            "marginLevel": "1.5",
            "liquidatePrice": "80",
            "baseAsset": {**ASSET, "asset": "BTC"},
            "quoteAsset": {**ASSET, "asset": "USDT", "borrowed": "200", "interest": "0.002"},
        }
    ]
}


@pytest.fixture
def margin(exchange: BinanceExchange) -> MarginExchange:
    return MarginExchange(exchange.connection, exchange.symbol, account=Account(exchange.symbol))


def test_it_is_what_the_port_wants_of_a_margin_account(margin: MarginExchange) -> None:
    as_port: port.MarginExchange = margin
    assert isinstance(as_port, port.MarginExchange)


async def test_a_loan_names_its_account_is_signed_and_sent_once(stub: Stub, margin: MarginExchange) -> None:
    stub.script("POST /sapi/v1/margin/borrow-repay", Say(json={"tranId": 77}))
    assert await margin.borrow("USDT", D("201.50")) == Booked(77)
    seen = stub.seen[-1]
    assert seen.path.endswith("/sapi/v1/margin/borrow-repay")
    assert {name: seen.params[name] for name in ("asset", "amount", "type", "isIsolated", "symbol")} == {
        "asset": "USDT",
        "amount": "201.50",
        "type": "BORROW",
        "isIsolated": "TRUE",
        "symbol": margin.symbol,
    }
    assert signed_well(seen)


@pytest.mark.parametrize(
    "say",
    [
        Say(cut=True),
        Say(status=503, text=""),
        Say(text="<html>", content_type="text/html"),
        Say(json={}),
        error(400, -3000, "Inner error."),
        error(400, -3044, "System is busy now."),
        error(400, -1007, "Timeout."),
    ],
)
async def test_what_does_not_say_whether_it_was_lent_leaves_it_in_doubt_and_is_not_repeated(
    stub: Stub, margin: MarginExchange, say: Say
) -> None:
    stub.script("POST /sapi/v1/margin/borrow-repay", say)
    assert isinstance(await margin.repay("USDT", D(1)), Unknown)
    assert stub.count("POST /sapi/v1/margin/borrow-repay") == 1


async def test_a_refusal_is_one(stub: Stub, margin: MarginExchange) -> None:
    stub.script("POST /sapi/v1/margin/borrow-repay", error(400, -3045, "The system does not have enough asset now."))
    outcome = await margin.borrow("USDT", D(1))
    assert isinstance(outcome, Refused)
    assert (outcome.why, outcome.code) == (Why.NOT_LENT, -3045)


async def test_account_records_and_bounds_are_read(stub: Stub, margin: MarginExchange) -> None:
    stub.script("GET /sapi/v1/margin/isolated/account", Say(json=PAIR))
    account = await margin.margin_account()
    assert account.debts == {"USDT": Debt(D(200), D("0.002"))}
    assert stub.seen[-1].params["symbols"] == margin.symbol
    row = {"txId": 7, "asset": "USDT", "amount": "1", "status": "CONFIRMED", "timestamp": 5, "type": "MANUAL"}
    stub.script("GET /sapi/v1/margin/borrow-repay", Say(json={"rows": [row], "total": 1}))
    (record,) = await margin.loan_records(LoanKind.REPAY, "USDT", 4)
    assert (record.tran_id, record.kind) == (7, LoanKind.REPAY)
    stub.script("GET /sapi/v1/margin/maxBorrowable", Say(json={"amount": "12.5", "borrowLimit": "60"}))
    assert await margin.borrowable("USDT") == D("12.5")
    stub.script("GET /sapi/v1/margin/forceLiquidationRec", Say(json={"rows": [], "total": 0}))
    assert await margin.liquidations(3) == ()
    assert all(seen.params["isolatedSymbol"] == margin.symbol for seen in stub.seen[-3:])


async def test_a_replacement_is_not_tried(stub: Stub, margin: MarginExchange) -> None:
    before = len(stub.seen)
    order = NewOrder(id="EX_1_SL_1", side=OrderSide.SELL, type=OrderType.MARKET, qty=D(1))
    outcome = await margin.replace("EX_1_SL_0", order)
    assert isinstance(outcome.cancel, Refused)
    assert outcome.place == NotTried()
    assert len(stub.seen) == before


async def test_loans_take_nothing_of_spots_request_weight(stub: Stub, margin: MarginExchange) -> None:
    stub.script("POST /sapi/v1/margin/borrow-repay", Say(json={"tranId": 77}))
    before = margin.connection.budget.used
    await margin.borrow("USDT", D(1))
    assert margin.connection.budget.used == before


OTHER_PRICE = {"symbol": "LTCUSDT", "bidPrice": "99", "askPrice": "101", "lastPrice": "100"}


@pytest.mark.parametrize(
    "say",
    [Say(json=OTHER_PRICE), Say(status=503, text=""), Say(text="<html>"), Say(cut=True), Say(hang=9)],
    ids=["another symbol's", "overloaded", "no JSON", "cut", "silence"],
)
async def test_a_cross_account_is_reckoned_by_its_own_assets_where_no_price_of_bitcoin_can_be_had(
    stub: Stub, exchange: BinanceExchange, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once no signal was taken for as long as that lasted."""
    monkeypatch.setattr("executor.exchange.margin.PRICES_WITHIN_S", 1)
    assert exchange.shown is not None
    margin = MarginExchange(exchange.connection, "LTCUSDT", account=Account())
    margin.shown = replace(exchange.shown, base="LTC")

    def price(seen: Seen) -> Say:
        return Say(json=OTHER_PRICE) if seen.params["symbol"] == "LTCUSDT" else say

    for path in ("24hr", "bookTicker", "price"):
        stub.script(f"GET ticker/{path}", *[price] * 6)
    account = await margin.margin_account()
    assert (account.price, account.assets, account.liabilities) == (D(100), D(1000), D(0))
