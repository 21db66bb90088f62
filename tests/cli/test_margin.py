"""`executor margin`, `executor repay` and the doctor on a margin account, over the real socket and by themselves."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.cli.kit import command, environment, process, run_here
from tests.scenarios.harness import Harness, World, harness
from tests.scenarios.test_margin import LONG, SHORT, margin

from executor.core.model.loans import OwnDebt
from executor.core.model.state import SCHEMA_VERSION, Reason
from executor.core.model.values import Direction
from executor.core.transition import empty
from executor.service.store.document import document_of
from executor.service.store.state_store import StateStore

D = Decimal
both = pytest.mark.parametrize("world", [SHORT, LONG], ids=str)


async def told(b: Harness, *words: str, **more: str) -> Any:
    done = await command(b, *words, "--format", "json", **more)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def by_asset(shown: Any) -> dict[str, Any]:
    return {row["asset"]: row for row in shown["assets"]}


@both
async def test_the_account_as_executor_sees_it(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        shown = await told(b, "margin")
        assert shown["status"] == {
            "account": f"{world.margin} margin", "level": None, "liquidation_price": None, "debts": [], "doing": "",
        }  # fmt: skip
        await b.enter()
        (asset,) = b.owed()
        shown = await told(b, "margin")
        row = by_asset(shown)[asset]
        assert D(row["borrowed"]) + D(row["interest"]) == D(row["own"]) == b.owed()[asset]
        assert D(shown["status"]["level"]) > 1
        price = D(shown["status"]["liquidation_price"])
        assert (price > 100) is (world.side is Direction.SHORT)
        table = (await command(b, "margin")).stdout
        assert "liquidates at" in table
        assert max(len(line) for line in table.splitlines()) <= 110
        status = (await command(b, "status")).stdout
        assert f"account         {world.margin} margin" in status
        assert f"debt {asset}" in status
        await b.stop()  # by itself, from the state file and the exchange
        alone = await told(b, "margin")
        assert by_asset(alone)[asset]["own"] == row["own"]


async def test_on_spot_there_is_no_margin_account(tmp_path: Path) -> None:
    async with harness(tmp_path, World(Direction.LONG, "OCO", pushes=False)) as b:
        for words in (("margin",), ("repay", "--yes")):
            refused = await command(b, *words)
            assert (refused.exit_code, "no margin account is traded with" in refused.stderr) == (1, True)


async def test_a_debt_is_shown_then_asked_about_then_given_back(tmp_path: Path) -> None:
    async with margin(tmp_path, LONG) as b:
        nothing = await command(b, "repay")
        assert (nothing.exit_code, nothing.stdout) == (0, "Executor owes nothing\n")
        b.engine.margin.borrow(b.lender, "USDT", D(20), b.clock.now_ms())
        assert (await command(b, "repay", "--yes")).stdout == "Executor owes nothing\n"  # it is not its debt
        assert (await command(b, "repay", "LTC")).stdout == "no LTC is owed\n"
        declined = await command(b, "repay", "usdt", stdin="n\n")
        assert (declined.exit_code, "nothing was done" in declined.stderr) == (1, True)
        assert "20.000125 USDT owed (20.000125 of it not of Executor's making)" in declined.stdout
        assert b.owed()
        paying = asyncio.create_task(command(b, "repay", "USDT", stdin="y\n"))
        while not paying.done():
            await b.wait(0.5)
        done = paying.result()
        assert (done.exit_code, "repaid: nothing is owed any more" in done.stdout) == (0, True), done.output
        assert b.owed() == {}


async def test_what_executor_owes_is_given_back_and_nothing_of_what_somebody_else_does(tmp_path: Path) -> None:
    async with margin(tmp_path, LONG, balances={"BTC": "0.01"}, MARGIN_FOREIGN_DEBT="allow") as b:
        b.engine.margin.borrow(b.lender, "USDT", D(20), b.clock.now_ms())
        await b.enter()
        b.touch(D(20))
        closed = await b.ends(Reason.SL, refusals=["would_trigger"])
        b.engine.adjust_balance(b.account, "USDT", closed.debt_left["USDT"] + 100, b.clock.now_ms())
        paying = asyncio.create_task(command(b, "repay", "--yes"))
        while not paying.done():
            await b.wait(0.5)
        done = paying.result()
        assert (done.exit_code, "repaid: Executor owes nothing any more" in done.stdout) == (0, True), done.output
        assert D(20) <= b.owed()["USDT"] <= D("20.001")


async def test_repaying_is_refused_while_a_trade_is_open(tmp_path: Path) -> None:
    async with margin(tmp_path, LONG) as b:
        await b.enter()
        refused = await command(b, "repay", "--yes")
        assert refused.exit_code == 1
        assert "repay refused: trade" in refused.stderr
        assert "what it owes is repaid when it is over" in refused.stderr
        assert "transfer" not in refused.stdout + refused.stderr  # a short's debt is paid by what it sold


async def test_what_is_left_is_repaid_without_a_service_too(tmp_path: Path) -> None:
    async with margin(tmp_path, LONG, balances={"BTC": "0.01"}) as b:
        await b.enter()
        b.touch(D(20))
        closed = await b.ends(Reason.SL, refusals=["would_trigger"])
        left = closed.debt_left["USDT"]
        await b.stop()
        short = await command(b, "repay", "--yes")
        assert (short.exit_code, "nothing of it is free" in short.stderr) == (1, True), short.output
        b.engine.adjust_balance(b.account, "USDT", left, b.clock.now_ms())
        with process(tmp_path, environment(b), "repay", "--yes", "--timeout", "60") as paying:
            while paying.poll() is None:  # its clock is the wall's: the market's goes along with it
                await asyncio.sleep(0.02)
                await b.wait(0.02)
            out, err = paying.communicate()
        assert (paying.returncode, "repaid: Executor owes nothing any more" in out) == (0, True), err
        assert b.owed() == {}


async def test_what_the_state_of_another_symbol_owes_is_nobody_else_s_to_repay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a service that looks after both, it was given back under an open trade's feet."""
    async with margin(tmp_path, LONG, STATE_FN=str(tmp_path / "{symbol}.json")) as b:
        await b.enter()
        owed = b.owed()
        both_of_them = {"SYMBOL": "", "SYMBOLS": "LTCUSDT,BTCUSDT"}
        repay = ("repay", "usdt", "--yes", "--symbol", "BTCUSDT")
        trade = b.position.trade
        refused = await command(b, *repay, **both_of_them)
        assert (refused.exit_code, f"trade {trade} of LTCUSDT is open" in refused.stderr) == (1, True), refused.output
        await b.stop()
        refused = await command(b, *repay, **both_of_them)
        assert (refused.exit_code, f"trade {trade} of LTCUSDT is open" in refused.stderr) == (1, True), refused.output
        with monkeypatch.context() as patched:  # services, by a system that tells of none which process it is
            patched.setattr("executor.cli.repay.listener", lambda _: 0)
            refused = await command(b, *repay, **both_of_them)
            assert (refused.exit_code, f"trade {trade} of LTCUSDT is open" in refused.stderr) == (1, True)
        venue = b.on_disk().venue
        shown = by_asset(await told(b, "margin", "--symbol", "BTCUSDT", **both_of_them))["USDT"]
        assert (D(shown["own"]), D(shown["others"])) == (D(0), owed["USDT"])
        assert (await command(b, *repay[:1], *repay[2:], **both_of_them)).stdout == "Executor owes nothing\n"
        state = tmp_path / "LTCUSDT.json"
        for path in (state, state.with_name("LTCUSDT.json.prev")):
            path.write_text("{")
        refused = await command(b, *repay, **both_of_them)
        assert (refused.exit_code, "LTCUSDT may owe some of it" in refused.stderr) == (1, True), refused.output
        over = replace(empty("LTCUSDT", venue), debts=(OwnDebt(asset="USDT", own=D("0.5")),))
        StateStore(state, schema_version=SCHEMA_VERSION).save(document_of(over))
        refused = await command(b, *repay, **both_of_them)
        assert (refused.exit_code, "LTCUSDT owes 0.5 of it" in refused.stderr) == (1, True), refused.output
        assert b.owed() == owed


