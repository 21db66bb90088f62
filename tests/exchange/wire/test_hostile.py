"""Whatever comes in an answer or a push, a reader has a value for it or says that it can't be read; and what it has can
be written down.
"""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.exchange.wire.test_reading import golden
from tests.hostile import bodies, noise

from executor.core.model.facts import Done, NotTried, OrderReport, Refused, ReplaceOutcome, Unknown, Why
from executor.decoding import decode
from executor.exchange.permissions import KeyPermissions
from executor.exchange.streams import events
from executor.exchange.streams.events import MarketData
from executor.exchange.streams.market_stream import MarketStream
from executor.exchange.streams.user_stream import UserStream
from executor.exchange.transport.auth import Credentials
from executor.exchange.transport.clock import ExchangeClock, SystemClock
from executor.exchange.transport.order_link import OrderLink
from executor.exchange.transport.supervised import StreamFault
from executor.exchange.wire import outcomes, reading, replace, rules
from executor.exchange.wire.answer import Answer, Attempt
from executor.service.store import codec

OWN: Final = "EX_1760000000000_PLANB_2"
NOW: Final = 1_760_000_000_000

ORDERS: Final = [
    golden("query_stop_resting"),
    golden("placement_full"),
    golden("cancel"),
    golden("query_old_unknown_quote"),
]
LISTS: Final = [golden("oco_placed"), golden("list_cancelled")]
PUSHES: Final = [golden(name) for name in ("push_trade", "push_cancel", "push_position", "push_balance_update")]
TICKER: Final = b'{"symbol":"BTCUSDT","bidPrice":"1.0","askPrice":"1.1","lastPrice":"1.05"}'
REPLACED: Final = (
    b'{"cancelResult":"SUCCESS","newOrderResult":"FAILURE","cancelResponse":%s,"newOrderResponse":{"code":-2010,"msg":"x"}}'
    % golden("cancel")
)
MARKET: Final = [
    b'{"stream":"btcusdt@bookTicker","data":{"u":400900217,"s":"BTCUSDT","b":"25.3","B":"31","a":"25.4","A":"40"}}',
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":12345,"p":"0.001","q":"100"}}',
    b'{"result":null,"id":1}',
    b'{"error":{"code":2,"msg":"Invalid request"},"id":1}',
]


def push(body: bytes) -> object:
    event = events.event(body)
    match events.kind(event):
        case "executionReport":
            return events.order_report(event)
        case "outboundAccountPosition":
            return events.balances_set(event)
        case _:
            return events.balance_moved(event)


FEES: Final = b'{"standardCommission":{"maker":"0.001","taker":"0.001","buyer":"0","seller":"0"},"discount":{"x":true}}'

