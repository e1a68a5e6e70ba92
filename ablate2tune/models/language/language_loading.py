"""Loading a causal language model, with one clear line for whatever stands against it."""

from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ablate2tune.errors import UserError, reason
from ablate2tune.models.language.language_model import LanguageModel
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.models.model_hub import (
    GGUF,
    INDEX,
    NOT_GIVEN,
    SECONDS,
    check_is_hub_name,
    hub_error,
)
from ablate2tune.models.model_loading import resolve_device

FAILURES = (
    *NOT_GIVEN, ImportError, SafetensorError, AttributeError, KeyError, RuntimeError, TypeError,
    StrictDataclassError,
)  # fmt: skip


def is_language_model(path: str, ask: bool = False) -> bool:
    """Whether a path or hub name is of a model of transformers, not of a pipeline of diffusers.

    A hub name that is not in the local cache counts as a pipeline's, unless the hub may be asked.
    """
    folder = Path(path)
    if folder.suffix == GGUF:
        return True
    if folder.is_dir():
        return (folder / "config.json").exists() and not (folder / INDEX).exists()
    if folder.exists():
        return False
    try:
        held = [try_to_load_from_cache(path, name) for name in ("config.json", INDEX)]
    except HFValidationError:  # no name of a hub
        return False
    found = [isinstance(file, str) for file in held]
    if ask and not any(found):
        try:
            listed = huggingface_hub.model_info(path, timeout=SECONDS).siblings or []
        except NOT_GIVEN:
            return False
        names = {file.rfilename for file in listed}
        found = [name in names for name in ("config.json", INDEX)]
    return found == [True, False]


def check_language_model(config: ModelConfig) -> None:
    """Refuse, before weights are read, a model that is no causal language model, and its device.

    Raises:
        UserError: for both, for a path that is neither a folder nor a hub name, and for
            `quantize`.
    """
    resolve_device(config.device)
    if config.quantize:
        raise UserError(
            "language models are kept in their own dtype",
            where=f"model.quantize = {config.quantize}",
            mend="leave it out",
        )
    folder, where = Path(config.path), f"model.path = {config.path}"
    if folder.suffix == GGUF:
        if not folder.is_file():
            raise UserError("no such file", where=where)
        return
    if not folder.exists():
        check_is_hub_name(config.path)
        return
    if (folder / INDEX).exists():
        raise UserError(
            "a pipeline of diffusers, not a language model",
            where=where,
            mend="set localize.probe to margin or generate, and leave train.text out",
        )
    if not (folder / "config.json").exists():
        raise UserError("not a language model: it has no config.json", where=where)
    _check_quantised(_configuration(config), where)


def load_language_model(config: ModelConfig) -> LanguageModel:
    """Load a causal language model and its tokenizer, and put it on its device.

    A `.gguf` file is read into plain weights, which needs the package `gguf`.

    Raises:
        UserError: what `check_language_model` raises, or the weights or the tokenizer cannot be
            loaded.
    """
    check_language_model(config)
    transformers.utils.logging.disable_progress_bar()
    device, path = resolve_device(config.device), Path(config.path)
    source: dict[str, Any] = {"pretrained_model_name_or_path": config.path}
    if path.suffix == GGUF:
        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    else:
        source["trust_remote_code"] = config.trust_remote_code
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=_dtype(config, device))
        tokenizer = AutoTokenizer.from_pretrained(**source)
    except FAILURES as error:
        raise hub_error(config.path, error) or UserError(
            f"cannot load the language model ({reason(error)})",
            where=f"model.path = {config.path}",
        ) from error
    if path.suffix == GGUF:  # it is plain weights from here on, and may be saved as such
        model.hf_quantizer = None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
    return LanguageModel(model.to(device), tokenizer, config)


def _dtype(config: ModelConfig, device: torch.device) -> torch.dtype:
    """The recipe's; float16 for bfloat16 on an MPS device that lacks it."""
    if config.dtype == "bfloat16" and device.type == "mps":
        try:
            torch.zeros(1, dtype=torch.bfloat16, device=device)
        except (TypeError, RuntimeError):
            return torch.float16
    return getattr(torch, config.dtype)


def _configuration(config: ModelConfig) -> Any:
    try:
        return AutoConfig.from_pretrained(config.path, trust_remote_code=config.trust_remote_code)
    except FAILURES as error:
        raise hub_error(config.path, error) or UserError(
            f"cannot read config.json ({reason(error)})", where=f"model.path = {config.path}"
        ) from error


def _check_quantised(configuration: Any, where: str) -> None:
    if getattr(configuration, "quantization_config", None):
        raise UserError(
            "its weights are quantised",
            where=where,
            mend="use the unquantised checkpoint, or a .gguf file, read into plain weights",
        )
