"""`ablate2tune try`: greedy text of a language model, pictures of a pipeline, with and without."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import files
from ablate2tune.ablation import Ablation, ablated
from ablate2tune.ablation.mode import check_drawn
from ablate2tune.ablation.specs import read_ablations
from ablate2tune.components import discover
from ablate2tune.disk.new_folder import check_writable
from ablate2tune.errors import UserError
from ablate2tune.models import (
    LanguageModel,
    is_language_model,
    load_denoiser,
    load_language_model,
)
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.models.model_loading import check_model_path
from ablate2tune.pictures import png
from ablate2tune.progress import Terminal
from ablate2tune.recipe import from_options

WITHOUT, WITH = "as it is", "ablated"


def run(
    path: str,
    specs: Sequence[str],
    prompts: Sequence[str],
    terminal: Terminal,
    tokens: int = 40,
    out: Path | None = None,
    size: int = 512,
    steps: int = 20,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "auto",
) -> None:
    """Show what a model makes of some prompts with and without components.

    Args:
        path: folder, hub name or .gguf file.
        specs: ablations as typed (`read_ablations`).
        prompts: one or several.
        terminal: is told.
        tokens: of each text at most.
        out: the picture to write, for pipelines.
        size: of the pictures, in pixels.
        steps: sampling steps of pictures.
        seed: of the pictures' noise.
        dtype: of the weights.
        device: where it is put.

    Raises:
        UserError: what loading and the ablations raise, or no prompt was given.
    """
    if not prompts:
        raise UserError("there is nothing to say", where="--prompt", mend="give one or several")
    values = {"path": path, "dtype": dtype, "device": device, "height": size, "width": size}
    config, file = from_options(ModelConfig, values), out or Path("try.png")
    check_writable(file)
    if is_language_model(path, ask=True):
        model = load_language_model(config)
        for prompt, before, after in texts(model, _read(model.model, specs), prompts, tokens):
            terminal.say(f"> {prompt}\n{WITHOUT}: {before}\n{WITH}: {after}\n")
        return
    check_model_path(path)
    denoiser = load_denoiser(config)
    ablations = _read(denoiser.model, specs)
    for ablation in ablations:
        check_drawn(ablation.mode, ablation.address)
    seeds = [seed + place for place in range(len(prompts))]
    before = denoiser.sample(prompts, seeds, steps)
    with ablated(denoiser.model, ablations):
        after = denoiser.sample(prompts, seeds, steps)
    pairs = np.concatenate([before, after], axis=2)  # side by side, prompts one below the other
    files.write_bytes(file, png(np.concatenate(list(pairs))))
    terminal.say(f"left {WITHOUT}, right {WITH}, same noise: {file}")


def _read(model: Any, specs: Sequence[str]) -> list[Ablation]:
    ablations = read_ablations(discover(model), specs)
    if not ablations:
        raise UserError("nothing is ablated", where="--ablate", mend="name a component")
    return ablations


def texts(
    model: LanguageModel, ablations: Sequence[Ablation], prompts: Sequence[str], tokens: int
) -> list[tuple[str, str, str]]:
    """Prompts with their greedy continuations, as the model is and ablated.

    A skipped layer still runs and fills its place in the cache, so that generation with a cache
    equals generation without.
    """
    before = model.generate(prompts, tokens)
    with ablated(model.model, ablations):
        after = model.generate(prompts, tokens)
    return list(zip(prompts, before, after, strict=True))
