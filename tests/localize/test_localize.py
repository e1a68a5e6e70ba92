"""The whole stage on a tiny real FLUX. The random model is given a skill by construction: of the
two captions that a group offers, an image's is the one under which the model's loss is smaller."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.errors import UserError
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.margins.caption_losses import noise_for
from ablate2tune.localize.margins.encoded_examples import encode
from ablate2tune.models import FluxDenoiser, load_denoiser

SIGMAS = [0.9, 0.6]
CONFIG = LocalizeConfig(
    groups=6,
    calibration_groups=3,
    sigmas=SIGMAS,
    top_blocks=2,
    batch_size=18,
    bootstrap=400,
)
SEED = 11
FILES = [
    *("bars.json", "bars.png", "cost.json", "heatmap.png", "identity.json", "information.json"),
    *("ranking.csv", "ranking.json", "reseeded.jsonl", "results.jsonl"),
    *("timesteps.json", "timesteps.png"),
]


def plain_losses(denoiser: FluxDenoiser, records, texts: list[str]) -> np.ndarray:
    """Loss of each image under one caption each, mean over noise levels, arithmetic written out."""
    pictures = np.stack([np.array(Image.open(record.payload)) for record in records])
    latents, conditioning = denoiser.encode_images(pictures), denoiser.encode_prompts(texts)
    total = torch.zeros(len(records))
    for level, sigma in enumerate(SIGMAS):
        noise = torch.stack([noise_for(r.id, latents.shape[1:], SEED, level, 0) for r in records])
        noised = (1 - sigma) * latents + sigma * noise
        with torch.no_grad():
            velocity = denoiser.predict(noised, torch.full((len(records),), sigma), conditioning)
        total += ((velocity - (noise - latents)) ** 2).mean((1, 2))
    return (total / len(SIGMAS)).double().numpy()


def plain_margins(denoiser: FluxDenoiser, records, foils: list[str]) -> np.ndarray:
    captions = [record.text for record in records]
    return plain_losses(denoiser, records, foils) - plain_losses(denoiser, records, captions)


def reversed_contrast(record: Contrast) -> Contrast:
    """The contrast with true text and target foil exchanged."""
    return dataclasses.replace(record, texts=_turned(record.texts), spans=_turned(record.spans))


def _turned(held: Mapping) -> dict:
    return {"true": held["target"], "target": held["true"], "control": held["control"]}


def favour(denoiser: FluxDenoiser, records, sign: int = 1):
    """Exchange caption and foil wherever the model's margin has the wrong sign."""
    margins = plain_margins(denoiser, records, [record.texts["target"] for record in records])
    return [
        record if sign * margin > 0 else reversed_contrast(record)
        for record, margin in zip(records, margins, strict=True)
    ]


@pytest.fixture(scope="module")
def records(make_contrasts):
    return make_contrasts(9)


