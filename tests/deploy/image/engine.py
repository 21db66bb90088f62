"""Podman as an image's tests need it: on a machine without systemd, as root inside somebody else's container, too."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

NEEDED: Final = {
    "podman": "podman",
    "runc": "runc",
    "debootstrap": "debootstrap",
    "docker-compose": "docker-compose",
    "systemd-nspawn": "systemd-container",
}
"""Programs, and the Debian packages they are in."""

# Cgroups without a systemd to ask, and limits that a container inside a container may set.
_CONTAINERS: Final = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=1000:1000"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_NOISE: Final = "unable to get systemd connection"


class EngineMissing(Exception):  # noqa: N818  (it says what is the matter)
    """No container engine can be had here; the text says what to install."""


class Done:
    """How a command ended, and what it said on both of its streams."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = "\n".join(line for line in text.splitlines() if _NOISE not in line)


def missing(programs: Iterable[str]) -> list[str]:
    """The Debian packages of those `programs` that are not here."""
    return sorted({NEEDED[program] for program in programs if shutil.which(program) is None})


@contextlib.contextmanager
def configured(*programs: str) -> Iterator[None]:
    """The engine's configuration for the time of the tests; `programs` are wanted beside it. Raises EngineMissing."""
    lacking = missing(("podman", "runc", "debootstrap", *programs))
    if lacking:
        raise EngineMissing(f"not here: {', '.join(lacking)}. On Debian: apt-get install {' '.join(lacking)}")
    if os.geteuid() != 0:
        raise EngineMissing("the base is made by debootstrap, which wants root")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "containers.conf")
        path.write_text(_CONTAINERS, "utf-8")
        os.environ["CONTAINERS_CONF"] = str(path)
        yield


def podman(*words: str, timeout: float = 120, check: bool = True, into: str = "") -> Done:
    """Raises AssertionError with what was said where it fails and `check` is asked for."""
    return command("podman", *words, timeout=timeout, check=check, into=into)


def command(
    *words: str, timeout: float = 120, check: bool = True, into: str = "", environ: dict[str, str] | None = None
) -> Done:
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        input=into,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **(environ or {})},
    )
    result = Done(done.returncode, done.stdout)
    if check:
        assert result.code == 0, f"{' '.join(words)}\nexit code {result.code}\n{result.text[-3000:]}"
    return result


def inspected(name: str, kind: str = "container") -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(podman("inspect", "--type", kind, name).text)
    return found[0]


def running(name: str) -> bool:
    return bool(inspected(name)["State"]["Running"])


def exit_code(name: str, timeout: float) -> int:
    """Of a container, once it has ended."""
    return int(podman("wait", name, timeout=timeout).text.split()[-1])


def logs(name: str) -> str:
    return podman("logs", name, check=False).text


@contextlib.contextmanager
def container(image: str, *options: str, run: Sequence[str] = ()) -> Iterator[str]:
    """A container with `options` of `podman run`, started; its name. It is removed in the end, however it ends."""
    name = f"executor-test-{os.urandom(4).hex()}"
    podman("run", "--detach", "--no-healthcheck", "--name", name, *options, image, *run)
    try:
        yield name
    finally:
        podman("rm", "--force", "--time", "2", name, check=False)


@contextlib.contextmanager
def volume(*options: str) -> Iterator[str]:
    name = f"executor-test-{os.urandom(4).hex()}"
    podman("volume", "create", *options, name)
    try:
        yield name
    finally:
        podman("volume", "rm", "--force", name, check=False)
