"""Private keys in PEM files. Apart from HMAC secrets, which do without a cryptography library's 8 MB."""

from base64 import b64encode
from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from executor.exchange.port import StartError


def signer(pem: str, passphrase: str | None) -> tuple[str, Callable[[bytes], str]]:
    """The key's kind, and what signs with it, in base64. `pem` may have any line endings.

    Raises `StartError` when it is not an Ed25519 or RSA private key, or the passphrase does not fit.
    """
    text = "\n".join(line.strip() for line in pem.strip().splitlines())
    try:
        key = load_pem_private_key(text.encode(), passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # the library's own words may quote the file, so only the kind of fault is passed on
        raise StartError(
            f"the private key can't be read ({type(error).__name__}): it must be a PEM file with an "
            "Ed25519 or RSA private key, and the passphrase must fit (none for a key without one)"
        ) from None
    match key:
        case Ed25519PrivateKey():
            return "Ed25519", lambda payload: b64encode(key.sign(payload)).decode()
        case RSAPrivateKey():
            return "RSA", lambda payload: b64encode(key.sign(payload, padding.PKCS1v15(), hashes.SHA256())).decode()
        case _:
            raise StartError("the private key must be an Ed25519 or RSA key")
