"""What sizes and the place in the frame tell of a relation, over many proposed groups.

The boxes are those of each object's shape (`layouts.projected`); no Blender, and nothing of what
the worker measures.
"""

import math
from collections import Counter

import numpy as np
import pytest

from ablate2tune.scenes.assets.asset_catalogue import assets_module
from ablate2tune.scenes.checking.priors import LAYOUT
from ablate2tune.scenes.checking.single_cues import CueScene, cue_check
from ablate2tune.scenes.layouts.natural import sample_natural_group
from ablate2tune.scenes.layouts.projected import projected_boxes
from ablate2tune.scenes.scenes_config import ScenesConfig

GROUPS = 80
RELATIONS = {
    "left of": "right of", "in front of": "behind", "on top of": "underneath", "above": "below",
    "inside": "next to", "near": "far from",
}  # fmt: skip


def features(relations, objects, frame):
    """Per relation pair: the twins' features, (groups, 2 twins, 4), the first relation first."""
    pairs = {relation: RELATIONS[relation] for relation in relations}
    config = ScenesConfig(world="natural", objects=objects, relations=[*pairs, *pairs.values()],
                          colours=list(assets_module().COLOURS), environments=["lawn"],
                          images=2 * len(pairs) * GROUPS, holdout=0.0, frame=frame,
                          perspective="corrected")  # fmt: skip
    found = {relation: [] for relation in pairs}
    for index in range(len(pairs) * GROUPS):
        group = sample_natural_group(config, 7, index, 0, "train")
        rows = {}
        for twin, boxes in zip(group["twins"], projected_boxes(group), strict=True):
            pair = [boxes[twin["subject"]], boxes[twin["object"]]]
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
    nothing_tells(scenes[relation])


@pytest.mark.parametrize("relation", ["left of", "in front of"])
def test_nor_one_by_an_objects_own_front(scenes_by_front, relation):
    nothing_tells(scenes_by_front[relation])


def nothing_tells(twins):
    """The chance that a scene has more of a feature than one of the contrast is near one half."""
    for number, name in enumerate(LAYOUT):
        one, two = twins[:, 0, number], twins[:, 1, number]
        more = (one[:, None] > two[None]).mean() + 0.5 * (one[:, None] == two[None]).mean()
        # The standard deviation of this share over so many independent scenes is 0.046.
        assert more == pytest.approx(0.5, abs=0.12), f"{name}: {more:.2f}"
        middle = np.median(np.concatenate([one, two]))
        spread = np.abs(one - middle), np.abs(two - middle)
        wider = (spread[0][:, None] > spread[1][None]).mean()
        assert wider == pytest.approx(0.5, abs=0.12), f"spread of {name}: {wider:.2f}"


GROUPS_IN_DEPTH = 40


def test_neither_height_nor_side_tells_what_is_nearer():
    """With sizes as in life; on level ground alone the lower one would always be the nearer."""
    config = ScenesConfig(world="natural", objects=["all"], relations=["in front of", "behind"],
                          colours=list(assets_module().COLOURS), environments=["lawn"],
                          images=2 * GROUPS_IN_DEPTH, holdout=0.0)  # fmt: skip
    scenes, nearer = [], []
    for index in range(GROUPS_IN_DEPTH):
        group = sample_natural_group(config, 3, index, 0, "train")
        for twin, boxes in zip(group["twins"], projected_boxes(group), strict=True):
            one, two = (boxes[twin[role]] for role in ("subject", "object"))
            scenes.append(CueScene(group["group_id"], twin["relation"], one, two, ("red", "blue")))
            near, far = (one, two) if twin["relation"] == "in front of" else (two, one)
            middles = [(box[0] + box[2]) / 2 for box in (near, far)]
            nearer.append((near[3] > far[3], middles[0] > middles[1]))
    # Half of the groups go either way. Places come from blocks, so a few edges do not lie as
    # asked. Drawn for each group by itself, two sets of three would miss these bounds.
    for share in np.mean(nearer, axis=0):
        assert share == pytest.approx(0.5, abs=0.05)
    assert not cue_check(scenes).telling()
