"""Questions that a button answers: good once, for the trade that they were asked about, and for a minute."""

import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

VALID_S: Final = 60.0
OPEN_MAX: Final = 32
"""Questions that wait at once; the oldest is void then."""
YES: Final = "y"
NO: Final = "n"


class Question(msgspec.Struct, frozen=True):
    symbol: str
    trade: str
    until: float
    account: str = ""


class Questions:
    """What has been asked. Nothing of it outlives the process: a button from before the start is void."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._asked: dict[str, Question] = {}

    def ask(self, symbol: str, trade: str, account: str = "") -> list[tuple[str, str]]:
        """The buttons of a question about `trade`: label and data (64 bytes at most, as the Bot API wants it)."""
        while len(self._asked) >= OPEN_MAX:
            del self._asked[next(iter(self._asked))]
        nonce = secrets.token_hex(8)
        self._asked[nonce] = Question(symbol, trade, self._monotonic() + VALID_S, account)
        return [(label, f"{trade}:{nonce}:{word}") for label, word in (("Close at market", YES), ("No", NO))]

    def shown(self, data: str) -> None:
        """The question is about to be shown: its time begins now, however long it has waited to be sent."""
        nonce = data.split(":")[1]
        if (question := self._asked.get(nonce)) is not None:
            self._asked[nonce] = msgspec.structs.replace(question, until=self._monotonic() + VALID_S)

    def take(self, data: str) -> tuple[Question | None, bool, str]:
        """The question that was answered, whether with yes, and why it is void where it is (then None). Void it is from
        now on in any case.
        """
        trade, _, rest = data.partition(":")
        nonce, _, word = rest.partition(":")
        question = self._asked.pop(nonce, None)
        if question is None or question.trade != trade or word not in {YES, NO}:
            return None, False, "This question is void: it was answered, or asked before the service started."
        if self._monotonic() >= question.until:
            return None, False, f"This question is void: it was good for {VALID_S:.0f} s. Ask again with /flatten."
        return question, word == YES, ""
