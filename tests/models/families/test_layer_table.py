"""A table per layer from a folder of pairs alone, by the command, on a small PixArt-alpha.

What Diffusion-Transformer-Ablations publishes for the real one: self-attention, cross-attention and
MLP of every block zeroed in turn, CLIP score and a distance to real pictures against the layer.
"""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tiny_parts import drawn
from tiny_pipelines import FAMILIES

from ablate2tune.cli import main
from ablate2tune.models import load_denoiser
from ablate2tune.models.model_config import ModelConfig

SIZE = 32
(PIXART,) = [family for family in FAMILIES if family.name == "PixArtAlphaPipeline"]


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["localize", *words])
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_clip_folder, make_pairs):
    torch.manual_seed(0)
    pipe = PIXART.build()
    drawn(pipe.transformer)
    folder = tmp_path_factory.mktemp("pixart")
    pipe.save_pretrained(folder / "model")
    settings = {
        "name": "layers",
        "seed": 3,
        "runs": str(folder / "runs"),
        "data": str(folder / "nothing-was-rendered"),
        "model": {
            "path": str(folder / "model"), "device": "cpu", "height": SIZE, "width": SIZE,
            "max_sequence_length": PIXART.tokens,
        },
        "localize": {
            "probe": "generate",
            "mode": "zero",
            "bootstrap": 50,
            "generate": {
                "pairs": str(make_pairs(6)), "pair_count": 4, "steps": 2, "sublayers": "all",
                "clip": str(tiny_clip_folder), "fid": "off",
            },
        },
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_every_layer_s_attentions_and_mlp(recipe, capsys):
    assert run(str(recipe)) == 0
    out = capsys.readouterr().out
    assert "pictures drawn without a component" in out
    assert "FID was not measured; for it: pip install 'ablate2tune[fid]'" in out.replace("\n", " ")
    folder = recipe.parent / "runs" / "layers" / "localize"
    rows = list(csv.DictReader((folder / "ranking.csv").open(encoding="utf-8")))
    assert [row["address"] for row in rows[:1]] == ["(baseline)"]
    kinds = ("attn1", "attn2", "ff")
    expected = {f"transformer_blocks.{i}{end}" for i in (0, 1) for end in
                ("", *(f".{kind}" for kind in kinds))}  # fmt: skip
    assert {row["address"] for row in rows[1:]} == expected
    base = float(rows[0]["frechet_clip_value"])
    for row in rows[1:]:
        risen = float(row["frechet_clip_value"]) - base
        assert float(row["frechet_clip"]) == pytest.approx(risen)
        assert -1 <= float(row["clip_score_value_low"]) <= float(row["clip_score_value_high"]) <= 1
    lines = json.loads((folder / "layers.json").read_text())["metrics"][0]["lines"]
    assert {line["kind"] for line in lines} == {"block", *kinds}
    assert all(len([p for p in line["points"] if p]) == 2 for line in lines)

    # A zeroed cross-attention, by hand.
    settings = yaml.safe_load(recipe.read_text())
    denoiser = load_denoiser(ModelConfig(**settings["model"]))
    results = [json.loads(x) for x in (folder / "results.jsonl").read_text().splitlines()]
    own = [r for r in results if r["condition"] == ["transformer_blocks.1.attn2"] and r["example"]]
    module = denoiser.model.get_submodule("transformer_blocks.1.attn2")
    own_forward = module.forward
    module.forward = lambda *x, **named: torch.zeros_like(own_forward(*x, **named))
    captions = {f"pair-{i:05d}-0": json.loads(line)["text"] for i, line in enumerate(
        (recipe.parent / settings["localize"]["generate"]["pairs"] / "metadata.jsonl")
        .read_text().splitlines())}  # fmt: skip
    seeds = _seeds(own)
    drawn_by_hand = denoiser.sample([captions[r["example"]] for r in own], seeds, 2)
    pictures = np.stack([np.array(Image.open(folder / r["image"])) for r in own])
    np.testing.assert_array_equal(pictures, drawn_by_hand)

    assert run(str(recipe)) == 0
    assert "done before" in capsys.readouterr().out


def _seeds(rows) -> list[int]:
    from ablate2tune.seeding import seed_for

    numbers = [int(row["group"].removeprefix("pair-")) for row in rows]
    return [seed_for(3, "generated pair", number, 0) % 2**32 for number in numbers]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("localize.generate.pairs=null", "there is nothing to measure pictures by"),
        ("localize.generate.pair_count=7", "holds 6 pairs, 7 are needed"),
        ("localize.generate.clip=/nowhere/clip", "cannot load the CLIP model"),
        ("localize.mode=resample", "cannot use mode resample while sampling"),
        ("localize.images=both", "probe = generate does not serve images"),
        ("localize.probe=margin", "no such data set"),
    ],
)
def test_bad_recipes_are_one_line(recipe, capsys, change: str, line: str):
    name = "bad-" + "".join(letter for letter in change if letter.isalnum())
    assert run(str(recipe), f"name={name}", change) == 2
    (said,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("ablate2tune:")]
    assert line in said
