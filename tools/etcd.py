"""etcd for the tests of the fleet: the machine's own, the one that ETCD names, or Debian's package unpacked in .venv.

Nothing is installed: `apt-get download` and `dpkg -x` need no root. Where it can't be had, that is said, and the tests
that need it are skipped, with the reason.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "etcd-server"
UNPACKED: Final = Path(__file__).parents[1] / ".venv" / "debian"
ADVICE: Final = f"apt-get install {PACKAGE}, or name the program: ETCD=/path/to/etcd"
PATIENCE_S: Final = 300


class NotHadError(Exception):
    """It can't be had here. The text says why."""


def program() -> str:
    """Where it is; empty where it is not."""
    named = os.environ.get("ETCD") or shutil.which("etcd")
    unpacked = UNPACKED / "usr" / "bin" / "etcd"
    return named or (str(unpacked) if unpacked.is_file() else "")


def fetch(into: Path) -> None:
    """Unpack Debian's package there. Raises NotHadError."""
    tools = {name: shutil.which(name) for name in ("apt-get", "dpkg")}
    missing = [name for name, path in tools.items() if path is None]
    if missing:
        raise NotHadError(f"no {' and no '.join(missing)} here: not a Debian or Ubuntu")
    apt, dpkg = str(tools["apt-get"]), str(tools["dpkg"])
    with tempfile.TemporaryDirectory() as folder:
        _run([apt, "--option", "APT::Sandbox::User=root", "download", PACKAGE], Path(folder))
        packages = list(Path(folder).glob("*.deb"))
        if len(packages) != 1:
            raise NotHadError(f"apt-get downloaded {len(packages)} packages")
        unpacked = Path(folder) / "unpacked"
        _run([dpkg, "-x", str(packages[0]), str(unpacked)], Path(folder))
        if not (unpacked / "usr" / "bin" / "etcd").is_file():
            raise NotHadError(f"{packages[0].name} holds no etcd")
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(into, ignore_errors=True)
        shutil.move(unpacked, into)


def _run(words: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603  (what is run was found on this machine)
            words, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise NotHadError(f"{Path(words[0]).name} took longer than {PATIENCE_S} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NotHadError(f"{Path(words[0]).name}: {said[-1]}")


def main() -> None:
    if not program():
        try:
            fetch(UNPACKED)
        except NotHadError as error:
            sys.stdout.write(f"etcd: not here ({error}); the tests of the fleet are skipped. To run them: {ADVICE}\n")
            return
    sys.stdout.write(f"etcd: {program()}\n")


if __name__ == "__main__":
    main()
