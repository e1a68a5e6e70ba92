"""Models from their configurations alone, on the meta device: structure without weights.

A component of a pipeline has an address with a prefix, `text_encoder_2:encoder.block.3`; without
one it is of the denoiser.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from ablate2tune.errors import UserError, did_you_mean, reason

DENOISERS = ("transformer", "unet", "prior")
"""Names under which pipelines keep their denoiser."""


def split_prefix(address: str, parts: Mapping[str, Any]) -> tuple[str, str]:
    """The part of a pipeline that an address is of, and the address within it.

    >>> split_prefix("text_encoder_2:encoder.block.3", {"transformer": 0, "text_encoder_2": 0})
    ('text_encoder_2', 'encoder.block.3')
    >>> split_prefix("transformer_blocks.0", {"transformer": 0, "text_encoder_2": 0})
    ('transformer', 'transformer_blocks.0')

    Raises:
        UserError: the pipeline has no such part, or no denoiser.
    """
    name, colon, rest = address.partition(":")
    # A colon also stands in ranges of slices, attn[cols=0:64], after the path.
    if colon and "[" not in name:
        if name not in parts:
            raise UserError(
                f"the pipeline has no {name!r}", where=address, mend=did_you_mean(name, parts)
            )
        return name, rest
    denoiser = next((name for name in DENOISERS if name in parts), None)
    if denoiser is None:
        raise UserError("the pipeline has no denoiser", where=address, mend="write PART:ADDRESS")
    return denoiser, address


def empty_models(path: str) -> Iterator[tuple[str, nn.Module]]:
    """The denoisers and text encoders of a pipeline folder, or the one model of a model folder.

    Each comes as (name, model on the meta device), the denoiser first; weights are not read.

    Raises:
        UserError: there is neither file, a file is damaged, or a class is unknown.
    """
    folder = Path(path)
    if not folder.is_dir():
        near = [str(p) for p in folder.parent.glob("*")] if folder.parent.is_dir() else []
        raise UserError("no such folder", where=path, mend=did_you_mean(path, near))
    if (folder / "model_index.json").exists():
        index = _read(folder / "model_index.json")
        found = {name: value for name, value in index.items() if isinstance(value, list)}
        wanted = [name for name in found if name in DENOISERS]
        wanted += [name for name in found if name.startswith("text_encoder")]
        parts = [(name, *[*found[name], None, None][:2]) for name in wanted]
        if not (there := [part for part in parts if part[2] is not None]):
            raise UserError(
                "names no denoiser and no text encoder", where=str(folder / "model_index.json")
            )
        for name, library, kind in there:
            yield name, empty_model(folder / name, library, kind)
    elif (folder / "config.json").exists():
        config = _read(folder / "config.json")
        kind = config.get("_class_name") or next(iter(config.get("architectures") or []), None)
        library = "diffusers" if "_class_name" in config else "transformers"
        yield folder.name, empty_model(folder, library, str(kind))
    else:
        raise UserError("it has neither model_index.json nor config.json", where=path)


def empty_model(folder: Path, library: str, kind: str) -> nn.Module:
    """One model of a folder, of a class of `diffusers` or `transformers`, on the meta device.

    Raises:
        UserError: the class is unknown, or its configuration is damaged.
    """
    module = {"diffusers": diffusers, "transformers": transformers}.get(library)
    model_class = getattr(module, kind, None)
    if model_class is None:
        raise UserError(
            f"the installed {library} has no class {kind}",
            where=str(folder),
            mend="update it, or check the class name",
        )
    config = _read(folder / "config.json")
    try:
        with torch.device("meta"):
            if library == "diffusers":
                return model_class.from_config(config)
            return model_class(transformers.AutoConfig.from_pretrained(str(folder)))
    except Exception as error:  # classes raise whatever a damaged configuration leads them to
        raise UserError(
            f"its config builds no {kind} ({reason(error)})", where=str(folder)
        ) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({error})", where=str(file)) from error
    if not isinstance(held, dict):
        raise UserError("is no mapping of keys to values", where=str(file))
    return held
