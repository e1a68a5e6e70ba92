"""The information curve: probes against the normal equations, streams against hooks of the test's
own, and a FLUX in which one head alone carries the relation to the picture."""

import json

import numpy as np
import planted  # type: ignore[import-not-found]
import pytest
import torch
from PIL import Image
from test_localize import CONFIG, SEED  # type: ignore[import-not-found]

from ablate2tune.localize.findings.depth.caption_runs import (
    ROLE,
    SHOWN,
    STATED,
    answers,
    caption_runs,
)
from ablate2tune.localize.findings.depth.depth_curve import draw_depth, verdict
from ablate2tune.localize.findings.depth.linear_readouts import (
    DEFAULT_PENALTY,
    Task,
    read_out,
    ridge_scores,
)
from ablate2tune.localize.findings.depth.stream_features import (
    FEATURES,
    INPUT,
    Key,
    Reader,
    Reduction,
    read_streams,
)
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.margins.caption_losses import noise_for
from ablate2tune.localize.margins.encoded_examples import encode
from ablate2tune.models import FluxDenoiser, load_denoiser
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.resampling import Resampling
from ablate2tune.testbed.architecture import build_pipeline
from ablate2tune.testbed.text import word_list


def test_ridge_solves_the_normal_equations():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 5)) * [1, 10, 0.1, 3, 1] + 2
    y = np.sign(rng.normal(size=(30, 2)))
    asked = rng.normal(size=(4, 5))
    mean, spread = x.mean(0), x.std(0)
    scaled = (x - mean) / spread
    system = scaled.T @ scaled + DEFAULT_PENALTY * len(x) * np.eye(5)
    weights = np.linalg.solve(system, scaled.T @ (y - y.mean(0)))
    expected = (asked - mean) / spread @ weights + y.mean(0)
    np.testing.assert_allclose(ridge_scores(x, y, asked, None), expected)


