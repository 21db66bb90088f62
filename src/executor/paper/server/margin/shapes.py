"""Orders and trades on margin as JSON: Spot's with `isIsolated`, cut to the fields that margin's samples have."""

from decimal import Decimal
from typing import Any, Final

from executor.paper.engine.choices import MarginFields
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.server.call import Call
from executor.paper.server.render import Json, amount

_COMMON: Final = (
    "symbol orderId clientOrderId isIsolated price origQty executedQty cummulativeQuoteQty status timeInForce"
)
_PLACED: Final = frozenset(f"{_COMMON} transactTime type side selfTradePreventionMode fills".split())
_QUERIED: Final = frozenset(
    f"{_COMMON} icebergQty isWorking side stopPrice time type selfTradePreventionMode updateTime".split()
)
_CANCELLED: Final = frozenset(f"{_COMMON} origClientOrderId type side".split())
_REPORTED: Final = frozenset(
    f"{_COMMON} origClientOrderId orderListId transactTime type side stopPrice selfTradePreventionMode".split()
)
_TRADED: Final = frozenset(
    "commission commissionAsset id isBestMatch isBuyer isMaker orderId price qty symbol isIsolated time".split()  # noqa: SIM905
)


def placed(call: Call, account: MarginAccount, body: Json, borrowed: tuple[str, Decimal] | None) -> Json:
    shown = _shaped(call, account, body, _PLACED)
    if borrowed is not None:
        asset, much = borrowed
        shown["marginBuyBorrowAmount"] = int(much) if much == int(much) else float(much)
        shown["marginBuyBorrowAsset"] = asset
    return shown


def queried(call: Call, account: MarginAccount, body: Json) -> Json:
    return _shaped(call, account, body, _QUERIED)


def cancelled(call: Call, account: MarginAccount, body: Json) -> Json:
    """A cancelled order, its id as text; or the list that went with it."""
    if "orderReports" in body:
        return order_list(call, account, body)
    return {**_shaped(call, account, body, _CANCELLED), "orderId": str(body["orderId"])}


def cancelled_with_all(call: Call, account: MarginAccount, body: Json) -> Json:
    if "orderReports" in body:
        return order_list(call, account, body)
    return _shaped(call, account, body, _CANCELLED | {"orderListId", "selfTradePreventionMode"})


def order_list(call: Call, account: MarginAccount, body: Json, borrowed: tuple[str, Decimal] | None = None) -> Json:
    shown: Json = {**body, "isIsolated": account.isolated}
    if borrowed is not None:
        shown["marginBuyBorrowAsset"], shown["marginBuyBorrowAmount"] = borrowed[0], amount(borrowed[1])
    if "orderReports" in body:
        reports = [_shaped(call, account, report, _REPORTED) for report in body["orderReports"]]
        for report in reports:
            del report["isIsolated"]
        shown["orderReports"] = reports
    return shown


def trade(call: Call, account: MarginAccount, body: Json) -> Json:
    return _shaped(call, account, body, _TRADED)


def _shaped(call: Call, account: MarginAccount, body: Json, fields: frozenset[str]) -> dict[str, Any]:
    shown = {**body, "isIsolated": account.isolated}
    if call.engine.choices.margin_fields is MarginFields.AS_SPOT:
        return shown
    return {name: value for name, value in shown.items() if name in fields}
