"""Each alert that the source raises is in the catalogue that explains it, and nothing else is."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from executor.core.model.events import Resolve
from executor.ops.alerts.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]


def alerts(tree: ast.AST) -> Iterator[str]:
    """Event names of notes of the level ALERT, and of log lines marked as alerts."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        noted = [i for i, arg in enumerate(node.args) if any(_is_alert(level) for level in _either(arg))]
        named = [node.args[i + 1] for i in noted if i + 1 < len(node.args)]
        if any(keyword.arg == "alert" for keyword in node.keywords) and node.args:
            named.append(node.args[0])
        for name in named:
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value


def _either(arg: ast.expr) -> tuple[ast.expr, ...]:
    return (arg.body, arg.orelse) if isinstance(arg, ast.IfExp) else (arg,)


def _is_alert(level: ast.expr) -> bool:
    return isinstance(level, ast.Attribute) and level.attr == "ALERT"


@cache
def raised() -> frozenset[str]:
    paths = (ROOT / "src").rglob("*.py")
    return frozenset(name for path in paths for name in alerts(ast.parse(path.read_text(encoding="utf-8"))))


def test_the_alerts_are_found() -> None:
    assert {"failsafe", "sold_elsewhere", "state_unwritable", "signal_file", "trade_rebuilt"} <= raised()
    notes = 'draft.note(Level.ALERT, "x", text)\ndraft.note(Level.INFO if small else Level.ALERT, "w", text)\n'
    assert list(alerts(ast.parse(notes + 'log.error("y", alert=True)\nlog.info("z")'))) == ["x", "w", "y"]


def told(tree: ast.AST) -> Iterator[str]:
    """Names of what is told though it is no alert of a log line: by `alerts.tell`, or as a note of another level."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr == "tell" and len(node.args) == 2:
            name = node.args[0]
        elif isinstance(node.func, ast.Name) and node.func.id == "Notify" and len(node.args) >= 2:
            name = node.args[1]
        else:
            continue
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value


def test_each_alert_is_in_the_catalogue() -> None:
    assert raised() - CATALOGUE.keys() == set(), "add it to executor.ops.alerts.catalogue, or watchdog.findings"


def named_by_the_watchdog() -> set[str]:
    """Its suspects are named by constants, beside the comparisons."""
    watchdog = ROOT / "src" / "executor" / "ops" / "watchdog"
    trees = [ast.parse(path.read_text("utf-8")) for path in watchdog.glob("*.py") if path.name != "findings.py"]
    constants = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def test_the_catalogue_has_nothing_that_is_never_raised() -> None:
    paths = (ROOT / "src").rglob("*.py")
    said = {name for path in paths for name in told(ast.parse(path.read_text(encoding="utf-8")))}
    said |= named_by_the_watchdog()
    by_operator = {f"operator_{how}" for how in Resolve}
    assert CATALOGUE.keys() - raised() - said - by_operator == set()
