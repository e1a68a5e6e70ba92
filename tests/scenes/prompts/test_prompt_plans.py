"""Which sentences can be shown, and the groups that are drawn for them; nothing is rendered."""

import json
import random

import pytest

from ablate2tune.errors import UserError
from ablate2tune.scenes.assets.asset_catalogue import assets_module
from ablate2tune.scenes.prompts.prompt_plans import Plan, plan, plans_of
from ablate2tune.scenes.prompts.prompted import sample_prompt_group
from ablate2tune.scenes.scenes_config import ScenesConfig

PROMPTS = [
    "a dog sitting on top of a car",
    "a person in front of a building",
    "a cup underneath a shelf",
    "a green ball between a chair and a bench",
]


def config(**changes):
    usual = {
        "world": "natural", "prompts": PROMPTS, "images": 16, "holdout": 0.0,
        "environments": ["room", "lawn"], "colours": list(assets_module().COLOURS),
    }  # fmt: skip
    return ScenesConfig.model_validate({**usual, **changes})


@pytest.mark.parametrize(
    "text, relation, contrasts",
    [
        # A car on a dog is no scene, so the dog is shown elsewhere.
        ("a dog sitting on top of a car", "on top of", {"in front of", "left of", "next to"}),
        ("a ball underneath a table", "underneath", {"on top of"}),
        ("a bird flying over a house", "above", set()),
        ("a cat left of a chair", "left of", {"right of"}),
        # Beside the stem.
        ("a cat behind a tree", "behind", {"in front of"}),
        ("a cat on a bench", "on top of", {"in front of", "behind"}),
        ("a man next to a woman", "next to", {"in front of", "behind"}),
        # A puppy on a fireplace is no contrast but a joke.
        ("a puppy next to a fireplace", "next to", {"in front of"}),
    ],
)
def test_a_contrast_is_the_usual_one_if_it_is_possible(text, relation, contrasts):
    found = plan(text)
    assert isinstance(found, Plan), found
    assert found.relation == relation and contrasts <= set(found.contrasts)
    if len(contrasts) < 2:
        assert found.contrasts == tuple(contrasts)


@pytest.mark.parametrize(
    "text, why",
    [
        ("a car on top of a cat", "nothing can stand on a cat"),
        (
            "a house inside a box",
            "too large to fit|nothing fits into a box|times smaller",
        ),
        ("a cup in front of a house", "a cup is .* times smaller than a house"),
        ("a dog above a car", "a dog cannot hang in the air"),
        ("a cat behind a kitten", "two of a kind .cat. cannot be told apart"),
        ("a dog behind a house", "a house hides a dog that is behind it"),
        ("a dog behind a fireplace", "nothing is behind a fireplace, which stands against a wall"),
        ("a bird on a tree", "nothing can stand on a tree"),
        ("a person underneath a chair", "too large to fit below a chair|no room below it"),
    ],
)
def test_why_a_sentence_cannot_be_shown(text, why):
    import re

    found = plan(text)
    assert isinstance(found, str) and re.search(why, found), found


def test_what_cannot_be_shown_is_told_and_the_rest_goes_on():
    plans, refused = plans_of(config(prompts=["a car on top of a cat", *PROMPTS[:1]]))
    assert [p.prompt.text for p in plans] == PROMPTS[:1]
    assert refused == {"a car on top of a cat": "nothing can stand on a cat"}
    with pytest.raises(UserError, match=r"none of the sentences can be shown: 'a cat.*unknown"):
        plans_of(config(prompts=["a cat behind a zebra"]))
    with pytest.raises(UserError) as error:
        plans_of(config(prompts=[f"a cat behind zebra {number}" for number in range(300)]))
    assert str(error.value).endswith("; and 297 more") and len(str(error.value)) < 800


def test_a_red_ball_shows_no_other_colour_where_a_plain_one_can_be_shown():
    looks = [plan(f"a red ball {rest}") for rest in ("on a box", "between a chair and a bench")]
    # Beside furniture the smooth one is too small.
    assert [part.prompt.things[0].variants == ("smooth",) for part in looks] == [True, False]


