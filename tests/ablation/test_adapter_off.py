"""Mode adapter_off against the adapter's own scale, set to 0 by hand."""

from collections.abc import Sequence

import pytest
import torch

from ablate2tune.ablation import Ablation, ablated, ablated_rows
from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser
from ablate2tune.train.adapter import inject, trainable

NAMES = [
    "transformer_blocks.0.attn.add_k_proj",
    "transformer_blocks.1.ff.net.2",
    "single_transformer_blocks.0.proj_out",
]


@pytest.fixture
def run(tiny_flux: FluxDenoiser):
    return adapted(tiny_flux, NAMES)


def adapted(tiny_flux: FluxDenoiser, names: list[str]):
    """The prediction for two latents (or copies of them) of a model that carries adapters."""
    inject(tiny_flux.model, names, 2, seed=3)
    for place, parameter in enumerate(trainable(tiny_flux.model).values()):
        generator = torch.Generator().manual_seed(place)
        parameter.data = torch.randn(parameter.shape, generator=generator)
    conditioning = tiny_flux.encode_prompts(["a red ball", "a green cone"])
    latents = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(7))

    @torch.no_grad()
    def forward(copies: int = 1) -> torch.Tensor:
        rows = [0, 1] * copies
        return tiny_flux.predict(latents[rows], torch.full((len(rows),), 0.7), conditioning[rows])

    return forward


def scaled(model, names: Sequence[str], run) -> torch.Tensor:
    """The prediction with these adapters' scales at 0, as PEFT applies them."""
    for name in names:
        model.get_submodule(name).scaling["default"] = 0.0
    found = run()
    for name in names:
        model.get_submodule(name).scaling["default"] = 1.0
    return found


@pytest.mark.parametrize("names", [[name] for name in NAMES] + [NAMES[1:], NAMES])
def test_it_is_a_scale_of_zero_bit_for_bit_and_leaves_nothing(tiny_flux, run, names: list[str]):
    before = run()
    expected = scaled(tiny_flux.model, names, run)
    assert not torch.equal(expected, before)
    with ablated(tiny_flux.model, [Ablation(name, "adapter_off") for name in names]):
        found = run()
    assert torch.equal(found, expected)
    assert torch.equal(run(), before)


def test_conditions_of_one_batch_switch_off_different_adapters(tiny_flux, run):
    conditions = [[], *([Ablation(name, "adapter_off")] for name in NAMES)]
    expected = [run(), *(scaled(tiny_flux.model, [name], run) for name in NAMES)]
    with ablated_rows(tiny_flux.model, conditions):
        found = run(len(conditions))
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_a_part_is_switched_off_whole(tiny_flux):
    block = discover(tiny_flux.model)["transformer_blocks.1"]
    attention = [name for name in block.linears if ".attn." in name]
    run = adapted(tiny_flux, list(block.linears))
    for address, names in ((block.address, block.linears), (f"{block.address}.attn", attention)):
        with ablated(tiny_flux.model, [Ablation(address, "adapter_off")]):
            found = run()
        assert torch.equal(found, scaled(tiny_flux.model, names, run))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("transformer_blocks.0.attn.to_q", "carries no adapter to switch off"),
        ("transformer_blocks.0.attn", "carries no adapter to switch off"),
        ("transformer_blocks.0.attn[heads=0]", "does not fit a part of a tensor"),
    ],
)
def test_what_has_no_adapter_is_refused(tiny_flux, run, address: str, message: str):
    with (
        pytest.raises(UserError, match=message),
        ablated(tiny_flux.model, [Ablation(address, "adapter_off")]),
    ):
        run()
