"""python-binance, without what an asynchronous client never touches.

Importing it brings a parser of dates in prose and a second cryptography library with it, some 8 MB in all, for
functions that nothing here calls. In their place stand modules that become the real ones when they are first used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Final

_UNUSED: Final = (
    "dateparser",
    "Crypto.Hash.SHA256",
    "Crypto.PublicKey.ECC",
    "Crypto.PublicKey.RSA",
    "Crypto.Signature.eddsa",
    "Crypto.Signature.pkcs1_15",
)


class _Later(ModuleType):
    """A module that is imported when something of it is asked for."""

    def __getattr__(self, attribute: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), attribute)


for _name in _UNUSED:
    sys.modules.setdefault(_name, _Later(_name))

from binance.async_client import AsyncClient  # noqa: E402  (after what it would import)

__all__ = ["AsyncClient"]
