"""What Binance's documents and real answers say, one test a statement, over both transports.

Each test names its source: a page of the documents, an entry of its change log, or an answer that the exchange gave.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from tests.paper.server.exchange_kit import OCO, SYMBOL, Kit, rest, running, symbol_row
from tests.paper.server.transports import REST, WS, Wire, both, wire

from executor.paper.engine.choices import ExchangeChoices, PushRefusals
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.model import SymbolStatus

BALANCE = (-2010, "Account has insufficient balance for requested action.")
RELATION = (-2010, "The relationship of the prices for the orders is not correct.")
BAD_COMBINATION = "Combination of optional parameters invalid."
CLOSED = "Market is closed."

BUY_OCO = {
    "symbol": SYMBOL,
    "side": "BUY",
    "quantity": "0.01",
    "aboveType": "STOP_LOSS",
    "aboveStopPrice": "110000",
    "belowType": "LIMIT_MAKER",
    "belowPrice": "90000",
}
OLD_OCO = {
    "symbol": SYMBOL,
    "side": "SELL",
    "quantity": "0.01",
    "price": "110000",
    "stopPrice": "95000",
    "stopLimitPrice": "94900",
    "stopLimitTimeInForce": "GTC",
}
WORKING = {
    "symbol": SYMBOL,
    "workingType": "LIMIT",
    "workingSide": "BUY",
    "workingPrice": "99000",
    "workingQuantity": "0.01",
    "workingTimeInForce": "GTC",
}
PENDING_PAIR = {
    "pendingSide": "SELL",
    "pendingAboveType": "LIMIT_MAKER",
    "pendingAbovePrice": "110000",
    "pendingBelowType": "STOP_LOSS",
    "pendingBelowStopPrice": "95000",
}
OTOCO = {**WORKING, "pendingQuantity": "0.005", **PENDING_PAIR}
OPOCO = {**WORKING, **PENDING_PAIR}
OTOCO_LIMIT = {
    **OTOCO,
    "pendingBelowType": "STOP_LOSS_LIMIT",
    "pendingBelowPrice": "94900",
    "pendingBelowTimeInForce": "GTC",
}
OTO = {**WORKING, "pendingSide": "SELL", "pendingType": "MARKET", "pendingQuantity": "0.005"}
OPO = {**WORKING, "pendingSide": "SELL", "pendingType": "MARKET"}
LIMIT = {
    "symbol": SYMBOL,
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "price": "90000",
    "quantity": "0.001",
}
CHINESE = "币安人生USDT"


def rows(*filters: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    """The usual symbol with some filters replaced or added."""
    row = symbol_row(**changes)
    named = {each["filterType"] for each in filters}
    kept = [each for each in row["filters"] if each["filterType"] not in named]
    return [{**row, "filters": [*kept, *filters]}]


@asynccontextmanager
async def market(transport: str, **options: Any) -> AsyncIterator[tuple[Kit, Wire]]:
    """An exchange at 100000, and a client of it."""
    async with running(**options) as kit, wire(kit, transport) as client:
        yield kit, client


@both
class TestOrdersOfAList:
    @pytest.mark.parametrize(
        ("method", "params", "nth"),
        [
            ("orderList.place.oco", OCO, 0),
            ("orderList.place.oco", BUY_OCO, 0),
            ("orderList.place", OLD_OCO, 0),
            ("orderList.place.otoco", OTOCO, 1),
            ("orderList.place.opoco", OPOCO, 1),
        ],
    )
    async def test_the_stop_loss_leg_comes_first_and_has_the_lower_number(
        self, transport: str, method: str, params: dict[str, Any], nth: int
    ) -> None:
        """rest-api.md, the samples of OCO, OTOCO and OPOCO."""
        async with market(transport) as (_, client):
            placed = await client.ask(method, **params)
            reports = placed["orderReports"]
            assert [each["orderId"] for each in placed["orders"]] == [each["orderId"] for each in reports]
            assert [each["orderId"] for each in reports] == list(range(1, 1 + len(reports)))
            assert reports[nth]["type"].startswith("STOP_LOSS")
            assert reports[nth + 1]["type"] == "LIMIT_MAKER"

    @pytest.mark.parametrize(("method", "params"), [("allOrders", {"symbol": SYMBOL}), ("openOrders.status", {})])
    async def test_a_pending_order_is_listed_after_the_working_one(
        self, transport: str, method: str, params: dict[str, Any]
    ) -> None:
        """rest-api.md, "All orders": lists are chronological, by order id."""
        async with market(transport) as (_, client):
            await client.ask("orderList.place.otoco", **OTOCO)
            assert [each["orderId"] for each in await client.ask(method, **params)] == [1, 2, 3]

    async def test_a_full_answer_has_fills(self, transport: str) -> None:
        """rest-api.md, "Response - FULL", which orderReports are formatted by."""
        async with market(transport) as (_, client):
            working = {**OTO, "workingPrice": "100100", "newOrderRespType": "FULL"}
            taken, pending = (await client.ask("orderList.place.oto", **working))["orderReports"]
            assert (taken["status"], len(taken["fills"])) == ("FILLED", 1)
            assert (pending["status"], pending["fills"]) == ("PENDING_NEW", [])
            for leg in (await client.ask("orderList.place.oco", **OCO, newOrderRespType="FULL"))["orderReports"]:
                assert leg["fills"] == []

    async def test_the_deprecated_oco_is_full_by_default_over_the_websocket_api(self, transport: str) -> None:
        """web-socket-api.md, "orderList.place": "ACK, RESULT, FULL (default)"; the REST page names no default."""
        async with market(transport) as (_, client):
            reports = (await client.ask("orderList.place", **OLD_OCO))["orderReports"]
            assert ["fills" in each for each in reports] == [transport == WS] * 2


@both
class TestHalt:
    @pytest.mark.parametrize("status", [SymbolStatus.HALT, SymbolStatus.BREAK])
    @pytest.mark.parametrize("what", ["order", "all", "list", "replace"])
    async def test_orders_can_be_cancelled(self, transport: str, status: SymbolStatus, what: str) -> None:
        """CHANGELOG.md 2020-04-25: "Orders can be canceled via the API on symbols in the BREAK or HALT status"."""
        async with market(transport) as (kit, client):
            order = await client.ask("order.place", **LIMIT)
            pair = await client.ask("orderList.place.oco", **OCO)
            kit.engine.set_symbol_status(SYMBOL, status)
            assert await client.refusal("order.place", **LIMIT) == (-2010, CLOSED)
            if what == "order":
                assert (await client.ask("order.cancel", symbol=SYMBOL, orderId=order["orderId"]))[
                    "status"
                ] == "CANCELED"
            elif what == "all":
                assert len(await client.ask("openOrders.cancelAll", symbol=SYMBOL)) == 2
            elif what == "list":
                await client.ask("orderList.cancel", symbol=SYMBOL, orderListId=pair["orderListId"])
                assert client.status == 200
            else:
                both_halves = await client.ask(
                    "order.cancelReplace", **LIMIT, cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=order["orderId"]
                )
                assert (client.status, both_halves["data"]["cancelResult"]) == (409, "SUCCESS")
                assert both_halves["data"]["newOrderResponse"] == {"code": -2010, "msg": CLOSED}

    async def test_cancel_only_takes_cancels_and_amends_alone(self, transport: str) -> None:
        """faqs/spot_glossary.md, "CANCEL_ONLY", a symbol status since CHANGELOG.md 2026-07-01."""
        async with market(transport) as (kit, client):
            order = await client.ask("order.place", **LIMIT)
            kit.engine.set_symbol_status(SYMBOL, SymbolStatus.CANCEL_ONLY)
            shown = await client.ask("exchangeInfo", symbol=SYMBOL)
            assert shown["symbols"][0]["status"] == "CANCEL_ONLY"
            for method, params in (("order.place", LIMIT), ("orderList.place.oco", OCO), ("orderList.place.oto", OTO)):
                assert await client.refusal(method, **params) == (-2010, CLOSED)
            amended = await client.ask(
                "order.amend.keepPriority", symbol=SYMBOL, orderId=order["orderId"], newQty="0.0005"
            )
            assert amended["amendedOrder"]["qty"] == "0.00050000"
            assert (await client.ask("order.cancel", symbol=SYMBOL, orderId=order["orderId"]))["status"] == "CANCELED"

    async def test_nothing_trades(self, transport: str) -> None:
        """errors.md, "Market is closed.": the symbol is not trading. What waits is met when it trades again."""
        async with market(transport) as (kit, client):
            order = await client.ask("order.place", **LIMIT)
            kit.engine.set_symbol_status(SYMBOL, SymbolStatus.HALT)
            kit.trade("89000")
            assert (await client.ask("order.status", symbol=SYMBOL, orderId=order["orderId"]))["status"] == "NEW"
            kit.engine.set_symbol_status(SYMBOL, SymbolStatus.TRADING)
            kit.trade("89000")
            assert (await client.ask("order.status", symbol=SYMBOL, orderId=order["orderId"]))["status"] == "FILLED"


@both
class TestMarketOrders:
    async def test_a_sale_for_more_quote_than_the_balance_can_bring_is_refused(self, transport: str) -> None:
        """faqs/market_orders_faq.md: who cannot pay for the complete order is refused, thin book or not."""
        thin = LiquidityModel.tight(level_notional=Decimal(50_000), levels=1)
        async with market(transport, liquidity=thin) as (_, client):
            sale = {"symbol": SYMBOL, "side": "SELL", "type": "MARKET", "quoteOrderQty": "200000"}
            assert await client.refusal("order.place", **sale) == BALANCE
            enough = await client.ask("order.place", **{**sale, "quoteOrderQty": "90000"})
            assert (enough["status"], enough["expiryReason"]) == ("EXPIRED", "INSUFFICIENT_LIQUIDITY")

    async def test_a_sale_for_quote_stays_at_the_better_price_while_it_lasts(self, transport: str) -> None:
        """rest-api.md, "MARKET": sold at the best available prices."""
        coarse = rows({"filterType": "LOT_SIZE", "minQty": "0.01", "maxQty": "9000", "stepSize": "0.01"})
        async with market(transport, symbols=coarse) as (_, client):
            sale = {"symbol": SYMBOL, "side": "SELL", "type": "MARKET", "quoteOrderQty": "1999.9999"}
            fills = (await client.ask("order.place", **sale))["fills"]
            assert [(fill["price"], fill["qty"]) for fill in fills] == [("100000.00000000", "0.01000000")]


@both
class TestPriceRelation:
    async def test_the_price_of_a_take_profit_limit_must_be_beyond_the_last(self, transport: str) -> None:
        """rest-api.md, OCO: SELL LIMIT_MAKER/TAKE_PROFIT_LIMIT price > last price."""
        leg = {"aboveType": "TAKE_PROFIT_LIMIT", "aboveStopPrice": "110000", "aboveTimeInForce": "GTC"}
        async with market(transport) as (_, client):
            for price in ("99000", "100000"):
                assert await client.refusal("orderList.place.oco", **{**OCO, **leg, "abovePrice": price}) == RELATION
            await client.ask("orderList.place.oco", **{**OCO, **leg, "abovePrice": "100000.01"})
            assert client.status == 200

    async def test_a_buy_is_the_mirror_of_it(self, transport: str) -> None:
        """rest-api.md, OCO: BUY LIMIT_MAKER/TAKE_PROFIT_LIMIT price < last price."""
        leg = {"belowType": "TAKE_PROFIT_LIMIT", "belowStopPrice": "90000", "belowTimeInForce": "GTC"}
        async with market(transport) as (_, client):
            assert await client.refusal("orderList.place.oco", **{**BUY_OCO, **leg, "belowPrice": "101000"}) == RELATION

    @pytest.mark.parametrize("method", ["orderList.place.otoco", "orderList.place.opoco"])
    async def test_a_pending_pair_is_refused_for_it_when_its_moment_comes(self, transport: str, method: str) -> None:
        """rest-api.md, OTOCO: pending legs follow the rules of the OCO; user-data-stream.md, expiry reason REJECTED."""
        pair = {"pendingAboveType": "TAKE_PROFIT_LIMIT", "pendingAboveStopPrice": "110000"}
        pair |= {"pendingAbovePrice": "98000", "pendingAboveTimeInForce": "GTC"}
        async with market(transport) as (kit, client):
            placed = await client.ask(method, **{**(OTOCO if "otoco" in method else OPOCO), **pair})
            kit.trade("99000")
            for leg in placed["orders"][1:]:
                ended = await client.ask("order.status", symbol=SYMBOL, orderId=leg["orderId"])
                assert (ended["status"], ended["expiryReason"]) == ("EXPIRED", "REJECTED")


@both
class TestCounts:
    @pytest.mark.parametrize("method", ["orderList.place.oto", "orderList.place.opo"])
    async def test_a_list_with_a_pending_market_order_adds_two(self, transport: str, method: str) -> None:
        """rest-api.md, OTO: "OTOs add 2 orders to the ... MAX_NUM_ORDERS filter"."""
        few = rows({"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 2})
        async with market(transport, symbols=few) as (_, client):
            await client.ask("order.place", **LIMIT)
            wanted = OTO if method.endswith("oto") else OPO
            assert await client.refusal(method, **wanted) == (-1013, "Filter failure: MAX_NUM_ORDERS")
            await client.ask("openOrders.cancelAll", symbol=SYMBOL)
            await client.ask(method, **wanted)
            assert client.status == 200


@both
class TestCancelAll:
    async def test_one_client_order_id_names_the_whole_call(self, transport: str) -> None:
        """rest-api.md, "Cancel All Open Orders on a Symbol": the sample's clientOrderId, legs of lists included."""
        async with market(transport) as (_, client):
            await client.ask("order.place", **LIMIT)
            await client.ask("order.place", **{**LIMIT, "price": "91000"})
            await client.ask("orderList.place.oco", **OCO)
            await client.events()
            answers = await client.ask("openOrders.cancelAll", symbol=SYMBOL)
            ids = [row["clientOrderId"] for each in answers for row in each.get("orderReports", [each])]
            assert len(ids) == 4
            assert len(set(ids)) == 1
            assert {event["c"] for event in await client.events()} == set(ids)


