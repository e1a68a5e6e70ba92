"""`ablate2tune run recipes/flux1-dev.yaml` to its end, with tiny random models in place of its own:
once without a judge, then with the recipe's zero-shot judge, which reads the same pictures."""

import json
import re
from pathlib import Path

import pytest
from rendered_set import RECIPE, SMALL, write_rendered  # type: ignore[import-not-found]
from tiny_detectors import save_depth, save_detector, save_masks

from ablate2tune.cli import main
from ablate2tune.recipe import load_recipe


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
        f"compare.judge.masks={save_masks(tmp_path / 'masks')}",
        "compare.judge.threshold=0.05",
    ]
    compared = tmp_path / "runs" / "tiny" / "compare"

    def run(*more: str, code: int = 0, command: str = "run") -> str:
        with pytest.raises(SystemExit) as ended:
            main([command, str(RECIPE), *settings, *more])
        output = capsys.readouterr()
        assert (ended.value.code or 0) == code, output.err
        return " ".join((output.err if code else output.out).split())

    # A first try that fails claims no folder: the values it advises to lower may be lowered.
    for key in ("localize.groups=999", "train.validation_images=999"):
        assert key.split("=")[0] in run("compare.judge=null", key, code=2)

    said = run("compare.judge=null")
    assert "no judge is set, so the pictures are not scored" in said
    assert "objects right" not in said
    ended = said[said.index(f"grid: {compared / 'grid.png'}") :]
    place = compared.parent / "train" / "map.png"
    assert "tuned: " in ended and f"map of the model: {place}" in ended and place.exists()
    assert re.findall(r"ablate2tune (\w+)", ended) == ["compare", "study", "run"], "to type next"
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

    # A stage that is run alone takes what earlier ones left, and says where that is not the
    # recipe's own.
    said = run(*judge, "train.steps=3", command="compare")
    assert "the run's adapter was trained with other settings: train.steps was 2, is 3" in said
    said = run("localize.mode=zero", command="train")
    assert "the ranking was made with other settings: localize.mode was 'mean', is 'zero'" in said
    assert "with other settings" not in run(command="train")
