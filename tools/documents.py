"""Writes what is made from the source: `.env.example`, the settings' tables, the list of alerts.

Run it from the project's folder: `make docs`. A test holds each document in step with what `documents` says.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from executor.config import rendering
from executor.ops.alerts import document
from tools import imports, rules

ROOT: Final = Path(__file__).parents[1]
MAP: Final = ROOT / "docs" / "architecture.md"


def documents() -> Iterator[tuple[Path, str]]:
    """Each generated document with the text that it ought to have."""
    yield ROOT / ".env.example", rendering.env_example()
    yield ROOT / "docs" / "settings.md", rendering.markdown()
    yield ROOT / "docs" / "alerts.md", document.markdown()
    yield rules.PAGE, rules.linked(rules.PAGE.read_text("utf-8"))
    yield MAP, between(MAP.read_text("utf-8"), "rooms", imports.drawing)
    readme = ROOT / "README.md"
    yield readme, between(readme.read_text("utf-8"), "settings", rendering.markdown_first)


def between(text: str, name: str, make: Callable[[], str]) -> str:
    """`text` with what stands between the markers of `name` made anew. Raises ValueError where there are none."""
    begin, end = f"<!-- {name}:begin (made by: make docs) -->\n", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"no markers for {name}: {begin.strip()} … {end}")
    return f"{before}{begin}{make()}{end}{after}"


def main() -> None:
    for path, text in documents():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
