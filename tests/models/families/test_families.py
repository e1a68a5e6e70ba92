"""`ablate2tune localize` from a saved pipeline to a ranking, for every family.

The reference for a prediction is the stock pipeline: one step from its own scheduler, from which
the prediction follows by arithmetic. So the reference encodes the prompt, calls the denoiser and
reads the timestep without a line of the package.
"""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny_parts import drawn
from tiny_pipelines import FAMILIES, Family

from ablate2tune import models
from ablate2tune.ablation import ablated
from ablate2tune.cli import main
from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.localize.margins.caption_losses import Batch, batch_loss, noise_for
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import BASELINE, Engine
from ablate2tune.models import load_denoiser
from ablate2tune.models.calls import one_step
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import load_images

SEED, SIZE = 7, 32
CAPTION = "a red ball left of a blue cube"


@pytest.fixture(scope="module")
def data(make_records, tmp_path_factory):
    """Three contrast groups in a data set's folder."""
    records = make_records(3, SIZE)
    rows = [dataclasses.asdict(record) | {"folder": ""} for record in records]
    text = "\n".join(json.dumps(row) for row in rows)
    (records[0].folder / "metadata.jsonl").write_text(text + "\n", encoding="utf-8")
    return records


@pytest.fixture(scope="module", params=FAMILIES, ids=str)
def saved(request, tmp_path_factory) -> tuple[Family, Path]:
    """One family's pipeline, saved as a user finds it."""
    family: Family = request.param
    torch.manual_seed(0)
    pipe = family.build()
    drawn(pipe.components.get("transformer") or pipe.unet)
    folder = tmp_path_factory.mktemp(str(family))
    pipe.save_pretrained(folder)
    return family, folder


def config_of(family: Family, folder: Path) -> ModelConfig:
    return ModelConfig(
        path=str(folder), device="cpu", height=SIZE, width=SIZE, max_sequence_length=family.tokens
    )


@pytest.fixture(scope="module")
def fresh(saved) -> models.Denoiser:
    """The family's pipeline, loaded once for the tests that leave it as it is."""
    return load_denoiser(config_of(*saved))


def sigma_of(pipe) -> float:
    """A flow's own level; on a discrete schedule the last timestep, where a stock call starts."""
    return 1.0 if hasattr(pipe.scheduler, "alphas_cumprod") else 0.7


