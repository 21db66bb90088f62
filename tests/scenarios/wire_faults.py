"""What goes wrong on the wire in more than one file of tests."""

from collections.abc import Mapping
from typing import Final

from executor.paper.server.faults import Answer, FaultPlan, RequestFault

UNKNOWN: Final = Answer(400, b'{"code":-2011,"msg":"Unknown order list sent."}')


class NoLists(FaultPlan):
    """An exchange that knows no list any more, whenever one is to be cancelled; `refused`: whose cancels were."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if (method, path) != ("DELETE", "/api/v3/orderList") and path != "orderList.cancel":
            return None
        self.refused.append(params["listClientOrderId"])
        return RequestFault(execute=False, answer=UNKNOWN)
