"""Which module and which test cites which rule of docs/rules.md, and the page's links to them.

A citation is "rule 8.3", "rules 8.1, 9.1 and 10", "rules 7.1-7.3", "(6.2, 8.3)" or a docstring that begins "10.1:", in
a comment or a docstring. A number without a dot cites a whole section.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "rules.md"
SOURCES: Final = (ROOT / "src" / "executor", ROOT / "bench")
TESTS: Final = (ROOT / "tests",)
LINK: Final = "↳ "
"""Begins the lines that are made, each below the rule that it is about."""
FILES_MAX: Final = 8
"""Files of one kind that a line names; of more, their folders."""

_NUMBER: Final = r"(?:1[0-4]|[1-9])(?:\.[1-9][0-9]?[a-e]?)?"
_LIST: Final = rf"{_NUMBER}(?:(?:\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or|to)\s+|\s*[-–]\s*){_NUMBER})*"
_PHRASE: Final = re.compile(rf"\b[Rr]ules?\s+({_LIST})(?!\d)")
_ASIDE: Final = re.compile(r"\(((?:1[0-4]|[1-9])\.\d{1,2}[a-e]?(?:,\s*(?:1[0-4]|[1-9])\.\d{1,2}[a-e]?)*)[);]")
_HEAD: Final = re.compile(r"^((?:1[0-4]|[1-9])\.\d{1,2}[a-e]?): ")
_COMMENT: Final = re.compile(r"#.*(?:[Rr]ule|\d\.\d)")
"""A line whose comment may cite: to take a file apart takes long."""
_RANGE: Final = re.compile(rf"({_NUMBER})\s*(?:[-–]|\bto\b)\s*({_NUMBER})")
_RULE: Final = re.compile(r"^\*\*(\d+\.\d+[a-e]?)\*\* ", re.MULTILINE)
_SECTION: Final = re.compile(r"^## (\d+) ", re.MULTILINE)


def defined(page: str) -> list[str]:
    """The numbers that the page explains, in its order: a section's before those of its rules."""
    return [number for number, _ in _entries(page)]


def duties(page: str) -> list[str]:
    """What must be cited by a test: every rule, and the sections that have no rules of their own; words are no rule."""
    numbers = defined(page)
    bare = {a for a, b in pairwise([*numbers, "end"]) if "." not in a and "." not in b}
    return [number for number in numbers if "." in number or (number in bare and number != "1")]


def _entries(page: str) -> Iterator[tuple[str, int]]:
    """Each number with the place where it is explained."""
    found = [(match.start(), match[1]) for match in (*_SECTION.finditer(page), *_RULE.finditer(page))]
    yield from ((number, at) for at, number in sorted(found))


def cited(text: str) -> set[str]:
    """The numbers that a piece of prose cites."""
    prose = " ".join(text.split())
    lists = [*_PHRASE.findall(prose), *_ASIDE.findall(prose), *_HEAD.findall(prose)]
    return {number for each in lists for number in _numbers(each)}


def _numbers(text: str) -> Iterator[str]:
    yield from re.findall(_NUMBER, text)
    for first, last in _RANGE.findall(text):
        section, low = first.partition(".")[::2]
        other, high = last.partition(".")[::2]
        if section == other and low.isdigit() and high.isdigit():
            yield from (f"{section}.{n}" for n in range(int(low), int(high) + 1))


def prose(source: str) -> Iterator[str]:
    """The docstrings and the comments of a module; comments on lines that follow each other are one piece."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    if not _COMMENT.search(source):
        return
    piece: list[str] = []
    line = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != line + 1 and piece:
                yield " ".join(piece)
                piece = []
            piece.append(token.string.lstrip("# "))
            line = token.start[0]
    if piece:
        yield " ".join(piece)


@cache
def citations(folders: tuple[Path, ...]) -> Mapping[str, list[Path]]:
    """The modules below `folders` by the numbers that they cite."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            numbers = {n for text in prose(path.read_text(encoding="utf-8")) for n in cited(text)}
            for number in numbers:
                found.setdefault(number, []).append(path)
    return found


def linked(page: str) -> str:
    """The page with the line of links below each rule made anew."""
    bare = re.sub(rf"^{LINK}.*\n\n?", "", page, flags=re.MULTILINE)
    code, tests = citations(SOURCES), citations(TESTS)
    entries = list(_entries(bare))
    ends = [at for _, at in entries[1:]] + [len(bare)]
    made = bare[: entries[0][1]]
    for (number, at), end in zip(entries, ends, strict=True):
        text = bare[at:end].rstrip("\n")
        line = _line(number, code, tests)
        made += f"{text}\n\n{line}\n\n" if line and number in duties(bare) else f"{text}\n\n"
    return made.rstrip("\n") + "\n"


def _line(number: str, code: Mapping[str, list[Path]], tests: Mapping[str, list[Path]]) -> str:
    parts = [
        f"{what}: {_links(found[number], folders)}"
        for what, found, folders in (("code", code, SOURCES), ("tests", tests, TESTS))
        if number in found
    ]
    return LINK + "; ".join(parts) if parts else ""


def _links(paths: list[Path], folders: tuple[Path, ...]) -> str:
    shown = paths if len(paths) <= FILES_MAX else sorted({path.parent for path in paths})
    return ", ".join(_link(path, folders) for path in shown)


def _link(path: Path, folders: tuple[Path, ...]) -> str:
    base = next(folder for folder in folders if path.is_relative_to(folder))
    name = path.relative_to(base.parent if base.name == "bench" else base).as_posix()
    shown = name.removesuffix(".py") if path.suffix else f"{name}/" if name != "." else f"{base.name}/"
    return f"[{shown}](../{path.relative_to(ROOT).as_posix()})"
