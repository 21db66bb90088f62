"""Starting on a margin account: what must be there, and what is said where it is not (rule 11, issue of bad input)."""

from typing import Any

import pytest
from tests.exchange.stub import EXCHANGE_INFO, KEY, PAIR, SECRET, START_MS, ManualClock, Say, Stub, error, signed_well

from executor.config import Settings, load_settings
from executor.core.model.loans import AssetTerms, Bars, MarginTerms
from executor.core.model.values import ZERO
from executor.exchange.binance import BinanceExchange, connect
from executor.exchange.margin import UNTOLD, MarginExchange
from executor.exchange.port import StartError
from executor.exchange.transport.auth import Credentials
from executor.service.market import maker

GOOD = Credentials.hmac(KEY, SECRET)
SAPI = "/sapi/v1/"


def settings_of(stub: Stub, *, isolated: bool = True, **more: str) -> Settings:
    values = {
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": stub.endpoints.rest_url,
        "BINANCE_WS_API_URL": "ws://127.0.0.1:1",
        "BINANCE_STREAM_URL": "ws://127.0.0.1:1",
        "BINANCE_API_KEY": KEY,
        "BINANCE_API_SECRET": SECRET,
        "SYMBOL": "BTCUSDT",
        "TRADE_MODE": "margin",
        "MARGIN_ISOLATED": str(isolated).lower(),
        **more,
    }
    return load_settings(values, None)


async def begin(stub: Stub, clock: ManualClock, *, isolated: bool = True, **more: str) -> BinanceExchange:
    make = maker(settings_of(stub, isolated=isolated, **more), ("BTCUSDT",))
    return await connect(stub.endpoints, GOOD, "BTCUSDT", clock, 3000, make)


@pytest.mark.parametrize("isolated", [True, False])
async def test_the_account_s_own_terms_come_with_the_rules(stub: Stub, clock: ManualClock, isolated: bool) -> None:
    exchange = await begin(stub, clock, isolated=isolated)
    assert isinstance(exchange, MarginExchange)
    assert exchange.account.isolated == ("BTCUSDT" if isolated else "")
    assert exchange.shown is not None
    bars = ("1.25", "1.200", "1.15") if isolated else ("1.5", "1.3", "1.1")
    borrow, call, liquidation = (type(ZERO)(bar) for bar in bars)
    assert exchange.shown.margin == MarginTerms(
        isolated=isolated,
        bars=Bars(borrow=borrow, call=call, liquidation=liquidation),
        base=AssetTerms(),
        quote=AssetTerms(),
    )
    assert not exchange.shown.cancel_replace_allowed
    await exchange.close()


async def test_terms_are_of_the_tier_that_the_largest_loan_needs(stub: Stub, clock: ManualClock) -> None:
    exchange = await begin(stub, clock, MARGIN_MAX_BORROW_USD="100000")
    assert exchange.shown is not None
    assert exchange.shown.margin is not None
    assert exchange.shown.margin.bars.liquidation == type(ZERO)("1.2")
    await exchange.close()


async def test_lists_that_an_exchange_does_not_have_or_wants_signed_are_no_obstacle(
    stub: Stub, clock: ManualClock
) -> None:
    """Rule 8.8: the documents ask for no signature there, and an exchange may have fewer of Binance's lists."""
    stub.script(
        f"GET {SAPI}margin/isolated/allPairs", error(400, -1102, "Mandatory parameter 'signature' was not sent.")
    )
    stub.script(f"GET {SAPI}margin/allAssets", Say(status=404, text="not here"))
    exchange = await begin(stub, clock)
    assert exchange.shown is not None
    assert exchange.shown.margin is not None
    assert exchange.shown.margin.base == AssetTerms()
    first, second = [seen for seen in stub.seen if seen.path.endswith("isolated/allPairs")]
    assert "signature" not in first.params
    assert signed_well(second)
    await exchange.close()


DISABLED = {"assets": [{**PAIR, "enabled": False}]}
NOT_MADE = {"assets": [{**PAIR, "isolatedCreated": False}]}
UNKNOWN_PAIR = [{"symbol": "LTCUSDT", "isMarginTrade": True, "isBuyAllowed": True, "isSellAllowed": True}]
NO_SELLING = [{"symbol": "BTCUSDT", "isMarginTrade": True, "isBuyAllowed": True, "isSellAllowed": False}]


