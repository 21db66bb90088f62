"""The cases of this folder, each over sockets where it says so; `kit` tells them."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from tests.cases.kit import HERE, WORLD, opened, signal, trading
from tests.scenarios.harness import AFTER_TP1, Harness, harness
from tests.service.inlets.test_webhook import SECRET, hooked

from executor.core.model.state import Reason
from executor.paper.engine.symbol import Symbol
from executor.paper.server.faults import Answer, PushFault, RequestFault


class Wire:
    """Answers `request` (as "GET /api/v3/time") by `answer` while it is `on`."""

    def __init__(self, request: str, answer: Answer) -> None:
        self.on = False
        self.times = 0
        self._request = request
        self._answer = answer

    def on_request(self, method: str, path: str, params: Mapping[str, str]) -> RequestFault | None:
        if not self.on or f"{method} {path}" != self._request:
            return None
        self.times += 1
        return RequestFault(execute=False, answer=self._answer)

    def on_push(self, kind: str, event: Mapping[str, Any]) -> PushFault | None:
        return None


async def reload_rules(b: Harness) -> None:
    """The hourly look at the symbol's rules, a minute from now."""
    assert b.loop is not None
    b.loop.timing = replace(b.loop.timing, reload_rules=60.0)
    await b.wait(3700)


async def test_delisted_while_open(tmp_path: Path) -> None:
    """B.3: an alert, and the exits and the software stop go on; also after a restart."""
    gone = Wire("GET /api/v3/exchangeInfo", Answer(400, b'{"code":-1121,"msg":"Invalid symbol."}'))
    async with trading(tmp_path, "delisted-while-open", faults=gone) as b:
        await opened(b, "delisted-while-open")
        gone.on = True
        await reload_rules(b)
        assert gone.times > 1
        assert b.alerts().count("not_listed") == 1
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.restart()
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN)
        await b.wait(200)
        await b.signal(entry="59000", targets=None)
        assert b.state.position is None
        assert b.state.refused["barred"] == 1


async def test_rules_reloaded_mid_entry(tmp_path: Path) -> None:
    """B.1: nothing but a line in log and journal; the entry stays, the trade goes on."""
    async with trading(tmp_path, "rules-reloaded-mid-entry") as b:
        await signal(b, "rules-reloaded-mid-entry")
        refilter(b, "LOT_SIZE", maxQty="9.00000000")
        await reload_rules(b)
        assert b.said("rules_changed") == 1
        assert b.roles() == ["ENTRY"]
        await b.move(0)
        assert b.roles() == ["SL", "SL1", "SL2", "TP1", "TP2"]
        await b.move(-1)
        await b.ends(Reason.SL)


async def test_an_override_that_no_longer_fits_ends_no_trade_and_bars_the_next(tmp_path: Path) -> None:
    """B.3: the exchange's own filters hold for what is open, and a person is told, once, also after a restart."""
    async with trading(tmp_path, "rules-reloaded-mid-entry", TICK_SIZE="0.01") as b:
        await opened(b, "rules-reloaded-mid-entry")
        refilter(b, "PRICE_FILTER", tickSize="0.10")
        await reload_rules(b)
        assert b.alerts().count("filters_unfit") == 1
        assert b.loop is not None
        assert b.loop.engine.rules.tick == Decimal("0.1")
        await b.restart()
        await b.move(1)
        assert b.roles() == AFTER_TP1["OCO"]
        await b.move("-0.2")
        await b.ends(Reason.BREAKEVEN)
        await b.wait(200)
        await b.signal(entry="59000", targets=None)
        assert b.state.refused["barred"] == 1


async def test_of_several_symbols_one_that_is_not_listed_any_more_is_left_out_at_a_start(tmp_path: Path) -> None:
    """B.3, delisted-while-open: the others trade, whichever comes first."""
    async with harness(tmp_path, WORLD, symbols=("LTCUSDT", "BNBUSDT"), started=False) as b:
        b.symbols = ("GONEUSDT", *b.symbols)
        await b.start()
        assert set(b.loops) == {"LTCUSDT", "BNBUSDT"}
        assert b.alerts() == ["not_started"]
        b.symbol = "LTCUSDT"
        await b.enter()
        await b.move(-1)
        await b.ends(Reason.SL)


def refilter(b: Harness, kind: str, **changes: str) -> None:
    """Give the symbol another filter."""
    row = dict(b.engine.symbol("BTCUSDT").row)
    row["filters"] = [{**each, **changes} if each["filterType"] == kind else each for each in row["filters"]]
    b.engine.replace_symbol(Symbol.from_exchange_info(row))


def current(name: str) -> bytes:
    """The bytes of a body, as they came in, its secret that of these tests, its time now."""
    text = (HERE / name).read_text("utf-8").replace("0123456789abcdef-example", SECRET)
    return re.sub(r"2026-11-26T12:00:00Z", "2025-06-15T15:06:40Z", text).encode()  # when the bench begins


async def test_tv_reduce_short(tmp_path: Path) -> None:
    """C.1: the order reduces a short; taken as an entry it would open a long against the strategy."""
    async with hooked(tmp_path) as sender:
        answer = await sender.post(current("tv-reduce-short.json"))
        assert answer.status_code == 400
        assert "market_position short" in answer.json()["why"]
        assert sender.bench.state.position is None
        assert sender.bench.state.refused == {"malformed": 1}


async def test_tv_malformed_told(tmp_path: Path) -> None:
    """C.2: told as what it is, and where; counted, and in the journal, without the secret."""
    async with hooked(tmp_path) as sender:
        answer = await sender.post(current("tv-malformed-told.txt"))
        assert answer.status_code == 400
        assert re.search(r"not JSON: .* at character \d+", answer.json()["why"])
        assert sender.bench.state.refused == {"malformed": 1}
        journal = sender.bench.settings().journal_path("LTCUSDT").read_text("utf-8")
        assert "not JSON" in journal
        assert SECRET not in journal + json.dumps(sender.bench.log, default=str)
        stranger = await sender.post(current("tv-malformed-told.txt").replace(SECRET.encode(), b"wrong"))
        assert stranger.status_code == 401
        assert "not JSON" in stranger.json()["why"]
        twice = await sender.post(current("tv-malformed-told.txt").replace(b"tv-1", SECRET.encode()))
        assert twice.status_code == 400
        assert SECRET not in twice.text
