"""The file formats of LoRA, each a function that registers itself.

Every one of them adds the same to the weights at strength 1: where a loader scales by alpha / rank,
alpha is written and is the module's own rank.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.export.adapter_pairs import Pair, by_layer, read_pairs
from ablate2tune.models import Denoiser
from ablate2tune.models.adapter_files import adapter_file, with_metadata
from ablate2tune.models.native_names import Native
from ablate2tune.registry import Registry

Format = Callable[[Denoiser, Path, Path, Mapping[str, str]], Path]
"""Writes the adapter of one folder into another with metadata, and returns the weights' file. The
model's shapes suffice."""
FORMATS: Registry[Format] = Registry("LoRA format", "ablate2tune.export", "--format")
FILE = "lora.safetensors"


def diffusers(model: Denoiser, adapter: Path, out: Path, facts: Mapping[str, str]) -> Path:
    """As `train` wrote it: diffusers' own format, or PEFT's where a pipeline has no loader."""
    for path in sorted(adapter.iterdir()):
        data = path.read_bytes()
        if path.suffix == ".safetensors":
            data = with_metadata(data, facts)
        files.write_bytes(out / path.name, data)
    return adapter_file(model.pipe, out)


def comfyui(model: Denoiser, adapter: Path, out: Path, facts: Mapping[str, str]) -> Path:
    """The names by which ComfyUI reads diffusers' modules, with an alpha for each."""
    prefix = model.comfyui
    if prefix is None:
        raise _unknown(model, "comfyui")
    pairs = read_pairs(adapter_file(model.pipe, adapter), model.part)
    flat = prefix.endswith("_")
    return _written(
        {prefix + (name.replace(".", "_") if flat else name): p for name, p in pairs.items()},
        out,
        facts,
    )


def kohya(model: Denoiser, adapter: Path, out: Path, facts: Mapping[str, str]) -> Path:
    """The layers of the original code, as sd-scripts and musubi-tuner name them."""
    pairs = read_pairs(adapter_file(model.pipe, adapter), model.part)
    layers = by_layer(pairs, natives_of(model, pairs))
    return _written({flat_name(layer): pair for layer, pair in layers.items()}, out, facts)


def natives_of(model: Denoiser, names: Mapping[str, object] | list[str]) -> dict[str, Native]:
    """The layers of the original code that modules are parts of.

    Raises:
        UserError: one has no name there.
    """
    found = {}
    for name in names:
        native = model.native(name)
        if native is None:
            raise _unknown(model, "kohya", name)
        found[name] = native
    return found


def flat_name(layer: str) -> str:
    """A layer as kohya's scripts name it."""
    return "lora_unet_" + layer.replace(".", "_")


def _unknown(model: Denoiser, name: str, module: str | None = None) -> UserError:
    kind = type(model.pipe).__name__
    what = f"{module} of {kind}" if module else f"modules of {kind}"
    return UserError(
        f"{what}: their name is not known in this format",
        where=f"--format {name}",
        mend="export it as diffusers, or merge it",
    )


def _written(pairs: Mapping[str, Pair], out: Path, facts: Mapping[str, str]) -> Path:
    tensors: dict[str, Tensor] = {}
    for name, pair in sorted(pairs.items()):
        tensors[f"{name}.lora_down.weight"] = pair.down.contiguous()
        tensors[f"{name}.lora_up.weight"] = pair.up.contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(float(pair.rank))
    path = out / FILE
    files.write_bytes(path, with_metadata(save(tensors, {"format": "pt"}), facts))
    return path


for _format in (diffusers, comfyui, kohya):
    FORMATS.add(_format.__name__, _format)
