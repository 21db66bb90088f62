"""config/fleet/compose.yaml as it is, brought up by a real engine: a node is killed while its trade is open."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tests.deploy.image.base import made
from tests.deploy.image.checks import IMAGE, ROOT, podman_service, until
from tests.deploy.image.engine import Done, command, logs, podman

FILES: Final = ROOT / "config" / "fleet"
ETCD: Final = "localhost/executor-test-etcd:latest"
PROJECT: Final = "executor-fleet-test"
NODES: Final = (1, 2, 3)
PRICE: Final = (
    "import json, urllib.request as u;"
    "print(json.load(u.urlopen('http://127.0.0.1:9100/api/v3/ticker/price?symbol=LTCUSDT'))['price'])"
)
TAKEN_OVER_S: Final = 60.0
"""The lease's five seconds, and whatever a busy machine adds; `python -m bench --only take-over` measures it."""


def the_fleet_carries_a_trade_on_when_its_node_is_killed() -> str:
    with up() as compose:
        until("each account has an owner", lambda: status(1).code == 0)
        price = Decimal(inside(1, "python", "-c", PRICE).text.split()[-1])
        signal = ("--side", "long", "--price", str(price), "--stop", str((price * Decimal("0.99")).quantize(price)))
        inside(1, "executor", "signal", *signal)
        until("a trade is open, and covered", lambda: covered(1) != "")
        trade, (first, epoch) = covered(1), owner(1)
        compose("kill", f"executor-{first[1:]}")
        other = next(number for number in NODES if f"n{number}" != first)
        took = until("another node owns it", lambda: owner(other)[1] > epoch, TAKEN_OVER_S)
        second, _ = owner(other)
        assert second != first, "the node that was killed"
        until("its orders are looked up, and all is covered", lambda: covered(other) == trade, TAKEN_OVER_S)
        inside(other, "executor", "check")
        closed = inside(other, "executor", "flatten", "--yes").text
        assert "closed: " in closed, closed
        return f"{second} owned {first}'s trade {took:.1f} s after `compose kill`, and closed it"


@contextlib.contextmanager
def up() -> Iterator["Compose"]:
    etcd_built()
    with tempfile.TemporaryDirectory() as folder, podman_service(Path(folder, "podman.sock")):
        text = (FILES / "compose.yaml").read_text("utf-8")
        text = text.replace("executor-etcd:latest", ETCD).replace("executor:latest", IMAGE)
        Path(folder, "compose.yaml").write_text(text, "utf-8")
        compose = Compose(folder)
        try:
            compose("up", "-d", "--no-build")
            yield compose
        except AssertionError as error:
            said = "\n".join(
                f"--- {name(each)}\n{logs(name(each))[-1500:]}" for each in ("etcd-1", "paper", "executor-1")
            )
            raise AssertionError(f"{error}\n{said}") from error
        finally:
            # Podman lets nobody go while others are in its network.
            compose("rm", "--stop", "--force", *(f"executor-{node}" for node in NODES), check=False)
            compose("down", "--volumes", "--timeout", "5")
            podman("rmi", "--force", ETCD, check=False)


class Compose:
    """`docker-compose` on the file in `folder`."""

    def __init__(self, folder: str) -> None:
        self._file = str(Path(folder, "compose.yaml"))
        self._environ = {"DOCKER_HOST": f"unix://{folder}/podman.sock", "COMPOSE_PROJECT_NAME": PROJECT}

    def __call__(self, *words: str, check: bool = True) -> Done:
        return command("docker-compose", "-f", self._file, *words, timeout=300, check=check, environ=self._environ)


def etcd_built() -> None:
    podman(
        "build", "--build-arg", f"DEBIAN={made()}", "--format", "docker", "--network=host", "--isolation=chroot",
        "-t", ETCD, "-f", str(FILES / "etcd.Dockerfile"), str(FILES), timeout=600,
    )  # fmt: skip


def name(service: str) -> str:
    return f"{PROJECT}_{service}_1"


def inside(node: int, *words: str, check: bool = True) -> Done:
    return podman("exec", name(f"executor-{node}"), *words, check=check)


def status(node: int) -> Done:
    return inside(node, "executor", "fleet", "status", "--format", "json", check=False)


def owner(node: int) -> tuple[str, int]:
    """Of the one account, and the epoch, as `node` sees it; nobody: empty and 0."""
    done = status(node)
    if done.code not in (0, 1):
        return "", 0
    (row,) = _json(done)["accounts"]
    return row["owner"], row["epoch"] if row["owner"] else 0


def covered(node: int) -> str:
    """The open trade's id, where its owner says that all of it is held and stands behind stops."""
    done = inside(node, "executor", "status", "--format", "json", check=False)
    found = _json(done) if done.code == 0 else {}
    position = found.get("position")
    if not found.get("running") or not position or not Decimal(position["held"]) or Decimal(position["unprotected"]):
        return ""
    return str(position["trade"])


def _json(done: Done) -> dict[str, Any]:
    text = done.text
    found: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return found
