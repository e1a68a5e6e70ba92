"""What frames about the smaller of two things show of the larger, without Blender."""

import pytest

from ablate2tune.scenes.prompts.prompted import sample_prompt_group
from ablate2tune.scenes.scenes_config import ScenesConfig

CONFIG = ScenesConfig(
    world="natural", prompts=["a cup under a table", "a cup under a chair"], images=80,
    holdout=0.0, environments=["room"],
)  # fmt: skip
UNDERSIDE = {"dining": 0.675, "round": 0.675, "trestle": 0.695, "painted": 0.615}
"""Height (metres) of each table less its board of 4.5 cm, by the assets' own file ..."""
SEAT = 0.46
"""... and of every chair's seat, or less."""
CUP = {"mug": 0.095, "tea cup": 0.065, "tall": 0.125, "beaker": 0.11}


@pytest.mark.parametrize("first, kind", [(0, "table"), (1, "chair")])
def test_what_a_cup_is_under_is_in_the_frame(first, kind):
    seen = 0
    for index in range(first, 40, 2):
        group = sample_prompt_group(CONFIG, 5, index, 0, "train")
        cup, other = group["objects"]["a"], group["objects"]["b"]
        assert (cup["kind"], other["kind"]) == ("cup", kind)
        for twin in group["twins"]:
            focus = twin["camera"].get("focus")
            if twin["relation"] == "underneath" and focus and focus["on"] == "a":
                shown = focus["up"] + cup["scale"] * CUP[cup["variant"]]
                assert shown >= UNDERSIDE.get(other["variant"], SEAT)
                seen += 1
    assert seen >= 10
