"""How a request that changes something ended: certainly refused, or unknown (rule 8.2; codes of errors.md).

The HTTP status decides first, then the code, then, for what the matching engine or a filter refused, its text.
"""

import contextlib
from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from executor.core.model.facts import Refused, Unknown, Why
from executor.decoding import decode
from executor.exchange.wire.answer import Answer, Attempt


class Doubt(Enum):
    """The verdict on an answer that does not say whether the request was executed."""

    DOUBT = "doubt"


DOUBT: Final = Doubt.DOUBT

CODES: Final[dict[int, Why | Doubt]] = {
    -1000: DOUBT,  # unknown error while processing
    -1001: DOUBT,  # internal error
    -1002: Why.AUTH,  # not authorized
    -1003: Why.RATE_LIMIT,  # request weight
    -1004: DOUBT,  # server busy (margin's own list of codes), before or after the request was taken
    -1006: DOUBT,  # unexpected answer from the message bus
    -1007: DOUBT,  # backend timeout
    -1008: DOUBT,  # server overloaded: whether it was before or after the request was taken, no document says
    -1013: Why.FILTER,  # filter failure, before the engine
    -1015: Why.RATE_LIMIT,  # unfilled order count
    -1016: Why.MARKET_CLOSED,  # service gone
    -1021: Why.CLOCK,  # outside recvWindow, or ahead of the server
    -1022: Why.AUTH,  # signature
    -1034: Why.RATE_LIMIT,  # too many connections
    -1111: Why.FILTER,  # more precision than the asset has
    -2013: Why.UNKNOWN_ORDER,  # no such order
    -2014: Why.AUTH,  # key format
    -2015: Why.AUTH,  # key, address or permission
    -2018: Why.UNKNOWN_ORDER,  # no such order list
    -2026: Why.UNKNOWN_ORDER,  # archived without a fill
}
"""What a code means; a code that is not here refuses for a reason of its own (`Why.OTHER`)."""

MARGIN_CODES: Final[dict[int, Why | Doubt]] = {
    -3000: DOUBT,  # internal error: whether before or after the loan was made, no document says
    -3003: Why.NOT_ALLOWED,  # there is no cross account yet
    -3004: Why.NOT_ALLOWED,  # trading not allowed
    -3006: Why.NOT_LENT,  # above what may be borrowed
    -3007: Why.LOAN_BUSY,  # another loan or repayment is being worked on
    -3008: Why.NOT_LENT,  # borrowing not allowed: in general
    -3010: Why.NOT_ALLOWED,  # repaying not allowed
    -3012: Why.NOT_LENT,  # of this asset; was also seen for lack of stock
    -3013: Why.LOAN_MINIMUM,  # less than may be borrowed
    -3014: Why.NOT_LENT,  # by this account
    -3015: Why.DEBT_SUM,  # more than is owed, or the rest would be too small
    -3016: Why.LOAN_MINIMUM,  # less than may be repaid
    -3021: Why.NOT_ALLOWED,  # the pair is not traded on margin
    -3022: Why.NOT_ALLOWED,  # the account may not trade
    -3023: Why.NOT_ALLOWED,  # not at this margin level
    -3024: Why.DEBT_SUM,  # the rest would be too small
    -3027: Why.NOT_ALLOWED,  # no margin asset
    -3028: Why.NOT_ALLOWED,  # no margin pair
    -3036: Why.NOT_ALLOWED,  # the account may not repay
    -3037: Why.LOAN_BUSY,  # the account is being cleared
    -3041: Why.INSUFFICIENT_BALANCE,
    -3044: DOUBT,  # system busy
    -3045: Why.NOT_LENT,  # nothing left to lend
    -3064: Why.FILTER,  # limit price too far from the index
    -3067: Why.NOT_ALLOWED,  # the pair is banned on margin
    -20204: Why.FILTER,  # NOTIONAL, which Spot refuses as -1013
    -11001: Why.NOT_ALLOWED,  # there is no isolated account of the pair yet
    -11008: Why.NOT_LENT,  # above what may be borrowed, isolated
}
"""The same of `/sapi` margin."""