CROSSING = {**LIMIT, "type": "LIMIT_MAKER", "timeInForce": None, "price": "101000", "newClientOrderId": "new"}


@both
class TestRefusalsPushed:
    async def replace(self, client: Wire, **changes: Any) -> Any:
        old = await client.ask("order.place", **LIMIT)
        await client.events()
        params = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": old["orderId"], **CROSSING, **changes}
        return await client.ask("order.cancelReplace", **params)

    async def test_a_cancel_replace_whose_new_order_fails_is_pushed_as_rejected(self, transport: str) -> None:
        """enums.md, execution type REJECTED; user-data-stream.md, "Order Reject Reason"."""
        async with market(transport) as (_, client):
            assert (await self.replace(client))["data"]["newOrderResult"] == "FAILURE"
            cancelled, rejected = await client.events()
            assert cancelled["x"] == "CANCELED"
            assert (rejected["x"], rejected["X"], rejected["r"]) == ("REJECTED", "REJECTED", "WOULD_MATCH_IMMEDIATELY")
            assert (rejected["c"], rejected["i"], rejected["q"]) == ("new", -1, "0.00100000")
            assert await client.refusal("order.status", symbol=SYMBOL, origClientOrderId="new") == (
                -2013,
                "Order does not exist.",
            )

    async def test_where_the_cancel_fails_too_nothing_is_pushed(self, transport: str) -> None:
        """enums.md names the case in which "the request to cancel request succeeds"."""
        async with market(transport) as (_, client):
            both_failed = await self.replace(client, cancelReplaceMode="ALLOW_FAILURE", cancelOrderId=99)
            assert both_failed["code"] == -2022
            assert await client.events() == []

    @pytest.mark.parametrize("choice", list(PushRefusals))
    async def test_which_refusals_are_pushed_is_a_choice(self, transport: str, choice: PushRefusals) -> None:
        async with market(transport, choices=ExchangeChoices(push_refusals=choice)) as (_, client):
            await self.replace(client)
            assert [event["x"] for event in await client.events()] == (
                ["CANCELED"] if choice is PushRefusals.NEVER else ["CANCELED", "REJECTED"]
            )
            for method, params, code in (
                ("order.place", CROSSING, -2010),
                ("orderList.place.oco", {**OCO, "abovePrice": "99000"}, -2010),
                ("orderList.place.oto", {**OTO, "workingQuantity": "10"}, -2010),
                ("orderList.place.oco", {**OCO, "aboveClientOrderId": "x", "belowClientOrderId": "x"}, -2010),
                ("order.place", {**LIMIT, "price": "0.001"}, -1013),
            ):
                assert (await client.refusal(method, **params))[0] == code
            reasons = [event["r"] for event in await client.events()]
            always = ["WOULD_MATCH_IMMEDIATELY", *["OCO_BAD_PRICES"] * 2, *["INSUFFICIENT_BALANCES"] * 2, *["NONE"] * 2]
            assert reasons == (always if choice is PushRefusals.ALWAYS else [])


