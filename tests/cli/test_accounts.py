"""Several accounts in one service, one of whose files can't be used."""

import asyncio
import signal
from decimal import Decimal
from pathlib import Path

from tests.cli.kit import run_here
from tests.crash.daemon import BRISK, spawn

from executor.cli import exits
from executor.paper.engine.exchange import Engine
from executor.paper.engine.symbol import Symbol
from executor.paper.replay.clock import WallClock
from executor.paper.replay.recording import bundled_exchange_info
from executor.paper.server import Credential, HmacSecret, PaperServer


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name}.env"
    path.write_text(text)
    path.chmod(0o600)


async def test_an_account_whose_file_is_half_written_leaves_the_others_alone(tmp_path: Path) -> None:
    """It ended every start with a code after which systemd gives up, whatever trades the others had open."""
    engine = Engine([Symbol.from_exchange_info(row) for row in bundled_exchange_info()["symbols"]])
    engine.open_account("bob", {"USDT": Decimal(1_000)})
    server = PaperServer(engine, WallClock(), {"bob": Credential("bob", HmacSecret("bob"))})
    urls = await server.start()
    accounts = tmp_path / "accounts"
    accounts.mkdir()
    write(accounts, "alice", "BINANCE_API_KEY=alice\nBINANCE_API_SE")
    write(accounts, "bob", "BINANCE_API_KEY=bob\nBINANCE_API_SECRET=bob\nSYMBOL=LTCUSDT\n")
    environ = {
        **BRISK,
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": urls.base_url,
        "BINANCE_WS_API_URL": urls.ws_api_url,
        "BINANCE_STREAM_URL": urls.stream_url,
        "ACCOUNTS": str(accounts),
        "STATE_FN": str(tmp_path / "{account}" / "{symbol}.json"),
        "SIGNAL_FILE": str(tmp_path / "signals.jsonl"),
        "QTY": "3",
    }
    daemon = await spawn(environ, tmp_path / "log")
    try:
        assert await daemon.ready(60)
        (told,) = daemon.said("account_left_out")
        assert told["alert"]
        assert told["account"] == "alice"
        assert "alice.env line 2" in told["text"]
        assert {line["account"] for line in daemon.said("ready")} == {"bob"}
        about_bob = await asyncio.to_thread(run_here, ["status", "--account", "bob"], environ)
        assert about_bob.exit_code == 0, about_bob.output
        # A word that names no account must not be one about those that happen to be left.
        for words in (["status", "--account", "alice"], ["status"], ["flatten"]):
            refused = await asyncio.to_thread(run_here, words, environ)
            assert refused.exit_code == exits.BAD_SETTINGS, refused.output
            assert "alice.env line 2" in refused.output
    finally:
        daemon.send(signal.SIGTERM)
        await daemon.end()
        await server.stop()