READERS: Final[dict[str, tuple[Callable[[bytes], Any], list[bytes]]]] = {
    "placed": (lambda body: reading.placed(body, OWN), ORDERS),
    "oco placed": (lambda body: reading.list_placed(body, "EX_1_OCO1_1", {"a", "b"}), LISTS),
    "cancelled": (lambda body: reading.cancelled(body, OWN), [*ORDERS, *LISTS]),
    "list cancelled": (lambda body: reading.list_cancelled(body, "EX_1_OCO1_1"), LISTS),
    "halves": (lambda body: [reading.halves(body).cancel_result], [REPLACED]),
    "order": (reading.order, ORDERS),
    "open orders": (reading.open_orders, [b"[%s,%s]" % (ORDERS[0], ORDERS[2])]),
    "open orders by symbol": (reading.open_orders_by_symbol, [b"[%s,%s]" % (ORDERS[0], ORDERS[2])]),
    "trades": (
        reading.trades,
        [b'[{"id":1,"price":"2","qty":"3","commission":"0.1","commissionAsset":"BNB","time":1760000000000}]'],
    ),
    "balances": (reading.balances, [b'{"canTrade":true,"balances":[{"asset":"BTC","free":"1","locked":"0"}]}']),
    "may trade": (reading.may_trade, [b'{"canTrade":true,"balances":[{"asset":"BTC","free":"1","locked":"0"}]}']),
    "quote": (lambda body: reading.quote(body, NOW), [TICKER]),
    "quotes": (lambda body: reading.quotes(body, NOW), [b"[%s,%s]" % (TICKER, TICKER)]),
    "klines": (reading.klines, [b'[[1499040000000,"0.1","0.8","0.01","0.02","148.0",1499644799999,"2434.1",308]]']),
    "server time": (reading.server_time, [b'{"serverTime":1760000000000}']),
    "rules": (
        lambda body: rules.symbol_rules(rules.exchange_info(body), "BTCUSDT", rules.commission(FEES)),
        [golden("exchange_info"), golden("exchange_info_old_filters")],
    ),
    "weight limit": (lambda body: rules.exchange_info(body).weight_per_minute, [golden("exchange_info")]),
    "commission": (lambda body: [(told := rules.commission(body)).maker, told.taker], [FEES]),
    "account commission": (
        lambda body: rules.account_commission(body).maker,
        [b'{"commissionRates":{"maker":"0.001","taker":"0.001"}}'],
    ),
    "permissions": (
        lambda body: [decode(body, KeyPermissions).spot],
        [b'{"ipRestrict":true,"enableWithdrawals":false,"enableSpotAndMarginTrading":true}'],
    ),
    "push": (push, PUSHES),
    "market message": (lambda body: [events.market_message(body).data], MARKET),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_a_reader_gives_what_can_be_written_or_says_that_it_can_not_be_read(name: str, data: st.DataObject) -> None:
    read, sound = READERS[name]
    body = data.draw(bodies(*sound))
    try:
        found = read(body)
    except msgspec.DecodeError:
        return
    assert_sensible(found)
    codec.encode(found if not isinstance(found, set) else sorted(found))


def assert_sensible(value: Any) -> None:
    match value:
        case Decimal():
            assert value.is_finite()
            assert abs(value.adjusted()) <= 30
        case msgspec.Struct():
            for inner in msgspec.structs.astuple(value):
                assert_sensible(inner)
        case dict():
            for inner in value.values():
                assert_sensible(inner)
        case list() | tuple():
            for inner in value:
                assert_sensible(inner)
        case _:
            pass


@pytest.mark.parametrize("name", READERS)
def test_what_is_sound_is_read(name: str) -> None:
    read, sound = READERS[name]
    for body in sound:
        fault = ""
        try:
            read(body)
        except msgspec.ValidationError as error:
            fault = str(error)
        assert not fault or "does not name" in fault or "is about list" in fault  # the golden one is about another


def test_an_id_or_a_number_in_quotes_and_a_quantity_without_are_read_as_what_they_say() -> None:
    """Rule 8.8."""
    sound = json.loads(golden("query_stop_resting"))
    odd = sound | {
        "orderId": str(sound["orderId"]),
        "updateTime": str(sound["updateTime"]),
        "origQty": float(sound["origQty"]),
        "isWorking": "false",
    }
    assert reading.order(json.dumps(odd).encode()) == reading.order(golden("query_stop_resting"))


def test_a_row_of_somebody_else_that_can_not_be_read_hides_nothing() -> None:
    ours = golden("query_stop_resting")
    for foreign in (
        b'{"clientOrderId":"x\xff"}',
        b'{"clientOrderId":5}',
        b"7",
        b'{"clientOrderId":"web_1","origQty":"NaN"}',
        b'{"clientOrderId":"my_EX_1","type":"OF_TOMORROW"}',
    ):
        assert reading.open_orders(b"[%s,%s]" % (foreign, ours)) == (reading.order(ours),)
    for own in (
        b'{"clientOrderId":"EX_1_SL_1\xff"}',
        b'{"clientOrderId":"EX_1_SL_1","type":"OF_TOMORROW"}',
        b'{"clientOrderId":"web_1","origClientOrderId":"EX_1_SL_1"}',
        b'{"clientOrderId":["EX_1_SL_1"]}',
        ours.replace(b'"origQty"', b'"origQty_"'),
    ):
        with pytest.raises(msgspec.DecodeError):
            reading.open_orders(b"[%s,%s]" % (own, ours))


def test_filters_and_symbols_that_are_not_known_may_be_anything() -> None:
    info = json.loads(golden("exchange_info"))
    (row,) = [each for each in info["symbols"] if each["symbol"] == "BTCUSDT"]
    row["filters"].append({"filterType": "MAX_MOONS", "tickSize": "NaN", "limit": "\U0001f319"})
    info["symbols"].insert(0, {"symbol": "NEWUSDT", "filters": 7})
    info["symbols"].insert(0, 5)
    fees = rules.commission(FEES)
    assert rules.symbol_rules(rules.exchange_info(json.dumps(info).encode()), "BTCUSDT", fees) == rules.symbol_rules(
        rules.exchange_info(golden("exchange_info")), "BTCUSDT", fees
    )


def test_a_grid_that_is_off_is_the_precision_of_the_asset() -> None:
    info = json.loads(golden("exchange_info"))
    (row,) = [each for each in info["symbols"] if each["symbol"] == "BTCUSDT"]
    row["filters"] = [
        {"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "0", "tickSize": "0.00000000"},
        {"filterType": "LOT_SIZE", "minQty": "0", "maxQty": "0", "stepSize": "0.00000000"},
    ]
    row |= {"baseAssetPrecision": 5, "quoteAssetPrecision": 2}
    found = rules.symbol_rules(rules.exchange_info(json.dumps(info).encode()), "BTCUSDT", rules.commission(FEES))
    assert found is not None
    assert (found.tick, found.step) == (Decimal("0.01"), Decimal("0.00001"))


@pytest.mark.parametrize("changed", ["left out", None, [], "", "x", True, {"value": "0.01"}])
@pytest.mark.parametrize(
    ("kind", "name"), [("PRICE_FILTER", "tickSize"), ("LOT_SIZE", "stepSize"), ("NOTIONAL", "minNotional")]
)
def test_a_grid_that_is_not_told_is_not_one_that_is_off(kind: str, name: str, changed: object) -> None:
    """Read anew with a trade open, a tick of 1E-8 made each exit one that the exchange refuses."""
    info = json.loads(golden("exchange_info"))
    for row in info["symbols"]:
        for each in row["filters"]:
            if each["filterType"] == kind:
                if changed == "left out":
                    del each[name]
                else:
                    each[name] = changed
    with pytest.raises(msgspec.DecodeError):
        rules.symbol_rules(rules.exchange_info(json.dumps(info).encode()), "BTCUSDT", rules.commission(FEES))


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("PRICE_FILTER", {"minPrice": "5", "maxPrice": "4"}),
        ("PRICE_FILTER", {"tickSize": "1000000000", "maxPrice": "1"}),
        ("LOT_SIZE", {"minQty": "9001", "maxQty": "9000"}),
        ("LOT_SIZE", {"stepSize": "9001", "maxQty": "9000"}),
        ("MARKET_LOT_SIZE", {"minQty": "5", "maxQty": "4", "stepSize": "0"}),
        ("MARKET_LOT_SIZE", {"minQty": "1000000", "maxQty": "0", "stepSize": "0"}),
        ("NOTIONAL", {"minNotional": "10", "maxNotional": "9.99"}),
        ("PERCENT_PRICE_BY_SIDE", {"askMultiplierUp": "0.5", "askMultiplierDown": "0.6"}),
    ],
)
def test_a_filter_that_takes_nothing_at_all_is_not_believed(kind: str, changed: dict[str, str]) -> None:
    """Read anew with a trade open, a minimum above its maximum made dust of the position, and that was its close."""
    info = json.loads(golden("exchange_info"))
    (row,) = [each for each in info["symbols"] if each["symbol"] == "BTCUSDT"]
    found = [each for each in row["filters"] if each["filterType"] == kind]
    assert found
    for each in found:
        each.update(changed)
    with pytest.raises(msgspec.DecodeError, match=kind.removesuffix("_BY_SIDE")):
        rules.symbol_rules(rules.exchange_info(json.dumps(info).encode()), "BTCUSDT", rules.commission(FEES))


