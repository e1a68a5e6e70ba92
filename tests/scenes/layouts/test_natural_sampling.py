"""Groups of catalogue objects as they are proposed, without Blender."""

import json
from collections import Counter

import pytest

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import assets_module, catalogue
from ablate2tune.scenes.layouts import layout, projected
from ablate2tune.scenes.layouts.geometry import FARTHEST
from ablate2tune.scenes.layouts.natural import sample_natural_group
from ablate2tune.scenes.layouts.scene_sampling import split_of
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.shapes.shapes import shape as shape_at
from ablate2tune.scenes.vocabulary import CONTRAST, is_holdout

CONFIG = ScenesConfig(
    world="natural",
    objects=["all"],
    relations=list(CONTRAST),
    colours=list(assets_module().COLOURS),
    environments=["room", "lawn"],
    bystanders=2,
    images=156,
    test_images=26,
)


@pytest.fixture(scope="module")
def groups():
    return [sample_natural_group(CONFIG, 3, i, 0, split_of(CONFIG, i)) for i in range(91)]


def records(groups):
    return [twin["record"] for group in groups for twin in group["twins"]]


def test_a_group_follows_from_its_arguments(groups):
    assert sample_natural_group(CONFIG, 3, 7, 0, "train") == groups[7]
    assert json.loads(json.dumps(groups[7])) == groups[7]
    assert sample_natural_group(CONFIG, 4, 7, 0, "train") != groups[7]


def test_every_relation_is_as_frequent_as_its_contrast(groups):
    for split, each in (("train", 12), ("test", 2)):
        counts = Counter(r["relation"] for r in records(groups) if r["split"] == split)
        assert counts == dict.fromkeys(CONTRAST, each)


def test_twins_show_the_same_things_and_contrasting_relations(groups):
    for group in groups:
        one, two = records([group])
        assert two["relation"] == CONTRAST[one["relation"]]
        assert one["foil"] == two["text"] or one["relation"] == "next to"
        assert sorted((one["subject"], one["object"], one["third"])) == sorted(
            (two["subject"], two["object"], two["third"])
        )
        assert set(group["twins"][0]["places"]) == set(group["twins"][1]["places"])
        assert one.keys() == two.keys()


def test_no_foil_is_the_caption(groups):
    for record in records(groups):
        foils = [record[k] for k in ("foil", "foil_swapped", "foil_colour", "foil_object")]
        assert record["text"] not in foils
        assert all(foils) and record["foil_colour"] != record["foil_object"]


def test_nothing_in_the_picture_makes_a_foil_true(groups):
    for group in groups:
        kinds = {o["kind"] for o in group["objects"].values()}
        for twin in group["twins"]:
            record, named = twin["record"], group["objects"][twin["subject"]]
            true, false = record["text"].split(), record["foil_object"].split()
            changed = set(false) - set(true) - {"a", "an", "in"}
            assert not changed & kinds
            assert named["colour"] == record["subject_colour"]
        assert len(kinds) == len(group["objects"])


def test_splits_share_no_pair(groups):
    for record in records(groups):
        if record["relation"] == "between":  # the pair that decides is the group's first two
            continue
        pair = [f"{record[f'{role}_colour']} {record[role]}" for role in ("subject", "object")]
        assert is_holdout(*pair, CONFIG.holdout) == (record["split"] == "test")


def test_objects_are_what_the_catalogue_has(groups):
    for group in groups:
        for made in group["objects"].values():
            asset = catalogue()[made["kind"]]
            assert made["variant"] in asset.variants and made["pose"] in asset.poses
            assert made["colour"] in asset.colours
            if made["pose"] in asset.flies:
                assert {t["relation"] for t in group["twins"]} == {"above", "below"}


def test_what_is_in_the_air_and_does_not_fly_hangs_below_a_ceiling(groups):
    aloft = [g for g in groups if g["twins"][0]["relation"] in ("above", "below")]
    assert aloft
    for group in aloft:
        assert group["environment"] == "room"
        for twin in group["twins"]:
            upper = twin["subject"] if twin["relation"] == "above" else twin["object"]
            flies = group["objects"][upper]["pose"] == "flying"
            assert twin.get("hung", []) == ([] if flies else [upper])
    for group in groups:
        if group not in aloft:
            assert not any("hung" in twin for twin in group["twins"])


def test_what_is_put_somewhere_is_of_a_size_of_its_kind(groups):
    fitted = 0
    for group in groups:
        one = group["twins"][0]
        if one["relation"] in ("on top of", "underneath", "inside", "next to"):
            small, large = (group["objects"][one[role]]["scale"] for role in ("subject", "object"))
            # Under 1 in most pairs; what is exchanged keeps its size in life ** 0.85.
            assert 0.55 < small / large < 1.65
            fitted += 1
    assert fitted > 20


