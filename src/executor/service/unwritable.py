"""What is taken in the place of an event whose outcome can't be written down: a defect of ours, or of a reader that let
through what is no number. Nothing may leave that is not on disk (rule 8.1), and a trade must not end for it.
"""

from typing import Final

from executor.core.model.events import (
    Absent,
    AllOrdersSeen,
    Answered,
    AnyEvent,
    BalancesSeen,
    KlinesSeen,
    OpenOrdersSeen,
    QuoteSeen,
    ReadFailed,
    Reported,
    TradesSeen,
)
from executor.core.model.facts import Unknown

LONGEST_WINDOW_MS: Final = 60_000
"""The largest recvWindow there is: a request that was answered by `now` can't arrive later than this."""

_READS: Final = Absent | AllOrdersSeen | BalancesSeen | KlinesSeen | OpenOrdersSeen | QuoteSeen | Reported | TradesSeen


def stand_in(event: AnyEvent, why: str) -> AnyEvent | None:
    """The same event without what it told: an answer that is not known, a read that failed; None for nothing at all.

    So what waits for it waits no longer: an order is looked up (rule 8.2), a read is asked for again.
    """
    text = f"what came can't be written down: {why}"
    match event:
        case Answered():
            return Answered(at=event.at, seq=event.seq, outcome=Unknown(text, event.at + LONGEST_WINDOW_MS))
        case _ if isinstance(event, _READS) and event.seq:
            return ReadFailed(at=event.at, seq=event.seq, text=text)
        case _:
            return None
