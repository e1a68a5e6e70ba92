"""Modules by the names of a model's original code, which kohya's scripts use.

diffusers often splits what is one layer there: q, k and v of one projection lie behind each other
in its output channels.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn


class Native(NamedTuple):
    """A layer of the original code."""

    name: str
    first: int = 0
    """The first of its output channels that the module of diffusers is."""
    total: int | None = None
    """Its output channels; None where the module is the whole layer."""


class Blocks(NamedTuple):
    """A stack of blocks, by both names."""

    ours: str
    theirs: str
    names: Mapping[str, str]
    """Modules that are whole layers there."""
    fused: Mapping[str, Sequence[str]]
    """Layers there, with the modules that they hold in the order of their output channels."""


FLUX = (
    Blocks(
        "transformer_blocks",
        "double_blocks",
        {
            "attn.to_out.0": "img_attn.proj",
            "attn.to_add_out": "txt_attn.proj",
            "ff.net.0.proj": "img_mlp.0",
            "ff.net.2": "img_mlp.2",
            "ff_context.net.0.proj": "txt_mlp.0",
            "ff_context.net.2": "txt_mlp.2",
            "ff.linear_in": "img_mlp.0",  # FLUX.2's
            "ff.linear_out": "img_mlp.2",
            "ff_context.linear_in": "txt_mlp.0",
            "ff_context.linear_out": "txt_mlp.2",
            "norm1.linear": "img_mod.lin",
            "norm1_context.linear": "txt_mod.lin",
        },
        {
            "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
            "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
        },
    ),
    Blocks(
        "single_transformer_blocks",
        "single_blocks",
        {
            "proj_out": "linear2",
            "attn.to_qkv_mlp_proj": "linear1",  # FLUX.2's
            "attn.to_out": "linear2",
            "norm.linear": "modulation.lin",
        },
        {"linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")},
    ),
)
"""FLUX.1, FLUX.2 and Chroma."""
SD3 = (
    Blocks(
        "transformer_blocks",
        "joint_blocks",
        {
            "attn.to_out.0": "x_block.attn.proj",
            "attn.to_add_out": "context_block.attn.proj",
            "attn2.to_out.0": "x_block.attn2.proj",
            "ff.net.0.proj": "x_block.mlp.fc1",
            "ff.net.2": "x_block.mlp.fc2",
            "ff_context.net.0.proj": "context_block.mlp.fc1",
            "ff_context.net.2": "context_block.mlp.fc2",
        },
        {
            "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
            "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
            "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
        },
    ),
)


def native_name(stacks: Sequence[Blocks], model: nn.Module, name: str) -> Native | None:
    """The layer of the original code that a module is, or is a part of; None where none is known.

    Args:
        stacks: of the family.
        model: has the module; its shapes suffice.
        name: of the module.
    """
    found = re.fullmatch(r"(\w+)\.(\d+)\.(.+)", name)
    if found is None:
        return None
    stack, number, below = found.groups()
    for blocks in stacks:
        if blocks.ours != stack:
            continue
        at = f"{blocks.theirs}.{number}."
        if below in blocks.names:
            return Native(at + blocks.names[below])
        for layer, parts in blocks.fused.items():
            if below in parts:
                modules: list[Any] = [model.get_submodule(f"{stack}.{number}.{p}") for p in parts]
                sizes = [module.out_features for module in modules]
                place = list(parts).index(below)
                return Native(at + layer, sum(sizes[:place]), sum(sizes))
    return None


UNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""Layers of a residual block of Stable Diffusion's UNet."""


def unet_name(layers_per_block: int, name: str) -> Native | None:
    """The layer of Stable Diffusion's original UNet that a module is.

    >>> unet_name(2, "up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q").name
    'output_blocks.1.1.transformer_blocks.0.attn1.to_q'
    """
    kinds = "attentions|resnets"
    found = re.fullmatch(rf"(down|mid|up)_block(?:s\.(\d+))?\.({kinds})\.(\d+)\.(.+)", name)
    if found is None:
        return None
    side, level, kind, number, below = found.groups()
    if kind == "resnets":
        if below not in UNET:
            return None
        below = UNET[below]
    if side == "mid":  # a residual block, an attention, a residual block
        return Native(f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}.{below}")
    each = layers_per_block + 1  # a level ends with a change of size, or holds one layer more
    place = int(level) * each + int(number) + (side == "down")
    blocks = "input_blocks" if side == "down" else "output_blocks"
    return Native(f"{blocks}.{place}.{int(kind == 'attentions')}.{below}")
