"""The outcomes of a cancel-replace, which is not atomic (rest-api.md, `POST /api/v3/order/cancelReplace`).

`cancelResult` and `newOrderResult` decide, never the HTTP status alone.
"""

from typing import Final

import msgspec

from executor.core.model.facts import Done, NotTried, Refused, ReplaceOutcome, Unknown, Why
from executor.decoding import decode
from executor.exchange.wire import reading
from executor.exchange.wire.answer import Answer, Attempt
from executor.exchange.wire.outcomes import Fault, failed, fault_of, unsuccessful

HALF_DONE: Final = frozenset({-2021, -2022})


class _Carrier(msgspec.Struct, frozen=True):
    data: msgspec.Raw


def replaced(answer: Answer, attempt: Attempt, *, cancel_id: str, new_id: str, retry_at: int) -> ReplaceOutcome:
    fault = fault_of(answer) if not answer.ok else Fault()
    if not answer.ok and (fault.code not in HALF_DONE or answer.status >= 500):
        # refused as a whole before either half, or in doubt as a whole
        outcome = unsuccessful(answer, attempt, retry_at, reading.halves)
        return ReplaceOutcome(outcome, outcome)
    try:
        carrier: bytes | msgspec.Raw = answer.body if answer.ok else decode(answer.body, _Carrier).data
        halves = reading.halves(carrier)
    except msgspec.DecodeError as error:
        doubt = Unknown(f"cancel-replace with an unreadable answer: {error}", attempt.fence)
        return ReplaceOutcome(doubt, doubt)
    return ReplaceOutcome(
        _cancel(halves.cancel_result, halves.cancel_response, cancel_id, attempt, retry_at),
        _place(halves.new_order_result, halves.new_order_response, new_id, attempt, retry_at),
    )


def _cancel(
    result: str, response: msgspec.Raw, own_id: str, attempt: Attempt, retry_at: int
) -> Done | Refused | Unknown:
    match result:
        case "SUCCESS":
            try:
                return Done(reading.cancelled(response, own_id))
            except msgspec.DecodeError as error:
                return Unknown(f"cancelled, but unreadable: {error}", attempt.fence)
        case "FAILURE":
            return _refused(response, attempt, retry_at)
        case "NOT_ATTEMPTED":
            return Refused(Why.OTHER, 0, "the cancel was not attempted")
        case _:
            return Unknown(f"unknown cancelResult {result!r}", attempt.fence)


def _place(
    result: str, response: msgspec.Raw, own_id: str, attempt: Attempt, retry_at: int
) -> Done | Refused | Unknown | NotTried:
    match result:
        case "SUCCESS":
            try:
                return Done(reading.placed(response, own_id))
            except msgspec.DecodeError as error:
                return Unknown(f"placed, but unreadable: {error}", attempt.fence)
        case "FAILURE":
            return _refused(response, attempt, retry_at)
        case "NOT_ATTEMPTED":
            return NotTried()
        case _:
            return Unknown(f"unknown newOrderResult {result!r}", attempt.fence)


def _refused(response: msgspec.Raw, attempt: Attempt, retry_at: int) -> Refused | Unknown:
    try:
        fault = decode(response, Fault)
    except msgspec.DecodeError as error:
        return Unknown(f"failed for an unreadable reason: {error}", attempt.fence)
    return failed(400, fault, attempt, retry_at)
