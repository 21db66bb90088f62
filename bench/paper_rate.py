"""How many requests, and how many recorded trades, the paper exchange handles a second.

    python -m bench.paper_rate [--seconds 3] [--rounds 3] [--tree NAME=FOLDER[,PYTHON]] ...

One client asks one thing after the other, over REST and over the WebSocket API. What counts is the CPU time that the
exchange's process spends, which other work on the machine changes little; the wall clock's figure stands beside it.
Each `--tree`, another checkout of Executor and perhaps the interpreter of its environment, is measured in turn with
this one.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench.floor import Http, Web, query, signature, signed
from bench.scenario import KEY, SECRET

SUBJECT: Final = Path(__file__).with_name("paper_subject.py")
HERE: Final = Path(__file__).parent.parent
TICKS: Final = os.sysconf("SC_CLK_TCK")
BATCH: Final = 100
WARM: Final = 300
RESTING: Final = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "90.00"}

Params = dict[str, str]
Ask = Callable[[int], int]
"""Sends the nth of some requests, and has its answers; how many they were."""


class Tree(NamedTuple):
    name: str
    folder: Path
    python: str


class Rate(NamedTuple):
    """A second: of the exchange's CPU, and of the wall clock (0 where that says nothing)."""

    cpu: float
    wall: float


class Rest(Http):
    """One keep-alive connection."""

    def close(self) -> None:
        self.socket.close()

    def __call__(self, verb: str, path: str, params: Params) -> None:
        """Raises RuntimeError where the exchange refuses."""
        head = f"{verb} /api/v3/{path}?{query(params)} HTTP/1.1\r\nHost: {self.host}\r\nX-MBX-APIKEY: {KEY}\r\n"
        self.socket.sendall(f"{head}\r\n".encode())
        self.answer()


