"""Plans that failed once, kept for ever: each file names its symptom in words and what was done about it."""

from pathlib import Path
from typing import Final

import msgspec
from tests.sim.choices import Choice

FOLDER: Final = Path(__file__).parent / "corpus"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`symptom`: what went wrong, for people; `check`: the check that saw it; `plan`: what it takes."""

    symptom: str
    check: str
    plan: list[Choice]


def cases(folder: Path = FOLDER) -> dict[str, Case]:
    return {path.stem: load(path) for path in sorted(folder.glob("*.json"))}


def load(path: Path) -> Case:
    return msgspec.json.decode(path.read_bytes(), type=Case)


def save(name: str, case: Case, folder: Path = FOLDER) -> Path:
    path = folder / f"{name}.json"
    lines = ",\n    ".join(msgspec.json.encode(choice).decode() for choice in case.plan)
    head = msgspec.json.encode({"symptom": case.symptom, "check": case.check}).decode()
    path.write_text(f'{head[:-1]},\n  "plan": [\n    {lines}\n  ]}}\n')
    return path
