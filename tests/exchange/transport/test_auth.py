"""Keys: read in every form, shown in none."""

import base64
import hashlib
import hmac
import pickle

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from tests.exchange.stub import ManualClock, Stub, connected

from executor.exchange.port import StartError
from executor.exchange.transport.auth import Credentials

PASSPHRASE = "open sesame"


def pem(key: Ed25519PrivateKey | RSAPrivateKey | ec.EllipticCurvePrivateKey, passphrase: str = "") -> str:
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n  "])
def test_an_ed25519_key_is_one_in_any_dress(passphrase: str, ending: str) -> None:
    key = Ed25519PrivateKey.generate()
    text = "\n" + pem(key, passphrase).replace("\n", ending) + "\n\n"
    credentials = Credentials.private_key("key", text, passphrase or None)
    assert credentials.kind == "Ed25519"
    key.public_key().verify(base64.b64decode(credentials.sign("a=1&b=2")), b"a=1&b=2")


def test_an_rsa_key_signs_as_rest_api_md_says() -> None:
    key = generate_private_key(65537, 2048)
    credentials = Credentials.private_key("key", pem(key))
    assert credentials.kind == "RSA"
    signature = base64.b64decode(credentials.sign("a=1"))
    key.public_key().verify(signature, b"a=1", padding.PKCS1v15(), hashes.SHA256())


def test_hmac_signs_in_hex() -> None:
    expected = hmac.new(b"s3cret", b"a=1", hashlib.sha256).hexdigest()
    assert Credentials.hmac(" key\n", "s3cret\n").sign("a=1") == expected


@pytest.mark.parametrize(
    ("text", "passphrase"),
    [
        ("not a key", None),
        ("", None),
        (pem(Ed25519PrivateKey.generate(), PASSPHRASE), None),
        (pem(Ed25519PrivateKey.generate(), PASSPHRASE), "wrong"),
        (pem(Ed25519PrivateKey.generate()), "needless"),
        (pem(ec.generate_private_key(ec.SECP256R1())), None),
    ],
)
def test_a_file_that_is_no_usable_key_is_refused_without_being_quoted(text: str, passphrase: str | None) -> None:
    with pytest.raises(StartError) as refused:
        Credentials.private_key("key", text, passphrase)
    assert "Ed25519" in str(refused.value)
    for line in text.splitlines()[1:-1]:
        assert line not in str(refused.value)


@pytest.mark.parametrize("value", ["", "  ", "two words", "umläut", "line\nbreak"])
def test_a_key_or_secret_that_none_can_be_is_refused_without_being_quoted(value: str) -> None:
    for key, secret in ((value, "secret"), ("key", value)):
        with pytest.raises(StartError) as refused:
            Credentials.hmac(key, secret)
        assert not value.strip() or value not in str(refused.value)


def test_nothing_shows_a_secret() -> None:
    credentials = Credentials.hmac("the-key", "the-secret")
    for shown in (repr(credentials), str(credentials), f"{credentials}"):
        assert "the-" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(credentials)


@pytest.mark.parametrize("rsa", [False, True])
async def test_a_private_keys_signature_arrives_whole(stub: Stub, clock: ManualClock, rsa: bool) -> None:
    """Base64 has characters that a URL and a form must carry encoded."""
    ed25519, rsa_key = Ed25519PrivateKey.generate(), generate_private_key(65537, 2048)
    credentials = Credentials.private_key("key", pem(rsa_key if rsa else ed25519))

    def verify(payload: bytes, signature: bytes) -> None:
        if rsa:
            rsa_key.public_key().verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
        else:
            ed25519.public_key().verify(signature, payload)

    async with connected(stub, clock, credentials) as exchange:
        for number in range(20):  # enough for a + or / or = to turn up
            await exchange.cancel(f"EX_{number}_SL_1")
    checked = 0
    for seen in stub.seen:
        if "signature" in seen.params:
            payload = seen.payload.rpartition("&signature=")[0]
            verify(payload.encode(), base64.b64decode(seen.params["signature"]))
            checked += 1
    assert checked > 20
