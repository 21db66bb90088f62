"""What the image must do, each check a sentence: run as the compose file runs it, by a real engine.

The root is read-only, capabilities are dropped, memory and processes are bounded, and the only network is loopback, in
which `executor paper` plays the exchange where a trade has to outlive its service.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.deploy.image.engine import Done, command, container, inspected, logs, podman, running, volume

IMAGE: Final = "localhost/executor-test:latest"
ROOT: Final = Path(__file__).parents[3]
COMPOSE: Final = ROOT / "config" / "compose.yaml"
PORT: Final = "9100"
AS_COMPOSED: Final = (
    "--init", "--read-only", "--user", "10001:10001", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:rw,noexec,nosuid,nodev,size=16m",  # noqa: S108  (of the container)
    "--memory", "512m", "--pids-limit", "64",
)  # fmt: skip
PAPER: Final = ("-e", "BINANCE_ENV=paper", "-e", "PAPER_SPEED=0", "-e", "PAPER_BALANCES=USDT=10000,LTC=10")
HOLDING: Final = ("-e", "BINANCE_ENV=paper", "-e", "PAPER_SPEED=20", "-e", "PAPER_AT_END=hold")
GRACE_S: Final = 30  # of the compose file: what `docker stop` gives
BAD_SETTINGS: Final = 78
UNAVAILABLE: Final = 69
PATIENCE_S: Final = 120

Check = Callable[[], str]


def until(what: str, true: Callable[[], bool], seconds: float = PATIENCE_S) -> float:
    """Seconds until it came true. Raises AssertionError."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if true():
            return time.monotonic() - began
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def executor(name: str, *words: str, check: bool = True) -> Done:
    return podman("exec", name, "executor", *words, check=check)


def answers(name: str) -> bool:
    assert running(name), f"it has ended:\n{logs(name)[-3000:]}"
    return executor(name, "ping", check=False).code == 0


# --- one container -------------------------------------------------------------------------------------------------


def the_bundled_run_ends_with_its_balances_adding_up() -> str:
    began = time.monotonic()
    done = podman("run", "--rm", "--no-healthcheck", "--network", "none", *AS_COMPOSED, *PAPER, IMAGE, timeout=300)
    assert "add up over all fills" in done.text, done.text[-1500:]
    assert "open EX_ orders  0" in done.text, done.text[-1500:]
    return f"{time.monotonic() - began:.0f} s"


def commands_reach_the_service_by_exec() -> str:
    with container(IMAGE, "--network", "none", *AS_COMPOSED, *HOLDING) as name:
        until("executor ping", lambda: answers(name))
        for words in (("ping",), ("status",), ("check",), ("logs",), ("config",)):
            executor(name, *words)
        doctor = json.loads(executor(name, "doctor", "--format", "json").text)
        failed = [each for each in doctor if each["level"] == "fail"]
        assert not failed, failed
        used = podman("stats", "--no-stream", "--format", "{{.MemUsage}}", name, check=False).text
        return f"doctor: {len(doctor)} findings, none failed; memory {used.strip() or 'not told by this engine'}"


def the_healthcheck_tells_a_hung_loop() -> str:
    test = inspected(IMAGE, "image")["Healthcheck"]["Test"]
    assert test[0] == "CMD", test
    probe = test[1:]
    with container(IMAGE, "--network", "none", *AS_COMPOSED, *HOLDING) as name:
        until("the healthcheck's command succeeds", lambda: podman("exec", name, *probe, check=False).code == 0)
        process = service_pid(name)
        podman("exec", name, "sh", "-c", f"kill -STOP {process}")
        began = time.monotonic()
        sick = podman("exec", name, *probe, check=False)
        took = time.monotonic() - began
        assert sick.code != 0, sick.text
        podman("exec", name, "sh", "-c", f"kill -CONT {process}")
        until("healthy again", lambda: podman("exec", name, *probe, check=False).code == 0)
        assert took < 10, f"{took:.1f} s, more than the healthcheck's timeout"
        return f"unhealthy told in {took:.1f} s"


def service_pid(name: str) -> str:
    """Of `executor run` in its container, below the init process."""
    own = "grep -q '^/opt/executor/bin/python.*executor run'"
    script = f"for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | {own} && echo ${{p#/proc/}}; done"
    found = podman("exec", name, "sh", "-c", script, check=False).text.split()
    assert found, "no service in the container"
    return found[-1]


def sigterm_ends_it_within_the_grace() -> str:
    with (
        volume() as data,
        container(IMAGE, "--network", "none", *AS_COMPOSED, *HOLDING, "--volume", f"{data}:/data") as name,
    ):
        until("executor ping", lambda: answers(name))
        began = time.monotonic()
        podman("stop", "--time", str(GRACE_S), name)
        took = time.monotonic() - began
        state = inspected(name)["State"]
        assert state["ExitCode"] == 0, f"exit code {state['ExitCode']}\n{logs(name)[-1500:]}"
        assert took < GRACE_S
        podman("start", name)
        until("it is there again", lambda: answers(name))
        return f"{took:.1f} s"


