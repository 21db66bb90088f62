import pytest

from executor.paper.server.errors import ApiError
from executor.paper.server.limits import DAY_MS, FIRST_BAN_MS, MINUTE_MS, Counter, Limits, RequestMeter

NOON = 1_750_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
SMALL = Limits(request_weight_per_minute=10, refusals_before_ban=2)


def test_windows_are_fixed_to_the_clock() -> None:
    counter = Counter(MINUTE_MS)
    assert counter.add(NOON + 59_999, 3) == 3
    assert counter.count(NOON + 59_999) == 3
    assert counter.count(NOON + 60_000) == 0
    assert counter.ends_ms(NOON + 1) == NOON + MINUTE_MS


def test_a_count_is_never_negative() -> None:
    counter = Counter(MINUTE_MS)
    assert counter.add(NOON, -5) == 0


def test_weight_up_to_the_limit_passes_and_one_more_is_429() -> None:
    meter = RequestMeter(SMALL)
    meter.charge(NOON, 10)
    with pytest.raises(ApiError) as caught:
        meter.charge(NOON + 1, 1)
    assert (caught.value.code, caught.value.status) == (-1003, 429)
    assert caught.value.retry_after_ms == NOON + MINUTE_MS
    assert "current limit is 10 request weight per 1 MINUTE" in caught.value.msg


def test_a_new_minute_forgives() -> None:
    meter = RequestMeter(SMALL)
    meter.charge(NOON, 10)
    meter.charge(NOON + MINUTE_MS, 10)
    assert meter.used(NOON + MINUTE_MS) == 10


def test_refunded_weight_does_not_count() -> None:
    meter = RequestMeter(SMALL)
    for _ in range(50):
        meter.charge(NOON, 1)
        meter.refund(NOON, 1)
    assert meter.used(NOON) == 0


def test_whoever_ignores_429_is_banned_longer_each_time() -> None:
    meter = RequestMeter(SMALL)
    now = NOON
    for turn in range(3):
        meter.charge(now, 10)
        statuses = []
        for _ in range(3):
            with pytest.raises(ApiError) as caught:
                meter.charge(now, 1)
            statuses.append(caught.value.status)
        assert statuses == [429, 429, 418]
        until = now + FIRST_BAN_MS * 2**turn
        with pytest.raises(ApiError, match=f"IP banned until {until}") as caught:
            meter.charge(until - 1, 1)
        assert caught.value.retry_after_ms == until
        now = until


def test_raw_requests_are_limited_whatever_they_weigh() -> None:
    meter = RequestMeter(Limits(raw_requests_per_5_minutes=3))
    for _ in range(3):
        meter.charge(NOON, 0)
    with pytest.raises(ApiError, match="-1003"):
        meter.charge(NOON + 4 * MINUTE_MS, 0)
    meter.charge(NOON + 5 * MINUTE_MS, 0)


def test_the_limits_are_announced_as_documented() -> None:
    assert Limits().announce() == [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 160000},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300000},
    ]
