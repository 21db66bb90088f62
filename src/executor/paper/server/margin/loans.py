"""Handlers of loans, interest, transfers and what may be borrowed or moved."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.model import Accrual, LoanType, Record, Transfer
from executor.paper.engine.margin.transfers import CROSS_MARGIN, ISOLATED_MARGIN
from executor.paper.server import errors
from executor.paper.server.call import Call
from executor.paper.server.limits import DAY_MS
from executor.paper.server.params import Params
from executor.paper.server.render import Json, amount

Row = TypeVar("Row")

_KINDS: Final = {each.value: each for each in LoanType}
_INTEREST_DAYS: Final = 30


def borrow_repay(call: Call, params: Params) -> Json:
    asset, much = params.text("asset"), params.decimal("amount")
    kind = params.choice("type", _KINDS)
    isolated = params.flag("isIsolated")
    symbol = params.optional_symbol()
    params.finish()
    if isolated and symbol is None:
        raise errors.missing("symbol")
    margin = call.engine.margin
    account = margin.account(call.account, symbol if isolated and symbol else "")
    act = margin.borrow if kind is LoanType.BORROW else margin.repay
    record = act(account, asset, much, call.now_ms)
    margin.watch(call.now_ms)
    return {"tranId": record.tran_id}


def loan_records(call: Call, params: Params) -> Json:
    kind = params.choice("type", _KINDS)
    pair = read_pair(params)
    asset, tran_id = params.optional_text("asset"), params.optional_integer("txId")
    start, end = params.optional_time("startTime"), params.optional_time("endTime")
    if tran_id is None and start is None:
        start = call.now_ms - 7 * DAY_MS
    page = read_page(params)
    account = call.engine.margin.account(call.account, pair)
    rows = [
        record
        for record in call.engine.margin.records(account, kind, call.now_ms)
        if asset in (None, record.asset) and tran_id in (None, record.tran_id) and within(record.time, start, end)
    ]
    return page.of(rows, lambda record: _record(account, record))


def interest_history(call: Call, params: Params) -> Json:
    pair, asset = read_pair(params), params.optional_text("asset")
    start, end = params.optional_time("startTime"), params.optional_time("endTime")
    if start is not None and end is not None and end - start > _INTEREST_DAYS * DAY_MS:
        raise errors.lookup_too_wide(_INTEREST_DAYS * 24)
    page = read_page(params)
    account = call.engine.margin.account(call.account, pair)
    rows = [row for row in reversed(account.accruals) if asset in (None, row.asset) and within(row.time, start, end)]
    return page.of(rows, lambda row: _accrual(account, row))


def max_borrowable(call: Call, params: Params) -> Json:
    pair, asset = read_pair(params), params.text("asset")
    params.finish()
    account = call.engine.margin.account(call.account, pair)
    most, limit = call.engine.margin.most(account, asset)
    return {"amount": amount(most), "borrowLimit": amount(limit)}


def max_transferable(call: Call, params: Params) -> Json:
    pair, asset = read_pair(params), params.text("asset")
    params.finish()
    account = call.engine.margin.account(call.account, pair)
    return {"amount": amount(call.engine.margin.transferable(account, asset))}


def transfer(call: Call, params: Params) -> Json:
    kind, asset, much = params.text("type"), params.text("asset"), params.decimal("amount")
    source, target = params.optional_symbol("fromSymbol") or "", params.optional_symbol("toSymbol") or ""
    params.finish()
    return {
        "tranId": call.engine.margin.transfer(
            call.account, kind, asset, much, call.now_ms, source=source, target=target
        )
    }


def universal_transfers(call: Call, params: Params) -> Json:
    kind = params.text("type")
    start, end = params.optional_time("startTime"), params.optional_time("endTime")
    source, target = params.optional_symbol("fromSymbol"), params.optional_symbol("toSymbol")
    page = read_page(params)
    rows = {
        row.tran_id: row
        for account in call.engine.margin.accounts(call.account)
        for row in account.transfers
        if row.type == kind
        and source in (None, row.source_symbol)
        and target in (None, row.target_symbol)
        and within(row.time, start, end)
    }
    newest = [rows[tran_id] for tran_id in sorted(rows, reverse=True)]
    return page.of(
        newest,
        lambda row: {
            "asset": row.asset,
            "amount": amount(row.amount),
            "type": row.type,
            "status": "CONFIRMED",
            "tranId": row.tran_id,
            "timestamp": row.time,
        },
    )


def margin_transfers(call: Call, params: Params) -> Json:
    """`margin/transfer`: into (ROLL_IN) and out of (ROLL_OUT) one account."""
    pair, asset = read_pair(params), params.optional_text("asset")
    kind = params.optional_text("type")
    start, end = params.optional_time("startTime"), params.optional_time("endTime")
    page = read_page(params)
    account = call.engine.margin.account(call.account, pair)
    rows = [
        row
        for row in reversed(account.transfers)
        if asset in (None, row.asset) and kind in (None, _roll(account, row)) and within(row.time, start, end)
    ]
    return page.of(rows, lambda row: _transfer(account, row))


# --- reading and writing ----------------------------------------------------------------------------------------------


def read_pair(params: Params) -> str:
    """The pair of `isolatedSymbol`, or the cross account's (empty) without one."""
    return params.optional_symbol("isolatedSymbol") or ""


