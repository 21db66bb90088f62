"""The documents tell of everything that the program can say: each alert, and each ending of a trade."""

import ast
from collections.abc import Iterator
from pathlib import Path

from executor.core.model.state import Reason

ROOT = Path(__file__).parents[2]


def alerts(tree: ast.AST) -> Iterator[str]:
    """Event names of notes of the level ALERT, and of log lines marked as alerts."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        noted = [i for i, arg in enumerate(node.args) if isinstance(arg, ast.Attribute) and arg.attr == "ALERT"]
        named = [node.args[i + 1] for i in noted if i + 1 < len(node.args)]
        if any(keyword.arg == "alert" for keyword in node.keywords) and node.args:
            named.append(node.args[0])
        for name in named:
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value


def raised() -> set[str]:
    paths = (ROOT / "src").rglob("*.py")
    return {name for path in paths for name in alerts(ast.parse(path.read_text(encoding="utf-8")))}


def test_the_alerts_are_found() -> None:
    assert {"failsafe", "sold_elsewhere", "state_unwritable", "signal_file", "trade_rebuilt"} <= raised()
    assert list(alerts(ast.parse('draft.note(Level.ALERT, "x", text)\nlog.error("y", alert=True)\nlog.info("z")'))) == [
        "x",
        "y",
    ]


def test_each_ending_of_a_trade_is_in_the_lifecycle() -> None:
    text = (ROOT / "docs" / "lifecycle.md").read_text("utf-8")
    assert [reason for reason in Reason if f"`{reason}`" not in text] == []


def test_each_is_documented_and_nothing_else_is() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    _, begin, rest = text.partition("<!-- alerts:begin -->")
    table, end, _ = rest.partition("<!-- alerts:end -->")
    assert begin
    assert end
    documented = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert documented == raised()
