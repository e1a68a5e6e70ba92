"""Loading a recipe's pipeline, with one clear line for whatever stands against it."""

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError, safe_open

from ablate2tune.errors import UserError, did_you_mean, reason
from ablate2tune.models.denoiser import FAMILIES, Denoiser
from ablate2tune.models.model_config import ModelConfig


def load_denoiser(config: ModelConfig) -> Denoiser:
    """Load the recipe's pipeline and put it on its device.

    Raises:
        UserError: the directory is missing, is not a pipeline, holds a damaged weight file, is of
            a family without an adapter, or does not fit the recipe's image size.
    """
    check_model_path(config.path)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        family = family_of(config)
        pipe = diffusers.DiffusionPipeline.from_pretrained(
            config.path,
            dtype=getattr(torch, config.dtype),
            trust_remote_code=config.trust_remote_code,
        )
    except (ImportError, OSError, ValueError, SafetensorError, AttributeError) as error:
        raise UserError(
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
    """The adapter of the recipe's model, from its model_index.json alone.

    Raises:
        UserError: the directory is no pipeline, or is of a family without an adapter.
    """
    try:
        index: Any = diffusers.DiffusionPipeline.load_config(config.path)
        name = str(index["_class_name"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"cannot read model_index.json ({reason(error)})",
            where=f"model.path = {config.path}",
        ) from error
    if name not in FAMILIES:
        raise UserError(
            f"{name} is not supported", where=config.path, mend=f"use one of: {', '.join(FAMILIES)}"
        )
    return FAMILIES[name]


def check_trainable(config: ModelConfig, command: str) -> None:
    """Refuse a family that `command` does not serve, by the family's own declaration.

    Raises:
        UserError: with the reason; or what `check_model_path` and `family_of` raise.
    """
    check_model_path(config.path)
    family = family_of(config)
    if family.train_obstacle is not None:
        raise UserError(
            f"`{command}` does not serve this family yet: {family.train_obstacle}",
            where=f"model.path = {config.path}",
            mend="rank its components with `ablate2tune localize`",
        )


def check_model_path(path: str) -> None:
    """Refuse a local path that is missing, is no pipeline, or holds damaged safetensors.

    A name of the form "owner/name" that is no local folder is left to the hub.
    """
    folder = Path(path)
    if not folder.exists():
        if path.count("/") == 1 and not path.startswith((".", "/")) and not folder.parent.is_dir():
            return
        near = [str(p) for p in folder.parent.glob("*")] if folder.parent.is_dir() else []
        raise UserError(
            "no such model directory", where=f"model.path = {path}", mend=did_you_mean(path, near)
        )
    if not (folder / "model_index.json").exists():
        raise UserError(
            "not a diffusers pipeline: it has no model_index.json", where=f"model.path = {path}"
        )
    for file in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            raise UserError(
                f"damaged weight file ({reason(error)})", where=str(file), mend="fetch it again"
            ) from error


def resolve_device(name: str) -> torch.device:
    """ "auto" takes CUDA, then Apple's MPS, then the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
