"""Loading a recipe's pipeline, whole or its shapes alone; one line for what stands against it."""

import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

from ablate2tune.components.configs import empty_model
from ablate2tune.errors import UserError, reason
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import FAMILIES
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.models.model_hub import INDEX, NOT_GIVEN, ask_hub, check_is_hub_name, hub_error
from ablate2tune.models.part_weights import PartWeights
from ablate2tune.models.quantised.frozen_linear import freeze_blocks


def load_denoiser(config: ModelConfig, encoders_first: bool = False) -> Denoiser:
    """Load the recipe's pipeline and put it on its device.

    Args:
        config: says which, and where.
        encoders_first: leave the denoiser's weights out, until `weights.fetch` is asked for them.

    Raises:
        UserError: what `check_model` raises, the weights cannot be loaded, or the recipe's image
            size does not fit the family.
    """
    check_model(config)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        family = family_of(config)
        pipe = _read_pipeline(diffusers.DiffusionPipeline, config)
    except (*NOT_GIVEN, ImportError, SafetensorError, AttributeError, TypeError) as error:
        raise hub_error(config.path, error) or UserError(
            f"cannot load the pipeline ({reason(error)})", where=f"model.path = {config.path}"
        ) from error
    denoiser = family(pipe, config)

    def read(names: Collection[str]) -> Mapping[str, nn.Module]:
        rest = {name: part for name, part in pipe.components.items() if name not in names}
        fresh = _read_pipeline(type(pipe), config, **rest)
        return {name: getattr(fresh, name) for name in names}

    device, takes = resolve_device(config.device), {}
    if config.quantize:
        takes[denoiser.part] = partial(freeze_blocks, kind=config.quantize)
    denoiser.weights = PartWeights(pipe, read, takes)
    if encoders_first:
        denoiser.weights.drop([denoiser.part])
    elif config.quantize:
        freeze_blocks(denoiser.model, denoiser.model, config.quantize, device)
    denoiser.to(device)
    check_size(denoiser)
    return denoiser


def _read_pipeline(kind: Any, config: ModelConfig, **parts: Any) -> Any:
    """The recipe's pipeline in the recipe's dtype; the parts that are given are not read."""
    return kind.from_pretrained(
        config.path,
        dtype=getattr(torch, config.dtype),
        trust_remote_code=config.trust_remote_code,
        **parts,
    )


def shell_of(config: ModelConfig) -> Denoiser | None:
    """The recipe's pipeline with its denoiser and VAE on the meta device, and no text encoders.

    None where the model's files are not here: then nothing is told before they are fetched.

    Raises:
        UserError: a configuration is damaged, or the recipe's image size does not fit the family.
    """
    folder = Path(config.path)
    if not (here := folder.is_dir()):
        cached = None
        with suppress(HFValidationError):  # a folder that is gone
            cached = huggingface_hub.try_to_load_from_cache(config.path, INDEX)
        if not isinstance(cached, str):
            return None
        folder = Path(cached).parent
    diffusers.utils.logging.disable_progress_bar()
    family = family_of(config)
    index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    parts: dict[str, Any] = {}
    for name, held in index.items():
        if not isinstance(held, list) or held[1] is None:
            continue
        if name in (family.part, "vae"):
            if held[0] != "diffusers" or not (folder / name / "config.json").is_file():
                return None
            parts[name] = empty_model(folder / name, *held)
        elif not name.startswith(("tokenizer", "scheduler")):
            parts[name] = None
    try:
        pipe = diffusers.DiffusionPipeline.from_pretrained(folder, **parts)
    except (*NOT_GIVEN, ImportError, AttributeError, TypeError) as error:
        if not here:
            return None
        raise UserError(
            f"cannot load the pipeline ({reason(error)})", where=f"model.path = {config.path}"
        ) from error
    shell = family(pipe, config)
    check_size(shell)
    return shell


def check_size(denoiser: Denoiser) -> None:
    """Refuse a recipe's image size that the family cannot work at.

    Raises:
        UserError: height or width is not a multiple of a token's pixels.
    """
    config, multiple = denoiser.config, denoiser.size_multiple
    if config.height % multiple or config.width % multiple:
        raise UserError(
            f"{config.height} x {config.width} pixels are not multiples of {multiple}",
            where="model.height, model.width",
        )


def family_of(config: ModelConfig) -> type[Denoiser]:
    """The family of the recipe's model, from its model_index.json alone.

    Raises:
        UserError: the directory is no pipeline, or its class is not served.
    """
    try:
        index: Any = diffusers.DiffusionPipeline.load_config(config.path)
        name = str(index["_class_name"])
    except (*NOT_GIVEN, KeyError, TypeError) as error:
        raise hub_error(config.path, error) or UserError(
            f"cannot read model_index.json ({reason(error)})",
            where=f"model.path = {config.path}",
        ) from error
    if name not in FAMILIES:
        raise UserError(
            f"{name} is not supported", where=config.path, mend=f"use one of: {', '.join(FAMILIES)}"
        )
    return FAMILIES[name]


def check_model(config: ModelConfig) -> None:
    """Refuse, before anything is loaded, a model that cannot be: its path and its device.

    Raises:
        UserError: what `check_model_path` and `resolve_device` raise.
    """
    check_model_path(config.path)
    resolve_device(config.device)


def check_trainable(
    config: ModelConfig,
    command: str,
    mend: str = "rank its components with `ablate2tune localize`",
) -> None:
    """Refuse a family that `command` does not serve, by the family's own declaration.

    Raises:
        UserError: with the reason; or what `check_model` and `family_of` raise.
    """
    check_model(config)
    family = family_of(config)
    if family.train_obstacle is not None:
        raise UserError(
            f"`{command}` does not serve this family yet: {family.train_obstacle}",
            where=f"model.path = {config.path}",
            mend=mend,
        )


def check_model_path(path: str) -> None:
    """Refuse a folder that is missing, unreadable, no pipeline, or holds damaged safetensors.

    What is no folder may be a name on the hub, "owner/name", which is asked about it.

    Raises:
        UserError: for all of these.
    """
    folder, where = Path(path), f"model.path = {path}"
    if not folder.exists():
        check_is_hub_name(path)
        ask_hub(path)
        return
    for item in [folder, *sorted(folder.rglob("*"))]:
        if not item.exists():
            raise UserError("is a link to what is gone", where=str(item), mend="fetch it again")
        if not os.access(item, os.R_OK | (os.X_OK if item.is_dir() else 0)):
            raise UserError("no permission to read it", where=str(item), mend="chmod u+rX")
    if not (folder / "model_index.json").exists():
        raise UserError("not a diffusers pipeline: it has no model_index.json", where=where)
    for file in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            raise UserError(
                f"damaged weight file ({reason(error)})", where=str(file), mend="fetch it again"
            ) from error


def resolve_device(name: str) -> torch.device:
    """ "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        UserError: there is no such device here.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    device, what = torch.device(name), None
    if device.type == "mps" and not mps:
        what = "there is no MPS device here (Apple's GPUs)"
    elif device.type == "cuda" and not cuda:
        built = torch.version.cuda or torch.version.hip
        what = (
            f"there is no CUDA device here{'' if built else ', and this PyTorch is built without'}"
        )
    elif device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        what = f"there are {torch.cuda.device_count()} CUDA devices here, counted from 0"
    if what:
        raise UserError(what, where=f"model.device = {name}", mend="set model.device=auto")
    return device
