"""Natural scenes, rendered small: what the captions say is checked from depth and masks alone."""

import json

import numpy as np
import pytest

from ablate2tune.recipe import ScenesConfig
from ablate2tune.scenes.dataset import load_depth, load_images, load_masks, read_dataset
from ablate2tune.scenes.render import render_dataset
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


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("natural")
    (folder / "assets").mkdir()
    (folder / "assets" / "mine.py").write_text(MINE)
    config = ScenesConfig.model_validate({**CONFIG, "assets": folder / "assets"})
    render_dataset(config, 2, folder / "set")
    records = read_dataset(folder / "set")
    return records, load_images(records), load_masks(records), load_depth(records)


def world_points(record, mask, depth, label):
    """Points (n, 3) of an object's visible surface: right, towards the back, up."""
    note = json.loads(record.sidecar_path.read_text())["camera"]
    k, pose = np.array(note["intrinsics"]), np.array(note["camera_to_world"])
    rows, columns = np.nonzero(mask == label)
    z = depth[rows, columns]
    x, y = (columns + 0.5 - k[0, 2]) / k[0, 0] * z, (rows + 0.5 - k[1, 2]) / k[1, 1] * z
    points = np.stack([x, -y, -z, np.ones_like(z)]).T @ pose.T
    ahead = -pose[:2, 2] / np.linalg.norm(pose[:2, 2])
    side = np.array([ahead[1], -ahead[0]])
    return np.stack([points[:, :2] @ side, points[:, :2] @ ahead, points[:, 2]], axis=1)


def holds(relation, a, b, c):
    """The relation by the middles and bounds of what is seen."""
    middle = [(p.min(axis=0) + p.max(axis=0)) / 2 for p in (a, b, c) if len(p)]
    right, ahead, up = middle[0] - middle[1]
    width = max(np.ptp(a[:, 0]), np.ptp(b[:, 0]))
    gap = np.hypot(*(max(0, a[:, i].min() - b[:, i].max(), b[:, i].min() - a[:, i].max())
                     for i in (0, 1)))  # fmt: skip
    return {
        "left of": right < -abs(ahead), "right of": right > abs(ahead),
        "in front of": ahead < 0, "behind": ahead > 0,
        "on top of": a[:, 2].min() > b[:, 2].min() + 0.1 * np.ptp(b[:, 2]) and up > 0,
        "underneath": a[:, 2].min() < 0.05 and up < 0,
        "above": a[:, 2].min() > b[:, 2].max(), "below": a[:, 2].max() < b[:, 2].min(),
        "inside": gap == 0 and np.hypot(right, ahead) < width / 2,
        "next to": 0 < gap < width, "near": 0 < gap < width, "far from": gap > width,
        "between": len(middle) == 3 and np.prod([middle[0][0] - m[0] for m in middle[1:]]) < 0,
    }[relation]  # fmt: skip


def test_every_relation_is_in_the_picture_and_no_reversed_caption(rendered):
    records, _, masks, depths = rendered
    assert {record.relation for record in records} == set(CONTRAST)
    for record, mask, depth in zip(records, masks, depths, strict=True):
        seen = [world_points(record, mask, depth, label) for label in (1, 2, 3)]
        assert holds(record.relation, *seen), record.text
        if record.relation not in ("between", "next to", "inside"):
            assert not holds(CONTRAST[record.relation], *seen), record.foil


def test_the_wall_closes_the_room(rendered):
    _, _, masks, depths = rendered
    assert all((depth[mask == 0] > 0).all() for mask, depth in zip(masks, depths, strict=True))


def test_pictures_show_something_at_every_object(rendered):
    records, images, masks, _ = rendered
    for record, image, mask in zip(records, images.astype(float), masks, strict=True):
        labels = (1, 2, 3) if record.relation == "between" else (1, 2)
        assert set(np.unique(mask)) == {0, *labels}
        note = json.loads(record.sidecar_path.read_text())
        for label, role in zip(labels, ("subject", "object", "third"), strict=False):
            left, top, right, bottom = (48 * v for v in note["objects"][role]["box"])
            rows, columns = np.nonzero(mask == label)
            assert left <= columns.min() + 1 and columns.max() <= right
            assert top <= rows.min() + 1 and rows.max() <= bottom
            assert image[mask == label].std() > 1


def test_the_sidecar_holds_all_that_is_true_and_every_slack(rendered):
    for record in rendered[0]:
        note = json.loads(record.sidecar_path.read_text())
        if record.relation != "between":
            claim = {"subject": "subject", "relation": record.relation, "object": "object"}
            assert claim in note["relations_all"]
        expected = set(CONTRAST) - (set() if record.relation == "between" else {"between"})
        assert set(note["slack"]) == expected
        assert min(note["slack"][record.relation].values()) >= 0
