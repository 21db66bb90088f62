"""Commands against a fleet: from a machine that owns nothing, to whichever node owns the account."""

import asyncio
import json
import signal
from pathlib import Path

import httpx
from tests.cli.kit import run_here
from tests.fleet import cluster
from tests.fleet.cluster import needs_etcd
from tests.fleet.test_wire import fleet, in_a_trade
from tests.fleet.world import SYMBOL, FleetWorld
from tools.ports import free_port
from typer.testing import Result

from executor.config import load_settings
from executor.ops.doctor_fleet import on_the_fleet
from executor.service.store.etcd import Etcd

pytestmark = needs_etcd
TESTNET = {"BINANCE_ENV": "testnet", "SYMBOL": "LTCUSDT", "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s"}


async def executor(world: FleetWorld, *words: str, stdin: str | None = None, **more: str) -> Result:
    """A command on a machine that runs no node."""
    environ = {**world.environ("n9"), "HTTP_PORT": "0", "WEBHOOK_PORT": "", "WEBHOOK_SECRET": "", **more}
    return await asyncio.to_thread(run_here, words, environ, stdin)


async def test_the_fleet_is_shown_and_accounts_are_moved(tmp_path: Path) -> None:
    async with fleet(tmp_path, "alice", "bob") as world:
        nobody = await executor(world, "fleet", "status")
        assert (nobody.exit_code, "NOBODY" in nobody.stdout) == (1, True)
        for name in ("n1", "n2"):
            await world.start(name)
        await world.trading()
        shown = await executor(world, "fleet", "status", "--format", "json")
        assert shown.exit_code == 0, shown.output
        found = json.loads(shown.stdout)
        assert [each["node"] for each in found["nodes"]] == ["n1", "n2"]
        assert {each["account"]: each["differs"] for each in found["accounts"]} == {"alice": [], "bob": []}
        members = await executor(world, "fleet", "members")
        assert (members.exit_code, "leader" in members.stdout) == (0, True)
        first, _ = await world.owner("alice")
        other = "n2" if first == "n1" else "n1"
        claimed = await executor(world, "fleet", "claim", "alice", "--node", other)
        assert claimed.stdout.strip() == f"alice is owned by {other}", claimed.output
        await executor(world, "fleet", "claim", "alice", "--free")
        unknown = await executor(world, "fleet", "claim", "carol")
        assert (unknown.exit_code, "carol is no account of this fleet, but alice, bob" in unknown.stderr) == (1, True)
        drained = await executor(world, "fleet", "drain", other)
        assert drained.exit_code == 0, drained.output
        assert f"alice to {first}" in drained.stdout
        assert {(await world.owner(account))[0] for account in ("alice", "bob")} == {first}
        refused = await executor(world, "fleet", "drain", first)
        assert refused.exit_code == 1
        assert "no other node that is fit has the keys of alice, bob" in refused.stderr
        assert (await executor(world, "fleet", "drain", other, "--undo")).exit_code == 0
        assert (await executor(world, "fleet", "drain", "n7")).exit_code == 1


async def test_an_account_has_its_page_on_the_machine_that_owns_it(tmp_path: Path) -> None:
    ports = {"n1": free_port(), "n2": free_port()}
    async with fleet(tmp_path) as world, httpx.AsyncClient(trust_env=False) as client:
        for name, port in ports.items():
            await world.start(name, HTTP_PORT=str(port))
        await world.owned()
        await world.trading()
        first, _ = await world.owner("alice")
        other = "n2" if first == "n1" else "n1"

        async def pages() -> dict[str, int]:
            asked = {name: f"http://127.0.0.1:{port}/account/alice/" for name, port in ports.items()}
            return {name: (await client.get(url)).status_code for name, url in asked.items()}

        assert await pages() == {first: 200, other: 404}
        assert "account/alice/" in (await client.get(f"http://127.0.0.1:{ports[first]}/")).text
        assert (await executor(world, "fleet", "drain", first)).exit_code == 0
        await world.owned(by=lambda node: node == other)
        found = await pages()
        for _ in range(150):
            if found == {first: 404, other: 200}:
                break
            await asyncio.sleep(0.2)
            found = await pages()
        assert found == {first: 404, other: 200}


