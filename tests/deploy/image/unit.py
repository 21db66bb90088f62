"""`make unit-test`: config/executor.service under a real systemd, booted in a container of Debian's own packages.

    python -m tests.deploy.image.unit [--log]

Wants root, debootstrap, podman (for the image's program) and systemd-nspawn; says what is missing, and ends with 2.
What is checked is in `unit_checks.sh`, which systemd itself runs inside.
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.deploy.image import base, checks, contents
from tests.deploy.image.engine import EngineMissing, command, configured, podman

ROOT: Final = Path(__file__).parents[3]
PATIENCE_S: Final = 420
_PACKAGES: Final = "systemd systemd-sysv dbus procps"
_SETTINGS: Final = """
BINANCE_ENV=custom
BINANCE_REST_URL=http://127.0.0.1:9100
BINANCE_WS_API_URL=ws://127.0.0.1:9100/ws-api/v3
BINANCE_STREAM_URL=ws://127.0.0.1:9100
SYMBOL=LTCUSDT
ENTRY_MODE=MARKET_ONLY
QTY_USD=100
"""
_CREDENTIALS: Final = """
[Service]
LoadCredential=BINANCE_API_KEY:/etc/executor/secrets/BINANCE_API_KEY
LoadCredential=BINANCE_API_SECRET:/etc/executor/secrets/BINANCE_API_SECRET
Environment=SECRETS_DIR=%d
"""
_PAPER: Final = """
[Service]
ExecStart=/opt/executor/bin/executor paper --port 9100 --speed 1
Environment=HOME=/tmp
"""
_CHECKS: Final = """
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /checks.sh
[Install]
WantedBy=multi-user.target
"""


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Path]:
    """A root folder with systemd, the program of the image, and the unit installed as docs/install.md says."""
    root = folder / "root"
    root.mkdir()
    contents.built(checks.IMAGE, base.made())
    name = podman("create", checks.IMAGE).text.split()[-1]
    try:
        archive = folder / "image.tar"
        podman("export", "-o", str(archive), name, timeout=300)
    finally:
        podman("rm", name)
    command("tar", "-C", str(root), "-xf", str(archive))
    archive.unlink()
    _with_systemd(root)
    command("chroot", str(root), "userdel", "executor", check=False)
    command("chroot", str(root), "useradd", "--system", "--shell", "/usr/sbin/nologin", "executor")
    secrets = root / "etc/executor/secrets"
    secrets.mkdir(parents=True)
    for secret in ("BINANCE_API_KEY", "BINANCE_API_SECRET"):
        (secrets / secret).write_text("paper", "utf-8")
    (root / "etc/executor/executor.env").write_text(_SETTINGS, "utf-8")
    units = root / "etc/systemd/system"
    shutil.copyfile(ROOT / "config/executor.service", units / "executor.service")
    (units / "executor.service.d").mkdir()
    (units / "executor.service.d/secrets.conf").write_text(_CREDENTIALS, "utf-8")
    (units / "paper.service").write_text(_PAPER, "utf-8")
    (units / "checks.service").write_text(_CHECKS, "utf-8")
    shutil.copyfile(Path(__file__).with_name("unit_checks.sh"), root / "checks.sh")
    (root / "results").mkdir()
    command("chroot", str(root), "systemctl", "enable", "checks.service")
    yield root


def _with_systemd(root: Path) -> None:
    """Debian's systemd, from the sources that this machine's apt has."""
    for part in ("etc/apt/sources.list", "etc/apt/sources.list.d", "usr/share/keyrings", "etc/resolv.conf"):
        source, target = Path("/", part), root / part
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copyfile(source, target)
    script = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {_PACKAGES}"
    command("chroot", str(root), "sh", "-c", script, timeout=600, environ={"DEBIAN_FRONTEND": "noninteractive"})


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--log", action="store_true", help="show what the checks printed")
    given = arguments.parse_args()
    try:
        with configured("systemd-nspawn"), tempfile.TemporaryDirectory() as folder, machine(Path(folder)) as root:
            booted = subprocess.run(
                ["systemd-nspawn", "--directory", str(root), "--register=no", "--keep-unit", "--boot"],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            return _told(root / "results", booted.stdout, log=given.log)
    except EngineMissing as error:
        sys.stderr.write(f"make unit-test can't run here: {error}\n")
        return 2


def _told(results: Path, console: str, *, log: bool) -> int:
    if not (results / "done").exists():
        sys.stdout.write(console[-3000:])
    said = (results / "log").read_text("utf-8") if (results / "log").exists() else ""
    outcome = (results / "outcome").read_text("utf-8").splitlines() if (results / "outcome").exists() else []
    figures = [line for line in said.splitlines() if line.startswith(("a stopped process", "ms from crash", "→"))]
    failed = sum(line.startswith("FAILED") for line in outcome) + (not (results / "done").exists())
    sys.stdout.write("\n".join([*([said] if log or failed else []), *outcome, *figures, ""]))
    sys.stdout.write(f"{len(outcome) - failed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