@pytest.mark.parametrize("kind", ["PRICE_FILTER", "LOT_SIZE"])
def test_a_filter_that_each_symbol_has_is_there_once(kind: str) -> None:
    info = json.loads(golden("exchange_info"))
    (row,) = [each for each in info["symbols"] if each["symbol"] == "BTCUSDT"]
    (there,) = [each for each in row["filters"] if each["filterType"] == kind]
    without = [each for each in row["filters"] if each is not there]
    for filters in (without, [*row["filters"], there | {"tickSize": "7", "stepSize": "7"}]):
        row["filters"] = filters
        with pytest.raises(msgspec.DecodeError, match=kind):
            rules.symbol_rules(rules.exchange_info(json.dumps(info).encode()), "BTCUSDT", rules.commission(FEES))


def test_commission_takes_a_part_and_gives_none() -> None:
    """A rebate is no base that would be there; what takes the most of it is no commission."""
    assert rules.account_commission(b'{"commissionRates":{"maker":"-0.0001","taker":"0.001"}}').maker == 0
    for rates in (b'{"maker":"0.001","taker":"0.5"}', b'{"maker":"10","taker":"10"}'):
        with pytest.raises(msgspec.DecodeError):
            rules.account_commission(b'{"commissionRates":%s}' % rates)


