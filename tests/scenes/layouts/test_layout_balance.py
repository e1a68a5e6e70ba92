"""What sizes and the place in the frame tell of a relation, over many proposed groups.

The boxes are those of each object's bounding block, seen by a pinhole camera of this file's own; no
Blender, and nothing of what the worker measures.
"""

import math
from collections import Counter

import numpy as np
import pytest

from ablate2tune.scenes.assets.asset_catalogue import assets_module
from ablate2tune.scenes.checking.priors import LAYOUT
from ablate2tune.scenes.layouts import layout
from ablate2tune.scenes.layouts.natural import sample_natural_group
from ablate2tune.scenes.scenes_config import ScenesConfig

GROUPS = 80
RELATIONS = {
    "left of": "right of", "in front of": "behind", "on top of": "underneath", "above": "below",
    "inside": "next to", "near": "far from",
}  # fmt: skip


def block(group, twin, key):
    """Corners of an object's bounding block in the world: (8, 3), metres."""
    made, place = group["objects"][key], twin["places"][key]
    half_x, half_y, height = layout._extents(made["kind"], None, made["variant"], made["pose"])
    x, y, z = np.meshgrid([-half_x, half_x], [-half_y, half_y], [0.0, height])
    c, s = math.cos(math.radians(made["yaw"])), math.sin(math.radians(made["yaw"]))
    scale = made["scale"] * place.get("growth", 1.0)
    points = np.stack([c * x - s * y, s * x + c * y, z], axis=-1).reshape(8, 3) * scale
    points += [place["x"], place["y"], place["lift"]]
    if place["on"] and twin["relation"] not in ("inside",):
        on = group["objects"][place["on"]]
        below = layout._extents(on["kind"], None, on["variant"], on["pose"])[2] * on["scale"]
        points[:, 2] += below
    return points


def boxes(group):
    """Each twin's boxes of subject and object (left, top, right, bottom; frame fractions)."""
    spec = group["camera"]
    e, a = math.radians(spec["elevation"]), math.radians(spec["azimuth"])
    forward = np.array([-math.sin(a) * math.cos(e), math.cos(a) * math.cos(e), -math.sin(e)])
    right = np.array([math.cos(a), math.sin(a), 0.0])
    axes = np.stack([right, -np.cross(right, forward), forward])
    blocks = [[block(group, twin, twin[role]) @ axes.T for role in ("subject", "object")]
              for twin in group["twins"]]  # fmt: skip
    every = np.concatenate([points for twin in blocks for points in twin])
    zoom, place, distance = spec["lens"] / 36, np.zeros(3), 8.0

    def seen(points):
        moved = points - place
        return zoom * moved[:, :2] / moved[:, 2:]

    for _ in range(20):
        place[2] = -distance
        low, high = seen(every).min(axis=0), seen(every).max(axis=0)
        place[:2] += distance / zoom * ((low + high) / 2 - spec["offset"])
        distance *= max(high - low) / spec["fill"]
    return [
        [np.concatenate([seen(p).min(axis=0), seen(p).max(axis=0)]) + 0.5 for p in twin]
        for twin in blocks
    ]


def features(relations, objects, frame):
    """Per relation pair: the twins' features, (groups, 2 twins, 4), the first relation first."""
    pairs = {relation: RELATIONS[relation] for relation in relations}
    config = ScenesConfig(world="natural", objects=objects, relations=[*pairs, *pairs.values()],
                          colours=list(assets_module().COLOURS), environments=["lawn"],
                          images=2 * len(pairs) * GROUPS, holdout=0.0, frame=frame)  # fmt: skip
    found = {relation: [] for relation in pairs}
    for index in range(len(pairs) * GROUPS):
        group = sample_natural_group(config, 7, index, 0, "train")
        rows = {}
        for twin, pair in zip(group["twins"], boxes(group), strict=True):
            areas = [math.log((b[2] - b[0]) * (b[3] - b[1])) for b in pair]
            low, high = (f(pair[0], pair[1]) for f in (np.minimum, np.maximum))
            rows[twin["relation"]] = [*areas, *((low[:2] + high[2:]) / 2)]
        (relation,) = rows.keys() & pairs.keys()
        found[relation].append([rows[relation], rows[RELATIONS[relation]]])
    return {relation: np.array(rows) for relation, rows in found.items()}


@pytest.fixture(scope="module")
def scenes():
    return features(RELATIONS, ["all"], "camera")


@pytest.fixture(scope="module")
def scenes_by_front():
    """Only objects that show their front alone have one, so that left is often to the right."""
    objects = ["fireplace", "house", "shelf", "ball", "cube", "cone", "box", "lamp", "bottle"]
    return features(["left of", "in front of"], objects, "object")


def test_as_many_groups_of_every_pair(scenes, scenes_by_front):
    assert Counter(map(len, scenes.values())) == {GROUPS: 6}
    assert Counter(map(len, scenes_by_front.values())) == {GROUPS: 2}


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_size_and_no_place_in_the_frame_tells_a_relation(scenes, relation):
    # One camera for both twins: furniture with a thing on it reaches higher.
    skipped = ["place down"] if relation == "on top of" else []
    nothing_tells(scenes[relation], skipped)


@pytest.mark.parametrize("relation", ["left of", "in front of"])
def test_nor_one_by_an_objects_own_front(scenes_by_front, relation):
    nothing_tells(scenes_by_front[relation])


def nothing_tells(twins, skipped=()):
    """The chance that a scene has more of a feature than one of the contrast is near one half."""
    for number, name in enumerate(LAYOUT):
        if name in skipped:
            continue
        one, two = twins[:, 0, number], twins[:, 1, number]
        more = (one[:, None] > two[None]).mean() + 0.5 * (one[:, None] == two[None]).mean()
        # The standard deviation of this share over so many independent scenes is 0.046.
        assert more == pytest.approx(0.5, abs=0.12), f"{name}: {more:.2f}"
        middle = np.median(np.concatenate([one, two]))
        spread = np.abs(one - middle), np.abs(two - middle)
        wider = (spread[0][:, None] > spread[1][None]).mean()
        assert wider == pytest.approx(0.5, abs=0.12), f"spread of {name}: {wider:.2f}"
