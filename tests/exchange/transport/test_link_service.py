"""When orders go over the WebSocket API, and when it is tried again (rule 8.7)."""

from executor.exchange.transport.link_service import PAUSES_MS, LinkService, not_served
from executor.exchange.wire.answer import Answer

ENTRY = {"newClientOrderId": "EX_1_ENTRY_0"}
STOP = {"newClientOrderId": "EX_1_SL_1"}


def test_it_takes_all_orders_until_it_fails() -> None:
    service = LinkService()
    assert all(service.takes(params, 0) for params in (ENTRY, STOP, {}, ENTRY))
    service.served()
    assert service.takes(STOP, 0)


def test_it_is_tried_again_in_growing_pauses_with_one_order_at_a_time() -> None:
    service = LinkService()
    now = 0
    for pause in (*PAUSES_MS, PAUSES_MS[-1]):
        service.failed("cut", now, silent=False)
        assert not service.takes(STOP, now + pause - 1)
        now += pause
        assert service.takes(STOP, now)
        assert not service.takes(STOP, now)
    service.served()
    assert service.takes(STOP, now)
    service.failed("cut", now, silent=False)
    assert service.takes(STOP, now + PAUSES_MS[0])


def test_what_was_silent_is_tried_with_an_entry_alone() -> None:
    service = LinkService()
    service.failed("timeout", 0, silent=True)
    later = 10 * PAUSES_MS[-1]
    assert not service.takes(STOP, later)
    assert not service.takes({}, later)
    assert not service.takes({**ENTRY, "cancelReplaceMode": "STOP_ON_FAILURE"}, later)
    assert service.takes(ENTRY, later)


def test_several_that_fail_at_once_are_one_failure() -> None:
    service = LinkService()
    for _ in range(3):
        service.failed("cut", 0, silent=False)
    assert service.takes(STOP, PAUSES_MS[0])


def test_which_answers_say_that_orders_are_not_served_here() -> None:
    said = b'{"code":-2010,"msg":"WebSocket API trading is not enabled."}'
    assert not_served(Answer(400, {}, said))
    assert not_served(Answer(410, {}, b"gone"))
    assert not not_served(Answer(400, {}, b'{"code":-2010,"msg":"Market is closed."}'))
    assert not not_served(Answer(200, {}, said))


def test_a_trial_that_never_went_does_not_keep_the_others_away() -> None:
    service = LinkService()
    service.failed("cut", 0, silent=False)
    now = PAUSES_MS[0]
    assert service.takes(STOP, now)
    assert not service.takes(STOP, now + 14_999)
    assert service.takes(STOP, now + 15_000)


def test_an_answer_after_silence_makes_it_whole() -> None:
    service = LinkService()
    service.failed("timeout", 0, silent=True)
    assert service.takes(ENTRY, PAUSES_MS[0])
    service.served()
    service.failed("cut", PAUSES_MS[0], silent=False)
    assert service.takes(STOP, 2 * PAUSES_MS[0])
