"""What Binance's documents leave open: each choice a field, its values the readings that they allow.

One frozen `ExchangeChoices` holds them all, those of the engine and those of the wire alike. It is given to `Engine`,
may be replaced while the exchange runs (`Engine.choices`), and is read from `name=value` pairs by `read_choices`: what
`executor paper --choice`, its control endpoint and tests use. To add one: a `StrEnum` (or bool) of the readings, a
field with the default and what it decides, and the place that asks for it; the list in docs/paper.md is made from here.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Final, get_args, get_type_hints

import msgspec
from msgspec import Meta


class OcoDone(StrEnum):
    """When an OCO's list is ALL_DONE."""

    ENDED = "ended"
    """When both of its orders have ended."""
    TRIGGERED = "triggered"
    """As soon as one order has started to work or trade: the other has gone, the list has nothing left to decide."""


class PushRefusals(StrEnum):
    """Which refusals of the matching engine are pushed as executionReport with `x` REJECTED."""

    NEVER = "never"
    CANCEL_REPLACE = "cancel_replace"
    """Those of a cancel-replace's new order whose cancel worked, as enums.md names them."""
    ALWAYS = "always"


class PushOrder(StrEnum):
    """Whether what a request makes happen is pushed before or after its own answer."""

    BEFORE_ANSWER = "before_answer"
    AFTER_ANSWER = "after_answer"


class OcoSibling(StrEnum):
    """How the other order of an OCO ends, once one has triggered or traded."""

    EXPIRED = "expired"
    CANCELED = "canceled"


class OcoEnded(StrEnum):
    """What becomes of the other order of an OCO when self-trade prevention ends one that has not traded."""

    BOTH = "both"
    """It ends as well."""
    ONE = "one"
    """It stays as it is."""


class PreventedTold(StrEnum):
    """Of which orders it is told what self-trade prevention has taken of them."""

    ALWAYS = "always"
    EXPIRED = "expired"
    """Of those that expired for it alone."""


class CancelledId(StrEnum):
    """By which client id a query finds an order that a request has cancelled."""

    OWN = "own"
    CANCEL = "cancel"
    """Only by that of the cancel, which the cancel's answer and its report carry as `clientOrderId`."""
    BOTH = "both"
    NONE = "none"
    """By its order id alone."""


class SeenInReads(StrEnum):
    """When an order that was just placed shows in reads, which may come from memory or the database."""

    AT_ONCE = "at_once"
    OPEN_LATER = "open_later"
    """In openOrders only after `OPEN_LATER_MS`."""
    LATER = "later"
    """There, and to a query of its own only after `QUERY_LATER_MS`."""


class RefusalTexts(StrEnum):
    """In which words the matching engine refuses (codes -2010 and -2011)."""

    DOCUMENTED = "documented"
    OTHERS = "others"
    """In words that no document has."""


class EventOrder(StrEnum):
    """In which order the events of one happening are pushed."""

    REPORTS_FIRST = "reports_first"
    LISTS_FIRST = "lists_first"
    BALANCES_FIRST = "balances_first"


class IdsAs(StrEnum):
    """How the exchange writes the ids of orders, lists and trades."""

    NUMBERS = "numbers"
    STRINGS = "strings"


class LoanRecord(StrEnum):
    """How a margin loan or repayment that was accepted shows among the records."""

    AT_ONCE = "at_once"
    PENDING = "pending"
    """PENDING for a second, and only then carried out."""
    LATER = "later"
    """Carried out at once, but on record only a while later."""


class LoanBusy(StrEnum):
    """When a margin account takes no other loan or repayment (-3007)."""

    WHILE_PENDING = "while_pending"
    BRIEFLY = "briefly"
    """For a tenth of a second after each as well."""


class InterestRounding(StrEnum):
    """How an hour's interest is rounded to eight decimals."""

    UP = "up"
    DOWN = "down"


class InterestShown(StrEnum):
    """When the interest of a full hour shows in a debt."""

    AT_ONCE = "at_once"
    LATER = "later"
    """A while after the hour has begun, whatever was repaid meanwhile."""


class NoDebtLevel(StrEnum):
    """What a cross margin account without a debt shows as its level."""

    LARGE = "large"
    ZERO = "zero"


