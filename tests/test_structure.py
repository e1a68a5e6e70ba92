"""What the house promises of its own files: their sizes, names, imports, and what they ask."""

import ast
import functools
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

from ablate2tune.ablation import MODES

PACKAGE = Path(__file__).parents[1] / "ablate2tune"
FILES = sorted(PACKAGE.rglob("*.py"))
OWN = "stage.py", "__init__.py"
"""Names that come in every folder of their kind."""


@functools.cache
def trees() -> list[tuple[str, ast.Module]]:
    """Each module by its dotted name, and its syntax."""
    found = []
    for path in FILES:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        found.append((name, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def imports(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """What a module imports as it is imported, and for its types; not what its functions do."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules else node.module for name in below)
        yield from imports(node, modules)


def compared(tree: ast.AST) -> Iterator[str]:
    """The words that comparisons and cases name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.MatchValue):
            parts = ast.walk(node)
            yield from (
                p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)
            )


@functools.cache
def all_compared() -> list[tuple[str, set[str]]]:
    """Each module by its dotted name, and the words that its comparisons name."""
    return [(name, {*compared(tree)}) for name, tree in trees()]


def test_files_are_small_and_folders_are_not_full():
    scripts = sorted((PACKAGE.parent / "blender_scenes").rglob("*.py"))
    lines = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in (*FILES, *scripts)}
    assert max(lines.values()) <= 400, max(lines, key=lambda path: lines[path])
    assert median(lines[path] for path in FILES) <= 150
    full = {f: n for f, n in Counter(path.parent for path in FILES).items() if n > 15}
    assert not full


def test_a_file_is_known_by_its_name_alone():
    names = Counter(path.name for path in FILES if path.name not in OWN)
    assert [name for name, count in names.items() if count > 1] == []


def test_no_import_circle_not_even_of_types():
    modules = dict(trees())
    graph = {name: {*imports(tree, set(modules))} for name, tree in modules.items()}
    assert sum(map(len, graph.values())) > len(graph)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_a_circle_would_be_found():
    module = ast.parse("if TYPE_CHECKING:\n    from b.c import D\nfrom b import c\nimport e\n")
    assert [*imports(module, {"b", "b.c", "e"})] == ["b.c", "b.c", "e"]
    lazy = ast.parse("def f():\n    import e\n")
    assert [*imports(lazy, {"e"})] == []


def test_stages_do_not_reach_for_what_runs_them():
    above = {"ablate2tune.stages", "ablate2tune.cli"}
    users = {name for name, tree in trees() if {*imports(tree, above)} & above}
    assert users <= {"ablate2tune.__main__", "ablate2tune.cli"}


@pytest.mark.parametrize("name", sorted({*MODES} - {"input"}))  # a word of its own
def test_nothing_asks_for_a_mode_by_its_name(name: str):
    """What a mode needs and may do it declares; 25 comparisons in 17 files had drifted."""
    askers = [module for module, words in all_compared() if name in words]
    assert [module for module in askers if ".ablation.modes." not in module] == []
