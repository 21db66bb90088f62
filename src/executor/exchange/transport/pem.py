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


class PrivateKeyError(StartError):
    """It is no usable key. `must`: what file and passphrase must be; `about_passphrase`: that may be what is wrong."""

    def __init__(self, why: str, must: str, *, about_passphrase: bool) -> None:
        super().__init__(f"the private key can't be used ({why}): it must be {must}")
        self.why = why
        self.must = must
        self.about_passphrase = about_passphrase


def signer(pem: str, passphrase: str | None) -> tuple[str, Callable[[bytes], str]]:
    """The key's kind, and what signs with it, in base64. `pem` may have any line endings.

    Raises `PrivateKeyError` when it is not an Ed25519 or RSA private key, or the passphrase does not fit.
    """
    text = "\n".join(line.strip() for line in pem.strip().splitlines())
    try:
        key = load_pem_private_key(text.encode(), passphrase.encode() if passphrase else None)
    except TypeError as error:  # there is a passphrase, or none, where the key is of the other sort
        why = "it wants no passphrase" if passphrase else "it wants a passphrase"
        must = "an Ed25519 or RSA private key, with a passphrase where it is encrypted and with none where it is not"
        raise PrivateKeyError(why, must, about_passphrase=True) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # the library's own words may quote the file, so only the kind of fault is passed on
        must = "a PEM file with an Ed25519 or RSA private key" + (" that the passphrase opens" if passphrase else "")
        raise PrivateKeyError(type(error).__name__, must, about_passphrase=bool(passphrase)) from None
    match key:
        case Ed25519PrivateKey():
            return "Ed25519", lambda payload: b64encode(key.sign(payload)).decode()
        case RSAPrivateKey():
            return "RSA", lambda payload: b64encode(key.sign(payload, padding.PKCS1v15(), hashes.SHA256())).decode()
        case _:
            must = "a PEM file with an Ed25519 or RSA private key"
            raise PrivateKeyError("a key of another kind", must, about_passphrase=False)