@both
class TestSelfTradePrevention:
    async def clash(self, client: Wire, mode: str, quantity: str = "0.003", **more: Any) -> Any:
        """Two bids of 0.001 above the market's own, and a sell of `quantity` against them."""
        for nth in (1, 2):
            await client.ask(
                "order.place", **{**LIMIT, "price": f"10{nth}000", "type": "LIMIT_MAKER"} | {"timeInForce": None}
            )
        await client.events()
        taker = {**LIMIT, "side": "SELL", "price": "100500", "quantity": quantity, "selfTradePreventionMode": mode}
        return await client.ask("order.place", **taker, **more)

    @pytest.mark.parametrize(
        ("mode", "lost"),
        [
            ("EXPIRE_MAKER", [(None, "0.00100000"), (None, "0.00100000")]),
            ("EXPIRE_TAKER", [("0.00300000", None)]),
            ("EXPIRE_BOTH", [("0.00300000", "0.00100000")]),
            ("DECREMENT", [("0.00100000", "0.00100000"), ("0.00100000", "0.00100000")]),
        ],
    )
    async def test_a_full_answer_lists_the_prevented_matches(
        self, transport: str, mode: str, lost: list[tuple[str | None, str | None]]
    ) -> None:
        """faqs/stp_faq.md, scenarios B to H."""
        async with market(transport, last_price=None) as (_, client):
            taker = await self.clash(client, mode)
            assert [
                (each.get("takerPreventedQuantity"), each.get("makerPreventedQuantity"))
                for each in taker["preventedMatches"]
            ] == lost
            first = taker["preventedMatches"][0]
            assert (first["preventedMatchId"], first["makerOrderId"], first["makerSymbol"]) == (0, 2, SYMBOL)
            assert first["price"] == "102000.00000000"
            assert "preventedMatchId" not in taker
            assert ("preventedQuantity" in taker) == (mode != "EXPIRE_MAKER")
            assert "preventedMatches" not in await self.clash(client, "NONE")

    async def test_the_event_names_the_trade_group_and_the_last_quantity_lost(self, transport: str) -> None:
        """user-data-stream.md, conditional fields; faqs/stp_faq.md: `B` on TRADE_PREVENTION, -1 without a group."""
        async with market(transport, last_price=None) as (_, client):
            await self.clash(client, "DECREMENT", "0.0015")
            prevented = [event for event in await client.events() if event["x"] == "TRADE_PREVENTION"]
            assert {event["u"] for event in prevented} == {-1}
            assert [(event["i"], event["B"], event["A"]) for event in prevented] == [
                (2, "0.00100000", "0.00100000"),
                (3, "0.00100000", "0.00100000"),
                (1, "0.00050000", "0.00050000"),
                (3, "0.00050000", "0.00150000"),
            ]
            await client.ask("order.cancel", symbol=SYMBOL, orderId=1)
            (cancelled,) = await client.events()
            assert cancelled["A"] == "0.00050000"
            assert not {"B", "u", "U", "pl", "pL", "pY"} & set(cancelled)

    async def test_my_prevented_matches(self, transport: str) -> None:
        """rest-api.md, "Query Prevented Matches"; faqs/stp_faq.md, "What is a Prevented Match?"."""
        async with market(transport, last_price=None) as (_, client):
            taker = await self.clash(client, "EXPIRE_BOTH")
            (match,) = await client.ask("myPreventedMatches", symbol=SYMBOL, orderId=taker["orderId"])
            assert match.pop("transactTime") > 0
            assert match == {
                "symbol": SYMBOL,
                "preventedMatchId": 0,
                "takerOrderId": 3,
                "makerSymbol": SYMBOL,
                "makerOrderId": 2,
                "tradeGroupId": -1,
                "selfTradePreventionMode": "EXPIRE_BOTH",
                "price": "102000.00000000",
                "takerPreventedQuantity": "0.00300000",
                "makerPreventedQuantity": "0.00100000",
            }
            await self.clash(client, "EXPIRE_MAKER", "0.001")
            (match,) = await client.ask("myPreventedMatches", symbol=SYMBOL, preventedMatchId=1)
            assert "takerPreventedQuantity" not in match
            unknown = await client.refusal("myPreventedMatches", symbol="NONE", orderId=1)
            assert unknown == (-1121, "Invalid symbol.")

    async def test_the_sibling_of_an_oco_ends_as_triggered(self, transport: str) -> None:
        """user-data-stream.md, OCO_TRIGGER: the other order of the pair, or "the entire OCO expired"."""
        thin = LiquidityModel.tight(level_notional=Decimal(1_000), levels=1)
        async with market(transport, liquidity=thin) as (_, client):
            pair = await client.ask("orderList.place.oco", **OCO)
            taker = {**LIMIT, "price": "110000", "quantity": "0.05", "selfTradePreventionMode": "EXPIRE_MAKER"}
            assert (await client.ask("order.place", **taker))["preventedMatches"][0]["makerOrderId"] == 2
            stop, target = [
                await client.ask("order.status", symbol=SYMBOL, orderId=leg["orderId"]) for leg in pair["orders"]
            ]
            assert target["status"] == "EXPIRED_IN_MATCH"
            assert (stop["status"], stop["expiryReason"]) == ("EXPIRED", "OCO_TRIGGER")