class RestTooSmall(StrEnum):
    """What becomes of a repayment that would leave next to nothing of a debt."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """-3024."""
    REFUSED_AS_EXCESS = "refused_as_excess"
    """-3015."""


class MarginFunds(StrEnum):
    """By which code an order on margin is refused for lack of funds."""

    SPOT_CODE = "spot_code"
    """-2010."""
    MARGIN_CODE = "margin_code"
    """-3041."""


class MarginFields(StrEnum):
    """Which fields orders and trades on margin have."""

    SAMPLED = "sampled"
    """Those of the documents' samples."""
    AS_SPOT = "as_spot"
    """Those of Spot besides."""


class PendingOpen(StrEnum):
    """Whether openOrders shows the orders of a list that wait for their working order."""

    LISTED = "listed"
    HIDDEN = "hidden"


class PendingQuantity(StrEnum):
    """What quantity an OPO's pending order shows before its working order has filled."""

    NONE = "none"
    WORKING = "working"
    """That of the working order."""


class PendingEnded(StrEnum):
    """How pending orders end whose working order is cancelled: "canceled or expired" (rest-api.md, OTO)."""

    CANCELED = "canceled"
    EXPIRED = "expired"


class PendingRefused(StrEnum):
    """How pending orders end that can't be placed when their working order has filled."""

    EXPIRED = "expired"
    REJECTED = "rejected"


class OpoCommission(StrEnum):
    """What the commission in base of an OPO's working order is taken from."""

    FREE = "free"
    """What is free, where there is enough; never where base is BNB (faqs/opo.md)."""
    PROCEEDS = "proceeds"
    """Always what was received."""


OPEN_LATER_MS: Final = 1_500
QUERY_LATER_MS: Final = 500
OTHER_WORDS: Final = "The order was not accepted."


