"""What the documents leave open: each choice under each of its values, over the wire."""

from decimal import Decimal

import pytest
from tests.paper.server.exchange_kit import OCO, SYMBOL, running
from tests.paper.server.test_as_documented import LIMIT, OTOCO_LIMIT, market
from tests.paper.server.transports import REST, both, wire

from executor.paper.engine.choices import (
    ExchangeChoices,
    OcoDone,
    PreventedTold,
    PushOrder,
    all_choices,
    read_choices,
    shown_choices,
)


class TestChoices:
    @pytest.mark.parametrize("choice", list(OcoDone))
    async def test_when_an_oco_is_done(self, choice: OcoDone) -> None:
        """enums.md, ALL_DONE: "finished executing and thus is no longer active" allows both."""
        async with market(REST, choices=ExchangeChoices(oco_done=choice)) as (kit, client):
            for method, params in (("orderList.place.oco", OCO), ("orderList.place.otoco", OTOCO_LIMIT)):
                placed = await client.ask(method, **params)
                kit.trade("99000")
                await client.events("listStatus")
                kit.trade("94000")  # through the stop and past its limit: it works, and rests
                done = choice is OcoDone.TRIGGERED
                assert [event["l"] for event in await client.events("listStatus")] == (["ALL_DONE"] if done else [])
                status = await client.ask("orderList.status", orderListId=placed["orderListId"])
                assert status["listOrderStatus"] == ("ALL_DONE" if done else "EXECUTING")
                stop = placed["orders"][-2]["orderId"]
                cancelled = await client.ask("order.cancel", symbol=SYMBOL, orderId=stop)
                assert ("orderReports" in cancelled) == (not done)
                kit.trade("100000")

    @both
    @pytest.mark.parametrize("choice", list(PushOrder))
    async def test_whether_pushes_or_the_answer_come_first(self, transport: str, choice: PushOrder) -> None:
        """The documents say nothing; on one connection the order shows."""
        async with running(choices=ExchangeChoices(push_order=choice)) as kit, wire(kit, transport) as client:
            await client.stream.signed("order.place", **LIMIT)
            if choice is PushOrder.BEFORE_ANSWER:
                assert [message["event"]["e"] for message in client.stream.events] == [
                    "executionReport",
                    "outboundAccountPosition",
                ]
            else:
                assert client.stream.events == []
            assert len(await client.events()) == 1
            await client.ask("order.place", **LIMIT)
            assert (await client.stream.next_event())["x"] == "NEW"

    @both
    @pytest.mark.parametrize("choice", list(PreventedTold))
    async def test_what_self_trade_prevention_has_taken_is_told_of_those_that_expired_for_it(
        self, transport: str, choice: PreventedTold
    ) -> None:
        """faqs/stp_faq.md: "API responses for orders which expired due to STP" have it; of others it does not say."""
        async with market(transport, choices=ExchangeChoices(prevented_told=choice)) as (kit, client):
            placed = await client.ask("order.place", **LIMIT)
            (account,) = kit.engine.accounts()
            order_id, part = placed["orderId"], Decimal(placed["origQty"]) / 2
            await client.events()
            kit.engine.prevent_match(account, SYMBOL, order_id, part, kit.clock.now_ms())
            shown = await client.ask("order.status", symbol=SYMBOL, orderId=order_id)
            (pushed,) = await client.events()
            told = choice is PreventedTold.ALWAYS
            assert ("preventedQuantity" in shown) is ("A" in pushed) is told
            kit.engine.prevent_match(account, SYMBOL, order_id, part, kit.clock.now_ms())
            shown = await client.ask("order.status", symbol=SYMBOL, orderId=order_id)
            assert shown["status"] == "EXPIRED_IN_MATCH"
            assert Decimal(shown["preventedQuantity"]) == 2 * part


class TestReading:
    def test_every_choice_says_what_it_decides_and_has_its_default_among_its_values(self) -> None:
        for choice in all_choices():
            assert choice.decides
            assert choice.default in choice.values
            assert len(choice.values) > 1

    def test_names_and_values_are_read_and_shown_alike(self) -> None:
        assert read_choices([]) == ExchangeChoices()
        changed = read_choices([("oco_done", "triggered")])
        assert changed == ExchangeChoices(oco_done=OcoDone.TRIGGERED)
        both_changed = read_choices([("push_order", "after_answer")], changed)
        assert both_changed == ExchangeChoices(oco_done=OcoDone.TRIGGERED, push_order=PushOrder.AFTER_ANSWER)
        assert read_choices(shown_choices(both_changed).items()) == both_changed

    def test_what_does_not_exist_is_an_error_that_names_what_does(self) -> None:
        with pytest.raises(ValueError, match=r"choice is 'colour', must be one of oco_done, "):
            read_choices([("colour", "red")])
        with pytest.raises(ValueError, match=r"choice oco_done is 'maybe', must be one of ended, triggered"):
            read_choices([("oco_done", "maybe")])
