"""Whatever the Bot API answers, it is a result, an error of Telegram's, or no answer at all."""

import httpx
import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from tests.hostile import bodies

from executor.ops.telegram.api import LONGEST_PAUSE_S, BotApi, BotError, UnreachableError
from executor.ops.telegram.updates import updates, username

SENT = b'{"ok":true,"result":{"message_id":1}}'
SLOW = b'{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":5}}'
MOVED = b'{"ok":false,"error_code":400,"description":"upgraded","parameters":{"migrate_to_chat_id":-1000000004001}}'
UPDATES = b'[{"update_id":1,"message":{"message_id":5,"chat":{"id":-4},"from":{"id":7},"text":"/status"}}]'


@given(st.sampled_from([200, 204, 302, 400, 401, 403, 404, 429, 500, 502]), bodies(SENT, SLOW, MOVED))
@example(429, b'{"ok":false,"parameters":{"retry_after":1e308}}')
@example(400, b'{"ok":false,"description":"\xff"}')
def test_an_answer_is_read_or_told_as_what_it_is(status: int, body: bytes) -> None:
    api = BotApi(httpx.AsyncClient(), "12:token")
    try:
        found = api._read(httpx.Response(status, content=body))
    except BotError as error:
        assert 0 <= (error.parameters.retry_after or 0.0) <= LONGEST_PAUSE_S  # noqa: PT017  (one of three ends)
        assert "12:token" not in str(error)  # noqa: PT017
    except UnreachableError as error:
        assert str(error)  # noqa: PT017
    else:
        assert isinstance(found, msgspec.Raw)


@given(bodies(UPDATES))
def test_updates_are_read_or_can_not_be(body: bytes) -> None:
    for read in (updates, username):
        try:
            read(msgspec.Raw(body))
        except msgspec.DecodeError:
            continue
