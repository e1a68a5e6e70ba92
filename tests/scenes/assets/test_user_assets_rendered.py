"""Models and environment maps of the user's own, brought in by Blender and seen by its camera."""

import json

import numpy as np
import pytest
from own_files import add, box, glb, hdr

from ablate2tune.errors import UserError
from ablate2tune.scenes.checking.evidence import check_captions
from ablate2tune.scenes.dataset.records import load_images, load_masks, read_dataset
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig

CONFIG = {
    "world": "natural", "images": 8, "size": 48, "samples": 2, "workers": 1, "holdout": 0.0,
    "relations": ["left of", "right of"], "environments": ["dusk"], "max_attempts": 200,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("blender")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A red kiosk and a green one in one colour each, a bollard that is painted, and a red sky."""
    folder = tmp_path_factory.mktemp("own")
    common = {"licence": "CC0-1.0", "floats": False}
    # 0.6 wide, 1.2 high, 0.3 deep (glTF: y up), in two parts, far from the file's origin.
    halves = [
        box(60, 60, 30, at=(500, 70, 40), mesh=1),
        {"children": [2], "translation": [500, 130, 40]},
        box(60, 60, 30, mesh=1),
    ]
    scenes = [{"nodes": [0, 1]}]
    data = glb(halves, [(0.7, 0.01, 0.01)], scenes=scenes)
    add(folder, "kiosk.glb", data, **common, size=1.2, unit=0.01, colours=["red"], front="-y")
    paint = glb([box(0.5, 0.5, 0.5, mesh=1)], [(0.5, 0.5, 0.5)])
    add(folder, "bollard.glb", paint, **common, size=0.5, colours=["blue", "green"],
        painted="paint 1")  # fmt: skip
    add(folder, "dusk.hdr", hdr(16, top=(1.0, 0.1, 0.05)), licence="CC-BY-4.0")
    return folder


@pytest.fixture(scope="module")
def rendered(folder, tmp_path_factory):
    config = ScenesConfig.model_validate(
        {**CONFIG, "assets": folder, "objects": ["kiosk", "bollard"]}
    )
    out = tmp_path_factory.mktemp("set") / "set"
    try:
        render_dataset(config, 4, out)
    except UserError as error:
        if "no numpy" in str(error):
            pytest.skip(str(error))
        raise
    return read_dataset(out)


def test_captions_are_proved_from_depth_and_masks(rendered):
    for scene in check_captions(rendered).scenes:
        assert scene.caption.verdict == "confirmed", scene
        assert all(foil.verdict == "contradicted" for foil in scene.foils.values()), scene


def test_models_have_their_natural_proportions(rendered):
    for record in rendered:
        objects = record.sidecar()["objects"]
        kiosk = next(o for o in objects.values() if o["kind"] == "kiosk")
        bollard = next(o for o in objects.values() if o["kind"] == "bollard")
        assert kiosk["up"][0] == pytest.approx(0, abs=1e-6)
        height = kiosk["up"][1] - kiosk["up"][0]
        assert height == pytest.approx(1.2**0.85, rel=1e-3)  # scenes.sizes: life
        turn = kiosk["yaw"]
        camera = np.array(record.sidecar()["camera"]["camera_to_world"])
        across = camera[:2, 0] @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        wide = abs(across) @ [0.6, 0.3] * kiosk["scale"]
        assert kiosk["right"][1] - kiosk["right"][0] == pytest.approx(wide, rel=1e-3)
        assert bollard["up"][1] == pytest.approx(0.5**0.85, rel=1e-3)


def test_models_have_their_own_colour_or_the_scenes(rendered):
    """Under a red sky, more green comes from what is green than from what is red or blue."""
    masks, images = load_masks(rendered), load_images(rendered).astype(float)
    seen = {}
    for record, mask, image in zip(rendered, masks, images, strict=True):
        note = record.sidecar()
        for label, made in note["objects"].items():
            pixels = image[mask == note["mask_values"][label]]
            seen.setdefault(made["colour"], []).append(pixels.mean(axis=0))
    red, green, blue = (np.mean(seen[c], axis=0) for c in ("red", "green", "blue"))
    assert red[0] > 3 * red[1] and green[1] > 2 * red[1] and blue[2] > red[2]


def test_the_environment_map_is_the_sky_and_the_light(rendered):
    backgrounds = []
    for mask, image in zip(load_masks(rendered), load_images(rendered).astype(float), strict=True):
        backgrounds.append(image[mask == 0].mean(axis=0))
    red, green, blue = np.mean(backgrounds, axis=0)
    assert red > 60 and red > 1.5 * green > 1.5 * blue - 1e-9


def test_licences_are_copied_into_the_data_set(rendered, folder):
    held = json.loads((rendered[0].folder / "dataset.json").read_text())
    assert {name: note["licence"] for name, note in held["files"].items()} == {
        "kiosk.glb": "CC0-1.0", "bollard.glb": "CC0-1.0", "dusk.hdr": "CC-BY-4.0",
    }  # fmt: skip
    card = (rendered[0].folder / "README.md").read_text()
    assert "| dusk.hdr | CC-BY-4.0 | - | - |" in card
    assert rendered[0].sidecar()["sky_turn"] == rendered[1].sidecar()["sky_turn"]


def test_a_changed_file_is_another_data_set(rendered, folder):
    config = ScenesConfig.model_validate(
        {**CONFIG, "assets": folder, "objects": ["kiosk", "bollard"]}
    )
    held = (folder / "dusk.hdr").read_bytes()
    (folder / "dusk.hdr").write_bytes(held + b" ")
    with pytest.raises(UserError, match=r"holds another data set: files\.dusk\.hdr\.sha256 was"):
        render_dataset(config, 4, rendered[0].folder)
    (folder / "dusk.hdr").write_bytes(held)