def recipe_of(family: Family, folder: Path, data, sigma: float, tmp_path: Path) -> Path:
    recipe = {
        "name": "family",
        "seed": SEED,
        "runs": str(tmp_path / "runs"),
        "model": config_of(family, folder).model_dump(exclude={"dtype", "guidance_scale"}),
        "scenes": {"folder": str(data[0].folder)},
        "localize": {
            "groups": 2,
            "calibration_groups": 1,
            "sigmas": [sigma],
            "mode": "mean" if family.uses_mean else "zero",
            "rank_by": "gradient",
            "top_blocks": 1,
            "bootstrap": 50,
            "noise_floor": False,
            "screening": "on",
        },
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def stock_prediction(
    pipe, tokens: int, prompt: str, latents: torch.Tensor, sigma: float
) -> torch.Tensor:
    """The prediction, from where the stock call's only step ends.

    A flow's Euler step to 0 subtracts sigma * velocity. A DDIM step from the last timestep to the
    end is the estimate of the clean latents, from which epsilon or v follow.
    """
    known = one_step.call_defaults(pipe)
    unguided = 0.0 if type(pipe).__name__ == "ZImagePipeline" else 1.0
    wanted = {
        "sigmas": [sigma] if not hasattr(pipe.scheduler, "alphas_cumprod") else None,
        "timesteps": [1000 * sigma] if type(pipe).__name__ == "CogView4Pipeline" else None,
        "max_sequence_length": tokens,
        "true_cfg_scale": 1.0,
        "use_resolution_binning": False,
        "height": SIZE,
        "width": SIZE,
    }
    end = pipe(
        prompt=prompt,
        latents=latents,
        num_inference_steps=1,
        guidance_scale=unguided,
        output_type="latent",
        **{name: value for name, value in wanted.items() if name in known},
    ).images
    if end.ndim == 3 and latents.ndim == 4:  # FLUX.2 hands out its patches in one row
        end = end.transpose(1, 2).reshape(latents.shape)
    if type(pipe).__name__ == "Flux2KleinPipeline":  # klein, what its VAE would decode
        norm = pipe.vae.bn
        spread = (norm.running_var + pipe.vae.config.batch_norm_eps).sqrt()
        patches = pipe._patchify_latents(end)
        end = (patches - norm.running_mean[:, None, None]) / spread[:, None, None]
    if not hasattr(pipe.scheduler, "alphas_cumprod"):
        return (latents - end) / sigma
    product = pipe.scheduler.alphas_cumprod[-1]
    alpha, spread = product.sqrt(), (1 - product).sqrt()
    if pipe.scheduler.config.prediction_type == "v_prediction":
        return (alpha * latents - end) / spread
    return (latents - alpha * end) / spread


def noised_and_target(pipe, latents, noise, sigma: float):
    """By the pipeline's own scheduler, where it has the words."""
    scheduler = pipe.scheduler
    if not hasattr(scheduler, "alphas_cumprod"):
        return (1 - sigma) * latents + sigma * noise, noise - latents
    last = torch.tensor([scheduler.config.num_train_timesteps - 1])
    noised = scheduler.add_noise(latents, noise, last)
    if scheduler.config.prediction_type == "v_prediction":
        return noised, scheduler.get_velocity(latents, noise, last)
    return noised, noise


@torch.no_grad()
def test_localize_end_to_end(saved, fresh, data, tmp_path, monkeypatch, capsys) -> None:
    family, folder = saved
    loaded = []

    def load(config):
        loaded.append(load_denoiser(config))
        return loaded[-1]

    monkeypatch.setattr("ablate2tune.localize.stage.load_denoiser", load)
    sigma = sigma_of(fresh.pipe)
    recipe = recipe_of(family, folder, data, sigma, tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["localize", str(recipe)])
    assert not ended.value.code, capsys.readouterr().err

    # Every block is ranked, or left out by name with its reason.
    out = tmp_path / "runs/family/localize"
    ranking = json.loads((out / "ranking.json").read_text())
    blocks = {f"{stack}.{i}" for stack, count in family.blocks.items() for i in range(count)}
    ranked = {row["address"] for row in ranking["components"] if row["level"] == "block"}
    assert ranked | set(ranking["left_out"]) >= blocks
    assert ranked == blocks - set(family.unskippable)
    assert any(row["level"] == "sublayer" for row in ranking["components"])
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    baseline = [row for row in rows if row["condition"] == []]
    assert len(baseline) == 4
    assert rows[: len(baseline)] == baseline
    screened = (out / "screening.jsonl").read_text().splitlines()
    assert len(screened) >= len(ranked)
    cost = json.loads((out / "cost.json").read_text())
    assert (cost["prefix_reuse"], cost["prefix_reuse_obstacle"]) == (True, None)
    readouts = json.loads((out / "information.json").read_text())["readouts"]
    assert readouts[-1]["question"] == "subject or object"

    # The loss of one example, by the stock pipeline and arithmetic.
    record = next(r for r in data if r.scene_id == baseline[0]["example"])
    latents = fresh.encode_images(load_images([record]))
    noise = noise_for(record.scene_id, latents.shape[1:], SEED, 0, 0)[None]
    noised, target = noised_and_target(fresh.pipe, latents, noise, sigma)
    prediction = stock_prediction(fresh.pipe, family.tokens, record.text, noised, sigma)
    loss = (prediction - target).square().mean().item()
    assert -np.mean(baseline[0]["quality"]) == pytest.approx(loss, rel=1e-4)

    # The model is as it was: no hooks, no replaced forwards, the same prediction bit for bit.
    (used,) = loaded
    for module in used.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)
    assert not any(parameter.requires_grad for parameter in used.model.parameters())
    level, told = torch.tensor([sigma]), [record.text]
    again, first = (d.predict(noised, level, d.encode_prompts(told), 1.0) for d in (used, fresh))
    assert torch.equal(again, first)


@torch.no_grad()
def test_savings_give_the_plain_losses(saved, fresh, data) -> None:
    """Prefix reuse and conditions in one batch, against one ablated forward per condition."""
    family, denoiser = saved[0], fresh
    sigma = sigma_of(denoiser.pipe)
    latents = denoiser.encode_images(load_images(data[:3]))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    told = denoiser.encode_prompts([record.text for record in data[:3]])
    batch = Batch(latents, noise, sigma, 0, told)
    catalogue = discover(denoiser.model)
    parts = [
        (part.address, "skip" if part.level == "block" else "zero")
        for part in catalogue
        if part.level in ("block", "sublayer") and part.obstacle is None
    ]
    conditions = [BASELINE, *(Condition((address,), mode) for address, mode in parts)]
    engine = Engine(denoiser, 16)
    found = engine.losses(batch, conditions)
    assert engine.prefix_obstacle is None
    blocks = len(catalogue.blocks)
    assert blocks == sum(family.blocks.values())
    assert engine.evaluations < len(conditions) * 3 * blocks
    for condition in conditions:
        with ablated(denoiser.model, condition.ablations):
            plain = batch_loss(denoiser, batch).double().numpy()
        np.testing.assert_allclose(found[condition], plain, rtol=1e-4, err_msg=str(condition))


