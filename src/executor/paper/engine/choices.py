"""What Binance's documents leave open: each choice a field, its values the readings that they allow.

One frozen `ExchangeChoices` holds them all, those of the engine and those of the wire alike. It is given to `Engine`,
may be replaced while the exchange runs (`Engine.choices`), and is read from `name=value` pairs by `read_choices`: what
`executor paper --choice`, its control endpoint and tests use. To add one: a `StrEnum` (or bool) of the readings, a
field with the default and what it decides, and the place that asks for it; the list in docs/paper.md is made from here.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, get_args, get_type_hints

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


class ExchangeChoices(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the documents; the defaults are the likeliest one."""

    oco_done: Annotated[OcoDone, Meta(description="when an OCO's list becomes ALL_DONE")] = OcoDone.ENDED
    push_refusals: Annotated[
        PushRefusals, Meta(description="which refusals of the matching engine are pushed as REJECTED")
    ] = PushRefusals.CANCEL_REPLACE
    push_order: Annotated[
        PushOrder, Meta(description="whether pushes leave before or after the answer to the request behind them")
    ] = PushOrder.BEFORE_ANSWER


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