# --- a trade that outlives its service --------------------------------------------------------------------------------


@contextlib.contextmanager
def exchange() -> Iterator[str]:
    """`executor paper` in a container with nothing but loopback, a stretch of slow market in it."""
    words = ("executor", "paper", "--port", PORT, "--speed", "1", "--balances", "USDT=10000,LTC=100")
    with container(IMAGE, "--network", "none", *AS_COMPOSED, run=words) as name:
        until("the exchange serves", lambda: f":{PORT}" in logs(name))
        yield name


def settings_for_it(**more: str) -> tuple[str, ...]:
    base = f"127.0.0.1:{PORT}"
    settings = {
        "BINANCE_ENV": "custom",
        "BINANCE_REST_URL": f"http://{base}",
        "BINANCE_WS_API_URL": f"ws://{base}/ws-api/v3",
        "BINANCE_STREAM_URL": f"ws://{base}",
        "BINANCE_API_KEY": "paper",
        "BINANCE_API_SECRET": "paper",
        "SYMBOL": "LTCUSDT",
        "ENTRY_MODE": "MARKET_ONLY",
        **more,
    }
    return tuple(word for name, value in settings.items() for word in ("-e", f"{name}={value}"))


def last_price(name: str) -> str:
    script = (
        "import json,urllib.request as r;"
        f"print(json.load(r.urlopen('http://127.0.0.1:{PORT}/api/v3/ticker/price?symbol=LTCUSDT'))['price'])"
    )
    return podman("exec", name, "/opt/executor/bin/python", "-c", script).text.split()[-1]


def enter(name: str) -> None:
    """Have the service in `name` open a trade with a stop far away."""
    price = last_price(name)
    far = f"{float(price) * 0.9:.2f}"
    executor(name, "signal", "--side", "long", "--price", price, "--stop", far)
    until("a covered trade", lambda: position(name).get("phase") == "protected", 60)


def position(name: str) -> dict[str, str]:
    """As `executor status` tells it; empty when there is none, or nobody to ask."""
    done = executor(name, "status", "--format", "json", check=False)
    found = json.loads(done.text) if done.code == 0 else {}
    return found.get("position") or {}


def killed_and_started_again_it_goes_on_with_its_trade() -> str:
    with exchange() as venue, volume() as data:
        beside = ("--network", f"container:{venue}", "--volume", f"{data}:/data")
        with container(IMAGE, *AS_COMPOSED, *beside, *settings_for_it()) as name:
            until("executor ping", lambda: answers(name))
            enter(name)
            before = position(name)
            podman("kill", "--signal", "KILL", name)
            until("it is dead", lambda: not running(name))
            began = time.monotonic()
            podman("start", name)
            until("executor ping", lambda: answers(name))
            took = time.monotonic() - began
            after = position(name)
            assert after["trade"] == before["trade"], (before, after)
            assert after["phase"] == "protected", after
            executor(name, "check")
            executor(name, "flatten", "--yes")
            until("flat", lambda: not position(name), 60)
        return f"supervised {took:.1f} s after the start"


# --- volumes ---------------------------------------------------------------------------------------------------------


def refused(*options: str) -> str:
    """What a run that can't begin says, and that it neither trades nor shows a traceback."""
    done = podman("run", "--rm", "--no-healthcheck", "--network", "none", *AS_COMPOSED, *PAPER, *options, IMAGE,
                  check=False, timeout=180)  # fmt: skip
    assert done.code != 0, done.text[-1500:]
    assert "Traceback" not in done.text, done.text[-3000:]
    return f"exit code {done.code}: {done.text.strip().splitlines()[-1][-160:]}"


def a_folder_of_somebody_else_is_a_clear_sentence() -> str:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)  # noqa: PTH101  (of root, and of nobody else)
        said = refused("--volume", f"{folder}:/data")
    assert "Permission denied" in said, said
    return said


def a_volume_that_is_read_only_is_a_clear_sentence() -> str:
    with volume() as data:
        said = refused("--volume", f"{data}:/data:ro")
    assert "/data" in said, said
    return said


def a_volume_that_is_full_is_a_clear_sentence() -> str:
    with tempfile.TemporaryDirectory() as folder:
        command("mount", "-t", "tmpfs", "-o", "size=64k,mode=0700,uid=10001,gid=10001", "tmpfs", folder)
        try:
            Path(folder, "full").write_bytes(b"x" * 60_000)
            os.chown(Path(folder, "full"), 10001, 10001)
            with contextlib.suppress(OSError), Path(folder, "fuller").open("wb", buffering=0) as rest:
                while rest.write(b"x" * 512):
                    pass
            said = refused("--volume", f"{folder}:/data")
        finally:
            command("umount", "-l", folder)
    assert "space" in said, said
    return said


