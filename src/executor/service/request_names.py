"""How a log line names a request and its outcome."""

from typing import assert_never

from executor.core.model.ids import parse
from executor.core.model.intents import (
    CancelList,
    CancelOrder,
    Command,
    LoanCommand,
    OrderCommand,
    PlaceBracket,
    PlaceOco,
    PlaceOrder,
    ReplaceOrder,
    placed,
)
from executor.core.model.values import plain


def ids_of(request: Command) -> dict[str, str]:
    """What a log line about a request is found by: its trade and the client ids of its orders."""
    if isinstance(request, LoanCommand):
        return {"loan": f"{request.n}: {plain(request.amount)} {request.asset}"}
    found = _names(request)
    name = parse(found["order"].partition(" ")[0])
    return {"trade": name.trade if name is not None else "", **found}


def _names(request: OrderCommand) -> dict[str, str]:
    match request:
        case PlaceOrder():
            return {"order": request.order.id}
        case PlaceOco():
            return {"order": f"{request.target.id} {request.stop.id}", "list": request.list_id}
        case PlaceBracket():
            return {"order": " ".join(placed(request)), "list": request.list_id}
        case CancelOrder():
            return {"order": request.id}
        case CancelList():
            return {"order": " ".join(request.ids), "list": request.list_id}
        case ReplaceOrder():
            return {"order": request.order.id, "replaces": request.cancel_id}
        case _ as unreachable:
            assert_never(unreachable)


def word(outcome: object) -> str:
    """`accepted`, `refused` or `unknown`."""
    return type(outcome).__name__.lower()
