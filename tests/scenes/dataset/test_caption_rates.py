import json
from collections import Counter
from random import Random

import pytest

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.caption_rates import choose, kept_rates, possible, read_rates
from ablate2tune.scenes.dataset.export import export
from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.scenes.scenes_config import CaptionRates, ScenesConfig

ROW = {
    "relation": "on top of", "subject": "cat", "subject_colour": "orange",
    "subject_pose": "sitting", "subject_wording": "{colour} {name}", "object": "car",
    "object_colour": "blue", "object_pose": "", "object_wording": "{colour} {name}",
    "third": "", "third_colour": "", "third_pose": "", "third_wording": "",
}  # fmt: skip
DRAWS = 4000


def drawn(rates, row=ROW):
    rng = Random(5)
    return [choose(row, rates, rng) for _ in range(DRAWS)]


def test_without_rates_every_caption_is_the_plain_one():
    texts = {choice.text for choice in drawn(CaptionRates())}
    assert texts == {"an orange cat on top of a blue car"}


@pytest.mark.parametrize(
    "rates, text",
    [
        ({"dropped": 1.0}, ""),
        ({"no_relation": 1.0}, "an orange cat and a blue car"),
        ({"no_relation": 1.0, "bare": 1.0}, "a cat and a car"),
        ({"bare": 1.0}, "a cat on top of a car"),
        ({"foil": 1.0}, "an orange cat underneath a blue car"),
        ({"foil": 1.0, "bare": 1.0}, "a cat underneath a car"),
    ],
)
def test_one_kind_alone_by_hand(rates, text):
    choices = drawn(CaptionRates.model_validate(rates))
    assert {choice.text for choice in choices} == {text}
    assert all(choice.true == ("foil" not in rates) for choice in choices)


def test_rates_are_kept_and_the_marks_fit_the_words():
    rates = CaptionRates(dropped=0.1, foil=0.2, no_relation=0.3, natural=0.5, bare=0.25)
    choices = drawn(rates)
    shares = Counter()
    for choice in choices:
        if not choice.text:
            shares["dropped"] += 1
            continue
        kind = "true" if choice.true else "foil"
        shares[kind if choice.relation else "no relation"] += 1
        shares["natural"] += choice.natural
        shares["bare"] += choice.bare
        assert choice.relation == any(r in choice.text for r in ("on top of", "underneath"))
        assert choice.true != ("underneath" in choice.text)
        assert choice.bare != ("orange" in choice.text) and choice.bare != ("blue" in choice.text)
    wanted = {"dropped": 0.1, "foil": 0.2, "no relation": 0.3, "true": 0.4, "natural": 0.45,
              "bare": 0.225}  # fmt: skip
    for key, share in wanted.items():
        # Four standard deviations of a share of so many draws.
        assert shares[key] / DRAWS == pytest.approx(share, abs=4 * 0.5 / DRAWS**0.5), key
    natural = {c.text for c in choices if c.natural and c.relation and c.true and not c.bare}
    assert "an orange cat is sitting on top of a blue car" in natural and len(natural) == 6


@pytest.mark.parametrize(
    "rates, count",
    [
        ({}, 1),
        ({"natural": 1.0}, 6),
        ({"natural": 0.5}, 7),
        ({"foil": 0.5, "bare": 0.5}, 4),
        ({"foil": 0.3, "no_relation": 0.7, "natural": 1.0, "bare": 1.0}, 6 + 4),
        ({"dropped": 0.1, "foil": 0.2, "no_relation": 0.3, "natural": 0.5, "bare": 0.5}, 39),
    ],
)
def test_what_may_be_drawn_is_what_is_drawn(rates, count):
    # 39: the empty one; plain and six templates, with and without colours, true and foil; four
    # templates and the plain pair, with and without colours.
    wanted = CaptionRates.model_validate(rates)
    texts = possible(ROW, wanted)
    assert len(texts) == len(set(texts)) == count
    assert {choice.text for choice in drawn(wanted)} == set(texts)


