"""`ablate2tune bake`: from what was typed to a checkpoint."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablate2tune.ablation.specs import read_ablations
from ablate2tune.ablation.support.directions import load_directions
from ablate2tune.bake.bake_config import BakeConfig
from ablate2tune.bake.baking import bake
from ablate2tune.bake.baking_pipelines import bake_pipeline
from ablate2tune.bake.checkpoint import (
    gguf_command,
    write_checkpoint,
    write_pipeline,
)
from ablate2tune.bake.finding_direction import find_direction, read_prompts, write_direction
from ablate2tune.components import discover
from ablate2tune.disk.new_folder import check_new
from ablate2tune.errors import UserError, did_you_mean
from ablate2tune.models import is_language_model, load_denoiser, load_language_model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.models.model_loading import check_model_path
from ablate2tune.progress import Terminal
from ablate2tune.recipe import from_options, load_settings

LOSE_THEIR_HEAD = ("gemma",)
"""Model types whose converter for llama.cpp leaves a head of its own out without a word."""
SIZE = 64
"""Pixels a side of what a pipeline's denoiser is compared on."""


def read_job(model: str, typed: Mapping[str, Any]) -> BakeConfig:
    """What is to be baked: a model's name and options as typed, or a YAML file and such options.

    Raises:
        UserError: the file cannot be read, or an option is not one of its kind.
    """
    overrides = [f"{key}={_yaml(value)}" for key, value in typed.items()]
    if Path(model).suffix in (".yaml", ".yml"):
        return load_settings(BakeConfig, Path(model), overrides)
    return from_options(BakeConfig, {"model": model, **typed})


def _yaml(value: Any) -> str:
    return json.dumps(value if isinstance(value, bool | list) else str(value))


def run(job: BakeConfig, terminal: Terminal) -> None:
    """Bake ablations into a copy of a language model, or of a pipeline's denoiser.

    Args:
        job: what is baked into what.
        terminal: is told what was done.

    Raises:
        UserError: there is no place to write to, or what loading, `bake` and `write_checkpoint`
            raise.
    """
    out, project_out = job.out, job.project_out
    if out is None:
        raise UserError("there is no folder to write to", where="--out", mend="name a new one")
    check_new(out)
    if not is_language_model(job.model, ask=True):
        _bake_pipeline(job, out, terminal)
        return
    direction, origin = _direction(project_out) if project_out else (None, None)
    source = load_language_model(ModelConfig(path=job.model, device=job.device))
    ablations = read_ablations(discover(source.model), job.ablate)
    baked = bake(source, ablations, direction, job.prune)
    note = write_checkpoint(baked, source, ablations, out, getattr(torch, job.dtype), origin)
    terminal.say(
        f"baked into {out}: logits within {note['max_difference']:.2g} of the model with hooks, "
        f"where the ablation changes them by up to {note['max_effect']:.3g}"
    )
    kind = str(getattr(baked.model.config, "model_type", ""))
    if origin and kind.startswith(LOSE_THEIR_HEAD):
        terminal.say(
            "warning: its head is no longer tied to the embeddings, and llama.cpp's converter "
            "leaves the head of a Gemma out: a GGUF of it would be wrong"
        )
    terminal.say(f"for llama.cpp: {gguf_command(out)}")


def _bake_pipeline(job: BakeConfig, out: Path, terminal: Terminal) -> None:
    """Bake into the denoiser of a pipeline."""
    for key, given in (("--project-out", job.project_out), ("--prune", job.prune)):
        if given:
            raise UserError(
                "is for language models", where=key, mend="leave it out, or name a language model"
            )
    check_model_path(job.model)
    config = ModelConfig(path=job.model, device=job.device, height=SIZE, width=SIZE)
    denoiser = load_denoiser(config)
    ablations = read_ablations(discover(denoiser.model), job.ablate)
    comparison, changed = bake_pipeline(denoiser, ablations)
    denoiser.pipe.to("cpu", getattr(torch, job.dtype))
    note = write_pipeline(denoiser, comparison, changed, ablations, out)
    terminal.say(
        f"baked into {out}: predictions within {note['max_difference']:.2g} of the model with "
        f"hooks, where the ablation changes them by up to {note['max_effect']:.3g}"
    )


def find(
    path: str, one: Path, other: Path, out: Path, terminal: Terminal, device: str = "auto"
) -> None:
    """Find the direction from the prompts of one file to those of another, and write it.

    Raises:
        UserError: what loading, `find_direction` and `write_direction` raise.
    """
    check_new(out, "file")
    config = from_options(ModelConfig, {"path": path, "device": device})
    prompts = [read_prompts(file) for file in (one, other)]
    model = load_language_model(config)
    found = find_direction(model, *prompts)
    write_direction(found, model, one, other, out)
    terminal.say(
        f"{out}: behind {found.layer} it separates prompts that did not make it by "
        f"{found.separation[found.layer]:.1f} standard deviations"
    )


def _direction(given: str) -> tuple[Tensor, dict[str, Any]]:
    """The direction of a file, and where it came from."""
    name = None
    file = Path(given).expanduser()
    if not file.exists() and ":" in given:
        before, _, name = given.rpartition(":")
        file = Path(before).expanduser()
    if not file.is_file():
        raise UserError("no such file", where=f"--project-out {given}")
    found = load_directions(file)
    if name is None and len(found) != 1:
        raise UserError(
            f"holds {len(found)} directions",
            where=f"--project-out {given}",
            mend=f"write FILE:NAME, of {', '.join(list(found)[:5])}",
        )
    key = name or next(iter(found))
    if key not in found:
        raise UserError("no such direction", where=given, mend=did_you_mean(key, found))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return found[key], {"file": str(file), "name": key, "sha256": digest}