@pytest.mark.parametrize(
    ("bid", "ask", "last"), [("-1", "2", "2"), ("1", "-2", "2"), ("1", "2", "-2"), ("3", "2", "2")]
)
def test_prices_that_no_market_has_are_none(bid: str, ask: str, last: str) -> None:
    body = json.dumps({"symbol": "BTCUSDT", "bidPrice": bid, "askPrice": ask, "lastPrice": last}).encode()
    with pytest.raises(msgspec.DecodeError):
        reading.quote(body, NOW)
    assert reading.quotes(b"[%s,%s]" % (body, TICKER), NOW).keys() == {"BTCUSDT"}
    if last == "2":
        with pytest.raises(msgspec.DecodeError):
            reading.best_prices(body, "BTCUSDT")
    for read in (reading.average, reading.reference, lambda told: reading.last_price(told, "")):
        with pytest.raises(msgspec.DecodeError):
            read(b'{"price":"-1","referencePrice":"-1"}')


@pytest.mark.parametrize(
    "bar", [("1", "3", "0", "2"), ("1", "3", "-1", "2"), ("1", "3", "1.5", "2"), ("1", "1.5", "0.5", "2")]
)
def test_a_bar_whose_prices_are_not_between_its_ends_is_none(bar: tuple[str, ...]) -> None:
    """A low of nothing made a stop that far away."""
    with pytest.raises(msgspec.DecodeError):
        reading.klines(json.dumps([[NOW, *bar, "5"]]).encode())


@pytest.mark.parametrize(
    "data",
    [
        {"s": "BTCUSDT", "b": "25.5", "a": "25.4"},
        {"s": "BTCUSDT", "b": "-1", "a": "25.4"},
        {"e": "trade", "s": "BTCUSDT", "p": "-0.1"},
        {"e": "trade", "s": "BTCUSDT", "p": "0"},
    ],
)
def test_a_pushed_price_that_no_market_has_is_not_heard(data: dict[str, str]) -> None:
    ears = Ears()
    market = MarketStream("ws://127.0.0.1:1", ExchangeClock(SystemClock()), ears)
    market.follow("BTCUSDT")
    for body in MARKET[:2]:
        market._deliver(body)
    assert len(ears.heard) == 1
    asyncio.run(in_a_loop(market, json.dumps({"stream": "x", "data": data}).encode()))
    assert len(ears.heard) == 1
    assert market.heard("BTCUSDT").book_at


async def in_a_loop(market: MarketStream, message: bytes) -> None:
    market._deliver(message)
    if market._gap_to_tell is not None:
        market._gap_to_tell.cancel()


# --- trades that can't be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fee", "is_one"), [("0.000003", True), ("-0.0000003", True), ("0.1", False), ("-0.1", False)])
def test_commission_in_base_is_a_part_of_what_was_traded(fee: str, is_one: bool) -> None:
    """What is held is reckoned by it: one push that told of more made a position nothing."""
    pushed = json.loads(golden("push_trade"))
    event = pushed["event"] | {"q": "0.003", "z": "0.003", "Z": "183", "l": "0.003", "n": fee, "N": "BTC"}
    trade = {"id": 1, "symbol": "BTCUSDT", "price": "2", "qty": "0.003", "commission": fee, "commissionAsset": "BTC"}
    placed = json.loads(golden("placement_full"))
    placed["fills"][0] |= {"qty": "0.003", "commission": fee}
    del placed["fills"][1:]
    told = (
        (push, {"event": event}),
        (reading.trades, [trade | {"time": NOW}]),
        (reading.order, placed),
    )
    for read, body in told:
        if is_one:
            read(json.dumps(body).encode())
        else:
            with pytest.raises(msgspec.DecodeError, match="commission of"):
                read(json.dumps(body).encode())
    read_all = json.dumps([trade | {"time": NOW, "commission": "500", "commissionAsset": "BNB"}]).encode()
    assert reading.trades(read_all)[0].fee == 500