# --- settings and restarts -------------------------------------------------------------------------------------------


def wrong_settings_end_with_78_and_name_the_setting() -> str:
    done = podman("run", "--rm", "--no-healthcheck", "--network", "none", *AS_COMPOSED, "-e", "BINANCE_ENV=paper",
                  "-e", "SL_PCT=7", IMAGE, check=False)  # fmt: skip
    assert done.code == BAD_SETTINGS, (done.code, done.text[-800:])
    assert "SL_PCT" in done.text
    return done.text.strip().splitlines()[-1][-140:]


# --- compose ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def project(text: str = "") -> Iterator[Path]:
    """The compose file in a folder laid out like the project, with its secrets beside it, and `text` laid over it."""
    with tempfile.TemporaryDirectory() as folder, podman_service(Path(folder, "podman.sock")):
        root = Path(folder)
        (root / "config").mkdir()
        own = COMPOSE.read_text("utf-8").replace("executor:latest", IMAGE)
        own = own.replace("\nname: executor\n", "\n")  # Debian's compose is older than that key; the rest it reads
        (root / "config" / "compose.yaml").write_text(own, "utf-8")
        (root / "config" / "over.yaml").write_text(text or "services:\n  paper:\n    hostname: paper\n", "utf-8")
        secrets = root / "secrets"
        secrets.mkdir()
        for name in ("testnet_api_key", "testnet_api_secret", "live_api_key", "live_api_secret"):
            path = secrets / name
            path.write_text("paper", "utf-8")
            os.chown(path, 10001, 10001)
            path.chmod(0o600)
        yield root


@contextlib.contextmanager
def podman_service(address: Path) -> Iterator[None]:
    """The engine's API, for a compose that speaks to a daemon."""
    words = ["podman", "system", "service", "--time", "0", f"unix://{address}"]
    service = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        until("the engine's API", address.exists, 20)
        yield
    finally:
        service.terminate()
        service.wait()


def composed(root: Path, profile: str, *words: str, more: dict[str, str] | None = None, check: bool = True) -> Done:
    files = [word for name in ("compose", "over") for word in ("-f", str(root / "config" / f"{name}.yaml"))]
    environ = {"DOCKER_HOST": f"unix://{root}/podman.sock", "COMPOSE_PROJECT_NAME": "executor-test", **(more or {})}
    return command(
        "docker-compose", *files, "--profile", profile, *words, timeout=300, check=check, environ=environ
    )  # fmt: skip


def the_paper_profile_trades_and_ends() -> str:
    with project() as root:
        try:
            done = composed(root, "paper", "up", "--no-build", check=False)
            assert "add up over all fills" in done.text, done.text[-2000:]
        finally:
            composed(root, "paper", "down", "--volumes", check=False)
    return "ran to its end"


def _over(profile: str, venue: str) -> str:
    """The profile as it is, but with its exchange on loopback."""
    base = f"127.0.0.1:{PORT}"
    return f"""
services:
  {profile}:
    network_mode: container:{venue}
    environment:
      BINANCE_REST_URL: http://{base}
      BINANCE_WS_API_URL: ws://{base}/ws-api/v3
      BINANCE_STREAM_URL: ws://{base}
"""


def _serves(profile: str, more: dict[str, str]) -> str:
    with exchange() as venue, project(_over(profile, venue)) as root:
        more = {"SYMBOL": "LTCUSDT", **more}
        try:
            composed(root, profile, "up", "-d", "--no-build", more=more)
            name = f"executor-test_{profile}_1"
            took = until("executor ping", lambda: answers(name))
            doctor = executor(name, "doctor", check=False).text
            assert "LTCUSDT" in doctor, doctor
            return f"answers {took:.0f} s after `up`"
        finally:
            composed(root, profile, "down", "--volumes", "--timeout", str(GRACE_S), more=more, check=False)


def the_testnet_profile_serves() -> str:
    return _serves("testnet", {})


def the_live_profile_serves_only_when_it_is_meant() -> str:
    """Without LIVE_CONFIRM it ends with 78; with it, it begins."""
    with exchange() as venue, project(_over("live", venue)) as root:
        try:
            composed(root, "live", "up", "-d", "--no-build", more={"SYMBOL": "LTCUSDT"}, check=False)
            name = "executor-test_live_1"
            until("it says why not", lambda: "LIVE_CONFIRM" in logs(name), 60)
        finally:
            composed(root, "live", "down", "--volumes", check=False)
    return _serves("live", {"LIVE_CONFIRM": "yes"})
