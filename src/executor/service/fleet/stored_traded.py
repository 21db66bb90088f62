"""A symbol of an account that another machine may own, as the chat's commands see it: asked through the store."""

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from executor.core.model.events import Verb
from executor.core.model.state import Closed
from executor.ops import check as ops_check
from executor.ops import status as ops_status
from executor.ops.telegram.commands import TRADES_SHOWN
from executor.ops.telegram.traded import CHECK_WITHIN_S, OBEY_WITHIN_S, NotToldError, Told
from executor.service.asking import Answer, ControlError, Request
from executor.service.fleet.operator import Operator
from executor.service.store.etcd import EtcdError

T = TypeVar("T")

TOLD_WITHIN_S: Final = 10.0
_DONE: Final = "done"


class StoredTraded:
    """`Traded` by whoever owns the account; its owner alone answers."""

    def __init__(self, operator: Operator, account: str, symbol: str) -> None:
        self.account = account
        self.symbol = symbol
        self._operator = operator

    async def status(self) -> ops_status.Status:
        return _read(await self._ask(Request("status")), ops_status.Status)

    async def check(self) -> ops_check.Check:
        answer = await self._ask(Request("check"), CHECK_WITHIN_S)
        if answer.data is None or not answer.text.endswith("as expected"):
            raise NotToldError(answer.text)
        return _read(answer, ops_check.Check)

    async def trades(self) -> Sequence[Closed]:
        return _read(await self._ask(Request("trades", count=TRADES_SHOWN)), list[Closed])

    async def why(self, about: str) -> str:
        answer = await self._ask(Request("why", about=about))
        if not answer.ok:
            raise NotToldError(answer.text)
        return answer.text

    async def obey(self, verb: Verb, trade: str = "") -> Told:
        try:
            answer = await self._ask(Request(str(verb), trade=trade), OBEY_WITHIN_S)
        except NotToldError as error:
            return Told(False, str(error))
        return Told(answer.ok and answer.text == _DONE, answer.text)

    async def _ask(self, request: Request, within_s: float = TOLD_WITHIN_S) -> Answer:
        """Raises NotToldError."""
        try:
            return await self._operator.ask(self.account, self.symbol, request, timeout=within_s)
        except (ControlError, EtcdError) as error:
            raise NotToldError(str(error)) from error


def _read(answer: Answer, kind: type[T]) -> T:
    try:
        return msgspec.convert(answer.data, kind)
    except msgspec.ValidationError as error:
        raise NotToldError(answer.text if not answer.ok else f"its owner runs another version ({error})") from error
