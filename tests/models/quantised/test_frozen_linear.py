"""A base in few bits: what a weight becomes, what a layer computes and keeps, and a model of it."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser, load_denoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.models.quantised.frozen_linear import FrozenLinear, freeze, packed_in
from ablate2tune.models.quantised.small_weights import NF4, SMALL
from ablate2tune.train.adapter import count_parameters, inject, sides
from ablate2tune.train.memory.memory_estimate import kept_by_autograd

WEIGHT = torch.tensor([[0.5, -1.27, 0.013], [0.0, 0.0, 0.0], [2.54, 0.02, -0.03]])


def test_int8_by_hand() -> None:
    """A hundredth and two hundredths to a number; a row of zeros stays one."""
    numbers, scales = SMALL["int8"].encode(WEIGHT)
    assert numbers.tolist() == [[50, -127, 1], [0, 0, 0], [127, 1, -2]]
    assert numbers.dtype == torch.int8
    assert scales.flatten().tolist() == pytest.approx([0.01, 1.0, 0.02])
    rounded = [[0.5, -1.27, 0.01], [0.0, 0.0, 0.0], [2.54, 0.02, -0.04]]
    torch.testing.assert_close(SMALL["int8"].decode(numbers, scales), torch.tensor(rounded))


def test_fp8_by_hand() -> None:
    """448 is the largest; between 16 and 32 numbers are 2 apart."""
    numbers, scales = SMALL["fp8"].encode(torch.tensor([[44.8, -1.73, 0.0]]))
    assert numbers.dtype == torch.uint8 and scales.item() == pytest.approx(0.1)
    found = SMALL["fp8"].decode(numbers, scales)
    torch.testing.assert_close(found, torch.tensor([[44.8, -1.8, 0.0]]))


def test_the_levels_of_nf4_are_quantiles_of_a_normal_distribution() -> None:
    """QLoRA's: eight above zero and seven below, the outermost left out, and zero itself."""
    far = 1 - (1 / 32 + 1 / 30) / 2
    above, below = (norm.ppf(np.linspace(far, 0.5, count)[:-1]) for count in (9, 8))
    levels = np.sort([*above, 0.0, *-below])
    assert pytest.approx(levels / np.abs(levels).max(), abs=1e-6) == NF4


def test_nf4_takes_the_nearest_level_of_each_block() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 128, generator=generator)
    numbers, scales = SMALL["nf4"].encode(weight)
    assert numbers.shape == (3, 64) and scales.shape == (3, 2)
    found = SMALL["nf4"].decode(numbers, scales)
    for row in range(3):
        for block in range(2):
            own = weight[row, 64 * block : 64 * block + 64]
            most = own.abs().max()
            nearest = [min(NF4, key=lambda level: abs(level * most - x)) * most for x in own]
            torch.testing.assert_close(
                found[row, 64 * block : 64 * block + 64], torch.stack(nearest)
            )


@pytest.mark.parametrize("kind, error", [("int8", 0.01), ("fp8", 0.04), ("nf4", 0.15)])
def test_outputs_and_gradients_are_the_decoded_weights_and_nothing_is_kept(
    kind: str, error: float
) -> None:
    torch.manual_seed(1)
    layer, dense = (nn.Linear(128, 24, dtype=torch.bfloat16) for _ in range(2))
    whole = layer.weight.data.clone()
    freeze(layer, kind)
    assert isinstance(layer, FrozenLinear) and layer.dtype == torch.bfloat16
    dense.weight.data = SMALL[kind].decode(layer.weight, layer.scales)
    dense.bias.data = layer.bias.data
    assert ((dense.weight - whole).norm() / whole.norm()).item() < error
    x = torch.randn(2, 5, 128).bfloat16().requires_grad_()
    again = x.detach().clone().requires_grad_()
    layer(x).square().sum().backward()
    dense(again).square().sum().backward()
    assert torch.equal(layer(x), dense(again)) and torch.equal(x.grad, again.grad)
    held = [*layer.parameters(), *layer.buffers()]
    assert kept_by_autograd(lambda: layer(x), held) == 0
    bits = 8 * (layer.weight.nbytes + layer.scales.nbytes) / whole.numel()
    assert bits < (9 if kind != "nf4" else 4.5)
    assert sides(nn.Sequential(layer), "0") == (128, 24)
    assert layer.packed == (24 * 64 if kind == "nf4" else 0)


@pytest.fixture(scope="module")
def small(tiny_flux_config: ModelConfig) -> FluxDenoiser:
    return load_denoiser(tiny_flux_config.model_copy(update={"quantize": "int8"}))


def test_a_models_blocks_are_frozen_alike_whenever_it_is_read(
    small: FluxDenoiser, tiny_flux: FluxDenoiser
) -> None:
    late = load_denoiser(small.config, encoders_first=True)
    late.weights.fetch([late.part])
    inside = {
        name
        for name, module in tiny_flux.model.named_modules()
        if isinstance(module, nn.Linear) and "transformer_blocks." in name
    }
    found = small.model.named_modules()
    assert {n for n, module in found if isinstance(module, FrozenLinear)} == inside
    theirs = late.model.state_dict()
    for name, tensor in small.model.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
    assert [c.address for c in discover(small.model).blocks] == [
        c.address for c in discover(tiny_flux.model).blocks
    ]
    embedder = "x_embedder.weight"
    assert torch.equal(theirs[embedder], tiny_flux.model.get_parameter(embedder))


def test_it_predicts_nearly_the_same_and_takes_adapters(
    small: FluxDenoiser, tiny_flux: FluxDenoiser
) -> None:
    torch.manual_seed(0)
    told = tiny_flux.encode_prompts(["a red ball left of a blue cube"])
    asked = torch.randn(1, 16, 16), torch.tensor([0.7]), told
    with torch.no_grad():
        whole, few = tiny_flux.predict(*asked), small.predict(*asked)
    error = ((whole - few).norm() / whole.norm()).item()
    assert 1e-5 < error < 0.05
    total = sum(parameter.numel() for parameter in tiny_flux.model.parameters())
    assert sum(p.numel() for p in small.model.parameters()) + packed_in(small.model) == total
    targets = ["transformer_blocks.0.attn.to_q", "single_transformer_blocks.1.proj_out"]
    inject(small.model, targets, 2, seed=0)
    assert count_parameters(small.model).total > total
    small.predict(*asked).square().sum().backward()
    gradient = small.model.get_parameter(f"{targets[0]}.lora_B.default.weight").grad
    assert gradient is not None and gradient.abs().max() > 0
    with pytest.raises(UserError, match="of few bits takes no adapter"):
        small.merge_adapter()


def test_its_identity_changes_only_where_it_is_set(tiny_flux_config: ModelConfig) -> None:
    plain = tiny_flux_config.decisive()
    assert "quantize" not in plain
    few = tiny_flux_config.model_copy(update={"quantize": "nf4"}).decisive()
    assert few == {**plain, "quantize": "nf4"}
