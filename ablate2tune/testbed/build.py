"""`testbed build`: everything under `checkpoints/` from nothing, in parts that resume."""

import random
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline
from safetensors.torch import load_file, save

from ablate2tune import seeding
from ablate2tune.disk.identity import identity
from ablate2tune.errors import UserError
from ablate2tune.files import read_json, read_jsonl, write_bytes, write_json
from ablate2tune.models import FluxDenoiser, resolve_device
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.progress import Bar
from ablate2tune.run_dir import RunDir, environment
from ablate2tune.scenes.dataset.records import (
    SceneRecord,
    load_depth,
    load_images,
    load_masks,
    read_dataset,
)
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.testbed.architecture import Sizes, build_pipeline
from ablate2tune.testbed.judge import build_judge, label_maps, save_judge, train_judge
from ablate2tune.testbed.optimisation import Progress
from ablate2tune.testbed.pretraining import pretrain_denoiser
from ablate2tune.testbed.testbed_recipe import TestbedRecipe
from ablate2tune.testbed.text import pretrain_text, probe_text, word_list
from ablate2tune.testbed.vae import peak_signal_to_noise, reconstruct, train_vae

Bars = Callable[[str], AbstractContextManager[Bar]]


def build_testbed(recipe: TestbedRecipe, bar: Bars) -> None:
    """Make the pipeline and its judge; parts that are whole are not made again.

    `bar` is given a part's name and gives a context that yields its progress callback.
    """
    run = RunDir(recipe.work, recipe.model_dump(mode="json"), another="work=OTHER")
    parts = recipe.work / "pipeline"
    device = resolve_device(recipe.device)

    inputs = {"seed": recipe.seed, "scenes": recipe.scenes.model_dump(mode="json")}
    if not run.is_done("scenes", inputs):
        with run.stage("scenes", inputs), bar("scenes") as progress:
            render_dataset(recipe.scenes, recipe.seed, recipe.data, progress)

    sizes = recipe.sizes.model_copy(update={"image_size": recipe.scenes.size})
    inputs = {
        "seed": recipe.seed,
        "text": recipe.text.model_dump(),
        "sizes": sizes.model_dump(mode="json"),
    }
    if not run.is_done("text", inputs):
        with run.stage("text", inputs) as folder, bar("text encoders") as progress:
            words = word_list()
            random.Random(seeding.seed_for(recipe.seed, "words")).shuffle(words)
            pipe = build_pipeline(words, sizes, recipe.seed)
            pretrain_text(pipe, recipe.text, recipe.seed, folder, progress)
            write_json(folder / "probes.json", probe_text(pipe, recipe.seed)._asdict())
            pipe.save_pretrained(parts)

    records = read_dataset(recipe.data)
    training = [record for record in records if record.split == "train"]
    if recipe.autoencoder:
        inputs = {**inputs, "autoencoder": identity(recipe.autoencoder / "vae")}
        _take_autoencoder(recipe.autoencoder, sizes, parts)
    else:
        inputs = _make_autoencoder(recipe, inputs, records, run, parts, device, bar)

    denoised = {
        **inputs,
        "scenes": recipe.scenes.model_dump(mode="json"),
        "mixes": [mix.model_dump() for mix in recipe.captions],
        "denoiser": recipe.denoiser.model_dump(),
        "ema": recipe.ema,
        "high_noise": [recipe.high_noise, recipe.high_shift],
    }
    if not run.is_done("denoiser", denoised):
        with run.stage("denoiser", denoised) as folder, bar("denoiser") as progress:
            pipe, size = FluxPipeline.from_pretrained(parts).to(device), recipe.scenes.size
            config = ModelConfig(
                path=str(parts),
                height=size,
                width=size,
                max_sequence_length=recipe.sizes.text_tokens,
            )
            denoiser = FluxDenoiser(pipe, config)
            latents = _cached_latents(denoiser, training, folder / "latents.safetensors")
            pretrain_denoiser(
                denoiser,
                latents,
                [*training, *(record.mirror() for record in training)],
                recipe.captions,
                recipe.denoiser,
                recipe.ema,
                (recipe.high_noise, recipe.high_shift),
                recipe.seed,
                folder,
                progress,
            )
            denoiser.pipe.transformer.save_pretrained(parts / "transformer")

    _copy(parts, recipe.out)
    write_json(recipe.out / "provenance.json", provenance(recipe))


