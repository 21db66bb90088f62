"""Margin on the wire: every request says whose account it is for; answers as Binance's documents show them."""

from decimal import Decimal

import msgspec
import pytest

from executor.core.model.facts import Balance, OrderReport, Why
from executor.core.model.intents import NewOrder
from executor.core.model.loans import Booked, Debt, LoanKind, RecordStatus
from executor.core.model.values import OrderSide, OrderStatus, OrderType, TimeInForce
from executor.exchange.wire import margin
from executor.exchange.wire import margin_terms as terms
from executor.exchange.wire.margin import Account
from executor.exchange.wire.outcomes import DOUBT, Fault, verdict

D = Decimal
PAIR, CROSS = Account("BTCUSDT"), Account()
TARGET = NewOrder(id="EX_1_TP1_2", side=OrderSide.BUY, type=OrderType.LIMIT_MAKER, qty=D("0.01002"), price=D(58_000))
STOP = NewOrder(
    id="EX_1_SL1_3",
    side=OrderSide.BUY,
    type=OrderType.STOP_LOSS_LIMIT,
    qty=D("0.01002"),
    price=D("61100.5"),
    stop_price=D(61_000),
    time_in_force=TimeInForce.GTC,
)
HELD = {"free": "1.5", "locked": "0.5", "borrowed": "0.00000000", "interest": "0.00000000"}


def test_every_request_says_whose_account_it_is_for() -> None:
    for account, flag in ((PAIR, "TRUE"), (CROSS, "FALSE")):
        asked = (
            margin.place(account, "BTCUSDT", STOP),
            margin.oco(account, "BTCUSDT", "EX_1_OCO1_1", TARGET, STOP),
            margin.about(account, "BTCUSDT", origClientOrderId="EX_1_SL_1"),
            margin.lend(account, LoanKind.BORROW, "BTC", D("0.01")),
        )
        assert [params["isIsolated"] for params in asked] == [flag] * len(asked)


def test_loans_name_the_pair_of_an_isolated_account_and_none_of_the_cross_one() -> None:
    assert margin.lend(PAIR, LoanKind.REPAY, "USDT", D("1E+2")) == {
        "asset": "USDT",
        "amount": "100",
        "type": "REPAY",
        "isIsolated": "TRUE",
        "symbol": "BTCUSDT",
    }
    assert "symbol" not in margin.lend(CROSS, LoanKind.REPAY, "USDT", D(100))
    since = margin.records_since(PAIR, LoanKind.BORROW, "BTC", 17)
    assert since["isolatedSymbol"] == "BTCUSDT"
    assert "isolatedSymbol" not in margin.records_since(CROSS, LoanKind.BORROW, "BTC", 17)


def test_an_order_has_no_side_effect() -> None:
    for params in (margin.place(CROSS, "BTCUSDT", STOP), margin.oco(CROSS, "BTCUSDT", "L", TARGET, STOP)):
        assert (params["sideEffectType"], params["autoRepayAtCancel"]) == ("NO_SIDE_EFFECT", "FALSE")


def test_an_order_list_has_the_older_form_with_our_ids() -> None:
    params = margin.oco(PAIR, "BTCUSDT", "EX_1_OCO1_1", TARGET, STOP)
    assert params == {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "quantity": "0.01002",
        "listClientOrderId": "EX_1_OCO1_1",
        "limitClientOrderId": "EX_1_TP1_2",
        "price": "58000",
        "stopClientOrderId": "EX_1_SL1_3",
        "stopPrice": "61000",
        "stopLimitPrice": "61100.5",
        "stopLimitTimeInForce": "GTC",
        "newOrderRespType": "FULL",
        "isIsolated": "TRUE",
        "sideEffectType": "NO_SIDE_EFFECT",
        "autoRepayAtCancel": "FALSE",
    }


def test_a_list_of_orders_that_do_not_belong_together_is_not_written() -> None:
    with pytest.raises(ValueError, match="differ in side or quantity"):
        margin.oco(PAIR, "BTCUSDT", "L", TARGET, msgspec.structs.replace(STOP, qty=D(1)))
    with pytest.raises(ValueError, match="lacks a price"):
        margin.oco(PAIR, "BTCUSDT", "L", msgspec.structs.replace(TARGET, price=None), STOP)


