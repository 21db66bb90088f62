"""What a state looked like in the journals of versions before: the fields that its parts had.

A journal holds the checksum of each state as its version wrote it. A field that was added since is in no such
checksum, so a replay leaves it out (whatever it holds now: the version of then could not know it); one that was never
set, and is no more, is put back. To add fields after a release: raise LAYOUT, and keep here what the parts had in the
layout before.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from executor.core.model.state import SCHEMA_VERSION
from executor.service.store.document import Document
from executor.service.store.state_store import checksum

LAYOUT: Final = 1
"""Of the journals that are written now. A journal that names none has layout 0."""

_FIRST: Final = {
    "Document": """symbol venue position orders last_closed cooldown_until locked_until paused halted seen refused day
        started next_seq outbox ignored""",
    "Position": """trade signal opened plan phase entered revs retired legs split trail orders target_hit last_exit
        guess_fees manual_stop alerted_at ask_at taken exposure""",
    "Plan": "direction entry stop targets qty r",
    "Entering": "give_up_at end no_price retry_at",
    "Unprotected": "since deadline",
    "Closing": "reason since abandon looked_at again",
    "Leg": "n qty target stop leave breach_since vanished tries retry_at poor moved_at puzzled_at",
    "Trail": "since best swing klines_at",
    "Order": """id role leg side type qty price stop_price trailing_delta time_in_force list_id replaces phase end
        status exchange_id cum_qty cum_quote fills sent_at triggered_at closed_at fence misses first_miss_at heard_at
        ask_at cancelling check recheck apart refusal""",
    "Fill": "trade_id price qty fee fee_asset time",
    "Exposure": "since total longest",
    "Orders": "entry tp1 tp2 sl qty1 qty2 qty3",
    "NamedOrder": "id status qty filled price stop_price",
    "Closed": """trade signal symbol direction reason opened entered closed entry_planned stop_planned targets_planned
        entry_avg exit_avg qty qty1 qty2 qty3 commissions pnl r entry_slippage exit_slippage dust unprotected_ms
        unprotected_longest_ms""",
    "Seen": "key at",
    "Day": "number trades pnl",
    "Owed": "at request",
    "NewOrder": "id side type qty price stop_price time_in_force trailing_delta",
    "PlaceOrder": "order seq",
    "PlaceOco": "list_id target stop seq",
    "CancelOrder": "id seq",
    "CancelList": "list_id ids seq",
    "ReplaceOrder": "cancel_id order seq",
    "QueryOrder": "id seq",
    "QueryTrades": "id exchange_id seq",
    "QueryOpenOrders": "seq",
    "QueryBalances": "seq",
    "QueryQuote": "seq",
    "QueryKlines": "count seq",
}

FIELDS: Final[Mapping[int, Mapping[str, frozenset[str]]]] = {
    0: {name: frozenset(fields.split()) for name, fields in _FIRST.items()},
}
"""By layout, then by the part's name; a part that is not named had all of its fields."""

_GONE: Final = {("Position", "target_hit"): "last_exit"}
"""Fields of then that held nothing and are no more: by the part and the field behind which each stood."""


def checksum_in(layout: int, document: Document) -> str:
    """The checksum that `document` had when the journal's layout was `layout`."""
    return checksum(document if layout >= LAYOUT else _laid_out(document, FIELDS[layout]), SCHEMA_VERSION)


def _laid_out(value: Any, fields: Mapping[str, frozenset[str]]) -> Any:
    """As `value` is encoded, without the fields that its parts did not have."""
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        known = fields.get(type(value).__name__)
        found: dict[str, Any] = {config.tag_field: config.tag} if config.tag_field is not None else {}
        for field, name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            if known is None or name in known:
                found[name] = _laid_out(getattr(value, field), fields)
            if (gone := _GONE.get((type(value).__name__, name))) is not None:
                found[gone] = None
        return found
    if isinstance(value, tuple | list):
        return [_laid_out(each, fields) for each in value]
    if isinstance(value, dict):
        return {key: _laid_out(each, fields) for key, each in value.items()}
    return value
