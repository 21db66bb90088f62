"""Packages of the npm registry that witnesses are made of: into a folder outside the tree, once, with no script run."""

import fcntl
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

FETCH_S: Final = 60.0


class NotToBeHad(LookupError):  # noqa: N818  (it says what is the matter)
    """The packages can't be had here; the text says why."""


def node_modules(**versions: str) -> Path:
    """The folder in which exactly these are installed (`binance="3.6.5"`; `_` in a name stands for `-`). Raises
    NotToBeHad, at once where it was in vain before.
    """
    found = _installed(tuple(sorted((name.replace("_", "-"), version) for name, version in versions.items())))
    if isinstance(found, str):
        raise NotToBeHad(found)
    return found


@cache
def _installed(wanted: tuple[tuple[str, str], ...]) -> Path | str:
    """The folder, or why there is none."""
    named = "+".join(f"{name}@{version}" for name, version in wanted)
    folder = _cache() / named
    whole = folder / "whole"
    if whole.exists():
        return folder / "node_modules"
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "node and npm are needed, and not there"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # others may be at it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": dict(wanted)}), "utf-8")
            if fault := _install(npm, folder):
                return f"npm can't have {named}: {fault}"
            whole.touch()
    return folder / "node_modules"


def _install(npm: str, folder: Path) -> str:
    """Why it failed; empty where it did not."""
    order = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    try:
        done = subprocess.run(
            [*order, "--fetch-retries=1", "--fetch-timeout=20000"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=FETCH_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer for {FETCH_S:.0f} s"
    return (done.stderr or done.stdout).strip()[-300:] if done.returncode else ""


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "executor-tests" / "npm"