def test_a_rate_leaves_the_other_draws_alone():
    some, more = drawn(CaptionRates(bare=0.5)), drawn(CaptionRates(bare=0.5, natural=0.5))
    assert [c.bare for c in some] == [c.bare for c in more]


def test_between_is_reversed_by_its_first_two():
    row = ROW | {"relation": "between", "third": "cube", "third_colour": "red"}
    (choice,) = set(drawn(CaptionRates(foil=1), row))
    assert choice.text == "a blue car between an orange cat and a red cube"


def test_rates_travel_with_the_set_and_its_shards(set_by_hand, tmp_path):
    rates = CaptionRates(natural=0.5, dropped=0.1)
    assert kept_rates(CaptionRates()) == {} and read_rates(set_by_hand) == CaptionRates()
    (set_by_hand / "dataset.json").write_text(json.dumps({"schema": "x", **kept_rates(rates)}))
    (set_by_hand / "sidecars").mkdir()
    for record in read_dataset(set_by_hand):
        record.sidecar_path.write_text(json.dumps({"record": record.row}))
    assert read_rates(set_by_hand) == rates
    shards = export(set_by_hand, "webdataset", tmp_path / "shards")
    assert read_rates(shards) == rates
    record = read_dataset(shards)[0]
    assert choose(record.row, rates, Random(1)) == choose(
        read_dataset(set_by_hand)[0].row, rates, Random(1)
    )


def test_rates_that_are_not_right(set_by_hand):
    (set_by_hand / "dataset.json").write_text(json.dumps({"captions": {"foil": 2}}))
    with pytest.raises(UserError, match=r"dataset.json: 'captions' is no table of caption rates"):
        read_rates(set_by_hand)
    with pytest.raises(ValueError, match=r"foil . no_relation must not exceed 1"):
        ScenesConfig.model_validate({"captions": {"dropped": 0.5, "foil": 0.4, "no_relation": 0.2}})


CHAIR = {**ROW, "relation": "behind", "object": "chair", "frame": "object"}
VIEW = "from the chair's point of view"


@pytest.mark.parametrize(
    "rates, text",
    [
        ({}, f"an orange cat behind a blue chair {VIEW}"),
        ({"bare": 1.0}, f"a cat behind a chair {VIEW}"),
        ({"foil": 1.0}, f"an orange cat in front of a blue chair {VIEW}"),
        ({"no_relation": 1.0}, "an orange cat and a blue chair"),
        ({"dropped": 1.0}, ""),
    ],
)
def test_captions_of_a_row_with_a_frame_by_hand(rates, text):
    assert {choice.text for choice in drawn(CaptionRates.model_validate(rates), CHAIR)} == {text}


@pytest.mark.parametrize("frame", ["object", "camera"])
def test_every_caption_with_a_relation_says_its_frame(frame):
    rates = CaptionRates(dropped=0.1, foil=0.2, no_relation=0.3, natural=0.5, bare=0.25)
    row, own = {**CHAIR, "frame": frame}, ("back of", "faces")
    ends = {"object": (VIEW, *own), "camera": ("as seen in the picture",)}[frame]
    choices = drawn(rates, row)
    assert {choice.text for choice in choices} == set(possible(row, rates))
    for choice in choices:
        assert any(end in choice.text for end in ends) == choice.relation, choice
    natural = [c for c in choices if c.natural and c.relation]
    by_side = sum(any(words in c.text for words in own) for c in natural) / len(natural)
    assert by_side == pytest.approx(0.5 if frame == "object" else 0, abs=0.06)
    for choice in natural:
        claims = {True: "behind", False: "in front of"}[choice.true]
        side = {True: "at the back of", False: "faces"}[choice.true]
        assert claims in choice.text or side in choice.text


def test_relations_without_directions_know_no_frame():
    row = {**ROW, "frame": "camera"}
    rates = CaptionRates(natural=0.5, bare=0.5)
    assert possible(row, rates) == possible(ROW, rates)