def test_the_penalty_is_chosen_on_the_calibration_examples():
    """Their answers follow one weak direction, which only a weak penalty leaves alone."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(200, 1))
    x = common + 0.05 * rng.normal(size=(200, 20))
    y = np.sign(x[:, :1] - x[:, 1:2])
    tuning = x[150:], y[150:]
    chosen = ridge_scores(x[:100], y[:100], x[100:150], tuning, (10.0, 0.01))
    strong = ridge_scores(x[:100], y[:100], x[100:150], tuning, (10.0,))
    np.testing.assert_allclose(chosen, ridge_scores(x[:100], y[:100], x[100:150], tuning, (0.01,)))
    assert not np.allclose(chosen, strong)


def task(x, *answers) -> Task:
    return Task(x, np.stack(answers, axis=1), [str(i // 4) for i in range(len(x))])


def reading(measured: Task, calibration: Task | None = None):
    (found,) = read_out(
        measured, calibration, Clusters(measured.groups, Resampling(0, 300, 0.95)), seed=0
    )
    return found


def test_a_readable_answer_is_told_from_noise_and_from_the_names_of_groups():
    rng = np.random.default_rng(2)
    y = np.tile([1.0, -1.0, -1.0, 1.0], 40)
    noise = rng.normal(size=(160, 20))
    signal = noise + np.outer(y, np.eye(20)[7] * 3)
    found = reading(task(signal, y))
    assert found.accuracy["value"] > 0.9
    assert found.above_chance
    assert found.shuffled["mean"] == pytest.approx(0.5, abs=0.08)
    assert found.shuffled["highest"] < 0.75
    assert not reading(task(noise, y)).above_chance
    both = task(signal, -y, y)
    assert read_out(both, None, Clusters(both.groups, Resampling(0, 300, 0.95)), seed=0)[1] == found
    # Features that name the group: a twin could give its twin's answer away.
    by_group = np.repeat(np.where(rng.random(40) > 0.5, 1.0, -1.0), 4)
    codes = np.repeat(rng.normal(size=(40, 60)), 4, axis=0)
    assert reading(task(codes, by_group)).accuracy["value"] < 0.75
    # The calibration examples are never evaluated: wrong ones do not lower the accuracy.
    wrong = Task(signal, -y[:, None], [f"c{i // 4}" for i in range(160)])
    assert reading(task(signal, y), wrong).accuracy["value"] > 0.85


def test_each_picture_is_run_under_four_captions(make_contrasts):
    record, twin = make_contrasts(1)
    runs = caption_runs([record, twin])
    one, other = record.text.split(f" {record.phrase('relation')} ")
    opposite = twin.phrase("relation")
    assert {run.text for run in runs[:4]} == {
        f"{a} {relation} {b}"
        for a, b in ((one, other), (other, one))
        for relation in (record.phrase("relation"), opposite)
    }
    subject, object_ = (runs[0].text[slice(*phrase)] for phrase in runs[0].phrases)
    assert (subject, object_) == (one.split(" ", 1)[1], other.split(" ", 1)[1])
    # No question's answer can be told from another's, nor from the picture.
    told = answers(runs, (STATED, SHOWN, ROLE))
    np.testing.assert_array_equal(told.T @ told, 8 * np.eye(3))
    first = min(record.phrase("relation"), opposite)
    assert [run.stated for run in runs] == [f" {first} " in run.text for run in runs]
    assert [run.shown for run in runs] == [record.phrase("relation") == first] * 4 + [
        twin.phrase("relation") == first
    ] * 4


def test_streams_against_hooks_of_our_own(tiny_flux, make_contrasts):
    records = make_contrasts(2)
    examples, runs = encode(tiny_flux, records), caption_runs(records)[:3]
    found = read_streams(tiny_flux, examples, runs, [1.0, 0.7], SEED, 2, Reduction(SEED))
    kept = {}
    for name in ("transformer_blocks.1", "single_transformer_blocks.0"):
        module = tiny_flux.model.get_submodule(name)
        module.register_forward_hook(lambda _m, _a, out, name=name: kept.update({name: out}))
    shape = examples.latents.shape[1:]
    pictures = examples.latents[[0, 0, 0]]
    for level, sigma in enumerate((1.0, 0.7)):
        noise = noise_for(records[0].id, shape, SEED, level, 0).expand_as(pictures)
        noised = noise if sigma == 1 else (1 - sigma) * pictures + sigma * noise
        with torch.no_grad():
            tiny_flux.predict(
                noised, torch.full((3,), sigma), tiny_flux.encode_prompts([r.text for r in runs])
            )
        for name, (text, image) in kept.items():
            rows, columns = tiny_flux.latent_grid
            grid = image.reshape(3, rows, columns, -1).numpy()
            half = rows // 2
            corners = grid.reshape(3, 2, half, 2, columns // 2, -1).mean((2, 4))
            expected = corners.transpose(0, 3, 1, 2).reshape(3, -1)  # channels outside
            mine = found[Key(name, "image", level, "caption")]
            np.testing.assert_allclose(mine, expected, atol=1e-5)
            words = runs[0].text.split()
            span = text[0, : len(words)].mean(0).numpy()
            mine = found[Key(name, "text", level, "caption")]
            np.testing.assert_allclose(mine[0], span, atol=1e-5)
            phrases = found[Key(name, "text", level, "phrases")]
            np.testing.assert_allclose(phrases[0], text[0, 1:3].mean(0).numpy(), atol=1e-5)
            end = text[0, len(words) - 2 : len(words)].mean(0).numpy()
            np.testing.assert_allclose(phrases[3], end, atol=1e-5)
    assert {key.block for key in found} == {
        INPUT,
        *(f"{s}transformer_blocks.{i}" for s in ("", "single_") for i in (0, 1)),
    }


def test_a_joined_tensor_is_split_where_the_model_joins_text_first(tiny_flux):
    reader = Reader(tiny_flux)
    reader._joined, reader._lengths = True, (3, 4)
    x = torch.arange(14.0).reshape(1, 7, 2)
    block = tiny_flux.model.transformer_blocks[0].ff  # a module that joins nothing itself
    (_, text), (_, image) = reader._split(None, x, block)
    assert (text.tolist(), image.tolist()) == (x[:, :3].tolist(), x[:, 3:].tolist())
    reader._joined = False
    (_, text), (_, image) = reader._split(None, x, block)
    assert (text.tolist(), image.tolist()) == (x[:, 4:].tolist(), x[:, :4].tolist())
    reader._joined = None
    assert [name for name, _ in reader._split(None, x, block)] == ["stream"]


def test_many_features_are_projected_alike_in_all_batches():
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.normal(size=(64, 3 * FEATURES)))
    x[:, 0] *= 1e4  # one huge channel
    key = Key("block", "image", 0, "caption")
    reduced = Reduction(0)
    first = reduced(key, x.float())
    assert first.shape == (64, FEATURES)
    np.testing.assert_allclose(reduced(key, x[:5].float()), first[:5], rtol=1e-4, atol=1e-5)
    scaled = x / x.std(0)
    distances = torch.cdist(scaled, scaled).numpy()[np.triu_indices(64, 1)]
    projected = torch.from_numpy(first)
    kept = torch.cdist(projected, projected).numpy()[np.triu_indices(64, 1)]
    ratio = kept / distances * np.sqrt(3)
    assert 0.8 < ratio.min() < ratio.max() < 1.2
    alone = Reduction(0)(key, x[:1].float())  # a batch of one row has no spread
    assert np.isfinite(alone).all()


def test_the_relation_reaches_the_picture_at_the_planted_head(
    tiny_flux_config, make_contrasts, tmp_path
):
    folder = tmp_path / "model"
    build_pipeline(word_list(), planted.SIZES, seed=0).save_pretrained(folder)
    denoiser = load_denoiser(tiny_flux_config.model_copy(update={"path": str(folder)}))
    assert isinstance(denoiser, FluxDenoiser)
    planted.isolate(denoiser)
    planted.plant(denoiser, "single_transformer_blocks.0.attn[heads=1]")
    config = CONFIG.model_copy(
        update={
            **{"information": "depth", "groups": 16, "calibration_groups": 5, "sigmas": [0.8]},
            **{"batch_size": 512, "bootstrap": 200, "noise_floor": False, "racing": False},
        }
    )
    ranking = localize(denoiser, make_contrasts(21), config, SEED, tmp_path / "run")
    data = json.loads((tmp_path / "run" / "information.json").read_text())
    depth = data["depth"]
    assert data["readouts"]  # of the conditioning, as ever
    assert depth["sigmas"] == [1.0, 0.8]
    found = {
        (row["question"], row["block"], row["stream"], row["sigma"]): row
        for row in depth["readings"]
    }
    assert len(found) == 5 * 2 * 6
    before = [INPUT, "transformer_blocks.0", "transformer_blocks.1"]
    after = ["single_transformer_blocks.0", "single_transformer_blocks.1"]
    for sigma in depth["sigmas"]:
        for block in [*before, *after]:
            assert found[STATED, block, "text", sigma]["accuracy"]["value"] > 0.95
            told = found[STATED, block, "image", sigma]
            assert told["above_chance"] is (block in after), (block, sigma, told)
            # Bags of words: nothing tells the role, and pictures of noise show no relation.
            for row in (
                *(found[ROLE, block, stream, sigma] for stream in ("text", "image")),
                found[SHOWN, block, "image", sigma],
            ):
                assert row["accuracy"]["value"] < 0.75
    message = ranking.notes[-1]
    assert message == verdict(depth) == depth["verdict"]
    assert "stream after single_transformer_blocks.0 to single_transformer_blocks.1" in message
    assert "which object is its subject cannot be read" in message
    impacts = {after[0]: {"value": 1.0, "low": 0.5, "high": 1.5, "n": 48}}
    draw_depth({"depth": depth | {"impacts": impacts}}, tmp_path / "with-impacts.png")
    pictures = [tmp_path / "run" / "information.png", tmp_path / "with-impacts.png"]
    first, second = (Image.open(path) for path in pictures)
    assert min(first.size) > 200
    assert first.tobytes() != second.tobytes()