def within(time: int, start: int | None, end: int | None) -> bool:
    return (start is None or time >= start) and (end is None or time <= end)


class Page(msgspec.Struct, frozen=True):
    """Page `current` (from 1) of `size` rows."""

    current: int
    size: int

    def of(self, rows: Sequence[Row], written: Callable[[Row], Json]) -> Json:
        """Its rows, and how many there are on all pages."""
        shown = rows[(self.current - 1) * self.size : self.current * self.size]
        return {"rows": [written(row) for row in shown], "total": len(rows)}


def read_page(params: Params) -> Page:
    """The last of the parameters: 10 rows where `size` does not say otherwise, at most 100."""
    current, size = params.optional_integer("current") or 1, params.optional_integer("size") or 10
    params.finish()
    if size > 100:
        raise errors.too_great("size", 100)
    return Page(current, size)


def _record(account: MarginAccount, record: Record) -> Json:
    body = {
        "type": record.origin.value,
        "asset": record.asset,
        "amount": amount(record.amount),
        "principal": amount(record.principal),
        "interest": amount(record.interest),
        "status": record.status.value,
        "timestamp": record.time,
        "txId": record.tran_id,
    }
    return body | {"isolatedSymbol": account.symbol} if account.isolated else body


def _accrual(account: MarginAccount, row: Accrual) -> Json:
    body = {
        "txId": row.tran_id,
        "interestAccuredTime": row.time,
        "asset": row.paid_in,
        "rawAsset": row.asset,
        "principal": amount(row.principal),
        "interest": amount(row.interest),
        "interestRate": amount(row.rate),
        "type": row.type.value,
    }
    return body | {"isolatedSymbol": account.symbol} if account.isolated else body


def _roll(account: MarginAccount, row: Transfer) -> str:
    mine = ISOLATED_MARGIN if account.isolated else CROSS_MARGIN
    return "ROLL_IN" if row.target == mine and row.target_symbol == account.symbol else "ROLL_OUT"


def _transfer(account: MarginAccount, row: Transfer) -> Json:
    body: Json = {
        "amount": amount(row.amount),
        "asset": row.asset,
        "status": "CONFIRMED",
        "timestamp": row.time,
        "txId": row.tran_id,
        "type": _roll(account, row),
        "transFrom": row.source,
        "transTo": row.target,
    }
    if row.source_symbol:
        body["fromSymbol"] = row.source_symbol
    if row.target_symbol:
        body["toSymbol"] = row.target_symbol
    return body
