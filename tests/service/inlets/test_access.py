"""Who may send a signal, and how often."""

import hashlib
import hmac
import ipaddress
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.service.inlets.access import (
    SECRET_HEADER,
    SIGNATURE_HEADER,
    SOURCES_MAX,
    TIME_HEADER,
    Bucket,
    DeniedError,
    Keys,
    Rates,
    address_of,
    source_of,
    within,
)

SECRET, HMAC_KEY = "correct horse battery", "staple correct horse"
NOW = 1_750_000_000.5
BODY = b'{"id":"a"}'
PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))


def signed(body: bytes = BODY, at: int = int(NOW), key: str = HMAC_KEY) -> dict[str, str]:
    told = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {TIME_HEADER: str(at), SIGNATURE_HEADER: told}


def denied(keys: Keys, headers: dict[str, str], body: bytes = BODY, shown: str = "", now: float = NOW) -> int:
    """The status that it is denied with; 0 when it is let in."""
    try:
        keys.spend(keys.check(headers, body, shown, now), now)
    except DeniedError as error:
        assert SECRET not in str(error)  # noqa: PT017  a denial is one of two right ends
        return error.status
    return 0


class TestSecret:
    def test_in_the_header_or_in_the_body(self) -> None:
        keys = Keys(SECRET, None, 60)
        assert denied(keys, {SECRET_HEADER: SECRET}) == 0
        assert denied(keys, {}, shown=SECRET) == 0

    @given(st.text())
    def test_nothing_else_opens(self, text: str) -> None:
        keys = Keys(SECRET, None, 60)
        if text != SECRET:
            assert denied(keys, {SECRET_HEADER: text}) == 401
            assert denied(keys, {}, shown=text) == 401
            assert denied(keys, {SECRET_HEADER: text or "x"}, shown=SECRET) == 401

    def test_a_signature_is_no_way_around_a_secret(self) -> None:
        assert denied(Keys(SECRET, None, 60), signed(key="")) == 401
        assert denied(Keys(SECRET, None, 60), signed()) == 401

    def test_none_at_all_is_no_webhook(self) -> None:
        for nothing in (None, ""):
            with pytest.raises(ValueError, match="open to anybody"):
                Keys(nothing, nothing, 60)


class TestSignature:
    def test_right_ones_open_once(self) -> None:
        keys = Keys(None, HMAC_KEY, 60)
        assert denied(keys, signed()) == 0
        assert denied(keys, signed()) == 409
        upper = signed()
        upper[SIGNATURE_HEADER] = "sha256=" + upper[SIGNATURE_HEADER].upper()
        assert denied(keys, upper) == 409
        assert denied(keys, signed(at=int(NOW) + 1)) == 0

    def test_one_that_was_put_off_may_come_again(self) -> None:
        keys = Keys(None, HMAC_KEY, 60)
        assert keys.check(signed(), BODY, "", NOW) == keys.check(signed(), BODY, "", NOW) != b""

    @pytest.mark.parametrize("off", [-61, 62, -10_000, 10**9])
    def test_the_time_is_bounded_on_both_sides(self, off: int) -> None:
        assert denied(Keys(None, HMAC_KEY, 60), signed(at=int(NOW) + off)) == 401

    def test_a_spent_signature_is_remembered_as_long_as_it_could_count(self) -> None:
        keys = Keys(None, HMAC_KEY, 60)
        early = signed(at=int(NOW) + 60)
        assert denied(keys, early) == 0
        for later in (0, 60, 119):
            assert denied(keys, early, now=NOW + later) == 409
        assert denied(keys, early, now=NOW + 121) == 401
        keys.spend(b"", NOW + 10_000)
        assert not keys._used

    @given(st.text(), st.text(), st.binary())
    def test_nothing_made_up_opens(self, time: str, signature: str, body: bytes) -> None:
        keys = Keys(SECRET, HMAC_KEY, 60)
        assert denied(keys, {TIME_HEADER: time, SIGNATURE_HEADER: signature}, body) == 401

    def test_not_with_another_body_time_or_key(self) -> None:
        keys = Keys(SECRET, HMAC_KEY, 60)
        assert denied(keys, signed(), b'{"id":"b"}') == 401
        assert denied(keys, {**signed(), TIME_HEADER: str(int(NOW) + 1)}) == 401
        assert denied(keys, signed(key=SECRET)) == 401
        assert denied(keys, {SIGNATURE_HEADER: signed()[SIGNATURE_HEADER]}) == 401

    def test_a_wrong_signature_is_not_saved_by_a_right_secret(self) -> None:
        headers = {**signed(key="another"), SECRET_HEADER: SECRET}
        assert denied(Keys(SECRET, HMAC_KEY, 60), headers, shown=SECRET) == 401

    def test_signed_only(self) -> None:
        assert denied(Keys(None, HMAC_KEY, 60), {SECRET_HEADER: HMAC_KEY}, shown=HMAC_KEY) == 401


