"""Models and environment maps of the user's own: measured and refused without Blender."""

import json
import struct

import pytest
from own_files import add, box, exr, glb, hdr, packed

from ablate2tune.cli import main
from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import catalogue
from ablate2tune.scenes.assets.environment_maps import check_environment_map
from ablate2tune.scenes.assets.glb import read_glb
from ablate2tune.scenes.assets.user_assets import user_assets
from ablate2tune.scenes.dataset.card import write_card
from ablate2tune.scenes.layouts.natural import files_of, sample_natural_group, user_files
from ablate2tune.scenes.scenes_config import ScenesConfig

NOTE = {"licence": "CC0-1.0", "size": 0.5, "colours": ["red"]}


def test_bounds_are_blenders(tmp_path):
    (tmp_path / "m.glb").write_bytes(glb([box(2, 3, 4, at=(10, 1, -5))]))
    found = read_glb(tmp_path / "m.glb")
    # glTF (x, y, z) is Blender's (x, -z, y): z from -7 to -3 becomes y from 3 to 7.
    assert found.low == pytest.approx((9, 3, 1)) and found.high == pytest.approx((11, 7, 4))
    assert found.extents == pytest.approx((2, 4, 3)) and found.materials == []


def test_nodes_within_nodes(tmp_path):
    quarter = [0.0, 0.0, 2**-0.5, 2**-0.5]  # about z: x becomes y
    nodes = [
        {"children": [1], "translation": [0, 5, 0]},
        {"mesh": 0, "rotation": quarter, "scale": [2, 1, 1]},
        {"mesh": 1, "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 8, 1]},
    ]
    (tmp_path / "m.glb").write_bytes(glb(nodes, [(1, 0, 0)], scenes=[{"nodes": [0, 2]}]))
    found = read_glb(tmp_path / "m.glb")
    # The first cube, 2 long along x, is turned to stand up to y = 7; the second reaches z = 9.
    assert found.low == pytest.approx((-1, -9, 0)) and found.high == pytest.approx((1, 0, 7))
    assert found.materials == ["paint 1"]


def test_vertices_of_no_face_do_not_count(tmp_path):
    accessors = json.loads(glb([box(1, 1, 1)])[20:].split(b"\0")[0].rsplit(b"}", 1)[0] + b"}")
    accessors = accessors["accessors"]
    accessors[1]["count"] = 6  # the two triangles at x = 0
    (tmp_path / "m.glb").write_bytes(glb([{"mesh": 0}], accessors=accessors))
    with pytest.raises(UserError, match="is flat"):  # with its other vertices it is a cube
        read_glb(tmp_path / "m.glb")


POINT = {"mesh": 0, "scale": [0, 0, 0]}


@pytest.mark.parametrize(
    "data, message",
    [
        (b"v 0 0 0\nv 1 1 1\n", "is not a GLB file"),
        (b"", "is not a GLB file"),
        (struct.pack("<4sII", b"glTF", 1, 12), "is glTF 1, not 2"),
        (glb([box(1, 1, 1)])[:-40], "is cut short"),
        (packed(b"{nonsense", b""), "without content"),
        (glb([]), "holds no mesh"),
        (glb([{"camera": 0}]), "holds no mesh"),
        (glb([POINT]), "is empty: all its vertices are one point"),
        (glb([box(float("inf"), 1, 1)]), "at infinity"),
        (glb([box(1, 1, 0)]), "is flat"),
        (
            glb([box(1, 1, 1)], images=[{"name": "skin", "uri": "data:image/png;base64,AAAA"}]),
            "its texture skin cannot be read",
        ),
        (glb([box(1, 1, 1)], images=[{"bufferView": 0}]), "its texture number 0 cannot be read"),
        (glb([{"mesh": 7}]), "damaged"),
        (glb([{"mesh": 0, "children": [1]}, {"children": [1]}]), "damaged"),
        (glb([box(1, 1, 1)], meshes=[{"primitives": [{}]}]), "damaged"),
        (glb([box(1, 1, 1)], buffers=[{"uri": "b.bin"}]), "refers to another file, 'b.bin'"),
        (glb([box(1, 1, 1)], images=[{"uri": "../t.png"}]), "refers to another file, '../t.png'"),
        (
            glb([box(1, 1, 1)], extensionsRequired=["KHR_draco_mesh_compression"]),
            "is compressed",
        ),
        (glb([box(1, 1, 1)], skins=[{"joints": [0]}]), "has a skin"),
        (glb([box(1, 1, 1)], animations=[{}]), "is animated"),
        (glb([box(1, 1, 1)], scenes=[{}, {}]), "holds 2 scenes"),
    ],
)
def test_models_that_are_refused(tmp_path, data, message):
    (tmp_path / "m.glb").write_bytes(data)
    with pytest.raises(UserError, match=message) as raised:
        read_glb(tmp_path / "m.glb")
    assert str(raised.value).startswith(f"{tmp_path}/m.glb: ") and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"licence": None}, r"m\.yaml: licence"),
        ({"licence": "  "}, r"m\.yaml: licence: say which it is"),
        ({"size": None}, r"m\.yaml: size"),
        ({"size": 0.01}, r"m\.glb: measures 1 m, and its note says 0\.01 m: 100 times too large"),
        ({"size": 100}, "100 times too small"),
        ({"unit": 50}, "100 times too large"),
        ({"colours": ["teal"]}, r"m\.yaml: unknown colour 'teal'"),
        ({"colours": []}, "colours"),
        ({"colours": ["red", "blue"]}, "has materials of its own, so it has one colour"),
        ({"painted": "paint 3"}, r"no material 'paint 3' in m\.glb; did you mean 'paint 1'"),
        ({"licens": "x"}, r"unknown key 'licens'; did you mean 'licence'"),
        ({"front": "north"}, r"m\.yaml: front"),
        ({"name": "A Thing"}, r"m\.yaml: name"),
        ({"name": "chair"}, r"there is already an asset named 'chair'"),
        ({"wording": "the {name}"}, r"m\.yaml: wording needs"),
    ],
)
def test_notes_that_are_refused(tmp_path, changes, message):
    note = {k: v for k, v in {**NOTE, **changes}.items() if v is not None}
    add(tmp_path, "m.glb", glb([box(1, 1, 1, mesh=1)], [(1, 0, 0)]), **note)
    with pytest.raises(UserError, match=message) as raised:
        catalogue(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_file_without_a_note_and_a_note_without_a_file(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "m.glb").write_bytes(glb([box(1, 1, 1)]))
    with pytest.raises(UserError, match=r"m\.glb: has no note: m\.yaml is missing"):
        user_assets(tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "m.yaml").write_text("licence: x")
    with pytest.raises(UserError, match=r"a note without its file; add m\.glb, m\.hdr, m\.exr"):
        user_assets(tmp_path / "two")


def test_a_file_outside_the_folder(tmp_path):
    real = add(tmp_path / "elsewhere", "m.glb", glb([box(1, 1, 1)]), **NOTE)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "m.glb").symlink_to(real)
    with pytest.raises(UserError, match=r"folder/m\.glb: lies outside the folder of assets"):
        user_assets(folder)