async def test_an_open_trade_is_shown_held_and_closed_from_any_machine(tmp_path: Path) -> None:
    async with fleet(tmp_path) as world:
        for name in ("n1", "n2"):
            await world.start(name)
        await world.owned()
        await in_a_trade(world, "n1")
        status = await executor(world, "status", "--account", "alice", "--format", "json")
        found = json.loads(status.stdout)
        assert (found["account"], found["running"], found["position"]["unprotected"]) == ("alice", True, "0.000")
        paused = await executor(world, "pause", "--account", "alice")
        assert (paused.exit_code, paused.stdout.strip()) == (0, "paused: no new entries"), paused.output
        assert (await executor(world, "check", "--account", "alice")).exit_code == 0
        assert (await executor(world, "ping", "--account", "alice")).stdout.strip() == "running"
        here = await executor(world, "ping", FLEET_NODE="n1")
        assert here.stdout.startswith("n1 lives and owns "), here.output
        away = await executor(world, "ping")
        assert (away.exit_code, "no node lives as n9; those that do: n1, n2" in away.stderr) == (69, True)
        wrong = await executor(world, "status", "--account", "carol")
        assert (wrong.exit_code, "carol is not there, but alice" in wrong.stderr) == (2, True)
        owner, _ = await world.owner("alice")
        for node in world.nodes.values():
            node.send(signal.SIGSTOP)
        stored = await executor(world, "status", "--format", "json", FLEET_TTL_SEC="2")
        assert json.loads(stored.stdout)["running"] is False, stored.output
        nobody = await executor(world, "flatten", "--yes", FLEET_TTL_SEC="2")
        assert nobody.exit_code == 69
        assert "no node owns alice, and a trade is closed" in nobody.stderr
        for node in world.nodes.values():
            node.send(signal.SIGCONT)
        await world.owned()
        closed = await executor(world, "flatten", "--yes", "--account", "alice")
        assert closed.exit_code == 0, closed.output + world.logs()
        assert "closed: " in closed.stdout
        assert world.open_ids("alice") == []
        assert (await world.etcd.range(world.keys.commands("alice")))[0] == []
        assert (await executor(world, "resume", "--account", "alice")).exit_code == 0
        assert world.faults() == [], world.logs() + owner


async def test_a_command_that_nobody_answers_is_taken_back(tmp_path: Path) -> None:
    async with fleet(tmp_path) as world:
        await world.start("n1")
        await world.trading()
        world.nodes["n1"].send(signal.SIGSTOP)
        environ = world.environ("n9")
        asked = await asyncio.to_thread(run_here, ("ping", "--account", "alice"), environ, None)
        world.nodes["n1"].send(signal.SIGCONT)
        assert asked.exit_code in (1, 69), asked.output
        await world.owned()
        assert (await world.etcd.range(world.keys.commands("alice")))[0] == []


async def test_a_signal_is_said_from_any_machine_once(tmp_path: Path) -> None:
    async with fleet(tmp_path) as world:
        await world.start("n1")
        await world.trading()
        words = ("signal", "--side", "long", "--price", "100", "--stop", "99", "--id", "a")
        world.touch(world.price + 1)
        said = await executor(world, *words)
        assert said.exit_code == 0, said.output
        assert json.loads(said.stdout)["symbol"] == SYMBOL
        await world.until(lambda: len(world.open_ids("alice")) == 1)
        again = await executor(world, *words)
        assert (again.exit_code, "was there before: alice" in again.stderr) == (1, True)


async def test_a_restored_copy_of_the_store_is_gone_on_from_by_the_operator_s_word_alone(tmp_path: Path) -> None:
    """The nodes have seen later revisions than the store has now: newer states were lost."""
    async with fleet(tmp_path) as world:
        await world.start("n1")
        await world.owned()
        await in_a_trade(world, "n1")
        standing = world.open_ids("alice")
        world.nodes["n1"].send(signal.SIGTERM)
        assert await world.nodes["n1"].end() == 0
        memory = tmp_path / "n1" / "alice" / "fleet-seen.json"
        seen = json.loads(memory.read_text())
        memory.write_text(json.dumps({**seen, "revision": seen["revision"] + 1_000_000}))
        node = await world.start("n1")
        await world.until(lambda: bool(node.said("store_went_back")))
        assert (await executor(world, "fleet", "status")).exit_code == 1
        asked = await executor(world, "fleet", "adopt", "--from-exchange", stdin="n\n")
        assert (asked.exit_code, "nothing was done" in asked.stderr) == (1, True)
        done = await executor(world, "fleet", "adopt", "--from-exchange", "--yes")
        assert done.exit_code == 0, done.output
        assert f"alice {SYMBOL}" in done.stdout
        node.send(signal.SIGTERM)
        assert await node.end() == 0
        await world.start("n1")
        await world.trading()
        assert world.open_ids("alice") == standing
        owned = await executor(world, "fleet", "adopt", "--from-exchange", "--yes")
        assert (owned.exit_code, "nothing to adopt: owned and traded: alice by n1" in owned.stderr) == (1, True)
        await world.settle()
        assert world.faults() == [], world.logs()


