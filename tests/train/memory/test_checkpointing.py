import pytest
import torch
from torch import Tensor, nn

from ablate2tune.components import discover
from ablate2tune.models import FluxDenoiser
from ablate2tune.train.adapter import inject
from ablate2tune.train.memory.checkpointing import cover, covered_in, set_covered
from ablate2tune.train.memory.memory_estimate import (
    MemoryEstimate,
    estimate_memory,
    kept_by_autograd,
)


class Block(nn.Module):
    """A residual block that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4) / 2, requires_grad=False)
        self.calls = 0

    def forward(self, x: Tensor, *, scale: float) -> Tensor:
        self.calls += 1
        return x + scale * torch.tanh(x @ self.weight)


@pytest.fixture
def blocks() -> list[Block]:
    """Four blocks, of which the third is trained."""
    torch.manual_seed(0)
    made = [Block() for _ in range(4)]
    made[2].weight.requires_grad_(True)
    return made


def loss(blocks: list[Block]) -> Tensor:
    x = torch.arange(8.0).reshape(2, 4) / 8
    for block in blocks:
        x = block(x, scale=0.5)
    return x.square().sum()


def never() -> MemoryEstimate:
    raise AssertionError("nobody asked")


def test_gradients_are_the_same_and_blocks_before_the_adapted_one_run_once(blocks) -> None:
    loss(blocks).backward()
    weight = blocks[2].weight
    expected, weight.grad = weight.grad, None
    plain = kept_by_autograd(lambda: loss(blocks), [block.weight for block in blocks])
    for block in blocks:
        block.calls = 0
    assert cover(blocks, "on", never, None) == 4
    loss(blocks).backward()
    assert torch.equal(weight.grad, expected)
    assert [block.calls for block in blocks] == [1, 1, 2, 2]
    assert kept_by_autograd(lambda: loss(blocks), [block.weight for block in blocks]) < plain
    with torch.no_grad():
        loss(blocks)
    assert [block.calls for block in blocks][2:] == [4, 4]


def test_a_blocks_own_forward_comes_back(blocks) -> None:
    """What was put in its place before is covered as well, and is there again afterwards."""
    block = blocks[3]
    whole = block.forward
    doubled = block.forward = lambda x, *, scale: 2 * whole(x, scale=scale)
    expected = loss(blocks)
    cover(blocks, "on", never, None)
    assert vars(block)["forward"] is not doubled and torch.equal(loss(blocks), expected)
    cover(blocks, "off", never, None)
    assert vars(block)["forward"] is doubled and "forward" not in vars(blocks[2])


def test_as_few_blocks_as_the_memory_asks_for(blocks) -> None:
    def memory() -> MemoryEstimate:
        covered = sum("forward" in vars(block) for block in blocks)
        return MemoryEstimate(weights=0, adapter=0, activations=10 - 2 * covered, pictures=1)

    assert cover(blocks, "auto", memory, 10) == 0
    assert cover(blocks, "auto", memory, 7) == 2
    assert ["forward" in vars(block) for block in blocks] == [False, False, True, True]
    assert cover(blocks, "auto", memory, 1) == 4
    assert cover(blocks, "off", never, 1) == 0
    assert not any("forward" in vars(block) for block in blocks)
    assert cover(blocks, "auto", never, None) == 0


def test_a_block_that_is_computed_again_counts_by_hand() -> None:
    """With a trained weight each block keeps its input, which is held, and tanh's output.

    The third one computes with 4 x 8 floats, the others with 2 x 4.
    """
    blocks = [Block() for _ in range(4)]
    wide = blocks[2]
    wide.forward = lambda x, *, scale: x + torch.tanh((x @ wide.weight).repeat(2, 2))[:2, :4]
    held = [block.weight.requires_grad_(True) for block in blocks]
    set_covered(blocks, 4)
    covered = covered_in(nn.ModuleList(blocks))
    assert covered == blocks
    estimate = estimate_memory(lambda: loss(blocks), held, [], 3, covered=covered)
    # Four inputs of blocks and what the loss squares.
    assert estimate[2:4] == (5 * 32, 3) and estimate.again == 4 * 8 * 4
    assert estimate.total == 4 * 64 + 3 * (160 + 128)
    assert [block.calls for block in blocks] == [2, 2, 0, 2]


def test_what_is_computed_again_in_flux_is_what_autograd_would_have_kept(
    tiny_flux: FluxDenoiser,
) -> None:
    """Without the last block's own share a forward pass keeps its inputs alone."""
    model = tiny_flux.model
    found = discover(model).blocks
    inject(model, [name for block in found for name in block.linears], 2, seed=0)
    blocks = [model.get_submodule(block.address) for block in found]
    told = tiny_flux.encode_prompts(["a red ball left of a blue cube"])
    row = torch.randn(1, 16, 16), torch.randn(1, 16, 16), torch.tensor([0.3]), told
    inputs = []

    def look(_: nn.Module, given: tuple, named: dict) -> None:
        inputs.append(sum(x.nbytes for x in (*given, *named.values()) if isinstance(x, Tensor)))

    blocks[-1].register_forward_pre_hook(look, with_kwargs=True)

    def estimate(count: int) -> MemoryEstimate:
        set_covered(blocks, count)
        weights = [*model.parameters(), *model.buffers()]
        forward = lambda: tiny_flux.denoising_loss(*row)  # noqa: E731
        return estimate_memory(forward, weights, [], 1, covered=covered_in(model))

    whole, last, every = estimate(0), estimate(1), estimate(len(blocks))
    assert whole.again == 0 and last.again > 0
    assert 0 <= last.per_picture - whole.activations <= inputs[0]
    assert every.activations < last.activations and last.again <= every.again
    assert every.per_picture < whole.per_picture
