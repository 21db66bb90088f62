"""What a request calls the fields of its orders: a complaint names the parameter that was sent (-1102, -1111 ...)."""

from collections.abc import Mapping
from typing import Final


class Names:
    """The parameter of each field: an own name, else the prefix and the field (`aboveStopPrice`)."""

    __slots__ = ("_names", "_prefix")

    def __init__(self, prefix: str = "", own: Mapping[str, str] | None = None) -> None:
        self._prefix = prefix
        self._names = dict(own or {})

    def __call__(self, field: str) -> str:
        name = self._names.get(field)
        if name is None:
            name = self._names[field] = self._prefix + field[0].upper() + field[1:] if self._prefix else field
        return name


PLAIN: Final = Names(own={"clientOrderId": "newClientOrderId"})
ABOVE: Final = Names("above", {"quantity": "quantity"})
BELOW: Final = Names("below", {"quantity": "quantity"})
WORKING: Final = Names("working")
PENDING: Final = Names("pending")
PENDING_ABOVE: Final = Names("pendingAbove", {"quantity": "pendingQuantity"})
PENDING_BELOW: Final = Names("pendingBelow", {"quantity": "pendingQuantity"})

OLD_LIMIT: Final = Names("limit", {"quantity": "quantity", "price": "price"})
"""The LIMIT_MAKER of the deprecated OCO request."""
OLD_STOP: Final = Names(
    "stop",
    {
        "quantity": "quantity",
        "price": "stopLimitPrice",
        "stopPrice": "stopPrice",
        "trailingDelta": "trailingDelta",
        "timeInForce": "stopLimitTimeInForce",
    },
)
"""Its STOP_LOSS or STOP_LOSS_LIMIT."""
