from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from executor.core.model.events import Verb
from executor.ops import text
from executor.ops.assets import Assets, assets_of

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@given(st.integers(0, 4_000_000_000_000))
def test_instants_are_read_back_to_the_millisecond(ms: int) -> None:
    assert datetime.fromisoformat(text.instant(ms)) - EPOCH == timedelta(milliseconds=ms)


@given(st.decimals(-1_000_000, 1_000_000, places=10))
def test_short_is_exact(value: Decimal) -> None:
    shown = text.short(value)
    assert Decimal(shown) == value
    assert "E" not in shown
    assert not shown.endswith(".")
    assert shown != "-0"


@given(st.integers(0, 10**12))
def test_seconds_are_exact(ms: int) -> None:
    assert Decimal(text.seconds(ms)) * 1000 == ms


def test_what_the_service_tells_itself_is_not_called_the_operators_word() -> None:
    assert text.who_says(Verb.FLATTEN) == "the operator: flatten"
    assert [text.who_says(verb).partition(" (")[0] for verb in (Verb.END, Verb.RETRY)] == [
        "the service is about to end",
        "the service is about to end: what waits for its pause is tried at once",
    ]


def test_spans() -> None:
    assert [text.span(ms) for ms in (0, 999, 61_000, 3_600_000, 90_061_000, -5)] == [
        "0:00:00",
        "0:00:00",
        "0:01:01",
        "1:00:00",
        "1d 1:01:01",
        "0:00:00",
    ]


def test_columns_align() -> None:
    assert text.columns(("a", "n"), [("long", "1"), ("x", "20")], right={"n"}) == "a      n\nlong   1\nx     20"


def test_fields_keep_their_column() -> None:
    assert text.fields([("name", "one\ntwo"), ("n", "3")]) == "name  one\n      two\nn     3"


def test_the_assets_of_a_symbol() -> None:
    assert assets_of("LTCUSDT", ["USDT", "BNB"]) == Assets("LTC", "USDT")
    assert assets_of("LTCUSDT", ["LTC"]) == Assets("LTC", "USDT")
    assert assets_of("BNBUSDT", ["BNB"]) == Assets("BNB", "USDT")
    assert assets_of("LTCUSDT", ["BNB"]) == Assets("", "")
    assert assets_of("LTCUSDT", []) == Assets("", "")


@given(st.integers(-(2**63), 2**63))
def test_a_time_that_no_calendar_has_is_shown_as_the_number_that_it_is(ms: int) -> None:
    shown = text.moment(ms)
    assert shown == f"{ms} ms" or -(10**14) < ms < 3 * 10**14
