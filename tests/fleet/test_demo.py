"""`make fleet`: ends by itself, says what happened, leaves nothing; and says how to get etcd where there is none."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.fleet.cluster import PROGRAM, needs_etcd

ROOT = Path(__file__).parents[2]


def demo(folder: Path, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(
        [sys.executable, *(words or ("-m", "tests.fleet.demo"))],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@needs_etcd
def test_a_trade_outlives_the_machine_that_opened_it(tmp_path: Path) -> None:
    done = demo(tmp_path, ETCD=PROGRAM)
    assert done.returncode == 0, done.stdout + done.stderr
    (killed,) = re.findall(r"(n\d) is killed", done.stdout)
    (carried,) = re.findall(r"(n\d) has looked every order up and carries the trade on", done.stdout)
    assert carried != killed
    assert "one signal, one trade" in done.stdout
    assert "The trade is closed: " in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert _running_below(tmp_path) == []


def test_without_etcd_it_says_how_to_get_it(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from tools import etcd; etcd.UNPACKED = Path('nowhere')\n"
        "from tests.fleet import demo; demo.main()"
    )
    done = demo(tmp_path, "-c", program, ETCD="", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "apt-get install etcd-server" in done.stderr
    assert "make fleet ETCD=/path/to/etcd" in done.stderr


def _running_below(folder: Path) -> list[str]:
    """Processes that were started with a path in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in words and f"/{os.getpid()}/" not in str(process):
            found.append(words)
    return found