class Api:
    """One connection of the WebSocket API."""

    def __init__(self, url: str) -> None:
        self._web = Web(url)

    def close(self) -> None:
        self._web.socket.close()

    def __call__(self, method: str, params: Params) -> None:
        self._web.socket.sendall(Web.frame(msgspec.json.encode({"id": 1, "method": method, "params": params})))
        answer = self._web.receive()
        if b'"status":200' not in answer:
            raise RuntimeError(f"refused: {answer!r}")

    def signed(self, method: str, params: Params) -> None:
        full = params | {"apiKey": KEY, "recvWindow": "60000", "timestamp": str(time.time_ns() // 1_000_000)}
        full = dict(sorted(full.items()))
        self(method, full | {"signature": signature(full)})


def over_rest(rest: Rest, symbol: str) -> dict[str, Ask]:
    one = {"symbol": symbol}
    rest("POST", "order", signed(one | RESTING | {"newClientOrderId": "stays-rest"}))

    def read(n: int) -> int:
        match n % 3:
            case 0:
                rest("GET", "ticker/bookTicker", one)
            case 1:
                rest("GET", "openOrders", signed(one))
            case _:
                rest("GET", "order", signed(one | {"origClientOrderId": "stays-rest"}))
        return 1

    def place_and_cancel(n: int) -> int:
        rest("POST", "order", signed(one | RESTING | {"newClientOrderId": f"rest-{n}"}))
        rest("DELETE", "order", signed(one | {"origClientOrderId": f"rest-{n}"}))
        return 2

    return {"reads, REST": read, "place and cancel, REST": place_and_cancel}


def over_ws(api: Api, symbol: str) -> dict[str, Ask]:
    one = {"symbol": symbol}
    api.signed("order.place", one | RESTING | {"newClientOrderId": "stays-ws"})

    def read(n: int) -> int:
        match n % 3:
            case 0:
                api("ticker.book", one)
            case 1:
                api.signed("openOrders.status", one)
            case _:
                api.signed("order.status", one | {"origClientOrderId": "stays-ws"})
        return 1

    def place_and_cancel(n: int) -> int:
        api.signed("order.place", one | RESTING | {"newClientOrderId": f"ws-{n}"})
        api.signed("order.cancel", one | {"origClientOrderId": f"ws-{n}"})
        return 2

    return {"reads, WebSocket API": read, "place and cancel, WebSocket API": place_and_cancel}


@contextlib.contextmanager
def started(tree: Tree, what: str) -> Iterator["subprocess.Popen[str]"]:
    environ = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    with subprocess.Popen(
        [tree.python, str(SUBJECT), what, KEY, SECRET],
        env={**environ, "PYTHONPATH": str(tree.folder / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def told(process: "subprocess.Popen[str]") -> dict[str, str | float]:
    line = process.stdout.readline()  # type: ignore[union-attr]
    if not line:
        raise SystemExit(f"the exchange did not start: exit {process.wait()}")
    found: dict[str, str | float] = json.loads(line)
    return found


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rate(pid: int, ask: Ask, seconds: float) -> Rate:
    """Of an exchange that has had some of the requests already."""
    for n in range(WARM):
        ask(n)
    done, n, before, began = 0, WARM, cpu(pid), time.monotonic()
    while time.monotonic() - began < seconds:
        for _ in range(BATCH):
            done += ask(n)
            n += 1
    return Rate(done / max(cpu(pid) - before, 1 / TICKS), done / (time.monotonic() - began))


def measure(tree: Tree, seconds: float) -> dict[str, Rate]:
    found: dict[str, Rate] = {}
    with started(tree, "serve") as process:
        place = told(process)
        symbol = str(place["symbol"])
        with contextlib.closing(Rest(str(place["rest"]))) as rest, contextlib.closing(Api(str(place["ws"]))) as api:
            for name, ask in (over_rest(rest, symbol) | over_ws(api, symbol)).items():
                found[name] = rate(process.pid, ask, seconds)
    with started(tree, "replay") as process:
        played = told(process)
        found["recorded trades replayed"] = Rate(float(played["trades"]) / float(played["cpu"]), 0.0)
    return found


def text(found: dict[str, dict[str, list[Rate]]]) -> str:
    """A row for each kind of request, by tree its best round, since other work on the machine only takes away; and how
    many times another tree's this one's is.
    """
    trees = list(found)
    lines = [f"{'a second of the exchange (of the wall clock)':46}" + "".join(f"{name:>20}" for name in trees)]
    for row in found[trees[0]]:
        best = [Rate(*(max(each) for each in zip(*found[name][row], strict=True))) for name in trees]
        cells = [f"{each.cpu:,.0f}" + (f" ({each.wall:,.0f})" if each.wall else "") for each in best]
        ratio = "".join(f"   × {best[0].cpu / each.cpu:.2f}" for each in best[1:])
        lines.append(f"{row:46}" + "".join(f"{cell:>20}" for cell in cells) + ratio)
    return "\n".join(lines) + "\n"


def tree_of(told_so: str) -> Tree:
    """NAME=FOLDER or NAME=FOLDER,PYTHON; without one the tree's own environment, if there is one, else this one's."""
    name, _, rest = told_so.partition("=")
    folder, _, python = rest.partition(",")
    if not (Path(folder) / "src" / "executor").is_dir():
        raise argparse.ArgumentTypeError(f"{told_so!r} must be NAME=FOLDER of a checkout: no src/executor in {folder}")
    own = Path(folder) / ".venv" / "bin" / "python"
    return Tree(name, Path(folder).resolve(), python or (str(own.absolute()) if own.exists() else sys.executable))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="for each kind of request and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tree", type=tree_of, action="append", default=[], metavar="NAME=FOLDER[,PYTHON]")
    wanted = parser.parse_args()
    trees = [Tree("here", HERE, sys.executable), *wanted.tree]
    found: dict[str, dict[str, list[Rate]]] = {tree.name: defaultdict(list) for tree in trees}
    for n in range(wanted.rounds):
        for tree in trees if n % 2 == 0 else trees[::-1]:
            print(f"… round {n + 1}, {tree.name}", file=sys.stderr, flush=True)
            for row, each in measure(tree, wanted.seconds).items():
                found[tree.name][row].append(each)
    sys.stdout.write(text(found))


if __name__ == "__main__":
    main()
