"""The tool that counts and draws the imports, on graphs small enough to see."""

import ast
from pathlib import Path

import pytest
from tools.documents import MAP, between

from tools import imports

LADDER = {"top": {"middle", "bottom"}, "middle": {"bottom"}, "bottom": set[str](), "aside": {"bottom"}}


def test_the_pictures_are_in_step() -> None:
    text = MAP.read_text(encoding="utf-8")
    assert between(text, "rooms", imports.drawing) == text, "run: make docs"


def test_each_room_stands_above_what_it_imports() -> None:
    assert imports.floors(LADDER) == [["bottom"], ["aside", "middle"], ["top"]]


def test_rooms_in_a_circle_share_a_floor_and_show_both_arrows() -> None:
    graph = {"a": {"b", "c"}, "b": {"a", "c"}, "c": set[str](), "d": {"a", "c"}}
    assert imports.floors(graph) == [["c"], ["a", "b"], ["d"]]
    drawn = imports.picture(graph)
    assert "room_a --> room_b" in drawn
    assert "room_b --> room_a" in drawn
    assert "room_d --> room_c" not in drawn
    assert imports.shown({**graph, "e": {"a", "b"}}, "e") == {"a", "b"}


def test_an_arrow_that_others_imply_is_not_drawn() -> None:
    drawn = imports.picture(LADDER)
    assert "room_top --> room_middle" in drawn
    assert "room_top --> room_bottom" not in drawn
    assert drawn.index("[top]") < drawn.index("[middle]") < drawn.index("[bottom]")


def test_names_are_found_in_every_kind_of_import() -> None:
    source = "import a.b\nfrom a import c\nfrom a.b import d, e as f\ndef g():\n    from a import h\nfrom . import i\n"
    assert [name for _, name in imports.imported(ast.parse(source))] == ["a.b", "a.c", "a.b.d", "a.b.e", ".", "a.h"]


@pytest.mark.parametrize(
    ("dotted", "module"),
    [
        ("executor.core.book.plan.split", "core.book.plan"),
        ("executor.core.book.plan", "core.book.plan"),
        ("executor.core.book", "core.book"),
        ("executor.nothing", None),
        ("json.decoder", None),
    ],
)
def test_a_name_belongs_to_the_module_that_has_it(dotted: str, module: str | None) -> None:
    assert imports.owner(dotted, {"core.book", "core.book.plan"}) == module


def test_rooms_are_the_folders_and_modules_below() -> None:
    graph = {"core.book.plan": {"core.model.state", "files"}, "core.model.state": set[str](), "core.guard": set[str]()}
    assert imports.rooms(graph) == {"core": {"files"}}
    assert imports.rooms(graph, "core") == {"book": {"model"}, "model": set(), "guard": set()}


def test_a_package_is_read_and_counted(tmp_path: Path) -> None:
    package = tmp_path / "executor"
    (package / "core").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "core" / "__init__.py").write_text("")
    (package / "core" / "a.py").write_text("import json\nfrom executor.core import b\n")
    (package / "core" / "b.py").write_text("")
    (package / "c.py").write_text("from executor.core.a import x\n")
    assert imports.module_graph(package) == {
        "__init__": set(),
        "c": {"core.a"},
        "core": set(),
        "core.a": {"core.b"},
        "core.b": set(),
    }
    counted = imports.count(package)
    assert "executor/core                      3 files" in counted
    assert "arrows between modules: 2" in counted