def test_the_account_of_a_pair() -> None:
    body = msgspec.json.encode(
        {
            "assets": [
                {
                    "symbol": "BTCUSDT",
                    "indexPrice": "60000.00000000",
                    "marginLevel": "1.33333000",
                    "liquidatePrice": "69565.00000000",
                    "baseAsset": {**HELD, "asset": "BTC", "free": "0", "locked": "0", "borrowed": "0.05"},
                    "quoteAsset": {**HELD, "asset": "USDT", "free": "3900", "locked": "100"},
                }
            ]
        }
    )
    account = margin.isolated_account(body, "BTCUSDT", 7)
    assert account.balances == {"USDT": Balance(D(3_900), D(100))}
    assert account.debts == {"BTC": Debt(D("0.05"))}
    assert (account.assets, account.liabilities, account.price) == (D(4_000), D(3_000), D(60_000))
    assert (account.level, account.liquidation_price) == (D("1.33333"), D(69_565))
    with pytest.raises(margin.NoAccountError, match="no isolated account of LTCUSDT"):
        margin.isolated_account(body, "LTCUSDT", 7)


def test_without_a_debt_an_account_has_no_level() -> None:
    body = msgspec.json.encode(
        {
            "assets": [
                {
                    "symbol": "BTCUSDT",
                    "indexPrice": "60000",
                    "marginLevel": "0.00000000",
                    "liquidatePrice": "0.00000000",
                    "baseAsset": {**HELD, "asset": "BTC"},
                    "quoteAsset": {**HELD, "asset": "USDT"},
                }
            ]
        }
    )
    account = margin.isolated_account(body, "BTCUSDT", 7)
    assert (account.level, account.liquidation_price, account.debts) == (None, None, {})


def test_the_cross_account_in_the_quote_of_the_symbol() -> None:
    body = msgspec.json.encode(
        {
            "marginLevel": "2.5",
            "totalAssetOfBtc": "0.5",
            "totalLiabilityOfBtc": "0.2",
            "userAssets": [{**HELD, "asset": "USDT", "borrowed": "12000", "interest": "0.1"}],
        }
    )
    account = margin.cross_account(margin.cross(body), 7, price=D(100), btc_price=D(60_000))
    assert (account.assets, account.liabilities, account.level) == (D(30_000), D(12_000), D("2.5"))
    assert account.debt("USDT").total == D("12000.1")
    unowed = margin.cross(body.replace(b'"0.2"', b'"0"'))
    assert margin.cross_account(unowed, 7, price=D(100), btc_price=D(60_000)).level is None
    with pytest.raises(margin.NoAccountError):
        margin.cross(body.replace(b'"marginLevel"', b'"created": false, "marginLevel"'))


def test_an_isolated_account_without_its_level_has_none_not_the_worst() -> None:
    owing = HELD | {"borrowed": "500"}
    pair = {
        "symbol": "BTCUSDT",
        "baseAsset": HELD | {"asset": "BTC"},
        "quoteAsset": owing | {"asset": "USDT"},
        "indexPrice": "1000",
    }
    account = margin.isolated_account(msgspec.json.encode({"assets": [pair]}), "BTCUSDT", 1)
    assert account.level is None
    assert account.assets / account.liabilities > 4


@pytest.mark.parametrize("told", ["0", 0, "0.00000000", None])
def test_a_level_of_nothing_is_none(told: object) -> None:
    """Taken for one, it would end the trade at market."""
    owing = {**HELD, "asset": "USDT", "borrowed": "12000"}
    body = {"marginLevel": told or "0", "totalAssetOfBtc": "0.5", "totalLiabilityOfBtc": "0.2", "userAssets": [owing]}
    shown = margin.cross(msgspec.json.encode(body))
    account = margin.cross_account(shown, 7, price=D(100), btc_price=D(60_000))
    assert (account.level, account.liabilities) == (None, D(12_000))
    pair = {"symbol": "BTCUSDT", "baseAsset": {**HELD, "asset": "BTC"}, "quoteAsset": owing, "indexPrice": "1000"}
    answer = msgspec.json.encode({"assets": [{**pair, "marginLevel": told}]})
    assert margin.isolated_account(answer, "BTCUSDT", 1).level is None


@pytest.mark.parametrize("held", [[], [{**HELD, "asset": "USDT"}]])
def test_an_account_that_owes_something_and_of_no_asset_is_not_read(held: list[dict[str, str]]) -> None:
    """A debt that is gone is somebody else's doing, and ends a short."""
    body = {"marginLevel": "2", "totalAssetOfBtc": "0.5", "totalLiabilityOfBtc": "0.2", "userAssets": held}
    with pytest.raises(msgspec.DecodeError):
        margin.cross(msgspec.json.encode(body))
    assert margin.cross(msgspec.json.encode({**body, "totalLiabilityOfBtc": "0"})).user_assets is not None