@pytest.fixture(scope="module")
def skilled(tiny_flux_config, records):
    return favour(load_denoiser(tiny_flux_config), records)


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def swept(tiny_flux_config, skilled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "localize"
    steps: list[tuple[int, int]] = []
    denoiser = load_denoiser(tiny_flux_config)
    ranking = localize(denoiser, skilled, CONFIG, SEED, folder, lambda *step: steps.append(step))
    return folder, ranking, steps


def test_files_and_schema(swept):
    folder, ranking, progress = swept
    assert sorted(path.name for path in folder.iterdir()) == FILES
    data = json.loads((folder / "ranking.json").read_text())
    assert data == json.loads(json.dumps(ranking.data))
    assert (data["schema"], data["verdict"]) == ("ablate2tune/ranking/2", "ranked")
    components = data["components"]
    assert [row["rank"] for row in components] == list(range(1, len(components) + 1))
    blocks = [row for row in components if row["level"] == "block"]
    sublayers = [row for row in components if row["level"] == "sublayer"]
    assert (len(blocks), len(sublayers)) == (4, 6)
    top = {row["address"] for row in blocks if row["rank_in_level"] <= 2}
    assert {row["address"].rsplit(".", 1)[0] for row in sublayers} == top
    for level in (blocks, sublayers):
        values = [row["target"]["value"] for row in level]
        assert values == sorted(values, reverse=True)
        assert [row["rank_in_level"] for row in level] == list(range(1, len(level) + 1))
    assert all(row["lora_targets"] for row in components)
    assert progress[-1][0] == progress[-1][1]
    assert all(done <= total for done, total in progress)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    cost = json.loads((folder / "cost.json").read_text())
    assert cost["conditions"] == 11
    # Rows: 12 images, 3 captions, 2 noise levels; 4 blocks.
    assert cost["exhaustive_block_evaluations"] == 11 * 72 * 4
    assert cost["block_evaluations"] == progress[-1][0]
    picture = Image.open(folder / "heatmap.png")
    assert min(picture.size) > 200
    assert len((folder / "ranking.csv").read_text().splitlines()) == 11


def test_measured_and_calibration_groups_are_disjoint_and_rows_complete(swept):
    folder, _, _ = swept
    by_condition: dict[tuple, list[dict]] = {}
    for row in rows(folder):
        by_condition.setdefault(tuple(row["condition"]), []).append(row)
    assert len(by_condition) == 11
    assert by_condition[()][0]["mode"] == "none"
    examples = [row["example"] for row in by_condition[()]]
    assert len(set(examples)) == 12
    assert len({row["group"] for row in by_condition[()]}) == 6
    for condition in by_condition.values():
        assert [row["example"] for row in condition] == examples


def test_baseline_and_skip_equal_plain_arithmetic_on_a_cut_model(swept, tiny_flux, skilled):
    folder, ranking, _ = swept
    by_id = {record.id: record for record in skilled}
    recorded = {(*row["condition"], row["example"]): row for row in rows(folder)}
    measured = [by_id[key[0]] for key in recorded if len(key) == 1]
    foils = [record.texts["target"] for record in measured]
    whole = plain_margins(tiny_flux, measured, foils)
    colour = plain_margins(tiny_flux, measured, [record.texts["control"] for record in measured])
    base = [recorded[(record.id,)] for record in measured]
    np.testing.assert_allclose([row["target"] for row in base], whole, atol=1e-6)
    np.testing.assert_allclose([row["control"] for row in base], colour, atol=1e-6)
    target = ranking.data["baseline"]["target"]
    assert target["value"] == pytest.approx(whole.mean(), abs=1e-6)
    address = "single_transformer_blocks.1"
    del tiny_flux.model.single_transformer_blocks[1]
    cut = plain_margins(tiny_flux, measured, foils)
    (row,) = [row for row in ranking.data["components"] if row["address"] == address]
    impact = (whole - cut).mean()
    assert abs(impact) > 1e-5
    assert row["target"]["value"] == pytest.approx(impact, abs=1e-6)
    assert row["relative"]["target"] == pytest.approx(impact / whole.mean(), rel=1e-2)


class KilledError(BaseException):
    pass


def killed(denoiser, records, folder: Path, after: int) -> None:
    """Localize until the progress was told that often."""
    told = 0

    def kill(done: int, total: int) -> None:
        nonlocal told
        told += 1
        if told == after:
            raise KilledError

    with pytest.raises(KilledError):
        localize(denoiser, records, CONFIG, SEED, folder, kill)


def without_seconds(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(folder)]


# 12 images in batches of 6: two chunks each for the baseline, the blocks, the sub-layers and the
# noise drawn again.
@pytest.mark.parametrize(
    ("after", "kept"),
    [
        pytest.param(1, 6, marks=pytest.mark.slow),
        (3, 12 + 4 * 6),
        pytest.param(5, 12 * 5 + 6 * 6, marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(
    swept, tiny_flux, skilled, tmp_path, after: int, kept: int
):
    reference, _, _ = swept
    folder = tmp_path / "killed"
    killed(tiny_flux, skilled, folder, after)
    path = folder / "results.jsonl"
    whole = path.read_bytes()
    assert whole.count(b"\n") == kept
    # The process died while it wrote: half a row is there.
    path.write_bytes(whole + whole.splitlines()[0][:-40])
    timed = {
        (*row["condition"], row["example"]): row["seconds"]
        for row in map(json.loads, whole.splitlines())
    }
    localize(tiny_flux, skilled, CONFIG, SEED, folder)
    for name in ("ranking.json", "ranking.csv"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes()
    assert without_seconds(folder) == without_seconds(reference)  # nothing lost, nothing twice
    again = {(*row["condition"], row["example"]): row["seconds"] for row in rows(folder)}
    assert {key: again[key] for key in timed} == timed  # what was there was kept


def test_a_chunk_torn_between_rows_is_completed(swept, tiny_flux, skilled, tmp_path):
    reference, _, _ = swept
    folder = tmp_path / "torn"
    folder.mkdir()
    lines = (reference / "results.jsonl").read_text().splitlines(keepends=True)
    (folder / "results.jsonl").write_text("".join(lines[: 12 * 2 + 7]))
    (folder / "identity.json").write_bytes((reference / "identity.json").read_bytes())
    localize(tiny_flux, skilled, CONFIG, SEED, folder)
    assert (folder / "ranking.json").read_bytes() == (reference / "ranking.json").read_bytes()
    assert without_seconds(folder) == without_seconds(reference)


def test_savings_keep_the_answer(swept, tiny_flux, skilled, tmp_path):
    reference, ranking, _ = swept
    off = {"prefix_reuse": False, "batch_conditions": False, "racing": False, "screening": "off"}
    folder = tmp_path / "localize"
    plain = localize(tiny_flux, skilled, CONFIG.model_copy(update=off), SEED, folder)
    found = {row["address"]: row for row in ranking.data["components"]}
    assert [row["address"] for row in plain.data["components"]] == list(found)
    for row in plain.data["components"]:
        for name in ("target", "control", "quality"):
            assert row[name] == pytest.approx(found[row["address"]][name], abs=1e-7)
    cost = json.loads((folder / "cost.json").read_text())
    assert cost["block_evaluations"] >= cost["exhaustive_block_evaluations"]
    saved = json.loads((reference / "cost.json").read_text())
    assert saved["block_evaluations"] < 0.91 * cost["block_evaluations"]


# A third of the images is measured; gradients steady the rest.
@pytest.mark.parametrize(
    ("screening", "agreement"), [("on", 0.75), pytest.param("off", 0.5, marks=pytest.mark.slow)]
)
def test_the_race_agrees_with_the_exhaustive_sweep(
    tiny_flux, make_contrasts, tmp_path, monkeypatch, screening: str, agreement: float
):
    monkeypatch.setattr("ablate2tune.localize.measuring.racing.MIN_GROUPS", 8)
    records = favour(tiny_flux, make_contrasts(24))
    config = CONFIG.model_copy(
        update={
            "groups": 24,
            "mode": "zero",
            "bootstrap": 200,
            "screening": screening,
            "top_blocks": 4,
        }
    )
    exhaustive, raced = (
        localize(tiny_flux, records, config.model_copy(update=update), SEED, tmp_path / name)
        for name, update in (
            ("all", {"racing": False}),
            ("race", {"budget": 0.01}),
        )
    )
    everything, part = (
        {row["address"]: row["target"] for row in ranking.data["components"]}
        for ranking in (exhaustive, raced)
    )
    assert {figure["n"] for figure in everything.values()} == {48}
    assert min(figure["n"] for figure in part.values()) == 16  # the first share: 8 groups
    inside = [
        part[address]["low"] <= figure["value"] <= part[address]["high"]
        for address, figure in everything.items()
    ]
    assert np.mean(inside) >= 0.8
    order = [[figures[a]["value"] for a in everything] for figures in (everything, part)]
    assert stats.spearmanr(*order).statistic > agreement
    costs = [
        json.loads((tmp_path / name / "cost.json").read_text())["block_evaluations"]
        for name in ("all", "race")
    ]
    assert costs[1] < costs[0]


def test_zero_mode_needs_no_calibration_groups_and_agrees_with_skip(tiny_flux, skilled, tmp_path):
    config = CONFIG.model_copy(update={"mode": "zero", "groups": 9, "top_blocks": 4})
    ranking = localize(tiny_flux, skilled, config, SEED, tmp_path / "localize")
    by_address = {row["address"]: row for row in ranking.data["components"]}
    assert {row["mode"] for row in by_address.values()} == {"skip", "zero"}
    # All that a single block writes to the residual stream goes through its proj_out.
    block = by_address["single_transformer_blocks.0"]
    assert block["target"] == by_address["single_transformer_blocks.0.proj_out"]["target"]


def test_no_skill_is_a_verdict_and_nothing_is_ablated(tiny_flux, records, tmp_path):
    records = favour(tiny_flux, records, sign=-1)
    folder = tmp_path / "localize"
    ranking = localize(tiny_flux, records, CONFIG, SEED, folder)
    assert not ranking.has_skill
    data = json.loads((folder / "ranking.json").read_text())
    assert (data["verdict"], data["components"]) == ("no skill to localize", [])
    assert data["baseline"]["target"]["value"] < 0
    assert {tuple(row["condition"]) for row in rows(folder)} == {()}
    assert sorted(path.name for path in folder.iterdir()) == [
        name for name in FILES if not name.startswith(("reseeded", "timesteps"))
    ]
    message = ranking.messages()[1]
    assert f"{data['baseline']['target']['value']:.2e}" in message
    assert "12 examples" in message


def test_without_skill_the_gradient_can_still_rank(tiny_flux, records, tmp_path):
    records = favour(tiny_flux, records, sign=-1)
    config = CONFIG.model_copy(update={"rank_by": "gradient"})
    ranking = localize(tiny_flux, records, config, SEED, tmp_path / "localize")
    data = ranking.data
    assert (data["verdict"], data["ranked_by"]) == ("ranked", "gradient")
    for level in ("block", "sublayer"):
        gains = [row["gain"] for row in data["components"] if row["level"] == level]
        values = [gain["value"] for gain in gains]
        assert values == sorted(values, reverse=True)
        assert all(gain["low"] <= gain["value"] <= gain["high"] for gain in gains)
        assert {gain["n"] for gain in gains} == {6}  # of 12 images, half chose the direction
    assert {row["relative"]["target"] for row in data["components"]} == {None}
    assert any("nothing to subtract" in line for line in ranking.messages())
    assert "impact~gradient" in data["trust"]["agreement"]["block"]
    assert not any(weight.requires_grad for weight in tiny_flux.model.parameters())


def test_trust_stands_beside_the_ranking(swept):
    _, ranking, _ = swept
    trust = ranking.data["trust"]
    assert trust["noise_floor"] > 0
    assert trust["stability"]["block"]["groups"] == 6
    assert -1 <= trust["stability"]["sublayer"]["spearman"] <= 1
    assert set(trust["agreement"]["block"]) <= {"impact~specificity"}
    by_address = {row["address"]: row for row in ranking.data["components"]}
    for gap in trust["interaction_gaps"]:
        parts = sum(by_address[address]["target"]["value"] for address in gap["sublayers"])
        expected = by_address[gap["block"]]["target"]["value"] - parts
        assert gap["gap"]["value"] == pytest.approx(expected, abs=1e-9)


def test_a_component_that_fails_verification_is_left_out_by_name(tiny_flux, skilled, tmp_path):
    block = tiny_flux.model.transformer_blocks[0]
    block.extra_block = torch.nn.Linear(2, 2)  # a projection that the forward never calls
    ranking = localize(tiny_flux, skilled, CONFIG, SEED, tmp_path / "localize")
    left_out = ranking.data["left_out"]
    assert "transformer_blocks.0" in left_out
    assert "never fired" in left_out["transformer_blocks.0.extra_block"]
    assert "transformer_blocks.0" not in {row["address"] for row in ranking.data["components"]}
    assert any("left out: transformer_blocks.0 " in line for line in ranking.messages())


def test_bad_input(tiny_flux, skilled, tmp_path):
    def run(records, **changes):
        config = CONFIG.model_copy(update=changes)
        return localize(tiny_flux, records, config, SEED, tmp_path / f"localize{changes}")

    with pytest.raises(UserError, match="need 13 contrast groups, the data set has 9"):
        run(skilled, groups=10)
    with pytest.raises(UserError, match="no training examples"):
        run([])
    held_out = [dataclasses.replace(record, split="test") for record in skilled]
    with pytest.raises(UserError, match="no training examples"):
        run(held_out)
    with pytest.raises(UserError, match="needs at least 2"):
        run(skilled, groups=1)
    tiny_flux.model.transformer_blocks[0].ff.net[2].weight.fill_(torch.nan)
    with pytest.raises(UserError, match="baseline: the loss is not finite"):
        run(skilled)


def test_texts_that_the_model_cannot_tell_apart(tiny_flux, make_contrasts):
    one = make_contrasts(1)[0]
    unknown = {**one.texts, "true": f"{one.text} qwx", "target": f"{one.text} zvk"}
    with pytest.raises(UserError, match=r"the target foil are the same to the model: '.* zvk'"):
        encode(tiny_flux, [dataclasses.replace(one, texts=unknown, spans={})])