def test_a_file_of_sentences(tmp_path, monkeypatch):
    (tmp_path / "some.txt").write_text("a cat left of a chair\n\n  a ball in a box \n")
    held = config(prompts=str(tmp_path / "some.txt"))
    assert held.prompts == ["a cat left of a chair", "a ball in a box"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config(prompts="~/some.txt").prompts == held.prompts
    (tmp_path / "notepad.txt").write_bytes(
        b"\xef\xbb\xbfa cat left of a chair\r\n\r\na ball in a box"
    )
    assert config(prompts=str(tmp_path / "notepad.txt")).prompts == held.prompts
    with pytest.raises(ValueError, match=r"none\.txt cannot be read"):
        config(prompts=str(tmp_path / "none.txt"))
    with pytest.raises(ValueError, match=r"a cat left of a chair cannot be read .* as a list"):
        config(prompts="a cat left of a chair")
    with pytest.raises(ValueError, match="prompts need world: natural"):
        config(world="plain", environments=["plain"], colours=["red", "blue"])


def test_no_sentence_is_not_taken_for_no_prompts(tmp_path):
    """Else scenes of drawn objects are rendered instead."""
    (tmp_path / "blank.txt").write_text("\n  \n")
    for given in (str(tmp_path / "blank.txt"), ["", "  "], ""):
        with pytest.raises(ValueError, match="prompts"):
            config(prompts=given)
    assert config(prompts=[]).prompts == []


def test_without_a_contrast_both_pictures_show_the_sentence():
    alone = config(prompts=["a bird flying over a house"])
    one, two = (t["record"] for t in sample_prompt_group(alone, 3, 0, 0, "train")["twins"])
    assert one["prompt"] == two["prompt"] and one["relation"] == two["relation"] == "above"
    assert one["foil"] == one["text"].replace("above", "below")


@pytest.fixture(scope="module")
def groups():
    return [sample_prompt_group(config(), 3, k, 0, "train") for k in range(8)]


def test_sentences_take_turns_and_a_group_follows_from_its_arguments(groups):
    assert [g["twins"][0]["record"]["prompt"] for g in groups] == PROMPTS * 2
    assert sample_prompt_group(config(), 3, 5, 0, "train") == groups[5]
    assert json.loads(json.dumps(groups[5])) == groups[5]
    assert sample_prompt_group(config(), 3, 5, 1, "train") != groups[5]


def test_one_picture_shows_the_sentence_and_the_other_its_contrast(groups):
    for group in groups:
        one, two = (twin["record"] for twin in group["twins"])
        assert (one["contrast"], two["contrast"]) == (two["relation"], one["relation"])
        assert one["foil"] == two["text"] and two["foil"] == one["text"]
        assert one.keys() == two.keys() and two["prompt"] == ""
    dog = groups[0]["twins"]
    assert dog[0]["places"]["a"]["on"] == "b" and dog[1]["places"]["a"]["on"] is None
    assert groups[0]["objects"]["a"]["pose"] == "sitting"


def test_a_large_thing_may_be_cut_off_by_the_frame_of_a_small_one(groups):
    focus = groups[2]["twins"][0]["camera"]["focus"]
    assert focus["on"] == "a" and focus["margin"] > 0
    assert "focus" not in groups[3]["twins"][0]["camera"]


def test_things_stand_where_they_belong(groups):
    assert {g["environment"] for g in groups[::4]} == {"lawn"}
    assert {g["environment"] for g in groups[2::4]} == {"room"}


def test_a_bird_flies_before_the_sky_and_what_else_is_aloft_hangs_indoors():
    drawn = {}
    for text in ("a bird flying over a house", "a ball above a cube"):
        held = config(prompts=[text], environments=["street", "garden", "lawn", "room"])
        drawn[text] = [sample_prompt_group(held, 3, k, 0, "train") for k in range(4)]
    bird, ball = drawn.values()
    assert {g["environment"] for g in bird} == {"lawn"}
    assert {g["environment"] for g in ball} == {"room"}
    assert ["hung" in twin for g in bird for twin in g["twins"]] == [False] * 8
    assert [twin["hung"] for twin in ball[0]["twins"]] == [["a"], ["b"]]


def test_colours_are_the_sentences_own_or_of_the_split(groups):
    assert all(g["objects"]["a"]["colour"] == "green" for g in groups[3::4])
    held = config(holdout=0.5, test_images=16)
    draws = random.Random(1).sample(range(8), 3)
    train, test = ({(r["subject_colour"], r["subject"], r["object_colour"], r["object"])
                    for k in draws
                    for r in [sample_prompt_group(held, 3, k, 0, split)["twins"][0]["record"]]}
                   for split in ("train", "test"))  # fmt: skip
    assert not train & test
