"""A real small FLUX whose weights are written so that one head alone carries the relation.

Channels C of the residual streams hold what a text token says about the relation; channels D of
the image stream are where the planted head puts it, and only the last projection reads them. No
other weight reads or writes C or D, and every token has the same norm in C with mean zero, so that
no LayerNorm leaks it. All other heads and MLPs keep their random weights: they are alive, and
carry the other words.
"""

import torch
from tiny_parts import TINY
from torch import nn

from ablate2tune.models import FluxDenoiser
from ablate2tune.scenes.vocabulary import RELATIONS

SIZES = TINY.model_copy(update={"heads": 3})
C, D = [0, 1, 2, 3], [4, 5, 6, 7]
GAIN = 0.02
"""Small, so that which of two relations the model favours depends on the picture, and the relation
of another picture says nothing about it (mode resample)."""
SIGNATURES = {
    "left": (1, -1, 0, 0), "right": (-1, 1, 0, 0), "front": (0, 0, 1, -1),
    "behind": (0, 0, -1, 1), "top": (1, 0, -1, 0), "underneath": (-1, 0, 1, 0),
}  # fmt: skip
NEUTRAL = (0, 1, 0, -1)
POSITIONS = [
    f"{stack}.{index}.attn[heads={head}]"
    for stack, count in (
        ("transformer_blocks", SIZES.double_blocks),
        ("single_transformer_blocks", SIZES.single_blocks),
    )
    for index in range(count)
    for head in range(SIZES.heads)
]


@torch.no_grad()
def isolate(denoiser: FluxDenoiser) -> None:
    """Make the relation words visible in C alone, to nobody."""
    _text_encoders(denoiser)
    model = denoiser.model
    own = C + D
    for linear in (model.time_text_embed.text_embedder.linear_2, model.x_embedder):
        rows = own if linear is model.x_embedder else slice(None)
        linear.weight[rows] = 0
        linear.bias[rows] = 0
    embed = model.context_embedder
    embed.weight[own] = 0
    embed.bias[own] = 0
    embed.weight[:, : len(C)] = 0
    embed.weight[C, range(len(C))] = 1
    for block in model.transformer_blocks:
        attn = block.attn
        _blind(attn.to_q, attn.to_k, attn.to_v, attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
        _blind(block.ff.net[0].proj, block.ff_context.net[0].proj)
        _mute(attn.to_out[0], attn.to_add_out, block.ff.net[2], block.ff_context.net[2])
        _open(block.norm1.linear, 6)
        _open(block.norm1_context.linear, 6)
    for block in model.single_transformer_blocks:
        _blind(block.attn.to_q, block.attn.to_k, block.attn.to_v, block.proj_mlp)
        _mute(block.proj_out)
        _open(block.norm.linear, 3)
    model.norm_out.linear.weight.zero_()
    model.norm_out.linear.bias.zero_()
    model.proj_out.weight[:, C] = 0
    model.proj_out.weight[:, D] = torch.randn(
        len(model.proj_out.weight), len(D), generator=torch.Generator().manual_seed(1)
    )


@torch.no_grad()
def plant(denoiser: FluxDenoiser, address: str) -> None:
    """Let one head read C of the text tokens and write it to D of the image tokens."""
    path, _, rest = address.partition("[heads=")
    head = int(rest[:-1])
    block = denoiser.model.get_submodule(path.removesuffix(".attn"))
    wide = SIZES.head_dim
    columns = slice(head * wide, (head + 1) * wide)
    first = [head * wide + place for place in range(len(C))]
    values = _values(denoiser, address)
    double = values is not block.attn.to_v
    for linear in (block.attn.to_v, values):
        linear.weight[columns] = 0
        linear.bias[columns] = 0
    values.weight[first, C] = 1
    out = block.attn.to_out[0] if double else block.proj_out
    if double:
        block.attn.to_add_out.weight[:, columns] = 0
    out.weight[:, columns] = 0
    out.weight[D, first] = GAIN


@torch.no_grad()
def uproot(denoiser: FluxDenoiser, address: str) -> None:
    """Cut the planted head's only wires out of C, so that it carries nothing."""
    values = _values(denoiser, address)
    values.weight[:, C] = 0


def _values(denoiser: FluxDenoiser, address: str) -> nn.Linear:
    """The projection by which the head's attention reads text tokens."""
    attn = denoiser.model.get_submodule(address.partition("[")[0])
    return getattr(attn, "add_v_proj", attn.to_v)


def _text_encoders(denoiser: FluxDenoiser) -> None:
    """T5 embeds each token by itself: the relation in the first channels, the word in the others.

    The words of relation phrases and the padding differ in nothing but the relation.
    """
    encoder, tokenizer = denoiser.pipe.text_encoder_2, denoiser.pipe.tokenizer_2
    for block in encoder.encoder.block:
        block.layer[0].SelfAttention.o.weight.zero_()
        block.layer[1].DenseReluDense.wo.weight.zero_()
    table = encoder.shared.weight
    table[:, : len(C)] = torch.tensor(NEUTRAL, dtype=torch.float32)
    for word in {w for relation in RELATIONS for w in relation.split()} | {"<pad>"}:
        row = tokenizer.convert_tokens_to_ids(word)
        table[row, len(C) :] = 0
        if word in SIGNATURES:
            table[row, : len(C)] = torch.tensor(SIGNATURES[word], dtype=torch.float32)


def _blind(*readers: nn.Linear) -> None:
    for linear in readers:
        linear.weight[:, C + D] = 0


def _mute(*writers: nn.Linear) -> None:
    for linear in writers:
        linear.weight[C + D] = 0
        linear.bias[C + D] = 0


def _open(modulation: nn.Linear, chunks: int) -> None:
    """Shift 0, scale 0, gate 1, whatever the timestep."""
    modulation.weight.zero_()
    values = modulation.bias.unflatten(0, (chunks, -1))
    values.zero_()
    values[2::3] = 1
