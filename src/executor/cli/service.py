"""Speaking to the running service, for the commands that do."""

from decimal import Decimal
from typing import TypeVar

import msgspec

from executor.cli import exits
from executor.cli.context import Place
from executor.cli.output import fail
from executor.ops.status import Status
from executor.service.inlets.control import Answer, ControlError, NotRunningError, Request, ask
from executor.service.takeover import TakeoverAnswer, TakeoverRequest

T = TypeVar("T")


def tell(place: Place, verb: str, price: Decimal | None = None) -> Answer:
    """What the service answers. Ends the command when none runs."""
    try:
        return ask(place.state, Request(verb, price))
    except NotRunningError as error:
        fail(error, exits.UNAVAILABLE)
    except ControlError as error:
        fail(error)


def ask_takeover(place: Place, verb: str, request: TakeoverRequest) -> TakeoverAnswer:
    """What the service says to a request. Raises NotRunningError."""
    try:
        answer = ask(place.state, Request(verb, takeover=request))
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
        answer = ask(place.state, Request("status"))
    except NotRunningError:
        return None
    except ControlError as error:
        fail(error)
    return data(answer, Status)


def data(answer: Answer, kind: type[T]) -> T:
    """The answer's data. Ends the command when the service speaks another version's language."""
    try:
        return msgspec.convert(answer.data, kind)
    except msgspec.ValidationError as error:
        fail(f"the service answered what this version can't read ({error}): run the version that it runs")