@pytest.mark.parametrize(
    ("isolated", "request_", "say", "words"),
    [
        (
            True,
            "margin/isolated/account",
            error(400, -11001, "Isolated margin account does not exist."),
            "there is not",
        ),
        (True, "margin/isolated/account", Say(json={"assets": []}), "open it in the exchange's app, and transfer"),
        (True, "margin/isolated/account", Say(json=NOT_MADE), "an isolated margin account of BTCUSDT: open it"),
        (True, "margin/isolated/account", Say(json=DISABLED), "is disabled: enable it in the exchange's app"),
        (False, "margin/account", error(400, -3003, "Margin account does not exist."), "a cross margin account: open"),
        (True, "margin/isolated/allPairs", Say(json=UNKNOWN_PAIR), "set MARGIN_ISOLATED=false, if its cross margin"),
        (False, "margin/allPairs", Say(json=UNKNOWN_PAIR), "set MARGIN_ISOLATED=true, if its isolated margin"),
        (False, "margin/allPairs", Say(json=NO_SELLING), "BTCUSDT can't be sold on cross margin at the moment"),
    ],
)
async def test_what_keeps_the_account_from_being_traded_is_told_with_what_to_do(
    stub: Stub, clock: ManualClock, isolated: bool, request_: str, say: Say, words: str
) -> None:
    stub.script(f"GET {SAPI}{request_}", say, say)
    with pytest.raises(StartError, match=words):
        await begin(stub, clock, isolated=isolated)


@pytest.mark.parametrize(
    "say", [Say(json=[]), error(400, -3028, "Not a valid margin pair."), error(400, -1121, "Invalid symbol.")]
)
async def test_a_pair_that_is_taken_off_margin_need_not_tell_its_bars(stub: Stub, clock: ManualClock, say: Say) -> None:
    """What else has changed of its rules is known all the same, for a trade that is open there (rule 8.7)."""
    exchange = await begin(stub, clock)
    stub.script(f"GET {SAPI}margin/isolated/allPairs", Say(json=UNKNOWN_PAIR))
    stub.script(f"GET {SAPI}margin/isolatedMarginTier", *[say] * 4)
    rules = await exchange.rules()
    assert rules.margin is not None
    assert rules.margin.bars == UNTOLD
    assert "BTCUSDT is not traded on isolated margin" in rules.margin.fault
    await exchange.close()


@pytest.mark.parametrize("status", ["TRADING", "HALT"])
async def test_what_spot_permits_closes_no_pair_on_margin(stub: Stub, clock: ManualClock, status: str) -> None:
    """Rule 6.8: a trade whose exits the exchange takes waited bare for it to be open again."""
    exchange = await begin(stub, clock)
    symbol = EXCHANGE_INFO["symbols"][0] | {"status": status, "isSpotTradingAllowed": False}  # type: ignore[index]
    stub.script("GET exchangeInfo", Say(json={"symbols": [symbol]}))
    assert (await exchange.rules()).tradable is (status == "TRADING")
    await exchange.close()


async def test_a_key_that_may_not_borrow_is_told_of_at_the_start(stub: Stub, clock: ManualClock) -> None:
    denied = {"ipRestrict": True, "enableWithdrawals": False, "enableSpotAndMarginTrading": True, "enableMargin": False}
    stub.script(f"GET {SAPI}account/apiRestrictions", Say(json=denied))
    with pytest.raises(StartError, match="enable margin loan, repay and transfer for it on its page"):
        await begin(stub, clock)


async def test_an_exchange_that_does_not_tell_the_key_s_permissions_is_traded_all_the_same(
    stub: Stub, clock: ManualClock
) -> None:
    stub.script(f"GET {SAPI}account/apiRestrictions", Say(status=404, text="no"))
    exchange = await begin(stub, clock)
    assert exchange.fault is None
    await exchange.close()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"isBorrowable": False}, "the exchange lends no BTC at the moment: hold enough of it, or wait"),
        ({"isBorrowable": "true", "extra": 1}, ""),
        (
            {"delistTime": START_MS + 3_600_000},
            "BTC is being taken off margin, and what is owed of it is then bought back: choose another symbol",
        ),
        ({"delistTime": START_MS + 30 * 86_400_000}, ""),
    ],
)
async def test_what_is_not_lent_is_part_of_the_terms(
    stub: Stub, clock: ManualClock, changes: dict[str, Any], fault: str
) -> None:
    rows = [{"assetName": "BTC", **changes}, {"asset": "USDT", "userMinBorrow": 5}]
    stub.script(f"GET {SAPI}margin/allAssets", Say(json=rows))
    exchange = await begin(stub, clock)
    assert exchange.shown is not None
    assert exchange.shown.margin is not None
    assert exchange.shown.margin.base.fault == fault
    assert exchange.shown.margin.quote.min_borrow == 5
    await exchange.close()
