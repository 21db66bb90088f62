"""A paper exchange is told what to do: move a price, halt a symbol, cut streams, put a fault in.

HTTP on a port of its own, on loopback, off unless it is asked for. Each verb is `POST /verb` with a JSON object; what
can't be done is answered 400 with a sentence, and has changed nothing. `GET /` lists the verbs, `GET /state` shows the
exchange as it is.
"""

import asyncio
import errno
import ipaddress
from collections.abc import Awaitable, Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from executor.core.model.values import ZERO, floor_to
from executor.paper.engine.choices import all_choices, read_choices, shown_choices
from executor.paper.engine.exchange import Engine
from executor.paper.engine.margin.account import MarginAccount
from executor.paper.engine.margin.margin import Margin
from executor.paper.engine.margin.model import Fate, LoanStatus, LoanType
from executor.paper.engine.model import Reject, SymbolStatus
from executor.paper.errors import PortInUse
from executor.paper.replay.clock import Clock
from executor.paper.replay.live import LiveMarket
from executor.paper.server import PaperServer
from executor.paper.server.injected import InjectedFaults, PushRule, RequestRule

HOST: Final = "127.0.0.1"
_LONGEST_S: Final = 86_400.0
MAGNITUDE_MAX: Final = 18
_MAX_BYTES: Final = 65_536
_MOST_TIMES: Final = 10_000


class ControlError(ValueError):
    """What was asked can't be done; the message names the field, what it was and what it must be."""


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A verb's JSON object. `symbol` and `account` may be left out where there is one."""


class Move(_Asked, frozen=True, kw_only=True):
    """Move the price to `price`, or by `percent` of what it is, at once or over `over_s` seconds.

    Trades on the way carry `qty`, without it enough to fill what rests there. What is recorded goes on from there in
    proportion.
    """

    symbol: str = ""
    price: Decimal | None = None
    percent: Decimal | None = None
    over_s: float = 0
    qty: Decimal | None = None


class Play(_Asked, frozen=True, kw_only=True):
    """Hold a recording where it is (`playing` false), or let it go on."""

    symbol: str = ""
    playing: bool


class SetStatus(_Asked, frozen=True, kw_only=True):
    """Set a symbol's status: TRADING, HALT, BREAK, CANCEL_ONLY, END_OF_DAY."""

    symbol: str = ""
    status: SymbolStatus


class Cut(_Asked, frozen=True, kw_only=True):
    """Cut every WebSocket, and take no new one for `away_s` seconds."""

    away_s: float = 0


class Cancel(_Asked, frozen=True, kw_only=True):
    """Cancel an order by its client order id, or all of an account on a symbol, by other hands or `by_exchange`."""

    symbol: str = ""
    account: str = ""
    order: str = ""
    by_exchange: bool = False


class Balance(_Asked, frozen=True, kw_only=True):
    """Deposit (`delta` above 0) or withdraw; with `lock`, another service locks or frees so much instead."""

    asset: str
    delta: Decimal
    account: str = ""
    lock: bool = False


class Loan(_Asked, frozen=True, kw_only=True):
    """Borrow or repay by hand on a margin account: that of `pair`, else the cross one.

    A repayment without `amount` is one of all that is owed.
    """

    account: str = ""
    pair: str = ""
    kind: LoanType
    asset: str
    amount: Decimal | None = None


class NextLoans(_Asked, frozen=True, kw_only=True):
    """Keep the next `times` loans and repayments PENDING for `pending_s`; then they are done, or have failed."""

    account: str = ""
    pair: str = ""
    pending_s: float = 0
    fails: bool = False
    times: int = 1


class Transfer(_Asked, frozen=True, kw_only=True):
    """Move funds between the accounts of an owner, by the names of `POST asset/transfer`."""

    account: str = ""
    type: str
    asset: str
    amount: Decimal
    from_symbol: str = ""
    to_symbol: str = ""


class Interest(_Asked, frozen=True, kw_only=True):
    """Charge `hours` of interest now on every margin account; with `asset`, its rate becomes `hourly_rate` before."""

    hours: int = 0
    asset: str = ""
    hourly_rate: Decimal | None = None


class Liquidate(_Asked, frozen=True, kw_only=True):
    """Liquidate a margin account, whatever its level is."""

    account: str = ""
    pair: str = ""