@pytest.mark.parametrize(
    ("side", "kind", "price", "quote", "is_one"),
    [
        ("BUY", "LIMIT", "60000", "180", True),
        ("BUY", "LIMIT", "60000", "170", True),
        ("BUY", "LIMIT", "60000", "190", False),
        ("SELL", "STOP_LOSS_LIMIT", "60000", "180", True),
        ("SELL", "STOP_LOSS_LIMIT", "60000", "190", True),
        ("SELL", "STOP_LOSS_LIMIT", "60000", "170", False),
        ("SELL", "MARKET", "0", "1", True),
        ("SELL", "LIMIT", "60000", "-1", True),
    ],
)
def test_nothing_trades_beyond_its_own_limit(side: str, kind: str, price: str, quote: str, is_one: bool) -> None:
    """A stop is moved to the average that an entry had, so a false one sold the position."""
    about = {"side": side, "type": kind, "price": price, "executedQty": "0.003", "cummulativeQuoteQty": quote}
    body = json.loads(golden("placement_full")) | about | {"fills": []}
    event = json.loads(golden("push_trade"))["event"] | {"S": side, "o": kind, "p": price, "q": "0.003", "z": "0.003"}
    event |= {"Z": quote, "l": "0.003", "L": str(Decimal(quote) / Decimal("0.003")) if is_one else "60000", "n": "0"}
    event |= {"L": "60000"} if quote == "-1" else {}
    for read, told in ((reading.order, body), (push, {"event": event})):
        if is_one:
            read(json.dumps(told).encode())
        else:
            with pytest.raises(msgspec.DecodeError, match="with a limit"):
                read(json.dumps(told).encode())


@pytest.mark.parametrize(
    ("side", "told", "believed"),
    [("BUY", "180.01", "180"), ("BUY", "179.99", "179.99"), ("SELL", "179.9", "180"), ("SELL", "180.1", "180.1")],
)
@pytest.mark.parametrize("trade_at", ["60000", "60001", "59999"])
def test_what_rounding_puts_beyond_a_limit_was_traded_at_it(side: str, told: str, believed: str, trade_at: str) -> None:
    """Samples tell the sum in six digits, or two, of a price and a quantity that have six or eight (rest-api.md): read
    as beyond the limit, an order that had filled could be read nowhere. A single trade's price is not rounded.
    """
    about = {"side": side, "type": "LIMIT", "price": "60000", "executedQty": "0.003", "cummulativeQuoteQty": told}
    body = json.loads(golden("placement_full")) | about | {"fills": []}
    assert reading.order(json.dumps(body).encode()).cum_quote == Decimal(believed)
    event = json.loads(golden("push_trade"))["event"] | {"S": side, "o": "LIMIT", "p": "60000", "q": "0.003"}
    event |= {"z": "0.003", "Z": told, "l": "0.003", "L": trade_at, "n": "0"}
    if trade_at == ("60001" if side == "BUY" else "59999"):
        with pytest.raises(msgspec.DecodeError, match="with a limit"):
            push(json.dumps({"event": event}).encode())
    else:
        report = push(json.dumps({"event": event}).encode())
        assert isinstance(report, OrderReport)
        assert report.cum_quote == Decimal(believed)


def test_trades_are_no_more_than_what_is_said_to_have_traded() -> None:
    placed = json.loads(golden("placement_full")) | {"executedQty": "0.0029", "cummulativeQuoteQty": "174"}
    with pytest.raises(msgspec.DecodeError, match="more fills"):
        reading.order(json.dumps(placed).encode())
    pushed = json.loads(golden("push_trade"))
    pushed["event"] |= {"l": "5", "z": "4", "q": "5", "p": "0"}
    with pytest.raises(msgspec.DecodeError, match="l is more than z"):
        push(json.dumps(pushed).encode())


# --- faults -----------------------------------------------------------------------------------------------------------

FAULTS: Final = [b'{"code":-2010,"msg":"Order would trigger immediately."}', b'{"code":-1003,"msg":"banned","data":{}}']
HALVES: Final = [b'{"code":-2022,"msg":"x","data":%s}' % REPLACED, REPLACED]


