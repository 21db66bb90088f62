"""Packages of the npm registry that witnesses are made of: into a folder outside the tree, once, with no script run."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

FETCH_S: Final = 120.0


class NotToBeHad(LookupError):  # noqa: N818  (it says what is the matter)
    """The packages can't be had here; the text says why."""


def node_modules(**versions: str) -> Path:
    """The folder in which exactly these are installed (`binance="3.6.5"`; `_` in a name stands for `-`). Raises
    NotToBeHad.
    """
    wanted = {name.replace("_", "-"): version for name, version in versions.items()}
    named = "+".join(f"{name}@{version}" for name, version in sorted(wanted.items()))
    folder = _cache() / named
    if (folder / "whole").exists():
        return folder / "node_modules"
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NotToBeHad("node and npm are needed, and not there")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}), "utf-8")
    order = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    try:
        done = subprocess.run(order, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotToBeHad(f"npm has not answered for {FETCH_S:.0f} s") from error
    if done.returncode:
        raise NotToBeHad(f"npm can't have {named}: {(done.stderr or done.stdout).strip()[-300:]}")
    (folder / "whole").touch()
    return folder / "node_modules"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "executor-tests" / "npm"