@pytest.mark.parametrize("body", [b"{}", b'{"total":1}', b'{"rows":null}', b'{"total":null}'])
def test_a_list_that_is_left_out_is_no_proof_that_nothing_is_in_it(body: bytes) -> None:
    """Rules 11.3, 11.11: by these lists a loan never was, and a position was not liquidated."""
    with pytest.raises(msgspec.DecodeError):
        margin.records(body, LoanKind.BORROW)
    with pytest.raises(msgspec.DecodeError):
        margin.liquidations(body, PAIR)
    assert not margin.records(b'{"total":0}', LoanKind.BORROW)
    assert not margin.liquidations(b'{"total":0}', PAIR)


def test_loans_their_records_and_what_may_be_borrowed() -> None:
    assert margin.booked(b'{"tranId": 100000001}') == Booked(100000001)
    (row,) = margin.records(
        b'{"rows": [{"txId": 12, "asset": "BTC", "amount": "0.01000006", "principal": "0.01", "interest": "0.00000006",'
        b' "status": "PENDING", "timestamp": 9, "type": "AUTO"}], "total": 1}',
        LoanKind.REPAY,
        PAIR,
    )
    assert (row.tran_id, row.status, row.manual) == (12, RecordStatus.PENDING, False)
    assert row.principal + row.interest == row.amount
    assert margin.borrowable(b'{"amount": "1.69248805", "borrowLimit": "60"}') == D("1.69248805")


def test_a_record_is_of_the_account_that_it_names_and_not_settled_in_words_that_nobody_knows() -> None:
    row = {
        "txId": "1",
        "asset": "BTC",
        "amount": 2,
        "status": "CONFIRMED",
        "timestamp": "9",
        "isolatedSymbol": "BTCUSDT",
    }
    rows = [row, {**row, "txId": 2, "isolatedSymbol": "LTCUSDT"}, {**row, "txId": 3, "isolatedSymbol": ""}]
    rows.append({key: value for key, value in row.items() if key != "isolatedSymbol"} | {"txId": 4, "status": "NOVEL"})
    body = msgspec.json.encode({"rows": rows, "total": 4})
    found = margin.records(body, LoanKind.BORROW, PAIR)
    assert [(each.tran_id, each.status) for each in found] == [(1, RecordStatus.CONFIRMED), (4, RecordStatus.PENDING)]
    assert [each.tran_id for each in margin.records(body, LoanKind.BORROW, CROSS)] == [3, 4]


def test_a_liquidation_is_of_the_account_that_its_row_names() -> None:
    rows = (
        b'{"rows": [{"symbol": "BTCUSDT", "updatedTime": 5},'
        b' {"symbol": "BTCUSDT", "updatedTime": 6, "isIsolated": true},'
        b' {"symbol": "LTCUSDT", "updatedTime": "7", "isIsolated": "true"},'
        b' {"symbol": "LTCUSDT", "updatedTime": 8, "isIsolated": false}], "total": 4}'
    )
    assert margin.liquidations(rows, PAIR) == (5, 6)
    assert margin.liquidations(rows, CROSS) == (5, 8)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>"])
def test_what_is_no_answer_is_not_read(body: bytes) -> None:
    for read in (margin.booked, margin.borrowable):
        with pytest.raises(msgspec.DecodeError):
            read(body)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (-3000, DOUBT),
        (-3044, DOUBT),
        (-3003, Why.NOT_ALLOWED),
        (-3006, Why.NOT_LENT),
        (-3007, Why.LOAN_BUSY),
        (-3012, Why.NOT_LENT),
        (-3015, Why.DEBT_SUM),
        (-3016, Why.LOAN_MINIMUM),
        (-3024, Why.DEBT_SUM),
        (-3036, Why.NOT_ALLOWED),
        (-3041, Why.INSUFFICIENT_BALANCE),
        (-3045, Why.NOT_LENT),
        (-11001, Why.NOT_ALLOWED),
        (-11008, Why.NOT_LENT),
    ],
)
def test_codes_of_margin_are_refusals_of_their_kind_or_leave_in_doubt(code: int, why: object) -> None:
    assert verdict(400, Fault(code, "")) is why


