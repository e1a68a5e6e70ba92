"""Loading a recipe's pipeline, with one clear line for whatever stands against it."""

import os
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError, safe_open

from ablate2tune.errors import UserError, reason
from ablate2tune.models.denoiser import Denoiser
from ablate2tune.models.family_registry import FAMILIES
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.models.model_hub import NOT_GIVEN, ask_hub, check_is_hub_name, hub_error


def load_denoiser(config: ModelConfig) -> Denoiser:
    """Load the recipe's pipeline and put it on its device.

    Raises:
        UserError: what `check_model` raises, the weights cannot be loaded, or the recipe's image
            size does not fit the family.
    """
    check_model(config)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        family = family_of(config)
        pipe = diffusers.DiffusionPipeline.from_pretrained(
            config.path,
            dtype=getattr(torch, config.dtype),
            trust_remote_code=config.trust_remote_code,
        )
    except (*NOT_GIVEN, ImportError, SafetensorError, AttributeError) as error:
        raise hub_error(config.path, error) or UserError(
            f"cannot load the pipeline ({reason(error)})", where=f"model.path = {config.path}"
        ) from error
    denoiser = family(pipe.to(resolve_device(config.device)), config)
    multiple = denoiser.size_multiple
    if config.height % multiple or config.width % multiple:
        raise UserError(
            f"{config.height} x {config.width} pixels are not multiples of {multiple}",
            where="model.height, model.width",
        )
    return denoiser


def family_of(config: ModelConfig) -> type[Denoiser]:
    """The family of the recipe's model, from its model_index.json alone.

    Raises:
        UserError: the directory is no pipeline, or its class is not served.
    """
    try:
        index: Any = diffusers.DiffusionPipeline.load_config(config.path)
        name = str(index["_class_name"])
    except (*NOT_GIVEN, KeyError) as error:
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