def test_a_model_at_its_natural_size(tmp_path):
    # 30 x 20 x 10 units of a centimetre (glTF's x, y, z); the front faces Blender's +x.
    note = {**NOTE, "size": 0.6, "unit": 0.01, "front": "+x", "solid_top": True, "shelters": 0.1}
    add(tmp_path, "tool_chest.glb", glb([box(30, 20, 10)]), **note)
    asset = catalogue(tmp_path)["tool chest"]
    (variant,) = asset.variants
    assert asset.variants[variant] == pytest.approx((0.2, 0.6, 0.4))
    assert asset.has_front and asset.solid_top and asset.shelters == {variant: 0.1}
    assert not asset.floats and not asset.holds and asset.colours == ("red",)


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("m.hdr", b"P6 1 1", "is not a Radiance picture"),
        ("m.exr", b"P6 1 1", "is not an OpenEXR picture"),
        ("m.hdr", b"#?RADIANCE\n\n-Y 4 +X 4\n", "is 4 x 4 pixels; use an equirectangular"),
        ("m.exr", exr(4, 4), "is 4 x 4 pixels"),
        ("m.exr", exr(4, 2)[:60], "is not an OpenEXR picture"),
    ],
)
def test_environment_maps_that_are_refused(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        check_environment_map(tmp_path / name)


def test_sizes_of_environment_maps(tmp_path):
    (tmp_path / "m.hdr").write_bytes(hdr(16))
    (tmp_path / "m.exr").write_bytes(exr(64, 32))
    assert check_environment_map(tmp_path / "m.hdr") == (32, 16)
    assert check_environment_map(tmp_path / "m.exr") == (64, 32)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "own"
    add(folder, "crate.glb", glb([box(1, 1, 1)]), **NOTE, author="A | B")
    add(folder, "pot.glb", glb([box(1, 1, 1)]), **{**NOTE, "colours": ["blue", "green"]})
    add(folder, "meadow.hdr", hdr(), licence="CC-BY-4.0", ground="grass")
    add(folder, "unused.hdr", hdr(), licence="all rights reserved")
    return folder


def test_a_group_brings_its_own_files_and_no_others(folder):
    config = ScenesConfig.model_validate({
        "world": "natural", "assets": folder, "objects": ["crate", "cube"], "holdout": 0.0,
        "environments": ["meadow", "lawn"], "relations": ["left of", "right of"],
    })  # fmt: skip
    seen = set()
    for index in range(12):
        group = sample_natural_group(config, 1, index, 0, "train")
        files = files_of(config, group)
        assert set(files["models"]) == {"crate"}
        assert files["models"]["crate"]["path"] == str(folder / "crate.glb")
        on_map = group["environment"] == "meadow"
        assert ("maps" in files) == ("sky_turn" in group) == on_map
        seen.add(group["environment"])
    assert seen == {"meadow", "lawn"}
    notes = user_files(config)
    assert set(notes) == {"crate.glb", "meadow.hdr"}
    assert notes["meadow.hdr"]["licence"] == "CC-BY-4.0"


def test_the_card_names_every_licence(folder, tmp_path):
    config = ScenesConfig.model_validate({
        "world": "natural", "assets": folder, "objects": ["all"], "environments": ["meadow"],
    })  # fmt: skip
    path = write_card(tmp_path, user_files(config))
    assert path is not None
    lines = path.read_text().splitlines()
    assert lines[-3:] == [
        "| crate.glb | CC0-1.0 | A \\| B | - |",
        "| meadow.hdr | CC-BY-4.0 | - | - |",
        "| pot.glb | CC0-1.0 | - | - |",
    ]
    assert write_card(tmp_path / "none", {}) is None and not (tmp_path / "none").exists()


def test_one_line_and_exit_code_2(tmp_path, capsys):
    add(tmp_path, "m.glb", glb([]), **NOTE)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: x\nmodel: {path: none}\n"
        f"scenes: {{world: natural, objects: [ball, cube], assets: {tmp_path}}}\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["render-data", str(recipe)])
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"ablate2tune: {tmp_path}/m.glb: holds no mesh;") and "\n" not in said


def test_unknown_and_doubled_environments(folder):
    values = {"world": "natural", "assets": folder, "environments": ["medow"]}
    with pytest.raises(ValueError, match="unknown environment 'medow'; did you mean 'meadow'"):
        ScenesConfig.model_validate(values)
    add(folder.parent / "other", "lawn.hdr", hdr(), licence="x")
    with pytest.raises(ValueError, match=r"lawn\.hdr has an environment's name"):
        ScenesConfig.model_validate({**values, "assets": folder.parent / "other"})
