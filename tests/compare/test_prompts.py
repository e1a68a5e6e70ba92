from collections import Counter

import pytest
from placing import place

from ablate2tune.compare.prompts import (
    JUDGED,
    plain_prompts,
    relation_prompts,
    trained_pairs,
    unjudged_relations,
)
from ablate2tune.compare.relation_reading import read_relation
from ablate2tune.errors import UserError
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import KINDS, RELATIONS, is_holdout


def test_relation_prompts_are_held_out_unique_and_even():
    prompts = relation_prompts(ScenesConfig(), 100, seed=0)
    assert len({prompt.text for prompt in prompts}) == 100
    counts = Counter(prompt.relation for prompt in prompts)
    assert set(counts) == set(RELATIONS) and set(counts.values()) == {16, 17}
    for position, prompt in enumerate(prompts):
        assert prompt.index == position
        assert is_holdout(prompt.subject_label, prompt.object_label, 0.1)
        assert prompt.subject_colour != prompt.object_colour
    assert len({prompt.relation for prompt in prompts[:12]}) >= 3, "relations are shuffled"


def test_text_says_what_the_fields_say():
    prompt = relation_prompts(ScenesConfig(), 6, seed=0)[0]
    subject, object_ = prompt.text.split(f" {prompt.relation} ")
    assert subject.split()[1:] == [prompt.subject_colour, prompt.subject]
    assert object_.split()[1:] == [prompt.object_colour, prompt.object]
    plain = plain_prompts(ScenesConfig(), 6, seed=0)[0]
    assert plain.relation is None
    assert plain.text.split(" and ")[0].endswith(plain.subject_label)
    assert plain.text.split(" and ")[1].endswith(plain.object_label)


def test_no_prompt_asks_for_what_a_training_picture_shows(make_records):
    # The data set was rendered with another hold-out than the recipe states now.
    train, test = make_records(12), make_records(12, split="test")
    shown = {frozenset((r.text.split(" ")[1], r.text.split(" ")[-2])) for r in train}
    pairs = trained_pairs([*train, *test])
    assert len(pairs) <= 12 and all(
        {label.split()[0] for label in pair} in shown for pair in pairs
    ), "the training split's alone"
    scenes = ScenesConfig(objects=list(KINDS), holdout=0.9)
    blind = relation_prompts(scenes, 12_000, 0)
    asked = {frozenset((p.subject_label, p.object_label)) for p in blind}
    assert asked & pairs, "the recipe's hold-out says nothing of what was rendered"
    for prompts in (
        relation_prompts(scenes, 12_000, 0, pairs), plain_prompts(scenes, 2_000, 0, pairs)
    ):  # fmt: skip
        asked = {frozenset((p.subject_label, p.object_label)) for p in prompts}
        assert asked and not asked & pairs
    none = relation_prompts(ScenesConfig(), 100, 0, {frozenset(("red ball", "pink mist"))})
    assert none == relation_prompts(ScenesConfig(), 100, 0), "the others stay as they are"


def test_prompts_follow_the_seed(few_words):
    assert relation_prompts(few_words, 20, 1) == relation_prompts(few_words, 20, 1)
    assert relation_prompts(few_words, 20, 1) != relation_prompts(few_words, 20, 2)
    assert plain_prompts(few_words, 20, 1) != plain_prompts(few_words, 20, 2)


def test_every_held_out_pair_can_be_used_but_not_more(few_words):
    # 6 things, each with 4 of another colour: 24 ordered pairs, 6 relations.
    assert len({p.text for p in relation_prompts(few_words, 144, 0)}) == 144
    with pytest.raises(UserError, match=r"24 held-out pairs .* = 144 .* at scenes\.holdout = 1"):
        relation_prompts(few_words, 145, 0)
    assert len({p.text for p in plain_prompts(few_words, 24, 0)}) == 24
    with pytest.raises(UserError, match="25 prompts were asked for, but there are 24"):
        plain_prompts(few_words, 25, 0)


def test_no_held_out_pair_at_all():
    with pytest.raises(UserError, match="0 held-out pairs"):
        relation_prompts(ScenesConfig(holdout=0.0), 6, 0)


def natural(**changes) -> ScenesConfig:
    usual = {
        "world": "natural", "objects": ["cat", "person", "table", "tree", "house"],
        "relations": ["left of", "right of", "on top of", "underneath"],
        "colours": ["black", "white", "red", "green", "brown"], "holdout": 0.5,
    }  # fmt: skip
    return ScenesConfig.model_validate({**usual, **changes})


def test_prompts_of_a_natural_world_ask_for_what_its_scenes_may_show():
    prompts = relation_prompts(natural(), 32, 0)
    assert Counter(p.relation for p in prompts) == dict.fromkeys(natural().relations, 8)
    # A cat fits onto and under a table; nothing else of these does.
    stacked = {(p.subject, p.object) for p in prompts if p.relation in ("on top of", "underneath")}
    assert stacked == {("cat", "table")}
    texts = {p.text for p in prompts} | {p.text for p in plain_prompts(natural(), 40, 0)}
    people = [text for text in texts if "person" in text]
    assert people and all("person in " in text for text in people), "as captions say it"
    for prompt in prompts:
        assert "brown house" not in prompt.labels and "red cat" not in prompt.labels
        assert is_holdout(*prompt.labels, 0.5)


def test_prompts_of_sentences_ask_for_their_things_in_other_colours():
    asked = natural(prompts=["a cat under a table", "a bird in a bowl"], objects=["all"])
    prompts = relation_prompts(asked, 5, 0)
    assert {(p.subject, p.relation, p.object) for p in prompts} == {("cat", "underneath", "table")}
    assert unjudged_relations(asked) == ["inside"]


def test_a_relation_that_no_image_tells_is_left_out_and_alone_refused():
    some = natural(relations=["left of", "right of", "inside", "next to"])
    assert {p.relation for p in relation_prompts(some, 8, 0)} == {"left of", "right of"}
    assert unjudged_relations(some) == ["inside", "next to"]
    none = natural(relations=["inside", "next to"])
    message = r"scenes.relations: compare cannot judge inside, next to: .* it reads left of, .*"
    with pytest.raises(UserError, match=message):
        relation_prompts(none, 4, 0)
    with pytest.raises(UserError, match=r"scenes\.frame = both: compare reads .* viewer"):
        relation_prompts(natural(frame="both"), 4, 0)


def test_every_relation_that_counts_as_judged_is_read():
    sides = place("a", 0, 20, 20, 40, 5.0), place("b", 40, 20, 60, 40, 5.0)
    depth = place("a", 20, 30, 40, 50, 4.0), place("b", 20, 15, 40, 35, 6.0)
    height = place("a", 20, 5, 40, 25, 4.9), place("b", 20, 25, 40, 45, 5.0)
    read = {read_relation(*p[::step]) for p in (sides, depth, height) for step in (1, -1)}
    assert read == set(JUDGED)
