"""The rooms of the program and the arrows between them, read from the imports.

`python -m tools.imports [FOLDER]` counts them for the package in FOLDER (default: src/executor); the pictures in
docs/architecture.md are made from the same (`make docs`).
"""

import ast
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[1] / "src" / "executor"

Graph = Mapping[str, Collection[str]]
"""Each module, or room, with those that it imports."""


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every module by its dotted name below the package: `core.book.plan`; a folder's `__init__` by the folder's."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = path
    return found


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that is imported, wherever the statement stands, with its line: `from a.b import c` is `a.b.c`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}" if node.module else base) for alias in node.names)


def module_graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Which module imports which of our own."""
    known = modules(package)
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        targets = (owner(dotted, known, package.name) for _, dotted in imported(tree))
        graph[name] = {target for target in targets if target is not None and target != name}
    return graph


def owner(dotted: str, known: Collection[str], package: str = PACKAGE.name) -> str | None:
    """The module of ours that `dotted`, a module or a name in one, belongs to."""
    parts = dotted.split(".")
    if parts[0] != package:
        return None
    for end in range(len(parts), 1, -1):
        if (name := ".".join(parts[1:end])) in known:
            return name
    return None


def rooms(graph: Graph, under: str = "") -> dict[str, set[str]]:
    """The graph of what stands directly in the folder `under` (empty: the package): folders, and modules by name."""
    found: dict[str, set[str]] = {}
    for name, targets in graph.items():
        here = room(name, under)
        if here is None:
            continue
        arrows = found.setdefault(here, set())
        arrows |= {there for target in targets if (there := room(target, under)) is not None and there != here}
    return found


def room(name: str, under: str = "") -> str | None:
    """The room of a module: `core.book.plan` lives in `core`, and under `core` in `book`; None: not under there."""
    parts, above = name.split("."), under.split(".") if under else []
    if parts[: len(above)] != above or len(parts) == len(above):
        return None
    return parts[len(above)]


def floors(graph: Graph) -> list[list[str]]:
    """The rooms by floor, the lowest first: each stands above everything that it imports. Rooms that import each other
    in a circle share a floor.
    """
    below = {name: reach(graph, name) for name in graph}
    level: dict[str, int] = {}
    while len(level) < len(graph):
        for name in graph.keys() - level.keys():
            circle = {name} | {other for other in below[name] if name in below[other]}
            under = {target for each in circle for target in graph[each]} - circle
            if under <= level.keys():
                level |= dict.fromkeys(circle, max((level[target] + 1 for target in under), default=0))
    return [sorted(name for name in level if level[name] == n) for n in range(max(level.values(), default=-1) + 1)]


def drawing() -> str:
    """The two pictures of docs/architecture.md: the rooms of the program, and those of the core."""
    graph = module_graph()
    whole = {name: targets for name, targets in rooms(graph).items() if not name.startswith("__")}
    return f"{picture(whole)}\nThe core:\n\n{picture(rooms(graph, 'core'))}"


def picture(graph: Graph) -> str:
    """As a Mermaid flowchart, from the top floor down. An arrow that another way of arrows shows too is left out."""
    lines = ["```mermaid", "flowchart TD"]
    for number, floor in reversed(list(enumerate(floors(graph)))):
        lines += [f'    subgraph floor{number}[" "]', "        direction LR"]
        lines += [f"        {_id(name)}[{name}]" for name in floor]
        lines.append("    end")
    for name in sorted(graph):
        lines += [f"    {_id(name)} --> {_id(target)}" for target in sorted(shown(graph, name))]
    return "\n".join([*lines, "```", ""])


def shown(graph: Graph, name: str) -> set[str]:
    """What `name` imports and does not reach through something else that it imports, circles apart."""
    below = {via: reach(graph, via) for via in (name, *graph[name])}

    def implied(target: str, via: str) -> bool:
        return target in below[via] and via not in below[target] and name not in below[via]

    return {target for target in graph[name] if not any(implied(target, via) for via in graph[name])}


def reach(graph: Graph, name: str) -> set[str]:
    """Everything that `name` imports, however indirectly."""
    found: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        if (target := waiting.pop()) not in found:
            found.add(target)
            waiting += graph[target]
    return found


def _id(name: str) -> str:
    """Mermaid takes some words for its own."""
    return f"room_{name.strip('_')}"


def count(package: Path) -> str:
    """The figures: modules per folder, arrows between modules and between rooms."""
    graph = module_graph(package)
    per_folder = Counter(str(path.parent.relative_to(package.parent)) for path in modules(package).values())
    lines = [f"{folder:32} {number:3} files" for folder, number in sorted(per_folder.items())]
    lines.append(f"arrows between modules: {sum(map(len, graph.values()))}")
    for under in ("", "core"):
        own = {
            name: [t for t in targets if under == "" or room(t, under)]
            for name, targets in graph.items()
            if under == "" or room(name, under)
        }
        found = rooms(graph, under)
        lines.append(
            f"{under or package.name}: {len(own)} modules, {sum(map(len, own.values()))} arrows between them;"
            f" {len(found)} rooms, {sum(map(len, found.values()))} arrows"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(count(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE))  # noqa: T201  (a tool's answer)
