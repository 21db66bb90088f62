"""The core compiled by mypyc, for long simulations alone: what is delivered and tested is the source.

`python -m tools.compiled_core` copies the tree into build/compiled-core, compiles there what decides (some four
minutes; a C compiler is needed), and shows on a thousand seeds that it does the same as the source, request for
request. `make soak-fast` runs the simulation there.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.sim.run import by_seed
from tests.sim.setup import ANY

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build" / "compiled-core"
CORE: Final = Path("src/executor/core")
ROOMS: Final = (".", "absorb", "book", "decide", "recover")  # the model's records are compiled code as they are
STAMP: Final = "built-of"
SEEDS: Final = range(7_000_000, 7_001_000)


def modules(root: Path) -> list[str]:
    found = (path for room in ROOMS for path in sorted((root / CORE / room).glob("*.py")))
    return [str(path.relative_to(root)) for path in found if path.name != "__init__.py"]


def fingerprint() -> str:
    """Of all that is copied, and of the interpreter that it is compiled for."""
    told = hashlib.sha256(sys.version.encode())
    for folder in ("src", "tests", "tools"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                told.update(str(path.relative_to(ROOT)).encode())
                told.update(path.read_bytes())
    return told.hexdigest()


def build() -> None:
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    for folder in ("src", "tests", "tools", "config"):
        shutil.copytree(ROOT / folder, BUILD / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", BUILD)
    command = [sys.executable, "-m", "mypyc", *modules(BUILD)]
    subprocess.run(command, cwd=BUILD, env={**os.environ, "MYPYPATH": "src"}, check=True)  # noqa: S603 - our own program


def outcomes() -> str:
    """What came of each of `SEEDS`, as one digest."""
    told = hashlib.sha256()
    for seed in SEEDS:
        result = by_seed(seed, kinds=ANY)
        told.update(repr((seed, result.steps, result.plan, sorted(result.tally.items()), result.broken)).encode())
    kind = "source" if str(sys.modules["executor.core.transition"].__file__).endswith(".py") else "compiled"
    return f"{kind} {told.hexdigest()}"


def _told_by(root: Path) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    command = [sys.executable, "-m", "tools.compiled_core", "--outcomes"]
    told = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return told.stdout.split()


def main() -> int:
    if "--outcomes" in sys.argv:
        sys.stdout.write(outcomes() + "\n")
        return 0
    if not shutil.which("cc"):
        sys.stderr.write("a C compiler is needed to compile the core; on Debian and Ubuntu install the package gcc\n")
        return 1
    stamp, copied = BUILD / STAMP, fingerprint()
    if stamp.exists() and stamp.read_text() == copied:
        return 0
    build()
    source, compiled = _told_by(ROOT), _told_by(BUILD)
    if (source[0], compiled[0]) != ("source", "compiled") or source[1] != compiled[1]:
        sys.stderr.write(f"the compiled core does something else: {source} {compiled}\n")
        return 1
    stamp.write_text(copied)
    return 0


if __name__ == "__main__":
    sys.exit(main())
