"""Speaking to the running service, for the commands that do: on this machine, or on the one of a fleet that owns it."""

from decimal import Decimal
from typing import TypeVar

import msgspec

from executor.cli import exits
from executor.cli.context import Place
from executor.cli.fleet_store import ask_owner
from executor.cli.output import fail
from executor.ops.status import Status
from executor.service import asking
from executor.service.asking import Answer, ControlError, NotRunningError, Request, TakeoverAnswer, TakeoverRequest

T = TypeVar("T")


def ask(place: Place, request: Request, *, timeout: float = 30.0) -> Answer:
    """Raises NotRunningError, ControlError. Ends the command when a fleet's store can't be reached."""
    if place.fleet:
        return ask_owner(place, request, timeout=timeout)
    return asking.ask(place.state, request, timeout=timeout)


def tell(place: Place, verb: str, price: Decimal | None = None, *, trade: str = "") -> Answer:
    """What the service answers; `trade`: the only one that it is about. Ends the command when none runs."""
    try:
        return ask(place, Request(verb, price, trade=trade))
    except NotRunningError as error:
        fail(error, exits.UNAVAILABLE)
    except ControlError as error:
        fail(error)


def ask_takeover(place: Place, verb: str, request: TakeoverRequest) -> TakeoverAnswer:
    """What the service says to a request. Raises NotRunningError."""
    try:
        answer = ask(place, Request(verb, takeover=request))
    except NotRunningError:
        raise
    except ControlError as error:
        fail(error)
    if answer.data is None:
        fail(answer.text)
    return data(answer, TakeoverAnswer)


def running(place: Place) -> Status | None:
    """The running service's status; None when no service runs."""
    try:
        answer = ask(place, Request("status"))
    except NotRunningError:
        return None
    except ControlError as error:
        fail(error)
    if answer.data is None:
        fail(answer.text)
    return data(answer, Status)


def data(answer: Answer, kind: type[T]) -> T:
    """The answer's data. Ends the command when the service speaks another version's language."""
    try:
        return msgspec.convert(answer.data, kind)
    except msgspec.ValidationError as error:
        fail(f"the service answered what this version can't read ({error}): run the version that it runs")
