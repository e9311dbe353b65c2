"""Borders between rooms that no import contract can state: no circles, nothing private abroad."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import grimp
import pytest

from tests.conftest import ROOT

LATE = [
    ("apsim.nn.model.network", "apsim.nn.rules.precision"),  # Model.at
    ("apsim.machine", "apsim.debug"),  # Machine.debug
]


@cache
def imports() -> dict[str, set[str]]:
    """Each module and what it imports when it runs, late imports among them."""
    graph = grimp.build_graph("apsim", exclude_type_checking_imports=True, cache_dir=None)
    found = {m: set(graph.find_modules_directly_imported_by(m)) for m in graph.modules}
    for importer, imported in LATE:
        found[importer].discard(imported)
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    """The imports of modules can be put in an order, late ones too, but for the two of `LATE`."""
    graph = imports()
    assert "apsim.machine" in graph["apsim.debug.session"]
    assert list(TopologicalSorter(graph).static_order())


def test_a_circle_would_be_found() -> None:
    graph = {**imports(), "apsim.errors": {"apsim.debug"}}
    with pytest.raises(CycleError):
        list(TopologicalSorter(graph).static_order())


def private_imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module that imports, private name from another room of apsim)."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    room = module.split(".")[:2]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("apsim"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                private = any(
                    part.startswith("_") for part in whole.split(".") if part != "__all__"
                )
                if private and whole.split(".")[:2] != room:
                    yield module, node.module
        if isinstance(node, ast.Import):
            for alias in node.names:
                if "._" in alias.name and alias.name.split(".")[:2] != room:
                    yield module, alias.name


def test_nothing_private_is_imported_from_another_room() -> None:
    """A name with an underscore stays in its room: no other, no test and no benchmark has it"""
    paths = [
        path for top in ("apsim", "tests", "benchmarks") for path in ROOT.glob(f"{top}/**/*.py")
    ]
    assert len(paths) > 300
    assert not {found for path in paths for found in private_imports(path)}


def budgets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("budgets", ROOT / "scripts" / "budgets.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_room_above_its_budget_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """lines, modules and the longest module, each against what `budgets.toml` allows"""
    script = budgets()
    script.ROOT = tmp_path
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "budgets.toml").write_text(
        '[lines]\ncam = 5\n"." = 9\n[modules]\ncam = 1\n[longest]\nmodule = 3\n'
    )
    room = tmp_path / "apsim" / "cam"
    room.mkdir(parents=True)
    (room / "one.py").write_text("a = 1\n\n\n")
    (tmp_path / "apsim" / "beside.py").write_text("b = 1\n")
    assert script.main(tmp_path / "apsim") == 0
    (room / "two.py").write_text("a = 1\n" * 4)
    (tmp_path / "apsim" / "new").mkdir()
    (tmp_path / "apsim" / "new" / "three.py").write_text("c = 1\n")
    assert script.main(tmp_path / "apsim") == 1
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "cam: 7 lines, 2 above its budget",
        "cam: 2 modules, wanted 1 at most",
        "new: 1 lines, 1 above its budget",
        "apsim/cam/two.py: 4 lines without blank ones, wanted 3",
    ]