@given(
    status=st.sampled_from([200, 400, 401, 403, 404, 408, 409, 418, 429, 451, 500, 502, 504, 599]), body=bodies(*FAULTS)
)
@example(status=502, body=b'{"code":-1000,"msg":"Acc\xe8s refus\xe9"}')
def test_whatever_an_error_says_it_is_refused_or_unknown(status: int, body: bytes) -> None:
    """Rule 8.2."""
    fault = outcomes.fault_of(Answer(status, {}, body))
    outcome = outcomes.failed(status, fault, Attempt(NOW, 5000), 0)
    assert isinstance(outcome, Refused | Unknown)
    codec.encode(outcome)
    assert len(outcome.text) < 500
    assert outcome.text.isprintable()
    if status >= 500:
        assert isinstance(outcome, Unknown)


@given(status=st.sampled_from([200, 400, 409, 500]), body=bodies(*HALVES))
def test_whatever_a_cancel_replace_answers_it_has_two_outcomes(status: int, body: bytes) -> None:
    found = replace.replaced(Answer(status, {}, body), Attempt(NOW, 5000), cancel_id=OWN, new_id=OWN, retry_at=0)
    assert isinstance(found, ReplaceOutcome)
    assert isinstance(found.place, Done | Refused | Unknown | NotTried)
    codec.encode(found)


def test_the_words_of_a_page_without_a_code_are_kept() -> None:
    body = b'{"code":0,"msg":"Service unavailable from a restricted location"}'
    fault = outcomes.fault_of(Answer(451, {}, body))
    assert "Service unavailable from a restricted location" in outcomes.words(451, fault)
    assert "451" in outcomes.words(451, fault)
    refused = outcomes.failed(451, fault, Attempt(NOW, 5000), 0)
    assert isinstance(refused, Refused)
    assert refused.why is Why.OTHER
    assert "restricted location" in refused.text
    page = outcomes.fault_of(Answer(403, {}, b"<html><h1>403\nForbidden</h1></html>"))
    assert "Forbidden" in page.msg


# --- streams ----------------------------------------------------------------------------------------------------------


class Ears:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def __call__(self, event: object) -> None:
        self.heard.append(event)


def streams() -> list[OrderLink | UserStream | MarketStream]:
    credentials = Credentials.hmac("key", "secret")
    market = MarketStream("ws://127.0.0.1:1", ExchangeClock(SystemClock()), Ears())
    market.follow("BTCUSDT")
    user = UserStream("ws://127.0.0.1:1", credentials, None, ("BTCUSDT", "ETHBTC"), Ears())  # type: ignore[arg-type]
    return [OrderLink("ws://127.0.0.1:1", credentials), user, market]


ANSWERS: Final = [
    (
        b'{"id":"o1","status":200,"result":%s,"rateLimits":[{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":'
        b'10,"limit":50,"count":1}]}' % ORDERS[1]
    ),
    (
        b'{"id":"o1","status":418,"error":{"code":-1003,"msg":"banned until 1760000060000.","data":{"serverTime":'
        b'1760000000000,"retryAfter":1760000060000}},"rateLimits":[]}'
    ),
    b'{"event":{"e":"serverShutdown","E":1770123456789}}',
]


@given(message=bodies(*ANSWERS, *PUSHES, *MARKET))
def test_whatever_is_pushed_is_an_event_or_a_gap(message: bytes) -> None:
    async def deliver() -> None:
        for stream in streams():
            if isinstance(stream, OrderLink):
                stream._pending["o1"] = asyncio.get_running_loop().create_future()
            try:
                stream._deliver(message)
            except StreamFault:
                pass
            finally:
                if stream._gap_to_tell is not None:
                    stream._gap_to_tell.cancel()

    asyncio.run(deliver())


def test_bytes_that_can_not_be_read_do_not_set_the_pace_of_the_looks() -> None:
    """Rule 8.7: at once for the first, then once a second however many come."""

    async def flood() -> list[object]:
        ears = Ears()
        market = MarketStream("ws://127.0.0.1:1", ExchangeClock(SystemClock()), ears)
        market._up = True
        for _ in range(500):
            market._deliver(b"\xff")
        told = list(ears.heard)
        await asyncio.sleep(1.1)
        assert len(ears.heard) == 2 * len(told)
        return told

    assert [type(event).__name__ for event in asyncio.run(flood())] == ["Lost", "Connected"]


@given(noise)
def test_noise_is_no_market_data(message: bytes) -> None:
    try:
        found = events.market_message(message)
    except msgspec.DecodeError:
        return
    assert found.data is None or isinstance(found.data, MarketData)
