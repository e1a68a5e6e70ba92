"""Natural scenes, rendered small: what the captions say is checked from depth and masks alone."""

import json

import numpy as np
import pytest

from ablate2tune.scenes.checking.evidence import check_captions
from ablate2tune.scenes.dataset.records import load_depth, load_images, load_masks, read_dataset
from ablate2tune.scenes.layouts.geometry import UP, clouds, shared
from ablate2tune.scenes.layouts.natural import sample_natural_group
from ablate2tune.scenes.layouts.projected import projected_boxes
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import CONTRAST

CONFIG = {
    "world": "natural", "images": 26, "size": 48, "samples": 2, "workers": 1, "holdout": 0.0,
    "objects": ["ball", "cube", "cone", "box", "bowl", "table", "mine"], "min_area": 0.03,
    "relations": list(CONTRAST), "environments": ["room"], "max_attempts": 200,
}  # fmt: skip
MINE = """
from . import Asset, Builder
def build(b: Builder, height: float, pose: str) -> None:
    b.slab((0, 0, 0), (0.3, 0.3, height))
ASSET = Asset("mine", build, {"low": 0.2, "high": 0.3}, solid_top=True, floats=True)
"""

pytestmark = pytest.mark.usefixtures("blender")


def config_of(folder):
    return ScenesConfig.model_validate({**CONFIG, "assets": folder / "assets"})


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("natural")
    (folder / "assets").mkdir()
    (folder / "assets" / "mine.py").write_text(MINE)
    render_dataset(config_of(folder), 2, folder / "set")
    records = read_dataset(folder / "set")
    return records, load_images(records), load_masks(records), load_depth(records)


def test_every_caption_is_true_of_its_picture_and_no_foil(rendered):
    assert {record.relation for record in rendered[0]} == set(CONTRAST)
    for scene in check_captions(rendered[0]).scenes:
        assert scene.caption.verdict == "confirmed", scene
        assert all(foil.verdict == "contradicted" for foil in scene.foils.values()), scene


def test_the_wall_closes_the_room(rendered):
    _, _, masks, depths = rendered
    assert all((depth[mask == 0] > 0).all() for mask, depth in zip(masks, depths, strict=True))


def test_pictures_show_something_at_every_object(rendered):
    records, images, masks, _ = rendered
    for record, image, mask in zip(records, images.astype(float), masks, strict=True):
        labels = (1, 2, 3) if record.relation == "between" else (1, 2)
        note = json.loads(record.sidecar_path.read_text())
        stands = [note["mask_values"][k] for k in note["objects"] if k.startswith("bystander")]
        assert set(np.unique(mask)) == {0, *labels, *stands}
        assert not stands or record.relation in ("in front of", "behind")
        for label, role in zip(labels, ("subject", "object", "third"), strict=False):
            left, top, right, bottom = (48 * v for v in note["objects"][role]["box"])
            rows, columns = np.nonzero(mask == label)
            assert left <= columns.min() + 1 and columns.max() <= right
            assert top <= rows.min() + 1 and rows.max() <= bottom
            assert image[mask == label].std() > 1


def test_boxes_of_a_proposal_are_those_of_its_render(rendered):
    """By which single cues are measured without a render; the offset goes the same way, say."""
    records, *_ = rendered
    config = config_of(records[0].image_path.parents[2])
    for number, record in enumerate(records):
        note = record.sidecar()
        group = sample_natural_group(config, 2, number // 2, note["attempt"], "train")
        boxes, twin = projected_boxes(group, config.assets)[number % 2], group["twins"][number % 2]
        for role in ("subject", "object"):
            held = note["objects"][role]["box"]
            assert boxes[twin[role]] == pytest.approx(held, abs=0.05), record.scene_id


def test_seen_heights_are_those_of_the_depth_map(rendered):
    records, _, masks, depths = rendered
    checked = 0
    for record, mask, depth in zip(records, masks, depths, strict=True):
        if record.relation != "between":
            continue
        note = json.loads(record.sidecar_path.read_text())
        seen = clouds(mask, depth, note["camera"], note["mask_values"])
        height = {role: made["up"][1] - made["up"][0] for role, made in note["objects"].items()}
        overlaps = [
            shared(seen["subject"], seen[other], UP) - 0.5 * min(height["subject"], height[other])
            for other in ("object", "third")
        ]
        slack = note["slack"]["between"]["same_height_seen"]
        assert slack == pytest.approx(min(overlaps), abs=0.005)
        checked += 1
    assert checked


def test_the_sidecar_holds_all_that_is_true_and_every_slack(rendered):
    for record in rendered[0]:
        note = json.loads(record.sidecar_path.read_text())
        if record.relation != "between":
            claim = {"subject": "subject", "relation": record.relation, "object": "object"}
            assert claim in note["relations_all"]
        expected = set(CONTRAST) - (set() if record.relation == "between" else {"between"})
        assert set(note["slack"]) == expected
        assert min(note["slack"][record.relation].values()) >= 0
