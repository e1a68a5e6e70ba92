"""`ablate2tune run recipes/flux1-dev.yaml` to its end, with tiny random models in place of its own:
once without a judge, then with the recipe's zero-shot judge, which reads the same pictures."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_detectors import save_depth, save_detector

from ablate2tune import runs
from ablate2tune.cli import main
from ablate2tune.recipe import Recipe, load_recipe
from ablate2tune.scenes.layouts.scene_sampling import group_count, relation_of, split_of
from ablate2tune.scenes.rendering.resume import PICTURES, SCENE_SCHEMA, TWINS
from ablate2tune.scenes.vocabulary import OPPOSITE, caption, pair_caption

RECIPE = Path(__file__).parents[2] / "recipes" / "flux1-dev.yaml"
SMALL = [
    "name=tiny", "model.dtype=float32", "model.device=cpu", "model.height=32", "model.width=32",
    "model.max_sequence_length=16", "scenes.images=24", "scenes.test_images=4", "scenes.size=32",
    "scenes.samples=1", "scenes.objects=[ball, cube]", "scenes.colours=[red, green, blue]",
    "scenes.holdout=0.5", "localize.groups=6", "localize.calibration_groups=3",
    "localize.top_blocks=1", "localize.batch_size=12", "localize.bootstrap=100",
    "train.if_no_skill=all", "train.rank=2", "train.steps=2", "train.batch_size=2",
    "train.validation_images=2", "train.sample_prompts=1", "compare.prompts=6",
    "compare.plain_prompts=2", "compare.steps=1", "compare.calibration_images=4",
    "compare.grid_rows=2", "compare.bootstrap=100", "compare.wandb=off",
]  # fmt: skip


def write_rendered(recipe: Recipe) -> None:
    """A data set as render-data leaves it when it is done: pictures of noise, whole sidecars."""
    rng = np.random.default_rng(0)
    scenes, folder = recipe.scenes, recipe.data_folder
    for index in range(group_count(scenes)):
        first = relation_of(scenes, index)
        colour, other = (str(c) for c in rng.permutation(scenes.colours)[:2])
        for letter, relation in zip(TWINS, (first, OPPOSITE[first]), strict=True):
            name = f"g{index:06d}-{letter}"
            digests = {}
            for kind in PICTURES:
                path = folder / kind / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
                digests[kind] = hashlib.sha256(path.read_bytes()).hexdigest()
            record = {
                "file_name": f"images/{name}.png", "relation": relation, "scene_id": name,
                "text": caption(colour, "ball", relation, other, "cube"),
                "subject": "ball", "subject_colour": colour, "object": "cube",
                "object_colour": other, "seed": recipe.seed, "group_id": name[:-2],
                "foil": caption(colour, "ball", OPPOSITE[relation], other, "cube"),
                "foil_colour": caption("black", "ball", relation, other, "cube"),
                "foil_object": caption(colour, "cone", relation, other, "cube"),
                "pair_text": pair_caption(colour, "ball", other, "cube"),
                "split": split_of(scenes, index),
            }  # fmt: skip
            sidecar = {
                "schema": SCENE_SCHEMA, "scene_id": name, "attempt": 0, "sha256": digests,
                "record": record, "made_with": {"blender": "none"}, "rejections": [],
            }  # fmt: skip
            runs.write_json(folder / "sidecars" / f"{name}.json", sidecar)


def test_run_without_a_judge_and_then_with_one(
    tmp_path: Path, tiny_flux_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [
        *SMALL, f"model.path={tiny_flux_folder}", f"data={tmp_path}/data", f"runs={tmp_path}/runs"
    ]  # fmt: skip
    write_rendered(load_recipe(RECIPE, settings))
    labels = [
        f"{colour} {kind}" for colour in ("red", "green", "blue") for kind in ("ball", "cube")
    ]
    judge = [
        f"compare.judge.detector={save_detector(tmp_path / 'detector', labels)}",
        f"compare.judge.depth={save_depth(tmp_path / 'depth')}",
        "compare.judge.threshold=0.05",
    ]
    compared = tmp_path / "runs" / "tiny" / "compare"

    def run(*more: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["run", str(RECIPE), *settings, *more])
        output = capsys.readouterr()
        assert (ended.value.code or 0) == code, output.err
        return " ".join((output.err if code else output.out).split())

    # A first try that fails claims no folder: the values it advises to lower may be lowered.
    for key in ("localize.groups=999", "train.validation_images=999"):
        assert key.split("=")[0] in run("compare.judge=null", key, code=2)

    said = run("compare.judge=null")
    assert "no judge is set, so the pictures are not scored" in said
    assert "objects right" not in said and "grid: " in said[-len(str(compared)) - 40 :]
    assert not (compared / "scores.json").exists() and (compared / "grid.png").exists()
    pictures = {path: path.stat().st_mtime_ns for path in (compared / "images").rglob("*.png")}
    assert len(pictures) == 2 * (6 + 2)
    assert "no judge is set" in run("compare.judge=null"), "also when it was done before"

    said = run(*judge)
    assert "what does not depend on it is kept" in said
    assert "Judge, on 4 rendered scenes" in said
    assert "warning: the judge is often wrong" in said, "it is random, and read noise"
    assert pictures == {path: path.stat().st_mtime_ns for path in pictures}
    scores = json.loads((compared / "scores.json").read_text())
    assert scores["judge"]["kind"] == "zero-shot" and scores["prompts"] == 6

    adapter = tmp_path / "runs" / "tiny" / "train" / "adapter" / "pytorch_lora_weights.safetensors"
    whole = adapter.read_bytes()
    adapter.write_bytes(whole[:-10])
    (compared / "grid.png").unlink()
    said = run(*judge)
    assert "is not as it was written; made again" in said and "grid.png is gone; made again" in said
    assert adapter.read_bytes() == whole and (compared / "grid.png").exists()
    assert pictures == {path: path.stat().st_mtime_ns for path in pictures}

    said = run(*judge)
    assert "compare: done before" in said and "Judge, on 4 rendered scenes" in said
