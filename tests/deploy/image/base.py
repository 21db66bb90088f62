"""A base image made of Debian's own packages, for machines that reach no image registry: what `FROM` would bring."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tests.deploy.image.engine import command, podman

NAME: Final = "localhost/executor-test-base:latest"
_PACKAGES: Final = "python3,python3-venv,python3-pip,ca-certificates"
_KEYS: Final = "/etc/ssl/certs/ca-certificates.crt"


def made(*, anew: bool = False) -> str:
    """The base's name, once it is among the engine's images. Needs root, and the mirror that apt uses here."""
    if not anew and podman("image", "exists", NAME, check=False).code == 0:
        return NAME
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        suite = _suite()
        command(
            "debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(root), _mirror(suite), timeout=900
        )
        (root / "usr/bin/python").symlink_to("python3")
        shutil.copyfile(_KEYS, root / _KEYS.removeprefix("/"))  # whom this machine trusts, the build must trust too
        for left in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / left)
        tar = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)  # noqa: S607
        done = subprocess.run(["podman", "import", "-", NAME], stdin=tar.stdout, capture_output=True, check=False)  # noqa: S607
        assert tar.wait() == 0
        assert done.returncode == 0, done.stderr.decode()
    return NAME


def _suite() -> str:
    words = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text("utf-8").splitlines() if "=" in line)
    return os.environ.get("SUITE", words["VERSION_CODENAME"])


def _mirror(suite: str) -> str:
    """The address that this machine's apt has for `suite`."""
    targets = command(
        "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {suite}"
    ).text.split()
    assert targets, f"apt knows no source of {suite}: run apt-get update, or set SUITE"
    return targets[0]