class ExchangeChoices(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the documents; the defaults are the likeliest one."""

    oco_done: Annotated[OcoDone, Meta(description="when an OCO's list becomes ALL_DONE")] = OcoDone.ENDED
    push_refusals: Annotated[
        PushRefusals, Meta(description="which refusals of the matching engine are pushed as REJECTED")
    ] = PushRefusals.CANCEL_REPLACE
    push_order: Annotated[
        PushOrder, Meta(description="whether pushes leave before or after the answer to the request behind them")
    ] = PushOrder.BEFORE_ANSWER
    oco_sibling: Annotated[
        OcoSibling, Meta(description="how the other order of an OCO ends once one has triggered or traded")
    ] = OcoSibling.EXPIRED
    oco_ended: Annotated[
        OcoEnded,
        Meta(description="what becomes of the other order of an OCO when self-trade prevention ends one untraded"),
    ] = OcoEnded.BOTH
    prevented_told: Annotated[
        PreventedTold, Meta(description="of which orders it is told what self-trade prevention has taken of them")
    ] = PreventedTold.ALWAYS
    cancelled_id: Annotated[
        CancelledId, Meta(description="by which client id a query finds an order that was cancelled")
    ] = CancelledId.OWN
    seen_in_reads: Annotated[
        SeenInReads, Meta(description="when an order that was just placed shows in openOrders and in queries")
    ] = SeenInReads.AT_ONCE
    refusal_texts: Annotated[
        RefusalTexts, Meta(description="whether the matching engine refuses in the words of errors.md")
    ] = RefusalTexts.DOCUMENTED
    event_order: Annotated[
        EventOrder, Meta(description="in which order executionReport, listStatus and balances of one happening come")
    ] = EventOrder.REPORTS_FIRST
    ids_as: Annotated[IdsAs, Meta(description="whether ids are JSON numbers or strings")] = IdsAs.NUMBERS
    pending_open: Annotated[
        PendingOpen, Meta(description="whether openOrders shows orders that wait for their list's working order")
    ] = PendingOpen.LISTED
    pending_quantity: Annotated[
        PendingQuantity, Meta(description="what quantity an OPO's pending order shows before it is placed")
    ] = PendingQuantity.NONE
    pending_ended: Annotated[
        PendingEnded, Meta(description="how pending orders end whose working order is cancelled")
    ] = PendingEnded.CANCELED
    pending_refused: Annotated[
        PendingRefused, Meta(description="how pending orders end that can't be placed at their moment")
    ] = PendingRefused.EXPIRED
    opo_commission: Annotated[
        OpoCommission, Meta(description="what the commission in base of an OPO's working order is taken from")
    ] = OpoCommission.FREE
    extra_fields: Annotated[
        bool, Meta(description="whether answers and events carry fields and enum-like values of a later day")
    ] = False
    loan_record: Annotated[
        LoanRecord, Meta(description="how a margin loan or repayment that was accepted shows among the records")
    ] = LoanRecord.AT_ONCE
    loan_busy: Annotated[
        LoanBusy, Meta(description="when a margin account takes no other loan or repayment (-3007)")
    ] = LoanBusy.WHILE_PENDING
    interest_rounding: Annotated[
        InterestRounding, Meta(description="how an hour's interest on margin is rounded to eight decimals")
    ] = InterestRounding.UP
    interest_shown: Annotated[
        InterestShown, Meta(description="when the interest of a full hour on margin shows in a debt")
    ] = InterestShown.AT_ONCE
    no_debt_level: Annotated[
        NoDebtLevel, Meta(description="what a cross margin account without a debt shows as its level")
    ] = NoDebtLevel.LARGE
    small_rest: Annotated[RestTooSmall, Meta(description="whether a repayment may leave next to nothing of a debt")] = (
        RestTooSmall.ACCEPTED
    )
    isolated_limit_own_code: Annotated[
        bool,
        Meta(description="whether too large an isolated loan is refused by a code of its own (-11008, else -3006)"),
    ] = False
    margin_funds: Annotated[
        MarginFunds, Meta(description="by which code an order on margin is refused for lack of funds")
    ] = MarginFunds.SPOT_CODE
    margin_fields: Annotated[MarginFields, Meta(description="which fields orders and trades on margin have")] = (
        MarginFields.SAMPLED
    )
    repays_at_cancel: Annotated[
        bool, Meta(description="the default of autoRepayAtCancel for orders on margin that borrow")
    ] = True


class Choice(msgspec.Struct, frozen=True):
    """A field of `ExchangeChoices` in words: `values` are those it may have, `default` one of them."""

    name: str
    decides: str
    values: tuple[str, ...]
    default: str


def all_choices() -> tuple[Choice, ...]:
    """Every choice, in the order of the fields."""
    hints = get_type_hints(ExchangeChoices, include_extras=True)
    defaults = ExchangeChoices()
    found = []
    for name in ExchangeChoices.__struct_fields__:
        kind, meta = get_args(hints[name])
        values = ("false", "true") if kind is bool else tuple(each.value for each in kind)
        found.append(Choice(name, meta.description, values, _text(getattr(defaults, name))))
    return tuple(found)


def read_choices(pairs: Iterable[tuple[str, str]], base: ExchangeChoices | None = None) -> ExchangeChoices:
    """`base` (the defaults) with the named choices changed.

    Raises:
        ValueError: a name or a value that does not exist; the message names those that do.
    """
    known = {choice.name: choice for choice in all_choices()}
    given: dict[str, Any] = {}
    for name, value in pairs:
        choice = known.get(name)
        if choice is None:
            raise ValueError(f"choice is {name!r}, must be one of {', '.join(known)}")
        if value not in choice.values:
            raise ValueError(f"choice {name} is {value!r}, must be one of {', '.join(choice.values)}")
        given[name] = value
    current = {name: _text(getattr(base or ExchangeChoices(), name)) for name in known}
    return msgspec.convert({**current, **given}, ExchangeChoices, strict=False)


def shown_choices(choices: ExchangeChoices) -> dict[str, str]:
    """Each choice's value by its name, as `read_choices` reads it."""
    return {name: _text(getattr(choices, name)) for name in choices.__struct_fields__}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def choices_table() -> str:
    """The choices as rows of a Markdown table: what docs/paper.md holds between its markers."""
    rows = ["| choice | values, the default first | what it decides |", "|---|---|---|"]
    for choice in all_choices():
        others = [value for value in choice.values if value != choice.default]
        values = ", ".join(f"`{value}`" for value in (choice.default, *others))
        rows.append(f"| `{choice.name}` | {values} | {choice.decides} |")
    return "\n".join(rows)