@both
class TestMessagesNameWhatWasSent:
    @pytest.mark.parametrize(
        ("method", "params", "name"),
        [
            ("order.place", {**LIMIT, "price": "90000.123456789"}, "price"),
            ("orderList.place.oco", {**OCO, "abovePrice": "110000.123456789"}, "abovePrice"),
            ("orderList.place.oco", {**OCO, "belowStopPrice": "95000.123456789"}, "belowStopPrice"),
            ("orderList.place.oco", {**OCO, "quantity": "0.0100000001"}, "quantity"),
            ("orderList.place", {**OLD_OCO, "price": "110000.123456789"}, "price"),
            ("orderList.place", {**OLD_OCO, "stopLimitPrice": "94900.123456789"}, "stopLimitPrice"),
            ("orderList.place", {**OLD_OCO, "limitIcebergQty": "0.0100000001"}, "limitIcebergQty"),
            ("orderList.place", {**OLD_OCO, "stopPrice": "94900.123456789"}, "stopPrice"),
            ("orderList.place.oto", {**OTO, "workingPrice": "99000.123456789"}, "workingPrice"),
            ("orderList.place.oto", {**OTO, "pendingQuantity": "0.0050000001"}, "pendingQuantity"),
            ("orderList.place.otoco", {**OTOCO, "pendingAbovePrice": "110000.123456789"}, "pendingAbovePrice"),
            ("orderList.place.opoco", {**OPOCO, "pendingBelowStopPrice": "95000.123456789"}, "pendingBelowStopPrice"),
        ],
    )
    async def test_too_much_precision(self, transport: str, method: str, params: dict[str, Any], name: str) -> None:
        """errors.md, -1111: "Parameter '%s' has too much precision"."""
        async with market(transport) as (_, client):
            assert await client.refusal(method, **params) == (-1111, f"Parameter '{name}' has too much precision.")

    async def test_the_old_oco_without_a_time_in_force(self, transport: str) -> None:
        """CHANGELOG.md 2019-11-13."""
        async with market(transport) as (_, client):
            assert await client.refusal("orderList.place", **{**OLD_OCO, "stopLimitTimeInForce": None}) == (
                -1128,
                f"{BAD_COMBINATION} Recommendation: 'stopLimitTimeInForce' should also be sent.",
            )

    @pytest.mark.parametrize(
        ("method", "params", "iceberg", "needed"),
        [
            ("orderList.place.oco", OCO | {"belowTimeInForce": "IOC"}, "belowIcebergQty", "belowTimeInForce"),
            ("orderList.place", OLD_OCO | {"stopLimitTimeInForce": "FOK"}, "stopIcebergQty", "stopLimitTimeInForce"),
            (
                "orderList.place.otoco",
                OTOCO_LIMIT | {"pendingBelowTimeInForce": "IOC"},
                "pendingBelowIcebergQty",
                "pendingBelowTimeInForce",
            ),
        ],
    )
    async def test_an_iceberg_leg_must_be_good_till_cancelled(
        self, transport: str, method: str, params: dict[str, Any], iceberg: str, needed: str
    ) -> None:
        """errors.md, -1160 OCO_ICEBERGQTY_TIMEINFORCE."""
        async with market(transport) as (_, client):
            assert await client.refusal(method, **params, **{iceberg: "0.001"}) == (
                -1160,
                f"Parameter '{iceberg}' is not supported if '{needed}' is not GTC.",
            )

    async def test_who_pays_whom_in_an_opo(self, transport: str) -> None:
        """errors.md, -1222, -1223, -1225."""
        async with market(transport) as (_, client):
            sells = await client.refusal("orderList.place.opo", **{**OPO, "workingSide": "SELL"})
            assert sells == (-1222, "Working order in an OPO list must be a bid.")
            buys = await client.refusal("orderList.place.opo", **{**OPO, "pendingSide": "BUY"})
            assert buys == (-1223, "Pending orders in an OPO list must be asks.")
            sized = await client.refusal("orderList.place.opo", **OPO, pendingQuantity="1")
            assert sized == (-1225, "Pending orders should not include the 'pendingQuantity' tag.")


