"""Adapters on disk: as stock diffusers loads them, or else as PEFT does, with a note of their base.

Where a pipeline class has diffusers' LoRA loader, its `save_lora_weights` and `load_lora_weights`
are used; the others (PixArt, HunyuanDiT, CogView3+) get PEFT's own format. Both hold one
safetensors file, in whose header stands what the adapter was trained on.
"""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft import LoraConfig, PeftConfig, get_peft_model_state_dict, set_peft_model_state_dict
from peft.mapping import inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ablate2tune.errors import UserError, reason
from ablate2tune.files import unwritable, write_bytes
from ablate2tune.models.quantised.frozen_linear import FrozenLinear
from ablate2tune.settings import Settings

WEIGHTS = "pytorch_lora_weights.safetensors"
"""The file, by the name that diffusers gives it."""
PEFT_WEIGHTS = "adapter_model.safetensors"
"""The same by PEFT's name."""
PEFT_CONFIG = "adapter_config.json"
"""Beside PEFT's weights: rank, alpha and modules, by which they are scaled and placed."""
NAME = "default"
"""The adapter's name inside PEFT."""
NOTE = "ablate2tune"
"""Key of the note in the file's header."""
PEFT_PREFIX = "base_model.model."


class AdapterNote(Settings):
    """What an adapter was trained on, kept in its file."""

    base: str
    """Identity of the base model, by content."""
    rank: int
    targets: list[str]
    """The adapted modules."""
    seed: int
    height: int
    """Of the pictures it was trained on, in pixels."""
    width: int
    acts_above: float = 0.0
    """The noise level below which it is off while sampling (`adapter_window`)."""
    step: int | None = None
    """Of a checkpoint on the way, how many steps it was trained for."""


def has_loader(pipe: Any) -> bool:
    """Whether diffusers saves and loads LoRA for this pipeline class."""
    return hasattr(type(pipe), "save_lora_weights")


def adapter_file(pipe: Any, folder: Path) -> Path:
    """Where a folder holds the weights of an adapter for this pipeline."""
    return folder / (WEIGHTS if has_loader(pipe) else PEFT_WEIGHTS)


def attach(model: nn.Module, config: PeftConfig) -> None:
    """Give a model an adapter, through diffusers where its class can, else through PEFT."""
    if isinstance(model, PeftAdapterMixin):
        model.add_adapter(config, NAME)
    else:
        inject_adapter_in_model(config, model, NAME)


