"""What the image is made of: its size, its packages, and what must not be in it."""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from tests.deploy.image.checks import IMAGE, ROOT
from tests.deploy.image.engine import command, inspected, podman

MARK: Final = "a-file-that-must-stay-outside"
PACKAGES: Final = "/opt/executor/share/executor/packages.txt"
_LISTING: Final = """
import importlib.metadata
for found in importlib.metadata.distributions():
    print(found.name.lower().replace("_", "-") + "==" + found.version)
"""
_SEEN: Final = ("Dockerfile", ".dockerignore", "pyproject.toml", "requirements.lock", "README.md", "src")


def built(name: str, parent: str, *, source: Path = ROOT, again: bool = False) -> None:
    command(
        "podman", "build", "--build-arg", f"PYTHON={parent}", "--format", "docker", "--network=host",
        "--isolation=chroot", "--timestamp", "0", *(["--no-cache"] if again else []), "-t", name, str(source),
        timeout=900,
    )  # fmt: skip


def inside(script: str, *, user: str = "0") -> str:
    return podman(
        "run",
        "--rm",
        "--no-healthcheck",
        "--network",
        "none",
        "--user",
        user,
        "--entrypoint",
        "sh",
        IMAGE,
        "-c",
        script,
    ).text


def sizes(name: str, parent: str) -> str:
    own, below = inspected(name, "image")["Size"], inspected(parent, "image")["Size"]
    return f"{own / 1e6:.0f} MB, of which {(own - below) / 1e6:.0f} MB above the base"


def nothing_to_build_or_install_with_is_in_it() -> str:
    found = inside(
        "ls /opt/executor/bin; ls -d /opt/executor/lib/python3*/site-packages/*; command -v gcc make git || true"
    ).split()
    bad = [each for each in found if each.rsplit("/", 1)[-1].startswith(("pip", "setuptools", "wheel", "gcc", "make"))]
    assert not bad, bad
    return f"{sum('dist-info' in each for each in found)} packages"


def no_secret_of_the_build_folder_is_in_a_layer() -> str:
    """Files beside the source that a project folder often has; each layer is searched for what is written in them."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        source.mkdir()
        for name in _SEEN:
            part = ROOT / name
            if part.is_dir():
                shutil.copytree(part, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copyfile(part, source / name)
        marked = (".env", "secrets/live_api_secret", "data/state/executor_state.json", "src/executor/.env", "key.pem")
        for name in marked:
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(MARK, "utf-8")
        built(f"{IMAGE}-marked", podman_parent(), source=source)
        try:
            archive = Path(folder, "image.tar")
            podman("save", "--format", "docker-archive", "-o", str(archive), f"{IMAGE}-marked", timeout=300)
            layers = Path(folder, "layers")
            layers.mkdir()
            command("tar", "-C", str(layers), "-xf", str(archive))
            count = 0
            for layer in layers.rglob("*.tar"):
                assert MARK.encode() not in layer.read_bytes(), f"a marked file is in {layer.name}"
                count += 1
        finally:
            podman("rmi", "--force", f"{IMAGE}-marked", check=False)
    assert count, "no layer was searched"
    return f"{count} layers searched for {len(marked)} marked files"


def podman_parent() -> str:
    """What the image under test was built from."""
    found: str = inspected(IMAGE, "image")["Labels"]["org.opencontainers.image.base.name"]
    return found


def it_lists_its_packages() -> str:
    listed = set(inside(f"cat {PACKAGES}").split())
    there = set(podman("run", "--rm", "--interactive", "--no-healthcheck", "--network", "none", "--entrypoint",
                       "/opt/executor/bin/python", IMAGE, "-", into=_LISTING).text.split())  # fmt: skip
    assert listed == there, sorted(listed ^ there)
    return f"{len(listed)} with their versions in {PACKAGES}"


def it_is_built_the_same_again() -> str:
    """From one base and one source the files come out the same, to the byte; only times are left out of account."""
    digest = "cd /opt/executor && find . -type f | sort | xargs -d '\\n' sha256sum | sha256sum"
    first = inside(digest)
    built(f"{IMAGE}-again", podman_parent(), again=True)
    try:
        second = podman("run", "--rm", "--no-healthcheck", "--network", "none", "--entrypoint", "sh",
                        f"{IMAGE}-again", "-c", digest).text  # fmt: skip
    finally:
        podman("rmi", "--force", f"{IMAGE}-again", check=False)
    assert first == second, (first, second)
    return first.split()[0][:16]
