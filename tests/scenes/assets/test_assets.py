"""blender_scenes/assets as the sampler sees them: no Blender."""

import math
import re
import sys
from pathlib import Path

import pytest
from own_files import POST  # type: ignore[import-not-found]

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import assets_module, catalogue, find_asset
from ablate2tune.scenes.assets.asset_folders import ASSET_FOLDERS
from ablate2tune.scenes.assets.asset_trial import try_assets
from ablate2tune.scenes.assets.world_catalogue import worlds
from ablate2tune.scenes.rendering import worker_pool
from ablate2tune.scenes.rendering.contact_sheet import portraits, sheet_format
from ablate2tune.scenes.rendering.worker_pool import WorkerPool
from ablate2tune.scenes.shapes.shapes import shape
from ablate2tune.scenes.vocabulary import KINDS

LOOKS = [
    (name, variant, pose)
    for name, asset in catalogue().items()
    for variant in asset.variants
    for pose in asset.poses
]


def test_there_are_enough_of_them():
    assert len(catalogue()) >= 20
    for name, asset in catalogue().items():
        assert asset.name == name
        assert len(asset.variants) >= 4, name
        assert asset.colours, name
    assert all(len(catalogue()[name].poses) >= 2 for name in ("cat", "dog", "bird", "person"))


@pytest.mark.parametrize("name, variant, pose", LOOKS)
def test_every_look_is_a_sound_mesh(name, variant, pose):
    module = assets_module()
    asset = catalogue()[name]
    built = module.draft(asset, variant, pose)
    count = len(built.vertices)
    assert len(built.faces) == len(built.surface) == len(built.smooth) > 0
    for face in built.faces:
        assert len(set(face)) == len(face) >= 3 and max(face) < count
    assert all(math.isfinite(c) for vertex in built.vertices for c in vertex)
    (x0, x1), (y0, y1), (z0, z1) = built.extents()
    assert (x0 + x1, y0 + y1, z0) == pytest.approx((0, 0, 0), abs=1e-9)
    assert 0.05 < max(x1 - x0, y1 - y0, z1) < 10  # metres
    surfaces = {*built.surface, *(skin.surface for skin in built.skins)}
    for surface in surfaces:
        for colour in asset.colours:
            assert all(0 <= c <= 1 for c in module.surface(surface, colour).rgb)
    # Something of every object has the colour that its caption names.
    assert any(surface.startswith("body") for surface in surfaces)


@pytest.mark.parametrize("name", catalogue())
def test_variants_and_poses_differ(name):
    module, asset = assets_module(), catalogue()[name]
    drafts = [module.draft(asset, v, p) for v in asset.variants for p in asset.poses]
    shapes = [(d.vertices, [(s.vertices, s.surface) for s in d.skins], d.surface) for d in drafts]
    assert all(a != b for i, a in enumerate(shapes) for b in shapes[:i])


def test_what_holds_and_flies_names_variants_and_poses():
    for asset in catalogue().values():
        assert set(asset.holds) <= set(asset.variants)
        assert set(asset.flies) <= set(asset.poses)


def test_the_plain_kinds_are_those_of_the_vocabulary():
    assert {name for name, asset in catalogue().items() if asset.plain} == set(KINDS)


@pytest.fixture
def box():
    module = assets_module()
    builder = module.Builder()
    builder.slab((-1, -2, 0), (1, 2, 3), bevel=0.1)
    return builder


def test_a_slab_is_closed_and_faces_outwards(box):
    # Volume by the divergence theorem: 2 * 4 * 3 = 24 less twelve edges and eight corners. Each
    # edge of length l loses l * 0.1^2 / 2, measured between the corner pieces, and each corner
    # 5/6 of a cube of side 0.1.
    volume = 0.0
    for face in box.faces:
        for i in range(1, len(face) - 1):
            a, b, c = (box.vertices[k] for k in (face[0], face[i], face[i + 1]))
            volume += (
                a[0] * (b[1] * c[2] - b[2] * c[1])
                - a[1] * (b[0] * c[2] - b[2] * c[0])
                + a[2] * (b[0] * c[1] - b[1] * c[0])
            ) / 6
    edges = 4 * ((2 - 0.2) + (4 - 0.2) + (3 - 0.2)) * 0.1**2 / 2
    assert volume == pytest.approx(24 - edges - 8 * 5 / 6 * 0.1**3)


def test_moved_turns_scales_and_shifts():
    builder = assets_module().Builder()
    with builder.moved(to=(10, 0, 0)), builder.moved(turn=(0, 0, 90), size=2):
        builder.add([(1, 0, 0), (0, 1, 0), (0, 0, 1)], [(0, 1, 2)], False)
    builder.add([(1, 0, 0)], [], False)
    expected = [(10, 2, 0), (8, 0, 0), (10, 0, 2), (1, 0, 0)]
    for vertex, place in zip(builder.vertices, expected, strict=True):
        assert vertex == pytest.approx(place)


def test_a_user_adds_one_file(tmp_path):
    (tmp_path / "post.py").write_text(POST.format(name="post"))
    asset = find_asset("post", tmp_path)
    extents = assets_module().draft(asset, "low", "standing").extents()
    assert extents[2] == (0, 0.6) and extents[0] == pytest.approx((-0.05, 0.05))
    assert "post" not in catalogue()


def declared(more: str) -> str:
    """The file of a post whose asset declares something else as well."""
    text = POST.format(name="post")
    end = text.rindex(")")
    return f"{text[:end]}, {more})"