@torch.no_grad()
def test_rows_of_different_levels_in_one_call(fresh, data) -> None:
    """Rows at their own levels, against each row alone."""
    levels = torch.tensor([0.9, 0.4, 0.9])
    latents = fresh.encode_images(load_images(data[:3]))
    told = fresh.encode_prompts([record.text for record in data[:3]])
    alone = [
        fresh.predict(latents[i : i + 1], levels[i : i + 1], told[i : i + 1]) for i in range(3)
    ]
    calls = []
    handle = fresh.model.register_forward_pre_hook(lambda *_: calls.append(1))
    together = fresh.predict(latents, levels, told)
    handle.remove()
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-4)
    assert (together[0] - fresh.predict(latents, levels * 0.5, told)[0]).abs().max() > 1e-3
    assert len(calls) == 1


class DecodedError(Exception):
    """Raised with what the VAE was to decode."""


@torch.no_grad()
def test_latents_are_what_the_pipeline_decodes(saved, fresh, data, monkeypatch) -> None:
    """A stock call whose steps change nothing hands the VAE what the VAE made of the picture."""
    family, pipe = saved[0], fresh.pipe
    images = load_images(data[:1])
    latents = fresh.encode_images(images)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1

    def decode(latents, *_, **__):
        raise DecodedError(latents)

    monkeypatch.setattr(pipe.vae, "decode", decode)
    monkeypatch.setattr(
        pipe.scheduler, "step", lambda output, t, sample, return_dict=True: (sample,) * 2
    )
    known = one_step.call_defaults(pipe)
    binning = {"use_resolution_binning": False} if "use_resolution_binning" in known else {}
    length = {"max_sequence_length": family.tokens} if "max_sequence_length" in known else {}
    with pytest.raises(DecodedError) as caught:
        pipe(
            prompt=CAPTION,
            latents=latents,
            num_inference_steps=1,
            guidance_scale=1.0,
            height=SIZE,
            width=SIZE,
            **binning,
            **length,
        )
    if type(pipe.vae).__name__ == "AutoencoderKLQwenImage":
        pixels = pixels[:, :, None]
    encoded = pipe.vae.encode(pixels)
    expected = encoded.latent if hasattr(encoded, "latent") else encoded.latent_dist.mode()
    torch.testing.assert_close(caught.value.args[0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_token_span(saved, fresh) -> None:
    """Where the caption's seventh word stands among the embeddings.

    A causal encoder shows it: another word there changes no row before it.
    """
    family, denoiser = saved[0], fresh
    start = CAPTION.index("blue")
    span = denoiser.token_span(CAPTION, start, len(CAPTION))
    assert (span.stop or 0) - span.start == 2
    told = denoiser.encode_prompts([CAPTION, CAPTION.replace("blue", "green")])
    first, second = told.tokens(0), told.tokens(1)
    if family.span is None:
        changed = (first != second).any(1).nonzero().flatten().tolist()
        assert span.start % len(first) == changed[0]
    else:
        assert span.start == family.span
        assert not torch.equal(first[span], second[span])


def test_mean_without_fixed_positions_is_one_line(saved, data, tmp_path, capsys) -> None:
    family, folder = saved
    if family.uses_mean:
        assert models.FAMILIES[family.name].mean_obstacle is None
        return
    recipe = recipe_of(family, folder, data, 0.7, tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["localize", str(recipe), "localize.mode=mean"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "set localize.mode=zero" in error


def test_every_family_is_tested_and_documented() -> None:
    assert {family.name for family in FAMILIES} == set(models.FAMILIES)
    page = Path(__file__).parents[3] / "docs/models.md"
    rows = re.findall(r"^\| `(\w+)` \| (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(models.FAMILIES)


def test_an_unknown_pipeline_is_one_line_that_names_the_known(tmp_path) -> None:
    index = {"_class_name": "KandinskyV22Pipeline", "_diffusers_version": "0.42.1"}
    (tmp_path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_denoiser(ModelConfig(path=str(tmp_path)))
    message = str(caught.value)
    assert "KandinskyV22Pipeline is not supported; use one of: FluxPipeline, " in message
    assert all(name in message for name in models.FAMILIES)
    assert "\n" not in message
