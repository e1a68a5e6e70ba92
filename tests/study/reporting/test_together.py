"""The best of a grid, interactions, the law of sizes and surprises, on made-up cells."""

import json

import pytest

from ablate2tune.study.experiment import EXPERIMENTS
from ablate2tune.study.reporting.summary import summarise
from ablate2tune.study.reporting.together import (
    add_best_of_grid,
    interactions,
    size_law,
    surprises,
)
from ablate2tune.study.study_config import StudyConfig

GPT = EXPERIMENTS["small-gpt"]
NORM, PLACE, RATE, LAYERS = "gpt.norm", "gpt.position", "gpt.learning_rate", "gpt.layers"
CONFIG = StudyConfig.model_validate(
    {
        "experiment": "small-gpt",
        "arms": {},
        "seeds": [1, 2],
        "axes": {NORM: ["rmsnorm"], PLACE: ["post"], RATE: [1, 4], LAYERS: [1, 4, 8]},
        "cross": [[NORM, PLACE]],
        "grid": RATE,
    }
)
RMS, POST = {NORM: "rmsnorm"}, {PLACE: "post"}
BOTH = {**RMS, **POST}
LOSSES = {  # by seed, at the recipe's rate, 2, and at 1 and 4
    None: ({}, (2.0, 2.1), (2.2, 2.2), (1.9, 1.9)),
    "rms": (RMS, (1.9, 2.1), (1.7, 1.8), (2.5, 2.5)),
    "post": (POST, (2.5, 2.5), (2.2, 2.4), None),
    "both": (BOTH, (2.6, 2.8), (2.7, 2.7), (2.8, 2.8)),
}


def cell(axis: dict, seed: int, loss: float | None, size: int = 100) -> dict:
    name = ", ".join(f"{key}={json.dumps(value)}" for key, value in axis.items()) or "baseline"
    row = {"setting": name, "arm": None, "budget": None, "axis": axis, "seed": seed, "draw": 0}
    if loss is None:
        return {**row, "status": "diverged"}
    return {**row, "status": "done", "validation_loss": loss, GPT.size: size}


def rows() -> list[dict]:
    found = []
    for axis, *at_rates in LOSSES.values():
        for rate, losses in zip((2, 1, 4), at_rates, strict=True):
            change = axis if rate == 2 else {**axis, RATE: rate}
            found += [cell(change, s, losses and losses[s - 1]) for s in (1, 2)]
    return found


def test_each_setting_is_told_at_its_best_of_the_grid():
    entries = summarise(rows(), GPT, CONFIG)
    add_best_of_grid(entries, rows(), GPT, CONFIG, 2)
    found = {entry["setting"]: entry for entry in entries}
    tuned = {name: e["tuned"] for name, e in found.items() if "tuned" in e}
    assert [tuned[n]["value"] for n in ("baseline", 'gpt.norm="rmsnorm"')] == [4, 1]
    assert all(tuned[n]["edge"] for n in ("baseline", 'gpt.norm="rmsnorm"'))
    # What diverges at 4 has 1 and 2 left.
    assert tuned['gpt.position="post"']["value"] == 1
    gap = tuned['gpt.norm="rmsnorm"']["difference"]
    assert gap["value"] == pytest.approx((1.7 - 1.9 + 1.8 - 1.9) / 2)
    assert found['gpt.norm="rmsnorm"']["difference"]["value"] == pytest.approx(-0.05)
    on_grid = found['gpt.norm="rmsnorm", gpt.learning_rate=1']
    assert on_grid["on_grid"] and on_grid["label"] == "-" and "tuned" not in on_grid


def test_interactions_are_beyond_the_sum():
    (found,) = interactions(summarise(rows(), GPT, CONFIG), rows(), GPT, CONFIG)
    assert found["setting"] == 'gpt.norm="rmsnorm", gpt.position="post"'
    # 2.6 - 1.9 - 2.5 + 2.0 and 2.8 - 2.1 - 2.5 + 2.1
    assert found["beyond_the_sum"]["value"] == pytest.approx((0.2 + 0.3) / 2)
    assert found["beyond_the_sum"]["p_corrected"] == found["beyond_the_sum"]["p"]


def test_the_law_is_over_sizes_alone_and_what_goes_against_it_is_told():
    sizes = {2: 100, 1: 50, 4: 200, 8: 400}
    law = [
        cell({} if layers == 2 else {LAYERS: layers}, seed, 5 * size**-0.2, size)
        for layers, size in sizes.items()
        for seed in (1, 2)
    ]
    others = [cell(RMS, seed, 9.0) for seed in (1, 2)]
    found = size_law([*law, *others], GPT, CONFIG)
    assert found is not None and found["sizes"] == 4
    assert found["exponent"]["value"] == pytest.approx(0.2)
    for row in law:
        if row["axis"] == {LAYERS: 8}:
            row["validation_loss"] = 2.1  # worse than the baseline's 1.99 in every seed
    lines = surprises(summarise([*law, *others], GPT, CONFIG), GPT)
    assert lines == ["gpt.layers=8: 4 times the size of the baseline, and hurts"]