TEXT_CODES: Final = frozenset({-1010, -1013, -2010, -2011})
TEXTS: Final[tuple[tuple[str, Why | Doubt], ...]] = (
    # an open order has this id already: an earlier attempt came through, so this one is to be looked up (rule 8.4)
    ("duplicate order", DOUBT),
    ("trigger immediately", Why.WOULD_TRIGGER),  # "Order would ..." in errors.md, "Stop price would ..." as it is sent
    ("immediately trigger", Why.WOULD_TRIGGER),
    ("immediately match", Why.WOULD_MATCH),
    ("relationship of the prices", Why.PRICE_RELATION),
    ("insufficient balance", Why.INSUFFICIENT_BALANCE),
    ("unknown order", Why.UNKNOWN_ORDER),  # "... list sent." too, which errors.md does not have
    ("market is closed", Why.MARKET_CLOSED),
    ("trading is not enabled", Why.MARKET_CLOSED),
    ("this action is disabled on this account", Why.AUTH),
    ("this account may not place or cancel orders", Why.AUTH),
    ("is not permitted for this account", Why.AUTH),
    ("is restricted for this account", Why.AUTH),
    ("filter failure", Why.FILTER),
    # of a kind of order; the rules are read anew, and a leg that can't have a list is covered by another's stop
    ("orders are not supported for this symbol", Why.FILTER),
)
"""What is said with `TEXT_CODES`, in small letters, wherever it stands in the message. The words are not what the
documents promise, so what they don't tell is `Why.OTHER`: whoever asked looks at prices and orders and acts by those.
"""

SLOW_DOWN: Final = frozenset({403, 418, 429})
"""Statuses that ask to slow down, whatever stands beside them."""
DOUBTFUL_STATUSES: Final = frozenset({408, 409, 499})
"""A proxy or the exchange gave up half-way; 409 is read in full by `replace.replaced` where it belongs."""
UNSAID: Final = 400
"""Binance's own refusals have this status and a code: without one, who has refused what is not known. What has no code
and another status, such as a page that says 404, is of something before the exchange.
"""


WORDS_MAX: Final = 300
"""Characters of what an answer says that are shown and kept."""


class Fault(msgspec.Struct, frozen=True):
    """What an answer that is no success says: Binance's code (0 when it is not Binance speaking) and text."""

    code: int = 0
    msg: str = ""


def fault_of(answer: Answer) -> Fault:
    try:
        fault = decode(answer.body, Fault)
    except msgspec.DecodeError:
        said = _one_line(answer.body[: 4 * WORDS_MAX].decode("utf-8", "replace"))
        return Fault(0, f"HTTP {answer.status}, not readable as an error: {said or 'nothing'}")
    words = _one_line(fault.msg)
    if fault.code:
        return Fault(fault.code, words)
    return Fault(0, f"HTTP {answer.status} without an error code: {words or 'and without words'}")


def _one_line(text: str) -> str:
    """Fit for logs and the journal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:WORDS_MAX]


def verdict(status: int, fault: Fault) -> Why | Doubt:
    if status in SLOW_DOWN:
        return Why.RATE_LIMIT
    if status == 401:
        return Why.AUTH
    if not 400 <= status < 500 or status in DOUBTFUL_STATUSES or (status == UNSAID and not fault.code):
        return DOUBT
    known = CODES.get(fault.code) or MARGIN_CODES.get(fault.code, Why.OTHER)
    if fault.code not in TEXT_CODES:
        return known
    said = fault.msg.lower()
    return next((why for text, why in TEXTS if text in said), known)


def failed(status: int, fault: Fault, attempt: Attempt, retry_at: int) -> Refused | Unknown:
    """`retry_at` (ms, exchange clock) is given on to a refusal by rate limit.

    A refusal without a code of Binance's has the negative HTTP status as its code.
    """
    why = verdict(status, fault)
    if isinstance(why, Doubt):
        return Unknown(words(status, fault), attempt.fence)
    return Refused(why, fault.code or -status, fault.msg, retry_at if why is Why.RATE_LIMIT else 0)


def unsuccessful(answer: Answer, attempt: Attempt, retry_at: int, read: Callable[[bytes], object]) -> Refused | Unknown:
    """What a status that is no success says; beside a body that `read` takes for a success's it says nothing (rule
    8.2). `retry_at` as in `failed`.
    """
    fault = fault_of(answer)
    if not fault.code:
        with contextlib.suppress(msgspec.DecodeError):
            read(answer.body)
            return Unknown(f"HTTP {answer.status} with the answer of a success", attempt.fence)
    return failed(answer.status, fault, attempt, retry_at)


def unanswered(error: Exception, attempt: Attempt) -> Refused | Unknown:
    """No answer came: refused only if nothing of the request was ever written to the network."""
    if attempt.sent:
        return Unknown(f"no answer: {describe(error)}", attempt.fence)
    return Refused(Why.NOT_SENT, 0, f"not sent: {describe(error)}")


def describe(error: Exception) -> str:
    """The error's name and words, without the query (and so the signature) of a URL in them."""
    words = str(error).partition("?")[0]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def words(status: int, fault: Fault) -> str:
    """What an answer that is no success says, with its status."""
    return f"HTTP {status}: {fault.code} {fault.msg}" if fault.code else fault.msg