@both
class TestAmend:
    async def test_an_unknown_order(self, transport: str) -> None:
        """errors.md, -2038 and "Unknown order sent."."""
        async with market(transport) as (_, client):
            for which in ({"orderId": 9}, {"origClientOrderId": "none"}):
                refused = await client.refusal("order.amend.keepPriority", symbol=SYMBOL, newQty="1", **which)
                assert refused == (-2038, "Unknown order sent.")

    async def test_a_pending_order_of_an_opo(self, transport: str) -> None:
        """errors.md: "Order amend (pending OPO order) is not supported."."""
        async with market(transport) as (_, client):
            await client.ask("orderList.place.opo", **OPO)
            refused = await client.refusal("order.amend.keepPriority", symbol=SYMBOL, newQty="1", orderId=2)
            assert refused == (-2038, "Order amend (pending OPO order) is not supported.")

    async def test_it_tells_the_old_id_and_the_new(self, transport: str) -> None:
        """rest-api.md, "Order Amend Keep Priority", the sample."""
        async with market(transport) as (_, client):
            order = await client.ask("order.place", **LIMIT, newClientOrderId="old")
            amended = await client.ask(
                "order.amend.keepPriority",
                symbol=SYMBOL,
                orderId=order["orderId"],
                newQty="0.0005",
                newClientOrderId="new",
            )
            shown = amended["amendedOrder"]
            assert (shown["origClientOrderId"], shown["clientOrderId"]) == ("old", "new")

    async def test_the_older_of_two_orders_with_one_id_is_found_when_the_newer_is_renamed(self, transport: str) -> None:
        """rest-api.md, "newClientOrderId": an id may be used again once its order has ended, which stays queryable."""
        async with market(transport) as (_, client):
            first = await client.ask("order.place", **LIMIT, newClientOrderId="mine")
            await client.ask("order.cancel", symbol=SYMBOL, orderId=first["orderId"])
            second = await client.ask("order.place", **LIMIT, newClientOrderId="mine")
            assert (await client.ask("order.status", symbol=SYMBOL, origClientOrderId="mine"))["orderId"] == 2
            await client.ask("order.amend.keepPriority", symbol=SYMBOL, orderId=second["orderId"], newQty="0.0005")
            assert (await client.ask("order.status", symbol=SYMBOL, origClientOrderId="mine"))["orderId"] == 1


