"""What a run trades: symbol, money, policy and the shape of its market, drawn from its choices."""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.sim.choices import Choices

from executor.core.model.policy import AfterTp1, EntryMode, Layout, PlanBOrder, Policy, TrailMode
from executor.core.model.rules import SymbolRules
from executor.core.model.values import Direction
from executor.exchange.wire import rules as wire_rules
from executor.paper.engine.choices import (
    CancelledId,
    ExchangeChoices,
    InterestRounding,
    InterestShown,
    LoanBusy,
    LoanRecord,
    MarginFunds,
    NoDebtLevel,
    OcoDone,
    OcoEnded,
    OcoSibling,
    OpoCommission,
    PendingEnded,
    PendingOpen,
    PendingQuantity,
    PendingRefused,
    PreventedTold,
    PushOrder,
    PushRefusals,
    RefusalTexts,
    RestTooSmall,
    SeenInReads,
    shown_choices,
)
from executor.paper.engine.exchange import Engine
from executor.paper.engine.liquidity import LiquidityModel
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.recording import bundled_exchange_info, demo_trades

QUOTE: Final = "USDT"
OTHER_QUOTE: Final = "FDUSD"
TWINS: Final = frozenset({"LTCUSDT", "BTCUSDT"})
"""These have a second symbol, of the same base in the other quote."""
ACCOUNT: Final = "a"
CROSS: Final = "cross"
ISOLATED: Final = "isolated"
SPOT: Final = ("",)
ANY: Final = ("", CROSS, ISOLATED)
"""Which accounts a run may draw; the empty one is Spot."""
LOW_PRICED: Final = Path(__file__).with_name("low_priced.json")
"""Rows of exchangeInfo as of 2024-09-08, of symbols with a coarse tick and whole units."""


class Market(msgspec.Struct, frozen=True):
    """`price`: where it starts; `unit`: its usual move, in quote; never less than a tick."""

    symbol: str
    price: Decimal
    unit: Decimal
    quote: str = QUOTE

    @property
    def base(self) -> str:
        return self.symbol.removesuffix(self.quote)

    def amount(self, worth: int) -> Decimal:
        """A base quantity that is `worth` so much at the start, in quote."""
        return worth / self.price


LTC: Final = Market("LTCUSDT", Decimal(100), Decimal("0.1"))
MARKETS: Final = (
    LTC,
    Market("BTCUSDT", Decimal(60_000), Decimal(60)),
    Market("DOGEUSDT", Decimal("0.1"), Decimal("0.0001")),
    Market("PEPEUSDT", Decimal("0.00001"), Decimal("0.00000001")),
)
RECV_WINDOW: Final = 5_000
SPARE: Final = 50_000  # worth, in quote


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """`balances`: free at the start; `margin`: the kind of account that is traded, empty for Spot; `tape`: where in the
    recording the market starts, -1 for a drawn one. Times in ms.
    """

    policy: Policy
    market: Market = LTC
    balances: dict[str, Decimal]
    burn: bool = False
    thin: bool = False
    pushes: bool = True
    quotes: bool = False
    poll: int = 2_000
    step: int = 1_500
    latency: int = 40
    recv_window: int = RECV_WINDOW
    timeout: int = 1_500
    trades: int = 4
    tape: int = -1
    exchange: ExchangeChoices = ExchangeChoices()
    margin: str = ""


@cache
def _info() -> dict[str, Any]:
    info = bundled_exchange_info()
    info["symbols"] += msgspec.json.decode(LOW_PRICED.read_bytes())
    twins = [row for row in info["symbols"] if row["symbol"] in TWINS]
    info["symbols"] += [row | {"symbol": row["baseAsset"] + OTHER_QUOTE, "quoteAsset": OTHER_QUOTE} for row in twins]
    return info


@cache
def rules(symbol: str) -> SymbolRules:
    info = wire_rules.exchange_info(msgspec.json.encode(_info()))
    fee = Decimal("0.001")
    fees = msgspec.convert(
        {"standardCommission": {"maker": str(fee), "taker": str(fee)}}, type=wire_rules.Commission, strict=False
    )
    found = wire_rules.symbol_rules(info, symbol, fees)
    assert found is not None
    return found


