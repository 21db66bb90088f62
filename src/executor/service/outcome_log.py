"""What the log says of a request and how it has ended."""

from typing import assert_never

import structlog

from executor.core.model.facts import Refused, ReplaceOutcome, Unknown
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

log = structlog.get_logger(__name__)


def log_outcome(request: Command, outcome: object) -> None:
    kind, ids = type(request).__name__, _ids(request)
    match outcome:
        case Refused():
            log.warning("refused", request=kind, **ids, code=outcome.code, why=str(outcome.why), text=outcome.text)
        case Unknown():
            log.warning("unknown", request=kind, **ids, text=outcome.text)
        case ReplaceOutcome():
            log.info("replaced", request=kind, **ids, cancel=_word(outcome.cancel), place=_word(outcome.place))
        case _:
            log.info("accepted", request=kind, **ids)


def _ids(request: Command) -> dict[str, str]:
    """What the line is found by: its trade and the client ids of its orders."""
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


def _word(outcome: object) -> str:
    """`accepted`, `refused` or `unknown`."""
    return type(outcome).__name__.lower()
