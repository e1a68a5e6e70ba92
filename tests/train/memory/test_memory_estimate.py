import re

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from ablate2tune.components import discover
from ablate2tune.train.adapter import inject, trainable
from ablate2tune.train.memory.memory_estimate import (
    MemoryEstimate,
    estimate_memory,
    kept_by_autograd,
)


def test_kept_tensors_by_hand():
    # x * x keeps x once (4 floats), its exp the result; a frozen layer's weight is held anyway.
    x = torch.ones(4, requires_grad=True)
    assert kept_by_autograd(lambda: (x * x).sum(), []) == 16
    assert kept_by_autograd(lambda: (x * x).exp().sum(), []) == 32
    frozen = nn.Linear(4, 3).requires_grad_(False)
    assert kept_by_autograd(lambda: frozen(x * x), frozen.parameters()) == 16


def test_nothing_is_kept_before_the_first_trained_layer():
    early = nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3)])
    early.requires_grad_(False)
    late = nn.Linear(8, 2)
    x = torch.randn(5, 8)
    # The last layer alone: its input, 5 x 8 floats.
    held = [*early.parameters(), *late.parameters()]
    assert kept_by_autograd(lambda: late(early(x)), held) == 160


def test_the_meta_device_tells_the_same():
    def kept(device: str) -> int:
        model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 2)).to(device)
        x = torch.ones(3, 8, device=device)
        return kept_by_autograd(lambda: model(x), model.parameters())

    assert kept("cpu") == kept("meta") == 4 * (3 * 8 + 3 * 16 + 3 * 16)


def test_estimate_by_hand():
    weight = nn.Parameter(torch.ones(1000))
    base = torch.ones(1000)
    estimate = estimate_memory(lambda: (weight * base).sum(), [weight, base], [weight], 4)
    # weight * base keeps base alone, which is held; the gradient and two moments are the adapter's.
    assert estimate[:4] == (8000, 12000, 0, 4)


def test_over_commitment_is_said():
    estimate = MemoryEstimate(34 * 10**9, 2 * 10**8, 15 * 10**9, 4)
    assert estimate.total == 94_200_000_000
    assert str(estimate) == (
        "memory: about 94 GB (weights 34, activations 4 x 15, adapter and optimizer 0.2)"
    )
    assert estimate.warning(None) is None
    assert estimate.warning(95 * 10**9) is None
    warning = estimate.warning(80 * 10**9)
    assert warning is not None
    assert (
        "has 80 GB and training needs about 94; set a smaller train.micro_batch, lower" in warning
    )


def flash(query, key, value, **_):
    """What a GPU computes; the meta device alone would take attention apart."""
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern, low, high",
    [
        # 7.3 GB without what adapters keep (found by another count). With all they keep 3.4 GB of
        # inputs: 1,536 tokens x 2 bytes x (38 x 15,360 of proj_out, 19 x 12,288 of the second ff,
        # 3,072 of 57 attentions, 19 ffs and 19 out-projections), less what is kept in any case.
        (r"transformer_blocks\.[0-3]\.ff(_context)?\.net\.2", 7, 7.6),
        (r".*", 10, 11),
        (r"single_transformer_blocks\.3[45]\..*", 0.5, 1.0),
    ],
)
def test_a_picture_of_512_pixels_in_flux(pattern: str, low: float, high: float, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", flash)
    with torch.device("meta"):
        model = FluxTransformer2DModel(guidance_embeds=True).to(torch.bfloat16)
    blocks = [name for block in discover(model).blocks for name in block.linears]
    inject(model, [name for name in blocks if re.fullmatch(pattern, name)], rank=16, seed=0)
    kinds = {"device": "meta", "dtype": torch.bfloat16}

    def forward():
        return model(
            hidden_states=torch.empty(1, 1024, 64, **kinds),
            timestep=torch.empty(1, **kinds),
            guidance=torch.empty(1, device="meta"),
            pooled_projections=torch.empty(1, 768, **kinds),
            encoder_hidden_states=torch.empty(1, 512, 4096, **kinds),
            txt_ids=torch.empty(512, 3, device="meta"),
            img_ids=torch.empty(1024, 3, device="meta"),
        )

    estimate = estimate_memory(forward, model.parameters(), trainable(model).values(), 4)
    assert estimate.weights == pytest.approx(23.8e9, rel=0.02)
    assert low < estimate.activations / 1e9 < high