class Index(_Asked, frozen=True, kw_only=True):
    """Fix a symbol's index price, by which levels are reckoned; without `price` it follows the market again."""

    symbol: str = ""
    price: Decimal | None = None


class Served(msgspec.Struct, frozen=True):
    """What the control endpoint can reach."""

    engine: Engine
    clock: Clock
    server: PaperServer
    markets: Mapping[str, LiveMarket]
    faults: InjectedFaults


class Control:
    """The endpoint. `start` it beside the server, `stop` it before."""

    def __init__(self, served: Served, *, port: int = 0) -> None:
        self._served = served
        self._port = port
        self._runner: web.ServerRunner | None = None
        self._verbs: dict[str, tuple[type[Any], Callable[[Any], Awaitable[None]]]] = {
            "move": (Move, self._move),
            "play": (Play, self._play),
            "status": (SetStatus, self._status),
            "cut": (Cut, self._cut),
            "fault": (RequestRule, self._fault),
            "push": (PushRule, self._fault),
            "clear": (_Asked, self._clear),
            "cancel": (Cancel, self._cancel),
            "balance": (Balance, self._balance),
            "loan": (Loan, self._loan),
            "loans": (NextLoans, self._next_loans),
            "transfer": (Transfer, self._transfer),
            "interest": (Interest, self._interest),
            "liquidate": (Liquidate, self._liquidate),
            "index": (Index, self._index),
        }

    async def start(self) -> str:
        """Listen; the address. Raises PortInUse."""
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self._port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(HOST, self._port) from error
            raise
        self._runner = runner
        return f"http://{HOST}:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- the wire ---

    async def _handle(self, request: BaseRequest) -> web.StreamResponse:
        if not _is_local(request.headers.get("Host", "")):
            return _json(403, {"error": "Host must be a loopback address"})
        path = request.path.strip("/")
        if request.method == "GET":
            return self._get(path)
        if request.method != "POST" or (path not in self._verbs and path != "choices"):
            return _json(404, {"error": f"{request.method} {request.path} is nothing; GET / lists what there is"})
        if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            return _json(415, {"error": "Content-Type must be application/json"})
        try:
            body = await asyncio.wait_for(request.content.read(_MAX_BYTES), 5) or b"{}"
            await self._carry_out(path, body)
        except (ControlError, Reject, TimeoutError) as error:
            return _json(400, {"error": str(error)})
        return _json(200, self._state())

    async def _carry_out(self, verb: str, body: bytes) -> None:
        if verb == "choices":
            given = _read(body, dict[str, str])
            try:
                self._served.engine.choices = read_choices(given.items(), self._served.engine.choices)
            except ValueError as error:
                raise ControlError(str(error)) from error
            return
        kind, act = self._verbs[verb]
        await act(_read(body, kind))
        self._served.server.flush()

    def _get(self, path: str) -> web.Response:
        if path == "state":
            return _json(200, self._state())
        if path == "choices":
            rows = [msgspec.to_builtins(choice) for choice in all_choices()]
            shown = shown_choices(self._served.engine.choices)
            return _json(200, [{**row, "value": shown[row["name"]]} for row in rows])
        if path:
            return _json(404, {"error": f"GET /{path} is nothing; GET / lists what there is"})
        verbs = {
            f"POST /{verb}": {"does": " ".join((kind.__doc__ or "").split("\n\n")[0].split()), "fields": _fields(kind)}
            for verb, (kind, _) in self._verbs.items()
        }
        choices = {"does": "Change what the documents leave open.", "fields": [each.name for each in all_choices()]}
        return _json(200, {"GET /state": {}, "GET /choices": {}, **verbs, "POST /choices": choices})

    def _state(self) -> dict[str, Any]:
        served = self._served
        return {
            "time": served.clock.now_ms(),
            "sockets": served.server.sockets,
            "faults": [msgspec.to_builtins(rule) for rule in served.faults.rules()],
            "faults_met": served.faults.met,
            "choices": shown_choices(served.engine.choices),
            "symbols": {
                name: {
                    "price": _text(served.engine.last_price(name)),
                    "status": served.engine.symbol(name).status.value,
                    "playing": market.playing,
                }
                for name, market in served.markets.items()
            },
            "accounts": {name: self._account_state(name) for name in served.engine.accounts()},
            "margin": {each.money.name: self._margin_state(each) for each in served.engine.margin.accounts()},
        }

    def _margin_state(self, account: MarginAccount) -> dict[str, Any]:
        level = self._served.engine.margin.level(account)
        return {
            "debts": {
                asset: {"borrowed": _text(debt.principal), "interest": _text(debt.interest)}
                for asset, debt in account.debts.items()
                if debt.total
            },
            "level": None if level is None else _text(level),
            "status": account.status.value,
            "pending": [record.tran_id for record in account.records if record.status is LoanStatus.PENDING],
        }

    def _account_state(self, account: str) -> dict[str, Any]:
        engine = self._served.engine
        return {
            "balances": {
                row.asset: {"free": _text(row.free), "locked": _text(row.locked)}
                for row in engine.balances(account)
                if row.free or row.locked
            },
            "orders": [
                {
                    "symbol": order.symbol,
                    "id": order.client_order_id,
                    "side": order.side.value,
                    "type": order.type.value,
                    "status": order.status.value,
                    "qty": _text(order.orig_qty),
                    "executed": _text(order.executed_qty),
                    "price": _text(order.price),
                    "stop": _text(order.stop_price),
                }
                for order in engine.open_orders(account)
            ],
        }

    # --- the verbs ---

    async def _move(self, asked: Move) -> None:
        market = self._market(asked.symbol)
        if (asked.price is None) == (asked.percent is None):
            raise ControlError("price and percent: one of them must be given")
        if not 0 <= asked.over_s <= _LONGEST_S:
            raise ControlError(f"over_s is {asked.over_s}, must be from 0 to {_LONGEST_S:.0f}")
        price = asked.price
        if asked.percent is not None:
            last = self._served.engine.last_price(market.symbol)
            if last is None:
                raise ControlError(f"percent: {market.symbol} has no price yet")
            tick = self._served.engine.symbol(market.symbol).price.grid
            price = max(tick, floor_to(last * (100 + asked.percent) / 100, tick))
        try:
            await market.move(price or ZERO, over_ms=round(asked.over_s * 1000), qty=asked.qty)
        except ValueError as error:
            raise ControlError(str(error)) from error

    async def _play(self, asked: Play) -> None:
        self._market(asked.symbol).playing = asked.playing

    async def _status(self, asked: SetStatus) -> None:
        self._served.engine.set_symbol_status(self._market(asked.symbol).symbol, asked.status)

    async def _cut(self, asked: Cut) -> None:
        if not 0 <= asked.away_s <= _LONGEST_S:
            raise ControlError(f"away_s is {asked.away_s}, must be from 0 to {_LONGEST_S:.0f}")
        self._served.server.drop_connections(away_ms=round(asked.away_s * 1000))

    async def _fault(self, asked: RequestRule | PushRule) -> None:
        self._served.faults.add(asked)

    async def _clear(self, _: _Asked) -> None:
        self._served.faults.clear()

    async def _cancel(self, asked: Cancel) -> None:
        engine, now_ms = self._served.engine, self._served.clock.now_ms()
        account, symbol = self._account(asked.account), self._market(asked.symbol).symbol
        wanted = [
            order
            for order in engine.open_orders(account, symbol)
            if not asked.order or order.client_order_id == asked.order
        ]
        if not wanted:
            raise ControlError(f"order is {asked.order!r}, must be an open order of {account} on {symbol}")
        for order in wanted:
            if order.order_id not in {each.order_id for each in engine.open_orders(account, symbol)}:
                continue  # went with another of its list
            if asked.by_exchange:
                engine.expire_order(account, symbol, order.order_id, now_ms)
            else:
                engine.cancel_order(account, symbol, now_ms, order_id=order.order_id)

    async def _balance(self, asked: Balance) -> None:
        change = self._served.engine.lock_externally if asked.lock else self._served.engine.adjust_balance
        change(self._account(asked.account), asked.asset, asked.delta, self._served.clock.now_ms())

    async def _loan(self, asked: Loan) -> None:
        margin, now_ms = self._margin(), self._served.clock.now_ms()
        account = margin.account(self._account(asked.account), asked.pair)
        if asked.kind is LoanType.BORROW and asked.amount is None:
            raise ControlError("amount: must be given for a loan")
        amount = account.debt(asked.asset).total if asked.amount is None else asked.amount
        act = margin.borrow if asked.kind is LoanType.BORROW else margin.repay
        act(account, asked.asset, amount, now_ms)
        margin.watch(now_ms)

    async def _next_loans(self, asked: NextLoans) -> None:
        if not 0 <= asked.pending_s <= _LONGEST_S:
            raise ControlError(f"pending_s is {asked.pending_s}, must be from 0 to {_LONGEST_S:.0f}")
        if not 1 <= asked.times <= _MOST_TIMES:
            raise ControlError(f"times is {asked.times}, must be from 1 to {_MOST_TIMES}")
        account = self._margin().account(self._account(asked.account), asked.pair)
        fate = Fate(pending_ms=round(asked.pending_s * 1000), fails=asked.fails)
        account.next_fates.extend([fate] * asked.times)

    async def _transfer(self, asked: Transfer) -> None:
        self._margin().transfer(
            self._account(asked.account),
            asked.type,
            asked.asset,
            asked.amount,
            self._served.clock.now_ms(),
            source=asked.from_symbol,
            target=asked.to_symbol,
        )

    async def _interest(self, asked: Interest) -> None:
        if not 0 <= asked.hours <= _MOST_TIMES:
            raise ControlError(f"hours is {asked.hours}, must be from 0 to {_MOST_TIMES}")
        if (asked.hourly_rate is None) != (not asked.asset):
            raise ControlError("asset and hourly_rate: both or none must be given")
        if asked.hourly_rate is not None and not 0 <= asked.hourly_rate < 1:
            raise ControlError(f"hourly_rate is {asked.hourly_rate}, must be from 0 to less than 1")
        margin, now_ms = self._margin(), self._served.clock.now_ms()
        if asked.hourly_rate is not None:
            margin.terms.hourly_rates[asked.asset] = asked.hourly_rate
        for account in margin.accounts() if asked.hours else ():
            margin.charge(account, now_ms, asked.hours)
        margin.watch(now_ms)

    async def _liquidate(self, asked: Liquidate) -> None:
        margin = self._margin()
        margin.liquidate(margin.account(self._account(asked.account), asked.pair), self._served.clock.now_ms())

    async def _index(self, asked: Index) -> None:
        if asked.price is not None and asked.price <= 0:
            raise ControlError(f"price is {_text(asked.price)}, must be above 0")
        margin = self._margin()
        margin.prices.set(self._market(asked.symbol).symbol, asked.price)
        margin.watch(self._served.clock.now_ms())

    def _margin(self) -> Margin:
        """The margin accounts as they are now: hours and what was PENDING are dealt with."""
        self._served.engine.margin.advance(self._served.clock.now_ms())
        return self._served.engine.margin

    def _market(self, symbol: str) -> LiveMarket:
        return self._served.markets[_one(self._served.markets, symbol, "symbol")]

    def _account(self, account: str) -> str:
        """The one named, by the engine's own name where it is a margin account, or the only owner."""
        engine = self._served.engine
        if account in engine.accounts():
            return account
        margin = engine.margin.names()
        return _one([name for name in engine.accounts() if name not in margin], account, "account")


def _one(known: Collection[str], name: str, field: str) -> str:
    """The one named, or the only one."""
    if not name and len(known) == 1:
        return next(iter(known))
    if name not in known:
        raise ControlError(f"{field} is {name!r}, must be one of {', '.join(known)}")
    return name


def _fields(kind: type[msgspec.Struct]) -> list[str]:
    return list(kind.__struct_fields__)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _read(body: bytes, kind: Any) -> Any:
    """Raises ControlError."""
    try:
        given = msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as error:
        raise ControlError(f"{error!s:.300}") from error
    for name, value in msgspec.structs.asdict(given).items() if isinstance(given, msgspec.Struct) else ():
        if isinstance(value, Decimal) and not (value.is_finite() and abs(value.adjusted()) <= MAGNITUDE_MAX):
            raise ControlError(
                f"{name} is {value!s:.40}, must be a number between 1E-{MAGNITUDE_MAX} and 1E+{MAGNITUDE_MAX}"
            )
    return given


def _json(status: int, body: Any) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def _is_local(host: str) -> bool:
    """Whether a Host header names this machine: a page in a browser that was led here does not."""
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
