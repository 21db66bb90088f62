import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.paper.server.exchange_kit import Sign, ed25519_sign, hmac_sign, pem, rsa_sign

from executor.paper.server.errors import ApiError
from executor.paper.server.signing import (
    Credential,
    HmacSecret,
    Keyring,
    PublicKey,
    Window,
    read_window,
    rest_payload,
    ws_payload,
)

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()
NOW = 1_750_000_000_000


@pytest.mark.parametrize(
    ("verifier", "sign"),
    [
        (HmacSecret("s"), hmac_sign("s")),
        (PublicKey(pem(RSA_KEY)), rsa_sign(RSA_KEY)),
        (PublicKey(pem(ED25519_KEY)), ed25519_sign(ED25519_KEY)),
    ],
    ids=["hmac", "rsa", "ed25519"],
)
def test_each_kind_of_key_proves_its_own_payload_only(verifier: HmacSecret | PublicKey, sign: Sign) -> None:
    signature = sign(b"symbol=BTCUSDT")
    assert verifier.verify(b"symbol=BTCUSDT", signature)
    assert not verifier.verify(b"symbol=BTCUSDC", signature)
    assert not verifier.verify(b"symbol=BTCUSDT", sign(b"other"))
    assert not verifier.verify(b"symbol=BTCUSDT", "not a signature ü")


def test_hmac_signatures_may_be_in_either_case_and_others_not() -> None:
    assert HmacSecret("s").verify(b"x", hmac_sign("s")(b"x").upper())
    signature = ed25519_sign(ED25519_KEY)(b"x")
    assert not PublicKey(pem(ED25519_KEY)).verify(b"x", signature.swapcase())


def test_hmac_is_the_published_one() -> None:
    """Test case 2 of RFC 4231."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert HmacSecret("Jefe").verify(b"what do ya want for nothing?", expected)


def test_only_ed25519_keys_may_log_on() -> None:
    assert Credential("a", PublicKey(pem(ED25519_KEY))).may_log_on
    assert not Credential("a", PublicKey(pem(RSA_KEY))).may_log_on
    assert not Credential("a", HmacSecret("s")).may_log_on


def test_other_kinds_of_public_key_are_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    text = curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(TypeError, match="RSA or Ed25519"):
        PublicKey(text)


@pytest.mark.parametrize("key", [None, "", "has space", "ü", "x" * 129])
def test_a_malformed_key_is_2014(key: str | None) -> None:
    with pytest.raises(ApiError, match=r"-2014 API-key format invalid\.") as caught:
        Keyring({}).find(key)
    assert caught.value.status == 401


def test_a_strange_key_is_2015() -> None:
    with pytest.raises(ApiError, match=r"-2015 Invalid API-key, IP, or permissions for action\.") as caught:
        Keyring({"mine": Credential("a", HmacSecret("s"))}).find("yours")
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("query", "body", "payload"),
    [
        ("a=1&b=2&signature=s", "", b"a=1&b=2"),
        ("", "a=1&b=2&signature=s", b"a=1&b=2"),
        ("a=1", "b=2&signature=s", b"a=1b=2"),
        ("a=1&signature=s", "b=2", b"a=1b=2"),
        ("signature=s&a=1", "", b"a=1"),
        ("a=%C3%BC+x&signature=s", "", b"a=%C3%BC+x"),
    ],
)
def test_rest_signs_query_then_body_as_sent(query: str, body: str, payload: bytes) -> None:
    assert rest_payload(query, body) == (payload, "s")


def test_a_base64_signature_is_percent_decoded() -> None:
    assert rest_payload("a=1&signature=x%2By%2Fz%3D%3D", "")[1] == "x+y/z=="


def test_a_missing_signature_is_1102() -> None:
    with pytest.raises(ApiError, match=r"-1102 .*'signature'"):
        rest_payload("a=1", "")
    with pytest.raises(ApiError, match=r"-1102 .*'signature'"):
        ws_payload({"a": "1"})


def test_the_websocket_api_signs_sorted_and_raw() -> None:
    values = {"timestamp": "1", "symbol": "１２３", "apiKey": "k", "signature": "s", "a": "x y&z"}
    assert ws_payload(values) == ("a=x y&z&apiKey=k&symbol=１２３&timestamp=1".encode(), "s")


@pytest.mark.parametrize(("age_ms", "window_ms"), [(0, 5000), (5000, 5000), (-999, 5000), (100, 100.0)])
def test_a_timestamp_inside_the_window_passes(age_ms: int, window_ms: float) -> None:
    Window(NOW - age_ms, window_ms).check(NOW)


@pytest.mark.parametrize(
    ("age_ms", "message"),
    [
        (5001, "Timestamp for this request is outside of the recvWindow."),
        (-1000, "Timestamp for this request was 1000ms ahead of the server's time."),
        (-60_000, "Timestamp for this request was 1000ms ahead of the server's time."),
    ],
)
def test_a_timestamp_outside_the_window_is_1021(age_ms: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        Window(NOW - age_ms, 5000).check(NOW)
    assert (caught.value.code, caught.value.msg, caught.value.status) == (-1021, message, 400)


def test_before_the_engine_only_the_age_counts() -> None:
    Window(NOW + 5000, 5000).check_age(NOW)
    with pytest.raises(ApiError, match="-1021"):
        Window(NOW, 5000).check_age(NOW + 5001)


def test_a_window_is_read_with_its_defaults_and_bounds() -> None:
    assert read_window({"timestamp": str(NOW)}) == Window(NOW, 5000)
    assert read_window({"timestamp": str(NOW * 1000 + 500)}) == Window(NOW + 0.5, 5000)
    assert read_window({"timestamp": str(NOW), "recvWindow": "60000"}) == Window(NOW, 60000)
    assert read_window({"timestamp": str(NOW), "recvWindow": "0.346"}) == Window(NOW, 0.346)
    for values, code in (
        ({}, -1102),
        ({"timestamp": ""}, -1102),
        ({"timestamp": "soon"}, -1100),
        ({"timestamp": str(NOW), "recvWindow": "60000.001"}, -1102),
        ({"timestamp": str(NOW), "recvWindow": "1.0001"}, -1100),
        ({"timestamp": str(NOW), "recvWindow": "-1"}, -1100),
    ):
        with pytest.raises(ApiError, check=lambda error, code=code: error.code == code):  # type: ignore[misc]
            read_window(values)