class TestSource:
    PEER = IPv4Address("192.0.2.1")
    PROXY = IPv4Address("10.0.0.1")

    @given(st.lists(st.text() | st.ip_addresses().map(str), max_size=4))
    def test_what_strangers_say_of_themselves_counts_for_nothing(self, forwarded: list[str]) -> None:
        assert source_of(self.PEER, forwarded, PROXIES) == self.PEER

    @pytest.mark.parametrize(
        ("forwarded", "source"),
        [
            (["203.0.113.9"], "203.0.113.9"),
            (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            (["198.51.100.1", "203.0.113.9, 10.1.2.3"], "203.0.113.9"),
            (["203.0.113.9, nonsense"], "10.0.0.1"),
            (["::ffff:203.0.113.9"], "203.0.113.9"),
            (["203.0.113.9:51423"], "203.0.113.9"),
            (["198.51.100.1, [2001:db8::9]:443"], "2001:db8::9"),
            (["[2001:db8::9]"], "2001:db8::9"),
            (["2001:db8::9"], "2001:db8::9"),
            (['"[2001:db8::9]:443"'], "2001:db8::9"),
            (["203.0.113.9:x"], "10.0.0.1"),
            (["[203.0.113.9"], "10.0.0.1"),
            ([":443"], "10.0.0.1"),
            (["10.9.9.9"], "10.0.0.1"),
            ([], "10.0.0.1"),
        ],
    )
    def test_of_a_proxy_the_last_stranger_counts(self, forwarded: list[str], source: str) -> None:
        assert source_of(self.PROXY, forwarded, PROXIES) == ipaddress.ip_address(source)

    def test_addresses(self) -> None:
        assert address_of(" fe80::1%eth0 ") == ipaddress.ip_address("fe80::1")
        assert address_of("::ffff:10.0.0.1") == self.PROXY
        assert address_of("localhost") is None
        assert within(self.PROXY, PROXIES)
        assert not within(self.PEER, PROXIES)


class TestRates:
    @given(st.integers(1, 100), st.lists(st.floats(0, 30), max_size=300))
    def test_never_more_than_two_minutes_worth_in_any_minute(self, per_minute: int, gaps: list[float]) -> None:
        bucket, now, taken = Bucket(per_minute, 0.0), 0.0, []
        for gap in gaps:
            now += gap
            wait = bucket.take(now)
            assert wait >= 0
            if not wait:
                taken.append(now)
        for start in taken:
            assert sum(1 for at in taken if start <= at < start + 60) <= 2 * per_minute

    def test_after_the_time_that_is_told_it_goes_on(self) -> None:
        bucket = Bucket(2, 0.0)
        assert [bucket.take(0.0), bucket.take(0.0)] == [0, 0]
        wait = bucket.take(0.0)
        assert wait == pytest.approx(30)
        assert bucket.take(wait + 0.001) == 0

    def test_sources_do_not_pay_for_each_other_and_an_ipv6_site_is_one(self) -> None:
        rates = Rates(1)
        assert rates.take(IPv4Address("192.0.2.1"), 0.0) == 0
        assert rates.take(IPv4Address("192.0.2.1"), 0.0) > 0
        assert rates.take(IPv4Address("192.0.2.2"), 0.0) == 0
        assert rates.take(ipaddress.ip_address("2001:db8::1"), 0.0) == 0
        assert rates.take(ipaddress.ip_address("2001:db8::ffff:2"), 0.0) > 0
        assert rates.take(ipaddress.ip_address("2001:db8:0:1::1"), 0.0) == 0

    def test_memory_is_bounded(self) -> None:
        rates = Rates(1)
        for n in range(2 * SOURCES_MAX):
            rates.take(IPv4Address(n), 0.0)
        assert len(rates._buckets) == SOURCES_MAX
