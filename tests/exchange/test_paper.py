"""The adapter against the paper exchange, over HTTP and WebSocket: what it says is what the exchange did."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace
from tests.exchange.streams.test_streams import QUICK, Heard
from tests.paper.server.exchange_kit import ACCOUNT, API_KEY, SECRET, START_MS, SYMBOL, Kit, public_key, running

from executor.core.model.facts import Balance, Done, NotTried, OrderReport, Outcome, Quote, Refused, Unknown, Why
from executor.core.model.intents import NewOrder
from executor.core.model.values import OrderSide, OrderStatus, OrderType, TimeInForce
from executor.exchange.binance import BinanceExchange, connect
from executor.exchange.port import Exchange, ReadError, StartError
from executor.exchange.streams.market_stream import MarketStream
from executor.exchange.streams.user_stream import UserStream
from executor.exchange.transport.auth import Credentials, Endpoints
from executor.exchange.transport.supervised import Connected, Lost
from executor.paper.engine.model import SymbolStatus
from executor.paper.server import Credential, FaultPlan
from executor.paper.server.faults import RequestFault

GOOD: Final = Credentials.hmac(API_KEY, SECRET)


class OneFault(FaultPlan):
    """Goes wrong once, at the first request to `path`."""

    def __init__(self, method: str, path: str, fault: RequestFault) -> None:
        self._where = (method, f"/api/v3/{path}")
        self._fault: RequestFault | None = fault

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if (method, path) != self._where:
            return None
        fault, self._fault = self._fault, None
        return fault


@asynccontextmanager
async def trading(credentials: Credentials = GOOD, **options: Any) -> AsyncIterator[tuple[Kit, BinanceExchange]]:
    async with running(**options) as kit:
        urls = Endpoints(kit.urls.rest_url, kit.urls.ws_api_url, kit.urls.stream_url)
        exchange = await connect(urls, credentials, SYMBOL, kit.clock)
        try:
            yield kit, exchange
        finally:
            await exchange.close()


def limit(own_id: str, price: str, side: OrderSide = OrderSide.BUY, **more: Any) -> NewOrder:
    terms = {"type": OrderType.LIMIT, "qty": Decimal("0.01"), "price": Decimal(price), **more}
    return NewOrder(id=own_id, side=side, **terms)


def market(own_id: str, side: OrderSide = OrderSide.BUY) -> NewOrder:
    return NewOrder(id=own_id, side=side, type=OrderType.MARKET, qty=Decimal("0.01"))


def stop(own_id: str, at: str, side: OrderSide = OrderSide.SELL, gap: int = -100) -> NewOrder:
    return NewOrder(
        id=own_id,
        side=side,
        type=OrderType.STOP_LOSS_LIMIT,
        qty=Decimal("0.01"),
        price=Decimal(at) + gap,
        stop_price=Decimal(at),
    )


def target(own_id: str, price: str, side: OrderSide = OrderSide.SELL) -> NewOrder:
    return limit(own_id, price, side, type=OrderType.LIMIT_MAKER)


def reports(outcome: Outcome) -> tuple[OrderReport, ...]:
    assert isinstance(outcome, Done), outcome
    return outcome.reports


def why(outcome: object) -> Why:
    assert isinstance(outcome, Refused), outcome
    return outcome.why


async def test_the_adapter_is_an_exchange() -> None:
    async with trading() as (kit, exchange):
        port: Exchange = exchange  # mypy holds the adapter to the port here
        assert port.now() == kit.clock.now_ms()


async def test_rules_quote_balances_and_klines() -> None:
    async with trading() as (kit, exchange):
        rules = await exchange.rules()
        assert (rules.symbol, rules.base, rules.quote) == (SYMBOL, "BTC", "USDT")
        assert (rules.tick, rules.step, rules.min_notional) == (Decimal("0.01"), Decimal("0.00001"), Decimal(5))
        assert rules.tradable
        assert rules.oco_allowed
        assert rules.max_algo_orders == 5
        assert rules.taker_fee > 0
        assert exchange.now() == kit.clock.now_ms()
        quote = await exchange.quote()
        assert quote.last == 100000
        assert quote.bid <= quote.ask
        assert quote.at == kit.clock.now_ms()
        assert await exchange.balances() == {"BTC": Balance(Decimal(1)), "USDT": Balance(Decimal(100000))}
        (bar,) = await exchange.klines(10)
        assert bar.close == 100000


async def test_whether_a_symbol_trades() -> None:
    async with trading() as (kit, exchange):
        assert await exchange.is_trading()
        for status in SymbolStatus:
            kit.engine.set_symbol_status(SYMBOL, status)
            assert await exchange.is_trading() is (await exchange.rules()).tradable is (status == "TRADING")
        kit.engine._books.clear()
        with pytest.raises(ReadError):
            await exchange.is_trading()


async def test_a_market_order_reports_its_fills_and_its_trades_agree() -> None:
    async with trading() as (_, exchange):
        (report,) = reports(await exchange.place(market("EX_1_ENTRY_1")))
        assert (report.id, report.status, report.cum_qty) == ("EX_1_ENTRY_1", OrderStatus.FILLED, Decimal("0.01"))
        assert sum(fill.qty for fill in report.fills) == Decimal("0.01")
        assert {fill.fee_asset for fill in report.fills} == {"BTC"}
        assert await exchange.trades(report.exchange_id) == report.fills
        assert await exchange.order("EX_1_ENTRY_1") is not None


async def test_an_order_placed_seen_and_cancelled() -> None:
    async with trading() as (_, exchange):
        (placed,) = reports(await exchange.place(limit("EX_1_ENTRY_1", "90000")))
        assert (placed.status, placed.working) == (OrderStatus.NEW, True)
        (listed,) = await exchange.open_orders()
        asked = await exchange.order("EX_1_ENTRY_1")
        assert asked is not None
        assert listed.id == asked.id == "EX_1_ENTRY_1"
        assert listed.exchange_id == asked.exchange_id == placed.exchange_id
        (cancelled,) = reports(await exchange.cancel("EX_1_ENTRY_1"))
        assert (cancelled.id, cancelled.status) == ("EX_1_ENTRY_1", OrderStatus.CANCELED)
        assert why(await exchange.cancel("EX_1_ENTRY_1")) is Why.UNKNOWN_ORDER
        assert await exchange.open_orders() == ()
        assert await exchange.order("EX_1_NOBODY_1") is None


async def test_an_order_that_must_fill_at_once_expires_otherwise() -> None:
    async with trading() as (_, exchange):
        order = limit("EX_1_PLANB_1", "90000", time_in_force=TimeInForce.IOC)
        (report,) = reports(await exchange.place(order))
        assert (report.status, report.cum_qty, report.working) == (OrderStatus.EXPIRED, Decimal(0), False)


@pytest.mark.parametrize("side", [OrderSide.SELL, OrderSide.BUY])
async def test_an_oco_placed_and_cancelled(side: OrderSide) -> None:
    selling = side is OrderSide.SELL
    tp = target("EX_1_TP1_2", "110000" if selling else "90000", side)
    sl = stop("EX_1_SL1_3", "95000" if selling else "105000", side, -100 if selling else 100)
    async with trading() as (_, exchange):
        placed = {report.id: report for report in reports(await exchange.place_oco("EX_1_OCO1_1", tp, sl))}
        assert placed.keys() == {"EX_1_TP1_2", "EX_1_SL1_3"}
        assert placed["EX_1_TP1_2"].working
        assert not placed["EX_1_SL1_3"].working
        assert len({report.list_exchange_id for report in placed.values()} - {-1}) == 1
        assert {report.id for report in await exchange.open_orders()} == placed.keys()
        ended = reports(await exchange.cancel_list("EX_1_OCO1_1"))
        assert {(report.id, report.status) for report in ended} == {(own_id, OrderStatus.CANCELED) for own_id in placed}
        assert why(await exchange.cancel_list("EX_1_OCO1_1")) is Why.UNKNOWN_ORDER
        assert await exchange.open_orders() == ()


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("side", [OrderSide.BUY, OrderSide.SELL])
async def test_an_entry_that_brings_its_exits(side: OrderSide, *, paired: bool) -> None:
    """Rule 13.1: pending without a quantity, placed when it has filled; it goes with them by its own id."""
    buys = side is OrderSide.BUY
    tp = target("EX_1_TP1_1", "110000" if buys else "90000", side.opposite) if paired else None
    sl = stop("EX_1_SL1_2", "95000" if buys else "105000", side.opposite, -100 if buys else 100)
    resting = replace(limit("EX_1_ENTRY1_3", "99000" if buys else "101000"), side=side)
    exits = {"EX_1_SL1_2"} | ({"EX_1_TP1_1"} if paired else set())
    async with trading() as (_, exchange):
        placed = {r.id: r for r in reports(await exchange.place_bracket("EX_1_OCO1_0", resting, sl, tp))}
        assert placed.keys() == {"EX_1_ENTRY1_3", *exits}
        assert {placed[each].status for each in exits} == {OrderStatus.PENDING_NEW}
        assert {placed[each].qty for each in exits} == {Decimal(0) if buys else resting.qty}
        assert {r.id for r in reports(await exchange.cancel("EX_1_ENTRY1_3"))} == placed.keys()
        assert await exchange.open_orders() == ()
        at_once = replace(resting, id="EX_1_ENTRY1_7", price=Decimal(101_000 if buys else 99_000))
        tp = replace(tp, id="EX_1_TP1_5") if tp is not None else None
        sl = replace(sl, id="EX_1_SL1_6")
        await exchange.place_bracket("EX_1_OCO1_4", at_once, sl, tp)
        assert {r.id for r in await exchange.open_orders()} == {each.id for each in (sl, tp) if each is not None}


async def test_a_leg_cancelled_ends_its_list() -> None:
    async with trading() as (_, exchange):
        await exchange.place_oco("EX_1_OCO1_1", target("EX_1_TP1_2", "110000"), stop("EX_1_SL1_3", "95000"))
        assert "EX_1_SL1_3" in {report.id for report in reports(await exchange.cancel("EX_1_SL1_3"))}
        assert await exchange.open_orders() == ()


async def test_refusals_of_the_engine_are_told_apart() -> None:
    async with trading() as (_, exchange):
        assert why(await exchange.place(stop("EX_1_SL_1", "105000"))) is Why.WOULD_TRIGGER
        assert why(await exchange.place(target("EX_1_TP1_1", "90000"))) is Why.WOULD_MATCH
        far = limit("EX_1_TP2_1", "90000", qty=Decimal(5))
        assert why(await exchange.place(far)) is Why.INSUFFICIENT_BALANCE
        dust = limit("EX_1_ENTRY_1", "90000", qty=Decimal("0.00001"))
        assert why(await exchange.place(dust)) is Why.FILTER
        oco = await exchange.place_oco("EX_1_OCO1_1", target("EX_1_TP1_3", "90000"), stop("EX_1_SL1_3", "80000"))
        assert why(oco) is Why.PRICE_RELATION


async def test_an_id_in_use_is_in_doubt_and_found() -> None:
    async with trading() as (_, exchange):
        await exchange.place(limit("EX_1_ENTRY_1", "90000"))
        again = await exchange.place(limit("EX_1_ENTRY_1", "90000"))
        assert isinstance(again, Unknown)
        assert await exchange.order("EX_1_ENTRY_1") is not None


async def test_a_stop_is_replaced() -> None:
    async with trading() as (_, exchange):
        await exchange.place(stop("EX_1_SL_1", "95000"))
        outcome = await exchange.replace("EX_1_SL_1", stop("EX_1_SL_2", "96000"))
        assert isinstance(outcome.place, Done)
        assert isinstance(outcome.cancel, Done)
        assert (outcome.cancel.reports[0].id, outcome.place.reports[0].id) == ("EX_1_SL_1", "EX_1_SL_2")
        assert [report.id for report in await exchange.open_orders()] == ["EX_1_SL_2"]


async def test_a_replacement_that_fails_says_which_half() -> None:
    async with trading() as (_, exchange):
        gone = await exchange.replace("EX_1_SL_1", stop("EX_1_SL_2", "96000"))
        assert (why(gone.cancel), gone.place) == (Why.UNKNOWN_ORDER, NotTried())
        await exchange.place(stop("EX_1_SL_3", "95000"))
        refused = await exchange.replace("EX_1_SL_3", stop("EX_1_SL_4", "105000"))
        assert isinstance(refused.cancel, Done)
        assert why(refused.place) is Why.WOULD_TRIGGER
        assert await exchange.open_orders() == ()
        await exchange.place(stop("EX_1_SL_5", "95000"))
        fault = stop("EX_1_SL_6", "96000.001")
        whole = await exchange.replace("EX_1_SL_5", fault)
        assert (why(whole.cancel), why(whole.place)) == (Why.FILTER, Why.FILTER)
        assert [report.id for report in await exchange.open_orders()] == ["EX_1_SL_5"]


async def test_an_order_whose_answer_got_lost_is_found() -> None:
    lost = OneFault("POST", "order", RequestFault(disconnect=True))
    async with trading(faults=lost) as (kit, exchange):
        outcome = await exchange.place(limit("EX_1_ENTRY_1", "90000"))
        assert isinstance(outcome, Unknown)
        assert outcome.fence == kit.clock.now_ms() + 5000
        assert await exchange.order("EX_1_ENTRY_1") is not None


async def test_an_order_that_never_arrived_is_not_found() -> None:
    lost = OneFault("POST", "order", RequestFault(execute=False, disconnect=True))
    async with trading(faults=lost) as (_, exchange):
        assert isinstance(await exchange.place(limit("EX_1_ENTRY_1", "90000")), Unknown)
        assert await exchange.order("EX_1_ENTRY_1") is None


@pytest.mark.parametrize("kind", ["Ed25519", "RSA"])
async def test_private_keys_trade_and_listen(kind: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate() if kind == "Ed25519" else rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    credentials = Credentials.private_key("the-key", pem)
    keys = {"the-key": Credential(ACCOUNT, public_key(key))}
    async with trading(credentials, keys=keys) as (kit, exchange):
        async with listening(kit, exchange, credentials) as heard:
            await heard.kinds(Connected)
            reports(await exchange.place(limit("EX_1_ENTRY_1", "90000")))
            await heard.until(lambda events: any(isinstance(event, OrderReport) for event in events))
        reports(await exchange.cancel("EX_1_ENTRY_1"))


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (Credentials.hmac("someone", SECRET), "refuses the API key"),
        (Credentials.hmac(API_KEY, "wrong-secret"), "refuses the API key"),
    ],
)
async def test_keys_that_are_not_known_are_refused_at_start(credentials: Credentials, words: str) -> None:
    async with running() as kit:
        urls = Endpoints(kit.urls.rest_url, kit.urls.ws_api_url, kit.urls.stream_url)
        with pytest.raises(StartError, match=words) as refused:
            await connect(urls, credentials, SYMBOL, kit.clock)
        assert "wrong-secret" not in str(refused.value)
        with pytest.raises(StartError, match="NOSUCH"):
            await connect(urls, GOOD, "NOSUCH", kit.clock)


@asynccontextmanager
async def listening(kit: Kit, exchange: BinanceExchange, credentials: Credentials = GOOD) -> AsyncIterator[Heard]:
    heard = Heard()
    stream = UserStream(kit.urls.ws_api_url, credentials, exchange.connection, [SYMBOL], heard, timing=QUICK)
    task = asyncio.create_task(stream.run())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.wait({task})


def seen(events: list[Any], own_id: str) -> list[OrderStatus]:
    return [event.status for event in events if isinstance(event, OrderReport) and event.id == own_id]


async def test_pushes_tell_the_whole_life_of_an_order() -> None:
    async with trading() as (kit, exchange), listening(kit, exchange) as heard:
        await heard.kinds(Connected)
        await exchange.place(limit("EX_1_ENTRY_1", "99000"))
        await heard.until(lambda events: seen(events, "EX_1_ENTRY_1") == [OrderStatus.NEW])
        kit.trade("98000", "5")
        events = await heard.until(lambda events: OrderStatus.FILLED in seen(events, "EX_1_ENTRY_1"))
        pushed = [event for event in events if isinstance(event, OrderReport)][-1]
        asked = await exchange.order("EX_1_ENTRY_1")
        assert asked is not None
        assert (pushed.cum_qty, pushed.cum_quote) == (asked.cum_qty, asked.cum_quote)
        fills = [fill for event in events if isinstance(event, OrderReport) for fill in event.fills]
        assert tuple(fills) == await exchange.trades(asked.exchange_id)
        await exchange.place(limit("EX_1_ENTRY_2", "90000"))
        await exchange.cancel("EX_1_ENTRY_2")
        await heard.until(lambda events: OrderStatus.CANCELED in seen(events, "EX_1_ENTRY_2"))


async def test_a_cut_stream_comes_back_and_says_so() -> None:
    async with trading() as (kit, exchange), listening(kit, exchange) as heard:
        await heard.kinds(Connected)
        kit.server.drop_connections()
        await heard.kinds(Connected, Lost, Connected)
        await exchange.place(limit("EX_1_ENTRY_1", "90000"))
        await heard.until(lambda events: seen(events, "EX_1_ENTRY_1") == [OrderStatus.NEW])


async def test_the_market_is_quoted() -> None:
    heard = Heard()
    async with trading() as (kit, exchange):
        market_stream = MarketStream(kit.urls.stream_url, exchange.connection.clock, heard, timing=QUICK)
        market_stream.follow(SYMBOL)
        task = asyncio.create_task(market_stream.run())
        await heard.kinds(Connected)
        kit.trade("100100")
        kit.trade("100200")
        events = await heard.until(
            lambda events: any(isinstance(event, Quote) and event.last == 100200 for event in events)
        )
        task.cancel()
        await asyncio.wait({task})
    quote = events[-1]
    assert quote.bid <= quote.ask
    assert quote.at >= START_MS