@cache
def _symbol(name: str) -> Symbol:
    return Symbol.from_exchange_info(next(row for row in _info()["symbols"] if row["symbol"] == name))


@cache
def tape() -> tuple[Decimal, ...]:
    """Prices of the bundled recording, one every few seconds."""
    prices: list[Decimal] = []
    last = 0
    for trade in demo_trades():
        if trade.time - last >= 5_000:
            prices.append(trade.price)
            last = trade.time
    return tuple(prices)


def build(setup: Setup, markets: Sequence[Market] = ()) -> Engine:
    """`markets`: all of them, where it has more than the setup's."""
    liquidity = LiquidityModel.tight(Decimal(300), 3) if setup.thin else LiquidityModel()
    names = [market.symbol for market in markets or (setup.market,)]
    with_bnb = setup.margin == CROSS and ("BNB" in setup.balances or len(names) > 1)
    symbols = (*names, "BNBUSDT") if with_bnb else names
    engine = Engine([_symbol(name) for name in symbols], liquidity=liquidity, choices=setup.exchange)
    engine.open_account(ACCOUNT, setup.balances, bnb_burn=setup.burn)
    for quote in (QUOTE, OTHER_QUOTE):
        engine.set_bnb_price(quote, Decimal(600))
    return engine


def direction(choices: Choices) -> Direction:
    return (Direction.LONG, Direction.SHORT)[choices.choose("direction", 2)]


def draw(
    choices: Choices, *, trades: int = 4, kinds: Sequence[str] = ANY, markets: Sequence[Market] = MARKETS
) -> Setup:
    """The defaults are the quiet choice everywhere. `kinds`: of accounts."""

    def pick(label: str, *options: Any) -> Any:
        return options[choices.choose(label, len(options))]

    policy = Policy(
        recv_window_ms=RECV_WINDOW,
        base_fees_leave=True,
        layout=pick("layout", Layout.OCO, Layout.PLAIN, Layout.BRACKET),
        entry_mode=pick("entry_mode", *EntryMode),
        planb_order=pick("planb_order", *PlanBOrder),
        planb_max_dev_r=pick("planb_dev", Decimal("0.5"), Decimal(3)),
        after_tp1=pick("after_tp1", *AfterTp1),
        trail_mode=pick("trail_mode", *TrailMode),
        trail_after_tp2=pick("trail_after", True, False),
        trail_r=pick("trail_r", Decimal(1), Decimal("0.3")),
        trail_swing_bars=1,
        trail_swing_lookback=20,
        swing_mins=5,
        split=pick("split", *(tuple(map(Decimal, each)) for each in ((1, 1, 1), (1, 1, 0), (2, 1, 1)))),
        notional=pick("notional", *map(Decimal, (900, 40, 20, 13, 7, 3000))),
        stop_pct=Decimal("0.008"),
        allow_short=True,
        entry_timeout_ms=pick("entry_timeout", 8_000, 20_000),
        cooldown_ms=1_000,
        cooldown_abort_ms=500,
        lock_ms=100,
        max_hold_ms=pick("max_hold", 0, 30_000, 120_000),
        failsafe_flatten=pick("failsafe", True, True, False),
        failsafe_tries=pick("failsafe_tries", 5, 2),
    )
    market = pick("market", *markets)
    spare = rules(market.symbol).whole(market.amount(SPARE))  # as an account holds it: a finite number
    balances = {
        market.quote: Decimal(20_000),
        market.base: spare if pick("spare", False, True) or policy.layout is Layout.PLAIN else Decimal(0),
    }
    if balances[market.base] and pick("purse", False, False, False, True):
        balances[market.quote] = Decimal(2)  # a short's exits lock all that it brought
    if burn := pick("burn", False, True):
        balances["BNB"] = pick("bnb", Decimal(10), Decimal("0.0005"))
    on_tape = pick("tape", False, False, False, True)
    margin = pick("margin", *kinds)
    if margin:
        own = policy.notional * pick("own", Decimal(2), Decimal("0.8"), Decimal("0.5")) + 20
        balances[market.quote] = own.quantize(Decimal("0.01"))
        if margin == ISOLATED:
            balances.pop("BNB", None)
            burn = False
        if not pick("spare_base", False, False, True):
            balances[market.base] = Decimal(0)
        policy = msgspec.structs.replace(policy, layout=pick("margin_layout", Layout.OCO, Layout.PLAIN))
    return Setup(
        policy=policy,
        market=market,
        balances=balances,
        burn=burn,
        thin=pick("thin", False, False, True),
        pushes=pick("pushes", True, False),
        quotes=pick("quotes", False, True),
        poll=pick("poll", 2_000, 1_000, 3_000),
        step=pick("step", 1_500, 700, 4_000),
        trades=trades,
        tape=choices.choose("tape_from", 2_000) if on_tape else -1,
        exchange=drawn_exchange(choices, READINGS | MARGIN_READINGS if margin else READINGS),
        margin=margin,
    )


