"""Compiled blocks: the same losses and gradients, with and without checkpointing."""

import pytest
import torch
from torch import nn

from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser
from ablate2tune.train.adapter import inject, trainable
from ablate2tune.train.memory.checkpointing import cover
from ablate2tune.train.memory.compiled_blocks import compile_blocks

TARGETS = ["transformer_blocks.1.attn.to_q", "single_transformer_blocks.0.proj_out"]


def blocks_of(denoiser: FluxDenoiser) -> list[nn.Module]:
    model = denoiser.model
    return [model.get_submodule(block.address) for block in discover(model).blocks]


def gradients(denoiser: FluxDenoiser) -> list[torch.Tensor]:
    torch.manual_seed(0)
    told = denoiser.encode_prompts(["a red ball left of a blue cube", "a green cone"])
    row = torch.randn(2, 16, 16), torch.randn(2, 16, 16), torch.tensor([0.3, 0.9]), told
    parameters = list(trainable(denoiser.model).values())
    loss = denoiser.denoising_loss(*row).sum()
    return [loss.detach(), *torch.autograd.grad(loss, parameters)]


def test_gradients_are_the_same_and_the_prefix_has_no_graph(tiny_flux: FluxDenoiser) -> None:
    """Of four blocks the second is the first adapted one, and the last two keep nothing."""
    inject(tiny_flux.model, TARGETS, 2, seed=0)
    for parameter in trainable(tiny_flux.model).values():
        nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(3))
    expected = gradients(tiny_flux)
    graphs, blocks = [], blocks_of(tiny_flux)

    def counted(module: torch.fx.GraphModule, _: list) -> torch.fx.GraphModule:
        graphs.append(module)
        return module

    needs: list[bool] = []

    def look(_: nn.Module, given: tuple, out: object) -> None:
        tensors = out if isinstance(out, tuple) else (out,)
        needs.append(any(tensor.requires_grad for tensor in tensors))

    compile_blocks(blocks, 2, backend=counted)
    handles = [block.register_forward_hook(look) for block in blocks]
    found = gradients(tiny_flux)
    assert graphs and needs == [False, True, True, True]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    for handle in handles:
        handle.remove()
    made = len(graphs)
    gradients(tiny_flux)
    assert len(graphs) == made  # nothing is compiled again
    cover(blocks, "off", lambda: pytest.fail("nobody asked"), None)
    assert len(discover(tiny_flux.model).blocks) == 4


def test_what_cannot_be_compiled_is_one_line(tiny_flux: FluxDenoiser) -> None:
    def broken(module: torch.fx.GraphModule, _: list):
        raise RuntimeError("no compiler")

    compile_blocks(blocks_of(tiny_flux), 0, backend=broken)
    with pytest.raises(UserError, match=r"cannot be compiled here .*no compiler") as refused:
        predicted(tiny_flux)
    assert "\n" not in str(refused.value)


def predicted(denoiser: FluxDenoiser) -> None:
    told = denoiser.encode_prompts(["a green cone"])
    with torch.no_grad():
        denoiser.predict(torch.randn(1, 16, 16), torch.tensor([0.3]), told)
