import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image
from placing import LABELS
from safetensors.torch import load_file, save_file
from tiny_detectors import tiny_judge

from ablate2tune.ablation.interventions import Ablation, ablated
from ablate2tune.compare.arms import Arm
from ablate2tune.compare.compare import compare
from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.compare.judges import load_judge
from ablate2tune.compare.shown import Shown, read_shown
from ablate2tune.errors import UserError
from ablate2tune.models import WEIGHTS, Denoiser, load_denoiser
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.scenes_config import ScenesConfig

SEED = 5


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
    return settings(judge_folder)


def settings(judge: Path) -> CompareConfig:
    return CompareConfig(
        prompts=6, plain_prompts=3, seeds=2, steps=2, judge=judge, calibration_images=4,
        grid_rows=2, batch_size=4, bootstrap=200,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def stamps(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.png")}


class Comparison:
    """The same comparison, as often as wanted, in a folder of its own."""

    def __init__(self, denoiser: Denoiser, adapter: Path, records: list[SceneRecord], folder: Path):
        self.denoiser, self.records, self.folder = denoiser, records, folder
        self.arms = [Arm("before"), Arm("after", adapter)]
        self.scenes = ScenesConfig(
            objects=["ball", "cube"], colours=["red", "green", "blue"], holdout=1.0
        )

    def run(self, config: CompareConfig, on_progress=None, model="m") -> dict[str, list[Shown]]:
        return compare(
            self.denoiser, self.arms, self.scenes, self.records, config, SEED, self.folder,
            model=model, on_progress=on_progress,
        )  # fmt: skip


@pytest.fixture
def comparison(tiny_flux, adapter, records, tmp_path) -> Comparison:
    return Comparison(tiny_flux, adapter, records, tmp_path / "compare")


@pytest.fixture(scope="session")
def whole(tmp_path_factory, tiny_flux_config, adapter, records, judge_folder):
    """One uninterrupted comparison, its pictures, and the progress it reported."""
    folder, progress = tmp_path_factory.mktemp("whole"), []
    comparison = Comparison(load_denoiser(tiny_flux_config), adapter, records, folder)
    shown = comparison.run(settings(judge_folder), lambda *at: progress.append(at))
    return comparison, shown, progress


def test_pictures_verdicts_and_readings(whole):
    comparison, shown, progress = whole
    assert progress == [(n, 36) for n in (4, 8, 12, 16, 18, 22, 26, 30, 34, 36)]
    assert list(shown) == ["before", "after"]
    for arm, pictures in shown.items():
        assert len(pictures) == (6 + 3) * 2
        for one in pictures:
            assert one.path.parent == comparison.folder / "images" / arm
            with Image.open(one.path) as image:
                assert image.size == (32, 32)
                assert image.info["ablate2tune"] == one.picture, "it says what it is"
            assert 0 <= one.seed < 2**32
            assert one.verdict is not None and one.detections is not None
    early, late = shown.values()
    assert [(a.prompt, a.seed) for a in early] == [(a.prompt, a.seed) for a in late]
    assert len({one.picture for one in [*early, *late]}) == 36
    assert read_shown(comparison.folder) == shown
    readings = (comparison.folder / "calibration.jsonl").read_text().splitlines()
    assert [json.loads(line)["scene"] for line in readings] != [] and len(readings) == 4
    about = json.loads((comparison.folder / "compared.json").read_text())
    assert about["arms"]["before"]["adapter"] is None and about["judge"]["kind"] == "trained"


def test_the_adapter_changes_pictures_and_leaves_the_base_as_it_was(whole, tiny_flux):
    comparison, shown, _ = whole
    pairs = zip(shown["before"], shown["after"], strict=True)
    assert all((a.pixels() != b.pixels()).any() for a, b in pairs)
    used = comparison.denoiser.model.parameters()
    for fresh, base in zip(tiny_flux.model.parameters(), used, strict=True):
        assert torch.equal(fresh, base)


def test_a_stock_script_makes_the_same_pictures(whole, tiny_flux_folder, adapter):
    one = whole[1]["after"][0]
    pipe = FluxPipeline.from_pretrained(tiny_flux_folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(adapter)
    made = pipe(
        one.prompt.text, height=32, width=32, num_inference_steps=2, max_sequence_length=16,
        guidance_scale=3.5, generator=torch.Generator().manual_seed(one.seed), output_type="np",
    ).images[0]  # fmt: skip
    off = np.abs(one.pixels().astype(float) - 255 * made)
    assert off.max() < 1.1, "rounding, and a last bit from the batch's size"


def stop_at(number: int):
    def stop(done, total):
        if done == number:
            raise KeyboardInterrupt

    return stop


def test_interrupted_and_resumed_equals_uninterrupted(whole, comparison, config):
    with pytest.raises(KeyboardInterrupt):
        comparison.run(config, stop_at(26))
    assert not (comparison.folder / "verdicts.jsonl").exists()
    before = comparison.folder / "images" / "before"
    torn = before / "relation-0001-1.png"
    torn.write_bytes(torn.read_bytes()[:-30])
    (before / "relation-0005-0.png").unlink()
    (before / ".relation-0005-0.png.123.tmp").write_bytes(b"half")
    kept = before / "relation-0002-0.png"
    stamp = kept.stat().st_mtime_ns
    comparison.run(config)
    assert contents(comparison.folder) == contents(whole[0].folder)
    assert kept.stat().st_mtime_ns == stamp, "a whole batch is not made again"


@pytest.mark.parametrize("judged", [True, False])
def test_pictures_of_other_prompts_are_never_judged(whole, comparison, config, judged):
    # 18 pictures of an arm were there when the job was killed, then the relations changed: the file
    # names are the same, and most prompts are not.
    scenes, comparison.scenes = (
        comparison.scenes,
        comparison.scenes.model_copy(update={"relations": ["left of", "right of"]}),
    )
    if judged:
        with pytest.raises(KeyboardInterrupt):
            comparison.run(config, stop_at(18))
    else:
        comparison.run(config.model_copy(update={"judge": None}))
    comparison.scenes = scenes
    assert comparison.run(config)["before"] == [
        replace(one, path=comparison.folder / one.path.relative_to(whole[0].folder))
        for one in whole[1]["before"]
    ]
    assert contents(comparison.folder) == contents(whole[0].folder)


def test_a_picture_belongs_to_its_model_sampler_and_adapter(comparison, config, adapter, tmp_path):
    unjudged = config.model_copy(update={"judge": None})
    first = comparison.run(unjudged)
    kept = stamps(comparison.folder)
    assert comparison.run(unjudged) == first and stamps(comparison.folder) == kept
    other = tmp_path / "other"
    other.mkdir()
    weights = load_file(adapter / WEIGHTS)
    save_file({name: 2 * tensor for name, tensor in weights.items()}, other / WEIGHTS)
    comparison.arms[1] = Arm("after", other)
    second = comparison.run(unjudged)
    assert second["before"] == first["before"]
    changed = {name for name, stamp in stamps(comparison.folder).items() if kept[name] != stamp}
    assert changed == {name for name in kept if "/after/" in name}, "the other arm's are kept"
    for again in (
        comparison.run(unjudged, model="another model"),
        comparison.run(unjudged.model_copy(update={"steps": 1})),
    ):
        pictures = {one.picture for shown in again.values() for one in shown}
        assert not pictures & {one.picture for shown in second.values() for one in shown}
        assert all(now != kept[name] for name, now in stamps(comparison.folder).items())


def test_without_a_judge_there_are_pictures_alone(whole, comparison, config):
    unjudged = config.model_copy(update={"judge": None})
    shown = comparison.run(unjudged)
    assert contents(comparison.folder / "images") == contents(whole[0].folder / "images")
    assert all(one.verdict is None is one.detections for arm in shown.values() for one in arm)
    assert {p.name for p in comparison.folder.iterdir()} == {
        "images", "verdicts.jsonl", "compared.json",
    }  # fmt: skip
    assert read_shown(comparison.folder) == shown
    kept = stamps(comparison.folder)
    assert comparison.run(config)["after"][3].verdict == whole[1]["after"][3].verdict
    assert stamps(comparison.folder) == kept, "a judge reads what is there"


class Counting:
    """A judge that counts what it reads."""

    def __init__(self, judge):
        self.judge, self.read, self.labels = judge, 0, judge.labels

    def describe(self):
        return self.judge.describe()

    def detect(self, images, batch_size=64):
        self.read += len(images)
        return self.judge.detect(images, batch_size)


def test_what_was_read_is_not_read_again(comparison, config, judge_folder, monkeypatch):
    counting = Counting(load_judge(judge_folder))
    monkeypatch.setattr("ablate2tune.compare.compare.load_judge", lambda *_: counting)
    first = comparison.run(config)
    assert counting.read == 4 + 2 * 18
    again = config.model_copy(update={"grid_rows": 1, "confidence": 0.8, "bootstrap": 50})
    assert comparison.run(again) == first and counting.read == 40, "verdicts stand"
    comparison.arms.append(Arm("skipped", ablations=(Ablation("transformer_blocks.1", "skip"),)))
    more = comparison.run(again)
    assert counting.read == 40 + 18, "an arm that is added is read alone"
    assert {arm: more[arm] for arm in first} == first


@pytest.mark.parametrize("name", ["verdicts.jsonl", "calibration.jsonl"])
def test_rows_that_were_edited_are_made_again(whole, comparison, config, name):
    comparison.run(config)
    path = comparison.folder / name
    text = path.read_text()
    path.write_text(text.replace('"extra": 0', '"extra": 3').replace("true", "false"))
    assert path.read_text() != text
    comparison.run(config)
    assert path.read_text() == text
    path.write_text(text[:40] + "\n" + text)
    comparison.run(config)
    assert contents(comparison.folder) == contents(whole[0].folder)


def test_arms_with_ablations(comparison, config, adapter):
    block = (Ablation("transformer_blocks.1", "skip"),)
    comparison.arms = [
        Arm("base"), Arm("skipped", None, block), Arm("both", adapter, block), Arm("tuned", adapter)
    ]  # fmt: skip
    shown = comparison.run(config.model_copy(update={"judge": None, "seeds": 1}))
    assert list(shown) == ["base", "skipped", "both", "tuned"]
    kept = stamps(comparison.folder)
    assert comparison.run(config.model_copy(update={"judge": None, "seeds": 1})) == shown
    assert stamps(comparison.folder) == kept, "an ablation has nothing to do"
    pixels = [np.stack([one.pixels() for one in arm[:4]]) for arm in shown.values()]
    for number, one in enumerate(pixels):
        assert all((one != other).any() for other in pixels[:number])
    with ablated(comparison.denoiser.model, block):
        first = shown["skipped"][:4]
        made = comparison.denoiser.sample(
            [x.prompt.text for x in first], [x.seed for x in first], 2
        )
    assert (pixels[1] == made).all()


def test_a_zero_shot_judge_reads_the_pictures_that_are_there(whole, comparison, config, tmp_path):
    comparison.run(config)
    kept = stamps(comparison.folder)
    judge = tiny_judge(tmp_path / "judge", LABELS, threshold=0.05, batch_size=3)
    shown = comparison.run(config.model_copy(update={"judge": judge}))
    assert stamps(comparison.folder) == kept
    about = json.loads((comparison.folder / "compared.json").read_text())
    assert about["judge"]["kind"] == "zero-shot"
    found = [detection for arm in shown.values() for one in arm for detection in one.detections]
    assert found and all(d["label"] in LABELS for d in found)
    assert all(d["runner_up"]["label"] != d["label"] for d in found)
    for left, top, right, bottom in (detection["box"] for detection in found):
        assert 0 <= left < right <= 32 and 0 <= top < bottom <= 32


def test_bad_input(comparison, config, tmp_path):
    def refused(words: str, records=None, scenes=None, arm=None, **changed):
        other = Comparison(
            comparison.denoiser, tmp_path, comparison.records if records is None else records,
            tmp_path / "out",
        )  # fmt: skip
        other.arms = [arm or Arm("before")]
        other.scenes = scenes or other.scenes
        with pytest.raises(UserError, match=words):
            other.run(CompareConfig(**{**config.model_dump(), **changed}))
        assert not (tmp_path / "out").exists(), "refused before any picture"

    refused("no adapter to compare in the arm 'a'", arm=Arm("a", tmp_path))
    refused("no such judge", judge=tmp_path / "absent")
    refused("held-out pairs", prompts=200)
    refused("no rendered test scenes", records=[])
    black = comparison.scenes.model_copy(update={"colours": ["red", "black"]})
    refused("the judge does not know 'black ", scenes=black)
    refused("transformer_blocks.9", arm=Arm("a", None, (Ablation("transformer_blocks.9", "skip"),)))
    needs = Arm("a", None, (Ablation("transformer_blocks.0.attn", "mean"),))
    refused("needs calibrated means", arm=needs)
    mixes = Arm("a", None, (Ablation("transformer_blocks.0.attn", "resample"),))
    refused("'resample' is not made for sampled pictures; use one of .*zero", arm=mixes)


def test_adapters_that_do_not_fit(comparison, config, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    name = "transformer.transformer_blocks.{}.attn.to_q.lora_{}.weight"
    good = {name.format(0, "A"): torch.zeros(2, 32), name.format(0, "B"): torch.zeros(32, 2)}
    lacking = {name.format(9, "A"): torch.zeros(2, 32), name.format(9, "B"): torch.zeros(32, 2)}
    comparison.arms[1] = Arm("after", other)
    for weights, words in (
        ({**good, **lacking}, "lacks: 1, transformer_blocks.9.attn.to_q"),
        ({**good, name.format(0, "A"): torch.zeros(2, 48)}, "takes 48 channels"),
    ):
        save_file(weights, other / WEIGHTS)
        with pytest.raises(UserError, match=words):
            comparison.run(config)
    (other / WEIGHTS).write_bytes(b"torn")
    with pytest.raises(UserError, match="damaged"):
        comparison.run(config)
    assert not comparison.folder.exists(), "refused before any picture"
    assert not getattr(comparison.denoiser.model, "peft_config", None), "nothing is left behind"
