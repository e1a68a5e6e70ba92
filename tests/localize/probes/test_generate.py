"""Probe `generate` on a tiny real FLUX: pictures, rows, figures and resumption."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pixel_judge import PixelJudge  # type: ignore[import-not-found]
from pydantic import ValidationError

from ablate2tune.compare.judges.judging import Judging
from ablate2tune.compare.verdicts import give_verdict
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.disk.picture_reading import read_picture, read_pictures
from ablate2tune.errors import UserError
from ablate2tune.localize.generate.clip import Clip
from ablate2tune.localize.generate.drawn_examples import pair_examples, prompt_of, scene_examples
from ablate2tune.localize.generate.pairs import read_pairs
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.margins.caption_losses import noise_for
from ablate2tune.localize.margins.encoded_examples import split_groups
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.probes.generate_config import GenerateConfig
from ablate2tune.localize.ranking.ranking_figures import table
from ablate2tune.models import load_denoiser
from ablate2tune.scenes.vocabulary import COLOURS, caption

SEED = 11
JUDGE = Judging(PixelJudge(), None)
BLOCKS = [f"{kind}transformer_blocks.{index}" for kind in ("", "single_") for index in (0, 1)]


@pytest.fixture(scope="module")
def config(tiny_clip_folder, make_pairs) -> LocalizeConfig:
    generate = GenerateConfig(
        groups=4,
        pairs=make_pairs(7),
        pair_count=5,
        seeds=2,
        steps=2,
        batch_size=4,
        clip=str(tiny_clip_folder),
        fid="off",
    )
    return LocalizeConfig(
        probe="generate", mode="zero", top_blocks=1, bootstrap=200, generate=generate
    )


@pytest.fixture(scope="module")
def records(make_records):
    """Six groups of left of and right of, which the judge can tell."""
    changed = []
    for record in make_records(6):
        relation, opposite = ("left of", "right of")[:: 1 - 2 * int(record.scene_id[-1])]
        things = record.subject_colour, record.subject, record.object_colour, record.object
        unseen = next(colour for colour in COLOURS if colour not in things)
        texts = {
            "text": caption(*things[:2], relation, *things[2:]),
            "foil": caption(*things[:2], opposite, *things[2:]),
            "foil_colour": caption(unseen, things[1], relation, *things[2:]),
        }
        changed.append(dataclasses.replace(record, relation=relation, **texts))
    return list(scene_contrasts(changed).examples)


@pytest.fixture(scope="module")
def swept(tiny_flux_config, records, config, tmp_path_factory):
    folder, steps = tmp_path_factory.mktemp("run") / "localize", []
    ranking = localize(
        load_denoiser(tiny_flux_config), records, config, SEED, folder,
        on_progress=lambda *step: steps.append(step), judging=JUDGE,
    )  # fmt: skip
    return folder, ranking, steps


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def of(folder: Path, *condition: str) -> list[dict]:
    return [row for row in rows_of(folder) if row["condition"] == list(condition)]


def pictures(folder: Path, rows: list[dict]) -> np.ndarray:
    return np.stack([np.array(Image.open(folder / row["image"])) for row in rows])


def expected_examples(records, config):
    split = split_groups(records, config.generate.groups, 0, SEED)
    pairs = read_pairs(config.generate.pairs, 5, SEED)
    return scene_examples(split.measured, range(2), SEED), pair_examples(pairs, 2, SEED)


def test_files_rows_and_progress(swept, records, config):
    folder, ranking, progress = swept
    assert sorted(path.name for path in folder.iterdir()) == [
        *("bars.json", "bars.png", "cost.json", "heatmap.png", "identity.json", "images"),
        *("layers.json", "layers.png", "ranking.csv", "ranking.json", "results.jsonl"),
    ]
    data = json.loads((folder / "ranking.json").read_text())
    assert data == json.loads(json.dumps(ranking.data))
    assert (data["probe"], data["verdict"], data["ranked_by"]) == ("generate", "ranked", "impact")
    levels = [row["level"] for row in data["components"]]
    assert (levels.count("block"), data["left_out"]) == (4, {})
    best = min((r for r in data["components"] if r["level"] == "block"), key=lambda r: r["rank"])
    below = [row["address"] for row in data["components"] if row["level"] == "sublayer"]
    assert below
    assert all(address.startswith(best["address"] + ".") for address in below)
    # 4 groups of twins and 5 pairs, 2 seeds each.
    conditions = 1 + len(levels)
    rows = rows_of(folder)
    assert len([row for row in rows if row["example"]]) == conditions * 2 * (8 + 5)
    assert len([row for row in rows if row["example"] is None]) == conditions
    assert progress[-1] == (conditions * 26, conditions * 26)
    names = [example.name for part in expected_examples(records, config) for example in part]
    assert [row["example"] for row in of(folder)] == [*names, None]
    assert len((folder / "ranking.csv").read_text().splitlines()) == 1 + conditions
    assert min(Image.open(folder / "layers.png").size) > 300
    drawn = json.loads((folder / "layers.json").read_text())
    assert drawn["blocks"] == BLOCKS
    assert [m["name"] for m in drawn["metrics"]][-2:] == ["clip_score", "frechet_clip"]
    assert table(data).row_count == conditions
    assert any("pip install" in line for line in ranking.messages())


def test_same_prompts_and_noise_and_a_physically_cut_model(swept, tiny_flux, records, config):
    folder, _, _ = swept
    scenes, pairs = expected_examples(records, config)
    for examples in (scenes, pairs):
        batch = examples[:4]
        texts, seeds = [e.text for e in batch], [e.image_seed for e in batch]
        assert len(set(seeds)) == 4
        names = {e.name for e in batch}
        base = [row for row in of(folder) if row["example"] in names]
        whole = tiny_flux.sample(texts, seeds, 2)
        np.testing.assert_array_equal(pictures(folder, base), whole)
        skipped = [r for r in of(folder, "transformer_blocks.1") if r["example"] in names]
        block = tiny_flux.model.transformer_blocks[1]
        own = block.forward
        block.forward = lambda *_, **x: (x["encoder_hidden_states"], x["hidden_states"])
        cut = tiny_flux.sample(texts, seeds, 2)
        block.forward = own
        np.testing.assert_array_equal(pictures(folder, skipped), cut)
        assert (cut != whole).any()


def test_verdicts_and_accuracies_by_plain_counting(swept, records, config):
    folder, ranking, _ = swept
    prompts = {
        f"scene-{record.id}-{repeat}": prompt_of(record)
        for record in records
        for repeat in range(2)
    }
    right: dict[str, list] = {}
    for address in ("", *BLOCKS):
        rows = of(folder, *([address] if address else []))
        rows = [r for r in rows if r["example"] and r["target"] is not None]
        found = JUDGE.judge.detect(pictures(folder, rows))
        verdicts = [
            give_verdict(prompts[r["example"]], d) for r, d in zip(rows, found, strict=True)
        ]
        assert [r["target"] for r in rows] == [v.relation_right for v in verdicts]
        assert [r["objects"] for r in rows] == [v.objects for v in verdicts]
        right[address] = [(v.spatial, v.objects) for v in verdicts]
    base = np.array(right[""], float)
    assert 0 < base[:, 0].mean() < base[:, 1].mean()
    figures = ranking.data["baseline"]
    assert figures["target"]["value"] == pytest.approx(base[:, 0].mean())
    assert figures["relation_given_objects"]["value"] == pytest.approx(
        base[:, 0].sum() / base[:, 1].sum()
    )
    blocks = [row for row in ranking.data["components"] if row["level"] == "block"]
    for row in blocks:
        lost = base.mean(0) - np.array(right[row["address"]], float).mean(0)
        loss = row
        assert loss["target"]["value"] == pytest.approx(lost[0])
        assert loss["objects"]["value"] == pytest.approx(lost[1])
        assert loss["target"]["low"] <= loss["target"]["value"] <= loss["target"]["high"]
        relative = lost / base.mean(0)
        assert loss["specificity"] == pytest.approx(relative[0] - relative[1])
    values = [row["target"]["value"] for row in blocks]
    assert values == sorted(values, reverse=True)


def test_clip_score_and_distance_by_an_independent_route(swept, config):
    folder, ranking, _ = swept
    clip = Clip(config.generate.clip)
    pairs = read_pairs(config.generate.pairs, 5, SEED)
    real = clip.image_features([read_picture(pair.path) for pair in pairs])
    captions = {f"pair-{pair.index:05d}": pair.text for pair in pairs}

    def centred(x):
        return (x - x.mean(0)) / np.sqrt(len(x) - 1)

    for row in [{"address": "", "values": ranking.data["baseline"]}, *ranking.data["components"]]:
        rows = of(folder, *([row["address"]] if row["address"] else []))
        (far,) = [r for r in rows if r["example"] is None]
        rows = [r for r in rows if r["example"] and r["clip_score"] is not None]
        features = clip.image_features(list(pictures(folder, rows)))
        texts = clip.text_features([captions[r["group"]] for r in rows])
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features, texts)]
        np.testing.assert_allclose(
            [r["clip_score"] for r in rows], np.einsum("nc,nc->n", *unit), atol=1e-5
        )
        # The trace of the root of the product is the nuclear norm of this one.
        a, b = centred(features), centred(real)
        nuclear = np.linalg.svd(a @ b.T, compute_uv=False).sum()
        shift = features.mean(0) - real.mean(0)
        expected = shift @ shift + (a**2).sum() + (b**2).sum() - 2 * nuclear
        assert row["values"]["frechet_clip"]["value"] == pytest.approx(expected, rel=1e-5)
        assert far["frechet_clip"] == row["values"]["frechet_clip"]["value"]
    loss = ranking.data["components"][0]
    base, values = ranking.data["baseline"], loss["values"]
    assert loss["frechet_clip"]["value"] == pytest.approx(
        values["frechet_clip"]["value"] - base["frechet_clip"]["value"]
    )
    assert loss["clip_score"]["value"] == pytest.approx(
        base["clip_score"]["value"] - values["clip_score"]["value"]
    )


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("after", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_and_resumed_equals_uninterrupted(
    swept, tiny_flux, records, config, tmp_path, after: int
):
    reference, _, _ = swept
    told = 0

    def kill(done: int, total: int) -> None:
        nonlocal told
        told += 1
        if told == after:
            raise KilledError

    with pytest.raises(KilledError):
        localize(tiny_flux, records, config, SEED, tmp_path, kill, judging=JUDGE)
    rows = rows_of(tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("images/*/*.png")}
    assert len(kept) == len([row for row in rows if row["example"]]) > 0
    # As if the process had died while it wrote the last batch's pictures and a row.
    lines = (tmp_path / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_text("".join(lines[:-1]) + lines[-1][:50])
    del rows[-1]
    torn = tmp_path / [row["image"] for row in rows if row["example"]][-1]
    torn.write_bytes(torn.read_bytes()[:-30])
    (torn.parent / ".half.png.99.tmp").write_bytes(b"half")
    localize(tiny_flux, records, config, SEED, tmp_path, judging=JUDGE)
    for name in ("ranking.json", "ranking.csv", "identity.json"):
        assert (tmp_path / name).read_bytes() == (reference / name).read_bytes()

    def without_seconds(folder: Path) -> list[dict]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(folder)]

    assert without_seconds(tmp_path) == without_seconds(reference)
    by_key = {(*r["condition"], r["example"]): r.get("seconds") for r in rows_of(tmp_path)}
    assert all(by_key[(*r["condition"], r["example"])] == r.get("seconds") for r in rows)
    made_again = [path for path, when in kept.items() if path.stat().st_mtime_ns != when]
    assert torn in made_again
    assert len(made_again) <= config.generate.batch_size
    for path in reference.glob("images/*/*.png"):
        assert (tmp_path / path.relative_to(reference)).read_bytes() == path.read_bytes()
    assert not list(tmp_path.glob("images/*/.*.tmp"))


def test_another_sweep_is_refused(swept, tiny_flux, records, config):
    folder, _, _ = swept
    other = config.model_copy(update={"generate": config.generate.model_copy(update={"steps": 3})})
    with pytest.raises(UserError, match=r"results of another sweep: section\.steps was 2, is 3"):
        localize(tiny_flux, records, other, SEED, folder, judging=JUDGE)


def test_pairs_alone_rank_by_distance_without_any_scene(tiny_flux, config, tmp_path):
    generate = config.generate.model_copy(update={"seeds": 1, "sublayers": "all"})
    config = config.model_copy(update={"generate": generate})
    ranking = localize(tiny_flux, [], config, SEED, tmp_path)
    data = ranking.data
    assert (data["figure"], data["judge"]) == ("frechet_clip", None)
    assert "target" not in data["baseline"]
    rises = [row["frechet_clip"]["value"] for row in data["components"]]
    assert rises == sorted(rises, reverse=True)
    kinds = {line["kind"] for line in json.loads((tmp_path / "layers.json").read_text())[
        "metrics"][0]["lines"]}  # fmt: skip
    assert {"block", "attn", "ff", "proj_out"} <= kinds


def test_mean_mode_puts_the_calibrated_mean_at_every_step(
    tiny_flux, records, config, tmp_path, monkeypatch
):
    address = "single_transformer_blocks.1.proj_out"
    generate = config.generate.model_copy(update={"pairs": None, "groups": 4, "sublayers": "all"})
    config = config.model_copy(
        update={"generate": generate, "mode": "mean", "calibration_groups": 2, "sigmas": [0.8]}
    )
    localize(tiny_flux, records, config, SEED, tmp_path, judging=JUDGE)
    split = split_groups(records, 4, 2, SEED)
    latents = tiny_flux.encode_images(read_pictures([c.payload for c in split.calibration]))
    noise = torch.stack([noise_for(r.id, latents.shape[1:], SEED, 0, 0) for r in split.calibration])
    seen: list[torch.Tensor] = []
    module = tiny_flux.model.get_submodule(address)
    handle = module.register_forward_hook(lambda m, x, y: seen.append(y))
    with torch.no_grad():
        tiny_flux.predict(
            0.2 * latents + 0.8 * noise,
            torch.full((len(latents),), 0.8),
            tiny_flux.encode_prompts([r.text for r in split.calibration]),
            guidance=1.0,
        )
    handle.remove()
    mean = torch.cat(seen).mean(0)
    examples = scene_examples(split.measured, range(2), SEED)[:4]
    handle = module.register_forward_hook(lambda m, x, y: mean.expand_as(y))
    expected = tiny_flux.sample([e.text for e in examples], [e.image_seed for e in examples], 2)
    handle.remove()
    rows = of(tmp_path, address)[:4]
    assert [row["example"] for row in rows] == [e.name for e in examples]
    assert abs(pictures(tmp_path, rows).astype(int) - expected).max() <= 1


def test_no_right_picture_is_a_verdict(tiny_flux, records, config, tmp_path):
    generate = config.generate.model_copy(update={"pairs": None, "groups": 2})
    config = config.model_copy(update={"generate": generate})
    blind = Judging(PixelJudge(threshold=256), None)
    ranking = localize(tiny_flux, records, config, SEED, tmp_path, judging=blind)
    assert (ranking.verdict, ranking.data["components"]) == ("no skill to localize", [])
    assert ranking.data["baseline"]["target"]["value"] == 0
    assert any("right is 0.00e+00" in line for line in ranking.messages())
    assert {tuple(row["condition"]) for row in rows_of(tmp_path)} == {()}


def test_bad_input(tiny_flux, records, config, tmp_path):
    def run(records, judging, **changes):
        generate = config.generate.model_copy(update={"pairs": None, **changes})
        own = config.model_copy(update={"generate": generate})
        localize(tiny_flux, records, own, SEED, tmp_path / "run", judging=judging)

    with pytest.raises(UserError, match="nothing to measure pictures by"):
        run(records, None)
    with pytest.raises(UserError, match=r"generate.groups = 7 .* the data set has 6"):
        run(records, JUDGE, groups=7)

    def changed(**facts):
        return [
            dataclasses.replace(c, facts={**c.facts, **facts} if facts else {}) for c in records
        ]

    far = changed(relation="far from")
    with pytest.raises(UserError, match="pictures of far from cannot be judged"):
        run(far, JUDGE)
    odd = changed(subject="gnu")
    with pytest.raises(UserError, match=r"does not know '\w+ gnu'"):
        run(odd, JUDGE)
    with pytest.raises(UserError, match="nothing says which objects and which relation"):
        run(changed(), JUDGE)
    with pytest.raises(UserError, match=r"metadata.jsonl: no such file"):
        run(records, None, pairs=tmp_path)
    for wrong in (
        {"mode": "resample"}, {"rank_by": "gradient"}, {"heads": True}, {"strips": 2},
        {"tokens": ["relation"]}, {"joint": {"curves": True}},
    ):  # fmt: skip
        with pytest.raises(ValidationError, match="probe"):
            LocalizeConfig.model_validate({"probe": "generate", **wrong})


def test_a_condition_that_cannot_be_ablated_is_left_out_by_name(
    tiny_flux, records, config, tmp_path
):
    tiny_flux.model.transformer_blocks[0].extra_block = torch.nn.Linear(2, 2)
    generate = config.generate.model_copy(update={"pairs": None, "groups": 5, "sublayers": "none"})
    own = config.model_copy(update={"generate": generate})
    ranking = localize(tiny_flux, records, own, SEED, tmp_path, judging=JUDGE)
    assert "transformer_blocks.0" in ranking.data["left_out"]
    assert "transformer_blocks.0" not in {row["address"] for row in ranking.data["components"]}
    assert not (tmp_path / "images" / "skip-transformer_blocks.0").exists()
    assert Condition(("transformer_blocks.1",), "skip").mode in {
        row["mode"] for row in ranking.data["components"]
    }