async def test_the_doctor_names_an_address_that_is_no_member_s(tmp_path: Path) -> None:
    """As long as one address was right nobody noticed that another was not."""
    for name in "ab":
        (tmp_path / name).mkdir()
    async with cluster.running(tmp_path / "a", 1) as own, cluster.running(tmp_path / "b", 1) as other:
        nobody = f"http://127.0.0.1:{free_port()}"
        etcd = Etcd([*own.endpoints, *other.endpoints, nobody])
        try:
            fleet = ",".join(each.removeprefix("http://") for each in etcd.endpoints)
            settings = load_settings({**TESTNET, "FLEET": f"etcd://{fleet}"}, None)
            found = await on_the_fleet(settings, etcd, {}, this_node="n1", this_host="here")
        finally:
            await etcd.close()
        told = {each.name: each.text for each in found if each.name.startswith("etcd at")}
        assert told.keys() == {f"etcd at {other.endpoints[0]}", f"etcd at {nobody}"}
        assert "another cluster" in told[f"etcd at {other.endpoints[0]}"]


async def test_the_doctor_looks_at_the_cluster(tmp_path: Path) -> None:
    async with fleet(tmp_path, members=3) as world:
        await world.start("n1")
        await world.owned()
        done = await executor(world, "doctor", "--format", "json")
        found = {each["name"]: each for each in json.loads(done.stdout)}
        assert found["etcd members"]["level"] == "ok", done.output
        assert "3 members, 3 answer" in found["etcd members"]["text"]
        assert found["etcd e0 clock"]["level"] == "ok"
        assert "a state takes" in found["etcd write"]["text"]
        assert "n1 live beside n9" in found["fleet nodes"]["text"]
        assert "etcd e0 disk" in found
        for node in world.cluster.nodes[:2]:
            await node.kill()
        done = await executor(world, "doctor", "--format", "json")
        assert done.exit_code == 1
        found = {each["name"]: each for each in json.loads(done.stdout)}
        assert found["etcd quorum"]["level"] == "fail", done.output


async def test_the_journals_of_several_machines_are_told_as_one(tmp_path: Path) -> None:
    async with fleet(tmp_path) as world:
        for name in ("n1", "n2"):
            await world.start(name)
        await world.owned()
        first, _ = await world.owner("alice")
        second = "n2" if first == "n1" else "n1"
        await in_a_trade(world, first)
        world.nodes[first].send(signal.SIGKILL)
        await world.owned(by=lambda name: name == second)
        await world.trading()
        await world.lead("1.1")
        await world.settle()
        await world.until(lambda: bool(world.nodes[second].said("trade_closed")))
        world.nodes[second].send(signal.SIGTERM)
        assert await world.nodes[second].end() == 0
        journals = {name: str(tmp_path / name / "alice" / f"{SYMBOL}.journal.jsonl") for name in (first, second)}
        told = await executor(world, "replay", "--journal", journals[second], "--journal", journals[first])
        assert told.exit_code == 0, told.output
        lines = told.stdout.splitlines()
        assert "all reproduced" in lines[-1]
        of_first, of_second = (
            next(n for n, line in enumerate(lines) if f"({name}, epoch" in line) for name in journals
        )
        assert of_first < of_second
        lists = {name: str(tmp_path / name / "alice" / f"{SYMBOL}.trades.jsonl") for name in (first, second)}
        words = ("report", "--format", "json", "--trades", lists[second], "--trades", lists[second])
        assert len(json.loads((await executor(world, *words)).stdout)) == 1
        assert json.loads((await executor(world, "report", "--format", "json")).stdout) == []
