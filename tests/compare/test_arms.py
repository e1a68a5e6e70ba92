import json
import struct
from pathlib import Path

import pytest

from ablate2tune.compare.arms import Arm, arms_of, check_files, doubts
from ablate2tune.compare.compare_config import ArmConfig, CompareConfig
from ablate2tune.models import WEIGHTS

NOTE = {
    "base": "content 0123456789abcdef", "rank": 4, "targets": ["a.to_q"], "seed": 1,
    "height": 64, "width": 64,
}  # fmt: skip


def noted(folder: Path, **changed) -> Path:
    """An adapter's file without weights, whose header says what it was trained on."""
    header = {"__metadata__": {"ablate2tune": json.dumps({**NOTE, **changed})}}
    data = json.dumps(header).encode()
    folder.mkdir(exist_ok=True)
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(data)) + data)
    return folder


def test_the_default_arms_are_before_and_after(tmp_path):
    assert arms_of(CompareConfig().arms, tmp_path) == [Arm("before"), Arm("after", tmp_path)]
    assert CompareConfig().reference_arm == "before"


def test_arms_as_a_recipe_writes_them(tmp_path):
    config = CompareConfig.model_validate(
        {"arms": {"a": None, "b": {"adapter": "x/y"}, "c": {"ablate": ["m[heads=1,2]=zero"]}},
         "reference": "b"}
    )  # fmt: skip
    plain, other, ablated = arms_of(config.arms, tmp_path)
    assert config.reference_arm == "b" and plain == Arm("a") and other == Arm("b", Path("x/y"))
    (one,) = ablated.ablations
    assert (one.address, one.mode) == ("m[heads=1,2]", "zero")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"arms": {}}, "at least 1"),
        ({"arms": {"../x": None}}, "match pattern"),
        ({"arms": {"a": {"ablate": ["transformer_blocks.3"]}}}, "is not ADDRESS=MODE"),
        ({"arms": {"a": {"adaptor": "x"}}}, "adaptor"),
        ({"arms": {"a": {"acts_above": 0.5}}}, "acts_above is of an adapter"),
        ({"arms": {"first": None}, "reference": "frist"}, "did you mean 'first'"),
    ],
)
def test_arms_that_are_refused(written, words):
    with pytest.raises(ValueError, match=words):
        CompareConfig.model_validate(written)


def test_content_is_what_the_arm_does_not_what_it_is_called(tmp_path):
    one, same, other = (
        Arm(name, noted(tmp_path / name, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one.content == same.content != other.content
    left_on = Arm("a", one.adapter, acts_above=0.0)
    assert one.content.items() < left_on.content.items() and left_on.content["acts_above"] == 0
    (written,) = arms_of({"d": ArmConfig(ablate=["x=skip"])}, tmp_path)
    assert written.content == {"adapter": None, "ablate": ["x=skip"]} != Arm("d").content


def test_what_an_arm_is_tells_what_its_adapter_was_trained_on(tmp_path):
    told = Arm("a", noted(tmp_path / "a", rank=8)).about()
    assert told["trained_on"] == {**NOTE, "rank": 8, "acts_above": 0.0}
    assert told["ablate"] == []
    assert Arm("b").about()["trained_on"] is None


def test_content_of_an_adapter_in_pefts_form_is_weights_and_strength(tmp_path):
    """alpha stands in adapter_config.json: with another one it is another adapter."""
    found = []
    for name, alpha in (("a", 4), ("b", 4), ("c", 8)):
        (noted(tmp_path / name) / WEIGHTS).rename(tmp_path / name / "adapter_model.safetensors")
        (tmp_path / name / "adapter_config.json").write_text(f'{{"lora_alpha": {alpha}}}')
        arm = Arm(name, tmp_path / name)
        check_files([arm])
        found.append(arm.content["adapter"])
    assert found[0] == found[1] != found[2]


def test_what_an_adapter_was_trained_on_is_held_against_the_recipe(tmp_path):
    def lines(folder: Path, own: Path, **changed) -> list[str]:
        size = changed.pop("size", (64, 64))
        base = changed.pop("base", NOTE["base"])
        said = {"seed": 1, "rank": 4, **changed}
        return doubts([Arm("before"), Arm("after", folder)], base, size, own, said)

    adapter = noted(tmp_path / "a")
    assert lines(adapter, adapter) == []
    assert lines(adapter, tmp_path, seed=2, rank=8) == [], "another run's may have its own"
    (rank,) = lines(adapter, adapter, rank=8)
    assert rank == "warning: the adapter of arm 'after' was trained with rank 4, the recipe says 8"
    (seed,) = lines(adapter, adapter, seed=2)
    assert "with seed 1, the recipe says 2" in seed
    (base,) = lines(adapter, tmp_path, base="content 9")
    assert "on another base model" in base
    (size,) = lines(adapter, tmp_path, size=(128, 96))
    assert "at 64 x 64 pixels, the pictures are 128 x 96" in size