def save(
    pipe: Any,
    part: str,
    folder: Path,
    note: AdapterNote,
    weights: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write the attached adapter, with alpha = rank, so that all tools load it at one strength.

    Args:
        pipe: its component `part` carries the adapter.
        part: "transformer" or "unet".
        folder: gets one file, or PEFT's two.
        note: stands in the file's header.
        weights: of a LoRA that says what the attached one does, by PEFT's names; its own by
            default.

    Returns:
        The file's path.

    Raises:
        UserError: the folder cannot be written.
    """
    path, model = adapter_file(pipe, folder), getattr(pipe, part)
    held = get_peft_model_state_dict(model, adapter_name=NAME) if weights is None else weights
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in held.items()}
    facts = {"r": note.rank, "lora_alpha": note.rank, "target_modules": note.targets}
    if any(name.endswith(".lora_magnitude_vector") for name in weights):
        facts["use_dora"] = True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
            if has_loader(pipe):
                given = {f"{part}_lora_layers": weights, f"{part}_lora_adapter_metadata": facts}
                type(pipe).save_lora_weights(temporary, **given)
            else:
                LoraConfig(**facts).save_pretrained(temporary)
                saved = {PEFT_PREFIX + name: tensor for name, tensor in weights.items()}
                save_file(saved, Path(temporary) / PEFT_WEIGHTS, {"format": "pt"})
            files = {file.name: file.read_bytes() for file in Path(temporary).iterdir()}
    except (OSError, SafetensorError) as error:
        told = error if isinstance(error, OSError) else OSError(5, str(error))
        raise unwritable(path, told) from error
    files[path.name] = with_metadata(
        files[path.name], {NOTE: note.model_dump_json(exclude_none=True)}
    )
    for name, data in files.items():
        write_bytes(folder / name, data)
    return path


def load(pipe: Any, part: str, folder: Path) -> None:
    """Attach the adapter of a folder.

    Raises:
        UserError: there is none, it is damaged, or it does not fit the model.
    """
    path, model = adapter_file(pipe, folder), getattr(pipe, part)
    wrong = misfit(pipe, part, folder)
    if wrong:
        raise UserError(
            wrong, where=str(path), mend="use an adapter that was trained on this model"
        )
    try:
        if has_loader(pipe):
            with _without_warnings():
                pipe.load_lora_weights(str(folder), weight_name=path.name)
        else:
            inject_adapter_in_model(LoraConfig.from_pretrained(str(folder)), model, NAME)
            weights = load_file(path).items()
            told = {name.removeprefix(PEFT_PREFIX): tensor for name, tensor in weights}
            set_peft_model_state_dict(model, told, adapter_name=NAME)
    except Exception as error:  # diffusers, peft and safetensors each raise their own
        remove(pipe, part)
        raise UserError(
            f"the adapter cannot be loaded into this model ({reason(error)})", where=str(path)
        ) from error
    if not getattr(model, "peft_config", None):
        remove(pipe, part)
        raise UserError("holds nothing for this model's denoiser", where=str(path))


def remove(pipe: Any, part: str) -> None:
    """Take the adapter off again; the base model is as it was."""
    if has_loader(pipe):
        pipe.unload_lora_weights()
        return
    model = getattr(pipe, part)
    recurse_remove_peft_layers(model)
    vars(model).pop("peft_config", None)


def merge(pipe: Any, part: str) -> None:
    """Add the attached adapter to the weights, and take it off: a pipeline like any other.

    Raises:
        UserError: the sum is not finite in the weights' dtype, or these are of few bits.
    """
    if any(isinstance(module, FrozenLinear) for module in getattr(pipe, part).modules()):
        raise UserError(
            "a base of few bits takes no adapter into its weights",
            where="model.quantize",
            mend="leave it out",
        )
    for module in getattr(pipe, part).modules():
        if isinstance(module, BaseTunerLayer):
            try:
                module.merge(safe_merge=True)
            except ValueError as error:
                raise UserError(
                    f"the adapter cannot be merged ({reason(error)})", where=part
                ) from error
    remove(pipe, part)


@contextmanager
def switching(model: nn.Module) -> Iterator[Callable[[bool], None]]:
    """What switches the adapter off and on again, as often as it is called in here.

    Without it the model computes what it did before the adapter was attached, exactly. Afterwards
    the adapter is as it was before: on where it was on, and as much of it trainable.
    """
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    layers = [layer for layer in layers if not layer.disable_adapters]
    held = [(parameter, parameter.requires_grad) for x in layers for parameter in x.parameters()]

    def switch(on: bool) -> None:
        for layer in layers:
            layer.enable_adapters(on)

    try:
        yield switch
    finally:
        switch(True)
        for parameter, trained in held:  # PEFT lets all of it be trained
            parameter.requires_grad_(trained)


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """The model is without its adapter, by `switching`."""
    with switching(model) as switch:
        switch(False)
        yield


def misfit(pipe: Any, part: str, folder: Path, base: str | None = None) -> str | None:
    """Why the adapter in a folder does not belong to this model, in one line; None if it does.

    diffusers drops tensors of modules that a model lacks without an error, and loads an adapter of
    another base wherever the shapes agree.

    Args:
        pipe: the model.
        part: the component that denoises.
        folder: holds the adapter.
        base: the model's identity, held against the one in the adapter's note; None holds nothing.

    Raises:
        UserError: there is no adapter, or it is damaged.
    """
    path = adapter_file(pipe, folder)
    modules, lacking = dict(getattr(pipe, part).named_modules()), []
    for name, side, shape in _tensors(path, part):
        module = modules.get(name)
        if module is None:
            lacking.append(name)
            continue
        own = _width(module, side)
        theirs = shape[1] if side == "A" else shape[0]
        if own != theirs:
            way = "takes" if side == "A" else "gives"
            return f"{name} {way} {theirs} channels in the adapter, {own} in this model"
    if lacking:
        names = list(dict.fromkeys(lacking))
        return f"it adapts modules that this model lacks: {len(names)}, {names[0]} first"
    note = read_note(path)
    if base is None or note is None or note.base == base:
        return None
    return f"it was trained on another base model ({note.base}, and this is {base})"


def read_note(path: Path) -> AdapterNote | None:
    """What stands in an adapter file's header about its base; None if another tool wrote it.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    with _opened(path) as file:
        text = (file.metadata() or {}).get(NOTE)
    try:
        return None if text is None else AdapterNote.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            "its note cannot be read", where=str(path), mend="train it again"
        ) from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """diffusers warns of each text encoder that has no LoRA; what matters `misfit` has said."""
    logger = logging.getLogger("diffusers.loaders.lora_base")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise UserError(
            "no such adapter", where=str(path), mend="train it first: `ablate2tune train RECIPE`"
        )
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"damaged adapter ({reason(error)})", where=str(path), mend="train it again"
        ) from error


def _tensors(path: Path, part: str) -> Iterator[tuple[str, str, list[int]]]:
    """Module, side ("A" or "B") and shape of the denoiser's tensors; none in other tools' names."""
    pattern = re.compile(rf"(?:{part}|{re.escape(PEFT_PREFIX[:-1])})\.(.+)\.lora_([AB])\.weight")
    with _opened(path) as file:
        for key in sorted(file.keys()):
            found = pattern.fullmatch(key)
            if found:
                yield found[1], found[2], file.get_slice(key).get_shape()


def _width(module: nn.Module, side: str) -> int | None:
    names = ("in_features", "in_channels") if side == "A" else ("out_features", "out_channels")
    return next((getattr(module, name) for name in names if hasattr(module, name)), None)


def with_metadata(data: bytes, facts: Mapping[str, str]) -> bytes:
    """A safetensors file with facts in its header, sorted, so that equal runs give equal bytes.

    The library writes the metadata in a random order.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] |= facts
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    padded = text + b" " * (-len(text) % 8)
    return len(padded).to_bytes(8, "little") + padded + data[8 + size :]