def test_bystanders_belong_with_what_is_named():
    config = CONFIG.model_copy(update={"environments": ["plain"]})
    seen = 0
    for index in range(52):
        group = sample_natural_group(config, 5, index, 0, "train")
        kinds = [made["kind"] for made in group["objects"].values()]
        seen += any(key.startswith("bystander") for key in group["objects"])
        assert set.intersection(*(set(catalogue()[kind].places) for kind in kinds)), kinds
    assert seen > 10


def test_no_wall_keeps_the_sun_out(groups):
    for group in groups:
        if group["wall"] is not None:
            assert abs(group["light"]["sun_azimuth"]) <= 65


def test_nothing_is_behind_what_stands_at_a_wall(groups):
    for record in records(groups):
        if record["relation"] in ("in front of", "behind"):
            assert not {record["subject"], record["object"]} & {"fireplace"}


def shape(kind, variant, exponent=1.0):
    return shape_at(kind, variant, "standing", exponent)


def test_sizes_relate_as_in_life():
    car, cup = shape("car", "saloon"), shape("cup", "mug")
    assert car.size == pytest.approx(4.23, abs=0.01) and car.natural == car.size
    small, smaller = shape("car", "saloon", 0.5), shape("cup", "mug", 0.5)
    assert small.size == pytest.approx(4.23**0.5, abs=0.01)
    assert small.size / smaller.size == pytest.approx((car.size / cup.size) ** 0.5)
    assert small.natural == pytest.approx(car.size)


def test_a_turned_footprint():
    bench = shape("bench", "plain").turned(90.0)  # 1.3 m wide; legs 9 cm thick at y = +-19 cm
    assert (bench.across, bench.along) == pytest.approx((0.19 + 0.045, 0.65))


@pytest.mark.parametrize(
    "relation, first, second, fits",
    [
        ("inside", ("ball", "football"), ("box", "open"), True),
        ("inside", ("ball", "football"), ("box", "taped"), False),
        ("inside", ("house", "barn"), ("box", "open"), False),
        ("underneath", ("cube", "die"), ("table", "dining"), True),
        ("underneath", ("fireplace", "brick"), ("bench", "park"), False),
        ("underneath", ("cube", "sharp"), ("cylinder", "flat"), True),
        ("on top of", ("cube", "sharp"), ("ball", "smooth"), False),
        ("above", ("ball", "smooth"), ("cube", "sharp"), True),
        ("above", ("chair", "ladder"), ("cube", "sharp"), False),
        ("left of", ("cup", "mug"), ("house", "barn"), False),
    ],
)
def test_what_can_show_a_relation(relation, first, second, fits):
    shapes = [shape(*first), shape(*second)]
    assert layout.suits(relation, shapes) == fits


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"objects": ["catt"]}, "unknown object 'catt'.*cat"),
        ({"relations": ["above"]}, "'above' needs its opposite 'below'"),
        (
            {
                "world": "plain",
                "environments": ["plain"],
                "objects": ["ball"],
                "relations": ["above"],
            },
            "unknown relation 'above'",
        ),
        ({"world": "plain", "environments": ["plain"], "objects": ["cat"]}, "unknown object 'cat'"),
        ({"world": "plain"}, "need world: natural"),
        ({"environments": ["moon"]}, "environments"),
        ({"preset": "huge"}, "preset"),
        ({"size": 3}, "greater than or equal to 4"),  # Blender would make 4 of it
        ({"size": 65537}, "less than or equal to 65536"),
        ({"samples": 2**24 + 1}, "less than or equal to 16777216"),
        ({"colours": ["red", "red"]}, "colours: at least two are needed"),
    ],
)
def test_what_a_recipe_may_not_say(changes, message):
    values = {"world": "natural", "objects": ["cat", "chair"], "environments": ["lawn"]}
    with pytest.raises(ValueError, match=message):
        ScenesConfig(**{**values, **changes})


def test_a_preset_sets_size_and_samples_unless_given():
    assert (ScenesConfig(preset="train512").size, ScenesConfig(preset="train512").samples) == (
        512,
        64,
    )
    assert ScenesConfig(preset="train512", samples=16).samples == 16


def test_objects_that_cannot_show_a_relation():
    config = CONFIG.model_copy(update={"objects": ["cat", "tree"]})
    index = list(CONTRAST).index("inside")
    with pytest.raises(UserError, match="found no objects that can be shown 'inside' one another"):
        sample_natural_group(config, 1, index, 0, "train")


def test_depth_maps_reach_to_what_stands_in_depth():
    config = CONFIG.model_copy(update={"relations": ["in front of", "behind"], "images": 80})
    for index in range(40):
        group = sample_natural_group(config, 3, index, 0, "train")
        outlines = [
            {key: projected.outline(group, twin, key) for key in twin["places"]}
            for twin in group["twins"]
        ]
        for camera, twin, points in zip(
            projected._cameras(group, outlines), group["twins"], outlines, strict=True
        ):
            for key in (twin["subject"], twin["object"]):
                depths = (points[key] @ camera.axes.T - camera.place)[:, 2]
                assert depths.min() > 0 and depths.max() < FARTHEST