@both
class TestOnePaysTheOther:
    async def test_a_pending_market_order_is_cut_to_its_lot_and_the_rest_is_free(self, transport: str) -> None:
        """faqs/opo.md: the quantity is adjusted to MARKET_LOT_SIZE, what is not used is unlocked."""
        small = rows({"filterType": "MARKET_LOT_SIZE", "minQty": "0", "maxQty": "0.004", "stepSize": "0.001"})
        async with market(transport, symbols=small) as (kit, client):
            await client.ask("orderList.place.opo", **OPO)
            kit.trade("99000")
            sold = await client.ask("order.status", symbol=SYMBOL, orderId=2)
            assert (sold["status"], sold["origQty"], sold["executedQty"]) == ("FILLED", "0.00400000", "0.00400000")
            held = await client.ask("account.status")
            btc = next(row for row in held["balances"] if row["asset"] == "BTC")
            assert (btc["free"], btc["locked"]) == ("1.00599000", "0.00000000")

    async def test_a_visible_quantity_above_the_sized_one_is_refused(self, transport: str) -> None:
        """faqs/opo.md: what is pending is judged once the working order has filled; errors.md on its text."""
        pending = {"pendingType": "LIMIT_MAKER", "pendingPrice": "110000", "pendingIcebergQty": "0.02"}
        async with market(transport) as (kit, client):
            await client.ask("orderList.place.opo", **{**OPO, **pending})
            kit.trade("99000")
            ended = await client.ask("order.status", symbol=SYMBOL, orderId=2)
            assert (ended["status"], ended["expiryReason"]) == ("EXPIRED", "REJECTED")