def report(own_id: str, kind: OrderType, list_id: int = -1) -> OrderReport:
    return OrderReport(
        id=own_id,
        exchange_id=1,
        side=OrderSide.SELL,
        type=kind,
        status=OrderStatus.NEW,
        qty=D(1),
        list_exchange_id=list_id,
    )


def test_where_the_exchange_does_not_tell_of_which_list_an_order_is_our_ids_do() -> None:
    target, stop = report("EX_1_TP1_3", OrderType.LIMIT_MAKER), report("EX_1_SL1_4", OrderType.STOP_LOSS_LIMIT)
    other = report("EX_1_TP2_6", OrderType.LIMIT_MAKER), report("EX_1_SL2_7", OrderType.STOP_LOSS_LIMIT)
    found = [each.list_exchange_id for each in margin.with_lists((target, stop, *other))]
    assert found[0] == found[1] >= 0
    assert found[2] == found[3] >= 0
    assert found[0] != found[2]
    (alone,) = margin.with_lists((target,))  # its stop side is gone: it has begun to fill
    assert alone.list_exchange_id >= 0
    single = report("EX_1_SL1_9", OrderType.STOP_LOSS_LIMIT), report("EX_1_TP1_3", OrderType.LIMIT)
    foreign, told = report("web_1", OrderType.LIMIT_MAKER), report("EX_1_TP1_3", OrderType.LIMIT_MAKER, 77)
    for one in (*single, foreign, told):
        assert margin.with_lists((one,)) == (one,)


def test_without_a_price_of_bitcoin_the_account_is_reckoned_by_the_symbol_s_own_assets() -> None:
    held = [
        {**HELD, "asset": "USDT", "free": "80", "borrowed": "20", "interest": "0.5"},
        {**HELD, "asset": "LTC", "free": "1"},
        {**HELD, "asset": "DOGE", "free": "1000"},
    ]
    body = {"marginLevel": "8", "totalAssetOfBtc": "1", "totalLiabilityOfBtc": "0.1", "userAssets": held}
    shown = margin.cross(msgspec.json.encode(body))
    account = margin.cross_account_of_two(shown, 7, base="LTC", quote="USDT", price=D(100))
    assert account is not None
    assert (account.assets, account.liabilities, account.level) == (D("230.5"), D("20.5"), D(8))
    assert margin.cross_account_of_two(shown, 7, base="LTC", quote="BUSD", price=D(100)) is None


def pair(**changes: object) -> bytes:
    row = {
        "symbol": "BTCUSDT",
        "indexPrice": "1000",
        "marginLevel": "1.5",
        "liquidatePrice": "0.00000000",
        "baseAsset": HELD | {"asset": "BTC", "free": "1", "locked": "0"},
        "quoteAsset": HELD | {"asset": "USDT", "free": "0", "locked": "0", "borrowed": "500"},
    }
    return msgspec.json.encode({"assets": [row | changes]})


def test_a_level_of_zero_of_an_account_that_owns_something_is_no_level() -> None:
    """The documents' sample shows it; believed, it would close the trade at market."""
    account = margin.isolated_account(pair(marginLevel="0.00000000"), "BTCUSDT", 7)
    assert account.level is None
    assert (account.assets, account.liabilities) == (D(1_000), D(500))


def test_without_an_index_price_the_level_is_told_and_nothing_is_reckoned() -> None:
    account = margin.isolated_account(pair(indexPrice="0.00000000"), "BTCUSDT", 7)
    assert (account.level, account.price, account.assets, account.liabilities) == (D("1.5"), D(0), D(0), D(0))
    assert account.debt("USDT").total == D(500)
    assert account.free("BTC") == D(1)


def test_without_prices_the_cross_account_tells_its_level_and_its_debts() -> None:
    held = [{**HELD, "asset": "USDT", "borrowed": "20"}, {**HELD, "asset": "LTC"}]
    body = {"marginLevel": "1.2", "totalAssetOfBtc": "1", "totalLiabilityOfBtc": "0.1", "userAssets": held}
    account = margin.cross_account_without_prices(margin.cross(msgspec.json.encode(body)), 7)
    assert (account.level, account.price, account.liabilities) == (D("1.2"), D(0), D(0))
    assert account.debt("USDT").total == D(20)
    unowed = msgspec.json.encode({**body, "marginLevel": "999", "totalLiabilityOfBtc": "0", "userAssets": held[1:]})
    assert margin.cross_account_without_prices(margin.cross(unowed), 7).level is None