@both
async def test_the_doctor_looks_at_what_margin_needs(tmp_path: Path, world: World) -> None:
    async with margin(tmp_path, world) as b:
        found = {each["name"]: each for each in await told(b, "doctor")}
        assert found["margin account"]["text"].startswith(f"{world.margin} margin, worth ")
        assert "liquidates at" in found["margin levels"]["text"]
        assert found["a long"]["level"] == found["a short"]["level"] == "ok"
        assert "can be borrowed now" in found["a short's loan"]["text"]
        assert found["base reserve"]["level"] == "warn"
        assert "hours of interest on a short" in found["base reserve"]["text"]
        assert found["interest"]["level"] == "ok"
        b.engine.adjust_balance(b.account, "LTC", D("0.001"), b.clock.now_ms())
        b.engine.margin.borrow(b.lender, "USDT", D(20), b.clock.now_ms())
        found = {each["name"]: each for each in await told(b, "doctor")}
        assert found["base reserve"]["level"] == "ok"
        assert "`executor repay USDT` gives it back" in found["margin debts"]["advice"]
        b.engine.margin.terms.stock["LTC"] = D(1)
        poor = await command(b, "doctor")
        assert poor.exit_code == 1
        assert "where the exchange has none to lend, later" in poor.stdout


async def test_the_doctor_names_an_account_that_was_never_opened(tmp_path: Path) -> None:
    async with margin(tmp_path, LONG) as b:
        await b.stop()
        sick = await command(b, "doctor", MARGIN_ISOLATED="true")
        assert sick.exit_code == 1
        assert "there is not an isolated margin account of LTCUSDT: open it in the exchange's app" in sick.stdout


def test_a_daemon_without_an_account_says_what_to_do(tmp_path: Path) -> None:
    refused = run_here(["config"], {"TRADE_MODE": "margin"})
    assert refused.exit_code == 78
    assert "MARGIN_ISOLATED: was not set; must be set" in refused.stderr