@both
class TestIceberg:
    async def test_exceeding_is_the_matching_engines_word(self, transport: str) -> None:
        """errors.md lists "IcebergQty exceeds QTY." among the matching engine's: after filters, not in order/test."""
        order = {**LIMIT, "icebergQty": "0.002"}
        async with market(transport) as (_, client):
            assert await client.ask("order.test", **order) == {}
            assert await client.refusal("order.place", **order) == (-2010, "IcebergQty exceeds QTY.")
            low = await client.refusal("order.place", **{**order, "price": "0.001"})
            assert low == (-1013, "Filter failure: PRICE_FILTER")
            pending = {"pendingType": "LIMIT_MAKER", "pendingPrice": "110000", "pendingIcebergQty": "0.02"}
            exceeding = await client.refusal("orderList.place.oto", **{**OTO, **pending})
            assert exceeding == (-2010, "IcebergQty exceeds QTY.")
            leg = await client.refusal("orderList.place.oco", **OCO, aboveIcebergQty="0.02")
            assert leg == (-2010, "IcebergQty exceeds QTY.")


@both
class TestSeenInRealAnswers:
    async def test_an_unknown_list(self, transport: str) -> None:
        """Answers of the exchange: -2011 "Unknown order list sent." and -2018 "Order list does not exist."."""
        async with market(transport) as (_, client):
            placed = await client.ask("orderList.place.oco", **OCO, listClientOrderId="mine")
            for which in (
                {"orderListId": 9},
                {"listClientOrderId": "none"},
                {"orderListId": placed["orderListId"], "listClientOrderId": "none"},
            ):
                gone = await client.refusal("orderList.cancel", symbol=SYMBOL, **which)
                assert gone == (-2011, "Unknown order list sent.")
            unknown = await client.refusal("orderList.status", orderListId=9)
            assert unknown == (-2018, "Order list does not exist.")

    async def test_a_symbol_of_any_script(self, transport: str) -> None:
        """The exchange lists pairs with Chinese names; -1100 prints the range of a symbol."""
        listed = [symbol_row(), symbol_row(CHINESE, "币安人生")]
        async with market(transport, symbols=listed, balances={"币安人生": "5", "USDT": "1000"}) as (kit, client):
            kit.trade("0.25", symbol=CHINESE)
            placed = await client.ask("order.place", **{**LIMIT, "symbol": CHINESE, "price": "0.2", "quantity": "50"})
            assert placed["symbol"] == CHINESE
            assert [event["s"] for event in await client.events()] == [CHINESE]
            assert (await client.ask("ticker.price", symbols=f'["{CHINESE}"]'))[0]["symbol"] == CHINESE
            refused = await client.refusal("ticker.price", symbol="btcusdt")
            assert refused == (
                -1100,
                "Illegal characters found in parameter 'symbol'; legal range is '^[\\w\\-._&&[^a-z]]{1,50}$'.",
            )

    async def test_more_parameters_than_the_endpoint_knows(self, transport: str) -> None:
        """A GET of an order with the parameters of a POST: "Too many parameters; expected '6' and received '8'."."""
        async with market(transport) as (_, client):
            refused = await client.refusal("order.status", **LIMIT)
            sent = 8 if transport == REST else 9
            assert refused == (-1101, f"Too many parameters; expected '6' and received '{sent}'.")

    async def test_the_same_parameter_twice(self, transport: str) -> None:
        """An answer of the exchange: "Duplicate values for parameter 'symbols[]'."."""
        if transport == WS:
            return  # JSON objects have no name twice
        async with market(transport) as (kit, _), rest(kit) as http:
            answer = await http.raw("GET", "/api/v3/ticker/price?symbols[]=A&symbols[]=B", headers={})
            assert answer == {"code": -1101, "msg": "Duplicate values for parameter 'symbols[]'."}
