import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image
from placing import LABELS
from tiny_detectors import tiny_judge

from ablate2tune.compare.compare import compare, read_scores
from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.errors import UserError
from ablate2tune.models import load_denoiser
from ablate2tune.scenes.dataset.records import SceneRecord

SEED = 5


@pytest.fixture(scope="session")
def adapter(tmp_path_factory, tiny_flux_folder) -> Path:
    """A LoRA made by peft alone, strong enough to change pictures."""
    folder = tmp_path_factory.mktemp("adapter")
    pipe = FluxPipeline.from_pretrained(tiny_flux_folder)
    torch.manual_seed(0)
    pipe.transformer.add_adapter(
        LoraConfig(
            r=2, lora_alpha=2, target_modules=["transformer_blocks.0.attn.to_q", "norm_out.linear"]
        )
    )
    for name, parameter in pipe.transformer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    pipe.save_lora_weights(
        folder, transformer_lora_layers=get_peft_model_state_dict(pipe.transformer)
    )
    return folder


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> list[SceneRecord]:
    """Four pictures of noise with captions: the judge's error on them is large, and known to be."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    rows = []
    for number, relation in enumerate(("left of", "right of", "behind", "in front of")):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
            folder / f"{number}.png"
        )
        rows.append(SceneRecord(
            file_name=f"{number}.png", text=f"a red ball {relation} a blue cube", relation=relation,
            subject="ball", subject_colour="red", object="cube", object_colour="blue",
            foil="-", foil_colour="-", foil_object="-", pair_text="-", scene_id=str(number),
            group_id=str(number // 2), seed=0, split="test", folder=folder,
        ))  # fmt: skip
    return rows


@pytest.fixture
def config(judge_folder) -> CompareConfig:
    return CompareConfig(
        prompts=6, plain_prompts=3, seeds=2, steps=2, judge=judge_folder, calibration_images=4,
        grid_rows=2, batch_size=4, bootstrap=200,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.fixture(scope="session")
def whole(tmp_path_factory, tiny_flux_config, adapter, records, judge_folder):
    """The folder of one uninterrupted comparison, and the progress it reported."""
    from ablate2tune.scenes.scenes_config import ScenesConfig

    folder = tmp_path_factory.mktemp("whole")
    scenes = ScenesConfig(objects=["ball", "cube"], colours=["red", "green", "blue"], holdout=1.0)
    settings = CompareConfig(
        prompts=6, plain_prompts=3, seeds=2, steps=2, judge=judge_folder, calibration_images=4,
        grid_rows=2, batch_size=4, bootstrap=200,
    )  # fmt: skip
    progress = []
    denoiser = load_denoiser(tiny_flux_config)
    scores = compare(
        denoiser, adapter, scenes, records, settings, SEED, folder, lambda *at: progress.append(at)
    )
    return folder, progress, scores, denoiser


def test_files_and_scores(whole, judge_folder):
    folder, progress, scores, _ = whole
    assert progress == [(n, 36) for n in (4, 8, 12, 16, 18, 22, 26, 30, 34, 36)]
    rows = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * (6 + 3) * 2
    for row in rows:
        with Image.open(folder / row["image"]) as image:
            assert image.size == (32, 32)
        assert 0 <= row["seed"] < 2**32
    pairs = {(r["prompt"], r["seed"]): set() for r in rows}
    for row in rows:
        pairs[row["prompt"], row["seed"]].add(row["arm"])
    assert len(pairs) == 18 and all(arms == {"before", "after"} for arms in pairs.values())

    held = json.loads((folder / "scores.json").read_text())
    assert held == json.loads(json.dumps(scores.as_dict()))
    assert read_scores(folder / "scores.json") == scores
    with pytest.raises(UserError, match="not a result of schema"):
        read_scores(judge_folder / "judge.json")
    assert held["schema"] == "ablate2tune/scores/1"
    related = [r["verdict"] for r in rows if r["arm"] == "after" and r["relation"]]
    assert held["after"]["objects"]["value"] == sum(v["objects"] for v in related) / 12
    assert held["after"]["spatial"]["n"] == 12 and held["after"]["forgetting"]["n"] == 6
    assert len(held["difference"]["per_relation"]) == 6
    assert held["judge"]["calibration"]["images"] == 4
    assert held["judge"]["calibration"]["verdict_error"]["n"] == 8
    assert (folder / "grid.png").exists()


def test_the_adapter_changes_pictures_and_leaves_the_base_as_it_was(whole, tiny_flux):
    folder, _, _, used = whole
    differing = [
        path.name
        for path in (folder / "images" / "before").iterdir()
        if path.read_bytes() != (folder / "images" / "after" / path.name).read_bytes()
    ]
    assert len(differing) == 18
    for fresh, base in zip(tiny_flux.model.parameters(), used.model.parameters(), strict=True):
        assert torch.equal(fresh, base)


def test_a_stock_script_makes_the_same_pictures(whole, tiny_flux_folder, adapter):
    folder = whole[0]
    rows = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    pipe = FluxPipeline.from_pretrained(tiny_flux_folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(adapter)
    row = next(r for r in rows if r["arm"] == "after")
    made = pipe(
        row["prompt"], height=32, width=32, num_inference_steps=2, max_sequence_length=16,
        guidance_scale=3.5, generator=torch.Generator().manual_seed(row["seed"]), output_type="np",
    ).images[0]  # fmt: skip
    held = np.asarray(Image.open(folder / row["image"])).astype(float)
    assert np.abs(held - 255 * made).max() < 1.1, "rounding, and a last bit from the batch's size"


def test_interrupted_and_resumed_equals_uninterrupted(
    whole, tmp_path, tiny_flux, adapter, few_words, records, config
):
    def stop(done, total):
        if done == 26:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(tiny_flux, adapter, few_words, records, config, SEED, tmp_path, stop)
    assert not (tmp_path / "scores.json").exists()
    before = tmp_path / "images" / "before"
    torn = before / "relation-0001-1.png"
    torn.write_bytes(torn.read_bytes()[:-30])
    (before / "relation-0005-0.png").unlink()
    (before / ".relation-0005-0.png.123.tmp").write_bytes(b"half")
    kept = before / "relation-0002-0.png"
    stamp = kept.stat().st_mtime_ns
    compare(tiny_flux, adapter, few_words, records, config, SEED, tmp_path)
    assert contents(tmp_path) == contents(whole[0])
    assert kept.stat().st_mtime_ns == stamp, "a whole batch is not made again"


def test_without_a_judge_there_are_pictures_and_a_grid_alone(
    whole, tmp_path, tiny_flux, adapter, few_words, config
):
    def stop(done, total):
        if done == 8:
            raise KeyboardInterrupt

    unjudged = config.model_copy(update={"judge": None})
    (tmp_path / "scores.json").write_text("of an earlier judge")
    with pytest.raises(KeyboardInterrupt):
        compare(tiny_flux, adapter, few_words, [], unjudged, SEED, tmp_path, stop)
    made = tmp_path / "images" / "before" / "relation-0000-0.png"
    stamp = made.stat().st_mtime_ns
    assert compare(tiny_flux, adapter, few_words, [], unjudged, SEED, tmp_path) is None
    assert made.stat().st_mtime_ns == stamp
    assert contents(tmp_path / "images") == contents(whole[0] / "images")
    assert {path.name for path in tmp_path.iterdir()} == {"images", "verdicts.jsonl", "grid.png"}
    rows = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert len(rows) == 36
    assert all(row["verdict"] is None and row["detections"] is None for row in rows)
    judged = [json.loads(s) for s in (whole[0] / "verdicts.jsonl").read_text().splitlines()]
    same = ("arm", "prompt", "relation", "seed", "image")
    assert [[row[k] for k in same] for row in rows] == [[row[k] for k in same] for row in judged]
    heights = [Image.open(folder / "grid.png").height for folder in (tmp_path, whole[0])]
    assert heights[0] < heights[1], "no marks"


def test_a_zero_shot_judge_reads_the_pictures_that_are_there(
    whole, tmp_path, tiny_flux, adapter, few_words, records, config
):
    judge = tiny_judge(tmp_path / "judge", LABELS, threshold=0.05, batch_size=3)
    settings = config.model_copy(update={"judge": judge})
    folders = tmp_path / "kept", tmp_path / "torn"
    for folder in folders:
        shutil.copytree(whole[0] / "images", folder / "images")
    (folders[1] / "images" / "after" / "relation-0001-1.png").write_bytes(b"torn")
    (folders[1] / "scores.json").write_text("of an earlier judge")
    for folder in folders:
        scores = compare(tiny_flux, adapter, few_words, records, settings, SEED, folder)
        assert scores is not None and scores == read_scores(folder / "scores.json")
        assert scores.judge["kind"] == "zero-shot"
        assert scores.judge["calibration"]["images"] == 4
    assert contents(folders[0]) == contents(folders[1])
    assert contents(folders[0] / "images") == contents(whole[0] / "images")
    rows = [json.loads(s) for s in (folders[0] / "verdicts.jsonl").read_text().splitlines()]
    found = [detection for row in rows for detection in row["detections"]]
    assert found and all(d["label"] in LABELS for d in found)
    assert all(d["runner_up"]["label"] != d["label"] for d in found)
    for left, top, right, bottom in (detection["box"] for detection in found):
        assert 0 <= left < right <= 32 and 0 <= top < bottom <= 32


def test_bad_input(tmp_path, tiny_flux, adapter, few_words, records, config):
    def run(adapter=adapter, scenes=few_words, records=records, **changed):
        settings = CompareConfig(**{**config.model_dump(), **changed})
        compare(tiny_flux, adapter, scenes, records, settings, SEED, tmp_path / "out")

    with pytest.raises(UserError, match="no such adapter"):
        run(adapter=tmp_path)
    with pytest.raises(UserError, match="no such judge"):
        run(judge=tmp_path / "absent")
    with pytest.raises(UserError, match="held-out pairs"):
        run(prompts=200)
    with pytest.raises(UserError, match="no rendered test scenes"):
        run(records=[])
    with pytest.raises(UserError, match="the judge does not know 'black "):
        run(scenes=few_words.model_copy(update={"colours": ["red", "black"]}))
    assert not (tmp_path / "out").exists(), "refused before any picture"


def test_adapters_that_do_not_fit(tmp_path, tiny_flux, adapter, few_words, records, config):
    from safetensors.torch import save_file

    other = tmp_path / "other"
    other.mkdir()
    weights = {
        "transformer.transformer_blocks.9.attn.to_q.lora_A.weight": torch.zeros(2, 32),
        "transformer.transformer_blocks.9.attn.to_q.lora_B.weight": torch.zeros(32, 2),
    }
    save_file(weights, other / "pytorch_lora_weights.safetensors")
    with pytest.raises(UserError, match=r"modules that this model lacks: 1, transformer_blocks\.9"):
        compare(tiny_flux, other, few_words, records, config, SEED, tmp_path / "out")
    (other / "pytorch_lora_weights.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="damaged adapter"):
        compare(tiny_flux, other, few_words, records, config, SEED, tmp_path / "out")
    assert not getattr(tiny_flux.model, "peft_config", None), "nothing is left behind"
