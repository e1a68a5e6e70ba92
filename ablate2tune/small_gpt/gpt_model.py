"""The model: GPT-2's block (Radford et al. 2019) with its choices as settings, over bytes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablate2tune.seeding import torch_generator
from ablate2tune.small_gpt.gpt_config import GptConfig

BYTES = 256


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, config: GptConfig):
        """Fused projections, no biases."""
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two matrices around ReLU or GELU, or SwiGLU's three."""

    def __init__(self, config: GptConfig):
        """No biases."""
        super().__init__()
        self.activation = config.activation
        gated = config.activation == "swiglu"
        self.up = nn.Linear(config.width, config.hidden, bias=False)
        self.gate = nn.Linear(config.width, config.hidden, bias=False) if gated else None
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        if self.gate is not None:
            return self.down(F.silu(self.gate(x)) * self.up(x))
        return self.down(getattr(F, self.activation)(self.up(x)))


class Block(nn.Module):
    """Attention and MLP around the residual stream."""

    def __init__(self, config: GptConfig):
        """Norms before the branches or behind the sums."""
        super().__init__()
        self.pre = config.position == "pre"
        self.norm_1, self.norm_2 = _norm(config), _norm(config)
        self.attention, self.mlp = Attention(config), Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        if self.pre:
            x = x + self.attention(self.norm_1(x))
            return x + self.mlp(self.norm_2(x))
        x = self.norm_1(x + self.attention(x))
        return self.norm_2(x + self.mlp(x))


class SmallGpt(nn.Module):
    """The whole model; its head is tied to the embeddings."""

    def __init__(self, config: GptConfig, seed: int, empty: bool = False):
        """Weights follow from (seed, name): tensors of one name and shape begin equal everywhere.

        An `empty` one is left as torch makes it, for its shapes alone.

        Normal with deviation 0.02; what writes to the stream is divided by the root of the number
        of writers, as in GPT-2.
        """
        super().__init__()
        self.embedding = nn.Embedding(BYTES, config.width)
        self.places = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = _norm(config) if config.position == "pre" else nn.Identity()
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2 or empty:
                continue
            drawn = torch.randn(parameter.shape, generator=torch_generator(seed, f"gpt:{name}"))
            writes = name.endswith(("out_proj.weight", "down.weight"))
            scale = 0.02 / math.sqrt(2 * config.layers) if writes else 0.02
            parameter.data.copy_(scale * drawn)

    def forward(self, x: Tensor) -> Tensor:
        """Bytes, int64 (batch, tokens), to logits (batch, tokens, 256)."""
        places = torch.arange(x.shape[1], device=x.device)
        stream = self.embedding(x) + self.places(places)
        for block in self.blocks:
            stream = block(stream)
        return self.norm(stream) @ self.embedding.weight.T


def _norm(config: GptConfig) -> nn.Module:
    if config.norm == "rmsnorm":
        return nn.RMSNorm(config.width)
    return nn.LayerNorm(config.width, bias=False)


def parameter_counts(model: SmallGpt) -> tuple[int, int]:
    """All parameters, and those outside the embeddings."""
    total = sum(parameter.numel() for parameter in model.parameters())
    return total, total - model.embedding.weight.numel() - model.places.weight.numel()


def flops_per_byte(model: SmallGpt, config: GptConfig) -> int:
    """Of a training step, per byte: six per weight of a product, and attention's.

    6 N + 12 layers x width x context, N without embeddings but with the head (Kaplan et al. 2020,
    arXiv:2001.08361, section 2.1, times three for both passes).
    """
    _, inner = parameter_counts(model)
    products = inner + model.embedding.weight.numel()
    return 6 * products + 12 * config.layers * config.width * config.context
