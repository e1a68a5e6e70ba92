import sys

import pytest

from ablate2tune.errors import UserError
from ablate2tune.registry import Registry, _import_modules, load_extensions


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules, each of which registers a thing in `shapes.REGISTRY`."""
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "__init__.py").write_text(
        "from ablate2tune.registry import Registry\nREGISTRY = Registry('shape', 'shapes')\n"
    )
    for name, sides in (("square", 4), ("triangle", 3)):
        (tmp_path / "shapes" / f"{name}.py").write_text(
            f"from shapes import REGISTRY\nREGISTRY.add('{name}', {sides})\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("shapes", "more_shapes"))]:
        del sys.modules[name]
    load_extensions.cache_clear()
    _import_modules.cache_clear()


def entry_point(folder, value) -> None:
    """An installed package `more-shapes` whose entry point names a module."""
    info = folder / "more_shapes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more-shapes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ablate2tune]\nshapes = {value}\n")
    load_extensions.cache_clear()


def test_modules_register_themselves(package):
    import shapes  # type: ignore[import-not-found]

    assert list(shapes.REGISTRY) == ["square", "triangle"]
    assert shapes.REGISTRY["triangle"] == 3
    with pytest.raises(UserError, match="no shape 'sqare'; did you mean 'square'"):
        shapes.REGISTRY["sqare"]
    with pytest.raises(UserError, match="two shapes are called 'square'"):
        shapes.REGISTRY.add("square", 5)


def test_extensions_add_theirs(package):
    (package / "more_shapes.py").write_text(
        "from shapes import REGISTRY\nREGISTRY.add('circle', 0)\n"
    )
    entry_point(package, "more_shapes")
    import shapes  # type: ignore[import-not-found]

    assert list(shapes.REGISTRY) == ["square", "triangle", "circle"]


def test_an_extension_that_fails_is_named(package):
    (package / "more_shapes.py").write_text("import nothing_of_the_kind\n")
    entry_point(package, "more_shapes")
    with pytest.raises(UserError, match=r"entry point shapes = more_shapes: .*nothing_of_the_kind"):
        list(Registry("shape", "shapes"))


def test_a_file_that_fails_is_named(package):
    (package / "shapes" / "broken.py").write_text("def half(:\n")
    with pytest.raises(UserError, match=r"^shapes\.broken: .*\(SyntaxError: .*; mend it"):
        list(Registry("shape", "shapes"))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("draw.shape", r"^draw\.shape = sqare: no shape 'sqare'; did you mean 'square'"),
        ("--shape", r"^--shape sqare: no shape 'sqare'"),
    ],
)
def test_what_names_a_thing_stands_in_the_error(package, key, said):
    shapes = Registry("shape", "shapes", key)
    shapes.add("square", 4)
    with pytest.raises(UserError, match=said):
        shapes["sqare"]
