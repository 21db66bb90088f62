"""Many runs of a simulation against the clock, and one of them told: the same for every world."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Protocol, Self, TextIO, TypeVar

import msgspec
from tests.sim import corpus
from tests.sim.choices import Choice
from tests.sim.garbage import keep_what_is_imported
from tests.sim.shrink import symptom


class Tally(Protocol):
    """Sums over many runs. `failed`: (seed, what was broken)."""

    failed: list[tuple[int, str]]

    def merge(self, other: Self) -> None: ...


class Result(Protocol):
    """Of one run: what was `broken`, in words, the `plan` that replays it, and what happened, if it was asked for."""

    @property
    def broken(self) -> list[str]: ...

    @property
    def plan(self) -> list[Choice]: ...

    @property
    def log(self) -> list[str]: ...


T = TypeVar("T", bound=Tally)


def soak(total: T, many: Callable[[int, int], T], batch: int, *, seconds: float, seed: int, processes: int) -> T:
    """`total` with `many` runs at a time, `batch` of them, from `seed` on until the time is up; what fails is told on
    stderr at once.
    """
    end = time.monotonic() + seconds
    start = seed * 10_000_000
    with ProcessPoolExecutor(processes, initializer=keep_what_is_imported) as pool:
        waiting = [pool.submit(many, start + i * batch, batch) for i in range(processes * 2)]
        following = start + len(waiting) * batch
        while waiting:
            lived = waiting.pop(0).result()
            sys.stderr.writelines(f"seed {seed}: {what}\n" for seed, what in lived.failed)
            total.merge(lived)
            if time.monotonic() < end:
                waiting.append(pool.submit(many, following, batch))
                following += batch
    return total


def explain(
    name: str, result: Result, shrunk: Callable[[list[Choice], str], list[Choice]], out: TextIO, *, module: str
) -> None:
    """A violation's plan, shrunk, and the command that replays it. `name`: of the file that it is written to."""
    check = symptom(result.broken)
    if not check:
        return
    plan = shrunk(result.plan, check)
    path = Path("/tmp") / f"{name}.json"  # noqa: S108 - a place to look at, not to trust
    path.write_bytes(msgspec.json.encode(corpus.Case(symptom=result.broken[0], check=check, plan=plan)))
    out.write(f"\n{result.broken[0]}\nplan, shrunk: {msgspec.json.encode(plan).decode()}\n")
    out.write(f"replay: python -m {module} --plan {path}\n")


def tell(result: Result, out: TextIO) -> int:
    """Step by step, with its plan. Returns the exit code."""
    out.writelines(f"{line}\n" for line in result.log)
    out.write(f"\nplan: {msgspec.json.encode(result.plan).decode()}\n")
    out.write("\n".join(result.broken) + "\n" if result.broken else "sound\n")
    return 1 if result.broken else 0


def keep(
    name: str,
    said: str,
    result: Result,
    shrunk: Callable[[list[Choice], str], list[Choice]],
    out: TextIO,
    folder: Path = corpus.FOLDER,
) -> int:
    """Shrink a failing run and keep it in the corpus; `said`: its symptom in words. Returns the exit code."""
    check = symptom(result.broken)
    case = corpus.Case(symptom=said, check=check, plan=shrunk(result.plan, check))
    folder.mkdir(exist_ok=True)
    out.write(f"{corpus.save(name, case, folder)}\n")
    return 0
