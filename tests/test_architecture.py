"""The directions and prohibitions that keep the rooms apart, checked on the source itself, so that a new
module is under them from its first line.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tools import imports as rooms_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "executor"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Which of our rooms a room may import besides itself.
INWARD = {
    "core": set[str](),
    "config": {"files"},
    "decoding": set[str](),
    "files": set[str](),
    "sockets": set[str](),
    "waiting": set[str](),
    "worker_thread": set[str](),
    "exchange": {"core", "decoding", "worker_thread"},
    "paper": {"core"},
    "signals": {"core", "files"},
    "simulate": {"core", "exchange", "paper"},
    "service": {
        "core",
        "config",
        "exchange",
        "files",
        "ops",
        "paper",
        "signals",
        "sockets",
        "waiting",
        "worker_thread",
    },
    "ops": {"core", "config", "decoding", "exchange", "files", "service", "signals", "sockets", "waiting"},
}
WIRING = {"cli", "__main__", "__init__"}

# The floors of each room, the lowest first: what stands on one imports from the floors below it alone, so that those on
# the same floor do not know each other. "*" is every folder and module of the room that is not named.
REST = "*"
FLOORS: dict[str, tuple[set[str], ...]] = {
    "core": (
        {"model"},
        {"book"},
        {"absorb", "decide", "margin_invariants"},
        {"transition", "invariants"},
        {"guard", "recover", "matrix_margin"},
        {"matrix"},
    ),
    "exchange": ({"port", "wire"}, {"transport"}, {REST}, {"binance"}, {"margin"}),
    "paper": ({"engine", "errors"}, {"replay"}, {"server"}, {REST}),
    "service": ({"store"}, {REST}, {"inlets"}, {"wiring"}, {"account"}, {"fleet"}, {"accounts", "app"}),
    "ops": ({REST}, {"http"}, {"http_accounts"}),
    "simulate": ({"direct"}, {"session"}, {"market"}),
    "cli": ({REST}, {"app"}),
}
LOOSE = {"exchange", "paper", "service", "ops", "cli"}  # rooms whose "*" may have arrows of its own

# What a pure module may not have: a clock, randomness, the outside, or another's turn to run.
IMPURE_IMPORTS = {
    "asyncio", "concurrent", "datetime", "http", "logging", "multiprocessing", "os", "pathlib", "random",
    "secrets", "select", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading",
    "time", "urllib", "uuid", "zoneinfo",
}  # fmt: skip
IMPURE_CALLS = {"breakpoint", "eval", "exec", "input", "open", "print", "__import__"}

OF_EXTRAS = {"PIL": ["pillow"]}  # where an extra is not installed, nobody else can say who brings it

LONGEST_MODULE = 600  # lines; beyond it a module is seldom one thing


def module_name(path: Path) -> str:
    parts = ("executor", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """The room of a module: `executor.core.book.plan` lives in `core`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module that is imported, wherever the statement stands, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            if base == "executor":
                yield from ((node.lineno, f"executor.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, base


def outward_imports(name: str, tree: ast.AST) -> list[str]:
    here = room(name)
    faults = []
    for line, imported in imports(tree):
        if imported.startswith("."):
            faults.append(f"{name}:{line} imports relatively")
        elif imported.split(".")[0] == "executor" and here not in WIRING:
            there = room(imported)
            if there != here and there not in INWARD.get(here, set()):
                faults.append(f"{name}:{line} imports {imported}, which lies outside of {here}")
    return faults


def upward_imports(under: str, graph: rooms_of.Graph) -> list[str]:
    """The imports inside of the room `under` that do not lead down its floors."""
    floors = FLOORS[under]
    named = {name: number for number, floor in enumerate(floors) for name in floor}

    def floor(part: str) -> int | None:
        return named.get(part, named.get(REST))

    faults = []
    for name, targets in graph.items():
        here = rooms_of.room(name, under)
        if here is None or here == name:
            continue
        if floor(here) is None:
            faults.append(f"{name} has no floor in {under}: give it one in FLOORS")
            continue
        for target in sorted(targets):
            there = rooms_of.room(target, under)
            if there is None or there == here:
                continue
            below, above = floor(there), floor(here)
            loose = under in LOOSE and here not in named and there not in named
            if below is None or above is None or (below >= above and not loose):
                faults.append(f"{name} imports {target}, which does not stand below it in {under}")
    return faults


def impurities(name: str, tree: ast.AST, allowed_libraries: frozenset[str]) -> list[str]:
    faults = []
    for line, imported in imports(tree):
        top = imported.split(".")[0]
        known = top in sys.stdlib_module_names or top == "executor" or top in allowed_libraries
        if top in IMPURE_IMPORTS or not known:
            faults.append(f"{name}:{line} imports {imported}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            faults.append(f"{name}:{node.lineno} calls {node.func.id}")
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            faults.append(f"{name}:{node.lineno} is asynchronous")
    return faults


def floats(name: str, tree: ast.AST) -> list[str]:
    """Binary floats: the type's name anywhere, as a call or an annotation, and literals."""
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "float":
            faults.append(f"{name}:{node.lineno} names float")
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            faults.append(f"{name}:{node.lineno} has the literal {node.value}")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _is_int(node.left) and _is_int(node.right):
            faults.append(f"{name}:{node.lineno} divides whole numbers into a float")
    return faults


def _is_int(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def swallowed_errors(name: str, tree: ast.AST) -> list[str]:
    """Handlers that take any error and say nothing of it."""
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                faults.append(f"{name}:{node.lineno} has a bare except")
            elif _takes_all(node.type) and all(_does_nothing(statement) for statement in node.body):
                faults.append(f"{name}:{node.lineno} swallows every error")
        if isinstance(node, ast.Call) and any(_takes_all(argument) for argument in node.args):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "suppress":
                faults.append(f"{name}:{node.lineno} suppresses every error")
    return faults


def _takes_all(kind: ast.expr) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(_takes_all(part) for part in kind.elts)
    called = kind.attr if isinstance(kind, ast.Attribute) else getattr(kind, "id", "")
    return called in {"Exception", "BaseException"}


def _does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass | ast.Continue | ast.Break)


def _engine_closure() -> set[str]:
    """The paper exchange's matching engine and every module of its room that it stands on."""
    known = {module_name(path): path for path in MODULES}
    closure: set[str] = set()
    waiting = ["executor.paper.engine.exchange", "executor.paper.engine.matching"]
    while waiting:
        name = waiting.pop()
        if name in closure or name not in known:
            continue
        closure.add(name)
        tree = ast.parse(known[name].read_text(encoding="utf-8"))
        waiting += [imported for _, imported in imports(tree) if imported.startswith("executor.paper.")]
    return closure


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    return {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def test_the_source_is_found(trees: dict[str, ast.AST]) -> None:
    assert {"executor", "executor.core", "executor.config.settings", "executor.__main__"} <= trees.keys()


def test_every_room_is_known(trees: dict[str, ast.AST]) -> None:
    assert {room(name) for name in trees} <= INWARD.keys() | WIRING


def test_imports_point_inwards(trees: dict[str, ast.AST]) -> None:
    assert [fault for name, tree in trees.items() for fault in outward_imports(name, tree)] == []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return rooms_of.module_graph()


@pytest.mark.parametrize("under", sorted(FLOORS))
def test_each_room_has_its_floors(graph: dict[str, set[str]], under: str) -> None:
    assert upward_imports(under, graph) == []
    parts = set(rooms_of.rooms(graph, under))
    named = {part for floor in FLOORS[under] for part in floor} - {REST}
    assert named <= parts, "a floor names what is not there"


def test_no_modules_import_each_other_in_a_circle(graph: dict[str, set[str]]) -> None:
    assert [name for name in graph if name in rooms_of.reach(graph, name)] == []


def test_what_absorbs_and_what_decides_do_not_know_each_other(graph: dict[str, set[str]]) -> None:
    core = rooms_of.rooms(graph, "core")
    assert "decide" not in rooms_of.reach(core, "absorb")
    assert "absorb" not in rooms_of.reach(core, "decide")


def test_every_folder_says_what_lives_there(trees: dict[str, ast.AST]) -> None:
    folders = {module_name(path): path for path in MODULES if path.name == "__init__.py"}
    silent = [name for name in folders if not ast.get_docstring(trees[name])]  # type: ignore[arg-type]  # a module
    assert silent == []


def test_the_core_is_pure(trees: dict[str, ast.AST]) -> None:
    core = {name: tree for name, tree in trees.items() if room(name) == "core"}
    assert [fault for name, tree in core.items() for fault in impurities(name, tree, frozenset({"msgspec"}))] == []


def test_the_core_has_no_floats(trees: dict[str, ast.AST]) -> None:
    core = {name: tree for name, tree in trees.items() if room(name) == "core"}
    assert [fault for name, tree in core.items() for fault in floats(name, tree)] == []


def test_the_matching_engine_is_pure_and_exact(trees: dict[str, ast.AST]) -> None:
    engine = {name: trees[name] for name in _engine_closure()}
    assert "executor.paper.engine.matching" in engine
    faults = [fault for name, tree in engine.items() for fault in impurities(name, tree, frozenset({"msgspec"}))]
    assert faults + [fault for name, tree in engine.items() for fault in floats(name, tree)] == []


def test_no_error_is_swallowed(trees: dict[str, ast.AST]) -> None:
    assert [fault for name, tree in trees.items() for fault in swallowed_errors(name, tree)] == []


def test_libraries_that_are_imported_are_declared(trees: dict[str, ast.AST]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [requirement for each in project["optional-dependencies"].values() for requirement in each]
    declared = {_distribution(requirement) for requirement in (*project["dependencies"], *extras)}
    providers = {**OF_EXTRAS, **metadata.packages_distributions()}
    undeclared = {
        f"{name} imports {imported}"
        for name, tree in trees.items()
        for _, imported in imports(tree)
        if (top := imported.split(".")[0]) != "executor"
        and top not in sys.stdlib_module_names
        and declared.isdisjoint(_distribution(provider) for provider in providers.get(top, []))
    }
    assert undeclared == set()


def _distribution(requirement: str) -> str:
    name = requirement
    for sign in "<>=!~;[ ":
        name = name.partition(sign)[0]
    return name.lower().replace("_", "-")


def test_what_only_an_extra_brings_is_imported_by_one_process_of_its_own(trees: dict[str, ast.AST]) -> None:
    importing = {name for name, tree in trees.items() for _, imported in imports(tree) if imported.startswith("PIL")}
    assert importing == {"executor.ops.reports.picture"}
    drawing = {imported for tree in trees.values() for _, imported in imports(tree) if imported.endswith("picture")}
    assert drawing == set()


def test_no_module_is_several_things() -> None:
    lengths = {module_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("executor.core.x", "from executor.exchange.port import Exchange"),
        ("executor.core.x", "def f():\n    import executor.config"),
        ("executor.core.x", "from executor import paper"),
        ("executor.config.x", "from executor.core.model.values import ZERO"),
        ("executor.paper.x", "from executor.exchange import port"),
        ("executor.exchange.x", "from executor.service import loop"),
        ("executor.service.x", "from executor.cli import app"),
        ("executor.core.x", "from . import values"),
        ("executor.newroom.x", "from executor.core import values"),
    ],
)
def test_a_wrong_import_is_noticed(name: str, source: str) -> None:
    assert len(outward_imports(name, ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("graph", "fault"),
    [
        ({"core.model.state": {"core.book.plan"}}, "does not stand below it"),
        ({"core.absorb.admit": {"core.decide.draft"}}, "does not stand below it"),
        ({"core.decide.draft": {"core.absorb.admit"}}, "does not stand below it"),
        ({"core.transition": {"core.invariants"}}, "does not stand below it"),
        ({"core.newroom.x": set()}, "has no floor"),
        ({"core.transition": {"core.decide.draft", "core.book.plan"}}, ""),
        ({"core.book.plan": {"core.book.levels", "core.model.state"}}, ""),
    ],
)
def test_an_upward_import_is_noticed(graph: dict[str, set[str]], fault: str) -> None:
    found = upward_imports("core", graph)
    assert len(found) == bool(fault)
    assert fault in "".join(found)


def test_a_module_on_a_folder_s_floor_may_not_import_what_stands_on_it() -> None:
    assert upward_imports("service", {"service.store.journal": {"service.loop"}}) != []
    assert upward_imports("service", {"service.loop": {"service.inlets.intake"}}) != []
    assert upward_imports("service", {"service.loop": {"service.engine", "service.store.journal"}}) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from datetime import datetime",
        "def f():\n    import random",
        "from os import path",
        "import asyncio",
        "import aiohttp",
        "open('x')",
        "print('x')",
        "async def f(): pass",
    ],
)
def test_an_impurity_is_noticed(source: str) -> None:
    assert len(impurities("x", ast.parse(source), frozenset({"msgspec"}))) == 1


@pytest.mark.parametrize("source", ["float('1')", "x: float", "x = 0.1", "x = 1 / 3", "def f() -> float: ..."])
def test_a_float_is_noticed(source: str) -> None:
    assert len(floats("x", ast.parse(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "try: f()\nexcept: raise",
        "try: f()\nexcept Exception: pass",
        "try: f()\nexcept (ValueError, BaseException): ...",
        "while f():\n    try: f()\n    except Exception:\n        'fine'\n        continue",
        "with suppress(Exception): f()",
        "with contextlib.suppress(KeyError, BaseException): f()",
    ],
)
def test_a_swallowed_error_is_noticed(source: str) -> None:
    assert len(swallowed_errors("x", ast.parse(source))) == 1


def test_sound_source_passes() -> None:
    source = "import msgspec\nfrom decimal import Decimal\ntry: f()\nexcept ValueError: pass\nx = Decimal('0.1')"
    tree = ast.parse(source)
    assert impurities("x", tree, frozenset({"msgspec"})) + floats("x", tree) + swallowed_errors("x", tree) == []


def test_what_strangers_send_is_decoded_in_two_places_alone() -> None:
    """The library raises more than its own errors, and takes NaN for a price: `decoding` and `codec` know that."""
    rooms = ("exchange", "ops/telegram", "service/inlets")
    found = [
        str(path.relative_to(PACKAGE))
        for name in rooms
        for path in (PACKAGE / name).rglob("*.py")
        if "msgspec.json.decode(" in (text := path.read_text("utf-8")) or "json.Decoder(" in text
    ]
    assert found == []