def _take_autoencoder(pipeline: Path, sizes: Sizes, parts: Path) -> None:
    """Put a pipeline's own autoencoder in place of the untrained one.

    Raises:
        UserError: there is none, or it has other sizes.
    """
    if not (pipeline / "vae").is_dir():
        raise UserError(f"autoencoder: {pipeline} is no pipeline's directory (it has no vae/)")
    vae = AutoencoderKL.from_pretrained(pipeline / "vae")
    held = vae.config
    found = tuple(held["block_out_channels"]), held["latent_channels"]
    wanted = sizes.vae_channels, sizes.latent_channels
    if found != wanted:
        raise UserError(
            f"autoencoder: that of {pipeline} has channels {found[0]} and {found[1]} of latents; "
            f"sizes asks for {wanted[0]} and {wanted[1]}"
        )
    vae.save_pretrained(parts / "vae")


def _make_autoencoder(
    recipe: TestbedRecipe,
    inputs: dict[str, Any],
    records: list[SceneRecord],
    run: RunDir,
    parts: Path,
    device: torch.device,
    bar: Bars,
) -> dict[str, Any]:
    """Train the autoencoder, then the judge, which sees pictures as that gives them back.

    Returns:
        What the autoencoder follows from.
    """
    training = [record for record in records if record.split == "train"]
    inputs = {
        **inputs,
        "scenes": recipe.scenes.model_dump(mode="json"),
        "vae": recipe.vae.model_dump(),
        "images": recipe.vae_images,
        "crop": recipe.vae_crop,
    }
    if not run.is_done("vae", inputs):
        with run.stage("vae", inputs) as folder, bar("autoencoder") as progress:
            vae = FluxPipeline.from_pretrained(parts).vae.to(device)
            images = load_images(training[: recipe.vae_images])
            train_vae(
                vae,
                images,
                recipe.vae,
                recipe.kl_weight,
                recipe.vae_crop,
                recipe.seed,
                folder,
                progress,
            )
            test = load_images([record for record in records if record.split == "test"][:300])
            psnr = peak_signal_to_noise(test, reconstruct(vae, test))
            write_json(folder / "scores.json", {"psnr_db": round(psnr, 2)})
            vae.save_pretrained(parts / "vae")

    judged = {**inputs, "judge": recipe.judge_training.model_dump(), "of": recipe.judge_images}
    if not run.is_done("judge", judged):
        with run.stage("judge", judged) as folder, bar("judge") as progress:
            _make_judge(recipe, training, parts, folder, device, progress)
            _copy(folder / "judge", recipe.judge_out)
    return inputs


def _make_judge(
    recipe: TestbedRecipe,
    training: list[SceneRecord],
    parts: Path,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> None:
    labels = [
        f"{colour} {kind}" for colour in recipe.scenes.colours for kind in recipe.scenes.objects
    ]
    training = training[: recipe.judge_images]
    images, masks, depth = load_images(training), load_masks(training), load_depth(training)
    seen = depth[masks > 0]
    offset, scale = float(np.mean(seen)), float(np.std(seen))
    vae = FluxPipeline.from_pretrained(parts).vae.to(device)
    judge = build_judge(labels, recipe.seed).to(device)  # pyright: ignore
    train_judge(
        judge,
        [images, reconstruct(vae, images)],
        label_maps(training, masks, labels),
        ((depth - offset) / scale).astype(np.float32),
        recipe.judge_training,
        recipe.seed,
        folder,
        progress,
    )
    save_judge(judge.cpu(), folder / "judge", depth_scale=scale, depth_offset=offset)


def provenance(recipe: TestbedRecipe) -> dict:
    """Where the weights come from: recipe, versions, losses, readouts."""
    made = ("text", "denoiser") if recipe.autoencoder else ("text", "vae", "denoiser", "judge")
    return {
        "schema": "ablate2tune/provenance/1",
        "recipe": recipe.model_dump(mode="json"),
        "environment": environment(),
        "probes": read_json(recipe.work / "text" / "probes.json"),
        "autoencoder": {"content": identity(recipe.autoencoder / "vae")}
        if recipe.autoencoder
        else read_json(recipe.work / "vae" / "scores.json"),
        "last_losses": {
            part: read_jsonl(recipe.work / part / f"{part}.jsonl")[-1] for part in made
        },
    }


def _cached_latents(denoiser: FluxDenoiser, records: list[SceneRecord], path: Path) -> torch.Tensor:
    """The records' pictures, and then their mirror images, encoded once; half the size on disk."""
    if not path.exists():
        both = records, [record.mirror() for record in records]
        latents = torch.cat([denoiser.encode_images(load_images(each)).cpu() for each in both])
        write_bytes(path, save({"latents": latents.half()}))
    return load_file(path)["latents"].float()


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    for path in temporary.rglob("config.json"):  # diffusers says there where a part was read from
        config = read_json(path)
        if config.pop("_name_or_path", None):
            write_json(path, config)
    if (target / "README.md").exists():
        shutil.copy2(target / "README.md", temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.replace(target)
