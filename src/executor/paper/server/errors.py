"""Refusals in Binance's own words: the code, the message and the HTTP status of each (errors.md).

A handler raises `ApiError`; the transports alone turn it into an HTTP answer or a WebSocket envelope.
"""

from typing import Any


class ApiError(Exception):
    """A refused request.

    `status` is the HTTP status (also the `status` of a WebSocket answer), `data` what a half-done request
    carries besides (cancel-replace), `retry_after_ms` the market time at which the caller may try again.
    """

    def __init__(
        self,
        code: int,
        msg: str,
        *,
        status: int = 400,
        data: dict[str, Any] | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(f"{code} {msg}")
        self.code = code
        self.msg = msg
        self.status = status
        self.data = data
        self.retry_after_ms = retry_after_ms

    def body(self) -> dict[str, Any]:
        """The JSON object that Binance answers with."""
        if self.data is None:
            return {"code": self.code, "msg": self.msg}
        return {"code": self.code, "msg": self.msg, "data": self.data}


# -10xx: keys, clocks, limits


def too_much_weight(limit: int, until_ms: int) -> ApiError:
    return ApiError(
        -1003,
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API.",
        status=429,
        retry_after_ms=until_ms,
    )


def too_many_raw_requests(limit: int, until_ms: int) -> ApiError:
    return ApiError(
        -1003,
        f"Too many requests; current limit is {limit} requests per 5 MINUTE.",
        status=429,
        retry_after_ms=until_ms,
    )


def banned(until_ms: int) -> ApiError:
    return ApiError(
        -1003,
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans.",
        status=418,
        retry_after_ms=until_ms,
    )


def unauthorized() -> ApiError:
    return ApiError(-1002, "You are not authorized to execute this request.", status=401)


def retired() -> ApiError:
    return ApiError(-1020, "This endpoint has been retired.", status=410)


def unsupported() -> ApiError:
    return ApiError(-1020, "This operation is not supported.")


def invalid_time_unit() -> ApiError:
    return ApiError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")


def outside_recv_window() -> ApiError:
    return ApiError(-1021, "Timestamp for this request is outside of the recvWindow.")


def ahead_of_server() -> ApiError:
    return ApiError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")


def bad_signature() -> ApiError:
    return ApiError(-1022, "Signature for this request is not valid.")


def bad_key_format() -> ApiError:
    return ApiError(-2014, "API-key format invalid.", status=401)


def unknown_key() -> ApiError:
    return ApiError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)


# -11xx: parameters


def illegal_characters(name: str, legal: str) -> ApiError:
    return ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def duplicate_values(name: str) -> ApiError:
    return ApiError(-1101, f"Duplicate values for parameter '{name}'.")


def too_many_parameters(known: int, sent: int) -> ApiError:
    return ApiError(-1101, f"Too many parameters; expected '{known}' and received '{sent}'.")


def missing(name: str) -> ApiError:
    return ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def missing_both(one: str, other: str) -> ApiError:
    return ApiError(-1102, f"Param '{one}' or '{other}' must be sent, but both were empty/null!")


def too_great(name: str, limit: int) -> ApiError:
    return ApiError(-1102, f"'{name}' contains unexpected value. Cannot be greater than {limit}.")


def unread(read: int, sent: int) -> ApiError:
    return ApiError(-1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.")


def empty(name: str) -> ApiError:
    return ApiError(-1105, f"Parameter '{name}' was empty.")


def overflowed(name: str) -> ApiError:
    return ApiError(-1108, f"Parameter '{name}' overflowed.")


def invalid_time_in_force() -> ApiError:
    return ApiError(-1115, "Invalid timeInForce.")


def invalid_order_type() -> ApiError:
    return ApiError(-1116, "Invalid orderType.")


def invalid_side() -> ApiError:
    return ApiError(-1117, "Invalid side.")


def invalid_symbol_status() -> ApiError:
    return ApiError(-1122, "Invalid symbolStatus.")


def invalid_interval() -> ApiError:
    return ApiError(-1120, "Invalid interval.")


def lookup_too_wide(hours: int) -> ApiError:
    return ApiError(-1127, f"More than {hours} hours between startTime and endTime.")


def bad_combination(recommendation: str | None = None) -> ApiError:
    advice = "" if recommendation is None else f" Recommendation: {recommendation}"
    return ApiError(-1128, f"Combination of optional parameters invalid.{advice}")


def invalid_data(name: str) -> ApiError:
    return ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")


def low_strategy_type(name: str) -> ApiError:
    return ApiError(-1134, f"{name} was less than 1000000.")


def invalid_json() -> ApiError:
    return ApiError(-1135, "Invalid JSON Request")


def invalid_ticker_type() -> ApiError:
    return ApiError(-1139, "Invalid ticker type.")


def invalid_cancel_restrictions() -> ApiError:
    return ApiError(-1145, "Invalid cancelRestrictions")


def duplicate_symbols() -> ApiError:
    return ApiError(-1151, "Symbol is present multiple times in the list.")


def status_mismatch() -> ApiError:
    return ApiError(-1220, "The symbol's status does not match the requested symbolStatus.")


def invalid_listen_token() -> ApiError:
    return ApiError(-1209, "Invalid listen token.")


# -2xxx: orders and subscriptions


def already_subscribed() -> ApiError:
    return ApiError(-2035, "User Data Stream subscription already active.")


def not_subscribed() -> ApiError:
    return ApiError(-2036, "User Data Stream subscription not active.")


def no_reference_price() -> ApiError:
    return ApiError(-2043, "This symbol doesn't have a reference price.")


# -3xxx: margin


def no_listen_key() -> ApiError:
    return ApiError(-3038, "Listen key not found.")