OPPOSITE: Final = ExchangeChoices(
    oco_done=OcoDone.TRIGGERED,
    push_refusals=PushRefusals.ALWAYS,
    push_order=PushOrder.AFTER_ANSWER,
    oco_sibling=OcoSibling.CANCELED,
    cancelled_id=CancelledId.NONE,
    seen_in_reads=SeenInReads.LATER,
    refusal_texts=RefusalTexts.OTHERS,
    loan_record=LoanRecord.PENDING,
    loan_busy=LoanBusy.BRIEFLY,
    interest_rounding=InterestRounding.DOWN,
    interest_shown=InterestShown.LATER,
    no_debt_level=NoDebtLevel.ZERO,
    small_rest=RestTooSmall.REFUSED,
    isolated_limit_own_code=True,
    margin_funds=MarginFunds.MARGIN_CODE,
    pending_open=PendingOpen.HIDDEN,
    pending_quantity=PendingQuantity.WORKING,
    pending_ended=PendingEnded.EXPIRED,
    pending_refused=PendingRefused.REJECTED,
    opo_commission=OpoCommission.PROCEEDS,
    oco_ended=OcoEnded.ONE,
    prevented_told=PreventedTold.EXPIRED,
)
"""An exchange that reads every document the other way."""


def drawn_exchange(choices: Choices, readings: dict[str, tuple[Any, ...]] | None = None) -> ExchangeChoices:
    """One reading of what the documents leave open; what only the wire's bytes show is for the tests over sockets."""
    return ExchangeChoices(
        **{name: values[choices.choose(f"open:{name}", len(values))] for name, values in (readings or READINGS).items()}
    )


READINGS: Final[dict[str, tuple[Any, ...]]] = {
    "oco_done": tuple(OcoDone),
    "push_refusals": (PushRefusals.CANCEL_REPLACE, PushRefusals.NEVER, PushRefusals.ALWAYS),
    "push_order": tuple(PushOrder),
    "oco_sibling": tuple(OcoSibling),
    "cancelled_id": tuple(CancelledId),
    "seen_in_reads": tuple(SeenInReads),
    "refusal_texts": tuple(RefusalTexts),
    "pending_open": tuple(PendingOpen),
    "pending_quantity": tuple(PendingQuantity),
    "pending_ended": tuple(PendingEnded),
    "pending_refused": tuple(PendingRefused),
    "opo_commission": tuple(OpoCommission),
    "oco_ended": tuple(OcoEnded),
    "prevented_told": tuple(PreventedTold),
}
"""The readings of each choice, the quiet one first."""
MARGIN_READINGS: Final[dict[str, tuple[Any, ...]]] = {
    "loan_record": tuple(LoanRecord),
    "loan_busy": tuple(LoanBusy),
    "interest_rounding": tuple(InterestRounding),
    "no_debt_level": tuple(NoDebtLevel),
    "small_rest": tuple(RestTooSmall),
    "isolated_limit_own_code": (False, True),
    "margin_funds": tuple(MarginFunds),
    "interest_shown": tuple(InterestShown),
}
"""Of a margin account besides."""


def named(exchange: ExchangeChoices, *, margin: bool = False) -> tuple[str, ...]:
    """Each reading by its name, as the tally has it."""
    shown = shown_choices(exchange)
    return tuple(f"{name}={shown[name]}" for name in (*READINGS, *(MARGIN_READINGS if margin else ())))