@pytest.mark.parametrize(
    "text, message",
    [
        (POST.format(name="cat"), "there is already an asset named 'cat'"),
        ("ASSET = 3", "it defines no ASSET and no WORLD"),
        ("\nimport nothing_of_the_kind", "mine.py:2: ModuleNotFoundError"),
        ("a = 1\nb = (", "mine.py:2: SyntaxError"),
        (declared('poses=("up")'), "mine.py: poses are no tuple but 'up'"),
        (declared("poses=()"), "poses are empty"),
        (declared('colours=("red", "rde")'), "colours have an unknown 'rde'; there are red, green"),
        (declared('places=("outside",)'), "unknown 'outside'; there are indoors, outdoors"),
        (declared('holds=("tall",)'), "holds have an unknown 'tall'; there are low"),
        (declared('synonyms={"pole": ("low", "tall")}'), "synonyms of 'pole' have an unknown"),
        (declared('synonyms=("pole",)'), "synonyms are no mapping"),
    ],
)
def test_what_a_user_file_may_not_do(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=message):
        catalogue(tmp_path)


WORLD = """
from .worlds import SKIES, World
WORLD = World("{name}", "outdoors", ("in a yard",))
"""


def test_a_user_adds_a_world(tmp_path):
    (tmp_path / "mine.py").write_text(WORLD.format(name="yard"))
    assert worlds(tmp_path)["yard"].words == ("in a yard",)
    assert "yard" not in worlds() and set(catalogue(tmp_path)) == set(catalogue())


@pytest.mark.parametrize(
    "text, message",
    [
        (WORLD.format(name="lawn"), "mine.py: there is already a world named 'lawn'"),
        ("WORLD = 3", "mine.py: its WORLD is no World"),
        ("\nfrom .worlds import Moon", "mine.py:2: ImportError"),
        (WORLD.format(name="yard").replace("outdoors", "outside"), "'yard': place is 'outside'"),
        (WORLD.format(name="yard").replace(",))", "))"), "words are no tuple but 'in a yard'"),
        (WORLD.format(name="yard").replace(",))", ",), ())"), "grounds are empty"),
        (WORLD.format(name="yard").replace(",))", ",), skies=SKIES[0])"), "skies are no tuple"),
        (WORLD.format(name="yard").replace(",))", ",), (0.1, 0.2))"), "grounds have 0.1, which is"),
    ],
)
def test_what_a_world_of_a_user_may_not_be(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=message):
        worlds(tmp_path)


BROKEN = POST.replace("b.slab((0, 0, 0), (0.1, 0.1, post.height))", "{line}")
LINE = BROKEN[: BROKEN.index("{line}")].count("\n") + 1


@pytest.mark.parametrize(
    "line, reason, at",
    [
        ("1 / 0", "ZeroDivisionError: division by zero", f":{LINE}"),
        ("pass", "ValueError: it makes no shape", ""),
        ("b.slab((0, 0, 0), (0.1, 0.1, float('nan')))", "ValueError: a vertex is no number", ""),
    ],
)
def test_an_asset_that_cannot_be_built_is_named_by_its_file_and_line(tmp_path, line, reason, at):
    (tmp_path / "post.py").write_text(BROKEN.format(name="post", line=line))
    where = re.escape(str(tmp_path / "post.py")) + at
    with pytest.raises(
        UserError, match=f"{where}: variant 'low' in pose 'standing' cannot be built .{reason}"
    ):
        shape("post", "low", "standing", 0.5, tmp_path)


def test_an_asset_that_hangs_is_stopped_and_named(tmp_path):
    text = BROKEN.format(name="post", line="while True: pass")
    (tmp_path / "post.py").write_text(text)
    where = re.escape(str(tmp_path / "post.py"))
    late = f"{where}: variant 'low' in pose 'standing' is not built within 4 s"
    with pytest.raises(UserError, match=late):
        try_assets(Path(assets_module().HERE), tmp_path, patience=4)


def test_an_extension_brings_a_folder(tmp_path, monkeypatch):
    (tmp_path / "post.py").write_text(POST.format(name="post"))
    assert dict.fromkeys(ASSET_FOLDERS) == {}
    monkeypatch.setitem(ASSET_FOLDERS._things, "posts", tmp_path)
    catalogue.cache_clear()
    assert "post" in catalogue()
    monkeypatch.setattr(worker_pool, "find_blender", lambda named: [named])
    with WorkerPool(sys.executable, 1, 1.0) as pool:
        assert pool._environment["ABLATE2TUNE_ASSETS"] == str(tmp_path)
    monkeypatch.undo()
    catalogue.cache_clear()
    assert "post" not in catalogue()


def test_unknown_names(tmp_path):
    with pytest.raises(UserError, match=r"unknown asset 'catt'.*cat"):
        find_asset("catt")
    with pytest.raises(UserError, match="no such folder"):
        catalogue(tmp_path / "none")


def test_a_sheet_shows_four_variants_in_their_colours():
    specs = portraits("dog", 64, 4)
    assert [spec["variant"] for spec in specs] == ["hound", "terrier", "dachshund", "puppy"]
    assert {spec["pose"] for spec in specs} == {"standing", "sitting"}
    assert len({spec["colour"] for spec in specs}) > 2


def test_a_sheet_without_a_format_is_refused_before_it_is_rendered(tmp_path):
    assert sheet_format(tmp_path / "sheet.PNG") == "PNG"
    with pytest.raises(UserError, match=r"sheet.post: no picture format has this ending"):
        sheet_format(tmp_path / "sheet.post")