@pytest.mark.parametrize("told", ["-1", "", "N/A", "Infinity", "NaN", "1e999", True, {}, [1], "\u221e"])
def test_a_level_or_a_price_that_can_be_none_is_not_told_and_hides_no_debt(told: object) -> None:
    """A level below nothing would close the trade; one in other words would hide what is owed."""
    account = margin.isolated_account(pair(marginLevel=told, liquidatePrice=told), "BTCUSDT", 7)
    assert (account.level, account.liquidation_price, account.liabilities) == (None, None, D(500))
    account = margin.isolated_account(pair(indexPrice=told), "BTCUSDT", 7)
    assert (account.level, account.price, account.debt("USDT").total) == (D("1.5"), D(0), D(500))
    held = [{**HELD, "asset": "USDT", "borrowed": "20"}]
    body = {"marginLevel": told, "totalAssetOfBtc": "1", "totalLiabilityOfBtc": "0.1", "userAssets": held}
    shown = margin.cross(msgspec.json.encode(body))
    assert margin.cross_account(shown, 7, price=D(100), btc_price=D(60_000)).level is None


def test_a_debt_below_nothing_and_one_that_is_told_twice_are_not_believed() -> None:
    """A debt that is gone is somebody else's doing, and ends a short."""
    for changed in ({"borrowed": "-500"}, {"interest": "-0.00000001"}):
        owed = HELD | {"asset": "USDT", "borrowed": "500"} | changed
        with pytest.raises(msgspec.DecodeError):
            margin.isolated_account(pair(quoteAsset=owed), "BTCUSDT", 7)
        body = {"marginLevel": "2", "totalAssetOfBtc": "1", "totalLiabilityOfBtc": "0.1", "userAssets": [owed]}
        with pytest.raises(msgspec.DecodeError):
            margin.cross(msgspec.json.encode(body))
    twice = [{**HELD, "asset": "USDT", "borrowed": "20"}, {**HELD, "asset": "USDT"}]
    body = {"marginLevel": "2", "totalAssetOfBtc": "1", "totalLiabilityOfBtc": "0.1", "userAssets": twice}
    with pytest.raises(msgspec.DecodeError, match="twice"):
        margin.cross(msgspec.json.encode(body))
    for sums in ({"totalAssetOfBtc": "-1"}, {"totalLiabilityOfBtc": "-0.1"}):
        with pytest.raises(msgspec.DecodeError):
            margin.cross(msgspec.json.encode({**body, "userAssets": twice[:1], **sums}))


@pytest.mark.parametrize("changed", [{"baseAsset": HELD | {"asset": "USDT"}}, {"quoteAsset": HELD | {"asset": ""}}])
def test_an_isolated_account_of_other_assets_is_not_read(changed: dict[str, object]) -> None:
    """Its debt would not be among those of the symbol: as if it were gone."""
    with pytest.raises(msgspec.DecodeError, match="not of BTCUSDT"):
        margin.isolated_account(pair(**changed), "BTCUSDT", 7)


def test_another_pair_that_can_not_be_read_hides_nothing() -> None:
    row = msgspec.json.decode(pair())["assets"][0]
    answer = msgspec.json.encode({"assets": [{"symbol": "ODDUSDT", "baseAsset": None}, row]})
    assert margin.isolated_account(answer, "BTCUSDT", 7).debt("USDT").total == D(500)


def test_a_record_of_less_than_nothing_is_none() -> None:
    row = {"txId": 1, "asset": "USDT", "amount": "-5", "status": "CONFIRMED", "timestamp": 1_760_000_000_000}
    with pytest.raises(msgspec.DecodeError):
        margin.records(msgspec.json.encode({"rows": [row], "total": 1}), LoanKind.BORROW)


@pytest.mark.parametrize(
    "changed", [{"forceLiquidationBar": "1.4"}, {"marginCallBar": "100"}, {"forceLiquidationBar": "0"}]
)
def test_bars_in_no_order_are_not_believed(changed: dict[str, str]) -> None:
    """A trade would be closed at a level that is sound, or never."""
    told = {"normalBar": "1.5", "marginCallBar": "1.3", "forceLiquidationBar": "1.1"}
    assert terms.bars(msgspec.json.encode(told)).liquidation == D("1.1")
    with pytest.raises(msgspec.DecodeError):
        terms.bars(msgspec.json.encode(told | changed))
    tier = {"symbol": "BTCUSDT", "initialRiskRatio": "1.05", "liquidationRiskRatio": "1.111"}
    with pytest.raises(msgspec.DecodeError):
        terms.tiers(msgspec.json.encode([tier]), "BTCUSDT")
